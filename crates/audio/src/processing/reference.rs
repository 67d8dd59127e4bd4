//! What the loudspeaker plays, handed from the playout thread to the audio-send thread.
//!
//! Counted in samples, not in calls: a block says which sample of its device it begins with. What
//! the device had to play because nothing was ready is a gap in these positions, and becomes
//! silence of the same length here.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::{BLOCK_SAMPLES, Block, SILENCE};
use ahoy_media::units::AUDIO_CLOCK_HZ;

/// Blocks on their way to the other thread: 1 s. When nobody takes them they are dropped, and are
/// a gap.
const QUEUE_BLOCKS: usize = 100;
/// A gap that is longer, 2 s, is as good as a new beginning.
const MAX_GAP_SAMPLES: u64 = 96_000;

/// Where a block is on its way to the loudspeaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RenderPosition {
    /// Counts devices: another number, another loudspeaker.
    pub device: u32,
    /// Samples at 48 kHz that the device has played, or will have, before the first one of this
    /// block; those included which it played for want of ours.
    pub position: u64,
    /// When the device takes the first one.
    pub plays_at: Instant,
}

struct Played {
    block: Block,
    at: RenderPosition,
}

/// A handle to say what is played. Cheap to clone; saying it never waits.
#[derive(Clone)]
pub struct RenderReference(Arc<Mutex<rtrb::Producer<Played>>>);

impl RenderReference {
    /// Both ends: one for who plays, one for who listens.
    pub fn new() -> (Self, RenderStream) {
        let (producer, consumer) = rtrb::RingBuffer::new(QUEUE_BLOCKS);
        let handle = Self(Arc::new(Mutex::new(producer)));
        (handle, RenderStream::new(consumer))
    }

    /// These 10 ms will be played. Only one thread is meant to say so, hence nobody ever holds
    /// the lock; a full queue drops the block.
    pub fn push(&self, block: &Block, at: RenderPosition) {
        let mut producer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = producer.push(Played { block: *block, at });
    }
}

/// Who is told about what comes in.
pub trait RenderSink {
    /// The next 10 ms, or less, without a gap to what came before.
    fn extend(&mut self, samples: &[f32]);

    /// From here on it is another loudspeaker.
    fn device_changed(&mut self);
}

/// The listening end: makes one stream without gaps of the blocks.
pub struct RenderStream {
    queue: rtrb::Consumer<Played>,
    last: Option<RenderPosition>,
    /// Samples handed on.
    end: u64,
}

impl RenderStream {
    fn new(queue: rtrb::Consumer<Played>) -> Self {
        Self {
            queue,
            last: None,
            end: 0,
        }
    }

    /// Hands everything on that has come in.
    pub fn drain(&mut self, sink: &mut impl RenderSink) {
        while let Ok(played) = self.queue.pop() {
            let gap = self.gap(&played.at);
            if self.last.is_some_and(|it| it.device != played.at.device) {
                sink.device_changed();
            }
            self.end += gap;
            let mut left = gap as usize;
            while left > 0 {
                let piece = left.min(BLOCK_SAMPLES);
                sink.extend(&SILENCE[..piece]);
                left -= piece;
            }
            sink.extend(&played.block);
            self.end += BLOCK_SAMPLES as u64;
            self.last = Some(played.at);
        }
    }

    /// Silence between the last block and this one: on one device by its positions, between
    /// two devices by the clock.
    fn gap(&self, at: &RenderPosition) -> u64 {
        let Some(last) = self.last else { return 0 };
        let gap = if last.device == at.device {
            at.position
                .saturating_sub(last.position + BLOCK_SAMPLES as u64)
        } else {
            let pause = at.plays_at.saturating_duration_since(last.plays_at);
            samples(pause).saturating_sub(BLOCK_SAMPLES as u64)
        };
        gap.min(MAX_GAP_SAMPLES)
    }

