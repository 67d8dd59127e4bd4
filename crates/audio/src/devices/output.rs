//! A speaker that takes 10 ms blocks and says when it wants the next one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread::Thread;
use std::time::{Duration, Instant};

use cpal::traits::{DeviceTrait, StreamTrait};
use cpal::{FromSample, SampleFormat, SizedSample, StreamConfig};

use super::format::candidates;
use super::stream::{Health, OpenStream, Opening, StreamGuard, Watch, Watchdog};
use super::{Direction, device_error, find, is_gone};
use crate::Block;
use crate::pcm::spread;
use crate::resample::Resampler;
use ahoy_media::device::{DeviceError, DeviceProblem};
use ahoy_media::units::AUDIO_CLOCK_HZ;

/// What is asked of a device: 20 ms. With half of it a PulseAudio server plays a tenth less than
/// real time on a busy machine.
const BUFFER_FRAMES: u32 = 960;
/// The ring holds half a second, far more than is ever wanted; what does not fit is dropped.
const RING_MS: u32 = 500;
/// Kept in the ring beyond what the device takes at once, for the time the playout thread needs
/// to wake up: little at first, more for a while when it was too little.
const MIN_MARGIN_MS: u32 = 10;
const MAX_MARGIN_MS: u32 = 40;
const MARGIN_STEP_MS: u32 = 5;
/// How long the largest request of a device counts, and how long a margin must have sufficed
/// before less is tried.
const REQUEST_WINDOW: Duration = Duration::from_secs(2);
const MARGIN_WINDOW: Duration = Duration::from_secs(15);
/// Most that a device is believed to take at once.
const MAX_REQUEST_MS: u32 = 100;
/// When samples are missing, the last one dies away by this factor per sample, in about 2 ms:
/// a gap without a click at its beginning.
const DECAY: f32 = 0.95;

/// An open speaker. Dropping it closes the device without waiting for that.
pub struct Output {
    label: String,
    rate: u32,
    ring: rtrb::Producer<f32>,
    resampler: Resampler,
    converted: Vec<f32>,
    shared: Arc<Shared>,
    target: Target,
    watchdog: Watchdog,
    _stream: StreamGuard,
}

#[derive(Debug, Default)]
struct Shared {
    health: Arc<Health>,
    /// Most frames that the device has taken at once since this was last read.
    largest_request: AtomicU32,
    /// Frames that were missing, before the first sample was there not counted.
    missing: AtomicU64,
}

struct Opened {
    label: String,
    rate: u32,
    ring: rtrb::Producer<f32>,
    shared: Arc<Shared>,
}

/// A speaker that is being opened.
pub struct OpeningOutput(Opening<(StreamGuard, Opened)>);

impl OpeningOutput {
    /// Opens the speaker with this id, or the system's default one. `writer` is unparked when
    /// it is open and whenever the device has taken samples.
    pub fn start(id: Option<String>, writer: Thread, now: Instant) -> Self {
        let waiting = writer.clone();
        Self(Opening::<Opened>::start(
            "speaker",
            now,
            waiting,
            move || open(id.as_deref(), &writer),
        ))
    }

    /// The speaker as soon as it is open.
    pub fn poll(&mut self, now: Instant) -> Option<Result<Output, DeviceError>> {
        let opened = self.0.poll(now)?;
        Some(opened.and_then(|(stream, opened)| {
            Ok(Output {
                label: opened.label,
                rate: opened.rate,
                ring: opened.ring,
                resampler: Resampler::new(AUDIO_CLOCK_HZ, opened.rate)?,
                converted: Vec::new(),
                watchdog: Watchdog::new(opened.shared.health.clone(), now),
                target: Target::new(now),
                shared: opened.shared,
                _stream: stream,
            })
        }))
    }
}

impl Output {
    /// The device's name.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Whether the ring is low enough for another block: the device is the clock of playout.
    pub fn wants_block(&mut self, now: Instant) -> bool {
        let request = self.shared.largest_request.swap(0, Ordering::Relaxed);
        let missing = self.shared.missing.load(Ordering::Relaxed);
        let (request, margin_ms) = self.target.update(request, missing, now);
        let request = request.clamp(self.rate / 100, self.rate / 1000 * MAX_REQUEST_MS);
        self.queued_frames() < (request + self.rate / 1000 * margin_ms) as usize
    }

    /// Queues 10 ms. What does not fit is dropped, which [`Self::wants_block`] prevents.
    pub fn write(&mut self, block: &Block) {
        self.converted.clear();
        self.resampler.process(block, &mut self.converted);
        let (_, _left_out) = self.ring.push_partial_slice(&self.converted);
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

    /// # Errors
    /// Why the speaker has to be given up: `Lost` when it is gone or has fallen silent.
    pub fn check(&mut self, now: Instant) -> Result<(), DeviceError> {
        self.watchdog.check(now)
    }

    fn queued_frames(&self) -> usize {
        self.ring.buffer().capacity() - self.ring.slots()
    }
}

/// How much is to be in the ring: what the device takes at once, and a margin.
#[derive(Debug)]
struct Target {
    request: u32,
    previous_request: u32,
    request_since: Instant,
    margin_ms: u32,
    margin_since: Instant,
    missing: u64,
}

impl Target {
    fn new(now: Instant) -> Self {
        Self {
            request: 0,
            previous_request: 0,
            request_since: now,
            margin_ms: MIN_MARGIN_MS,
            margin_since: now,
            missing: 0,
        }
    }

