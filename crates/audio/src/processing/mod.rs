//! What happens to captured sound before it is encoded.
//!
//! ```text
//!                         RenderReference ─▶ alignment ─┐
//! capture ─▶ high-pass ─▶ echo cancellation ◀───────────┘
//!                └─▶ noise suppression ─▶ automatic gain ─▶ limiter ─▶
//!                          └─▶ voice activity, noise floor (also while muted)
//! ```
//!
//! Each stage is a small trait with an engine behind it, and can be switched on and off while
//! somebody speaks.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::level::mean_square;
use crate::{BLOCK_SAMPLES, Block, SILENCE, StereoBlock, bounded};
use alignment::{Alignment, AlignmentStats, EchoPath};
use echo::{Aec3, EchoCanceller};
use gain::{Agc2, GainControl};
use health::{Heard, MicrophoneHealth};
use highpass::HighPass;
use limiter::Limiter;
use noise::{NoiseSuppressor, RnNoise};
use reference::{RenderReference, RenderStream};
use residual::Residual;
use stage::Stage;

pub mod alignment;
mod bands;
pub mod delay;
pub mod drift;
pub mod echo;
pub mod gain;
pub mod health;
pub mod highpass;
pub mod limiter;
pub mod noise;
pub mod reference;
mod residual;
mod retimer;
mod stage;

/// What is to be done with captured sound. The first three are named as in W3C Media Capture and
/// Streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "specta", derive(specta::Type))]
#[serde(rename_all = "camelCase", default)]
pub struct ProcessingSettings {
    /// Takes what the loudspeaker plays out of what the microphone hears. Not needed with a
    /// headset: see [`Processing::set_headset`].
    pub echo_cancellation: bool,
    /// Takes fans, keyboards and the street out of a voice.
    pub noise_suppression: bool,
    /// Makes quiet talkers louder. Digital: the system's slider stays where it is.
    pub auto_gain_control: bool,
    /// For music: everything above is off, whatever it says, and nothing is filtered.
    pub original_sound: bool,
}

impl Default for ProcessingSettings {
    /// Everything on, but for original sound.
    fn default() -> Self {
        Self {
            echo_cancellation: true,
            noise_suppression: true,
            auto_gain_control: true,
            original_sound: false,
        }
    }
}

/// While the other side speaks, so much of the voice bypasses noise suppression. What an echo
/// canceller leaves of a voice when both speak is so torn that RNNoise takes it for noise.
const UNDER_ECHO: f32 = 0.6;
/// Somebody speaks here as well, or much is left of the echo: -60 dBFS.
const LEFT: f32 = 1e-6;
const LEFT_FALL: f32 = 0.95;
/// The other side speaks: a reference above -50 dBFS, held for about 200 ms.
const PLAYED: f32 = 1e-5;
const PLAYED_FALL: f32 = 0.8;

/// What is quieter, -90 dBFS, is nothing to take noise out of. While muted, nobody is told of a
/// voice that is quieter than -58 dBFS (see [`health`]).
const NOTHING: f32 = 1e-9;
const NOTHING_MUTED: f32 = 1.6e-6;
/// Noise suppression goes on for so many quiet blocks: until its own memory is empty.
const EMPTIED: u32 = 8;

/// The chain of one microphone. Owned by the audio-send thread.
pub struct Processing {
    settings: ProcessingSettings,
    headset: bool,
    muted: bool,
    alignment: Alignment,
    high_pass: HighPass,
    canceller: Box<dyn EchoCanceller>,
    residual: Residual,
    suppressor: Box<dyn NoiseSuppressor>,
    gain: Box<dyn GainControl>,
    limiter: Limiter,
    processed: Stage,
    cancelling: Stage,
    suppressing: Stage,
    levelling: Stage,
    /// What went into noise suppression 10 ms ago: its output is as late.
    before_suppression: Block,
    /// How much of it is mixed into the output, see [`UNDER_ECHO`].
    unsuppressed: f32,
    /// Power of the echo's reference, and of what is left after cancellation, falling slowly.
    played: f32,
    left: f32,
    /// Blocks in a row with nothing for noise suppression in them.
    quiet_blocks: u32,
    health: MicrophoneHealth,
}

