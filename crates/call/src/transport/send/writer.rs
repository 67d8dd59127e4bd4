//! The task that writes packets, at the pace of the path.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ahoy_audio::opus::packet_samples;
use ahoy_audio::red::{self, Sound};
use ahoy_bandwidth::WIRE_OVERHEAD;
use ahoy_bandwidth::estimator::ProbeId;
use ahoy_bandwidth::pacer::{Pacer, Priority, Release};
use ahoy_bandwidth::repair;
use ahoy_media::frame::{Copies, EncodedAudio, EncodedFrame};
use ahoy_media::units::Bitrate;
use ahoy_video::rtp_vp8::Vp8Packetizer;
use bytes::Bytes;
use rtc::rtcp;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtp;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::runtime::Runtime;

use super::budget::RepairBudget;
use super::history::History;
use super::queues::SendQueues;
use crate::transport::congestion::{CongestionControl, Pace};
use crate::transport::connection::{Ssrcs, Tracks};
use crate::transport::stats::{Kind, Streams};

/// Between two requests for a key frame to the other side, which makes one a second at most.
const KEY_FRAME_REQUEST_INTERVAL: Duration = Duration::from_millis(250);
/// While more than this waits for the path, no further picture is wanted.
const MAX_BACKLOG: Duration = Duration::from_millis(150);
/// RTP header with the extensions that are added on the way: transport-wide number and section
/// (RFC 8285), in bytes.
const HEADER: usize = 12 + 8;
/// Assumed before the first measurement, as libwebrtc does.
const UNKNOWN_ROUND_TRIP: Duration = Duration::from_millis(100);
/// What sound alone needs: nothing is gained by looking for more.
const SOUND_ONLY: Bitrate = Bitrate::from_kbps(80);

pub(in crate::transport) struct Writer {
    queues: Arc<SendQueues>,
    congestion: Arc<CongestionControl>,
    tracks: Tracks,
    streams: Arc<Streams>,
    runtime: Arc<dyn Runtime>,
    audio: Stream,
    video: Stream,
    packetizer: Vp8Packetizer,
    /// The frame that has begun to leave is not complete.
    within_frame: bool,
    pacer: Pacer<Outgoing>,
    /// Pictures that left, and sound.
    history: History,
    audio_history: History,
    budget: RepairBudget,
    /// Second copies, and when they may go.
    copies: VecDeque<(Instant, Kind, rtp::Packet)>,
    /// The same of pictures that go out twice without being asked for.
    unasked: VecDeque<(Instant, rtp::Packet)>,
    twice: bool,
    /// What the next padding is.
    padding: Option<rtp::Packet>,
    key_frame_requested_at: Option<Instant>,
    /// Sound begins again after silence (RFC 3551 section 4.1).
    next_audio_timestamp: Option<u32>,
}

/// A packet that waits in the pacer. It gets its number when it leaves, so that what is dropped
/// before leaves no gap.
#[derive(Debug)]
enum Outgoing {
    /// With the copies that are to go with it.
    Audio(rtp::Packet, Copies),
    Video(rtp::Packet),
    Repair(Kind, rtp::Packet),
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
        &self,
        payload_type: u8,
        timestamp: u32,
        marker: bool,
        payload: Bytes,
    ) -> rtp::Packet {
        let mut packet = rtp::Packet::default();
        packet.header.version = 2;
        packet.header.payload_type = payload_type;
        packet.header.ssrc = self.ssrc;
        packet.header.timestamp = timestamp;
        packet.header.marker = marker;
        packet.payload = payload;
        packet
    }

    fn number(&mut self, mut packet: rtp::Packet) -> rtp::Packet {
        packet.header.sequence_number = self.sequence_number;
        self.skip_number();
        packet
    }

    fn skip_number(&mut self) {
        self.sequence_number = self.sequence_number.wrapping_add(1);
    }
}

impl Writer {
    pub(in crate::transport) fn new(
        queues: Arc<SendQueues>,
        congestion: Arc<CongestionControl>,
        tracks: Tracks,
        streams: Arc<Streams>,
        runtime: Arc<dyn Runtime>,
        ssrcs: Ssrcs,
    ) -> Self {
        Self {
            pacer: Pacer::new(congestion.estimate().target),
            queues,
            congestion,
            tracks,
            streams,
            runtime,
            audio: Stream::new(ssrcs.audio),
            video: Stream::new(ssrcs.video),
            packetizer: Vp8Packetizer::new(rand::random()),
            within_frame: false,
            history: History::default(),
            audio_history: History::default(),
            budget: RepairBudget::default(),
            copies: VecDeque::new(),
            unasked: VecDeque::new(),
            twice: false,
            padding: None,
            key_frame_requested_at: None,
            next_audio_timestamp: None,
        }
    }

    /// Runs until it is aborted.
    pub(in crate::transport) async fn run(mut self) {
        loop {
            let pace = self.keep_pace();
            self.take_audio();
            self.take_frames();
            self.take_repairs(&pace);
            self.take_unasked();
            self.drop_stale();
            self.prepare_padding();
            while let Some(release) = self.pacer.poll(self.runtime.now()) {
                self.release(release).await;
                self.prepare_padding();
                // What is said now need not wait for the rest of a picture.
                self.take_audio();
            }
            self.queues.set_backed_up(self.pacer.wait() > MAX_BACKLOG);
            self.request_key_frame().await;
            self.wait(pace.next).await;
        }
    }

