//! Calls behind bad networks, in virtual time. `cargo bench -p ahoy-call --bench networks` prints a
//! table of all of them.

#[allow(dead_code, reason = "each file uses a part")]
#[path = "transport_support/call.rs"]
mod call;
#[allow(dead_code, reason = "each file uses a part")]
#[path = "transport_support/microphone.rs"]
mod microphone;
#[allow(dead_code, reason = "each file uses a part")]
#[path = "transport_support/networks.rs"]
mod networks;
#[allow(dead_code, reason = "each file uses a part")]
#[path = "transport_support/sim.rs"]
mod sim;
mod transport_support;

use networks::{CLEAN, Figures, MODERATE, measure};

#[test]
fn a_clean_path_adds_no_delay() {
    let got = measure(CLEAN, 1);
    assert!(got.delay_p95_ms < 35.0, "{got:?}");
    assert!(got.frozen == 0.0, "{got:?}");
}

/// Identifiers and the order of hash maps differ from run to run, and one run of a bad network
/// differs from the next by a third: only the mean of several says something.
#[test]
fn pictures_move_evenly_on_a_long_path_with_jitter_and_loss() {
    let got: Vec<Figures> = (1..=8).map(|seed| measure(MODERATE, seed)).collect();
    let mean = |of: fn(&Figures) -> f64| got.iter().map(of).sum::<f64>() / got.len() as f64;
    assert!(mean(|got| got.frozen) < 0.07, "{got:?}");
    assert!(
        mean(|got| got.delay_p95_ms - got.delay_p50_ms) < 90.0,
        "{got:?}"
    );
    assert!(mean(|got| got.kbps) > 1000.0, "{got:?}");
}
