//! TLS, reverse proxies, the status page, ICE servers of others, and too many connections.
#![cfg(unix)]

mod common;

use std::process::Command;
use std::sync::Arc;

use ahoy_signaling::message::{ErrorCode, ServerMessage};
use ahoy_signaling::{
    ConnectOptions, Entry, ServerAddress, SignalingClient, SignalingError, SignalingLink,
};
use common::{Program, certificate, connect, fetch, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CREATE: Entry = Entry::Create { reach: None };

fn named(address: &ServerAddress) -> ServerAddress {
    let text = format!("wss://localhost:{}", address.port());
    text.parse().expect("an address")
}

fn text(path: &std::path::Path) -> &str {
    path.to_str().expect("text")
}

#[tokio::test]
async fn it_speaks_tls_and_reads_a_new_certificate_when_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let old = certificate(directory.path());
    let mut program = Program::start(&[
        "--listen=127.0.0.1:0",
        "--certificate",
        text(&directory.path().join("cert.pem")),
        "--key",
        text(&directory.path().join("key.pem")),
    ]);
    let address = program.address();
    assert!(address.is_secure());
    let enter = async |tls: Arc<rustls::ClientConfig>| {
        let options = ConnectOptions {
            tls: Some(tls),
            ..ConnectOptions::default()
        };
        SignalingClient::connect(&named(&address), CREATE, &options).await
    };
    let mut ann: SignalingLink = enter(old.clone()).await.expect("a room");
    let plain = format!("ws://127.0.0.1:{}", address.port());
    let refused = connect(&plain.parse().expect("an address"), CREATE).await;
    assert!(refused.is_err(), "{refused:?}");

    let new = certificate(directory.path());
    program.signal("HUP");
    until(async || enter(new.clone()).await.ok()).await;
    let refused = enter(old).await.err();
    assert!(
        matches!(refused, Some(SignalingError::Untrusted { .. })),
        "{refused:?}"
    );
    // Whoever is there already is not disturbed.
    ann.sender.ask_for_ice_servers().await.expect("said");
    assert!(matches!(
        ann.receiver.recv().await,
        Some(Ok(ServerMessage::IceServers { .. }))
    ));
    program.signal("TERM");
    let (code, log) = program.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("read again"), "{log}");
}

#[test]
fn a_certificate_that_cannot_be_used_is_explained() {
    let directory = tempfile::tempdir().expect("a directory");
    certificate(directory.path());
    let cert = directory.path().join("cert.pem");
    let start = |key: &str| {
        Program::start(&[
            "--listen=127.0.0.1:0",
            "--certificate",
            text(&cert),
            "--key",
            key,
        ])
        .end()
    };
    let (code, log) = start("/nowhere/key.pem");
    assert_eq!(code, Some(2), "{log}");
    assert!(log.contains("/nowhere/key.pem"), "{log}");
    let (code, log) = start(text(&cert));
    assert_eq!(code, Some(2), "{log}");
    assert!(log.contains("no private key"), "{log}");
}

/// The status line of a handshake that says to come from `client`, and the connection.
async fn shake_hands(address: &ServerAddress, client: &str) -> (String, TcpStream) {
    let mut tcp = TcpStream::connect(("127.0.0.1", address.port()))
        .await
        .expect("connected");
    let request = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: {}\r\nX-Forwarded-For: {client}\r\n\r\n",
        ahoy_signaling::message::SUBPROTOCOL
    );
    tcp.write_all(request.as_bytes()).await.expect("written");
    let mut answer = [0; 12];
    tcp.read_exact(&mut answer).await.expect("an answer");
    (String::from_utf8_lossy(&answer[9..]).into_owned(), tcp)
}

#[tokio::test]
async fn addresses_are_taken_from_our_own_proxy_only() {
    for (proxy, expected) in [
        ("127.0.0.1", ["101", "503", "101"]),
        ("127.0.0.0/8", ["101", "503", "101"]),
        ("192.0.2.1", ["101", "503", "503"]),
    ] {
        let mut program = Program::start(&[
            "--listen=127.0.0.1:0",
            "--max-connections-per-address=1",
            "--behind-proxy",
            proxy,
        ]);
        let address = program.address();
        let mut answers = Vec::new();
        let mut open = Vec::new();
        for client in ["198.51.100.1", "198.51.100.1", "2001:db8::1"] {
            let (answer, connection) = shake_hands(&address, client).await;
            answers.push(answer);
            open.push(connection);
        }
        assert_eq!(answers, expected, "{proxy}");
    }
}