    /// Takes in what has happened; returns frames that the device takes and the margin in ms.
    fn update(&mut self, request: u32, missing: u64, now: Instant) -> (u32, u32) {
        // A device fills its own buffer at first, which is more than it takes later.
        if now.saturating_duration_since(self.request_since) >= REQUEST_WINDOW {
            self.previous_request = std::mem::take(&mut self.request);
            self.request_since = now;
        }
        self.request = self.request.max(request);
        if missing > self.missing {
            self.missing = missing;
            self.margin_ms = (self.margin_ms + MARGIN_STEP_MS).min(MAX_MARGIN_MS);
            self.margin_since = now;
        } else if now.saturating_duration_since(self.margin_since) >= MARGIN_WINDOW {
            self.margin_ms = (self.margin_ms - MARGIN_STEP_MS).max(MIN_MARGIN_MS);
            self.margin_since = now;
        }
        (self.request.max(self.previous_request), self.margin_ms)
    }
}

/// The device's side: runs on the device's thread, so it only copies.
struct Callback {
    ring: rtrb::Consumer<f32>,
    channels: usize,
    last: f32,
    started: bool,
    shared: Arc<Shared>,
    writer: Thread,
}

impl Callback {
    fn give<T>(&mut self, samples: &mut [T])
    where
        T: SizedSample + FromSample<f32>,
    {
        let wanted = samples.len() / self.channels;
        let mut frames = samples.chunks_exact_mut(self.channels);
        let available = wanted.min(self.ring.slots());
        if let Ok(chunk) = self.ring.read_chunk(available) {
            for (sample, frame) in chunk.into_iter().zip(&mut frames) {
                self.last = sample;
                spread(sample, frame);
            }
        }
        for frame in frames {
            self.last *= DECAY;
            spread(self.last, frame);
        }
        self.started |= available > 0;
        if self.started {
            self.shared
                .missing
                .fetch_add((wanted - available) as u64, Ordering::Relaxed);
        }
        self.shared
            .largest_request
            .fetch_max(wanted as u32, Ordering::Relaxed);
        self.shared.health.called();
        self.writer.unpark();
    }
}

fn open(id: Option<&str>, writer: &Thread) -> Result<(OpenStream, Watch, Opened), DeviceError> {
    let (device, label, connection) = find(Direction::Output, id)?;
    let listed: Vec<_> = device
        .supported_output_configs()
        .map_err(|error| device_error(&error))?
        .collect();
    let default = device.default_output_config().ok();
    let mut last = DeviceError::new(
        DeviceProblem::Unsupported,
        "the device lists no usable format",
    );
    for (config, format) in candidates(&listed, default.as_ref(), 2, BUFFER_FRAMES) {
        match build(&device, config, format, writer) {
            Ok((stream, ring, shared)) => {
                tracing::debug!(label, ?config, ?format, "speaker opened");
                let rate = config.sample_rate;
                let (id, watched) = (id.map(str::to_owned), shared.health.clone());
                let watch = move || {
                    if id
                        .as_deref()
                        .is_some_and(|id| is_gone(Direction::Output, id))
                    {
                        watched.gone();
                    }
                };
                return Ok((
                    OpenStream(stream, connection),
                    Box::new(watch),
                    Opened {
                        label,
                        rate,
                        ring,
                        shared,
                    },
                ));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

type Built = (cpal::Stream, rtrb::Producer<f32>, Arc<Shared>);

fn build(
    device: &cpal::Device,
    config: StreamConfig,
    format: SampleFormat,
    writer: &Thread,
) -> Result<Built, DeviceError> {
    let (producer, consumer) =
        rtrb::RingBuffer::new((config.sample_rate / 1000 * RING_MS) as usize);
    let shared = Arc::new(Shared::default());
    let callback = Callback {
        ring: consumer,
        channels: usize::from(config.channels),
        last: 0.0,
        started: false,
        shared: shared.clone(),
        writer: writer.clone(),
    };
    let failed = shared.health.clone();
    let on_error = move |error| failed.failed(&error);
    let stream = match format {
        SampleFormat::I8 => build_typed::<i8, _>(device, config, callback, on_error),
        SampleFormat::I16 => build_typed::<i16, _>(device, config, callback, on_error),
        SampleFormat::I24 => build_typed::<cpal::I24, _>(device, config, callback, on_error),
        SampleFormat::I32 => build_typed::<i32, _>(device, config, callback, on_error),
        SampleFormat::I64 => build_typed::<i64, _>(device, config, callback, on_error),
        SampleFormat::U8 => build_typed::<u8, _>(device, config, callback, on_error),
        SampleFormat::U16 => build_typed::<u16, _>(device, config, callback, on_error),
        SampleFormat::U24 => build_typed::<cpal::U24, _>(device, config, callback, on_error),
        SampleFormat::U32 => build_typed::<u32, _>(device, config, callback, on_error),
        SampleFormat::U64 => build_typed::<u64, _>(device, config, callback, on_error),
        SampleFormat::F64 => build_typed::<f64, _>(device, config, callback, on_error),
        _ => build_typed::<f32, _>(device, config, callback, on_error),
    };
    let stream = stream.map_err(|error| device_error(&error))?;
    stream.play().map_err(|error| device_error(&error))?;
    Ok((stream, producer, shared))
}

fn build_typed<T, E>(
    device: &cpal::Device,
    config: StreamConfig,
    mut callback: Callback,
    on_error: E,
) -> Result<cpal::Stream, cpal::Error>
where
    T: SizedSample + FromSample<f32>,
    E: FnMut(cpal::Error) + Send + 'static,
{
    device.build_output_stream(
        config,
        move |samples: &mut [T], _: &cpal::OutputCallbackInfo| callback.give(samples),
        on_error,
        None,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pcm::testing::{frequency, sine};

    fn speaker(rate: u32, channels: usize, now: Instant) -> (Output, Callback) {
        let (producer, consumer) = rtrb::RingBuffer::new((rate / 1000 * RING_MS) as usize);
        let shared = Arc::new(Shared::default());
        let output = Output {
            label: "speaker".to_owned(),
            rate,
            ring: producer,
            resampler: Resampler::new(AUDIO_CLOCK_HZ, rate).expect("a usual rate"),
            converted: Vec::new(),
            watchdog: Watchdog::new(shared.health.clone(), now),
            target: Target::new(now),
            shared: shared.clone(),
            _stream: StreamGuard::unconnected(),
        };
        let callback = Callback {
            ring: consumer,
            channels,
            last: 0.0,
            started: false,
            shared,
            writer: std::thread::current(),
        };
        (output, callback)
    }

    #[test]
    fn the_device_s_requests_pace_playout_at_any_rate() {
        for (rate, channels) in [(48_000, 2), (44_100, 1), (96_000, 6), (16_000, 2)] {
            let start = Instant::now();
            let (mut output, mut callback) = speaker(rate, channels, start);
            let tone = sine(440.0, 0.5, AUDIO_CLOCK_HZ, 96_000);
            let mut blocks = tone.as_chunks().0.iter();
            let frames = rate as usize / 50;
            let (mut request, mut heard) = (vec![0_i16; frames * channels], Vec::new());
            for round in 0..80_u64 {
                let now = start + Duration::from_millis(20 * round);
                while output.wants_block(now) {
                    output.write(blocks.next().expect("enough"));
                }
                assert!(
                    output.queued() <= Duration::from_millis(42),
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
    fn what_is_missing_fades_is_counted_and_widens_the_margin() {
        let start = Instant::now();
        let (mut output, mut callback) = speaker(48_000, 2, start);
        let mut request = vec![0.0_f32; 2 * 960];
        callback.give(&mut request);
        assert_eq!(output.missing_samples(), 0, "nothing was to be heard yet");
        output.write(&[0.5; 480]);
        callback.give(&mut request);
        assert_eq!(output.missing_samples(), 480);
        assert!(request[2 * 479] > 0.49 && request[2 * 481] > 0.4 && request[2 * 959] < 1e-6);

        let level = |output: &mut Output, now| {
            let before = output.queued_frames();
            while output.wants_block(now) {
                output.write(&[0.0; 480]);
            }
            output.queued_frames() - before
        };
        assert_eq!(
            level(&mut output, start),
            1_440 + 480,
            "20 ms, the margin and 5 ms more"
        );
        assert_eq!(level(&mut output, start + 4 * MARGIN_WINDOW), 0);
    }

    #[test]
    fn a_first_large_request_does_not_count_for_ever() {
        let start = Instant::now();
        let mut target = Target::new(start);
        assert_eq!(target.update(4_800, 0, start).0, 4_800);
        assert_eq!(target.update(960, 0, start + REQUEST_WINDOW).0, 4_800);
        assert_eq!(target.update(960, 0, start + 2 * REQUEST_WINDOW).0, 960);
    }

    #[test]
    fn absurd_samples_leave_as_silence_or_full_scale() {
        let (mut output, mut callback) = speaker(48_000, 1, Instant::now());
        let mut block = [0.0; 480];
        block[..3].copy_from_slice(&[f32::NAN, f32::INFINITY, -9.0]);
        output.write(&block);
        let mut request = vec![7.0_f32; 3];
        callback.give(&mut request);
        assert_eq!(request, [0.0, 1.0, -1.0]);
    }
}
