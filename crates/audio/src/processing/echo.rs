//! Acoustic echo cancellation: what the loudspeaker plays is taken out of what the microphone
//! hears.

use sonora::three_band_filter_bank::{NUM_BANDS, SPLIT_BAND_SIZE};
use sonora_aec3::block::Block as AecBlock;
use sonora_aec3::block_framer::BlockFramer;
use sonora_aec3::block_processor::BlockProcessor;
use sonora_aec3::common::SUB_FRAME_LENGTH;
use sonora_aec3::config::EchoCanceller3Config;
use sonora_aec3::frame_blocker::FrameBlocker;

use super::bands::{Bands, Merge, Split};
use crate::{Block, SILENCE};

/// AEC3 counts in 16-bit steps.
const SCALE: f32 = 32_768.0;
/// Above this the microphone is taken to be clipping, in 16-bit steps.
const SATURATED: f32 = 32_700.0;

/// Takes the echo of a reference out of a microphone's signal.
pub trait EchoCanceller: Send {
    /// Replaces 10 ms of the microphone's signal by the same without the echo of `reference`.
    ///
    /// `reference` is what the loudspeaker played, in the clock of the microphone; its echo comes
    /// [`LEAD_SAMPLES`] later, give or take a millisecond.
    fn process(&mut self, capture: &mut Block, reference: &Block);

    /// Everything learnt is forgotten: another loudspeaker, another microphone, another room.
    fn reset(&mut self);
}

/// How far the reference is to be ahead of its echo, in samples at 48 kHz: 2.5 ms. The adaptive
/// filter begins there, and AEC3 takes the direct sound to be in its first 4 ms.
pub const LEAD_SAMPLES: usize = 120;

/// Length of the adaptive filter in blocks of 4 ms. AEC3's own is 13; a longer one takes more of the
/// reverberation out linearly, which a voice over it survives.
const FILTER_BLOCKS: usize = 18;
/// Blocks after which somebody here is taken to speak over the echo. AEC3's own 12 are taken in by
/// the reverberation of a live room.
const NEAREND_BLOCKS: i32 = 20;
/// Blocks for which they are then taken to speak on. AEC3's own 50 are shorter than many a word.
const NEAREND_HOLD: i32 = 100;
/// How slowly reverberation is taken to die away while somebody here speaks: AEC3's own 0.83 per
/// block takes most of what they say for echo. What it lets through is up to [`super::residual`].
const NEAREND_REVERB: f32 = 0.1;

/// AEC3, the canceller of WebRTC, in the Rust port of the crate `sonora-aec3`.
///
/// It is driven at the level of its 4 ms blocks rather than through `sonora::AudioProcessing`,
/// because only there can its own search for the delay be switched off: alignment is ours
/// (see [`super::alignment`]), is faster, and costs less.
pub struct Aec3 {
    processor: BlockProcessor,
    reference: Side,
    capture: Side,
    framer: BlockFramer,
    merge: Merge,
    /// Half a block on its way out of the framer, by band and channel.
    sub_frame: Vec<Vec<Vec<f32>>>,
}

/// One signal on its way into the canceller: split into three bands, cut into blocks of 4 ms.
struct Side {
    split: Split,
    bands: Bands,
    blocker: FrameBlocker,
    block: AecBlock,
}

impl Side {
    fn new() -> Self {
        Self {
            split: Split::new(),
            bands: [[0.0; SPLIT_BAND_SIZE]; NUM_BANDS],
            blocker: FrameBlocker::new(NUM_BANDS, 1),
            block: AecBlock::new(NUM_BANDS, 1),
        }
    }

    fn split(&mut self, block: &Block) {
        let mut scaled = *block;
        for sample in &mut scaled {
            *sample *= SCALE;
        }
        self.split.process(&scaled, &mut self.bands);
    }

    /// Takes in half of what was split; the next 4 ms are in `self.block` afterwards.
    fn insert(&mut self, half: usize) {
        let at = half * SUB_FRAME_LENGTH;
        let bands: [Vec<&[f32]>; NUM_BANDS] =
            std::array::from_fn(|band| vec![&self.bands[band][at..at + SUB_FRAME_LENGTH]]);
        self.blocker
            .insert_sub_frame_and_extract_block(&bands, &mut self.block);
    }

    /// Every fourth half of a block there is one piece of 4 ms more.
    fn extract(&mut self) -> bool {
        let there = self.blocker.is_block_available();
        if there {
            self.blocker.extract_block(&mut self.block);
        }
        there
    }
}

impl Aec3 {
    /// How late the output is, in samples at 48 kHz: filter banks and the framing in 4 ms blocks.
    pub const DELAY_SAMPLES: usize = 464;

    /// A canceller that has learnt nothing yet.
    pub fn new() -> Self {
        Self {
            processor: processor(),
            reference: Side::new(),
            capture: Side::new(),
            framer: BlockFramer::new(NUM_BANDS, 1),
            merge: Merge::new(),
            sub_frame: vec![vec![vec![0.0; SUB_FRAME_LENGTH]; 1]; NUM_BANDS],
        }
    }

    fn cancel(&mut self, saturated: bool) {
        self.processor
            .process_capture(false, saturated, None, &mut self.capture.block);
    }
}

impl Default for Aec3 {
    fn default() -> Self {
        Self::new()
    }
}

fn processor() -> BlockProcessor {
    let mut config = EchoCanceller3Config::default();
    config.delay.use_external_delay_estimator = true;
    let filter = &mut config.filter;
    filter.refined.length_blocks = FILTER_BLOCKS;
    filter.coarse.length_blocks = FILTER_BLOCKS;
    let nearend = &mut config.suppressor.dominant_nearend_detection;
    nearend.trigger_threshold = NEAREND_BLOCKS;
    nearend.hold_duration = NEAREND_HOLD;
    config.ep_strength.nearend_len = NEAREND_REVERB;
    let mut processor = BlockProcessor::new(&config, 48_000, 1, 1);
    // The reference is aligned already.
    processor.set_audio_buffer_delay(0);
    processor
}

impl EchoCanceller for Aec3 {
    fn process(&mut self, capture: &mut Block, reference: &Block) {
        let saturated = crate::level::peak(capture) * SCALE >= SATURATED;
        self.reference.split(reference);
        self.capture.split(capture);
        for half in 0..2 {
            self.reference.insert(half);
            self.processor.buffer_render(&self.reference.block);
            self.capture.insert(half);
            self.cancel(saturated);
            self.framer
                .insert_block_and_extract_sub_frame(&self.capture.block, &mut self.sub_frame);
            let at = half * SUB_FRAME_LENGTH;
            for (band, sub_frame) in self.capture.bands.iter_mut().zip(&self.sub_frame) {
                band[at..at + SUB_FRAME_LENGTH].copy_from_slice(&sub_frame[0]);
            }
        }
        if self.reference.extract() {
            self.processor.buffer_render(&self.reference.block);
        }
        if self.capture.extract() {
            self.cancel(saturated);
            self.framer.insert_block(&self.capture.block);
        }
        let mut merged = SILENCE;
        self.merge.process(&self.capture.bands, &mut merged);
        for (sample, merged) in capture.iter_mut().zip(merged) {
            *sample = merged / SCALE;
        }
    }

    fn reset(&mut self) {
        self.processor = processor();
    }
}
