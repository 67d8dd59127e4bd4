//! Adds the voices of a call without ever exceeding full scale.

use crate::{BLOCK_SAMPLES, StereoBlock, bounded};

/// Samples that share one step of the gain: 0.7 ms. The gain falls within this time, too short
/// for a loud start to be clipped audibly, too long to click.
const STEP: usize = 32;
const STEPS: usize = BLOCK_SAMPLES / STEP;
/// How long the gain stays down after the last sum that was too loud: 300 ms, longer than
/// syllables and the pauses between words, so that it does not breathe with them.
const HOLD_STEPS: u32 = 30 * STEPS as u32;
/// How much of the missing gain then comes back per step: half of it in about 400 ms.
const RELEASE: f32 = 0.001_15;
const SILENCE: StereoBlock = [[0.0; 2]; BLOCK_SAMPLES];

/// A sum with a limiter that turns both channels down alike. A sum within full scale passes
/// unchanged, bit for bit, and without delay.
#[derive(Debug)]
pub struct Mixer {
    sum: StereoBlock,
    gain: f32,
    hold: u32,
}

impl Default for Mixer {
    fn default() -> Self {
        Self {
            sum: SILENCE,
            gain: 1.0,
            hold: 0,
        }
    }
}

impl Mixer {
    /// Adds a voice to the block in preparation.
    pub fn add(&mut self, block: &StereoBlock) {
        for (sum, pair) in self.sum.iter_mut().zip(block) {
            sum[0] += pair[0];
            sum[1] += pair[1];
        }
    }

    /// Hands over the mixed block, within ±1, and begins the next one with silence.
    pub fn finish(&mut self, out: &mut StereoBlock) {
        *out = std::mem::replace(&mut self.sum, SILENCE);
        // One more than there are steps: behind the block nothing is known to be loud.
        let mut ceilings = [1.0_f32; STEPS + 1];
        let (steps, _) = out.as_chunks_mut::<STEP>();
        for (ceiling, step) in ceilings.iter_mut().zip(steps.iter_mut()) {
            let pairs = step.as_flattened_mut();
            // NaN and infinity would make the gain useless for everybody.
            for sample in pairs.iter_mut().filter(|sample| !sample.is_finite()) {
                *sample = bounded(*sample);
            }
            let peak = pairs.iter().fold(1.0_f32, |peak, it| peak.max(it.abs()));
            *ceiling = peak.recip();
        }
        for (index, step) in steps.iter_mut().enumerate() {
            // What the next step needs is reached at the end of this one.
            let ceiling = ceilings[index].min(ceilings[index + 1]);
            let target = self.next_gain(ceiling);
            if self.gain != 1.0 || target != 1.0 {
                let slope = (target - self.gain) / STEP as f32;
                for (at, pair) in step.iter_mut().enumerate() {
                    let gain = self.gain + slope * (at + 1) as f32;
                    // Clipped is only what is too loud while the gain still falls.
                    *pair = pair.map(|sample| bounded(sample * gain));
                }
                self.gain = target;
            }
        }
    }

    fn next_gain(&mut self, ceiling: f32) -> f32 {
        if ceiling <= self.gain && ceiling < 1.0 {
            self.hold = HOLD_STEPS;
            return ceiling;
        }
        if self.hold > 0 {
            self.hold -= 1;
            return self.gain;
        }
        let released = (self.gain + (1.0 - self.gain) * RELEASE).min(ceiling);
        // Below a tenth of a percent nobody hears the step back to unchanged samples.
        if released > 0.999 { 1.0 } else { released }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tone(amplitude: f32) -> StereoBlock {
        std::array::from_fn(|i| {
            let sample = amplitude * (i as f32 * std::f32::consts::TAU / 96.0).sin();
            [sample, -0.5 * sample]
        })
    }

    fn mixed(mixer: &mut Mixer, voices: &[f32]) -> StereoBlock {
        let mut out = SILENCE;
        voices.iter().for_each(|voice| mixer.add(&tone(*voice)));
        mixer.finish(&mut out);
        out
    }

    #[test]
    fn one_voice_passes_unchanged() {
        let mut mixer = Mixer::default();
        assert_eq!(mixed(&mut mixer, &[0.99]), tone(0.99));
        assert_eq!(mixed(&mut mixer, &[]), SILENCE);
    }

    #[test]
    fn loud_sums_are_turned_down_and_keep_their_shape() {
        let mut mixer = Mixer::default();
        mixed(&mut mixer, &[0.8; 4]);
        let out = mixed(&mut mixer, &[0.8; 4]);
        for (out, voice) in out.iter().zip(tone(0.8)) {
            // Not clipped: as loud as fits, everywhere and on both channels.
            assert!((out[0] - voice[0] / 0.8).abs() < 0.01, "{out:?} {voice:?}");
            assert!((out[1] - voice[1] / 0.8).abs() < 0.01, "{out:?} {voice:?}");
        }
    }

    #[test]
    fn short_pauses_do_not_pump() {
        let mut mixer = Mixer::default();
        mixed(&mut mixer, &[0.7, 0.7, 0.7]);
        let during: Vec<f32> = (0..25).map(|_| mixed(&mut mixer, &[0.3])[24][0]).collect();
        let (first, last) = (during[1], during[24]);
        assert!(first < 0.2 && (first - last).abs() < 1e-6, "{first} {last}");
    }

    #[test]
    fn the_gain_comes_back() {
        let mut mixer = Mixer::default();
        mixed(&mut mixer, &[1.0; 4]);
        let mut out = SILENCE;
        for _ in 0..800 {
            out = mixed(&mut mixer, &[0.5]);
        }
        assert_eq!(out, tone(0.5));
    }

    proptest! {
        #[test]
        fn never_above_full_scale(
            voices in proptest::collection::vec(proptest::num::f32::ANY, 1..12), blocks in 1..5,
        ) {
            let mut mixer = Mixer::default();
            for _ in 0..blocks {
                let out = mixed(&mut mixer, &voices);
                prop_assert!(out.as_flattened().iter().all(|sample| sample.abs() <= 1.0));
            }
        }
    }
}
