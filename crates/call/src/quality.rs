//! How good the connection to a participant is, and what to say about it: pure.
//!
//! A figure that is bad for a moment is nobody's news. A cause has to hold for [`WORSE_AFTER`]
//! before it is told, and to be gone for [`BETTER_AFTER`] before it is withdrawn.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::adaptation::QualityLimitationReason;

const WORSE_AFTER: Duration = Duration::from_secs(2);
const BETTER_AFTER: Duration = Duration::from_secs(4);
/// Share of packets lost that is heard and seen a little, and a lot. Repairs hide the first on a
/// short path.
const SOME_LOSS: f64 = 0.03;
const MUCH_LOSS: f64 = 0.10;
/// Beyond this people begin to talk at the same time (ITU-T G.114: 150 ms one way is good, 400 ms
/// the limit, ours is a round trip).
const LONG_ROUND_TRIP: f64 = 0.4;
const VERY_LONG_ROUND_TRIP: f64 = 0.8;
/// Lines below which a reduced picture is poor rather than fair.
const SMALL_PICTURE: u32 = 270;

/// How good, for an indicator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "specta", derive(specta::Type))]
#[serde(rename_all = "camelCase")]
pub enum QualityLevel {
    /// Not connected yet, or too short to tell.
    #[default]
    Unknown,
    /// Nothing to notice.
    Good,
    /// Noticeable.
    Fair,
    /// Hard to talk.
    Poor,
}

/// Why it is not good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "specta", derive(specta::Type))]
#[serde(rename_all = "camelCase")]
pub enum QualityCause {
    /// The path to them carries less than our picture needs.
    UploadSlow,
    /// Much of what we send is lost.
    UploadLossy,
    /// Much of what they send is lost.
    DownloadLossy,
    /// Their picture stands still now and then.
    DownloadFreezes,
    /// It takes long until the other side hears.
    DelayLong,
    /// This computer cannot keep up with our picture.
    ComputerBusy,
    /// The path to us carries less than their picture needs.
    TheirUploadSlow,
    /// Their computer cannot keep up with their picture.
    TheirComputerBusy,
    /// Nothing gets through at the moment.
    Interrupted,
}

/// What is shown about the connection to a participant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "specta", derive(specta::Type))]
#[serde(rename_all = "camelCase")]
pub struct QualityView {
    /// How good.
    pub level: QualityLevel,
    /// The worst cause.
    pub cause: Option<QualityCause>,
    /// Lines of the picture that the cause has reduced, ours or theirs; `None` when it is not
    /// reduced.
    pub reduced_to: Option<u32>,
}

/// What a side says about the picture that it sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sending {
    /// Why it is less than its user wants.
    pub limitation: QualityLimitationReason,
    /// Lines, when they are fewer than wanted; 0 when only the frame rate is lower.
    pub height: u32,
}

/// The figures at one moment. Counters count from the beginning of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Observation {
    /// `connected`; otherwise the rest is of no use.
    pub connected: bool,
    /// `disconnected` or `failed`.
    pub interrupted: bool,
    /// Our picture to them; the limitation counts only if this path is the one that limits.
    pub ours: Sending,
    /// Their picture, as they say.
    pub theirs: Sending,
    /// Share of our packets lost of late, 0 to 1.
    pub upload_loss: f64,
    /// Packets of theirs that came.
    pub received: u64,
    /// Packets of theirs that were lost, before repair.
    pub lost: i64,
    /// Freezes of their picture.
    pub freezes: u32,
    /// In seconds; `None` while unknown.
    pub round_trip_time: Option<f64>,
}

/// Watches one connection.
#[derive(Debug, Default)]
pub struct QualityWatch {
    last: Option<Observation>,
    download_loss: f64,
    froze_at: Option<Instant>,
    shown: QualityView,
    /// What differs from what is shown, and since when it holds.
    pending: Option<(QualityView, Instant)>,
}

