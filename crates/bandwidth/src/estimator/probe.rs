//! Probing: short trains of packets at a higher rate than the estimate. Their spacing at the
//! receiver says what the path carries, without having to fill its queue first.

use std::time::{Duration, Instant};

use ahoy_media::units::Bitrate;

/// Names a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProbeId(pub u32);

/// What the pacer is to send: at least so many packets and bytes, at this rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeCluster {
    /// Marks its packets.
    pub id: ProbeId,
    /// Rate of the train.
    pub rate: Bitrate,
    /// Size of the train on the wire.
    pub bytes: usize,
    /// Least number of packets in it: spacing is measured between packets.
    pub packets: usize,
}

/// Packets in a train.
const PACKETS: usize = 6;
/// Length of a train.
const LENGTH: Duration = Duration::from_millis(20);
/// A train that is measured has at least this share of its packets arrived, in percent.
const MIN_ARRIVED_PERCENT: usize = 60;
/// A train that arrives this much faster than it was sent was held up and released; the figure
/// says nothing.
const MAX_SPEED_UP: f64 = 2.0;
/// A train has passed when it arrives at this share of its own rate.
const PASSED: f64 = 0.9;
/// A limit beyond this share of the train's rate may be chance: the series goes on.
const NEARLY: f64 = 0.7;
/// A path is used up to this share of its limit.
const BELOW_LIMIT: f64 = 0.9;
/// What is so many times the estimate has to be seen twice: a train that is held up on its way, by a
/// turn of others on a shared radio or a busy receiver, comes out closer together than the path
/// carries it.
const DOUBTFUL: f64 = 1.1;
/// No word of a train for so long: it is given up.
const TIMEOUT: Duration = Duration::from_millis(1500);
/// Each probe of a series is at so many times what is known.
const STEP: f64 = 2.0;
const LEAST_STEP: f64 = 1.2;
/// The first one: the initial estimate is a careful guess.
const FIRST_STEP: f64 = 3.0;
/// Between probes while nothing has changed, which only ever costs a few packets.
const INTERVAL: Duration = Duration::from_secs(4);
const MAX_INTERVAL: Duration = Duration::from_secs(8);
/// The same after a drop, which may be over at any time.
const RECOVERY_INTERVAL: Duration = Duration::from_millis(1000);
/// How long a drop is remembered.
const RECOVERY: Duration = Duration::from_secs(60);

/// What a train has shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Finding {
    /// The path carries at least this.
    AtLeast(f64),
    /// It carries this and no more. `trusted` at the beginning and after a drop, when everything
    /// else is guesswork; otherwise what is missing may belong to others.
    Limit { rate: f64, trusted: bool },
}

impl Finding {
    /// The estimate that it stands for.
    pub(super) fn estimate(self) -> f64 {
        match self {
            Self::AtLeast(rate) => rate,
            Self::Limit { rate, .. } => rate * BELOW_LIMIT,
        }
    }

    fn lesser(self, other: Self) -> Self {
        if other.estimate() < self.estimate() {
            other
        } else {
            self
        }
    }
}

#[derive(Debug)]
struct Pending {
    cluster: ProbeCluster,
    /// The estimate when it began, bit/s.
    estimate: f64,
    began: Instant,
    sent_packets: usize,
    sent_bytes: usize,
    reported: usize,
    train: Option<Train>,
}

/// What has arrived of a train.
#[derive(Debug, Clone, Copy)]
struct Train {
    packets: usize,
    bytes: usize,
    first_sent: Instant,
    last_sent: Instant,
    last_size: usize,
    first_arrival: Duration,
    first_size: usize,
    last_arrival: Duration,
}

#[derive(Debug)]
pub(super) struct Prober {
    next_id: u32,
    pending: Option<Pending>,
    next_at: Option<Instant>,
    interval: Duration,
    /// The series goes on with this rate.
    series: Option<f64>,
    /// What a train has shown that another one is to show as well.
    doubted: Option<(Instant, Finding)>,
    /// A train of this series was confirmed.
    believed: bool,
    dropped_at: Option<Instant>,
    started: bool,
    /// The first series has not met its limit yet.
    starting: bool,
}

