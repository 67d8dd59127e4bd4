//! How much of the delay is really at hand.

/// The least lateness of playout within the last second: blocks are pulled in bursts, and it is
/// the earliest one of a burst that must find its packet.
#[derive(Debug, Clone, Default)]
pub(super) struct Slack {
    current: Option<(i64, i64)>,
    previous: Option<i64>,
}

impl Slack {
    /// Half of the window.
    const HALF: i64 = 24_000;

    pub(super) fn observe(&mut self, now: i64, lateness: i64) {
        match &mut self.current {
            Some((start, least)) if now - *start < Self::HALF => *least = lateness.min(*least),
            current => {
                self.previous = current.map(|(_, least)| least);
                *current = Some((now, lateness));
            }
        }
    }

    pub(super) fn least(&self) -> i64 {
        let current = self.current.map(|(_, least)| least);
        current.into_iter().chain(self.previous).min().unwrap_or(0)
    }

    /// The delay was changed on purpose.
    pub(super) fn shift(&mut self, change: i64) {
        if let Some((_, least)) = &mut self.current {
            *least += change;
        }
        if let Some(least) = &mut self.previous {
            *least += change;
        }
    }
}
