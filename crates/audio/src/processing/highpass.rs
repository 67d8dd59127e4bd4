//! Takes out what is below any voice: handling noise, hum, the offset of cheap converters.

use crate::Block;

/// Where the power is halved.
const CUTOFF_HZ: f64 = 70.0;

/// Butterworth high-pass of second order, 12 dB per octave. AEC3's own is three times as steep and
/// costs low voices their fundamental.
#[derive(Debug)]
pub struct HighPass {
    b: [f64; 3],
    a: [f64; 2],
    state: [f64; 2],
}

impl HighPass {
    /// A filter at 48 kHz.
    pub fn new() -> Self {
        // Bilinear transform (R. Bristow-Johnson, "Audio EQ Cookbook").
        let omega = std::f64::consts::TAU * CUTOFF_HZ / 48_000.0;
        let (sine, cosine) = omega.sin_cos();
        let alpha = sine / std::f64::consts::SQRT_2;
        let scale = 1.0 / (1.0 + alpha);
        let edge = (1.0 + cosine) / 2.0 * scale;
        Self {
            b: [edge, -2.0 * edge, edge],
            a: [-2.0 * cosine * scale, (1.0 - alpha) * scale],
            state: [0.0; 2],
        }
    }

    /// Filters 10 ms.
    pub fn process(&mut self, block: &mut Block) {
        for sample in block.iter_mut() {
            let input = f64::from(*sample);
            let output = self.b[0] * input + self.state[0];
            self.state[0] = self.b[1] * input - self.a[0] * output + self.state[1];
            self.state[1] = self.b[2] * input - self.a[1] * output;
            *sample = output as f32;
        }
    }

    /// Forgets what it has heard.
    pub fn reset(&mut self) {
        self.state = [0.0; 2];
    }
}

impl Default for HighPass {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::level::mean_square;
    use crate::pcm::testing::sine;

    fn gain_db(hz: f32) -> f32 {
        let (mut filter, mut out) = (HighPass::new(), 0.0);
        for piece in sine(hz, 0.5, 48_000, 48_000).chunks_exact(480) {
            let mut block = [0.0; 480];
            block.copy_from_slice(piece);
            filter.process(&mut block);
            out = 0.9 * out + 0.1 * mean_square(&block);
        }
        10.0 * (out / 0.125).log10()
    }

    #[test]
    fn rumble_goes_and_voices_stay() {
        assert!(gain_db(20.0) < -18.0);
        assert!(gain_db(100.0) > -1.5);
        assert!(gain_db(300.0).abs() < 0.1);
        let (mut filter, mut block) = (HighPass::new(), [0.5; 480]);
        for _ in 0..100 {
            block = [0.5; 480];
            filter.process(&mut block);
        }
        assert!(block[479].abs() < 1e-4, "an offset is gone");
    }
}
