//! Time for sources that have no clock of their own, and fewer frames from sources that are
//! faster than wanted.

use std::time::{Duration, Instant};

/// Says when each frame of a synthetic source is due, at a steady rate.
#[derive(Debug)]
pub struct Cadence {
    interval: Duration,
    due: Option<Instant>,
}

impl Cadence {
    /// One frame every `interval`, the first one at once.
    pub const fn new(interval: Duration) -> Self {
        Self {
            interval,
            due: None,
        }
    }

    /// When the next frame is due. After a pause the rhythm starts anew instead of catching up
    /// with a burst.
    pub fn next(&mut self, now: Instant) -> Instant {
        let due = match self.due {
            Some(due) if now < due + self.interval => due,
            Some(_) | None => now,
        };
        self.due = Some(due + self.interval);
        due
    }

    /// Sleeps until the next frame is due. Only for a source's own thread.
    pub fn wait(&mut self) {
        let now = Instant::now();
        std::thread::sleep(self.next(now).saturating_duration_since(now));
    }
}

/// Lets through at most so many frames per second, as evenly as the source allows.
#[derive(Debug)]
pub struct FrameRateLimiter {
    interval: Duration,
    due: Option<Instant>,
}

impl FrameRateLimiter {
    /// At most one frame per `interval` on average.
    pub const fn new(interval: Duration) -> Self {
        Self {
            interval,
            due: None,
        }
    }

    /// Whether the frame captured at `now` is to be used. A frame that comes up to a quarter of
    /// the interval early is let through: cameras jitter, and half the wanted rate would be the
    /// price of being strict.
    pub fn accept(&mut self, now: Instant) -> bool {
        let Some(due) = self.due else {
            self.due = Some(now + self.interval);
            return true;
        };
        if now + self.interval / 4 < due {
            return false;
        }
        let behind = now.saturating_duration_since(due) > self.interval;
        self.due = Some(if behind { now } else { due } + self.interval);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn cadence_is_steady_and_does_not_catch_up() {
        let start = Instant::now();
        let mut cadence = Cadence::new(40 * MS);
        assert_eq!(cadence.next(start), start);
        assert_eq!(cadence.next(start + MS), start + 40 * MS);
        assert_eq!(cadence.next(start + 55 * MS), start + 80 * MS);
        assert_eq!(cadence.next(start + 900 * MS), start + 900 * MS);
        assert_eq!(cadence.next(start + 901 * MS), start + 940 * MS);
    }

    /// How many of 10 s of frames from a source at `source` Hz with jitter pass a limit of `limit` Hz.
    fn passed(source: u32, limit: u32, jitter: Duration) -> usize {
        let start = Instant::now();
        let mut limiter = FrameRateLimiter::new(Duration::from_secs(1) / limit);
        (0..source * 10)
            .filter(|&number| {
                let wobble = if number % 3 == 1 {
                    jitter
                } else {
                    Duration::ZERO
                };
                limiter.accept(start + Duration::from_secs(1) * number / source + wobble)
            })
            .count()
    }

    #[test]
    fn the_limit_is_met_evenly() {
        for jitter in [Duration::ZERO, 5 * MS] {
            for (source, limit) in [
                (30, 15),
                (30, 10),
                (30, 20),
                (30, 7),
                (60, 30),
                (30, 25),
                (25, 24),
            ] {
                let passed = passed(source, limit, jitter);
                let wanted = limit as usize * 10;
                assert!(
                    passed <= wanted + 2 && passed * 10 >= wanted * 9,
                    "{source} Hz limited to {limit} Hz gave {passed} frames in 10 s"
                );
            }
        }
    }

    #[test]
    fn a_source_at_the_limit_loses_nothing() {
        assert_eq!(passed(30, 30, 5 * MS), 300);
    }
}
