//! A participant's picture, decoded in this process.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use ahoy_call::stats::{FrameClock, InboundRtpStats};
use ahoy_media::frame::{EncodedVideoSink, VideoFrame};
use ahoy_video::receive::VideoDecodeThread;

/// Decodes on a thread of its own and counts what is presented. There is no screen: a picture is
/// presented by being handed to `on_picture`, at once, so the newest is always the one presented.
pub(crate) struct Viewer {
    decoder: Arc<VideoDecodeThread>,
    presented: Arc<Mutex<Presented>>,
}

#[derive(Debug, Default)]
struct Presented {
    clock: FrameClock,
    first: Option<Instant>,
}

impl Viewer {
    /// `on_picture` gets every picture and the moment of its presentation, on the decode thread.
    /// `request_key_frame` is called from any thread and must not block.
    pub(crate) fn start(
        mut on_picture: impl FnMut(&VideoFrame, Instant) + Send + 'static,
        request_key_frame: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        let presented = Arc::new(Mutex::new(Presented::default()));
        let counted = Arc::clone(&presented);
        let decoder = VideoDecodeThread::start(
            move |frame| {
                let now = Instant::now();
                {
                    let mut presented = lock(&counted);
                    presented.clock.frame(now);
                    presented.first.get_or_insert(now);
                }
                on_picture(&frame, now);
            },
            request_key_frame,
        );
        Self {
            decoder: Arc::new(decoder),
            presented,
        }
    }

    /// Takes the compressed pictures.
    pub(crate) fn sink(&self) -> Arc<dyn EncodedVideoSink> {
        Arc::clone(&self.decoder) as _
    }

    /// The sender's camera was switched on or off: the gap is no freeze.
    pub(crate) fn paused(&self) {
        lock(&self.presented).clock.pause();
    }

    /// When the first picture was presented.
    pub(crate) fn first_picture(&self) -> Option<Instant> {
        lock(&self.presented).first
    }

    /// Puts what is known here into the statistics of the stream. Freezes are those of the
    /// presented pictures, as webrtc-stats has it.
    pub(crate) fn complete(&self, stats: &mut InboundRtpStats) {
        let decoded = self.decoder.stats();
        stats.frames_decoded = Some(saturated(decoded.frames_decoded));
        stats.key_frames_decoded = Some(saturated(decoded.key_frames_decoded));
        stats.frames_dropped =
            Some(stats.frames_dropped.unwrap_or(0) + saturated(decoded.frames_dropped));
        stats.total_decode_time = Some(decoded.total_decode_time.as_secs_f64());
        if decoded.frames_decoded > 0 {
            stats.frame_width = Some(decoded.frame_width);
            stats.frame_height = Some(decoded.frame_height);
        }
        let presented = lock(&self.presented);
        stats.freeze_count = Some(presented.clock.freezes());
        stats.total_freezes_duration = Some(presented.clock.frozen().as_secs_f64());
    }
}

fn saturated(count: u64) -> u32 {
    count.try_into().unwrap_or(u32::MAX)
}

/// Nothing behind this lock is left half done by a panic.
fn lock(presented: &Mutex<Presented>) -> std::sync::MutexGuard<'_, Presented> {
    presented.lock().unwrap_or_else(PoisonError::into_inner)
}
