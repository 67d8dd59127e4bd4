//! What strangers send: each gets a typed error or the door, and the server goes on for the others.

mod common;

use std::time::Duration;

use ahoy_signaling::message::ErrorCode;
use ahoy_signaling::message::{LeaveReason, MAX_MESSAGE, MAX_SIGNAL};
use ahoy_signaling::room::{Limits, Opening, Rate};
use ahoy_signaling::{
    ConnectOptions, Entry, ServerConfig, ServerMessage, SignalingClient, SignalingError,
};
use common::{TestServer, next, sealed, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

#[tokio::test]
async fn malformed_messages_get_a_typed_error_and_the_connection_lives() {
    let server = TestServer::start(ServerConfig::default()).await;
    let mut raw = server.raw().await;
    for (text, code) in [
        ("", "Malformed"),
        ("not json", "Malformed"),
        ("[1,2,3]", "Malformed"),
        ("{}", "Malformed"),
        (r#"{"type":"join"}"#, "Malformed"),
        (r#"{"type":"join","version":2,"room":"4821"}"#, "Malformed"),
        (r#"{"type":"join","version":2,"room":7}"#, "Malformed"),
        (r#"{"type":"teleport"}"#, "UnknownType"),
        (r#"{"type":"create","version":1}"#, "WrongVersion"),
        (r#"{"type":"join","version":0,"room":4821}"#, "WrongVersion"),
        (r#"{"type":"signal","to":1,"data":"AQ"}"#, "NotInRoom"),
        (r#"{"type":"signal","to":1,"data":"+/"}"#, "Malformed"),
        (r#"{"type":"leave"}"#, "NotInRoom"),
    ] {
        assert_eq!(raw.refused(text).await, code, "{text}");
    }
    raw.send(Message::binary(vec![0, 1, 2, 255])).await;
    assert_eq!(raw.error().await, "Malformed");
    let long = format!(
        r#"{{"type":"signal","to":1,"data":"{}"}}"#,
        "x".repeat(MAX_SIGNAL + 1)
    );
    assert_eq!(raw.refused(&long).await, "TooLarge");
    raw.say(r#"{"type":"create","version":2,"unknownField":[{}]}"#)
        .await;
    assert!(matches!(
        raw.hear().await,
        Some(ServerMessage::Created { .. })
    ));
    assert_eq!(
        raw.refused(r#"{"type":"signal","to":2,"data":"AQ"}"#).await,
        "UnknownParticipant"
    );
    assert_eq!(
        raw.refused(r#"{"type":"signal","to":1,"data":"AQ"}"#).await,
        "UnknownParticipant"
    );
    raw.say(r#"{"type":"ping"}"#).await;
    assert_eq!(raw.hear().await, Some(ServerMessage::Pong));
}

#[tokio::test]
async fn a_huge_message_is_refused_without_being_read() {
    let server = TestServer::start(ServerConfig::default()).await;
    let mut raw = server.raw().await;
    raw.send(Message::text("x".repeat(MAX_MESSAGE + 1))).await;
    assert_eq!(raw.error().await, "TooLarge");
    assert_eq!(raw.hear().await, None);
    assert_eq!(server.server.load().connections, 0);
}

#[tokio::test]
async fn a_huge_message_in_pieces_is_refused_as_well() {
    let server = TestServer::start(ServerConfig::default()).await;
    let mut raw = server.raw().await;
    let piece = |kind| {
        Message::Frame(Frame::message(
            vec![b'x'; 16 * 1024],
            OpCode::Data(kind),
            false,
        ))
    };
    raw.send(piece(Data::Text)).await;
    for _ in 0..4 {
        raw.send(piece(Data::Continue)).await;
    }
    assert_eq!(raw.error().await, "TooLarge");
    assert_eq!(raw.hear().await, None);
}

#[tokio::test]
async fn text_that_is_no_utf8_ends_the_connection() {
    let server = TestServer::start(ServerConfig::default()).await;
    let mut raw = server.raw().await;
    raw.send(Message::Frame(Frame::message(
        vec![0xff, 0xfe],
        OpCode::Data(Data::Text),
        true,
    )))
    .await;
    assert_eq!(raw.error().await, "Malformed");
    assert_eq!(raw.hear().await, None);
}

#[tokio::test]
async fn bytes_that_are_no_websocket_end_the_connection() {
    let server = TestServer::start(ServerConfig::default()).await;
    let mut raw = server.raw().await;
    soon(raw.0.get_mut().write_all(&[0xff; 64]))
        .await
        .expect("written");
    assert_eq!(raw.error().await, "Malformed");
    assert_eq!(raw.hear().await, None);
}

#[tokio::test]
async fn rubbish_without_end_ends_the_connection() {
    let server = TestServer::start(ServerConfig::default()).await;
    let mut raw = server.raw().await;
    let mut errors = 0;
    for _ in 0..30 {
        if futures_util::SinkExt::send(&mut raw.0, Message::text("{"))
            .await
            .is_err()
        {
            break;
        }
    }
    while let Some(message) = raw.hear().await {
        assert_eq!(message, ServerMessage::error(ErrorCode::Malformed));
        errors += 1;
    }
    assert_eq!(errors, 20);
}

#[tokio::test]
async fn a_flood_ends_the_connection_and_the_others_are_told() {
    let server = TestServer::start(ServerConfig::default()).await;
    let mut ann = server.create().await;
    let ben = server.join(ann.seat.room).await.expect("a seat");
    assert_eq!(
        next(&mut ann.receiver).await,
        ServerMessage::ParticipantJoined { participant: 2 }
    );
    let mut receiver = ben.receiver;
    let sender = ben.sender;
    let flood = tokio::spawn(async move { while sender.signal(1, sealed("x")).await.is_ok() {} });
    let mut forwarded = 0;
    loop {
        match next(&mut ann.receiver).await {
            ServerMessage::Signal { .. } => forwarded += 1,
            ServerMessage::ParticipantLeft {
                participant: 2,
                reason,
            } => {
                assert_eq!(reason, LeaveReason::Removed);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(forwarded >= 100, "{forwarded}");
    let ended = common::ending(&mut receiver).await;
    assert_eq!(
        ended,
        SignalingError::Refused {
            code: ErrorCode::TooFast
        }
    );
    soon(flood).await.expect("it noticed");
    server.join(ann.seat.room).await.expect("the room goes on");
}

#[tokio::test]
async fn websocket_pings_without_end_are_a_flood_too() {
    let limits = Limits {
        messages: Rate {
            burst: 50,
            per_second: 1,
        },
        ..Limits::default()
    };
    let server = TestServer::start(ServerConfig {
        limits,
        ..ServerConfig::default()
    })
    .await;
    let mut raw = server.raw().await;
    for _ in 0..60 {
        if futures_util::SinkExt::send(&mut raw.0, Message::Ping(vec![1].into()))
            .await
            .is_err()
        {
            break;
        }
    }
    assert_eq!(raw.error().await, "TooFast");
    assert_eq!(raw.hear().await, None);
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_cut_off() {
    let limits = Limits {
        connections_per_address: 2,
        ..Limits::default()
    };
    let server = TestServer::start(ServerConfig {
        limits,
        ..ServerConfig::default()
    })
    .await;
    let mut slow = TcpStream::connect(server.socket).await.expect("connected");
    slow.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n")
        .await
        .expect("written");
    let mut rest = Vec::new();
    // Either an end or a reset; in any case not for ever.
    let _ = soon(slow.read_to_end(&mut rest)).await;
    assert_eq!(server.server.load().connections, 0);
}

#[tokio::test]
async fn too_many_connections_from_one_address_are_told_so() {
    let limits = Limits {
        connections_per_address: 2,
        ..Limits::default()
    };
    let server = TestServer::start(ServerConfig {
        limits,
        ..ServerConfig::default()
    })
    .await;
    let ann = server.create().await;
    let _ben = server.join(ann.seat.room).await.expect("a seat");
    let third = server.join(ann.seat.room).await.err();
    assert_eq!(
        third,
        Some(SignalingError::Refused {
            code: ErrorCode::TooManyConnections
        })
    );
    soon(ann.sender.leave()).await;
    let entry = Entry::Create { reach: None };
    // The place is free again as soon as the server has seen the connection close.
    soon(async {
        while common::connect(&server.address(), entry).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn guessing_room_numbers_is_slowed_down() {
    let limits = Limits {
        wrong_numbers: Rate {
            burst: 3,
            per_second: 0,
        },
        ..Limits::default()
    };
    let server = TestServer::start(ServerConfig {
        limits,
        ..ServerConfig::default()
    })
    .await;
    let ann = server.create().await;
    let wrong = common::another(ann.seat.room);
    for _ in 0..3 {
        assert_eq!(
            server.join(wrong).await.err(),
            Some(SignalingError::UnknownRoom)
        );
    }
    let slowed = Some(SignalingError::Refused {
        code: ErrorCode::TooFast,
    });
    assert_eq!(server.join(wrong).await.err(), slowed);
    // The right number does not show that it is right.
    assert_eq!(server.join(ann.seat.room).await.err(), slowed);
}

#[tokio::test]
async fn the_server_in_a_window_is_not_for_web_pages() {
    let limits = Limits {
        opening: Opening::ThisComputer,
        ..Limits::default()
    };
    let config = ServerConfig {
        limits,
        web_pages: false,
        ..ServerConfig::default()
    };
    for (config, expected) in [(config, "403"), (ServerConfig::default(), "101")] {
        let server = TestServer::start(config).await;
        let mut tcp = TcpStream::connect(server.socket).await.expect("connected");
        let request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
            Sec-WebSocket-Protocol: ahoy.2\r\nOrigin: https://example.org\r\n\r\n";
        tcp.write_all(request.as_bytes()).await.expect("written");
        let mut answer = [0; 12];
        soon(tcp.read_exact(&mut answer)).await.expect("an answer");
        assert_eq!(
            String::from_utf8_lossy(&answer),
            format!("HTTP/1.1 {expected}")
        );
    }
}

#[tokio::test]
async fn malformed_messages_from_a_server_are_counted_and_ignored() {
    let (address, _task) = hostile_server(vec![
        r#"{"type":"created","room":4821,"participant":1,"participants":[1],"reach":"server"}"#,
        "rubbish",
        r#"{"type":"fromTheFuture","x":1}"#,
        r#"{"type":"signal","from":2,"data":7}"#,
        r#"{"type":"participantJoined","participant":2}"#,
    ])
    .await;
    let mut link = soon(SignalingClient::connect(
        &address,
        Entry::Create { reach: None },
        &ConnectOptions::default(),
    ))
    .await
    .expect("a seat");
    assert_eq!(
        next(&mut link.receiver).await,
        ServerMessage::ParticipantJoined { participant: 2 }
    );
    assert_eq!(link.receiver.ignored(), 3);
    assert_eq!(
        common::ending(&mut link.receiver).await,
        SignalingError::Lost
    );
}

#[tokio::test]
async fn a_server_that_contradicts_itself_is_none() {
    for answer in [
        r#"{"type":"created","room":4821,"participant":3,"participants":[1],"reach":"server"}"#,
        r#"{"type":"created","room":4821,"participant":1,"participants":[1,1],"reach":"server"}"#,
        r#"{"type":"created","room":4821,"participant":1,"participants":[],"reach":"server"}"#,
    ] {
        let (address, _task) = hostile_server(vec![answer]).await;
        let result = common::connect(&address, Entry::Create { reach: None }).await;
        assert_eq!(result.err(), Some(SignalingError::NotAhoy), "{answer}");
    }
}

/// A server that says `lines` to whoever connects and hangs up.
async fn hostile_server(
    lines: Vec<&'static str>,
) -> (ahoy_signaling::ServerAddress, tokio::task::JoinHandle<()>) {
    use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let address = ahoy_signaling::ServerAddress::plain(listener.local_addr().expect("bound"));
    let task = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.expect("a client");
        #[expect(
            clippy::result_large_err,
            reason = "the library's callback is declared so"
        )]
        let ours = |_: &Request, mut response: Response| {
            response
                .headers_mut()
                .insert("sec-websocket-protocol", "ahoy.2".parse().expect("a value"));
            Ok(response)
        };
        let mut socket = tokio_tungstenite::accept_hdr_async(tcp, ours)
            .await
            .expect("a handshake");
        for line in lines {
            futures_util::SinkExt::send(&mut socket, Message::text(line))
                .await
                .expect("sent");
        }
        let _ = socket.close(None).await;
    });
    (address, task)
}
