//! A model of TCP: NewReno (RFC 6582) or CUBIC (RFC 9438), with selective acknowledgements.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::metrics::Trace;
use super::world::{Content, Flow, Now, Timer};

const RETRANSMIT: Timer = 0;
const NEXT_FILE: Timer = 1;

const SEGMENT: usize = 1500;
const PAYLOAD: usize = 1448;
const ACK: usize = 60;
const INITIAL_WINDOW: f64 = 10.0;
const MIN_RTO: Duration = Duration::from_millis(300);
/// CUBIC's constants (RFC 9438 section 4).
const CUBIC_C: f64 = 0.4;
const CUBIC_BETA: f64 = 0.7;
const RENO_BETA: f64 = 0.5;

/// Which congestion control.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TcpVariant {
    /// NewReno.
    Reno,
    /// CUBIC, what Linux, macOS and Windows use.
    Cubic,
}

/// How a flow is.
#[derive(Debug, Clone, PartialEq)]
pub struct TcpConfig {
    /// Congestion control.
    pub variant: TcpVariant,
    /// Sizes of files in bytes, evenly distributed, with pauses of this length on average between
    /// them; one endless file when `None`.
    pub files: Option<(f64, f64, Duration)>,
    /// Nothing new is sent after this.
    pub until: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    number: u64,
    /// Sent at.
    at: Duration,
    /// Of this file; acknowledgements of an earlier one do not count.
    file: u32,
}

#[derive(Debug)]
pub(super) struct TcpFlow {
    config: TcpConfig,
    window: f64,
    threshold: f64,
    next: u64,
    end: u64,
    file: u32,
    /// Under way, by number, with the time of sending.
    outstanding: BTreeMap<u64, Duration>,
    lost: BTreeSet<u64>,
    highest_acked: u64,
    recover: u64,
    round_trip: Option<Duration>,
    deviation: Duration,
    rto_at: Duration,
    epoch: Option<(Duration, f64)>,
}

impl TcpFlow {
    pub(super) fn new(config: TcpConfig) -> Self {
        Self {
            config,
            window: INITIAL_WINDOW,
            threshold: f64::INFINITY,
            next: 1,
            end: 0,
            file: 0,
            outstanding: BTreeMap::new(),
            lost: BTreeSet::new(),
            highest_acked: 0,
            recover: 0,
            round_trip: None,
            deviation: Duration::ZERO,
            rto_at: Duration::MAX,
            epoch: None,
        }
    }

    fn begin_file(&mut self, now: &mut Now<'_>) {
        self.file += 1;
        self.window = INITIAL_WINDOW;
        self.threshold = f64::INFINITY;
        self.next = 1;
        self.highest_acked = 0;
        self.recover = 0;
        self.outstanding.clear();
        self.lost.clear();
        self.epoch = None;
        self.end = match self.config.files {
            Some((least, most, _)) => {
                (now.random.between(least, most) / PAYLOAD as f64).ceil() as u64
            }
            None => u64::MAX,
        };
        self.fill(now);
    }

    fn fill(&mut self, now: &mut Now<'_>) {
        while (self.outstanding.len() as f64) < self.window.floor().max(1.0) {
            let number = if let Some(lost) = self.lost.pop_first() {
                lost
            } else if self.next <= self.end && now.time < self.config.until {
                self.next += 1;
                self.next - 1
            } else {
                break;
            };
            self.outstanding.insert(number, now.time);
            let segment = Segment {
                number,
                at: now.time,
                file: self.file,
            };
            now.send(SEGMENT, Content::Tcp(segment));
        }
        self.set_timer(now);
    }

    fn set_timer(&mut self, now: &mut Now<'_>) {
        if self.outstanding.is_empty() {
            self.rto_at = Duration::MAX;
            return;
        }
        let round_trip = self.round_trip.unwrap_or(Duration::from_secs(1));
        let at = now.time + (round_trip + self.deviation * 4).max(MIN_RTO);
        if self.rto_at == Duration::MAX {
            now.wake(at, RETRANSMIT);
        }
        self.rto_at = at;
    }

    fn acknowledged(&mut self, now: &mut Now<'_>, segment: Segment) {
        if segment.file != self.file {
            return;
        }
        self.measure(now.time - segment.at);
        self.lost.remove(&segment.number);
        if self.outstanding.remove(&segment.number).is_some() {
            self.grow(now.time);
        }
        self.highest_acked = self.highest_acked.max(segment.number);
        self.find_losses(now.time, segment.at);
        if self.outstanding.is_empty() && self.lost.is_empty() && self.next > self.end {
            self.finish_file(now);
            return;
        }
        self.fill(now);
    }

