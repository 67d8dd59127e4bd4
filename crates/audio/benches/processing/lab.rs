//! A loudspeaker, a room and a microphone on a virtual clock, for the bench and for tests.

use std::f64::consts::TAU;
use std::time::{Duration, Instant};

use ahoy_audio::processing::reference::{RenderPosition, RenderReference};
use ahoy_audio::{BLOCK_SAMPLES, Block};
use realfft::RealFftPlanner;

pub(crate) const RATE: usize = 48_000;

/// Random numbers, the same in every run (xorshift).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// -1 to 1.
    pub(crate) fn uniform(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    /// Roughly normal, standard deviation 1.
    pub(crate) fn normal(&mut self) -> f32 {
        (0..6).map(|_| self.uniform()).sum::<f32>() / 1.414
    }
}

/// Something like a voice: syllables of a buzz with wandering formants, hisses between them, and
/// pauses between sentences.
pub(crate) fn synthetic_voice(seconds: f64, pitch_hz: f64, seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed);
    let (mut phase, mut hiss) = (0.0_f64, [0.0_f32; 2]);
    let (mut f1, mut f2, mut target) = (500.0, 1_500.0, (500.0, 1_500.0));
    (0..(seconds * RATE as f64) as usize)
        .map(|i| {
            let time = i as f64 / RATE as f64;
            if i % 9_600 == 0 {
                let (a, b) = (random.uniform(), random.uniform());
                target = (550.0 + 250.0 * f64::from(a), 1_600.0 + 700.0 * f64::from(b));
            }
            f1 += (target.0 - f1) * 4e-4;
            f2 += (target.1 - f2) * 4e-4;
            let pitch = pitch_hz * (1.0 + 0.15 * (TAU * 0.4 * time).sin());
            phase += TAU * pitch / RATE as f64;
            let highest = (7_000.0 / pitch) as i32;
            let syllable = (0.5 - 0.5 * (TAU * 3.7 * time).cos()).powf(0.7);
            let sentence = if (time + 0.3) % 3.0 < 2.5 { 1.0 } else { 0.0 };
            let mut buzz = 0.0;
            for k in 1..=highest {
                let hz = pitch * f64::from(k);
                let gain = (-((hz - f1) / 150.0).powi(2)).exp()
                    + 0.5 * (-((hz - f2) / 250.0).powi(2)).exp()
                    + 0.15 / f64::from(k).sqrt();
                buzz += gain * (f64::from(k) * phase).sin();
            }
            let white = random.uniform();
            hiss = [white, 0.6 * hiss[1] + white - hiss[0]];
            let noise = f64::from(hiss[1]) * (0.6 - 0.3 * syllable);
            (0.12 * sentence * (syllable * buzz + noise)) as f32
        })
        .collect()
}

/// Scales to a root mean square of so many dBFS, counted where there is sound.
pub(crate) fn at_level(mut signal: Vec<f32>, dbfs: f32) -> Vec<f32> {
    let gain = 10_f32.powf((dbfs - active_level(&signal)) / 20.0);
    for sample in &mut signal {
        *sample *= gain;
    }
    signal
}

/// Level of a signal in dBFS in those 10 ms that are at most 20 dB below its loudest.
pub(crate) fn active_level(signal: &[f32]) -> f32 {
    let powers: Vec<f32> = signal.chunks(BLOCK_SAMPLES).map(power).collect();
    let loudest = powers.iter().copied().fold(0.0, f32::max);
    let active: Vec<f32> = powers
        .into_iter()
        .filter(|it| *it > loudest / 100.0)
        .collect();
    10.0 * (active.iter().sum::<f32>() / active.len().max(1) as f32 + 1e-12).log10()
}

/// Mean square.
pub(crate) fn power(samples: &[f32]) -> f32 {
    samples.iter().map(|it| it * it).sum::<f32>() / samples.len().max(1) as f32
}

/// White noise.
pub(crate) fn noise(samples: usize, dbfs: f32, seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed);
    let scale = 10_f32.powf(dbfs / 20.0);
    (0..samples).map(|_| scale * random.normal()).collect()
}

/// Noise with most of its power at low frequencies, as of a fan.
pub(crate) fn fan(samples: usize, dbfs: f32, seed: u64) -> Vec<f32> {
    let (mut low, mut lower) = (0.0, 0.0);
    let mut signal = noise(samples, 0.0, seed);
    for sample in &mut signal {
        low += (*sample - low) * 0.08;
        lower += (low - lower) * 0.3;
        *sample = lower + 0.02 * *sample;
    }
    at_level(signal, dbfs)
}

