//! The video jitter buffer: RTP packets in any order to whole VP8 frames in decoding order.
//!
//! ```text
//!                complete key frame
//!  NeedsKeyFrame ──────────────────▶ Playing
//!        ▲                              │
//!        └──────────────────────────────┘
//!     a gap that was not repaired in time,
//!     or anything else that breaks the chain
//! ```
//!
//! While *Playing*, every frame is handed on at the push of its last packet: in order, each one
//! directly after the one before it. A gap holds everything back for a bounded time, for the
//! repair (RTX) to come in. If it does not, nothing is handed on until a key frame is whole: a
//! frame with a broken reference would show garbage.

mod loss;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use self::loss::{Arrival, PacketLog};
use crate::rtp_vp8::parse_descriptor;
use crate::vp8_header::Vp8FrameHeader;
use ahoy_media::frame::EncodedFrame;
use ahoy_media::rtp::RtpPacket;
use ahoy_media::units::Resolution;

/// Most packets that wait. A 1080p key frame has some 300; this leaves room for half a second at
/// 20 Mbit/s. When it is full, everything is dropped and a key frame is asked for.
pub const MAX_PACKETS: usize = 1024;
/// Most payload bytes that wait: [`MAX_PACKETS`] of ordinary length. Same rule when full.
pub const MAX_BYTES: usize = MAX_PACKETS * 1500;
/// Most frames that wait to be polled: three seconds at 30 per second, more than come together
/// when a gap that everything waited for is filled. Same rule when full.
pub const MAX_READY: usize = 90;
/// How often a key frame is asked for again. A request may be lost like anything else; one per
/// round trip is enough.
pub const KEY_FRAME_REQUEST_INTERVAL: Duration = Duration::from_millis(500);
/// How long a gap may wait for its repair until somebody says.
pub const DEFAULT_REPAIR_WAIT: Duration = Duration::from_millis(900);
/// Bounds of that wait: below, reordering alone would break the chain; above, nobody wants to see
/// what was meant to come.
const REPAIR_WAIT_RANGE: (Duration, Duration) =
    (Duration::from_millis(100), Duration::from_secs(2));
/// How long the beginning of the first key frame may come after its other packets before a new
/// one is asked for.
const START_GRACE: Duration = Duration::from_millis(30);
/// Age at which packets are forgotten that no key frame precedes.
const ORPHAN_AGE: Duration = Duration::from_secs(1);

/// What the buffer has to give.
#[derive(Debug, Clone)]
pub enum VideoOutput {
    /// The next frame in decoding order.
    Frame(EncodedFrame),
    /// Ask the sender for a key frame (PLI, RFC 4585 section 6.3.1).
    NeedKeyFrame,
}

/// Counters; the names follow webrtc-stats (`RTCInboundRtpStreamStats`) where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct VideoJitterStats {
    /// Different RTP packets that came in.
    pub packets_received: u64,
    /// Packets that were expected and have not come, repairs taken into account.
    pub packets_lost: u64,
    /// Packets that came more than once.
    pub duplicates: u64,
    /// Payload bytes of `packets_received`.
    pub bytes_received: u64,
    /// Packets without a readable VP8 payload; such as only fill up are not counted.
    pub packets_malformed: u64,
    /// Frames handed on.
    pub frames_assembled: u64,
    /// Key frames among them.
    pub key_frames_assembled: u64,
    /// Frames whose first packet came and that were not handed on.
    pub frames_dropped: u64,
    /// Times that [`VideoOutput::NeedKeyFrame`] was given out.
    pub key_frames_requested: u64,
    /// Interarrival jitter (RFC 3550 section 6.4.1).
    pub jitter: Duration,
    /// Sum over `frames_assembled` of the time from a frame's first packet to its hand-over.
    pub jitter_buffer_delay: Duration,
}

/// See the module's description. Take everything from [`poll`](Self::poll) after each
/// [`push`](Self::push) and when [`poll_timeout`](Self::poll_timeout) has passed.
#[derive(Debug)]
pub struct VideoJitterBuffer {
    log: PacketLog,
    packets: BTreeMap<i64, Stored>,
    bytes: usize,
    /// Those of `packets` that begin a key frame.
    key_starts: BTreeSet<i64>,
    /// Everything below is done with.
    floor: i64,
    /// The frame that is being put together: first packet, and the first one not yet seen.
    head: Option<Head>,
    /// Whether every frame before `head` was handed on.
    playing: bool,
    resolution: Resolution,
    repair_wait: Duration,
    request: Request,
    last_request: Option<Instant>,
    ready: VecDeque<Ready>,
    stats: VideoJitterStats,
}

