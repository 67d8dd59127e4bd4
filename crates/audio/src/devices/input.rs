//! A microphone as a stream of 10 ms blocks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::Thread;
use std::time::Instant;

use cpal::traits::{DeviceTrait, StreamTrait};
use cpal::{FromSample, SampleFormat, SizedSample, StreamConfig};

use super::format::candidates;
use super::stream::{Health, OpenStream, Opening, StreamGuard, Watch, Watchdog};
use super::{Direction, device_error, find, is_gone};
use crate::pcm::downmix;
use crate::resample::Resampler;
use crate::{BLOCK_SAMPLES, Block};
use ahoy_media::device::{DeviceError, DeviceProblem};
use ahoy_media::units::AUDIO_CLOCK_HZ;

/// What is asked of a device: 10 ms, the least that capture has been seen to sustain everywhere.
const BUFFER_FRAMES: u32 = 480;
/// The ring holds half a second: more than any device delivers at once. When it is full because
/// its reader was starved, new samples are dropped and counted.
const RING_MS: u32 = 500;
/// A backlog of more than this is delay that never goes away by itself…
const MAX_BACKLOG_MS: u32 = 120;
/// …so only this much of it, the newest, is kept.
const KEPT_BACKLOG_MS: u32 = 20;

/// An open microphone. Dropping it closes the device without waiting for that.
pub struct Input {
    label: String,
    rate: u32,
    ring: rtrb::Consumer<f32>,
    resampler: Resampler,
    raw: Vec<f32>,
    ready: Vec<f32>,
    dropped: Arc<AtomicU64>,
    dropped_seen: u64,
    skipped: u64,
    watchdog: Watchdog,
    _stream: StreamGuard,
}

/// Both ends of what a callback fills.
struct Opened {
    label: String,
    rate: u32,
    ring: rtrb::Consumer<f32>,
    dropped: Arc<AtomicU64>,
    health: Arc<Health>,
}

/// A microphone that is being opened.
pub struct OpeningInput(Opening<(StreamGuard, Opened)>);

impl OpeningInput {
    /// Opens the microphone with this id, or the system's default one. `reader` is unparked
    /// when it is open and whenever samples have come in.
    pub fn start(id: Option<String>, reader: Thread, now: Instant) -> Self {
        let waiting = reader.clone();
        Self(Opening::<Opened>::start(
            "microphone",
            now,
            waiting,
            move || open(id.as_deref(), &reader),
        ))
    }

    /// The microphone as soon as it is open.
    pub fn poll(&mut self, now: Instant) -> Option<Result<Input, DeviceError>> {
        let opened = self.0.poll(now)?;
        Some(opened.and_then(|(stream, opened)| {
            Ok(Input {
                label: opened.label,
                rate: opened.rate,
                ring: opened.ring,
                resampler: Resampler::new(opened.rate, AUDIO_CLOCK_HZ)?,
                raw: Vec::new(),
                ready: Vec::with_capacity(4 * BLOCK_SAMPLES),
                dropped: opened.dropped,
                dropped_seen: 0,
                skipped: 0,
                watchdog: Watchdog::new(opened.health, now),
                _stream: stream,
            })
        }))
    }
}

impl Input {
    /// The device's name.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Takes the next 10 ms, if they are there. Of a large backlog only the newest part is left.
    pub fn read(&mut self, block: &mut Block) -> bool {
        if self.ready.len() < BLOCK_SAMPLES {
            self.skip_backlog();
            let available = self.ring.slots();
            self.raw.resize(available, 0.0);
            if self.ring.pop_entire_slice(&mut self.raw).is_ok() {
                self.resampler.process(&self.raw, &mut self.ready);
            }
        }
        let Some((first, _)) = self.ready.split_first_chunk::<BLOCK_SAMPLES>() else {
            return false;
        };
        *block = *first;
        self.ready.drain(..BLOCK_SAMPLES);
        true
    }

    /// Samples at 48 kHz that were captured but will never be read, since the last call.
    pub fn take_skipped(&mut self) -> u64 {
        let dropped = self.dropped.load(Ordering::Relaxed);
        let frames = std::mem::take(&mut self.skipped) + dropped - self.dropped_seen;
        self.dropped_seen = dropped;
        frames * u64::from(AUDIO_CLOCK_HZ) / u64::from(self.rate)
    }

    /// # Errors
    /// Why the microphone has to be given up: `Lost` when it is gone or has fallen silent.
    pub fn check(&mut self, now: Instant) -> Result<(), DeviceError> {
        self.watchdog.check(now)
    }

    fn skip_backlog(&mut self) {
        let available = self.ring.slots();
        if available > (self.rate / 1000 * MAX_BACKLOG_MS) as usize {
            let excess = available - (self.rate / 1000 * KEPT_BACKLOG_MS) as usize;
            if let Ok(chunk) = self.ring.read_chunk(excess) {
                chunk.commit_all();
                self.skipped += excess as u64;
            }
        }
    }
}

/// The device's side: runs on the device's thread, so it only copies.
struct Callback {
    ring: rtrb::Producer<f32>,
    channels: usize,
    dropped: Arc<AtomicU64>,
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
        let room = frames.min(self.ring.slots());
        if let Ok(chunk) = self.ring.write_chunk_uninit(room) {
            chunk.fill_from_iter(samples.chunks_exact(self.channels).map(downmix));
        }
        self.dropped
            .fetch_add((frames - room) as u64, Ordering::Relaxed);
        self.health.called();
        self.reader.unpark();
    }
}