impl QualityWatch {
    /// To be called about twice a second. What is to be shown.
    pub fn update(&mut self, now: Instant, seen: Observation) -> QualityView {
        if !seen.connected && !seen.interrupted {
            *self = Self::default();
            return self.shown;
        }
        self.measure(now, &seen);
        let judged = self.judge(now, &seen);
        self.settle(now, judged);
        self.last = Some(seen);
        self.shown
    }

    fn measure(&mut self, now: Instant, seen: &Observation) {
        let Some(last) = self.last else { return };
        let lost = seen.lost.saturating_sub(last.lost).max(0) as f64;
        let came = seen.received.saturating_sub(last.received) as f64;
        if lost + came > 0.0 {
            self.download_loss = 0.7 * self.download_loss + 0.3 * lost / (lost + came);
        }
        if seen.freezes > last.freezes {
            self.froze_at = Some(now);
        }
    }

    fn judge(&self, now: Instant, seen: &Observation) -> QualityView {
        use QualityCause as Cause;
        use QualityLevel::{Fair, Good, Poor};
        let plain = |level, cause| QualityView {
            level,
            cause: Some(cause),
            reduced_to: None,
        };
        if seen.interrupted {
            return plain(Poor, Cause::Interrupted);
        }
        let graded = |figure: f64, some: f64, much: f64, cause| {
            (figure >= some).then(|| plain(if figure >= much { Poor } else { Fair }, cause))
        };
        let reduced = |sending: Sending, slow, busy| {
            let cause = match sending.limitation {
                QualityLimitationReason::None => return None,
                QualityLimitationReason::Bandwidth => slow,
                QualityLimitationReason::Cpu => busy,
            };
            let small = (1..SMALL_PICTURE).contains(&sending.height);
            Some(QualityView {
                level: if small { Poor } else { Fair },
                cause: Some(cause),
                reduced_to: (sending.height > 0).then_some(sending.height),
            })
        };
        let recently = |at: Instant| now.saturating_duration_since(at) < Duration::from_secs(5);
        let round_trip = seen.round_trip_time.unwrap_or_default();
        // The first of the worst is told: what one can do something about comes first.
        let causes = [
            reduced(seen.ours, Cause::UploadSlow, Cause::ComputerBusy),
            graded(seen.upload_loss, SOME_LOSS, MUCH_LOSS, Cause::UploadLossy),
            graded(
                self.download_loss,
                SOME_LOSS,
                MUCH_LOSS,
                Cause::DownloadLossy,
            ),
            reduced(
                seen.theirs,
                Cause::TheirUploadSlow,
                Cause::TheirComputerBusy,
            ),
            graded(
                round_trip,
                LONG_ROUND_TRIP,
                VERY_LONG_ROUND_TRIP,
                Cause::DelayLong,
            ),
            self.froze_at
                .is_some_and(recently)
                .then(|| plain(Fair, Cause::DownloadFreezes)),
        ];
        let good = QualityView {
            level: Good,
            ..QualityView::default()
        };
        let worse = |worst: QualityView, next: QualityView| {
            if next.level > worst.level {
                next
            } else {
                worst
            }
        };
        causes.into_iter().flatten().fold(good, worse)
    }

