//! Sends a packet that goes out again in the repair stream (RFC 4588 section 4).
//!
//! The crate takes packets of negotiated media streams only, so a repair comes down the chain as
//! the packet that it repeats. What has a number that went out before is one. Without a repair stream it
//! goes nowhere: the same packet twice with different extensions would break its encryption (RFC 7714
//! section 8.1).

use std::sync::Arc;
use std::time::Instant;

use bytes::{BufMut, BytesMut};
use rtc::interceptor::StreamInfo;
use rtc::rtp;

use super::{Link, Verdict};
use crate::transport::congestion::CongestionControl;
use crate::transport::connection::Ssrcs;

pub(in crate::transport) struct RtxSender {
    congestion: Arc<CongestionControl>,
    ssrcs: Ssrcs,
    streams: Vec<Stream>,
}

struct Stream {
    ssrc: u32,
    newest: Option<u16>,
    /// Where repairs go: the stream and its payload type.
    repairs: Option<(u32, u8)>,
    rtx_sequence_number: u16,
}

impl RtxSender {
    pub(in crate::transport) fn new(congestion: Arc<CongestionControl>, ssrcs: Ssrcs) -> Self {
        Self {
            congestion,
            ssrcs,
            streams: Vec::new(),
        }
    }
}

impl Stream {
    /// Whether this number goes out for the first time.
    fn is_new(&mut self, number: u16) -> bool {
        let new = self.newest.is_none_or(|newest| {
            let ahead = number.wrapping_sub(newest);
            ahead != 0 && ahead < 0x8000
        });
        if new {
            self.newest = Some(number);
        }
        new
    }
}

impl Link for RtxSender {
    fn write_rtp(&mut self, _now: Instant, packet: &mut rtp::Packet) -> Verdict {
        let header = &mut packet.header;
        let mut streams = self.streams.iter_mut();
        let Some(stream) = streams.find(|stream| stream.ssrc == header.ssrc) else {
            return Verdict::Pass;
        };
        if stream.is_new(header.sequence_number) {
            return Verdict::Pass;
        }
        let Some((rtx_ssrc, rtx_payload_type)) = stream.repairs else {
            return Verdict::Swallow;
        };
        let original = (header.ssrc, header.sequence_number);
        let mut payload = BytesMut::with_capacity(2 + packet.payload.len());
        payload.put_u16(header.sequence_number);
        payload.put_slice(&packet.payload);
        packet.payload = payload.freeze();
        header.ssrc = rtx_ssrc;
        header.payload_type = rtx_payload_type;
        header.sequence_number = stream.rtx_sequence_number;
        stream.rtx_sequence_number = stream.rtx_sequence_number.wrapping_add(1);
        self.congestion
            .renamed(original, (header.ssrc, header.sequence_number));
        Verdict::Pass
    }

    fn bind_local_stream(&mut self, info: &StreamInfo) {
        // The crate knows the one of pictures only.
        let sound = (info.ssrc == self.ssrcs.audio).then_some(self.ssrcs.audio_rtx);
        let repairs = info.ssrc_rtx.or(sound).zip(info.payload_type_rtx);
        // Bound anew with every description; the numbers go on.
        let known = self.streams.iter_mut().find(|it| it.ssrc == info.ssrc);
        match known {
            Some(stream) => stream.repairs = repairs,
            None => self.streams.push(Stream {
                ssrc: info.ssrc,
                newest: None,
                repairs,
                // Random and low (RFC 3711 section 3.3.1).
                rtx_sequence_number: rand::random::<u16>() & 0x7fff,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Notify;

    use super::*;
    use crate::transport::TransportConfig;

    #[test]
    fn what_goes_out_again_goes_as_a_repair() {
        let changed = Arc::new(Notify::new());
        let congestion = CongestionControl::new(&TransportConfig::default(), changed);
        let ssrcs = Ssrcs {
            audio: 5,
            audio_rtx: 6,
            video: 1,
            video_rtx: 2,
        };
        let mut sender = RtxSender::new(Arc::new(congestion), ssrcs);
        sender.bind_local_stream(&StreamInfo {
            ssrc: 1,
            payload_type: 96,
            ssrc_rtx: Some(2),
            payload_type_rtx: Some(97),
            ..StreamInfo::default()
        });
        sender.bind_local_stream(&StreamInfo {
            ssrc: 7,
            payload_type: 111,
            ..StreamInfo::default()
        });
        let mut again = |ssrc| {
            let mut packet = rtp::Packet::default();
            packet.header.ssrc = ssrc;
            sender.write_rtp(Instant::now(), &mut packet)
        };
        assert_eq!([again(7), again(7)], [Verdict::Pass, Verdict::Swallow]);
        let mut send = |ssrc, sequence_number| {
            let mut packet = rtp::Packet::default();
            packet.header.ssrc = ssrc;
            packet.header.payload_type = 96;
            packet.header.sequence_number = sequence_number;
            packet.payload = vec![7, 8].into();
            assert_eq!(sender.write_rtp(Instant::now(), &mut packet), Verdict::Pass);
            packet
        };
        for number in [0xffff, 0, 1] {
            let first = send(1, number);
            assert_eq!(
                (first.header.ssrc, first.header.sequence_number),
                (1, number)
            );
        }
        let repair = send(1, 0xffff);
        assert_eq!((repair.header.ssrc, repair.header.payload_type), (2, 97));
        assert_eq!(&repair.payload[..], [0xff, 0xff, 7, 8]);
        let next = send(1, 0);
        let number = repair.header.sequence_number.wrapping_add(1);
        assert_eq!(next.header.sequence_number, number);
        assert_eq!(send(9, 1).header.ssrc, 9);
    }
}
