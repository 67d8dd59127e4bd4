//! Congestion control in the simulator: the tables of `docs/bandwidth.md`.
//!
//! `cargo bench -p ahoy-bandwidth` prints all of them, `cargo bench -p ahoy-bandwidth -- trace 5.1`
//! how the scenarios whose name contains `5.1` went, every 50 ms, and `-- Profiles` only the tables
//! whose title contains that.

#![expect(clippy::print_stdout, reason = "the tables are what it is for")]

use std::time::Duration;

use ahoy_bandwidth::simulator::{
    LossModel, Outcome, Scenario, Summary, TcpVariant, all, competing, named, rfc8867, run, start,
    steady, step, with_loss, with_tcp,
};

/// Measuring begins so long after a flow has.
const SETTLING: Duration = Duration::from_secs(5);

fn main() {
    // `cargo test --all-targets` runs this too, without the flag; it is not interested in figures.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let mut words = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'));
    if words.next().is_some_and(|word| word == "trace") {
        let name = words.next().unwrap_or_default();
        all()
            .iter()
            .filter(|scenario| scenario.name.contains(&name))
            .for_each(trace);
        return;
    }
    let only = std::env::args().skip(1).find(|word| !word.starts_with('-'));
    let section = |title: &str, print: &dyn Fn()| {
        if only
            .as_ref()
            .is_none_or(|only| title.contains(only.as_str()))
        {
            println!("\n{title}\n");
            print();
        }
    };
    section("Aims", &aims);
    section("RFC 8867", &|| table(&rfc8867()));
    section("Profiles", &|| table(&named()));
    section("One call on a link that does not change", &|| {
        table(&[250.0, 500.0, 1000.0, 2000.0, 4000.0].map(steady));
    });
    section("Random loss", &|| {
        let lossy = |(kbps, share)| with_loss(kbps, LossModel::Random(share));
        let cases = [(1000.0, 0.05), (1000.0, 0.2), (4000.0, 0.05), (4000.0, 0.2)];
        table(&cases.map(lossy));
    });
    section("Sharing", &sharing);
    section("Several seeds", &seeds);
}

fn aims() {
    let seconds = Duration::from_secs;
    let after = |time: Option<Duration>| {
        time.map_or("never".to_owned(), |time| {
            format!("{:.1} s", time.as_secs_f64())
        })
    };
    println!("| aim | figure |");
    println!("|---|---|");
    let outcome = run(&start(4000.0));
    let rate = outcome.reaches(0, Duration::ZERO, 2500.0);
    println!("| 0 to 2.5 Mbit/s on 4 Mbit/s in 3 s | {} |", after(rate));
    let size = outcome.height_reaches(0, Duration::ZERO, 720);
    println!("| 720p in 3 s | {} |", after(size));
    let outcome = run(&step());
    let before = outcome.summary(0, seconds(10), seconds(20));
    let low = outcome.summary(0, seconds(20), seconds(50));
    let settled = outcome.summary(0, seconds(22), seconds(50));
    let back = outcome.reaches(0, seconds(50), before.kbps * 0.9);
    println!(
        "| 4 to 0.5 Mbit/s: longest gap 500 ms | {:.0} ms |",
        low.longest_gap
    );
    println!(
        "| queue p95 60 ms from 2 s after | {:.0} ms |",
        settled.queue_p95
    );
    println!(
        "| use of the 0.5 Mbit/s | {:.0} % |",
        settled.link_use * 100.0
    );
    println!(
        "| back at 90 % of {:.0} kbit/s in 6 s | {} |",
        before.kbps,
        after(back)
    );
}

fn table(scenarios: &[Scenario]) {
    println!(
        "| scenario | flow | kbit/s | use % | goodput % | queue p50 / p95 ms | loss % | frames/s | longest gap ms | frozen % | key frames asked for / dropped / left out | capture to shown p50 / p95 ms |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    for scenario in scenarios {
        let outcome = run(scenario);
        let calls = (0..scenario.flows.len()).filter(|flow| outcome.is_media(*flow));
        calls.for_each(|flow| line(&outcome, flow));
        if scenario.flows.len() > 1 {
            let latest = scenario.flows.iter().map(|flow| flow.start).max();
            let from = latest.unwrap_or_default() + SETTLING;
            let flows = (0..scenario.flows.len()).filter(|flow| !scenario.flows[*flow].reversed);
            let total: f64 = flows
                .map(|flow| outcome.summary(flow, from, scenario.duration).link_use)
                .sum();
            println!(
                "| {} | all | | {:.0} | | | | | | | | |",
                scenario.name,
                total * 100.0
            );
        }
    }
}

