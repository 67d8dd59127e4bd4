//! Two connections over real UDP sockets on this computer.

mod transport_support;

use std::time::{Duration, Instant};

use ahoy_call::negotiation::{Candidate, Description, DescriptionKind};
use ahoy_call::transport::{MAX_CANDIDATE_BYTES, MAX_SDP_BYTES, TransportConfig, TransportError};
use transport_support::{Peer, frame, loopback, roles, sound};

/// Far longer than anything here takes; a hang becomes a failure.
const LIMIT: Duration = Duration::from_secs(20);

async fn pair(a: TransportConfig, b: TransportConfig) -> (Peer, Peer) {
    let (first, second) = roles();
    (Peer::new(first, a).await, Peer::new(second, b).await)
}

/// Lets both run until `done`, or fails.
async fn run(a: &mut Peer, b: &mut Peer, what: &str, mut done: impl FnMut(&Peer, &Peer) -> bool) {
    let end = Instant::now() + LIMIT;
    while !done(a, b) {
        assert!(
            Instant::now() < end,
            "{what}: {:?} {:?}",
            a.transport.states(),
            b.transport.states()
        );
        let moved = a.step(&mut b.inbox).await | b.step(&mut a.inbox).await;
        if !moved {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

async fn connect(a: &mut Peer, b: &mut Peer) {
    run(a, b, "connect", |a, b| a.connected() && b.connected()).await;
}

#[tokio::test]
async fn media_data_requests_and_figures_flow_both_ways() {
    let (mut a, mut b) = pair(loopback(), loopback()).await;
    assert!(a.transport.send_data("early".to_owned()));
    connect(&mut a, &mut b).await;
    assert_eq!((a.offers, b.offers), (0, 1));
    assert!(
        a.received.key_frame_requests() >= 1,
        "a new path asks for a key frame"
    );

    let before = a.received.key_frame_requests();
    let mut number = 0;
    let end = Instant::now() + Duration::from_millis(2600);
    while Instant::now() < end {
        for peer in [&a, &b] {
            peer.transport.send_audio(&sound(number, Instant::now()));
            let bytes = if number == 0 { 30_000 } else { 4_000 };
            peer.transport
                .send_video(&frame(number, bytes, number == 0, Instant::now()));
        }
        number += 1;
        if number == 30 {
            b.transport.request_key_frame();
            b.transport.request_key_frame();
        }
        a.step(&mut b.inbox).await;
        b.step(&mut a.inbox).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    run(&mut a, &mut b, "data", |_, b| !b.data.is_empty()).await;
    assert_eq!(b.data[0], "early");

    assert_eq!(
        a.received.key_frame_requests(),
        before + 1,
        "one PLI for two requests at once"
    );
    for (peer, other) in [(&a, &b), (&b, &a)] {
        let stats = peer.transport.stats().await;
        let sent = other.transport.stats().await;
        let (audio, video) = (peer.received.audio(), peer.received.video());
        assert_eq!(audio.len(), number as usize);
        assert_eq!(audio[0].payload.len(), 80);
        assert!(audio[0].marker && !audio[1].marker, "sound began once");
        assert_eq!(
            video.iter().filter(|packet| packet.marker).count(),
            number as usize
        );
        let first_frame: usize = video
            .iter()
            .take_while(|packet| packet.timestamp == 0)
            .count();
        assert!(first_frame > 20, "{first_frame}");

        let inbound = stats.inbound_video.expect("picture came");
        let outbound = sent.outbound_video;
        assert_eq!(inbound.ssrc, outbound.ssrc);
        assert_eq!(inbound.packets_received, outbound.packets_sent);
        assert_eq!(inbound.bytes_received, outbound.bytes_sent);
        assert_eq!(inbound.packets_lost, 0);
        assert_eq!(
            inbound.duplicate_packets_received, outbound.padding_packets_sent,
            "probes are filled with packets that went out before"
        );
        let reported = stats.remote_inbound_video.expect("reports came");
        let round_trip = reported.round_trip_time.expect("measured from reports");
        assert!((0.0..0.5).contains(&round_trip), "{round_trip}");
        assert!(reported.round_trip_time_measurements >= 1);
        assert_eq!(reported.fraction_lost, 0.0);
        let pair = stats.candidate_pair.expect("nominated");
        assert!(
            pair.current_round_trip_time
                .is_some_and(|time| time > 0.0 && time < 0.5)
        );
        assert_eq!(
            (&*pair.local_candidate_type, &*pair.remote_candidate_type),
            ("host", "host")
        );
        assert!(peer.transport.path_estimate().target.kbps() >= 500);
    }
    assert_eq!(a.transport.stats().await.outbound_video.pli_count, 1);
    assert_eq!(
        b.transport
            .stats()
            .await
            .inbound_video
            .expect("came")
            .pli_count,
        1
    );

    a.transport.close().await;
    run(&mut a, &mut b, "the other side is told", |a, b| {
        a.closed && !b.connected()
    })
    .await;
    let refused = a.transport.create_offer().await;
    assert_eq!(refused, Err(TransportError::Closed));
    b.transport.close().await;
    b.transport.close().await;
}

#[tokio::test]
async fn connects_without_waiting_for_timers() {
    let (mut a, mut b) = pair(loopback(), loopback()).await;
    let started = Instant::now();
    connect(&mut a, &mut b).await;
    // Measured, not judged: the figure goes into the test's output.
    eprintln!("offer to connected: {:?}", started.elapsed());
    run(&mut a, &mut b, "channel", |a, b| a.data_open && b.data_open).await;
}

#[tokio::test]
async fn works_without_a_data_channel() {
    let config = || TransportConfig {
        data_channel: false,
        ..loopback()
    };
    let (mut a, mut b) = pair(config(), config()).await;
    connect(&mut a, &mut b).await;
    assert!(!a.transport.send_data("nowhere".to_owned()));
    assert_eq!((a.offers, b.offers), (0, 1));
    let offer = b.transport.create_offer().await.expect("an offer");
    assert!(!offer.sdp.contains("m=application"));
}

#[tokio::test]
async fn an_ice_restart_keeps_media_flowing() {
    let (mut a, mut b) = pair(loopback(), loopback()).await;
    connect(&mut a, &mut b).await;
    let gathered = b.offers;
    a.transport.restart_ice();
    run(&mut a, &mut b, "restart", |a, b| {
        a.offers == 1 && a.negotiation.is_idle() && b.negotiation.is_idle()
    })
    .await;
    assert_eq!((a.offers, b.offers), (1, gathered));
    connect(&mut a, &mut b).await;
    let mut number = 0;
    run(&mut a, &mut b, "media after it", |a, b| {
        number += 1;
        a.transport.send_audio(&sound(number, Instant::now()));
        b.received.audio().len() > 20
    })
    .await;
    assert_eq!(a.failures, Vec::<String>::new());
    assert_eq!(b.failures, Vec::<String>::new());
}

/// Descriptors of this process.
#[cfg(target_os = "linux")]
fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd")
        .map(Iterator::count)
        .unwrap_or_default()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn closing_releases_everything() {
    async fn round(close: bool) {
        let (mut a, mut b) = pair(loopback(), loopback()).await;
        connect(&mut a, &mut b).await;
        if close {
            a.transport.close().await;
            b.transport.close().await;
        }
    }
    let alive = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    round(true).await;
    let settle = async || {
        let mut counts = (alive(), open_files());
        for _ in 0..40 {
            tokio::time::sleep(Duration::from_millis(25)).await;
            let now = (alive(), open_files());
            if now == counts && now.0 == 0 {
                break;
            }
            counts = now;
        }
        counts
    };
    let before = settle().await;
    for index in 0..20 {
        round(index % 2 == 0).await;
    }
    let after = settle().await;
    assert_eq!(before.0, after.0, "tasks");
    // Other tests of this process run beside this one and open files, too: allow theirs.
    assert!(
        after.1 <= before.1 + 12,
        "files: {} then {}",
        before.1,
        after.1
    );
}

#[tokio::test]
async fn malformed_descriptions_and_candidates_are_refused() {
    let (mut a, mut b) = pair(loopback(), loopback()).await;
    let good = b.transport.create_offer().await.expect("offer");
    let offer = |sdp: String| Description {
        kind: DescriptionKind::Offer,
        sdp,
    };

    for sdp in malformed(&good.sdp) {
        let shown: String = sdp.chars().take(60).collect();
        match a.transport.set_remote_description(&offer(sdp)).await {
            // Some damage is harmless; then answering must work or fail cleanly. ICE has begun
            // with what the offer said, which nothing takes back: go on with a new connection.
            Ok(()) => {
                let _ = a.transport.create_answer().await;
                let back = a.transport.roll_back().await;
                assert_eq!(back, Ok(()), "{shown}");
                a = Peer::new(roles().0, loopback()).await;
            }
            Err(error) => {
                let expected = matches!(error, TransportError::InvalidDescription(_));
                assert!(expected, "{shown}: {error}");
            }
        }
        assert_eq!(a.transport.states().signaling, "stable", "{shown}");
    }

    for candidate in [
        "candidate:",
        "candidate:1 1 udp",
        "candidate:1 1 udp 1 999.1.1.1 99999 typ host",
        "candidate:1 1 udp 99999999999999999999 127.0.0.1 9 typ host",
        "candidate:1 1 udp 1 127.0.0.1 9 typ nothing",
        "candidate:1 1 udp 1 127.0.0.1 9 typ srflx raddr",
        "\u{0}\u{1}\u{ffff}",
        &"x".repeat(MAX_CANDIDATE_BYTES + 1),
    ] {
        let result = a.transport.add_candidate(&candidate_of(candidate)).await;
        assert!(
            matches!(result, Err(TransportError::InvalidCandidate(_))),
            "{candidate}: {result:?}"
        );
    }
    let hidden = "candidate:1 1 udp 1 0d5bb2a4.local 9 typ host";
    assert_eq!(
        a.transport.add_candidate(&candidate_of(hidden)).await,
        Ok(())
    );

    // After all that the connection still works.
    connect(&mut a, &mut b).await;
    for candidate in [
        "candidate:",
        "candidate:1 1 udp 1 999.1.1.1 9 typ host",
        "nonsense",
    ] {
        let _ = a.transport.add_candidate(&candidate_of(candidate)).await;
    }
    let number = std::cell::Cell::new(0);
    run(&mut a, &mut b, "media", |a, b| {
        number.set(number.get() + 1);
        b.transport.send_audio(&sound(number.get(), Instant::now()));
        a.received.audio().len() > 5
    })
    .await;
}

fn candidate_of(text: &str) -> Candidate {
    Candidate {
        candidate: text.to_owned(),
        sdp_mid: None,
        sdp_m_line_index: Some(0),
        username_fragment: None,
    }
}

/// Damaged copies of a description.
fn malformed(good: &str) -> Vec<String> {
    let mut corpus = vec![
        String::new(),
        "v=0".to_owned(),
        "v=1\r\n".to_owned(),
        "\u{0}".repeat(100),
        "v=0\r\n".repeat(500),
        "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n".repeat(200),
        "x".repeat(MAX_SDP_BYTES + 1),
        good.replace("UDP/TLS/RTP/SAVPF", "RTP/AVP"),
        good.replace("a=fingerprint:sha-256 ", "a=fingerprint:md0 zz"),
        good.replace("a=mid:", "a=dim:"),
        good.replace("a=mid:1", "a=mid:0"),
        good.replace("a=setup:actpass", "a=setup:nobody"),
        good.replace("ice-pwd", "ice-dwp"),
        good.replace("VP8/90000", "VP8/0"),
        good.replace("opus/48000/2", "opus/99999999999999"),
        good.replace("a=ssrc:", "a=ssrc:-"),
        good.replace("m=audio 9", "m=audio 99999999"),
        good.replace("apt=96", "apt=97"),
        good.replace("a=extmap:", "a=extmap:999"),
        good.replace("a=group:BUNDLE", "a=group:BUNDLE 7 8 9"),
    ];
    // Cut off anywhere, and each line left out in turn.
    corpus.extend(
        (0..good.len())
            .step_by(97)
            .filter(|at| good.is_char_boundary(*at))
            .map(|at| good[..at].to_owned()),
    );
    let lines: Vec<&str> = good.lines().collect();
    for left_out in 0..lines.len() {
        let mut rest = lines.clone();
        rest.remove(left_out);
        corpus.push(rest.join("\r\n") + "\r\n");
    }
    corpus
}
