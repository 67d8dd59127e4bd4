//! Makes the crate's peer connection: codecs, packet chain, ICE settings, tracks.

use std::sync::Arc;
use std::time::Duration;

use ahoy_ice::runtime::IceRuntime;
use ahoy_media::units::{AUDIO_CLOCK_HZ, VIDEO_CLOCK_HZ};
use rtc::ice::mdns::MulticastDnsMode;
use rtc::interceptor::{
    NackGeneratorBuilder, ReceiverReportBuilder, Registry, SenderReportBuilder, Slot,
    TwccReceiverBuilder,
};
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::media_engine::{
    MIME_TYPE_OPUS, MIME_TYPE_RTX, MIME_TYPE_VP8,
};
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters,
    RTCRtpEncodingParameters, RTCRtpHeaderExtensionCapability, RTCRtpRtxParameters, RtpCodecKind,
};
use rtc::sdp::extmap::{SDES_MID_URI, TRANSPORT_CC_URI};
use rtc::shared::error::Result;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler,
    RTCConfiguration, RTCConfigurationBuilder, RTCIceServer, RTCIceTransportPolicy, SettingEngine,
    SettingEngineBuilder,
};

use super::certificate::Certificate;
use super::config::{LocalAddresses, TransportConfig};
use super::congestion::CongestionControl;
use super::events::MediaReceiver;
use super::interceptors::Chained;
use super::interceptors::delivery::Delivery;
use super::interceptors::meter::Meter;
use super::interceptors::nack_pacing::NackPacing;
use super::interceptors::rtx::RtxUnwrapper;
use super::interceptors::rtx_sender::RtxSender;
use super::interceptors::transport_feedback::TransportFeedback;
use super::local_sockets::LocalSockets;
use super::send::SendQueues;
use super::stats::Streams;

/// Payload types of our offers; those of Chromium, so that a look at a capture needs no table.
pub(super) const VP8_PAYLOAD_TYPE: u8 = 96;
/// Sound with copies of earlier sound in it.
pub(super) const MIME_TYPE_RED: &str = "audio/red";
pub(super) const OPUS_PAYLOAD_TYPE: u8 = 111;
const RTX_PAYLOAD_TYPE: u8 = 97;
const AUDIO_RTX_PAYLOAD_TYPE: u8 = 112;
const RED_PAYLOAD_TYPE: u8 = 63;

/// In-band FEC on, frames of 10 ms and more (RFC 7587 section 6.1).
const OPUS_PARAMETERS: &str = "minptime=10;useinbandfec=1";

/// Between two looks for missing packets: what it adds to each repair, for little work.
const NACK_INTERVAL: Duration = Duration::from_millis(10);
/// Between two reports of what arrived when: what is too much is known that soon. At 20 a second
/// they take some 10 kbit/s.
const FEEDBACK_INTERVAL: Duration = Duration::from_millis(50);
/// Reports on which round trip and loss are measured.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Between connectivity checks, so that a path is found fast.
const ICE_CHECK_INTERVAL: Duration = Duration::from_millis(20);
/// Checks per pair: 40 × 20 ms still finds a path with 800 ms of delay.
const ICE_MAX_BINDING_REQUESTS: u16 = 40;
/// How long a direct path may still win over a relayed one: half a second is lost where there is
/// none, and a path that is nominated stays.
const RELAY_ACCEPTANCE_WAIT: Duration = Duration::from_millis(500);
/// Without an answer for this long, the state is `disconnected`.
const ICE_DISCONNECTED_TIMEOUT: Duration = Duration::from_secs(2);
/// Then after this long, `failed`.
const ICE_FAILED_TIMEOUT: Duration = Duration::from_secs(20);
/// Between keepalives (RFC 7675 asks for consent every 5 s at least).
const ICE_KEEPALIVE_INTERVAL: Duration = Duration::from_millis(500);

/// SRTP packets that may overtake each other: a repair never does, reordering of a frame may.
const SRTP_REPLAY_WINDOW: usize = 512;

/// Random numbers of our streams.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ssrcs {
    pub(super) audio: u32,
    pub(super) audio_rtx: u32,
    pub(super) video: u32,
    pub(super) video_rtx: u32,
}

impl Ssrcs {
    pub(super) fn random() -> Self {
        let audio: u32 = rand::random();
        Self {
            audio,
            audio_rtx: audio.wrapping_add(3),
            video: audio.wrapping_add(1),
            video_rtx: audio.wrapping_add(2),
        }
    }
}

/// The two tracks that a connection has for life.
#[derive(Clone)]
pub(super) struct Tracks {
    pub(super) audio: Arc<TrackLocalStaticRTP>,
    pub(super) video: Arc<TrackLocalStaticRTP>,
}

