//! From the microphone to Opus packets.
//!
//! ```text
//! device callback → ring ─┐
//! WAV file, tone (timer) ─┴─▶ audio-send thread: injection, level, processing, mute, Opus ─▶ sink
//! ```

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use crate::capture::{Capture, SourceChange};
use crate::level::{AudioLevel, LevelMeter, SharedLevel};
use crate::mute::Mute;
use crate::opus::{Content, Encoded, EncoderSettings, FrameLength, OpusEncoder};
use crate::priority::raise_current_thread;
use crate::processing::alignment::AlignmentStats;
use crate::processing::health::MicrophoneHealth;
use crate::processing::reference::RenderReference;
use crate::processing::{Processing, ProcessingSettings};
use crate::{BLOCK_SAMPLES, Block, STEREO_SILENCE, StereoBlock, bounded, duration_of, mono};
use ahoy_media::device::{DeviceError, DeviceKind, DeviceProblem, MediaEvent, MediaEvents};
use ahoy_media::frame::{EncodedAudio, EncodedAudioSink};
use ahoy_media::selection::MicrophoneSelection;
use ahoy_media::units::AUDIO_CLOCK_HZ;
use ahoy_media::worker::Worker;

/// One source follows another without a pause if it begins within so many samples: what is sent
/// is behind the clock by what microphone and packet hold, and a hole would be heard.
const MAX_SEAM: u64 = 2_880;
/// After unmuting, the sound comes back over 5 ms instead of with a click.
const FADE_IN_SAMPLES: usize = 240;
/// A microphone wakes the thread when there are so many samples: a packet at a time, so that what
/// processing and encoder need is fetched from memory once for it, and not once for every 10 ms.
const BATCH_SAMPLES: usize = FrameLength::Ms20.samples();
/// How often silence is told when it begins, so that the receiver does not take it for loss: once
/// more than most bursts of losses are long. Then nothing is sent until it ends.
const SILENCE_SAID: u32 = 3;

/// Replaces what was captured, for measurements.
pub trait AudioInjection: Send + Sync {
    /// Writes the 10 ms that enter the send path at `now`. The block holds what was captured.
    /// Called on the audio-send thread: must return at once.
    fn fill(&self, block: &mut Block, now: Instant);
}

/// Counters of the send path, named as in W3C webrtc-stats (`RTCAudioSourceStats`,
/// `RTCOutboundRtpStreamStats`) unless noted.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct AudioSendStats {
    /// Packets handed to the sink.
    pub packets_sent: u64,
    /// Bytes of Opus in them, copies of earlier packets included.
    pub bytes_sent: u64,
    /// Sum of squared samples times their duration in seconds, of what was encoded: muted is 0.
    pub total_audio_energy: f64,
    /// Seconds encoded.
    pub total_samples_duration: f64,
    /// Ours: samples captured and skipped because the thread was starved.
    pub skipped_samples: u64,
    /// Ours: samples that the driver delivered and that were none (NaN, infinite): silence.
    pub invalid_samples: u64,
    /// Ours: how often a microphone was opened.
    pub device_openings: u64,
    /// Ours: how fast the microphone's clock is against the computer's, in parts per million.
    pub clock_drift_ppm: f64,
    /// Ours: seconds spent encoding.
    pub total_encode_time: f64,
    /// Ours: frames of silence that needed no packet.
    pub silent_frames: u64,
    /// Ours: blocks that the encoder refused.
    pub encode_errors: u64,
    /// Ours: seconds spent on echo, noise and gain.
    pub total_processing_time: f64,
    /// Ours: how the echo lies behind what is played.
    pub alignment: AlignmentStats,
}

/// The send pipeline. It starts without a microphone and runs until it is dropped.
pub struct AudioSend {
    worker: Worker<Command>,
    shared: Arc<Shared>,
    reference: RenderReference,
    health: MicrophoneHealth,
}

enum Command {
    Microphone(MicrophoneSelection),
    Processing(ProcessingSettings),
    Headset(bool),
    Encoding(EncoderSettings),
    Injection(Option<Arc<dyn AudioInjection>>),
}

#[derive(Debug, Default)]
struct Shared {
    muted: AtomicBool,
    level: Arc<SharedLevel>,
    stats: Mutex<AudioSendStats>,
}

