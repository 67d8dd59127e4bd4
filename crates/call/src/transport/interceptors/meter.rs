//! Counts what is on the wire and hears the other side's requests and reports.

use std::sync::Arc;
use std::time::Instant;

use rtc::interceptor::StreamInfo;
use rtc::rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::rtcp::reception_report::ReceptionReport;
use rtc::rtcp::sender_report::SenderReport;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::{NackPair, TransportLayerNack};
use rtc::shared::marshal::MarshalSize;
use rtc::{rtcp, rtp};

use super::{Link, Verdict};
use crate::transport::events::MediaReceiver;
use crate::transport::send::SendQueues;
use crate::transport::stats::{Kind, OnWire, ReportBlock, Streams};

pub(in crate::transport) struct Meter {
    streams: Arc<Streams>,
    queues: Arc<SendQueues>,
    receiver: Arc<dyn MediaReceiver>,
}

impl Meter {
    pub(in crate::transport) fn new(
        streams: Arc<Streams>,
        queues: Arc<SendQueues>,
        receiver: Arc<dyn MediaReceiver>,
    ) -> Self {
        Self {
            streams,
            queues,
            receiver,
        }
    }

    fn reports(&self, now: Instant, reports: &[ReceptionReport]) {
        for report in reports {
            self.streams.report_received(
                now,
                ReportBlock {
                    ssrc: report.ssrc,
                    fraction_lost: report.fraction_lost,
                    total_lost: report.total_lost,
                    jitter: report.jitter,
                    last_sender_report: report.last_sender_report,
                    delay: report.delay,
                },
            );
        }
    }

    /// Whether the packet asks for a key frame of ours.
    fn read(&self, now: Instant, packet: &dyn std::any::Any) -> bool {
        if let Some(report) = packet.downcast_ref::<SenderReport>() {
            self.reports(now, &report.reports);
            let (ntp_time, rtp_time) = (report.ntp_time, report.rtp_time);
            match self.streams.remote_kind(report.ssrc) {
                Some(Kind::Audio) => self.receiver.audio_report(ntp_time, rtp_time),
                Some(Kind::Video) => self.receiver.video_report(ntp_time, rtp_time),
                None => {}
            }
        } else if let Some(report) = packet.downcast_ref::<ReceiverReport>() {
            self.reports(now, &report.reports);
        } else if let Some(nack) = packet.downcast_ref::<TransportLayerNack>() {
            self.streams.nack_received(nack.media_ssrc);
            if let Some(kind) = self.streams.local_kind(nack.media_ssrc) {
                let missing = nack.nacks.iter().flat_map(NackPair::packet_list);
                self.queues.repair(kind, missing);
            }
        } else if let Some(pli) = packet.downcast_ref::<PictureLossIndication>() {
            return self.streams.pli_received(pli.media_ssrc);
        } else if let Some(request) = packet.downcast_ref::<FullIntraRequest>() {
            return request
                .fir
                .iter()
                .any(|entry| self.streams.fir_received(entry.ssrc));
        }
        false
    }
}

impl Link for Meter {
    fn read_rtp(&mut self, now: Instant, packet: &mut rtp::Packet) -> Verdict {
        self.streams.received(now, on_wire(packet));
        Verdict::Pass
    }

    fn read_rtcp(&mut self, now: Instant, packets: &[Box<dyn rtcp::Packet>]) {
        let mut key_frame = false;
        for packet in packets {
            key_frame |= self.read(now, packet.as_any());
        }
        if key_frame {
            self.receiver.key_frame_requested();
        }
    }

    fn write_rtp(&mut self, _now: Instant, packet: &mut rtp::Packet) -> Verdict {
        self.streams.sent(on_wire(packet));
        Verdict::Pass
    }

    fn write_rtcp(&mut self, now: Instant, packets: &mut Vec<Box<dyn rtcp::Packet>>) -> Verdict {
        for boxed in packets.iter_mut() {
            let packet = boxed.as_any();
            if let Some(report) = packet.downcast_ref::<SenderReport>() {
                self.streams
                    .sender_report_sent(now, report.ssrc, report.ntp_time);
                // The crate takes the time of sending for that of the capture, which differs
                // between sound and picture: lips would be out of step by that much.
                if let Some(rtp_time) = self.streams.media_time(now, report.ssrc) {
                    let report = SenderReport {
                        rtp_time,
                        ..report.clone()
                    };
                    *boxed = Box::new(report);
                }
            } else if let Some(nack) = packet.downcast_ref::<TransportLayerNack>() {
                self.streams.nack_sent(nack.media_ssrc);
            } else if let Some(pli) = packet.downcast_ref::<PictureLossIndication>() {
                self.streams.pli_sent(pli.media_ssrc);
            }
        }
        Verdict::Pass
    }

    fn bind_remote_stream(&mut self, info: &StreamInfo) {
        if let Some(kind) = Kind::of_mime_type(&info.mime_type) {
            self.streams.bind_remote(kind, info.ssrc, info.ssrc_rtx);
        }
    }
}

fn on_wire(packet: &rtp::Packet) -> OnWire {
    OnWire {
        ssrc: packet.header.ssrc,
        sequence_number: packet.header.sequence_number,
        timestamp: packet.header.timestamp,
        header_bytes: packet.header.marshal_size(),
        payload_bytes: packet.payload.len(),
    }
}
