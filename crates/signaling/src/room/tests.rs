mod resuming;

use std::time::Duration;

use rand::SeedableRng;

use super::*;
use crate::message::{MAX_PARTICIPANTS, PROTOCOL_VERSION, Reach, SignalData, Ticket};

const HERE: &str = "127.0.0.1";
const THERE: &str = "192.168.1.9";

struct World {
    rooms: Rooms,
    now: Instant,
}

impl World {
    fn new(limits: Limits) -> Self {
        let rooms = Rooms::new(limits, Heartbeat::default(), StdRng::seed_from_u64(7));
        Self {
            rooms,
            now: Instant::now(),
        }
    }

    fn connect(&mut self, ip: &str) -> ConnectionId {
        self.rooms
            .connect(ip.parse().expect("an address"), self.now)
            .expect("room for one more")
    }

    fn say(&mut self, id: ConnectionId, message: ClientMessage) -> Vec<Output> {
        self.rooms.handle(id, Ok(message), 100, self.now);
        self.outputs()
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.rooms.poll_output()).collect()
    }

    fn create(&mut self, id: ConnectionId) -> RoomNumber {
        match &self.say(id, create(None))[..] {
            [
                Output::Send {
                    message: ServerMessage::Created { room, .. },
                    ..
                },
            ] => *room,
            other => panic!("{other:?}"),
        }
    }

    fn join(&mut self, id: ConnectionId, room: RoomNumber) -> Vec<Output> {
        self.say(
            id,
            ClientMessage::Join {
                version: PROTOCOL_VERSION,
                room,
                resumable: false,
            },
        )
    }

    fn pass(&mut self, time: Duration) -> Vec<Output> {
        self.now += time;
        self.rooms.tick(self.now);
        self.outputs()
    }
}

fn create(reach: Option<Reach>) -> ClientMessage {
    ClientMessage::Create {
        version: PROTOCOL_VERSION,
        reach,
        room: None,
        resumable: false,
    }
}

fn joined(
    room: RoomNumber,
    participant: ParticipantId,
    participants: Vec<ParticipantId>,
) -> ServerMessage {
    ServerMessage::Joined {
        room,
        participant,
        participants,
        away: Vec::new(),
        resume: None,
        ice_servers: Vec::new(),
        ice_servers_lifetime: None,
    }
}

fn error(to: ConnectionId, code: ErrorCode) -> Output {
    Output::Send {
        to,
        message: ServerMessage::error(code),
    }
}

fn send(to: ConnectionId, message: ServerMessage) -> Output {
    Output::Send { to, message }
}

#[test]
fn two_people_meet_talk_and_part() {
    let mut world = World::new(Limits::default());
    let (ann, ben) = (world.connect(THERE), world.connect(THERE));
    let room = world.create(ann);
    let joined = joined(room, 2, vec![1, 2]);
    let announced = ServerMessage::ParticipantJoined { participant: 2 };
    assert_eq!(
        world.join(ben, room),
        [send(ben, joined), send(ann, announced)]
    );

    let data = SignalData::new(b"sealed").expect("short");
    let offer = ClientMessage::Signal {
        to: 1,
        data: data.clone(),
    };
    let forwarded = ServerMessage::Signal { from: 2, data };
    assert_eq!(world.say(ben, offer), [send(ann, forwarded)]);

    let left = ServerMessage::ParticipantLeft {
        participant: 2,
        reason: LeaveReason::Left,
    };
    assert_eq!(world.say(ben, ClientMessage::Leave), [send(ann, left)]);
    assert_eq!(world.rooms.rooms(), 1);
    assert_eq!(world.say(ann, ClientMessage::Leave), []);
    assert_eq!(world.rooms.rooms(), 0);
    assert_eq!(world.join(ben, room), [error(ben, ErrorCode::UnknownRoom)]);
}

