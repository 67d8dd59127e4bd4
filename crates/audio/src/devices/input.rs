//! A microphone as a stream of 10 ms blocks at the pace of the computer's clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::Thread;
use std::time::{Duration, Instant};

use cpal::traits::DeviceTrait;
use cpal::{FromSample, SizedSample, StreamConfig};

use super::clock::ClockSteering;
use super::open::{Opened, Side, open};
#[cfg(target_os = "linux")]
use super::pulse::{self, Format};
use super::slot::Device;
use super::stream::{Health, Opening, StreamGuard, Watchdog};
use super::{Direction, Known};
use crate::pcm::{downmix, front, is_invalid};
use crate::resample::Resampler;
use crate::{BLOCK_SAMPLES, StereoBlock, duration_of};
use ahoy_media::device::{DeviceError, DeviceKind};
use ahoy_media::units::AUDIO_CLOCK_HZ;

/// The ring holds half a second: more than any device delivers at once. When it is full because
/// its reader was starved, new samples are dropped and counted.
const RING_MS: u32 = 500;
/// A backlog of more than this is delay that never goes away by itself…
const MAX_BACKLOG_MS: u32 = 120;
/// …so only this much of it, the newest, is kept.
const KEPT_BACKLOG_MS: u32 = 20;
/// By how much less than expected may be enough, as the pace is steered: a five-hundredth.
const STEERING: usize = 500;

/// An open microphone. Dropping it closes the device without waiting for that.
pub struct Input {
    device: Known,
    rate: u32,
    end: End,
    resampler: Resampler,
    clock: ClockSteering,
    raw: Vec<f32>,
    ready: Vec<f32>,
    captured_seen: u64,
    dropped_seen: u64,
    skipped: f64,
    watchdog: Watchdog,
    _stream: StreamGuard,
}

/// How to open a microphone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputOptions {
    /// Left and right as they come, rather than all channels as one.
    pub stereo: bool,
}

/// Our end of the ring.
struct End {
    ring: rtrb::Consumer<f32>,
    /// Channels in the ring, 1 or 2.
    channels: usize,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Frames that the device has delivered.
    captured: AtomicU64,
    /// Frames of these that found no room.
    dropped: AtomicU64,
    /// Samples that were none: NaN or infinite.
    invalid: AtomicU64,
    /// Samples of all channels in the ring from which on the reader is woken.
    wanted: AtomicUsize,
}

impl Device for Input {
    const KIND: DeviceKind = DeviceKind::Microphone;
    type Options = InputOptions;
    type Opening = OpeningInput;

    fn open(id: Option<String>, options: InputOptions, user: Thread, now: Instant) -> OpeningInput {
        let side = Microphone {
            stereo: options.stereo,
            reader: user.clone(),
        };
        let open = move || open(&side, id.as_deref());
        let linger = Duration::ZERO;
        OpeningInput(Opening::<Opened<End>>::start(
            "microphone",
            linger,
            now,
            user,
            open,
        ))
    }

