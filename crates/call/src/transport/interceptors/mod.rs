//! Our own links in the packet chain. The chain runs from the wire (low slots) to the application
//! (high slots); received packets walk it upwards, sent ones downwards.
//!
//! | Slot | Link | Why there |
//! |---|---|---|
//! | 500 | [`meter`] | sees exactly what is on the wire, in both directions |
//! | 1000 | [`transport_feedback`] | numbers all that leaves, repairs included |
//! | 4000 | [`rtx_sender`] | turns what goes out again into repairs |
//! | 6100, 6200 | transport-wide feedback, receiver reports | below the unwrapper, so that a repair counts for the stream that carried it |
//! | 6500 | [`rtx`] unwrapper | below the NACK generator, which otherwise never sees a repair and asks again for ever |
//! | 6900 | [`nack_pacing`] | below the NACK generator: asks again only when an answer can have come |
//! | 7000 | NACK generator | as the crate places it |
//! | 11000 | sender reports | as the crate places it |
//! | 13500 | [`delivery`] | last: hands media over and ends its way |

pub(super) mod delivery;
pub(super) mod meter;
pub(super) mod nack_pacing;
pub(super) mod rtx;
pub(super) mod rtx_sender;
pub(super) mod transport_feedback;

use std::collections::VecDeque;
use std::time::Instant;

use rtc::interceptor::{Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::sansio::Protocol;
use rtc::shared::error::Error;
use rtc::{rtcp, rtp};

/// Whether a packet goes on along the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Pass,
    Swallow,
}

/// A link that looks at packets, changes them or takes them out, and makes none of its own.
pub(super) trait Link: Send + Sync {
    fn read_rtp(&mut self, _now: Instant, _packet: &mut rtp::Packet) -> Verdict {
        Verdict::Pass
    }

    fn read_rtcp(&mut self, _now: Instant, _packets: &[Box<dyn rtcp::Packet>]) {}

    fn write_rtp(&mut self, _now: Instant, _packet: &mut rtp::Packet) -> Verdict {
        Verdict::Pass
    }

    fn write_rtcp(&mut self, _now: Instant, _packets: &mut Vec<Box<dyn rtcp::Packet>>) -> Verdict {
        Verdict::Pass
    }

    fn bind_local_stream(&mut self, _info: &StreamInfo) {}

    fn unbind_local_stream(&mut self, _info: &StreamInfo) {}

    fn bind_remote_stream(&mut self, _info: &StreamInfo) {}

    fn unbind_remote_stream(&mut self, _info: &StreamInfo) {}
}

/// A [`Link`] in the crate's form.
pub(super) struct Chained<L> {
    link: L,
    read_queue: VecDeque<TaggedPacket>,
    write_queue: VecDeque<TaggedPacket>,
}

impl<L> Chained<L> {
    pub(super) fn new(link: L) -> Self {
        Self {
            link,
            read_queue: VecDeque::new(),
            write_queue: VecDeque::new(),
        }
    }
}

impl<L: Link> Protocol<TaggedPacket, TaggedPacket, ()> for Chained<L> {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, mut message: TaggedPacket) -> Result<(), Error> {
        let verdict = match &mut message.message.packet {
            Packet::Rtp(packet) => self.link.read_rtp(message.now, packet),
            Packet::Rtcp(packets) => {
                self.link.read_rtcp(message.now, packets);
                Verdict::Pass
            }
            _ => Verdict::Pass,
        };
        if verdict == Verdict::Pass {
            self.read_queue.push_back(message);
        }
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.read_queue.pop_front()
    }

    fn handle_write(&mut self, mut message: TaggedPacket) -> Result<(), Error> {
        let verdict = match &mut message.message.packet {
            Packet::Rtp(packet) => self.link.write_rtp(message.now, packet),
            Packet::Rtcp(packets) => self.link.write_rtcp(message.now, packets),
            _ => Verdict::Pass,
        };
        if verdict == Verdict::Pass {
            self.write_queue.push_back(message);
        }
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.write_queue.pop_front()
    }
}

impl<L: Link> Interceptor for Chained<L> {
    fn bind_local_stream(&mut self, info: &StreamInfo) {
        self.link.bind_local_stream(info);
    }

    fn unbind_local_stream(&mut self, info: &StreamInfo) {
        self.link.unbind_local_stream(info);
    }

    fn bind_remote_stream(&mut self, info: &StreamInfo) {
        self.link.bind_remote_stream(info);
    }

    fn unbind_remote_stream(&mut self, info: &StreamInfo) {
        self.link.unbind_remote_stream(info);
    }
}
