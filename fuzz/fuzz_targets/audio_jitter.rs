//! The audio jitter buffer between a hostile network and a decoder that gives out anything a
//! decoder could, sound far beyond full scale included.

#![no_main]

use std::ops::Range;
use std::time::Instant;

use ahoy_audio::jitter::AudioJitterBuffer;
use ahoy_audio::opus::{MAX_PACKET_SAMPLES, SoundDecoder, packet_samples};
use ahoy_fuzz::audio::{Step, run};
use ahoy_media::codec::CodecError;
use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;

/// An Opus packet whose second byte says what the decoder makes of it.
#[derive(Debug, Arbitrary)]
struct Packet {
    first: u8,
    nature: u8,
    rest: u8,
}

struct Decoder {
    nature: u8,
    count: u32,
}

impl Decoder {
    fn sound(&mut self, out: &mut [[f32; 2]]) {
        for pair in out {
            self.count = self.count.wrapping_mul(1_103_515_245).wrapping_add(12_345);
            let noise = (self.count >> 8) as f32 / (1 << 23) as f32 - 1.0;
            *pair = match self.nature % 8 {
                0 => [noise, -noise],
                1 => [noise * 1e-4; 2],
                2 => [noise * 1e3, noise],
                3 => [1.0, -1.0],
                4 => [f32::MAX, f32::MIN],
                5 => [f32::INFINITY, f32::NAN],
                6 => [f32::MIN_POSITIVE / 2.0, 0.0],
                _ => [((self.count >> 24) as f32 / 40.0).sin(); 2],
            };
        }
    }

    fn refuses(&self) -> Result<(), CodecError> {
        if self.nature >= 0xf0 {
            return Err(CodecError::Decode("no".to_owned()));
        }
        Ok(())
    }
}

impl SoundDecoder for Decoder {
    fn decode(
        &mut self,
        packet: &[u8],
        out: &mut [[f32; 2]; MAX_PACKET_SAMPLES],
    ) -> Result<usize, CodecError> {
        let samples = packet_samples(packet)?;
        self.nature = packet.get(1).copied().unwrap_or(0);
        self.refuses()?;
        self.sound(&mut out[..samples]);
        Ok(samples)
    }

    fn decode_fec(&mut self, next_packet: &[u8], out: &mut [[f32; 2]]) -> Result<(), CodecError> {
        packet_samples(next_packet)?;
        self.conceal(out)
    }

    fn parse_dred(&mut self, packet: &[u8]) -> Option<Range<usize>> {
        let reach = usize::from(*packet.get(2)?);
        (reach % 3 == 0).then_some(reach % 7 * 480..reach * 480)
    }

    fn decode_dred(&mut self, before: usize, out: &mut [[f32; 2]]) -> Result<(), CodecError> {
        assert!(before <= 255 * 480, "{before} is more than was said");
        self.conceal(out)
    }

    fn conceal(&mut self, out: &mut [[f32; 2]]) -> Result<(), CodecError> {
        assert!(
            out.len() % 120 == 0,
            "{} is no multiple of 2.5 ms",
            out.len()
        );
        assert!(out.len() <= MAX_PACKET_SAMPLES);
        self.refuses()?;
        self.sound(out);
        Ok(())
    }

    fn reset(&mut self) {
        self.nature = 0;
    }
}

fuzz_target!(|steps: Vec<Step<Packet>>| {
    let now = Instant::now();
    let decoder = Decoder {
        nature: 0,
        count: 1,
    };
    let buffer = AudioJitterBuffer::with_decoder(decoder, now);
    run(steps, now, buffer, |packet| {
        let mut data = vec![packet.first, packet.nature];
        data.resize(1 + usize::from(packet.rest % 12), packet.rest);
        let samples = packet_samples(&data).unwrap_or(960) as u32;
        (data, samples)
    });
});
