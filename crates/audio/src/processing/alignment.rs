//! The reference in the clock of the microphone, and in step with its echo.
//!
//! ```text
//! RenderStream ─▶ waiting ─▶ retimer (drift) ─▶ line ─▶ delay ─▶ reference for the canceller
//!                                                   └──▶ DelayEstimator ◀── microphone
//! ```
//!
//! The adaptive filter of a canceller learns one place: reference and microphone have to stay
//! where they are to a fraction of a sample. So samples are counted, never times. Times only say
//! where to begin, and roughly how fast the clocks run; what the microphone really hears says the
//! rest: a jump of the delay within some tenths of a second, a drift within seconds.

use std::collections::VecDeque;
use std::time::Instant;

use super::delay::{DelayEstimator, DelayEvent, MAX_DELAY_SAMPLES};
use super::drift::Trend;
use super::echo::LEAD_SAMPLES;
use super::reference::{RenderSink, RenderStream};
use super::retimer::{self, Retimer};
use crate::{BLOCK_SAMPLES, Block, SILENCE, bounded};

/// Clocks that differ by more, 500 ppm, are broken; nothing is corrected further.
const MAX_DRIFT: f64 = 500e-6;
/// How far behind what is playing the reading begins: the samples of a block were captured
/// during the 10 ms before it is complete. More, in steps, when that was too little.
const BEHIND_SAMPLES: usize = 480;
const BEHIND_STEP: usize = 240;
const MAX_BEHIND: usize = 2_400;
/// More than this is not kept waiting, 130 ms: more than devices have in their rings.
const MAX_WAITING: usize = 6_240;
/// Samples of the reference that are remembered, 1.4 s: the largest delay and a block.
const LINE_SAMPLES: usize = 1 << 16;
/// Where the echo may begin in the canceller's filter, in samples: outside, the delay is set anew.
const FILTER_RANGE: std::ops::Range<f32> = 24.0..960.0;

/// The followed delay is observed every 64 ms of echo. A line through 25 of them is good for some ten
/// ppm, and the canceller needs no better; what is left is seen later, over longer times. With 36 of
/// them single seconds of the first ten came back 10 dB louder.
const FIRST_OBSERVATIONS: f64 = 1.6 * 48_000.0;
/// Later corrections look at longer times, up to 16 s.
const OBSERVATIONS: usize = 250;
/// After a correction the averages of the estimator still hold the old drift for a second.
const SETTLING: u64 = 57_600;
/// Played and heard for so long, 2.5 s, without an echo: there is none.
const IN_VAIN: u64 = 120_000;
/// A slope that is smaller, 4 ppm, is left alone, as is one that is not sure.
const MIN_SLOPE: f64 = 4e-6;
const SURE: f64 = 4.0;
/// Positions by the clock are observed once a second, and count after 20 s: a callback's time is
/// only good for some milliseconds.
const CLOCK_INTERVAL: u64 = 48_000;
const CLOCK_OBSERVATIONS: usize = 90;
const CLOCK_SPAN: f64 = 20.0 * 48_000.0;

/// What has become of the way from loudspeaker to microphone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EchoPath {
    /// As before, as far as one knows.
    Same,
    /// It got longer or shorter, or was not known until now, and the reference was moved with it:
    /// what was learnt still holds, or is soon replaced.
    Moved,
    /// Another loudspeaker or another microphone: what was learnt means nothing.
    New,
}

/// How the reference lies, for reports.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct AlignmentStats {
    /// Delay of the echo behind what is being played, in seconds, when it is known.
    pub delay: Option<f64>,
    /// By how much the loudspeaker's clock is taken to run faster than the microphone's, in parts
    /// per million.
    pub drift_ppm: f64,
    /// Jumps of the delay that were noticed.
    pub jumps: u64,
    /// How often the reference was not there when it was needed.
    pub interruptions: u64,
}

