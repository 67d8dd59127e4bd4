//! A room, its seats, and what is kept for each seat until it has arrived.

use std::collections::VecDeque;
use std::net::IpAddr;

use super::ConnectionId;
use crate::message::{ParticipantId, Reach, Secret, ServerMessage};

/// Messages of one sender that are kept for one receiver: an offer, thirty candidates, and the same
/// again after a restart of ICE. Per sender, so that nobody can fill the place of the others.
const HELD_PER_SENDER: usize = 64;
/// Their bytes: two of the longest messages.
const HELD_BYTES_PER_SENDER: usize = 128 * 1024;
/// What a kept message takes beyond its text.
const HELD_OVERHEAD: usize = 128;

#[derive(Debug)]
pub(super) struct Room {
    /// In join order, which is that of the numbers.
    pub(super) seats: Vec<Seat>,
    pub(super) next_participant: ParticipantId,
    pub(super) reach: Reach,
    /// Who opened it, for the limit per address.
    pub(super) opened_by: IpAddr,
    pub(super) token: Secret,
}

#[derive(Debug)]
pub(super) struct Seat {
    pub(super) participant: ParticipantId,
    pub(super) presence: Presence,
    /// `None` for a client that cannot resume: its seat ends with its connection.
    pub(super) resume: Option<Box<Resume>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    Here(ConnectionId),
    Away,
}

#[derive(Debug, Default)]
pub(super) struct Resume {
    /// `None` in a room that was opened again after a restart, until the first claim.
    pub(super) token: Option<Secret>,
    /// From others, until the client has acknowledged it.
    pub(super) held: Held,
    /// How many messages for others the client has sent.
    pub(super) received: u64,
    /// What it was told of that.
    pub(super) acknowledged: u64,
}

impl Room {
    pub(super) fn seat_mut(&mut self, participant: ParticipantId) -> Option<&mut Seat> {
        self.seats
            .iter_mut()
            .find(|seat| seat.participant == participant)
    }

    pub(super) fn participants(&self) -> Vec<ParticipantId> {
        self.seats.iter().map(|seat| seat.participant).collect()
    }

    pub(super) fn away(&self) -> Vec<ParticipantId> {
        let away = self
            .seats
            .iter()
            .filter(|seat| seat.presence == Presence::Away);
        away.map(|seat| seat.participant).collect()
    }
}

/// Messages for one seat that its client has not acknowledged. They are numbered from 1, first to
/// last, without those numbers travelling: both sides count.
#[derive(Debug, Default)]
pub(super) struct Held {
    messages: VecDeque<Kept>,
    bytes: usize,
    /// Number of the last message.
    last: u64,
    /// Number of the last message that was given up before it was acknowledged.
    lost: u64,
}

#[derive(Debug)]
struct Kept {
    number: u64,
    from: ParticipantId,
    bytes: usize,
    message: ServerMessage,
}

impl Held {
    /// What the messages take in memory, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keeps a copy of what is being sent. With too much unacknowledged, the oldest are given up,
    /// and the seat cannot be resumed until later ones have been acknowledged.
    pub(super) fn keep_sent(
        &mut self,
        from: ParticipantId,
        message: ServerMessage,
        length: usize,
        space: usize,
    ) {
        let bytes = length + HELD_OVERHEAD;
        while !self.fits(from, bytes, space) {
            let Some(oldest) = self.messages.iter().position(|kept| kept.from == from) else {
                // The space that all seats share is used up.
                self.last += 1;
                self.lost = self.last;
                return;
            };
            if let Some(kept) = self.messages.remove(oldest) {
                self.bytes -= kept.bytes;
                self.lost = self.lost.max(kept.number);
            }
        }
        self.push(from, message, bytes);
    }

    /// Keeps what cannot be sent now; `false` when there is too much already.
    pub(super) fn keep_unsent(
        &mut self,
        from: ParticipantId,
        message: ServerMessage,
        length: usize,
        space: usize,
    ) -> bool {
        let bytes = length + HELD_OVERHEAD;
        let fits = self.fits(from, bytes, space);
        if fits {
            self.push(from, message, bytes);
        }
        fits
    }

