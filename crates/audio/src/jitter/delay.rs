//! How late packets come, and how long to wait for them.

use std::collections::VecDeque;

/// Width of a histogram bin: 5 ms in samples of 48 kHz.
const BIN: i64 = 240;
/// Bins of the histogram: 1 s. Later packets count as that late.
const BINS: usize = 200;
/// Share of packets that are to be in time. The rest is repaired or concealed: waiting for it
/// too would delay everything that everybody hears.
const QUANTILE: f32 = 0.96;
/// How long a packet counts: after 200 packets, 4 s, to about a third.
const FORGET: f32 = 0.995;
/// On top of the quantile, for the 10 ms steps of playout.
const MARGIN: i64 = 480;
/// Until this many packets have been seen, at least [`START_TARGET`] is waited.
const START_PACKETS: u32 = 25;
const START_TARGET: i64 = 1_440;
/// Never wait longer: at 600 ms people talk over each other, and a gap is the lesser evil.
const MAX_TARGET: i64 = 28_800;
/// Recent losses above this share make it worth waiting for the next packet's repair data.
const NOTICEABLE_LOSS: f32 = 0.005;
/// The fastest packet is looked for in this many buckets of [`BUCKET`]: 2 s, a hundred packets.
/// Much longer, and a sender that loses time, as one does whose sound server drops what nobody
/// fetches, would be measured by packets of long ago: everything that comes would seem too late
/// to be worth waiting for, and be thrown away.
const BUCKETS: usize = 10;
const BUCKET: i64 = 9_600;

/// Delay statistics of one stream. All times are in samples of 48 kHz.
#[derive(Debug, Clone)]
pub(super) struct DelayEstimator {
    histogram: [f32; BINS],
    /// The transit that the histogram counts from.
    origin: i64,
    packets: u32,
    loss: f32,
    /// Smallest transit per bucket, the newest last: (start of the bucket, transit).
    fastest: VecDeque<(i64, i64)>,
    jitter: f64,
    last_transit: Option<i64>,
}

impl DelayEstimator {
    pub(super) fn new() -> Self {
        Self {
            histogram: [0.0; BINS],
            origin: 0,
            packets: 0,
            loss: 0.0,
            fastest: VecDeque::with_capacity(BUCKETS + 1),
            jitter: 0.0,
            last_transit: None,
        }
    }

    /// A packet with this media time has come in. Its order does not matter: its own media time
    /// says when it should have come.
    pub(super) fn observe(&mut self, arrival: i64, timestamp: i64) {
        let transit = arrival - timestamp;
        self.observe_jitter(transit);
        self.observe_fastest(arrival, transit);
        let fastest = self.fastest_transit().unwrap_or(transit);
        self.move_origin(fastest);
        let late = transit - fastest;
        let bin = (late / BIN).clamp(0, BINS as i64 - 1) as usize;
        self.packets = self.packets.saturating_add(1);
        // At first every packet weighs the same, later the last ones weigh most.
        let forget = FORGET.min(1.0 - 1.0 / self.packets as f32);
        for share in &mut self.histogram {
            *share *= forget;
        }
        self.histogram[bin] += 1.0 - forget;
    }

    /// A packet was needed: whether it was lost.
    pub(super) fn observe_loss(&mut self, lost: bool) {
        self.loss = FORGET * self.loss + (1.0 - FORGET) * f32::from(u8::from(lost));
    }

    /// How long after the fastest possible arrival a sample should be played. `packet` is the
    /// duration of a packet.
    pub(super) fn target(&self, packet: i64) -> i64 {
        let mut missing = QUANTILE * self.histogram.iter().sum::<f32>();
        let bins = self.histogram.iter().take_while(|share| {
            missing -= **share;
            missing > 0.0
        });
        let mut target = (bins.count() as i64 + 1) * BIN + MARGIN;
        if self.loss > NOTICEABLE_LOSS {
            target = target.max(packet + BIN + MARGIN);
        }
        if self.packets < START_PACKETS {
            target = target.max(START_TARGET);
        }
        target.min(MAX_TARGET)
    }

