//! The encode thread: scales, encodes, hands over.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{FORCED_KEY_FRAME_INTERVAL, Shared, VideoEncoding, lock};
use crate::capture::pace::FrameRateLimiter;
use crate::capture::scale::{Scaler, fit};
use crate::vp8::{Vp8Encoder, Vp8EncoderConfig};
use ahoy_media::codec::CodecError;
use ahoy_media::frame::{EncodedFrame, EncodedVideoSink, I420, VideoFrame};
use ahoy_media::pool::FramePool;
use ahoy_media::units::{Resolution, VIDEO_CLOCK_HZ};

/// Runs until the slot is closed.
pub(super) fn run(shared: &Shared, sink: &dyn EncodedVideoSink) {
    let mut thread = EncodeThread::new();
    while let Some(frame) = shared.slot.take() {
        if !sink.wants_frames() {
            lock(&shared.stats).frames_held_back += 1;
            continue;
        }
        let encoding = lock(&shared.settings).effective();
        if !thread.is_due(&frame, encoding.constraints.frame_rate) {
            continue;
        }
        let began = Instant::now();
        let force = thread.take_key_frame_request(shared, began);
        let result = thread.encode(&frame, encoding, force);
        thread.account(shared, &result, began.elapsed());
        match result {
            Ok(Some(encoded)) => sink.on_encoded_frame(&encoded),
            Ok(None) => thread.renew_request(shared, force),
            Err(error) => {
                tracing::warn!(%error, "a picture could not be encoded");
                thread.encoder = None;
                thread.renew_request(shared, force);
            }
        }
    }
}

struct EncodeThread {
    /// Made with the first picture, and anew after a failure.
    encoder: Option<Vp8Encoder>,
    scaler: Scaler,
    pool: FramePool,
    clock: RtpClock,
    /// For fewer frames than the camera delivers, and the rate that it is for.
    limiter: (u32, FrameRateLimiter),
    last_key_frame: Option<Instant>,
}

impl EncodeThread {
    fn new() -> Self {
        Self {
            encoder: None,
            scaler: Scaler::new(),
            pool: FramePool::new(),
            clock: RtpClock::default(),
            limiter: (0, FrameRateLimiter::new(Duration::ZERO)),
            last_key_frame: None,
        }
    }

    /// Whether a frame captured then is one of so many per second.
    fn is_due(&mut self, frame: &VideoFrame, frame_rate: u32) -> bool {
        if self.limiter.0 != frame_rate {
            let interval = Duration::from_secs(1) / frame_rate.max(1);
            self.limiter = (frame_rate, FrameRateLimiter::new(interval));
        }
        self.limiter.1.accept(frame.captured_at)
    }

    /// Whether a key frame is asked for and allowed by now. What is not allowed yet stays asked.
    fn take_key_frame_request(&self, shared: &Shared, now: Instant) -> bool {
        let allowed = self
            .last_key_frame
            .is_none_or(|last| now.saturating_duration_since(last) >= FORCED_KEY_FRAME_INTERVAL);
        let new_taker = shared.new_taker.swap(false, Ordering::AcqRel);
        if new_taker {
            shared.key_frame_requested.store(false, Ordering::Release);
        }
        new_taker || (allowed && shared.key_frame_requested.swap(false, Ordering::AcqRel))
    }

    /// The frame that was to become a key frame did not come to be.
    fn renew_request(&self, shared: &Shared, forced: bool) {
        if forced {
            shared.key_frame_requested.store(true, Ordering::Release);
        }
    }

    fn encode(
        &mut self,
        frame: &VideoFrame,
        encoding: VideoEncoding,
        force_key_frame: bool,
    ) -> Result<Option<EncodedFrame>, CodecError> {
        let VideoEncoding {
            constraints,
            bitrate,
            cpu_used,
        } = encoding;
        let picture = self.scaled(&frame.picture, constraints.resolution)?;
        let timestamp = self.clock.timestamp(frame.captured_at);
        let encoder = match &mut self.encoder {
            Some(encoder) => encoder,
            none => none.insert(Vp8Encoder::new(Vp8EncoderConfig::new(
                picture.resolution(),
                bitrate,
                constraints.frame_rate,
            ))?),
        };
        encoder.set_bitrate(bitrate)?;
        encoder.set_frame_rate(constraints.frame_rate)?;
        encoder.set_cpu_used(cpu_used)?;
        encoder.encode(&picture, timestamp, frame.captured_at, force_key_frame)
    }

    /// The picture itself if it is small enough, or a smaller copy.
    fn scaled(
        &mut self,
        picture: &Arc<I420>,
        largest: Resolution,
    ) -> Result<Arc<I420>, CodecError> {
        let target = fit(picture.resolution(), largest);
        if target == picture.resolution() {
            return Ok(Arc::clone(picture));
        }
        let scaler = &mut self.scaler;
        self.pool
            .fill(target, |small| scaler.scale(picture, small))
            .map_err(|error| CodecError::Encode(error.to_string()))
    }

    fn account(
        &mut self,
        shared: &Shared,
        result: &Result<Option<EncodedFrame>, CodecError>,
        took: Duration,
    ) {
        let mut stats = lock(&shared.stats);
        stats.total_encode_time += took;
        match result {
            Ok(Some(frame)) => {
                stats.frames_encoded += 1;
                stats.bytes_encoded += frame.data.len() as u64;
                stats.key_frames_encoded += u64::from(frame.key_frame);
                stats.frame_width = frame.resolution.width;
                stats.frame_height = frame.resolution.height;
                if let Some(encoder) = &mut self.encoder {
                    stats.qp_sum += u64::from(encoder.last_quantizer());
                }
                if frame.key_frame {
                    self.last_key_frame = Some(Instant::now());
                }
            }
            Ok(None) => stats.frames_dropped += 1,
            Err(_) => stats.frames_failed += 1,
        }
    }
}

/// Media time from capture time.
#[derive(Debug, Default)]
struct RtpClock {
    origin: Option<Instant>,
    last: u64,
}

impl RtpClock {
    /// 90 kHz ticks, always growing: two pictures never have the same time.
    fn timestamp(&mut self, captured_at: Instant) -> u32 {
        let origin = *self.origin.get_or_insert(captured_at);
        let elapsed = captured_at.saturating_duration_since(origin);
        let ticks = elapsed.as_micros() as u64 * u64::from(VIDEO_CLOCK_HZ) / 1_000_000;
        self.last = ticks.max(self.last + 1);
        // The lower 32 bits: RTP time wraps.
        self.last as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_time_follows_capture_time_and_always_grows() {
        let start = Instant::now();
        let mut clock = RtpClock::default();
        let first = clock.timestamp(start);
        let second = clock.timestamp(start + Duration::from_millis(100));
        assert_eq!(second - first, 9000 - 1);
        assert_eq!(
            clock.timestamp(start + Duration::from_millis(100)),
            second + 1
        );
        assert_eq!(clock.timestamp(start), second + 2);
        let day = clock.timestamp(start + Duration::from_secs(86_400));
        assert_eq!(day, (86_400_u64 * 90_000) as u32);
    }
}