impl AudioSend {
    /// Starts the thread. Packets go to `sink`, what happens to the microphone to `events`; both
    /// are called on the thread.
    pub fn start(sink: Arc<dyn EncodedAudioSink>, events: MediaEvents) -> Self {
        let (chain, reference) = Chain::new();
        let health = chain.processing.health();
        let shared = Arc::new(Shared {
            level: chain.meter.shared(),
            ..Shared::default()
        });
        let (for_thread, died) = (shared.clone(), events.clone());
        let work =
            move |commands| match OpusEncoder::new(Content::Voice, EncoderSettings::default()) {
                Ok(encoder) => Thread::new(sink, events, for_thread, chain, encoder).run(&commands),
                Err(error) => events(failed(DeviceError::new(DeviceProblem::Failed, error))),
            };
        let died = move |detail| died(failed(DeviceError::new(DeviceProblem::Failed, detail)));
        Self {
            worker: Worker::start("audio-send", work, died),
            shared,
            reference,
            health,
        }
    }

    /// Switches to another microphone; the present one runs until the other is open. A failure is
    /// reported as an event and leaves no microphone.
    pub fn set_microphone(&self, microphone: MicrophoneSelection) {
        self.worker.send(Command::Microphone(microphone));
    }

    /// While muted, silence is encoded in the place of everything captured, also of what was
    /// captured just before and is not encoded yet.
    pub fn set_muted(&self, muted: bool) {
        self.shared.muted.store(muted, Ordering::SeqCst);
    }

    /// What is done with the sound of a device from now on; switched without a click. At first:
    /// [`ProcessingSettings::default`]. Original sound is captured and sent in stereo and full
    /// band. Files and tones are sent as they are.
    pub fn set_processing(&self, settings: ProcessingSettings) {
        self.worker.send(Command::Processing(settings));
    }

    /// Whether loudspeakers are at the user's ears, so that there is no echo to cancel.
    pub fn set_headset(&self, headset: bool) {
        self.worker.send(Command::Headset(headset));
    }

    /// Where playout says what it plays, so that its echo can be cancelled: for
    /// [`Playout::set_render_reference`](crate::playout::Playout::set_render_reference).
    pub fn render_reference(&self) -> RenderReference {
        self.reference.clone()
    }

    /// Whether somebody speaks, how noisy the microphone is, whether it gives anything; also while
    /// muted. For [`MicrophoneWatch`](crate::processing::health::MicrophoneWatch).
    pub fn health(&self) -> MicrophoneHealth {
        self.health.clone()
    }

    /// How the sound is encoded and protected from the next packet on, as
    /// [`Redundancy`](crate::redundancy::Redundancy) says.
    pub fn set_encoding(&self, settings: EncoderSettings) {
        self.worker.send(Command::Encoding(settings));
    }

    /// What the microphone hears, also while muted.
    pub fn level(&self) -> AudioLevel {
        self.shared.level.get()
    }

    /// Replaces what is captured. Blocks come at the pace of the microphone: without one there
    /// are none.
    pub fn set_injection(&self, injection: Option<Arc<dyn AudioInjection>>) {
        self.worker.send(Command::Injection(injection));
    }

