//! Calls behind the bad networks of `tests/lab/network.mjs`, in virtual time: prints the table of
//! `docs/bandwidth.md`. `NETWORKS='moderate;loss10'` for only these.
#![expect(clippy::print_stdout, reason = "the table is what it is for")]

#[allow(dead_code, reason = "each file uses a part")]
#[path = "../tests/transport_support/call.rs"]
mod call;
#[allow(dead_code, reason = "each file uses a part")]
#[path = "../tests/transport_support/microphone.rs"]
mod microphone;
#[allow(dead_code, reason = "each file uses a part")]
#[path = "../tests/transport_support/networks.rs"]
mod networks;
#[allow(dead_code, reason = "each file uses a part")]
#[path = "../tests/transport_support/sim.rs"]
mod sim;
#[path = "../tests/transport_support/mod.rs"]
mod transport_support;

use networks::{Figures, NETWORKS, Network, measure};

/// How often each network is tried.
const SEEDS: u64 = 8;

fn main() {
    // Built with the tests, and not to be run with them.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let wanted = std::env::var("NETWORKS").unwrap_or_default();
    println!(
        "| network | frames/s | frozen %, mean / worst | longest gap ms, mean / worst | \
         capture to shown p50 / p95 ms | kbit/s, mean / least | lines | estimate, sound kbit/s | sent again | key frames asked for |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for network in NETWORKS {
        if !wanted.is_empty() && !wanted.split(';').any(|name| name == network.name) {
            continue;
        }
        let got = measure_all(network);
        let mean = |of: fn(&Figures) -> f64| got.iter().map(of).sum::<f64>() / got.len() as f64;
        let most = |of: fn(&Figures) -> f64| got.iter().map(of).fold(f64::MIN, f64::max);
        let least = got.iter().map(|got| got.kbps).fold(f64::MAX, f64::min);
        println!(
            "| {} | {:.1} | {:.1} / {:.1} | {:.0} / {:.0} | {:.0} / {:.0} | {:.0} / {least:.0} | {:.0} | {:.0} / {:.0} | {:.2} | {:.1} |",
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
            mean(|got| got.estimate_kbps),
            mean(|got| got.sound_kbps),
            mean(|got| got.twice),
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