#[test]
fn numbers_of_participants_are_not_used_again() {
    let mut world = World::new(Limits::default());
    let (ann, ben) = (world.connect(THERE), world.connect(THERE));
    let room = world.create(ann);
    for expected in 2..6 {
        let outputs = world.join(ben, room);
        let joined = joined(room, expected, vec![1, expected]);
        assert_eq!(outputs[0], send(ben, joined));
        world.say(ben, ClientMessage::Leave);
    }
}

#[test]
fn the_eleventh_is_refused_until_somebody_leaves() {
    let mut world = World::new(Limits::default());
    let first = world.connect(THERE);
    let room = world.create(first);
    let mut last = first;
    for _ in 1..MAX_PARTICIPANTS {
        last = world.connect(THERE);
        assert_eq!(
            world.join(last, room).len(),
            1 + world.rooms.rooms[&room].seats.len() - 1
        );
    }
    let late = world.connect(THERE);
    assert_eq!(world.join(late, room), [error(late, ErrorCode::RoomFull)]);
    world
        .rooms
        .disconnect(last, LeaveReason::Disconnected, world.now);
    assert_eq!(world.outputs().len(), MAX_PARTICIPANTS - 1);
    assert_eq!(world.join(late, room).len(), MAX_PARTICIPANTS);
}

#[test]
fn asking_out_of_turn_is_answered_with_the_reason() {
    let mut world = World::new(Limits::default());
    let (ann, ben) = (world.connect(THERE), world.connect(THERE));
    let data = SignalData::new(b"sealed").expect("short");
    let signal = |to| ClientMessage::Signal {
        to,
        data: data.clone(),
    };
    assert_eq!(
        world.say(ann, signal(1)),
        [error(ann, ErrorCode::NotInRoom)]
    );
    assert_eq!(
        world.say(ann, ClientMessage::Leave),
        [error(ann, ErrorCode::NotInRoom)]
    );
    let old = ClientMessage::Create {
        version: 0,
        reach: None,
        room: None,
        resumable: false,
    };
    assert_eq!(world.say(ann, old), [error(ann, ErrorCode::WrongVersion)]);
    let room = world.create(ann);
    assert_eq!(
        world.say(ann, create(None)),
        [error(ann, ErrorCode::AlreadyInRoom)]
    );
    assert_eq!(
        world.join(ann, room),
        [error(ann, ErrorCode::AlreadyInRoom)]
    );
    // Neither oneself nor anybody in another room.
    assert_eq!(
        world.say(ann, signal(1)),
        [error(ann, ErrorCode::UnknownParticipant)]
    );
    world.create(ben);
    assert_eq!(
        world.say(ann, signal(2)),
        [error(ann, ErrorCode::UnknownParticipant)]
    );
    assert_eq!(
        world.say(ann, ClientMessage::Ping),
        [send(ann, ServerMessage::Pong)]
    );
}

#[test]
fn the_silent_are_removed_within_the_limit_and_announced() {
    let mut world = World::new(Limits::default());
    let (ann, ben) = (world.connect(THERE), world.connect(THERE));
    let room = world.create(ann);
    world.join(ben, room);
    let (step, mut removed_after) = (Duration::from_millis(250), None);
    let (mut start, mut answers) = (world.now, 2);
    while removed_after.is_none() && world.now < start + Duration::from_secs(10) {
        let outputs = world.pass(step);
        for output in &outputs {
            if *output == send(ann, ServerMessage::Ping) {
                world.say(ann, ClientMessage::Pong);
            }
            if *output == send(ben, ServerMessage::Ping) && answers > 0 {
                world.say(ben, ClientMessage::Pong);
                (start, answers) = (world.now, answers - 1);
            }
        }
        let gone = ServerMessage::ParticipantLeft {
            participant: 2,
            reason: LeaveReason::Timeout,
        };
        if outputs.contains(&send(ann, gone)) {
            assert!(outputs.contains(&Output::Close { connection: ben }));
            removed_after = Some(world.now - start);
        }
    }
    assert_eq!(removed_after, Some(Duration::from_millis(4_500)));
    assert_eq!(world.rooms.connections(), 1);
}

