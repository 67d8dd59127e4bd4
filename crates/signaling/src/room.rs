//! Who is in which room: the server's decisions, without a socket or a clock of its own.
//!
//! Everything that happens is told to [`Rooms`] together with the time; what is to be done about
//! it is taken out with [`Rooms::poll_output`]. The same events at the same times with the same
//! seed give the same outputs.
//!
//! ```text
//!            create / join              leave
//! connected ──────────────▶ in a room ─────────▶ connected …
//!     │ idle, too fast, closed   │ silent, too fast, closed
//!     ▼                          ▼
//!    gone                       gone, and the others are told
//! ```

mod address;
mod limits;
mod number;
#[cfg(test)]
mod properties;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Instant;

use rand::rngs::StdRng;

use crate::message::{
    ClientMessage, ErrorCode, LeaveReason, MAX_PARTICIPANTS, MessageError, PROTOCOL_VERSION,
    ParticipantId, Reach, ServerMessage,
};
use crate::room_code::RoomNumber;
use address::Addresses;
use limits::{Bucket, MAX_STRIKES, cost};
pub use limits::{Heartbeat, Limits, Opening, Rate};

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
    shared_rooms: usize,
}

#[derive(Debug)]
struct Connection {
    address: IpAddr,
    place: Option<(RoomNumber, ParticipantId)>,
    outside_since: Instant,
    last_heard: Instant,
    last_ping: Instant,
    messages: Bucket,
    bytes: Bucket,
    strikes: u8,
}