impl Default for Prober {
    fn default() -> Self {
        Self {
            next_id: 0,
            pending: None,
            next_at: None,
            interval: INTERVAL,
            series: None,
            doubted: None,
            believed: false,
            dropped_at: None,
            started: false,
            starting: true,
        }
    }
}

/// What decides whether and how to probe.
#[derive(Debug, Clone, Copy)]
pub(super) struct Situation {
    /// Present estimate, bit/s.
    pub(super) estimate: f64,
    /// More than this is of no use, bit/s.
    pub(super) enough: f64,
    /// Neither queue nor congestion.
    pub(super) clear: bool,
    /// How much trains are pulled about on their way.
    pub(super) jitter: Duration,
}

impl Prober {
    /// The next probe, when it is time for one.
    pub(super) fn poll(&mut self, now: Instant, situation: Situation) -> Option<ProbeCluster> {
        self.give_up(now);
        if self.pending.is_some() || situation.estimate >= situation.enough {
            return None;
        }
        let rate = if !self.started {
            self.started = true;
            situation.estimate * FIRST_STEP
        } else if let Some(rate) = self.series.filter(|_| situation.clear || self.starting) {
            self.series = None;
            rate.max(situation.estimate * LEAST_STEP)
        } else if situation.clear && self.next_at.is_none_or(|at| at <= now) {
            situation.estimate * STEP
        } else {
            return None;
        };
        self.next_at = Some(now + self.interval);
        Some(self.begin(now, rate.min(situation.enough * 1.05), situation))
    }

    /// When to look again.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let pending = self.pending.as_ref();
        pending
            .map(|pending| pending.began + TIMEOUT)
            .or(self.next_at)
    }

    /// A packet of a probe has been sent.
    pub(super) fn sent(&mut self, id: ProbeId, size: usize) {
        if let Some(pending) = self.of(id) {
            pending.sent_packets += 1;
            pending.sent_bytes += size;
        }
    }

    /// A packet of a probe has been reported on. Gives what the train shows once it is complete.
    pub(super) fn reported(
        &mut self,
        now: Instant,
        id: ProbeId,
        size: usize,
        sent_at: Instant,
        arrival: Option<Duration>,
    ) -> Option<Finding> {
        let pending = self.of(id)?;
        pending.reported += 1;
        if let Some(arrival) = arrival {
            match &mut pending.train {
                Some(train) => train.add(size, sent_at, arrival),
                train => *train = Some(Train::new(size, sent_at, arrival)),
            }
        }
        let cluster = pending.cluster;
        let sent = pending.sent_packets >= cluster.packets && pending.sent_bytes >= cluster.bytes;
        if !sent || pending.reported < pending.sent_packets {
            return None;
        }
        let trusted = self.starting || self.is_recovering(now);
        let pending = self.pending.take()?;
        let finding = pending
            .finding(trusted)
            .and_then(|finding| self.believe(now, finding, pending.estimate));
        self.follow(now, finding, cluster.rate.bps() as f64);
        finding
    }

    /// What a train has shown, unless another one has to show it first.
    fn believe(&mut self, now: Instant, finding: Finding, estimate: f64) -> Option<Finding> {
        let doubted = self.doubted.take();
        if self.starting || self.believed || finding.estimate() <= DOUBTFUL * estimate {
            return Some(finding);
        }
        let recent = |at: Instant| now.saturating_duration_since(at) < TIMEOUT;
        if let Some((_, earlier)) = doubted.filter(|(at, _)| recent(*at)) {
            self.believed = true;
            return Some(finding.lesser(earlier));
        }
        self.doubted = Some((now, finding));
        None
    }

    /// The estimate has fallen to a fraction: the cause may go as suddenly as it came.
    pub(super) fn dropped(&mut self, now: Instant) {
        self.dropped_at = Some(now);
        self.interval = RECOVERY_INTERVAL;
        self.next_at = Some(now + RECOVERY_INTERVAL);
        self.series = None;
        self.doubted = None;
        self.believed = false;
        self.starting = false;
    }

    /// There is congestion: what is under way says nothing, and the next one can wait.
    pub(super) fn congested(&mut self, now: Instant) {
        self.pending = None;
        self.series = None;
        self.doubted = None;
        self.believed = false;
        self.starting = false;
        self.next_at = self.next_at.max(Some(now + self.interval));
    }

    fn is_recovering(&self, now: Instant) -> bool {
        self.dropped_at
            .is_some_and(|at| now.saturating_duration_since(at) < RECOVERY)
    }

    fn begin(&mut self, now: Instant, rate: f64, situation: Situation) -> ProbeCluster {
        self.next_id = self.next_id.wrapping_add(1);
        let length = LENGTH.max(situation.jitter * 2).min(LENGTH * 3);
        let cluster = ProbeCluster {
            id: ProbeId(self.next_id),
            rate: Bitrate::from_bps(rate as u64),
            bytes: (rate / 8.0 * length.as_secs_f64()) as usize,
            packets: PACKETS,
        };
        self.pending = Some(Pending {
            cluster,
            estimate: situation.estimate,
            began: now,
            sent_packets: 0,
            sent_bytes: 0,
            reported: 0,
            train: None,
        });
        cluster
    }

    fn of(&mut self, id: ProbeId) -> Option<&mut Pending> {
        let pending = self.pending.as_mut();
        pending.filter(|pending| pending.cluster.id == id)
    }

    fn follow(&mut self, now: Instant, finding: Option<Finding>, probed: f64) {
        match finding {
            None if self.doubted.is_some() => {
                self.series = Some(probed);
                self.next_at = Some(now);
            }
            Some(Finding::AtLeast(rate)) => {
                self.series = Some(rate * STEP);
                self.next_at = Some(now);
            }
            Some(Finding::Limit { rate, trusted }) if trusted && rate > NEARLY * probed => {
                self.series = Some(rate * STEP);
            }
            Some(Finding::Limit { .. }) => {
                self.starting = false;
                self.slow_down(now);
            }
            None => self.slow_down(now),
        }
    }

    fn slow_down(&mut self, now: Instant) {
        self.believed = false;
        let (first, last) = if self.is_recovering(now) {
            (RECOVERY_INTERVAL, RECOVERY_INTERVAL * 2)
        } else {
            (INTERVAL, MAX_INTERVAL)
        };
        self.interval = self.interval.mul_f64(1.3).clamp(first, last);
        self.next_at = Some(now + self.interval);
    }

    fn give_up(&mut self, now: Instant) {
        let overdue =
            |pending: &mut Pending| now.saturating_duration_since(pending.began) > TIMEOUT;
        if self.pending.take_if(overdue).is_some() {
            self.slow_down(now);
        }
    }
}

