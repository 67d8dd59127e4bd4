//! Hands received media to the application, once each, with its time of arrival.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use ahoy_audio::red;
use ahoy_media::rtp::RtpPacket;
use rtc::interceptor::StreamInfo;
use rtc::rtp;

use super::{Link, Verdict};
use crate::transport::events::MediaReceiver;
use crate::transport::send::SendQueues;
use crate::transport::stats::{Kind, Streams};

/// Sequence numbers for which it is remembered whether they came: two seconds of a 2.5 Mbit/s
/// picture, longer than any repair takes.
const WINDOW: u16 = 1024;

/// Packets restored from copies that are remembered: more than are under way at one time.
const RESTORED: usize = 32;

pub(in crate::transport) struct Delivery {
    receiver: Arc<dyn MediaReceiver>,
    streams: Arc<Streams>,
    queues: Arc<SendQueues>,
    bound: Vec<Bound>,
}

struct Bound {
    ssrc: u32,
    kind: Kind,
    seen: Seen,
    /// Numbers of what was restored from copies last.
    restored: VecDeque<u16>,
}

impl Bound {
    /// What was lost came again: gives how many gaps that makes, 1 or, beside others, 0.
    fn restore(&mut self, number: u16) -> u64 {
        let beside = |it: &u16| it.wrapping_sub(number).wrapping_add(1) <= 2;
        let gaps = u64::from(!self.restored.iter().any(beside));
        if self.restored.len() == RESTORED {
            self.restored.pop_front();
        }
        self.restored.push_back(number);
        gaps
    }
}

impl Delivery {
    pub(in crate::transport) fn new(
        receiver: Arc<dyn MediaReceiver>,
        streams: Arc<Streams>,
        queues: Arc<SendQueues>,
    ) -> Self {
        Self {
            receiver,
            streams,
            queues,
            bound: Vec::new(),
        }
    }
}

impl Link for Delivery {
    fn read_rtp(&mut self, now: Instant, packet: &mut rtp::Packet) -> Verdict {
        let header = &packet.header;
        let Some(bound) = self
            .bound
            .iter_mut()
            .find(|bound| bound.ssrc == header.ssrc)
        else {
            return Verdict::Swallow;
        };
        if !bound.seen.is_new(header.sequence_number) {
            self.streams.duplicate_received(bound.kind);
            return Verdict::Swallow;
        }
        let received = RtpPacket {
            payload_type: header.payload_type,
            ssrc: header.ssrc,
            sequence_number: header.sequence_number,
            timestamp: header.timestamp,
            marker: header.marker,
            payload: std::mem::take(&mut packet.payload),
            arrival: now,
        };
        match bound.kind {
            Kind::Audio if Some(received.payload_type) == self.queues.red_payload_type() => {
                let Some((own, copies)) = unpacked(&received, self.queues.audio_payload_type())
                else {
                    tracing::trace!("sound with copies cannot be taken apart");
                    return Verdict::Swallow;
                };
                self.receiver.audio(own);
                for copy in copies {
                    if bound.seen.is_new(copy.sequence_number) {
                        let gaps = bound.restore(copy.sequence_number);
                        self.streams.restored(bound.kind, gaps);
                        self.receiver.audio(copy);
                    }
                }
            }
            Kind::Audio => self.receiver.audio(received),
            Kind::Video => self.receiver.video(received),
        }
        Verdict::Swallow
    }

    fn bind_remote_stream(&mut self, info: &StreamInfo) {
        // A repair stream is bound on its own, too, with its own payload type and as if it
        // carried the codec; its packets were unwrapped before they come here.
        let Some(kind) = Kind::of_mime_type(&info.mime_type) else {
            return;
        };
        self.bound.retain(|bound| bound.ssrc != info.ssrc);
        self.bound.push(Bound {
            ssrc: info.ssrc,
            kind,
            seen: Seen::default(),
            restored: VecDeque::new(),
        });
    }

    fn unbind_remote_stream(&mut self, info: &StreamInfo) {
        self.bound.retain(|bound| bound.ssrc != info.ssrc);
    }
}

/// The sound in a packet and the copies in it, as if each had come alone.
fn unpacked(packet: &RtpPacket, payload_type: Option<u8>) -> Option<(RtpPacket, Vec<RtpPacket>)> {
    let payload_type = payload_type?;
    let sound = red::unpack(&packet.payload, payload_type)?;
    let own = RtpPacket {
        payload_type,
        payload: sound.own,
        ..*packet
    };
    let copies = sound.copies.into_iter();
    let copies = copies.map(|(distance, ticks, payload)| RtpPacket {
        payload_type,
        sequence_number: packet.sequence_number.wrapping_sub(distance),
        timestamp: packet.timestamp.wrapping_sub(ticks),
        marker: false,
        payload,
        ..*packet
    });
    Some((own, copies.collect()))
}

/// Which of the last [`WINDOW`] sequence numbers came.
#[derive(Debug, Default)]
struct Seen {
    newest: Option<u16>,
    came: [u64; (WINDOW / 64) as usize],
}

impl Seen {
    /// Whether this number comes for the first time. One older than the window counts as old.
    fn is_new(&mut self, number: u16) -> bool {
        let Some(newest) = self.newest else {
            self.newest = Some(number);
            self.mark(number);
            return true;
        };
        let ahead = number.wrapping_sub(newest);
        if ahead != 0 && ahead < 0x8000 {
            for skipped in 1..=ahead.min(WINDOW) {
                self.clear(number.wrapping_sub(skipped - 1));
            }
            self.newest = Some(number);
        } else if newest.wrapping_sub(number) >= WINDOW || self.has(number) {
            return false;
        }
        self.mark(number);
        true
    }

    fn position(number: u16) -> (usize, u64) {
        let index = number % WINDOW;
        (usize::from(index / 64), 1 << (index % 64))
    }

    fn mark(&mut self, number: u16) {
        let (word, bit) = Self::position(number);
        self.came[word] |= bit;
    }

    fn clear(&mut self, number: u16) {
        let (word, bit) = Self::position(number);
        self.came[word] &= !bit;
    }

    fn has(&self, number: u16) -> bool {
        let (word, bit) = Self::position(number);
        self.came[word] & bit != 0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn late_packets_are_new_once_and_very_old_ones_are_not() {
        let mut seen = Seen::default();
        assert!(seen.is_new(65_530));
        assert!(seen.is_new(4));
        assert!(seen.is_new(65_535));
        assert!(!seen.is_new(65_535));
        assert!(!seen.is_new(65_530));
        assert!(seen.is_new(4 + WINDOW));
        assert!(!seen.is_new(4));
        assert!(seen.is_new(5));
    }

    #[test]
    fn what_lies_side_by_side_is_one_gap_in_whatever_order_it_comes() {
        let mut bound = Bound {
            ssrc: 1,
            kind: Kind::Audio,
            seen: Seen::default(),
            restored: VecDeque::new(),
        };
        let gaps = [65_535, 3, 0, 4, 8, 2].map(|number| bound.restore(number));
        assert_eq!(gaps, [1, 1, 0, 0, 1, 0]);
    }

    proptest! {
        /// Within the window the answer is the same as that of a set.
        #[test]
        fn remembers_like_a_set(start: u16, offsets in proptest::collection::vec(0_u16..900, 1..300)) {
            let mut seen = Seen::default();
            let mut set = HashSet::new();
            for offset in offsets {
                let number = start.wrapping_add(offset);
                prop_assert_eq!(seen.is_new(number), set.insert(number));
            }
        }
    }
}