#[derive(Debug)]
struct Stored {
    timestamp: u32,
    marker: bool,
    /// Begins a frame.
    start: bool,
    /// VP8 data without descriptor; empty in a packet that only fills up.
    data: Bytes,
    arrival: Instant,
}

/// A whole frame.
#[derive(Debug)]
struct Ready {
    frame: EncodedFrame,
    first_arrival: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Head {
    first: i64,
    /// First packet that has not been looked at; the missing one, when the head is stuck.
    cursor: i64,
    /// Since when packets behind a missing one are there.
    gap_since: Option<Instant>,
}

impl Head {
    const fn at(first: i64) -> Self {
        Self {
            first,
            cursor: first,
            gap_since: None,
        }
    }
}

/// Where asking for a key frame stands.
#[derive(Debug, Clone, Copy)]
enum Request {
    /// Not needed.
    None,
    /// To be sent at this time, if it is still needed then.
    Due(Instant),
}

/// How far the head has come.
enum Progress {
    /// All packets up to this one, included, are a whole frame.
    Complete(i64),
    Missing,
    /// What is there can never become a frame.
    Broken,
}

impl Default for VideoJitterBuffer {
    fn default() -> Self {
        Self::new()
    }
}

impl VideoJitterBuffer {
    /// An empty buffer that waits for its first key frame.
    pub fn new() -> Self {
        Self {
            log: PacketLog::default(),
            packets: BTreeMap::new(),
            bytes: 0,
            key_starts: BTreeSet::new(),
            floor: i64::MIN,
            head: None,
            playing: false,
            resolution: Resolution::new(0, 0),
            repair_wait: DEFAULT_REPAIR_WAIT,
            request: Request::None,
            last_request: None,
            ready: VecDeque::new(),
            stats: VideoJitterStats::default(),
        }
    }

    /// Sets how long a gap waits for its repair, 100 ms to 2 s.
    pub fn set_repair_wait(&mut self, wait: Duration) {
        let (least, most) = REPAIR_WAIT_RANGE;
        self.repair_wait = wait.clamp(least, most);
    }

    /// Takes a packet in. Packets of another SSRC than before begin a new stream.
    pub fn push(&mut self, packet: RtpPacket, now: Instant) {
        let sequence = match self.log.register(&packet) {
            Arrival::New(sequence) => sequence,
            Arrival::NewStream(sequence) => {
                self.restart(now);
                self.floor = i64::MIN;
                sequence
            }
            Arrival::Duplicate | Arrival::Suspicious => return,
        };
        if sequence < self.floor {
            return;
        }
        let Some(stored) = self.understand(packet) else {
            return;
        };
        if self.packets.len() >= MAX_PACKETS || self.bytes + stored.data.len() > MAX_BYTES {
            self.restart(now);
        }
        self.store(sequence, stored);
        self.choose_head(sequence);
        self.advance(now);
        self.jump_to_key_frame(sequence, now);
        self.forget_orphans(now);
        if !self.playing && matches!(self.request, Request::None) {
            self.request = Request::Due(now + START_GRACE);
        }
    }

    /// Says that the decoder could not use the last frame: nothing is handed on before the next
    /// key frame.
    pub fn require_key_frame(&mut self, now: Instant) {
        while self
            .ready
            .front()
            .is_some_and(|ready| !ready.frame.key_frame)
        {
            self.ready.pop_front();
            self.stats.frames_dropped += 1;
        }
        if self.playing && self.ready.is_empty() {
            self.playing = false;
            self.abandon_head(now);
        }
    }

    /// What there is to do at `now`; call until `None`.
    pub fn poll(&mut self, now: Instant) -> Option<VideoOutput> {
        self.give_up_on_gap(now);
        if let Some(ready) = self.ready.pop_front() {
            self.stats.frames_assembled += 1;
            self.stats.key_frames_assembled += u64::from(ready.frame.key_frame);
            self.stats.jitter_buffer_delay += now.saturating_duration_since(ready.first_arrival);
            return Some(VideoOutput::Frame(ready.frame));
        }
        self.poll_request(now).then_some(VideoOutput::NeedKeyFrame)
    }

    /// When [`poll`](Self::poll) has to be called next, if nothing is pushed before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let gap = self
            .head
            .and_then(|head| head.gap_since)
            .map(|since| since + self.repair_wait);
        let request = self.request_at();
        gap.into_iter().chain(request).min()
    }

    /// The counters so far.
    pub fn stats(&self) -> VideoJitterStats {
        VideoJitterStats {
            packets_received: self.log.received(),
            packets_lost: self.log.lost(),
            duplicates: self.log.duplicates(),
            jitter: self.log.jitter(),
            ..self.stats
        }
    }

