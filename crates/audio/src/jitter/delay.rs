//! How late packets come, and how long to wait for them.
//!
//! Everything is told by *transit*: arrival minus media time, in samples of 48 kHz. Its zero means
//! nothing, its differences are delays. Order does not matter: a packet that was overtaken has a
//! long transit, and is waited for when there are enough of its kind.

use std::collections::VecDeque;

use super::losses::Losses;

/// Packets whose transit counts: 20 s of the usual ones, and no more than came in that time.
const WINDOW_PACKETS: usize = 1_000;
const WINDOW: i64 = 960_000;
/// What has not happened for so long, 5 s, was an event, like a queue that had to empty, and no jitter: it
/// is not waited for much longer.
const LATELY_SPAN: i64 = 240_000;
/// By chance, jitter is seen this much more rarely in that time than over the whole window; what counts
/// for this many packets even when it was not seen at all.
const BY_CHANCE: i64 = 2;
const AN_EVENT: i64 = 3;
/// Until so many have been seen, each one changes what is known.
const FEW_PACKETS: usize = 100;
/// Delay that a packet in time is worth, times the share of such packets: 50 ms for one in a hundred.
/// The E-model (ITU-T G.107) takes a hundredth lost at random for as bad as 30 ms beyond 180 ms from
/// mouth to ear, and for worse than 150 ms below.
const WORTH: i64 = 240_000;
/// The delay stays as it is unless another is better by this, or by a part of how far arrivals lie
/// apart: each change is heard.
const GAIN: i64 = 480;
const GAIN_PART: i64 = 8;
/// At most this share of packets comes late. Beyond it the network is what it is.
const LATE: f32 = 0.1;
/// Share of packets that are to be in time to repair the ones before: it is rarer that they are
/// needed.
const REPAIRING: f32 = 0.9;
/// On top of what packets need, for the threads on the way to the speaker.
const MARGIN: i64 = 120;
/// Least time between the fastest arrival and playing: packets and blocks meet on a grid of 10 ms.
const LEAST: i64 = 480;
/// Until this many packets have been seen, at least [`START`] is waited.
const START_PACKETS: usize = 25;
const START: i64 = 1_920;
/// The fastest packet is looked for in this many buckets of [`BUCKET`]: 2 s, a hundred packets.
/// Much longer, and a sender that loses time, as one does whose sound server drops what nobody
/// fetches, would be measured by packets of long ago: everything that comes would seem too late
/// to be worth waiting for.
const BUCKETS: usize = 10;
const BUCKET: i64 = 9_600;
/// Packets in a row that all come late because the route has become longer.
const LATELY: usize = 5;
/// Packets that come within 2 ms come at once.
const AT_ONCE: i64 = 96;
/// Never wait longer: at 600 ms people talk over each other, and a gap is the lesser evil.
const MOST: i64 = 28_800;

/// A packet and those that came at once with it.
#[derive(Debug, Clone, Copy)]
struct Arrival {
    at: i64,
    transit: i64,
    others: usize,
}

/// Delay statistics of one stream.
#[derive(Debug, Clone)]
pub(super) struct DelayEstimator {
    /// The last packets, the newest last.
    recent: VecDeque<Arrival>,
    /// How many others came at once with them.
    at_once: usize,
    /// Their transits, in the order that finding delays leaves behind.
    sorting: Vec<i64>,
    /// Those of the last [`LATELY_SPAN`].
    lately: Vec<i64>,
    /// Shortest transit per bucket, the newest last: start of the bucket, transit.
    fastest: VecDeque<(i64, i64)>,
    in_time: i64,
    repairing: i64,
    seen: usize,
    jitter: f64,
    last_transit: Option<i64>,
    pub(super) losses: Losses,
}

impl DelayEstimator {
    pub(super) fn new() -> Self {
        Self {
            recent: VecDeque::with_capacity(WINDOW_PACKETS + 1),
            sorting: Vec::with_capacity(WINDOW_PACKETS + 1),
            lately: Vec::with_capacity(WINDOW_PACKETS + 1),
            fastest: VecDeque::with_capacity(BUCKETS + 1),
            in_time: 0,
            at_once: 0,
            repairing: 0,
            seen: 0,
            jitter: 0.0,
            last_transit: None,
            losses: Losses::default(),
        }
    }