#[tokio::test]
async fn health_and_metrics_are_on_a_listener_of_their_own() {
    let mut program = Program::start(&["--listen=127.0.0.1:0", "--metrics-listen=127.0.0.1:0"]);
    let address = program.address();
    let status = program.status();
    let _ann = connect(&address, CREATE).await.expect("a room");
    let (line, body) = fetch(status, "/health").await;
    assert_eq!(
        (line.as_str(), body.trim()),
        ("HTTP/1.1 200 OK", r#"{"problems":[],"status":"ok"}"#)
    );
    let (line, body) = fetch(status, "/metrics").await;
    assert_eq!(line, "HTTP/1.1 200 OK");
    for sample in ["ahoy_rooms 1", "ahoy_connections 1", "ahoy_rooms_total 1"] {
        assert!(body.lines().any(|line| line == sample), "{sample}: {body}");
    }
    assert!(!body.contains("127.0.0.1"), "{body}");
    let (line, _) = fetch(status, "/").await;
    assert_eq!(line, "HTTP/1.1 404 Not Found");
}

#[tokio::test]
async fn relays_of_others_are_handed_out_with_credentials_of_their_own() {
    let mut program = Program::start(&[
        "--listen=127.0.0.1:0",
        "--ice-server=stun:stun.example.org:3478",
        "--ice-server=turn:turn.example.org:3478?transport=udp,turns:turn.example.org:443?transport=tcp",
        "--ice-secret=north",
        "--ice-lifetime=600",
    ]);
    let address = program.address();
    let mut ann = connect(&address, CREATE).await.expect("a room");
    let lifetime = ann.seat.ice_servers_lifetime.expect("time-limited");
    assert_eq!(lifetime.as_secs(), 600);
    let [stun, turn] = &ann.seat.ice_servers[..] else {
        panic!("{:?}", ann.seat);
    };
    assert_eq!((stun.urls.len(), &stun.credential), (1, &None));
    assert_eq!(turn.urls.len(), 2);
    let username = turn.username.clone().expect("a name");
    let (expiry, _) = username.split_once(':').expect("expiry:name");
    assert!(expiry.parse::<u64>().is_ok() && turn.credential.is_some());
    // Fresh ones in a long call.
    ann.sender.ask_for_ice_servers().await.expect("said");
    match ann.receiver.recv().await {
        Some(Ok(ServerMessage::IceServers {
            ice_servers,
            ice_servers_lifetime,
        })) => {
            assert_eq!(ice_servers_lifetime, Some(600));
            assert_ne!(ice_servers[1].username, Some(username));
        }
        other => panic!("{other:?}"),
    }
    let (code, log) = Program::start(&["--ice-server=turn:turn.example.org"]).end();
    assert_eq!(code, Some(2), "{log}");
    assert!(log.contains("--ice-secret"), "{log}");
}

/// The system gives no more files: the server waits, and goes on when there are some again.
#[tokio::test]
async fn without_files_it_waits_and_goes_on() {
    const FILES: usize = 64;
    let mut command = Command::new("sh");
    let program = env!("CARGO_BIN_EXE_ahoy-server");
    command.args([
        "-c",
        &format!("ulimit -n {FILES}; exec {program} --listen 127.0.0.1:0"),
    ]);
    let mut program = Program::run(command);
    let address = program.address();
    let mut open = Vec::new();
    for _ in 0..FILES * 2 {
        let target = ("127.0.0.1", address.port());
        open.push(
            TcpStream::connect(target)
                .await
                .expect("the system queues it"),
        );
    }
    let options = ConnectOptions {
        timeout: std::time::Duration::from_millis(300),
        ..ConnectOptions::default()
    };
    let full = SignalingClient::connect(&address, CREATE, &options)
        .await
        .err();
    assert_eq!(full, Some(SignalingError::Timeout));
    drop(open);
    until(async || connect(&address, CREATE).await.ok()).await;
    program.signal("TERM");
    let (code, log) = program.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("cannot accept connections"), "{log}");
    assert!(log.contains("LimitNOFILE"), "{log}");
}

#[tokio::test]
async fn a_number_that_is_taken_is_refused_by_name() {
    let mut program = Program::start(&["--listen=127.0.0.1:0"]);
    let address = program.address();
    let ann = connect(&address, CREATE).await.expect("a room");
    let entry = Entry::Reopen {
        room: ann.seat.room,
        reach: None,
    };
    let taken = SignalingError::Refused {
        code: ErrorCode::NumberTaken,
    };
    assert_eq!(connect(&address, entry).await.err(), Some(taken));
}
