//! Opus (RFC 6716) for a call: 48 kHz mono speech in packets of 20 ms.

use bytes::Bytes;

use ahoy_media::codec::CodecError;
use ahoy_media::units::{AUDIO_CLOCK_HZ, Bitrate};

/// Samples in a packet that we send: 20 ms (RFC 7587 section 3.1.2 recommends it).
pub const FRAME_SAMPLES: usize = 960;
/// Most samples a packet can hold: 120 ms (RFC 6716 section 2.1.4).
pub const MAX_PACKET_SAMPLES: usize = 5_760;
/// Sent while nothing else is known: speech that is hard to tell from the original, with room
/// for the repair data of the packet before.
pub const DEFAULT_BITRATE: Bitrate = Bitrate::from_kbps(40);
/// Least that is asked of the encoder; below, speech turns muffled.
pub const MIN_BITRATE: Bitrate = Bitrate::from_kbps(12);
/// Most that is asked of the encoder; above, mono speech gains nothing.
pub const MAX_BITRATE: Bitrate = Bitrate::from_kbps(128);

/// 0 to 10. Nine: a fifth of a millisecond per packet on a slow machine, and only from seven up
/// does the encoder tell speech from music, which it needs to stop sending in silence at every
/// bit rate.
const COMPLEXITY: i32 = 9;
/// Percent. With a declared loss of zero the encoder leaves the repair data out although it is
/// switched on.
const DEFAULT_EXPECTED_LOSS: u8 = 10;
/// Bytes that no 20 ms packet exceeds at our bit rates (RFC 6716 section 3.2.1: 1275 at most).
const MAX_ENCODED_BYTES: usize = 1_275;
/// The encoder's way of saying "nothing to hear, need not be sent" (RFC 7587 section 3.1.3).
const DTX_BYTES: usize = 2;

/// Compresses 20 ms at a time, with in-band forward error correction and silence suppression.
#[derive(Debug)]
pub struct OpusEncoder {
    encoder: opus::Encoder,
    buffer: Box<[u8; MAX_ENCODED_BYTES]>,
}

/// What became of 20 ms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encoded {
    /// A packet to send.
    Packet(Bytes),
    /// Silence continues. The packet tells a receiver that silence begins; repeats of it need not
    /// be sent.
    Silence(Bytes),
}

impl OpusEncoder {
    /// An encoder at [`DEFAULT_BITRATE`].
    ///
    /// # Errors
    /// [`CodecError`] when the library refuses, which only happens without memory.
    pub fn new() -> Result<Self, CodecError> {
        let mut encoder = opus::Encoder::new(
            AUDIO_CLOCK_HZ,
            opus::Channels::Mono,
            opus::Application::Voip,
        )
        .map_err(setup_error)?;
        encoder.set_complexity(COMPLEXITY).map_err(setup_error)?;
        encoder.set_inband_fec(true).map_err(setup_error)?;
        encoder.set_dtx(true).map_err(setup_error)?;
        let mut encoder = Self {
            encoder,
            buffer: Box::new([0; MAX_ENCODED_BYTES]),
        };
        encoder.set_bitrate(DEFAULT_BITRATE)?;
        encoder.set_expected_loss(DEFAULT_EXPECTED_LOSS)?;
        Ok(encoder)
    }

    /// Asks for this bit rate, kept within [`MIN_BITRATE`] and [`MAX_BITRATE`].
    ///
    /// # Errors
    /// [`CodecError`] when the library refuses.
    pub fn set_bitrate(&mut self, bitrate: Bitrate) -> Result<(), CodecError> {
        let bps = bitrate.clamp(MIN_BITRATE, MAX_BITRATE).bps() as i32;
        self.encoder
            .set_bitrate(opus::Bitrate::Bits(bps))
            .map_err(setup_error)
    }

    /// Declares how many packets of a hundred get lost, which decides how much repair data is
    /// put into each packet. Values over 100 count as 100.
    ///
    /// # Errors
    /// [`CodecError`] when the library refuses.
    pub fn set_expected_loss(&mut self, percent: u8) -> Result<(), CodecError> {
        self.encoder
            .set_packet_loss_perc(percent.min(100).into())
            .map_err(setup_error)
    }

    /// Compresses 20 ms.
    ///
    /// # Errors
    /// [`CodecError`] when the library refuses; the next call may succeed.
    pub fn encode(&mut self, samples: &[f32; FRAME_SAMPLES]) -> Result<Encoded, CodecError> {
        let length = self
            .encoder
            .encode_float(samples, &mut self.buffer[..])
            .map_err(|error| CodecError::Encode(error.to_string()))?;
        let packet = Bytes::copy_from_slice(&self.buffer[..length]);
        Ok(if length <= DTX_BYTES {
            Encoded::Silence(packet)
        } else {
            Encoded::Packet(packet)
        })
    }
}

