//! What is sent comes from here: a microphone, or a file or tone in the place of one.

use std::time::{Duration, Instant};

use crate::devices::input::{Input, InputOptions};
use crate::devices::slot::{Change, Choice, Device, Slot};
use crate::fade::Splice;
use crate::tone::Tone;
use crate::wav::WavSource;
use crate::{BLOCK_DURATION, SILENCE, StereoBlock, bounded};
use ahoy_media::device::{DeviceError, DeviceKind, MediaEvent, MediaEvents};
use ahoy_media::selection::MicrophoneSelection;
use ahoy_media::units::AUDIO_CLOCK_HZ;

/// How long the thread sleeps at most while a device delivers or is being opened: it is woken
/// by samples, this is only for the watchdog.
const WATCH_INTERVAL: Duration = Duration::from_millis(50);
/// How long it sleeps when nothing is to be done: commands wake it.
const IDLE_INTERVAL: Duration = Duration::from_millis(500);
/// A file or tone that is behind by more, because the computer slept or was too busy, does not
/// catch up.
const MAX_BEHIND: Duration = Duration::from_millis(100);

/// The source of a send pipeline. Lives on its thread.
pub(crate) struct Capture {
    events: MediaEvents,
    slot: Slot<Input>,
    source: Source,
    splice: Splice,
    skipped: u64,
    /// Of microphones that are closed by now.
    invalid_before: u64,
    openings: u64,
}

enum Source {
    None,
    Device(Box<Input>),
    Timed { blocks: TimedBlocks, due: Instant },
}

enum TimedBlocks {
    File(Box<WavSource>),
    Tone(Tone),
}

/// What the pipeline has to know about its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SourceChange {
    /// Another one delivers from now on.
    Begun,
    /// None delivers any more.
    Ended,
}

impl Capture {
    /// Without a source.
    pub(crate) fn new(events: MediaEvents) -> Self {
        Self {
            slot: Slot::new(InputOptions { stereo: false }, events.clone()),
            events,
            source: Source::None,
            splice: Splice::default(),
            skipped: 0,
            invalid_before: 0,
            openings: 0,
        }
    }

    /// Another source; the present one runs until the other is there.
    pub(crate) fn select(
        &mut self,
        selection: MicrophoneSelection,
        now: Instant,
    ) -> Option<SourceChange> {
        let blocks = match selection {
            MicrophoneSelection::Default => return self.choose(Choice::Default),
            MicrophoneSelection::Device(id) => return self.choose(Choice::Device(id)),
            MicrophoneSelection::None => {
                self.slot.choose(None);
                (self.events)(MediaEvent::Stopped {
                    kind: DeviceKind::Microphone,
                });
                return self.replace(Source::None);
            }
            MicrophoneSelection::Tone => (TimedBlocks::Tone(Tone::default()), "440 Hz".to_owned()),
            MicrophoneSelection::File(path) => match WavSource::open(&path) {
                Ok(file) => {
                    let label = file.label().to_owned();
                    (TimedBlocks::File(Box::new(file)), label)
                }
                Err(error) => {
                    self.slot.choose(None);
                    return self.fail(error);
                }
            },
        };
        self.slot.choose(None);
        let (blocks, label) = blocks;
        (self.events)(MediaEvent::Started {
            kind: DeviceKind::Microphone,
            label,
            format: String::new(),
        });
        self.replace(Source::Timed { blocks, due: now })
    }

    /// Left and right as they come, from microphones that have both.
    pub(crate) fn set_stereo(&mut self, stereo: bool) {
        self.slot.set_options(InputOptions { stereo });
    }

    /// Whether it is a microphone that delivers, rather than a file or a tone.
    pub(crate) fn is_device(&self) -> bool {
        matches!(self.source, Source::Device(_))
    }

