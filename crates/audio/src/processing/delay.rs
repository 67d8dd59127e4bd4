//! How late the echo is: correlation of what the microphone hears with what was played.
//!
//! Generalised cross-correlation with phase transform (C. Knapp, G. Carter, "The Generalized
//! Correlation Method for Estimation of Time Delay", 1976), in partitions, so that 64 ms of signal
//! cost two short Fourier transforms whatever the delay is. At 8 kHz: speech has its energy below
//! 4 kHz, and so do most loudspeakers.
//!
//! A look at 64 ms of signal is spread over the six blocks after it, two partitions in each: no
//! block costs much more than another.

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
/// Searched delays: 12 hops, 768 ms. The default search of AEC3 ends at about 500 ms.
const PARTITIONS: usize = 12;
/// Largest delay that is found, in samples at 48 kHz.
pub const MAX_DELAY_SAMPLES: usize = PARTITIONS * HOP * DECIMATION;
/// Bins that count: 200 Hz to 3.6 kHz.
const FIRST_BIN: usize = 26;
const LAST_BIN: usize = 460;
const BINS: usize = LAST_BIN - FIRST_BIN;
/// Partitions that one block deals with: all of them before the next look begins.
const PER_BLOCK: usize = 2;
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
/// The slow average is kept within this distance of the delay, in samples at 8 kHz: at 200 ppm it
/// has moved so far after 20 s.
const NEAR: f32 = 32.0;
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

/// The bins of a spectrum that count, split so that the compiler can use vector instructions.
#[derive(Clone)]
struct Spectrum {
    re: [f32; BINS],
    im: [f32; BINS],
}

impl Spectrum {
    const NONE: Self = Self {
        re: [0.0; BINS],
        im: [0.0; BINS],
    };

    /// Leaves the phases only, of bins that hold more than leakage.
    fn whiten(&mut self) {
        let bins = self.re.iter().zip(&self.im);
        let power: f32 = bins.map(|(re, im)| re * re + im * im).sum();
        let weak = WEAK * (power / BINS as f32).sqrt() + 1e-9;
        for (re, im) in self.re.iter_mut().zip(&mut self.im) {
            let scale = 1.0 / ((*re * *re + *im * *im).sqrt() + weak);
            let scale = if scale.is_normal() { scale } else { 0.0 };
            *re *= scale;
            *im *= scale;
        }
    }

    /// Fades by `keep` and adds the cross-spectrum of two others.
    fn average(&mut self, keep: f32, heard: &Self, played: &Self) {
        for i in 0..BINS {
            let (a, b) = (heard.re[i], heard.im[i]);
            let (c, d) = (played.re[i], played.im[i]);
            self.re[i] = self.re[i] * keep + (a * c + b * d);
            self.im[i] = self.im[i] * keep + (b * c - a * d);
        }
    }

    fn fade(&mut self, keep: f32) {
        for value in self.re.iter_mut().chain(&mut self.im) {
            *value *= keep;
        }
    }
}

/// Transforms with room to work in.
struct Transform {
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
    time: Vec<f32>,
    frequency: Vec<Complex32>,
    scratch: Vec<Complex32>,
}

impl Transform {
    fn new() -> Self {
        let mut planner = RealFftPlanner::new();
        let forward = planner.plan_fft_forward(WINDOW);
        let inverse = planner.plan_fft_inverse(WINDOW);
        let scratch = forward.get_scratch_len().max(inverse.get_scratch_len());
        Self {
            frequency: forward.make_output_vec(),
            forward,
            inverse,
            time: vec![0.0; WINDOW],
            scratch: vec![Complex32::default(); scratch],
        }
    }

    /// The whitened spectrum of what is in `time`.
    fn whitened(&mut self, to: &mut Spectrum) {
        let _ = self.forward.process_with_scratch(
            &mut self.time,
            &mut self.frequency,
            &mut self.scratch,
        );
        let used = &self.frequency[FIRST_BIN..LAST_BIN];
        for (bin, (re, im)) in used.iter().zip(to.re.iter_mut().zip(&mut to.im)) {
            (*re, *im) = (bin.re, bin.im);
        }
        to.whiten();
    }

