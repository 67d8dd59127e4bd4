//! What waits for the writer.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ahoy_media::frame::{EncodedAudio, EncodedFrame};
use ahoy_media::units::Bitrate;
use tokio::sync::Notify;

use crate::transport::connection::{OPUS_PAYLOAD_TYPE, VP8_PAYLOAD_TYPE};
use crate::transport::events::MediaReceiver;
use crate::transport::stats::Kind;

/// Pictures that wait for the writer, which takes them at once: a quarter of a second at 30
/// frames per second. When full, pictures are dropped until the next key frame, which is asked
/// for.
const MAX_FRAMES: usize = 8;
/// Sound packets that wait: 200 ms. When full, the oldest is dropped, since the newest is worth
/// most.
const MAX_AUDIO: usize = 10;
/// Packets that are asked for and wait: more than a lossy path loses in a round trip.
const MAX_REPAIRS: usize = 512;
/// The payload type was not agreed on: nothing is sent.
const NOT_NEGOTIATED: u8 = 0;

/// Payload types from the negotiated descriptions, the same both ways (RFC 3264 section 6.1);
/// `None` where the other side takes nothing.
pub(in crate::transport) struct PayloadTypes {
    pub(in crate::transport) audio: Option<u8>,
    /// Of sound with copies in it (RFC 2198).
    pub(in crate::transport) red: Option<u8>,
    pub(in crate::transport) video: Option<u8>,
}

/// What waits to be sent, and what the writer is told and tells.
pub(in crate::transport) struct SendQueues {
    receiver: Arc<dyn MediaReceiver>,
    waiting: Mutex<Waiting>,
    changed: Arc<Notify>,
    audio_payload_type: AtomicU8,
    red_payload_type: AtomicU8,
    video_payload_type: AtomicU8,
    key_frame_wanted: AtomicBool,
    backed_up: AtomicBool,
    /// bit/s.
    needed: AtomicU64,
    frames_dropped: AtomicU64,
    audio_dropped: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    open: bool,
    audio: VecDeque<EncodedAudio>,
    frames: VecDeque<EncodedFrame>,
    repairs: VecDeque<(Kind, u16)>,
    /// A picture is missing: only a key frame makes sense now.
    needs_key_frame: bool,
}

impl SendQueues {
    pub(in crate::transport) fn new(
        receiver: Arc<dyn MediaReceiver>,
        changed: Arc<Notify>,
    ) -> Self {
        Self {
            receiver,
            waiting: Mutex::default(),
            changed,
            audio_payload_type: AtomicU8::new(OPUS_PAYLOAD_TYPE),
            red_payload_type: AtomicU8::new(NOT_NEGOTIATED),
            video_payload_type: AtomicU8::new(VP8_PAYLOAD_TYPE),
            key_frame_wanted: AtomicBool::new(false),
            backed_up: AtomicBool::new(false),
            needed: AtomicU64::new(u64::MAX),
            frames_dropped: AtomicU64::new(0),
            audio_dropped: AtomicU64::new(0),
        }
    }

    /// The connection carries media from now on; the other side has no picture to build upon.
    pub(in crate::transport) fn open(&self) {
        let newly = {
            let mut waiting = self.lock();
            let newly = !waiting.open;
            waiting.open = true;
            waiting.needs_key_frame |= newly;
            newly
        };
        if newly {
            self.receiver.key_frame_requested();
        }
    }

    /// Nothing gets through any more.
    pub(in crate::transport) fn shut(&self) {
        *self.lock() = Waiting::default();
        self.backed_up.store(false, Ordering::Relaxed);
    }

    pub(in crate::transport) fn push_audio(&self, audio: &EncodedAudio) {
        let mut waiting = self.lock();
        if !waiting.open || self.audio_payload_type().is_none() {
            return;
        }
        if waiting.audio.len() == MAX_AUDIO {
            waiting.audio.pop_front();
            self.audio_dropped.fetch_add(1, Ordering::Relaxed);
        }
        waiting.audio.push_back(audio.clone());
        drop(waiting);
        self.changed.notify_one();
    }

    pub(in crate::transport) fn push_frame(&self, frame: &EncodedFrame) {
        let mut waiting = self.lock();
        if !waiting.open || self.video_payload_type().is_none() {
            return;
        }
        let dropped_before = waiting.needs_key_frame;
        let dropped = waiting.push_frame(frame);
        let lost_track = waiting.needs_key_frame && !dropped_before;
        drop(waiting);
        self.frames_dropped.fetch_add(dropped, Ordering::Relaxed);
        if lost_track {
            self.receiver.key_frame_requested();
        }
        self.changed.notify_one();
    }

