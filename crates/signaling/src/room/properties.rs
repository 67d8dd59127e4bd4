//! Properties that hold whatever clients do, checked against what each of them was told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::{ConnectionId, Heartbeat, Limits, Output, Rooms};
use crate::message::{
    ClientMessage, LeaveReason, MAX_PARTICIPANTS, MessageError, ParticipantId, SdpType,
    ServerMessage, SessionDescription,
};
use crate::room_code::RoomNumber;

#[derive(Debug, Clone)]
enum Step {
    Connect,
    Create(usize),
    /// A client into the room of another.
    Join(usize, usize),
    JoinWrong(usize),
    Leave(usize),
    Describe(usize, ParticipantId),
    Rubbish(usize),
    Vanish(usize),
    /// Everybody but these answers all pings while time passes.
    Pass(u64, BTreeSet<usize>),
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..16_usize;
    prop_oneof![
        4 => Just(Step::Connect),
        2 => who.clone().prop_map(Step::Create),
        8 => (who.clone(), who.clone()).prop_map(|(a, b)| Step::Join(a, b)),
        1 => who.clone().prop_map(Step::JoinWrong),
        2 => who.clone().prop_map(Step::Leave),
        4 => (who.clone(), 0..14_u32).prop_map(|(a, to)| Step::Describe(a, to)),
        1 => who.clone().prop_map(Step::Rubbish),
        2 => who.clone().prop_map(Step::Vanish),
        2 => (1..6_000_u64, proptest::collection::btree_set(who, 0..3))
            .prop_map(|(ms, silent)| Step::Pass(ms, silent)),
    ]
}

/// What a client knows from the server's messages alone.
#[derive(Debug, Default)]
struct Known {
    room: Option<RoomNumber>,
    myself: ParticipantId,
    others: BTreeSet<ParticipantId>,
    seen: BTreeSet<ParticipantId>,
}

struct Model {
    rooms: Rooms,
    now: Instant,
    clients: BTreeMap<ConnectionId, Known>,
}

impl Model {
    fn new() -> Self {
        let rooms = Rooms::new(
            Limits::default(),
            Heartbeat::default(),
            StdRng::seed_from_u64(3),
        );
        Self {
            rooms,
            now: Instant::now(),
            clients: BTreeMap::new(),
        }
    }

