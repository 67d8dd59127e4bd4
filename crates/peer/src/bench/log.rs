//! What happened between two `log` messages, written down by the media threads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ahoy_media::frame::VideoFrame;
use ahoy_video::capture::stamp::read_stamp;
use ahoy_video::send::CaptureObserver;
use serde::Serialize;

use super::clock::WallClock;
use super::fidelity::Fidelity;

/// Most entries of one kind between two messages. Half a second has about 30; when the harness
/// stops reading, further ones are dropped and counted.
const MAX_ENTRIES: usize = 4096;

/// The content of a `log` message.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entries {
    /// Frame number and moment of capture.
    pub(super) cap: Vec<(u32, f64)>,
    /// Frame number (`None`: not readable), moment of presentation, moment it was due, width.
    pub(super) disp: Vec<(Option<u32>, f64, f64, u32)>,
    /// Moments at which a burst began to be sent.
    pub(super) audio_gen: Vec<f64>,
    /// Moments at which one was heard.
    pub(super) audio_det: Vec<f64>,
}

/// Shared by the media threads, which write, and the endpoint's task, which sends.
pub(super) struct BenchLog {
    clock: WallClock,
    measuring: AtomicBool,
    pages: Mutex<Pages>,
    fidelity: Option<Fidelity>,
}

#[derive(Debug, Default)]
struct Pages {
    entries: Entries,
    dropped: u64,
}

impl BenchLog {
    pub(super) fn new(clock: WallClock, fidelity: Option<Fidelity>) -> Arc<Self> {
        Arc::new(Self {
            clock,
            measuring: AtomicBool::new(false),
            pages: Mutex::default(),
            fidelity,
        })
    }

    /// How much of the pictures arrives, if that is measured.
    pub(super) const fn fidelity(&self) -> Option<&Fidelity> {
        self.fidelity.as_ref()
    }

    /// Between the marks, pictures are logged.
    pub(super) fn set_measuring(&self, measuring: bool) {
        self.measuring.store(measuring, Ordering::Relaxed);
    }

    /// Everything since the last call, and how many entries had to be dropped.
    pub(super) fn take(&self) -> (Entries, u64) {
        let pages = std::mem::take(&mut *self.pages());
        (pages.entries, pages.dropped)
    }

    /// A received picture was handed to presentation at `shown`. It was due when its last packet
    /// had come in: pictures are shown as soon as they can be, so what lies between is lateness.
    pub(super) fn displayed(&self, frame: &VideoFrame, shown: Instant) {
        if self.measuring.load(Ordering::Relaxed) {
            let number = read_stamp(&frame.picture);
            let entry = (
                number,
                self.clock.unix_ms(shown),
                self.clock.unix_ms(frame.captured_at),
                frame.picture.resolution().width,
            );
            self.note(|entries| &mut entries.disp, entry);
            if let (Some(fidelity), Some(number)) = (&self.fidelity, number) {
                fidelity.shown(number, &frame.picture);
            }
        }
    }

    /// The first sample of a burst was handed to the encoder.
    pub(super) fn pulse_sent(&self, at: Instant) {
        self.note(|entries| &mut entries.audio_gen, self.clock.unix_ms(at));
    }

    /// A burst was handed to the speaker.
    pub(super) fn pulse_heard(&self, at: Instant) {
        self.note(|entries| &mut entries.audio_det, self.clock.unix_ms(at));
    }

    fn note<T>(&self, list: impl FnOnce(&mut Entries) -> &mut Vec<T>, entry: T) {
        let mut pages = self.pages();
        let list = list(&mut pages.entries);
        if list.len() < MAX_ENTRIES {
            list.push(entry);
        } else {
            pages.dropped += 1;
        }
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CaptureObserver for BenchLog {
    fn captured(&self, frame: &VideoFrame) {
        // A clip without stamps has nothing to be recognised by on the other side.
        if let Some(number) = read_stamp(&frame.picture) {
            let at = self.clock.unix_ms(frame.captured_at);
            self.note(|entries| &mut entries.cap, (number, at));
            if let Some(fidelity) = &self.fidelity {
                fidelity.captured(number, &frame.picture);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ahoy_media::frame::I420;
    use ahoy_media::units::Resolution;
    use ahoy_video::capture::stamp::write_stamp;

    use super::*;

    fn frame(number: Option<u32>) -> VideoFrame {
        let mut picture = I420::black(Resolution::new(320, 180));
        if let Some(number) = number {
            write_stamp(&mut picture, number);
        } else {
            // All zeros would be a valid stamp of 0: one white cell breaks it.
            picture.planes_mut().0[..10 * 320].fill(235);
        }
        VideoFrame {
            picture: Arc::new(picture),
            captured_at: Instant::now(),
            number: 99,
        }
    }

    #[test]
    fn pictures_are_logged_between_the_marks_by_their_stamp() {
        let log = BenchLog::new(WallClock::align(), None);
        log.captured(&frame(Some(5)));
        log.captured(&frame(None));
        log.displayed(&frame(Some(1)), Instant::now());
        log.set_measuring(true);
        log.displayed(&frame(Some(2)), Instant::now());
        log.displayed(&frame(None), Instant::now());
        log.set_measuring(false);
        log.displayed(&frame(Some(3)), Instant::now());
        let (entries, dropped) = log.take();
        assert_eq!(dropped, 0);
        assert_eq!(entries.cap.iter().map(|cap| cap.0).collect::<Vec<_>>(), [5]);
        assert_eq!(
            entries.disp.iter().map(|disp| disp.0).collect::<Vec<_>>(),
            [Some(2), None]
        );
        assert!(
            entries
                .disp
                .iter()
                .all(|disp| disp.1 >= disp.2 && disp.3 == 320)
        );
        assert_eq!(log.take().0, Entries::default());
    }

    #[test]
    fn a_harness_that_does_not_read_costs_no_memory() {
        let log = BenchLog::new(WallClock::align(), None);
        let now = Instant::now();
        for _ in 0..MAX_ENTRIES + 3 {
            log.pulse_heard(now);
        }
        let (entries, dropped) = log.take();
        assert_eq!((entries.audio_det.len(), dropped), (MAX_ENTRIES, 3));
    }
}
