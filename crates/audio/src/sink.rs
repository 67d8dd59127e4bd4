//! What is received goes here: a speaker, or a file in the place of one, or nowhere.

use std::time::{Duration, Instant};

use crate::devices::output::Output;
use crate::devices::slot::{Change, Choice, Device, Slot};
use crate::fade::Splice;
use crate::wav::WavSink;
use crate::{BLOCK_DURATION, StereoBlock, mono};
use ahoy_media::device::{DeviceError, DeviceKind, MediaEvent, MediaEvents};
use ahoy_media::selection::SpeakerSelection;

/// How long the thread sleeps at most while a device takes samples or is being opened: it is
/// woken by the device, this is only for the watchdog.
const WATCH_INTERVAL: Duration = Duration::from_millis(50);
/// How long it sleeps when nothing is to be done: commands wake it.
const IDLE_INTERVAL: Duration = Duration::from_millis(500);
/// Without a device, playout that is behind by more does not catch up.
const MAX_BEHIND: Duration = Duration::from_millis(100);

/// The end of a playout pipeline. Lives on its thread.
pub(crate) struct PlayoutSink {
    events: MediaEvents,
    slot: Slot<Output>,
    sink: Sink,
    splice: Splice,
    /// When the next block is due without a device.
    due: Instant,
    /// Missing samples of devices that are closed by now.
    missing_before: u64,
    openings: u64,
}

enum Sink {
    None,
    Device(Box<Output>),
    File(WavSink),
}

impl PlayoutSink {
    /// Nowhere.
    pub(crate) fn new(events: MediaEvents, now: Instant) -> Self {
        Self {
            slot: Slot::new((), events.clone()),
            events,
            sink: Sink::None,
            splice: Splice::default(),
            due: now,
            missing_before: 0,
            openings: 0,
        }
    }

    /// Another end; the present one plays until the other is there.
    pub(crate) fn select(&mut self, selection: SpeakerSelection) {
        match selection {
            SpeakerSelection::Default => self.slot.choose(Some(Choice::Default)),
            SpeakerSelection::Device(id) => self.slot.choose(Some(Choice::Device(id))),
            SpeakerSelection::None => {
                self.slot.choose(None);
                if self.replace(Sink::None) {
                    (self.events)(MediaEvent::Stopped {
                        kind: DeviceKind::Speaker,
                    });
                }
            }
            SpeakerSelection::File(path) => {
                self.slot.choose(None);
                // First completes a file that may be the same one.
                self.replace(Sink::None);
                match WavSink::create(&path) {
                    Ok(file) => {
                        let label = file.label().to_owned();
                        self.replace(Sink::File(file));
                        (self.events)(MediaEvent::Started {
                            kind: DeviceKind::Speaker,
                            label,
                            format: String::new(),
                        });
                    }
                    Err(error) => self.fail(error),
                }
            }
        }
    }

    /// Opens, replaces and closes devices as needed.
    pub(crate) fn poll(&mut self, now: Instant) {
        match self.slot.poll(now) {
            Some(Change::Opened(output)) => {
                self.replace(Sink::Device(output));
            }
            Some(Change::Closed) if matches!(self.sink, Sink::Device(_)) => {
                self.replace(Sink::None);
            }
            Some(Change::Closed) | None => {}
        }
    }

    /// Whether the next 10 ms are due, and how long they will wait before they are played.
    pub(crate) fn wants_block(&mut self, now: Instant) -> Option<Duration> {
        if let Sink::Device(output) = &mut self.sink {
            self.due = now;
            match output.check(now) {
                Ok(()) => return output.wants_block(now).then(|| output.queued()),
                Err(error) => {
                    self.slot.lost(error, now);
                    self.replace(Sink::None);
                }
            }
        }
        if now < self.due {
            return None;
        }
        if now - self.due > MAX_BEHIND {
            self.due = now;
        }
        self.due += BLOCK_DURATION;
        Some(Duration::ZERO)
    }

    /// Plays the 10 ms that [`Self::wants_block`] asked for.
    pub(crate) fn write(&mut self, block: &mut StereoBlock) {
        self.splice.apply(block);
        let written = match &mut self.sink {
            Sink::None => Ok(()),
            Sink::Device(output) => {
                output.write(block);
                Ok(())
            }
            Sink::File(file) => file.write(&mono(block)),
        };
        if let Err(error) = written {
            self.fail(error);
        }
    }

    /// Whether nobody would hear anything.
    pub(crate) const fn is_none(&self) -> bool {
        matches!(self.sink, Sink::None)
    }

    /// Samples at 48 kHz that devices wanted and did not get, so far.
    pub(crate) fn missing_samples(&self) -> u64 {
        self.missing_before + self.device().map_or(0, Output::missing_samples)
    }

    /// How often a speaker was opened.
    pub(crate) const fn openings(&self) -> u64 {
        self.openings
    }

    /// How fast the speaker's clock is, in parts per million.
    pub(crate) fn drift_ppm(&self) -> f64 {
        self.device().map_or(0.0, Output::drift_ppm)
    }

    /// How long the thread may sleep unless it is woken. `idle`: nothing is to be played, and
    /// nobody listens.
    pub(crate) fn pause(&self, idle: bool, now: Instant) -> Duration {
        match &self.sink {
            Sink::Device(_) => WATCH_INTERVAL,
            Sink::None if idle && self.slot.is_waiting() => WATCH_INTERVAL,
            Sink::None if idle => IDLE_INTERVAL,
            Sink::None | Sink::File(_) => self.due.saturating_duration_since(now),
        }
    }

    fn device(&self) -> Option<&Output> {
        match &self.sink {
            Sink::Device(output) => Some(output),
            Sink::None | Sink::File(_) => None,
        }
    }

    /// `false` when there was none before. A file that cannot be completed is reported.
    fn replace(&mut self, sink: Sink) -> bool {
        self.missing_before = self.missing_samples();
        // Nothing has been heard from this one before.
        self.splice = Splice::default();
        self.openings += u64::from(matches!(sink, Sink::Device(_)));
        match std::mem::replace(&mut self.sink, sink) {
            Sink::None => false,
            Sink::Device(_) => true,
            Sink::File(file) => match file.close() {
                Ok(()) => true,
                Err(error) => {
                    self.report(error);
                    false
                }
            },
        }
    }

    fn fail(&mut self, error: DeviceError) {
        tracing::info!(%error, "no sound into the file");
        self.sink = Sink::None;
        self.report(error);
    }

    fn report(&self, error: DeviceError) {
        (self.events)(MediaEvent::Failed {
            kind: DeviceKind::Speaker,
            error,
        });
    }
}
