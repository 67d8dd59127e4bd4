//! With real coturn beside the server: started, tried, handed out, watched, stopped.
#![cfg(unix)]

mod common;

#[allow(dead_code, reason = "the program uses more of it")]
#[path = "../src/turn/check.rs"]
mod check;

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;

use ahoy_signaling::message::IceServer;
use ahoy_signaling::{ConnectOptions, Entry, ServerAddress, SignalingClient};
use check::{CheckError, Target, Transport, check};
use common::{Program, certificate, fetch, free_port, signal, until};

const CREATE: Entry = Entry::Create { reach: None };

struct Setting {
    program: Program,
    address: ServerAddress,
    status: SocketAddr,
    port: u16,
}

/// A server with a relay on loopback, and TLS with the certificate in `directory`.
fn start(directory: &Path, more: &[&str]) -> Setting {
    let port = free_port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ahoy-server"));
    command
        .args(["--listen=127.0.0.1:0", "--metrics-listen=127.0.0.1:0"])
        .args(["--turn=localhost", "--turn-listen=127.0.0.1"])
        .arg(format!("--turn-port={port}"))
        .arg("--certificate")
        .arg(directory.join("cert.pem"))
        .arg("--key")
        .arg(directory.join("key.pem"))
        .args(more)
        // What the server trusts when it tries its own certificate.
        .env("SSL_CERT_FILE", directory.join("cert.pem"));
    let mut program = Program::run(command);
    let address = program.address();
    let status = program.status();
    Setting {
        program,
        address,
        status,
        port,
    }
}

/// Waits for a line of the metrics.
async fn sample(status: SocketAddr, expected: &str) {
    until(async || {
        let (_, body) = fetch(status, "/metrics").await;
        body.lines().any(|line| line == expected).then_some(())
    })
    .await;
}

/// The relay that a client is told of.
async fn relay(setting: &Setting, tls: std::sync::Arc<rustls::ClientConfig>) -> IceServer {
    let address = format!("wss://localhost:{}", setting.address.port());
    let options = ConnectOptions {
        tls: Some(tls),
        ..ConnectOptions::default()
    };
    let address = address.parse().expect("an address");
    let ann = SignalingClient::connect(&address, CREATE, &options)
        .await
        .expect("a room");
    let stun = &ann.seat.ice_servers[0];
    assert_eq!(stun.urls, [format!("stun:localhost:{}", setting.port)]);
    ann.seat.ice_servers[1].clone()
}

#[tokio::test]
async fn clients_get_a_relay_that_works_over_udp_tcp_and_tls() {
    let directory = tempfile::tempdir().expect("a directory");
    let tls = certificate(directory.path());
    let own_tls = free_port();
    let own = format!("--turn-tls-port={own_tls}");
    let setting = start(directory.path(), &["--turn-allow-private-peers", &own]);
    for transport in ["udp", "tcp", "tls"] {
        sample(
            setting.status,
            &format!("ahoy_turn_up{{transport=\"{transport}\"}} 1"),
        )
        .await;
    }
    let relay = relay(&setting, tls).await;
    let (port, shared) = (setting.port, setting.address.port());
    assert_eq!(
        relay.urls,
        [
            format!("turn:localhost:{port}?transport=udp"),
            format!("turn:localhost:{port}?transport=tcp"),
            format!("turns:localhost:{shared}?transport=tcp"),
            format!("turns:localhost:{own_tls}?transport=tcp"),
        ]
    );
    let target = |transport, port: u16, password: &str| Target {
        transport,
        address: ([127, 0, 0, 1], port).into(),
        host: "localhost".into(),
        username: relay.username.clone().expect("a name"),
        password: password.into(),
        private_peers: true,
    };
    let password = relay.credential.clone().expect("a password");
    for (transport, port) in [(Transport::Udp, port), (Transport::Tcp, port)] {
        let relayed = check(&target(transport, port, &password))
            .await
            .expect("an allocation");
        assert!(relayed.ip().is_loopback() && relayed.port() >= 49_152);
        let refused = check(&target(transport, port, "wrong")).await;
        assert!(
            matches!(refused, Err(CheckError::Credentials)),
            "{refused:?}"
        );
    }
    // This process does not trust the certificate: a relay that cannot be verified is refused.
    for port in [shared, own_tls] {
        let refused = check(&target(Transport::Tls, port, &password)).await;
        assert!(
            matches!(refused, Err(CheckError::Certificate { .. })),
            "{refused:?}"
        );
    }
    let (_, health) = fetch(setting.status, "/health").await;
    assert!(health.contains("\"ok\""), "{health}");
}