    fn understand(&mut self, packet: RtpPacket) -> Option<Stored> {
        self.stats.bytes_received += packet.payload.len() as u64;
        let (start, data) = if packet.payload.is_empty() {
            // Padding, with which a sender probes the bandwidth: it takes up a sequence number.
            (false, Bytes::new())
        } else {
            let Some(descriptor) = parse_descriptor(&packet.payload) else {
                self.stats.packets_malformed += 1;
                return None;
            };
            (
                descriptor.frame_start(),
                packet.payload.slice(descriptor.len..),
            )
        };
        Some(Stored {
            timestamp: packet.timestamp,
            marker: packet.marker,
            start,
            data,
            arrival: packet.arrival,
        })
    }

    fn store(&mut self, sequence: i64, stored: Stored) {
        if stored.start && stored.data.first().is_some_and(|first| first & 1 == 0) {
            self.key_starts.insert(sequence);
        }
        self.bytes += stored.data.len();
        self.packets.insert(sequence, stored);
    }

    /// Without a head, the earliest beginning of a key frame becomes it.
    fn choose_head(&mut self, sequence: i64) {
        let earlier = self.head.is_none_or(|head| sequence < head.first);
        if !self.playing && earlier && self.key_starts.contains(&sequence) {
            self.head = Some(Head::at(sequence));
        }
    }

    /// If the packet just stored has completed a key frame behind a gap, the gap does not matter
    /// any more.
    fn jump_to_key_frame(&mut self, sequence: i64, now: Instant) {
        let Some(stuck) = self.head else { return };
        let Some(&start) = self.key_starts.range(..=sequence).next_back() else {
            return;
        };
        if start <= stuck.first {
            return;
        }
        if matches!(self.walk(&mut Head::at(start)), Progress::Complete(_)) {
            self.playing = false;
            self.drop_below(start);
            self.head = Some(Head::at(start));
            self.advance(now);
        }
    }

    /// Hands on every frame that is whole.
    fn advance(&mut self, now: Instant) {
        while let Some(mut head) = self.head {
            self.skip_padding(&mut head);
            match self.walk(&mut head) {
                Progress::Complete(last) => {
                    if !self.finish(head.first, last) {
                        self.playing = false;
                        self.drop_below(last + 1);
                        self.abandon_head(now);
                    }
                }
                Progress::Missing => {
                    self.note_gap(&mut head);
                    self.head = Some(head);
                    return;
                }
                Progress::Broken => {
                    self.playing = false;
                    self.drop_below(head.cursor + 1);
                    self.abandon_head(now);
                }
            }
        }
    }

    fn skip_padding(&mut self, head: &mut Head) {
        while head.cursor == head.first
            && self
                .packets
                .get(&head.first)
                .is_some_and(|packet| packet.data.is_empty())
        {
            self.remove(head.first);
            *head = Head::at(head.first + 1);
            self.floor = self.floor.max(head.first);
        }
    }

    /// Looks at one packet after the other, from the cursor on.
    fn walk(&self, head: &mut Head) -> Progress {
        let first_timestamp = self.packets.get(&head.first).map(|packet| packet.timestamp);
        for (&sequence, packet) in self.packets.range(head.cursor..) {
            if sequence != head.cursor {
                return Progress::Missing;
            }
            let at_first = sequence == head.first;
            if at_first && !packet.start {
                return Progress::Broken;
            }
            // The next frame begins although no marker was seen: markers are only a hint.
            if !at_first && !packet.data.is_empty() && Some(packet.timestamp) != first_timestamp {
                return Progress::Complete(sequence - 1);
            }
            head.cursor = sequence + 1;
            head.gap_since = None;
            if packet.marker {
                return Progress::Complete(sequence);
            }
        }
        Progress::Missing
    }

    fn note_gap(&self, head: &mut Head) {
        if head.gap_since.is_none() {
            head.gap_since = self
                .packets
                .range(head.cursor + 1..)
                .next()
                .map(|(_, packet)| packet.arrival);
        }
    }

    /// Hands on the frame from `first` to `last`; false when it is unusable.
    fn finish(&mut self, first: i64, last: i64) -> bool {
        if self.ready.len() >= MAX_READY {
            self.drop_ready();
            return false;
        }
        let Some(ready) = self.assemble(first, last) else {
            return false;
        };
        if ready.frame.key_frame {
            self.resolution = ready.frame.resolution;
            self.drop_below(first);
        }
        self.ready.push_back(ready);
        self.playing = true;
        self.request = Request::None;
        for sequence in first..=last {
            self.remove(sequence);
        }
        self.floor = last + 1;
        self.head = Some(Head::at(last + 1));
        true
    }

