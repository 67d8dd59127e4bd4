//! Joins pieces of sound that do not belong together without a click.

use crate::StereoBlock;

/// Frames over which one sound takes the place of another: 5 ms.
pub(crate) const FADE_FRAMES: usize = 240;

/// Share of the new sound at a frame after the join, 0 to 1, without a corner at either end.
pub(crate) fn fade_in(frame: usize) -> f32 {
    let position = (frame as f32 / FADE_FRAMES as f32).min(1.0);
    position * position * (3.0 - 2.0 * position)
}

/// Leads from the last sample before a cut into what comes after it.
#[derive(Debug)]
pub(crate) struct Splice {
    last: [f32; 2],
    from: [f32; 2],
    /// Frames since the cut.
    at: usize,
}

impl Default for Splice {
    /// What comes first fades in.
    fn default() -> Self {
        Self {
            last: [0.0; 2],
            from: [0.0; 2],
            at: 0,
        }
    }
}

impl Splice {
    /// The next block does not follow the last one.
    pub(crate) fn cut(&mut self) {
        self.from = self.last;
        self.at = 0;
    }

    /// Takes the next 10 ms and smooths the join, if there is one.
    pub(crate) fn apply(&mut self, block: &mut StereoBlock) {
        if self.at < FADE_FRAMES {
            for frame in block.iter_mut() {
                let share = fade_in(self.at);
                for (sample, from) in frame.iter_mut().zip(self.from) {
                    *sample = from * (1.0 - share) + *sample * share;
                }
                self.at += 1;
            }
        }
        self.last = block[block.len() - 1];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BLOCK_SAMPLES;

    #[test]
    fn a_cut_makes_no_step_and_leaves_the_rest_alone() {
        let mut splice = Splice::default();
        let mut first = [[0.8, -0.8]; BLOCK_SAMPLES];
        splice.apply(&mut first);
        assert_eq!(
            (first[0], first[BLOCK_SAMPLES - 1]),
            ([0.0; 2], [0.8, -0.8])
        );
        let mut next = [[0.5, 0.5]; BLOCK_SAMPLES];
        splice.apply(&mut next);
        assert_eq!(next, [[0.5; 2]; BLOCK_SAMPLES], "nobody cut");

        splice.cut();
        let mut other = [[-0.9, 0.1]; BLOCK_SAMPLES];
        splice.apply(&mut other);
        let whole: Vec<f32> = next.iter().chain(&other).map(|frame| frame[0]).collect();
        let step = whole
            .windows(2)
            .map(|pair| (pair[1] - pair[0]).abs())
            .fold(0.0, f32::max);
        assert!(step < 0.01, "{step}");
        assert_eq!(other[FADE_FRAMES], [-0.9, 0.1]);
    }
}