    fn keep_pace(&mut self) -> Pace {
        let now = self.runtime.now();
        let needed = if self.history.is_empty() {
            SOUND_ONLY
        } else {
            self.queues.needed()
        };
        let pace = self.congestion.drive(now, needed);
        self.pacer.set_rate(now, pace.rate);
        self.twice = pace.twice;
        if let Some(cluster) = pace.probe {
            self.pacer.probe(now, cluster);
        }
        pace
    }

    fn take_audio(&mut self) {
        while let Some(audio) = self.queues.pop_audio() {
            if let Some(payload_type) = self.queues.audio_payload_type() {
                let copies = audio.copies;
                let packet = self.audio_packet(payload_type, audio);
                // Copies are about as large.
                let more = packet.payload.len() * (copies.times() - 1) as usize;
                let bytes = on_wire(&packet) + more;
                let packet = Outgoing::Audio(packet, copies);
                // Sound that cannot be queued is late in any case.
                let _ = self.pacer.enqueue(Priority::Audio, packet, bytes, false);
            }
        }
    }

    fn audio_packet(&mut self, payload_type: u8, audio: EncodedAudio) -> rtp::Packet {
        let continues = self.next_audio_timestamp == Some(audio.rtp_timestamp);
        let samples = packet_samples(&audio.data).unwrap_or_default() as u32;
        let end = audio.rtp_timestamp.wrapping_add(samples);
        self.next_audio_timestamp = Some(end);
        self.streams.captured(Kind::Audio, audio.captured_at, end);
        self.audio
            .packet(payload_type, audio.rtp_timestamp, !continues, audio.data)
    }

    fn take_frames(&mut self) {
        while let Some(frame) = self.queues.pop_frame() {
            if let Some(payload_type) = self.queues.video_payload_type() {
                self.take_frame(payload_type, &frame);
            }
        }
    }

    fn take_frame(&mut self, payload_type: u8, frame: &EncodedFrame) {
        self.streams
            .captured(Kind::Video, frame.captured_at, frame.rtp_timestamp);
        if frame.key_frame {
            // Nobody needs what is older.
            self.drop_pictures();
        }
        let mut complete = true;
        for (marker, payload) in self.packetizer.packetize(&frame.data) {
            let timestamp = frame.rtp_timestamp;
            let packet = self.video.packet(payload_type, timestamp, marker, payload);
            let bytes = on_wire(&packet);
            complete &= self.pacer.enqueue(
                Priority::Video,
                Outgoing::Video(packet),
                bytes,
                frame.key_frame,
            );
        }
        if !complete {
            self.begin_anew();
        }
    }

    fn take_repairs(&mut self, pace: &Pace) {
        let now = self.runtime.now();
        let round_trip = self.streams.round_trip_time().unwrap_or(UNKNOWN_ROUND_TRIP);
        while let Some((kind, number)) = self.queues.pop_repair() {
            let history = match kind {
                Kind::Audio => &mut self.audio_history,
                Kind::Video => &mut self.history,
            };
            let Some((packet, requests)) = history.repair(now, number, round_trip) else {
                continue;
            };
            // Its unasked copy is on its way.
            if self.twice && kind == Kind::Video && requests == 1 {
                continue;
            }
            // A full queue makes no path a long one, and copies would only fill it.
            let empty = round_trip.saturating_sub(pace.queue_delay);
            let copies = repair::copies(requests, pace.loss, empty);
            let at = now + repair::copy_after(round_trip);
            let again = std::iter::repeat_n((at, kind, packet.clone()), copies.saturating_sub(1));
            self.copies.extend(again);
            self.repair(now, kind, packet, pace.target);
        }
        while self.copies.front().is_some_and(|(at, ..)| *at <= now) {
            if let Some((_, kind, packet)) = self.copies.pop_front() {
                self.repair(now, kind, packet, pace.target);
            }
        }
    }

    fn take_unasked(&mut self) {
        let now = self.runtime.now();
        while self.unasked.front().is_some_and(|(at, _)| *at <= now)
            && let Some((_, packet)) = self.unasked.pop_front()
        {
            let bytes = on_wire(&packet);
            let copy = Outgoing::Repair(Kind::Video, packet);
            let _ = self.pacer.enqueue(Priority::Repair, copy, bytes, false);
        }
    }

    fn repair(&mut self, now: Instant, kind: Kind, packet: rtp::Packet, target: Bitrate) {
        let bytes = on_wire(&packet);
        if self.budget.allows(now, bytes, target) {
            let priority = match kind {
                Kind::Audio => Priority::Audio,
                Kind::Video => Priority::Repair,
            };
            let repair = Outgoing::Repair(kind, packet);
            let _ = self.pacer.enqueue(priority, repair, bytes, false);
        }
    }

