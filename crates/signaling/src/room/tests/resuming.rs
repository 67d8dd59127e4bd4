//! Seats of those who are away, and rooms that the server forgot.

use super::*;

/// A client that can resume, and what it knows.
#[derive(Debug, Clone)]
pub(super) struct Guest {
    pub(super) id: ConnectionId,
    pub(super) room: RoomNumber,
    participant: ParticipantId,
    ticket: Ticket,
    /// The highest number that it has heard of, if it says so.
    highest: Option<ParticipantId>,
}

impl World {
    pub(super) fn create_resumable(&mut self, ip: &str, room: Option<RoomNumber>) -> Guest {
        let id = self.connect(ip);
        let outputs = self.say(
            id,
            ClientMessage::Create {
                version: PROTOCOL_VERSION,
                reach: None,
                room,
                resumable: true,
            },
        );
        match &outputs[..] {
            [
                Output::Send {
                    message:
                        ServerMessage::Created {
                            room,
                            participant,
                            resume: Some(ticket),
                            ..
                        },
                    ..
                },
            ] => Guest {
                id,
                room: *room,
                participant: *participant,
                ticket: *ticket,
                highest: None,
            },
            other => panic!("{other:?}"),
        }
    }

    fn join_resumable(&mut self, room: RoomNumber) -> Guest {
        let id = self.connect(THERE);
        let outputs = self.say(
            id,
            ClientMessage::Join {
                version: PROTOCOL_VERSION,
                room,
                resumable: true,
            },
        );
        match &outputs[0] {
            Output::Send {
                message:
                    ServerMessage::Joined {
                        participant,
                        resume: Some(ticket),
                        ..
                    },
                ..
            } => Guest {
                id,
                room,
                participant: *participant,
                ticket: *ticket,
                highest: None,
            },
            other => panic!("{other:?}"),
        }
    }

    fn lose(&mut self, guest: &Guest) -> Vec<Output> {
        self.rooms
            .disconnect(guest.id, LeaveReason::Disconnected, self.now);
        self.outputs()
    }

    /// On a new connection.
    fn resume(
        &mut self,
        guest: &mut Guest,
        participants: &[ParticipantId],
        received: u64,
    ) -> Vec<Output> {
        guest.id = self.connect(THERE);
        self.say(
            guest.id,
            ClientMessage::Resume {
                version: PROTOCOL_VERSION,
                room: guest.room,
                participant: guest.participant,
                token: guest.ticket.token,
                room_token: guest.ticket.room_token,
                participants: participants.to_vec(),
                highest: guest.highest,
                received,
            },
        )
    }
}

fn resumed(
    guest: &Guest,
    participants: &[ParticipantId],
    away: &[ParticipantId],
    received: Option<u64>,
) -> Output {
    send(
        guest.id,
        ServerMessage::Resumed {
            room: guest.room,
            participant: guest.participant,
            participants: participants.to_vec(),
            away: away.to_vec(),
            received,
            ice_servers: Vec::new(),
            ice_servers_lifetime: None,
        },
    )
}

fn sealed_for(to: ParticipantId) -> ClientMessage {
    ClientMessage::Signal {
        to,
        data: SignalData::new(b"sealed").expect("short"),
    }
}

fn sealed_from(from: ParticipantId) -> ServerMessage {
    ServerMessage::Signal {
        from,
        data: SignalData::new(b"sealed").expect("short"),
    }
}

#[test]
fn a_broken_connection_keeps_its_seat_and_misses_nothing() {
    let mut world = World::new(Limits::default());
    let ann = world.create_resumable(THERE, None);
    let mut ben = world.join_resumable(ann.room);
    // One message arrives, one is under way when the connection breaks, one comes later.
    world.say(ann.id, sealed_for(2));
    world.say(ann.id, sealed_for(2));
    world.say(ben.id, sealed_for(1));
    let away = ServerMessage::ParticipantAway {
        participant: 2,
        reason: LeaveReason::Disconnected,
    };
    assert_eq!(world.lose(&ben), [send(ann.id, away)]);
    assert_eq!(world.say(ann.id, sealed_for(2)), []);
    assert_eq!((world.rooms.away(), world.rooms.connections()), (1, 1));

    let outputs = world.resume(&mut ben, &[1, 2], 1);
    let back = ServerMessage::ParticipantBack { participant: 2 };
    assert_eq!(
        outputs,
        [
            send(ann.id, back),
            resumed(&ben, &[1, 2], &[], Some(1)),
            send(ben.id, sealed_from(1)),
            send(ben.id, sealed_from(1)),
        ]
    );
    assert_eq!((world.rooms.away(), world.rooms.connections()), (0, 2));
    world.say(ben.id, ClientMessage::Received { count: 3 });
    world.say(ann.id, ClientMessage::Received { count: 1 });
    assert_eq!(world.rooms.held_bytes, 0);
}

