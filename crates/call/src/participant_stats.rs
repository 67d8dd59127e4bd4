//! Puts the figures of connection, encoder and jitter buffers together under their W3C names.

use std::time::Duration;

use ahoy_audio::jitter::AudioReceiveStats;
use ahoy_video::send::VideoSendStats;

use crate::remote_video::RemoteVideoStats;
use crate::stats::{
    CandidatePairStats, InboundRtpStats, OutboundRtpStats, ParticipantStats, RemoteInboundRtpStats,
};
use crate::transport;
use crate::view::ParticipantId;

/// Where the figures come from; what does not exist yet is left out of the report.
pub(crate) struct Sources {
    pub(crate) transport: transport::TransportStats,
    pub(crate) encoder: VideoSendStats,
    pub(crate) video: RemoteVideoStats,
    pub(crate) audio: AudioReceiveStats,
    pub(crate) audio_level: f32,
}

pub(crate) fn report(id: ParticipantId, sources: &Sources) -> ParticipantStats {
    let Sources {
        transport,
        encoder,
        video,
        audio,
        audio_level,
    } = sources;
    ParticipantStats {
        id,
        outbound_video: outbound_video(&transport.outbound_video, encoder),
        outbound_audio: outbound(&transport.outbound_audio),
        inbound_video: transport
            .inbound_video
            .as_ref()
            .map(|inbound| inbound_video(inbound, video))
            .unwrap_or_default(),
        inbound_audio: transport
            .inbound_audio
            .as_ref()
            .map(|inbound| inbound_audio(inbound, audio, *audio_level))
            .unwrap_or_default(),
        remote_inbound_video: remote_inbound(transport.remote_inbound_video.as_ref()),
        remote_inbound_audio: remote_inbound(transport.remote_inbound_audio.as_ref()),
        pair: pair(transport.candidate_pair.as_ref()),
    }
}

fn outbound(sent: &transport::OutboundRtpStats) -> OutboundRtpStats {
    OutboundRtpStats {
        packets_sent: real(sent.packets_sent),
        bytes_sent: real(sent.bytes_sent),
        nack_count: whole(sent.nack_count),
        ..OutboundRtpStats::default()
    }
}

fn outbound_video(
    sent: &transport::OutboundRtpStats,
    encoder: &VideoSendStats,
) -> OutboundRtpStats {
    let known_size = |pixels: u32| (pixels > 0).then_some(pixels);
    OutboundRtpStats {
        retransmitted_packets_sent: real(sent.retransmitted_packets_sent),
        pli_count: whole(sent.pli_count),
        fir_count: whole(sent.fir_count),
        frames_encoded: whole(encoder.frames_encoded),
        key_frames_encoded: whole(encoder.key_frames_encoded),
        total_encode_time: Some(encoder.total_encode_time.as_secs_f64()),
        qp_sum: real(encoder.qp_sum),
        frame_width: known_size(encoder.frame_width),
        frame_height: known_size(encoder.frame_height),
        target_bitrate: real(encoder.target_bitrate.bps()),
        padding_packets_sent: real(sent.padding_packets_sent),
        frames_left_out: whole(encoder.frames_replaced),
        ..outbound(sent)
    }
}

fn inbound(received: &transport::InboundRtpStats) -> InboundRtpStats {
    InboundRtpStats {
        packets_received: real(received.packets_received),
        bytes_received: real(received.bytes_received),
        packets_lost: Some(received.packets_lost as f64),
        jitter: Some(received.jitter),
        nack_count: whole(received.nack_count),
        ..InboundRtpStats::default()
    }
}

fn inbound_video(
    received: &transport::InboundRtpStats,
    video: &RemoteVideoStats,
) -> InboundRtpStats {
    InboundRtpStats {
        pli_count: whole(received.pli_count),
        packets_discarded: real(video.packets_dropped),
        frames_received: Some(video.frames),
        frames_dropped: whole(video.jitter.frames_dropped),
        key_frames_decoded: whole(video.jitter.key_frames_assembled),
        frame_width: video.size.map(|(width, _)| width),
        frame_height: video.size.map(|(_, height)| height),
        frames_per_second: Some(video.frames_per_second),
        freeze_count: Some(video.freezes),
        total_freezes_duration: Some(video.frozen_s),
        jitter_buffer_delay: seconds(video.jitter.jitter_buffer_delay)
            .map(|delay| delay + video.held_s),
        lip_sync_skew: video.skew_s,
        jitter_buffer_emitted_count: real(video.jitter.frames_assembled),
        ..inbound(received)
    }
}

fn inbound_audio(
    received: &transport::InboundRtpStats,
    audio: &AudioReceiveStats,
    audio_level: f32,
) -> InboundRtpStats {
    InboundRtpStats {
        packets_discarded: real(audio.packets_discarded),
        jitter_buffer_delay: Some(audio.jitter_buffer_delay),
        jitter_buffer_target_delay: Some(audio.jitter_buffer_target_delay),
        jitter_buffer_emitted_count: real(audio.jitter_buffer_emitted_count),
        total_samples_received: real(audio.total_samples_received),
        concealed_samples: real(audio.concealed_samples),
        silent_concealed_samples: real(audio.silent_concealed_samples),
        fec_samples: real(audio.fec_samples),
        dred_samples: real(audio.dred_samples),
        comfort_noise_samples: real(audio.comfort_noise_samples),
        concealment_events: real(audio.concealment_events),
        inserted_samples_for_deceleration: real(audio.inserted_samples_for_deceleration),
        removed_samples_for_acceleration: real(audio.removed_samples_for_acceleration),
        total_audio_energy: Some(audio.total_audio_energy),
        audio_level: Some(f64::from(audio_level)),
        ..inbound(received)
    }
}

fn remote_inbound(reported: Option<&transport::RemoteInboundRtpStats>) -> RemoteInboundRtpStats {
    let Some(reported) = reported else {
        return RemoteInboundRtpStats::default();
    };
    RemoteInboundRtpStats {
        packets_lost: real(reported.packets_lost),
        fraction_lost: Some(reported.fraction_lost),
        jitter: Some(reported.jitter),
        round_trip_time: reported.round_trip_time,
    }
}

fn pair(pair: Option<&transport::CandidatePairStats>) -> CandidatePairStats {
    let Some(pair) = pair else {
        return CandidatePairStats::default();
    };
    CandidatePairStats {
        current_round_trip_time: pair.current_round_trip_time,
        available_outgoing_bitrate: real(pair.available_outgoing_bitrate.bps()),
        bytes_sent: real(pair.bytes_sent),
        bytes_received: real(pair.bytes_received),
        local_candidate_type: Some(pair.local_candidate_type.clone()),
        remote_candidate_type: Some(pair.remote_candidate_type.clone()),
        relay_protocol: pair.relay_protocol.map(str::to_owned),
    }
}

/// JavaScript has one kind of number; counters stay exact up to 2^53.
fn real(count: u64) -> Option<f64> {
    Some(count as f64)
}

fn whole(count: u64) -> Option<u32> {
    Some(u32::try_from(count).unwrap_or(u32::MAX))
}

fn seconds(duration: Duration) -> Option<f64> {
    Some(duration.as_secs_f64())
}
