//! What is kept in reserve where samples wait: nothing, until that was too little.

use std::time::{Duration, Instant};

/// How long a margin must have sufficed before less is tried, and the most that this grows to
/// when less turned out to be too little: each try that fails is heard.
pub(super) const WINDOW: Duration = Duration::from_secs(15);
const MAX_WINDOW: Duration = Duration::from_secs(960);

/// A reserve in ms: a step more each time it was too little, given up again ever more rarely.
#[derive(Debug)]
pub(super) struct Margin {
    step_ms: u32,
    max_ms: u32,
    ms: u32,
    since: Instant,
    window: Duration,
    /// It is smaller than it was before.
    tries_less: bool,
}

impl Margin {
    /// Nothing, at first.
    pub(super) const fn new(step_ms: u32, max_ms: u32, now: Instant) -> Self {
        Self {
            step_ms,
            max_ms,
            ms: 0,
            since: now,
            window: WINDOW,
            tries_less: false,
        }
    }

    /// What is to be kept.
    pub(super) const fn ms(&self) -> u32 {
        self.ms
    }

    /// Takes in whether it was too little since the last time; returns what is to be kept now.
    pub(super) fn update(&mut self, too_little: bool, now: Instant) -> u32 {
        let sufficed = now.saturating_duration_since(self.since);
        if too_little {
            if self.tries_less {
                self.window = (2 * self.window).min(MAX_WINDOW);
            }
            self.tries_less = false;
            self.ms = (self.ms + self.step_ms).min(self.max_ms);
            self.since = now;
        } else if self.ms > 0 && sufficed >= self.window {
            self.tries_less = true;
            self.ms = self.ms.saturating_sub(self.step_ms);
            self.since = now;
        }
        self.ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_needed_is_given_up_ever_more_rarely() {
        let mut now = Instant::now();
        let mut margin = Margin::new(5, 40, now);
        let (mut too_little, mut missed) = (true, 0);
        // For an hour, nothing in reserve is always too little.
        for _ in 0..360_000 {
            now += Duration::from_millis(10);
            missed += u32::from(too_little);
            too_little = margin.update(too_little, now) == 0;
        }
        assert!((4..=10).contains(&missed), "{missed} times in an hour");
    }

    #[test]
    fn it_ends_somewhere() {
        let now = Instant::now();
        let mut margin = Margin::new(10, 40, now);
        let kept: Vec<_> = (0..6).map(|_| margin.update(true, now)).collect();
        assert_eq!(kept, [10, 20, 30, 40, 40, 40]);
        assert_eq!(margin.update(false, now + WINDOW), 30);
    }
}
