//! What a sender keeps to send again, and how much of that it sends.

use std::collections::VecDeque;
use std::time::Duration;

use super::receiver::Part;
use crate::estimator::EstimatorStats;
use crate::repair::{copies, copy_after};

/// Share of the target that repairs may take, and time over which it may be saved up, in s.
const SHARE: f64 = 0.5;
const SAVED_UP: f64 = 0.25;
/// Packets that can be sent again, and how long.
const MAX_PACKETS: usize = 1024;
const MAX_AGE: Duration = Duration::from_secs(2);
/// The same packet again within this time would arrive with the first one.
const LEAST_WAIT: Duration = Duration::from_millis(50);

#[derive(Debug)]
struct Sent {
    at: Duration,
    part: Part,
    repaired_at: Option<Duration>,
    requests: u32,
}

/// Parts in the order of their numbers, without gaps.
#[derive(Debug, Default)]
pub(super) struct Repairs {
    sent: VecDeque<Sent>,
    /// Second copies, and when they may go.
    copies: VecDeque<(Duration, Part)>,
    /// In bits.
    budget: f64,
    updated: Duration,
}

impl Repairs {
    /// A part has left for the first time.
    pub(super) fn sent(&mut self, at: Duration, part: Part) {
        if self.sent.len() == MAX_PACKETS {
            self.sent.pop_front();
        }
        self.sent.push_back(Sent {
            at,
            part,
            repaired_at: None,
            requests: 0,
        });
    }

    /// Nobody needs what has left so far any more.
    pub(super) fn clear(&mut self) {
        self.sent.clear();
        self.copies.clear();
    }

    /// When the next copy may go.
    pub(super) fn next_copy(&self) -> Option<Duration> {
        self.copies.front().map(|(at, _)| *at)
    }

    /// The copies that may go by now.
    pub(super) fn copies(&mut self, now: Duration) -> Vec<Part> {
        let due = self.copies.iter().take_while(|(at, _)| *at <= now).count();
        self.copies.drain(..due).map(|(_, part)| part).collect()
    }

    /// What to send of the numbers that are asked for; further copies follow. `target` in bit/s.
    pub(super) fn answer(
        &mut self,
        now: Duration,
        numbers: &[u32],
        target: f64,
        stats: &EstimatorStats,
    ) -> Vec<Part> {
        let elapsed = now.saturating_sub(self.updated).as_secs_f64();
        self.updated = now;
        let most = target * SHARE * SAVED_UP;
        self.budget = (self.budget + target * SHARE * elapsed).min(most);
        let first = self.sent.front().map_or(0, |sent| sent.part.number);
        let mut parts = Vec::new();
        for number in numbers {
            let index = number.checked_sub(first).map(|index| index as usize);
            let Some(sent) = index.and_then(|index| self.sent.get_mut(index)) else {
                continue;
            };
            let under_way = sent.repaired_at.is_some_and(|at| now - at < LEAST_WAIT);
            if under_way || now - sent.at > MAX_AGE {
                continue;
            }
            if self.budget <= 0.0 {
                break;
            }
            sent.repaired_at = Some(now);
            sent.requests += 1;
            self.budget -= sent.part.bytes as f64 * 8.0;
            let part = Part {
                repair: true,
                ..sent.part
            };
            parts.push(part);
            let round_trip = stats.round_trip_time.unwrap_or_default();
            let empty = round_trip.saturating_sub(stats.queue_delay);
            let copies = copies(sent.requests, stats.loss, empty);
            let at = now + copy_after(round_trip);
            let again = std::iter::repeat_n((at, part), copies.saturating_sub(1));
            self.copies.extend(again);
        }
        parts
    }
}
