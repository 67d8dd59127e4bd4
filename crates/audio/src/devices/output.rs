//! A speaker that takes 10 ms blocks at the pace of the computer's clock and says when it wants
//! the next one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::Thread;
use std::time::{Duration, Instant};

use cpal::traits::DeviceTrait;
use cpal::{FromSample, SizedSample, StreamConfig};

use super::clock::ClockSteering;
use super::margin::Margin;
use super::open::{Opened, Side, open};
#[cfg(target_os = "linux")]
use super::pulse::{self, Format};
use super::slot::Device;
use super::stream::{Health, Opening, StreamGuard, Watchdog};
use super::{Direction, Known};
use crate::StereoBlock;
use crate::fade::{FADE_FRAMES, fade_in};
use crate::pcm::spread;
use crate::resample::Resampler;
use ahoy_media::device::{DeviceError, DeviceKind};
use ahoy_media::units::AUDIO_CLOCK_HZ;

/// The ring holds half a second, far more than is ever wanted; what does not fit is dropped.
const RING_MS: u32 = 500;
/// Least time that the playout thread has to wake up: from one request of the device to the next
/// it has the length of a request anyway, which is less than this for small buffers only.
const LEAST_SLACK_MS: u32 = 10;
/// Kept in the ring beyond that once it was too little, and at most.
const MARGIN_STEP_MS: u32 = 5;
const MAX_MARGIN_MS: u32 = 40;
/// How long the largest request of a device counts.
const REQUEST_WINDOW: Duration = Duration::from_secs(2);
/// Most that a device is believed to take at once.
const MAX_REQUEST_MS: u32 = 100;
/// When samples are missing, the last one dies away by this factor per frame, in about 2 ms: a
/// gap without a click at its beginning.
const DECAY: f32 = 0.95;
/// A speaker that is let go plays its fade to the end: what it has queued itself comes before.
const LINGER: Duration = Duration::from_millis(150);

/// An open speaker. Dropping it fades its sound out and closes it, without waiting for that.
pub struct Output {
    device: Known,
    rate: u32,
    ring: rtrb::Producer<f32>,
    resampler: Resampler,
    clock: ClockSteering,
    converted: Vec<f32>,
    shared: Arc<Shared>,
    taken_seen: u64,
    primed: bool,
    target: Target,
    watchdog: Watchdog,
    _stream: StreamGuard,
}

#[derive(Debug, Default)]
struct Shared {
    /// Frames that the device has taken.
    taken: AtomicU64,
    /// Most frames that the device has taken at once since this was last read.
    largest_request: AtomicU32,
    /// Frames that were missing, before the first sample was there not counted.
    missing: AtomicU64,
    /// Nothing more is to be heard.
    released: AtomicBool,
}

impl Device for Output {
    const KIND: DeviceKind = DeviceKind::Speaker;
    type Options = ();
    type Opening = OpeningOutput;

    fn open(id: Option<String>, (): (), user: Thread, now: Instant) -> OpeningOutput {
        let side = Speaker {
            writer: user.clone(),
        };
        let open = move || open(&side, id.as_deref());
        OpeningOutput(Opening::<Opened<End>>::start(
            "speaker", LINGER, now, user, open,
        ))
    }

    fn poll(opening: &mut OpeningOutput, now: Instant) -> Option<Result<Self, DeviceError>> {
        let opened = opening.0.poll(now)?;
        Some(opened.and_then(|(stream, opened)| Self::new(opened, stream, now)))
    }

    fn device(&self) -> &Known {
        &self.device
    }

    fn check(&mut self, now: Instant) -> Result<(), DeviceError> {
        self.watchdog.check(now)
    }
}

/// A speaker that is being opened.
pub struct OpeningOutput(Opening<(StreamGuard, Opened<End>)>);

/// Our end of the ring.
struct End {
    ring: rtrb::Producer<f32>,
    shared: Arc<Shared>,
}

impl Output {
    fn new(opened: Opened<End>, stream: StreamGuard, now: Instant) -> Result<Self, DeviceError> {
        let (rate, ring) = (opened.rate, opened.end.ring);
        Ok(Self {
            resampler: Resampler::steered(AUDIO_CLOCK_HZ, rate, 2)?,
            clock: ClockSteering::default(),
            converted: Vec::with_capacity(ring.buffer().capacity()),
            target: Target::new(opened.buffer_frames.unwrap_or(0), now),
            taken_seen: 0,
            primed: false,
            watchdog: Watchdog::new(opened.health, now),
            device: opened.device,
            rate,
            ring,
            shared: opened.end.shared,
            _stream: stream,
        })
    }

