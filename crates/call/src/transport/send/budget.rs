//! Keeps repairs from crowding out what they repair.
//!
//! When a path fills up, much is lost and asked for at once. Repairs that are sent on top of the
//! media make the queue longer still. They get a share of what the path carries; what does not
//! fit is not sent, and may be asked for again.

use std::time::{Duration, Instant};

use ahoy_media::units::Bitrate;

/// Share of the estimate that repairs may take: enough for one packet in three lost, repairs of
/// repairs included.
const SHARE: f64 = 0.5;
/// What may be saved up, as time at that share: a burst of losses comes at once.
const SAVED_UP: Duration = Duration::from_millis(250);

#[derive(Debug, Default)]
pub(super) struct RepairBudget {
    bytes: f64,
    updated: Option<Instant>,
}

impl RepairBudget {
    /// Whether a repair of so many bytes may be sent on a path that carries `target`.
    pub(super) fn allows(&mut self, now: Instant, bytes: usize, target: Bitrate) -> bool {
        self.refill(now, target);
        // Into debt by one packet at most, so that a small budget still repairs large packets.
        let allowed = self.bytes > 0.0;
        if allowed {
            self.bytes -= bytes as f64;
        }
        allowed
    }

    fn refill(&mut self, now: Instant, target: Bitrate) {
        let bytes_per_second = target.bps() as f64 / 8.0 * SHARE;
        let saved_up = SAVED_UP.as_secs_f64();
        let elapsed = self.updated.map_or(saved_up, |updated| {
            now.saturating_duration_since(updated).as_secs_f64()
        });
        self.updated = Some(now);
        let most = bytes_per_second * saved_up;
        self.bytes = (self.bytes + bytes_per_second * elapsed).min(most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repairs_keep_to_their_share() {
        let mut budget = RepairBudget::default();
        let start = Instant::now();
        let allowed = |budget: &mut RepairBudget, at: Instant| {
            let answers = (0..100).map(|_| budget.allows(at, 1000, Bitrate::from_kbps(800)));
            answers.filter(|allowed| *allowed).count()
        };
        // 800 kbit/s, half of it for a quarter of a second: 12.5 kB.
        assert_eq!(allowed(&mut budget, start), 13);
        // 100 ms later 5 kB more, less the debt of half a packet.
        assert_eq!(allowed(&mut budget, start + Duration::from_millis(100)), 5);
        assert_eq!(allowed(&mut budget, start + Duration::from_secs(60)), 13);
    }
}
