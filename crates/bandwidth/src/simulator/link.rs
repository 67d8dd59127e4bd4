//! One direction of the path: capacity over time, a drop-tail queue, jitter, loss.

use std::collections::VecDeque;
use std::time::Duration;

use super::random::Random;
use super::world::Packet;

/// The longest packet, in bytes: a queue always holds two.
const MTU: f64 = 1500.0;

/// How packets are delayed beside the queue. They stay in order, as on Wi-Fi and mobile networks.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Jitter {
    /// Not at all.
    #[default]
    None,
    /// Later by the absolute value of a normal distribution with a third of this as its standard
    /// deviation, at most this (RFC 8868 section 4.5.1: truncated Gaussian).
    Normal(Duration),
    /// Evenly, earlier or later by up to this.
    Uniform(Duration),
    /// Nearly normal with this standard deviation, the sum of three random numbers: as
    /// `tests/lab/network.mjs` has it.
    Bell(Duration),
}

/// What gets lost after the queue.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum LossModel {
    /// Nothing.
    #[default]
    None,
    /// Each packet with this probability.
    Random(f64),
    /// In bursts (Gilbert): this share of all packets, so many in a row on average.
    Bursty {
        /// Share of all packets.
        share: f64,
        /// Mean length of a burst, in packets.
        burst: f64,
    },
    /// Each packet with this probability, from one time to another.
    During {
        /// Probability.
        share: f64,
        /// Beginning.
        from: Duration,
        /// End.
        to: Duration,
    },
}

/// How a link is.
#[derive(Debug, Clone, PartialEq)]
pub struct LinkConfig {
    /// Bit/s from a time on; the first is at 0.
    pub capacity: Vec<(Duration, f64)>,
    /// Longest wait in the queue, at the capacity of the moment.
    pub queue: Duration,
    /// Jitter.
    pub jitter: Jitter,
    /// Loss.
    pub loss: LossModel,
}

#[derive(Debug)]
pub(super) struct Link {
    config: LinkConfig,
    queue: VecDeque<(Duration, Packet)>,
    queued_bytes: usize,
    busy: bool,
    in_burst: bool,
}

impl Link {
    pub(super) fn new(config: LinkConfig) -> Self {
        Self {
            config,
            queue: VecDeque::new(),
            queued_bytes: 0,
            busy: false,
            in_burst: false,
        }
    }

    /// `false` when the queue is full and the packet is dropped.
    pub(super) fn enqueue(&mut self, now: Duration, packet: Packet) -> bool {
        let most = self.capacity(now) / 8.0 * self.config.queue.as_secs_f64();
        if (self.queued_bytes + packet.size) as f64 > most.max(2.0 * MTU) {
            return false;
        }
        self.queued_bytes += packet.size;
        self.queue.push_back((now, packet));
        true
    }

    /// Begins with the next packet, if there is one and none is being sent. Gives the time when
    /// it will be through.
    pub(super) fn begin(&mut self, now: Duration) -> Option<Duration> {
        if self.busy {
            return None;
        }
        let (_, packet) = self.queue.front()?;
        self.busy = true;
        Some(self.through_at(now, packet.size))
    }

    /// The packet that is through, and how long it waited.
    pub(super) fn finish(&mut self, now: Duration) -> Option<(Packet, Duration)> {
        self.busy = false;
        let (since, packet) = self.queue.pop_front()?;
        self.queued_bytes -= packet.size;
        Some((packet, now.saturating_sub(since)))
    }

    /// Whether the packet gets lost after the queue.
    pub(super) fn loses(&mut self, now: Duration, random: &mut Random) -> bool {
        match self.config.loss {
            LossModel::None => false,
            LossModel::Random(share) => random.chance(share),
            LossModel::During { share, from, to } => {
                (from..to).contains(&now) && random.chance(share)
            }
            LossModel::Bursty { share, burst } => {
                let leave = 1.0 / burst.max(1.0);
                let enter = leave * share / (1.0 - share);
                self.in_burst = random.chance(if self.in_burst { 1.0 - leave } else { enter });
                self.in_burst
            }
        }
    }

    /// What jitter adds to a propagation delay.
    pub(super) fn delay(&self, propagation: Duration, random: &mut Random) -> Duration {
        match self.config.jitter {
            Jitter::None => propagation,
            Jitter::Normal(most) => {
                let late = random.normal().abs() / 3.0;
                propagation + most.mul_f64(late.min(1.0))
            }
            Jitter::Uniform(most) => {
                let shift = random.between(-1.0, 1.0);
                let delay = propagation.as_secs_f64() + most.as_secs_f64() * shift;
                Duration::from_secs_f64(delay.max(0.0))
            }
            Jitter::Bell(deviation) => {
                let sum: f64 = (0..3).map(|_| random.unit()).sum();
                let delay = propagation.as_secs_f64() + deviation.as_secs_f64() * (2.0 * sum - 3.0);
                Duration::from_secs_f64(delay.max(0.0))
            }
        }
    }

    fn capacity(&self, now: Duration) -> f64 {
        let steps = self.config.capacity.iter();
        let current = steps.take_while(|(from, _)| *from <= now).last();
        current.map_or(0.0, |(_, capacity)| *capacity)
    }

    fn through_at(&self, now: Duration, size: usize) -> Duration {
        let mut bits = size as f64 * 8.0;
        let mut at = now;
        loop {
            let capacity = self.capacity(at).max(1.0);
            let through = at + Duration::from_secs_f64(bits / capacity);
            let mut changes = self.config.capacity.iter().map(|(from, _)| *from);
            let Some(change) = changes.find(|change| *change > at && *change < through) else {
                return through;
            };
            bits -= (change - at).as_secs_f64() * capacity;
            at = change;
        }
    }
}

impl LinkConfig {
    /// Bits that pass between two times at most.
    pub fn bits(&self, from: Duration, to: Duration) -> f64 {
        let starts = self.capacity.iter().map(|(at, _)| *at);
        let ends = starts.skip(1).chain([Duration::MAX]);
        let pieces = self.capacity.iter().zip(ends);
        let bits = pieces.map(|((begin, capacity), end)| {
            let time = end.min(to).saturating_sub((*begin).max(from));
            time.as_secs_f64() * capacity
        });
        bits.sum()
    }
}