    /// Counters since the start.
    pub fn stats(&self) -> AudioSendStats {
        *self
            .shared
            .stats
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn failed(error: DeviceError) -> MediaEvent {
    MediaEvent::Failed {
        kind: DeviceKind::Microphone,
        error,
    }
}

/// What happens to captured blocks before the encoder: pure.
struct Chain {
    meter: LevelMeter,
    processing: Processing,
    injection: Option<Arc<dyn AudioInjection>>,
    /// Left and right, for the encoder.
    frame: Vec<[f32; 2]>,
    frame_length: FrameLength,
    was_muted: bool,
}

impl Chain {
    fn new() -> (Self, RenderReference) {
        let (processing, reference) = Processing::new(ProcessingSettings::default());
        let chain = Self {
            meter: LevelMeter::default(),
            processing,
            injection: None,
            frame: Vec::with_capacity(FrameLength::Ms60.samples()),
            frame_length: FrameLength::default(),
            was_muted: false,
        };
        (chain, reference)
    }

    /// Takes 10 ms; when they complete a frame, it is swapped into `out` for the encoder. While
    /// `muted` it is zeros. Only what comes from a `device` is processed.
    fn take(
        &mut self,
        block: &mut StereoBlock,
        device: bool,
        muted: bool,
        now: Instant,
        out: &mut Vec<[f32; 2]>,
    ) -> bool {
        if let Some(injection) = &self.injection {
            let mut injected = mono(block);
            injection.fill(&mut injected, now);
            *block = injected.map(|sample| [sample; 2]);
        }
        for pair in block.iter_mut() {
            *pair = pair.map(bounded);
        }
        self.meter.push(&mono(block));
        if device && self.injection.is_none() {
            // Also while muted, so that it still knows the room afterwards, and who speaks.
            self.processing.set_muted(muted);
            self.processing.process_stereo(block, now);
        }
        if self.was_muted && !muted {
            for (index, pair) in block.iter_mut().take(FADE_IN_SAMPLES).enumerate() {
                *pair = pair.map(|sample| sample * index as f32 / FADE_IN_SAMPLES as f32);
            }
        }
        self.was_muted = muted;
        if muted {
            self.frame.fill([0.0; 2]);
            *block = STEREO_SILENCE;
        }
        self.frame.extend_from_slice(block);
        let length = self.frame_length.samples();
        if self.frame.len() < length {
            return false;
        }
        out.clear();
        out.extend(self.frame.drain(..length));
        true
    }

    /// How many samples more are needed for anything to be sent, or for a batch.
    fn wants(&self) -> usize {
        let missing = self.frame_length.samples().saturating_sub(self.frame.len());
        missing.clamp(BLOCK_SAMPLES, BATCH_SAMPLES)
    }

    /// Forgets what belongs to a source that is gone.
    fn clear(&mut self) {
        self.processing.capture_changed();
        self.meter.clear();
        self.frame.clear();
    }
}

/// Media time of what is sent: continuous while a source runs, and in step with the clock
/// whenever one starts, so that a receiver sees a pause as a pause.
#[derive(Debug)]
struct Timeline {
    epoch: Instant,
    next: u64,
    skipped: u64,
}

impl Timeline {
    /// 20 ms, the shortest packet: pauses are multiples of it.
    const STEP: u64 = FrameLength::Ms20.samples() as u64;

    /// A source begins, after a pause or in the place of another one.
    fn resume(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.epoch).as_secs_f64();
        let frames = (elapsed * f64::from(AUDIO_CLOCK_HZ)) as u64 / Self::STEP;
        let next = frames * Self::STEP;
        if next > self.next + MAX_SEAM {
            self.next = next;
            self.skipped = 0;
        }
    }

    /// Samples were captured that will not be sent. Only whole packets are left out: receivers
    /// fill a hole packet by packet.
    fn skip(&mut self, samples: u64) {
        self.skipped += samples;
        let whole = self.skipped / Self::STEP * Self::STEP;
        self.next += whole;
        self.skipped -= whole;
    }

    /// Media time of the next packet, which holds `samples`; wraps.
    fn advance(&mut self, samples: usize) -> u32 {
        let timestamp = self.next as u32;
        self.next += samples as u64;
        timestamp
    }
}

struct Thread {
    sink: Arc<dyn EncodedAudioSink>,
    shared: Arc<Shared>,
    chain: Chain,
    encoder: OpusEncoder,
    /// What is being encoded.
    frame: Vec<[f32; 2]>,
    mute: Mute,
    timeline: Timeline,
    capture: Capture,
    /// In a row, up to now.
    silent_frames: u32,
}

impl Thread {
    fn new(
        sink: Arc<dyn EncodedAudioSink>,
        events: MediaEvents,
        shared: Arc<Shared>,
        chain: Chain,
        encoder: OpusEncoder,
    ) -> Self {
        Self {
            sink,
            shared,
            chain,
            encoder,
            frame: Vec::with_capacity(FrameLength::Ms60.samples()),
            mute: Mute::default(),
            timeline: Timeline {
                epoch: Instant::now(),
                next: 0,
                skipped: 0,
            },
            capture: Capture::new(events),
            silent_frames: 0,
        }
    }

    fn run(mut self, commands: &Receiver<Command>) {
        raise_current_thread();
        loop {
            loop {
                match commands.try_recv() {
                    Ok(command) => self.execute(command, Instant::now()),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return,
                }
            }
            let change = self.capture.poll(Instant::now());
            self.note(change, Instant::now());
            self.capture();
            self.capture.sleep_until(self.chain.wants());
            thread::park_timeout(self.capture.pause(Instant::now()));
        }
    }

