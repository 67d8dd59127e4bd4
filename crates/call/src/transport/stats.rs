//! What a connection counts, under the names of W3C webrtc-stats.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ahoy_media::units::{AUDIO_CLOCK_HZ, Bitrate, VIDEO_CLOCK_HZ};

use super::connection::Ssrcs;

/// Sender reports whose time of departure is remembered, per stream. One leaves every second and
/// is referred to within a second or two.
const REMEMBERED_REPORTS: usize = 8;

/// A snapshot of one connection.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TransportStats {
    /// `outbound-rtp`, sound.
    pub outbound_audio: OutboundRtpStats,
    /// `outbound-rtp`, picture.
    pub outbound_video: OutboundRtpStats,
    /// `inbound-rtp`, sound; `None` before the first packet.
    pub inbound_audio: Option<InboundRtpStats>,
    /// `inbound-rtp`, picture; `None` before the first packet.
    pub inbound_video: Option<InboundRtpStats>,
    /// `remote-inbound-rtp`, sound; `None` before the first report.
    pub remote_inbound_audio: Option<RemoteInboundRtpStats>,
    /// `remote-inbound-rtp`, picture; `None` before the first report.
    pub remote_inbound_video: Option<RemoteInboundRtpStats>,
    /// The nominated `candidate-pair`; `None` before there is one.
    pub candidate_pair: Option<CandidatePairStats>,
    /// Pictures that were not sent because the queue to the network was full or waited for a key
    /// frame.
    pub frames_dropped_before_sending: u64,
    /// Sound packets that were not sent because the queue to the network was full.
    pub audio_dropped_before_sending: u64,
}

/// `RTCOutboundRtpStreamStats`, the part that the transport knows.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct OutboundRtpStats {
    /// Synchronisation source.
    pub ssrc: u32,
    /// RTP packets, retransmissions included.
    pub packets_sent: u64,
    /// Payload bytes, retransmissions included.
    pub bytes_sent: u64,
    /// Bytes of RTP headers.
    pub header_bytes_sent: u64,
    /// Packets sent again.
    pub retransmitted_packets_sent: u64,
    /// Payload bytes sent again.
    pub retransmitted_bytes_sent: u64,
    /// Packets among `packets_sent` that only fill a probe of the path.
    pub padding_packets_sent: u64,
    /// NACK packets received.
    pub nack_count: u64,
    /// PLI packets received.
    pub pli_count: u64,
    /// FIR packets received.
    pub fir_count: u64,
}

/// `RTCInboundRtpStreamStats`, the part that the transport knows.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct InboundRtpStats {
    /// Synchronisation source.
    pub ssrc: u32,
    /// RTP packets, retransmissions included.
    pub packets_received: u64,
    /// Payload bytes, retransmissions included.
    pub bytes_received: u64,
    /// Bytes of RTP headers.
    pub header_bytes_received: u64,
    /// Packets that the network lost, whether or not they were repaired (RFC 3550 section 6.4.1).
    pub packets_lost: i64,
    /// Interarrival jitter in seconds (RFC 3550 section 6.4.1).
    pub jitter: f64,
    /// Retransmissions received.
    pub retransmitted_packets_received: u64,
    /// Packets that came more than once and were handed on once.
    pub duplicate_packets_received: u64,
    /// Ours: lost packets that came again inside later ones (RFC 2198).
    pub packets_restored: u64,
    /// Ours: the gaps that these had left.
    pub gaps_restored: u64,
    /// NACK packets sent.
    pub nack_count: u64,
    /// PLI packets sent.
    pub pli_count: u64,
}

/// `RTCRemoteInboundRtpStreamStats`: how our stream arrives, from the reports of the other side.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct RemoteInboundRtpStats {
    /// Cumulative number of packets lost.
    pub packets_lost: u64,
    /// Share lost since the report before, 0 to 1.
    pub fraction_lost: f64,
    /// Interarrival jitter in seconds.
    pub jitter: f64,
    /// The latest round trip in seconds; `None` before the first measurement.
    pub round_trip_time: Option<f64>,
    /// Sum of all measured round trips in seconds.
    pub total_round_trip_time: f64,
    /// How many were measured.
    pub round_trip_time_measurements: u64,
}

/// How our sound arrives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SoundReception {
    /// Packets sent so far, repairs left out.
    pub packets_sent: u64,
    /// Those that the network lost, whether or not they were repaired, by the latest report.
    pub packets_lost: u64,
    /// The latest round trip; `None` before the first measurement.
    pub round_trip_time: Option<Duration>,
}

