//! What a server decides when its clients say anything at any time: nothing grows beyond its
//! limits, and every client can read whatever the server tells it.

#![no_main]

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use ahoy_fuzz::heap;
use ahoy_signaling::message::{
    ClientMessage, LeaveReason, MAX_MESSAGE, PROTOCOL_VERSION, ParticipantId, ServerMessage, Ticket,
};
use ahoy_signaling::room::{ConnectionId, Heartbeat, Limits, Opening, Output, Rooms};
use ahoy_signaling::room_code::RoomNumber;
use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use rand::SeedableRng;
use rand::rngs::StdRng;

/// Limits that are reached quickly.
const ROOMS: usize = 6;
const CONNECTIONS: usize = 24;
const AWAY: usize = 16;
const HELD_BYTES: usize = 256 * 1024;
const MOST_HEAP: usize = 1 << 20;
/// Seats that are remembered for taking them over.
const SEATS: usize = 8;

#[derive(Debug, Arbitrary)]
enum Step<'a> {
    Connect(u8),
    Create(u8),
    /// A client into the room of another.
    Join(u8, u8),
    /// A client takes the seat of another, of which it knows everything.
    Resume(u8, u8, u64),
    /// Something that one client says, whatever it is.
    Say(u8, &'a str),
    /// Something sealed of so many characters, with one of them replaced.
    Signal {
        who: u8,
        to: u8,
        length: u16,
        with: char,
    },
    Disconnect(u8),
    Pass(u16),
}

#[derive(Debug, Clone, Copy)]
struct Seat {
    room: RoomNumber,
    participant: ParticipantId,
    ticket: Ticket,
}

struct Driver {
    rooms: Rooms,
    now: Instant,
    /// Who is connected, and the room that each was told to be in.
    clients: BTreeMap<ConnectionId, Option<RoomNumber>>,
    /// The last seats that were given out.
    seats: VecDeque<Seat>,
}

impl Driver {
    fn client(&self, index: u8) -> Option<ConnectionId> {
        let count = self.clients.len().max(1);
        self.clients.keys().nth(usize::from(index) % count).copied()
    }

    fn say(&mut self, who: u8, text: &str) {
        if let Some(id) = self.client(who)
            && text.len() <= MAX_MESSAGE
        {
            let message = ClientMessage::parse(text);
            self.rooms.handle(id, message, text.len(), self.now);
        }
    }

    fn step(&mut self, step: Step<'_>) {
        match step {
            Step::Connect(from) => {
                let ip = match from % 6 {
                    0 | 1 => IpAddr::from(Ipv4Addr::LOCALHOST),
                    2 | 3 => IpAddr::from(Ipv4Addr::new(192, 0, 2, from)),
                    _ => IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, from.into())),
                };
                if let Ok(id) = self.rooms.connect(ip, self.now) {
                    assert!(self.clients.insert(id, None).is_none());
                }
            }
            Step::Create(who) => {
                let create = ClientMessage::Create {
                    version: PROTOCOL_VERSION,
                    reach: None,
                    room: None,
                    resumable: true,
                };
                self.say(who, &create.to_json());
            }
            Step::Join(who, whose) => {
                let theirs = self.client(whose).and_then(|id| self.clients[&id]);
                if let Some(room) = theirs {
                    let version = PROTOCOL_VERSION;
                    let resumable = true;
                    let join = ClientMessage::Join {
                        version,
                        room,
                        resumable,
                    };
                    self.say(who, &join.to_json());
                }
            }
            Step::Resume(who, which, received) => {
                let count = self.seats.len().max(1);
                if let Some(seat) = self.seats.get(usize::from(which) % count).copied() {
                    let resume = ClientMessage::Resume {
                        version: PROTOCOL_VERSION,
                        room: seat.room,
                        participant: seat.participant,
                        token: seat.ticket.token,
                        room_token: seat.ticket.room_token,
                        participants: vec![seat.participant],
                        highest: None,
                        received,
                    };
                    self.say(who, &resume.to_json());
                }
            }
            Step::Say(who, text) => self.say(who, text),
            Step::Signal {
                who,
                to,
                length,
                with,
            } => {
                let data = "x".repeat(length.into());
                self.say(
                    who,
                    &format!(r#"{{"type":"signal","to":{to},"data":"{data}{with}"}}"#),
                );
            }
            Step::Disconnect(who) => {
                if let Some(id) = self.client(who) {
                    self.rooms
                        .disconnect(id, LeaveReason::Disconnected, self.now);
                    self.clients.remove(&id);
                }
            }
            Step::Pass(ms) => {
                self.now += Duration::from_millis(u64::from(ms));
                self.rooms.tick(self.now);
            }
        }
    }

    fn outputs(&mut self) {
        while let Some(output) = self.rooms.poll_output() {
            match output {
                Output::Send { to, message } => self.told(to, message),
                Output::Close { connection } => {
                    assert!(self.clients.remove(&connection).is_some());
                }
            }
        }
        assert_eq!(self.rooms.connections(), self.clients.len());
        assert!(self.clients.len() <= CONNECTIONS && self.rooms.rooms() <= ROOMS);
        assert!(self.rooms.away() <= AWAY);
    }

    fn told(&mut self, to: ConnectionId, message: ServerMessage) {
        let json = message.to_json();
        assert_eq!(ServerMessage::parse(&json).as_ref(), Ok(&message));
        let room = self.clients.get_mut(&to).expect("somebody who is there");
        match message {
            ServerMessage::Created {
                room: number,
                participant,
                resume,
                ..
            }
            | ServerMessage::Joined {
                room: number,
                participant,
                resume,
                ..
            } => {
                *room = Some(number);
                if let Some(ticket) = resume {
                    self.seats.truncate(SEATS - 1);
                    self.seats.push_front(Seat {
                        room: number,
                        participant,
                        ticket,
                    });
                }
            }
            ServerMessage::Resumed { room: number, .. } => *room = Some(number),
            _ => {}
        }
    }
}

fuzz_target!(|input: (bool, Vec<Step<'_>>)| {
    let (shared, steps) = input;
    let before = heap::held();
    let limits = Limits {
        rooms: ROOMS,
        connections: CONNECTIONS,
        away: AWAY,
        held_bytes: HELD_BYTES,
        opening: if shared {
            Opening::Anyone
        } else {
            Opening::ThisComputer
        },
        ..Limits::default()
    };
    let mut driver = Driver {
        rooms: Rooms::new(limits, Heartbeat::default(), StdRng::seed_from_u64(1)),
        now: Instant::now(),
        clients: BTreeMap::new(),
        seats: VecDeque::new(),
    };
    for step in steps {
        driver.step(step);
        driver.outputs();
        let heap = heap::held().saturating_sub(before);
        assert!(heap <= MOST_HEAP, "{heap} bytes of heap are held");
    }
});