/// Keeps the reference in step with its echo.
pub struct Alignment {
    stream: RenderStream,
    waiting: Waiting,
    retimer: Retimer,
    line: Line,
    estimator: DelayEstimator,
    /// By how much the reference is delayed, in samples.
    delay: usize,
    /// Samples captured.
    captured: u64,
    reading: Reading,
    behind: usize,
    path: EchoPath,
    drift: f64,
    movement: Trend,
    settled_at: u64,
    clock: ClockTrend,
    stats: AlignmentStats,
}

/// Whether the reference is being read, sample for sample with the microphone.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Reading {
    /// It has not begun; times will say where.
    Unknown,
    Running,
    /// Samples were missing on either side. Where it was is known: the samples read, and captured.
    Interrupted {
        read: u64,
        captured: u64,
    },
}

impl Alignment {
    /// Listens to `stream`.
    pub fn new(stream: RenderStream) -> Self {
        Self {
            stream,
            waiting: Waiting::default(),
            retimer: Retimer::new(),
            line: Line::default(),
            estimator: DelayEstimator::new(),
            delay: 0,
            captured: 0,
            reading: Reading::Unknown,
            behind: BEHIND_SAMPLES,
            path: EchoPath::Same,
            drift: 0.0,
            movement: Trend::new(OBSERVATIONS),
            settled_at: 0,
            clock: ClockTrend::new(),
            stats: AlignmentStats::default(),
        }
    }

    /// Takes in what the microphone heard in the 10 ms before `now` and writes to `reference`
    /// what was played, [`LEAD_SAMPLES`] ahead of its echo. Says what has become of the way
    /// between the two.
    pub fn process(&mut self, capture: &Block, reference: &mut Block, now: Instant) -> EchoPath {
        self.stream.drain(&mut self.waiting);
        if std::mem::take(&mut self.waiting.device_changed) {
            self.start_over();
        }
        self.keep_time(now);
        let mut newest = SILENCE;
        self.read(&mut newest);
        self.captured += BLOCK_SAMPLES as u64;
        if let Some(event) = self.estimator.push(capture, &newest) {
            self.learn(event);
        }
        self.output(reference);
        std::mem::replace(&mut self.path, EchoPath::Same)
    }

    /// Whether what is played can be heard in the microphone, for all that is known. Not any more
    /// when it was looked for in vain for a while, as with headphones.
    pub fn may_echo(&self) -> bool {
        self.estimator.in_vain() < IN_VAIN
    }

    /// Samples of the microphone were lost before the next block.
    pub fn capture_skipped(&mut self, samples: u64) {
        if samples > 0 {
            self.interrupt();
            self.captured += samples;
        }
    }

    /// Another microphone, or the same one after a pause.
    pub fn capture_changed(&mut self) {
        self.start_over();
        self.reading = Reading::Unknown;
    }

    /// How the reference lies.
    pub fn stats(&self) -> AlignmentStats {
        let delay = self.estimator.delay();
        AlignmentStats {
            delay: delay.map(|it| (f64::from(it) - self.behind as f64).max(0.0) / 48_000.0),
            drift_ppm: self.drift * 1e6,
            ..self.stats
        }
    }

    fn start_over(&mut self) {
        self.estimator.reset();
        self.movement.clear();
        self.clock.trend.clear();
        self.path = EchoPath::New;
    }

    /// Begins to read, and sees to it that enough is waiting and not too much.
    fn keep_time(&mut self, now: Instant) {
        let Some(playing) = self.stream.playing(now) else {
            return;
        };
        if self.reading != Reading::Running {
            return self.begin(playing);
        }
        let ahead = playing - self.position() as f64;
        if let Some(slope) = self.clock.observe(self.captured, ahead)
            && self.estimator.delay().is_none()
        {
            // Without an echo to measure, the clocks have to do.
            self.set_drift(self.drift + slope);
        }
        if self.waiting.samples.len() > MAX_WAITING {
            self.interrupt();
            self.begin(playing);
        }
    }