/// Impulse response of a room: the direct sound, and reflections that die away by 60 dB within
/// `rt60` seconds and have, at 250 ms, half the energy of the direct sound: a loudspeaker on the
/// microphone's table. The energy of all of it is 1.
pub(crate) fn room(rt60: f64, seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed);
    let length = (rt60 * 1.1 * RATE as f64) as usize;
    let mut tail = vec![0.0_f32; length];
    let mut smooth = 0.0;
    for (i, value) in tail.iter_mut().enumerate().skip(96) {
        let decay = 10_f64.powf(-3.0 * i as f64 / (rt60 * RATE as f64)) as f32;
        // Reflections get dense with time; walls take the high frequencies.
        let dense = (i as f32 / 2_400.0).min(1.0);
        let hit = if random.uniform().abs() < 0.05 + 0.95 * dense {
            random.normal()
        } else {
            0.0
        };
        smooth += (hit - smooth) * 0.5;
        *value = decay * smooth;
    }
    let energy = |response: &[f32]| response.iter().map(|it| it * it).sum::<f32>();
    let scale = (0.5 * rt60 as f32 / 0.25 / energy(&tail)).sqrt();
    let mut response: Vec<f32> = tail.into_iter().map(|it| it * scale).collect();
    response[0] = 0.95;
    response[1] = 0.3;
    let scale = energy(&response).sqrt();
    for value in &mut response {
        *value /= scale;
    }
    response
}

/// Convolution, as long as `signal`.
pub(crate) fn convolve(signal: &[f32], response: &[f32]) -> Vec<f32> {
    let size = (2 * response.len()).next_power_of_two().max(4_096);
    let step = size - response.len() + 1;
    let mut planner = RealFftPlanner::<f32>::new();
    let (forward, inverse) = (
        planner.plan_fft_forward(size),
        planner.plan_fft_inverse(size),
    );
    let mut time = vec![0.0; size];
    time[..response.len()].copy_from_slice(response);
    let mut filter = forward.make_output_vec();
    forward.process(&mut time, &mut filter).expect("sizes fit");
    let mut out = vec![0.0; signal.len() + size];
    let mut spectrum = forward.make_output_vec();
    for (at, piece) in signal.chunks(step).enumerate() {
        time.fill(0.0);
        time[..piece.len()].copy_from_slice(piece);
        forward
            .process(&mut time, &mut spectrum)
            .expect("sizes fit");
        for (bin, filter) in spectrum.iter_mut().zip(&filter) {
            *bin *= filter / size as f32;
        }
        inverse
            .process(&mut spectrum, &mut time)
            .expect("sizes fit");
        for (slot, value) in out[at * step..].iter_mut().zip(&time) {
            *slot += value;
        }
    }
    out.truncate(signal.len());
    out
}

/// The signal at a position between its samples.
pub(crate) fn interpolate(signal: &[f32], position: f64) -> f32 {
    const REACH: i64 = 16;
    let base = position.floor();
    let fraction = position - base;
    let mut sum = 0.0;
    for k in -REACH + 1..=REACH {
        let index = base as i64 + k;
        let x = k as f64 - fraction;
        let Some(sample) = usize::try_from(index).ok().and_then(|it| signal.get(it)) else {
            continue;
        };
        let sinc = if x.abs() < 1e-9 {
            1.0
        } else {
            (std::f64::consts::PI * x).sin() / (std::f64::consts::PI * x)
        };
        let window = 0.5 + 0.5 * (std::f64::consts::PI * x / REACH as f64).cos();
        sum += f64::from(*sample) * sinc * window;
    }
    sum as f32
}

/// How what is played gets into the microphone.
#[derive(Clone)]
pub(crate) struct Acoustics {
    /// Impulse response of the room.
    pub(crate) response: Vec<f32>,
    /// Level of the echo relative to what is played, in dB.
    pub(crate) gain_db: f32,
    /// The loudspeaker clips at this amplitude.
    pub(crate) clips_at: Option<f32>,
    /// Delay that nobody knows of, in seconds: converters, buffers of drivers, air.
    pub(crate) latency: f64,
    /// From this time on, in seconds, it is longer by the second value.
    pub(crate) jump: Option<(f64, f64)>,
    /// By how much the loudspeaker's clock runs faster than the microphone's.
    pub(crate) drift_ppm: f64,
}

