//! How loud something is, for meters: measured on a media thread, read anywhere without a lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::Block;

/// Blocks that a level covers: 100 ms, short enough to follow speech, long enough not to flicker.
const WINDOW_BLOCKS: usize = 10;

/// Loudness of the last ~100 ms, linear, 1.0 is full scale.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "specta", derive(specta::Type))]
#[serde(rename_all = "camelCase")]
pub struct AudioLevel {
    /// Root mean square; a full-scale sine has 0.71.
    pub rms: f32,
    /// Largest absolute sample.
    pub peak: f32,
}

/// The latest level, shared between the thread that measures and those that show it.
#[derive(Debug, Default)]
pub struct SharedLevel(AtomicU64);

impl SharedLevel {
    /// The latest level.
    pub fn get(&self) -> AudioLevel {
        let bits = self.0.load(Ordering::Relaxed);
        AudioLevel {
            rms: f32::from_bits((bits >> 32) as u32),
            peak: f32::from_bits(bits as u32),
        }
    }

    /// Both figures in one atomic, so that no reader sees halves of two levels.
    fn set(&self, level: AudioLevel) {
        let bits = u64::from(level.rms.to_bits()) << 32 | u64::from(level.peak.to_bits());
        self.0.store(bits, Ordering::Relaxed);
    }
}

/// Measures block after block.
#[derive(Debug, Default)]
pub struct LevelMeter {
    mean_squares: [f32; WINDOW_BLOCKS],
    peaks: [f32; WINDOW_BLOCKS],
    next: usize,
    shared: Arc<SharedLevel>,
}

impl LevelMeter {
    /// Where the level can be read.
    pub fn shared(&self) -> Arc<SharedLevel> {
        self.shared.clone()
    }

    /// Takes in 10 ms.
    pub fn push(&mut self, block: &Block) {
        self.mean_squares[self.next] = mean_square(block);
        self.peaks[self.next] = peak(block);
        self.next = (self.next + 1) % WINDOW_BLOCKS;
        self.shared.set(AudioLevel {
            rms: (self.mean_squares.iter().sum::<f32>() / WINDOW_BLOCKS as f32).sqrt(),
            peak: self.peaks.iter().copied().fold(0.0, f32::max),
        });
    }

    /// Nothing is measured any more: the level is zero at once.
    pub fn clear(&mut self) {
        self.mean_squares = [0.0; WINDOW_BLOCKS];
        self.peaks = [0.0; WINDOW_BLOCKS];
        self.shared.set(AudioLevel::default());
    }
}

/// Mean of the squared samples.
pub fn mean_square(samples: &[f32]) -> f32 {
    let sum = fold(samples, |sum, sample| sum + sample * sample);
    sum.iter().sum::<f32>() / samples.len().max(1) as f32
}

/// Largest absolute sample.
pub fn peak(samples: &[f32]) -> f32 {
    let larger = |peak: f32, sample: f32| {
        if sample.abs() > peak {
            sample.abs()
        } else {
            peak
        }
    };
    fold(samples, larger).into_iter().fold(0.0, larger)
}

/// In eight lanes, which the compiler turns into vector instructions.
fn fold(samples: &[f32], mut with: impl FnMut(f32, f32) -> f32) -> [f32; 8] {
    let mut lanes = [0.0; 8];
    let (pieces, rest) = samples.as_chunks::<8>();
    for (lane, sample) in lanes.iter_mut().zip(rest) {
        *lane = with(*lane, *sample);
    }
    for piece in pieces {
        for (lane, sample) in lanes.iter_mut().zip(piece) {
            *lane = with(*lane, *sample);
        }
    }
    lanes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BLOCK_SAMPLES, SILENCE};

    #[test]
    fn a_square_wave_has_its_amplitude_and_silence_returns_after_the_window() {
        let mut meter = LevelMeter::default();
        let shared = meter.shared();
        let loud: Block = std::array::from_fn(|i| if i % 2 == 0 { 0.5 } else { -0.5 });
        for _ in 0..WINDOW_BLOCKS {
            meter.push(&loud);
        }
        assert!((shared.get().rms - 0.5).abs() < 1e-4);
        assert_eq!(shared.get().peak, 0.5);
        for _ in 0..WINDOW_BLOCKS - 1 {
            meter.push(&SILENCE);
        }
        assert_eq!(
            shared.get().peak,
            0.5,
            "one loud block is still in the window"
        );
        meter.push(&SILENCE);
        assert_eq!(shared.get(), AudioLevel::default());
    }

    #[test]
    fn clearing_is_immediate() {
        let mut meter = LevelMeter::default();
        meter.push(&[1.0; BLOCK_SAMPLES]);
        meter.clear();
        assert_eq!(meter.shared().get(), AudioLevel::default());
    }
}
