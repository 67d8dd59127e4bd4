//! How late the echo is: correlation of what the microphone hears with what was played.
//!
//! Generalised cross-correlation with phase transform (C. Knapp, G. Carter, "The Generalized
//! Correlation Method for Estimation of Time Delay", 1976), in partitions, so that 64 ms of signal
//! cost two short Fourier transforms whatever the delay is. At 8 kHz: speech has its energy below
//! 4 kHz, and so do most loudspeakers.

use std::sync::Arc;

use realfft::num_complex::Complex32;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

use crate::{BLOCK_SAMPLES, Block};

/// Samples at 48 kHz for each one here.
const DECIMATION: usize = 6;
/// Taps of the low-pass filter before decimation: -60 dB from 4.5 kHz on.
const TAPS: usize = 72;
/// Samples at 8 kHz between two looks: 64 ms.
const HOP: usize = 512;
const WINDOW: usize = 2 * HOP;
const BINS: usize = WINDOW / 2 + 1;
/// Searched delays: 12 hops, 768 ms. The default search of AEC3 ends at about 500 ms.
const PARTITIONS: usize = 12;
/// Largest delay that is found, in samples at 48 kHz.
pub const MAX_DELAY_SAMPLES: usize = PARTITIONS * HOP * DECIMATION;
/// Bins that count: 200 Hz to 3.6 kHz.
const FIRST_BIN: usize = 26;
const LAST_BIN: usize = 460;
/// How much of what was heard before still counts after another 64 ms of echo: a quarter of a
/// second to notice a jump, a second to follow a drift.
const FAST: f32 = 0.75;
const SLOW: f32 = 0.94;
/// Below these powers (mean square) there is nothing to compare: about -65 and -80 dBFS of speech.
const MIN_REFERENCE: f32 = 1e-7;
const MIN_CAPTURE: f32 = 3e-9;
/// Ends of a window are faded over so many samples: a hard edge looks the same in both signals and
/// would be found at a delay of zero.
const FADE: usize = 48;
/// What is quieter than the loudest of the last seconds by more, 30 dB, is a pause and says nothing.
const PAUSE: f32 = 1e-3;
/// How fast the loudest is forgotten, per look: half of it in a second.
const FORGET: f32 = 0.956;
/// Bins weaker than this share of a spectrum's root mean square count less: there is leakage.
const WEAK: f32 = 0.05;
/// How far a peak has to stand out of the correlation's root mean square. The largest of 6144
/// values of noise stands out 4 times.
const CLEAR: f32 = 6.5;
/// One that says that the delay has changed has to be clearer: music repeats itself.
const CLEARER: f32 = 8.0;
/// A peak of the slow correlation that is only followed may be weaker.
const FOLLOWED: f32 = 5.0;
/// As many looks in a row have to agree on a first delay, and on another one.
const FIRST_CONFIRMATIONS: u32 = 6;
const CONFIRMATIONS: u32 = 3;
/// Looks agree within this much, in samples at 8 kHz.
const AGREE: usize = 3;
/// A present delay whose peak is still this large, compared with the new one, has not gone.
const REMAINS: f32 = 0.4;

/// What a look at the signals has brought.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum DelayEvent {
    /// The delay was unknown and is found, in samples at 48 kHz.
    Found(f32),
    /// The delay has changed at once by so many samples at 48 kHz.
    Jumped(f32),
    /// The delay, followed: it moves with the clocks. In samples at 48 kHz.
    Followed(f32),
}

/// Estimates the delay between a reference and its echo.
pub struct DelayEstimator {
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
    reference_decimator: Decimator,
    capture_decimator: Decimator,
    /// The last two hops of the reference, the second one being filled.
    reference: Vec<f32>,
    capture: Vec<f32>,
    /// Whitened spectra of the reference, the newest at `newest`.
    spectra: Vec<Vec<Complex32>>,
    powers: [f32; PARTITIONS],
    loudest: f32,
    newest: usize,
    fast: Vec<Vec<Complex32>>,
    slow: Vec<Vec<Complex32>>,
    time: Vec<f32>,
    frequency: Vec<Complex32>,
    scratch: Vec<Complex32>,
    correlation: Vec<f32>,
    /// The delay at 8 kHz.
    delay: Option<f32>,
    candidate: Option<(usize, u32)>,
    /// Looks at both signals without a delay being known.
    in_vain: u32,
}

