//! What echo cancellation leaves of an echo, turned down further.
//!
//! While the other side speaks and nobody does here, much less is left than the microphone heard:
//! what a loudspeaker distorts, what reverberates beyond the filter, what the filter has not learnt
//! yet. It is expanded downwards, to the noise of the room at the least. A voice leaves more of
//! itself, at least with its loud sounds; for a while after one of them nothing is turned down.

use crate::level::mean_square;
use crate::{BLOCK_SAMPLES, Block};

/// Share of the microphone's power below which what is left is taken for echo: -10 dB.
const ECHO: f32 = 0.1;
/// What reverberates is up to so much quieter than the loudest that it reverberates from, -13 dB, and
/// dies away by 20 dB a second, as factor per block. Cancelled it is hardly at all: by itself it looks
/// like a voice.
const TAIL: f32 = 0.05;
const TAIL_FALL: f32 = 0.955;
/// The gain falls with this power of how far it is below.
const STEEPNESS: i32 = 2;
/// Smallest gain of power: -40 dB.
const LEAST: f32 = 1e-4;
/// Share of the microphone's power from which on somebody here speaks, -5 dB, and for how many
/// blocks more: the pauses between words.
const VOICE: f32 = 0.3;
const VOICE_BLOCKS: u32 = 40;
/// A voice is louder than the noise by this much, 10 dB.
const AUDIBLE: f32 = 10.0;
/// How much of the powers of the block before still counts.
const SMOOTH: f32 = 0.5;
/// The noise is taken to rise by 3 dB per second at most, as factor per block.
const RISE: f32 = 1.006_93;
/// Within so many samples the gain reaches its new value, 2.5 ms.
const RAMP: usize = 120;

/// An expander whose threshold is the microphone.
pub(super) struct Residual {
    /// Power of the microphone in the block before: cancellation is as late.
    before: f32,
    heard: f32,
    left: f32,
    /// The loudest that the microphone heard while the other side spoke, dying away.
    loudest: f32,
    noise: f32,
    gain: f32,
    /// Blocks until a voice is over.
    voice: u32,
}

impl Default for Residual {
    fn default() -> Self {
        Self {
            before: 0.0,
            heard: 0.0,
            left: 0.0,
            loudest: 0.0,
            noise: 1e-8,
            gain: 1.0,
            voice: 0,
        }
    }
}

impl Residual {
    /// `heard` is the mean square of what the microphone heard in these 10 ms, `cancelled` what
    /// echo cancellation left of what it heard in those before; `played` says whether the other
    /// side speaks.
    pub(super) fn process(&mut self, heard: f32, cancelled: &mut Block, played: bool) {
        let left = mean_square(cancelled);
        let before = std::mem::replace(&mut self.before, heard);
        self.heard = before + (self.heard - before) * SMOOTH;
        self.left = left + (self.left - left) * SMOOTH;
        self.noise = (self.noise * RISE).min(heard.max(1e-12));
        let lasting = if played {
            self.loudest * TAIL_FALL
        } else {
            0.0
        };
        self.loudest = self.heard.max(lasting);
        let tail = self.loudest * TAIL;
        let share = self.left / (tail.max(self.heard * ECHO) + 1e-12);
        let voice = tail.max(self.heard * VOICE).max(self.noise * AUDIBLE);
        let voice = self.left > voice;
        self.voice = if voice {
            VOICE_BLOCKS
        } else {
            self.voice.saturating_sub(1)
        };
        let wanted = if played && share < 1.0 && self.voice == 0 {
            let least = (self.noise / (left + 1e-12)).clamp(LEAST, 1.0);
            share.powi(STEEPNESS).max(least).sqrt()
        } else {
            1.0
        };
        let step = (wanted - self.gain) / RAMP as f32;
        for sample in &mut cancelled[..RAMP] {
            self.gain += step;
            *sample *= self.gain;
        }
        self.gain = wanted;
        for sample in &mut cancelled[RAMP..] {
            *sample *= wanted;
        }
    }
}

const _: () = assert!(RAMP <= BLOCK_SAMPLES);

#[cfg(test)]
mod tests {
    use super::*;

    /// The level that is left after half a second, in dB of full scale.
    fn left(heard: f32, left: f32, played: bool) -> f32 {
        let mut residual = Residual::default();
        let mut block = [0.0; BLOCK_SAMPLES];
        for index in 0..100 {
            // A quiet room first.
            let (heard, left) = if index < 50 {
                (1e-8, 1e-8)
            } else {
                (heard, left)
            };
            block = [left.sqrt(); BLOCK_SAMPLES];
            residual.process(heard, &mut block, played);
        }
        10.0 * mean_square(&block).log10()
    }

    #[test]
    fn residue_is_turned_down_and_a_voice_is_not() {
        // An echo of -30 dBFS, of which 17 dB less are left.
        assert!(left(1e-3, 2e-5, true) < -58.0);
        // A voice half as loud as the echo.
        assert!((left(1e-3, 2e-4, true) + 37.0).abs() < 0.1);
        // Nobody speaks there: whatever it is, it is no echo.
        assert!((left(1e-3, 2e-5, false) + 47.0).abs() < 0.1);
    }

    #[test]
    fn quiet_sounds_of_a_voice_are_left_alone() {
        let mut residual = Residual::default();
        for index in 0..200 {
            let (heard, left) = match index {
                0..50 => (1e-8, 1e-8),
                it if it % 30 < 10 => (1e-3, 5e-4),
                _ => (1e-3, 1e-5),
            };
            let mut block = [f32::sqrt(left); BLOCK_SAMPLES];
            residual.process(heard, &mut block, true);
            let kept = mean_square(&block) / left;
            assert!(index < 65 || kept > 0.99, "{index}: {kept}");
        }
    }

    #[test]
    fn what_reverberates_is_no_voice() {
        let mut residual = Residual::default();
        let level = |db: f32| 10_f32.powf(db / 10.0);
        // A quiet room; words of -20 dBFS, well cancelled; after each, 15 dB below it, what
        // reverberates from it and is not cancelled at all.
        let levels = |index: u8| match (index, index.saturating_sub(50) % 30) {
            (0..50, _) => (-80.0, -80.0),
            (_, 0..18) => (-20.0, -55.0),
            (_, since) => {
                let tail = -35.0 - f32::from(since - 18);
                (tail, tail - 1.0)
            }
        };
        for index in 1..160 {
            let (heard, left) = (level(levels(index).0), level(levels(index - 1).1));
            let mut block = [left.sqrt(); BLOCK_SAMPLES];
            residual.process(heard, &mut block, true);
            let kept = 10.0 * (mean_square(&block) / left).log10();
            assert!(index < 55 || kept < -2.0, "{index}: {kept} dB");
        }
    }

    #[test]
    fn never_below_the_noise_of_the_room() {
        assert!((left(1e-3, 1e-7, true) + 80.0).abs() < 2.0);
    }
}
