//! Pictures on their way out: camera thread → slot → encode thread → sink.
//!
//! | thread | does | waits in | when it is slow |
//! |---|---|---|---|
//! | `video-camera` | opens and reads the source, limits the frame rate | the source | the source drops |
//! | `video-encode` | scales, encodes, calls the sinks | a [`Slot`] of one picture | the newest picture replaces the waiting one |
//!
//! Device, size, rate and bitrate change while it runs; nothing of that is visible to the sink
//! but a key frame when the size changes.
//!
//! The self-view is a stream of its own, small while others watch: the window then decodes a quarter
//! of what it would have to, and what it asks for costs the others nothing.

mod camera;
mod encode;
mod spending;
mod stream;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use ahoy_media::device::MediaEvents;
use ahoy_media::frame::{EncodedVideoSink, VideoFrame};
use ahoy_media::queue::Slot;
use ahoy_media::selection::CameraSelection;
use ahoy_media::units::{Bitrate, Resolution, VideoConstraints};

use crate::vp8::DEFAULT_CPU_USED;

/// What the encoder aims at before anybody says: enough for a watchable 720p, and little enough
/// for most upstreams.
pub const DEFAULT_BITRATE: Bitrate = Bitrate::from_kbps(1500);
/// Largest size of the self-view while others watch: sharp enough for its corner.
pub const PREVIEW_RESOLUTION: Resolution = Resolution::new(480, 270);
/// A stream has at most one forced key frame in this time, however many ask: a key frame costs
/// as much as some ten others, and serves everybody.
pub const FORCED_KEY_FRAME_INTERVAL: Duration = Duration::from_secs(1);
/// How long dropping waits for the camera thread, which may be inside a driver.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Sees every captured picture that is handed on to the encoder, on the camera thread: must
/// return at once.
pub trait CaptureObserver: Send + Sync {
    /// Called right before the hand-over.
    fn captured(&self, frame: &VideoFrame);
}

/// Counters since the start; names follow webrtc-stats (`RTCOutboundRtpStreamStats`,
/// `RTCVideoSourceStats`) where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VideoSendStats {
    /// Pictures that the source delivered.
    pub frames_captured: u64,
    /// Pictures left out because the source is faster than wanted.
    pub frames_skipped: u64,
    /// Pictures left out because the encoder was still busy with an earlier one.
    pub frames_replaced: u64,
    /// Pictures left out before the encoder because nobody could take them in time.
    pub frames_held_back: u64,
    /// Frames handed to the sink.
    pub frames_encoded: u64,
    /// Frames that the encoder's rate control left out.
    pub frames_dropped: u64,
    /// Frames that the encoder failed at.
    pub frames_failed: u64,
    /// Key frames among `frames_encoded`.
    pub key_frames_encoded: u64,
    /// Bytes of VP8 handed to the sink.
    pub bytes_encoded: u64,
    /// Time spent in scaling and encoding.
    pub total_encode_time: Duration,
    /// Sum over `frames_encoded` of the quantizer index, 0 to 127.
    pub qp_sum: u64,
    /// Size of the last encoded frame; 0 before the first.
    pub frame_width: u32,
    /// See `frame_width`.
    pub frame_height: u32,
    /// What the encoder aims at.
    pub target_bitrate: Bitrate,
}

/// The sending half of a video call. Dropping it releases the camera and ends both threads.
pub struct VideoSend {
    shared: Arc<Shared>,
    encode_thread: Option<JoinHandle<()>>,
}

/// What the threads and the handle have in common.
struct Shared {
    request: Mutex<Request>,
    request_changed: Condvar,
    /// Pictures on their way to the encoder.
    slot: Slot<VideoFrame>,
    settings: Mutex<EncodeSettings>,
    preview_key_frame_requested: AtomicBool,
    key_frame_requested: AtomicBool,
    /// As above, but at once.
    new_taker: AtomicBool,
    observer: Mutex<Option<Arc<dyn CaptureObserver>>>,
    stats: Mutex<VideoSendStats>,
    events: MediaEvents,
}

/// What the camera thread is to do.
struct Request {
    camera: CameraSelection,
    wanted: VideoConstraints,
    /// Counts up with every call of [`VideoSend::set_camera`].
    generation: u64,
    closing: bool,
    /// Set by the camera thread when it has released everything.
    closed: bool,
}

/// What the encoder is to do with the pictures of the camera.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VideoEncoding {
    /// Largest size and rate, if the user wants no less. The camera goes on as it is.
    pub constraints: VideoConstraints,
    /// What the encoder aims at.
    pub bitrate: Bitrate,
    /// Effort per frame at 1280x720, see [`DEFAULT_CPU_USED`]; smaller ones get more.
    pub cpu_used: i32,
}

/// What the encode thread is to do.
#[derive(Debug, Clone, Copy)]
struct EncodeSettings {
    wanted: VideoConstraints,
    encoding: Option<VideoEncoding>,
    /// Largest size of the self-view.
    preview: Resolution,
}

