//! Steers the resampling of a device so that its samples keep step with the computer's clock.
//!
//! A device that claims 48000 Hz runs some ten, at worst two hundred, millionths beside that.
//! Everything between microphone and speaker counts in samples; so each device is tied to one
//! clock, the computer's, by a phase-locked loop. Its error is the fill level of a ring that the
//! device fills at its own pace and the clock empties at exactly the nominal rate.
//!
//! Callbacks come late and never early: the best moment of each second shows the device's pace,
//! all others also show how busy the computer was.

use std::time::{Duration, Instant};

/// How long is waited for a good moment.
const WINDOW: Duration = Duration::from_secs(1);
/// Natural frequency of the loop, in radians per second. A device 200 ppm off is at most 2 ms out
/// of step while that is learned; half a millisecond of noise changes the pace by 30 ppm.
const FREQUENCY: f64 = 0.03;
/// Most that the pace is changed: 3.5 hundredths of a semitone. Crystals need a tenth.
const MAX_CORRECTION: f64 = 0.002;
/// Further out of step is no drift: sound was lost, or the device delivers in bursts. Pace does
/// not repair that.
const MAX_ERROR: f64 = 0.03;

/// The loop. Pure: knows only what it is told.
#[derive(Debug, Default)]
pub(crate) struct ClockSteering {
    /// Seconds of sound so far, after resampling.
    position: f64,
    /// The moment and the position that are taken to belong together.
    anchor: Option<(Instant, f64)>,
    window: Option<Window>,
    /// What a device delivers or takes in its first moments says nothing of its pace.
    warm: bool,
    integral: f64,
    correction: f64,
}

#[derive(Debug)]
struct Window {
    since: Instant,
    /// The most advanced moment: when, and the position then.
    best: (Instant, f64),
}

impl ClockSteering {
    /// The device has made or taken `seconds` of sound, as it counts, up to `now`. Returns how far
    /// its sound jumped against the clock in seconds, if it did: below zero it was lost.
    pub(crate) fn advance(&mut self, seconds: f64, now: Instant) -> Option<f64> {
        self.position += seconds * self.speed();
        let window = self.window.get_or_insert(Window {
            since: now,
            best: (now, self.position),
        });
        let (then, position) = window.best;
        if self.position - position >= now.saturating_duration_since(then).as_secs_f64() {
            window.best = (now, self.position);
        }
        if now.saturating_duration_since(window.since) < WINDOW {
            return None;
        }
        let (at, position) = window.best;
        let elapsed = now.saturating_duration_since(window.since);
        self.window = None;
        if !std::mem::replace(&mut self.warm, true) {
            return None;
        }
        self.steer(at, position, elapsed)
    }

    /// Seconds of sound that one second of the device is to become, about 1.
    pub(crate) fn speed(&self) -> f64 {
        1.0 + self.correction
    }

    /// What the device's clock is believed to be off, in millionths: above zero it is fast.
    pub(crate) fn drift_ppm(&self) -> f64 {
        -self.integral * 1e6
    }

    fn steer(&mut self, at: Instant, position: f64, elapsed: Duration) -> Option<f64> {
        let (anchor, origin) = *self.anchor.get_or_insert((at, position));
        let error = position - origin - signed_seconds(anchor, at);
        if error.abs() > MAX_ERROR {
            self.anchor = Some((at, position));
            self.correction = self.integral;
            return Some(error);
        }
        // After a long silence one window says no more than after a second.
        let elapsed = elapsed.min(2 * WINDOW).as_secs_f64();
        let integral = self.integral - FREQUENCY * FREQUENCY * error * elapsed;
        self.integral = integral.clamp(-MAX_CORRECTION, MAX_CORRECTION);
        let correction = self.integral - 2.0 * FREQUENCY * error;
        self.correction = correction.clamp(-MAX_CORRECTION, MAX_CORRECTION);
        None
    }
}