    /// Whether the ring is low enough for another block: the device is the clock of playout.
    pub fn wants_block(&mut self, now: Instant) -> bool {
        self.follow_clock(now);
        let request = self.shared.largest_request.swap(0, Ordering::Relaxed);
        let missing = self.shared.missing.load(Ordering::Relaxed);
        let (request, margin_ms) = self.target.update(request, missing, now);
        let per_ms = self.rate / 1000;
        let request = request.clamp(per_ms * LEAST_SLACK_MS, per_ms * MAX_REQUEST_MS);
        if !self.primed {
            // The device fills its own buffer first. Then ours begins with silence: voices go on
            // where they are, rather than being pulled ahead to fill it.
            if self.taken_seen == 0 {
                return false;
            }
            self.primed = true;
            for _ in 0..2 * request {
                let _ = self.ring.push(0.0);
            }
        }
        self.queued_frames() < (request + per_ms * margin_ms) as usize
    }

    /// Queues 10 ms. What does not fit is dropped, which [`Self::wants_block`] prevents.
    pub fn write(&mut self, block: &StereoBlock) {
        self.converted.clear();
        self.resampler
            .process(block.as_flattened(), &mut self.converted);
        let room = self.converted.len().min(self.ring.slots() / 2 * 2);
        let (_, _left_out) = self.ring.push_partial_slice(&self.converted[..room]);
    }

    /// How long a sample written now waits until the device takes it.
    pub fn queued(&self) -> Duration {
        Duration::from_secs_f64(self.queued_frames() as f64 / f64::from(self.rate))
    }

    /// Samples at 48 kHz that the device wanted and did not get.
    pub fn missing_samples(&self) -> u64 {
        let missing = self.shared.missing.load(Ordering::Relaxed);
        missing * u64::from(AUDIO_CLOCK_HZ) / u64::from(self.rate)
    }

    /// How fast the device's clock is against the computer's, in parts per million.
    pub fn drift_ppm(&self) -> f64 {
        self.clock.drift_ppm()
    }

    fn follow_clock(&mut self, now: Instant) {
        let taken = self.shared.taken.load(Ordering::Relaxed);
        let frames = taken - self.taken_seen;
        self.taken_seen = taken;
        if frames > 0 {
            // A device that stopped for a while has nothing to catch up with.
            let _ = self
                .clock
                .advance(frames as f64 / f64::from(self.rate), now);
            self.resampler.set_speed(1.0 / self.clock.speed());
        }
    }

    fn queued_frames(&self) -> usize {
        (self.ring.buffer().capacity() - self.ring.slots()) / 2
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.shared.released.store(true, Ordering::Relaxed);
    }
}

/// How much is to be in the ring: what the device takes at once, and a margin.
#[derive(Debug)]
struct Target {
    request: u32,
    previous_request: u32,
    request_since: Instant,
    margin: Margin,
    missing: u64,
}

impl Target {
    /// `request`: frames that the device was asked to take at once.
    fn new(request: u32, now: Instant) -> Self {
        Self {
            request,
            previous_request: request,
            request_since: now,
            margin: Margin::new(MARGIN_STEP_MS, MAX_MARGIN_MS, now),
            missing: 0,
        }
    }

    /// Takes in what has happened; returns frames that the device takes and the margin in ms.
    fn update(&mut self, request: u32, missing: u64, now: Instant) -> (u32, u32) {
        if now.saturating_duration_since(self.request_since) >= REQUEST_WINDOW {
            self.previous_request = std::mem::take(&mut self.request);
            self.request_since = now;
        }
        self.request = self.request.max(request);
        let too_little = missing > self.missing;
        self.missing = self.missing.max(missing);
        let margin = self.margin.update(too_little, now);
        (self.request.max(self.previous_request), margin)
    }
}

/// Everything that the device's side needs to know.
struct Speaker {
    writer: Thread,
}

impl Side for Speaker {
    const DIRECTION: Direction = Direction::Output;
    /// 20 ms: what devices without a server of their own play smoothly on a busy machine.
    const BUFFER_FRAMES: u32 = 960;
    #[cfg(target_os = "linux")]
    const SERVER_FRAMES: u32 = 480;
    type Callback = Callback;
    type End = End;