    /// What has waited too long is late in any case.
    fn drop_stale(&mut self) {
        if self.pacer.is_stale() {
            self.begin_anew();
        }
    }

    fn begin_anew(&mut self) {
        let dropped = self.drop_pictures();
        self.queues.pictures_dropped(u64::from(dropped > 0));
    }

    /// Drops what waits of pictures, and says how many packets that was.
    fn drop_pictures(&mut self) -> usize {
        let dropped = self.pacer.drop_pictures();
        self.history.clear();
        self.copies.retain(|(_, kind, _)| *kind == Kind::Audio);
        self.unasked.clear();
        if std::mem::take(&mut self.within_frame) {
            // A missing number tells the other side that the frame is not whole.
            self.video.skip_number();
        }
        dropped
    }

    /// Fills probes with packets that went out before: the transport cannot send empty padding,
    /// and a packet again may even be of use.
    fn prepare_padding(&mut self) {
        if let Some(wanted) = self.pacer.wanted_padding() {
            let payload = wanted.saturating_sub(HEADER + WIRE_OVERHEAD);
            self.padding = self.history.filling(payload);
            self.pacer.set_padding(self.padding.as_ref().map(on_wire));
        }
    }

    async fn release(&mut self, release: Release<Outgoing>) {
        match release {
            Release::Packet { packet, probe } => match packet {
                Outgoing::Audio(packet, copies) => {
                    let packet = self.audio.number(packet);
                    // Who asks for it again gets it alone.
                    self.audio_history.add(self.runtime.now(), packet.clone());
                    let packet = self.with_copies(packet, copies);
                    self.write(Kind::Audio, packet, probe).await;
                }
                Outgoing::Video(packet) => {
                    self.within_frame = !packet.header.marker;
                    let packet = self.video.number(packet);
                    let now = self.runtime.now();
                    self.history.add(now, packet.clone());
                    if self.twice {
                        let at = now + repair::UNASKED_AFTER;
                        self.unasked.push_back((at, packet.clone()));
                    }
                    self.write(Kind::Video, packet, probe).await;
                }
                Outgoing::Repair(kind, packet) => self.write(kind, packet, probe).await,
            },
            Release::Padding { probe, .. } => {
                if let Some(packet) = self.padding.take() {
                    self.streams.padding_sent();
                    self.write(Kind::Video, packet, Some(probe)).await;
                }
            }
        }
    }

    /// The sound that was numbered last, and what is to go with it, if the other side takes that.
    fn with_copies(&self, mut packet: rtp::Packet, copies: Copies) -> rtp::Packet {
        let Some(payload_type) = self.queues.red_payload_type() else {
            return packet;
        };
        if copies == Copies::NONE {
            return packet;
        }
        let sound = |packet: &rtp::Packet| Sound {
            timestamp: packet.header.timestamp,
            data: packet.payload.clone(),
        };
        let earlier = |distance| self.audio_history.before_last(distance).map(sound);
        packet.payload = red::pack(packet.header.payload_type, &sound(&packet), copies, earlier);
        packet.header.payload_type = payload_type;
        packet
    }

    async fn write(&self, kind: Kind, packet: rtp::Packet, probe: Option<ProbeId>) {
        if let Some(probe) = probe {
            let header = &packet.header;
            self.congestion
                .mark(header.ssrc, header.sequence_number, probe);
        }
        let track: &dyn TrackLocal = match kind {
            Kind::Audio => &*self.tracks.audio,
            Kind::Video => &*self.tracks.video,
        };
        // The error of a failed write holds the whole packet and must not be logged.
        if track.write_rtp(packet).await.is_err() {
            tracing::trace!("a packet could not be sent");
        }
    }

    /// Sends a PLI when one is wanted, allowed and has an address.
    async fn request_key_frame(&mut self) {
        if !self.queues.key_frame_wanted() || self.pause() > Duration::ZERO {
            return;
        }
        let Some(media_ssrc) = self.streams.remote_video_ssrc() else {
            return;
        };
        self.queues.key_frame_requested();
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

    /// Until something is to be sent, congestion control is to be asked, or something changes.
    async fn wait(&self, estimator: Option<Instant>) {
        let now = self.runtime.now();
        let pause = self.pause();
        let asks = self.queues.key_frame_wanted() && pause > Duration::ZERO;
        let request = asks.then(|| now + pause);
        let copy = self.copies.front().map(|(at, ..)| *at);
        let unasked = self.unasked.front().map(|(at, _)| *at);
        let next = [
            estimator,
            self.pacer.next_send_time(now),
            request,
            copy,
            unasked,
        ];
        match next.into_iter().flatten().min() {
            None => self.queues.changed().await,
            Some(next) => {
                // Timers have a resolution of a millisecond.
                let sleep = next.saturating_duration_since(now);
                let sleep = sleep.max(Duration::from_millis(1));
                tokio::select! {
                    () = self.queues.changed() => {}
                    () = self.runtime.sleep(sleep) => {}
                }
            }
        }
    }
}

/// Bytes of a packet on the wire.
fn on_wire(packet: &rtp::Packet) -> usize {
    packet.payload.len() + HEADER + WIRE_OVERHEAD
}
