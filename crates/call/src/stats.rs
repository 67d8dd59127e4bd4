//! Statistics under the names and units of W3C webrtc-stats. A member that is not known is left
//! out: `None` never becomes a made-up zero.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::view::ParticipantId;

macro_rules! stats {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
        #[cfg_attr(feature = "specta", derive(specta::Type))]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            $($(#[$field_doc])*
            #[serde(skip_serializing_if = "Option::is_none", default)]
            pub $field: Option<$type>,)*
        }
    };
}

stats! {
    /// `RTCOutboundRtpStreamStats`.
    OutboundRtpStats {
        /// Packets handed to the network.
        packets_sent: f64,
        /// Payload bytes handed to the network.
        bytes_sent: f64,
        /// Packets sent again on request.
        retransmitted_packets_sent: f64,
        /// NACKs received.
        nack_count: u32,
        /// Picture Loss Indications received.
        pli_count: u32,
        /// Full Intra Requests received.
        fir_count: u32,
        /// Frames that came out of the encoder.
        frames_encoded: u32,
        /// Of these, key frames.
        key_frames_encoded: u32,
        /// Seconds spent encoding.
        total_encode_time: f64,
        /// Sum of the quantiser over all frames, 0 to 127 each.
        qp_sum: f64,
        /// Pixels.
        frame_width: u32,
        /// Pixels.
        frame_height: u32,
        /// Encoded in the last second.
        frames_per_second: f64,
        /// What the encoder is asked for, in bit/s.
        target_bitrate: f64,
        /// Ours: packets among `packetsSent` that only fill a probe of the path.
        padding_packets_sent: f64,
        /// Ours: captured frames left out because the encoder was still busy.
        frames_left_out: u32,
    }
}

stats! {
    /// `RTCInboundRtpStreamStats`.
    InboundRtpStats {
        /// Packets received, repairs included.
        packets_received: f64,
        /// Payload bytes received.
        bytes_received: f64,
        /// Packets expected and never received.
        packets_lost: f64,
        /// Packets too late or of no use.
        packets_discarded: f64,
        /// Interarrival jitter in seconds (RFC 3550 section 6.4.1).
        jitter: f64,
        /// Complete frames handed on.
        frames_received: u32,
        /// Frames decoded; known only where decoding happens in this process.
        frames_decoded: u32,
        /// Frames given up.
        frames_dropped: u32,
        /// Key frames received.
        key_frames_decoded: u32,
        /// Seconds spent decoding.
        total_decode_time: f64,
        /// Pixels.
        frame_width: u32,
        /// Pixels.
        frame_height: u32,
        /// Received in the last second.
        frames_per_second: f64,
        /// Gaps of the length that webrtc-stats calls a freeze.
        freeze_count: u32,
        /// Their length together, in seconds.
        total_freezes_duration: f64,
        /// NACKs sent.
        nack_count: u32,
        /// Picture Loss Indications sent.
        pli_count: u32,
        /// Seconds that emitted samples or frames spent in the jitter buffer, added up.
        jitter_buffer_delay: f64,
        /// The same as the network asks for, without what lip-sync adds.
        jitter_buffer_target_delay: f64,
        /// Ours: seconds that the last picture is seen later than its sound is heard; negative
        /// when the sound comes later.
        lip_sync_skew: f64,
        /// Samples or frames that left the jitter buffer.
        jitter_buffer_emitted_count: f64,
        /// Samples played.
        total_samples_received: f64,
        /// Samples made up for missing ones.
        concealed_samples: f64,
        /// Of these, silence.
        silent_concealed_samples: f64,
        /// Ours: samples restored from the in-band FEC of the packet after.
        fec_samples: f64,
        /// Ours: samples restored from deep redundancy (DRED).
        dred_samples: f64,
        /// Ours: samples of comfort noise while the sender is silent.
        comfort_noise_samples: f64,
        /// Runs of concealment.
        concealment_events: f64,
        /// Samples added to slow playout down.
        inserted_samples_for_deceleration: f64,
        /// Samples removed to speed playout up.
        removed_samples_for_acceleration: f64,
        /// Energy of what was played (webrtc-stats `totalAudioEnergy`).
        total_audio_energy: f64,
        /// Level of what is being played, 0 to 1.
        audio_level: f64,
    }
}

stats! {
    /// `RTCRemoteInboundRtpStreamStats`: how our stream arrives at the other side.
    RemoteInboundRtpStats {
        /// Packets lost on the way, as they report it.
        packets_lost: f64,
        /// Share lost since the report before, 0 to 1.
        fraction_lost: f64,
        /// Jitter they see, in seconds.
        jitter: f64,
        /// Seconds, from sender and receiver reports.
        round_trip_time: f64,
    }
}