    fn channels(&self) -> u16 {
        2
    }

    fn ring(&self, config: &StreamConfig, health: Arc<Health>) -> (Callback, End) {
        let capacity = (config.sample_rate / 1000 * RING_MS) as usize * 2;
        let (producer, consumer) = rtrb::RingBuffer::new(capacity);
        let shared = Arc::new(Shared::default());
        let callback = Callback {
            ring: consumer,
            channels: usize::from(config.channels.max(1)),
            joint: Joint::default(),
            started: false,
            shared: shared.clone(),
            health,
            writer: self.writer.clone(),
        };
        let end = End {
            ring: producer,
            shared,
        };
        (callback, end)
    }

    #[cfg(target_os = "linux")]
    fn serve(
        name: &str,
        format: Format,
        mut callback: Callback,
        health: Arc<Health>,
    ) -> Result<pulse::Stream, DeviceError> {
        pulse::play(name, format, health, move |samples| callback.give(samples))
    }

    fn build<T>(
        device: &cpal::Device,
        config: StreamConfig,
        mut callback: Callback,
        on_error: impl FnMut(cpal::Error) + Send + 'static,
    ) -> Result<cpal::Stream, cpal::Error>
    where
        T: SizedSample + FromSample<f32>,
        f32: FromSample<T>,
    {
        device.build_output_stream(
            config,
            move |samples: &mut [T], _: &cpal::OutputCallbackInfo| callback.give(samples),
            on_error,
            None,
        )
    }
}

/// The device's side: runs on the device's thread, so it only copies.
struct Callback {
    ring: rtrb::Consumer<f32>,
    channels: usize,
    joint: Joint,
    started: bool,
    shared: Arc<Shared>,
    health: Arc<Health>,
    writer: Thread,
}

impl Callback {
    fn give<T>(&mut self, samples: &mut [T])
    where
        T: SizedSample + FromSample<f32>,
    {
        let wanted = samples.len() / self.channels;
        let available = wanted.min(self.ring.slots() / 2);
        let released = self.shared.released.load(Ordering::Relaxed);
        let mut frames = samples.chunks_exact_mut(self.channels);
        if !released && let Ok(chunk) = self.ring.read_chunk(2 * available) {
            let mut chunk = chunk.into_iter();
            for frame in frames.by_ref().take(available) {
                let (left, right) = (chunk.next(), chunk.next());
                let sample = [left, right].map(Option::unwrap_or_default);
                spread(self.joint.sound(sample), frame);
            }
        }
        for frame in frames {
            spread(self.joint.nothing(), frame);
        }
        self.started |= available > 0;
        if self.started && !released {
            let missing = (wanted - available) as u64;
            self.shared.missing.fetch_add(missing, Ordering::Relaxed);
            // What fills the device's own buffer at first is more than it takes later.
            let request = &self.shared.largest_request;
            request.fetch_max(wanted as u32, Ordering::Relaxed);
        }
        self.shared
            .taken
            .fetch_add(wanted as u64, Ordering::Relaxed);
        self.health.called();
        self.writer.unpark();
    }
}

/// Makes gaps that begin and end without a click.
#[derive(Debug, Default)]
struct Joint {
    last: [f32; 2],
    /// What is left of the sound before a gap.
    tail: [f32; 2],
    /// Frames since sound began, or began again.
    frames: usize,
}

impl Joint {
    fn sound(&mut self, sample: [f32; 2]) -> [f32; 2] {
        self.last = sample;
        if self.frames < FADE_FRAMES {
            let share = fade_in(self.frames);
            self.tail = self.tail.map(|sample| sample * DECAY);
            self.last = [0, 1].map(|at| sample[at] * share + self.tail[at] * (1.0 - share));
            self.frames += 1;
        }
        self.last
    }