    /// The next sample of the stream that will be read.
    fn position(&self) -> u64 {
        self.stream.end() - self.waiting.samples.len() as u64
    }

    fn begin(&mut self, playing: f64) {
        let left = self.stream.end() as f64 - playing + self.behind as f64;
        let left = (left.max(0.0) as usize).min(MAX_WAITING);
        if left < BLOCK_SAMPLES + 2 * retimer::DELAY_SAMPLES || self.waiting.samples.len() < left {
            return;
        }
        // What is passed over now may still be needed: it is delayed before it is used.
        let passed = self.waiting.samples.len() - left;
        for sample in self.waiting.samples.drain(..passed) {
            self.line.push(&[sample]);
        }
        if let Reading::Interrupted { read, captured } = self.reading {
            let moved = self.position() as f64 - read as f64;
            let heard = (self.captured - captured) as f64 * (1.0 + self.drift);
            let shift = (moved - heard).round();
            self.delay = (self.delay as f64 + shift).clamp(0.0, MAX_DELAY_SAMPLES as f64) as usize;
            self.estimator.shifted(shift as f32);
        }
        self.reading = Reading::Running;
        self.movement.clear();
        self.clock.trend.clear();
    }

    fn interrupt(&mut self) {
        if self.reading == Reading::Running {
            self.reading = Reading::Interrupted {
                read: self.position(),
                captured: self.captured,
            };
        }
    }

    fn read(&mut self, newest: &mut Block) {
        if self.reading == Reading::Running && self.waiting.samples.len() < self.retimer.needed() {
            self.interrupt();
            self.stats.interruptions += 1;
            self.behind = (self.behind + BEHIND_STEP).min(MAX_BEHIND);
        }
        if self.reading == Reading::Running {
            let waiting = &mut self.waiting;
            self.retimer.process(newest, |input| waiting.take(input));
            self.line.push(newest);
        }
    }

    fn output(&self, reference: &mut Block) {
        match self.reading {
            Reading::Unknown => *reference = SILENCE,
            Reading::Running => self.line.read(self.delay, reference),
            // As long as what is there lasts.
            Reading::Interrupted { captured, .. } => {
                match self.delay.checked_sub((self.captured - captured) as usize) {
                    Some(delay) => self.line.read(delay, reference),
                    None => *reference = SILENCE,
                }
            }
        }
    }

    fn learn(&mut self, event: DelayEvent) {
        match event {
            DelayEvent::Found(delay) => {
                self.movement.clear();
                if !FILTER_RANGE.contains(&(delay - self.delay as f32)) {
                    self.place(delay);
                }
            }
            DelayEvent::Jumped(by) => {
                self.stats.jumps += 1;
                self.movement.clear();
                self.settled_at = self.captured;
                let moved = self.delay as f32 + by;
                let delay = self.estimator.delay().unwrap_or(moved);
                if moved >= 0.0 && FILTER_RANGE.contains(&(delay - moved)) {
                    self.delay = (moved.round() as usize).min(MAX_DELAY_SAMPLES);
                    self.path = EchoPath::Moved;
                } else {
                    self.place(delay);
                }
            }
            DelayEvent::Followed(delay) => self.follow(delay),
        }
    }

    fn place(&mut self, delay: f32) {
        let delay = (delay - LEAD_SAMPLES as f32).round().max(0.0);
        self.delay = (delay as usize).min(MAX_DELAY_SAMPLES);
        self.path = EchoPath::Moved;
    }

    fn follow(&mut self, delay: f32) {
        if self.captured < self.settled_at + SETTLING {
            return;
        }
        self.movement.push(self.captured as f64, f64::from(delay));
        let Some(slope) = self.movement.slope() else {
            return;
        };
        let sure = slope.value.abs() > MIN_SLOPE.max(SURE * slope.error);
        if slope.span >= FIRST_OBSERVATIONS && sure {
            // The echo comes later and later: the reference was read too fast.
            self.set_drift(self.drift - slope.value);
            self.movement.clear();
            self.settled_at = self.captured;
        }
    }