fn signed_seconds(from: Instant, to: Instant) -> f64 {
    if to >= from {
        (to - from).as_secs_f64()
    } else {
        -(from - to).as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device that calls every `period_ms`, `ppm` off, each call late by something between 0
    /// and `late_ms`. After each call `check` sees the error in seconds.
    fn run(
        steering: &mut ClockSteering,
        (ppm, period_ms, late_ms): (f64, f64, f64),
        seconds: f64,
        mut check: impl FnMut(f64, f64, Option<f64>),
    ) {
        let start = Instant::now();
        let mut seed = 1_u64;
        let calls = (seconds * 1_000.0 / period_ms) as u64;
        for call in 1..=calls {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let late = (seed >> 40) as f64 / f64::from(1_u32 << 24) * late_ms / 1_000.0;
            let true_time = call as f64 * period_ms / 1_000.0;
            let now = start + Duration::from_secs_f64(true_time + late);
            let jump = steering.advance(period_ms / 1_000.0 * (1.0 + ppm / 1e6), now);
            check(true_time, steering.position - true_time, jump);
        }
    }

    #[test]
    fn two_hours_of_drift_stay_within_a_few_milliseconds() {
        for ppm in [-200.0, 0.0, 200.0] {
            for (period, late) in [(2.7, 1.0), (10.0, 5.0), (21.3, 10.0), (100.0, 30.0)] {
                let mut steering = ClockSteering::default();
                let (mut worst, mut late_worst) = (0.0_f64, 0.0_f64);
                run(
                    &mut steering,
                    (ppm, period, late),
                    7_200.0,
                    |time, error, jump| {
                        assert_eq!(jump, None);
                        worst = worst.max(error.abs());
                        if time > 300.0 {
                            late_worst = late_worst.max(error.abs());
                        }
                    },
                );
                assert!(worst < 0.01, "{ppm} ppm, {period} ms: {worst}");
                assert!(late_worst < 0.005, "{ppm} ppm, {period} ms: {late_worst}");
                assert!(
                    (steering.drift_ppm() - ppm).abs() < 60.0,
                    "{}",
                    steering.drift_ppm()
                );
            }
        }
    }

    /// A microphone 200 ppm fast feeds a speaker 200 ppm slow, and the other way round, through a
    /// queue that a jitter buffer would keep at 40 ms. Untied it would gain or lose 2.9 s.
    #[test]
    fn between_two_devices_that_drift_apart_the_delay_stays_for_two_hours() {
        for ppm in [200.0, -200.0] {
            let (mut microphone, mut speaker) =
                (ClockSteering::default(), ClockSteering::default());
            let (start, mut queued, mut range) = (Instant::now(), 0.04, (f64::MAX, f64::MIN));
            for call in 1..=720_000_u64 {
                // Callbacks every 10 ms of each device, late by up to 3 ms.
                let late = Duration::from_micros(call * 7_919 % 3_000);
                let now = start + Duration::from_millis(10 * call) + late;
                let (fast, slow) = (0.01 * (1.0 + ppm / 1e6), 0.01 * (1.0 - ppm / 1e6));
                let (made, taken) = (microphone.speed() * fast, speaker.speed() * slow);
                queued += made - taken;
                range = (queued.min(range.0), queued.max(range.1));
                assert_eq!(microphone.advance(fast, now), None);
                assert_eq!(speaker.advance(slow, now), None);
            }
            assert!(range.0 > 0.02 && range.1 < 0.06, "{ppm} ppm: {range:?} s");
        }
    }

    #[test]
    fn a_steady_device_is_left_alone() {
        let mut steering = ClockSteering::default();
        run(&mut steering, (0.0, 10.0, 0.3), 600.0, |_, error, _| {
            assert!(error.abs() < 0.001, "{error}");
        });
        assert!(
            (steering.speed() - 1.0).abs() < 30e-6,
            "{}",
            steering.speed()
        );
    }

    #[test]
    fn a_first_gush_is_no_loss_afterwards() {
        let (mut steering, start) = (ClockSteering::default(), Instant::now());
        assert_eq!(steering.advance(0.2, start), None);
        for call in 1..1_000 {
            let now = start + Duration::from_millis(10 * call);
            assert_eq!(steering.advance(0.01, now), None);
        }
        assert!((steering.speed() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn lost_sound_is_reported_once_and_changes_no_pitch() {
        let mut steering = ClockSteering::default();
        run(&mut steering, (100.0, 10.0, 1.0), 400.0, |_, _, jump| {
            assert_eq!(jump, None)
        });
        let before = steering.speed();
        let start = Instant::now() + Duration::from_secs(402);
        let mut lost = 0.0;
        for call in 0..500 {
            let now = start + Duration::from_millis(10 * call);
            lost += steering.advance(0.01, now).unwrap_or(0.0);
        }
        assert!((lost + 2.0).abs() < 0.05, "{lost}");
        assert!((steering.speed() - before).abs() < 100e-6);
    }

    #[test]
    fn a_burst_after_a_stall_is_no_loss() {
        let mut steering = ClockSteering::default();
        let start = Instant::now();
        for call in 0..1_000_u64 {
            // Every fourth second nothing comes, and then all of it at once.
            let late = if (call / 100).is_multiple_of(4) {
                (call / 100 + 1) * 1_000
            } else {
                10 * call
            };
            let now = start + Duration::from_millis(late);
            assert_eq!(steering.advance(0.01, now), None, "{call}");
        }
    }

    #[test]
    fn a_device_far_from_its_rate_is_followed_in_jumps_and_hardly_in_pitch() {
        let mut steering = ClockSteering::default();
        let mut jumped = 0.0;
        run(
            &mut steering,
            (-100_000.0, 10.0, 1.0),
            60.0,
            |_, _, jump| {
                jumped += jump.unwrap_or(0.0);
            },
        );
        assert!((-6.2..-5.0).contains(&jumped), "{jumped}");
        assert!((steering.speed() - 1.0).abs() <= MAX_CORRECTION);
    }
}