/// Decompresses packets of any duration and fills in for missing ones. Stereo is mixed down.
#[derive(Debug)]
pub struct OpusDecoder {
    decoder: opus::Decoder,
}

impl OpusDecoder {
    /// A decoder that has heard nothing yet.
    ///
    /// # Errors
    /// [`CodecError`] when the library refuses, which only happens without memory.
    pub fn new() -> Result<Self, CodecError> {
        Ok(Self {
            decoder: opus::Decoder::new(AUDIO_CLOCK_HZ, opus::Channels::Mono)
                .map_err(setup_error)?,
        })
    }

    /// Decodes a packet to the front of `out` and returns how many samples it holds.
    ///
    /// # Errors
    /// [`CodecError`] for a malformed or empty packet; the decoder stays usable.
    pub fn decode(
        &mut self,
        packet: &[u8],
        out: &mut [f32; MAX_PACKET_SAMPLES],
    ) -> Result<usize, CodecError> {
        // An empty packet would mean "conceal" to the library.
        packet_samples(packet)?;
        self.decoder
            .decode_float(packet, out, false)
            .map_err(decode_error)
    }

    /// Restores, as well as it can, the `out.len()` samples just before `next_packet` from the
    /// repair data in it. Without such data it conceals. The length is a multiple of 2.5 ms.
    ///
    /// # Errors
    /// [`CodecError`] for a malformed packet.
    pub fn repair(&mut self, next_packet: &[u8], out: &mut [f32]) -> Result<(), CodecError> {
        packet_samples(next_packet)?;
        self.decoder
            .decode_float(next_packet, out, true)
            .map_err(decode_error)?;
        Ok(())
    }

    /// Invents a plausible continuation of `out.len()` samples, a multiple of 2.5 ms; after a
    /// silence packet that is comfort noise.
    ///
    /// # Errors
    /// [`CodecError`] for a length that is no multiple of 2.5 ms.
    pub fn conceal(&mut self, out: &mut [f32]) -> Result<(), CodecError> {
        self.decoder
            .decode_float(&[], out, false)
            .map_err(decode_error)?;
        Ok(())
    }

    /// Forgets everything heard so far.
    pub fn reset(&mut self) {
        // Fails only for a wrong request number, which is the library's own constant.
        let _ = self.decoder.reset_state();
    }
}

/// Samples at 48 kHz that a packet holds, read from its first bytes (RFC 6716 section 3.1).
///
/// # Errors
/// [`CodecError`] when the packet is empty or its header contradicts itself or its length.
pub fn packet_samples(packet: &[u8]) -> Result<usize, CodecError> {
    if packet.is_empty() {
        return Err(CodecError::Decode("the packet is empty".to_owned()));
    }
    let samples = opus::packet::get_nb_samples(packet, AUDIO_CLOCK_HZ).map_err(decode_error)?;
    opus::packet::parse(packet).map_err(decode_error)?;
    Ok(samples)
}

/// Whether a packet is a sign that silence begins or goes on.
pub fn is_silence(packet: &[u8]) -> bool {
    packet.len() <= DTX_BYTES
}

/// Whether a packet carries repair data for the one before it: the LBRR flag of the first SILK
/// frame (RFC 6716 sections 3.1 and 4.2.4), for packets with one Opus frame.
pub fn has_repair_data(packet: &[u8]) -> bool {
    let [toc, first, ..] = *packet else {
        return false;
    };
    let config = toc >> 3;
    let one_frame = toc & 3 == 0;
    // Configurations 0 to 11 are SILK with 10, 20, 40, 60 ms; 12 to 15 hybrid with 10, 20 ms.
    let silk_frames = match config {
        0..12 => (config % 4).max(1),
        12..16 => 1,
        _ => return false,
    };
    one_frame && (first >> (7 - silk_frames)) & 1 == 1
}

fn setup_error(error: opus::Error) -> CodecError {
    CodecError::Setup(error.to_string())
}