    fn set_drift(&mut self, drift: f64) {
        self.drift = drift.clamp(-MAX_DRIFT, MAX_DRIFT);
        self.retimer.set_drift(self.drift);
        self.clock.trend.clear();
    }
}

/// Samples of the reference that have not been read yet.
#[derive(Default)]
struct Waiting {
    samples: VecDeque<f32>,
    device_changed: bool,
}

impl RenderSink for Waiting {
    fn extend(&mut self, samples: &[f32]) {
        self.samples.extend(samples.iter().copied().map(bounded));
        // Nobody reads: the oldest are of no use.
        if self.samples.len() > LINE_SAMPLES {
            self.samples.drain(..self.samples.len() - LINE_SAMPLES);
        }
    }

    fn device_changed(&mut self) {
        self.device_changed = true;
    }
}

impl Waiting {
    /// Takes the oldest; what is missing is silence.
    fn take(&mut self, into: &mut [f32]) {
        let there = into.len().min(self.samples.len());
        let (older, newer) = self.samples.as_slices();
        let first = there.min(older.len());
        into[..first].copy_from_slice(&older[..first]);
        into[first..there].copy_from_slice(&newer[..there - first]);
        into[there..].fill(0.0);
        self.samples.drain(..there);
    }
}

/// A line of delay: the newest samples of the reference, in the clock of the microphone.
struct Line {
    samples: Vec<f32>,
    end: usize,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            samples: vec![0.0; LINE_SAMPLES],
            end: 0,
        }
    }
}

impl Line {
    fn push(&mut self, samples: &[f32]) {
        let (to_end, from_start) = samples.split_at(samples.len().min(LINE_SAMPLES - self.end));
        self.samples[self.end..self.end + to_end.len()].copy_from_slice(to_end);
        self.samples[..from_start.len()].copy_from_slice(from_start);
        self.end = (self.end + samples.len()) % LINE_SAMPLES;
    }

    /// The newest block, this much earlier.
    fn read(&self, delay: usize, block: &mut Block) {
        let from = self.end + 2 * LINE_SAMPLES - BLOCK_SAMPLES - delay.min(MAX_DELAY_SAMPLES);
        let from = from % LINE_SAMPLES;
        let (to_end, from_start) = block.split_at_mut(BLOCK_SAMPLES.min(LINE_SAMPLES - from));
        to_end.copy_from_slice(&self.samples[from..from + to_end.len()]);
        from_start.copy_from_slice(&self.samples[..from_start.len()]);
    }
}

/// What positions and times say about the clocks: one observation a second, the middle of what
/// was seen in it.
struct ClockTrend {
    trend: Trend,
    seen: Vec<f64>,
    next: u64,
}

impl ClockTrend {
    fn new() -> Self {
        Self {
            trend: Trend::new(CLOCK_OBSERVATIONS),
            seen: Vec::with_capacity(128),
            next: 0,
        }
    }

    /// `ahead` is how far what is playing is ahead of what is read. Returns a drift, when there
    /// is one to correct.
    fn observe(&mut self, captured: u64, ahead: f64) -> Option<f64> {
        if self.seen.len() < self.seen.capacity() {
            self.seen.push(ahead);
        }
        if captured < self.next {
            return None;
        }
        self.next = captured + CLOCK_INTERVAL;
        let middle = self.seen.len() / 2;
        let (_, median, _) = self.seen.select_nth_unstable_by(middle, f64::total_cmp);
        self.trend.push(captured as f64, *median);
        self.seen.clear();
        let slope = self.trend.slope()?;
        let sure = slope.value.abs() > (2.0 * MIN_SLOPE).max(SURE * slope.error);
        (slope.span >= CLOCK_SPAN && sure).then_some(slope.value)
    }
}

const _: () = assert!(MAX_DELAY_SAMPLES + BLOCK_SAMPLES < LINE_SAMPLES);