    fn nothing(&mut self) -> [f32; 2] {
        self.last = self.last.map(|sample| sample * DECAY);
        self.tail = self.last;
        self.frames = 0;
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::super::margin::WINDOW as MARGIN_WINDOW;
    use super::*;
    use crate::pcm::testing::{frequency, sine};
    use crate::undisturbed::disturbances;

    fn speaker(rate: u32, channels: u16, buffer: u32, now: Instant) -> (Output, Callback) {
        let config = StreamConfig {
            channels,
            sample_rate: rate,
            buffer_size: cpal::BufferSize::Fixed(buffer),
        };
        let (writer, health) = (std::thread::current(), Arc::new(Health::default()));
        let (callback, end) = Speaker { writer }.ring(&config, health.clone());
        let device = Known {
            id: String::new(),
            label: "speaker".to_owned(),
        };
        let opened = Opened {
            device,
            rate,
            buffer_frames: Some(buffer),
            health,
            end,
        };
        let output = Output::new(opened, StreamGuard::unconnected(), now);
        (output.expect("a usual rate"), callback)
    }

    fn both(block: &[f32; 480]) -> StereoBlock {
        block.map(|sample| [sample; 2])
    }

    #[test]
    fn the_device_s_requests_pace_playout_at_any_rate() {
        for (rate, channels) in [
            (48_000, 2),
            (44_100, 1),
            (96_000, 6),
            (16_000, 2),
            (8_000, 32),
        ] {
            let start = Instant::now();
            let (mut output, mut callback) = speaker(rate, channels, rate / 50, start);
            let tone = sine(440.0, 0.5, AUDIO_CLOCK_HZ, 96_000);
            let mut blocks = tone.as_chunks().0.iter();
            let frames = rate as usize / 50;
            let channels = usize::from(channels);
            let (mut request, mut heard) = (vec![0_i16; frames * channels], Vec::new());
            for round in 0..80_u64 {
                let now = start + Duration::from_millis(20 * round);
                while output.wants_block(now) {
                    output.write(&both(blocks.next().expect("enough")));
                }
                assert!(
                    output.queued() <= Duration::from_millis(31),
                    "{:?}",
                    output.queued()
                );
                callback.give(&mut request);
                heard.extend(
                    request
                        .iter()
                        .step_by(channels)
                        .map(|it| f32::from(*it) / 32_768.0),
                );
            }
            assert_eq!(output.missing_samples(), 0);
            assert_eq!(output.check(start + Duration::from_secs(3)), Ok(()));
            let settled = &heard[heard.len() / 4..];
            assert!((frequency(settled, rate) - 440.0).abs() < 2.0, "{rate}");
        }
    }

    #[test]
    fn a_block_waits_for_one_buffer_of_the_device_and_no_more() {
        let start = Instant::now();
        let (mut output, mut callback) = speaker(48_000, 2, 480, start);
        let (mut request, mut waited) = (vec![0.0_f32; 2 * 480], Vec::new());
        for call in 1..=6_000_u64 {
            let now = start + Duration::from_millis(10 * call);
            callback.give(&mut request);
            while output.wants_block(now) {
                // The device takes it at its next call, or the one after that.
                waited.push(output.queued().as_secs_f64() * 1_000.0);
                output.write(&[[0.1; 2]; 480]);
            }
        }
        let mean = waited.iter().sum::<f64>() / waited.len() as f64;
        assert!(mean <= 10.0, "{mean} ms in the ring");
        assert_eq!(output.missing_samples(), 0);
    }

    #[test]
    fn two_devices_off_their_rates_keep_step_for_as_long_as_it_takes() {
        for ppm in [-200.0, 200.0] {
            let start = Instant::now();
            let (mut output, mut callback) = speaker(44_100, 2, 441, start);
            let mut request = vec![0.0_f32; 2 * 442];
            let (mut due, mut pulled) = (0.0, 0_u64);
            for call in 1..=12_000_u64 {
                let now = start + Duration::from_millis(10 * call);
                due += 441.0 * (1.0 + ppm / 1e6);
                let frames = due as usize;
                due -= frames as f64;
                callback.give(&mut request[..2 * frames]);
                while output.wants_block(now) {
                    output.write(&[[0.1; 2]; 480]);
                    pulled += 1;
                }
            }
            assert_eq!(output.missing_samples(), 0, "{ppm} ppm");
            let ahead = pulled as f64 * 10.0 - 120_000.0;
            assert!(
                ahead.abs() < 20.0,
                "{ppm} ppm: {ahead} ms after two minutes"
            );
            assert!(
                (output.drift_ppm() - ppm).abs() < 60.0,
                "{}",
                output.drift_ppm()
            );
        }
    }

    #[test]
    fn what_is_missing_fades_is_counted_and_widens_the_margin() {
        let start = Instant::now();
        let (mut output, mut callback) = speaker(48_000, 2, 960, start);
        let mut request = vec![0.0_f32; 2 * 960];
        callback.give(&mut request);
        output.write(&[[0.5; 2]; 480]);
        callback.give(&mut request);
        let missing = output.missing_samples();
        assert!((480..490).contains(&missing), "{missing}");
        let gap = 2 * (960 - missing as usize);
        assert!(request[gap - 2] > 0.49 && request[gap] > 0.4 && request[2 * 959] < 1e-6);

        // It comes back as gently.
        output.write(&[[0.5; 2]; 480]);
        callback.give(&mut request);
        assert!(request[0] < 0.01 && request[2 * 400] > 0.49);

        let fill = |output: &mut Output, now| {
            while output.wants_block(now) {
                output.write(&[[0.0; 2]; 480]);
            }
            output.target.margin.ms()
        };
        assert_eq!(fill(&mut output, start), MARGIN_STEP_MS);
        assert!(
            output.queued() >= Duration::from_millis(25),
            "20 ms and the margin"
        );
        assert_eq!(fill(&mut output, start + MARGIN_WINDOW), 0);
    }

    #[test]
    fn a_first_large_request_does_not_count_for_ever() {
        let start = Instant::now();
        let mut target = Target::new(960, start);
        assert_eq!(target.update(4_800, 0, start).0, 4_800);
        assert_eq!(target.update(960, 0, start + REQUEST_WINDOW).0, 4_800);
        assert_eq!(target.update(960, 0, start + 2 * REQUEST_WINDOW).0, 960);
    }

    #[test]
    fn the_callback_takes_no_memory_and_logs_nothing() {
        for channels in [0, 1, 2, 6] {
            let (mut output, mut callback) = speaker(48_000, channels, 480, Instant::now());
            (0..4).for_each(|_| output.write(&[[0.5; 2]; 480]));
            let (mut floats, mut integers) = (vec![0.0_f32; 480 * 6], vec![0_i16; 480 * 6]);
            let disturbances = disturbances(|| {
                // Also from an empty ring.
                for _ in 0..200 {
                    callback.give(&mut floats);
                    callback.give(&mut integers);
                    callback.give::<u8>(&mut []);
                }
            });
            assert_eq!(disturbances, (0, 0));
        }
    }

    #[test]
    fn our_end_takes_no_memory_once_it_runs() {
        let start = Instant::now();
        let (mut output, mut callback) = speaker(44_100, 2, 441, start);
        let mut request = vec![0.0_f32; 2 * 441];
        let mut run = |calls: std::ops::Range<u64>| {
            for call in calls {
                callback.give(&mut request);
                while output.wants_block(start + Duration::from_millis(10 * call)) {
                    output.write(&[[0.1; 2]; 480]);
                }
            }
        };
        run(0..100);
        assert_eq!(disturbances(|| run(100..1_000)).0, 0);
    }

    #[test]
    fn a_speaker_that_is_let_go_fades_out() {
        let (mut output, mut callback) = speaker(48_000, 1, 480, Instant::now());
        for _ in 0..4 {
            output.write(&[[0.5; 2]; 480]);
        }
        let mut request = vec![0.0_f32; 480];
        (0..3).for_each(|_| callback.give(&mut request));
        assert!(request[479] > 0.49);
        drop(output);
        let before = request[479];
        callback.give(&mut request);
        assert!((request[0] - before).abs() < 0.03 && request[479].abs() < 1e-6);
        let step = request.windows(2).map(|pair| (pair[1] - pair[0]).abs());
        assert!(step.fold(0.0, f32::max) < 0.03);
    }

    #[test]
    fn absurd_samples_and_devices_do_no_harm() {
        let now = Instant::now();
        for channels in [0, 1, 2] {
            let (mut output, mut callback) = speaker(48_000, channels, 480, now);
            output.write(&[[f32::NAN, f32::INFINITY]; 480]);
            output.write(&[[9.0, -9.0]; 480]);
            let mut request = vec![7.0_f32; 960];
            for _ in 0..3 {
                callback.give(&mut request);
                assert!(request.iter().all(|it| it.abs() <= 1.0));
            }
            callback.give::<f32>(&mut []);
        }
    }
}