impl DelayEstimator {
    /// An estimator that has heard nothing yet.
    pub fn new() -> Self {
        let mut planner = RealFftPlanner::new();
        let (forward, inverse) = (
            planner.plan_fft_forward(WINDOW),
            planner.plan_fft_inverse(WINDOW),
        );
        let scratch = forward.get_scratch_len().max(inverse.get_scratch_len());
        let spectra = || vec![vec![Complex32::default(); BINS]; PARTITIONS];
        Self {
            forward,
            inverse,
            reference_decimator: Decimator::new(),
            capture_decimator: Decimator::new(),
            reference: vec![0.0; HOP],
            capture: Vec::with_capacity(WINDOW),
            spectra: spectra(),
            powers: [0.0; PARTITIONS],
            loudest: 0.0,
            newest: 0,
            fast: spectra(),
            slow: spectra(),
            time: vec![0.0; WINDOW],
            frequency: vec![Complex32::default(); BINS],
            scratch: vec![Complex32::default(); scratch],
            correlation: vec![0.0; PARTITIONS * HOP],
            delay: None,
            candidate: None,
            in_vain: 0,
        }
    }

    /// For how long both signals were there and no echo of one was found in the other, in samples
    /// at 48 kHz; 0 while the delay is known.
    pub fn in_vain(&self) -> u64 {
        u64::from(self.in_vain) * (HOP * DECIMATION) as u64
    }

    /// The delay in samples at 48 kHz, when it is known.
    pub fn delay(&self) -> Option<f32> {
        self.delay.map(|delay| delay * DECIMATION as f32)
    }

    /// The reference was moved on purpose: its echo comes so many samples at 48 kHz later now.
    pub fn shifted(&mut self, samples: f32) {
        self.delay = self
            .delay
            .map(|delay| delay + samples / DECIMATION as f32)
            .filter(|delay| (0.0..(PARTITIONS * HOP) as f32).contains(delay));
        self.forget_signals();
    }

    /// Nothing is known any more.
    pub fn reset(&mut self) {
        self.delay = None;
        self.in_vain = 0;
        self.forget_signals();
    }

    fn forget_signals(&mut self) {
        self.candidate = None;
        for spectrum in self
            .fast
            .iter_mut()
            .chain(&mut self.slow)
            .chain(&mut self.spectra)
        {
            spectrum.fill(Complex32::default());
        }
        self.powers = [0.0; PARTITIONS];
    }

    /// Takes in 10 ms of both signals. Every 64 ms of echo there is something to say.
    pub fn push(&mut self, capture: &Block, reference: &Block) -> Option<DelayEvent> {
        self.reference_decimator
            .process(reference, &mut self.reference);
        self.capture_decimator.process(capture, &mut self.capture);
        if self.capture.len() < HOP {
            return None;
        }
        let event = self.look();
        self.reference.drain(..HOP);
        self.capture.drain(..HOP);
        event
    }

    fn look(&mut self) -> Option<DelayEvent> {
        self.newest = (self.newest + 1) % PARTITIONS;
        self.time.copy_from_slice(&self.reference[..WINDOW]);
        let power = crate::level::mean_square(&self.time);
        self.loudest = power.max(self.loudest * FORGET);
        let pause = power < MIN_REFERENCE.max(self.loudest * PAUSE);
        self.powers[self.newest] = if pause { 0.0 } else { power };
        fade(&mut self.time);
        let _ = self.forward.process_with_scratch(
            &mut self.time,
            &mut self.spectra[self.newest],
            &mut self.scratch,
        );
        whiten(&mut self.spectra[self.newest]);
        let heard = crate::level::mean_square(&self.capture[..HOP]);
        let played = self.powers.iter().copied().fold(0.0, f32::max);
        if heard < MIN_CAPTURE || played <= 0.0 {
            return None;
        }
        self.time[..HOP].fill(0.0);
        self.time[HOP..].copy_from_slice(&self.capture[..HOP]);
        fade(&mut self.time[HOP..]);
        let _ = self.forward.process_with_scratch(
            &mut self.time,
            &mut self.frequency,
            &mut self.scratch,
        );
        whiten(&mut self.frequency);
        self.accumulate();
        let event = self.judge();
        self.in_vain = match self.delay {
            Some(_) => 0,
            None => self.in_vain.saturating_add(1),
        };
        event
    }

