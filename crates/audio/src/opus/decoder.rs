//! Opus packets to sound, and sound where packets are missing.

use std::ops::Range;

use opusic_sys as sys;

use super::MAX_PACKET_SAMPLES;
use super::enhancement::Enhancement;
use super::library::{self, Refused};
use super::packet::{is_silence, packet_samples};
use ahoy_media::codec::CodecError;
use ahoy_media::units::AUDIO_CLOCK_HZ;

/// From 5 up, missing sound is invented by a neural network ("deep PLC") rather than by repeating
/// waves: a quarter of a millisecond per missing packet, nothing otherwise.
const DEEP_CONCEALMENT: i32 = 5;
/// Without a network: the noise of a pause does not need one.
const COMFORT: i32 = 0;
/// From 6 up, speech at low rates, repaired speech above all, is enhanced as well (OSCE LACE).
const ENHANCEMENT: i32 = 6;

/// Deep redundancy that is read at most: a second.
const MOST_DRED: usize = AUDIO_CLOCK_HZ as usize;

/// Decodes packets, and makes up for those that are missing. What the jitter buffer needs of a
/// decoder, so that its tests can do without the real one.
pub trait SoundDecoder {
    /// Decodes a packet to the front of `out` and returns how many samples it holds.
    ///
    /// # Errors
    /// [`CodecError`] for a malformed or empty packet; the decoder stays usable.
    fn decode(
        &mut self,
        packet: &[u8],
        out: &mut [[f32; 2]; MAX_PACKET_SAMPLES],
    ) -> Result<usize, CodecError>;

    /// Restores the samples just before `next_packet` from the in-band FEC in it; without such
    /// data it conceals. `out` is as long as a frame of that packet.
    ///
    /// # Errors
    /// [`CodecError`] for a malformed packet, or a length that is no multiple of 2.5 ms.
    fn decode_fec(&mut self, next_packet: &[u8], out: &mut [[f32; 2]]) -> Result<(), CodecError>;

    /// Reads the deep redundancy of a packet and returns which samples it covers, counted
    /// backwards from the packet: from the nearest to the farthest; `None` when it has none.
    fn parse_dred(&mut self, packet: &[u8]) -> Option<Range<usize>>;

    /// How many samples before this packet its deep redundancy covers; none is 0. What was parsed
    /// before is forgotten.
    fn dred_samples(&mut self, packet: &[u8]) -> usize;

    /// Restores the samples that begin `before` samples before the packet that was parsed last.
    ///
    /// # Errors
    /// [`CodecError`] for a length that is no multiple of 2.5 ms.
    fn decode_dred(&mut self, before: usize, out: &mut [[f32; 2]]) -> Result<(), CodecError>;

    /// Invents a plausible continuation.
    ///
    /// # Errors
    /// [`CodecError`] for a length that is no multiple of 2.5 ms.
    fn conceal(&mut self, out: &mut [[f32; 2]]) -> Result<(), CodecError>;

    /// Goes on with the pause that a silence packet began: noise like what was there before.
    ///
    /// # Errors
    /// [`CodecError`] for a length that is no multiple of 2.5 ms.
    fn comfort(&mut self, out: &mut [[f32; 2]]) -> Result<(), CodecError>;

    /// Keeps in mind what was heard so far, for [`recall`](Self::recall).
    fn remember(&mut self);

    /// Forgets whatever came since [`remember`](Self::remember), as if it had not been; once only.
    fn recall(&mut self);

    /// Forgets everything heard so far.
    fn reset(&mut self);
}

/// Opus packets of any duration and any number of channels to stereo.
#[derive(Debug)]
pub struct OpusDecoder {
    decoder: library::Decoder,
    dred: library::Dred,
    enhancement: Enhancement,
    /// As it was set last.
    complexity: i32,
}