    /// Opens, replaces and closes devices as needed.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<SourceChange> {
        match self.slot.poll(now)? {
            Change::Opened(input) => self.replace(Source::Device(input)),
            Change::Closed if matches!(self.source, Source::Device(_)) => {
                self.replace(Source::None)
            }
            Change::Closed => None,
        }
    }

    /// Takes the next 10 ms, if they are there.
    ///
    /// # Errors
    /// The source has failed: there is none any more, until [`Self::poll`] has another one.
    pub(crate) fn next(
        &mut self,
        block: &mut StereoBlock,
        now: Instant,
    ) -> Result<bool, SourceChange> {
        let there = match &mut self.source {
            Source::None => Ok(false),
            Source::Device(input) => input.check(now).map(|()| {
                let there = input.read(block, now);
                let skipped = input.take_skipped();
                if skipped > 0 {
                    self.skipped += skipped;
                    self.splice.cut();
                }
                there
            }),
            Source::Timed { blocks, due } => blocks.next(block, due, now, &mut self.skipped),
        };
        match there {
            Ok(true) => {
                for sample in block.as_flattened_mut() {
                    *sample = bounded(*sample);
                }
                self.splice.apply(block);
                Ok(true)
            }
            Ok(false) => Ok(false),
            Err(error) => Err(self.source_failed(error, now)),
        }
    }

    /// How long before now the block ended that [`Self::next`] returned last.
    pub(crate) fn behind(&self) -> Duration {
        self.device().map_or(Duration::ZERO, Input::behind)
    }

    /// A device need not wake the thread before there are so many samples at 48 kHz.
    pub(crate) fn sleep_until(&self, samples: usize) {
        if let Some(input) = self.device() {
            input.sleep_until(samples);
        }
    }

    /// Samples at 48 kHz that were captured and will never be read, since the last call.
    pub(crate) fn take_skipped(&mut self) -> u64 {
        std::mem::take(&mut self.skipped)
    }

    /// Samples that drivers delivered and that were none, so far.
    pub(crate) fn invalid_samples(&self) -> u64 {
        self.invalid_before + self.device().map_or(0, Input::invalid_samples)
    }

    /// How often a microphone was opened.
    pub(crate) const fn openings(&self) -> u64 {
        self.openings
    }

    /// How fast the microphone's clock is, in parts per million.
    pub(crate) fn drift_ppm(&self) -> f64 {
        self.device().map_or(0.0, Input::drift_ppm)
    }

    /// How long the thread may sleep unless it is woken.
    pub(crate) fn pause(&self, now: Instant) -> Duration {
        match &self.source {
            Source::Timed { due, .. } => due.saturating_duration_since(now),
            Source::Device(_) => WATCH_INTERVAL,
            Source::None if self.slot.is_waiting() => WATCH_INTERVAL,
            Source::None => IDLE_INTERVAL,
        }
    }

    fn device(&self) -> Option<&Input> {
        match &self.source {
            Source::Device(input) => Some(input),
            Source::None | Source::Timed { .. } => None,
        }
    }

    fn choose(&mut self, choice: Choice) -> Option<SourceChange> {
        self.slot.choose(Some(choice));
        None
    }

    fn replace(&mut self, source: Source) -> Option<SourceChange> {
        let was_there = !matches!(self.source, Source::None);
        self.invalid_before = self.invalid_samples();
        self.source = source;
        self.splice.cut();
        match &self.source {
            Source::None => was_there.then_some(SourceChange::Ended),
            Source::Device(_) => {
                self.openings += 1;
                Some(SourceChange::Begun)
            }
            Source::Timed { .. } => Some(SourceChange::Begun),
        }
    }

    fn source_failed(&mut self, error: DeviceError, now: Instant) -> SourceChange {
        if matches!(self.source, Source::Device(_)) {
            self.slot.lost(error, now);
            self.replace(Source::None);
        } else {
            self.fail(error);
        }
        SourceChange::Ended
    }

    fn fail(&mut self, error: DeviceError) -> Option<SourceChange> {
        tracing::info!(%error, "no sound from the file");
        (self.events)(MediaEvent::Failed {
            kind: DeviceKind::Microphone,
            error,
        });
        self.replace(Source::None)
    }
}

impl TimedBlocks {
    fn next(
        &mut self,
        block: &mut StereoBlock,
        due: &mut Instant,
        now: Instant,
        skipped: &mut u64,
    ) -> Result<bool, DeviceError> {
        if now < *due {
            return Ok(false);
        }
        let mut mono = SILENCE;
        match self {
            Self::File(file) => file.fill(&mut mono)?,
            Self::Tone(tone) => tone.fill(&mut mono),
        }
        for (frame, sample) in block.iter_mut().zip(mono) {
            *frame = [sample; 2];
        }
        let behind = now - *due;
        *due += BLOCK_DURATION;
        if behind > MAX_BEHIND {
            *due = now + BLOCK_DURATION;
            *skipped += (behind.as_secs_f64() * f64::from(AUDIO_CLOCK_HZ)) as u64;
        }
        Ok(true)
    }
}
