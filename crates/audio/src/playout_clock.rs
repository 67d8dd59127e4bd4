//! What lip-sync has to know about the sound of one participant, and to ask of it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Sound is not held back for pictures that have not come for so long.
const PICTURES_GONE: Duration = Duration::from_secs(5);

/// Between the playout thread, which tells where it stands, and whoever shows the pictures.
#[derive(Debug, Default)]
pub struct PlayoutClock {
    state: Mutex<State>,
    network_transit: AtomicI64,
}

#[derive(Debug, Default)]
struct State {
    /// Media time in ticks of 48 kHz, and when the sample leaves the speaker.
    position: Option<(u32, Instant)>,
    /// And when it was asked for.
    minimum_transit: Option<(i64, Instant)>,
}

impl PlayoutClock {
    /// The sample with the first number as RTP time stamp (ticks of 48 kHz) leaves the speaker at
    /// the second; `None` while nothing of this participant is played.
    pub fn position(&self) -> Option<(u32, Instant)> {
        self.lock().position
    }

    /// See [`AudioJitterBuffer::network_transit`](crate::jitter::AudioJitterBuffer::network_transit).
    pub fn network_transit(&self) -> i64 {
        self.network_transit.load(Ordering::Relaxed)
    }

    /// See [`AudioJitterBuffer::set_minimum_transit`](crate::jitter::AudioJitterBuffer::set_minimum_transit).
    /// To be said with each picture: when none has come for 5 s, it is over.
    pub fn set_minimum_transit(&self, transit: Option<i64>, now: Instant) {
        self.lock().minimum_transit = transit.map(|transit| (transit, now));
    }

    pub(crate) fn minimum_transit(&self, now: Instant) -> Option<i64> {
        let (transit, asked) = self.lock().minimum_transit?;
        (now.saturating_duration_since(asked) < PICTURES_GONE).then_some(transit)
    }

    pub(crate) fn set_position(&self, position: Option<(u32, Instant)>) {
        self.lock().position = position;
    }

    pub(crate) fn set_network_transit(&self, transit: i64) {
        self.network_transit.store(transit, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_is_held_back_only_while_there_are_pictures() {
        let clock = PlayoutClock::default();
        let start = Instant::now();
        assert_eq!(clock.minimum_transit(start), None);
        clock.set_minimum_transit(Some(7), start);
        assert_eq!(clock.minimum_transit(start + PICTURES_GONE / 2), Some(7));
        assert_eq!(clock.minimum_transit(start + PICTURES_GONE), None);
        clock.set_minimum_transit(None, start);
        assert_eq!(clock.minimum_transit(start), None);
    }
}