    /// Whatever was sent before a segment that is acknowledged, with three in between, is lost.
    fn find_losses(&mut self, now: Duration, sent: Duration) {
        let limit = self.highest_acked.saturating_sub(2);
        let round_trip = self.round_trip.unwrap_or_default();
        let overtaken = |number: u64, at: Duration| {
            (number < limit && at < sent) || now.saturating_sub(at) > round_trip * 3 + MIN_RTO
        };
        let lost: Vec<u64> = self
            .outstanding
            .iter()
            .filter(|(number, at)| overtaken(**number, **at))
            .map(|(number, _)| *number)
            .collect();
        for number in lost {
            self.outstanding.remove(&number);
            self.lost.insert(number);
            if number > self.recover {
                self.recover = self.next;
                self.shrink(now);
            }
        }
    }

    fn grow(&mut self, now: Duration) {
        if self.window < self.threshold {
            self.window += 1.0;
            return;
        }
        match self.config.variant {
            TcpVariant::Reno => self.window += 1.0 / self.window,
            TcpVariant::Cubic => self.grow_cubic(now),
        }
    }

    fn grow_cubic(&mut self, now: Duration) {
        let (since, highest) = *self.epoch.get_or_insert((now, self.window));
        let round_trip = self.round_trip.unwrap_or_default().as_secs_f64().max(0.01);
        let time = (now - since).as_secs_f64();
        let plateau = (highest * (1.0 - CUBIC_BETA) / CUBIC_C).cbrt();
        let cubic = CUBIC_C * (time + round_trip - plateau).powi(3) + highest;
        let alpha = 3.0 * (1.0 - CUBIC_BETA) / (1.0 + CUBIC_BETA);
        let friendly = highest * CUBIC_BETA + alpha * time / round_trip;
        let aim = cubic.max(friendly).min(self.window * 1.5);
        if aim > self.window {
            self.window += (aim - self.window) / self.window;
        }
    }

    fn shrink(&mut self, now: Duration) {
        let beta = match self.config.variant {
            TcpVariant::Reno => RENO_BETA,
            TcpVariant::Cubic => CUBIC_BETA,
        };
        self.epoch = Some((now, self.window));
        self.window = (self.window * beta).max(2.0);
        self.threshold = self.window;
    }

    fn measure(&mut self, latest: Duration) {
        let smooth = self.round_trip.unwrap_or(latest);
        let off = smooth.abs_diff(latest);
        self.deviation = self.deviation.mul_f64(0.75) + off.mul_f64(0.25);
        self.round_trip = Some(smooth.mul_f64(0.875) + latest.mul_f64(0.125));
    }

    fn finish_file(&mut self, now: &mut Now<'_>) {
        self.rto_at = Duration::MAX;
        if let Some((_, _, pause)) = self.config.files {
            let pause = now.random.exponential(pause.as_secs_f64());
            now.wake(now.time + Duration::from_secs_f64(pause), NEXT_FILE);
        }
    }
}

impl Flow for TcpFlow {
    fn start(&mut self, now: &mut Now<'_>) {
        if self.config.files.is_some() {
            self.finish_file(now);
        } else {
            self.begin_file(now);
        }
    }

    fn timer(&mut self, now: &mut Now<'_>, timer: Timer) {
        if timer == NEXT_FILE {
            if now.time < self.config.until {
                self.begin_file(now);
            }
            return;
        }
        if self.rto_at == Duration::MAX {
            return;
        }
        if now.time < self.rto_at {
            now.wake(self.rto_at, RETRANSMIT);
            return;
        }
        self.rto_at = Duration::MAX;
        let all: Vec<u64> = self.outstanding.keys().copied().collect();
        self.outstanding.clear();
        self.lost.extend(all);
        self.shrink(now.time);
        self.window = 2.0;
        self.recover = self.next;
        self.fill(now);
    }

    fn arrive(&mut self, now: &mut Now<'_>, content: Content, trace: &mut Trace) {
        match content {
            Content::Tcp(segment) => {
                trace.useful(now.time, PAYLOAD);
                now.reply(ACK, Content::TcpAck(segment));
            }
            Content::TcpAck(segment) => self.acknowledged(now, segment),
            _ => {}
        }
    }

    fn finish(&mut self, _trace: &mut Trace) {}
}
