//! Plays a little faster or slower without changing the pitch: one wave of the sound is left out
//! or played twice, with a cross-fade where its shape fits best (WSOLA: Verhelst and Roelands,
//! ICASSP 1993). Both channels are cut at the same place, found in their sum.

/// Shortest and longest piece in samples of 48 kHz: waves of 400 Hz to 80 Hz, the range of voices.
const MIN_LAG: usize = 120;
pub(super) const MAX_LAG: usize = 600;
/// Samples over which two pieces are blended and compared: 5 ms.
pub(super) const OVERLAP: usize = 240;
/// Likeness, 1.0 being identical, below which a cut would be heard.
const ALIKE: f32 = 0.5;
/// Mean square below which nothing is heard anyway: −50 dB.
const QUIET: f32 = 1e-5;

/// Samples that [`remove`] needs from `at` on.
pub(super) const NEEDED: usize = MAX_LAG + OVERLAP;

/// Leaves out a piece of at most `most` samples that begins at `at` and returns its length; 0 when
/// nothing fits. `force` takes the best there is.
pub(super) fn remove(samples: &mut Vec<[f32; 2]>, at: usize, most: usize, force: bool) -> usize {
    let from = samples.get(at..).unwrap_or_default();
    let mut sum = [0.0; NEEDED];
    let there = mono(from, &mut sum);
    let longest = most.min(MAX_LAG).min(there.saturating_sub(OVERLAP));
    let likeness = |lag: usize| Likeness::of(&sum[..OVERLAP], &sum[lag..lag + OVERLAP]);
    let Some(lag) = best_lag(longest, likeness, force) else {
        return 0;
    };
    cut(samples, at, lag)
}

/// Leaves out `lag` samples from `at` on, or as many as there are, however it sounds.
pub(super) fn cut(samples: &mut Vec<[f32; 2]>, at: usize, lag: usize) -> usize {
    let lag = lag.min(samples.len().saturating_sub(at + OVERLAP));
    if lag == 0 {
        return 0;
    }
    // Backwards, so that nothing is overwritten before it has been read.
    for index in (0..OVERLAP).rev() {
        samples[at + lag + index] = blend(samples[at + index], samples[at + lag + index], index);
    }
    samples.drain(at..at + lag);
    lag
}

/// Plays a piece that ends at `at` once more and returns its length; 0 when nothing fits. Needs
/// [`OVERLAP`] samples from `at` on. `force` takes the best there is.
pub(super) fn insert(samples: &mut Vec<[f32; 2]>, at: usize, force: bool) -> usize {
    let end = samples.len();
    if end < at + OVERLAP {
        return 0;
    }
    let longest = at.min(MAX_LAG);
    let mut sum = [0.0; NEEDED];
    mono(&samples[at - longest..at + OVERLAP], &mut sum);
    let likeness = |lag: usize| {
        let back = longest - lag;
        Likeness::of(&sum[longest..longest + OVERLAP], &sum[back..back + OVERLAP])
    };
    let Some(lag) = best_lag(longest, likeness, force) else {
        return 0;
    };
    repeat(samples, at, lag)
}

/// Plays the `lag` samples before `at` once more, or as many as there are, however it sounds.
pub(super) fn repeat(samples: &mut Vec<[f32; 2]>, at: usize, lag: usize) -> usize {
    let (end, lag) = (samples.len(), lag.min(at));
    if lag == 0 || end < at + OVERLAP {
        return 0;
    }
    // At `at` the sound blends into what it was `lag` before, and goes on from there.
    samples.resize(end + lag, [0.0; 2]);
    samples.copy_within(at + OVERLAP - lag..end, at + OVERLAP);
    // Backwards, so that nothing is overwritten before it has been read.
    for index in (0..OVERLAP).rev() {
        samples[at + index] = blend(samples[at + index], samples[at + index - lag], index);
    }
    lag
}

/// Blends the beginning of `into` with `from`, which ends where `into` goes on.
pub(super) fn cross_fade(from: &[[f32; 2]], into: &mut [[f32; 2]]) {
    let length = from.len().min(into.len()).max(1) as f32;
    for (index, (old, new)) in from.iter().zip(into).enumerate() {
        let share = (index as f32 + 0.5) / length;
        *new = mixed(*old, *new, share);
    }
}

fn blend(old: [f32; 2], new: [f32; 2], index: usize) -> [f32; 2] {
    mixed(old, new, (index as f32 + 0.5) / OVERLAP as f32)
}

fn mixed(old: [f32; 2], new: [f32; 2], share: f32) -> [f32; 2] {
    std::array::from_fn(|channel| old[channel] * (1.0 - share) + new[channel] * share)
}

