//! Turns retransmissions back into the packets they repair (RFC 4588 section 4) before anything
//! looks at sequence numbers. The crate does it after the chain, where the NACK generator never
//! learns that a gap was filled.

use std::time::Instant;

use rtc::interceptor::StreamInfo;
use rtc::rtp;

use super::{Link, Verdict};

/// Bytes of the original sequence number in front of the payload.
const ORIGINAL_SEQUENCE_NUMBER_BYTES: usize = 2;

#[derive(Debug, Default)]
pub(in crate::transport) struct RtxUnwrapper {
    repairs: Vec<Repair>,
}

#[derive(Debug)]
struct Repair {
    rtx_ssrc: u32,
    rtx_payload_type: u8,
    ssrc: u32,
    payload_type: u8,
}

impl Link for RtxUnwrapper {
    fn read_rtp(&mut self, _now: Instant, packet: &mut rtp::Packet) -> Verdict {
        let header = &packet.header;
        let Some(repair) = self
            .repairs
            .iter()
            .find(|repair| repair.rtx_ssrc == header.ssrc)
        else {
            return Verdict::Pass;
        };
        let of_other_type = header.payload_type != repair.rtx_payload_type;
        // Without a sequence number it is padding that probes the bandwidth.
        if of_other_type || packet.payload.len() < ORIGINAL_SEQUENCE_NUMBER_BYTES {
            return Verdict::Swallow;
        }
        let original = packet.payload.split_to(ORIGINAL_SEQUENCE_NUMBER_BYTES);
        packet.header.sequence_number = u16::from_be_bytes([original[0], original[1]]);
        packet.header.ssrc = repair.ssrc;
        packet.header.payload_type = repair.payload_type;
        Verdict::Pass
    }

    fn bind_remote_stream(&mut self, info: &StreamInfo) {
        let (Some(rtx_ssrc), Some(rtx_payload_type)) = (info.ssrc_rtx, info.payload_type_rtx)
        else {
            return;
        };
        self.repairs.retain(|repair| repair.rtx_ssrc != rtx_ssrc);
        self.repairs.push(Repair {
            rtx_ssrc,
            rtx_payload_type,
            ssrc: info.ssrc,
            payload_type: info.payload_type,
        });
    }

    fn unbind_remote_stream(&mut self, info: &StreamInfo) {
        self.repairs.retain(|repair| repair.ssrc != info.ssrc);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn unwrapper() -> RtxUnwrapper {
        let mut unwrapper = RtxUnwrapper::default();
        unwrapper.bind_remote_stream(&StreamInfo {
            ssrc: 1,
            payload_type: 96,
            ssrc_rtx: Some(2),
            payload_type_rtx: Some(97),
            ..StreamInfo::default()
        });
        unwrapper
    }

    fn packet(ssrc: u32, payload_type: u8, payload: &'static [u8]) -> rtp::Packet {
        let mut packet = rtp::Packet::default();
        packet.header.ssrc = ssrc;
        packet.header.payload_type = payload_type;
        packet.header.sequence_number = 9;
        packet.payload = Bytes::from_static(payload);
        packet
    }

    #[test]
    fn a_repair_becomes_the_packet_it_repairs() {
        let mut repair = packet(2, 97, &[0x12, 0x34, 7, 8]);
        assert_eq!(
            unwrapper().read_rtp(Instant::now(), &mut repair),
            Verdict::Pass
        );
        let header = &repair.header;
        assert_eq!(
            (header.ssrc, header.payload_type, header.sequence_number),
            (1, 96, 0x1234)
        );
        assert_eq!(&repair.payload[..], [7, 8]);
    }

    #[test]
    fn padding_and_wrong_types_end_here_and_media_passes() {
        let now = Instant::now();
        assert_eq!(
            unwrapper().read_rtp(now, &mut packet(2, 97, &[1])),
            Verdict::Swallow
        );
        assert_eq!(
            unwrapper().read_rtp(now, &mut packet(2, 96, &[1, 2, 3])),
            Verdict::Swallow
        );
        let mut media = packet(1, 96, &[1, 2, 3]);
        assert_eq!(unwrapper().read_rtp(now, &mut media), Verdict::Pass);
        assert_eq!(media, packet(1, 96, &[1, 2, 3]));
    }
}
