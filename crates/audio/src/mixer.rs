//! Adds the voices of a call without ever exceeding full scale.

use super::{BLOCK_SAMPLES, Block, SILENCE, bounded};

/// Samples over which the gain falls when a sum is too loud: 1.3 ms, too short for a loud start
/// to be clipped audibly, too long to click.
const ATTACK_SAMPLES: usize = 64;
/// How much of the missing gain comes back per block: half of it in about 150 ms.
const RELEASE: f32 = 0.045;

/// A sum with a limiter. A sum within full scale passes unchanged, bit for bit.
#[derive(Debug)]
pub struct Mixer {
    sum: Block,
    gain: f32,
}

impl Default for Mixer {
    fn default() -> Self {
        Self {
            sum: SILENCE,
            gain: 1.0,
        }
    }
}

impl Mixer {
    /// Adds a voice to the block in preparation.
    pub fn add(&mut self, block: &Block) {
        for (sum, sample) in self.sum.iter_mut().zip(block) {
            *sum += sample;
        }
    }

    /// Hands over the mixed block, within ±1, and begins the next one with silence.
    pub fn finish(&mut self, out: &mut Block) {
        *out = std::mem::replace(&mut self.sum, SILENCE);
        let peak = out
            .iter()
            .fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
        let ceiling = if peak > 1.0 { peak.recip() } else { 1.0 };
        let target = (self.gain + (1.0 - self.gain) * RELEASE).min(ceiling);
        // Below a hundredth of a percent nobody hears the step back to unchanged samples.
        let target = if target > 0.9999 { 1.0 } else { target };
        let ramp = if target < self.gain {
            ATTACK_SAMPLES
        } else {
            BLOCK_SAMPLES
        };
        if self.gain != 1.0 || target != 1.0 {
            let step = (target - self.gain) / ramp as f32;
            for (index, sample) in out.iter_mut().enumerate() {
                let gain = self.gain + step * (index + 1).min(ramp) as f32;
                *sample *= gain;
            }
            self.gain = target;
        }
        // What exceeds full scale while the gain is still falling, and NaN.
        for sample in out.iter_mut() {
            *sample = bounded(*sample);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tone(amplitude: f32) -> Block {
        std::array::from_fn(|i| amplitude * (i as f32 * 0.1).sin())
    }

    #[test]
    fn one_voice_passes_unchanged() {
        let mut mixer = Mixer::default();
        let mut out = SILENCE;
        mixer.add(&tone(0.99));
        mixer.finish(&mut out);
        assert_eq!(out, tone(0.99));
        mixer.finish(&mut out);
        assert_eq!(out, SILENCE);
    }

    #[test]
    fn loud_sums_are_turned_down_rather_than_clipped() {
        let mut mixer = Mixer::default();
        let mut out = SILENCE;
        for _ in 0..3 {
            for _ in 0..4 {
                mixer.add(&tone(0.8));
            }
            mixer.finish(&mut out);
        }
        // After the attack the shape is kept: the ratio to the input is the same everywhere.
        let quiet = out[15] / tone(0.8)[15];
        let loud = out[200] / tone(0.8)[200];
        assert!((quiet - loud).abs() < 0.1, "{quiet} {loud}");
        assert!(out.iter().all(|sample| sample.abs() <= 1.0));
    }

    #[test]
    fn the_gain_comes_back() {
        let mut mixer = Mixer::default();
        let mut out = SILENCE;
        for _ in 0..4 {
            mixer.add(&tone(1.0));
        }
        mixer.finish(&mut out);
        for _ in 0..300 {
            mixer.add(&tone(0.5));
            mixer.finish(&mut out);
        }
        assert_eq!(out, tone(0.5));
    }

    proptest! {
        #[test]
        fn never_above_full_scale(
            voices in proptest::collection::vec(proptest::num::f32::ANY, 1..12), blocks in 1..5,
        ) {
            let mut mixer = Mixer::default();
            let mut out = SILENCE;
            for _ in 0..blocks {
                for voice in &voices {
                    mixer.add(&tone(*voice));
                }
                mixer.finish(&mut out);
                prop_assert!(out.iter().all(|sample| sample.abs() <= 1.0));
            }
        }
    }
}
