//! Two connections on a virtual network in virtual time: collisions of offers, loss and its
//! repair, round trips, the bandwidth estimate.

#[path = "transport_support/sim.rs"]
mod sim;
mod transport_support;

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use ahoy_call::negotiation::Role;
use ahoy_call::transport::{LocalAddresses, TransportConfig};
use ahoy_media::frame::Copies;
use sim::{Link, World};
use transport_support::{Peer, frame, roles, sound};

const TICK: Duration = Duration::from_millis(1);

fn config(world: &World) -> TransportConfig {
    TransportConfig {
        local_addresses: LocalAddresses::Loopback,
        runtime: Some(world.runtime()),
        ..TransportConfig::default()
    }
}

async fn pair(world: &World, roles: (Role, Role)) -> (Peer, Peer) {
    let a = Peer::new(roles.0, config(world)).await;
    let b = Peer::new(roles.1, config(world)).await;
    (a, b)
}

/// One millisecond; signaling takes no time.
async fn tick(world: &World, a: &mut Peer, b: &mut Peer) {
    while a.step(&mut b.inbox).await | b.step(&mut a.inbox).await {}
    world.sleep(TICK).await;
}

async fn connect(world: &World, a: &mut Peer, b: &mut Peer) {
    while !(a.connected() && b.connected()) {
        let states = (a.transport.states(), b.transport.states());
        assert!(world.elapsed() < Duration::from_secs(5), "{states:?}");
        tick(world, a, b).await;
    }
}

/// 30 pictures and 50 sound packets a second from both for so many seconds; `bytes` gives the
/// size of a picture.
async fn talk(
    world: &World,
    a: &mut Peer,
    b: &mut Peer,
    seconds: u32,
    bytes: impl Fn(&Peer) -> usize,
) {
    for millisecond in 0..seconds * 1000 {
        for peer in [&*a, &*b] {
            let now = world.now();
            if millisecond % 20 == 0 {
                peer.transport.send_audio(&sound(millisecond / 20, now));
            }
            if millisecond % 33 == 0 && !peer.transport.is_backed_up() {
                let number = millisecond / 33;
                peer.transport
                    .send_video(&frame(number, bytes(peer), number == 0, now));
            }
        }
        tick(world, a, b).await;
    }
}

#[test]
fn colliding_offers_are_settled_by_a_rollback() {
    let world = World::new(Link::with_delay(Duration::from_millis(20)), 1);
    world.clone().run(async move {
        let role = |polite| Role {
            polite,
            offers_first: true,
        };
        let (mut a, mut b) = pair(&world, (role(false), role(true))).await;
        // Both make and apply their offers before either hears of the other's.
        let (mut to_a, mut to_b) = (VecDeque::new(), VecDeque::new());
        while a.offers == 0 || b.offers == 0 {
            a.step(&mut to_b).await;
            b.step(&mut to_a).await;
            world.sleep(TICK).await;
        }
        a.inbox.extend(to_a);
        b.inbox.extend(to_b);
        connect(&world, &mut a, &mut b).await;
        talk(&world, &mut a, &mut b, 1, |_| 3000).await;
        assert_eq!((a.rollbacks, b.rollbacks), (0, 1));
        for peer in [&a, &b] {
            assert_eq!(peer.failures, Vec::<String>::new());
            assert!(peer.negotiation.is_idle());
            assert!(peer.data_open);
            assert!(
                peer.received.audio().len() >= 45,
                "{}",
                peer.received.audio().len()
            );
            assert!(
                peer.received.video().len() >= 80,
                "{}",
                peer.received.video().len()
            );
        }
    });
}

#[test]
fn the_handshake_waits_for_no_timer() {
    let delay = Duration::from_millis(10);
    let world = World::new(Link::with_delay(delay), 2);
    world.clone().run(async move {
        let (mut a, mut b) = pair(&world, roles()).await;
        // The answering side is the DTLS client.
        while a.transport.states().ice_connection != "connected" {
            tick(&world, &mut a, &mut b).await;
        }
        let path_found = world.elapsed();
        connect(&world, &mut a, &mut b).await;
        let handshake = world.elapsed() - path_found;
        // Six flights (RFC 6347 section 4.2.4), the tick of this test, and no timer.
        eprintln!("path after {path_found:?}, handshake {handshake:?}");
        assert!(handshake <= delay * 6 + TICK * 2, "{handshake:?}");
        assert!(path_found <= Duration::from_millis(100), "{path_found:?}");
    });
}