impl OpusDecoder {
    /// A decoder that has heard nothing yet.
    ///
    /// # Errors
    /// [`CodecError`] when the library refuses, which only happens without memory.
    pub fn new() -> Result<Self, CodecError> {
        let mut decoder = library::Decoder::new().map_err(setup_error)?;
        decoder
            .set(sys::OPUS_SET_COMPLEXITY_REQUEST, COMFORT)
            .map_err(setup_error)?;
        Ok(Self {
            decoder,
            complexity: COMFORT,
            dred: library::Dred::new().map_err(setup_error)?,
            enhancement: Enhancement::new(),
        })
    }

    /// For everything but the noise of a pause.
    fn use_networks(&mut self) {
        self.set_complexity(if self.enhancement.is_worthwhile() {
            ENHANCEMENT
        } else {
            DEEP_CONCEALMENT
        });
    }

    fn continue_sound(&mut self, out: &mut [[f32; 2]]) -> Result<(), CodecError> {
        self.decoder
            .decode(None, out, false)
            .map_err(decode_error)?;
        Ok(())
    }

    fn set_complexity(&mut self, complexity: i32) {
        if complexity != self.complexity {
            self.complexity = complexity;
            self.apply_complexity();
        }
    }

    fn apply_complexity(&mut self) {
        // Fails only for a wrong number, which is a constant.
        let _ = self
            .decoder
            .set(sys::OPUS_SET_COMPLEXITY_REQUEST, self.complexity);
    }
}

impl SoundDecoder for OpusDecoder {
    fn decode(
        &mut self,
        packet: &[u8],
        out: &mut [[f32; 2]; MAX_PACKET_SAMPLES],
    ) -> Result<usize, CodecError> {
        // An empty packet would mean "conceal" to the library.
        let samples = packet_samples(packet)?;
        if is_silence(packet) {
            self.set_complexity(COMFORT);
        } else {
            self.enhancement.observe(packet, samples);
            self.use_networks();
        }
        let samples = self
            .decoder
            .decode(Some(packet), out, false)
            .map_err(decode_error)?;
        Ok(samples)
    }

    fn decode_fec(&mut self, next_packet: &[u8], out: &mut [[f32; 2]]) -> Result<(), CodecError> {
        packet_samples(next_packet)?;
        self.use_networks();
        self.decoder
            .decode(Some(next_packet), out, true)
            .map_err(decode_error)?;
        Ok(())
    }

    fn parse_dred(&mut self, packet: &[u8]) -> Option<Range<usize>> {
        let (first, last) = self.dred.parse(packet, MOST_DRED).ok()??;
        Some(last..first)
    }

    fn dred_samples(&mut self, packet: &[u8]) -> usize {
        let samples = self.dred.length(packet, MOST_DRED).unwrap_or(0);
        if samples > 0 {
            self.enhancement.repair_data();
        }
        samples
    }

    fn decode_dred(&mut self, before: usize, out: &mut [[f32; 2]]) -> Result<(), CodecError> {
        self.use_networks();
        self.decoder
            .decode_dred(&self.dred, before, out)
            .map_err(decode_error)?;
        Ok(())
    }

    fn conceal(&mut self, out: &mut [[f32; 2]]) -> Result<(), CodecError> {
        self.use_networks();
        self.continue_sound(out)
    }

    fn comfort(&mut self, out: &mut [[f32; 2]]) -> Result<(), CodecError> {
        self.set_complexity(COMFORT);
        self.continue_sound(out)
    }

    fn remember(&mut self) {
        self.decoder.remember();
    }

    fn recall(&mut self) {
        self.decoder.recall();
        // What was remembered may have had another.
        self.apply_complexity();
    }

    fn reset(&mut self) {
        self.decoder.reset();
    }
}

fn setup_error(error: Refused) -> CodecError {
    CodecError::Setup(error.to_string())
}

fn decode_error(error: Refused) -> CodecError {
    CodecError::Decode(error.to_string())
}
