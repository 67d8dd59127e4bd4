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
/// Time over which the least delay counts as the queue's, and its longest: where single packets are
/// late by more, and those behind them too, it takes longer until one is in time.
const STANDING_WINDOW: f64 = 150.0;
const MAX_STANDING_WINDOW: f64 = 600.0;
/// Longer by this for each ms of swing beyond [`ORDINARY_SWING`].
const WINDOW_PER_SWING: f64 = 6.0;
/// How far frames, cross traffic and a little jitter move delay up and down, in ms.
const ORDINARY_SWING: f64 = 35.0;
/// Fewer packets do not make up a window.
const STANDING_PACKETS: usize = 5;
/// The same for the very last moment, which is quicker and more easily deceived.
const LATEST_WINDOW: f64 = 40.0;
const MAX_PACKETS: usize = 512;
/// Jitter is how far delay goes up and down within this time, in ms: a queue of our own making
/// takes longer to fill.
const SWING_TIME: f64 = 150.0;
/// The median of so many such times, 6 s, is not moved by a queue that fills once.
const SWINGS: usize = 40;
/// Fewer packets do not show the swing.
const SWING_PACKETS: usize = 4;
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
    swing: Swing,
    /// What a packet of ours takes at the bottleneck.
    packet: f64,
    standing: f64,
}

/// How far delay goes up and down in a short time, in ms.
#[derive(Debug, Default)]
struct Swing {
    began: f64,
    packets: usize,
    least: f64,
    most: f64,
    /// Of the last so many times.
    of_late: VecDeque<f64>,
    median: f64,
}

impl Swing {
    fn arrived(&mut self, arrival: f64, delay: f64) {
        if self.packets > 0 && arrival - self.began > SWING_TIME {
            if self.packets >= SWING_PACKETS {
                self.note(self.most - self.least);
            }
            self.packets = 0;
        }
        if self.packets == 0 {
            (self.began, self.least, self.most) = (arrival, delay, delay);
        }
        self.packets += 1;
        self.least = self.least.min(delay);
        self.most = self.most.max(delay);
    }

    fn note(&mut self, swing: f64) {
        self.of_late.push_back(swing);
        if self.of_late.len() > SWINGS {
            self.of_late.pop_front();
        }
        let mut sorted: Vec<f64> = self.of_late.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        self.median = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
    }
}

impl QueueDelay {
    /// A packet that was sent at `sent` and arrived at `arrival`, both in ms of their own clocks.
    pub(super) fn arrived(&mut self, sent: f64, arrival: f64) {
        let delay = arrival - sent;
        if let Some((_, last)) = self.recent.back() {
            // RFC 3550 section 6.4.1.
            self.jitter += ((delay - last).abs().min(1000.0) - self.jitter) / 16.0;
        }
        self.swing.arrived(arrival, delay);
        let second = (arrival / 1000.0).max(0.0) as u64;
        match self.base.back_mut() {
            Some((last, least)) if *last >= second => *least = least.min(delay),
            _ => self.base.push_back((second, delay)),
        }
        while self.base.len() > BASE_WINDOW {
            self.base.pop_front();
        }
        self.recent.push_back((arrival, delay));
        let window = STANDING_WINDOW + WINDOW_PER_SWING * self.jitter_swing();
        let window = window.min(MAX_STANDING_WINDOW);
        while let Some((at, _)) = self.recent.front() {
            let old = arrival - at > window && self.recent.len() > STANDING_PACKETS;
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

    /// How far jitter moves delay up and down within 150 ms, in ms: the median of the last 6 s, less
    /// what is ordinary and what a packet of ours takes.
    pub(super) fn jitter_swing(&self) -> f64 {
        (self.swing.median - ORDINARY_SWING - self.packet).max(0.0)
    }

    /// A packet of ours takes so long at the bottleneck, in ms: so much it moves delay by itself.
    pub(super) fn set_packet_time(&mut self, packet: f64) {
        self.packet = packet;
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

    #[test]
    fn many_packets_do_not_hide_jitter_and_a_filling_queue_is_none() {
        let run = |delay: fn(u32) -> f64| {
            let mut queue = QueueDelay::default();
            for index in 0..1000 {
                let sent = f64::from(index) * 5.0;
                queue.arrived(sent, sent + 100.0 + delay(index));
            }
            queue
        };
        // Every 100 ms a packet is 80 ms late, and those behind it come together with it.
        let held = run(|index| 80.0 - f64::from((index % 20).min(16)) * 5.0);
        assert!(held.jitter_swing() > 40.0, "{}", held.jitter_swing());
        assert!(held.jitter() < 12.0, "{}", held.jitter());
        // The queue of a path that is used by a fifth too much.
        let filling = run(f64::from);
        assert!(filling.jitter_swing() < 1e-6);
        assert!(filling.standing() > 900.0);
    }
}