/// What the packet chain needs from outside.
pub(super) struct ChainParts {
    pub(super) congestion: Arc<CongestionControl>,
    pub(super) queues: Arc<SendQueues>,
    pub(super) streams: Arc<Streams>,
    pub(super) receiver: Arc<dyn MediaReceiver>,
    pub(super) ssrcs: Ssrcs,
}

pub(super) async fn build(
    config: &TransportConfig,
    runtime: Arc<IceRuntime>,
    handler: Arc<dyn PeerConnectionEventHandler>,
    parts: ChainParts,
) -> Result<Arc<dyn PeerConnection>> {
    let connection = PeerConnectionBuilder::new()
        .with_configuration(configuration(config, &runtime))
        .with_media_engine(media_engine()?)
        .with_setting_engine(setting_engine(config))
        .with_interceptor_registry(chain(parts))
        .with_runtime(runtime)
        .with_handler(handler)
        .with_udp_addrs(vec![LocalSockets(config.local_addresses)])
        .build()
        .await?;
    Ok(Arc::new(connection))
}

/// Adds sound and picture, in this order, both ways.
pub(super) async fn add_tracks(connection: &dyn PeerConnection, ssrcs: Ssrcs) -> Result<Tracks> {
    let audio = track(
        "audio",
        RtpCodecKind::Audio,
        ssrcs.audio,
        ssrcs.audio_rtx,
        opus(),
    );
    let video = track(
        "video",
        RtpCodecKind::Video,
        ssrcs.video,
        ssrcs.video_rtx,
        vp8(),
    );
    connection
        .add_transceiver_from_track(audio.clone(), None)
        .await?;
    connection
        .add_transceiver_from_track(video.clone(), None)
        .await?;
    Ok(Tracks { audio, video })
}

fn track(
    name: &str,
    kind: RtpCodecKind,
    ssrc: u32,
    rtx_ssrc: u32,
    codec: RTCRtpCodec,
) -> Arc<TrackLocalStaticRTP> {
    let encoding = RTCRtpEncodingParameters {
        rtp_coding_parameters: RTCRtpCodingParameters {
            ssrc: Some(ssrc),
            rtx: Some(RTCRtpRtxParameters { ssrc: rtx_ssrc }),
            ..RTCRtpCodingParameters::default()
        },
        codec,
        ..RTCRtpEncodingParameters::default()
    };
    // One stream for both, so that the receiver knows that they belong together.
    let stream = "ahoy".to_owned();
    Arc::new(TrackLocalStaticRTP::new(MediaStreamTrack::new(
        stream,
        name.to_owned(),
        name.to_owned(),
        kind,
        vec![encoding],
    )))
}

fn configuration(config: &TransportConfig, runtime: &IceRuntime) -> RTCConfiguration {
    let certificates = config.certificate.iter().map(Certificate::for_connection);
    ice_configuration(runtime.ice_servers(&config.ice_servers), config.relay_only)
        .with_certificates(certificates.collect())
        .build()
}

/// Servers and how they are used: what a connection may be told again.
pub(super) fn ice_configuration(
    servers: Vec<RTCIceServer>,
    relay_only: bool,
) -> RTCConfigurationBuilder {
    let policy = if relay_only {
        RTCIceTransportPolicy::Relay
    } else {
        RTCIceTransportPolicy::All
    };
    RTCConfigurationBuilder::default()
        .with_ice_servers(servers)
        .with_ice_transport_policy(policy)
}

fn vp8() -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: MIME_TYPE_VP8.to_owned(),
        clock_rate: VIDEO_CLOCK_HZ,
        rtcp_feedback: vec![
            feedback("nack", ""),
            feedback("nack", "pli"),
            feedback("ccm", "fir"),
            feedback("transport-cc", ""),
        ],
        ..RTCRtpCodec::default()
    }
}

fn rtx() -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: MIME_TYPE_RTX.to_owned(),
        clock_rate: VIDEO_CLOCK_HZ,
        sdp_fmtp_line: format!("apt={VP8_PAYLOAD_TYPE}"),
        ..RTCRtpCodec::default()
    }
}

/// Repairs of sound, which browsers do not know.
fn audio_rtx() -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: "audio/rtx".to_owned(),
        clock_rate: AUDIO_CLOCK_HZ,
        channels: 2,
        sdp_fmtp_line: format!("apt={OPUS_PAYLOAD_TYPE}"),
        ..RTCRtpCodec::default()
    }
}

/// Sound that goes again inside later packets (RFC 2198).
fn red() -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: MIME_TYPE_RED.to_owned(),
        clock_rate: AUDIO_CLOCK_HZ,
        channels: 2,
        sdp_fmtp_line: format!("{OPUS_PAYLOAD_TYPE}/{OPUS_PAYLOAD_TYPE}"),
        ..RTCRtpCodec::default()
    }
}

