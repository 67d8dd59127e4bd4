//! Links that outlive their connections, over real sockets.

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use ahoy_signaling::message::{ErrorCode, LeaveReason};
use ahoy_signaling::room::Heartbeat;
use ahoy_signaling::{
    ConnectOptions, Entry, LastingLink, Reconnect, ServerAddress, ServerConfig, ServerMessage,
    SignalingClient, SignalingError, SignalingEvent,
};
use common::{Raw, TestServer, sealed, soon};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A network between clients and a server that can be cut and lead elsewhere.
struct Wire {
    address: ServerAddress,
    /// Where it leads; `None` refuses, and changing it cuts what is open.
    target: watch::Sender<Option<SocketAddr>>,
}

impl Wire {
    async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = ServerAddress::plain(listener.local_addr().expect("bound"));
        let (target, led) = watch::channel(Some(target));
        tokio::spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                open.spawn(pass_on(client, led.clone()));
            }
        });
        Self { address, target }
    }

    fn cut(&self) {
        self.target.send_replace(None);
    }

    fn lead_to(&self, target: SocketAddr) {
        self.target.send_replace(Some(target));
    }

    async fn enter(&self, entry: Entry) -> LastingLink {
        self.try_entering(entry).await.expect("a seat")
    }

    async fn try_entering(&self, entry: Entry) -> Result<LastingLink, SignalingError> {
        let policy = Reconnect {
            first_pause: Duration::from_millis(10),
            max_pause: Duration::from_millis(50),
            ..Reconnect::default()
        };
        let options = ConnectOptions::default();
        soon(SignalingClient::connect_lasting(
            &self.address,
            entry,
            &options,
            policy,
        ))
        .await
    }
}

async fn pass_on(mut client: TcpStream, mut led: watch::Receiver<Option<SocketAddr>>) {
    let target = *led.borrow_and_update();
    let Some(target) = target else { return };
    let Ok(mut server) = TcpStream::connect(target).await else {
        return;
    };
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => {}
        _ = led.changed() => {}
    }
}

async fn event(link: &mut LastingLink) -> SignalingEvent {
    soon(link.events.recv()).await.expect("still there")
}

async fn message(link: &mut LastingLink) -> ServerMessage {
    match event(link).await {
        SignalingEvent::Message(message) => message,
        other => panic!("{other:?}"),
    }
}

/// Skips the tries up to what ends them.
async fn back(link: &mut LastingLink) -> SignalingEvent {
    let mut tries = 0;
    loop {
        match event(link).await {
            SignalingEvent::Reconnecting { attempt, .. } => {
                tries += 1;
                assert_eq!(attempt, tries);
            }
            other => {
                assert!(tries > 0, "{other:?}");
                return other;
            }
        }
    }
}

fn joined(participant: u32) -> ServerMessage {
    ServerMessage::ParticipantJoined { participant }
}

fn left(participant: u32, reason: LeaveReason) -> ServerMessage {
    ServerMessage::ParticipantLeft {
        participant,
        reason,
    }
}

fn described(from: u32, text: &str) -> ServerMessage {
    ServerMessage::Signal {
        from,
        data: sealed(text),
    }
}

#[tokio::test]
async fn a_cut_wire_is_bridged_and_nothing_is_lost_or_doubled() {
    let server = TestServer::start(ServerConfig::default()).await;
    let (anns, bens) = (Wire::to(server.socket).await, Wire::to(server.socket).await);
    let mut ann = anns.enter(Entry::Create { reach: None }).await;
    let mut ben = bens
        .enter(Entry::Join {
            room: ann.seat.room,
        })
        .await;
    assert_eq!(message(&mut ann).await, joined(2));

    let (mut said, mut expected) = (0, 0);
    for _ in 0..5 {
        bens.cut();
        // Both go on talking; what Ben says waits at his side, what Ann says at the server.
        for _ in 0..4 {
            let text = said.to_string();
            ann.sender.signal(2, sealed(&text)).await.expect("said");
            ben.sender.signal(1, sealed(&text)).await.expect("said");
            said += 1;
        }
        bens.lead_to(server.socket);
        assert_eq!(back(&mut ben).await, SignalingEvent::Resumed);
        while expected < said {
            let text = expected.to_string();
            assert_eq!(message(&mut ben).await, described(1, &text));
            loop {
                match message(&mut ann).await {
                    ServerMessage::ParticipantAway {
                        participant: 2,
                        reason: LeaveReason::Disconnected,
                    }
                    | ServerMessage::ParticipantBack { participant: 2 } => {}
                    other => {
                        assert_eq!(other, described(2, &text));
                        break;
                    }
                }
            }
            expected += 1;
        }
    }
    soon(ben.sender.leave()).await;
    loop {
        match message(&mut ann).await {
            ServerMessage::ParticipantAway { .. } | ServerMessage::ParticipantBack { .. } => {}
            other => {
                assert_eq!(other, left(2, LeaveReason::Left));
                break;
            }
        }
    }
}