impl Processing {
    /// The chain and the handle by which it is told what is played.
    pub fn new(settings: ProcessingSettings) -> (Self, RenderReference) {
        let (reference, stream) = RenderReference::new();
        (Self::with_stream(settings, stream), reference)
    }

    fn with_stream(settings: ProcessingSettings, stream: RenderStream) -> Self {
        Self {
            settings,
            headset: false,
            muted: false,
            alignment: Alignment::new(stream),
            high_pass: HighPass::new(),
            canceller: Box::new(Aec3::new()),
            residual: Residual::default(),
            suppressor: Box::new(RnNoise::new()),
            gain: Box::new(Agc2::new()),
            limiter: Limiter::default(),
            processed: Stage::Off,
            cancelling: Stage::Off,
            suppressing: Stage::Off,
            levelling: Stage::Off,
            before_suppression: SILENCE,
            unsuppressed: 0.0,
            played: 0.0,
            left: 0.0,
            quiet_blocks: 0,
            health: MicrophoneHealth::default(),
        }
    }

    /// Switches stages; each is faded in or out.
    pub fn set_settings(&mut self, settings: ProcessingSettings) {
        self.settings = settings;
    }

    /// Whether loudspeakers are at the user's ears, so that there is no echo to cancel. Without
    /// cancellation the voice is 10 ms earlier and is never ducked.
    pub fn set_headset(&mut self, headset: bool) {
        self.headset = headset;
    }

    /// Whether what comes out is thrown away. Then nothing is done to a microphone that hears next
    /// to nothing; who speaks is still noticed.
    pub fn set_muted(&mut self, muted: bool) {
        self.muted = muted;
    }

    /// What is known of the microphone, to be read anywhere.
    pub fn health(&self) -> MicrophoneHealth {
        self.health.clone()
    }

    /// How the echo's reference lies.
    pub fn alignment(&self) -> AlignmentStats {
        self.alignment.stats()
    }

    /// Samples of the microphone at 48 kHz were lost before the next block.
    pub fn capture_skipped(&mut self, samples: u64) {
        self.alignment.capture_skipped(samples);
    }

    /// The next block comes from another microphone, or after a pause.
    pub fn capture_changed(&mut self) {
        self.alignment.capture_changed();
        self.high_pass.reset();
        self.suppressor.reset();
        self.gain.reset();
        self.health.clear();
    }

    /// Processes what was captured in the 10 ms before `now`. Any content goes in; what comes out
    /// is within full scale.
    pub fn process(&mut self, block: &mut Block, now: Instant) {
        for sample in block.iter_mut() {
            *sample = bounded(*sample);
        }
        let captured = *block;
        let original = self.settings.original_sound;
        self.processed.advance(!original);
        let mut chain = captured;
        self.high_pass.process(&mut chain);
        self.cancel_echo(&mut chain, now);
        let speech = self.suppress_noise(&mut chain);
        self.health.update(Heard {
            speech,
            captured: mean_square(&captured),
            cleaned: mean_square(&chain),
        });
        self.level(&mut chain, speech);
        self.limiter.process(&mut chain);
        self.processed.mix(block, &chain);
    }

    /// Original sound in stereo: what was captured, bounded. Everything else in the chain hears
    /// the mean of the two channels, so that it is ready when it is switched on again.
    pub fn process_stereo(&mut self, block: &mut StereoBlock, now: Instant) {
        for pair in block.iter_mut() {
            *pair = pair.map(bounded);
        }
        let mut mono: Block = std::array::from_fn(|i| 0.5 * (block[i][0] + block[i][1]));
        let pass_through = self.settings.original_sound && self.processed == Stage::Off;
        self.process(&mut mono, now);
        if !(pass_through && self.processed == Stage::Off) {
            for (pair, sample) in block.iter_mut().zip(mono) {
                *pair = [sample; 2];
            }
        }
    }

