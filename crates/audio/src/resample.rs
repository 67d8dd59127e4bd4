//! Changes the sample rate of a stream, in pieces of any length, and its pace by a hair.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{
    Adjustable as _, Async, FixedAsync, Resampler as _, SincInterpolationParameters,
    SincInterpolationType, WindowFunction,
};

use ahoy_media::device::{DeviceError, DeviceProblem};

/// Lowest rate that is accepted, in Hz: below it is no sound worth sending.
pub const MIN_RATE_HZ: u32 = 4_000;
/// Highest rate that is accepted, in Hz.
pub const MAX_RATE_HZ: u32 = 768_000;

/// Length of the filter in input samples: 0.7 ms of delay at 48 kHz, over 110 dB clean.
const FILTER_SAMPLES: usize = 64;
/// Pieces per second in which samples go through the filter: 1 ms, the most that waits inside.
const PIECES_PER_SECOND: u32 = 1_000;
/// Most that the pace can be changed, either way.
const MAX_SPEED: f64 = 1.01;

/// A resampler of interleaved samples.
pub struct Resampler {
    filter: Option<Box<Filter>>,
}

struct Filter {
    resampler: Async<f32>,
    channels: usize,
    /// Frames that go through at once.
    piece: usize,
    speed: f64,
    waiting: Vec<f32>,
    result: Vec<f32>,
}

impl Resampler {
    /// Mono, from one rate to another, in Hz. With equal rates it copies.
    ///
    /// # Errors
    /// `Unsupported` for a rate outside [`MIN_RATE_HZ`]..=[`MAX_RATE_HZ`].
    pub fn new(from_hz: u32, to_hz: u32) -> Result<Self, DeviceError> {
        check_rates(from_hz, to_hz)?;
        let filter = (from_hz != to_hz)
            .then(|| Filter::new(from_hz, to_hz, 1))
            .transpose()?;
        Ok(Self {
            filter: filter.map(Box::new),
        })
    }

    /// With a pace that can be changed by [`Self::set_speed`], also between equal rates.
    ///
    /// # Errors
    /// `Unsupported` for a rate outside [`MIN_RATE_HZ`]..=[`MAX_RATE_HZ`] and for 0 channels.
    pub(crate) fn steered(from_hz: u32, to_hz: u32, channels: usize) -> Result<Self, DeviceError> {
        check_rates(from_hz, to_hz)?;
        Ok(Self {
            filter: Some(Box::new(Filter::new(from_hz, to_hz, channels)?)),
        })
    }

    /// How many seconds one second of the input becomes, about 1. Out of reach it stays as it is.
    pub(crate) fn set_speed(&mut self, speed: f64) {
        if let Some(filter) = self.filter.as_mut().filter(|it| it.speed != speed) {
            filter.speed = speed;
            let _ = filter.resampler.set_resample_ratio_relative(speed, true);
        }
    }

    /// Frames of the input that are still inside, up to 1 ms.
    pub(crate) fn waiting(&self) -> usize {
        let filter = self.filter.as_ref();
        filter.map_or(0, |it| it.waiting.len() / it.channels)
    }

    /// Converts `input`, whole frames, and appends to `output` what is ready; up to 1 ms stays
    /// inside.
    pub fn process(&mut self, input: &[f32], output: &mut Vec<f32>) {
        match &mut self.filter {
            None => output.extend_from_slice(input),
            Some(filter) => filter.process(input, output),
        }
    }
}

fn check_rates(from_hz: u32, to_hz: u32) -> Result<(), DeviceError> {
    let range = MIN_RATE_HZ..=MAX_RATE_HZ;
    if range.contains(&from_hz) && range.contains(&to_hz) {
        return Ok(());
    }
    let detail = format!("cannot convert from {from_hz} Hz to {to_hz} Hz");
    Err(DeviceError::new(DeviceProblem::Unsupported, detail))
}

impl Filter {
    fn new(from_hz: u32, to_hz: u32, channels: usize) -> Result<Self, DeviceError> {
        let parameters =
            SincInterpolationParameters::new(FILTER_SAMPLES, WindowFunction::Blackman2)
                .oversampling_factor(256)
                .interpolation(SincInterpolationType::Linear);
        let piece = (from_hz / PIECES_PER_SECOND) as usize;
        let ratio = f64::from(to_hz) / f64::from(from_hz);
        let direction = FixedAsync::Input;
        let resampler = Async::new_sinc(ratio, MAX_SPEED, &parameters, piece, channels, direction)
            .map_err(|error| DeviceError::new(DeviceProblem::Unsupported, error))?;
        let result = vec![0.0; resampler.output_frames_max() * channels];
        Ok(Self {
            resampler,
            channels,
            piece,
            speed: 1.0,
            waiting: Vec::with_capacity(32 * piece * channels),
            result,
        })
    }

    fn process(&mut self, input: &[f32], output: &mut Vec<f32>) {
        self.waiting.extend_from_slice(input);
        let length = self.piece * self.channels;
        let mut used = 0;
        while self.waiting.len() - used >= length {
            let frames = self.result.len() / self.channels;
            let piece = &self.waiting[used..used + length];
            let from = InterleavedSlice::new(piece, self.channels, self.piece);
            let to = InterleavedSlice::new_mut(&mut self.result, self.channels, frames);
            if let (Ok(from), Ok(mut to)) = (from, to)
                && let Ok((_, made)) = self.resampler.process_into_buffer(&from, &mut to, None)
            {
                output.extend_from_slice(&self.result[..made * self.channels]);
            }
            used += length;
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
    fn pace_follows_without_a_click_and_channels_stay_apart() {
        let mut resampler = Resampler::steered(48_000, 48_000, 2).expect("usual rates");
        let mut output = Vec::new();
        let (left, right) = (
            sine(440.0, 0.5, 48_000, 96_000),
            sine(660.0, 0.25, 48_000, 96_000),
        );
        let both: Vec<f32> = left
            .iter()
            .zip(&right)
            .flat_map(|(l, r)| [*l, *r])
            .collect();
        for (index, piece) in both.chunks(960).enumerate() {
            resampler.set_speed(1.0 + if index < 100 { 200e-6 } else { -200e-6 });
            resampler.process(piece, &mut output);
        }
        let channel = |at: usize| {
            output
                .iter()
                .skip(at)
                .step_by(2)
                .copied()
                .collect::<Vec<_>>()
        };
        let (left, right) = (channel(0), channel(1));
        assert!((frequency(&left[4_800..], 48_000) - 440.0).abs() < 0.5);
        assert!((frequency(&right[4_800..], 48_000) - 660.0).abs() < 0.5);
        // Neighbours of a sine differ by no more than its steepest slope.
        let step = left[4_800..]
            .windows(2)
            .map(|pair| (pair[1] - pair[0]).abs());
        let steepest = 0.5 * std::f32::consts::TAU * 440.0 / 48_000.0;
        assert!(step.fold(0.0_f32, f32::max) < 1.01 * steepest);
        let first = output.len() as f64 / 2.0;
        assert!((first - 96_000.0).abs() < 100.0, "{first}");
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
