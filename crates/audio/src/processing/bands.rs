//! AEC3's filter bank: 48 kHz split into three bands of 16 kHz, and put together again.
//!
//! The filters are those of the crate `sonora`, read off its bank with impulses. Its own code
//! multiplies and adds in one step (`f32::mul_add`), which is a call of a function wherever a
//! program is built for all processors of a family: that alone was half the cost of echo
//! cancellation.

use sonora::three_band_filter_bank::{NUM_BANDS, SPLIT_BAND_SIZE, ThreeBandFilterBank};

use crate::{Block, SILENCE};

/// 10 ms in three bands, or every third sample of 10 ms from each of the first three on.
pub(super) type Bands = [[f32; SPLIT_BAND_SIZE]; NUM_BANDS];

/// Length of the filters, in samples at 16 kHz.
const TAPS: usize = 16;
/// Outputs that are computed together, in vector registers.
const LANES: usize = 16;

/// Nine filters, from each of three signals to each of three.
struct Filters {
    /// By output, input and age of the sample.
    taps: [[[f32; TAPS]; NUM_BANDS]; NUM_BANDS],
    memory: [[f32; TAPS + SPLIT_BAND_SIZE]; NUM_BANDS],
}

impl Filters {
    /// What `bank` answers to an impulse in each of its inputs.
    fn read_off(bank: impl Fn(&Bands) -> Bands) -> Self {
        let mut taps = [[[0.0; TAPS]; NUM_BANDS]; NUM_BANDS];
        for input in 0..NUM_BANDS {
            let mut impulse = [[0.0; SPLIT_BAND_SIZE]; NUM_BANDS];
            impulse[input][0] = 1.0;
            for (output, answer) in bank(&impulse).iter().enumerate() {
                taps[output][input].copy_from_slice(&answer[..TAPS]);
            }
        }
        Self {
            taps,
            memory: [[0.0; TAPS + SPLIT_BAND_SIZE]; NUM_BANDS],
        }
    }

    fn process(&mut self, from: &Bands, to: &mut Bands) {
        for (memory, from) in self.memory.iter_mut().zip(from) {
            memory.copy_within(SPLIT_BAND_SIZE.., 0);
            memory[TAPS..].copy_from_slice(from);
        }
        for (output, taps) in to.iter_mut().zip(&self.taps) {
            for (piece, out) in output.chunks_exact_mut(LANES).enumerate() {
                let mut sums = [0.0; LANES];
                for (memory, taps) in self.memory.iter().zip(taps) {
                    for (age, tap) in taps.iter().enumerate() {
                        let newest = TAPS + piece * LANES - age;
                        if let Some(samples) = memory[newest..].first_chunk::<LANES>() {
                            for (sum, sample) in sums.iter_mut().zip(samples) {
                                *sum += tap * sample;
                            }
                        }
                    }
                }
                out.copy_from_slice(&sums);
            }
        }
    }
}

/// Splits one signal.
pub(super) struct Split(Filters);

impl Split {
    pub(super) fn new() -> Self {
        Self(Filters::read_off(|thirds| {
            let mut bands = [[0.0; SPLIT_BAND_SIZE]; NUM_BANDS];
            ThreeBandFilterBank::new().analysis(&whole(thirds), &mut bands);
            bands
        }))
    }

    pub(super) fn process(&mut self, block: &Block, bands: &mut Bands) {
        self.0.process(&thirds(block), bands);
    }
}

/// Puts one signal together.
pub(super) struct Merge(Filters);

impl Merge {
    pub(super) fn new() -> Self {
        Self(Filters::read_off(|bands| {
            let mut block = SILENCE;
            ThreeBandFilterBank::new().synthesis(bands, &mut block);
            thirds(&block)
        }))
    }

    pub(super) fn process(&mut self, bands: &Bands, block: &mut Block) {
        let mut thirds = [[0.0; SPLIT_BAND_SIZE]; NUM_BANDS];
        self.0.process(bands, &mut thirds);
        *block = whole(&thirds);
    }
}

fn thirds(block: &Block) -> Bands {
    let mut thirds = [[0.0; SPLIT_BAND_SIZE]; NUM_BANDS];
    for (index, samples) in block.chunks_exact(NUM_BANDS).enumerate() {
        for (third, sample) in thirds.iter_mut().zip(samples) {
            third[index] = *sample;
        }
    }
    thirds
}

fn whole(thirds: &Bands) -> Block {
    let mut block = SILENCE;
    for (index, samples) in block.chunks_exact_mut(NUM_BANDS).enumerate() {
        for (third, sample) in thirds.iter().zip(samples) {
            *sample = third[index];
        }
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pcm::testing::voice;

    #[test]
    fn is_the_bank_of_aec3() {
        let (mut split, mut merge) = (Split::new(), Merge::new());
        let mut bank = ThreeBandFilterBank::new();
        for piece in voice(9_600).chunks_exact(480) {
            let mut block = SILENCE;
            block.copy_from_slice(piece);
            let mut ours = [[0.0; SPLIT_BAND_SIZE]; NUM_BANDS];
            let mut theirs = ours;
            split.process(&block, &mut ours);
            bank.analysis(&block, &mut theirs);
            for (a, b) in ours.iter().flatten().zip(theirs.iter().flatten()) {
                assert!((a - b).abs() < 1e-5, "{a} {b}");
            }
            let (mut one, mut other) = (SILENCE, SILENCE);
            merge.process(&ours, &mut one);
            bank.synthesis(&ours, &mut other);
            for (a, b) in one.iter().zip(&other) {
                assert!((a - b).abs() < 1e-5, "{a} {b}");
            }
        }
    }
}
