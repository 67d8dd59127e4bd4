//! What the other side tells of the losses of our sound, without chance in it: a report covers some
//! fifty packets, and protection that follows each of them changes all the time, which is heard.

use std::time::{Duration, Instant};

/// Losses in a row beyond this are an interruption rather than a burst.
const MAX_BURST: f32 = 20.0;

/// Gaps of one packet that are assumed before any are told of, so that the first long one does not
/// make a burst of all of them.
const ASSUMED_GAPS: f32 = 4.0;
/// What is left of a second's gaps a second later, about: after ten, a third.
const GAPS_KEPT: f32 = 0.9;

/// What a participant told of the gaps in our sound, as counters since the beginning of the call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReportedGaps {
    packets: u64,
    gaps: u64,
    recent_packets: f32,
    recent_gaps: f32,
}

impl Default for ReportedGaps {
    fn default() -> Self {
        Self {
            packets: 0,
            gaps: 0,
            recent_packets: ASSUMED_GAPS,
            recent_gaps: ASSUMED_GAPS,
        }
    }
}

impl ReportedGaps {
    /// Takes in their counters: `packets` missing so far, in `gaps` gaps. Counters that go back
    /// begin anew.
    pub fn note(&mut self, packets: u64, gaps: u64) {
        let (more_packets, more_gaps) = (
            packets.saturating_sub(self.packets),
            gaps.saturating_sub(self.gaps),
        );
        (self.packets, self.gaps) = (packets, gaps);
        if more_gaps > 0 {
            let most = more_gaps as f32 * MAX_BURST;
            self.recent_packets = GAPS_KEPT * self.recent_packets + (more_packets as f32).min(most);
            self.recent_gaps = GAPS_KEPT * self.recent_gaps + more_gaps as f32;
        }
    }

    /// Packets lost in a row on average, 1 or more.
    pub fn mean_burst(&self) -> f32 {
        (self.recent_packets / self.recent_gaps).max(1.0)
    }
}

/// Between two looks at the counters: about as often as they are reported.
const LOOK: Duration = Duration::from_secs(1);
/// What is left of a second's packets a second later: after fifteen, a third.
const PACKETS_KEPT: f64 = 0.93;
/// Packets, none of them lost, that are assumed before the first: one second.
const ASSUMED_PACKETS: f64 = 50.0;
/// With fewer packets lately, while nobody speaks, what was known stays.
const FEW_PACKETS: f64 = 10.0;
/// Losses that are this many standard deviations beyond chance are believed at once.
const SURE: f64 = 3.0;

/// The share of our sound that is lost on the way. A report covers some fifty packets, of which
/// chance makes now 4 and now 18 % where 10 % are lost, and protection would follow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReportedLoss {
    looked_at: Option<Instant>,
    sent: u64,
    lost: u64,
    recent_sent: f64,
    recent_lost: f64,
    /// Of the second before: sent, lost.
    before: (f64, f64),
    share: f64,
}

impl Default for ReportedLoss {
    fn default() -> Self {
        Self {
            looked_at: None,
            sent: 0,
            lost: 0,
            recent_sent: ASSUMED_PACKETS,
            recent_lost: 0.0,
            before: (0.0, 0.0),
            share: 0.0,
        }
    }
}

impl ReportedLoss {
    /// Takes in how many packets have been sent, without repairs, and how many of them the other
    /// side says are lost (RFC 3550 section 6.4.1), both since the beginning. Returns the share, 0 to 1.
    pub fn note(&mut self, now: Instant, sent: u64, lost: u64) -> f64 {
        let early = |at: Instant| now.saturating_duration_since(at) < LOOK;
        if self.looked_at.is_some_and(early) {
            return self.share;
        }
        self.looked_at = Some(now);
        let more_sent = sent.saturating_sub(self.sent) as f64;
        let more_lost = (lost.saturating_sub(self.lost) as f64).min(more_sent);
        (self.sent, self.lost) = (sent, lost);
        self.recent_sent = PACKETS_KEPT * self.recent_sent + more_sent;
        self.recent_lost = PACKETS_KEPT * self.recent_lost + more_lost;
        let last = (self.before.0 + more_sent, self.before.1 + more_lost);
        self.before = (more_sent, more_lost);
        if self.recent_sent >= FEW_PACKETS {
            let lately = self.recent_lost / self.recent_sent;
            self.share = lately.max(surely(last.0, last.1));
        }
        self.share
    }
}

