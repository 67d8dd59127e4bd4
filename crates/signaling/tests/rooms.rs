//! People meet, talk and part over real sockets.

mod common;

use std::time::Duration;

use ahoy_signaling::message::{ErrorCode, LeaveReason, MAX_PARTICIPANTS, Reach};
use ahoy_signaling::room::{Heartbeat, Limits, Rate};
use ahoy_signaling::{
    ConnectOptions, Entry, ServerAddress, ServerConfig, ServerMessage, SignalingClient,
    SignalingError,
};
use common::{Raw, TestServer, another, ending, next, sealed, soon};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;

#[tokio::test]
async fn two_people_exchange_sealed_messages() {
    let server = TestServer::start(ServerConfig::default()).await;
    let mut ann = server.create().await;
    assert_eq!(
        (ann.seat.participant, ann.seat.reach),
        (1, Some(Reach::Server))
    );
    let mut ben = server.join(ann.seat.room).await.expect("a seat");
    assert_eq!(
        (ben.seat.participant, &ben.seat.participants[..]),
        (2, &[1, 2][..])
    );
    assert_eq!(ben.seat.others().collect::<Vec<_>>(), [1]);
    assert_eq!(
        next(&mut ann.receiver).await,
        ServerMessage::ParticipantJoined { participant: 2 }
    );

    for text in ["one", "two"] {
        ben.sender.signal(1, sealed(text)).await.expect("sent");
    }
    for text in ["one", "two"] {
        let data = sealed(text);
        assert_eq!(
            next(&mut ann.receiver).await,
            ServerMessage::Signal { from: 2, data }
        );
    }

    soon(ben.sender.leave()).await;
    let left = ServerMessage::ParticipantLeft {
        participant: 2,
        reason: LeaveReason::Left,
    };
    assert_eq!(next(&mut ann.receiver).await, left);
    assert_eq!(soon(ben.receiver.recv()).await, None);
    server.stop().await;
}

#[tokio::test]
async fn dropping_the_link_leaves_the_room() {
    let server = TestServer::start(ServerConfig::default()).await;
    let mut ann = server.create().await;
    for expected in 2..5 {
        let ben = server.join(ann.seat.room).await.expect("a seat");
        assert_eq!(
            next(&mut ann.receiver).await,
            ServerMessage::ParticipantJoined {
                participant: expected
            }
        );
        drop(ben);
        let left = ServerMessage::ParticipantLeft {
            participant: expected,
            reason: LeaveReason::Left,
        };
        assert_eq!(next(&mut ann.receiver).await, left);
    }
    let room = ann.seat.room;
    soon(ann.sender.leave()).await;
    assert_eq!(
        server.join(room).await.err(),
        Some(SignalingError::UnknownRoom)
    );
}

#[tokio::test]
async fn a_crash_is_told_to_the_others_without_waiting_for_the_heartbeat() {
    let patient = Heartbeat {
        silence_limit: Duration::from_secs(600),
        ..Heartbeat::default()
    };
    let server = TestServer::start(ServerConfig {
        heartbeat: patient,
        ..ServerConfig::default()
    })
    .await;
    let mut ann = server.create().await;
    let mut raw = server.raw().await;
    raw.say(&format!(
        r#"{{"type":"join","version":2,"room":{}}}"#,
        ann.seat.room
    ))
    .await;
    assert_eq!(
        next(&mut ann.receiver).await,
        ServerMessage::ParticipantJoined { participant: 2 }
    );
    drop(raw); // The system closes the socket, as it does when a process dies.
    let left = ServerMessage::ParticipantLeft {
        participant: 2,
        reason: LeaveReason::Disconnected,
    };
    assert_eq!(next(&mut ann.receiver).await, left);
}

