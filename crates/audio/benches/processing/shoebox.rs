//! Rooms by image sources (J. Allen, D. Berkley, "Image Method for Efficiently Simulating
//! Small-Room Acoustics", 1979), with a laptop in them.

use crate::lab::{RATE, Random};

const METRES_PER_SECOND: f64 = 343.0;
/// Each reflection is a windowed sinc of so many samples to either side (P. Peterson, 1986).
const REACH: i64 = 16;

/// A room with six walls alike.
pub(crate) struct Shoebox {
    /// Length, width and height in metres.
    pub(crate) size: [f64; 3],
    /// Time in which sound dies away by 60 dB, in seconds, by Eyring's formula.
    pub(crate) rt60: f64,
}

/// The three rooms of the tables: an office booth, a study, a living room.
pub(crate) const ROOMS: [(&str, Shoebox); 3] = [
    (
        "150 ms",
        Shoebox {
            size: [3.0, 2.5, 2.4],
            rt60: 0.15,
        },
    ),
    (
        "250 ms",
        Shoebox {
            size: [4.0, 3.5, 2.5],
            rt60: 0.25,
        },
    ),
    (
        "400 ms",
        Shoebox {
            size: [5.0, 4.0, 2.5],
            rt60: 0.40,
        },
    ),
];

impl Shoebox {
    fn volume(&self) -> f64 {
        self.size.iter().product()
    }

    /// Share of the amplitude that a wall reflects.
    fn reflects(&self) -> f64 {
        let [x, y, z] = self.size;
        let surface = 2.0 * (x * y + x * z + y * z);
        // Eyring: T = 0.161 V / (-S ln(1 - absorption)), and absorption is of power.
        (-0.5 * 0.161 * self.volume() / (surface * self.rt60)).exp()
    }

    /// What a laptop's microphone, above the screen, hears of its loudspeaker: 0.26 m apart, on a
    /// desk 0.75 m high, off the middle of the room. The energy of all of it is 1.
    pub(crate) fn laptop(&self) -> Vec<f32> {
        let loudspeaker = [0.42 * self.size[0], 0.37 * self.size[1], 0.77];
        let microphone = [loudspeaker[0] + 0.13, loudspeaker[1] + 0.05, 0.99];
        let mut response = self.response(loudspeaker, microphone);
        small_loudspeaker(&mut response);
        let energy: f32 = response.iter().map(|it| it * it).sum();
        for value in &mut response {
            *value /= energy.sqrt();
        }
        response
    }

    fn response(&self, from: [f64; 3], to: [f64; 3]) -> Vec<f32> {
        let samples = (1.1 * self.rt60 * RATE as f64) as usize;
        let mut response = vec![0.0; samples];
        let farthest = samples as f64 / RATE as f64 * METRES_PER_SECOND;
        let orders = self.size.map(|it| (farthest / (2.0 * it)).ceil() as i32);
        // Walls are not quite even: without this, images of a box line up to whistle.
        let mut uneven = Random::new(1);
        let reflects = self.reflects();
        for x in images(from[0], to[0], self.size[0], orders[0]) {
            for y in images(from[1], to[1], self.size[1], orders[1]) {
                for z in images(from[2], to[2], self.size[2], orders[2]) {
                    let distance = (x.0 * x.0 + y.0 * y.0 + z.0 * z.0).sqrt();
                    let reflections = x.1 + y.1 + z.1;
                    let moved = if reflections == 0 {
                        0.0
                    } else {
                        0.04 * f64::from(uneven.uniform())
                    };
                    let at = (distance + moved) / METRES_PER_SECOND * RATE as f64;
                    if at < samples as f64 {
                        let strength = reflects.powi(reflections) / distance;
                        add(&mut response, at, strength as f32);
                    }
                }
            }
        }
        response
    }
}

/// Images of a source between two walls: how far each is from the listener, and after how many
/// reflections.
fn images(from: f64, to: f64, size: f64, orders: i32) -> Vec<(f64, i32)> {
    (-orders..=orders)
        .flat_map(|order| {
            let shift = 2.0 * f64::from(order) * size;
            let same = (shift + from - to, 2 * order.abs());
            let mirrored = (shift - from - to, (2 * order - 1).abs());
            [same, mirrored]
        })
        .collect()
}

fn add(response: &mut [f32], at: f64, strength: f32) {
    let base = at.floor() as i64;
    for index in base - REACH + 1..=base + REACH {
        let x = index as f64 - at;
        let slot = usize::try_from(index)
            .ok()
            .and_then(|it| response.get_mut(it));
        let Some(slot) = slot else { continue };
        let turn = std::f64::consts::PI * x;
        let sinc = if x.abs() < 1e-9 {
            1.0
        } else {
            turn.sin() / turn
        };
        let window = 0.5 + 0.5 * (turn / REACH as f64).cos();
        *slot += strength * (sinc * window) as f32;
    }
}

/// From 150 Hz to 12 kHz, 12 dB per octave beyond (Butterworth, bilinear transform).
fn small_loudspeaker(signal: &mut [f32]) {
    for (hz, high_pass) in [(150.0, true), (12_000.0, false)] {
        let omega = std::f64::consts::TAU * hz / RATE as f64;
        let (sine, cosine) = omega.sin_cos();
        let alpha = sine / std::f64::consts::SQRT_2;
        let edge = if high_pass {
            1.0 + cosine
        } else {
            1.0 - cosine
        } / 2.0
            / (1.0 + alpha);
        let sign = if high_pass { -2.0 } else { 2.0 };
        let (a1, a2) = (-2.0 * cosine / (1.0 + alpha), (1.0 - alpha) / (1.0 + alpha));
        let mut state = [0.0; 2];
        for sample in signal.iter_mut() {
            let input = f64::from(*sample);
            let output = edge * input + state[0];
            state[0] = sign * edge * input - a1 * output + state[1];
            state[1] = edge * input - a2 * output;
            *sample = output as f32;
        }
    }
}

/// Time in which the response dies away by 60 dB, in seconds, measured from -5 to -25 dB (M.
/// Schroeder, "New Method of Measuring Reverberation Time", 1965), and how much louder the direct
/// sound (2.5 ms) is than the rest, in dB.
pub(crate) fn measured(response: &[f32]) -> (f64, f64) {
    let mut left: f64 = response.iter().map(|it| f64::from(it * it)).sum();
    let all = left;
    let begins = response.iter().position(|it| it.abs() > 0.1).unwrap_or(0);
    let direct: f64 = response[..(begins + RATE / 400).min(response.len())]
        .iter()
        .map(|it| f64::from(it * it))
        .sum();
    let (mut from, mut to) = (None, response.len());
    for (index, value) in response.iter().enumerate() {
        let decibel = 10.0 * (left / all).max(1e-12).log10();
        if decibel < -5.0 && from.is_none() {
            from = Some(index);
        }
        if decibel < -25.0 {
            to = index;
            break;
        }
        left -= f64::from(value * value);
    }
    let from = from.unwrap_or(0);
    let slope = (to - from) as f64 / RATE as f64 / 20.0;
    (60.0 * slope, 10.0 * (direct / (all - direct)).log10())
}