    /// The other side misses these packets of our picture.
    pub(in crate::transport) fn repair(&self, kind: Kind, missing: impl Iterator<Item = u16>) {
        let mut waiting = self.lock();
        let room = MAX_REPAIRS.saturating_sub(waiting.repairs.len());
        let missing = missing.map(|number| (kind, number));
        waiting.repairs.extend(missing.take(room));
        drop(waiting);
        self.changed.notify_one();
    }

    /// Pictures that waited were dropped; only a key frame makes sense now.
    pub(super) fn pictures_dropped(&self, frames: u64) {
        let frames = frames + self.lock().lose_track();
        self.frames_dropped.fetch_add(frames, Ordering::Relaxed);
        self.receiver.pictures_dropped();
    }

    pub(in crate::transport) fn request_key_frame(&self) {
        self.key_frame_wanted.store(true, Ordering::Relaxed);
        self.changed.notify_one();
    }

    pub(super) fn key_frame_wanted(&self) -> bool {
        self.key_frame_wanted.load(Ordering::Relaxed)
    }

    pub(super) fn key_frame_requested(&self) {
        self.key_frame_wanted.store(false, Ordering::Relaxed);
    }

    /// Whether so much waits that another picture would only make it worse.
    pub(in crate::transport) fn is_backed_up(&self) -> bool {
        self.backed_up.load(Ordering::Relaxed)
    }

    pub(super) fn set_backed_up(&self, backed_up: bool) {
        self.backed_up.store(backed_up, Ordering::Relaxed);
    }

    /// The most that would be sent if the path carried it.
    pub(in crate::transport) fn set_needed(&self, needed: Bitrate) {
        self.needed.store(needed.bps(), Ordering::Relaxed);
    }

    pub(super) fn needed(&self) -> Bitrate {
        Bitrate::from_bps(self.needed.load(Ordering::Relaxed))
    }

    pub(in crate::transport) fn negotiated(&self, types: PayloadTypes) {
        let store = |place: &AtomicU8, value: Option<u8>| {
            place.store(value.unwrap_or(NOT_NEGOTIATED), Ordering::Relaxed);
        };
        store(&self.audio_payload_type, types.audio);
        store(&self.red_payload_type, types.red);
        store(&self.video_payload_type, types.video);
    }

    pub(in crate::transport) fn audio_payload_type(&self) -> Option<u8> {
        negotiated(&self.audio_payload_type)
    }

    pub(in crate::transport) fn red_payload_type(&self) -> Option<u8> {
        negotiated(&self.red_payload_type)
    }

    pub(super) fn video_payload_type(&self) -> Option<u8> {
        negotiated(&self.video_payload_type)
    }

    pub(in crate::transport) fn frames_dropped(&self) -> u64 {
        self.frames_dropped.load(Ordering::Relaxed)
    }

    pub(in crate::transport) fn audio_dropped(&self) -> u64 {
        self.audio_dropped.load(Ordering::Relaxed)
    }

    pub(super) fn pop_audio(&self) -> Option<EncodedAudio> {
        self.lock().audio.pop_front()
    }

    pub(super) fn pop_frame(&self) -> Option<EncodedFrame> {
        self.lock().frames.pop_front()
    }

    pub(super) fn pop_repair(&self) -> Option<(Kind, u16)> {
        self.lock().repairs.pop_front()
    }

    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// How many pictures were dropped.
    fn push_frame(&mut self, frame: &EncodedFrame) -> u64 {
        let full = self.frames.len() == MAX_FRAMES;
        if frame.key_frame {
            // Nothing older is needed behind it, so a full queue makes room at once.
            let stale = if full { self.frames.drain(..).len() } else { 0 };
            self.needs_key_frame = false;
            self.frames.push_back(frame.clone());
            return stale as u64;
        }
        if full || self.needs_key_frame {
            self.needs_key_frame = true;
            return 1;
        }
        self.frames.push_back(frame.clone());
        0
    }

    /// Drops what builds upon what is gone: how many pictures.
    fn lose_track(&mut self) -> u64 {
        let next_key_frame = self.frames.iter().position(|frame| frame.key_frame);
        self.needs_key_frame |= next_key_frame.is_none();
        let lost = next_key_frame.unwrap_or(self.frames.len());
        self.frames.drain(..lost).len() as u64
    }
}

fn negotiated(payload_type: &AtomicU8) -> Option<u8> {
    let value = payload_type.load(Ordering::Relaxed);
    (value != NOT_NEGOTIATED).then_some(value)
}
