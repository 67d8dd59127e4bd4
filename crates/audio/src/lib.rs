//! Sound on this computer, from the microphone to Opus packets ([`send`]) and from received
//! packets to the speaker ([`playout`]). No network and no async runtime.
//!
//! Between devices and codecs all sound is 48 kHz mono `f32` in −1..1, in blocks of 10 ms.

use std::time::Duration;

use ahoy_media::units::AUDIO_CLOCK_HZ;

pub mod devices;
pub mod jitter;
pub mod level;
pub mod mixer;
mod mute;
pub mod opus;
pub mod playout;
pub mod playout_clock;
pub mod processing;
pub mod red;
pub mod redundancy;
pub mod resample;
pub mod send;
pub mod tone;
pub mod wav;

pub(crate) mod capture;
pub(crate) mod fade;
pub(crate) mod pcm;
pub(crate) mod priority;
pub(crate) mod sink;
#[cfg(test)]
pub(crate) mod undisturbed;

/// Samples of a [`Block`].
pub const BLOCK_SAMPLES: usize = 480;
/// Length of a [`Block`].
pub const BLOCK_DURATION: Duration = Duration::from_millis(10);
/// 10 ms of 48 kHz mono, each sample in −1..1.
pub type Block = [f32; BLOCK_SAMPLES];
/// 10 ms of 48 kHz stereo: pairs of left and right.
pub type StereoBlock = [[f32; 2]; BLOCK_SAMPLES];
/// No sound, in stereo.
pub(crate) const STEREO_SILENCE: StereoBlock = [[0.0; 2]; BLOCK_SAMPLES];
/// No sound.
pub const SILENCE: Block = [0.0; BLOCK_SAMPLES];

/// The mean of both channels.
pub(crate) fn mono(block: &StereoBlock) -> Block {
    block.map(|[left, right]| f32::midpoint(left, right))
}

/// How long `samples` of 48 kHz last.
pub const fn duration_of(samples: u64) -> Duration {
    Duration::from_nanos(samples * 1_000_000_000 / AUDIO_CLOCK_HZ as u64)
}

/// A finite sample in −1..1: drivers have been seen to deliver NaN and more than full scale.
pub(crate) fn bounded(sample: f32) -> f32 {
    if sample.is_nan() {
        0.0
    } else {
        sample.clamp(-1.0, 1.0)
    }
}
