//! Short-time objective intelligibility (C. Taal et al., "An Algorithm for Intelligibility
//! Prediction of Time-Frequency Weighted Noisy Speech", 2011): 0 to 1 for how well `heard` can be
//! understood, given what was said.

use realfft::RealFftPlanner;

use crate::lab::interpolate;

const RATE: f64 = 10_000.0;
const FRAME: usize = 256;
const FFT: usize = 512;
const BANDS: usize = 15;
const SEGMENT: usize = 30;
/// Frames this far below the loudest hold no speech, in dB.
const RANGE_DB: f64 = 40.0;
/// Lower bound of the signal-to-distortion ratio, in dB.
const CLIP_DB: f64 = -15.0;

/// Both at 48 kHz and aligned.
pub(crate) fn stoi(said: &[f32], heard: &[f32]) -> f64 {
    let (said, heard) = speech_only(&to_10_khz(said), &to_10_khz(heard));
    let (said, heard) = (bands(&said), bands(&heard));
    let clip = 1.0 + 10_f64.powf(-CLIP_DB / 20.0);
    let (mut sum, mut count) = (0.0, 0);
    for end in SEGMENT..=said.len() {
        for band in 0..BANDS {
            let x: Vec<f64> = said[end - SEGMENT..end].iter().map(|it| it[band]).collect();
            let y: Vec<f64> = heard[end - SEGMENT..end]
                .iter()
                .map(|it| it[band])
                .collect();
            let norm = |v: &[f64]| v.iter().map(|it| it * it).sum::<f64>().sqrt();
            let scale = norm(&x) / (norm(&y) + 1e-20);
            let y: Vec<f64> = y
                .iter()
                .zip(&x)
                .map(|(y, x)| (y * scale).min(x * clip))
                .collect();
            let centred = |v: &[f64]| {
                let mean = v.iter().sum::<f64>() / v.len() as f64;
                v.iter().map(|it| it - mean).collect::<Vec<_>>()
            };
            let (x, y) = (centred(&x), centred(&y));
            let product: f64 = x.iter().zip(&y).map(|(x, y)| x * y).sum();
            sum += product / (norm(&x) * norm(&y) + 1e-20);
            count += 1;
        }
    }
    sum / f64::from(count.max(1))
}

fn to_10_khz(signal: &[f32]) -> Vec<f64> {
    // A short low-pass: what folds back from above 5 kHz is far below speech there.
    let taps: Vec<f64> = (0..65)
        .map(|i| {
            let x = f64::from(i) - 32.0;
            let turn = std::f64::consts::TAU * (f64::from(i) + 0.5) / 65.0;
            let cutoff = 4_700.0 / 24_000.0;
            let sinc = if x == 0.0 {
                cutoff
            } else {
                (std::f64::consts::PI * cutoff * x).sin() / (std::f64::consts::PI * x)
            };
            sinc * (0.5 - 0.5 * turn.cos())
        })
        .collect();
    let response: Vec<f32> = taps.iter().map(|it| *it as f32).collect();
    let low = crate::lab::convolve(signal, &response);
    let samples = (signal.len() as f64 * RATE / 48_000.0) as usize;
    (0..samples)
        .map(|i| f64::from(interpolate(&low, i as f64 * 4.8)))
        .collect()
}

fn hann() -> Vec<f64> {
    (1..=FRAME)
        .map(|i| 0.5 - 0.5 * (std::f64::consts::TAU * i as f64 / (FRAME + 1) as f64).cos())
        .collect()
}

/// Leaves out, of both, the frames in which nothing is said, and overlaps and adds the others.
fn speech_only(said: &[f64], heard: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let window = hann();
    let starts: Vec<usize> = (0..said.len().saturating_sub(FRAME))
        .step_by(FRAME / 2)
        .collect();
    let energy = |at: usize| {
        let sum: f64 = (0..FRAME).map(|i| (said[at + i] * window[i]).powi(2)).sum();
        10.0 * (sum + 1e-20).log10()
    };
    let loudest = starts.iter().map(|at| energy(*at)).fold(f64::MIN, f64::max);
    let kept: Vec<usize> = starts
        .into_iter()
        .filter(|at| energy(*at) > loudest - RANGE_DB)
        .collect();
    let gather = |signal: &[f64]| {
        let mut out = vec![0.0; (kept.len() + 1) * FRAME / 2];
        for (index, at) in kept.iter().enumerate() {
            for i in 0..FRAME {
                out[index * FRAME / 2 + i] += signal[at + i] * window[i];
            }
        }
        out
    };
    (gather(said), gather(heard))
}

/// Magnitudes in third octaves from 150 Hz on, every 12.8 ms.
fn bands(signal: &[f64]) -> Vec<[f64; BANDS]> {
    let window = hann();
    let fft = RealFftPlanner::<f64>::new().plan_fft_forward(FFT);
    let (mut time, mut spectrum) = (vec![0.0; FFT], fft.make_output_vec());
    let edge = |band: usize, up: f64| {
        let centre = 150.0 * 2_f64.powf(band as f64 / 3.0);
        (centre * 2_f64.powf(up / 6.0) * FFT as f64 / RATE).round() as usize
    };
    (0..signal.len().saturating_sub(FRAME))
        .step_by(FRAME / 2)
        .map(|at| {
            time.fill(0.0);
            for i in 0..FRAME {
                time[i] = signal[at + i] * window[i];
            }
            fft.process(&mut time, &mut spectrum).expect("sizes fit");
            std::array::from_fn(|band| {
                let bins = &spectrum[edge(band, -1.0)..edge(band, 1.0)];
                bins.iter().map(|it| it.norm_sqr()).sum::<f64>().sqrt()
            })
        })
        .collect()
}
