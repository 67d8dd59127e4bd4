//! One stream of compressed frames to any number of takers: peers, windows, recorders.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use ahoy_media::frame::{
    DecodeCounts, EncodedAudio, EncodedAudioSink, EncodedFrame, EncodedVideoSink,
};

/// Takers by number. Behind an `Arc` of its own, so that a frame is handed out without the lock.
type Takers<S> = Arc<Vec<(u64, Arc<S>)>>;

/// Hands everything on to all takers, in the order in which they came.
pub struct FanOut<S: ?Sized> {
    takers: Mutex<(u64, Takers<S>)>,
}

impl<S: ?Sized> Default for FanOut<S> {
    fn default() -> Self {
        Self {
            takers: Mutex::new((0, Arc::default())),
        }
    }
}

impl<S: ?Sized + Send + Sync + 'static> FanOut<S> {
    /// Adds a taker until the subscription is dropped.
    pub fn subscribe(self: &Arc<Self>, taker: Arc<S>) -> Subscription {
        let number = self.change(|next, takers| {
            *next += 1;
            takers.push((*next, taker));
            *next
        });
        let fan_out: Weak<Self> = Arc::downgrade(self);
        Subscription(Some(Box::new(move || {
            if let Some(fan_out) = fan_out.upgrade() {
                fan_out.change(|_, takers| takers.retain(|(other, _)| *other != number));
            }
        })))
    }

    /// Whether anybody takes what comes.
    pub fn has_takers(&self) -> bool {
        !self.takers().is_empty()
    }

    fn change<R>(&self, edit: impl FnOnce(&mut u64, &mut Vec<(u64, Arc<S>)>) -> R) -> R {
        let mut guard = self.takers.lock().unwrap_or_else(PoisonError::into_inner);
        let (next, takers) = &mut *guard;
        edit(next, Arc::make_mut(takers))
    }

    fn takers(&self) -> Takers<S> {
        let guard = self.takers.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&guard.1)
    }
}

impl EncodedVideoSink for FanOut<dyn EncodedVideoSink> {
    fn on_encoded_frame(&self, frame: &EncodedFrame) {
        for (_, taker) in self.takers().iter() {
            taker.on_encoded_frame(frame);
        }
    }

    fn wants_frames(&self) -> bool {
        let takers = self.takers();
        !takers.is_empty() && takers.iter().all(|(_, taker)| taker.wants_frames())
    }

    fn decoding(&self) -> DecodeCounts {
        let takers = self.takers();
        takers.iter().map(|(_, taker)| taker.decoding()).sum()
    }
}

impl EncodedAudioSink for FanOut<dyn EncodedAudioSink> {
    fn on_encoded_audio(&self, audio: &EncodedAudio) {
        for (_, taker) in self.takers().iter() {
            taker.on_encoded_audio(audio);
        }
    }
}

/// Keeps a taker subscribed; dropping it ends that.
#[must_use = "dropping a subscription ends it"]
pub struct Subscription(Option<Box<dyn FnOnce() + Send + Sync>>);

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(end) = self.0.take() {
            end();
        }
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Subscription")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Instant;

    use ahoy_media::units::Resolution;
    use bytes::Bytes;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicU32);

    impl EncodedVideoSink for Count {
        fn on_encoded_frame(&self, _frame: &EncodedFrame) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }

        fn decoding(&self) -> DecodeCounts {
            DecodeCounts {
                frames: self.0.load(Ordering::Relaxed).into(),
                given_up: 1,
            }
        }
    }

    #[test]
    fn takers_get_frames_until_they_leave() {
        let fan_out = Arc::new(FanOut::<dyn EncodedVideoSink>::default());
        let frame = EncodedFrame {
            data: Bytes::new(),
            key_frame: true,
            rtp_timestamp: 0,
            captured_at: Instant::now(),
            resolution: Resolution::new(2, 2),
        };
        let (first, second) = (Arc::new(Count::default()), Arc::new(Count::default()));
        let keep = fan_out.subscribe(Arc::clone(&first) as _);
        let leave = fan_out.subscribe(Arc::clone(&second) as _);
        fan_out.on_encoded_frame(&frame);
        let (frames, given_up) = (2, 2);
        assert_eq!(fan_out.decoding(), DecodeCounts { frames, given_up });
        drop(leave);
        fan_out.on_encoded_frame(&frame);
        assert_eq!(first.0.load(Ordering::Relaxed), 2);
        assert_eq!(second.0.load(Ordering::Relaxed), 1);
        drop(keep);
        assert!(!fan_out.has_takers());
    }
}