#[derive(Debug)]
struct Room {
    /// In join order.
    members: Vec<(ParticipantId, ConnectionId)>,
    next_participant: ParticipantId,
    reach: Reach,
    /// Who opened it, for the limit per address.
    opened_by: IpAddr,
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
            shared_rooms: 0,
        }
    }

    /// Somebody connected from `ip`.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::TooManyConnections`], after which the connection is not known here.
    pub fn connect(&mut self, ip: IpAddr, now: Instant) -> Result<ConnectionId, ErrorCode> {
        let address = address::group(ip);
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
                last_heard: now,
                last_ping: now,
                messages: Bucket::full(self.limits.messages, now),
                bytes: Bucket::full(self.limits.bytes, now),
                strikes: 0,
            },
        );
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
        connection.last_heard = now;
        let price = message.as_ref().map_or(1, cost);
        let paid = connection.messages.take(price, self.limits.messages, now)
            && connection.bytes.take(length, self.limits.bytes, now);
        if !paid {
            return self.put_out(id, ErrorCode::TooFast, now);
        }
        match message {
            Ok(message) => self.obey(id, message, now),
            Err(error) => self.complain(id, error.code(), now),
        }
    }

    /// The connection is gone; `reason` is what the others hear.
    pub fn disconnect(&mut self, id: ConnectionId, reason: LeaveReason, now: Instant) {
        self.leave_room(id, reason, now);
        if let Some(connection) = self.connections.remove(&id) {
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
        let due: Vec<(ConnectionId, Due)> = self
            .connections
            .iter()
            .filter_map(|(id, c)| Some((*id, self.due(c, now)?)))
            .collect();
        for (id, due) in due {
            match due {
                Due::Ping => {
                    if let Some(connection) = self.connections.get_mut(&id) {
                        connection.last_ping = now;
                    }
                    self.send(id, ServerMessage::Ping);
                }
                Due::Silent => {
                    self.disconnect(id, LeaveReason::Timeout, now);
                    self.outputs.push_back(Output::Close { connection: id });
                }
                Due::Idle => self.put_out(id, ErrorCode::Idle, now),
            }
        }
        self.addresses.forget_idle(self.limits.wrong_numbers, now);
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

    /// How many open rooms are to be reached from the network.
    pub fn shared_rooms(&self) -> usize {
        self.rooms
            .values()
            .filter(|room| room.reach == Reach::Network)
            .count()
    }

    fn obey(&mut self, id: ConnectionId, message: ClientMessage, now: Instant) {
        let result = match message {
            ClientMessage::Create { version, reach } => self.create(id, version, reach),
            ClientMessage::Join { version, room } => self.join(id, version, room, now),
            ClientMessage::Leave => self.leave(id, now),
            ClientMessage::Description { to, description } => self.forward(id, to, |from| {
                ServerMessage::Description { from, description }
            }),
            ClientMessage::Candidate { to, candidate } => {
                self.forward(id, to, |from| ServerMessage::Candidate { from, candidate })
            }
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

    fn create(
        &mut self,
        id: ConnectionId,
        version: u32,
        wanted: Option<Reach>,
    ) -> Result<(), ErrorCode> {
        let address = self.may_enter(id, version)?;
        let reach = match self.limits.opening {
            Opening::Anyone => Reach::Server,
            Opening::ThisComputer if !address.is_loopback() => return Err(ErrorCode::NotAllowed),
            Opening::ThisComputer if wanted == Some(Reach::Network) => Reach::Network,
            Opening::ThisComputer => Reach::Computer,
        };
        if self.rooms.len() >= self.limits.rooms {
            return Err(ErrorCode::TooManyRooms);
        }
        let number = number::draw(&mut self.random, self.rooms.len(), |number| {
            self.rooms.contains_key(&number)
        })
        .ok_or(ErrorCode::TooManyRooms)?;
        if !self
            .addresses
            .open_room(address, self.limits.rooms_per_address)
        {
            return Err(ErrorCode::TooManyRooms);
        }
        let room = Room {
            members: vec![(1, id)],
            next_participant: 2,
            reach,
            opened_by: address,
        };
        self.rooms.insert(number, room);
        self.shared_rooms += usize::from(reach == Reach::Network);
        self.seat(id, number, 1);
        let participants = vec![1];
        self.send(
            id,
            ServerMessage::Created {
                room: number,
                participant: 1,
                participants,
                reach,
            },
        );
        Ok(())
    }

    fn join(
        &mut self,
        id: ConnectionId,
        version: u32,
        number: RoomNumber,
        now: Instant,
    ) -> Result<(), ErrorCode> {
        let address = self.may_enter(id, version)?;
        // Looked at before the room, so that the answer does not tell whether there is one.
        if !self
            .addresses
            .may_guess(address, self.limits.wrong_numbers, now)
        {
            return Err(ErrorCode::TooFast);
        }
        let visible = |room: &&mut Room| room.reach != Reach::Computer || address.is_loopback();
        let Some(room) = self.rooms.get_mut(&number).filter(visible) else {
            self.addresses
                .guessed_wrong(address, self.limits.wrong_numbers, now);
            return Err(ErrorCode::UnknownRoom);
        };
        if room.members.len() >= MAX_PARTICIPANTS {
            return Err(ErrorCode::RoomFull);
        }
        let participant = room.next_participant;
        room.next_participant = participant.checked_add(1).ok_or(ErrorCode::RoomFull)?;
        let others: Vec<ConnectionId> = room.members.iter().map(|(_, other)| *other).collect();
        room.members.push((participant, id));
        let participants = room.members.iter().map(|(member, _)| *member).collect();
        self.seat(id, number, participant);
        self.send(
            id,
            ServerMessage::Joined {
                room: number,
                participant,
                participants,
            },
        );
        self.send_all(others, &ServerMessage::ParticipantJoined { participant });
        Ok(())
    }

    /// The address of somebody who may ask for a room.
    fn may_enter(&self, id: ConnectionId, version: u32) -> Result<IpAddr, ErrorCode> {
        let connection = self.connections.get(&id).ok_or(ErrorCode::NotInRoom)?;
        if version != PROTOCOL_VERSION {
            return Err(ErrorCode::WrongVersion);
        }
        if connection.place.is_some() {
            return Err(ErrorCode::AlreadyInRoom);
        }
        Ok(connection.address)
    }

    fn seat(&mut self, id: ConnectionId, room: RoomNumber, participant: ParticipantId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.place = Some((room, participant));
        }
    }

    fn leave(&mut self, id: ConnectionId, now: Instant) -> Result<(), ErrorCode> {
        if self.leave_room(id, LeaveReason::Left, now) {
            Ok(())
        } else {
            Err(ErrorCode::NotInRoom)
        }
    }

    /// Takes somebody out of the room, if in one, and tells the others.
    fn leave_room(&mut self, id: ConnectionId, reason: LeaveReason, now: Instant) -> bool {
        let Some(connection) = self.connections.get_mut(&id) else {
            return false;
        };
        let Some((number, participant)) = connection.place.take() else {
            return false;
        };
        connection.outside_since = now;
        let Some(room) = self.rooms.get_mut(&number) else {
            return false;
        };
        room.members.retain(|(_, member)| *member != id);
        let others: Vec<ConnectionId> = room.members.iter().map(|(_, other)| *other).collect();
        if others.is_empty() {
            self.addresses.close_room(room.opened_by);
            self.shared_rooms -= usize::from(room.reach == Reach::Network);
            self.rooms.remove(&number);
        }
        self.send_all(
            others,
            &ServerMessage::ParticipantLeft {
                participant,
                reason,
            },
        );
        true
    }

    fn forward(
        &mut self,
        id: ConnectionId,
        to: ParticipantId,
        message: impl FnOnce(ParticipantId) -> ServerMessage,
    ) -> Result<(), ErrorCode> {
        let place = self
            .connections
            .get(&id)
            .and_then(|connection| connection.place);
        let (number, from) = place.ok_or(ErrorCode::NotInRoom)?;
        let members = self
            .rooms
            .get(&number)
            .map_or(&[][..], |room| &room.members[..]);
        let receiver = members
            .iter()
            .find(|(member, _)| *member == to && to != from);
        let (_, receiver) = receiver.ok_or(ErrorCode::UnknownParticipant)?;
        self.send(*receiver, message(from));
        Ok(())
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
        if since(connection.last_heard) >= self.heartbeat.silence_limit {
            Some(Due::Silent)
        } else if connection.place.is_none()
            && since(connection.outside_since) >= self.heartbeat.idle_limit
        {
            Some(Due::Idle)
        } else if since(connection.last_ping) >= self.heartbeat.ping_interval {
            Some(Due::Ping)
        } else {
            None
        }
    }

    fn send(&mut self, to: ConnectionId, message: ServerMessage) {
        self.outputs.push_back(Output::Send { to, message });
    }

    fn send_all(&mut self, receivers: Vec<ConnectionId>, message: &ServerMessage) {
        for to in receivers {
            self.send(to, message.clone());
        }
    }
}

/// What a connection needs when time has passed.
enum Due {
    Ping,
    Silent,
    Idle,
}

#[cfg(test)]
mod tests;