#[test]
fn a_crowd_is_pinged_more_rarely_and_nobody_is_put_out_when_it_goes() {
    let limits = Limits {
        connections: 20_000,
        connections_per_address: 20_000,
        ..Limits::default()
    };
    let mut world = World::new(limits);
    let ann = world.connect(THERE);
    world.create(ann);
    let crowd: Vec<ConnectionId> = (1..12_000).map(|_| world.connect(THERE)).collect();
    let mut pings = 0;
    // Every fourth of a second for twelve seconds; the others keep silent until they go.
    for quarter in 0..48 {
        let outputs = world.pass(Duration::from_millis(250));
        if outputs.contains(&send(ann, ServerMessage::Ping)) {
            pings += 1;
            world.say(ann, ClientMessage::Pong);
        }
        if quarter == 23 {
            assert_eq!(pings, 2, "every 3 s");
            for id in &crowd {
                world.rooms.disconnect(*id, LeaveReason::Left, world.now);
            }
        }
    }
    assert!((5..=6).contains(&pings), "every 1.5 s again: {pings}");
    assert_eq!(world.rooms.connections(), 1);
}

#[test]
fn pings_come_at_their_interval() {
    let mut world = World::new(Limits::default());
    let ann = world.connect(THERE);
    world.create(ann);
    let mut pings = 0;
    for _ in 0..60 {
        if world
            .pass(Duration::from_millis(250))
            .contains(&send(ann, ServerMessage::Ping))
        {
            pings += 1;
            world.say(ann, ClientMessage::Pong);
        }
    }
    assert_eq!(pings, 10);
}

#[test]
fn those_who_come_at_once_are_pinged_apart() {
    let mut world = World::new(Limits::default());
    let crowd: Vec<ConnectionId> = (0..15).map(|_| world.connect(THERE)).collect();
    let pings = |outputs: Vec<Output>| -> usize {
        let is_ping = |output: &Output| {
            crowd
                .iter()
                .any(|it| *output == send(*it, ServerMessage::Ping))
        };
        outputs.iter().filter(|output| is_ping(output)).count()
    };
    // Two intervals, in parts of which each is a fifteenth.
    let parts: Vec<usize> = (0..30)
        .map(|_| pings(world.pass(Duration::from_millis(100))))
        .collect();
    assert_eq!(parts.iter().sum::<usize>(), 30, "each once per interval");
    assert!(parts.iter().all(|count| *count <= 2), "{parts:?}");
}

#[test]
fn whoever_enters_no_room_is_put_out() {
    let mut world = World::new(Limits::default());
    let ann = world.connect(THERE);
    let mut outputs = Vec::new();
    for _ in 0..20 {
        world.say(ann, ClientMessage::Pong);
        outputs.extend(world.pass(Duration::from_secs(1)));
    }
    assert!(outputs.contains(&error(ann, ErrorCode::Idle)));
    assert_eq!(outputs.last(), Some(&Output::Close { connection: ann }));
    assert_eq!(world.rooms.connections(), 0);
}

#[test]
fn a_flood_is_stopped_and_the_others_are_told() {
    let mut world = World::new(Limits::default());
    let (ann, ben) = (world.connect(THERE), world.connect(THERE));
    let room = world.create(ann);
    world.join(ben, room);
    let mut passed = 0;
    loop {
        let outputs = world.say(ben, ClientMessage::Ping);
        if outputs == [send(ben, ServerMessage::Pong)] {
            passed += 1;
            continue;
        }
        let gone = ServerMessage::ParticipantLeft {
            participant: 2,
            reason: LeaveReason::Removed,
        };
        assert_eq!(
            outputs,
            [
                error(ben, ErrorCode::TooFast),
                send(ann, gone),
                Output::Close { connection: ben }
            ]
        );
        break;
    }
    let burst = Limits::default().messages.burst;
    assert!(passed < burst && passed > burst / 2, "{passed}");
    assert_eq!(world.say(ben, ClientMessage::Ping), []);
}