fn opus() -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: MIME_TYPE_OPUS.to_owned(),
        clock_rate: AUDIO_CLOCK_HZ,
        channels: 2,
        sdp_fmtp_line: OPUS_PARAMETERS.to_owned(),
        rtcp_feedback: vec![feedback("nack", ""), feedback("transport-cc", "")],
    }
}

fn feedback(kind: &str, parameter: &str) -> RTCPFeedback {
    RTCPFeedback {
        typ: kind.to_owned(),
        parameter: parameter.to_owned(),
    }
}

fn media_engine() -> Result<MediaEngine> {
    let mut engine = MediaEngine::default();
    for (rtp_codec, payload_type, kind) in [
        (opus(), OPUS_PAYLOAD_TYPE, RtpCodecKind::Audio),
        (audio_rtx(), AUDIO_RTX_PAYLOAD_TYPE, RtpCodecKind::Audio),
        (red(), RED_PAYLOAD_TYPE, RtpCodecKind::Audio),
        (vp8(), VP8_PAYLOAD_TYPE, RtpCodecKind::Video),
        (rtx(), RTX_PAYLOAD_TYPE, RtpCodecKind::Video),
    ] {
        let parameters = RTCRtpCodecParameters {
            rtp_codec,
            payload_type,
        };
        engine.register_codec(parameters, kind)?;
    }
    for kind in [RtpCodecKind::Audio, RtpCodecKind::Video] {
        for uri in [TRANSPORT_CC_URI, SDES_MID_URI] {
            let uri = uri.to_owned();
            engine.register_header_extension(
                RTCRtpHeaderExtensionCapability { uri },
                kind,
                None,
            )?;
        }
    }
    Ok(engine)
}

/// The crate's links at their places and our own between them (see [`super::interceptors`]). No
/// pacer and no answer to NACKs: packets are paced before they come here, repairs among them.
fn chain(parts: ChainParts) -> Registry {
    let ChainParts {
        congestion,
        queues,
        streams,
        receiver,
        ssrcs,
    } = parts;
    let meter = Meter::new(
        Arc::clone(&streams),
        Arc::clone(&queues),
        Arc::clone(&receiver),
    );
    let nack_generator = NackGeneratorBuilder::new()
        .with_interval(NACK_INTERVAL)
        .build();
    let feedback = TwccReceiverBuilder::new()
        .with_interval(FEEDBACK_INTERVAL)
        .build();
    Registry::new()
        .with(Slot::from(500), Chained::new(meter))
        .with(
            Slot::from(1_000),
            Chained::new(TransportFeedback::new(Arc::clone(&congestion))),
        )
        .with(
            Slot::from(4_000),
            Chained::new(RtxSender::new(congestion, ssrcs)),
        )
        .with(Slot::from(6_100), feedback)
        .with(
            Slot::from(6_200),
            ReceiverReportBuilder::new()
                .with_interval(REPORT_INTERVAL)
                .build(),
        )
        .with(Slot::from(6_500), Chained::new(RtxUnwrapper::default()))
        .with(
            Slot::from(6_900),
            Chained::new(NackPacing::new(Arc::clone(&streams))),
        )
        .with(Slot::NackGenerator, nack_generator)
        .with(
            Slot::SenderReport,
            SenderReportBuilder::new()
                .with_interval(REPORT_INTERVAL)
                .build(),
        )
        .with(
            Slot::from(13_500),
            Chained::new(Delivery::new(receiver, streams, queues)),
        )
}

fn setting_engine(config: &TransportConfig) -> SettingEngine {
    let relay_wait = if config.relay_only {
        Duration::ZERO
    } else {
        RELAY_ACCEPTANCE_WAIT
    };
    SettingEngineBuilder::new()
        .with_include_loopback_candidate(config.local_addresses != LocalAddresses::Network)
        // Names that hide addresses on the local network need a port shared by all connections;
        // the other side's are passed over.
        .with_multicast_dns_mode(MulticastDnsMode::Disabled)
        .with_ice_connection_attempts(Some(ICE_CHECK_INTERVAL), Some(ICE_MAX_BINDING_REQUESTS))
        .with_ice_timeouts(
            Some(ICE_DISCONNECTED_TIMEOUT),
            Some(ICE_FAILED_TIMEOUT),
            Some(ICE_KEEPALIVE_INTERVAL),
        )
        .with_host_acceptance_min_wait(Some(Duration::ZERO))
        .with_srflx_acceptance_min_wait(Some(Duration::ZERO))
        .with_prflx_acceptance_min_wait(Some(Duration::ZERO))
        .with_relay_acceptance_min_wait(Some(relay_wait))
        // Without this the crate keeps the sockets of the dead network on a restart.
        .with_discard_local_candidates_during_ice_restart(true)
        .with_srtp_replay_protection_window(SRTP_REPLAY_WINDOW)
        .build()
}
