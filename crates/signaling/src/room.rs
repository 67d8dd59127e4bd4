//! Who is in which room: the server's decisions, without a socket or a clock of its own.
//!
//! Everything that happens is told to [`Rooms`] together with the time; what is to be done about
//! it is taken out with [`Rooms::poll_output`]. The same events at the same times with the same
//! seed give the same outputs.
//!
//! A connection:
//!
//! ```text
//!         create / join / resume          leave
//! connected ──────────────▶ in a room ─────────▶ connected …
//!     │ idle, too fast, closed   │ silent, too fast, closed, its seat taken over
//!     ▼                          ▼
//!    gone                       gone
//! ```
//!
//! A seat in a room, which outlives the connection of a client that can resume it:
//!
//! ```text
//!             broken, silent              60 s
//!      here ────────────────▶ away ───────────────▶ gone, and the others are told
//!       │ ▲                    │ resume               ▲
//!       │ └────────────────────┘                      │
//!       └─────────────────────────────────────────────┘
//!          leave, closed properly, put out; broken, silent when it cannot be resumed
//! ```
//!
//! This is the narrow interface behind which all room state lies: [`Rooms::connect`],
//! [`Rooms::handle`], [`Rooms::disconnect`], [`Rooms::put_out`], [`Rooms::tick`] and
//! [`Rooms::poll_output`]. Several servers that share rooms would each keep their connections and
//! send these events to the one that owns the room.

mod address;
mod away;
mod entering;
mod limits;
mod number;
#[cfg(test)]
mod properties;
mod seat;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;

use crate::message::{
    ClientMessage, ErrorCode, LeaveReason, MessageError, ParticipantId, ServerMessage,
};
use crate::room_code::RoomNumber;
use address::Addresses;
pub(crate) use address::group;
use away::Away;
use entering::Claim;
use limits::{Bucket, MAX_STRIKES, cost};
pub use limits::{Heartbeat, Limits, Opening, Rate};
use seat::{Presence, Room, Seat};

/// How often addresses are looked through that may be forgotten.
const FORGET_INTERVAL: Duration = Duration::from_secs(1);

/// One connection, never reused within a server's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(u64);

/// What the server has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send `message`.
    Send {
        /// To whom.
        to: ConnectionId,
        /// What.
        message: ServerMessage,
    },
    /// Close the connection once everything said before has been sent. It counts as gone already.
    Close {
        /// Which.
        connection: ConnectionId,
    },
}

/// All rooms and connections of a server.
#[derive(Debug)]
pub struct Rooms {
    limits: Limits,
    heartbeat: Heartbeat,
    random: StdRng,
    next_connection: u64,
    connections: BTreeMap<ConnectionId, Connection>,
    rooms: BTreeMap<RoomNumber, Room>,
    addresses: Addresses,
    outputs: VecDeque<Output>,
    shared_rooms: BTreeSet<RoomNumber>,
    /// When to look at which connection next: one entry for each, so that the passing of time costs
    /// no more than what is due.
    agenda: BTreeSet<(Instant, ConnectionId)>,
    /// Seats without a connection.
    away: Away,
    /// When to look through the addresses next.
    forget_at: Option<Instant>,
    /// What all messages together take that are kept for seats.
    held_bytes: usize,
}

#[derive(Debug)]
struct Connection {
    address: IpAddr,
    place: Option<(RoomNumber, ParticipantId)>,
    outside_since: Instant,
    /// The first ping since it was last heard.
    unanswered: Option<Instant>,
    next_ping: Instant,
    /// Its place in the agenda.
    next_look: Instant,
    messages: Bucket,
    bytes: Bucket,
    strikes: u8,
}

impl Rooms {
    /// No rooms yet. `random` draws their numbers.
    pub fn new(limits: Limits, heartbeat: Heartbeat, random: StdRng) -> Self {
        Self {
            limits,
            heartbeat,
            random,
            next_connection: 1,
            connections: BTreeMap::new(),
            rooms: BTreeMap::new(),
            addresses: Addresses::default(),
            outputs: VecDeque::new(),
            shared_rooms: BTreeSet::new(),
            agenda: BTreeSet::new(),
            away: Away::default(),
            forget_at: None,
            held_bytes: 0,
        }
    }

