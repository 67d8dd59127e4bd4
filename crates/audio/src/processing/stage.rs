//! Switching a stage of the chain on and off without a click.

use crate::{BLOCK_SAMPLES, Block};

/// Blocks that a stage processes unheard after it was switched on, until its filters and its own
/// delay are full.
const WARM_UP_BLOCKS: u32 = 4;

/// Whether a stage is heard. Between on and off is a cross-fade of 10 ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Off,
    /// It processes, and will be heard after so many blocks.
    WarmingUp(u32),
    FadingIn,
    On,
    FadingOut,
}

impl Stage {
    /// Brings the stage to where it is wanted; to be called before each block. `true` when it has
    /// to forget what it knew: it was off.
    pub(super) fn advance(&mut self, wanted: bool) -> bool {
        let before = *self;
        *self = match (before, wanted) {
            (Self::Off, true) => Self::WarmingUp(WARM_UP_BLOCKS),
            (Self::WarmingUp(left), true) if left > 0 => Self::WarmingUp(left - 1),
            (Self::WarmingUp(_), true) => Self::FadingIn,
            (Self::FadingIn | Self::On, true) => Self::On,
            // Half a block ago it was heard less: at worst it is faded in once more.
            (Self::FadingOut, true) => Self::FadingIn,
            (Self::FadingIn | Self::On, false) => Self::FadingOut,
            (Self::Off | Self::WarmingUp(_) | Self::FadingOut, false) => Self::Off,
        };
        before == Self::Off && wanted
    }

    /// Whether the stage has to process at all.
    pub(super) fn runs(self) -> bool {
        self != Self::Off
    }

    /// Replaces `block` by `processed`, as far as the stage is to be heard.
    pub(super) fn mix(self, block: &mut Block, processed: &Block) {
        match self {
            Self::Off | Self::WarmingUp(_) => {}
            Self::On => *block = *processed,
            Self::FadingIn => cross_fade(block, processed),
            Self::FadingOut => {
                let dry = *block;
                *block = *processed;
                cross_fade(block, &dry);
            }
        }
    }
}

/// From `block` to `to`, along half a cosine.
fn cross_fade(block: &mut Block, to: &Block) {
    for (index, (sample, to)) in block.iter_mut().zip(to).enumerate() {
        let turn = std::f32::consts::PI * (index as f32 + 0.5) / BLOCK_SAMPLES as f32;
        let share = 0.5 - 0.5 * turn.cos();
        *sample += (to - *sample) * share;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fades_in_after_warming_up_and_out_at_once() {
        let mut stage = Stage::Off;
        assert!(stage.advance(true), "starts afresh");
        for _ in 0..WARM_UP_BLOCKS {
            assert!(!stage.advance(true));
            assert!(stage.runs());
            let mut block = [0.5; BLOCK_SAMPLES];
            stage.mix(&mut block, &[0.0; BLOCK_SAMPLES]);
            assert_eq!(block, [0.5; BLOCK_SAMPLES]);
        }
        stage.advance(true);
        let mut block = [0.5; BLOCK_SAMPLES];
        stage.mix(&mut block, &[0.0; BLOCK_SAMPLES]);
        assert!(block[0] > 0.49 && block[BLOCK_SAMPLES - 1] < 0.01);
        stage.advance(true);
        assert_eq!(stage, Stage::On);
        stage.advance(false);
        stage.mix(&mut block, &[0.0; BLOCK_SAMPLES]);
        assert!(block[0] < 0.01);
        stage.advance(false);
        assert_eq!(stage, Stage::Off);
    }
}
