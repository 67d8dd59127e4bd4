//! Noise suppression, and what comes with it: how likely somebody is speaking.

use nnnoiseless::DenoiseState;

use crate::{BLOCK_SAMPLES, Block, SILENCE};

/// RNNoise counts in 16-bit steps.
const SCALE: f32 = 32_768.0;

/// Takes noise out of a voice.
pub trait NoiseSuppressor: Send {
    /// Writes to `clean` what remains of 10 ms without noise; returns the probability, 0 to 1,
    /// that somebody speaks in it.
    fn process(&mut self, noisy: &Block, clean: &mut Block) -> f32;

    /// Forgets what it has heard.
    fn reset(&mut self);
}

/// RNNoise (J.-M. Valin, "A Hybrid DSP/Deep Learning Approach to Real-Time Full-Band Speech
/// Enhancement", 2018), in the Rust port of the crate `nnnoiseless`, whose weights are part of the
/// program. The output is 10 ms late.
pub struct RnNoise(Box<DenoiseState<'static>>);

impl RnNoise {
    /// How late the output is, in samples.
    pub const DELAY_SAMPLES: usize = BLOCK_SAMPLES;

    /// A suppressor that has heard nothing yet.
    pub fn new() -> Self {
        Self(DenoiseState::new())
    }
}

impl Default for RnNoise {
    fn default() -> Self {
        Self::new()
    }
}

impl NoiseSuppressor for RnNoise {
    fn process(&mut self, noisy: &Block, clean: &mut Block) -> f32 {
        let mut scaled = SILENCE;
        for (scaled, sample) in scaled.iter_mut().zip(noisy) {
            *scaled = sample * SCALE;
        }
        let speech = self.0.process_frame(clean, &scaled);
        for sample in clean.iter_mut() {
            *sample /= SCALE;
        }
        if speech.is_finite() {
            speech.clamp(0.0, 1.0)
        } else {
            0.0
        }
    }

    fn reset(&mut self) {
        self.0 = DenoiseState::new();
    }
}

const _: () = assert!(DenoiseState::FRAME_SIZE == BLOCK_SAMPLES);
