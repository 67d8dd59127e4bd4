//! Tells loss that congestion causes from loss that the path has by itself.
//!
//! Where a queue fills before packets are lost, the delay has said so already. Loss without a
//! queue is put to the test: the rate is cut by what is lost. If that helps, the loss came of too
//! high a rate (a short queue, a policer) and the cut stays. If as much is lost as before, it has
//! nothing to do with us, as on bad Wi-Fi: it is taken for the path's own from then on, and the
//! rate is restored.

use std::time::{Duration, Instant};

/// Packets and time that make an observation.
const MIN_PACKETS: f64 = 30.0;
const MIN_TIME: Duration = Duration::from_millis(400);
/// Loss above the path's own that is worth a test.
const NOTICED: f64 = 0.04;
/// The cut has helped when the loss has fallen below this share of what it was.
const HELPED: f64 = 0.6;
/// The largest share that is believed to be the path's own. With more, the cut stays: the path is
/// as good as broken, and nothing speaks for sending more.
const MAX_OWN: f64 = 0.5;
/// What the rate is cut to for a test: more than is lost, and this at most and at least.
const CUT: (f64, f64) = (0.5, 0.75);
/// The same when what is believed is put to the test again: a rate that causes this much loss falls
/// below [`HELPED`] of it with three quarters of it less.
const DOUBTFUL_CUT: (f64, f64) = (0.5, 0.9);
/// How long what a test has shown is believed.
const BELIEVED: Duration = Duration::from_secs(15);
/// How long a burst of losses counts for how long they are: after twenty, a third.
const BURST_KEPT: f64 = 0.95;
/// Bursts are not taken for longer than this, or no observation would ever be enough.
const MOST_IN_A_BURST: f64 = 4.0;
/// Weight of an observation without a test.
const FOLLOW: f64 = 0.2;

/// What follows for the rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Verdict {
    Nothing,
    /// Multiply by this.
    Cut(f64),
    /// Go back to this rate: the loss is not ours.
    Restore(f64),
}

#[derive(Debug)]
struct Test {
    loss: f64,
    rate: f64,
}

/// How many packets are lost in a row.
#[derive(Debug, Default)]
struct Bursts {
    present: u32,
    packets: f64,
    bursts: f64,
}

impl Bursts {
    fn note(&mut self, lost: bool) {
        if lost {
            self.present += 1;
        } else if self.present > 0 {
            self.packets = BURST_KEPT * self.packets + f64::from(self.present);
            self.bursts = BURST_KEPT * self.bursts + 1.0;
            self.present = 0;
        }
    }

    /// How many packets of such a path tell as little about its loss as one whose losses do not
    /// depend on each other: by so much the variance of their count is greater, with a length of
    /// bursts that is distributed geometrically (as in Gilbert's model) and rare bursts.
    fn alike(&self) -> f64 {
        let mean = if self.bursts > 0.0 {
            self.packets / self.bursts
        } else {
            1.0
        };
        2.0 * mean.clamp(1.0, MOST_IN_A_BURST) - 1.0
    }
}

#[derive(Debug, Default)]
pub(super) struct Loss {
    bursts: Bursts,
    packets: u32,
    lost: u32,
    /// Packets sent before this do not count.
    since: Option<Instant>,
    own: f64,
    /// What the last test has shown to be the path's own.
    proven: f64,
    recent: f64,
    test: Option<Test>,
    believed_at: Option<Instant>,
}

impl Loss {
    /// The share of packets that the path loses by itself.
    pub(super) fn own(&self) -> f64 {
        self.own
    }

    /// The share lost in the last observation.
    pub(super) fn recent(&self) -> f64 {
        self.recent
    }

    /// The share of what is lost that the path loses by itself.
    pub(super) fn own_part(&self) -> f64 {
        let recent = self.recent.max(self.own);
        if recent > 0.0 { self.own / recent } else { 0.0 }
    }

    /// Whether the rate is being tested and should stay.
    pub(super) fn is_testing(&self) -> bool {
        self.test.is_some()
    }

    pub(super) fn reported(&mut self, sent_at: Instant, lost: bool, late: bool) {
        if self.since.is_none_or(|since| sent_at < since) {
            return;
        }
        if late {
            self.lost = self.lost.saturating_sub(1);
        } else {
            self.packets += 1;
            self.lost += u32::from(lost);
            self.bursts.note(lost);
        }
    }

    /// What was lost so far has another reason, and a test proves nothing.
    pub(super) fn disregard(&mut self, now: Instant) {
        self.begin(now);
        self.test = None;
    }