impl EncodeSettings {
    /// What the user wants, or less.
    fn effective(&self) -> VideoEncoding {
        let wanted = self.wanted;
        let Some(encoding) = self.encoding else {
            return VideoEncoding {
                constraints: wanted,
                bitrate: DEFAULT_BITRATE,
                cpu_used: DEFAULT_CPU_USED,
            };
        };
        let limit = encoding.constraints;
        let smaller = limit.resolution.pixels() < wanted.resolution.pixels();
        VideoEncoding {
            constraints: VideoConstraints {
                resolution: if smaller { limit } else { wanted }.resolution,
                frame_rate: limit.frame_rate.min(wanted.frame_rate),
            },
            ..encoding
        }
    }
}

impl VideoSend {
    /// Starts both threads, without a camera. Encoded frames for others go to `sink`, those of the
    /// self-view to `preview`, both on the encode thread.
    pub fn start(
        sink: Arc<dyn EncodedVideoSink>,
        preview: Arc<dyn EncodedVideoSink>,
        events: MediaEvents,
    ) -> Self {
        let shared = Arc::new(Shared::new(events));
        let camera = Arc::clone(&shared);
        let encode = Arc::clone(&shared);
        spawn("video-camera", move || camera::run(&camera));
        let encode_thread = spawn("video-encode", move || {
            encode::run(&encode, sink.as_ref(), preview.as_ref());
        });
        Self {
            shared,
            encode_thread,
        }
    }

    /// Switches to this source, size and rate. Returns at once; what happened comes as
    /// [`ahoy_media::device::MediaEvent`]. [`CameraSelection::None`] releases the device. A source that runs is kept
    /// when it would deliver the same again; after a failure, calling again tries again.
    pub fn set_camera(&self, camera: CameraSelection, wanted: VideoConstraints) {
        lock(&self.shared.settings).wanted = wanted;
        let mut request = lock(&self.shared.request);
        request.camera = camera;
        request.wanted = wanted;
        request.generation += 1;
        drop(request);
        self.shared.request_changed.notify_all();
    }

    /// Sets what the encoder does, from the next frame on.
    pub fn set_encoding(&self, encoding: VideoEncoding) {
        lock(&self.shared.settings).encoding = Some(encoding);
        lock(&self.shared.stats).target_bitrate = encoding.bitrate;
    }

    /// Sets the largest size of the self-view.
    pub fn set_preview_resolution(&self, resolution: Resolution) {
        lock(&self.shared.settings).preview = resolution;
    }

    /// Makes the self-view's next frame a key frame.
    pub fn request_preview_key_frame(&self) {
        self.shared
            .preview_key_frame_requested
            .store(true, Ordering::Release);
    }

    /// Makes the next frame a key frame, or the first one that
    /// [`FORCED_KEY_FRAME_INTERVAL`] allows.
    pub fn request_key_frame(&self) {
        self.shared
            .key_frame_requested
            .store(true, Ordering::Release);
    }

    /// Makes the next frame a key frame without waiting for
    /// [`FORCED_KEY_FRAME_INTERVAL`]: for somebody who has just begun to watch, whose first
    /// picture it is. Decided on this side, so that nobody outside can make it frequent.
    pub fn begin_with_key_frame(&self) {
        self.shared.new_taker.store(true, Ordering::Release);
    }

    /// Sets who sees the captured pictures, or nobody.
    pub fn set_observer(&self, observer: Option<Arc<dyn CaptureObserver>>) {
        *lock(&self.shared.observer) = observer;
    }

    /// The counters so far.
    pub fn stats(&self) -> VideoSendStats {
        *lock(&self.shared.stats)
    }
}

impl Drop for VideoSend {
    fn drop(&mut self) {
        lock(&self.shared.request).closing = true;
        self.shared.request_changed.notify_all();
        self.shared.slot.close();
        if let Some(thread) = self.encode_thread.take()
            // The sink may hold the last handle to us: a thread cannot wait for itself.
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
        let request = lock(&self.shared.request);
        let waited =
            self.shared
                .request_changed
                .wait_timeout_while(request, CLOSE_TIMEOUT, |request| !request.closed);
        if matches!(&waited, Ok((_, result)) if result.timed_out()) {
            tracing::warn!("the camera is not released: its driver does not return");
        }
    }
}

impl Shared {
    fn new(events: MediaEvents) -> Self {
        Self {
            request: Mutex::new(Request {
                camera: CameraSelection::None,
                wanted: VideoConstraints::default(),
                generation: 0,
                closing: false,
                closed: false,
            }),
            request_changed: Condvar::new(),
            slot: Slot::new(),
            settings: Mutex::new(EncodeSettings {
                wanted: VideoConstraints::default(),
                encoding: None,
                preview: PREVIEW_RESOLUTION,
            }),
            preview_key_frame_requested: AtomicBool::new(false),
            key_frame_requested: AtomicBool::new(false),
            new_taker: AtomicBool::new(false),
            observer: Mutex::new(None),
            stats: Mutex::new(VideoSendStats {
                target_bitrate: DEFAULT_BITRATE,
                ..VideoSendStats::default()
            }),
            events,
        }
    }
}

/// Nothing behind these locks is left half done by a panic, so a poisoned one is as good.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Without a thread there are no pictures, but there is still a call.
fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Option<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .inspect_err(|error| tracing::error!(%error, name, "cannot start a thread"))
        .ok()
}
