//! Into a room and out of it.

use std::net::IpAddr;
use std::time::Instant;

use super::limits::Opening;
use super::seat::{Held, Presence, Resume, Room, Seat};
use super::{ConnectionId, Output, Rooms, number};
use crate::message::{
    ErrorCode, LeaveReason, MAX_PARTICIPANTS, PROTOCOL_VERSION, ParticipantId, Reach, Secret,
    ServerMessage, Ticket,
};
use crate::room_code::RoomNumber;

/// Highest number of a participant that a client may bring along into a room that the server has
/// forgotten: leaves room for as many again.
const MAX_CLAIMED: ParticipantId = 1 << 30;

/// What somebody says of the seat that they want back.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) room: RoomNumber,
    pub(super) participant: ParticipantId,
    pub(super) token: Secret,
    pub(super) room_token: Secret,
    pub(super) participants: Vec<ParticipantId>,
    pub(super) highest: ParticipantId,
    pub(super) received: u64,
}

/// A seat that was taken over.
struct Taken {
    before: Presence,
    /// What its client has to be told.
    missed: Vec<ServerMessage>,
    /// How many messages it had sent, if that is known.
    received: Option<u64>,
    /// Bytes that are no longer held.
    freed: usize,
}

/// The next number to hand out when a client has heard of `highest`: somebody of whom it had not
/// heard yet may have had the next ones.
fn after(highest: ParticipantId) -> ParticipantId {
    highest + 1 + MAX_PARTICIPANTS as ParticipantId
}

/// Puts `id` on the seat that `claim` describes, or changes nothing and gives `None`.
fn take_over(room: &mut Room, claim: &Claim, id: ConnectionId) -> Option<Taken> {
    if room.token != claim.room_token {
        return None;
    }
    let seat = room.seat_mut(claim.participant)?;
    let resume = seat.resume.as_mut()?;
    // In a room that was opened again, whoever knows the room may claim the seat once. Both sides
    // count from 0 there.
    let known = resume.token.is_some();
    let had = if known { claim.received } else { 0 };
    let right = resume.token.is_none_or(|token| token == claim.token);
    if !right || !resume.held.can_continue_after(had) {
        return None;
    }
    resume.token = Some(claim.token);
    let bytes = resume.held.bytes();
    let missed = resume.held.continue_after(had);
    resume.acknowledged = resume.received;
    let taken = Taken {
        before: std::mem::replace(&mut seat.presence, Presence::Here(id)),
        missed,
        received: known.then_some(resume.received),
        freed: bytes - resume.held.bytes(),
    };
    if !known && claim.highest <= MAX_CLAIMED {
        // Whoever opened the room again may have heard of fewer.
        room.next_participant = room.next_participant.max(after(claim.highest));
    }
    Some(taken)
}

impl Rooms {
    /// The address of somebody who may ask for a room.
    pub(super) fn may_enter(&self, id: ConnectionId, version: u32) -> Result<IpAddr, ErrorCode> {
        let connection = self.connections.get(&id).ok_or(ErrorCode::NotInRoom)?;
        if version != PROTOCOL_VERSION {
            return Err(ErrorCode::WrongVersion);
        }
        if connection.place.is_some() {
            return Err(ErrorCode::AlreadyInRoom);
        }
        Ok(connection.address)
    }

    pub(super) fn create(
        &mut self,
        id: ConnectionId,
        address: IpAddr,
        wanted: Option<RoomNumber>,
        reach: Option<Reach>,
        resumable: bool,
        now: Instant,
    ) -> Result<(), ErrorCode> {
        let reach = match self.limits.opening {
            Opening::Anyone => Reach::Server,
            Opening::ThisComputer if !address.is_loopback() => return Err(ErrorCode::NotAllowed),
            Opening::ThisComputer if reach == Some(Reach::Network) => Reach::Network,
            Opening::ThisComputer => Reach::Computer,
        };
        let number = match wanted {
            Some(number) => self.free(address, number, now)?,
            None => number::draw(&mut self.random, self.rooms.len(), |number| {
                self.rooms.contains_key(&number)
            })
            .ok_or(ErrorCode::TooManyRooms)?,
        };
        let room = Room {
            seats: Vec::new(),
            next_participant: 1,
            reach,
            opened_by: address,
            token: Secret::draw(&mut self.random),
        };
        self.open(number, room)?;
        let (participant, resume) = self.sit_down(id, number, resumable)?;
        self.send(
            id,
            ServerMessage::Created {
                room: number,
                participant,
                participants: vec![participant],
                reach,
                resume,
                ice_servers: Vec::new(),
                ice_servers_lifetime: None,
            },
        );
        Ok(())
    }