    fn execute(&mut self, command: Command, now: Instant) {
        let result = match command {
            Command::Microphone(selection) => {
                let change = self.capture.select(selection, now);
                return self.note(change, now);
            }
            Command::Injection(injection) => {
                self.chain.injection = injection;
                Ok(())
            }
            Command::Processing(settings) => {
                self.chain.processing.set_settings(settings);
                self.capture.set_stereo(settings.original_sound);
                self.encoder.set_content(if settings.original_sound {
                    Content::Music
                } else {
                    Content::Voice
                })
            }
            Command::Headset(headset) => {
                self.chain.processing.set_headset(headset);
                Ok(())
            }
            Command::Encoding(settings) => {
                let result = self.encoder.set(settings);
                self.chain.frame_length = self.encoder.settings().frame_length;
                result
            }
        };
        if let Err(error) = result {
            tracing::warn!(%error, "the Opus encoder refused a setting");
        }
    }

    fn note(&mut self, change: Option<SourceChange>, now: Instant) {
        match change {
            Some(SourceChange::Begun) => {
                self.chain.processing.capture_changed();
                self.timeline.resume(now);
            }
            Some(SourceChange::Ended) => self.chain.clear(),
            None => {}
        }
    }

    /// Takes in everything that the source has ready.
    fn capture(&mut self) {
        let mut captured = STEREO_SILENCE;
        loop {
            let now = Instant::now();
            let there = self.capture.next(&mut captured, now);
            self.count_capture();
            match there {
                Ok(true) => {
                    let muted = self.shared.muted.load(Ordering::SeqCst);
                    let until = now.checked_sub(self.capture.behind()).unwrap_or(now);
                    let muted = self.mute.silences(muted);
                    self.process(&mut captured, muted, until);
                }
                Ok(false) => break,
                Err(change) => {
                    self.note(Some(change), now);
                    break;
                }
            }
        }
        self.mute.batch_taken();
    }

    fn count_capture(&mut self) {
        let skipped = self.capture.take_skipped();
        self.timeline.skip(skipped);
        self.chain.processing.capture_skipped(skipped);
        let capture = &self.capture;
        self.update_stats(|stats| {
            stats.skipped_samples += skipped;
            stats.invalid_samples = capture.invalid_samples();
            stats.device_openings = capture.openings();
            stats.clock_drift_ppm = capture.drift_ppm();
        });
    }

    /// These 10 ms were captured until `now`.
    fn process(&mut self, block: &mut StereoBlock, muted: bool, now: Instant) {
        let started = Instant::now();
        let device = self.capture.is_device();
        let complete = self.chain.take(block, device, muted, now, &mut self.frame);
        let processing_time = started.elapsed().as_secs_f64();
        let alignment = self.chain.processing.alignment();
        self.update_stats(|stats| {
            stats.total_processing_time += processing_time;
            stats.alignment = alignment;
        });
        if !complete {
            return;
        }
        let rtp_timestamp = self.timeline.advance(self.frame.len());
        let started = Instant::now();
        let encoded = self.encoder.encode(&self.frame);
        let encode_time = started.elapsed().as_secs_f64();
        let duration = duration_of(self.frame.len() as u64).as_secs_f64();
        let power = self
            .frame
            .as_flattened()
            .iter()
            .map(|it| it * it)
            .sum::<f32>()
            / (2 * self.frame.len()) as f32;
        self.update_stats(|stats| {
            stats.total_encode_time += encode_time;
            stats.total_samples_duration += duration;
            stats.total_audio_energy += f64::from(power) * duration;
        });
        let data = match encoded {
            Ok(Encoded::Packet(data)) => {
                self.silent_frames = 0;
                data
            }
            Ok(Encoded::Silence(data)) => {
                self.silent_frames = self.silent_frames.saturating_add(1);
                if self.silent_frames > SILENCE_SAID {
                    return self.update_stats(|stats| stats.silent_frames += 1);
                }
                data
            }
            Err(error) => {
                tracing::debug!(%error, "sound not encoded");
                return self.update_stats(|stats| stats.encode_errors += 1);
            }
        };
        let copies = self.encoder.copies();
        let bytes = data.len() as u64 * copies.times();
        self.sink.on_encoded_audio(&EncodedAudio {
            data,
            rtp_timestamp,
            captured_at: now,
            copies,
        });
        self.update_stats(|stats| {
            stats.packets_sent += 1;
            stats.bytes_sent += bytes;
        });
    }

