//! When the other side shows a frame: as `LipSync` in `ahoy-call` does it.
//!
//! Sound sets the pace. It is played a little later than its packets come in at the latest, and
//! later still when pictures come so late that it would be heard before them. Pictures wait for
//! their sound, and thereby for those that had to be repaired.

use std::collections::VecDeque;
use std::time::Duration;

/// Time over which the latest packet of sound counts.
const SOUND_WINDOW: Duration = Duration::from_secs(2);
/// What the sound's own buffer and the device add to that.
const SOUND_BUFFER: f64 = 0.040;
/// Pictures may be this much ahead of their sound.
const PICTURE_AHEAD: f64 = 0.040;
/// Sound that is ahead of its picture by more is delayed.
const SOUND_AHEAD: f64 = 0.015;
/// What handing over, decoding and drawing take.
const SHOWING: f64 = 0.010;
/// No picture waits longer.
const MAX_WAIT: f64 = 0.6;
/// Longest that the sound is made to wait for pictures.
const MAX_SOUND_DELAY: f64 = 0.4;
/// How often the delay of the sound is judged, and how far it goes down each time at most.
const JUDGE_EVERY: Duration = Duration::from_millis(500);
const MAX_DECREASE: f64 = 0.020;

/// All times in seconds unless they are [`Duration`]s.
#[derive(Debug, Default)]
pub(super) struct Playout {
    /// Arrival and transit time of sound, falling: the first is the latest.
    sound: VecDeque<(Duration, f64)>,
    /// How much later than its sound the latest picture came since the last judgement.
    latest: Option<f64>,
    judged_at: Duration,
    sound_delay: f64,
    last_shown: Duration,
}

impl Playout {
    /// A packet of sound has come.
    pub(super) fn heard(&mut self, now: Duration, captured: Duration) {
        let transit = (now - captured).as_secs_f64();
        while self
            .sound
            .back()
            .is_some_and(|(_, other)| *other <= transit)
        {
            self.sound.pop_back();
        }
        self.sound.push_back((now, transit));
        let is_old = |at: &Duration| now - *at > SOUND_WINDOW;
        while self.sound.front().is_some_and(|(at, _)| is_old(at)) {
            self.sound.pop_front();
        }
    }

    /// When a frame is shown that is whole now.
    pub(super) fn show(&mut self, now: Duration, captured: Duration) -> Duration {
        let Some((_, transit)) = self.sound.front() else {
            return now;
        };
        let heard = transit + SOUND_BUFFER + self.sound_delay;
        let late = (now - captured).as_secs_f64() + SHOWING - heard;
        self.latest = Some(self.latest.map_or(late, |latest| latest.max(late)));
        self.judge(now);
        let wait = (-late - PICTURE_AHEAD).clamp(0.0, MAX_WAIT);
        self.last_shown = self.last_shown.max(now + Duration::from_secs_f64(wait));
        self.last_shown
    }

    fn judge(&mut self, now: Duration) {
        if now - self.judged_at < JUDGE_EVERY {
            return;
        }
        self.judged_at = now;
        if let Some(latest) = self.latest.take() {
            let change = if latest > SOUND_AHEAD {
                latest - SOUND_AHEAD / 2.0
            } else {
                latest.clamp(-MAX_DECREASE, 0.0)
            };
            self.sound_delay = (self.sound_delay + change).clamp(0.0, MAX_SOUND_DELAY);
        }
    }
}
