//! The video jitter buffer between an honest sender and a network that loses, delays, doubles and
//! reorders: whatever comes out was sent, in order, and no picture without the one before it.

#![no_main]

use std::time::{Duration, Instant};

use ahoy_media::rtp::RtpPacket;
use ahoy_video::jitter::{VideoJitterBuffer, VideoOutput};
use ahoy_video::rtp_vp8::Vp8Packetizer;
use arbitrary::Arbitrary;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

/// Numbers must not come round.
const MOST_PACKETS: usize = 30_000;
/// How far back the network still has packets.
const REACH: usize = 500;

#[derive(Debug, Arbitrary)]
enum Step {
    /// The sender sends a frame of about so many bytes.
    Send {
        key: bool,
        length: u16,
    },
    /// The sender fills up.
    Pad(u8),
    /// So many packets arrive in order.
    Deliver(u8),
    DeliverAll,
    Lose(u8),
    /// The packet so far before the end arrives, for the first time or again.
    Repair(u16),
    Pass(u16),
    DecoderFailed,
}

#[derive(Default)]
struct Sender {
    packetizer: Option<Vp8Packetizer>,
    frames: Vec<Vec<u8>>,
    packets: Vec<(u32, bool, Bytes)>,
}

impl Sender {
    fn send(&mut self, key: bool, length: u16) {
        let number = self.frames.len() as u32;
        let mut frame = if key {
            vec![0x10, 0, 0, 0x9d, 0x01, 0x2a, 64, 0, 64, 0]
        } else {
            vec![0x11; 10]
        };
        frame.extend(number.to_be_bytes());
        frame.resize(14 + usize::from(length), number as u8);
        let packetizer = self
            .packetizer
            .get_or_insert_with(|| Vp8Packetizer::new(0x7ff0));
        let time = Self::time(number);
        for (marker, payload) in packetizer.packetize(&frame) {
            self.packets.push((time, marker, payload));
        }
        self.frames.push(frame);
    }

    fn time(number: u32) -> u32 {
        (u32::MAX - 30_000).wrapping_add(number.wrapping_mul(3_000))
    }
}

fuzz_target!(|input: (u16, Vec<Step>)| {
    let (first, steps) = input;
    let start = Instant::now();
    let mut now = start;
    let mut sender = Sender::default();
    let mut buffer = VideoJitterBuffer::new();
    let mut delivered = 0;
    let mut shown = Shown::default();
    for step in steps {
        let sent = sender.packets.len();
        let mut arriving = Vec::new();
        match step {
            Step::Send { key, length } if sent < MOST_PACKETS => {
                sender.send(key || sent == 0, length);
            }
            Step::Pad(packets) if sent < MOST_PACKETS => {
                let time = Sender::time(sender.frames.len().saturating_sub(1) as u32);
                let padding = (time, false, Bytes::new());
                let packets = usize::from(packets);
                sender.packets.extend(std::iter::repeat_n(padding, packets));
            }
            Step::Send { .. } | Step::Pad(_) => {}
            Step::Deliver(packets) => {
                let end = sent.min(delivered + usize::from(packets));
                arriving.extend(delivered..end);
                delivered = end;
            }
            Step::DeliverAll => {
                arriving.extend(delivered..sent);
                delivered = sent;
            }
            Step::Lose(packets) => delivered = sent.min(delivered + usize::from(packets)),
            Step::Repair(back) => {
                let back = 1 + usize::from(back) % REACH;
                arriving.extend(delivered.checked_sub(back));
            }
            Step::Pass(ms) => now += Duration::from_millis(u64::from(ms)),
            Step::DecoderFailed => {
                buffer.require_key_frame(now);
                shown.key_needed = true;
            }
        }
        for index in arriving {
            let (timestamp, marker, payload) = sender.packets[index].clone();
            let packet = RtpPacket {
                payload_type: 96,
                ssrc: 7,
                sequence_number: first.wrapping_add(index as u16),
                timestamp,
                marker,
                payload,
                arrival: now,
            };
            buffer.push(packet, now);
            shown.take(&mut buffer, now, &sender);
        }
        shown.take(&mut buffer, now, &sender);
    }
});

/// What came out.
#[derive(Default)]
struct Shown {
    last: Option<usize>,
    key_needed: bool,
}

impl Shown {
    fn take(&mut self, buffer: &mut VideoJitterBuffer, now: Instant, sender: &Sender) {
        while let Some(output) = buffer.poll(now) {
            let VideoOutput::Frame(frame) = output else {
                continue;
            };
            let number = frame.data.get(10..14).and_then(|it| it.try_into().ok());
            let number = u32::from_be_bytes(number.expect("a frame that was sent"));
            assert_eq!(frame.data[..], sender.frames[number as usize][..]);
            assert_eq!(frame.rtp_timestamp, Sender::time(number));
            assert!(frame.key_frame || !self.key_needed);
            let number = number as usize;
            match self.last {
                Some(last) if frame.key_frame => assert!(number > last, "{number} after {last}"),
                Some(last) => assert_eq!(number, last + 1, "without what it refers to"),
                None => assert!(frame.key_frame),
            }
            self.last = Some(number);
            self.key_needed = false;
        }
    }
}
