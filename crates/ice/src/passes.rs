//! When the connection's task should go round once more before it sleeps. Pure.
//!
//! The crate's task goes round: hand TURN messages to sockets, hand the core's packets to sockets
//! *or to the TURN client*, take what TURN brought to the core, sleep until something happens. So a
//! relayed packet waits in the TURN client until something else wakes the task, and so does an
//! answer to a relayed packet, twice. Two more rounds after each wake-up move both on. A sleep that
//! ends at once makes a round.
//!
//! Rounds cost some microseconds each, so there are none unless TURN messages come and go.

use std::time::{Duration, Instant};

/// Rounds after a wake-up: one takes an answer to the TURN client, one from there to a socket.
const ROUNDS: u8 = 2;
/// For so long after a TURN message there are more rounds. A relayed path is checked every half
/// second; a relay that is not used is refreshed every few minutes.
const ACTIVE: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
pub(crate) struct Passes {
    turn_message_at: Option<Instant>,
    /// Rounds that are still to be made.
    left: u8,
    /// The last sleep ended at once, by our doing and not because something happened.
    ended_by_us: bool,
    asked: bool,
}

impl Passes {
    /// A TURN message came or went.
    pub(crate) fn turn_message(&mut self, now: Instant) {
        self.turn_message_at = Some(now);
    }

    /// One more round after this one, whatever else.
    pub(crate) fn ask(&mut self) {
        self.asked = true;
    }

    /// Whether the sleep that begins should end at once.
    pub(crate) fn sleep(&mut self, now: Instant) -> bool {
        let by_us = std::mem::take(&mut self.ended_by_us);
        if !by_us {
            let active = self
                .turn_message_at
                .is_some_and(|at| now.saturating_duration_since(at) < ACTIVE);
            self.left = if active { ROUNDS } else { 0 };
        }
        if std::mem::take(&mut self.asked) {
            return true;
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }

    /// A sleep that was to end at once did, before anything else woke the task.
    pub(crate) fn slept(&mut self) {
        self.ended_by_us = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often the task goes round before it sleeps, after a wake-up.
    fn rounds(passes: &mut Passes, now: Instant) -> usize {
        let mut rounds = 0;
        while passes.sleep(now) {
            passes.slept();
            rounds += 1;
            assert!(rounds < 100, "it never sleeps");
        }
        rounds
    }

    #[test]
    fn two_rounds_while_turn_is_in_use() {
        let now = Instant::now();
        let mut passes = Passes::default();
        assert_eq!(rounds(&mut passes, now), 0);
        passes.turn_message(now);
        for _ in 0..3 {
            assert_eq!(rounds(&mut passes, now), 2);
        }
        assert_eq!(rounds(&mut passes, now + ACTIVE), 0);
    }

    #[test]
    fn something_that_happens_meanwhile_begins_anew() {
        let now = Instant::now();
        let mut passes = Passes::default();
        passes.turn_message(now);
        assert!(passes.sleep(now));
        // Woken by a packet instead.
        assert_eq!(rounds(&mut passes, now), 2);
    }

    #[test]
    fn a_round_can_be_asked_for() {
        let now = Instant::now();
        let mut passes = Passes::default();
        passes.ask();
        assert_eq!(rounds(&mut passes, now), 1);
        passes.turn_message(now);
        passes.ask();
        assert_eq!(rounds(&mut passes, now), 3);
    }
}
