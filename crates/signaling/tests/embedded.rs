//! The server inside a window: found, hosted, taken over, shared on the network.

mod common;

use std::ops::RangeInclusive;
use std::time::Duration;

use ahoy_signaling::embedded::{
    EmbeddedConfig, EmbeddedError, EmbeddedServer, Role, lan_addresses,
};
use ahoy_signaling::message::{ErrorCode, Reach};
use ahoy_signaling::{Entry, ServerAddress, SignalingError};
use common::{connect, shared, soon};
use tokio::net::{TcpListener, TcpStream};

/// Ports of one test: no other test uses them, and they are below those of outgoing connections.
fn config(ports: RangeInclusive<u16>) -> EmbeddedConfig {
    EmbeddedConfig {
        ports,
        ..EmbeddedConfig::default()
    }
}

async fn start(ports: RangeInclusive<u16>) -> EmbeddedServer {
    soon(EmbeddedServer::start(config(ports)))
        .await
        .expect("a server")
}

async fn address(server: &EmbeddedServer) -> ServerAddress {
    soon(server.address()).await.expect("a server")
}

#[tokio::test]
async fn the_second_window_uses_the_first_ones_server() {
    let first = start(24_700..=24_703).await;
    let second = start(24_700..=24_703).await;
    assert_eq!(
        (first.role().await, second.role().await),
        (Some(Role::Hosting), Some(Role::Elsewhere))
    );
    assert_eq!(address(&first).await, address(&second).await);
    let ann = connect(&address(&first).await, Entry::Create { reach: None })
        .await
        .expect("a room");
    assert_eq!(ann.seat.reach, Some(Reach::Computer));
    connect(
        &address(&second).await,
        Entry::Join {
            room: ann.seat.room,
        },
    )
    .await
    .expect("the same room");
}

#[tokio::test]
async fn windows_that_start_at_once_agree_on_one_server() {
    let starts = (0..4).map(|_| EmbeddedServer::start(config(24_710..=24_713)));
    let servers = soon(futures_util::future::join_all(starts)).await;
    let mut hosting = 0;
    for server in servers {
        let server = server.expect("a server");
        assert_eq!(address(&server).await.port(), 24_710);
        hosting += usize::from(server.role().await == Some(Role::Hosting));
        std::mem::forget(server); // Keeps the host until the test ends.
    }
    assert_eq!(hosting, 1);
}

#[tokio::test]
async fn when_the_host_has_gone_the_next_call_hosts() {
    let first = start(24_720..=24_723).await;
    let second = start(24_720..=24_723).await;
    let old = address(&second).await;
    soon(first.shutdown()).await;
    assert!(connect(&old, Entry::Create { reach: None }).await.is_err());
    let new = address(&second).await;
    assert_eq!(second.role().await, Some(Role::Hosting));
    connect(&new, Entry::Create { reach: None })
        .await
        .expect("a room");
}

#[tokio::test]
async fn a_port_that_another_program_holds_is_passed_over() {
    let _silent = TcpListener::bind("127.0.0.1:24730")
        .await
        .expect("a free port");
    let server = start(24_730..=24_733).await;
    assert_eq!(
        (server.role().await, address(&server).await.port()),
        (Some(Role::Hosting), 24_731)
    );
    let other = start(24_730..=24_733).await;
    assert_eq!(
        (other.role().await, address(&other).await.port()),
        (Some(Role::Elsewhere), 24_731)
    );
}

#[tokio::test]
async fn without_a_free_port_the_error_says_so() {
    let _one = TcpListener::bind("127.0.0.1:24740")
        .await
        .expect("a free port");
    let result = soon(EmbeddedServer::start(config(24_740..=24_740))).await;
    assert!(
        matches!(result, Err(EmbeddedError::NoPort { .. })),
        "{result:?}"
    );
    let server = EmbeddedServer::new(config(24_740..=24_740));
    assert!(soon(server.address()).await.is_err());
    drop(_one);
    assert_eq!(address(&server).await.port(), 24_740);
}

#[tokio::test]
async fn the_network_reaches_it_only_while_a_room_is_shared() {
    let server = start(24_750..=24_753).await;
    let here = address(&server).await;
    let Some(ip) = lan_addresses().first().copied() else {
        eprintln!("this machine has no network address: nothing to share, nothing to test");
        return;
    };
    let outside = (ip, here.port());
    let private = connect(
        &here,
        Entry::Create {
            reach: Some(Reach::Computer),
        },
    )
    .await
    .expect("a room");
    assert!(
        TcpStream::connect(outside).await.is_err(),
        "closed as long as nothing is shared"
    );

    let public = connect(&here, shared()).await.expect("a room");
    assert_eq!(public.seat.reach, Some(Reach::Network));
    let found = soon(server.network_addresses()).await;
    let there = found.first().expect("an address that answers").clone();
    assert_eq!(there, ServerAddress::plain(outside.into()));
    // The other window of this computer finds the same addresses.
    let other = start(24_750..=24_753).await;
    assert_eq!(soon(other.network_addresses()).await.first(), Some(&there));

    // From outside: into the shared room, not into the private one, and no new ones.
    let guest = connect(
        &there,
        Entry::Join {
            room: public.seat.room,
        },
    )
    .await
    .expect("a seat");
    let hidden = connect(
        &there,
        Entry::Join {
            room: private.seat.room,
        },
    )
    .await;
    assert_eq!(hidden.err(), Some(SignalingError::UnknownRoom));
    let refused = Some(SignalingError::Refused {
        code: ErrorCode::NotAllowed,
    });
    assert_eq!(connect(&there, shared()).await.err(), refused);

    soon(public.sender.leave()).await;
    connect(
        &there,
        Entry::Join {
            room: public.seat.room,
        },
    )
    .await
    .expect("the guest keeps it open");
    soon(guest.sender.leave()).await;
    soon(async {
        while TcpStream::connect(outside).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    connect(
        &here,
        Entry::Join {
            room: private.seat.room,
        },
    )
    .await
    .expect("the other room goes on");
    let again = connect(&here, shared()).await.expect("a room");
    assert_eq!(soon(server.network_addresses()).await.first(), Some(&there));
    drop(again);
}
