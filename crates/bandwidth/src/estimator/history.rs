//! What was sent under which transport-wide number, joined with what the other side says of it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::ProbeId;

/// After this long nobody will report on a packet any more.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3);
/// Packets that are remembered at most; a third of the numbers there are, so that they stay
/// unambiguous.
const MAX_PACKETS: usize = 20_000;

/// What became of one packet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct PacketResult {
    pub(super) sent_at: Instant,
    /// On the wire, in bytes.
    pub(super) size: usize,
    pub(super) probe: Option<ProbeId>,
    /// On the receiver's clock; `None` when it is reported lost.
    pub(super) arrival: Option<Duration>,
    /// It was reported lost before.
    pub(super) late: bool,
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    at: Instant,
    size: usize,
    probe: Option<ProbeId>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Unknown,
    Lost,
    Arrived,
}

/// Packets under way, in the order of their numbers.
#[derive(Debug, Default)]
pub(super) struct History {
    /// `None` for numbers that were left out.
    packets: VecDeque<Option<Sent>>,
    /// Number of the first, without wraps.
    first: u64,
    /// Everything before this number is known.
    known: u64,
}

impl History {
    pub(super) fn sent(
        &mut self,
        now: Instant,
        sequence_number: u16,
        size: usize,
        probe: Option<ProbeId>,
    ) {
        self.prune(now);
        let sent = Sent {
            at: now,
            size,
            probe,
            state: State::Unknown,
        };
        if self.packets.is_empty() {
            self.first = u64::from(sequence_number);
            self.known = self.first;
            self.packets.push_back(Some(sent));
            return;
        }
        let next = self.first + self.packets.len() as u64;
        let skipped = usize::from(sequence_number.wrapping_sub(next as u16));
        if skipped > MAX_PACKETS {
            // Not a number that can follow: begin anew rather than guess.
            self.packets.clear();
            self.first = u64::from(sequence_number);
            self.known = self.first;
        } else {
            self.packets.extend(std::iter::repeat_n(None, skipped));
        }
        self.packets.push_back(Some(sent));
        self.skip_known();
    }

    /// When the oldest packet was sent of which nothing is known.
    pub(super) fn oldest_unknown(&self) -> Option<Instant> {
        let index = self.known.saturating_sub(self.first) as usize;
        self.packets.get(index)?.map(|sent| sent.at)
    }

    /// Enters a report on one packet. `None` when it says nothing new.
    pub(super) fn report(
        &mut self,
        sequence_number: u16,
        arrival: Option<Duration>,
    ) -> Option<PacketResult> {
        let index = usize::from(sequence_number.wrapping_sub(self.first as u16));
        let sent = self.packets.get_mut(index)?.as_mut()?;
        let late = sent.state == State::Lost;
        match (sent.state, arrival) {
            (State::Unknown, None) => sent.state = State::Lost,
            (State::Unknown | State::Lost, Some(_)) => sent.state = State::Arrived,
            (State::Lost, None) | (State::Arrived, _) => return None,
        }
        let result = PacketResult {
            sent_at: sent.at,
            size: sent.size,
            probe: sent.probe,
            arrival,
            late,
        };
        self.skip_known();
        Some(result)
    }

    fn skip_known(&mut self) {
        self.known = self.known.max(self.first);
        let known = |sent: &Option<Sent>| sent.is_none_or(|sent| sent.state != State::Unknown);
        while let Some(sent) = self.packets.get((self.known - self.first) as usize)
            && known(sent)
        {
            self.known += 1;
        }
    }

    fn prune(&mut self, now: Instant) {
        while let Some(front) = self.packets.front() {
            let old =
                front.is_none_or(|sent| now.saturating_duration_since(sent.at) > FORGOTTEN_AFTER);
            if !old && self.packets.len() < MAX_PACKETS {
                break;
            }
            self.packets.pop_front();
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_join_what_was_sent_and_say_everything_once() {
        let mut history = History::default();
        let start = Instant::now();
        for (index, number) in [65_534_u16, 65_535, 0, 2].into_iter().enumerate() {
            history.sent(
                start + Duration::from_millis(index as u64),
                number,
                100,
                None,
            );
        }
        let arrival = Some(Duration::from_millis(50));
        let second = history.report(65_535, arrival).expect("was sent");
        assert_eq!(second.sent_at, start + Duration::from_millis(1));
        assert_eq!(history.report(65_535, arrival), None);
        assert_eq!(history.report(65_535, None), None);
        assert_eq!(history.report(1, arrival), None);
        assert_eq!(history.report(700, arrival), None);
        assert!(!history.report(0, None).expect("was sent").late);
        assert!(history.report(0, arrival).expect("was lost").late);
        assert_eq!(history.oldest_unknown(), Some(start));
    }

    #[test]
    fn is_bounded_without_any_feedback() {
        let mut history = History::default();
        let start = Instant::now();
        for number in 0..100_000_u32 {
            let at = start + Duration::from_micros(u64::from(number));
            history.sent(at, number as u16, 100, None);
        }
        assert!(history.packets.len() <= MAX_PACKETS);
        history.sent(start + Duration::from_secs(10), 9, 100, None);
        assert!(history.packets.len() <= 1 + MAX_PACKETS);
    }
}
