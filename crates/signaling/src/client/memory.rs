//! What a client remembers of its seat, so that a new connection continues where the old one broke.
//! Pure: neither socket nor clock.

use std::collections::VecDeque;

use crate::message::{ClientMessage, LeaveReason, ParticipantId, ServerMessage, Ticket};

use super::Seat;

/// Messages for others that the server has not acknowledged; it does so every 1.5 s. With as many,
/// senders wait.
const UNACKNOWLEDGED: usize = 256;

#[derive(Debug)]
pub(super) struct Memory {
    seat: Seat,
    ticket: Ticket,
    /// The highest number that anybody has had in the room.
    highest: ParticipantId,
    /// Messages from others that arrived on this seat.
    received: u64,
    /// What the server was told of that.
    told: u64,
    /// Messages for others that the server has acknowledged.
    acknowledged: u64,
    /// Those that it has not, in order.
    unacknowledged: VecDeque<ClientMessage>,
}

impl Memory {
    pub(super) fn new(seat: Seat, ticket: Ticket) -> Self {
        Self {
            highest: highest(&seat.participants),
            seat,
            ticket,
            received: 0,
            told: 0,
            acknowledged: 0,
            unacknowledged: VecDeque::new(),
        }
    }

    pub(super) fn seat(&self) -> &Seat {
        &self.seat
    }

    pub(super) fn can_send(&self) -> bool {
        self.unacknowledged.len() < UNACKNOWLEDGED
    }

    /// Remembers what is about to be sent, or is to be sent later.
    pub(super) fn sending(&mut self, message: &ClientMessage) {
        if message.is_counted() {
            self.unacknowledged.push_back(message.clone());
        }
    }

    /// Takes note of what the server said.
    pub(super) fn hear(&mut self, message: &ServerMessage) {
        if message.is_counted() {
            self.received += 1;
        }
        let seat = &mut self.seat;
        match message {
            ServerMessage::ParticipantJoined { participant } => {
                insert(&mut seat.participants, *participant);
                self.highest = self.highest.max(*participant);
            }
            ServerMessage::ParticipantLeft { participant, .. } => {
                seat.participants.retain(|id| id != participant);
                seat.away.retain(|id| id != participant);
            }
            ServerMessage::ParticipantAway { participant, .. } => {
                insert(&mut seat.away, *participant);
            }
            ServerMessage::ParticipantBack { participant } => {
                seat.away.retain(|id| id != participant);
            }
            ServerMessage::Received { count } => self.acknowledge(*count),
            _ => {}
        }
    }

    /// What is to be said about what has arrived, if that is news.
    pub(super) fn receipt(&mut self) -> Option<ClientMessage> {
        let news = self.told != self.received;
        self.told = self.received;
        news.then_some(ClientMessage::Received {
            count: self.received,
        })
    }

    /// How to ask for the seat on a new connection.
    pub(super) fn claim(&self, version: u32) -> ClientMessage {
        ClientMessage::Resume {
            version,
            room: self.seat.room,
            participant: self.seat.participant,
            token: self.ticket.token,
            room_token: self.ticket.room_token,
            participants: self.seat.participants.clone(),
            highest: Some(self.highest),
            received: self.received,
        }
    }

    /// The seat was given back with `now` there and `away`; `received` is what the server had of
    /// us, or `None` if it had forgotten the room. Gives what the caller has to hear, as if the
    /// connection had never broken, and what has to be said again.
    pub(super) fn resumed(
        &mut self,
        now: &[ParticipantId],
        away: &[ParticipantId],
        received: Option<u64>,
    ) -> (Vec<ServerMessage>, Vec<ClientMessage>) {
        let mut news = Vec::new();
        let seat = &mut self.seat;
        for participant in seat.participants.iter().copied() {
            if !now.contains(&participant) {
                news.push(ServerMessage::ParticipantLeft {
                    participant,
                    reason: LeaveReason::Disconnected,
                });
            }
        }
        for participant in now.iter().copied() {
            if !seat.participants.contains(&participant) {
                news.push(ServerMessage::ParticipantJoined { participant });
            }
        }
        for participant in now.iter().copied() {
            match (
                seat.away.contains(&participant),
                away.contains(&participant),
            ) {
                (false, true) => news.push(ServerMessage::ParticipantAway {
                    participant,
                    reason: LeaveReason::Unknown,
                }),
                (true, false) => news.push(ServerMessage::ParticipantBack { participant }),
                (true, true) | (false, false) => {}
            }
        }
        self.highest = self.highest.max(highest(now));
        seat.participants = now.to_vec();
        seat.away = away.to_vec();
        match received {
            Some(count) => self.acknowledge(count),
            None => {
                (self.received, self.acknowledged) = (0, 0);
            }
        }
        self.told = self.received;
        (news, self.unacknowledged.iter().cloned().collect())
    }

