//! From the encode threads to the network: bounded queues, then one task that writes packets,
//! sound before pictures.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ahoy_audio::opus::packet_samples;
use ahoy_media::frame::{EncodedAudio, EncodedFrame};
use ahoy_video::rtp_vp8::Vp8Packetizer;
use bytes::Bytes;
use rtc::rtcp;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtp;
use tokio::sync::Notify;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::runtime::Runtime;

use super::connection::{OPUS_PAYLOAD_TYPE, Ssrcs, Tracks, VP8_PAYLOAD_TYPE};
use super::events::MediaReceiver;
use super::stats::{Kind, Streams};

/// Pictures that wait for the network task: a quarter of a second at 30 frames per second. When
/// full, pictures are dropped until the next key frame, which is asked for.
const MAX_FRAMES: usize = 8;
/// Sound packets that wait: 200 ms. When full, the oldest is dropped, since the newest is worth
/// most.
const MAX_AUDIO: usize = 10;
/// Between two requests for a key frame to the other side, which makes one a second at most.
const KEY_FRAME_REQUEST_INTERVAL: Duration = Duration::from_millis(250);
/// The payload type was not agreed on: nothing is sent.
const NOT_NEGOTIATED: u8 = 0;

/// What waits to be sent.
pub(super) struct SendQueues {
    receiver: Arc<dyn MediaReceiver>,
    waiting: Mutex<Waiting>,
    changed: Notify,
    audio_payload_type: AtomicU8,
    video_payload_type: AtomicU8,
    key_frame_wanted: AtomicBool,
    frames_dropped: AtomicU64,
    audio_dropped: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    open: bool,
    audio: VecDeque<EncodedAudio>,
    frames: VecDeque<EncodedFrame>,
    /// A picture is missing: only a key frame makes sense now.
    needs_key_frame: bool,
}

impl SendQueues {
    pub(super) fn new(receiver: Arc<dyn MediaReceiver>) -> Self {
        Self {
            receiver,
            waiting: Mutex::default(),
            changed: Notify::new(),
            audio_payload_type: AtomicU8::new(OPUS_PAYLOAD_TYPE),
            video_payload_type: AtomicU8::new(VP8_PAYLOAD_TYPE),
            key_frame_wanted: AtomicBool::new(false),
            frames_dropped: AtomicU64::new(0),
            audio_dropped: AtomicU64::new(0),
        }
    }