    pub(super) fn join(
        &mut self,
        id: ConnectionId,
        address: IpAddr,
        number: RoomNumber,
        resumable: bool,
        now: Instant,
    ) -> Result<(), ErrorCode> {
        self.may_guess(address, now)?;
        let visible = |room: &&Room| room.reach != Reach::Computer || address.is_loopback();
        let Some(room) = self.rooms.get(&number).filter(visible) else {
            return Err(self.guessed_wrong(address, ErrorCode::UnknownRoom, now));
        };
        if room.seats.len() >= MAX_PARTICIPANTS {
            return Err(ErrorCode::RoomFull);
        }
        let away = room.away();
        let (participant, resume) = self.sit_down(id, number, resumable)?;
        let participants = self
            .rooms
            .get(&number)
            .map(Room::participants)
            .unwrap_or_default();
        self.send(
            id,
            ServerMessage::Joined {
                room: number,
                participant,
                participants,
                away,
                resume,
                ice_servers: Vec::new(),
                ice_servers_lifetime: None,
            },
        );
        let joined = ServerMessage::ParticipantJoined { participant };
        self.tell_room(number, participant, &joined);
        Ok(())
    }

    /// Gives somebody their seat back, in a room that is opened again if the server does not know
    /// it (any more).
    pub(super) fn resume(
        &mut self,
        id: ConnectionId,
        address: IpAddr,
        claim: Claim,
        now: Instant,
    ) -> Result<(), ErrorCode> {
        self.may_guess(address, now)?;
        let forgotten = !self.rooms.contains_key(&claim.room);
        if forgotten {
            self.open_again(address, &claim, now)?;
        }
        let number = claim.room;
        let taken = self
            .rooms
            .get_mut(&number)
            .and_then(|room| take_over(room, &claim, id));
        let Some(taken) = taken else {
            // Another room, or one in which this seat was given up: the same answer for both.
            return Err(self.guessed_wrong(address, ErrorCode::UnknownSeat, now));
        };
        self.held_bytes -= taken.freed;
        self.away.remove((number, claim.participant));
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.place = Some((number, claim.participant));
        }
        match taken.before {
            Presence::Here(old) => self.replace(old),
            Presence::Away => {
                let participant = claim.participant;
                let back = ServerMessage::ParticipantBack { participant };
                self.tell_room(number, participant, &back);
            }
        }
        let room = self.rooms.get(&number);
        self.send(
            id,
            ServerMessage::Resumed {
                room: number,
                participant: claim.participant,
                participants: room.map(Room::participants).unwrap_or_default(),
                away: room.map(Room::away).unwrap_or_default(),
                received: taken.received,
                ice_servers: Vec::new(),
                ice_servers_lifetime: None,
            },
        );
        for message in taken.missed {
            self.send(id, message);
        }
        Ok(())
    }

    /// A room that was there before the server restarted, with everybody whom the client knows; the
    /// others have as long to come as after a broken connection.
    fn open_again(
        &mut self,
        address: IpAddr,
        claim: &Claim,
        now: Instant,
    ) -> Result<(), ErrorCode> {
        let known = &claim.participants;
        let plausible = known.is_sorted_by(|a, b| a < b)
            && known.contains(&claim.participant)
            && known.len() <= MAX_PARTICIPANTS
            && known.first().is_some_and(|lowest| *lowest >= 1)
            && claim.highest <= MAX_CLAIMED;
        // The server inside a window forgets a room only when its window is gone, and does not know
        // how far the room reached.
        if !plausible || self.limits.opening != Opening::Anyone {
            return Err(self.guessed_wrong(address, ErrorCode::UnknownSeat, now));
        }
        if self.away.len() + known.len() > self.limits.away {
            return Err(ErrorCode::TooManyRooms);
        }
        let seats = known.iter().map(|participant| Seat {
            participant: *participant,
            presence: Presence::Away,
            resume: Some(Box::default()),
        });
        self.free(address, claim.room, now)?;
        let room = Room {
            seats: seats.collect(),
            next_participant: after(claim.highest),
            reach: Reach::Server,
            opened_by: address,
            token: claim.room_token,
        };
        self.open(claim.room, room)?;
        for participant in known {
            self.away.insert((claim.room, *participant), now);
        }
        Ok(())
    }

    fn open(&mut self, number: RoomNumber, room: Room) -> Result<(), ErrorCode> {
        let per_address = self.limits.rooms_per_address;
        if self.rooms.len() >= self.limits.rooms
            || !self.addresses.open_room(room.opened_by, per_address)
        {
            return Err(ErrorCode::TooManyRooms);
        }
        if room.reach == Reach::Network {
            self.shared_rooms.insert(number);
        }
        self.rooms.insert(number, room);
        Ok(())
    }

    /// Puts somebody on the next seat of a room that is not full.
    fn sit_down(
        &mut self,
        id: ConnectionId,
        number: RoomNumber,
        resumable: bool,
    ) -> Result<(ParticipantId, Option<Ticket>), ErrorCode> {
        let token = resumable.then(|| Secret::draw(&mut self.random));
        let room = self.rooms.get_mut(&number).ok_or(ErrorCode::UnknownRoom)?;
        let participant = room.next_participant;
        room.next_participant = participant.checked_add(1).ok_or(ErrorCode::RoomFull)?;
        room.seats.push(Seat {
            participant,
            presence: Presence::Here(id),
            resume: token.map(|token| {
                Box::new(Resume {
                    token: Some(token),
                    held: Held::default(),
                    received: 0,
                    acknowledged: 0,
                })
            }),
        });
        let ticket = token.map(|token| Ticket {
            token,
            room_token: room.token,
            within: u32::try_from(self.heartbeat.away_limit.as_secs()).unwrap_or(u32::MAX),
        });
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.place = Some((number, participant));
        }
        Ok((participant, ticket))
    }

    /// Closes a connection whose seat another one has taken.
    fn replace(&mut self, old: ConnectionId) {
        self.send(old, ServerMessage::error(ErrorCode::Replaced));
        self.forget(old);
        self.outputs.push_back(Output::Close { connection: old });
    }

    /// `number`, if no room has it.
    fn free(
        &mut self,
        address: IpAddr,
        number: RoomNumber,
        now: Instant,
    ) -> Result<RoomNumber, ErrorCode> {
        self.may_guess(address, now)?;
        // Free or not, the answer says something: each costs a guess.
        let answer = self.guessed_wrong(address, ErrorCode::NumberTaken, now);
        if self.rooms.contains_key(&number) {
            return Err(answer);
        }
        Ok(number)
    }

    /// Looked at before anything that depends on whether a room exists.
    fn may_guess(&mut self, address: IpAddr, now: Instant) -> Result<(), ErrorCode> {
        let rate = self.limits.wrong_numbers;
        if self.addresses.may_guess(address, rate, now) {
            Ok(())
        } else {
            Err(ErrorCode::TooFast)
        }
    }

    fn guessed_wrong(&mut self, address: IpAddr, code: ErrorCode, now: Instant) -> ErrorCode {
        let rate = self.limits.wrong_numbers;
        self.addresses.guessed_wrong(address, rate, now);
        code
    }

    pub(super) fn leave(&mut self, id: ConnectionId, now: Instant) -> Result<(), ErrorCode> {
        if self.leave_room(id, LeaveReason::Left, now) {
            Ok(())
        } else {
            Err(ErrorCode::NotInRoom)
        }
    }

    /// Takes somebody out of the room, if in one, and tells the others.
    pub(super) fn leave_room(
        &mut self,
        id: ConnectionId,
        reason: LeaveReason,
        now: Instant,
    ) -> bool {
        let Some(connection) = self.connections.get_mut(&id) else {
            return false;
        };
        let Some((number, participant)) = connection.place.take() else {
            return false;
        };
        connection.outside_since = now;
        self.remove_seat(number, participant, reason);
        true
    }

    /// Keeps the seat of a connection that broke, if it can be resumed, and tells the others.
    pub(super) fn keep_seat(
        &mut self,
        id: ConnectionId,
        reason: LeaveReason,
        now: Instant,
    ) -> bool {
        let Some((number, participant)) = self.place(id) else {
            return false;
        };
        let places_left = self.away.len() < self.limits.away;
        let Some(seat) = self
            .seat_of(id)
            .filter(|seat| seat.resume.is_some() && places_left)
        else {
            return false;
        };
        seat.presence = Presence::Away;
        self.away.insert((number, participant), now);
        let away = ServerMessage::ParticipantAway {
            participant,
            reason,
        };
        self.tell_room(number, participant, &away);
        true
    }

    /// Gives up seats whose time is over.
    pub(super) fn remove_long_away(&mut self, now: Instant) {
        let limit = self.heartbeat.away_limit;
        while let Some((number, participant)) = self.away.longest(limit, now) {
            self.remove_seat(number, participant, LeaveReason::Timeout);
        }
    }

    fn remove_seat(&mut self, number: RoomNumber, participant: ParticipantId, reason: LeaveReason) {
        self.away.remove((number, participant));
        let Some(room) = self.rooms.get_mut(&number) else {
            return;
        };
        for seat in &mut room.seats {
            let freed = match seat.resume.as_mut() {
                Some(resume) if seat.participant == participant => resume.held.bytes(),
                Some(resume) => resume.held.forget(participant),
                None => 0,
            };
            self.held_bytes -= freed;
        }
        room.seats.retain(|seat| seat.participant != participant);
        if room.seats.is_empty() {
            self.addresses.close_room(room.opened_by);
            self.shared_rooms.remove(&number);
            self.rooms.remove(&number);
        }
        let left = ServerMessage::ParticipantLeft {
            participant,
            reason,
        };
        self.tell_room(number, participant, &left);
    }
}