    /// How long after the fastest possible arrival the sample with this media time is at `now`.
    pub(super) fn lateness(&self, now: i64, timestamp: i64) -> i64 {
        now - timestamp - self.fastest_transit().unwrap_or(now - timestamp)
    }

    /// Whether a packet fits to what has been seen, or the sender's clock must have jumped.
    pub(super) fn is_plausible(&self, arrival: i64, timestamp: i64, tolerance: i64) -> bool {
        self.fastest_transit()
            .is_none_or(|fastest| (arrival - timestamp - fastest).abs() <= tolerance)
    }

    /// Interarrival jitter in samples (RFC 3550 section 6.4.1).
    pub(super) fn jitter(&self) -> f64 {
        self.jitter
    }

    /// The fastest packet changes when the route does: what was late compared to the old one is
    /// less late, or later, compared to the new one.
    fn move_origin(&mut self, fastest: i64) {
        let bins = (fastest - self.origin) / BIN;
        if bins == 0 {
            return;
        }
        self.origin += bins * BIN;
        let mut moved = [0.0; BINS];
        for (bin, share) in self.histogram.iter().enumerate() {
            let bin = (bin as i64).saturating_sub(bins).clamp(0, BINS as i64 - 1);
            moved[bin as usize] += share;
        }
        self.histogram = moved;
    }

    fn fastest_transit(&self) -> Option<i64> {
        self.fastest.iter().map(|(_, transit)| *transit).min()
    }

    fn observe_jitter(&mut self, transit: i64) {
        if let Some(last) = self.last_transit {
            self.jitter += ((transit - last).abs() as f64 - self.jitter) / 16.0;
        }
        self.last_transit = Some(transit);
    }

    fn observe_fastest(&mut self, arrival: i64, transit: i64) {
        match self.fastest.back_mut() {
            Some((start, fastest)) if arrival - *start < BUCKET => *fastest = transit.min(*fastest),
            _ => self.fastest.push_back((arrival, transit)),
        }
        let too_old = arrival - BUCKETS as i64 * BUCKET;
        while self.fastest.len() > BUCKETS
            || self
                .fastest
                .front()
                .is_some_and(|(start, _)| *start < too_old)
        {
            self.fastest.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: i64 = 960;

    /// Feeds packets every 20 ms, each late by what `late` says, in samples.
    fn fed(count: i64, late: impl Fn(i64) -> i64) -> DelayEstimator {
        let mut estimator = DelayEstimator::new();
        for number in 0..count {
            estimator.observe(1_000_000 + number * PACKET + late(number), number * PACKET);
            estimator.observe_loss(false);
        }
        estimator
    }

    #[test]
    fn an_even_stream_needs_15_ms() {
        assert_eq!(fed(500, |_| 0).target(PACKET), 720);
    }

    #[test]
    fn the_beginning_is_careful() {
        assert_eq!(fed(5, |_| 0).target(PACKET), START_TARGET);
    }

    #[test]
    fn rare_stragglers_are_not_waited_for_and_frequent_ones_are() {
        let rare = fed(2_000, |n| if n % 50 == 7 { 4_000 } else { 0 });
        assert_eq!(rare.target(PACKET), 720);
        let frequent = fed(2_000, |n| if n % 10 == 7 { 4_000 } else { 0 });
        assert!(
            (4_000..5_500).contains(&frequent.target(PACKET)),
            "{}",
            frequent.target(PACKET)
        );
    }

    #[test]
    fn a_longer_route_becomes_the_new_zero_after_a_while() {
        let moved = fed(2_000, |n| if n < 1_000 { 0 } else { 9_600 });
        assert_eq!(moved.lateness(1_000_000 + 9_600, 0), 0);
        assert_eq!(moved.target(PACKET), 720);
    }

    #[test]
    fn losses_make_room_for_repair_data() {
        let mut lossy = fed(500, |_| 0);
        for number in 0..200 {
            lossy.observe_loss(number % 20 == 0);
        }
        assert!(lossy.target(PACKET) >= PACKET + MARGIN);
    }

    #[test]
    fn jitter_follows_rfc_3550() {
        let estimator = fed(1_000, |n| if n % 2 == 0 { 0 } else { 480 });
        assert!((estimator.jitter() - 480.0).abs() < 1.0);
    }
}
