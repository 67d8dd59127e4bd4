//! The bandwidth estimator, told anything by the other side.

#![no_main]

use std::time::{Duration, Instant};

use ahoy_bandwidth::estimator::{Estimator, EstimatorConfig, ProbeId};
use ahoy_fuzz::heap;
use ahoy_media::units::Bitrate;
use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;

/// Twenty thousand packets under way and what was learned of them.
const MOST_HEAP: usize = 3 << 20;
/// Packets per input, so that none takes long.
const MOST_PACKETS: u32 = 60_000;
/// Times that a message can carry: 24 bits of 64 ms.
const MOST_ARRIVAL: u32 = 1 << 24;

#[derive(Debug, Arbitrary)]
enum Step {
    /// Packets of this size at this pace, all reported on: with this delay, which grows by so
    /// much per packet, and every so-manieth lost.
    Flow {
        packets: u8,
        size: u16,
        pace_us: u16,
        delay_ms: u16,
        growth_us: i16,
        lost: u8,
    },
    /// Packets of which nothing is ever heard.
    Silent {
        packets: u16,
        size: u16,
        pace_us: u16,
    },
    /// A number out of order.
    Sent {
        number: u16,
        size: u16,
        probe: u32,
    },
    /// A message about any numbers, with any times in ms.
    Report {
        first: u16,
        arrivals: Vec<Option<u32>>,
    },
    /// The last numbers are reported lost, and arrived after all.
    Contradict(u8),
    Needed(u32),
    Pass(u16),
}

struct Driver {
    estimator: Estimator,
    config: EstimatorConfig,
    start: Instant,
    now: Instant,
    number: u16,
    packets: u32,
    probe: Option<(ProbeId, usize)>,
    heap: usize,
}

impl Driver {
    fn step(&mut self, step: Step) {
        match step {
            Step::Flow {
                packets,
                size,
                pace_us,
                delay_ms,
                growth_us,
                lost,
            } => {
                let mut delay = i64::from(delay_ms) * 1_000;
                let mut statuses = Vec::new();
                for index in 0..packets {
                    self.now += Duration::from_micros(pace_us.into());
                    let number = self.send(size.into());
                    delay += i64::from(growth_us);
                    let is_lost = lost != 0 && index % lost == 0;
                    let sent = self.now.duration_since(self.start).as_micros() as i64;
                    let arrival = u64::try_from(sent + delay).unwrap_or(0);
                    statuses.push((number, (!is_lost).then(|| Duration::from_micros(arrival))));
                }
                let late = delay.unsigned_abs().min(3_000_000);
                self.now += Duration::from_micros(late);
                self.estimator.on_feedback(self.now, statuses);
            }
            Step::Silent {
                packets,
                size,
                pace_us,
            } => {
                for _ in 0..packets {
                    self.now += Duration::from_micros(pace_us.into());
                    self.send(size.into());
                }
            }
            Step::Sent {
                number,
                size,
                probe,
            } => {
                let probe = Some(ProbeId(probe));
                self.estimator.on_sent(self.now, number, size.into(), probe);
            }
            Step::Report { first, arrivals } => {
                let first = self.number.wrapping_sub(first);
                let statuses = arrivals.iter().enumerate().map(|(index, arrival)| {
                    let arrival = arrival.map(|it| Duration::from_millis(64) * (it % MOST_ARRIVAL));
                    (first.wrapping_add(index as u16), arrival)
                });
                self.estimator.on_feedback(self.now, statuses);
            }
            Step::Contradict(packets) => {
                let numbers = (1..=u16::from(packets)).map(|back| self.number.wrapping_sub(back));
                let elapsed = self.now.duration_since(self.start);
                let lost = numbers.clone().map(|number| (number, None));
                self.estimator.on_feedback(self.now, lost);
                let arrived = numbers.map(|number| (number, Some(elapsed)));
                self.estimator.on_feedback(self.now, arrived);
            }
            Step::Needed(bps) => self.estimator.set_needed(Bitrate::from_bps(bps.into())),
            Step::Pass(ms) => self.now += Duration::from_millis(ms.into()),
        }
    }

    fn send(&mut self, size: usize) -> u16 {
        let number = self.number;
        if self.packets == MOST_PACKETS {
            return number;
        }
        self.packets += 1;
        self.number = number.wrapping_add(1);
        let probe = self.probe.map(|(id, _)| id);
        self.estimator.on_sent(self.now, number, size, probe);
        self.probe = self
            .probe
            .and_then(|(id, left)| Some((id, left.checked_sub(size.max(1))?)));
        number
    }

    fn check(&mut self) {
        self.estimator.on_timeout(self.now);
        let EstimatorConfig { min, max, .. } = self.config;
        if let Some(cluster) = self.estimator.poll_probe(self.now) {
            let most = max.bps() + max.bps() / 20 + 1;
            assert!(cluster.rate.bps() <= most, "{}", cluster.rate);
            // 60 ms at that rate.
            assert!(cluster.bytes as u64 <= most * 60 / 8_000 + 1);
            self.probe = Some((cluster.id, cluster.bytes));
        }
        let range = min..=max;
        let (estimate, target) = (self.estimator.estimate(), self.estimator.target_bitrate());
        assert!(range.contains(&estimate), "{estimate}");
        assert!(range.contains(&target), "{target}");
        let pacing = self.estimator.pacing_rate().bps();
        assert!(pacing >= min.bps() && pacing <= max.bps() * 5 / 4);
        let stats = self.estimator.stats();
        for share in [stats.loss, stats.own_loss] {
            assert!((0.0..=1.0).contains(&share), "{share}");
        }
        assert!(
            stats
                .round_trip_time
                .is_none_or(|it| it <= Duration::from_secs(3))
        );
        assert!(stats.queue_delay <= Duration::from_secs(1_000));
        let heap = heap::held().saturating_sub(self.heap);
        assert!(heap <= MOST_HEAP, "{heap} bytes of heap are held");
    }
}

fuzz_target!(|input: (u16, [u16; 3], Vec<Step>)| {
    let (number, [min, more, initial], steps) = input;
    let heap = heap::held();
    let config = EstimatorConfig {
        initial: Bitrate::from_kbps(initial.into()),
        min: Bitrate::from_kbps(1 + u64::from(min)),
        max: Bitrate::from_kbps(1 + u64::from(min) + u64::from(more)),
    };
    let start = Instant::now();
    let mut driver = Driver {
        estimator: Estimator::new(config),
        config,
        start,
        now: start,
        number,
        packets: 0,
        probe: None,
        heap,
    };
    for step in steps {
        driver.step(step);
        driver.check();
    }
});