#[test]
fn lost_packets_are_repaired_once() {
    for (seed, delay) in [(11, 2), (12, 25), (13, 60)] {
        let world = World::new(Link::with_delay(Duration::from_millis(delay)), seed);
        world.clone().run(async move {
            let (mut a, mut b) = pair(&world, roles()).await;
            connect(&world, &mut a, &mut b).await;
            // The receiver cannot miss what came before the first packet it saw.
            talk(&world, &mut a, &mut b, 1, |_| 2000).await;
            world.set_link(|link| link.rtp_loss = 0.03);
            talk(&world, &mut a, &mut b, 20, |_| 9000).await;
            world.set_link(|link| link.rtp_loss = 0.0);
            // The last packets of a stream are missed only when something follows.
            for number in 0..30 {
                for peer in [&a, &b] {
                    peer.transport
                        .send_video(&frame(9000 + number, 100, false, world.now()));
                }
                for _ in 0..33 {
                    tick(&world, &mut a, &mut b).await;
                }
            }

            for _ in 0..200 {
                tick(&world, &mut a, &mut b).await;
            }

            let drops: usize = world.drops().values().filter(|count| **count > 0).sum();
            let video_drops = world.drops().get(&96).copied().unwrap_or_default()
                + world.drops().get(&97).copied().unwrap_or_default();
            assert!(drops > 200, "{drops}");
            let mut resends = 0;
            for (peer, other) in [(&a, &b), (&b, &a)] {
                let sent = peer.transport.stats().await.outbound_video;
                let inbound = other.transport.stats().await.inbound_video.expect("came");
                resends += sent.retransmitted_packets_sent;
                let original =
                    sent.packets_sent - sent.retransmitted_packets_sent - sent.padding_packets_sent;
                let video = other.received.video();
                let numbers: HashSet<u16> =
                    video.iter().map(|packet| packet.sequence_number).collect();
                assert_eq!(numbers.len(), video.len(), "nothing is delivered twice");
                assert_eq!(
                    video.len() as u64,
                    original,
                    "everything is delivered, delay {delay}"
                );
                assert!(inbound.packets_lost > 0);
                let reported = peer
                    .transport
                    .stats()
                    .await
                    .remote_inbound_video
                    .expect("reported");
                assert!(
                    reported.packets_lost > 50,
                    "repairs do not hide the loss: {reported:?}"
                );
            }
            let allowed = video_drops as f64 * 1.2;
            assert!(
                resends as f64 <= allowed,
                "{resends} resends for {video_drops} drops, delay {delay}"
            );
        });
    }
}

/// Share of the sound packets that arrive, and how many were sent again for each that was lost.
fn sound_repaired(loss: f64, delay: Duration) -> (f64, f64) {
    let world = World::new(Link::with_delay(delay), 17);
    world.clone().run(async move {
        let (mut a, mut b) = pair(&world, roles()).await;
        connect(&world, &mut a, &mut b).await;
        talk(&world, &mut a, &mut b, 1, |_| 2000).await;
        world.set_link(|link| link.rtp_loss = loss);
        talk(&world, &mut a, &mut b, 20, |_| 2000).await;
        world.set_link(|link| link.rtp_loss = 0.0);
        talk(&world, &mut a, &mut b, 1, |_| 2000).await;
        let sent = a.transport.stats().await.outbound_audio;
        let received = b.received.audio();
        let numbers: HashSet<u16> = received.iter().map(|it| it.sequence_number).collect();
        assert_eq!(numbers.len(), received.len(), "nothing is delivered twice");
        let original = (sent.packets_sent - sent.retransmitted_packets_sent) as f64;
        let lost = 1000.0 * loss;
        (
            received.len() as f64 / original,
            sent.retransmitted_packets_sent as f64 / lost,
        )
    })
}

#[test]
fn sound_is_repaired_nearby_and_not_from_afar() {
    let (arrives, resends) = sound_repaired(0.1, Duration::from_millis(20));
    assert!(arrives > 0.98, "{arrives}");
    assert!(resends < 1.3, "{resends}");
    let (arrives, resends) = sound_repaired(0.1, Duration::from_millis(80));
    assert!(arrives < 0.95, "{arrives}");
    assert!(
        resends < 0.15,
        "{resends}: only before the round trip is known"
    );
}

/// Sound for some seconds, each packet again with later ones.
async fn speak(
    world: &World,
    a: &mut Peer,
    b: &mut Peer,
    numbers: std::ops::Range<u32>,
    copies: Copies,
) {
    for number in numbers {
        for peer in [&*a, &*b] {
            let mut sound = sound(number, world.now());
            sound.copies = copies;
            peer.transport.send_audio(&sound);
        }
        for _ in 0..20 {
            tick(world, a, b).await;
        }
    }
}