    fn accumulate(&mut self) {
        for partition in 0..PARTITIONS {
            let at = (self.newest + PARTITIONS - partition) % PARTITIONS;
            let silent = self.powers[at] <= 0.0;
            let averages = self.fast[partition][FIRST_BIN..LAST_BIN]
                .iter_mut()
                .zip(&mut self.slow[partition][FIRST_BIN..LAST_BIN]);
            let signals = self.frequency[FIRST_BIN..LAST_BIN]
                .iter()
                .zip(&self.spectra[at][FIRST_BIN..LAST_BIN]);
            for ((fast, slow), (capture, reference)) in averages.zip(signals) {
                let product = if silent {
                    Complex32::default()
                } else {
                    capture * reference.conj()
                };
                *fast = *fast * FAST + product;
                *slow = *slow * SLOW + product;
            }
        }
    }

    /// Writes the correlation of one partition to `self.correlation`.
    fn correlate(&mut self, fast: bool, partition: usize) {
        let average = if fast { &self.fast } else { &self.slow };
        self.frequency.copy_from_slice(&average[partition]);
        let _ = self.inverse.process_with_scratch(
            &mut self.frequency,
            &mut self.time,
            &mut self.scratch,
        );
        self.correlation[partition * HOP..(partition + 1) * HOP].copy_from_slice(&self.time[..HOP]);
    }

    fn judge(&mut self) -> Option<DelayEvent> {
        for partition in 0..PARTITIONS {
            self.correlate(true, partition);
        }
        let power = crate::level::mean_square(&self.correlation).sqrt();
        let (peak, height) = highest(&self.correlation, 0);
        let clear = height > CLEAR * power;
        let Some(delay) = self.delay else {
            let found = clear && self.confirm(peak, FIRST_CONFIRMATIONS);
            self.delay = found.then(|| interpolated(&self.correlation, peak));
            return self.delay().map(DelayEvent::Found);
        };
        let present = delay.round().max(0.0) as usize;
        let here = around(present);
        let (_, remains) = highest(&self.correlation[here.clone()], here.start);
        let gone = height > CLEARER * power && !here.contains(&peak) && remains < REMAINS * height;
        if gone && self.confirm(peak, CONFIRMATIONS) {
            let now = interpolated(&self.correlation, peak);
            self.delay = Some(now);
            // What was heard before the jump would hold the slow average for a second.
            for (slow, fast) in self.slow.iter_mut().zip(&self.fast) {
                slow.copy_from_slice(fast);
            }
            return Some(DelayEvent::Jumped((now - delay) * DECIMATION as f32));
        }
        if !gone {
            self.candidate = None;
        }
        self.follow(present)
    }

    fn follow(&mut self, present: usize) -> Option<DelayEvent> {
        let here = around(present);
        for partition in here.start / HOP..=(here.end - 1) / HOP {
            self.correlate(false, partition);
        }
        // The other partitions hold the fast correlation: its scale is smaller. Only the
        // partitions at hand are compared.
        let first = here.start / HOP * HOP;
        let last = ((here.end - 1) / HOP + 1) * HOP;
        let power = crate::level::mean_square(&self.correlation[first..last]).sqrt();
        let (peak, height) = highest(&self.correlation[here.clone()], here.start);
        if height < FOLLOWED * power || peak == here.start || peak + 1 == here.end {
            return None;
        }
        self.delay = Some(interpolated(&self.correlation, peak));
        self.delay().map(DelayEvent::Followed)
    }

    fn confirm(&mut self, peak: usize, times: u32) -> bool {
        let seen = match self.candidate {
            Some((before, seen)) if before.abs_diff(peak) <= AGREE => seen + 1,
            _ => 1,
        };
        self.candidate = (seen < times).then_some((peak, seen));
        seen >= times
    }
}