    /// Somebody connected from `ip`.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::TooManyConnections`], after which the connection is not known here.
    pub fn connect(&mut self, ip: IpAddr, now: Instant) -> Result<ConnectionId, ErrorCode> {
        let address = group(ip);
        let per_address = self.limits.connections_per_address;
        if self.connections.len() >= self.limits.connections
            || !self
                .addresses
                .connect(address, per_address, self.limits.wrong_numbers, now)
        {
            return Err(ErrorCode::TooManyConnections);
        }
        let id = ConnectionId(self.next_connection);
        self.next_connection += 1;
        self.connections.insert(
            id,
            Connection {
                address,
                place: None,
                outside_since: now,
                unanswered: None,
                next_ping: now + first_ping(id, self.pulse().ping_interval),
                next_look: now,
                messages: Bucket::full(self.limits.messages, now),
                bytes: Bucket::full(self.limits.bytes, now),
                strikes: 0,
            },
        );
        self.look_later(id, now);
        Ok(id)
    }

    /// A message of `length` bytes arrived, or something that is none.
    pub fn handle(
        &mut self,
        id: ConnectionId,
        message: Result<ClientMessage, MessageError>,
        length: usize,
        now: Instant,
    ) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return; // Closed while this was under way.
        };
        connection.unanswered = None;
        let price = message.as_ref().map_or(1, cost);
        let paid = connection.messages.take(price, self.limits.messages, now)
            && connection.bytes.take(length, self.limits.bytes, now);
        if !paid {
            return self.put_out(id, ErrorCode::TooFast, now);
        }
        match message {
            Ok(message) => self.obey(id, message, length, now),
            Err(error) => self.complain(id, error.code(), now),
        }
    }

    /// The connection is gone; `reason` is what the others hear. A seat that can be resumed is kept
    /// when the connection broke or fell silent.
    pub fn disconnect(&mut self, id: ConnectionId, reason: LeaveReason, now: Instant) {
        let broke = matches!(reason, LeaveReason::Disconnected | LeaveReason::Timeout);
        if !(broke && self.keep_seat(id, reason, now)) {
            self.leave_room(id, reason, now);
        }
        self.forget(id);
    }

    /// The connection is no more.
    fn forget(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.remove(&id) {
            self.agenda.remove(&(connection.next_look, id));
            self.addresses.disconnect(connection.address);
        }
    }

    /// Tells somebody why and closes the connection; the others hear that they were removed.
    pub fn put_out(&mut self, id: ConnectionId, code: ErrorCode, now: Instant) {
        self.send(id, ServerMessage::error(code));
        self.disconnect(id, LeaveReason::Removed, now);
        self.outputs.push_back(Output::Close { connection: id });
    }

    /// Time has passed: pings, and removes the silent and the idle. To be called several times per
    /// ping interval; a peer is removed at most that much later than the limit says.
    pub fn tick(&mut self, now: Instant) {
        while let Some((look, id)) = self.agenda.first().copied()
            && look <= now
        {
            self.agenda.pop_first();
            let Some(connection) = self.connections.get(&id) else {
                continue;
            };
            match self.due(connection, now) {
                Some(Due::Silent) => {
                    self.disconnect(id, LeaveReason::Timeout, now);
                    self.outputs.push_back(Output::Close { connection: id });
                    continue;
                }
                Some(Due::Idle) => {
                    self.put_out(id, ErrorCode::Idle, now);
                    continue;
                }
                Some(Due::Ping) => {
                    let interval = self.pulse().ping_interval;
                    if let Some(connection) = self.connections.get_mut(&id) {
                        connection.next_ping = now + interval;
                        connection.unanswered.get_or_insert(now);
                    }
                    self.send(id, ServerMessage::Ping);
                    self.acknowledge(id);
                }
                None => {}
            }
            self.look_later(id, now);
        }
        self.remove_long_away(now);
        if self.forget_at.is_none_or(|due| due <= now) {
            self.forget_at = Some(now + FORGET_INTERVAL);
            self.addresses.forget_idle(self.limits.wrong_numbers, now);
        }
    }

    /// The heartbeat with as many connections as there are.
    fn pulse(&self) -> Heartbeat {
        self.heartbeat.among(self.connections.len())
    }

    /// Notes when something may be due for a connection that has been looked at.
    fn look_later(&mut self, id: ConnectionId, now: Instant) {
        let grace = self.pulse().grace();
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let silent = connection.unanswered.map(|ping| ping + grace);
        // Whoever is in a room may leave it just now.
        let outside = connection.place.map_or(connection.outside_since, |_| now);
        let idle = outside + self.heartbeat.idle_limit;
        let look = connection.next_ping.min(idle);
        let look = silent.map_or(look, |silent| look.min(silent));
        // Later than now, or the same would be looked at for ever.
        connection.next_look = look.max(now + Duration::from_millis(1));
        self.agenda.insert((connection.next_look, id));
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// How many rooms are open.
    pub fn rooms(&self) -> usize {
        self.rooms.len()
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Open rooms that are to be reached from the network.
    pub fn shared_rooms(&self) -> &BTreeSet<RoomNumber> {
        &self.shared_rooms
    }

    /// How many seats are kept for somebody whose connection broke.
    pub fn away(&self) -> usize {
        self.away.len()
    }

    fn obey(&mut self, id: ConnectionId, message: ClientMessage, length: usize, now: Instant) {
        if message.is_counted()
            && let Some(resume) = self.seat_of(id).and_then(|seat| seat.resume.as_mut())
        {
            resume.received += 1;
        }
        let result = match message {
            ClientMessage::Create {
                version,
                reach,
                room,
                resumable,
            } => self
                .may_enter(id, version)
                .and_then(|address| self.create(id, address, room, reach, resumable, now)),
            ClientMessage::Join {
                version,
                room,
                resumable,
            } => self
                .may_enter(id, version)
                .and_then(|address| self.join(id, address, room, resumable, now)),
            ClientMessage::Resume {
                version,
                room,
                participant,
                token,
                room_token,
                participants,
                highest,
                received,
            } => self.may_enter(id, version).and_then(|address| {
                let claim = Claim {
                    room,
                    participant,
                    token,
                    room_token,
                    highest: highest.max(participants.last().copied()).unwrap_or(0),
                    participants,
                    received,
                };
                self.resume(id, address, claim, now)
            }),
            ClientMessage::Leave => self.leave(id, now),
            ClientMessage::Signal { to, data } => {
                self.forward(id, to, length, |from| ServerMessage::Signal { from, data })
            }
            ClientMessage::Received { count } => self.arrived(id, count),
            ClientMessage::IceServers => self.hand_out_ice_servers(id),
            ClientMessage::Ping => {
                self.send(id, ServerMessage::Pong);
                Ok(())
            }
            ClientMessage::Pong => Ok(()),
        };
        if let Err(code) = result {
            self.send(id, ServerMessage::error(code));
        }
    }

    /// Hands a message of `length` bytes on to one other participant, or keeps it for somebody who
    /// is away.
    fn forward(
        &mut self,
        id: ConnectionId,
        to: ParticipantId,
        length: usize,
        message: impl FnOnce(ParticipantId) -> ServerMessage,
    ) -> Result<(), ErrorCode> {
        let (number, from) = self.place(id).ok_or(ErrorCode::NotInRoom)?;
        let seat = self
            .rooms
            .get_mut(&number)
            .and_then(|room| room.seat_mut(to))
            .filter(|_| to != from)
            .ok_or(ErrorCode::UnknownParticipant)?;
        let message = message(from);
        let Some(resume) = seat.resume.as_mut() else {
            if let Presence::Here(receiver) = seat.presence {
                self.send(receiver, message);
            }
            return Ok(());
        };
        let before = resume.held.bytes();
        let space = self.limits.held_bytes.saturating_sub(self.held_bytes);
        let result = match seat.presence {
            Presence::Here(receiver) => {
                resume.held.keep_sent(from, message.clone(), length, space);
                Ok(Some((receiver, message)))
            }
            Presence::Away if resume.held.keep_unsent(from, message, length, space) => Ok(None),
            Presence::Away => Err(ErrorCode::ParticipantAway),
        };
        self.held_bytes = self.held_bytes + resume.held.bytes() - before;
        if let Some((receiver, message)) = result? {
            self.send(receiver, message);
        }
        Ok(())
    }

    /// The client has had `count` messages on its seat.
    fn arrived(&mut self, id: ConnectionId, count: u64) -> Result<(), ErrorCode> {
        let seat = self.seat_of(id).ok_or(ErrorCode::NotInRoom)?;
        if let Some(resume) = seat.resume.as_mut() {
            let freed = resume.held.arrived(count);
            self.held_bytes -= freed;
        }
        Ok(())
    }

    /// Tells a client how much of what it said has arrived, if that is news.
    fn acknowledge(&mut self, id: ConnectionId) {
        if let Some(resume) = self.seat_of(id).and_then(|seat| seat.resume.as_mut())
            && resume.received != resume.acknowledged
        {
            resume.acknowledged = resume.received;
            let count = resume.received;
            self.send(id, ServerMessage::Received { count });
        }
    }

    /// Only for those in a room: a relay is no public service. Which servers there are is filled in
    /// when the message is sent, since their credentials depend on the time of day.
    fn hand_out_ice_servers(&mut self, id: ConnectionId) -> Result<(), ErrorCode> {
        self.place(id).ok_or(ErrorCode::NotInRoom)?;
        self.send(
            id,
            ServerMessage::IceServers {
                ice_servers: Vec::new(),
                ice_servers_lifetime: None,
            },
        );
        Ok(())
    }

    fn place(&self, id: ConnectionId) -> Option<(RoomNumber, ParticipantId)> {
        self.connections.get(&id)?.place
    }

    fn seat_of(&mut self, id: ConnectionId) -> Option<&mut Seat> {
        let (number, participant) = self.place(id)?;
        self.rooms.get_mut(&number)?.seat_mut(participant)
    }

    /// Answers what cannot be read; whoever keeps sending such things is put out.
    fn complain(&mut self, id: ConnectionId, code: ErrorCode, now: Instant) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        connection.strikes = connection.strikes.saturating_add(1);
        if connection.strikes >= MAX_STRIKES {
            self.put_out(id, code, now);
        } else {
            self.send(id, ServerMessage::error(code));
        }
    }

    fn due(&self, connection: &Connection, now: Instant) -> Option<Due> {
        let since = |then: Instant| now.saturating_duration_since(then);
        let grace = self.pulse().grace();
        if connection
            .unanswered
            .is_some_and(|ping| since(ping) >= grace)
        {
            Some(Due::Silent)
        } else if connection.place.is_none()
            && since(connection.outside_since) >= self.heartbeat.idle_limit
        {
            Some(Due::Idle)
        } else if now >= connection.next_ping {
            Some(Due::Ping)
        } else {
            None
        }
    }

    fn send(&mut self, to: ConnectionId, message: ServerMessage) {
        self.outputs.push_back(Output::Send { to, message });
    }

    /// Tells everybody in a room who is there, but for `except`.
    fn tell_room(&mut self, number: RoomNumber, except: ParticipantId, message: &ServerMessage) {
        let Some(room) = self.rooms.get(&number) else {
            return;
        };
        for seat in &room.seats {
            if let (Presence::Here(to), true) = (seat.presence, seat.participant != except) {
                let message = message.clone();
                self.outputs.push_back(Output::Send { to, message });
            }
        }
    }
}

/// When to ping a new connection first. Many that come at once, as after a restart of the server, are
/// pinged apart from each other from then on: multiples of the golden ratio lie evenly within the
/// interval, whatever their number.
fn first_ping(id: ConnectionId, interval: Duration) -> Duration {
    /// 2 to the power of 64, divided by the golden ratio.
    const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
    let share = id.0.wrapping_mul(STEP) as f64 / u64::MAX as f64;
    interval.mul_f64(share)
}

/// What a connection needs when time has passed.
enum Due {
    Ping,
    Silent,
    Idle,
}

#[cfg(test)]
mod tests;