/// The sum of both channels, as far as there is room; returns how many.
fn mono(samples: &[[f32; 2]], out: &mut [f32; NEEDED]) -> usize {
    for (out, pair) in out.iter_mut().zip(samples) {
        *out = 0.5 * (pair[0] + pair[1]);
    }
    samples.len().min(NEEDED)
}

struct Likeness {
    /// Normalised correlation.
    alike: f32,
    quiet: bool,
}

impl Likeness {
    fn of(one: &[f32], other: &[f32]) -> Self {
        let (left, right) = (dot(one, one), dot(other, other));
        Self {
            alike: dot(one, other) / (left * right).sqrt().max(f32::MIN_POSITIVE),
            quiet: left.max(right) < QUIET * OVERLAP as f32,
        }
    }
}

fn best_lag(longest: usize, likeness: impl Fn(usize) -> Likeness, force: bool) -> Option<usize> {
    let (lag, best) = (MIN_LAG..=longest)
        .map(|lag| (lag, likeness(lag)))
        .max_by(|left, right| left.1.alike.total_cmp(&right.1.alike))?;
    (force || best.alike >= ALIKE || best.quiet).then_some(lag)
}

fn dot(left: &[f32], right: &[f32]) -> f32 {
    // Eight sums at a time: the compiler may not reorder a single one.
    let mut sums = [0.0_f32; 8];
    let (left, right) = (left.as_chunks::<8>().0, right.as_chunks::<8>().0);
    for (left, right) in left.iter().zip(right) {
        for (sum, (a, b)) in sums.iter_mut().zip(left.iter().zip(right)) {
            *sum += a * b;
        }
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pcm::testing::{frequency, sine};

    const AT: usize = 700;

    fn stereo(mono: &[f32]) -> Vec<[f32; 2]> {
        mono.iter().map(|sample| [*sample; 2]).collect()
    }

    fn left(stereo: &[[f32; 2]]) -> Vec<f32> {
        stereo.iter().map(|pair| pair[0]).collect()
    }

    fn largest_step(samples: &[f32]) -> f32 {
        samples
            .windows(2)
            .fold(0.0, |step, pair| step.max((pair[1] - pair[0]).abs()))
    }

    #[test]
    fn a_tone_keeps_its_pitch_and_smoothness() {
        for hz in [90.0, 150.0, 220.0, 440.0] {
            let original = sine(hz, 0.5, 48_000, 4_800);
            let mut shorter = stereo(&original);
            let removed = remove(&mut shorter, AT, MAX_LAG, false);
            assert!(removed >= MIN_LAG && shorter.len() == original.len() - removed);
            let mut longer = stereo(&original);
            let inserted = insert(&mut longer, AT, false);
            assert!(inserted >= MIN_LAG && longer.len() == original.len() + inserted);
            for changed in [left(&shorter), left(&longer)] {
                assert!((frequency(&changed, 48_000) - hz).abs() < hz * 0.01, "{hz}");
                assert!(
                    largest_step(&changed) < 1.1 * largest_step(&original),
                    "{hz}"
                );
            }
        }
    }

    #[test]
    fn both_channels_are_cut_at_the_same_place() {
        let tone = sine(200.0, 0.5, 48_000, 4_800);
        let mut music: Vec<[f32; 2]> = tone.iter().map(|it| [*it, -0.5 * it]).collect();
        assert!(remove(&mut music, AT, MAX_LAG, false) > 0);
        assert!(insert(&mut music, AT, false) > 0);
        assert!(
            music
                .iter()
                .all(|pair| (pair[0] + 2.0 * pair[1]).abs() < 1e-5)
        );
    }

    #[test]
    fn noise_is_left_alone_unless_forced_and_silence_is_free() {
        let mut state = 1_u32;
        let noise: Vec<f32> = (0..AT + NEEDED)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / 8_388_608.0 - 1.0
            })
            .collect();
        let noise = stereo(&noise);
        assert_eq!(remove(&mut noise.clone(), AT, MAX_LAG, false), 0);
        assert_eq!(insert(&mut noise.clone(), AT, false), 0);
        assert!(remove(&mut noise.clone(), AT, MAX_LAG, true) > 0);
        assert!(insert(&mut noise.clone(), AT, true) > 0);
        assert!(remove(&mut vec![[0.0; 2]; NEEDED], 0, MAX_LAG, false) > 0);
    }

    #[test]
    fn too_little_is_left_alone() {
        for length in [0, 1, OVERLAP, OVERLAP + MIN_LAG - 1] {
            let mut short = vec![[0.0; 2]; length];
            let at = length.min(MIN_LAG - 1);
            assert_eq!(remove(&mut short, 0, MAX_LAG, true), 0);
            assert_eq!(insert(&mut short, at, true), 0);
        }
        assert_eq!(remove(&mut vec![[0.0; 2]; NEEDED], 0, MIN_LAG - 1, true), 0);
    }
}