    fn client(&self, index: usize) -> Option<ConnectionId> {
        self.clients
            .keys()
            .nth(index % self.clients.len().max(1))
            .copied()
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Connect => {
                let ip = [10, 0, 0, 1].into();
                let id = self
                    .rooms
                    .connect(ip, self.now)
                    .expect("far below the limit");
                self.clients.insert(id, Known::default());
            }
            Step::Create(who) => self.say(who, |_| ClientMessage::Create {
                version: 1,
                reach: None,
            }),
            Step::Join(who, whose) => {
                let room = self.client(whose).and_then(|id| self.clients[&id].room);
                if let Some(room) = room {
                    self.say(who, |_| ClientMessage::Join { version: 1, room });
                }
            }
            Step::JoinWrong(who) => {
                let room = RoomNumber::new(999_999).expect("in range");
                self.say(who, |_| ClientMessage::Join { version: 1, room });
            }
            Step::Leave(who) => {
                self.say(who, |_| ClientMessage::Leave);
                if let Some(id) = self.client(who) {
                    self.clients.insert(id, Known::default());
                }
            }
            Step::Describe(who, to) => self.say(who, |id| ClientMessage::Description {
                to,
                description: SessionDescription {
                    kind: SdpType::Offer,
                    sdp: format!("{id:?}>{to}"),
                },
            }),
            Step::Rubbish(who) => {
                if let Some(id) = self.client(who) {
                    self.rooms
                        .handle(id, Err(MessageError::Malformed), 9, self.now);
                }
            }
            Step::Vanish(who) => {
                if let Some(id) = self.client(who) {
                    self.clients.remove(&id);
                    self.rooms
                        .disconnect(id, LeaveReason::Disconnected, self.now);
                }
            }
            Step::Pass(ms, silent) => self.pass(Duration::from_millis(ms), &silent),
        }
        self.listen();
    }

    fn say(&mut self, who: usize, message: impl FnOnce(ConnectionId) -> ClientMessage) {
        if let Some(id) = self.client(who) {
            self.rooms.handle(id, Ok(message(id)), 50, self.now);
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
                .keys()
                .filter(|id| !silent.contains(id))
                .copied()
                .collect();
            for id in ids {
                self.rooms.handle(id, Ok(ClientMessage::Pong), 15, self.now);
            }
            self.rooms.tick(self.now);
            self.listen();
        }
    }

    fn listen(&mut self) {
        while let Some(output) = self.rooms.poll_output() {
            match output {
                Output::Close { connection } => {
                    assert!(self.clients.remove(&connection).is_some(), "closed twice");
                }
                Output::Send { to, message } => self.hear(to, message),
            }
        }
    }

    fn hear(&mut self, id: ConnectionId, message: ServerMessage) {
        let known = self
            .clients
            .get_mut(&id)
            .expect("only the living are spoken to");
        match message {
            ServerMessage::Created {
                room,
                participant,
                participants,
                ..
            }
            | ServerMessage::Joined {
                room,
                participant,
                participants,
            } => {
                assert_eq!(known.room, None, "one room per connection");
                assert_eq!(participants.last(), Some(&participant));
                let others: BTreeSet<_> = participants
                    .iter()
                    .copied()
                    .filter(|id| *id != participant)
                    .collect();
                assert_eq!(others.len() + 1, participants.len(), "each once");
                *known = Known {
                    room: Some(room),
                    myself: participant,
                    seen: others.clone(),
                    others,
                };
            }
            ServerMessage::ParticipantJoined { participant } => {
                assert!(known.seen.insert(participant), "a number was used again");
                assert!(known.others.insert(participant) && participant != known.myself);
            }
            ServerMessage::ParticipantLeft { participant, .. } => {
                assert!(
                    known.others.remove(&participant),
                    "announced once, and only to those who knew"
                );
            }
            ServerMessage::Description { from, description } => {
                assert!(known.others.contains(&from), "from somebody in the room");
                let myself = known.myself;
                assert!(description.sdp.ends_with(&format!(">{myself}")), "for me");
                let room = known.room;
                let sender = self
                    .clients
                    .iter()
                    .find(|(id, _)| description.sdp.starts_with(&format!("{id:?}>")));
                let (_, sender) = sender.expect("from somebody alive");
                assert_eq!(
                    (sender.room, sender.myself),
                    (room, from),
                    "within one room"
                );
            }
            ServerMessage::Candidate { .. } => panic!("nobody sent one"),
            ServerMessage::Error { .. } | ServerMessage::Ping | ServerMessage::Pong => {}
        }
    }

    /// Everybody knows exactly those who are there.
    fn check(&self) {
        let mut rooms: BTreeMap<RoomNumber, BTreeSet<ParticipantId>> = BTreeMap::new();
        for known in self.clients.values() {
            if let Some(room) = known.room {
                assert!(
                    rooms.entry(room).or_default().insert(known.myself),
                    "two with one number"
                );
            }
        }
        for known in self.clients.values() {
            let Some(room) = known.room else { continue };
            let mut everybody = known.others.clone();
            everybody.insert(known.myself);
            assert_eq!(everybody, rooms[&room]);
            assert!(everybody.len() <= MAX_PARTICIPANTS);
        }
        assert_eq!(self.rooms.rooms(), rooms.len(), "an empty room is gone");
        assert_eq!(self.rooms.connections(), self.clients.len());
    }
}

proptest! {
    #[test]
    fn everybody_always_knows_exactly_who_is_there(steps in proptest::collection::vec(step(), 1..120)) {
        let mut model = Model::new();
        for step in steps {
            model.take(step);
            model.check();
        }
    }
}
