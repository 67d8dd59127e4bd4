//! Connections through a real TURN server (coturn) on this computer: every transport, and nothing
//! else than relays where that is asked for.

#[path = "../../ice/tests/support/mod.rs"]
mod coturn;
mod transport_support;

use std::time::{Duration, Instant};

use ahoy_call::transport::{IceServer, TransportConfig, TransportError};
use ahoy_ice::status::ServerState;
use coturn::Coturn;
use transport_support::{Peer, Signal, loopback, roles, sound};

/// Far longer than anything here takes; a hang becomes a failure.
const LIMIT: Duration = Duration::from_secs(30);

fn config(servers: Vec<IceServer>, coturn: &Coturn, relay_only: bool) -> TransportConfig {
    TransportConfig {
        ice_servers: servers,
        relay_only,
        turn_roots: coturn.roots(),
        ..loopback()
    }
}

async fn pair(a: TransportConfig, b: TransportConfig) -> (Peer, Peer) {
    let (first, second) = roles();
    (Peer::new(first, a).await, Peer::new(second, b).await)
}

/// Lets both run until `done`, or fails. `told` sees everything that is signaled.
async fn run_with(
    (a, b): (&mut Peer, &mut Peer),
    what: &str,
    mut done: impl FnMut(&Peer, &Peer) -> bool,
    mut told: impl FnMut(&Signal),
) {
    let end = Instant::now() + LIMIT;
    while !done(a, b) {
        assert!(
            Instant::now() < end,
            "{what}: {:?} {:?} {:?}",
            a.transport.states(),
            b.transport.states(),
            a.transport.server_statuses()
        );
        let (mut to_a, mut to_b) = Default::default();
        let moved = a.step(&mut to_b).await | b.step(&mut to_a).await;
        to_a.iter().chain(&to_b).for_each(&mut told);
        a.inbox.extend(to_a);
        b.inbox.extend(to_b);
        if !moved {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

async fn run(a: &mut Peer, b: &mut Peer, what: &str, done: impl FnMut(&Peer, &Peer) -> bool) {
    run_with((a, b), what, done, |_| {}).await;
}

fn connected(a: &Peer, b: &Peer) -> bool {
    a.connected() && b.connected()
}

/// Sound goes both ways from now on.
async fn sound_flows(a: &mut Peer, b: &mut Peer) {
    let (had_a, had_b) = (a.received.audio().len(), b.received.audio().len());
    let mut number = 0;
    run(a, b, "sound", |a, b| {
        number += 1;
        a.transport.send_audio(&sound(number, Instant::now()));
        b.transport.send_audio(&sound(number, Instant::now()));
        a.received.audio().len() > had_a + 20 && b.received.audio().len() > had_b + 20
    })
    .await;
}

async fn types(peer: &Peer) -> (String, String) {
    let pair = peer.transport.stats().await.candidate_pair.expect("a path");
    (pair.local_candidate_type, pair.remote_candidate_type)
}

fn state(peer: &Peer, uri: &str) -> ServerState {
    let wanted = uri.parse().expect("a URI");
    let statuses = peer.transport.server_statuses();
    let found = statuses.iter().find(|status| status.uri == wanted);
    found.expect("one of the servers").state
}

/// Both relayed by these URLs alone.
async fn relayed(coturn: &Coturn, urls: &[String]) {
    let servers = || vec![coturn.server(urls)];
    let (mut a, mut b) = pair(
        config(servers(), coturn, true),
        config(servers(), coturn, true),
    )
    .await;
    run(&mut a, &mut b, "connect", connected).await;
    sound_flows(&mut a, &mut b).await;
    assert_eq!(types(&a).await.0, "relay");
    assert_eq!(types(&b).await.0, "relay");
    assert_eq!(state(&a, &urls[0]), ServerState::Allocated);
    a.transport.restart_ice();
    let offers = a.offers;
    run(&mut a, &mut b, "restart", |a, b| {
        a.offers > offers && a.negotiation.is_idle() && b.negotiation.is_idle()
    })
    .await;
    run(&mut a, &mut b, "connected again", connected).await;
    sound_flows(&mut a, &mut b).await;
}

#[tokio::test]
async fn relayed_over_udp() {
    let coturn = Coturn::start();
    relayed(&coturn, &[coturn.udp()]).await;
}

#[tokio::test]
async fn relayed_over_tcp() {
    let coturn = Coturn::start();
    relayed(&coturn, &[coturn.tcp()]).await;
}

#[tokio::test]
async fn relayed_over_tls() {
    let coturn = Coturn::start();
    relayed(&coturn, &[coturn.tls()]).await;
}

#[tokio::test]
async fn servers_are_found_by_name_over_every_transport() {
    let coturn = Coturn::start();
    for url in [coturn.udp(), coturn.tcp(), coturn.tls()] {
        relayed(&coturn, &[url.replace("127.0.0.1", "localhost")]).await;
    }
}

#[tokio::test]
async fn one_side_alone_has_a_relay_and_the_other_is_direct() {
    let coturn = Coturn::start();
    let (mut a, mut b) = pair(
        config(vec![coturn.server(&[coturn.tls()])], &coturn, true),
        loopback(),
    )
    .await;
    run(&mut a, &mut b, "connect", connected).await;
    sound_flows(&mut a, &mut b).await;
    assert_eq!(types(&a).await.0, "relay");
}

#[tokio::test]
async fn streams_wait_for_udp_and_are_not_dialed_beside_it() {
    let coturn = Coturn::start();
    let urls = [coturn.udp(), coturn.tcp(), coturn.tls()];
    let servers = || vec![coturn.server(&urls)];
    let (mut a, mut b) = pair(
        config(servers(), &coturn, true),
        config(servers(), &coturn, true),
    )
    .await;
    run(&mut a, &mut b, "connect", connected).await;
    assert_eq!(state(&a, &urls[0]), ServerState::Allocated);
    for url in &urls[1..] {
        assert_ne!(state(&a, url), ServerState::Allocated, "{url}");
    }
}

#[tokio::test]
async fn a_direct_path_wins_over_a_relay() {
    let coturn = Coturn::start();
    let servers = || vec![coturn.server(&[coturn.stun(), coturn.udp()])];
    let (mut a, mut b) = pair(
        config(servers(), &coturn, false),
        config(servers(), &coturn, false),
    )
    .await;
    run(&mut a, &mut b, "connect", connected).await;
    assert_ne!(types(&a).await.0, "relay");
    sound_flows(&mut a, &mut b).await;
}

#[tokio::test]
async fn with_a_relay_only_nothing_else_is_told() {
    let coturn = Coturn::start();
    let servers = || vec![coturn.server(&[coturn.stun(), coturn.udp()])];
    let (mut a, mut b) = pair(
        config(servers(), &coturn, true),
        config(servers(), &coturn, true),
    )
    .await;
    let mut told = Vec::new();
    run_with((&mut a, &mut b), "connect", connected, |signal| {
        told.push(signal_text(signal));
    })
    .await;
    // A later offer carries what was gathered.
    a.transport.restart_ice();
    let offers = a.offers;
    run_with(
        (&mut a, &mut b),
        "restart",
        |a, b| {
            a.offers > offers
                && a.negotiation.is_idle()
                && b.negotiation.is_idle()
                && connected(a, b)
        },
        |signal| told.push(signal_text(signal)),
    )
    .await;
    let lines: Vec<_> = told.iter().flat_map(|text| text.lines()).collect();
    let candidates: Vec<_> = lines
        .iter()
        .filter(|line| line.contains("candidate:"))
        .collect();
    assert!(candidates.len() >= 2, "{lines:?}");
    for candidate in candidates {
        assert!(
            candidate.contains("typ relay raddr 0.0.0.0 rport 9"),
            "{candidate}"
        );
    }
    // Nowhere else is an address of a socket: connection and origin lines hold none.
    for line in lines.iter().filter(|line| line.starts_with("c=")) {
        assert!(line.contains("0.0.0.0"), "{line}");
    }
}

fn signal_text(signal: &Signal) -> String {
    match signal {
        Signal::Description(description) => description.sdp.clone(),
        Signal::Candidate(candidate) => candidate.candidate.clone(),
    }
}

#[tokio::test]
async fn a_wrong_password_is_told_and_a_direct_path_is_taken() {
    let coturn = Coturn::start();
    let urls = [coturn.udp(), coturn.tls()];
    let wrong = IceServer::new(&urls, coturn::USER, "wrong").expect("a server");
    let (mut a, mut b) = pair(
        config(vec![wrong.clone()], &coturn, false),
        config(vec![wrong], &coturn, false),
    )
    .await;
    run(&mut a, &mut b, "connect", connected).await;
    run(&mut a, &mut b, "the servers' refusal", |a, _| {
        let refused = |url: &String| state(a, url) == ServerState::WrongCredential;
        urls.iter().all(refused)
    })
    .await;
    sound_flows(&mut a, &mut b).await;
}

#[tokio::test]
async fn both_may_restart_at_once() {
    let coturn = Coturn::start();
    let servers = || vec![coturn.server(&[coturn.udp()])];
    let (mut a, mut b) = pair(
        config(servers(), &coturn, false),
        config(servers(), &coturn, false),
    )
    .await;
    run(&mut a, &mut b, "connect", connected).await;
    a.transport.restart_ice();
    b.transport.restart_ice();
    run(&mut a, &mut b, "restart", |a, b| {
        a.offers + b.offers >= 3 && a.negotiation.is_idle() && b.negotiation.is_idle()
    })
    .await;
    run(&mut a, &mut b, "connected again", connected).await;
    sound_flows(&mut a, &mut b).await;
}

#[tokio::test]
async fn a_stream_that_breaks_is_replaced_by_a_restart() {
    let mut coturn = Coturn::start();
    let servers = || vec![coturn.server(&[coturn.tcp()])];
    let (mut a, mut b) = pair(
        config(servers(), &coturn, true),
        config(servers(), &coturn, true),
    )
    .await;
    run(&mut a, &mut b, "connect", connected).await;
    coturn.restart();
    run(&mut a, &mut b, "the loss", |a, b| {
        !a.connected() && !b.connected()
    })
    .await;
    a.transport.restart_ice();
    run(&mut a, &mut b, "connected again", connected).await;
    sound_flows(&mut a, &mut b).await;
}

#[tokio::test]
async fn a_restart_uses_the_credentials_that_were_told_last() {
    for url in [Coturn::udp, Coturn::tls] {
        let mut coturn = Coturn::start();
        let url = [url(&coturn)];
        let servers = vec![coturn.server(&url)];
        let (mut a, mut b) = pair(
            config(servers.clone(), &coturn, true),
            config(servers, &coturn, true),
        )
        .await;
        run(&mut a, &mut b, "connect", connected).await;
        coturn.restart_for("later", "other");
        let renewed = [coturn.server(&url)];
        for peer in [&a, &b] {
            let set = peer.transport.set_ice_servers(&renewed).await;
            set.expect("the same server");
        }
        run(&mut a, &mut b, "the loss", |a, b| {
            !a.connected() && !b.connected()
        })
        .await;
        a.transport.restart_ice();
        run(&mut a, &mut b, "connected again", connected).await;
        sound_flows(&mut a, &mut b).await;
    }
}

#[tokio::test]
async fn servers_that_cannot_be_used_are_refused_at_once() {
    let (sender, _events) = tokio::sync::mpsc::channel(8);
    let config = TransportConfig {
        relay_only: true,
        ..loopback()
    };
    let received = std::sync::Arc::new(transport_support::Collector::default());
    let made = ahoy_call::transport::Transport::new(config, sender, received).await;
    let Err(TransportError::Setup(reason)) = made else {
        panic!("a connection without a relay");
    };
    assert!(reason.contains("TURN server"), "{reason}");
}
