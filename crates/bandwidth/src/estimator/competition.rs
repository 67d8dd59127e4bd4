//! Keeping a share beside flows that fill the queue until packets are lost, as TCP does.
//!
//! Giving way to delay means giving way to them for ever. Alone, or among flows that heed delay,
//! the queue empties soon after everybody has slowed down. If it does not, somebody else keeps it
//! filled (the criterion of Copa, NSDI 2018, section 5). From then on the rate goes by loss, with
//! additive increase and multiplicative decrease that give about the share of a TCP flow with the
//! same round trip, until the queue stays empty again.

use std::time::{Duration, Instant};

/// A queue shorter than this, in ms, is nobody's competition.
const MIN_PEAK: f64 = 75.0;
/// The queue is empty enough below this share of the fullest.
const CLEAR_SHARE: f64 = 0.25;
/// And never counts as filled below this, in ms.
const MIN_FILLED: f64 = 25.0;
/// Share of the time that it is filled, averaged over this time, from which on it is somebody
/// else's doing, and below which they are gone.
const AVERAGED: f64 = 4.0;
const FILLED: f64 = 0.55;
const EMPTIED: f64 = 0.25;
/// Additive increase in packets per round trip, and decrease at a loss: a little more than TCP
/// Reno gets.
const INCREASE: f64 = 0.9;
const DECREASE: f64 = 0.7;
/// The constant of CUBIC's curve (RFC 9438 section 4.1: 0.4), in packets per s^3.
const CUBIC: f64 = 0.2;
/// Now and then it is tried whether they are still there: the rate is lowered by this for a
/// moment. If the queue empties as fast as it does with nobody else, nobody else is there.
const YIELD: f64 = 0.25;
const YIELD_TIME: Duration = Duration::from_millis(600);
const YIELD_EVERY: Duration = Duration::from_secs(4);
/// With less than this share of the fullest queue there is too little to empty.
const YIELD_FROM: f64 = 0.4;
/// Share of that speed.
const ALONE: f64 = 0.75;
/// A loss counts when the queue is at least this full, as a share of the fullest.
const FULL_SHARE: f64 = 0.6;
const PACKET_BITS: f64 = 1200.0 * 8.0;
const MIN_ROUND_TRIP: Duration = Duration::from_millis(20);

/// Delay of the queue, and the longest of late, in ms.
type Queue = (f64, f64);

#[derive(Debug, Default)]
pub(super) struct Competition {
    active: bool,
    /// Share of the time that the queue was filled, 0 to 1.
    filled: f64,
    /// When the rate was last decreased, and from what.
    decreased: Option<(Instant, f64)>,
    yielding: Option<Yielding>,
    yielded_at: Option<Instant>,
}

/// A trial whether the queue empties.
#[derive(Debug, Clone, Copy)]
struct Yielding {
    began: Instant,
    /// When the first packets of the trial showed, and the queue in ms then.
    seen: Option<(Instant, f64)>,
}

impl Competition {
    pub(super) fn is_active(&self) -> bool {
        self.active
    }

    /// Looks at the queue, after `elapsed`. `yielded` says whether we have slowed down, so that it
    /// could empty.
    pub(super) fn observe(&mut self, elapsed: Duration, (queue, peak): Queue, yielded: bool) {
        let filled = peak >= MIN_PEAK && queue >= (CLEAR_SHARE * peak).max(MIN_FILLED);
        let weight = (elapsed.as_secs_f64() / AVERAGED).min(1.0);
        self.filled += weight * (f64::from(u8::from(filled)) - self.filled);
        if self.filled < EMPTIED {
            self.active = false;
        } else if self.filled > FILLED && yielded && !self.active {
            self.active = true;
            self.decreased = None;
            self.yielding = None;
            self.yielded_at = None;
        }
    }

    /// What may be sent of the rate now.
    pub(super) fn factor(&self) -> f64 {
        if self.active && self.yielding.is_some() {
            1.0 - YIELD
        } else {
            1.0
        }
    }