impl Acoustics {
    pub(crate) fn new(rt60: f64, seed: u64) -> Self {
        Self {
            response: room(rt60, seed),
            gain_db: -6.0,
            clips_at: None,
            latency: 0.045,
            jump: None,
            drift_ppm: 0.0,
        }
    }

    /// The echo in the clock of the microphone.
    pub(crate) fn echo(&self, played: &[f32]) -> Vec<f32> {
        let mut driven = played.to_vec();
        if let Some(limit) = self.clips_at {
            for sample in &mut driven {
                *sample = sample.clamp(-limit, limit);
            }
        }
        let wet = convolve(&driven, &self.response);
        let gain = 10_f32.powf(self.gain_db / 20.0);
        let speed = 1.0 + self.drift_ppm * 1e-6;
        (0..played.len())
            .map(|i| {
                let time = i as f64 / RATE as f64;
                let later = self.jump.filter(|it| time >= it.0).map_or(0.0, |it| it.1);
                let position = i as f64 * speed - (self.latency + later) * RATE as f64;
                if self.drift_ppm == 0.0 {
                    let index = position.round();
                    let sample = (index >= 0.0).then(|| wet.get(index as usize)).flatten();
                    gain * sample.copied().unwrap_or(0.0)
                } else {
                    gain * interpolate(&wet, position)
                }
            })
            .collect()
    }
}

/// A playout thread and its device: blocks are handed over some time before they are played.
pub(crate) struct Loudspeaker {
    epoch: Instant,
    reference: Option<RenderReference>,
    next: usize,
    speed: f64,
    /// Drivers may know nothing of their own clock, and then times come from the system's.
    honest: bool,
    lead: Duration,
    jitter: Random,
}

impl Loudspeaker {
    pub(crate) fn new(reference: Option<RenderReference>, drift_ppm: f64, honest: bool) -> Self {
        Self {
            epoch: Instant::now(),
            reference,
            next: 0,
            speed: 1.0 + drift_ppm * 1e-6,
            honest,
            lead: Duration::from_millis(25),
            jitter: Random::new(7),
        }
    }

    /// When a block of the microphone has been captured whole.
    pub(crate) fn captured_at(&mut self, block: usize) -> Instant {
        let late = 1.0 + f64::from(self.jitter.uniform());
        self.epoch + Duration::from_secs_f64((block + 1) as f64 * 0.01 + 0.002 * late)
    }

    /// Hands over what is due at `now`; returns the blocks.
    pub(crate) fn play<'a>(&mut self, far: &'a [f32], now: Instant) -> Vec<&'a Block> {
        let mut handed = Vec::new();
        while let Some(block) = far[self.next * BLOCK_SAMPLES..].first_chunk::<BLOCK_SAMPLES>() {
            let plays = self.next as f64 * 0.01 / self.speed;
            let plays_at = self.epoch + Duration::from_secs_f64(plays);
            if plays_at > now + self.lead {
                break;
            }
            if let Some(reference) = &self.reference {
                let told = if self.honest {
                    let wrong = f64::from(self.jitter.uniform()) * 0.004 + 0.005;
                    plays_at + Duration::from_secs_f64(wrong)
                } else {
                    now + self.lead
                };
                let position = RenderPosition {
                    device: 1,
                    position: (self.next * BLOCK_SAMPLES) as u64,
                    plays_at: told,
                };
                reference.push(block, position);
            }
            handed.push(block);
            self.next += 1;
        }
        handed
    }
}

/// Echo return loss enhancement in dB: by how much less of the echo is left, over a stretch of
/// seconds. `late` samples of delay in what is left are allowed for. `None` where there is next to
/// no echo, 13 dB below its usual level: noise would be measured.
pub(crate) fn erle(echo: &[f32], left: &[f32], late: usize, from: f64, to: f64) -> Option<f32> {
    let range = |offset: usize| {
        let at = |time: f64| (time * RATE as f64) as usize + offset;
        at(from)..at(to)
    };
    let before = power(&echo[range(0)]);
    let after = power(left.get(range(late))?);
    let usual = 10_f32.powf(active_level(echo) / 10.0);
    (before > 0.05 * usual).then(|| 10.0 * (before / (after + 1e-12)).log10())
}