fn line(outcome: &Outcome, flow: usize) {
    let scenario = &outcome.scenario;
    let trace = &outcome.traces[flow];
    let from = scenario.flows[flow].start + SETTLING;
    let got = outcome.summary(flow, from, scenario.duration);
    println!(
        "| {} | {} | {:.0} | {:.0} | {:.0} | {:.0} / {:.0} | {:.1} | {:.1} | {:.0} | {:.1} | {} / {} / {} | {:.0} / {:.0} |",
        scenario.name,
        flow + 1,
        got.kbps,
        got.link_use * 100.0,
        got.goodput * 100.0,
        got.queue_p50,
        got.queue_p95,
        got.loss * 100.0,
        got.frame_rate,
        got.longest_gap,
        got.frozen * 100.0,
        trace.key_frame_requests,
        trace.pictures_dropped,
        trace.frames_left_out,
        got.delay_p50,
        got.delay_p95,
    );
}

/// The scenarios in which chance decides much, with other random numbers.
fn seeds() {
    const SEEDS: u64 = 8;
    let seconds = Duration::from_secs;
    println!(
        "| scenario | use % | goodput % | queue p95 ms | frames/s | frozen %, mean / worst | longest gap ms, mean / worst |"
    );
    println!("|---|---|---|---|---|---|---|");
    let lossy = [1000.0, 4000.0].map(|kbps| Scenario {
        name: format!("{kbps} kbit/s, 20 % loss"),
        ..with_loss(kbps, LossModel::Random(0.2))
    });
    for scenario in named().into_iter().chain(lossy).chain([step()]) {
        let (from, to) = match scenario.name.starts_with("step") {
            true => (seconds(20), seconds(50)),
            false => (SETTLING, scenario.duration),
        };
        let seeded = (1..=SEEDS).map(|seed| Scenario {
            seed,
            ..scenario.clone()
        });
        let got: Vec<_> = seeded.map(|one| run(&one).summary(0, from, to)).collect();
        let mean =
            |value: fn(&Summary) -> f64| got.iter().map(value).sum::<f64>() / got.len() as f64;
        let worst = |value: fn(&Summary) -> f64| got.iter().map(value).fold(0.0, f64::max);
        println!(
            "| {} | {:.0} | {:.1} | {:.0} | {:.1} | {:.1} / {:.1} | {:.0} / {:.0} |",
            scenario.name,
            mean(|got| got.link_use) * 100.0,
            mean(|got| got.goodput) * 100.0,
            mean(|got| got.queue_p95),
            mean(|got| got.frame_rate),
            mean(|got| got.frozen) * 100.0,
            worst(|got| got.frozen) * 100.0,
            mean(|got| got.longest_gap),
            worst(|got| got.longest_gap),
        );
    }
}

fn sharing() {
    println!(
        "| beside | link kbit/s | queue ms | share of the call % | both % | queue p50 / p95 ms | longest gap ms |"
    );
    println!("|---|---|---|---|---|---|---|");
    for kbps in [1000.0, 2000.0, 4000.0] {
        share("a call that joins 10 s later", &run(&competing(kbps)));
    }
    for (name, variant) in [
        ("TCP Reno", TcpVariant::Reno),
        ("TCP CUBIC", TcpVariant::Cubic),
    ] {
        for (kbps, queue) in [
            (2000.0, 20),
            (2000.0, 100),
            (2000.0, 300),
            (4000.0, 300),
            (2000.0, 1000),
        ] {
            let outcome = run(&with_tcp(variant, kbps, Duration::from_millis(queue)));
            share(name, &outcome);
        }
    }
}

fn share(name: &str, outcome: &Outcome) {
    let (from, to) = (Duration::from_secs(40), outcome.scenario.duration);
    let [first, second] = [0, 1].map(|flow| outcome.summary(flow, from, to));
    println!(
        "| {name} | {:.0} | {} | {:.0} | {:.0} | {:.0} / {:.0} | {:.0} |",
        outcome.scenario.forward.capacity[0].1 / 1000.0,
        outcome.scenario.forward.queue.as_millis(),
        100.0 * first.kbps / (first.kbps + second.kbps),
        100.0 * (first.link_use + second.link_use),
        first.queue_p50,
        first.queue_p95,
        first.longest_gap,
    );
}

fn trace(scenario: &Scenario) {
    println!("{}", scenario.name);
    let outcome = run(scenario);
    for (flow, trace) in outcome.traces.iter().enumerate() {
        for sample in trace.samples() {
            let stats = sample.stats;
            println!(
                "{} {:.2} target {} estimate {} arriving {} queue {:.0} rtt {} loss {:.2} own {:.2}{}{} {}",
                flow + 1,
                sample.at.as_secs_f64(),
                sample.target.kbps(),
                stats.estimate.kbps(),
                stats.acknowledged.unwrap_or_default().kbps(),
                stats.queue_delay.as_secs_f64() * 1000.0,
                stats.round_trip_time.unwrap_or_default().as_millis(),
                stats.loss,
                stats.own_loss,
                if stats.competing { " competing" } else { "" },
                if stats.application_limited {
                    " limited"
                } else {
                    ""
                },
                sample.constraints,
            );
        }
    }
}