    /// Begins and ends trials. `true` when one has shown that nobody else is there.
    fn try_yielding(&mut self, now: Instant, round_trip: Duration, (queue, peak): Queue) -> bool {
        let since = |at: Instant| now.saturating_duration_since(at);
        let Some(trial) = &mut self.yielding else {
            let last = *self.yielded_at.get_or_insert(now);
            let calm = self
                .decreased
                .is_none_or(|(at, _)| since(at) > 2 * round_trip);
            if since(last) > YIELD_EVERY && calm && queue > YIELD_FROM * peak {
                self.yielding = Some(Yielding {
                    began: now,
                    seen: None,
                });
            }
            return false;
        };
        let Some((seen_at, full)) = trial.seen else {
            if since(trial.began) >= round_trip {
                trial.seen = Some((now, queue));
            }
            return false;
        };
        let watched = since(seen_at);
        if watched < YIELD_TIME {
            return false;
        }
        self.yielding = None;
        self.yielded_at = Some(now);
        let emptied = (full - queue) / (watched.as_secs_f64() * 1000.0);
        emptied > ALONE * YIELD
    }

    /// The next rate in competition: from the present one, the time since then, and whether
    /// packets were lost.
    pub(super) fn rate(
        &mut self,
        now: Instant,
        (rate, elapsed): (f64, Duration),
        round_trip: Duration,
        lost: bool,
        (queue, peak): Queue,
    ) -> f64 {
        let round_trip = round_trip.max(MIN_ROUND_TRIP);
        if self.try_yielding(now, round_trip, (queue, peak)) {
            self.active = false;
            self.filled = 0.0;
            return rate;
        }
        let lost_at_full = lost && queue >= FULL_SHARE * peak;
        let since = self
            .decreased
            .map(|(at, _)| now.saturating_duration_since(at));
        if lost_at_full && since.is_none_or(|since| since > round_trip) {
            self.decreased = Some((now, rate));
            return rate * DECREASE;
        }
        let round_trip = round_trip.as_secs_f64();
        let steady = INCREASE * PACKET_BITS / round_trip.powi(2);
        let grown = rate + steady.min(rate) * elapsed.as_secs_f64();
        let curve = self.decreased.map_or(0.0, |(at, from)| {
            let packets = from * round_trip / PACKET_BITS;
            let plateau = (packets * (1.0 - DECREASE) / CUBIC).cbrt();
            let time = now.saturating_duration_since(at).as_secs_f64() - plateau;
            (CUBIC * time.powi(3) + packets) * PACKET_BITS / round_trip
        });
        grown.max(curve.min(rate * 1.1))
    }

    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_millis(50);

    fn observe(competition: &mut Competition, times: u32, queue: f64) {
        for _ in 0..times {
            competition.observe(STEP, (queue, 200.0), true);
        }
    }

    #[test]
    fn a_queue_that_stays_filled_is_competition_until_it_is_empty() {
        let mut competition = Competition::default();
        observe(&mut competition, 20, 150.0);
        assert!(!competition.is_active());
        observe(&mut competition, 100, 150.0);
        assert!(competition.is_active());
        observe(&mut competition, 20, 10.0);
        assert!(competition.is_active());
        observe(&mut competition, 150, 10.0);
        assert!(!competition.is_active());
    }

    #[test]
    fn whoever_finds_itself_alone_gives_way_again() {
        for (alone, emptying) in [(true, 0.25), (false, 0.1)] {
            let mut competition = Competition::default();
            observe(&mut competition, 120, 150.0);
            let start = Instant::now();
            let mut queue = 200.0;
            for step in 0..160 {
                let now = start + STEP * step;
                if competition.factor() < 1.0 {
                    queue -= emptying * 50.0;
                }
                competition.observe(STEP, (queue, 200.0), true);
                if competition.is_active() {
                    competition.rate(now, (1e6, STEP), STEP * 4, false, (queue, 200.0));
                }
            }
            assert_eq!(competition.is_active(), !alone);
        }
    }

    #[test]
    fn grows_slowly_and_falls_at_a_loss_once_per_round_trip() {
        let mut competition = Competition::default();
        observe(&mut competition, 120, 150.0);
        let now = Instant::now();
        let round_trip = Duration::from_millis(200);
        let mut rate = |at: Duration, lost| {
            competition.rate(now + at, (1e6, STEP), round_trip, lost, (190.0, 200.0))
        };
        let grown = rate(STEP, false);
        assert!(grown > 1e6 && grown < 1.05e6, "{grown}");
        assert_eq!(rate(STEP * 2, true), 0.7e6);
        assert!(rate(STEP * 3, true) >= 1e6);
    }
}