#[test]
fn large_messages_use_up_their_own_allowance() {
    let mut world = World::new(Limits::default());
    let ann = world.connect(THERE);
    let mut accepted = 0;
    while world.rooms.connections() > 0 {
        world
            .rooms
            .handle(ann, Ok(ClientMessage::Pong), 64 * 1024, world.now);
        accepted += 64 * 1024;
    }
    assert!(accepted <= Limits::default().bytes.burst + 64 * 1024);
}

#[test]
fn rubbish_is_answered_a_few_times_then_ends_the_connection() {
    let mut world = World::new(Limits::default());
    let ann = world.connect(THERE);
    for _ in 1..MAX_STRIKES {
        world
            .rooms
            .handle(ann, Err(MessageError::UnknownType), 20, world.now);
        assert_eq!(world.outputs(), [error(ann, ErrorCode::UnknownType)]);
    }
    world
        .rooms
        .handle(ann, Err(MessageError::NotAMessage), 20, world.now);
    assert_eq!(
        world.outputs(),
        [
            error(ann, ErrorCode::Malformed),
            Output::Close { connection: ann }
        ]
    );
}

#[test]
fn guessing_room_numbers_is_slowed_down_for_the_whole_address() {
    let mut world = World::new(Limits::default());
    let owner = world.connect("10.0.0.1");
    let room = world.create(owner);
    let wrong = RoomNumber::new(if room.get() == 1_000 { 1_001 } else { 1_000 }).expect("valid");
    let allowed = Limits::default().wrong_numbers.burst;
    for _ in 0..allowed {
        let guesser = world.connect(THERE);
        assert_eq!(
            world.join(guesser, wrong),
            [error(guesser, ErrorCode::UnknownRoom)]
        );
        world
            .rooms
            .disconnect(guesser, LeaveReason::Left, world.now);
    }
    let guesser = world.connect(THERE);
    assert_eq!(
        world.join(guesser, wrong),
        [error(guesser, ErrorCode::TooFast)]
    );
    assert_eq!(
        world.join(guesser, room),
        [error(guesser, ErrorCode::TooFast)]
    );
    let other = world.connect("10.0.0.2");
    assert_eq!(world.join(other, room).len(), 2);
    world.now += Duration::from_secs(60);
    world.say(owner, ClientMessage::Pong);
    assert_eq!(world.join(guesser, room).len(), 3);
}

#[test]
fn rooms_and_connections_are_limited_in_all_and_per_address() {
    let limits = Limits {
        rooms: 3,
        rooms_per_address: 2,
        connections: 5,
        connections_per_address: 3,
        ..Limits::default()
    };
    let mut world = World::new(limits);
    let here: Vec<_> = (0..3).map(|_| world.connect("10.0.0.1")).collect();
    let fourth = world
        .rooms
        .connect("10.0.0.1".parse().expect("valid"), world.now);
    assert_eq!(fourth, Err(ErrorCode::TooManyConnections));
    world.create(here[0]);
    world.create(here[1]);
    assert_eq!(
        world.say(here[2], create(None)),
        [error(here[2], ErrorCode::TooManyRooms)]
    );
    let there: Vec<_> = (0..2).map(|_| world.connect("10.0.0.2")).collect();
    world.create(there[0]);
    assert_eq!(
        world.say(there[1], create(None)),
        [error(there[1], ErrorCode::TooManyRooms)]
    );
    let sixth = world
        .rooms
        .connect("10.0.0.3".parse().expect("valid"), world.now);
    assert_eq!(sixth, Err(ErrorCode::TooManyConnections));
    world
        .rooms
        .disconnect(here[0], LeaveReason::Left, world.now);
    world.create(here[2]);
}

#[test]
fn one_household_is_one_address_in_ipv6() {
    let limits = Limits {
        connections_per_address: 2,
        ..Limits::default()
    };
    let mut world = World::new(limits);
    world.connect("2001:db8::1");
    world.connect("2001:db8::2");
    let third = world
        .rooms
        .connect("2001:db8::ffff".parse().expect("valid"), world.now);
    assert_eq!(third, Err(ErrorCode::TooManyConnections));
    world.connect("2001:db8:0:1::1");
}

