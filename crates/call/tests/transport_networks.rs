//! Calls behind the bad networks of `tests/lab/network.mjs`, in virtual time.
//!
//! `cargo test -p ahoy-call --test transport_networks -- --ignored --nocapture` prints the table of
//! `docs/bandwidth.md`; `NETWORKS=moderate,loss10` only these.

#[allow(dead_code, reason = "each test file uses a part")]
#[path = "transport_support/call.rs"]
mod call;
#[allow(dead_code, reason = "each test file uses a part")]
#[path = "transport_support/sim.rs"]
mod sim;
mod transport_support;

use std::time::Duration;

use call::{Call, seconds};
use sim::{Link, Loss, World};

/// What a call comes to, measured for a minute after [`SETTLING`].
const MEASURED: Duration = seconds(60);
const SETTLING: Duration = seconds(8);
/// How often each network is tried.
const SEEDS: u64 = 8;

#[derive(Debug, Clone, Copy)]
struct Network {
    name: &'static str,
    delay_ms: u64,
    jitter_ms: u64,
    loss: f64,
    burst: f64,
    kbps: Option<u32>,
    queue_ms: u64,
}

const CLEAN: Network = Network {
    name: "clean",
    delay_ms: 20,
    jitter_ms: 0,
    loss: 0.0,
    burst: 1.0,
    kbps: None,
    queue_ms: 300,
};
const MODERATE: Network = Network {
    name: "moderate",
    delay_ms: 100,
    jitter_ms: 25,
    loss: 0.05,
    ..CLEAN
};
const INTERNATIONAL: Network = Network {
    name: "international",
    delay_ms: 250,
    jitter_ms: 100,
    loss: 0.03,
    burst: 3.0,
    kbps: Some(300),
    queue_ms: 500,
};
const NETWORKS: [Network; 9] = [
    CLEAN,
    MODERATE,
    INTERNATIONAL,
    Network {
        name: "jitter",
        loss: 0.0,
        ..MODERATE
    },
    Network {
        name: "jitter2000",
        kbps: Some(2000),
        ..MODERATE
    },
    Network {
        name: "long5",
        jitter_ms: 0,
        ..MODERATE
    },
    Network {
        name: "loss10",
        delay_ms: 1,
        loss: 0.1,
        ..CLEAN
    },
    Network {
        name: "burst20",
        delay_ms: 1,
        loss: 0.2,
        burst: 3.0,
        ..CLEAN
    },
    Network {
        name: "bw500",
        kbps: Some(500),
        ..CLEAN
    },
];

#[derive(Debug, Clone, Copy, Default)]
struct Figures {
    frame_rate: f64,
    frozen: f64,
    longest_gap_ms: f64,
    delay_p50_ms: f64,
    delay_p95_ms: f64,
    kbps: f64,
    /// Lines of the picture at the end.
    lines: f64,
    key_frames_asked: f64,
}

fn measure(network: Network, seed: u64) -> Figures {
    let world = World::new(
        Link::with_delay(Duration::from_millis(network.delay_ms)),
        seed,
    );
    world.clone().run(async move {
        let mut call = Call::connect(&world).await;
        world.set_link(|link| {
            link.bits_per_second = network.kbps.map(|kbps| f64::from(kbps) * 1000.0);
            link.queue = Duration::from_millis(network.queue_ms);
            link.jitter = Duration::from_millis(network.jitter_ms);
            link.loss = Loss {
                share: network.loss,
                burst: network.burst,
            };
        });
        let from = world.elapsed() + SETTLING;
        let to = from + MEASURED;
        call.go(to).await;
        let screen = &call.screen;
        let delays = screen.delays(from, to);
        let at = |share: f64| {
            let index = (delays.len() as f64 * share) as usize;
            delays
                .get(index)
                .map_or(0.0, |delay| 1000.0 * delay.as_secs_f64())
        };
        Figures {
            frame_rate: screen.frames(from, to) as f64 / MEASURED.as_secs_f64(),
            frozen: screen.frozen(from, to),
            longest_gap_ms: 1000.0 * screen.longest_gap(from, to).as_secs_f64(),
            delay_p50_ms: at(0.5),
            delay_p95_ms: at(0.95),
            kbps: screen.rate(from, to) / 1000.0,
            lines: f64::from(call.lines()),
            key_frames_asked: screen.key_frames_asked as f64,
        }
    })
}

#[test]
fn a_clean_path_adds_no_delay() {
    let got = measure(CLEAN, 1);
    assert!(got.delay_p95_ms < 35.0, "{got:?}");
    assert!(got.frozen == 0.0, "{got:?}");
}

#[test]
fn pictures_move_evenly_on_a_long_path_with_jitter_and_loss() {
    let got = measure(MODERATE, 1);
    assert!(got.frozen < 0.06, "{got:?}");
    assert!(got.delay_p95_ms - got.delay_p50_ms < 90.0, "{got:?}");
    assert!(got.kbps > 1000.0, "{got:?}");
}

#[test]
#[ignore = "prints a table, and takes minutes"]
fn table() {
    let wanted = std::env::var("NETWORKS").unwrap_or_default();
    eprintln!(
        "| network | frames/s | frozen %, mean / worst | longest gap ms, mean / worst | \
         capture to shown p50 / p95 ms | kbit/s, mean / least | lines | key frames asked for |"
    );
    eprintln!("|---|---|---|---|---|---|---|---|");
    for network in NETWORKS {
        if !wanted.is_empty() && !wanted.split(',').any(|name| name == network.name) {
            continue;
        }
        let got = measure_all(network);
        let mean = |of: fn(&Figures) -> f64| got.iter().map(of).sum::<f64>() / got.len() as f64;
        let most = |of: fn(&Figures) -> f64| got.iter().map(of).fold(f64::MIN, f64::max);
        let least = got.iter().map(|got| got.kbps).fold(f64::MAX, f64::min);
        eprintln!(
            "| {} | {:.1} | {:.1} / {:.1} | {:.0} / {:.0} | {:.0} / {:.0} | {:.0} / {least:.0} | {:.0} | {:.1} |",
            network.name,
            mean(|got| got.frame_rate),
            100.0 * mean(|got| got.frozen),
            100.0 * most(|got| got.frozen),
            mean(|got| got.longest_gap_ms),
            most(|got| got.longest_gap_ms),
            mean(|got| got.delay_p50_ms),
            mean(|got| got.delay_p95_ms),
            mean(|got| got.kbps),
            mean(|got| got.lines),
            mean(|got| got.key_frames_asked),
        );
    }
}

/// All seeds, two at a time.
fn measure_all(network: Network) -> Vec<Figures> {
    let half = |first: u64| -> Vec<Figures> {
        let seeds = (first..=SEEDS).step_by(2);
        seeds.map(|seed| measure(network, seed)).collect()
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| half(2));
        let mut all = half(1);
        all.extend(other.join().expect("a half"));
        all
    })
}