    fn drop_ready(&mut self) {
        self.stats.frames_dropped += self.ready.len() as u64;
        self.ready.clear();
    }

    fn assemble(&self, first: i64, last: i64) -> Option<Ready> {
        let packets = || self.packets.range(first..=last).map(|(_, packet)| packet);
        let data = match packets().count() {
            1 => packets().next()?.data.clone(),
            _ => {
                let mut data = BytesMut::with_capacity(packets().map(|p| p.data.len()).sum());
                packets().for_each(|packet| data.extend_from_slice(&packet.data));
                data.freeze()
            }
        };
        let (key_frame, resolution) = match Vp8FrameHeader::parse(&data)? {
            Vp8FrameHeader::Key { resolution } => (true, resolution),
            Vp8FrameHeader::Delta => (false, self.resolution),
        };
        (key_frame || self.playing).then_some(())?;
        Some(Ready {
            frame: EncodedFrame {
                data,
                key_frame,
                rtp_timestamp: self.packets.get(&first)?.timestamp,
                captured_at: packets().map(|packet| packet.arrival).max()?,
                resolution,
            },
            first_arrival: packets().map(|packet| packet.arrival).min()?,
        })
    }

    fn give_up_on_gap(&mut self, now: Instant) {
        while let Some(head) = self.head
            && head
                .gap_since
                .is_some_and(|since| now >= since + self.repair_wait)
        {
            self.playing = false;
            self.drop_below(head.cursor);
            self.abandon_head(now);
            self.advance(now);
        }
    }

    /// The chain is broken at the head: go on with the next key frame that has begun.
    fn abandon_head(&mut self, now: Instant) {
        self.head = None;
        if let Some(&start) = self.key_starts.range(self.floor..).next() {
            self.drop_below(start);
            self.head = Some(Head::at(start));
        }
        if matches!(self.request, Request::None) {
            self.request = Request::Due(now);
        }
    }

    /// Drops everything. What is older than the last frame handed on stays unwanted.
    fn restart(&mut self, now: Instant) {
        self.drop_ready();
        self.discard_below(i64::MAX);
        self.head = None;
        self.playing = false;
        self.request = Request::Due(now);
    }

    /// Nothing before this packet is wanted any more.
    fn drop_below(&mut self, end: i64) {
        self.discard_below(end);
        self.floor = self.floor.max(end);
    }

    /// Forgets the packets before this one, and counts the frames that they belonged to.
    fn discard_below(&mut self, end: i64) {
        let kept = self.packets.split_off(&end);
        let dropped = std::mem::replace(&mut self.packets, kept);
        for packet in dropped.values() {
            self.bytes -= packet.data.len();
            self.stats.frames_dropped += u64::from(packet.start);
        }
        self.key_starts = self.key_starts.split_off(&end);
    }

    fn remove(&mut self, sequence: i64) {
        if let Some(packet) = self.packets.remove(&sequence) {
            self.bytes -= packet.data.len();
            self.key_starts.remove(&sequence);
        }
    }

    /// Without a head, packets are kept only in case the beginning of their key frame is late.
    fn forget_orphans(&mut self, now: Instant) {
        if self.head.is_some() {
            return;
        }
        let young = self
            .packets
            .iter()
            .find(|(_, packet)| now.saturating_duration_since(packet.arrival) < ORPHAN_AGE)
            .map(|(&sequence, _)| sequence);
        if let Some(sequence) = young {
            self.discard_below(sequence);
        }
    }

    /// When the next request may be sent, if one is needed.
    fn request_at(&self) -> Option<Instant> {
        let Request::Due(at) = self.request else {
            return None;
        };
        let allowed = self
            .last_request
            .map(|last| last + KEY_FRAME_REQUEST_INTERVAL);
        Some(allowed.map_or(at, |allowed| allowed.max(at)))
    }

    fn poll_request(&mut self, now: Instant) -> bool {
        if self.request_at().is_none_or(|at| now < at) {
            return false;
        }
        if self.key_frame_is_coming(now) {
            self.request = Request::Due(now + KEY_FRAME_REQUEST_INTERVAL);
            return false;
        }
        self.last_request = Some(now);
        self.stats.key_frames_requested += 1;
        true
    }

    /// A key frame has begun to come in and still does: it needs no other one.
    fn key_frame_is_coming(&self, now: Instant) -> bool {
        let last = self.head.and_then(|_| self.packets.values().next_back());
        last.is_some_and(|last| {
            now.saturating_duration_since(last.arrival) < KEY_FRAME_REQUEST_INTERVAL
        })
    }
}

#[cfg(test)]
mod tests;
