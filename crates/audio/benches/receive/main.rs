//! What the receive path makes of bad networks: recorded speech through encoder, network and jitter
//! buffer in virtual time, scored against what was said. Prints tables.
//!
//! ```text
//! crates/audio/benches/receive/speech.sh speech.wav
//! pip install pesq pystoi
//! AHOY_SPEECH=speech.wav cargo bench -p ahoy-audio --bench receive
//! ```
//!
//! PESQ and STOI come from Python (`AHOY_PYTHON`, else `python3`); without it, or without the
//! packages, the table says so and has the rest. `AHOY_CASES=loss` runs the lines with that word in
//! their names, `AHOY_SEEDS=3..9` other fates of the packets than 0..3.

#![expect(clippy::print_stdout, reason = "the tables are what it is for")]
#![expect(
    clippy::unwrap_used,
    reason = "a measurement that fails has nobody to tell"
)]

mod measure;
mod trace;

use std::ops::Range;
use std::time::{Duration, Instant};

use ahoy_audio::redundancy::{LossReport, Receiver, Redundancy};
use ahoy_media::units::Bitrate;

use measure::{Case, run};
use trace::{CLEAN, Trace};

fn main() {
    // `cargo test --all-targets` runs this too, without the flag; it is not interested in figures.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    println!("To Ahoy, as the redundancy controller decides within this bit rate\n");
    let mut cases = vec![
        case(CLEAN, 32, Receiver::Ahoy),
        case(jitter("jitter 30 ms", 30.0), 32, Receiver::Ahoy),
        case(jitter("jitter 100 ms", 100.0), 32, Receiver::Ahoy),
        case(
            whole_call("whole call, jitter 30 ms", 30.0, 50.0),
            32,
            Receiver::Ahoy,
        ),
        case(
            whole_call("whole call, jitter 100 ms", 100.0, 200.0),
            32,
            Receiver::Ahoy,
        ),
        case(REORDERED, 32, Receiver::Ahoy),
        case(STALL, 32, Receiver::Ahoy),
        case(DRIFT, 32, Receiver::Ahoy),
    ];
    for kbps in [32, 48, 64] {
        for (loss, burst) in LOSSES {
            cases.push(case(lossy(loss, burst), kbps, Receiver::Ahoy));
        }
    }
    run(&chosen(cases));
    println!("\nTo a browser\n");
    let cases = LOSSES.map(|(loss, burst)| case(lossy(loss, burst), 32, Receiver::Browser));
    run(&chosen(cases.into()));
}

const REORDERED: Trace = Trace {
    name: "5 % reordered",
    reordered: 0.05,
    ..CLEAN
};
const STALL: Trace = Trace {
    name: "stall of 500 ms",
    stall_ms: 500.0,
    ..CLEAN
};
const DRIFT: Trace = Trace {
    name: "drift of 200 ppm",
    drift_ppm: 200.0,
    ..CLEAN
};
/// Share of packets lost, and how many in a row on average.
const LOSSES: [(f64, f64); 7] = [
    (0.05, 1.0),
    (0.1, 1.0),
    (0.2, 1.0),
    (0.3, 1.0),
    (0.1, 3.0),
    (0.2, 3.0),
    (0.3, 4.0),
];

fn jitter(name: &'static str, jitter_ms: f64) -> Trace {
    Trace {
        name,
        jitter_ms,
        ..CLEAN
    }
}

fn whole_call(name: &'static str, jitter_ms: f64, delay_ms: f64) -> Trace {
    Trace {
        name,
        jitter_ms,
        around_ms: Some(delay_ms),
        ..CLEAN
    }
}

fn lossy(loss: f64, burst: f64) -> Trace {
    Trace {
        name: "loss",
        jitter_ms: 10.0,
        loss,
        burst,
        ..CLEAN
    }
}

fn chosen(cases: Vec<Case>) -> Vec<Case> {
    let word = std::env::var("AHOY_CASES").unwrap_or_default();
    cases
        .into_iter()
        .filter(|case| case.name().contains(&word))
        .collect()
}

/// The settings are what the controller decides after some reports of this loss.
fn case(trace: Trace, kbps: u64, receiver: Receiver) -> Case {
    let report = LossReport {
        fraction_lost: trace.loss as f32,
        // Even at random there are two in a row now and then.
        mean_burst: trace.burst.max(1.0 / (1.0 - trace.loss)) as f32,
        // What is left of it for sound is the rate that is asked for.
        available: Some(Bitrate::from_bps(kbps * 1_250)),
        // Nothing is sent again that was asked for.
        round_trip: Duration::from_millis(150),
        receiver,
    };
    let (mut redundancy, start) = (Redundancy::default(), Instant::now());
    for second in 0..20 {
        redundancy.update(&report, start + Duration::from_secs(second));
    }
    Case {
        trace,
        settings: redundancy.settings(),
        seeds: seeds(),
    }
}

fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("AHOY_SEEDS") else {
        return 0..3;
    };
    let (first, end) = text.split_once("..").unwrap();
    first.parse().unwrap()..end.parse().unwrap()
}
