//! One compressed stream of the camera's pictures: scales, encodes, stamps.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::VideoEncoding;
use super::spending::Spending;
use crate::capture::pace::FrameRateLimiter;
use crate::capture::scale::{Scaler, fit};
use crate::vp8::{Vp8Encoder, Vp8EncoderConfig, cpu_used_for};
use ahoy_media::codec::CodecError;
use ahoy_media::frame::{EncodedFrame, I420, VideoFrame};
use ahoy_media::pool::FramePool;
use ahoy_media::units::{Resolution, VIDEO_CLOCK_HZ};

/// An encoder and what goes before it.
pub(super) struct EncodedStream {
    /// Made with the first picture, and anew after a failure.
    encoder: Option<Vp8Encoder>,
    spending: Spending,
    scaler: Scaler,
    pool: FramePool,
    clock: RtpClock,
    /// For fewer frames than the camera delivers, and the rate that it is for.
    limiter: (u32, FrameRateLimiter),
}

impl EncodedStream {
    pub(super) fn new() -> Self {
        Self {
            encoder: None,
            spending: Spending::default(),
            scaler: Scaler::new(),
            pool: FramePool::new(),
            clock: RtpClock::default(),
            limiter: (0, FrameRateLimiter::new(Duration::ZERO)),
        }
    }

    /// Whether a frame captured then is one of so many per second.
    pub(super) fn is_due(&mut self, frame: &VideoFrame, frame_rate: u32) -> bool {
        if self.limiter.0 != frame_rate {
            let interval = Duration::from_secs(1) / frame_rate.max(1);
            self.limiter = (frame_rate, FrameRateLimiter::new(interval));
        }
        self.limiter.1.accept(frame.captured_at)
    }

    /// The compressed picture; `None` when rate control left it out. After an error the next one is
    /// a key frame.
    pub(super) fn encode(
        &mut self,
        frame: &VideoFrame,
        encoding: VideoEncoding,
        force_key_frame: bool,
    ) -> Result<Option<EncodedFrame>, CodecError> {
        let result = self.try_to_encode(frame, encoding, force_key_frame);
        if let Err(error) = &result {
            tracing::warn!(%error, "a picture could not be encoded");
            self.encoder = None;
        }
        result
    }

    /// Quantizer index of the last frame, 0 to 127.
    pub(super) fn last_quantizer(&mut self) -> u64 {
        let encoder = self.encoder.as_mut();
        encoder.map_or(0, |encoder| u64::from(encoder.last_quantizer()))
    }

    fn try_to_encode(
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
        let bitrate = self.spending.ask(frame.captured_at, bitrate);
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
        encoder.set_cpu_used(cpu_used_for(picture.resolution(), cpu_used))?;
        let encoded = encoder.encode(&picture, timestamp, frame.captured_at, force_key_frame)?;
        let bytes = encoded.as_ref().map_or(0, |frame| frame.data.len());
        self.spending.spent(bytes);
        Ok(encoded)
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
