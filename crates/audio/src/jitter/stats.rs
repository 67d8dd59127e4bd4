//! What a receiver of sound counts.

/// Counters since the beginning, named and measured as in W3C webrtc-stats
/// (`RTCInboundRtpStreamStats`) unless noted.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct AudioReceiveStats {
    /// Packets that came in, duplicates and late ones included.
    pub packets_received: u64,
    /// Packets that should have come in, minus those that did (RFC 3550 section 6.4.1); negative
    /// when duplicates came.
    pub packets_lost: i64,
    /// Packets that came in and were not played: too late, duplicate, malformed, not of this
    /// stream, or more than the queue holds.
    pub packets_discarded: u64,
    /// Interarrival jitter in seconds.
    pub jitter: f64,
    /// Samples handed to playout since the first packet, concealed ones included.
    pub total_samples_received: u64,
    /// Samples invented because nothing was there, silent ones included. Samples restored from
    /// repair data and comfort noise are not concealed.
    pub concealed_samples: u64,
    /// Concealed samples that were silence, or faded so far that they were about silent.
    pub silent_concealed_samples: u64,
    /// How often concealment began.
    pub concealment_events: u64,
    /// Samples added by playing slower.
    pub inserted_samples_for_deceleration: u64,
    /// Samples left out by playing faster or by skipping a backlog.
    pub removed_samples_for_acceleration: u64,
    /// Sum over all emitted samples of the time from arrival to playout, in seconds.
    pub jitter_buffer_delay: f64,
    /// Sum over all emitted samples of the delay that was aimed at, in seconds.
    pub jitter_buffer_target_delay: f64,
    /// Samples that came from packets.
    pub jitter_buffer_emitted_count: u64,
    /// Sum of squared samples times their duration in seconds.
    pub total_audio_energy: f64,
    /// Seconds handed to playout.
    pub total_samples_duration: f64,
    /// Ours: samples restored from the repair data of the following packet (Opus in-band FEC).
    pub fec_samples: u64,
    /// Ours: samples restored from the deep redundancy of a later packet (Opus DRED).
    pub dred_samples: u64,
    /// Ours: samples of comfort noise while the other side is silent and sends nothing.
    pub comfort_noise_samples: u64,
    /// Ours: packets that were not there when they were needed and of which a later one was:
    /// restored or concealed, lost or just too late.
    pub missing_packets: u64,
    /// Ours: how often packets were missing, in a row of any length. `missing_packets` divided by
    /// it is the mean burst length.
    pub missing_bursts: u64,
    /// Ours: how often nothing at all was there when it was needed.
    pub underruns: u64,
    /// Ours: packets the decoder refused.
    pub decode_errors: u64,
}