/// `RTCIceCandidatePairStats` and the types of its candidates.
#[derive(Debug, Clone, PartialEq)]
pub struct CandidatePairStats {
    /// Latest round trip of a connectivity check in seconds; `None` before the first answer.
    pub current_round_trip_time: Option<f64>,
    /// What congestion control allows, in bit/s.
    pub available_outgoing_bitrate: Bitrate,
    /// Bytes sent, everything above UDP.
    pub bytes_sent: u64,
    /// Bytes received, everything above UDP.
    pub bytes_received: u64,
    /// Where the path begins on this computer, as far as that is known; never told to others.
    pub local_address: Option<IpAddr>,
    /// `RTCIceCandidateType` on this side, such as `host` or `relay`.
    pub local_candidate_type: String,
    /// `RTCIceCandidateType` on the other side.
    pub remote_candidate_type: String,
    /// With a relay on this side, how it is reached: `udp`, `tcp` or `tls` (`relayProtocol`,
    /// webrtc-stats section 8.20).
    pub relay_protocol: Option<&'static str>,
}

/// Sound or picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Audio,
    Video,
}

impl Kind {
    pub(super) fn of_mime_type(mime_type: &str) -> Option<Self> {
        let (kind, _) = mime_type.split_once('/')?;
        match kind.to_ascii_lowercase().as_str() {
            "audio" => Some(Self::Audio),
            "video" => Some(Self::Video),
            _ => None,
        }
    }

    fn clock_hz(self) -> f64 {
        f64::from(match self {
            Self::Audio => AUDIO_CLOCK_HZ,
            Self::Video => VIDEO_CLOCK_HZ,
        })
    }
}

/// One report block (RFC 3550 section 6.4.1) of the other side.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReportBlock {
    pub(super) ssrc: u32,
    pub(super) fraction_lost: u8,
    pub(super) total_lost: u32,
    pub(super) jitter: u32,
    pub(super) last_sender_report: u32,
    pub(super) delay: u32,
}

/// One RTP packet on the wire.
#[derive(Debug, Clone, Copy)]
pub(super) struct OnWire {
    pub(super) ssrc: u32,
    pub(super) sequence_number: u16,
    pub(super) timestamp: u32,
    pub(super) header_bytes: usize,
    pub(super) payload_bytes: usize,
}

/// The counters, shared between the packet chain and whoever reads them. Locked for a few
/// additions at a time.
#[derive(Debug, Default)]
pub(super) struct Streams(Mutex<Counters>);

#[derive(Debug, Default)]
struct Counters {
    local: [Local; 2],
    remote: [Option<Remote>; 2],
    round_trip_time: Option<Duration>,
}

/// A stream of ours.
#[derive(Debug, Default)]
struct Local {
    rtx_ssrc: Option<u32>,
    stats: OutboundRtpStats,
    /// Packets on their way to the wire that only fill a probe.
    padding: u64,
    reported: Option<RemoteInboundRtpStats>,
    /// Middle 32 bits of the NTP time in a sender report, and when it left.
    reports: Vec<(u32, Instant)>,
    /// A moment of the capture, and its media time.
    media_time: Option<(Instant, u32)>,
}

/// A stream of theirs.
#[derive(Debug)]
struct Remote {
    rtx_ssrc: Option<u32>,
    stats: InboundRtpStats,
    progress: Option<Progress>,
}

/// State behind loss and jitter (RFC 3550 appendix A).
#[derive(Debug)]
struct Progress {
    first: i64,
    newest: i64,
    received: i64,
    last_arrival: Instant,
    last_timestamp: u32,
}

impl Streams {
    pub(super) fn new(ssrcs: Ssrcs) -> Self {
        let streams = Self::default();
        let of_kinds = [
            (Kind::Audio, ssrcs.audio, ssrcs.audio_rtx),
            (Kind::Video, ssrcs.video, ssrcs.video_rtx),
        ];
        for (kind, ssrc, rtx_ssrc) in of_kinds {
            let local = &mut streams.lock().local[kind as usize];
            local.stats.ssrc = ssrc;
            local.rtx_ssrc = Some(rtx_ssrc);
        }
        streams
    }