fn open(id: Option<&str>, reader: &Thread) -> Result<(OpenStream, Watch, Opened), DeviceError> {
    let (device, label, connection) = find(Direction::Input, id)?;
    let listed: Vec<_> = device
        .supported_input_configs()
        .map_err(|error| device_error(&error))?
        .collect();
    let default = device.default_input_config().ok();
    let mut last = DeviceError::new(
        DeviceProblem::Unsupported,
        "the device lists no usable format",
    );
    for (config, format) in candidates(&listed, default.as_ref(), 1, BUFFER_FRAMES) {
        match build(&device, config, format, reader) {
            Ok((stream, ring, dropped, health)) => {
                tracing::debug!(label, ?config, ?format, "microphone opened");
                let rate = config.sample_rate;
                let (id, watched) = (id.map(str::to_owned), health.clone());
                let watch = move || {
                    if id
                        .as_deref()
                        .is_some_and(|id| is_gone(Direction::Input, id))
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
                        dropped,
                        health,
                    },
                ));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

type Built = (
    cpal::Stream,
    rtrb::Consumer<f32>,
    Arc<AtomicU64>,
    Arc<Health>,
);

fn build(
    device: &cpal::Device,
    config: StreamConfig,
    format: SampleFormat,
    reader: &Thread,
) -> Result<Built, DeviceError> {
    let (producer, consumer) =
        rtrb::RingBuffer::new((config.sample_rate / 1000 * RING_MS) as usize);
    let (health, dropped) = (Arc::new(Health::default()), Arc::new(AtomicU64::new(0)));
    let callback = Callback {
        ring: producer,
        channels: usize::from(config.channels),
        dropped: dropped.clone(),
        health: health.clone(),
        reader: reader.clone(),
    };
    let failed = health.clone();
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
    Ok((stream, consumer, dropped, health))
}

fn build_typed<T, E>(
    device: &cpal::Device,
    config: StreamConfig,
    mut callback: Callback,
    on_error: E,
) -> Result<cpal::Stream, cpal::Error>
where
    T: SizedSample,
    f32: FromSample<T>,
    E: FnMut(cpal::Error) + Send + 'static,
{
    device.build_input_stream(
        config,
        move |samples: &[T], _: &cpal::InputCallbackInfo| callback.take(samples),
        on_error,
        None,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SILENCE;
    use crate::pcm::testing::{frequency, sine};

    fn microphone(rate: u32, channels: usize) -> (Input, Callback) {
        let (producer, consumer) = rtrb::RingBuffer::new((rate / 1000 * RING_MS) as usize);
        let (health, dropped) = (Arc::new(Health::default()), Arc::new(AtomicU64::new(0)));
        let input = Input {
            label: "microphone".to_owned(),
            rate,
            ring: consumer,
            resampler: Resampler::new(rate, AUDIO_CLOCK_HZ).expect("a usual rate"),
            raw: Vec::new(),
            ready: Vec::new(),
            dropped: dropped.clone(),
            dropped_seen: 0,
            skipped: 0,
            watchdog: Watchdog::new(health.clone(), Instant::now()),
            _stream: StreamGuard::unconnected(),
        };
        let callback = Callback {
            ring: producer,
            channels,
            dropped,
            health,
            reader: std::thread::current(),
        };
        (input, callback)
    }

    #[test]
    fn any_rate_format_and_buffer_comes_out_as_48_khz_mono() {
        for (rate, channels, frames) in [(48_000, 1, 480), (44_100, 2, 333), (16_000, 6, 64)] {
            let (mut input, mut callback) = microphone(rate, channels);
            let tone = sine(440.0, 0.5, rate, rate as usize);
            let (mut heard, mut block) = (Vec::new(), SILENCE);
            for piece in tone.chunks(frames) {
                let interleaved: Vec<i16> = piece
                    .iter()
                    .flat_map(|it| vec![(it * 32_767.0) as i16; channels])
                    .collect();
                callback.take(&interleaved);
                while input.read(&mut block) {
                    heard.extend_from_slice(&block);
                }
            }
            assert!((47_000..=48_000).contains(&heard.len()), "{}", heard.len());
            assert!((frequency(&heard[4_800..], 48_000) - 440.0).abs() < 2.0);
            let peak = heard[4_800..]
                .iter()
                .fold(0.0_f32, |peak, it| peak.max(it.abs()));
            assert!((peak - 0.5).abs() < 0.01, "{peak}");
            assert_eq!(input.take_skipped(), 0);
        }
    }

    #[test]
    fn a_starved_reader_skips_to_the_newest() {
        let (mut input, mut callback) = microphone(48_000, 1);
        // 300 ms that nobody reads, the last 10 ms of them loud.
        callback.take(&vec![0.0_f32; 29 * 480]);
        callback.take(&[0.5_f32; 480]);
        let mut block = SILENCE;
        let mut read = 0;
        while input.read(&mut block) {
            read += 1;
        }
        assert_eq!((read, block), (2, [0.5; 480]));
        assert_eq!(input.take_skipped(), 28 * 480);
        assert_eq!(input.take_skipped(), 0);
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_counted() {
        let (mut input, mut callback) = microphone(16_000, 2);
        // Two seconds at once.
        callback.take(&vec![0_i16; 2 * 32_000]);
        assert_eq!(input.take_skipped(), 3 * (32_000 - 8_000));
        callback.take(&[0_i16; 3]);
        callback.take::<i16>(&[]);
    }

    #[test]
    fn a_driver_s_nonsense_is_silence_or_full_scale() {
        let (mut input, mut callback) = microphone(48_000, 1);
        let mut samples = [0.0_f32; 480];
        samples[..4].copy_from_slice(&[f32::NAN, f32::NEG_INFINITY, 3.0, 0.25]);
        callback.take(&samples);
        let mut block = [9.0; 480];
        assert!(input.read(&mut block));
        assert_eq!(block[..4], [0.0, -1.0, 1.0, 0.25]);
    }
}