/// The share that can hardly be by chance.
fn surely(sent: f64, lost: f64) -> f64 {
    if sent < FEW_PACKETS {
        return 0.0;
    }
    let share = lost / sent;
    share - SURE * (share * (1.0 - share) / sent).sqrt()
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    #[test]
    fn gaps_are_counted_from_report_to_report_and_lies_are_bounded() {
        let mut gaps = ReportedGaps::default();
        assert!((gaps.mean_burst() - 1.0).abs() < f32::EPSILON);
        for second in 1..30 {
            gaps.note(second * 10, second * 2);
        }
        let burst = gaps.mean_burst();
        assert!((burst - 5.0).abs() < 0.1, "{burst}");
        gaps.note(290, 58);
        assert!((gaps.mean_burst() - burst).abs() < f32::EPSILON, "no news");
        gaps.note(u64::MAX, 59);
        assert!(gaps.mean_burst() <= MAX_BURST);
        gaps.note(0, 0);
        for second in 1..60 {
            gaps.note(second * 2, second * 2);
        }
        assert!(gaps.mean_burst() < 1.1);
    }

    #[test]
    fn long_gaps_are_believed_after_a_second_and_single_long_ones_are_not() {
        let mut gaps = ReportedGaps::default();
        gaps.note(5, 2);
        assert!(gaps.mean_burst() < 1.6);
        gaps.note(12, 4);
        assert!(gaps.mean_burst() > 1.6);
        let mut random = StdRng::seed_from_u64(3);
        let (mut gaps, mut packets, mut count) = (ReportedGaps::default(), 0, 0);
        for second in 0..600 {
            let mut within = false;
            for _ in 0..50 {
                let lost = random.random_bool(0.15);
                packets += u64::from(lost);
                count += u64::from(lost && !within);
                within = lost;
            }
            gaps.note(packets, count);
            assert!(gaps.mean_burst() < 1.6, "{second}: {}", gaps.mean_burst());
        }
    }

    /// Loss over `seconds` as it is believed, once a second.
    fn believed(share: f64, seconds: u64) -> Vec<f64> {
        let mut random = StdRng::seed_from_u64(5);
        let (mut loss, mut lost, start) = (ReportedLoss::default(), 0, Instant::now());
        let mut noted = Vec::new();
        for second in 1..=seconds {
            lost += (0..50).filter(|_| random.random_bool(share)).count() as u64;
            noted.push(loss.note(start + Duration::from_secs(second), second * 50, lost));
        }
        noted
    }

    #[test]
    fn the_share_is_steady_and_a_great_one_is_known_soon() {
        let steady = believed(0.1, 600);
        assert!(steady[10..].iter().all(|it| (0.06..0.14).contains(it)));
        let great = believed(0.3, 30);
        assert!(great[1] > 0.13 && great[2] > 0.15, "{great:?}");
        assert!(believed(0.0, 30).iter().all(|it| *it == 0.0));
    }

    #[test]
    fn silence_and_lies_change_nothing_much() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut loss = ReportedLoss::default();
        for second in 1..20 {
            loss.note(at(second), second * 50, second * 10);
        }
        let before = loss.note(at(20), 1000, 200);
        for second in 21..60 {
            let now = loss.note(at(second), 1000, 200);
            assert!((now - before).abs() < 0.02, "{now} {before}");
        }
        assert!(loss.note(at(61), 1050, u64::MAX) <= 1.0);
        assert!(loss.note(at(62), 0, 0) <= 1.0);
    }
}
