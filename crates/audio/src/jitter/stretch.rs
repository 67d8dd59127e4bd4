//! Plays a little faster or slower without changing the pitch: one wave of the sound is left out
//! or played twice, with a cross-fade where its shape fits best (WSOLA).

/// Shortest and longest piece in samples of 48 kHz: waves of 400 Hz to 80 Hz, the range of voices.
const MIN_LAG: usize = 120;
const MAX_LAG: usize = 600;
/// Samples over which two pieces are blended and compared: 5 ms.
const OVERLAP: usize = 240;
/// Likeness, 1.0 being identical, below which leaving out a piece would be heard.
const ALIKE: f32 = 0.5;
/// Mean square below which nothing is heard anyway: −50 dB.
const QUIET: f32 = 1e-5;

/// Samples that [`remove`] and [`insert`] need to work on.
pub(super) const NEEDED: usize = MAX_LAG + OVERLAP;

/// Leaves out a piece of at most `most` samples from the beginning and returns its length;
/// 0 when nothing fits. `force` takes the best there is.
pub(super) fn remove(samples: &mut Vec<f32>, most: usize, force: bool) -> usize {
    let Some(lag) = best_lag(samples, most, force) else {
        return 0;
    };
    let blended: Vec<f32> = (0..OVERLAP)
        .map(|i| blend(samples[i], samples[lag + i], i))
        .collect();
    samples.splice(..lag + OVERLAP, blended);
    lag
}

/// Plays a piece at the beginning twice and returns its length; 0 when nothing fits.
pub(super) fn insert(samples: &mut Vec<f32>) -> usize {
    let Some(lag) = best_lag(samples, MAX_LAG, false) else {
        return 0;
    };
    let mut longer = Vec::with_capacity(samples.len() + lag);
    longer.extend_from_slice(&samples[..lag]);
    longer.extend((0..OVERLAP).map(|i| blend(samples[lag + i], samples[i], i)));
    longer.extend_from_slice(&samples[OVERLAP..]);
    *samples = longer;
    lag
}

/// Blends the beginning of `into` with `from`, which ends where `into` goes on.
pub(super) fn cross_fade(from: &[f32], into: &mut [f32]) {
    let length = from.len().min(into.len()).max(1) as f32;
    for (index, (old, new)) in from.iter().zip(into).enumerate() {
        let share = (index as f32 + 0.5) / length;
        *new = old * (1.0 - share) + *new * share;
    }
}

fn blend(old: f32, new: f32, index: usize) -> f32 {
    let share = (index as f32 + 0.5) / OVERLAP as f32;
    old * (1.0 - share) + new * share
}

fn best_lag(samples: &[f32], most: usize, force: bool) -> Option<usize> {
    let longest = most.min(MAX_LAG).min(samples.len().checked_sub(OVERLAP)?);
    if longest < MIN_LAG {
        return None;
    }
    let reference = &samples[..OVERLAP];
    let energy = dot(reference, reference);
    let likeness = |lag: usize| {
        let other = &samples[lag..lag + OVERLAP];
        dot(reference, other) / (energy * dot(other, other)).sqrt().max(f32::MIN_POSITIVE)
    };
    let (lag, alike) = (MIN_LAG..=longest)
        .map(|lag| (lag, likeness(lag)))
        .max_by(|left, right| left.1.total_cmp(&right.1))?;
    let loud = energy.max(dot(
        &samples[lag..lag + OVERLAP],
        &samples[lag..lag + OVERLAP],
    ));
    (force || alike >= ALIKE || loud < QUIET * OVERLAP as f32).then_some(lag)
}

fn dot(left: &[f32], right: &[f32]) -> f32 {
    left.iter().zip(right).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pcm::testing::{frequency, sine};

    fn largest_step(samples: &[f32]) -> f32 {
        samples
            .windows(2)
            .fold(0.0, |step, pair| step.max((pair[1] - pair[0]).abs()))
    }

    #[test]
    fn a_tone_keeps_its_pitch_and_smoothness() {
        for hz in [90.0, 150.0, 220.0, 440.0] {
            let original = sine(hz, 0.5, 48_000, 4_800);
            let mut shorter = original.clone();
            let removed = remove(&mut shorter, MAX_LAG, false);
            assert!(removed >= MIN_LAG && shorter.len() == original.len() - removed);
            let mut longer = original.clone();
            let inserted = insert(&mut longer);
            assert!(inserted >= MIN_LAG && longer.len() == original.len() + inserted);
            for changed in [&shorter, &longer] {
                assert!((frequency(changed, 48_000) - hz).abs() < hz * 0.01, "{hz}");
                assert!(
                    largest_step(changed) < 1.1 * largest_step(&original),
                    "{hz}"
                );
            }
        }
    }

    #[test]
    fn noise_is_left_alone_unless_forced_and_silence_is_free() {
        let mut state = 1_u32;
        let mut noise: Vec<f32> = (0..NEEDED)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / 8_388_608.0 - 1.0
            })
            .collect();
        assert_eq!(remove(&mut noise.clone(), MAX_LAG, false), 0);
        assert!(remove(&mut noise, MAX_LAG, true) > 0);
        assert!(remove(&mut vec![0.0; NEEDED], MAX_LAG, false) > 0);
    }

    #[test]
    fn too_little_is_left_alone() {
        for length in [0, 1, OVERLAP, OVERLAP + MIN_LAG - 1] {
            let mut short = vec![0.0; length];
            assert_eq!(
                (remove(&mut short, MAX_LAG, true), insert(&mut short)),
                (0, 0)
            );
        }
        assert_eq!(remove(&mut vec![0.0; NEEDED], MIN_LAG - 1, true), 0);
    }
}
