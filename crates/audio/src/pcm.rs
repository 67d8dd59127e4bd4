//! Sample formats and channels, device side to mono `f32` and back.

use cpal::{FromSample, Sample};

use super::bounded;

/// One interleaved frame as a single bounded sample: the mean of its channels.
pub(super) fn downmix<T>(frame: &[T]) -> f32
where
    T: Sample,
    f32: FromSample<T>,
{
    let sum: f32 = frame
        .iter()
        .map(|sample| bounded(f32::from_sample_(*sample)))
        .sum();
    sum / frame.len().max(1) as f32
}

/// One interleaved frame as left and right: its first two channels; a single one is both.
pub(super) fn front<T>(frame: &[T]) -> [f32; 2]
where
    T: Sample,
    f32: FromSample<T>,
{
    let channel = |at: usize| frame.get(at).map(|it| bounded(f32::from_sample_(*it)));
    let left = channel(0).unwrap_or(0.0);
    [left, channel(1).unwrap_or(left)]
}

/// Whether a driver delivered something that is no sample at all.
pub(super) fn is_invalid<T>(sample: T) -> bool
where
    T: Sample,
    f32: FromSample<T>,
{
    !f32::from_sample_(sample).is_finite()
}

/// Writes left and right to a frame: to its first two channels, or their mean to a single one.
/// The others are surrounds that nobody expects a voice from, and stay silent.
pub(super) fn spread<T>(sample: [f32; 2], frame: &mut [T])
where
    T: Sample + FromSample<f32>,
{
    let [left, right] = sample.map(bounded);
    match frame {
        [] => {}
        [single] => *single = T::from_sample_((left + right) / 2.0),
        [first, second, surrounds @ ..] => {
            *first = T::from_sample_(left);
            *second = T::from_sample_(right);
            surrounds.fill(T::EQUILIBRIUM);
        }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    /// A sine of this frequency.
    pub(crate) fn sine(hz: f32, amplitude: f32, rate: u32, samples: usize) -> Vec<f32> {
        let step = std::f64::consts::TAU * f64::from(hz) / f64::from(rate);
        (0..samples)
            .map(|i| amplitude * (i as f64 * step).sin() as f32)
            .collect()
    }

    /// Something that a codec takes for a voice: a buzz of changing pitch in syllables.
    pub(crate) fn voice(samples: usize) -> Vec<f32> {
        let (mut phase, tau) = (0.0_f64, std::f64::consts::TAU);
        (0..samples)
            .map(|i| {
                let time = i as f64 / 48_000.0;
                phase += tau * (140.0 + 30.0 * (tau * 1.3 * time).sin()) / 48_000.0;
                let buzz: f64 = (1..16)
                    .map(|k| {
                        // Two formants that wander.
                        let hz = 140.0 * f64::from(k);
                        let first =
                            (-((hz - 500.0 - 200.0 * (tau * time).sin()) / 200.0).powi(2)).exp();
                        let second = (-((hz - 1_500.0) / 300.0).powi(2)).exp();
                        (first + 0.5 * second + 0.1) * (f64::from(k) * phase).sin()
                    })
                    .sum();
                let syllable = 0.55 - 0.45 * (tau * 4.0 * time).cos();
                (0.15 * syllable * buzz) as f32
            })
            .collect()
    }

    /// Frequency of a clean tone, from its rising zero crossings.
    pub(crate) fn frequency(samples: &[f32], rate: u32) -> f32 {
        let crossings: Vec<usize> = (1..samples.len())
            .filter(|&i| samples[i - 1] < 0.0 && samples[i] >= 0.0)
            .collect();
        match crossings[..] {
            [first, .., last] => (crossings.len() - 1) as f32 * rate as f32 / (last - first) as f32,
            _ => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_comes_out_bounded() {
        assert_eq!(downmix(&[0.5_f32, -0.5, 0.5, 0.5]), 0.25);
        assert_eq!(downmix(&[f32::NAN, f32::INFINITY]), 0.5);
        assert_eq!(downmix::<f32>(&[]), 0.0);
        assert_eq!(downmix(&[i16::MIN]), -1.0);
        assert_eq!(downmix(&[128_u8, 128]), 0.0);
        assert!((downmix(&[u16::MAX]) - 1.0).abs() < 0.001);
        assert_eq!(downmix(&[0_i32, i32::MIN]), -0.5);
        assert_eq!(downmix(&[-2.0_f64]), -1.0);
    }

    #[test]
    fn surround_channels_stay_silent() {
        let mut frame = [7_i16; 4];
        spread([-1.5, 1.5], &mut frame);
        assert_eq!(frame, [i16::MIN, i16::MAX, 0, 0]);
        let mut mono = [0_u8];
        spread([f32::NAN, 0.5], &mut mono);
        assert_eq!(mono, [160]);
        spread::<f32>([1.0; 2], &mut []);
    }

    #[test]
    fn stereo_is_the_front_pair() {
        assert_eq!(front(&[0.25_f32, -0.5, 0.9]), [0.25, -0.5]);
        assert_eq!(front(&[0.25_f32]), [0.25; 2]);
        assert_eq!(front(&[f32::NAN, 9.0]), [0.0, 1.0]);
        assert_eq!(front::<f32>(&[]), [0.0; 2]);
        assert!(is_invalid(f32::NAN) && is_invalid(f64::INFINITY) && !is_invalid(3.0_f32));
        assert!(!is_invalid(i16::MIN));
    }
}
