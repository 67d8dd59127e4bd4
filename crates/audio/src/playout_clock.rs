//! What lip-sync has to know about the sound of one participant, and to ask of it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between the playout thread, which tells where it stands, and whoever shows the pictures.
#[derive(Debug, Default)]
pub struct PlayoutClock {
    /// Media time in ticks of 48 kHz, and when the sample leaves the speaker.
    position: Mutex<Option<(u32, Instant)>>,
    additional_delay_ms: AtomicU32,
}

impl PlayoutClock {
    /// The sample with the first number as RTP time stamp (ticks of 48 kHz) leaves the speaker at
    /// the second; `None` while nothing of this participant is played.
    pub fn position(&self) -> Option<(u32, Instant)> {
        *self.lock()
    }

    /// Sound is to stay in the jitter buffer for so much longer than the network asks for, to the
    /// millisecond.
    pub fn set_additional_delay(&self, delay: Duration) {
        let ms = u32::try_from(delay.as_millis()).unwrap_or(u32::MAX);
        self.additional_delay_ms.store(ms, Ordering::Relaxed);
    }

    /// See [`Self::set_additional_delay`].
    pub fn additional_delay(&self) -> Duration {
        Duration::from_millis(self.additional_delay_ms.load(Ordering::Relaxed).into())
    }

    pub(crate) fn set_position(&self, position: Option<(u32, Instant)>) {
        *self.lock() = position;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(u32, Instant)>> {
        self.position.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