    /// Counts that make no sense change nothing beyond what was sent.
    fn acknowledge(&mut self, count: u64) {
        while self.acknowledged < count && self.unacknowledged.pop_front().is_some() {
            self.acknowledged += 1;
        }
    }
}

fn highest(participants: &[ParticipantId]) -> ParticipantId {
    participants.iter().copied().max().unwrap_or(0)
}

fn insert(sorted: &mut Vec<ParticipantId>, id: ParticipantId) {
    if let Err(place) = sorted.binary_search(&id) {
        sorted.insert(place, id);
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::message::{PROTOCOL_VERSION, Secret, SignalData};
    use crate::room_code::RoomNumber;

    fn memory() -> Memory {
        let mut random = StdRng::seed_from_u64(1);
        let ticket = Ticket {
            token: Secret::draw(&mut random),
            room_token: Secret::draw(&mut random),
            within: 60,
        };
        let seat = Seat {
            room: RoomNumber::new(4821).expect("a number"),
            participant: 2,
            participants: vec![1, 2],
            away: Vec::new(),
            reach: None,
            ice_servers: Vec::new(),
            ice_servers_lifetime: None,
        };
        Memory::new(seat, ticket)
    }

    fn signal(to: ParticipantId) -> ClientMessage {
        ClientMessage::Signal {
            to,
            data: SignalData::new(b"x").expect("short"),
        }
    }

    #[test]
    fn what_the_server_had_is_not_said_again() {
        let mut memory = memory();
        for to in [1, 3, 4] {
            memory.sending(&signal(to));
        }
        memory.sending(&ClientMessage::Ping);
        memory.hear(&ServerMessage::Received { count: 1 });
        let (news, again) = memory.resumed(&[1, 2], &[], Some(2));
        assert_eq!((news, again), (Vec::new(), vec![signal(4)]));
        // A count from nowhere does no harm.
        memory.hear(&ServerMessage::Received { count: 99 });
        assert_eq!(memory.resumed(&[1, 2], &[], Some(u64::MAX)).1, []);
    }

    #[test]
    fn a_server_that_forgot_everything_counts_anew() {
        let mut memory = memory();
        memory.sending(&signal(1));
        memory.sending(&signal(1));
        memory.hear(&ServerMessage::Received { count: 1 });
        memory.hear(&ServerMessage::Signal {
            from: 1,
            data: SignalData::new(b"x").expect("short"),
        });
        let (_, again) = memory.resumed(&[1, 2], &[1], None);
        assert_eq!(again, [signal(1)]);
        assert!(matches!(
            memory.claim(PROTOCOL_VERSION),
            ClientMessage::Resume { received: 0, .. }
        ));
        memory.hear(&ServerMessage::Received { count: 1 });
        assert_eq!(memory.resumed(&[1, 2], &[1], Some(1)).1, []);
    }

    #[test]
    fn comings_and_goings_are_told_as_if_the_connection_had_never_broken() {
        let mut memory = memory();
        memory.hear(&ServerMessage::ParticipantJoined { participant: 3 });
        memory.hear(&ServerMessage::ParticipantAway {
            participant: 3,
            reason: LeaveReason::Timeout,
        });
        let (news, _) = memory.resumed(&[2, 3, 4, 5], &[5], Some(0));
        assert_eq!(
            news,
            [
                ServerMessage::ParticipantLeft {
                    participant: 1,
                    reason: LeaveReason::Disconnected
                },
                ServerMessage::ParticipantJoined { participant: 4 },
                ServerMessage::ParticipantJoined { participant: 5 },
                ServerMessage::ParticipantBack { participant: 3 },
                ServerMessage::ParticipantAway {
                    participant: 5,
                    reason: LeaveReason::Unknown,
                },
            ]
        );
        assert_eq!(memory.resumed(&[2, 3, 4, 5], &[5], Some(0)).0, []);
    }

    #[test]
    fn receipts_are_given_once() {
        let mut memory = memory();
        assert_eq!(memory.receipt(), None);
        memory.hear(&ServerMessage::Signal {
            from: 1,
            data: SignalData::new(b"x").expect("short"),
        });
        assert_eq!(memory.receipt(), Some(ClientMessage::Received { count: 1 }));
        assert_eq!(memory.receipt(), None);
    }

    #[test]
    fn senders_wait_while_too_much_is_unacknowledged() {
        let mut memory = memory();
        while memory.can_send() {
            memory.sending(&signal(1));
        }
        memory.hear(&ServerMessage::Received { count: 1 });
        assert!(memory.can_send());
    }
}