    fn update_stats(&self, update: impl FnOnce(&mut AudioSendStats)) {
        update(
            &mut self
                .shared
                .stats
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
    }
}

const _: () = assert!(FrameLength::Ms20.samples() == 2 * BLOCK_SAMPLES);

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use proptest::prelude::*;

    struct Loud;

    impl AudioInjection for Loud {
        fn fill(&self, block: &mut Block, _: Instant) {
            block.fill(0.9);
        }
    }

    #[test]
    fn muting_also_covers_what_was_captured_just_before() {
        let ((mut chain, _), mut frame) = (Chain::new(), Vec::new());
        assert!(!chain.take(
            &mut [[0.5; 2]; BLOCK_SAMPLES],
            true,
            false,
            Instant::now(),
            &mut frame
        ));
        assert!(chain.take(
            &mut [[0.5; 2]; BLOCK_SAMPLES],
            true,
            true,
            Instant::now(),
            &mut frame
        ));
        assert_eq!(frame, [[0.0; 2]; 2 * BLOCK_SAMPLES]);
        assert!(
            chain.meter.shared().get().peak > 0.4,
            "the meter still shows the voice"
        );
    }

    #[test]
    fn unmuting_fades_in() {
        let ((mut chain, _), mut frame) = (Chain::new(), Vec::new());
        chain.processing.set_settings(ProcessingSettings {
            original_sound: true,
            ..ProcessingSettings::default()
        });
        chain.take(
            &mut [[0.5; 2]; BLOCK_SAMPLES],
            true,
            true,
            Instant::now(),
            &mut frame,
        );
        chain.take(
            &mut [[0.5; 2]; BLOCK_SAMPLES],
            true,
            false,
            Instant::now(),
            &mut frame,
        );
        let heard = [0, BLOCK_SAMPLES, 2 * BLOCK_SAMPLES - 1].map(|at| frame[at][0]);
        assert_eq!(heard, [0.0, 0.0, 0.5]);
    }

    #[test]
    fn what_is_sent_stays_in_step_with_the_clock() {
        let epoch = Instant::now();
        let mut timeline = Timeline {
            epoch,
            next: 0,
            skipped: 0,
        };
        timeline.resume(epoch + Duration::from_millis(110));
        assert_eq!(timeline.advance(960), 5 * 960);
        timeline.skip(500);
        assert_eq!(timeline.advance(960), 6 * 960);
        timeline.skip(500);
        assert_eq!(timeline.advance(960), 8 * 960);
        timeline.resume(epoch);
        assert_eq!(timeline.advance(960), 9 * 960, "never back");
    }

    #[test]
    fn a_muted_microphone_is_still_listened_to_for_hints() {
        let ((mut chain, _), mut frame) = (Chain::new(), Vec::new());
        let health = chain.processing.health();
        for piece in crate::pcm::testing::voice(96_000).chunks_exact(BLOCK_SAMPLES) {
            let mut block: StereoBlock = std::array::from_fn(|at| [piece[at]; 2]);
            if chain.take(&mut block, true, true, Instant::now(), &mut frame) {
                assert!(frame.iter().all(|pair| *pair == [0.0; 2]));
            }
        }
        let figures = health.get();
        assert_eq!((figures.blocks, figures.silent_blocks), (200, 0));
        for _ in 0..10 {
            chain.take(
                &mut STEREO_SILENCE.clone(),
                true,
                true,
                Instant::now(),
                &mut frame,
            );
        }
        assert_eq!(health.get().silent_blocks, 10);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Muted means that not one captured sample reaches the encoder.
        #[test]
        fn muted_is_silence_whatever_comes(
            blocks in proptest::collection::vec(proptest::num::f32::ANY, 2..40),
            inject in any::<bool>(),
            mute_at in 0_usize..40,
        ) {
            let ((mut chain, _), mut frame) = (Chain::new(), Vec::new());
            chain.injection = inject.then(|| Arc::new(Loud) as Arc<dyn AudioInjection>);
            for (index, sample) in blocks.iter().enumerate() {
                let muted = index >= mute_at;
                if chain.take(&mut [[*sample; 2]; BLOCK_SAMPLES], true, muted, Instant::now(), &mut frame) {
                    let samples = frame.as_flattened();
                    prop_assert!(!muted || samples.iter().all(|sample| *sample == 0.0));
                    prop_assert!(samples.iter().all(|sample| sample.abs() <= 1.0));
                }
            }
        }
    }
}
