//! The video jitter buffer fed by a stranger: any packets at any times.

#![no_main]

use std::time::{Duration, Instant};

use ahoy_fuzz::{heap, tracked};
use ahoy_media::frame::EncodedFrame;
use ahoy_media::rtp::RtpPacket;
use ahoy_video::capture::MAX_SIDE;
use ahoy_video::jitter::{
    KEY_FRAME_REQUEST_INTERVAL, MAX_BYTES, MAX_PACKETS, MAX_READY, VideoJitterBuffer, VideoOutput,
};
use ahoy_video::vp8_header::Vp8FrameHeader;
use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;

/// What the buffer may take from the heap beside the payloads.
const MOST_HEAP: usize = 1 << 20;

#[derive(Debug, Arbitrary)]
enum Step<'a> {
    /// The next packet of the stream.
    Next(Packet<'a>),
    /// A packet so far from it.
    Odd(i16, Packet<'a>),
    /// A packet of another source.
    Foreign(u8, Packet<'a>),
    /// So many packets in a row that belong together, so long each, and never end a frame.
    Many {
        packets: u8,
        length: u16,
        key: bool,
    },
    /// Frames of one packet, in a row.
    Frames {
        frames: u8,
        key: bool,
    },
    Again,
    Skip(u16),
    /// Time passes, in ms.
    Pass(u16),
    /// Nobody polls for a while.
    Asleep(u8),
    RepairWait(u16),
    RequireKeyFrame,
}

#[derive(Debug, Arbitrary)]
struct Packet<'a> {
    marker: bool,
    /// Belongs to the frame of the packet before.
    same_time: bool,
    /// Came so many ms ago.
    age: u8,
    payload: Payload<'a>,
}

#[derive(Debug, Arbitrary)]
enum Payload<'a> {
    Rubbish(&'a [u8]),
    Key { width: u16, height: u16 },
    Delta,
    Middle(u8),
    Padding,
}

impl Payload<'_> {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Rubbish(data) => data.to_vec(),
            Self::Key { width, height } => {
                let mut data = vec![0x10, 0x10, 0, 0, 0x9d, 0x01, 0x2a];
                data.extend(width.to_le_bytes());
                data.extend(height.to_le_bytes());
                data
            }
            Self::Delta => vec![0x10, 0x11, 0, 0, 0],
            Self::Middle(length) => vec![0; 2 + usize::from(*length)],
            Self::Padding => Vec::new(),
        }
    }
}

struct Driver {
    buffer: VideoJitterBuffer,
    now: Instant,
    sequence: u16,
    timestamp: u32,
    last: Option<RtpPacket>,
    /// Pushes for which nobody polls.
    asleep: u32,
    pushed: u64,
    frames: u64,
    key_frames: u64,
    requests: u64,
    requested_at: Option<Instant>,
    /// Only a key frame may come next.
    key_needed: bool,
    heap: usize,
}

impl Driver {
    fn new() -> Self {
        Self {
            heap: heap::held(),
            buffer: VideoJitterBuffer::new(),
            now: Instant::now(),
            sequence: u16::MAX - 3,
            timestamp: u32::MAX - 9_000,
            last: None,
            asleep: 0,
            pushed: 0,
            frames: 0,
            key_frames: 0,
            requests: 0,
            requested_at: None,
            key_needed: true,
        }
    }

    fn step(&mut self, step: Step<'_>) {
        match step {
            Step::Next(packet) => self.next(&packet),
            Step::Odd(distance, packet) => {
                let mut packet = self.make(&packet);
                packet.sequence_number = packet.sequence_number.wrapping_add_signed(distance);
                self.push(packet);
            }
            Step::Foreign(ssrc, packet) => {
                let mut packet = self.make(&packet);
                packet.ssrc = u32::from(ssrc);
                self.push(packet);
            }
            Step::Many {
                packets,
                length,
                key,
            } => self.many(packets, length % 1_500, key),
            Step::Frames { frames, key } => {
                let (width, height) = (64, 64);
                for index in 0..frames {
                    let payload = if key && index == 0 {
                        Payload::Key { width, height }
                    } else {
                        Payload::Delta
                    };
                    self.next(&Packet {
                        marker: true,
                        same_time: false,
                        age: 0,
                        payload,
                    });
                }
            }
            Step::Again => {
                if let Some(packet) = self.last.clone() {
                    self.push(packet);
                }
            }
            Step::Skip(packets) => self.sequence = self.sequence.wrapping_add(packets),
            Step::Pass(ms) => {
                self.now += Duration::from_millis(u64::from(ms));
                self.poll();
            }
            Step::Asleep(pushes) => self.asleep = u32::from(pushes),
            Step::RepairWait(ms) => {
                let wait = Duration::from_millis(u64::from(ms));
                self.buffer.set_repair_wait(wait);
            }
            Step::RequireKeyFrame => {
                self.buffer.require_key_frame(self.now);
                self.key_needed = true;
                self.poll();
            }
        }
    }