    /// Fills everything but the candidate pair and the queues.
    pub(super) fn snapshot(&self) -> TransportStats {
        let counters = self.lock();
        let local = |kind: Kind| &counters.local[kind as usize];
        let remote = |kind: Kind| {
            counters.remote[kind as usize]
                .as_ref()
                .map(|remote| remote.stats)
        };
        TransportStats {
            outbound_audio: local(Kind::Audio).stats,
            outbound_video: local(Kind::Video).stats,
            inbound_audio: remote(Kind::Audio),
            inbound_video: remote(Kind::Video),
            remote_inbound_audio: local(Kind::Audio).reported,
            remote_inbound_video: local(Kind::Video).reported,
            ..TransportStats::default()
        }
    }

    /// The latest round trip measured by reports, of whichever stream.
    pub(super) fn round_trip_time(&self) -> Option<Duration> {
        self.lock().round_trip_time
    }

    /// What was captured at `at` has the media time `rtp_timestamp`.
    pub(super) fn captured(&self, kind: Kind, at: Instant, rtp_timestamp: u32) {
        self.lock().local[kind as usize].media_time = Some((at, rtp_timestamp));
    }

    /// Media time of what one of our streams captures just now.
    pub(super) fn media_time(&self, now: Instant, ssrc: u32) -> Option<u32> {
        let counters = self.lock();
        let kinds = [Kind::Audio, Kind::Video];
        let mut streams = kinds.into_iter().zip(&counters.local);
        let (kind, local) = streams.find(|(_, local)| local.stats.ssrc == ssrc)?;
        let (at, rtp_timestamp) = local.media_time?;
        let elapsed = now.saturating_duration_since(at).as_secs_f64();
        Some(rtp_timestamp.wrapping_add((elapsed * kind.clock_hz()) as u64 as u32))
    }

    /// Which of their streams this is, once its first packet came.
    pub(super) fn remote_kind(&self, ssrc: u32) -> Option<Kind> {
        let counters = self.lock();
        let is_it = |kind: &Kind| {
            let remote = &counters.remote[*kind as usize];
            remote.as_ref().is_some_and(|it| it.stats.ssrc == ssrc)
        };
        [Kind::Audio, Kind::Video].into_iter().find(is_it)
    }

    /// Which of our streams this is.
    pub(super) fn local_kind(&self, ssrc: u32) -> Option<Kind> {
        let counters = self.lock();
        let is_it = |kind: &Kind| counters.local[*kind as usize].stats.ssrc == ssrc;
        [Kind::Audio, Kind::Video].into_iter().find(is_it)
    }

    /// The other side's picture stream, once its first packet came.
    pub(super) fn remote_video_ssrc(&self) -> Option<u32> {
        let counters = self.lock();
        counters.remote[Kind::Video as usize]
            .as_ref()
            .map(|remote| remote.stats.ssrc)
    }

    pub(super) fn bind_remote(&self, kind: Kind, ssrc: u32, rtx_ssrc: Option<u32>) {
        let mut counters = self.lock();
        let is_repair = |remote: &Remote| remote.rtx_ssrc == Some(ssrc);
        if counters.remote.iter().flatten().any(is_repair) {
            return;
        }
        let remote = &mut counters.remote[kind as usize];
        if remote
            .as_ref()
            .is_some_and(|remote| remote.stats.ssrc == ssrc)
        {
            return;
        }
        *remote = Some(Remote {
            rtx_ssrc,
            stats: InboundRtpStats {
                ssrc,
                ..InboundRtpStats::default()
            },
            progress: None,
        });
    }

    pub(super) fn sent(&self, packet: OnWire) {
        let mut counters = self.lock();
        for local in &mut counters.local {
            let repair = local.rtx_ssrc == Some(packet.ssrc);
            if local.stats.ssrc != packet.ssrc && !repair {
                continue;
            }
            let stats = &mut local.stats;
            stats.packets_sent += 1;
            stats.bytes_sent += packet.payload_bytes as u64;
            stats.header_bytes_sent += packet.header_bytes as u64;
            if repair && local.padding > 0 {
                local.padding -= 1;
                stats.padding_packets_sent += 1;
            } else if repair {
                stats.retransmitted_packets_sent += 1;
                stats.retransmitted_bytes_sent += packet.payload_bytes as u64;
            }
        }
    }

    /// A packet goes out again that nobody asked for, to fill a probe. It is no retransmission.
    pub(super) fn padding_sent(&self) {
        self.lock().local[Kind::Video as usize].padding += 1;
    }

