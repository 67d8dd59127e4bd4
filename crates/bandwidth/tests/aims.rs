//! What congestion control is meant to reach, in virtual time. The figures themselves are in
//! `docs/bandwidth.md`; here are the aims, and for what is better by far, a margin.

use std::time::Duration;

use ahoy_bandwidth::simulator::{
    LossModel, Outcome, Scenario, TcpVariant, competing, named, run, start, steady, step,
    with_loss, with_tcp,
};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn share(outcome: &Outcome, from: Duration) -> f64 {
    let to = outcome.scenario.duration;
    let [first, second] = [0, 1].map(|flow| outcome.summary(flow, from, to).kbps);
    first / (first + second)
}

fn profile(name: &str) -> Scenario {
    let mut named = named().into_iter();
    named
        .find(|scenario| scenario.name == name)
        .expect("is in the list")
}

#[test]
fn gets_going_within_three_seconds() {
    let outcome = run(&start(4000.0));
    let rate = outcome.reaches(0, Duration::ZERO, 2500.0);
    assert!(rate.is_some_and(|time| time < seconds(2)), "{rate:?}");
    let size = outcome.height_reaches(0, Duration::ZERO, 720);
    assert!(size.is_some_and(|time| time < seconds(2)), "{size:?}");
}

#[test]
fn a_drop_does_not_stop_the_picture_and_is_made_up_for() {
    let outcome = run(&step());
    let before = outcome.summary(0, seconds(10), seconds(20));
    let low = outcome.summary(0, seconds(20), seconds(50));
    assert!(low.longest_gap <= 500.0, "{low:?}");
    let settled = outcome.summary(0, seconds(22), seconds(50));
    assert!(settled.queue_p95 <= 60.0, "{settled:?}");
    assert!(settled.link_use >= 0.9, "{settled:?}");
    let back = outcome.reaches(0, seconds(50), 0.9 * before.kbps);
    assert!(back.is_some_and(|time| time <= seconds(6)), "{back:?}");
}

#[test]
fn uses_what_there_is() {
    for kbps in [250.0, 500.0, 1000.0, 2000.0, 4000.0] {
        let outcome = run(&steady(kbps));
        let steady = outcome.summary(0, seconds(10), seconds(60));
        assert!(steady.link_use >= 0.9, "{kbps}: {steady:?}");
        assert!(steady.frame_rate > 29.0, "{kbps}: {steady:?}");
        assert!(steady.loss < 0.005, "{kbps}: {steady:?}");
    }
}

#[test]
fn moves_at_150_kbps() {
    let outcome = run(&steady(150.0));
    let steady = outcome.summary(0, seconds(5), seconds(60));
    assert!(steady.frame_rate > 29.0, "{steady:?}");
    assert!(steady.longest_gap < 250.0, "{steady:?}");
}

#[test]
fn loss_without_congestion_costs_little() {
    for kbps in [1000.0, 4000.0] {
        let outcome = run(&with_loss(kbps, LossModel::Random(0.2)));
        let got = outcome.summary(0, seconds(10), seconds(60));
        assert!(got.goodput >= 0.7, "{kbps}: {got:?}");
    }
}

/// Repairs and the delay of playing smooth over what the path loses.
#[test]
fn a_bad_path_hardly_freezes_the_picture() {
    let most = [
        ("moderate", 0.1),
        ("spiky", 0.06),
        ("loss 10 %", 0.04),
        ("loss 20 %", 0.06),
        ("international", 0.4),
    ];
    for (name, most) in most {
        let outcome = run(&profile(name));
        let got = outcome.summary(0, seconds(5), seconds(60));
        assert!(got.frozen <= most, "{name}: {got:?}");
    }
}

#[test]
fn shares_with_another_call() {
    for kbps in [1000.0, 2000.0, 4000.0] {
        let share = share(&run(&competing(kbps)), seconds(40));
        assert!((0.35..=0.65).contains(&share), "{kbps}: {share}");
    }
}

#[test]
fn shares_with_tcp() {
    for variant in [TcpVariant::Reno, TcpVariant::Cubic] {
        let outcome = run(&with_tcp(variant, 2000.0, Duration::from_millis(300)));
        let share = share(&outcome, seconds(40));
        assert!((0.35..=0.65).contains(&share), "{variant:?}: {share}");
    }
}

#[test]
fn a_run_can_be_repeated() {
    let scenario = profile("moderate");
    let summaries = [0, 1].map(|_| run(&scenario).summary(0, Duration::ZERO, seconds(60)));
    assert_eq!(summaries[0], summaries[1]);
}