    /// Writes the first half of the correlation that a cross-spectrum stands for.
    fn correlation(&mut self, from: &Spectrum, to: &mut [f32]) {
        self.frequency.fill(Complex32::default());
        let used = &mut self.frequency[FIRST_BIN..LAST_BIN];
        for (bin, (re, im)) in used.iter_mut().zip(from.re.iter().zip(&from.im)) {
            *bin = Complex32::new(*re, *im);
        }
        let _ = self.inverse.process_with_scratch(
            &mut self.frequency,
            &mut self.time,
            &mut self.scratch,
        );
        to.copy_from_slice(&self.time[..HOP]);
    }
}

/// A look that is under way.
#[derive(Default)]
struct Look {
    /// The next partition.
    partition: usize,
    /// Largest value so far, of either sign, and where.
    peak: (usize, f32),
    /// Sum of the squares so far.
    power: f32,
}

/// Estimates the delay between a reference and its echo.
pub struct DelayEstimator {
    transform: Transform,
    reference_decimator: Decimator,
    capture_decimator: Decimator,
    /// The last two hops of the reference, the second one being filled.
    reference: Vec<f32>,
    capture: Vec<f32>,
    /// Whitened spectra of the reference, the newest at `newest`.
    spectra: Vec<Spectrum>,
    powers: [f32; PARTITIONS],
    loudest: f32,
    newest: usize,
    heard: Spectrum,
    look: Option<Look>,
    fast: Vec<Spectrum>,
    /// Only of the partitions around the delay; `followed` says which are up to date.
    slow: Vec<Spectrum>,
    followed: [bool; PARTITIONS],
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
        let spectra = || vec![Spectrum::NONE; PARTITIONS];
        Self {
            transform: Transform::new(),
            reference_decimator: Decimator::new(),
            capture_decimator: Decimator::new(),
            reference: vec![0.0; HOP],
            capture: Vec::with_capacity(WINDOW),
            spectra: spectra(),
            powers: [0.0; PARTITIONS],
            loudest: 0.0,
            newest: 0,
            heard: Spectrum::NONE,
            look: None,
            fast: spectra(),
            slow: spectra(),
            followed: [false; PARTITIONS],
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
        self.look = None;
        for spectrum in self.fast.iter_mut().chain(&mut self.spectra) {
            *spectrum = Spectrum::NONE;
        }
        self.followed = [false; PARTITIONS];
        self.powers = [0.0; PARTITIONS];
    }

    /// Takes in 10 ms of both signals. Every 64 ms of echo there is something to say.
    pub fn push(&mut self, capture: &Block, reference: &Block) -> Option<DelayEvent> {
        self.reference_decimator
            .process(reference, &mut self.reference);
        self.capture_decimator.process(capture, &mut self.capture);
        let event = self.proceed();
        if self.capture.len() >= HOP {
            self.look = self.begin();
            self.reference.drain(..HOP);
            self.capture.drain(..HOP);
        }
        event
    }

    /// Begins a look, if there is something to be seen.
    fn begin(&mut self) -> Option<Look> {
        let Transform { time, .. } = &mut self.transform;
        self.newest = (self.newest + 1) % PARTITIONS;
        time.copy_from_slice(&self.reference[..WINDOW]);
        let power = crate::level::mean_square(time);
        self.loudest = power.max(self.loudest * FORGET);
        let pause = power < MIN_REFERENCE.max(self.loudest * PAUSE);
        self.powers[self.newest] = if pause { 0.0 } else { power };
        if !pause {
            fade(time);
            self.transform.whitened(&mut self.spectra[self.newest]);
        }
        let heard = crate::level::mean_square(&self.capture[..HOP]);
        let played = self.powers.iter().copied().fold(0.0, f32::max);
        if heard < MIN_CAPTURE || played <= 0.0 {
            return None;
        }
        let Transform { time, .. } = &mut self.transform;
        time[..HOP].fill(0.0);
        time[HOP..].copy_from_slice(&self.capture[..HOP]);
        fade(&mut time[HOP..]);
        self.transform.whitened(&mut self.heard);
        Some(Look::default())
    }

