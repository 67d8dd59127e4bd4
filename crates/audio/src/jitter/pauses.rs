//! After which packets the sender paused.
//!
//! While a sender is silent it sends nothing (DTX), so that a packet at the beginning of a pause is
//! found missing at its end. Its repair comes as late as the pause was long, with nothing in it that
//! anybody would wait for.

use std::collections::VecDeque;

/// Packets that are remembered: more than come between a packet and its repair.
const REMEMBERED: usize = 64;
/// Longest packet there is in calls, 60 ms in samples of 48 kHz.
const LONGEST_PACKET: i64 = 2_880;

/// The last packets of one stream.
#[derive(Debug, Clone, Default)]
pub(super) struct Pauses {
    /// Sequence number and media time, in order of arrival.
    recent: VecDeque<(u16, i64)>,
}

impl Pauses {
    /// Takes in a packet; whether those behind it, of which it was overtaken, say that the sender
    /// paused after it.
    pub(super) fn began_with(&mut self, number: u16, timestamp: i64) -> bool {
        let behind = self.recent.iter().filter_map(|(other, time)| {
            let ahead = other.wrapping_sub(number) as i16;
            (ahead > 0).then(|| (i64::from(ahead), time - timestamp))
        });
        let paused = behind
            .min()
            .is_some_and(|(packets, time)| time > packets * LONGEST_PACKET);
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back((number, timestamp));
        paused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_before_a_pause_is_known_by_the_one_after_it() {
        let mut pauses = Pauses::default();
        assert!(!pauses.began_with(65_534, 0));
        // 65 535 and 0 are missing; half a second of nothing.
        assert!(!pauses.began_with(1, 27_000));
        assert!(pauses.began_with(0, 1_920), "a pause behind it");
        assert!(!pauses.began_with(65_535, 960), "the next packet behind it");
    }

    #[test]
    fn a_packet_after_a_pause_is_speech() {
        let mut pauses = Pauses::default();
        pauses.began_with(1, 0);
        pauses.began_with(3, 48_960);
        assert!(!pauses.began_with(2, 48_000));
    }

    #[test]
    fn long_packets_are_no_pauses() {
        let mut pauses = Pauses::default();
        pauses.began_with(9, 9 * LONGEST_PACKET);
        assert!(!pauses.began_with(5, 5 * LONGEST_PACKET));
    }
}
