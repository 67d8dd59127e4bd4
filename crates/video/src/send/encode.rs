//! The encode thread: encodes for the others and for the self-view, and hands over.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::stream::EncodedStream;
use super::{FORCED_KEY_FRAME_INTERVAL, Shared, VideoEncoding, lock};
use ahoy_media::codec::CodecError;
use ahoy_media::frame::{EncodedFrame, EncodedVideoSink, VideoFrame};
use ahoy_media::units::{Bitrate, VideoConstraints};

/// The self-view crosses no network, so only effort counts.
const PREVIEW_BITRATE: Bitrate = Bitrate::from_kbps(2000);
const PREVIEW_CPU_USED: i32 = -16;

/// Runs until the slot is closed.
pub(super) fn run(shared: &Shared, sink: &dyn EncodedVideoSink, preview: &dyn EncodedVideoSink) {
    let mut sent = Sent::new();
    let mut previewed = EncodedStream::new();
    while let Some(frame) = shared.slot.take() {
        let (for_others, for_us) = (sink.wants_frames(), preview.wants_frames());
        if !for_others && !for_us {
            lock(&shared.stats).frames_held_back += 1;
            continue;
        }
        let (encoding, small) = {
            let settings = lock(&shared.settings);
            (settings.effective(), settings.preview)
        };
        if for_others && let Some(encoded) = sent.encode(shared, &frame, encoding) {
            sink.on_encoded_frame(&encoded);
        }
        if for_us {
            let encoding = VideoEncoding {
                constraints: VideoConstraints {
                    resolution: small,
                    ..encoding.constraints
                },
                bitrate: PREVIEW_BITRATE,
                cpu_used: PREVIEW_CPU_USED,
            };
            let asked = &shared.preview_key_frame_requested;
            if let Some(encoded) = show(&mut previewed, &frame, encoding, asked) {
                preview.on_encoded_frame(&encoded);
            }
        }
    }
}

/// The next picture of the self-view, if one is due.
fn show(
    stream: &mut EncodedStream,
    frame: &VideoFrame,
    encoding: VideoEncoding,
    key_frame_requested: &AtomicBool,
) -> Option<EncodedFrame> {
    if !stream.is_due(frame, encoding.constraints.frame_rate) {
        return None;
    }
    let force = key_frame_requested.swap(false, Ordering::AcqRel);
    let encoded = stream.encode(frame, encoding, force).ok().flatten();
    if force && encoded.is_none() {
        key_frame_requested.store(true, Ordering::Release);
    }
    encoded
}

/// What the others get.
struct Sent {
    stream: EncodedStream,
    last_key_frame: Option<Instant>,
}

impl Sent {
    fn new() -> Self {
        Self {
            stream: EncodedStream::new(),
            last_key_frame: None,
        }
    }

    /// The next picture, if one is due.
    fn encode(
        &mut self,
        shared: &Shared,
        frame: &VideoFrame,
        encoding: VideoEncoding,
    ) -> Option<EncodedFrame> {
        if !self.stream.is_due(frame, encoding.constraints.frame_rate) {
            return None;
        }
        let began = Instant::now();
        let force = self.take_key_frame_request(shared, began);
        let result = self.stream.encode(frame, encoding, force);
        self.account(shared, &result, began.elapsed());
        let encoded = result.ok().flatten();
        if force && encoded.is_none() {
            // The frame that was to become a key frame did not come to be.
            shared.key_frame_requested.store(true, Ordering::Release);
        }
        encoded
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
                stats.qp_sum += self.stream.last_quantizer();
                if frame.key_frame {
                    self.last_key_frame = Some(Instant::now());
                }
            }
            Ok(None) => stats.frames_dropped += 1,
            Err(_) => stats.frames_failed += 1,
        }
    }
}
