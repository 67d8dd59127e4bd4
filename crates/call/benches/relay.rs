//! Connections through coturn on loopback: how long they take to stand, and what a packet takes.
//! Prints the table of `docs/network.md`. Needs `turnserver`.
#![expect(clippy::print_stdout, reason = "the table is what it is for")]

#[path = "../../ice/tests/support/mod.rs"]
mod coturn;
#[path = "../tests/transport_support/mod.rs"]
mod transport_support;

use std::time::{Duration, Instant};

use ahoy_call::transport::{IceServer, TransportConfig};
use coturn::Coturn;
use transport_support::{Peer, frame, loopback, roles, sound};

/// Connections per row.
const ROUNDS: usize = 8;
/// Sound packets per connection and direction, one every 20 ms.
const PACKETS: u32 = 150;
const LIMIT: Duration = Duration::from_secs(20);

fn main() {
    // Built with the tests, and not to be run with them.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(table());
}

async fn table() {
    let coturn = Coturn::start();
    let all = [coturn.udp(), coturn.tcp(), coturn.tls()];
    println!(
        "| path | connected ms, p50 / worst | sound one way ms, p50 / p95 / p99 | CPU ms per second of call |"
    );
    println!("|---|---|---|---|");
    let rows: [(&str, Vec<String>, bool); 7] = [
        ("direct, no servers", Vec::new(), false),
        ("direct, STUN and TURN there", all.to_vec(), false),
        ("relay only, UDP", vec![coturn.udp()], true),
        ("relay only, TCP", vec![coturn.tcp()], true),
        ("relay only, TLS", vec![coturn.tls()], true),
        ("relay only, all three", all.to_vec(), true),
        ("relay only, UDP, with picture", vec![coturn.udp()], true),
    ];
    for (name, urls, relay_only) in rows {
        let config = || TransportConfig {
            ice_servers: servers(&coturn, &urls),
            relay_only,
            turn_roots: coturn.roots(),
            ..loopback()
        };
        let mut connected = Vec::new();
        let mut delays = Vec::new();
        let mut cpu = Duration::ZERO;
        let mut talked = Duration::ZERO;
        for _ in 0..ROUNDS {
            let got = call(config(), config(), name.ends_with("picture")).await;
            connected.push(got.connected);
            delays.extend(got.delays);
            cpu += got.cpu;
            talked += got.talked;
        }
        connected.sort_unstable();
        delays.sort_unstable();
        println!(
            "| {name} | {:.0} / {:.0} | {:.2} / {:.2} / {:.2} | {:.1} |",
            ms(share(&connected, 0.5)),
            ms(share(&connected, 1.0)),
            ms(share(&delays, 0.5)),
            ms(share(&delays, 0.95)),
            ms(share(&delays, 0.99)),
            1000.0 * cpu.as_secs_f64() / talked.as_secs_f64(),
        );
    }
}

fn servers(coturn: &Coturn, urls: &[String]) -> Vec<IceServer> {
    if urls.is_empty() {
        return Vec::new();
    }
    vec![coturn.server(urls)]
}

struct Got {
    connected: Duration,
    delays: Vec<Duration>,
    /// Of both ends.
    cpu: Duration,
    talked: Duration,
}

async fn call(a: TransportConfig, b: TransportConfig, picture: bool) -> Got {
    let (first, second) = roles();
    let begun = Instant::now();
    let mut a = Peer::new(first, a).await;
    let mut b = Peer::new(second, b).await;
    while !(a.connected() && b.connected()) {
        assert!(begun.elapsed() < LIMIT, "no connection");
        let moved = a.step(&mut b.inbox).await | b.step(&mut a.inbox).await;
        if !moved {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let connected = begun.elapsed();

    let (talking, cpu) = (Instant::now(), cpu_time());
    let mut sent = Vec::new();
    for number in 0..PACKETS {
        let now = Instant::now();
        sent.push(now);
        for peer in [&a, &b] {
            peer.transport.send_audio(&sound(number, now));
            if picture {
                peer.transport
                    .send_video(&frame(number, 5000, number == 0, now));
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        a.step(&mut b.inbox).await;
        b.step(&mut a.inbox).await;
    }
    let (cpu, talked) = (cpu_time() - cpu, talking.elapsed());
    let mut delays = Vec::new();
    for peer in [&a, &b] {
        let packets = peer.received.audio();
        let first = packets.first().map_or(0, |packet| packet.timestamp);
        for packet in &packets {
            let number = packet.timestamp.wrapping_sub(first) / 960;
            if let Some(sent) = sent.get(number as usize) {
                delays.push(packet.arrival.saturating_duration_since(*sent));
            }
        }
    }
    a.transport.close().await;
    b.transport.close().await;
    Got {
        connected,
        delays,
        cpu,
        talked,
    }
}

/// Of this process so far.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // After the name, which may hold spaces: the 14th and 15th field are ticks of 10 ms.
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split(' ')
        .collect();
    let ticks = |index: usize| -> u64 {
        let field = fields.get(index).and_then(|field| field.parse().ok());
        field.unwrap_or_default()
    };
    Duration::from_millis(10 * (ticks(12) + ticks(13)))
}

fn share(sorted: &[Duration], share: f64) -> Duration {
    let index = ((sorted.len().saturating_sub(1)) as f64 * share).round() as usize;
    sorted.get(index).copied().unwrap_or_default()
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