impl Default for DelayEstimator {
    fn default() -> Self {
        Self::new()
    }
}

/// Delays that count as the same one.
fn around(delay: usize) -> std::ops::Range<usize> {
    let end = (delay + AGREE + 1).min(PARTITIONS * HOP);
    delay.saturating_sub(AGREE).min(end - 1)..end
}

/// Where the largest value is, of either sign, and how large it is.
fn highest(values: &[f32], offset: usize) -> (usize, f32) {
    let start = (offset, 0.0_f32);
    values.iter().enumerate().fold(start, |best, (at, value)| {
        if value.abs() > best.1 {
            (offset + at, value.abs())
        } else {
            best
        }
    })
}

/// The peak of a parabola through a largest value and its neighbours.
fn interpolated(values: &[f32], peak: usize) -> f32 {
    let at = |index: Option<usize>| {
        index
            .and_then(|it| values.get(it))
            .map_or(0.0, |it| it.abs())
    };
    let (left, top, right) = (at(peak.checked_sub(1)), at(Some(peak)), at(Some(peak + 1)));
    let bend = left - 2.0 * top + right;
    let offset = if bend < 0.0 {
        (0.5 * (left - right) / bend).clamp(-0.5, 0.5)
    } else {
        0.0
    };
    peak as f32 + offset
}

/// Leaves the phases only, of bins that hold more than leakage.
fn whiten(spectrum: &mut [Complex32]) {
    let used = &mut spectrum[FIRST_BIN..LAST_BIN];
    let power: f32 = used.iter().map(|bin| bin.norm_sqr()).sum();
    let weak = WEAK * (power / used.len() as f32).sqrt() + 1e-9;
    for bin in used {
        let whitened = *bin / (bin.norm() + weak);
        *bin = if whitened.is_finite() {
            whitened
        } else {
            Complex32::default()
        };
    }
}

/// Fades both ends.
fn fade(window: &mut [f32]) {
    let last = window.len() - 1;
    for i in 0..FADE {
        let turn = std::f32::consts::PI * (i as f32 + 0.5) / FADE as f32;
        let share = 0.5 - 0.5 * turn.cos();
        window[i] *= share;
        window[last - i] *= share;
    }
}

/// Low-pass filter, then every sixth sample.
struct Decimator {
    taps: [f32; TAPS],
    history: Vec<f32>,
    last: f32,
}

impl Decimator {
    fn new() -> Self {
        // Windowed sinc (Hann), cut off at 3.8 kHz.
        let cutoff = 3_800.0 / 48_000.0 * std::f64::consts::TAU;
        let mut taps: [f32; TAPS] = std::array::from_fn(|i| {
            let x = i as f64 - (TAPS - 1) as f64 / 2.0;
            let turn = std::f64::consts::TAU * (i as f64 + 0.5) / TAPS as f64;
            ((cutoff * x).sin() / (std::f64::consts::PI * x) * (0.5 - 0.5 * turn.cos())) as f32
        });
        let sum: f32 = taps.iter().sum();
        for tap in &mut taps {
            *tap /= sum;
        }
        let mut history = Vec::with_capacity(TAPS + BLOCK_SAMPLES);
        history.resize(TAPS - DECIMATION, 0.0);
        Self {
            taps,
            history,
            last: 0.0,
        }
    }

    fn process(&mut self, block: &Block, out: &mut Vec<f32>) {
        self.history.extend_from_slice(block);
        let windows = self.history.windows(TAPS).step_by(DECIMATION);
        let last = &mut self.last;
        out.extend(windows.map(|window| {
            let sample = dot(window, &self.taps);
            // Speech falls off towards high frequencies; made flat, it leaks less into them.
            sample - 0.9 * std::mem::replace(last, sample)
        }));
        self.history.drain(..BLOCK_SAMPLES);
    }
}

/// In eight sums, which the compiler turns into vector instructions.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 8];
    for (a, b) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    sums.iter().sum()
}

const _: () = assert!(BLOCK_SAMPLES.is_multiple_of(DECIMATION) && TAPS.is_multiple_of(8));