    pub(super) fn received(&self, now: Instant, packet: OnWire) {
        let mut counters = self.lock();
        for (kind, remote) in [Kind::Audio, Kind::Video]
            .into_iter()
            .zip(&mut counters.remote)
        {
            let Some(remote) = remote else { continue };
            let repair = remote.rtx_ssrc == Some(packet.ssrc);
            if remote.stats.ssrc != packet.ssrc && !repair {
                continue;
            }
            let stats = &mut remote.stats;
            stats.packets_received += 1;
            stats.bytes_received += packet.payload_bytes as u64;
            stats.header_bytes_received += packet.header_bytes as u64;
            stats.retransmitted_packets_received += u64::from(repair);
            if !repair {
                remote.progress(now, kind, packet);
            }
        }
    }

    pub(super) fn duplicate_received(&self, kind: Kind) {
        if let Some(remote) = &mut self.lock().remote[kind as usize] {
            remote.stats.duplicate_packets_received += 1;
        }
    }

    /// A lost packet came again inside a later one, and makes so many gaps with those before.
    pub(super) fn restored(&self, kind: Kind, gaps: u64) {
        if let Some(remote) = &mut self.lock().remote[kind as usize] {
            remote.stats.packets_restored += 1;
            remote.stats.gaps_restored += gaps;
        }
    }

    pub(super) fn sender_report_sent(&self, now: Instant, ssrc: u32, ntp_time: u64) {
        let mut counters = self.lock();
        if let Some(local) = counters
            .local
            .iter_mut()
            .find(|local| local.stats.ssrc == ssrc)
        {
            if local.reports.len() == REMEMBERED_REPORTS {
                local.reports.remove(0);
            }
            local.reports.push(((ntp_time >> 16) as u32, now));
        }
    }

    pub(super) fn report_received(&self, now: Instant, block: ReportBlock) {
        let counters = &mut *self.lock();
        let kinds = [Kind::Audio, Kind::Video];
        for (kind, local) in kinds.into_iter().zip(&mut counters.local) {
            if local.stats.ssrc != block.ssrc {
                continue;
            }
            let reported = local.reported.get_or_insert_default();
            reported.packets_lost = u64::from(block.total_lost);
            reported.fraction_lost = f64::from(block.fraction_lost) / 256.0;
            reported.jitter = f64::from(block.jitter) / kind.clock_hz();
            let sent = |(id, _): &&(u32, Instant)| *id == block.last_sender_report;
            let Some((_, left)) = local.reports.iter().rev().find(sent) else {
                continue;
            };
            let held = Duration::from_secs_f64(f64::from(block.delay) / 65_536.0);
            let round_trip = now.saturating_duration_since(*left).saturating_sub(held);
            reported.round_trip_time = Some(round_trip.as_secs_f64());
            reported.total_round_trip_time += round_trip.as_secs_f64();
            reported.round_trip_time_measurements += 1;
            counters.round_trip_time = Some(round_trip);
        }
    }

    pub(super) fn nack_received(&self, media_ssrc: u32) {
        self.count_local(media_ssrc, |stats| stats.nack_count += 1);
    }

    /// Whether the PLI is about a stream of ours.
    pub(super) fn pli_received(&self, media_ssrc: u32) -> bool {
        self.count_local(media_ssrc, |stats| stats.pli_count += 1)
    }

    /// Whether the FIR is about a stream of ours.
    pub(super) fn fir_received(&self, media_ssrc: u32) -> bool {
        self.count_local(media_ssrc, |stats| stats.fir_count += 1)
    }

    pub(super) fn nack_sent(&self, media_ssrc: u32) {
        self.count_remote(media_ssrc, |stats| stats.nack_count += 1);
    }

    pub(super) fn pli_sent(&self, media_ssrc: u32) {
        self.count_remote(media_ssrc, |stats| stats.pli_count += 1);
    }

    fn count_local(&self, ssrc: u32, count: impl FnOnce(&mut OutboundRtpStats)) -> bool {
        let mut counters = self.lock();
        let local = counters
            .local
            .iter_mut()
            .find(|local| local.stats.ssrc == ssrc);
        local.map(|local| count(&mut local.stats)).is_some()
    }