    fn cancel_echo(&mut self, chain: &mut Block, now: Instant) {
        let settings = self.settings;
        // Where there is no echo, a canceller can only do harm: it ducks who speaks.
        let needed = !self.headset && self.alignment.may_echo();
        let wanted = settings.echo_cancellation && !settings.original_sound && needed;
        if self.cancelling.advance(wanted) {
            self.canceller.reset();
        }
        let mut reference = SILENCE;
        let path = self.alignment.process(chain, &mut reference, now);
        if !self.cancelling.runs() {
            self.played = 0.0;
            return;
        }
        self.played = mean_square(&reference).max(self.played * PLAYED_FALL);
        if path == EchoPath::New {
            self.canceller.reset();
        }
        let mut cancelled = *chain;
        self.canceller.process(&mut cancelled, &reference);
        let heard = mean_square(chain);
        self.residual
            .process(heard, &mut cancelled, self.played > PLAYED);
        self.cancelling.mix(chain, &cancelled);
    }

    /// Runs while anything is heard, as it also says who speaks.
    fn suppress_noise(&mut self, chain: &mut Block) -> f32 {
        let settings = self.settings;
        let wanted = settings.noise_suppression && !settings.original_sound;
        self.suppressing.advance(wanted);
        let power = mean_square(chain);
        let nothing = if self.muted { NOTHING_MUTED } else { NOTHING };
        self.quiet_blocks = if power < nothing {
            self.quiet_blocks.saturating_add(1)
        } else {
            0
        };
        let mut clean = SILENCE;
        let speech = if self.quiet_blocks <= EMPTIED {
            self.suppressor.process(chain, &mut clean)
        } else {
            0.0
        };
        self.left = power.max(self.left * LEFT_FALL);
        let both = self.played > PLAYED && self.left > LEFT;
        let wanted = if both { UNDER_ECHO } else { 0.0 };
        let step = (wanted - self.unsuppressed) / BLOCK_SAMPLES as f32;
        let before = std::mem::replace(&mut self.before_suppression, *chain);
        for (clean, before) in clean.iter_mut().zip(before) {
            self.unsuppressed += step;
            *clean += (before - *clean) * self.unsuppressed;
        }
        self.unsuppressed = wanted;
        self.suppressing.mix(chain, &clean);
        speech
    }

    fn level(&mut self, chain: &mut Block, speech: f32) {
        let settings = self.settings;
        let wanted = settings.auto_gain_control && !settings.original_sound;
        if self.levelling.advance(wanted) {
            self.gain.reset();
        }
        if self.levelling.runs() {
            let mut levelled = *chain;
            // What is left of an echo is a voice as well, and a quiet one: the gain would rise until
            // it is as loud as who speaks here.
            let theirs = self.played > PLAYED;
            self.gain
                .process(&mut levelled, if theirs { 0.0 } else { speech });
            self.levelling.mix(chain, &levelled);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Notes how likely it was told that somebody speaks.
    struct Told(Arc<Mutex<Vec<f32>>>);

    impl GainControl for Told {
        fn process(&mut self, _block: &mut Block, speech: f32) {
            self.0.lock().expect("one thread").push(speech);
        }

        fn reset(&mut self) {}
    }

    #[test]
    fn the_gain_does_not_learn_from_what_the_other_side_says() {
        let (mut processing, _reference) = Processing::new(ProcessingSettings::default());
        let told = Arc::new(Mutex::new(Vec::new()));
        processing.gain = Box::new(Told(Arc::clone(&told)));
        for played in [0.0, 10.0 * PLAYED, 0.0] {
            processing.played = played;
            processing.level(&mut SILENCE.clone(), 0.9);
        }
        assert_eq!(*told.lock().expect("one thread"), [0.9, 0.0, 0.9]);
    }
}