    fn next(&mut self, packet: &Packet<'_>) {
        let packet = self.make(packet);
        self.sequence = self.sequence.wrapping_add(1);
        self.push(packet);
    }

    fn many(&mut self, packets: u8, length: u16, key: bool) {
        self.timestamp = self.timestamp.wrapping_add(3_000);
        for index in 0..packets {
            let mut data = vec![0; 1 + usize::from(length)];
            if key && index == 0 {
                data[0] = 0x10;
            }
            let packet = self.packet(data, false);
            self.sequence = self.sequence.wrapping_add(1);
            self.push(packet);
        }
    }

    fn make(&mut self, packet: &Packet<'_>) -> RtpPacket {
        if !packet.same_time {
            self.timestamp = self.timestamp.wrapping_add(3_000);
        }
        let age = Duration::from_millis(u64::from(packet.age));
        RtpPacket {
            arrival: self.now.checked_sub(age).unwrap_or(self.now),
            ..self.packet(packet.payload.bytes(), packet.marker)
        }
    }

    fn packet(&self, data: Vec<u8>, marker: bool) -> RtpPacket {
        RtpPacket {
            payload_type: 96,
            ssrc: 1,
            sequence_number: self.sequence,
            timestamp: self.timestamp,
            marker,
            payload: tracked::payload(data),
            arrival: self.now,
        }
    }

    fn push(&mut self, packet: RtpPacket) {
        // The copy does not count as held.
        self.last = Some(RtpPacket {
            payload: bytes::Bytes::copy_from_slice(&packet.payload),
            ..packet.clone()
        });
        self.pushed += 1;
        self.buffer.push(packet, self.now);
        if self.asleep > 0 {
            self.asleep -= 1;
            let most = MAX_PACKETS + MAX_READY;
            assert!(tracked::packets() <= most, "{}", tracked::packets());
        } else {
            self.poll();
        }
    }

    fn poll(&mut self) {
        let mut frames = 0;
        let mut requests = 0;
        while let Some(output) = self.buffer.poll(self.now) {
            match output {
                VideoOutput::Frame(frame) => {
                    frames += 1;
                    self.take(&frame);
                }
                VideoOutput::NeedKeyFrame => {
                    requests += 1;
                    self.request();
                }
            }
            assert!(frames <= MAX_READY && requests <= 1, "{frames} {requests}");
        }
        if let Some(at) = self.buffer.poll_timeout() {
            assert!(at > self.now, "would be polled without a pause");
        }
        self.check();
    }

    fn take(&mut self, frame: &EncodedFrame) {
        self.frames += 1;
        self.key_frames += u64::from(frame.key_frame);
        assert!(frame.key_frame || !self.key_needed, "the chain is broken");
        self.key_needed = false;
        assert!(frame.captured_at <= self.now);
        assert!(frame.data.len() <= MAX_BYTES);
        let sides = 1..=MAX_SIDE;
        let size = frame.resolution;
        assert!(sides.contains(&size.width) && sides.contains(&size.height));
        match Vp8FrameHeader::parse(&frame.data).expect("a readable header") {
            Vp8FrameHeader::Key { resolution } => {
                assert!(frame.key_frame && resolution == size);
            }
            Vp8FrameHeader::Delta => assert!(!frame.key_frame),
        }
    }

    fn request(&mut self) {
        self.requests += 1;
        self.key_needed = true;
        if let Some(at) = self.requested_at.replace(self.now) {
            assert!(
                self.now - at >= KEY_FRAME_REQUEST_INTERVAL,
                "asked too often"
            );
        }
    }

    fn check(&self) {
        assert!(tracked::packets() <= MAX_PACKETS, "{}", tracked::packets());
        // The descriptors are held as well.
        assert!(tracked::bytes() <= MAX_BYTES + 6 * MAX_PACKETS);
        let heap = heap::held().saturating_sub(self.heap + tracked::bytes());
        assert!(heap <= MOST_HEAP, "{heap} bytes of heap are held");
        let stats = self.buffer.stats();
        assert_eq!(stats.frames_assembled, self.frames);
        assert_eq!(stats.key_frames_assembled, self.key_frames);
        assert_eq!(stats.key_frames_requested, self.requests);
        assert!(stats.packets_received + stats.duplicates <= self.pushed);
    }
}

fuzz_target!(|steps: Vec<Step<'_>>| {
    let mut driver = Driver::new();
    for step in steps {
        driver.step(step);
    }
});