#[test]
fn a_seat_is_given_up_after_its_time() {
    let mut world = World::new(Limits::default());
    let ann = world.create_resumable(THERE, None);
    let mut ben = world.join_resumable(ann.room);
    world.lose(&ben);
    world.say(ann.id, sealed_for(2));
    let limit = Heartbeat::default().away_limit;
    let left = ServerMessage::ParticipantLeft {
        participant: 2,
        reason: LeaveReason::Timeout,
    };
    let start = world.now;
    let mut gone_after = None;
    while gone_after.is_none() {
        world.say(ann.id, ClientMessage::Pong);
        if world
            .pass(Duration::from_millis(500))
            .contains(&send(ann.id, left.clone()))
        {
            gone_after = Some(world.now - start);
        }
    }
    assert_eq!(gone_after, Some(limit));
    assert_eq!((world.rooms.away(), world.rooms.held_bytes), (0, 0));
    let outputs = world.resume(&mut ben, &[1, 2], 0);
    assert_eq!(outputs, [error(ben.id, ErrorCode::UnknownSeat)]);
}

#[test]
fn the_silent_are_away_first() {
    let mut world = World::new(Limits::default());
    let ann = world.create_resumable(THERE, None);
    let ben = world.join_resumable(ann.room);
    let mut heard = Vec::new();
    for _ in 0..10 {
        world.say(ann.id, ClientMessage::Pong);
        heard.extend(world.pass(Duration::from_millis(500)));
    }
    let away = ServerMessage::ParticipantAway {
        participant: 2,
        reason: LeaveReason::Timeout,
    };
    assert!(heard.contains(&send(ann.id, away)));
    assert!(heard.contains(&Output::Close { connection: ben.id }));
}

#[test]
fn a_connection_that_lingers_is_replaced_and_nobody_notices() {
    let mut world = World::new(Limits::default());
    let ann = world.create_resumable(THERE, None);
    let mut ben = world.join_resumable(ann.room);
    world.say(ann.id, sealed_for(2));
    let old = ben.id;
    let outputs = world.resume(&mut ben, &[1, 2], 0);
    assert_eq!(
        outputs,
        [
            error(old, ErrorCode::Replaced),
            Output::Close { connection: old },
            resumed(&ben, &[1, 2], &[], Some(0)),
            send(ben.id, sealed_from(1)),
        ]
    );
    // What the old one says, or that it is gone, means nothing any more.
    assert_eq!(world.say(old, ClientMessage::Leave), []);
    world
        .rooms
        .disconnect(old, LeaveReason::Disconnected, world.now);
    assert_eq!(world.outputs(), []);
    assert_eq!(world.rooms.connections(), 2);
    assert_eq!(
        world.say(ann.id, sealed_for(2)),
        [send(ben.id, sealed_from(1))]
    );
}

#[test]
fn a_clean_leave_and_a_removal_keep_no_seat() {
    for clean in [true, false] {
        let mut world = World::new(Limits::default());
        let ann = world.create_resumable(THERE, None);
        let mut ben = world.join_resumable(ann.room);
        if clean {
            world.say(ben.id, ClientMessage::Leave);
            world
                .rooms
                .disconnect(ben.id, LeaveReason::Disconnected, world.now);
        } else {
            world.rooms.put_out(ben.id, ErrorCode::TooFast, world.now);
        }
        world.outputs();
        assert_eq!(world.rooms.away(), 0);
        let outputs = world.resume(&mut ben, &[1, 2], 0);
        assert_eq!(outputs, [error(ben.id, ErrorCode::UnknownSeat)]);
    }
}