#[test]
fn the_server_in_a_window_opens_rooms_for_its_own_computer_only() {
    let limits = Limits {
        opening: Opening::ThisComputer,
        ..Limits::default()
    };
    let mut world = World::new(limits);
    let stranger = world.connect(THERE);
    assert_eq!(
        world.say(stranger, create(None)),
        [error(stranger, ErrorCode::NotAllowed)]
    );

    let (ann, ben) = (world.connect(HERE), world.connect(HERE));
    let private = world.create(ann);
    assert_eq!(world.rooms.shared_rooms().len(), 0);
    assert_eq!(
        world.join(stranger, private),
        [error(stranger, ErrorCode::UnknownRoom)]
    );

    let outputs = world.say(ben, create(Some(Reach::Network)));
    let [
        Output::Send {
            message: ServerMessage::Created { room, reach, .. },
            ..
        },
    ] = &outputs[..]
    else {
        panic!("{outputs:?}");
    };
    assert_eq!(
        (*reach, world.rooms.shared_rooms().len()),
        (Reach::Network, 1)
    );
    assert_eq!(world.join(stranger, *room).len(), 2);
    world
        .rooms
        .disconnect(ben, LeaveReason::Disconnected, world.now);
    assert_eq!(world.rooms.shared_rooms().len(), 1);
    world
        .rooms
        .disconnect(stranger, LeaveReason::Disconnected, world.now);
    assert_eq!(world.rooms.shared_rooms().len(), 0);
}

#[test]
fn a_public_server_ignores_the_wish_for_a_reach() {
    let mut world = World::new(Limits::default());
    let ann = world.connect(HERE);
    let outputs = world.say(ann, create(Some(Reach::Computer)));
    assert!(matches!(
        outputs[..],
        [Output::Send {
            message: ServerMessage::Created {
                reach: Reach::Server,
                ..
            },
            ..
        }]
    ));
}

#[test]
fn a_number_may_be_asked_for_while_it_is_free() {
    let mut world = World::new(Limits::default());
    let number = RoomNumber::new(4821).expect("a number");
    let ann = world.create_resumable(THERE, Some(number));
    assert_eq!(ann.room, number);
    let wanted = ClientMessage::Create {
        version: PROTOCOL_VERSION,
        reach: None,
        room: Some(number),
        resumable: false,
    };
    let ben = world.connect(THERE);
    assert_eq!(
        world.say(ben, wanted.clone()),
        [error(ben, ErrorCode::NumberTaken)]
    );
    world.say(ann.id, ClientMessage::Leave);
    assert_eq!(world.say(ben, wanted).len(), 1);
}

/// Otherwise rooms could be found by asking for all numbers, and those that are free cost nothing.
#[test]
fn asking_for_numbers_costs_guesses_even_when_they_are_free() {
    let mut world = World::new(Limits::default());
    let mut last = Vec::new();
    for number in 0..=Limits::default().wrong_numbers.burst {
        let id = world.connect(THERE);
        let wanted = ClientMessage::Create {
            version: PROTOCOL_VERSION,
            reach: None,
            room: RoomNumber::new(1_000 + number),
            resumable: false,
        };
        last = world.say(id, wanted);
    }
    assert!(
        matches!(
            &last[..],
            [Output::Send {
                message: ServerMessage::Error {
                    code: ErrorCode::TooFast,
                    ..
                },
                ..
            }]
        ),
        "{last:?}"
    );
}

#[test]
fn ice_servers_are_for_people_in_rooms() {
    let mut world = World::new(Limits::default());
    let ann = world.connect(THERE);
    let refused = error(ann, ErrorCode::NotInRoom);
    assert_eq!(world.say(ann, ClientMessage::IceServers), [refused]);
    world.create(ann);
    let outputs = world.say(ann, ClientMessage::IceServers);
    assert!(
        matches!(&outputs[..], [Output::Send { message, .. }] if message.has_ice_servers()),
        "{outputs:?}"
    );
}
