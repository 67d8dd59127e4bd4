//! Automatic gain: quiet talkers are made as loud as others. Digital only; the system's slider is
//! never touched.

use sonora_agc2::adaptive_digital_gain_controller::{AdaptiveDigitalGainController, FrameInfo};
use sonora_agc2::common::{
    ADJACENT_SPEECH_FRAMES_THRESHOLD, SATURATION_PROTECTOR_INITIAL_HEADROOM_DB, float_s16_to_dbfs,
};
use sonora_agc2::noise_level_estimator::NoiseLevelEstimator;
use sonora_agc2::saturation_protector::SaturationProtector;
use sonora_agc2::speech_level_estimator::{AdaptiveDigitalConfig, SpeechLevelEstimator};

use crate::Block;
use crate::level::{mean_square, peak};

/// AGC2 counts in 16-bit steps.
const SCALE: f32 = 32_768.0;
/// Gain before anybody was heard, in dB. AGC2's own 15 dB make a talker of ordinary loudness
/// (-26 dBFS) leave at -11 to -15 dBFS for two seconds.
const INITIAL_GAIN_DB: f32 = 3.0;

/// Evens out the level of a voice.
pub trait GainControl: Send {
    /// Applies the gain to 10 ms. `speech` is the probability, 0 to 1, that somebody speaks in
    /// them. May exceed full scale: a limiter comes after it.
    fn process(&mut self, block: &mut Block, speech: f32);

    /// Forgets whom it has heard.
    fn reset(&mut self);
}

/// The adaptive digital part of WebRTC's AGC2, in the Rust port of the crate `sonora-agc2`.
///
/// Its parts are put together here rather than by `sonora::AudioProcessing`, because there they
/// bring a second neural network to tell speech from noise; RNNoise has told it already.
pub struct Agc2 {
    noise: NoiseLevelEstimator,
    speech: SpeechLevelEstimator,
    headroom: SaturationProtector,
    gain: AdaptiveDigitalGainController,
    /// Largest sample that left, in 16-bit steps, falling slowly.
    envelope: f32,
}

impl Agc2 {
    /// A gain control that has heard nobody yet.
    pub fn new() -> Self {
        let config = AdaptiveDigitalConfig {
            initial_gain_db: INITIAL_GAIN_DB,
            ..AdaptiveDigitalConfig::default()
        };
        Self {
            noise: NoiseLevelEstimator::default(),
            speech: SpeechLevelEstimator::new(&config, ADJACENT_SPEECH_FRAMES_THRESHOLD),
            headroom: SaturationProtector::new(
                SATURATION_PROTECTOR_INITIAL_HEADROOM_DB,
                ADJACENT_SPEECH_FRAMES_THRESHOLD,
            ),
            gain: AdaptiveDigitalGainController::new(config, ADJACENT_SPEECH_FRAMES_THRESHOLD),
            envelope: 0.0,
        }
    }
}

impl Default for Agc2 {
    fn default() -> Self {
        Self::new()
    }
}

impl GainControl for Agc2 {
    fn process(&mut self, block: &mut Block, speech: f32) {
        for sample in block.iter_mut() {
            *sample *= SCALE;
        }
        let noise_rms_dbfs = self.noise.analyze(&[&block[..]]);
        let rms_dbfs = float_s16_to_dbfs(mean_square(block).sqrt());
        self.speech.update(rms_dbfs, speech);
        let speech_level_dbfs = self.speech.level_dbfs();
        self.headroom
            .analyze(speech, float_s16_to_dbfs(peak(block)), speech_level_dbfs);
        let info = FrameInfo {
            speech_probability: speech,
            speech_level_dbfs,
            speech_level_reliable: self.speech.is_confident(),
            noise_rms_dbfs,
            headroom_db: self.headroom.headroom_db(),
            limiter_envelope_dbfs: float_s16_to_dbfs(self.envelope),
        };
        self.gain.process(&info, &mut [&mut block[..]]);
        self.envelope = peak(block).max(0.9 * self.envelope);
        for sample in block.iter_mut() {
            *sample /= SCALE;
        }
    }

    fn reset(&mut self) {
        *self = Self::new();
    }
}
