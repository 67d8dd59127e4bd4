//! The scenarios of the tests and of the tables.

use std::time::Duration;

use super::link::{Jitter, LinkConfig, LossModel};
use super::media::MediaConfig;
use super::tcp::{TcpConfig, TcpVariant};
use super::world::{FlowConfig, FlowKind, Scenario};

const DELAY: Duration = Duration::from_millis(50);
const QUEUE: Duration = Duration::from_millis(300);
const RFC_JITTER: Jitter = Jitter::Normal(Duration::from_millis(30));

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A link with these capacities, in kbit/s from a second on, and a queue of 300 ms.
pub fn link_of(capacity: &[(u64, f64)]) -> LinkConfig {
    let steps = capacity.iter();
    LinkConfig {
        capacity: steps
            .map(|(from, kbps)| (seconds(*from), kbps * 1000.0))
            .collect(),
        queue: QUEUE,
        jitter: Jitter::None,
        loss: LossModel::None,
    }
}

fn scenario(name: &str, forward: LinkConfig, flows: Vec<FlowConfig>, duration: u64) -> Scenario {
    let backward = LinkConfig {
        capacity: vec![(Duration::ZERO, 100e6)],
        loss: LossModel::None,
        ..forward.clone()
    };
    Scenario {
        name: name.to_owned(),
        forward,
        backward,
        flows,
        duration: seconds(duration),
        seed: 1,
    }
}

fn call() -> FlowConfig {
    FlowConfig {
        kind: FlowKind::Media(MediaConfig::default()),
        delay: DELAY,
        start: Duration::ZERO,
        reversed: false,
    }
}

fn call_at(start: u64) -> FlowConfig {
    FlowConfig {
        start: seconds(start),
        ..call()
    }
}

fn tcp(variant: TcpVariant, from: u64, until: u64) -> FlowConfig {
    FlowConfig {
        kind: FlowKind::Tcp(TcpConfig {
            variant,
            files: None,
            until: seconds(until),
        }),
        ..call_at(from)
    }
}

/// One call on a link of 4 Mbit/s: how fast does it get going?
pub fn start(kbps: f64) -> Scenario {
    scenario("start", link_of(&[(0, kbps)]), vec![call()], 10)
}

/// One call on a link that does not change.
pub fn steady(kbps: f64) -> Scenario {
    scenario(
        &format!("steady {kbps} kbit/s"),
        link_of(&[(0, kbps)]),
        vec![call()],
        60,
    )
}

/// 4 Mbit/s, 0.5 from 20 s to 50 s, 4 again.
pub fn step() -> Scenario {
    let link = link_of(&[(0, 4000.0), (20, 500.0), (50, 4000.0)]);
    scenario("step 4-0.5-4 Mbit/s", link, vec![call()], 80)
}

/// Two calls; the second joins after 10 s.
pub fn competing(kbps: f64) -> Scenario {
    let flows = vec![call(), call_at(10)];
    scenario("two calls", link_of(&[(0, kbps)]), flows, 120)
}

/// One call, and from 20 s on TCP, with this queue.
pub fn with_tcp(variant: TcpVariant, kbps: f64, queue: Duration) -> Scenario {
    let link = LinkConfig {
        queue,
        ..link_of(&[(0, kbps)])
    };
    let flows = vec![call(), tcp(variant, 20, 200)];
    let name = format!("beside {variant:?}, queue {} ms", queue.as_millis());
    scenario(&name, link, flows, 200)
}

/// One call on a link that loses packets.
pub fn with_loss(kbps: f64, loss: LossModel) -> Scenario {
    let link = LinkConfig {
        loss,
        ..link_of(&[(0, kbps)])
    };
    scenario("loss", link, vec![call()], 60)
}

