//! Properties that hold whatever clients do, checked against what each of them was told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::seat::Presence;
use super::{ConnectionId, Heartbeat, Limits, Output, Rooms};
use crate::message::{
    ClientMessage, ErrorCode, LeaveReason, MAX_PARTICIPANTS, MessageError, PROTOCOL_VERSION,
    ParticipantId, ServerMessage, SignalData, Ticket,
};
use crate::room_code::RoomNumber;

fn data(text: &str) -> SignalData {
    SignalData::new(text.as_bytes()).expect("short")
}

#[derive(Debug, Clone)]
enum Step {
    Connect,
    /// A room, by a client that can resume or not.
    Create(usize, bool),
    /// A client into the room of another.
    Join(usize, usize, bool),
    JoinWrong(usize),
    Leave(usize),
    Signal(usize, ParticipantId),
    Rubbish(usize),
    Vanish(usize),
    /// What the server says does not arrive any more, which it does not know yet.
    Deafen(usize),
    /// Somebody whose connection is gone comes back.
    Resume(usize),
    /// Somebody changes the connection although the old one is there.
    Switch(usize),
    /// Everybody but these answers all pings while time passes.
    Pass(u64, BTreeSet<usize>),
    /// The server restarts.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..16_usize;
    prop_oneof![
        8 => Just(Step::Connect),
        4 => (who.clone(), any::<bool>()).prop_map(|(a, b)| Step::Create(a, b)),
        16 => (who.clone(), who.clone(), any::<bool>()).prop_map(|(a, b, c)| Step::Join(a, b, c)),
        2 => who.clone().prop_map(Step::JoinWrong),
        4 => who.clone().prop_map(Step::Leave),
        16 => (who.clone(), 0..14_u32).prop_map(|(a, to)| Step::Signal(a, to)),
        2 => who.clone().prop_map(Step::Rubbish),
        6 => who.clone().prop_map(Step::Vanish),
        4 => who.clone().prop_map(Step::Deafen),
        8 => who.clone().prop_map(Step::Resume),
        4 => who.clone().prop_map(Step::Switch),
        4 => (1..40_000_u64, proptest::collection::btree_set(who, 0..3))
            .prop_map(|(ms, silent)| Step::Pass(ms, silent)),
        1 => Just(Step::Restart),
    ]
}

/// What a client knows from the server's messages alone.
#[derive(Debug, Default, Clone)]
struct Known {
    room: Option<RoomNumber>,
    myself: ParticipantId,
    others: BTreeSet<ParticipantId>,
    away: BTreeSet<ParticipantId>,
    seen: BTreeSet<ParticipantId>,
    ticket: Option<Ticket>,
    received: u64,
    deaf: bool,
    /// Of the seat, unlike any other's.
    serial: u64,
    /// How many messages were accepted for each other.
    sent: BTreeMap<ParticipantId, u64>,
    /// The last one that came from each serial.
    came: BTreeMap<u64, u64>,
}

struct Model {
    rooms: Rooms,
    now: Instant,
    clients: BTreeMap<ConnectionId, Known>,
    /// Those who had a seat that can be resumed.
    broken: Vec<Known>,
    next_serial: u64,
    /// The code of the last error, and to whom.
    error: Option<(ConnectionId, ErrorCode)>,
}

fn rooms(seed: u64) -> Rooms {
    let limits = Limits {
        // Else most of what is resumed after a restart is refused.
        wrong_numbers: super::Rate {
            burst: 1_000,
            per_second: 1_000,
        },
        ..Limits::default()
    };
    Rooms::new(limits, Heartbeat::default(), StdRng::seed_from_u64(seed))
}

impl Model {
    fn new() -> Self {
        Self {
            rooms: rooms(3),
            now: Instant::now(),
            clients: BTreeMap::new(),
            broken: Vec::new(),
            next_serial: 1,
            error: None,
        }
    }

    fn client(&self, index: usize) -> Option<ConnectionId> {
        self.clients
            .keys()
            .nth(index % self.clients.len().max(1))
            .copied()
    }