    /// A packet with this media time has come in.
    pub(super) fn observe(&mut self, arrival: i64, timestamp: i64) {
        let transit = arrival - timestamp;
        if let Some(last) = self.last_transit {
            self.jitter += ((transit - last).abs() as f64 - self.jitter) / 16.0;
        }
        self.last_transit = Some(transit);
        self.seen = self.seen.saturating_add(1);
        self.observe_fastest(arrival, transit);
        // Packets that come at once, after one that held them up, tell of one delay: the longest.
        match self.recent.back_mut() {
            Some(last) if arrival - last.at < AT_ONCE && transit <= last.transit => {
                last.others += 1;
                self.at_once += 1;
                return;
            }
            _ => self.recent.push_back(Arrival {
                at: arrival,
                transit,
                others: 0,
            }),
        }
        while let Some(first) = self.recent.front()
            && (self.recent.len() > WINDOW_PACKETS || first.at < arrival - WINDOW)
        {
            self.at_once -= first.others;
            self.recent.pop_front();
        }
        // One more packet in time changes next to nothing.
        if transit > self.in_time || self.seen < FEW_PACKETS || self.seen.is_multiple_of(8) {
            self.find_delays();
        }
    }

    fn observe_fastest(&mut self, arrival: i64, transit: i64) {
        match self.fastest.back_mut() {
            Some((start, fastest)) if arrival - *start < BUCKET => *fastest = transit.min(*fastest),
            _ => self.fastest.push_back((arrival, transit)),
        }
        while self.fastest.len() > BUCKETS {
            self.fastest.pop_front();
        }
    }

    /// The shortest transit of the last 2 s.
    pub(super) fn fastest(&self) -> i64 {
        let transits = self.fastest.iter().map(|(_, transit)| *transit);
        transits.min().unwrap_or(0)
    }

    /// What even the fastest of the last packets needed: when that is more than expected, the route
    /// has become longer.
    fn lately(&self) -> i64 {
        let transits = self.recent.iter().rev().take(LATELY);
        transits.map(|it| it.transit).min().unwrap_or(0)
    }

    /// Finds the delay at which waiting longer costs as much as it saves.
    fn find_delays(&mut self) {
        self.sorting.clear();
        self.sorting
            .extend(self.recent.iter().map(|arrival| arrival.transit));
        let Some(last) = self.sorting.len().checked_sub(1) else {
            return;
        };
        let packets_lately = self.find_lately();
        let gain = GAIN.max(self.spread() / GAIN_PART);
        let mut waited_for = last - (LATE * last as f32) as usize;
        let least = *self.sorting.select_nth_unstable(waited_for).1;
        let least_lately = {
            let rank = self.lately.len() - (LATE * self.lately.len() as f32) as usize;
            self.lately.get(rank.saturating_sub(1)).copied()
        };
        if let Some(least_lately) = least_lately.filter(|it| *it < least) {
            self.sorting.sort_unstable();
            waited_for = self.sorting.partition_point(|it| *it < least_lately);
        }
        let rank = ((REPAIRING * last as f32).ceil() as usize).min(waited_for);
        let (sure, late) = self.sorting.split_at_mut(waited_for);
        late.sort_unstable();
        self.repairing = match sure.get(rank) {
            Some(_) => *sure.select_nth_unstable(rank).1,
            None => late[0],
        };
        // Those that came at once with another that was waited for are in time with it.
        let packets = (last + 1 + self.at_once) as i64;
        let later = |transits: &[i64], delay: i64| {
            (transits.len() - transits.partition_point(|transit| *transit <= delay)) as i64
        };
        let cost = |delay: i64| {
            let lately = BY_CHANCE * later(&self.lately, delay) + AN_EVENT;
            let late = later(late, delay) * WORTH / packets;
            delay + late.min(lately * WORTH / packets_lately)
        };
        let costs = late.iter().map(|delay| (cost(*delay), *delay));
        let (least, best) = costs.min().unwrap_or_default();
        if self.in_time < late[0] || cost(self.in_time) > least + gain {
            self.in_time = best;
        }
    }

    /// Puts the transits of the last [`LATELY_SPAN`] in order. Gives how many packets came in it.
    fn find_lately(&mut self) -> i64 {
        let since = self.recent.back().map_or(0, |newest| newest.at) - LATELY_SPAN;
        let lately = self.recent.iter().rev().take_while(|it| it.at >= since);
        let mut packets = 0;
        self.lately.clear();
        for arrival in lately {
            packets += 1 + arrival.others as i64;
            self.lately.push(arrival.transit);
        }
        self.lately.sort_unstable();
        packets.max(1)
    }