/// RFC 8867 sections 5.1 to 5.8, as far as they are about wired networks. Capacities, delays and
/// times are the RFC's; each call may use all there is.
pub fn rfc8867() -> Vec<Scenario> {
    let jittery = |capacity: &[(u64, f64)]| LinkConfig {
        jitter: RFC_JITTER,
        ..link_of(capacity)
    };
    let mut all = Vec::new();
    let variable = jittery(&[(0, 1000.0), (40, 2500.0), (60, 600.0), (80, 1000.0)]);
    all.push(scenario(
        "5.1 variable capacity",
        variable,
        vec![call()],
        100,
    ));
    let several = [
        (0, 4000.0),
        (25, 2000.0),
        (50, 3500.0),
        (75, 1000.0),
        (100, 2000.0),
    ];
    all.push(scenario(
        "5.2 several flows",
        jittery(&several),
        vec![call(), call()],
        125,
    ));
    all.push(Scenario {
        backward: jittery(&[(0, 2000.0), (35, 800.0), (70, 2000.0)]),
        ..scenario(
            "5.3 congested feedback",
            jittery(&[(0, 2000.0), (20, 1000.0), (40, 500.0), (60, 2000.0)]),
            vec![
                call(),
                FlowConfig {
                    reversed: true,
                    ..call()
                },
            ],
            100,
        )
    });
    let three = || vec![call(), call_at(20), call_at(40)];
    all.push(scenario(
        "5.4 competing calls",
        jittery(&[(0, 3500.0)]),
        three(),
        120,
    ));
    let delays = [10, 25, 50, 100, 150];
    let round_trips = delays.iter().zip(0..).map(|(delay, index)| FlowConfig {
        delay: Duration::from_millis(*delay),
        ..call_at(index * 10)
    });
    let fairness = round_trips.collect();
    all.push(scenario(
        "5.5 RTT fairness",
        jittery(&[(0, 4000.0)]),
        fairness,
        300,
    ));
    for queue in [20, 300, 1000] {
        let link = LinkConfig {
            queue: Duration::from_millis(queue),
            ..jittery(&[(0, 2000.0)])
        };
        let flows = vec![call(), tcp(TcpVariant::Reno, 5, 120)];
        all.push(scenario(
            &format!("5.6 long TCP, queue {queue} ms"),
            link,
            flows,
            120,
        ));
    }
    let mut short = vec![call(), call()];
    short.extend((0..10).map(|_| FlowConfig {
        kind: FlowKind::Tcp(TcpConfig {
            variant: TcpVariant::Reno,
            files: Some((100e3, 1e6, seconds(10))),
            until: seconds(300),
        }),
        ..call()
    }));
    all.push(scenario(
        "5.7 short TCP",
        jittery(&[(0, 2000.0)]),
        short,
        300,
    ));
    let mut paused = vec![call(), call(), call()];
    paused[0].kind = FlowKind::Media(MediaConfig {
        paused: Some((seconds(40), seconds(60))),
        ..MediaConfig::default()
    });
    all.push(scenario(
        "5.8 pause and resume",
        jittery(&[(0, 3500.0)]),
        paused,
        120,
    ));
    all
}

/// The profiles that other systems test with (`docs/bandwidth.md`).
pub fn named() -> Vec<Scenario> {
    let ms = Duration::from_millis;
    let profile = |name: &str, kbps: f64, delay: u64, jitter: Jitter, loss: LossModel| {
        let link = LinkConfig {
            jitter,
            loss,
            ..link_of(&[(0, kbps)])
        };
        let flow = FlowConfig {
            delay: ms(delay),
            ..call()
        };
        scenario(name, link, vec![flow], 60)
    };
    let bursts = LossModel::Bursty {
        share: 0.03,
        burst: 3.0,
    };
    let spike = LossModel::During {
        share: 0.3,
        from: seconds(25),
        to: seconds(35),
    };
    let still = Jitter::None;
    vec![
        profile("none", 4000.0, 10, still, LossModel::None),
        profile(
            "moderate",
            4000.0,
            100,
            Jitter::Uniform(ms(25)),
            LossModel::Random(0.05),
        ),
        profile(
            "international",
            300.0,
            250,
            Jitter::Uniform(ms(100)),
            bursts,
        ),
        profile(
            "lab moderate",
            4000.0,
            100,
            Jitter::Bell(ms(25)),
            LossModel::Random(0.05),
        ),
        profile(
            "lab moderate, 1 Mbit/s",
            1000.0,
            100,
            Jitter::Bell(ms(25)),
            LossModel::Random(0.05),
        ),
        profile(
            "lab international",
            300.0,
            250,
            Jitter::Bell(ms(100)),
            bursts,
        ),
        profile("spiky", 4000.0, 50, still, spike),
        profile("loss 10 %", 4000.0, 30, still, LossModel::Random(0.1)),
        profile("loss 20 %", 4000.0, 30, still, LossModel::Random(0.2)),
        profile("150 kbit/s", 150.0, 30, still, LossModel::None),
        profile("250 kbit/s", 250.0, 30, still, LossModel::None),
        profile("500 kbit/s", 500.0, 30, still, LossModel::None),
        profile("1000 kbit/s", 1000.0, 30, still, LossModel::None),
    ]
}

/// Everything that has a line in the tables.
pub fn all() -> Vec<Scenario> {
    let mut all = named();
    all.push(step());
    all.extend(rfc8867());
    all
}