#[test]
fn a_seat_needs_its_own_token() {
    let mut world = World::new(Limits::default());
    let ann = world.create_resumable(THERE, None);
    let ben = world.join_resumable(ann.room);
    world.lose(&ben);
    let mut thief = Guest {
        ticket: ann.ticket,
        ..ben.clone()
    };
    let outputs = world.resume(&mut thief, &[1, 2], 0);
    assert_eq!(outputs, [error(thief.id, ErrorCode::UnknownSeat)]);
    // Nor does a count of messages that were never sent help.
    let mut liar = ben.clone();
    let outputs = world.resume(&mut liar, &[1, 2], 7);
    assert_eq!(outputs, [error(liar.id, ErrorCode::UnknownSeat)]);
    let mut ben = ben;
    assert_eq!(world.resume(&mut ben, &[1, 2], 0).len(), 2);
}

#[test]
fn guessing_seats_is_slowed_down_like_guessing_rooms() {
    let mut world = World::new(Limits::default());
    let ann = world.create_resumable(HERE, None);
    let mut thief = Guest {
        participant: 9,
        ..ann.clone()
    };
    let mut answers = Vec::new();
    for _ in 0..=Limits::default().wrong_numbers.burst {
        answers = world.resume(&mut thief, &[1, 9], 0);
    }
    assert_eq!(answers, [error(thief.id, ErrorCode::TooFast)]);
}

#[test]
fn too_much_for_somebody_away_is_refused() {
    let mut world = World::new(Limits::default());
    let ann = world.create_resumable(THERE, None);
    let mut ben = world.join_resumable(ann.room);
    world.lose(&ben);
    let mut held = 0;
    while world.say(ann.id, sealed_for(2)).is_empty() {
        held += 1;
    }
    assert_eq!(held, 64);
    let carl = world.join_resumable(ann.room);
    assert_eq!(world.say(carl.id, sealed_for(2)), []);
    // What somebody said who has gone meanwhile would meet nobody.
    world.say(ann.id, ClientMessage::Leave);
    let outputs = world.resume(&mut ben, &[1, 2], 0);
    let last = resumed(&ben, &[2, 3], &[], Some(0));
    assert_eq!(outputs[1..], [last, send(ben.id, sealed_from(3))]);
}

#[test]
fn what_is_kept_is_limited_in_all() {
    let limits = Limits {
        held_bytes: 1_000,
        ..Limits::default()
    };
    let mut world = World::new(limits);
    let ann = world.create_resumable(THERE, None);
    let ben = world.join_resumable(ann.room);
    world.lose(&ben);
    let mut held = 0;
    while world.say(ann.id, sealed_for(2)).is_empty() {
        held += 1;
    }
    assert_eq!(held, 4);
    assert!(world.rooms.held_bytes <= 1_000);
}

#[test]
fn with_too_many_away_a_broken_connection_leaves() {
    let limits = Limits {
        away: 1,
        ..Limits::default()
    };
    let mut world = World::new(limits);
    let ann = world.create_resumable(THERE, None);
    let (ben, carl) = (
        world.join_resumable(ann.room),
        world.join_resumable(ann.room),
    );
    world.lose(&ben);
    let left = ServerMessage::ParticipantLeft {
        participant: 3,
        reason: LeaveReason::Disconnected,
    };
    assert_eq!(world.lose(&carl), [send(ann.id, left)]);
}

#[test]
fn receipts_are_sent_with_the_pings() {
    let mut world = World::new(Limits::default());
    let ann = world.create_resumable(THERE, None);
    let ben = world.join_resumable(ann.room);
    world.say(ann.id, sealed_for(2));
    world.say(ann.id, sealed_for(7));
    let outputs = world.pass(Duration::from_millis(1_500));
    assert_eq!(
        outputs,
        [
            send(ben.id, ServerMessage::Ping),
            send(ann.id, ServerMessage::Ping),
            send(ann.id, ServerMessage::Received { count: 2 }),
        ]
    );
    let outputs = world.pass(Duration::from_millis(1_500));
    assert_eq!(outputs.len(), 2, "no news: {outputs:?}");
}