#[tokio::test]
async fn a_silent_peer_is_removed_and_an_answering_one_stays() {
    let heartbeat = Heartbeat {
        ping_interval: Duration::from_millis(250),
        silence_limit: Duration::from_millis(1_500),
        ..Heartbeat::default()
    };
    let server = TestServer::start(ServerConfig {
        heartbeat,
        ..ServerConfig::default()
    })
    .await;
    let mut ann = server.create().await;
    let mut silent = server.raw().await;
    silent
        .say(&format!(
            r#"{{"type":"join","version":2,"room":{}}}"#,
            ann.seat.room
        ))
        .await;
    assert_eq!(
        next(&mut ann.receiver).await,
        ServerMessage::ParticipantJoined { participant: 2 }
    );
    let left = ServerMessage::ParticipantLeft {
        participant: 2,
        reason: LeaveReason::Timeout,
    };
    assert_eq!(next(&mut ann.receiver).await, left);
    assert!(matches!(
        silent.hear().await,
        Some(ServerMessage::Joined { .. })
    ));
    assert_eq!(silent.hear().await, None);
    assert_eq!(server.server.load().connections, 1);
}

#[tokio::test]
async fn the_eleventh_gets_room_full() {
    let server = TestServer::start(ServerConfig::default()).await;
    let first = server.create().await;
    let room = first.seat.room;
    let mut inside = vec![first];
    for _ in 1..MAX_PARTICIPANTS {
        inside.push(server.join(room).await.expect("a seat"));
    }
    assert_eq!(
        server.join(room).await.err(),
        Some(SignalingError::RoomFull)
    );
    soon(inside.pop().expect("ten").sender.leave()).await;
    let late = server.join(room).await.expect("a seat again");
    assert_eq!(late.seat.participant, 11);
    assert_eq!(late.seat.participants, [1, 2, 3, 4, 5, 6, 7, 8, 9, 11]);
}

#[tokio::test]
async fn a_wrong_number_is_an_unknown_room() {
    let server = TestServer::start(ServerConfig::default()).await;
    let ann = server.create().await;
    let wrong = another(ann.seat.room);
    assert_eq!(
        server.join(wrong).await.err(),
        Some(SignalingError::UnknownRoom)
    );
}

#[tokio::test]
async fn listeners_share_their_rooms() {
    let one = TestServer::start(ServerConfig::default()).await;
    let other = TestServer::listen(one.server.clone()).await;
    let mut ann = one.create().await;
    let ben = other.join(ann.seat.room).await.expect("the same rooms");
    assert_eq!(
        next(&mut ann.receiver).await,
        ServerMessage::ParticipantJoined { participant: 2 }
    );
    drop(ben);
    other.stop().await;
    assert!(matches!(
        next(&mut ann.receiver).await,
        ServerMessage::ParticipantLeft { participant: 2, .. }
    ));
}

#[tokio::test]
async fn a_server_that_shuts_down_is_lost() {
    let server = TestServer::start(ServerConfig::default()).await;
    let mut ann = server.create().await;
    let address = server.address();
    server.stop().await;
    assert_eq!(ending(&mut ann.receiver).await, SignalingError::Lost);
    assert_eq!(soon(ann.receiver.recv()).await, None);
    assert_eq!(
        ann.sender.signal(2, sealed("x")).await,
        Err(SignalingError::Lost)
    );
    let again = common::connect(&address, Entry::Create { reach: None }).await;
    assert!(
        matches!(again, Err(SignalingError::Unreachable { .. })),
        "{again:?}"
    );
}

/// A line to `server` that carries nothing any more, and stays open, once it is told to.
async fn line_to(server: &TestServer) -> (ServerAddress, oneshot::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = ServerAddress::plain(listener.local_addr().expect("bound"));
    let (fall_silent, silent) = oneshot::channel();
    let server = server.socket;
    tokio::spawn(async move {
        let (mut near, _) = listener.accept().await.expect("a client");
        let mut far = TcpStream::connect(server).await.expect("the server");
        tokio::select! {
            _ = copy_bidirectional(&mut near, &mut far) => {}
            _ = silent => std::future::pending().await,
        }
    });
    (address, fall_silent)
}

