//! Opus (RFC 6716) for a call: voice in mono or music in stereo, at 48 kHz.

mod decoder;
mod encoder;
mod enhancement;
mod library;
mod packet;
mod pause;

pub use self::decoder::{OpusDecoder, SoundDecoder};
pub use self::encoder::{
    Bandwidth, Content, Encoded, EncoderSettings, FrameLength, MAX_DRED, MAX_MUSIC_BITRATE,
    MAX_VOICE_BITRATE, MIN_BITRATE, OpusEncoder,
};
pub use self::packet::{fec_samples, is_silence, packet_samples};

/// Samples in 20 ms, the usual packet (RFC 7587 section 3.1.2).
pub const FRAME_SAMPLES: usize = 960;
/// Most samples a packet can hold: 120 ms (RFC 6716 section 2.1.4).
pub const MAX_PACKET_SAMPLES: usize = 5_760;

/// The encoder's way of saying "nothing to hear, need not be sent" (RFC 7587 section 3.1.3).
const DTX_BYTES: usize = 2;

#[cfg(test)]
mod tests;
