//! Whether delay grows: arrival groups, trend line and overuse detector of Google congestion
//! control (draft-ietf-rmcat-gcc-02 section 5, with the linear regression that libwebrtc has put
//! in the place of the Kalman filter).

use std::collections::VecDeque;

/// Packets sent within this time count as one, in ms (draft section 5.2).
const BURST: f64 = 5.0;
/// Groups in the regression.
const WINDOW: usize = 20;
/// Smoothing of the accumulated delay.
const SMOOTHING: f64 = 0.9;
/// Scales the slope to the threshold's range.
const GAIN: f64 = 4.0;
/// Groups after which the slope counts in full.
const MAX_GROUPS: u32 = 60;
/// Delay has to grow for this long before it is called overuse, in ms.
const OVERUSE_TIME: f64 = 10.0;
/// The adaptive threshold: where it begins, its range, and how fast it follows up and down per ms
/// (draft section 5.4).
const THRESHOLD: f64 = 12.5;
const THRESHOLD_RANGE: (f64, f64) = (6.0, 600.0);
const THRESHOLD_UP: f64 = 0.0087;
const THRESHOLD_DOWN: f64 = 0.039;
/// A jump beyond this is an event of its own and does not move the threshold.
const THRESHOLD_MAX_STEP: f64 = 15.0;
/// A jump of delay of this much, in ms, means that a clock was set.
const CLOCK_JUMP: f64 = 3000.0;

/// What the delay says about the use of the path (draft section 5.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Usage {
    #[default]
    Normal,
    Over,
    Under,
}

/// Packets that were sent together.
#[derive(Debug, Clone, Copy)]
struct Group {
    first_sent: f64,
    last_sent: f64,
    first_arrival: f64,
    last_arrival: f64,
}

/// All times in ms.
#[derive(Debug)]
pub(super) struct Trendline {
    current: Option<Group>,
    previous: Option<Group>,
    groups: u32,
    accumulated: f64,
    smoothed: f64,
    /// Time of arrival and smoothed delay.
    points: VecDeque<(f64, f64)>,
    slope: f64,
    threshold: f64,
    over_for: f64,
    over_count: u32,
    last_slope: f64,
    threshold_at: Option<f64>,
    usage: Usage,
}

impl Default for Trendline {
    fn default() -> Self {
        Self {
            current: None,
            previous: None,
            groups: 0,
            accumulated: 0.0,
            smoothed: 0.0,
            points: VecDeque::with_capacity(WINDOW + 1),
            slope: 0.0,
            threshold: THRESHOLD,
            over_for: -1.0,
            over_count: 0,
            last_slope: 0.0,
            threshold_at: None,
            usage: Usage::Normal,
        }
    }
}

impl Trendline {
    /// A packet that was sent at `sent` and arrived at `arrival`, in the order of sending. `true`
    /// when a clock has jumped and everything begins anew.
    pub(super) fn arrived(&mut self, sent: f64, arrival: f64) -> bool {
        let Some(group) = &mut self.current else {
            self.begin(sent, arrival);
            return false;
        };
        if sent < group.first_sent {
            // Overtaken on the way: its group is closed.
            return false;
        }
        let arrives_with = arrival - group.last_arrival <= BURST
            && (arrival - group.last_arrival) - (sent - group.last_sent) < 0.0
            && arrival - group.first_arrival < 100.0;
        if sent - group.first_sent <= BURST || arrives_with {
            group.last_sent = group.last_sent.max(sent);
            group.last_arrival = group.last_arrival.max(arrival);
            return false;
        }
        let done = *group;
        let before = self.previous.replace(done);
        self.begin(sent, arrival);
        before.is_some_and(|before| self.compare(before, done))
    }

    /// The latest verdict.
    pub(super) fn usage(&self) -> Usage {
        self.usage
    }

    fn begin(&mut self, sent: f64, arrival: f64) {
        self.current = Some(Group {
            first_sent: sent,
            last_sent: sent,
            first_arrival: arrival,
            last_arrival: arrival,
        });
    }

