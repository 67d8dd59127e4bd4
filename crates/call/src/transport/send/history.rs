//! Parts of pictures that have left and may be asked for again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rtc::rtp;

/// Two seconds of 4.5 Mbit/s.
const MAX_PACKETS: usize = 1024;
/// After this long nobody waits for it any more.
const MAX_AGE: Duration = Duration::from_secs(2);
/// The same packet again within this time would arrive with the first one.
const LEAST_WAIT: Duration = Duration::from_millis(10);
/// A request within this share of a round trip after the last one is its repetition.
const REPETITION: f64 = 0.6;

#[derive(Debug)]
struct Sent {
    packet: rtp::Packet,
    at: Instant,
    repaired_at: Option<Instant>,
    requests: u32,
}

/// Packets in the order of their numbers, without gaps.
#[derive(Debug, Default)]
pub(super) struct History {
    sent: VecDeque<Sent>,
}

impl History {
    pub(super) fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// Nothing that has left is of use any more: a key frame begins anew.
    pub(super) fn clear(&mut self) {
        self.sent.clear();
    }

    pub(super) fn add(&mut self, now: Instant, packet: rtp::Packet) {
        if self.sent.len() == MAX_PACKETS {
            self.sent.pop_front();
        }
        self.sent.push_back(Sent {
            packet,
            at: now,
            repaired_at: None,
            requests: 0,
        });
    }

    /// What was sent so many packets before the last one.
    pub(super) fn before_last(&self, packets: u16) -> Option<&rtp::Packet> {
        let index = self.sent.len().checked_sub(1 + usize::from(packets))?;
        Some(&self.sent.get(index)?.packet)
    }

    /// The packet that is asked for, and how often it has been, unless it is too old or is on its
    /// way again already.
    pub(super) fn repair(
        &mut self,
        now: Instant,
        sequence_number: u16,
        round_trip: Duration,
    ) -> Option<(rtp::Packet, u32)> {
        let first = self.sent.front()?.packet.header.sequence_number;
        let index = usize::from(sequence_number.wrapping_sub(first));
        let sent = self.sent.get_mut(index)?;
        let since = |at: Instant| now.saturating_duration_since(at);
        let wait = round_trip.mul_f64(REPETITION).max(LEAST_WAIT);
        let under_way = sent.repaired_at.is_some_and(|at| since(at) < wait);
        if under_way || since(sent.at) > MAX_AGE {
            return None;
        }
        sent.repaired_at = Some(now);
        sent.requests += 1;
        Some((sent.packet.clone(), sent.requests))
    }

    /// Something to fill a probe with: of the newest packets the largest with at most so many
    /// bytes of payload, or else the smallest.
    pub(super) fn filling(&self, payload_bytes: usize) -> Option<rtp::Packet> {
        let recent = || self.sent.iter().rev().take(32);
        let length = |sent: &&Sent| sent.packet.payload.len();
        let fits = recent().filter(|sent| length(sent) <= payload_bytes);
        let filling = fits
            .max_by_key(length)
            .or_else(|| recent().min_by_key(length))?;
        Some(filling.packet.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUND_TRIP: Duration = Duration::from_millis(100);

    fn packet(sequence_number: u16, bytes: usize) -> rtp::Packet {
        let mut packet = rtp::Packet::default();
        packet.header.sequence_number = sequence_number;
        packet.payload = vec![0; bytes].into();
        packet
    }

    #[test]
    fn finds_what_is_asked_for_and_sends_it_once_per_round_trip() {
        let start = Instant::now();
        let mut history = History::default();
        assert!(history.repair(start, 5, ROUND_TRIP).is_none());
        for number in 65_000..65_000 + 1100_u32 {
            history.add(start, packet(number as u16, 100));
        }
        let mut asked = |after_ms: u64, number: u32| {
            let now = start + Duration::from_millis(after_ms);
            let repair = history.repair(now, number as u16, ROUND_TRIP);
            repair.map(|(packet, _)| packet.header.sequence_number)
        };
        assert_eq!(asked(0, 65_000), None, "left behind");
        assert_eq!(asked(0, 65_100), Some(65_100));
        assert_eq!(asked(20, 65_100), None, "on its way");
        assert_eq!(asked(70, 65_100), Some(65_100));
        assert_eq!(asked(70, 65_000 + 1099), Some(563));
        assert_eq!(asked(70, 65_000 + 1100), None, "not sent yet");
        assert_eq!(asked(2100, 65_101), None, "too old");
    }

    #[test]
    fn a_probe_is_filled_with_what_fits() {
        let now = Instant::now();
        let mut history = History::default();
        assert!(history.filling(1000).is_none());
        for (number, bytes) in [(1, 1200), (2, 700), (3, 1190)] {
            history.add(now, packet(number, bytes));
        }
        let number = |filling: Option<rtp::Packet>| filling.map(|it| it.header.sequence_number);
        assert_eq!(number(history.filling(1000)), Some(2));
        assert_eq!(number(history.filling(1200)), Some(1));
        assert_eq!(number(history.filling(10)), Some(2));
    }
}
