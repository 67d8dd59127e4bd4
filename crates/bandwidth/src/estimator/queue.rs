//! How long packets wait in the bottleneck's queue: their delay above the least delay seen.
//!
//! The two clocks are not aligned, so only differences count. The least of the last
//! [`BASE_WINDOW`] is taken for the delay of the empty path, which also follows drifting clocks;
//! the least of a short time for the queue, since what delays single packets (jitter) does not
//! delay all of them.

use std::collections::VecDeque;

/// Seconds over which the least delay counts as that of the empty path. With a route that has
/// become longer, the queue seems full for as long.
const BASE_WINDOW: usize = 30;
/// Time over which the least delay counts as the queue's.
const STANDING_WINDOW: f64 = 150.0;
/// Fewer packets do not make up a window.
const STANDING_PACKETS: usize = 5;
/// The same for the very last moment, which is quicker and more easily deceived.
const LATEST_WINDOW: f64 = 40.0;
const MAX_PACKETS: usize = 512;
/// Time over which the fullest queue is remembered, in ms.
const PEAK_WINDOW: f64 = 10_000.0;

/// All times in ms.
#[derive(Debug, Default)]
pub(super) struct QueueDelay {
    /// Least delay of each second, the newest last.
    base: VecDeque<(u64, f64)>,
    /// Arrival and delay.
    recent: VecDeque<(f64, f64)>,
    /// Standing queue at a time, falling: the first is the peak.
    peaks: VecDeque<(f64, f64)>,
    jitter: f64,
    standing: f64,
}

impl QueueDelay {
    /// A packet that was sent at `sent` and arrived at `arrival`, both in ms of their own clocks.
    pub(super) fn arrived(&mut self, sent: f64, arrival: f64) {
        let delay = arrival - sent;
        if let Some((_, last)) = self.recent.back() {
            // RFC 3550 section 6.4.1.
            self.jitter += ((delay - last).abs().min(1000.0) - self.jitter) / 16.0;
        }
        let second = (arrival / 1000.0).max(0.0) as u64;
        match self.base.back_mut() {
            Some((last, least)) if *last >= second => *least = least.min(delay),
            _ => self.base.push_back((second, delay)),
        }
        while self.base.len() > BASE_WINDOW {
            self.base.pop_front();
        }
        self.recent.push_back((arrival, delay));
        while let Some((at, _)) = self.recent.front() {
            let old = arrival - at > STANDING_WINDOW && self.recent.len() > STANDING_PACKETS;
            if !old && self.recent.len() <= MAX_PACKETS {
                break;
            }
            self.recent.pop_front();
        }
        let least = self.recent.iter().map(|(_, delay)| *delay);
        self.standing = least.fold(f64::INFINITY, f64::min) - self.base_delay();
        self.remember_peak(arrival);
    }

    /// The clocks have jumped, or the path is another one.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// The standing queue.
    pub(super) fn standing(&self) -> f64 {
        self.standing
    }

    /// The queue of the last so many packets, and of all in [`LATEST_WINDOW`].
    pub(super) fn latest(&self, packets: usize) -> f64 {
        let Some((newest, _)) = self.recent.back() else {
            return 0.0;
        };
        let last = self.recent.iter().rev().enumerate();
        let last =
            last.take_while(|(index, (at, _))| *index < packets || newest - at <= LATEST_WINDOW);
        let least = last.map(|(_, (_, delay))| *delay);
        least.fold(f64::INFINITY, f64::min) - self.base_delay()
    }

    /// The fullest it was lately.
    pub(super) fn peak(&self) -> f64 {
        self.peaks.front().map_or(0.0, |(_, standing)| *standing)
    }

    /// Mean difference of delay between packets.
    pub(super) fn jitter(&self) -> f64 {
        self.jitter
    }

    fn base_delay(&self) -> f64 {
        let delays = self.base.iter().map(|(_, delay)| *delay);
        delays.fold(f64::INFINITY, f64::min)
    }

    fn remember_peak(&mut self, arrival: f64) {
        while self
            .peaks
            .back()
            .is_some_and(|(_, standing)| *standing <= self.standing)
        {
            self.peaks.pop_back();
        }
        self.peaks.push_back((arrival, self.standing));
        while self.peaks.len() > MAX_PACKETS
            || self
                .peaks
                .front()
                .is_some_and(|(at, _)| arrival - at > PEAK_WINDOW)
        {
            self.peaks.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_is_what_all_packets_wait() {
        let mut queue = QueueDelay::default();
        let mut sent = 0.0;
        let mut run = |queue: &mut QueueDelay, packets: u32, delay: fn(u32) -> f64| {
            for index in 0..packets {
                sent += 10.0;
                queue.arrived(sent, sent + 1000.0 + delay(index));
            }
        };
        run(&mut queue, 100, |_| 0.0);
        assert!(queue.standing().abs() < 1e-6);
        // Jitter: every other packet is late.
        run(&mut queue, 100, |index| f64::from(index % 2) * 20.0);
        assert!(queue.standing().abs() < 1e-6);
        assert!(queue.jitter() > 15.0);
        run(&mut queue, 100, |_| 80.0);
        assert!((queue.standing() - 80.0).abs() < 1e-6);
        run(&mut queue, 100, |_| 5.0);
        assert!((queue.standing() - 5.0).abs() < 1e-6);
        assert!((queue.peak() - 80.0).abs() < 1e-6);
        // A longer route is taken for a queue until the shorter one is forgotten.
        run(&mut queue, 4000, |_| 60.0);
        assert!(queue.standing().abs() < 1e-6);
    }
}
