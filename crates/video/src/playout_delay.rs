//! How long complete frames wait so that the picture moves evenly: pure.
//!
//! Frames become complete late when their packets have to be sent again, and when the path holds
//! them up. Shown as they come, a picture stands still and then hurries. So each frame is given
//! the time that all but a few of the last seconds' frames took; on a path that delivers evenly
//! that is no time at all.

use std::time::{Duration, Instant};

use ahoy_media::units::VIDEO_CLOCK_HZ;

/// Share of the frames that are in time. The rest shows as a jerk; more of them would cost delay.
const IN_TIME: f64 = 0.95;
/// Lateness is sorted into steps of this length, in s.
const STEP: f64 = 0.005;
/// So many steps: the longest delay that is worth it, 0.26 s. A frame that is repaired over a round
/// trip of 200 ms then comes 50 ms late, which hardly shows; beyond it the conversation suffers more
/// than the picture gains.
const STEPS: usize = 52;
/// Weight that each frame leaves to those before it: about seven seconds at 30 per second.
const FORGET: f64 = 0.995;
/// Less than this is nothing to wait for, in s: half of what one frame is shown.
const UNNOTICED: f64 = 0.015;
/// The fastest frame is remembered for this long, twice: clocks drift and paths change.
const WINDOW: Duration = Duration::from_secs(5);
/// A time stamp that is further from the one before began anew, in s.
const MAX_JUMP: f64 = 5.0;

/// Decides when each frame is due.
#[derive(Debug)]
pub struct PlayoutDelay {
    epoch: Instant,
    last: Option<(u32, f64)>,
    /// Least time from capture to completion, but for a constant, in this window and the last.
    fastest: (f64, f64),
    window_began: Instant,
    lateness: [f64; STEPS],
}

impl PlayoutDelay {
    /// Nothing is known yet.
    pub const fn new(now: Instant) -> Self {
        Self {
            epoch: now,
            last: None,
            fastest: (f64::INFINITY, f64::INFINITY),
            window_began: now,
            lateness: [0.0; STEPS],
        }
    }

    /// When a frame that is complete at `now` should be handed on: `now` or up to 0.26 s
    /// later. `rtp_timestamp` in ticks of 90 kHz.
    pub fn due(&mut self, rtp_timestamp: u32, now: Instant) -> Instant {
        let media = self.media_time(rtp_timestamp);
        let took = now.saturating_duration_since(self.epoch).as_secs_f64() - media;
        let late = took - self.fastest(took, now);
        self.note(late);
        let delay = self.delay();
        if delay < UNNOTICED {
            return now;
        }
        now + Duration::from_secs_f64((delay - late).clamp(0.0, STEP * STEPS as f64))
    }

    /// What frames are given at present, in seconds.
    pub fn delay(&self) -> f64 {
        let all: f64 = self.lateness.iter().sum();
        let mut sum = 0.0;
        for (step, weight) in self.lateness.iter().enumerate() {
            sum += weight;
            if sum >= all * IN_TIME {
                return step as f64 * STEP;
            }
        }
        0.0
    }

    /// Seconds on the sender's clock, but for a constant.
    fn media_time(&mut self, rtp_timestamp: u32) -> f64 {
        let hz = f64::from(VIDEO_CLOCK_HZ);
        let time = match self.last {
            Some((last, time)) => {
                let ticks = rtp_timestamp.wrapping_sub(last).cast_signed();
                let step = f64::from(ticks) / hz;
                if step.abs() > MAX_JUMP {
                    self.fastest = (f64::INFINITY, f64::INFINITY);
                }
                time + step
            }
            None => 0.0,
        };
        self.last = Some((rtp_timestamp, time));
        time
    }

    fn fastest(&mut self, took: f64, now: Instant) -> f64 {
        if now.saturating_duration_since(self.window_began) > WINDOW {
            self.window_began = now;
            self.fastest = (f64::INFINITY, self.fastest.0);
        }
        self.fastest.0 = self.fastest.0.min(took);
        self.fastest.0.min(self.fastest.1)
    }

    fn note(&mut self, late: f64) {
        let step = ((late / STEP) as usize).min(STEPS - 1);
        for weight in &mut self.lateness {
            *weight *= FORGET;
        }
        if let Some(weight) = self.lateness.get_mut(step) {
            *weight += 1.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames at 30 per second that become complete so many ms late; when each was handed on, in
    /// ms after its capture.
    fn run(late_ms: impl Fn(u32) -> u64, frames: u32) -> Vec<f64> {
        let start = Instant::now();
        let mut delay = PlayoutDelay::new(start);
        let mut shown = Vec::new();
        for number in 0..frames {
            let captured = start + Duration::from_secs_f64(f64::from(number) / 30.0);
            let complete = captured + Duration::from_millis(40 + late_ms(number));
            let timestamp = 4_294_000_000_u32.wrapping_add(number * 3000);
            let due = delay.due(timestamp, complete);
            assert!(due >= complete && due <= complete + Duration::from_millis(260));
            shown.push(due.saturating_duration_since(captured).as_secs_f64() * 1000.0);
        }
        shown
    }

    fn spread(shown: &[f64]) -> f64 {
        let most = shown.iter().copied().fold(f64::MIN, f64::max);
        most - shown.iter().copied().fold(f64::MAX, f64::min)
    }

    #[test]
    fn nothing_waits_on_an_even_path() {
        let shown = run(|number| u64::from(number % 3) * 4, 300);
        assert!(shown.iter().all(|ms| *ms < 49.0), "{shown:?}");
    }

    #[test]
    fn frames_that_are_repaired_are_given_time() {
        // Every seventh needs a repair that takes a round trip.
        let late = |number: u32| if number.is_multiple_of(7) { 110 } else { 0 };
        let shown = run(late, 300);
        let settled = &shown[100..];
        assert!(spread(settled) < 12.0, "{}", spread(settled));
        assert!(settled[0] < 170.0);
    }

    #[test]
    fn the_delay_goes_when_it_is_not_needed_any_more() {
        let late = |number: u32| {
            if number < 200 && number.is_multiple_of(5) {
                200
            } else {
                0
            }
        };
        let shown = run(late, 900);
        assert!(shown[190] > 200.0);
        assert!(shown[899] < 60.0, "{}", shown[899]);
    }

    #[test]
    fn a_frame_that_is_late_by_seconds_costs_no_seconds() {
        let shown = run(|number| if number == 50 { 4000 } else { 0 }, 200);
        assert!(shown[51..].iter().all(|ms| *ms < 60.0));
    }

    #[test]
    fn time_stamps_that_jump_do_no_harm() {
        let start = Instant::now();
        let mut delay = PlayoutDelay::new(start);
        for number in 0..1000_u32 {
            let now = start + Duration::from_millis(u64::from(number) * 33);
            let timestamp = number.wrapping_mul(2_654_435_761);
            let due = delay.due(timestamp, now);
            assert!(due <= now + Duration::from_millis(260));
        }
    }
}