#[tokio::test]
async fn a_relay_that_dies_is_started_again_and_ends_with_the_server() {
    let directory = tempfile::tempdir().expect("a directory");
    certificate(directory.path());
    let setting = start(directory.path(), &["--turn-allow-private-peers"]);
    sample(setting.status, "ahoy_turn_running 1").await;
    let first = children(setting.program.child.id());
    assert_eq!(first.len(), 1, "one coturn");
    signal(first[0], "KILL");
    sample(setting.status, "ahoy_turn_restarts_total 1").await;
    sample(setting.status, "ahoy_turn_running 1").await;
    sample(setting.status, "ahoy_turn_up{transport=\"udp\"} 1").await;
    let second = children(setting.program.child.id());
    assert!(second.len() == 1 && second != first);

    setting.program.signal("TERM");
    let (code, log) = setting.program.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("coturn ended by itself"), "{log}");
    assert!(
        !Path::new(&format!("/proc/{}", second[0])).exists(),
        "coturn is left"
    );
}

/// Without the option for tests: everything private is denied, which the server itself tries, and a
/// relayed address that nobody reaches is complained about.
#[tokio::test]
async fn private_networks_are_denied_and_a_useless_address_is_reported() {
    let directory = tempfile::tempdir().expect("a directory");
    certificate(directory.path());
    let setting = start(directory.path(), &[]);
    sample(setting.status, "ahoy_turn_up{transport=\"udp\"} 0").await;
    let (_, health) = fetch(setting.status, "/health").await;
    assert!(
        health.contains("degraded") && health.contains("--turn-external-ip"),
        "{health}"
    );
    assert!(!health.contains("reach private networks"), "{health}");
}

#[tokio::test]
async fn a_relay_that_opens_private_networks_is_noticed() {
    let directory = tempfile::tempdir().expect("a directory");
    let tls = certificate(directory.path());
    let setting = start(directory.path(), &["--turn-allow-private-peers"]);
    sample(setting.status, "ahoy_turn_up{transport=\"udp\"} 1").await;
    let relay = relay(&setting, tls).await;
    let target = Target {
        transport: Transport::Udp,
        address: ([127, 0, 0, 1], setting.port).into(),
        host: "localhost".into(),
        username: relay.username.expect("a name"),
        password: relay.credential.expect("a password"),
        private_peers: false,
    };
    let open = check(&target).await;
    assert!(matches!(open, Err(CheckError::Open)), "{open:?}");
}

#[test]
fn a_relay_that_cannot_run_is_explained() {
    let (code, log) = Program::start(&[
        "--listen=127.0.0.1:0",
        "--turn=localhost",
        "--turn-program=/nowhere/turnserver",
        &format!("--turn-port={}", free_port()),
    ])
    .end();
    assert_eq!(code, Some(5), "{log}");
    assert!(log.contains("apt install coturn"), "{log}");

    let taken = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("bound").port();
    let (code, log) = Program::start(&[
        "--listen=127.0.0.1:0",
        "--turn=localhost",
        "--turn-listen=127.0.0.1",
        &format!("--turn-port={port}"),
    ])
    .end();
    assert_eq!(code, Some(5), "{log}");
    assert!(log.contains(&format!("UDP port {port} is taken")), "{log}");

    let (code, log) = Program::start(&[
        "--listen=127.0.0.1:0",
        "--turn=localhost",
        "--turn-listen=127.0.0.1",
        "--turn-program=false",
        &format!("--turn-port={}", free_port()),
    ])
    .end();
    assert_eq!(code, Some(5), "{log}");
    assert!(log.contains("coturn ended at once"), "{log}");
}

fn children(process: u32) -> Vec<u32> {
    let listed = Command::new("pgrep")
        .args(["-P", &process.to_string()])
        .output()
        .expect("pgrep runs");
    let listed = String::from_utf8(listed.stdout).expect("text");
    listed
        .split_whitespace()
        .map(|id| id.parse().expect("a number"))
        .collect()
}