    fn poll(opening: &mut OpeningInput, now: Instant) -> Option<Result<Self, DeviceError>> {
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

/// A microphone that is being opened.
pub struct OpeningInput(Opening<(StreamGuard, Opened<End>)>);

impl Input {
    fn new(opened: Opened<End>, stream: StreamGuard, now: Instant) -> Result<Self, DeviceError> {
        let Opened {
            device, rate, end, ..
        } = opened;
        Ok(Self {
            resampler: Resampler::steered(rate, AUDIO_CLOCK_HZ, end.channels)?,
            clock: ClockSteering::default(),
            raw: Vec::with_capacity(end.ring.buffer().capacity()),
            ready: Vec::with_capacity(16 * BLOCK_SAMPLES * end.channels),
            captured_seen: 0,
            dropped_seen: 0,
            skipped: 0.0,
            watchdog: Watchdog::new(opened.health, now),
            device,
            rate,
            end,
            _stream: stream,
        })
    }

    /// Takes the next 10 ms, if they are there; a mono microphone is both left and right. Of a
    /// large backlog only the newest part is left.
    pub fn read(&mut self, block: &mut StereoBlock, now: Instant) -> bool {
        let channels = self.end.channels;
        if self.ready.len() < BLOCK_SAMPLES * channels {
            self.take_in(now);
        }
        let Some(samples) = self.ready.get(..BLOCK_SAMPLES * channels) else {
            return false;
        };
        for (frame, samples) in block.iter_mut().zip(samples.chunks_exact(channels)) {
            *frame = front(samples);
        }
        self.ready.drain(..BLOCK_SAMPLES * channels);
        true
    }

    /// How long before the newest sample that is here the block ended that was read last.
    pub fn behind(&self) -> Duration {
        duration_of((self.ready.len() / self.end.channels) as u64)
    }

    /// The reader has no use for less than so many samples at 48 kHz, in blocks of 10 ms: until
    /// then the device need not wake it.
    pub fn sleep_until(&self, samples: usize) {
        let missing = samples.saturating_sub(self.ready.len() / self.end.channels);
        let frames = missing * self.rate as usize / AUDIO_CLOCK_HZ as usize;
        let least = (frames - frames / STEERING).saturating_sub(self.resampler.waiting());
        let wanted = least * self.end.channels;
        self.end.shared.wanted.store(wanted, Ordering::Relaxed);
    }

    /// Samples at 48 kHz that were captured, or should have been, but will never be read, since
    /// the last call.
    pub fn take_skipped(&mut self) -> u64 {
        let dropped = self.end.shared.dropped.load(Ordering::Relaxed);
        self.skipped += (dropped - self.dropped_seen) as f64 / f64::from(self.rate);
        self.dropped_seen = dropped;
        let samples = (self.skipped * f64::from(AUDIO_CLOCK_HZ)) as u64;
        self.skipped -= samples as f64 / f64::from(AUDIO_CLOCK_HZ);
        samples
    }

    /// Samples that the driver delivered and that were none, so far.
    pub fn invalid_samples(&self) -> u64 {
        self.end.shared.invalid.load(Ordering::Relaxed)
    }

    /// How fast the device's clock is against the computer's, in parts per million.
    pub fn drift_ppm(&self) -> f64 {
        self.clock.drift_ppm()
    }

    fn take_in(&mut self, now: Instant) {
        self.skip_backlog();
        self.follow_clock(now);
        let available = self.end.ring.slots();
        self.raw.resize(available, 0.0);
        if self.end.ring.pop_entire_slice(&mut self.raw).is_ok() {
            self.resampler.process(&self.raw, &mut self.ready);
        }
    }

    fn follow_clock(&mut self, now: Instant) {
        let captured = self.end.shared.captured.load(Ordering::Relaxed);
        let frames = captured - self.captured_seen;
        self.captured_seen = captured;
        let jump = self
            .clock
            .advance(frames as f64 / f64::from(self.rate), now);
        self.resampler.set_speed(self.clock.speed());
        // Sound that the system lost before it reached us: its time has passed all the same.
        if let Some(lost) = jump.filter(|jump| *jump < 0.0) {
            self.skipped -= lost;
        }
    }

    fn skip_backlog(&mut self) {
        let frames = self.end.ring.slots() / self.end.channels;
        if frames > (self.rate / 1000 * MAX_BACKLOG_MS) as usize {
            let excess = frames - (self.rate / 1000 * KEPT_BACKLOG_MS) as usize;
            if let Ok(chunk) = self.end.ring.read_chunk(excess * self.end.channels) {
                chunk.commit_all();
                self.skipped += excess as f64 / f64::from(self.rate);
            }
        }
    }
}

/// Everything that the device's side needs to know.
struct Microphone {
    stereo: bool,
    reader: Thread,
}

impl Side for Microphone {
    const DIRECTION: Direction = Direction::Input;
    /// 10 ms, the least that capture has been seen to sustain everywhere.
    const BUFFER_FRAMES: u32 = 480;
    #[cfg(target_os = "linux")]
    const SERVER_FRAMES: u32 = 480;
    type Callback = Callback;
    type End = End;

    fn channels(&self) -> u16 {
        if self.stereo { 2 } else { 1 }
    }

    fn ring(&self, config: &StreamConfig, health: Arc<Health>) -> (Callback, End) {
        let channels = usize::from(config.channels.max(1));
        let kept = usize::from(self.channels()).min(channels);
        let capacity = (config.sample_rate / 1000 * RING_MS) as usize * kept;
        let (producer, consumer) = rtrb::RingBuffer::new(capacity);
        let shared = Arc::new(Shared::default());
        let callback = Callback {
            ring: producer,
            channels,
            kept,
            shared: shared.clone(),
            health,
            reader: self.reader.clone(),
        };
        let end = End {
            ring: consumer,
            channels: kept,
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
        pulse::record(name, format, health, move |samples| callback.take(samples))
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
        device.build_input_stream(
            config,
            move |samples: &[T], _: &cpal::InputCallbackInfo| callback.take(samples),
            on_error,
            None,
        )
    }
}

/// The device's side: runs on the device's thread, so it only copies.
struct Callback {
    ring: rtrb::Producer<f32>,
    channels: usize,
    kept: usize,
    shared: Arc<Shared>,
    health: Arc<Health>,
    reader: Thread,
}

impl Callback {
    fn take<T>(&mut self, samples: &[T])
    where
        T: SizedSample,
        f32: FromSample<T>,
    {
        let frames = samples.len() / self.channels;
        let room = frames.min(self.ring.slots() / self.kept);
        if let Ok(chunk) = self.ring.write_chunk_uninit(room * self.kept) {
            let frames = samples.chunks_exact(self.channels);
            if self.kept == 1 {
                chunk.fill_from_iter(frames.map(downmix));
            } else {
                chunk.fill_from_iter(frames.flat_map(front));
            }
        }
        let invalid = samples.iter().filter(|it| is_invalid(**it)).count() as u64;
        if invalid > 0 {
            self.shared.invalid.fetch_add(invalid, Ordering::Relaxed);
        }
        let (all, dropped) = (frames as u64, (frames - room) as u64);
        self.shared.captured.fetch_add(all, Ordering::Relaxed);
        self.shared.dropped.fetch_add(dropped, Ordering::Relaxed);
        self.health.called();
        if self.is_enough() {
            self.reader.unpark();
        }
    }

    /// Whether there is as much as the reader waits for.
    fn is_enough(&self) -> bool {
        let waiting = self.ring.buffer().capacity() - self.ring.slots();
        waiting >= self.shared.wanted.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::STEREO_SILENCE;
    use crate::pcm::testing::{frequency, sine};
    use crate::undisturbed::disturbances;

    fn microphone(rate: u32, channels: u16, stereo: bool) -> (Input, Callback) {
        let config = StreamConfig {
            channels,
            sample_rate: rate,
            buffer_size: cpal::BufferSize::Default,
        };
        let (reader, health) = (std::thread::current(), Arc::new(Health::default()));
        let (callback, end) = Microphone { stereo, reader }.ring(&config, health.clone());
        let device = Known {
            id: String::new(),
            label: "microphone".to_owned(),
        };
        let opened = Opened {
            device,
            rate,
            buffer_frames: None,
            health,
            end,
        };
        let input = Input::new(opened, StreamGuard::unconnected(), Instant::now());
        (input.expect("a usual rate"), callback)
    }

    /// As much of `read` as is there.
    fn left(input: &mut Input, now: Instant) -> Vec<f32> {
        let (mut heard, mut block) = (Vec::new(), STEREO_SILENCE);
        while input.read(&mut block, now) {
            heard.extend(block.iter().map(|frame| frame[0]));
        }
        heard
    }

    #[test]
    fn any_rate_format_and_buffer_comes_out_as_48_khz() {
        for (rate, channels, frames) in [
            (48_000, 1, 480),
            (44_100, 2, 333),
            (16_000, 6, 64),
            (8_000, 1, 1),
            (192_000, 32, 4_096),
        ] {
            let (mut input, mut callback) = microphone(rate, channels, false);
            let tone = sine(440.0, 0.5, rate, rate as usize);
            let (mut heard, start) = (Vec::new(), Instant::now());
            for (index, piece) in tone.chunks(frames).enumerate() {
                let interleaved: Vec<i16> = piece
                    .iter()
                    .flat_map(|it| vec![(it * 32_767.0) as i16; channels.into()])
                    .collect();
                callback.take(&interleaved);
                let time = (index + 1) as f64 * frames as f64 / f64::from(rate);
                heard.extend(left(&mut input, start + Duration::from_secs_f64(time)));
            }
            assert!((46_000..=48_000).contains(&heard.len()), "{}", heard.len());
            assert!((frequency(&heard[4_800..], 48_000) - 440.0).abs() < 2.0);
            let peak = heard[4_800..]
                .iter()
                .fold(0.0_f32, |peak, it| peak.max(it.abs()));
            assert!((peak - 0.5).abs() < 0.01, "{peak}");
            assert_eq!(input.take_skipped(), 0);
        }
    }

    #[test]
    fn a_sleeping_reader_is_woken_less_often_and_never_later() {
        const PACKET: usize = 2 * BLOCK_SAMPLES;
        for (rate, channels, frames) in [
            (48_000, 1, 480),
            (48_000, 2, 1_024),
            (44_100, 2, 441),
            (16_000, 1, 60),
        ] {
            let stereo = channels == 2;
            let (mut eager, mut to_eager) = microphone(rate, channels, stereo);
            let (mut sleeping, mut to_sleeping) = microphone(rate, channels, stereo);
            let (start, mut read, mut taken, mut wakes) = (Instant::now(), 0, 0, 0);
            let callbacks = 5 * rate as usize / frames;
            let samples = vec![0.1_f32; frames * usize::from(channels)];
            for call in 1..=callbacks {
                to_eager.take(&samples);
                to_sleeping.take(&samples);
                let time = call as f64 * frames as f64 / f64::from(rate);
                let now = start + Duration::from_secs_f64(time);
                read += left(&mut eager, now).len();
                if to_sleeping.is_enough() {
                    wakes += 1;
                    taken += left(&mut sleeping, now).len();
                    sleeping.sleep_until(PACKET - taken % PACKET);
                }
                assert_eq!(taken / PACKET, read / PACKET, "{rate} Hz, {call}");
            }
            let needed = callbacks.min(read / PACKET);
            assert!((needed..=needed + 3).contains(&wakes), "{rate} Hz: {wakes}");
        }
    }

    #[test]
    fn the_callback_takes_no_memory_and_logs_nothing() {
        for (channels, stereo) in [(1, false), (2, true), (6, false), (0, true)] {
            let (mut input, mut callback) = microphone(48_000, channels, stereo);
            let floats = vec![f32::NAN; 480 * 6];
            let (integers, now) = (vec![i16::MIN; 480 * 6], Instant::now());
            let disturbances = disturbances(|| {
                // Also with a full ring.
                for _ in 0..200 {
                    callback.take(&floats);
                    callback.take(&integers);
                    callback.take::<u8>(&[]);
                }
            });
            assert_eq!(disturbances, (0, 0));
            left(&mut input, now);
        }
    }

    #[test]
    fn stereo_stays_stereo_and_mono_is_both_sides() {
        let now = Instant::now();
        let (mut input, mut callback) = microphone(48_000, 3, true);
        callback.take(&[0.5_f32, -0.25, 0.9].repeat(960));
        let mut block = STEREO_SILENCE;
        assert!(input.read(&mut block, now));
        let settled = block[BLOCK_SAMPLES - 1];
        assert!((settled[0] - 0.5).abs() < 0.01 && (settled[1] + 0.25).abs() < 0.01);
        let (mut input, mut callback) = microphone(48_000, 1, true);
        callback.take(&[0.5_f32; 960]);
        assert!(input.read(&mut block, now));
        assert_eq!(block[300][0], block[300][1]);
    }

    #[test]
    fn a_starved_reader_skips_to_the_newest() {
        let (mut input, mut callback) = microphone(48_000, 1, false);
        let now = Instant::now();
        // 300 ms that nobody reads, the last 20 ms of them loud.
        callback.take(&vec![0.0_f32; 28 * 480]);
        callback.take(&[0.5_f32; 2 * 480]);
        let heard = left(&mut input, now);
        assert!(heard.len() == 480 && (heard[479] - 0.5).abs() < 0.01);
        assert_eq!(input.take_skipped(), 28 * 480);
        assert_eq!(input.take_skipped(), 0);
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_counted() {
        let (mut input, mut callback) = microphone(16_000, 2, false);
        // Two seconds at once.
        callback.take(&vec![0_i16; 2 * 32_000]);
        assert_eq!(input.take_skipped(), 3 * (32_000 - 8_000));
        callback.take(&[0_i16; 3]);
        callback.take::<i16>(&[]);
    }

    #[test]
    fn a_driver_s_nonsense_is_bounded_and_counted() {
        let (mut input, mut callback) = microphone(48_000, 1, false);
        let mut samples = [0.0_f32; 960];
        samples[..4].copy_from_slice(&[f32::NAN, f32::NEG_INFINITY, 3.0, 0.25]);
        callback.take(&samples);
        let heard = left(&mut input, Instant::now());
        assert!(
            heard.iter().all(|it| it.abs() <= 1.2),
            "the filter rings a little"
        );
        assert_eq!(input.invalid_samples(), 2);
        let (_, mut callback) = microphone(48_000, 0, false);
        callback.take(&samples);
    }

    #[test]
    fn sound_that_never_came_is_skipped_and_so_is_what_is_too_old() {
        let start = Instant::now();
        for lost in [true, false] {
            let (mut input, mut callback) = microphone(48_000, 1, false);
            let (mut skipped, mut heard) = (0, 0);
            for call in 1..=600_u64 {
                // From 2 s to 3 s nobody reads, because nothing comes or because it is too busy.
                let stalled = (200..300).contains(&call);
                if !(stalled && lost) {
                    callback.take(&[0.1_f32; 480]);
                }
                if !stalled {
                    heard += left(&mut input, start + Duration::from_millis(10 * call)).len();
                    skipped += input.take_skipped();
                }
            }
            let total = (heard as f64 + skipped as f64) / 48_000.0;
            assert!(
                (total - 6.0).abs() < 0.06,
                "in step with the clock: {total}"
            );
            assert!(skipped > 45_000, "lost: {lost}, {skipped}");
        }
    }

    #[test]
    fn a_device_off_its_rate_is_heard_at_the_clock_s_pace() {
        for ppm in [-200.0, 200.0] {
            let (mut input, mut callback) = microphone(44_100, 1, false);
            let (start, mut heard, mut due) = (Instant::now(), 0, 0.0);
            let tone = sine(1_000.0, 0.5, 44_100, 44_100);
            for call in 1..=12_000_u64 {
                due += 441.0 * (1.0 + ppm / 1e6);
                let frames = due as usize;
                due -= frames as f64;
                callback.take(&tone[..frames]);
                heard += left(&mut input, start + Duration::from_millis(10 * call)).len();
            }
            let ahead = heard as f64 / 48.0 - 120_000.0;
            assert!(
                ahead.abs() < 20.0,
                "{ppm} ppm: {ahead} ms after two minutes"
            );
            assert_eq!(input.take_skipped(), 0);
        }
    }
}