impl Pending {
    fn finding(&self, trusted: bool) -> Option<Finding> {
        let train = self.train?;
        if train.packets * 100 < self.sent_packets * MIN_ARRIVED_PERCENT || train.packets < 3 {
            return None;
        }
        let sending = train.last_sent.saturating_duration_since(train.first_sent);
        let arriving = train.last_arrival.saturating_sub(train.first_arrival);
        if sending.is_zero() || arriving.is_zero() {
            return None;
        }
        // Packets of different length: the spacing tells more than the two rates.
        let speed = sending.as_secs_f64() / arriving.as_secs_f64();
        let sent = (train.bytes - train.last_size) as f64 * 8.0 / sending.as_secs_f64();
        let arrived = (train.bytes - train.first_size) as f64 * 8.0 / arriving.as_secs_f64();
        if speed > MAX_SPEED_UP {
            return None;
        }
        Some(if speed >= PASSED {
            Finding::AtLeast(sent)
        } else {
            let rate = arrived.min(sent);
            Finding::Limit { rate, trusted }
        })
    }
}

impl Train {
    fn new(size: usize, sent_at: Instant, arrival: Duration) -> Self {
        Self {
            packets: 1,
            bytes: size,
            first_sent: sent_at,
            last_sent: sent_at,
            last_size: size,
            first_arrival: arrival,
            first_size: size,
            last_arrival: arrival,
        }
    }