    /// Samples handed on so far.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Which sample the loudspeaker plays at `now`, counted like [`Self::end`]; `None` before
    /// anything was played or long after.
    pub fn playing(&self, now: Instant) -> Option<f64> {
        let last = self.last?;
        let begins = (self.end - BLOCK_SAMPLES as u64) as f64;
        let ahead = last.plays_at.saturating_duration_since(now);
        let since = now.saturating_duration_since(last.plays_at);
        let fresh = since < Duration::from_secs(1);
        fresh.then_some(begins + (since.as_secs_f64() - ahead.as_secs_f64()) * RATE)
    }
}

const RATE: f64 = AUDIO_CLOCK_HZ as f64;

fn samples(duration: Duration) -> u64 {
    (duration.as_secs_f64() * RATE) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Heard {
        samples: Vec<f32>,
        devices: u32,
    }

    impl RenderSink for Heard {
        fn extend(&mut self, samples: &[f32]) {
            self.samples.extend_from_slice(samples);
        }

        fn device_changed(&mut self) {
            self.devices += 1;
        }
    }

    fn at(device: u32, position: u64, epoch: Instant, ms: u64) -> RenderPosition {
        RenderPosition {
            device,
            position,
            plays_at: epoch + Duration::from_millis(ms),
        }
    }

    #[test]
    fn underruns_are_silence_of_their_length() {
        let (reference, mut stream) = RenderReference::new();
        let (mut heard, epoch) = (Heard::default(), Instant::now());
        reference.push(&[0.1; BLOCK_SAMPLES], at(1, 1_000, epoch, 0));
        reference.push(&[0.2; BLOCK_SAMPLES], at(1, 1_000 + 480 + 777, epoch, 26));
        stream.drain(&mut heard);
        assert_eq!(heard.samples.len(), 480 + 777 + 480);
        assert_eq!(heard.samples[479..481], [0.1, 0.0]);
        assert_eq!(heard.samples[480 + 776..480 + 778], [0.0, 0.2]);
        assert_eq!(stream.end(), heard.samples.len() as u64);
        let playing = stream.playing(epoch + Duration::from_millis(36));
        assert!((playing.expect("fresh") - heard.samples.len() as f64).abs() < 0.1);
        assert_eq!(stream.playing(epoch + Duration::from_secs(3)), None);
    }

    #[test]
    fn another_device_is_announced_and_follows_by_the_clock() {
        let (reference, mut stream) = RenderReference::new();
        let (mut heard, epoch) = (Heard::default(), Instant::now());
        reference.push(&[0.1; BLOCK_SAMPLES], at(1, 96_000, epoch, 0));
        reference.push(&[0.2; BLOCK_SAMPLES], at(2, 0, epoch, 50));
        stream.drain(&mut heard);
        assert_eq!((heard.devices, heard.samples.len()), (1, 2_400 + 480));
    }

    #[test]
    fn nonsense_positions_do_no_harm() {
        let (reference, mut stream) = RenderReference::new();
        let (mut heard, epoch) = (Heard::default(), Instant::now());
        for position in [u64::MAX / 2, 0, 5, u64::MAX / 2] {
            reference.push(&[0.1; BLOCK_SAMPLES], at(1, position, epoch, 0));
        }
        stream.drain(&mut heard);
        assert!(heard.samples.len() as u64 <= 4 * 480 + MAX_GAP_SAMPLES);
    }

    #[test]
    fn what_nobody_listens_to_is_dropped() {
        let (reference, mut stream) = RenderReference::new();
        let (mut heard, epoch) = (Heard::default(), Instant::now());
        for i in 0..300 {
            reference.push(&[0.1; BLOCK_SAMPLES], at(1, i * 480, epoch, i * 10));
        }
        reference.clone().push(&SILENCE, at(1, 0, epoch, 0));
        stream.drain(&mut heard);
        assert_eq!(heard.samples.len(), QUEUE_BLOCKS * BLOCK_SAMPLES);
    }
}
