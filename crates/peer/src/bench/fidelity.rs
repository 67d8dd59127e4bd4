//! How much of the clip's pictures arrives: PSNR of the luma plane, beside the bench contract.
//!
//! Both sides play the same clip, so what the other side sent is known here by its stamp. A picture
//! that was sent smaller is scaled up before it is compared, as a window would.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ahoy_media::frame::I420;
use ahoy_video::capture::scale::Scaler;
use serde_json::{Value, json};

/// Pictures of a clip that are kept: 10 s at 30 per second, 415 MB at 720p.
const MAX_REFERENCES: usize = 300;
/// Pictures without any error count as this many dB.
const PERFECT_DB: f64 = 60.0;

/// Compares what is shown with what was sent.
#[derive(Default)]
pub(super) struct Fidelity(Mutex<State>);

#[derive(Default)]
struct State {
    references: HashMap<u32, Arc<I420>>,
    scaler: Scaler,
    decibels: f64,
    pictures: u64,
}

impl Fidelity {
    /// The clip's picture of this number.
    pub(super) fn captured(&self, number: u32, picture: &Arc<I420>) {
        let mut state = self.state();
        if state.references.len() < MAX_REFERENCES {
            state
                .references
                .entry(number)
                .or_insert_with(|| Arc::clone(picture));
        }
    }

    /// What arrived of the picture of this number.
    pub(super) fn shown(&self, number: u32, picture: &I420) {
        let mut state = self.state();
        let Some(reference) = state.references.get(&number).map(Arc::clone) else {
            return;
        };
        let decibels = if picture.resolution() == reference.resolution() {
            psnr(&reference, picture)
        } else {
            let mut scaled = I420::black(reference.resolution());
            if state.scaler.scale(picture, &mut scaled).is_err() {
                return;
            }
            psnr(&reference, &scaled)
        };
        state.decibels += decibels;
        state.pictures += 1;
    }

    /// The mean so far.
    pub(super) fn report(&self) -> Value {
        let state = self.state();
        json!({
            "psnr": (state.pictures > 0).then(|| state.decibels / state.pictures as f64),
            "frames": state.pictures,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of two pictures of the same size, luma only.
fn psnr(reference: &I420, picture: &I420) -> f64 {
    let (expected, actual) = (reference.planes().0, picture.planes().0);
    let squares: u64 = expected
        .iter()
        .zip(actual)
        .map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2))
        .sum();
    if squares == 0 {
        return PERFECT_DB;
    }
    let mean = squares as f64 / expected.len() as f64;
    10.0 * (255.0 * 255.0 / mean).log10()
}

#[cfg(test)]
mod tests {
    use ahoy_media::units::Resolution;

    use super::*;

    #[test]
    fn errors_are_decibels_and_sizes_do_not_matter() {
        let fidelity = Fidelity::default();
        let reference = Arc::new(I420::black(Resolution::new(64, 36)));
        fidelity.captured(3, &reference);
        fidelity.shown(4, &reference);
        assert_eq!(fidelity.report()["frames"], 0);
        let mut off = I420::black(Resolution::new(64, 36));
        for luma in off.planes_mut().0 {
            *luma += 5;
        }
        fidelity.shown(3, &off);
        // 10 log10(255^2 / 25)
        let decibels = fidelity.report()["psnr"].as_f64().expect("a figure");
        assert!((decibels - 34.15).abs() < 0.01, "{decibels}");
        fidelity.shown(3, &I420::black(Resolution::new(32, 18)));
        let mean = fidelity.report()["psnr"].as_f64().expect("a figure");
        assert!(
            (mean - f64::midpoint(34.15, PERFECT_DB)).abs() < 0.01,
            "{mean}"
        );
    }
}