    fn add(&mut self, size: usize, sent_at: Instant, arrival: Duration) {
        self.packets += 1;
        self.bytes += size;
        if sent_at >= self.last_sent {
            self.last_sent = sent_at;
            self.last_size = size;
        }
        if arrival < self.first_arrival {
            self.first_arrival = arrival;
            self.first_size = size;
        }
        self.last_arrival = self.last_arrival.max(arrival);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Situation = Situation {
        estimate: 500_000.0,
        enough: 6e6,
        clear: true,
        jitter: Duration::ZERO,
    };

    /// Sends a train and reports it as passing a link of `capacity` bit/s.
    fn pass(
        prober: &mut Prober,
        cluster: ProbeCluster,
        capacity: f64,
        now: Instant,
    ) -> Option<Finding> {
        let size = cluster.bytes.div_ceil(cluster.packets).max(200);
        let at = |rate: f64| Duration::from_secs_f64(size as f64 * 8.0 / rate);
        let (sending, through) = (at(cluster.rate.bps() as f64), at(capacity));
        (0..cluster.packets).for_each(|_| prober.sent(cluster.id, size));
        let reports = (0..cluster.packets as u32).map(|index| {
            let arrival = (sending * index).max(through * index);
            prober.reported(now, cluster.id, size, now + sending * index, Some(arrival))
        });
        reports.last()?
    }

    #[test]
    fn a_series_doubles_until_it_meets_the_limit() {
        let mut prober = Prober::default();
        let mut now = Instant::now();
        let mut situation = NOW;
        let mut findings = Vec::new();
        while let Some(cluster) = prober.poll(now, situation) {
            match pass(&mut prober, cluster, 4e6, now) {
                Some(Finding::AtLeast(rate)) => situation.estimate = rate,
                Some(Finding::Limit { rate, .. }) => situation.estimate = rate * 0.9,
                None => panic!("a clean train says something"),
            }
            findings.push(situation.estimate);
            now += Duration::from_millis(100);
            assert!(findings.len() < 20);
            if findings.len() == 6 {
                break;
            }
        }
        assert!(findings[0] > 1.4e6, "{findings:?}");
        assert!((findings[2] - 3.6e6).abs() < 0.2e6, "{findings:?}");
    }

    #[test]
    fn much_more_than_is_known_has_to_be_seen_twice() {
        let mut prober = Prober::default();
        let began = Instant::now();
        let mut now = began;
        let mut findings = |prober: &mut Prober, capacities: &[f64]| -> Vec<Option<f64>> {
            now += MAX_INTERVAL;
            let trains = capacities.iter().map(|capacity| {
                now += Duration::from_millis(100);
                let cluster = prober.poll(now, NOW).expect("a probe");
                pass(prober, cluster, *capacity, now).map(Finding::estimate)
            });
            trains.collect()
        };
        prober.dropped(began);
        let deceived = findings(&mut prober, &[4e6, 500e3]);
        assert_eq!(deceived[0], None);
        assert!(deceived[1].is_some_and(|rate| rate < 460e3), "{deceived:?}");
        let confirmed = findings(&mut prober, &[4e6, 4e6]);
        assert_eq!(confirmed[0], None);
        assert!(
            confirmed[1].is_some_and(|rate| rate > 990e3),
            "{confirmed:?}"
        );
    }

    #[test]
    fn is_quiet_when_there_is_enough_or_congestion() {
        let mut prober = Prober::default();
        let now = Instant::now();
        let enough = Situation {
            enough: 400_000.0,
            ..NOW
        };
        assert!(prober.poll(now, enough).is_none());
        assert!(prober.poll(now, NOW).is_some());
        prober.congested(now);
        assert!(prober.poll(now, NOW).is_none());
        assert!(
            prober
                .poll(
                    now + INTERVAL,
                    Situation {
                        clear: false,
                        ..NOW
                    }
                )
                .is_none()
        );
        assert!(prober.poll(now + INTERVAL, NOW).is_some());
    }

    #[test]
    fn a_train_that_was_held_up_says_nothing() {
        let mut prober = Prober::default();
        let now = Instant::now();
        let cluster = prober.poll(now, NOW).expect("begins with one");
        (0..cluster.packets).for_each(|_| prober.sent(cluster.id, cluster.bytes));
        let reports = (0..cluster.packets as u32).map(|index| {
            let arrival = Duration::from_micros(u64::from(index));
            let sent_at = now + Duration::from_millis(5) * index;
            prober.reported(now, cluster.id, 500, sent_at, Some(arrival))
        });
        assert_eq!(reports.last().flatten(), None);
    }
}
