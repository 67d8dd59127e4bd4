//! The time of the endpoint's messages: Unix time in milliseconds, taken from the monotonic clock,
//! which was aligned once. Setting the wall clock during a measurement changes nothing.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Converts moments of the monotonic clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct WallClock {
    instant: Instant,
    unix_ms: f64,
}

impl WallClock {
    /// Aligns the two clocks. Of several readings the one that took least time is used: being
    /// interrupted between the two clocks would shift every figure.
    pub(super) fn align() -> Self {
        const READINGS: usize = 9;
        let read = || {
            let before = Instant::now();
            let wall = SystemTime::now();
            let took = before.elapsed();
            let since_epoch = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
            let unix_ms = since_epoch.as_secs_f64() * 1000.0;
            (took, Self::at(before + took / 2, unix_ms))
        };
        let readings: [_; READINGS] = std::array::from_fn(|_| read());
        let best = readings.into_iter().min_by_key(|(took, _)| *took);
        best.expect("there are some").1
    }

    const fn at(instant: Instant, unix_ms: f64) -> Self {
        Self { instant, unix_ms }
    }

    /// Unix time in ms, with a fraction, of a moment before or after the alignment.
    pub(super) fn unix_ms(&self, moment: Instant) -> f64 {
        let ahead = moment.saturating_duration_since(self.instant).as_secs_f64();
        let behind = self.instant.saturating_duration_since(moment).as_secs_f64();
        self.unix_ms + (ahead - behind) * 1000.0
    }

    /// Unix time in ms now.
    pub(super) fn now(&self) -> f64 {
        self.unix_ms(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn moments_before_and_after_keep_their_distance() {
        let start = Instant::now();
        let clock = WallClock::at(start + Duration::from_secs(1), 5000.0);
        let close = |moment, expected: f64| (clock.unix_ms(moment) - expected).abs() < 1e-6;
        assert!(close(start, 4000.0));
        assert!(close(start + Duration::from_secs(1), 5000.0));
        assert!(close(start + Duration::from_micros(1_000_250), 5000.25));
    }

    #[test]
    fn it_is_the_time_of_day_with_a_fraction() {
        let clock = WallClock::align();
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970");
        assert!((clock.now() - wall.as_secs_f64() * 1000.0).abs() < 1000.0);
        assert!((0..20).any(|_| clock.now().fract() != 0.0));
    }
}
