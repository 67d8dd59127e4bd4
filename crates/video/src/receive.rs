//! Received pictures that are decoded here: for the headless participant, and where the window
//! cannot decode by itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::vp8::Vp8Decoder;
use ahoy_media::frame::{DecodeCounts, EncodedFrame, EncodedVideoSink, VideoFrame};

/// Frames that may wait for the decoder: half a second at 30 per second. A longer queue would
/// only be delay. When it is full, frames are dropped until the next key frame, which is asked for.
pub const DECODE_QUEUE: usize = 15;
/// How often a key frame is asked for while one is needed.
const REQUEST_INTERVAL: Duration = Duration::from_millis(500);

/// Counters since the start; names follow webrtc-stats (`RTCInboundRtpStreamStats`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VideoDecodeStats {
    /// Pictures handed to the callback.
    pub frames_decoded: u64,
    /// Key frames among them.
    pub key_frames_decoded: u64,
    /// Frames that were not decoded: overload, damage, or no key frame before them.
    pub frames_dropped: u64,
    /// Of these, those of an overload, up to the key frame after it.
    pub frames_given_up: u64,
    /// Times that a key frame was asked for.
    pub key_frames_requested: u64,
    /// Time spent in decoding.
    pub total_decode_time: Duration,
    /// Sum over `frames_decoded` of the quantizer index, 0 to 127.
    pub qp_sum: u64,
    /// Size of the last picture; 0 before the first.
    pub frame_width: u32,
    /// See `frame_width`.
    pub frame_height: u32,
}

/// Decodes on a thread of its own. Dropping it ends the thread.
pub struct VideoDecodeThread {
    shared: Arc<Shared>,
    queue: Option<SyncSender<EncodedFrame>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    /// Frames before the next key frame are of no use.
    key_frame_needed: AtomicBool,
    /// The key frame is needed because of an overload.
    behind: AtomicBool,
    last_request: Mutex<Option<Instant>>,
    request_key_frame: Box<dyn Fn() + Send + Sync>,
    stats: Mutex<VideoDecodeStats>,
}

impl VideoDecodeThread {
    /// Starts the thread. Pictures go to `on_frame` on that thread, with
    /// [`VideoFrame::captured_at`] being the arrival of the frame and [`VideoFrame::number`]
    /// counting the frames that came in. `request_key_frame` is called from any thread and must
    /// not block.
    pub fn start(
        on_frame: impl FnMut(VideoFrame) + Send + 'static,
        request_key_frame: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        let shared = Arc::new(Shared {
            key_frame_needed: AtomicBool::new(true),
            behind: AtomicBool::new(false),
            last_request: Mutex::new(None),
            request_key_frame: Box::new(request_key_frame),
            stats: Mutex::new(VideoDecodeStats::default()),
        });
        let (sender, receiver) = sync_channel(DECODE_QUEUE);
        let thread = std::thread::Builder::new()
            .name("video-decode".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || run(&shared, &receiver, on_frame)
            })
            .inspect_err(|error| tracing::error!(%error, "cannot start the decode thread"))
            .ok();
        Self {
            shared,
            queue: Some(sender),
            thread,
        }
    }

    /// The counters so far.
    pub fn stats(&self) -> VideoDecodeStats {
        *self.shared.stats()
    }
}

impl EncodedVideoSink for VideoDecodeThread {
    fn on_encoded_frame(&self, frame: &EncodedFrame) {
        let needed = self.shared.key_frame_needed.load(Ordering::Acquire);
        if needed && !frame.key_frame {
            self.shared.drop_frame();
            return;
        }
        let Some(queue) = &self.queue else { return };
        // Before sending: the decoder may fail at it at once and set the flag again.
        self.shared.key_frame_needed.store(false, Ordering::Release);
        match queue.try_send(frame.clone()) {
            Ok(()) => self.shared.behind.store(false, Ordering::Release),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.shared.behind.store(true, Ordering::Release);
                self.shared.key_frame_needed.store(true, Ordering::Release);
                self.shared.drop_frame();
            }
        }
    }

    fn decoding(&self) -> DecodeCounts {
        let stats = self.shared.stats();
        DecodeCounts {
            frames: stats.frames_decoded,
            given_up: stats.frames_given_up,
        }
    }
}

impl Drop for VideoDecodeThread {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn stats(&self) -> MutexGuard<'_, VideoDecodeStats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the frame as dropped and asks for a key frame, if that was not just done.
    fn drop_frame(&self) {
        let now = Instant::now();
        let mut last = self
            .last_request
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let request = last.is_none_or(|last| now - last >= REQUEST_INTERVAL);
        if request {
            *last = Some(now);
        }
        drop(last);
        {
            let mut stats = self.stats();
            stats.frames_dropped += 1;
            stats.frames_given_up += u64::from(self.behind.load(Ordering::Acquire));
            stats.key_frames_requested += u64::from(request);
        }
        if request {
            (self.request_key_frame)();
        }
    }
}

fn run(shared: &Shared, queue: &Receiver<EncodedFrame>, mut on_frame: impl FnMut(VideoFrame)) {
    let mut decoder = Vp8Decoder::new();
    for (number, frame) in (0..).zip(queue) {
        if decoder.needs_key_frame() && !frame.key_frame {
            shared.drop_frame();
            continue;
        }
        let began = Instant::now();
        let result = decoder.decode(&frame.data);
        let took = began.elapsed();
        match result {
            Ok(Some(picture)) => {
                {
                    let mut stats = shared.stats();
                    stats.frames_decoded += 1;
                    stats.key_frames_decoded += u64::from(frame.key_frame);
                    stats.total_decode_time += took;
                    stats.qp_sum += u64::from(decoder.last_quantizer());
                    stats.frame_width = picture.resolution().width;
                    stats.frame_height = picture.resolution().height;
                }
                on_frame(VideoFrame {
                    picture,
                    captured_at: frame.captured_at,
                    number,
                });
            }
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(%error, "a received frame could not be decoded");
                shared.key_frame_needed.store(true, Ordering::Release);
                shared.drop_frame();
            }
        }
    }
}