    /// The transit at which to play, for packets of this duration.
    pub(super) fn target(&self, packet: i64) -> i64 {
        let repairs = self.losses.packets_to_wait_for() * packet;
        let in_time = self.in_time.max(self.lately());
        let mut target = (in_time + MARGIN).max(self.fastest() + LEAST);
        if repairs > 0 {
            target = target.max(self.repairing + repairs + MARGIN);
        }
        if self.seen < START_PACKETS {
            target = target.max(self.fastest() + START);
        }
        target.min(self.fastest() + MOST)
    }

    /// How far the arrivals that are waited for lie apart.
    pub(super) fn spread(&self) -> i64 {
        self.in_time - self.fastest()
    }

    /// Whether a packet fits to what has been seen, or the sender's clock must have jumped.
    pub(super) fn is_plausible(&self, arrival: i64, timestamp: i64, tolerance: i64) -> bool {
        self.recent.is_empty() || (arrival - timestamp - self.fastest()).abs() <= tolerance
    }

    /// Interarrival jitter in samples (RFC 3550 section 6.4.1).
    pub(super) fn jitter(&self) -> f64 {
        self.jitter
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl DelayEstimator {
        /// How long after the fastest arrival sound is played that is on target.
        fn target_delay(&self, packet: i64) -> i64 {
            self.target(packet) - self.fastest()
        }
    }

    const PACKET: i64 = 960;
    const BASE: i64 = 1_000_000;

    /// Feeds packets every 20 ms, each late by what `late` says, in samples.
    fn fed(count: i64, late: impl Fn(i64) -> i64) -> DelayEstimator {
        let mut estimator = DelayEstimator::new();
        for number in 0..count {
            estimator.observe(BASE + number * PACKET + late(number), number * PACKET);
            estimator.losses.played();
        }
        estimator
    }

    #[test]
    fn an_even_stream_needs_a_block() {
        assert_eq!(fed(500, |_| 0).target_delay(PACKET), LEAST);
    }

    #[test]
    fn the_beginning_is_careful() {
        assert_eq!(fed(5, |_| 0).target_delay(PACKET), START);
    }

    #[test]
    fn rare_stragglers_are_not_waited_for_and_frequent_ones_are() {
        let rare = fed(2_000, |n| if n % 100 == 7 { 4_000 } else { 0 });
        assert_eq!(rare.target_delay(PACKET), LEAST);
        let frequent = fed(2_000, |n| if n % 20 == 7 { 4_000 } else { 0 });
        assert_eq!(frequent.target_delay(PACKET), 4_000 + MARGIN);
    }

    #[test]
    fn a_queue_that_has_emptied_is_not_waited_for_long() {
        // Three seconds in which a queue of 300 ms builds up and stays.
        let queue = |n: i64| match n - 1_000 {
            0..30 => (n - 1_000) * 480,
            30..150 => 14_400,
            _ => 0,
        };
        let delay = |count| fed(count, queue).target(PACKET) - BASE;
        assert_eq!(delay(1_120), 14_400 + MARGIN);
        assert!(delay(1_150 + 200) > 14_000, "it may come again");
        assert!(delay(1_150 + 300) <= 2 * LEAST);
    }

    #[test]
    fn overtaken_packets_are_waited_for() {
        // Every twentieth packet comes after the two that follow it.
        let mut estimator = DelayEstimator::new();
        for number in 0..1_000 {
            let order = match number % 20 {
                7 => number + 1,
                8 => number + 1,
                9 => number - 2,
                _ => number,
            };
            estimator.observe(BASE + number * PACKET, order * PACKET);
        }
        assert_eq!(estimator.target(PACKET), BASE + 2 * PACKET + MARGIN);
    }

    #[test]
    fn a_longer_route_is_followed_at_once_and_a_shorter_one_after_a_while() {
        let longer = |n: i64| if n < 1_000 { 0 } else { 9_600 };
        assert!(fed(1_015, longer).target(PACKET) >= BASE + 9_600);
        assert_eq!(fed(1_510, longer).target_delay(PACKET), LEAST);
        let shorter = fed(2_010, |n| if n < 1_000 { 9_600 } else { 0 });
        assert_eq!(shorter.target(PACKET), BASE + LEAST);
    }

    #[test]
    fn losses_make_room_for_repair_data() {
        let mut lossy = fed(500, |_| 0);
        for _ in 0..20 {
            (0..9).for_each(|_| lossy.losses.played());
            lossy.losses.missing(1);
            lossy.losses.repair_data(true, false);
        }
        assert_eq!(lossy.target_delay(PACKET), PACKET + MARGIN);
    }

    #[test]
    fn jitter_follows_rfc_3550() {
        let estimator = fed(1_000, |n| if n % 2 == 0 { 0 } else { 480 });
        assert!((estimator.jitter() - 480.0).abs() < 1.0);
    }
}
