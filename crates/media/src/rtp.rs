//! RTP packets as plain values (RFC 3550 section 5.1) and sequence arithmetic.

use std::time::Instant;

use bytes::Bytes;

/// A received RTP packet, decrypted and without header extensions.
#[derive(Debug, Clone)]
pub struct RtpPacket {
    /// Payload type from the negotiated description.
    pub payload_type: u8,
    /// Synchronisation source.
    pub ssrc: u32,
    /// Counts up by one per packet; wraps.
    pub sequence_number: u16,
    /// Media time in ticks of the payload's clock; wraps.
    pub timestamp: u32,
    /// For VP8: last packet of a frame. For Opus: first after silence.
    pub marker: bool,
    /// What the header carries.
    pub payload: Bytes,
    /// When it came in.
    pub arrival: Instant,
}
