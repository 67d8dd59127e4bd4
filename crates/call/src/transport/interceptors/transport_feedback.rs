//! Numbers everything that leaves, and tells congestion control of it and of what the other side
//! reports (draft-holmer-rmcat-transport-wide-cc-extensions-01). The crate's own numbering leaves
//! out repairs, of which congestion control would then know nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ahoy_bandwidth::WIRE_OVERHEAD;
use bytes::Bytes;
use rtc::interceptor::StreamInfo;
use rtc::rtcp::transport_feedbacks::transport_layer_cc::{
    PacketStatusChunk, SymbolTypeTcc, TransportLayerCc,
};
use rtc::sdp::extmap::TRANSPORT_CC_URI;
use rtc::shared::marshal::MarshalSize;
use rtc::{rtcp, rtp};

use super::{Link, Verdict};
use crate::transport::congestion::CongestionControl;

/// Unit of the reference time (section 3.1 of the draft).
const REFERENCE_TIME: Duration = Duration::from_millis(64);
/// Packets that one message reports on at most. 50 ms of 6 Mbit/s are 40; a run-length chunk can
/// claim thousands in two bytes.
const MAX_STATUSES: usize = 8192;

pub(in crate::transport) struct TransportFeedback {
    congestion: Arc<CongestionControl>,
    /// SSRC, and the number of the header extension in that stream.
    streams: Vec<(u32, u8)>,
    next_number: u16,
}

impl TransportFeedback {
    pub(in crate::transport) fn new(congestion: Arc<CongestionControl>) -> Self {
        Self {
            congestion,
            streams: Vec::new(),
            next_number: 0,
        }
    }

    /// Gives the packet the next transport-wide number, if that was agreed on.
    fn number(&mut self, packet: &mut rtp::Packet) -> Option<u16> {
        let stream = |(ssrc, _): &&(u32, u8)| *ssrc == packet.header.ssrc;
        let (_, extension) = self.streams.iter().find(stream)?;
        let number = self.next_number;
        let bytes = Bytes::copy_from_slice(&number.to_be_bytes());
        packet.header.set_extension(*extension, bytes).ok()?;
        self.next_number = number.wrapping_add(1);
        Some(number)
    }
}

impl Link for TransportFeedback {
    fn write_rtp(&mut self, now: Instant, packet: &mut rtp::Packet) -> Verdict {
        if let Some(number) = self.number(packet) {
            let header = &packet.header;
            let size = packet.marshal_size() + WIRE_OVERHEAD;
            let packet = (header.ssrc, header.sequence_number);
            self.congestion.sent(now, packet, number, size);
        }
        Verdict::Pass
    }

    fn read_rtcp(&mut self, now: Instant, packets: &[Box<dyn rtcp::Packet>]) {
        for packet in packets {
            if let Some(feedback) = packet.as_any().downcast_ref::<TransportLayerCc>() {
                self.congestion.feedback(now, statuses(feedback));
            }
        }
    }

    fn bind_local_stream(&mut self, info: &StreamInfo) {
        let extensions = &info.rtp_header_extensions;
        let numbers = extensions.iter().find(|it| it.uri == TRANSPORT_CC_URI);
        let Some(number) = numbers.and_then(|it| u8::try_from(it.id).ok()) else {
            return;
        };
        for ssrc in [Some(info.ssrc), info.ssrc_rtx].into_iter().flatten() {
            self.streams.retain(|(known, _)| *known != ssrc);
            self.streams.push((ssrc, number));
        }
    }

    fn unbind_local_stream(&mut self, info: &StreamInfo) {
        self.streams
            .retain(|(ssrc, _)| *ssrc != info.ssrc && Some(*ssrc) != info.ssrc_rtx);
    }
}

/// Number and time of arrival of every packet that a message speaks of. Arrivals without a time
/// are left out: nothing can be learned from them.
fn statuses(feedback: &TransportLayerCc) -> Vec<(u16, Option<Duration>)> {
    let mut arrival = REFERENCE_TIME * feedback.reference_time;
    let mut deltas = feedback.recv_deltas.iter();
    let symbols = feedback.packet_chunks.iter().flat_map(symbols);
    let count = usize::from(feedback.packet_status_count).min(MAX_STATUSES);
    let mut statuses = Vec::with_capacity(count.min(256));
    for (index, symbol) in symbols.take(count).enumerate() {
        let number = feedback.base_sequence_number.wrapping_add(index as u16);
        match symbol {
            SymbolTypeTcc::PacketNotReceived => statuses.push((number, None)),
            SymbolTypeTcc::PacketReceivedSmallDelta | SymbolTypeTcc::PacketReceivedLargeDelta => {
                let Some(delta) = deltas.next() else { break };
                let step = Duration::from_micros(delta.delta.unsigned_abs());
                arrival = if delta.delta < 0 {
                    arrival.saturating_sub(step)
                } else {
                    arrival + step
                };
                statuses.push((number, Some(arrival)));
            }
            SymbolTypeTcc::PacketReceivedWithoutDelta => {}
        }
    }
    statuses
}

fn symbols(chunk: &PacketStatusChunk) -> Box<dyn Iterator<Item = SymbolTypeTcc> + '_> {
    match chunk {
        PacketStatusChunk::RunLengthChunk(run) => Box::new(std::iter::repeat_n(
            run.packet_status_symbol,
            usize::from(run.run_length),
        )),
        PacketStatusChunk::StatusVectorChunk(vector) => {
            Box::new(vector.symbol_list.iter().copied())
        }
    }
}