#[tokio::test]
async fn a_server_that_seldom_pings_is_asked_and_one_that_does_not_answer_is_lost() {
    let seldom = Heartbeat {
        ping_interval: Duration::from_secs(600),
        silence_limit: Duration::from_secs(1_200),
        ..Heartbeat::default()
    };
    let server = TestServer::start(ServerConfig {
        heartbeat: seldom,
        ..ServerConfig::default()
    })
    .await;
    let (address, fall_silent) = line_to(&server).await;
    let options = ConnectOptions {
        silence_limit: Duration::from_millis(500),
        ..ConnectOptions::default()
    };
    let mut ann = SignalingClient::connect(&address, Entry::Create { reach: None }, &options)
        .await
        .expect("a room");
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let ben = server.join(ann.seat.room).await.expect("a seat");
    let joined = ServerMessage::ParticipantJoined {
        participant: ben.seat.participant,
    };
    assert_eq!(next(&mut ann.receiver).await, joined, "still there");
    fall_silent.send(()).expect("the line is there");
    assert_eq!(ending(&mut ann.receiver).await, SignalingError::Lost);
}

#[tokio::test]
async fn one_who_does_not_read_is_closed_and_the_others_go_on() {
    let limits = Limits {
        bytes: Rate {
            burst: u32::MAX,
            per_second: 1,
        },
        messages: Rate {
            burst: u32::MAX,
            per_second: 1,
        },
        ..Limits::default()
    };
    let patient = Heartbeat {
        silence_limit: Duration::from_secs(600),
        ..Heartbeat::default()
    };
    let config = ServerConfig {
        limits,
        heartbeat: patient,
        ..ServerConfig::default()
    };
    let server = TestServer::start(config).await;
    let mut ann = server.create().await;

    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("a small buffer");
    let mut deaf = Raw::over(socket.connect(server.socket).await.expect("a server")).await;
    deaf.say(&format!(
        r#"{{"type":"join","version":2,"room":{}}}"#,
        ann.seat.room
    ))
    .await;
    assert_eq!(
        next(&mut ann.receiver).await,
        ServerMessage::ParticipantJoined { participant: 2 }
    );

    let large = "x".repeat(30_000);
    let sender = ann.sender.clone();
    let flood = tokio::spawn(async move {
        for _ in 0..1_000 {
            sender
                .signal(2, sealed(&large))
                .await
                .expect("the server stands");
        }
    });
    let left = ServerMessage::ParticipantLeft {
        participant: 2,
        reason: LeaveReason::Removed,
    };
    assert_eq!(next(&mut ann.receiver).await, left);
    // What was under way meets nobody.
    let gone = ServerMessage::error(ErrorCode::UnknownParticipant);
    assert_eq!(next(&mut ann.receiver).await, gone);
    flood.abort();
    let ben = server.join(ann.seat.room).await.expect("the room goes on");
    assert_eq!(ben.seat.participant, 3);
}

#[tokio::test]
async fn a_full_queue_at_the_client_loses_nothing() {
    let limits = Limits {
        messages: Rate {
            burst: u32::MAX,
            per_second: 1,
        },
        ..Limits::default()
    };
    let server = TestServer::start(ServerConfig {
        limits,
        ..ServerConfig::default()
    })
    .await;
    let mut ann = server.create().await;
    let ben = server.join(ann.seat.room).await.expect("a seat");
    assert_eq!(
        next(&mut ann.receiver).await,
        ServerMessage::ParticipantJoined { participant: 2 }
    );
    for index in 0..400 {
        ben.sender
            .signal(1, sealed(&index.to_string()))
            .await
            .expect("sent");
    }
    // Sending works although nobody has read yet.
    for _ in 0..200 {
        ann.sender.signal(2, sealed("x")).await.expect("sent");
    }
    for index in 0..400 {
        let data = sealed(&index.to_string());
        assert_eq!(
            next(&mut ann.receiver).await,
            ServerMessage::Signal { from: 2, data }
        );
    }
}

#[tokio::test]
async fn a_connection_without_a_word_does_not_hold_up_the_end() {
    let server = TestServer::start(ServerConfig::default()).await;
    let _idle = TcpStream::connect(server.socket).await.expect("connected");
    server.stop().await;
}
