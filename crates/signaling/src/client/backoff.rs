//! When to try again: pure, the waiting is done elsewhere.

use std::time::Duration;

use rand::{Rng, RngExt};

/// How a lasting link behaves while the server cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reconnect {
    /// Longest pause before the first try.
    pub first_pause: Duration,
    /// Longest pause there ever is.
    pub max_pause: Duration,
    /// When to give up, counted from the break; `None` never does, for a call goes on without the
    /// server.
    pub give_up_after: Option<Duration>,
}

impl Default for Reconnect {
    fn default() -> Self {
        Self {
            first_pause: Duration::from_millis(250),
            max_pause: Duration::from_secs(8),
            give_up_after: None,
        }
    }
}

/// The pauses of one break: each up to twice as long as the one before, the length drawn from the
/// upper half, so that the clients of a server that restarts do not all come at once.
#[derive(Debug)]
pub(super) struct Backoff {
    policy: Reconnect,
    attempt: u32,
}

impl Backoff {
    pub(super) fn new(policy: Reconnect) -> Self {
        Self { policy, attempt: 0 }
    }

    /// The number of the next try, from 1, and the pause before it.
    pub(super) fn next(&mut self, random: &mut impl Rng) -> (u32, Duration) {
        let doubled = self
            .policy
            .first_pause
            .saturating_mul(1_u32.checked_shl(self.attempt.min(31)).unwrap_or(u32::MAX));
        let longest = doubled.min(self.policy.max_pause);
        // Most breaks are short ones of a single client: the first pause may be none at all.
        let least = if self.attempt == 0 { 0.0 } else { 0.5 };
        self.attempt = self.attempt.saturating_add(1);
        let share = random.random_range(least..=1.0);
        (self.attempt, longest.mul_f64(share))
    }

    pub(super) fn gives_up_after(&self, broken_for: Duration) -> bool {
        self.policy
            .give_up_after
            .is_some_and(|limit| broken_for >= limit)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_differ() {
        let mut random = StdRng::seed_from_u64(1);
        let policy = Reconnect::default();
        let mut seen = Vec::new();
        for _ in 0..50 {
            let mut backoff = Backoff::new(policy);
            for step in 0..200 {
                let (attempt, pause) = backoff.next(&mut random);
                assert_eq!(attempt, step + 1);
                let longest = policy
                    .first_pause
                    .saturating_mul(1_u32.checked_shl(step).unwrap_or(u32::MAX))
                    .min(policy.max_pause);
                assert!(pause <= longest, "{step}: {pause:?}");
                assert!(step == 0 || pause >= longest / 2, "{step}: {pause:?}");
                if step == 3 {
                    seen.push(pause);
                }
            }
        }
        seen.sort();
        seen.dedup();
        assert!(seen.len() > 45, "{}", seen.len());
    }

    #[test]
    fn it_gives_up_only_when_told_to() {
        let long = Duration::from_secs(1_000_000);
        assert!(!Backoff::new(Reconnect::default()).gives_up_after(long));
        let policy = Reconnect {
            give_up_after: Some(Duration::from_secs(60)),
            ..Reconnect::default()
        };
        let backoff = Backoff::new(policy);
        assert!(!backoff.gives_up_after(Duration::from_secs(59)));
        assert!(backoff.gives_up_after(Duration::from_secs(60)));
    }
}