    /// Judges the observation, when it is complete. `rate` is the present estimate.
    pub(super) fn judge(&mut self, now: Instant, rate: f64, round_trip: Duration) -> Verdict {
        let Some(since) = self.since else {
            self.begin(now);
            return Verdict::Nothing;
        };
        let elapsed = now.saturating_duration_since(since);
        // Loss that is not there by itself is found as soon as ever, whatever its shape.
        let alike = if self.own > NOTICED {
            self.bursts.alike()
        } else {
            1.0
        };
        let packets = f64::from(self.packets) / alike;
        if packets < MIN_PACKETS || elapsed < MIN_TIME + round_trip {
            return Verdict::Nothing;
        }
        let loss = f64::from(self.lost) / f64::from(self.packets);
        self.recent = loss;
        self.begin(now);
        if let Some(test) = self.test.take() {
            let same = f64::midpoint(loss, test.loss);
            if loss < HELPED * test.loss {
                self.own = self.own.min(loss);
                self.proven = self.own;
                return Verdict::Nothing;
            }
            if same > MAX_OWN {
                return Verdict::Nothing;
            }
            self.own = same;
            self.proven = self.own;
            self.believed_at = Some(now);
            return Verdict::Restore(test.rate);
        }
        let chance = 2.0 * (self.own * (1.0 - self.own) / packets).sqrt();
        let excess = loss - self.own;
        let doubtful = self.own > NOTICED
            && loss > NOTICED
            && self
                .believed_at
                .is_none_or(|at| now.saturating_duration_since(at) > BELIEVED);
        let (most, least) = CUT;
        let cut = if excess > NOTICED + chance {
            Some((1.0 - 1.5 * excess).clamp(most, least))
        } else if doubtful {
            let (most, least) = DOUBTFUL_CUT;
            Some((1.0 - 0.75 * loss).clamp(most, least))
        } else {
            None
        };
        if let Some(cut) = cut {
            self.test = Some(Test { loss, rate });
            return Verdict::Cut(cut);
        }
        // By itself it falls and comes back, but never rises beyond what a test has shown.
        self.own = (self.own + FOLLOW * excess).min(self.proven);
        Verdict::Nothing
    }

    fn begin(&mut self, now: Instant) {
        self.since = Some(now);
        self.packets = 0;
        self.lost = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends at `rate` packets a second, losing what `loses` says at the present rate, and heeds
    /// the verdicts. Gives the rate at the end and what is thought to be the path's own loss.
    fn run(seconds: u32, loses: impl Fn(f64) -> f64) -> (f64, f64) {
        let start = Instant::now();
        let mut loss = Loss::default();
        let mut rate = 200.0;
        let (mut sent, mut lost) = (0.0, 0.0);
        for ms in 0..seconds * 1000 {
            let now = start + Duration::from_millis(u64::from(ms));
            sent += rate / 1000.0;
            while sent >= 1.0 {
                sent -= 1.0;
                lost += loses(rate);
                let is_lost = lost >= 1.0;
                lost -= f64::from(u8::from(is_lost));
                loss.reported(now, is_lost, false);
            }
            match loss.judge(now, rate, Duration::from_millis(100)) {
                Verdict::Nothing => {}
                Verdict::Cut(factor) => rate *= factor,
                Verdict::Restore(before) => rate = before,
            }
        }
        (rate, loss.own())
    }

    #[test]
    fn loss_that_does_not_depend_on_the_rate_is_the_paths_own() {
        let (rate, own) = run(10, |_| 0.2);
        assert_eq!(rate, 200.0);
        assert!((own - 0.2).abs() < 0.03, "{own}");
    }

    #[test]
    fn loss_that_the_rate_causes_lowers_it() {
        let (rate, own) = run(10, |rate| (1.0 - 160.0 / rate).max(0.0));
        assert!(rate <= 160.0, "{rate}");
        assert!(own < NOTICED, "{own}");
    }

    #[test]
    fn bursts_that_chance_brings_together_are_no_congestion() {
        // 20 % lost, three in a row on average, 60 packets a second as of sound and few pictures.
        let start = Instant::now();
        let mut loss = Loss::default();
        // Knuth's linear congruential generator (MMIX).
        let mut state = 11_u64;
        let mut chance = |probability: f64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            ((state >> 11) as f64 / (1_u64 << 53) as f64) < probability
        };
        let (mut rate, mut within, mut rates) = (100.0_f64, false, Vec::new());
        for number in 0..60 * 600_u64 {
            let now = start + Duration::from_micros(number * 16_667);
            within = chance(if within { 2.0 / 3.0 } else { 1.0 / 12.0 });
            loss.reported(now, within, false);
            match loss.judge(now, rate, Duration::from_millis(160)) {
                Verdict::Nothing => {}
                Verdict::Cut(factor) => rate *= factor,
                Verdict::Restore(before) => rate = before,
            }
            // What is not used grows slowly.
            rate = (rate * 1.000_5).min(100.0);
            rates.push(rate);
        }
        let mean = rates.iter().sum::<f64>() / rates.len() as f64;
        assert!(mean > 90.0, "{mean}");
    }

    #[test]
    fn a_little_loss_is_nothing() {
        assert_eq!(run(10, |_| 0.02), (200.0, 0.0));
    }
}