    /// Goes on with a look that has begun.
    fn proceed(&mut self) -> Option<DelayEvent> {
        let mut look = self.look.take()?;
        for _ in 0..PER_BLOCK {
            self.accumulate(look.partition);
            let at = look.partition * HOP;
            let correlation = &mut self.correlation[at..at + HOP];
            self.transform
                .correlation(&self.fast[look.partition], correlation);
            let highest = highest(correlation, at);
            if highest.1 > look.peak.1 {
                look.peak = highest;
            }
            look.power += crate::level::mean_square(correlation) / PARTITIONS as f32;
            look.partition += 1;
        }
        if look.partition < PARTITIONS {
            self.look = Some(look);
            return None;
        }
        let event = self.judge(look.peak, look.power.sqrt());
        self.in_vain = match self.delay {
            Some(_) => 0,
            None => self.in_vain.saturating_add(1),
        };
        event
    }

    fn accumulate(&mut self, partition: usize) {
        let at = (self.newest + PARTITIONS - partition) % PARTITIONS;
        let silent = self.powers[at] <= 0.0;
        let played = &self.spectra[at];
        let near = self
            .delay
            .is_some_and(|delay| near(delay).contains(&partition));
        if near && !std::mem::replace(&mut self.followed[partition], near) {
            self.slow[partition] = self.fast[partition].clone();
        }
        self.followed[partition] = near;
        let averages = [
            (&mut self.fast[partition], FAST, true),
            (&mut self.slow[partition], SLOW, near),
        ];
        for (average, keep, wanted) in averages {
            if wanted && silent {
                average.fade(keep);
            } else if wanted {
                average.average(keep, &self.heard, played);
            }
        }
    }

    /// Decides, from all of the fast correlation: its largest value and its root mean square.
    fn judge(&mut self, (peak, height): (usize, f32), power: f32) -> Option<DelayEvent> {
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
            self.followed = [false; PARTITIONS];
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
            let at = partition * HOP;
            let correlation = &mut self.correlation[at..at + HOP];
            self.transform
                .correlation(&self.slow[partition], correlation);
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

/// Partitions that are followed with a delay: those that it may soon move into as well.
fn near(delay: f32) -> std::ops::RangeInclusive<usize> {
    let first = (delay - NEAR).max(0.0) as usize / HOP;
    first..=((delay + NEAR).max(0.0) as usize / HOP)
}

/// Where the largest value is, of either sign, and how large it is.
fn highest(values: &[f32], offset: usize) -> (usize, f32) {
    let height = crate::level::peak(values);
    let at = values.iter().position(|value| value.abs() >= height);
    (offset + at.unwrap_or(0), height)
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
fn dot(a: &[f32], taps: &[f32; TAPS]) -> f32 {
    let mut sums = [0.0_f32; 8];
    let (a, _) = a.as_chunks::<8>();
    let (taps, _) = taps.as_chunks::<8>();
    for (a, taps) in a.iter().zip(taps) {
        for ((sum, a), tap) in sums.iter_mut().zip(a).zip(taps) {
            *sum += a * tap;
        }
    }
    sums.iter().sum()
}

const _: () = assert!(BLOCK_SAMPLES.is_multiple_of(DECIMATION) && TAPS.is_multiple_of(8));
const _: () = assert!(
    PARTITIONS / PER_BLOCK * BLOCK_SAMPLES <= HOP * DECIMATION && PER_BLOCK * 6 == PARTITIONS
);