    /// The client has had `count`; gives the bytes that this frees.
    pub(super) fn arrived(&mut self, count: u64) -> usize {
        let before = self.bytes;
        while self
            .messages
            .front()
            .is_some_and(|kept| kept.number <= count)
        {
            if let Some(kept) = self.messages.pop_front() {
                self.bytes -= kept.bytes;
            }
        }
        before - self.bytes
    }

    /// Forgets what somebody said who is gone; gives the bytes that this frees.
    pub(super) fn forget(&mut self, from: ParticipantId) -> usize {
        let before = self.bytes;
        self.messages.retain(|kept| kept.from != from);
        self.bytes = self.messages.iter().map(|kept| kept.bytes).sum();
        before - self.bytes
    }

    /// Whether a client that has had `count` can be given all that it missed.
    pub(super) fn can_continue_after(&self, count: u64) -> bool {
        self.lost <= count && count <= self.last
    }

    /// What a client missed that has had `count`, numbered anew from there, since what was forgotten
    /// leaves no gap.
    pub(super) fn continue_after(&mut self, count: u64) -> Vec<ServerMessage> {
        self.arrived(count);
        self.last = count;
        for kept in &mut self.messages {
            self.last += 1;
            kept.number = self.last;
        }
        self.messages
            .iter()
            .map(|kept| kept.message.clone())
            .collect()
    }

    fn fits(&self, from: ParticipantId, bytes: usize, space: usize) -> bool {
        let theirs = self.messages.iter().filter(|kept| kept.from == from);
        let (count, sum) = theirs.fold((0, 0), |(count, sum), kept| (count + 1, sum + kept.bytes));
        count < HELD_PER_SENDER && sum + bytes <= HELD_BYTES_PER_SENDER && bytes <= space
    }

    fn push(&mut self, from: ParticipantId, message: ServerMessage, bytes: usize) {
        self.last += 1;
        self.bytes += bytes;
        self.messages.push_back(Kept {
            number: self.last,
            from,
            bytes,
            message,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::SignalData;

    fn signal(from: ParticipantId) -> ServerMessage {
        ServerMessage::Signal {
            from,
            data: SignalData::new(b"x").expect("short"),
        }
    }

    #[test]
    fn what_was_acknowledged_is_not_said_again() {
        let mut held = Held::default();
        for from in [1, 2, 1] {
            held.keep_sent(from, signal(from), 100, usize::MAX);
        }
        assert!(held.can_continue_after(1) && !held.can_continue_after(4));
        assert_eq!(held.arrived(1), 100 + HELD_OVERHEAD);
        assert_eq!(held.continue_after(1), [signal(2), signal(1)]);
        assert_eq!(held.continue_after(3), []);
        assert_eq!(held.bytes(), 0);
    }

    #[test]
    fn who_is_gone_leaves_no_gap_in_the_count() {
        let mut held = Held::default();
        for from in [1, 2, 1, 3] {
            assert!(held.keep_unsent(from, signal(from), 100, usize::MAX));
        }
        assert_eq!(held.forget(1), 2 * (100 + HELD_OVERHEAD));
        assert_eq!(held.continue_after(0), [signal(2), signal(3)]);
        assert!(held.can_continue_after(2) && !held.can_continue_after(3));
    }

    #[test]
    fn one_sender_cannot_fill_the_place_of_another() {
        let mut held = Held::default();
        let mut kept = 0;
        while held.keep_unsent(1, signal(1), 100, usize::MAX) {
            kept += 1;
        }
        assert_eq!(kept, HELD_PER_SENDER);
        assert!(held.keep_unsent(2, signal(2), 100, usize::MAX));
        assert!(held.keep_unsent(3, signal(3), 64 * 1024, usize::MAX));
        assert!(!held.keep_unsent(3, signal(3), 64 * 1024, usize::MAX));
        assert!(!held.keep_unsent(4, signal(4), 100, 100));
    }

    #[test]
    fn what_was_given_up_cannot_be_continued_from() {
        let mut held = Held::default();
        for _ in 0..=HELD_PER_SENDER {
            held.keep_sent(1, signal(1), 100, usize::MAX);
        }
        assert!(!held.can_continue_after(0) && held.can_continue_after(1));
        held.keep_sent(2, signal(2), 100, 0);
        let last = HELD_PER_SENDER as u64 + 2;
        assert!(!held.can_continue_after(last - 1) && held.can_continue_after(last));
    }
}