    fn count_remote(&self, ssrc: u32, count: impl FnOnce(&mut InboundRtpStats)) {
        let mut counters = self.lock();
        let mut remotes = counters.remote.iter_mut().flatten();
        if let Some(remote) = remotes.find(|remote| remote.stats.ssrc == ssrc) {
            count(&mut remote.stats);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counters> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Remote {
    fn progress(&mut self, now: Instant, kind: Kind, packet: OnWire) {
        let clock_hz = kind.clock_hz();
        let Some(progress) = &mut self.progress else {
            let number = i64::from(packet.sequence_number);
            self.progress = Some(Progress {
                first: number,
                newest: number,
                received: 1,
                last_arrival: now,
                last_timestamp: packet.timestamp,
            });
            return;
        };
        let step = packet.sequence_number.wrapping_sub(progress.newest as u16) as i16;
        let number = progress.newest + i64::from(step);
        progress.received += 1;
        progress.newest = progress.newest.max(number);
        progress.first = progress.first.min(number);
        self.stats.packets_lost = progress.newest - progress.first + 1 - progress.received;

        let media =
            f64::from(packet.timestamp.wrapping_sub(progress.last_timestamp) as i32) / clock_hz;
        let arrival = now
            .saturating_duration_since(progress.last_arrival)
            .as_secs_f64();
        progress.last_arrival = now;
        progress.last_timestamp = packet.timestamp;
        self.stats.jitter += ((arrival - media).abs() - self.stats.jitter) / 16.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn streams() -> Streams {
        Streams::new(Ssrcs {
            audio: 1,
            audio_rtx: 4,
            video: 2,
            video_rtx: 3,
        })
    }

    fn packet(ssrc: u32, sequence_number: u16, timestamp: u32) -> OnWire {
        OnWire {
            ssrc,
            sequence_number,
            timestamp,
            header_bytes: 20,
            payload_bytes: 100,
        }
    }

    #[test]
    fn round_trip_is_what_remains_without_the_other_sides_delay() {
        let streams = streams();
        let start = Instant::now();
        let ntp = 0x1234_5678_9abc_def0;
        streams.sender_report_sent(start, 2, ntp);
        let block = ReportBlock {
            ssrc: 2,
            fraction_lost: 64,
            total_lost: 7,
            jitter: 900,
            last_sender_report: 0x5678_9abc,
            delay: 65_536 / 2,
        };
        streams.report_received(start + Duration::from_millis(540), block);
        let reported = streams.snapshot().remote_inbound_video.expect("reported");
        assert!((reported.round_trip_time.expect("measured") - 0.04).abs() < 1e-6);
        assert_eq!((reported.fraction_lost, reported.packets_lost), (0.25, 7));
        assert_eq!(reported.jitter, 0.01);

        let unknown = ReportBlock {
            last_sender_report: 0,
            ..block
        };
        streams.report_received(start + Duration::from_secs(9), unknown);
        let reported = streams.snapshot().remote_inbound_video.expect("reported");
        assert_eq!(reported.round_trip_time_measurements, 1);
    }

    #[test]
    fn loss_counts_what_did_not_come_the_first_time() {
        let streams = streams();
        let now = Instant::now();
        streams.bind_remote(Kind::Video, 20, Some(21));
        streams.bind_remote(Kind::Video, 21, None);
        for number in [65_534_u16, 65_535, 1, 3, 2] {
            streams.received(now, packet(20, number, 0));
        }
        streams.received(now, packet(21, 0, 0));
        let inbound = streams.snapshot().inbound_video.expect("bound");
        assert_eq!((inbound.ssrc, inbound.packets_lost), (20, 1));
        assert_eq!(
            (
                inbound.packets_received,
                inbound.retransmitted_packets_received
            ),
            (6, 1)
        );
    }

    #[test]
    fn jitter_is_zero_for_a_steady_stream_and_grows_with_delay() {
        let streams = streams();
        let start = Instant::now();
        streams.bind_remote(Kind::Audio, 30, None);
        for index in 0..50_u32 {
            let at = start + Duration::from_millis(20) * index;
            streams.received(at, packet(30, index as u16, index * 960));
        }
        assert!(streams.snapshot().inbound_audio.expect("bound").jitter < 1e-9);
        streams.received(
            start + Duration::from_millis(1080),
            packet(30, 50, 50 * 960),
        );
        assert!((streams.snapshot().inbound_audio.expect("bound").jitter - 0.005).abs() < 1e-6);
    }

    #[test]
    fn requests_for_other_streams_do_not_count() {
        let streams = streams();
        assert!(streams.pli_received(2));
        assert!(!streams.pli_received(9));
        assert!(streams.fir_received(2));
        let stats = streams.snapshot().outbound_video;
        assert_eq!((stats.pli_count, stats.fir_count), (1, 1));
    }
}