stats! {
    /// `RTCIceCandidatePairStats` of the nominated pair.
    CandidatePairStats {
        /// Seconds.
        current_round_trip_time: f64,
        /// The congestion controller's estimate in bit/s.
        available_outgoing_bitrate: f64,
        /// Bytes sent.
        bytes_sent: f64,
        /// Bytes received.
        bytes_received: f64,
        /// `host`, `srflx`, `prflx` or `relay`.
        local_candidate_type: String,
        /// The same of the other side.
        remote_candidate_type: String,
        /// With a relay on this side, how it is reached: `udp`, `tcp` or `tls` (`relayProtocol`).
        relay_protocol: String,
    }
}

/// Everything about the connection to one participant.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "specta", derive(specta::Type))]
pub struct ParticipantStats {
    /// Number within the room.
    pub id: ParticipantId,
    /// Our picture to them.
    #[serde(rename = "outbound-rtp:video")]
    pub outbound_video: OutboundRtpStats,
    /// Our sound to them.
    #[serde(rename = "outbound-rtp:audio")]
    pub outbound_audio: OutboundRtpStats,
    /// Their picture.
    #[serde(rename = "inbound-rtp:video")]
    pub inbound_video: InboundRtpStats,
    /// Their sound.
    #[serde(rename = "inbound-rtp:audio")]
    pub inbound_audio: InboundRtpStats,
    /// How our picture arrives.
    #[serde(rename = "remote-inbound-rtp:video")]
    pub remote_inbound_video: RemoteInboundRtpStats,
    /// How our sound arrives.
    #[serde(rename = "remote-inbound-rtp:audio")]
    pub remote_inbound_audio: RemoteInboundRtpStats,
    /// The path in use.
    pub pair: CandidatePairStats,
}

/// All connections at one moment.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "specta", derive(specta::Type))]
#[serde(rename_all = "camelCase")]
pub struct StatsReport {
    /// Unix time in ms.
    pub timestamp: f64,
    /// In join order.
    pub participants: Vec<ParticipantStats>,
}

/// Frame rate and freezes from the times at which frames are handed on. A freeze is a gap longer
/// than `max(3 δ, δ + 150 ms)`, δ being the average gap of the last 30 (webrtc-stats
/// `freezeCount`).
#[derive(Debug, Default)]
pub struct FrameClock {
    last: Option<Instant>,
    gaps: std::collections::VecDeque<Duration>,
    frames: u32,
    freezes: u32,
    frozen: Duration,
}

impl FrameClock {
    const AVERAGED_GAPS: usize = 30;

    /// One more frame at `now`.
    pub fn frame(&mut self, now: Instant) {
        self.frames += 1;
        if let Some(last) = self.last.replace(now) {
            let gap = now.saturating_duration_since(last);
            if self.is_freeze(gap) {
                self.freezes += 1;
                self.frozen += gap;
            }
            if self.gaps.len() == Self::AVERAGED_GAPS {
                self.gaps.pop_front();
            }
            self.gaps.push_back(gap);
        }
    }

    /// The sender has switched its camera off or on: the gap is no freeze.
    pub fn pause(&mut self) {
        self.last = None;
        self.gaps.clear();
    }

    fn average_gap(&self) -> Option<Duration> {
        let count = u32::try_from(self.gaps.len())
            .ok()
            .filter(|count| *count > 0)?;
        Some(self.gaps.iter().sum::<Duration>() / count)
    }

    fn is_freeze(&self, gap: Duration) -> bool {
        self.average_gap()
            .is_some_and(|average| gap > (3 * average).max(average + Duration::from_millis(150)))
    }

    /// Frames so far.
    pub const fn frames(&self) -> u32 {
        self.frames
    }

    /// Freezes so far.
    pub const fn freezes(&self) -> u32 {
        self.freezes
    }

    /// Their length together.
    pub const fn frozen(&self) -> Duration {
        self.frozen
    }

    /// Frames per second over the last gaps; zero when the last frame is over a second old.
    pub fn frames_per_second(&self, now: Instant) -> f64 {
        let fresh = self
            .last
            .is_some_and(|last| now.saturating_duration_since(last) < Duration::from_secs(1));
        match self.average_gap() {
            Some(average) if fresh && !average.is_zero() => 1.0 / average.as_secs_f64(),
            _ => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_picture_has_no_freezes_and_a_gap_is_one() {
        let mut clock = FrameClock::default();
        let mut now = Instant::now();
        for _ in 0..60 {
            clock.frame(now);
            now += Duration::from_millis(33);
        }
        assert_eq!(clock.freezes(), 0);
        assert!((clock.frames_per_second(now) - 30.3).abs() < 0.2);
        now += Duration::from_millis(400);
        clock.frame(now);
        assert_eq!(clock.freezes(), 1);
        assert_eq!(clock.frozen(), Duration::from_millis(433));
        clock.pause();
        clock.frame(now + Duration::from_secs(20));
        assert_eq!(clock.freezes(), 1);
    }

    #[test]
    fn unknown_members_are_left_out() {
        let json = serde_json::to_value(ParticipantStats::default()).expect("plain values");
        assert_eq!(json["outbound-rtp:video"], serde_json::json!({}));
    }
}
