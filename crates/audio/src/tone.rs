//! The test microphone: a quiet tone that comes and goes, so that one hears that it is live.

use super::{BLOCK_SAMPLES, Block};
use ahoy_media::units::AUDIO_CLOCK_HZ;

const TONE_HZ: f64 = 440.0;
/// Peak: −20 dB, clearly audible and nowhere near unpleasant.
const AMPLITUDE: f64 = 0.1;
/// One coming and going, in seconds.
const PERIOD_S: f64 = 2.0;

/// 440 Hz whose loudness swells to 0.1 of full scale and falls back to nothing every 2 s.
#[derive(Debug, Default)]
pub struct Tone {
    position: u64,
}

impl Tone {
    /// The next 10 ms.
    pub fn fill(&mut self, block: &mut Block) {
        for (index, sample) in block.iter_mut().enumerate() {
            let time = (self.position + index as u64) as f64 / f64::from(AUDIO_CLOCK_HZ);
            let swell = (1.0 - (std::f64::consts::TAU * time / PERIOD_S).cos()) / 2.0;
            *sample = (AMPLITUDE * swell * (std::f64::consts::TAU * TONE_HZ * time).sin()) as f32;
        }
        // A whole number of waves and swells fits into a minute: no click, no loss of precision.
        self.position = (self.position + BLOCK_SAMPLES as u64) % (60 * u64::from(AUDIO_CLOCK_HZ));
    }
}

/// The speaker test: two short notes.
#[derive(Debug)]
pub struct TestSound {
    position: usize,
}

impl TestSound {
    /// Note frequencies in Hz: a fifth, easily told from a notification of anything else.
    const NOTES_HZ: [f32; 2] = [523.25, 783.99];
    /// Samples of a note: 0.25 s.
    const NOTE_SAMPLES: usize = 12_000;

    /// From its beginning.
    pub fn new() -> Self {
        Self { position: 0 }
    }

    /// The next 10 ms; `false` when it is over and nothing was written.
    pub fn fill(&mut self, block: &mut Block) -> bool {
        if self.position >= Self::NOTES_HZ.len() * Self::NOTE_SAMPLES {
            return false;
        }
        for (index, sample) in block.iter_mut().enumerate() {
            *sample = Self::sample(self.position + index);
        }
        self.position += BLOCK_SAMPLES;
        true
    }

    fn sample(position: usize) -> f32 {
        let within = position % Self::NOTE_SAMPLES;
        let hz = Self::NOTES_HZ[(position / Self::NOTE_SAMPLES).min(1)];
        let progress = within as f32 / Self::NOTE_SAMPLES as f32;
        // Swells in 5 ms, then dies away like a bell; zero at both ends.
        let envelope = (progress * 50.0).min(1.0) * (1.0 - progress).powi(2);
        0.3 * envelope * (std::f32::consts::TAU * hz * within as f32 / AUDIO_CLOCK_HZ as f32).sin()
    }
}

impl Default for TestSound {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SILENCE;
    use crate::level::{mean_square, peak};
    use crate::pcm::testing::frequency;

    fn blocks(count: usize, mut next: impl FnMut(&mut Block)) -> Vec<f32> {
        (0..count)
            .flat_map(|_| {
                let mut block = SILENCE;
                next(&mut block);
                block
            })
            .collect()
    }

    #[test]
    fn comes_and_goes_without_a_click() {
        let mut tone = Tone::default();
        let samples = blocks(6_100, |block| tone.fill(block));
        assert!((frequency(&samples[24_000..72_000], AUDIO_CLOCK_HZ) - 440.0).abs() < 1.0);
        assert!((peak(&samples) - 0.1).abs() < 0.001);
        assert!(mean_square(&samples[96_000 - 480..96_480]) < 1e-8);
        let step = samples
            .windows(2)
            .fold(0.0_f32, |step, pair| step.max((pair[1] - pair[0]).abs()));
        assert!(step < 0.007, "{step}");
    }

    #[test]
    fn the_test_sound_ends() {
        let mut sound = TestSound::new();
        let samples = blocks(50, |block| assert!(sound.fill(block)));
        assert!((0.2..0.35).contains(&peak(&samples)));
        assert!((frequency(&samples[..9_600], AUDIO_CLOCK_HZ) - 523.25).abs() < 3.0);
        assert!((frequency(&samples[12_000..21_600], AUDIO_CLOCK_HZ) - 783.99).abs() < 3.0);
        assert!(!sound.fill(&mut SILENCE.clone()));
    }
}
