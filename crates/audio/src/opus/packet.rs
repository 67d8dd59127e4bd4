//! What a packet says about itself.

use super::{DTX_BYTES, library};
use ahoy_media::codec::CodecError;

/// Samples at 48 kHz that a packet holds, read from its first bytes (RFC 6716 section 3.1).
///
/// # Errors
/// [`CodecError`] when the packet is empty or its header contradicts itself or its length.
pub fn packet_samples(packet: &[u8]) -> Result<usize, CodecError> {
    if packet.is_empty() {
        return Err(CodecError::Decode("the packet is empty".to_owned()));
    }
    let error = |error: library::Refused| CodecError::Decode(error.to_string());
    let samples = library::packet_samples(packet).map_err(error)?;
    library::check(packet).map_err(error)?;
    Ok(samples)
}

/// Whether a packet is a sign that silence begins or goes on.
pub fn is_silence(packet: &[u8]) -> bool {
    packet.len() <= DTX_BYTES
}

/// Samples at 48 kHz just before the packet that its in-band FEC restores: the LBRR flag of its
/// first SILK frame (RFC 6716 sections 3.1 and 4.2.4). Zero without such data.
pub fn fec_samples(packet: &[u8]) -> usize {
    match packet.first_chunk() {
        Some(first) if library::has_fec(packet) => library::frame_samples(first),
        _ => 0,
    }
}