    fn connect(&mut self) -> ConnectionId {
        self.rooms
            .connect([10, 0, 0, 1].into(), self.now)
            .expect("far below the limit")
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Connect => {
                let id = self.connect();
                self.clients.insert(id, Known::default());
            }
            Step::Create(who, resumable) => self.say(who, |_| ClientMessage::Create {
                version: PROTOCOL_VERSION,
                reach: None,
                room: None,
                resumable,
            }),
            Step::Join(who, whose, resumable) => {
                let room = self.client(whose).and_then(|id| self.clients[&id].room);
                if let Some(room) = room {
                    self.say(who, |_| ClientMessage::Join {
                        version: PROTOCOL_VERSION,
                        room,
                        resumable,
                    });
                }
            }
            Step::JoinWrong(who) => {
                let room = RoomNumber::new(999_999).expect("in range");
                self.say(who, |_| ClientMessage::Join {
                    version: PROTOCOL_VERSION,
                    room,
                    resumable: true,
                });
            }
            Step::Leave(who) => {
                self.say(who, |_| ClientMessage::Leave);
                if let Some(id) = self.speaker(who) {
                    self.clients.insert(id, Known::default());
                }
            }
            Step::Signal(who, to) => self.signal(who, to),
            Step::Rubbish(who) => {
                if let Some(id) = self.client(who) {
                    self.rooms
                        .handle(id, Err(MessageError::Malformed), 9, self.now);
                }
            }
            Step::Vanish(who) => {
                if let Some(id) = self.client(who) {
                    self.lose(id);
                    self.rooms
                        .disconnect(id, LeaveReason::Disconnected, self.now);
                }
            }
            Step::Deafen(who) => {
                let known = self.client(who).and_then(|id| self.clients.get_mut(&id));
                if let Some(known) = known.filter(|known| known.ticket.is_some()) {
                    known.deaf = true;
                }
            }
            Step::Resume(who) => {
                if !self.broken.is_empty() {
                    let known = self.broken.remove(who % self.broken.len());
                    self.resume(known);
                }
            }
            Step::Switch(who) => {
                let known = self.client(who).and_then(|id| self.clients.get(&id));
                if let Some(known) = known.filter(|known| known.ticket.is_some()).cloned() {
                    self.resume(known);
                }
            }
            Step::Pass(ms, silent) => self.pass(Duration::from_millis(ms), &silent),
            Step::Restart => {
                let ids: Vec<_> = self.clients.keys().copied().collect();
                for id in ids {
                    self.lose(id);
                }
                self.next_serial += 1_000; // Other numbers and secrets than before.
                self.rooms = rooms(self.next_serial);
            }
        }
        self.listen();
    }

    fn say(&mut self, who: usize, message: impl FnOnce(ConnectionId) -> ClientMessage) {
        if let Some(id) = self.speaker(who) {
            self.rooms.handle(id, Ok(message(id)), 50, self.now);
        }
    }

    /// Whoever hears nothing says nothing: the network is gone.
    fn speaker(&self, index: usize) -> Option<ConnectionId> {
        self.client(index).filter(|id| !self.clients[id].deaf)
    }

    /// Says the next number to somebody, which counts unless the server says that it was not done.
    fn signal(&mut self, who: usize, to: ParticipantId) {
        let Some(id) = self.speaker(who) else {
            return;
        };
        let known = &self.clients[&id];
        let number = known.sent.get(&to).copied().unwrap_or(0) + 1;
        let data = data(&format!("{}/{}>{to}#{number}", known.serial, known.myself));
        self.error = None;
        let message = ClientMessage::Signal { to, data };
        self.rooms.handle(id, Ok(message), 50, self.now);
        self.listen();
        if self.error.is_none_or(|(whom, _)| whom != id)
            && let Some(known) = self.clients.get_mut(&id)
        {
            known.sent.insert(to, number);
        }
    }

    fn resume(&mut self, known: Known) {
        let (Some(room), Some(ticket)) = (known.room, known.ticket) else {
            return;
        };
        let id = self.connect();
        let mut participants = known.others.clone();
        participants.insert(known.myself);
        let claim = ClientMessage::Resume {
            version: PROTOCOL_VERSION,
            room,
            participant: known.myself,
            token: ticket.token,
            room_token: ticket.room_token,
            participants: participants.into_iter().collect(),
            highest: known.seen.last().copied().max(Some(known.myself)),
            received: known.received,
        };
        let deaf = false;
        self.clients.insert(id, Known { deaf, ..known });
        self.error = None;
        self.rooms.handle(id, Ok(claim), 300, self.now);
        self.listen();
        if self.error == Some((id, ErrorCode::UnknownSeat)) {
            // The seat was given up: only a connection is left.
            self.clients.insert(id, Known::default());
        }
    }

    /// A connection ends; what its client knows may serve to resume.
    fn lose(&mut self, id: ConnectionId) {
        let known = self.clients.remove(&id).expect("closed once");
        // Unless it is on another connection already.
        let switched = self
            .clients
            .values()
            .any(|other| other.serial == known.serial);
        if known.ticket.is_some() && !switched {
            self.broken.push(known);
        }
    }

    fn pass(&mut self, time: Duration, silent: &BTreeSet<usize>) {
        let silent: BTreeSet<_> = silent
            .iter()
            .filter_map(|index| self.client(*index))
            .collect();
        let end = self.now + time;
        while self.now < end {
            self.now += Duration::from_millis(500);
            let ids: Vec<_> = self
                .clients
                .iter()
                .filter(|(id, known)| !silent.contains(id) && !known.deaf)
                .map(|(id, known)| (*id, known.received, known.room.is_some()))
                .collect();
            for (id, count, seated) in ids {
                if seated {
                    let receipt = ClientMessage::Received { count };
                    self.rooms.handle(id, Ok(receipt), 25, self.now);
                }
                self.rooms.handle(id, Ok(ClientMessage::Pong), 15, self.now);
            }
            self.rooms.tick(self.now);
            self.listen();
        }
    }

    fn listen(&mut self) {
        while let Some(output) = self.rooms.poll_output() {
            match output {
                Output::Close { connection } => self.lose(connection),
                Output::Send { to, message } => self.hear(to, message),
            }
        }
    }

    fn hear(&mut self, id: ConnectionId, message: ServerMessage) {
        let known = self
            .clients
            .get_mut(&id)
            .expect("only the living are spoken to");
        if known.deaf {
            return;
        }
        match message {
            ServerMessage::Created {
                room,
                participant,
                participants,
                resume,
                ..
            } => self.sit(id, room, participant, &participants, &[], resume),
            ServerMessage::Joined {
                room,
                participant,
                participants,
                away,
                resume,
                ..
            } => self.sit(id, room, participant, &participants, &away, resume),
            ServerMessage::Resumed {
                room,
                participant,
                participants,
                away,
                received,
                ..
            } => {
                assert_eq!((known.room, known.myself), (Some(room), participant));
                known.others = without(&participants, participant);
                known.seen.extend(&known.others);
                known.away = away.into_iter().collect();
                if received.is_none() {
                    known.received = 0;
                    known.came.clear();
                }
            }
            ServerMessage::ParticipantJoined { participant } => {
                assert!(known.seen.insert(participant), "a number was used again");
                assert!(known.others.insert(participant) && participant != known.myself);
            }
            ServerMessage::ParticipantLeft { participant, .. } => {
                known.away.remove(&participant);
                assert!(
                    known.others.remove(&participant),
                    "announced once, and only to those who knew"
                );
            }
            ServerMessage::ParticipantAway { participant, .. } => {
                assert!(known.others.contains(&participant) && known.away.insert(participant));
            }
            ServerMessage::ParticipantBack { participant } => {
                assert!(known.others.contains(&participant) && known.away.remove(&participant));
            }
            ServerMessage::Signal { from, data } => {
                known.received += 1;
                assert!(known.others.contains(&from), "from somebody in the room");
                let text = data.bytes().and_then(|bytes| String::from_utf8(bytes).ok());
                let text = text.expect("ours");
                let (serial, rest) = text.split_once('/').expect("ours");
                let (serial, myself) = (serial.parse().expect("a number"), known.myself);
                let rest = rest
                    .strip_prefix(&format!("{from}>{myself}#"))
                    .expect("from whom it says, and for me");
                let number: u64 = rest.parse().expect("a number");
                let before = known.came.insert(serial, number);
                // After a restart of the server, nothing is known of what came before.
                if let Some(before) = before {
                    assert_eq!(number, before + 1, "each once and in order");
                }
            }
            ServerMessage::Error { code, .. } => self.error = Some((id, code)),
            ServerMessage::Received { .. } | ServerMessage::Ping | ServerMessage::Pong => {}
            other => panic!("out of place: {other:?}"),
        }
    }

    fn sit(
        &mut self,
        id: ConnectionId,
        room: RoomNumber,
        participant: ParticipantId,
        participants: &[ParticipantId],
        away: &[ParticipantId],
        ticket: Option<Ticket>,
    ) {
        assert_eq!(participants.last(), Some(&participant));
        let others = without(participants, participant);
        let known = Known {
            room: Some(room),
            myself: participant,
            seen: others.clone(),
            others,
            away: away.iter().copied().collect(),
            ticket,
            serial: self.next_serial,
            ..Known::default()
        };
        self.next_serial += 1;
        let before = self.clients.insert(id, known);
        assert!(
            before.is_some_and(|before| before.room.is_none()),
            "one room per connection"
        );
    }

    /// Everybody knows exactly those who are there.
    fn check(&self) {
        let (mut here, mut away, mut held) = (0, 0, 0);
        for room in self.rooms.rooms.values() {
            assert!(!room.seats.is_empty(), "an empty room is gone");
            assert!(room.seats.len() <= MAX_PARTICIPANTS);
            assert!(room.participants().is_sorted_by(|a, b| a < b));
            for seat in &room.seats {
                held += seat.resume.as_ref().map_or(0, |resume| resume.held.bytes());
                match seat.presence {
                    Presence::Here(id) => {
                        assert_eq!(self.clients[&id].myself, seat.participant);
                        here += 1;
                    }
                    Presence::Away => away += 1,
                }
            }
        }
        let seated = self.clients.values().filter(|known| known.room.is_some());
        assert_eq!(here, seated.clone().count());
        assert_eq!((away, held), (self.rooms.away(), self.rooms.held_bytes));
        assert_eq!(self.rooms.connections(), self.clients.len());
        for known in seated.filter(|known| !known.deaf) {
            let room = &self.rooms.rooms[&known.room.expect("seated")];
            let mut everybody = known.others.clone();
            assert!(everybody.insert(known.myself));
            let there: BTreeSet<_> = room.participants().into_iter().collect();
            assert_eq!(everybody, there);
            assert_eq!(known.away, room.away().into_iter().collect());
        }
    }
}

fn without(participants: &[ParticipantId], myself: ParticipantId) -> BTreeSet<ParticipantId> {
    let all: BTreeSet<_> = participants.iter().copied().collect();
    assert_eq!(all.len(), participants.len(), "each once");
    assert!(all.contains(&myself));
    all.into_iter().filter(|id| *id != myself).collect()
}

proptest! {
    // What goes wrong in one of thousands happens to somebody every day, and each takes 0.2 ms.
    #![proptest_config(ProptestConfig::with_cases(4_000))]
    #[test]
    fn everybody_always_knows_who_is_there_and_nothing_is_lost(
        steps in proptest::collection::vec(step(), 1..150)
    ) {
        let mut model = Model::new();
        for step in steps {
            model.take(step);
            model.check();
        }
    }
}