#[tokio::test]
async fn the_others_learn_who_is_away_and_back() {
    let server = TestServer::start(ServerConfig::default()).await;
    let (anns, bens) = (Wire::to(server.socket).await, Wire::to(server.socket).await);
    let mut ann = anns.enter(Entry::Create { reach: None }).await;
    let room = ann.seat.room;
    let mut ben = bens.enter(Entry::Join { room }).await;
    assert_eq!(message(&mut ann).await, joined(2));
    bens.cut();
    let away = ServerMessage::ParticipantAway {
        participant: 2,
        reason: LeaveReason::Disconnected,
    };
    assert_eq!(message(&mut ann).await, away);
    // Whoever comes now is told so.
    let carl = anns.enter(Entry::Join { room }).await;
    assert_eq!(
        (&carl.seat.participants[..], &carl.seat.away[..]),
        (&[1, 2, 3][..], &[2][..])
    );
    assert_eq!(message(&mut ann).await, joined(3));
    bens.lead_to(server.socket);
    let back_again = ServerMessage::ParticipantBack { participant: 2 };
    assert_eq!(message(&mut ann).await, back_again);
    // And whoever was away learns who came meanwhile.
    assert_eq!(back(&mut ben).await, SignalingEvent::Resumed);
    assert_eq!(message(&mut ben).await, joined(3));
}

#[tokio::test]
async fn a_new_network_is_used_at_once_and_nobody_notices() {
    let server = TestServer::start(ServerConfig::default()).await;
    let wire = Wire::to(server.socket).await;
    let mut ann = wire.enter(Entry::Create { reach: None }).await;
    let mut ben = wire
        .enter(Entry::Join {
            room: ann.seat.room,
        })
        .await;
    assert_eq!(message(&mut ann).await, joined(2));
    for round in 0..3 {
        ben.sender.reconnect();
        assert_eq!(back(&mut ben).await, SignalingEvent::Resumed);
        let text = round.to_string();
        ben.sender.signal(1, sealed(&text)).await.expect("said");
        assert_eq!(message(&mut ann).await, described(2, &text));
    }
    assert_eq!(server.server.load().connections, 2);
}

#[tokio::test]
async fn a_restarted_server_gets_the_room_back() {
    let first = TestServer::start(ServerConfig::default()).await;
    let wire = Wire::to(first.socket).await;
    let mut ann = wire.enter(Entry::Create { reach: None }).await;
    let room = ann.seat.room;
    let mut ben = wire.enter(Entry::Join { room }).await;
    assert_eq!(message(&mut ann).await, joined(2));
    let mut carl = wire.enter(Entry::Join { room }).await;
    assert_eq!(message(&mut ann).await, joined(3));
    assert_eq!(message(&mut ben).await, joined(3));

    wire.cut();
    first.stop().await;
    let second = TestServer::start(ServerConfig::default()).await;
    wire.lead_to(second.socket);
    for link in [&mut ann, &mut ben, &mut carl] {
        loop {
            match event(link).await {
                SignalingEvent::Resumed => break,
                SignalingEvent::Reconnecting { .. }
                | SignalingEvent::Message(
                    ServerMessage::ParticipantAway { .. }
                    | ServerMessage::Error {
                        code: ErrorCode::ShuttingDown,
                        ..
                    },
                ) => {}
                other => panic!("{other:?}"),
            }
        }
    }
    // The seats are the same, so what is said finds its way.
    ann.sender.signal(3, sealed("a")).await.expect("said");
    loop {
        match message(&mut carl).await {
            ServerMessage::ParticipantAway { .. } | ServerMessage::ParticipantBack { .. } => {}
            other => {
                assert_eq!(other, described(1, "a"));
                break;
            }
        }
    }
    // Nobody is gone, and newcomers get numbers that nobody had.
    let dora = wire.enter(Entry::Join { room }).await;
    assert_eq!(dora.seat.participants.len(), 4);
    assert_eq!(dora.seat.participants[..3], [1, 2, 3]);
    assert!(dora.seat.participant > 3);
    assert_eq!(second.server.load().rooms, 1);
}