#[test]
fn a_room_that_the_server_forgot_is_opened_again_by_whoever_comes_first() {
    let mut before = World::new(Limits::default());
    let mut ann = before.create_resumable(THERE, None);
    let mut ben = before.join_resumable(ann.room);
    let mut carl = before.join_resumable(ann.room);

    let mut world = World::new(Limits::default());
    // Ben had not heard of Carl yet.
    assert_eq!(
        world.resume(&mut ben, &[1, 2], 5),
        [resumed(&ben, &[1, 2], &[1], None)]
    );
    assert_eq!(world.say(ben.id, sealed_for(1)), []);
    let outputs = world.resume(&mut ann, &[1, 2, 3], 9);
    let back = ServerMessage::ParticipantBack { participant: 1 };
    assert_eq!(
        outputs,
        [
            send(ben.id, back),
            resumed(&ann, &[1, 2], &[], None),
            send(ann.id, sealed_from(2)),
        ]
    );
    // The seat is Ann's again: nobody else gets it with the room's token alone.
    let mut thief = Guest {
        ticket: Ticket {
            token: ben.ticket.token,
            ..ann.ticket
        },
        ..ann.clone()
    };
    assert_eq!(
        world.resume(&mut thief, &[1, 2], 0),
        [error(thief.id, ErrorCode::UnknownSeat)]
    );
    // Carl joins anew, with a number that nobody had, and ten later than any that Ann knew.
    assert_eq!(
        world.resume(&mut carl, &[1, 2, 3], 0),
        [error(carl.id, ErrorCode::UnknownSeat)]
    );
    assert_eq!(world.join_resumable(ann.room).participant, 14);
}

#[test]
fn a_room_that_is_opened_again_gives_nobody_the_number_of_somebody_who_left() {
    let mut before = World::new(Limits::default());
    let mut ann = before.create_resumable(THERE, None);
    let mut ben = before.join_resumable(ann.room);
    (ann.highest, ben.highest) = (Some(30), Some(40));
    let mut world = World::new(Limits::default());
    world.resume(&mut ann, &[1, 2], 0);
    assert_eq!(world.join_resumable(ann.room).participant, 41);
    world.resume(&mut ben, &[1, 2], 0);
    assert_eq!(world.join_resumable(ann.room).participant, 51);
    // Later it counts no more: whoever knows the room cannot use the numbers up.
    ann.highest = Some(1 << 30);
    world.resume(&mut ann, &[1, 2], 0);
    assert_eq!(world.join_resumable(ann.room).participant, 52);
    ann.highest = Some((1 << 30) + 1);
    let mut world = World::new(Limits::default());
    let outputs = world.resume(&mut ann, &[1], 0);
    assert_eq!(outputs, [error(ann.id, ErrorCode::UnknownSeat)]);
}

#[test]
fn strangers_with_the_same_number_stay_strangers() {
    let mut before = World::new(Limits::default());
    let mut ann = before.create_resumable(THERE, None);
    let mut world = World::new(Limits::default());
    world.create_resumable(HERE, Some(ann.room));
    let outputs = world.resume(&mut ann, &[1], 0);
    assert_eq!(outputs, [error(ann.id, ErrorCode::UnknownSeat)]);
}

#[test]
fn nonsense_opens_no_room_again() {
    let mut before = World::new(Limits::default());
    let ann = before.create_resumable(THERE, None);
    for participants in [&[][..], &[2], &[1, 1], &[2, 1], &[0, 1], &[1, u32::MAX]] {
        let mut world = World::new(Limits::default());
        let mut ann = ann.clone();
        let outputs = world.resume(&mut ann, participants, 0);
        assert_eq!(outputs, [error(ann.id, ErrorCode::UnknownSeat)]);
        assert_eq!((world.rooms.rooms(), world.rooms.away()), (0, 0));
    }
    let limits = Limits {
        opening: Opening::ThisComputer,
        ..Limits::default()
    };
    let (mut world, mut ann) = (World::new(limits), ann);
    let outputs = world.resume(&mut ann, &[1], 0);
    assert_eq!(outputs, [error(ann.id, ErrorCode::UnknownSeat)]);
}
