//! The reference in the clock of the microphone: resampled by some parts per million.
//!
//! Not by the resampler of devices: what AEC3 cancels linearly ends at 8 kHz, a third of what is
//! sampled, and there twelve taps are as good as sixty-four.

use crate::{BLOCK_SAMPLES, Block};

/// Taps of the interpolation: within 80 dB up to 14 kHz (Kaiser's formula).
const TAPS: usize = 12;
const KAISER_BETA: f64 = 7.86;
/// Positions between two samples that are tabulated; a straight line leads from one to the next.
const PHASES: usize = 128;
/// Samples that share a position: at 200 ppm it moves by 0.003 of a sample in them.
const PIECE: usize = 16;
/// Room for the samples of one block at any speed.
const ROOM: usize = TAPS + BLOCK_SAMPLES + 8;

/// How late the output is, in samples.
pub(super) const DELAY_SAMPLES: usize = TAPS / 2;

/// Reads a stream a little faster or slower than it was written.
pub(super) struct Retimer {
    table: Vec<[f32; TAPS]>,
    history: [f32; ROOM],
    /// Where the next sample of the output lies behind the first sample of the history but one;
    /// a hundredth below 0 at the least.
    position: f64,
    /// Samples of the input per sample of the output.
    speed: f64,
}

impl Retimer {
    pub(super) fn new() -> Self {
        Self {
            table: (0..=PHASES).map(taps).collect(),
            history: [0.0; ROOM],
            position: 0.0,
            speed: 1.0,
        }
    }

    /// Samples of the input per sample of the output, less 1; at most a few thousandths.
    pub(super) fn set_drift(&mut self, drift: f64) {
        self.speed = 1.0 + drift;
    }

    /// Samples of the input that the next block takes.
    pub(super) fn needed(&self) -> usize {
        (self.piece(BLOCK_SAMPLES - PIECE).0 + PIECE as i64).max(0) as usize
    }

    /// Takes [`Self::needed`] samples, which `fill` writes, and writes 10 ms.
    pub(super) fn process(&mut self, block: &mut Block, fill: impl FnOnce(&mut [f32])) {
        let needed = self.needed().min(ROOM - TAPS);
        fill(&mut self.history[TAPS..TAPS + needed]);
        for (index, out) in block.chunks_exact_mut(PIECE).enumerate() {
            let (at, fraction) = self.piece(index * PIECE);
            let taps = self.taps(fraction);
            let from = ((at + 1).max(0) as usize).min(ROOM - TAPS - PIECE);
            let mut sums = [0.0; PIECE];
            for (age, tap) in taps.iter().enumerate() {
                if let Some(samples) = self.history[from + age..].first_chunk::<PIECE>() {
                    for (sum, sample) in sums.iter_mut().zip(samples) {
                        *sum += tap * sample;
                    }
                }
            }
            out.copy_from_slice(&sums);
        }
        self.position += BLOCK_SAMPLES as f64 * self.speed - needed as f64;
        self.history.copy_within(needed..needed + TAPS, 0);
    }

    /// Where the piece that begins with a sample of the output is read: the sample before, and how
    /// far behind it.
    fn piece(&self, first: usize) -> (i64, f64) {
        let middle = (PIECE - 1) as f64 / 2.0;
        let at = self.position + first as f64 * self.speed + middle * (self.speed - 1.0);
        (at.floor() as i64, at - at.floor())
    }

    fn taps(&self, fraction: f64) -> [f32; TAPS] {
        let at = fraction * PHASES as f64;
        let row = (at as usize).min(PHASES - 1);
        let share = (at - row as f64) as f32;
        std::array::from_fn(|tap| {
            let (from, to) = (self.table[row][tap], self.table[row + 1][tap]);
            from + (to - from) * share
        })
    }
}

/// Windowed sinc at one phase, with a gain of 1 for what does not change.
fn taps(phase: usize) -> [f32; TAPS] {
    let fraction = phase as f64 / PHASES as f64;
    let middle = (TAPS / 2 - 1) as f64 + fraction;
    let taps: [f64; TAPS] = std::array::from_fn(|tap| {
        let x = tap as f64 - middle;
        let turn = std::f64::consts::PI * x;
        let sinc = if x.abs() < 1e-9 {
            1.0
        } else {
            turn.sin() / turn
        };
        let edge = 2.0 * x / TAPS as f64;
        sinc * bessel(KAISER_BETA * (1.0 - edge * edge).max(0.0).sqrt())
    });
    let sum: f64 = taps.iter().sum();
    taps.map(|tap| (tap / sum) as f32)
}

/// Modified Bessel function of the first kind, order 0.
fn bessel(x: f64) -> f64 {
    let (mut term, mut sum) = (1.0, 1.0);
    for k in 1..40 {
        term *= (x / (2.0 * f64::from(k))).powi(2);
        sum += term;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SILENCE;

    /// How far the output is from the same tone, sampled where it should be, in dB.
    fn error_db(hz: f64, drift: f64) -> f64 {
        let mut retimer = Retimer::new();
        retimer.set_drift(drift);
        let turn = hz * std::f64::consts::TAU / 48_000.0;
        let (mut taken, mut given, mut wrong) = (0, 0, 0.0);
        let mut block = SILENCE;
        for _ in 0..400 {
            retimer.process(&mut block, |input| {
                for sample in input {
                    *sample = (turn * f64::from(taken)).sin() as f32;
                    taken += 1;
                }
            });
            for sample in block {
                let at = f64::from(given) * (1.0 + drift) - DELAY_SAMPLES as f64;
                if given > 100 {
                    wrong += (f64::from(sample) - (turn * at).sin()).powi(2);
                }
                given += 1;
            }
        }
        10.0 * (2.0 * wrong / f64::from(given)).log10()
    }

    #[test]
    fn reads_between_the_samples() {
        assert!(error_db(1_000.0, 0.0) < -80.0);
        for drift in [200e-6, -200e-6, 500e-6, -500e-6] {
            assert!(
                error_db(1_000.0, drift) < -60.0,
                "{}",
                error_db(1_000.0, drift)
            );
            assert!(
                error_db(4_000.0, drift) < -50.0,
                "{}",
                error_db(4_000.0, drift)
            );
        }
    }
}
