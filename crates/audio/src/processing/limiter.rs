//! The last stage: nothing leaves louder than full scale, and nothing is cut off hard.

use std::collections::VecDeque;

use crate::{Block, bounded};

/// How far the limiter looks ahead, in samples: 1.3 ms. The gain is down before the peak that
/// needs it, and falls slowly enough not to click.
const LOOKAHEAD: usize = 64;
/// Largest sample that leaves: -0.2 dBFS, room for what a lossy codec adds.
const CEILING: f32 = 0.977;
/// Share of the missing gain that comes back per sample: half of it in 100 ms.
const RELEASE: f32 = 0.000_144;

/// A limiter with look-ahead: the smallest gain that any sample of the next 1.3 ms needs, averaged
/// over 1.3 ms, is never larger than what the sample that leaves now needs.
pub struct Limiter {
    delayed: [f32; LOOKAHEAD],
    averaged: [f32; LOOKAHEAD],
    at: usize,
    /// Gains that samples of the window need, with the index of the sample, rising.
    needed: VecDeque<(u64, f32)>,
    index: u64,
    /// Gain after release, before averaging.
    held: f32,
    /// Sum of `averaged`, kept up by each sample: exact to a billionth in this precision.
    sum: f64,
    /// No gain below 1 is in the window: samples are only delayed.
    idle: bool,
}

impl Default for Limiter {
    fn default() -> Self {
        Self {
            delayed: [0.0; LOOKAHEAD],
            averaged: [1.0; LOOKAHEAD],
            at: 0,
            needed: VecDeque::with_capacity(LOOKAHEAD + 1),
            index: 0,
            held: 1.0,
            sum: LOOKAHEAD as f64,
            idle: true,
        }
    }
}

impl Limiter {
    /// How late the output is, in samples.
    pub const DELAY_SAMPLES: usize = LOOKAHEAD;

    /// Limits 10 ms of any content to full scale.
    pub fn process(&mut self, block: &mut Block) {
        if self.idle
            && crate::level::peak(block) <= CEILING
            && block.iter().all(|it| it.is_finite())
        {
            return self.delay_block(block);
        }
        self.idle = false;
        for sample in block.iter_mut() {
            let input = if sample.is_finite() { *sample } else { 0.0 };
            let gain = self.gain(input);
            *sample = bounded(self.delay(input) * gain);
        }
        self.idle = self.held > 0.999_9 && self.needed.is_empty();
        if self.idle {
            self.held = 1.0;
            self.averaged = [1.0; LOOKAHEAD];
            self.sum = LOOKAHEAD as f64;
        }
    }

    fn delay_block(&mut self, block: &mut Block) {
        self.delayed.rotate_left(self.at);
        self.at = 0;
        block.rotate_right(LOOKAHEAD);
        block[..LOOKAHEAD].swap_with_slice(&mut self.delayed);
    }

    fn delay(&mut self, sample: f32) -> f32 {
        let out = std::mem::replace(&mut self.delayed[self.at], sample);
        self.at = (self.at + 1) % LOOKAHEAD;
        out
    }

    fn gain(&mut self, input: f32) -> f32 {
        self.index += 1;
        let needs = CEILING / input.abs().max(CEILING);
        while self.needed.back().is_some_and(|&(_, gain)| gain >= needs) {
            self.needed.pop_back();
        }
        if needs < 1.0 {
            self.needed.push_back((self.index, needs));
        }
        // The window reaches one sample further back than the average, so that the sample that
        // leaves is covered by every gain in it.
        while self
            .needed
            .front()
            .is_some_and(|&(index, _)| index + (LOOKAHEAD as u64) < self.index)
        {
            self.needed.pop_front();
        }
        let smallest = self.needed.front().map_or(1.0, |&(_, gain)| gain);
        self.held = smallest.min(self.held + (1.0 - self.held) * RELEASE);
        let oldest = std::mem::replace(&mut self.averaged[self.at], self.held);
        self.sum += f64::from(self.held) - f64::from(oldest);
        (self.sum / LOOKAHEAD as f64) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BLOCK_SAMPLES, SILENCE};
    use proptest::prelude::*;

    fn tone(amplitude: f32, from: usize) -> Block {
        std::array::from_fn(|i| amplitude * ((from + i) as f32 * 0.06).sin())
    }

    #[test]
    fn ordinary_sound_is_only_delayed() {
        let mut limiter = Limiter::default();
        let mut heard = Vec::new();
        for at in 0..4 {
            let mut block = tone(0.9, at * BLOCK_SAMPLES);
            limiter.process(&mut block);
            heard.extend(block);
        }
        for (i, sample) in heard.iter().skip(LOOKAHEAD).enumerate() {
            assert_eq!(*sample, 0.9 * (i as f32 * 0.06).sin());
        }
    }

    #[test]
    fn loud_sound_is_turned_down_smoothly_and_comes_back() {
        let mut limiter = Limiter::default();
        let (mut last, mut step) = (0.0_f32, 0.0_f32);
        for at in 0..40 {
            let mut block = tone(0.5, at * BLOCK_SAMPLES);
            if (20..40).contains(&at) {
                // Within 2 ms.
                for (i, sample) in block.iter_mut().enumerate() {
                    let rise = if at == 20 { i as f32 / 100.0 } else { 1.0 };
                    *sample *= 1.0 + 7.0 * rise.min(1.0);
                }
            }
            limiter.process(&mut block);
            for sample in block {
                assert!(sample.abs() <= CEILING + 1e-4);
                step = step.max((sample - last).abs());
                last = sample;
            }
        }
        // The steepest slope of a tone at full scale is 0.06; where it gets loud, and stops to be,
        // more.
        assert!(step < 0.12, "{step}");
        let mut block = tone(0.5, 0);
        for _ in 0..100 {
            block = tone(0.5, 0);
            limiter.process(&mut block);
        }
        assert!((crate::level::peak(&block) - 0.5).abs() < 1e-3);
    }

    proptest! {
        #[test]
        fn never_above_full_scale(
            values in proptest::collection::vec(proptest::num::f32::ANY, 1..300), blocks in 1..5,
        ) {
            let mut limiter = Limiter::default();
            for _ in 0..blocks {
                let mut block = SILENCE;
                for (slot, value) in block.iter_mut().zip(values.iter().cycle()) {
                    *slot = *value;
                }
                limiter.process(&mut block);
                prop_assert!(block.iter().all(|sample| sample.abs() <= 1.0));
            }
        }
    }
}