    /// The connection carries media from now on; the other side has no picture to build upon.
    pub(super) fn open(&self) {
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
    pub(super) fn shut(&self) {
        *self.lock() = Waiting::default();
    }

    pub(super) fn push_audio(&self, audio: &EncodedAudio) {
        let mut waiting = self.lock();
        if !waiting.open || !is_negotiated(&self.audio_payload_type) {
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

    pub(super) fn push_frame(&self, frame: &EncodedFrame) {
        let mut waiting = self.lock();
        if !waiting.open || !is_negotiated(&self.video_payload_type) {
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

    pub(super) fn request_key_frame(&self) {
        self.key_frame_wanted.store(true, Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// Payload types from the negotiated descriptions; `None` where the other side takes nothing.
    pub(super) fn negotiated(&self, audio: Option<u8>, video: Option<u8>) {
        let store = |place: &AtomicU8, value: Option<u8>| {
            place.store(value.unwrap_or(NOT_NEGOTIATED), Ordering::Relaxed);
        };
        store(&self.audio_payload_type, audio);
        store(&self.video_payload_type, video);
    }

    pub(super) fn frames_dropped(&self) -> u64 {
        self.frames_dropped.load(Ordering::Relaxed)
    }

    pub(super) fn audio_dropped(&self) -> u64 {
        self.audio_dropped.load(Ordering::Relaxed)
    }

    fn pop_audio(&self) -> Option<EncodedAudio> {
        self.lock().audio.pop_front()
    }

    fn pop_frame(&self) -> Option<EncodedFrame> {
        self.lock().frames.pop_front()
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
}

fn is_negotiated(payload_type: &AtomicU8) -> bool {
    payload_type.load(Ordering::Relaxed) != NOT_NEGOTIATED
}

/// The task that writes packets.
pub(super) struct Writer {
    queues: Arc<SendQueues>,
    tracks: Tracks,
    streams: Arc<Streams>,
    runtime: Arc<dyn Runtime>,
    audio: Stream,
    video: Stream,
    packetizer: Vp8Packetizer,
    packets: VecDeque<rtp::Packet>,
    key_frame_requested_at: Option<Instant>,
    /// Sound begins again after silence (RFC 3551 section 4.1).
    next_audio_timestamp: Option<u32>,
}

#[derive(Debug)]
struct Stream {
    ssrc: u32,
    sequence_number: u16,
}

impl Stream {
    fn new(ssrc: u32) -> Self {
        Self {
            ssrc,
            // Random and low, so that the first lap cannot be mistaken (RFC 3711 section 3.3.1).
            sequence_number: rand::random::<u16>() & 0x7fff,
        }
    }

    fn packet(
        &mut self,
        payload_type: u8,
        timestamp: u32,
        marker: bool,
        payload: Bytes,
    ) -> rtp::Packet {
        let mut packet = rtp::Packet::default();
        packet.header.version = 2;
        packet.header.payload_type = payload_type;
        packet.header.ssrc = self.ssrc;
        packet.header.sequence_number = self.sequence_number;
        packet.header.timestamp = timestamp;
        packet.header.marker = marker;
        packet.payload = payload;
        self.sequence_number = self.sequence_number.wrapping_add(1);
        packet
    }
}

impl Writer {
    pub(super) fn new(
        queues: Arc<SendQueues>,
        tracks: Tracks,
        streams: Arc<Streams>,
        runtime: Arc<dyn Runtime>,
        ssrcs: Ssrcs,
    ) -> Self {
        Self {
            queues,
            tracks,
            streams,
            runtime,
            audio: Stream::new(ssrcs.audio),
            video: Stream::new(ssrcs.video),
            packetizer: Vp8Packetizer::new(rand::random()),
            packets: VecDeque::new(),
            key_frame_requested_at: None,
            next_audio_timestamp: None,
        }
    }

    /// Runs until it is aborted.
    pub(super) async fn run(mut self) {
        loop {
            self.write_audio().await;
            self.request_key_frame().await;
            if !self.write_video_packet().await {
                self.wait().await;
            }
        }
    }

    async fn write_audio(&mut self) {
        while let Some(audio) = self.queues.pop_audio() {
            let payload_type = self.queues.audio_payload_type.load(Ordering::Relaxed);
            let continues = self.next_audio_timestamp == Some(audio.rtp_timestamp);
            let samples = packet_samples(&audio.data).unwrap_or_default() as u32;
            let end = audio.rtp_timestamp.wrapping_add(samples);
            self.next_audio_timestamp = Some(end);
            self.streams.captured(Kind::Audio, audio.captured_at, end);
            let packet =
                self.audio
                    .packet(payload_type, audio.rtp_timestamp, !continues, audio.data);
            write(&*self.tracks.audio, packet).await;
        }
    }

    /// Whether there was one.
    async fn write_video_packet(&mut self) -> bool {
        if self.packets.is_empty() {
            let Some(frame) = self.queues.pop_frame() else {
                return false;
            };
            self.packetize(&frame);
        }
        if let Some(packet) = self.packets.pop_front() {
            write(&*self.tracks.video, packet).await;
        }
        true
    }

    fn packetize(&mut self, frame: &EncodedFrame) {
        self.streams
            .captured(Kind::Video, frame.captured_at, frame.rtp_timestamp);
        let payload_type = self.queues.video_payload_type.load(Ordering::Relaxed);
        for (marker, payload) in self.packetizer.packetize(&frame.data) {
            let packet = self
                .video
                .packet(payload_type, frame.rtp_timestamp, marker, payload);
            self.packets.push_back(packet);
        }
    }

    /// Sends a PLI when one is wanted, allowed and has an address.
    async fn request_key_frame(&mut self) {
        if !self.queues.key_frame_wanted.load(Ordering::Relaxed) || self.pause() > Duration::ZERO {
            return;
        }
        let Some(media_ssrc) = self.streams.remote_video_ssrc() else {
            return;
        };
        self.queues.key_frame_wanted.store(false, Ordering::Relaxed);
        self.key_frame_requested_at = Some(self.runtime.now());
        let request: Box<dyn rtcp::Packet> = Box::new(PictureLossIndication {
            sender_ssrc: self.video.ssrc,
            media_ssrc,
        });
        if self.tracks.video.write_rtcp(vec![request]).await.is_err() {
            tracing::debug!("a key frame request could not be sent");
        }
    }

    /// How long until the next key frame request is allowed.
    fn pause(&self) -> Duration {
        self.key_frame_requested_at.map_or(Duration::ZERO, |last| {
            (last + KEY_FRAME_REQUEST_INTERVAL).saturating_duration_since(self.runtime.now())
        })
    }

    async fn wait(&self) {
        let pause = self.pause();
        if self.queues.key_frame_wanted.load(Ordering::Relaxed) && pause > Duration::ZERO {
            tokio::select! {
                () = self.queues.changed.notified() => {}
                () = self.runtime.sleep(pause) => {}
            }
        } else {
            self.queues.changed.notified().await;
        }
    }
}

/// The error of a failed write holds the whole packet and must not be logged.
async fn write(track: &dyn TrackLocal, packet: rtp::Packet) {
    if track.write_rtp(packet).await.is_err() {
        tracing::trace!("a packet could not be sent");
    }
}