    fn settle(&mut self, now: Instant, judged: QualityView) {
        let unknown = self.shown.level == QualityLevel::Unknown;
        let same_cause = judged.cause == self.shown.cause;
        // An interruption is told by the state of the connection, too: at once.
        let at_once = judged.cause == Some(QualityCause::Interrupted);
        if judged == self.shown || (same_cause && judged.level == self.shown.level) || at_once {
            self.shown = judged;
            self.pending = None;
            return;
        }
        let since = match self.pending {
            Some((pending, since)) if pending.cause == judged.cause => since,
            _ => now,
        };
        self.pending = Some((judged, since));
        let better = judged.level < self.shown.level && !unknown;
        let wait = if better { BETTER_AFTER } else { WORSE_AFTER };
        if now.saturating_duration_since(since) >= wait {
            self.shown = judged;
            self.pending = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_millis(500);

    struct Run {
        watch: QualityWatch,
        now: Instant,
        seen: Observation,
    }

    impl Run {
        fn new() -> Self {
            Self {
                watch: QualityWatch::default(),
                now: Instant::now(),
                seen: Observation {
                    connected: true,
                    ..Observation::default()
                },
            }
        }

        fn go(&mut self, seconds: u32, loss: f64) -> QualityView {
            let mut view = QualityView::default();
            for _ in 0..seconds * 2 {
                self.now += STEP;
                self.seen.received += (100.0 * (1.0 - loss)) as u64;
                self.seen.lost += (100.0 * loss) as i64;
                view = self.watch.update(self.now, self.seen);
            }
            view
        }
    }

    fn limited(limitation: QualityLimitationReason, height: u32) -> Sending {
        Sending { limitation, height }
    }

    #[test]
    fn good_once_it_is_known_and_unknown_without_a_connection() {
        let mut run = Run::new();
        assert_eq!(run.go(1, 0.0).level, QualityLevel::Unknown);
        assert_eq!(run.go(3, 0.0).level, QualityLevel::Good);
        run.seen.connected = false;
        assert_eq!(run.go(1, 0.0), QualityView::default());
    }

    #[test]
    fn a_cause_is_told_when_it_stays_and_withdrawn_when_it_is_gone() {
        let mut run = Run::new();
        run.go(4, 0.0);
        assert_eq!(run.go(1, 0.3).level, QualityLevel::Good, "a moment");
        run.go(10, 0.0);
        let lossy = run.go(6, 0.2);
        assert_eq!(lossy.level, QualityLevel::Poor);
        assert_eq!(lossy.cause, Some(QualityCause::DownloadLossy));
        assert_eq!(run.go(2, 0.0).cause, Some(QualityCause::DownloadLossy));
        assert_eq!(run.go(20, 0.0).level, QualityLevel::Good);
    }

    #[test]
    fn a_reduced_picture_is_told_with_its_size() {
        use QualityLimitationReason::{Bandwidth, Cpu};
        let mut run = Run::new();
        run.seen.ours = limited(Bandwidth, 360);
        let view = run.go(4, 0.0);
        assert_eq!(view.cause, Some(QualityCause::UploadSlow));
        assert_eq!(
            (view.level, view.reduced_to),
            (QualityLevel::Fair, Some(360))
        );
        // The size is kept up to date without waiting.
        run.seen.ours = limited(Bandwidth, 540);
        assert_eq!(run.go(1, 0.0).reduced_to, Some(540));
        run.seen.ours = limited(Cpu, 0);
        let slower = run.go(4, 0.0);
        assert_eq!(
            (slower.level, slower.reduced_to),
            (QualityLevel::Fair, None)
        );
        run.seen.ours = Sending::default();
        run.seen.theirs = limited(Cpu, 180);
        let theirs = run.go(4, 0.0);
        assert_eq!(theirs.cause, Some(QualityCause::TheirComputerBusy));
        assert_eq!(theirs.level, QualityLevel::Poor);
    }

    #[test]
    fn an_interruption_is_told_at_once() {
        let mut run = Run::new();
        run.go(4, 0.0);
        run.seen.connected = false;
        run.seen.interrupted = true;
        run.now += STEP;
        let view = run.watch.update(run.now, run.seen);
        assert_eq!(view.cause, Some(QualityCause::Interrupted));
    }

    #[test]
    fn nonsense_does_no_harm() {
        let mut run = Run::new();
        run.seen.lost = i64::MAX / 2;
        run.go(1, 0.0);
        run.seen.lost = i64::MIN / 2;
        run.seen.received = 0;
        run.seen.upload_loss = f64::NAN;
        run.seen.round_trip_time = Some(f64::INFINITY);
        run.go(10, 0.0);
    }
}