fn decode_error(error: opus::Error) -> CodecError {
    CodecError::Decode(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::level::mean_square;
    use crate::pcm::testing::{frequency, sine, voice};
    use proptest::prelude::*;

    fn encode_all(samples: &[f32], expected_loss: u8) -> Vec<Bytes> {
        let mut encoder = OpusEncoder::new().expect("encoder");
        encoder.set_expected_loss(expected_loss).expect("valid");
        samples
            .as_chunks::<FRAME_SAMPLES>()
            .0
            .iter()
            .map(|frame| match encoder.encode(frame).expect("encodes") {
                Encoded::Packet(packet) | Encoded::Silence(packet) => packet,
            })
            .collect()
    }

    fn decode_all(packets: &[Bytes], mut lost: impl FnMut(usize) -> bool) -> Vec<f32> {
        let mut decoder = OpusDecoder::new().expect("decoder");
        let mut out = Box::new([0.0; MAX_PACKET_SAMPLES]);
        let mut all = Vec::new();
        for (index, packet) in packets.iter().enumerate() {
            if lost(index) {
                let mut frame = [0.0; FRAME_SAMPLES];
                match packets.get(index + 1).filter(|next| has_repair_data(next)) {
                    Some(next) => decoder.repair(next, &mut frame).expect("well-formed"),
                    None => decoder.conceal(&mut frame).expect("20 ms"),
                }
                all.extend_from_slice(&frame);
            } else {
                let samples = decoder.decode(packet, &mut out).expect("well-formed");
                all.extend_from_slice(&out[..samples]);
            }
        }
        all
    }

    #[test]
    fn a_tone_survives_at_its_pitch_and_level() {
        let decoded = decode_all(
            &encode_all(&sine(220.0, 0.3, AUDIO_CLOCK_HZ, 96_000), 10),
            |_| false,
        );
        assert_eq!(decoded.len(), 100 * FRAME_SAMPLES);
        let settled = &decoded[10_000..];
        assert!((frequency(settled, AUDIO_CLOCK_HZ) - 220.0).abs() < 2.0);
        assert!((mean_square(settled).sqrt() - 0.212).abs() < 0.02);
    }

    #[test]
    fn repair_data_is_sent_when_loss_is_declared_and_restores_what_was_lost() {
        let with = encode_all(&voice(60 * FRAME_SAMPLES), 10);
        let without = encode_all(&voice(60 * FRAME_SAMPLES), 0);
        assert!(
            with[10..]
                .iter()
                .filter(|packet| has_repair_data(packet))
                .count()
                > 40
        );
        assert!(!without.iter().any(|packet| has_repair_data(packet)));

        let clean = decode_all(&with, |_| false);
        let repaired = decode_all(&with, |index| index > 10 && index % 5 == 0);
        let difference: Vec<f32> = clean.iter().zip(&repaired).map(|(a, b)| a - b).collect();
        assert!(mean_square(&difference) < 0.1 * mean_square(&clean));
    }

    #[test]
    fn silence_is_not_sent() {
        let mut encoder = OpusEncoder::new().expect("encoder");
        let silence = [0.0; FRAME_SAMPLES];
        let sent = (0..100)
            .filter(|_| matches!(encoder.encode(&silence), Ok(Encoded::Packet(_))))
            .count();
        // A refresh every 400 ms at most, after the first moments.
        assert!(sent < 30, "{sent}");
    }

    #[test]
    fn the_bit_rate_is_kept_within_bounds() {
        let mut encoder = OpusEncoder::new().expect("encoder");
        encoder.set_bitrate(Bitrate::ZERO).expect("clamped");
        encoder
            .set_bitrate(Bitrate::from_kbps(9_999_999))
            .expect("clamped");
        encoder.set_expected_loss(255).expect("clamped");
    }

    #[test]
    fn nothing_is_no_packet() {
        let mut decoder = OpusDecoder::new().expect("decoder");
        assert!(decoder.decode(&[], &mut [0.0; MAX_PACKET_SAMPLES]).is_err());
        assert!(decoder.repair(&[], &mut [0.0; FRAME_SAMPLES]).is_err());
        assert!(decoder.conceal(&mut [0.0; 7]).is_err());
        assert!(!has_repair_data(&[]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_error_or_a_sound(
            packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..8),
        ) {
            let mut decoder = OpusDecoder::new().expect("decoder");
            let mut out = Box::new([0.0; MAX_PACKET_SAMPLES]);
            for packet in &packets {
                let declared = packet_samples(packet);
                let _ = has_repair_data(packet);
                let _ = decoder.repair(packet, &mut out[..FRAME_SAMPLES]);
                if let Ok(samples) = decoder.decode(packet, &mut out) {
                    prop_assert_eq!(Ok(samples), declared);
                    prop_assert!(out[..samples].iter().all(|sample| sample.is_finite()));
                }
            }
        }
    }
}