#[test]
fn sound_comes_again_inside_later_packets() {
    let world = World::new(Link::with_delay(Duration::from_millis(80)), 5);
    world.clone().run(async move {
        let (mut a, mut b) = pair(&world, roles()).await;
        connect(&world, &mut a, &mut b).await;
        speak(&world, &mut a, &mut b, 0..50, Copies::NONE).await;
        world.set_link(|link| link.rtp_loss = 0.2);
        speak(&world, &mut a, &mut b, 50..1050, Copies::three(1)).await;
        world.set_link(|link| link.rtp_loss = 0.0);
        speak(&world, &mut a, &mut b, 1050..1100, Copies::NONE).await;

        for (from, to) in [(&a, &b), (&b, &a)] {
            let received = to.received.audio();
            let numbers: HashSet<u16> = received.iter().map(|it| it.sequence_number).collect();
            assert_eq!(numbers.len(), received.len(), "nothing is delivered twice");
            let arrives = received.len() as f64 / 1100.0;
            assert!(arrives > 0.99, "{arrives}");
            let first = &received[0];
            for packet in &received {
                assert_eq!(packet.payload_type, first.payload_type);
                let number = packet.timestamp / 960;
                assert_eq!(packet.payload[1..], [number as u8; 79]);
                let behind = packet.sequence_number.wrapping_sub(first.sequence_number);
                assert_eq!(u32::from(behind), number - first.timestamp / 960);
            }
            let reported = from.transport.stats().await.remote_inbound_audio;
            let lost = reported.expect("reported").packets_lost;
            assert!(lost > 100, "copies do not hide the loss: {lost}");
        }
    });
}

#[test]
fn round_trips_are_those_of_the_path() {
    let world = World::new(Link::with_delay(Duration::from_millis(40)), 3);
    world.clone().run(async move {
        let (mut a, mut b) = pair(&world, roles()).await;
        connect(&world, &mut a, &mut b).await;
        talk(&world, &mut a, &mut b, 4, |_| 2000).await;
        for peer in [&a, &b] {
            let stats = peer.transport.stats().await;
            for reported in [stats.remote_inbound_audio, stats.remote_inbound_video] {
                let round_trip = reported.and_then(|reported| reported.round_trip_time);
                let round_trip = round_trip.expect("measured");
                assert!((round_trip - 0.08).abs() < 0.003, "{round_trip}");
            }
            let pair = stats.candidate_pair.expect("nominated");
            let round_trip = pair.current_round_trip_time.expect("measured");
            assert!((round_trip - 0.08).abs() < 0.003, "{round_trip}");
        }
    });
}

#[test]
fn the_estimate_follows_the_path() {
    let mut link = Link::with_delay(Duration::from_millis(20));
    link.bits_per_second = Some(4e6);
    let world = World::new(link, 4);
    world.clone().run(async move {
        let (mut a, mut b) = pair(&world, roles()).await;
        connect(&world, &mut a, &mut b).await;
        // Each sends what the estimate allows, less the sound.
        let bytes = |peer: &Peer| {
            let video = peer
                .transport
                .path_estimate()
                .target
                .bps()
                .saturating_sub(50_000)
                * 9
                / 10;
            (video / 8 / 30).max(200) as usize
        };
        talk(&world, &mut a, &mut b, 15, bytes).await;
        let risen = a.transport.path_estimate().target.kbps();
        assert!(risen > 1800, "{risen} kbit/s of 4000 after 15 s");
        world.set_link(|link| link.bits_per_second = Some(500e3));
        talk(&world, &mut a, &mut b, 4, bytes).await;
        // A moment says little: less is sent while a queue drains.
        let mut targets = Vec::new();
        for _ in 0..6 {
            talk(&world, &mut a, &mut b, 1, bytes).await;
            targets.push(a.transport.path_estimate().target.kbps());
        }
        let fallen = targets.iter().sum::<u64>() / targets.len() as u64;
        assert!(fallen < 600, "{targets:?} kbit/s of 500 from 4 s on");
        assert!(fallen > 200, "{targets:?} kbit/s of 500 from 4 s on");
        let sent = a.transport.stats().await.outbound_video;
        let share = sent.retransmitted_packets_sent as f64 / sent.packets_sent as f64;
        assert!(share < 0.2, "repairs take over: {share}");
        eprintln!(
            "estimate: {risen} of 4000 kbit/s, then {targets:?} of 500; {:.0} % were repairs",
            share * 100.0
        );
    });
}

#[test]
fn a_dead_path_is_noticed_and_recovers() {
    let world = World::new(Link::with_delay(Duration::from_millis(10)), 5);
    world.clone().run(async move {
        let (mut a, mut b) = pair(&world, roles()).await;
        connect(&world, &mut a, &mut b).await;
        talk(&world, &mut a, &mut b, 1, |_| 2000).await;
        world.set_link(|link| link.bits_per_second = Some(1.0));
        talk(&world, &mut a, &mut b, 5, |_| 2000).await;
        assert_eq!(a.transport.states().connection, "disconnected");
        world.set_link(|link| link.bits_per_second = None);
        talk(&world, &mut a, &mut b, 3, |_| 2000).await;
        assert_eq!(a.transport.states().connection, "connected");
        let before = b.received.audio().len();
        talk(&world, &mut a, &mut b, 1, |_| 2000).await;
        assert!(b.received.audio().len() > before + 40);
    });
}
