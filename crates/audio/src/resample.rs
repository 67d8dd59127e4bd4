//! Changes the sample rate of a mono stream, in pieces of any length.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{
    Async, FixedAsync, Resampler as _, SincInterpolationParameters, SincInterpolationType,
    WindowFunction,
};

use ahoy_media::device::{DeviceError, DeviceProblem};

/// Lowest rate that is accepted, in Hz: below it is no sound worth sending.
pub const MIN_RATE_HZ: u32 = 4_000;
/// Highest rate that is accepted, in Hz.
pub const MAX_RATE_HZ: u32 = 768_000;

/// Length of the filter in input samples: 0.7 ms of delay at 48 kHz, over 110 dB clean.
const FILTER_SAMPLES: usize = 64;
/// Pieces per second in which samples go through the filter: 2.5 ms, the most that waits inside.
const PIECES_PER_SECOND: u32 = 400;

/// A mono resampler. With equal rates it copies.
pub struct Resampler {
    filter: Option<Box<Filter>>,
}

struct Filter {
    resampler: Async<f32>,
    piece: usize,
    waiting: Vec<f32>,
    result: Vec<f32>,
}

impl Resampler {
    /// From one rate to another, in Hz.
    ///
    /// # Errors
    /// `Unsupported` for a rate outside [`MIN_RATE_HZ`]..=[`MAX_RATE_HZ`].
    pub fn new(from_hz: u32, to_hz: u32) -> Result<Self, DeviceError> {
        let range = MIN_RATE_HZ..=MAX_RATE_HZ;
        if !range.contains(&from_hz) || !range.contains(&to_hz) {
            let detail = format!("cannot convert from {from_hz} Hz to {to_hz} Hz");
            return Err(DeviceError::new(DeviceProblem::Unsupported, detail));
        }
        let filter = (from_hz != to_hz)
            .then(|| Filter::new(from_hz, to_hz))
            .transpose()?;
        Ok(Self {
            filter: filter.map(Box::new),
        })
    }

    /// Converts `input` and appends to `output` what is ready; up to 2.5 ms stay inside.
    pub fn process(&mut self, input: &[f32], output: &mut Vec<f32>) {
        match &mut self.filter {
            None => output.extend_from_slice(input),
            Some(filter) => filter.process(input, output),
        }
    }
}

impl Filter {
    fn new(from_hz: u32, to_hz: u32) -> Result<Self, DeviceError> {
        let parameters =
            SincInterpolationParameters::new(FILTER_SAMPLES, WindowFunction::Blackman2)
                .oversampling_factor(256)
                .interpolation(SincInterpolationType::Linear);
        let piece = (from_hz / PIECES_PER_SECOND) as usize;
        // The margin of 1 % on the ratio leaves room for steering against clock drift.
        let ratio = f64::from(to_hz) / f64::from(from_hz);
        let resampler = Async::new_sinc(ratio, 1.01, &parameters, piece, 1, FixedAsync::Input)
            .map_err(|error| DeviceError::new(DeviceProblem::Unsupported, error))?;
        let result = vec![0.0; resampler.output_frames_max()];
        Ok(Self {
            resampler,
            piece,
            waiting: Vec::with_capacity(4 * piece),
            result,
        })
    }

    fn process(&mut self, input: &[f32], output: &mut Vec<f32>) {
        self.waiting.extend_from_slice(input);
        let mut used = 0;
        while self.waiting.len() - used >= self.piece {
            let frames = self.result.len();
            let piece = &self.waiting[used..used + self.piece];
            let from = InterleavedSlice::new(piece, 1, self.piece);
            let to = InterleavedSlice::new_mut(&mut self.result, 1, frames);
            if let (Ok(from), Ok(mut to)) = (from, to)
                && let Ok((_, made)) = self.resampler.process_into_buffer(&from, &mut to, None)
            {
                output.extend_from_slice(&self.result[..made]);
            }
            used += self.piece;
        }
        self.waiting.drain(..used);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pcm::testing::{frequency, sine};

    #[test]
    fn keeps_pitch_level_and_length_at_every_usual_rate() {
        for rate in [
            8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000,
        ] {
            for (from, to) in [(rate, 48_000), (48_000, rate)] {
                let mut resampler = Resampler::new(from, to).expect("usual rates");
                let mut output = Vec::new();
                for piece in sine(440.0, 0.5, from, from as usize).chunks(333) {
                    resampler.process(piece, &mut output);
                }
                let missing = (f64::from(to) - output.len() as f64) / f64::from(to);
                assert!((-0.001..0.01).contains(&missing), "{from}→{to}: {missing}");
                let settled = &output[output.len() / 4..];
                assert!((frequency(settled, to) - 440.0).abs() < 3.0, "{from}→{to}");
                let peak = settled
                    .iter()
                    .fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
                assert!((peak - 0.5).abs() < 0.01, "{from}→{to}: {peak}");
            }
        }
    }

    #[test]
    fn removes_what_the_lower_rate_cannot_hold() {
        let mut resampler = Resampler::new(48_000, 8_000).expect("usual rates");
        let mut output = Vec::new();
        resampler.process(&sine(10_000.0, 0.5, 48_000, 48_000), &mut output);
        let rest = output[800..]
            .iter()
            .fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
        assert!(rest < 0.001, "{rest}");
    }

    #[test]
    fn refuses_absurd_rates() {
        for rate in [0, 1, u32::MAX] {
            assert!(Resampler::new(rate, 48_000).is_err());
        }
    }
}