#[tokio::test]
async fn whoever_comes_too_late_gets_another_seat() {
    let heartbeat = Heartbeat {
        ping_interval: Duration::from_millis(200),
        away_limit: Duration::from_millis(100),
        ..Heartbeat::default()
    };
    let server = TestServer::start(ServerConfig {
        heartbeat,
        ..ServerConfig::default()
    })
    .await;
    let (anns, bens) = (Wire::to(server.socket).await, Wire::to(server.socket).await);
    let mut ann = anns.enter(Entry::Create { reach: None }).await;
    let room = ann.seat.room;
    let mut ben = bens.enter(Entry::Join { room }).await;
    assert_eq!(message(&mut ann).await, joined(2));
    bens.cut();
    let away = ServerMessage::ParticipantAway {
        participant: 2,
        reason: LeaveReason::Disconnected,
    };
    assert_eq!(message(&mut ann).await, away);
    assert_eq!(message(&mut ann).await, left(2, LeaveReason::Timeout));
    bens.lead_to(server.socket);
    match back(&mut ben).await {
        SignalingEvent::Rejoined(seat) => {
            assert_eq!((seat.room, seat.participant), (room, 3));
            assert_eq!(seat.participants, [1, 3]);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(message(&mut ann).await, joined(3));
}

#[tokio::test]
async fn leaving_works_while_the_server_is_away() {
    let server = TestServer::start(ServerConfig::default()).await;
    let wire = Wire::to(server.socket).await;
    let mut ann = wire.enter(Entry::Create { reach: None }).await;
    wire.cut();
    assert!(matches!(
        event(&mut ann).await,
        SignalingEvent::Reconnecting { attempt: 1, .. }
    ));
    let LastingLink {
        sender, mut events, ..
    } = ann;
    soon(sender.leave()).await;
    while let Some(event) = soon(events.recv()).await {
        assert!(
            matches!(event, SignalingEvent::Reconnecting { .. }),
            "{event:?}"
        );
    }
}

#[tokio::test]
async fn it_gives_up_when_it_is_to() {
    let server = TestServer::start(ServerConfig::default()).await;
    let wire = Wire::to(server.socket).await;
    let policy = Reconnect {
        first_pause: Duration::from_millis(5),
        max_pause: Duration::from_millis(5),
        give_up_after: Some(Duration::from_millis(50)),
    };
    let options = ConnectOptions::default();
    let entry = Entry::Create { reach: None };
    let mut ann = SignalingClient::connect_lasting(&wire.address, entry, &options, policy)
        .await
        .expect("a seat");
    wire.cut();
    let end = back(&mut ann).await;
    assert!(matches!(end, SignalingEvent::Lost(_)), "{end:?}");
    assert_eq!(soon(ann.events.recv()).await, None);
}

#[tokio::test]
async fn a_number_is_honoured_while_it_is_free() {
    let server = TestServer::start(ServerConfig::default()).await;
    let wire = Wire::to(server.socket).await;
    let room = common::number(4821);
    let reopen = Entry::Reopen { room, reach: None };
    let ann = wire.enter(reopen).await;
    assert_eq!((ann.seat.room, ann.seat.participant), (room, 1));
    let taken = SignalingError::Refused {
        code: ErrorCode::NumberTaken,
    };
    assert_eq!(wire.try_entering(reopen).await.err(), Some(taken));
    soon(ann.sender.leave()).await;
    soon(async {
        while wire.try_entering(reopen).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// What others say to somebody in the moment of leaving makes no crash of it.
#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_while_somebody_talks_has_left() {
    let server = TestServer::start(ServerConfig::default()).await;
    let wire = Wire::to(server.socket).await;
    for _ in 0..50 {
        let ann = wire.enter(Entry::Create { reach: None }).await;
        let room = ann.seat.room;
        let mut ben = wire.enter(Entry::Join { room }).await;
        tokio::join!(soon(ann.sender.leave()), talk(&ben));
        assert_eq!(departure(&mut ben).await, left(1, LeaveReason::Left));
        soon(ben.sender.leave()).await;
    }
}

/// Other clients may not wait for the end of the stream as ours does.
#[tokio::test(flavor = "multi_thread")]
async fn who_slams_the_door_after_a_goodbye_has_left() {
    let server = TestServer::start(ServerConfig::default()).await;
    let wire = Wire::to(server.socket).await;
    for _ in 0..50 {
        let mut ann = Raw::connect(server.socket).await;
        ann.say(r#"{"type":"create","version":2,"resumable":true}"#)
            .await;
        let Some(ServerMessage::Created { room, .. }) = ann.hear().await else {
            panic!("no room");
        };
        let mut ben = wire.enter(Entry::Join { room }).await;
        talk(&ben).await;
        ann.say(r#"{"type":"leave"}"#).await;
        drop(ann);
        assert_eq!(departure(&mut ben).await, left(1, LeaveReason::Left));
        soon(ben.sender.leave()).await;
    }
}

async fn talk(link: &LastingLink) {
    for _ in 0..20 {
        link.sender.signal(1, sealed("hello")).await.expect("said");
    }
}

/// What comes after complaints that a participant is gone to whom something was said.
async fn departure(link: &mut LastingLink) -> ServerMessage {
    loop {
        match message(link).await {
            ServerMessage::Error { .. } => {}
            other => return other,
        }
    }
}