    fn compare(&mut self, before: Group, group: Group) -> bool {
        let sent_delta = group.last_sent - before.last_sent;
        let arrival_delta = group.last_arrival - before.last_arrival;
        let growth = arrival_delta - sent_delta;
        if growth.abs() > CLOCK_JUMP {
            *self = Self::default();
            return true;
        }
        if arrival_delta < 0.0 {
            return false;
        }
        self.groups = (self.groups + 1).min(MAX_GROUPS);
        self.accumulated += growth;
        self.smoothed = SMOOTHING * self.smoothed + (1.0 - SMOOTHING) * self.accumulated;
        self.points.push_back((group.last_arrival, self.smoothed));
        if self.points.len() > WINDOW {
            self.points.pop_front();
        }
        if self.points.len() == WINDOW {
            self.slope = slope(&self.points).unwrap_or(self.slope);
        }
        self.detect(sent_delta, group.last_arrival);
        false
    }

    fn detect(&mut self, sent_delta: f64, now: f64) {
        let trend = f64::from(self.groups) * self.slope * GAIN;
        if trend > self.threshold {
            self.over_for = if self.over_for < 0.0 {
                sent_delta / 2.0
            } else {
                self.over_for + sent_delta
            };
            self.over_count += 1;
            let lasting = self.over_for > OVERUSE_TIME && self.over_count > 1;
            if lasting && self.slope >= self.last_slope {
                self.over_for = 0.0;
                self.over_count = 0;
                self.usage = Usage::Over;
            }
        } else {
            self.over_for = -1.0;
            self.over_count = 0;
            self.usage = if trend < -self.threshold {
                Usage::Under
            } else {
                Usage::Normal
            };
        }
        self.last_slope = self.slope;
        self.adapt_threshold(trend, now);
    }

    fn adapt_threshold(&mut self, trend: f64, now: f64) {
        let elapsed = (now - self.threshold_at.unwrap_or(now)).clamp(0.0, 100.0);
        self.threshold_at = Some(now);
        let beyond = trend.abs() - self.threshold;
        if beyond > THRESHOLD_MAX_STEP {
            return;
        }
        let gain = if beyond < 0.0 {
            THRESHOLD_DOWN
        } else {
            THRESHOLD_UP
        };
        let (low, high) = THRESHOLD_RANGE;
        self.threshold = (self.threshold + gain * beyond * elapsed).clamp(low, high);
    }
}

/// Least squares; `None` when all points are at one time.
fn slope(points: &VecDeque<(f64, f64)>) -> Option<f64> {
    let count = points.len() as f64;
    let sum = |(x, y): (f64, f64), (px, py): &(f64, f64)| (x + px, y + py);
    let (x, y) = points.iter().fold((0.0, 0.0), sum);
    let (mean_x, mean_y) = (x / count, y / count);
    let (mut above, mut below) = (0.0, 0.0);
    for (x, y) in points {
        above += (x - mean_x) * (y - mean_y);
        below += (x - mean_x) * (x - mean_x);
    }
    (below > 0.0).then(|| above / below)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets every 10 ms; each waits `growth` ms longer than the one before.
    fn run(trendline: &mut Trendline, from: u32, packets: u32, growth: f64) -> Vec<Usage> {
        let run = (0..packets).map(|index| {
            let sent = f64::from(from + index) * 10.0;
            let _ = trendline.arrived(sent, 500.0 + sent + growth * f64::from(index));
            trendline.usage()
        });
        run.collect()
    }

    #[test]
    fn a_growing_queue_is_overuse_and_a_steady_one_is_not() {
        let mut trendline = Trendline::default();
        assert!(
            run(&mut trendline, 0, 100, 0.0)
                .iter()
                .all(|usage| *usage == Usage::Normal)
        );
        let growing = run(&mut trendline, 100, 40, 2.0);
        assert!(growing.contains(&Usage::Over));
    }

    #[test]
    fn a_clock_that_jumps_begins_anew() {
        let mut trendline = Trendline::default();
        run(&mut trendline, 0, 100, 0.0);
        let jumped = (100..105).any(|index| {
            let sent = f64::from(index) * 10.0;
            trendline.arrived(sent, 1_000_000.0 + sent)
        });
        assert!(jumped);
    }
}
