//! What can be told about a microphone by listening to it: whether somebody speaks, how noisy it
//! is, whether anything comes from it at all. Works the same while muted; only figures leave.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// What one block of 10 ms had in it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Heard {
    /// Probability of speech, 0 to 1.
    pub speech: f32,
    /// Mean square of what was captured.
    pub captured: f32,
    /// Mean square after echo cancellation and noise suppression.
    pub cleaned: f32,
}

/// Probability from which a block counts as speech.
const SPEECH: f32 = 0.8;
/// What speaks has to be this loud after cleaning, -55 dBFS: a voice in the next room is not
/// somebody who thinks that he is heard.
const AUDIBLE: f32 = 3.2e-6;
/// Below this, -100 dBFS, is no microphone but zeros, or a switched-off one.
const NOTHING: f32 = 1e-10;
/// The noise floor rises by at most 3 dB per second, as factor per block, and falls at once.
const FLOOR_RISE: f32 = 1.006_93;

/// The latest figures, shared without a lock between the audio-send thread and whoever asks.
#[derive(Debug, Clone, Default)]
pub struct MicrophoneHealth(Arc<Figures>);

#[derive(Debug, Default)]
struct Figures {
    blocks: AtomicU32,
    speech: AtomicU32,
    floor: AtomicU32,
    spoken: AtomicU32,
    silent: AtomicU32,
}

/// A look at [`MicrophoneHealth`]. Counters wrap.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct MicrophoneFigures {
    /// Blocks of 10 ms captured.
    pub blocks: u32,
    /// Blocks in which somebody spoke audibly, echo and noise taken out.
    pub spoken_blocks: u32,
    /// Blocks in a row, up to now, that held nothing: below -100 dBFS.
    pub silent_blocks: u32,
    /// Probability that somebody speaks in the latest block, 0 to 1.
    pub speech_probability: f32,
    /// Power of the noise, mean square, full scale is 1.
    pub noise_floor: f32,
}

impl MicrophoneFigures {
    /// The noise in dBFS; -120 for none.
    pub fn noise_floor_dbfs(&self) -> f32 {
        10.0 * self.noise_floor.max(1e-12).log10()
    }
}

impl MicrophoneHealth {
    /// The latest figures.
    pub fn get(&self) -> MicrophoneFigures {
        let figures = &self.0;
        let float = |bits: &AtomicU32| f32::from_bits(bits.load(Ordering::Relaxed));
        MicrophoneFigures {
            blocks: figures.blocks.load(Ordering::Relaxed),
            spoken_blocks: figures.spoken.load(Ordering::Relaxed),
            silent_blocks: figures.silent.load(Ordering::Relaxed),
            speech_probability: float(&figures.speech),
            noise_floor: float(&figures.floor),
        }
    }

    pub(super) fn update(&self, heard: Heard) {
        let figures = &self.0;
        figures
            .speech
            .store(heard.speech.to_bits(), Ordering::Relaxed);
        figures.blocks.fetch_add(1, Ordering::Relaxed);
        if heard.speech >= SPEECH && heard.cleaned >= AUDIBLE {
            figures.spoken.fetch_add(1, Ordering::Relaxed);
        }
        let silent = heard.captured < NOTHING;
        if silent {
            figures.silent.fetch_add(1, Ordering::Relaxed);
        } else {
            figures.silent.store(0, Ordering::Relaxed);
            let floor = f32::from_bits(figures.floor.load(Ordering::Relaxed));
            // From nothing it starts with what there is; while somebody speaks it waits.
            let raised = if floor > 0.0 {
                floor * FLOOR_RISE
            } else {
                heard.captured
            };
            let raised = if heard.speech < SPEECH { raised } else { floor };
            let floor = if heard.captured < raised {
                heard.captured
            } else {
                raised
            };
            figures.floor.store(floor.to_bits(), Ordering::Relaxed);
        }
    }

    /// Another microphone.
    pub(super) fn clear(&self) {
        let figures = &self.0;
        for figure in [&figures.speech, &figures.floor, &figures.silent] {
            figure.store(0, Ordering::Relaxed);
        }
    }
}

/// Something to tell the user about the microphone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "specta", derive(specta::Type))]
#[serde(rename_all = "kebab-case")]
pub enum MicrophoneHint {
    /// Somebody talks while muted.
    SpeakingWhileMuted,
    /// Nothing comes from the microphone.
    NothingHeard,
    /// The microphone is very noisy.
    VeryNoisy,
}

/// Speech within [`SPEECH_WINDOW`] after which somebody talks rather than coughs.
const TALKS: Duration = Duration::from_millis(600);
const SPEECH_WINDOW: Duration = Duration::from_secs(2);
/// The hint goes when nobody has talked for this long.
const QUIET_AGAIN: Duration = Duration::from_secs(4);
/// Zeros for so long are a microphone that is switched off.
const NOTHING_FOR: Duration = Duration::from_secs(3);
/// Noise above -42 dBFS for so long is very noisy; it is over below -46 dBFS for as long. A
/// quiet room is at -60 to -70, a laptop's fan at -50.
const NOISY_DBFS: f32 = -42.0;
const NOT_NOISY_DBFS: f32 = -46.0;
const NOISY_FOR: Duration = Duration::from_secs(5);

/// Decides what to tell the user. Pure: told the figures and the time, some times per second.
#[derive(Debug, Default)]
pub struct MicrophoneWatch {
    last: Option<(Instant, MicrophoneFigures)>,
    /// Speech while muted, and when it was counted.
    talked: Duration,
    talked_at: Option<Instant>,
    speaking_while_muted: bool,
    /// Since when the noise has been on the other side of its threshold.
    noise_turned: Option<Instant>,
    very_noisy: bool,
    nothing_heard: bool,
}

impl MicrophoneWatch {
    /// Takes in the latest figures. `muted`: by the user, in Ahoy.
    pub fn update(&mut self, figures: MicrophoneFigures, muted: bool, now: Instant) {
        let before = self.last.replace((now, figures));
        let Some((then, before)) = before else { return };
        let spoken = figures.spoken_blocks.wrapping_sub(before.spoken_blocks);
        let captured = figures.blocks.wrapping_sub(before.blocks);
        self.watch_speech(
            spoken.min(captured),
            muted,
            now,
            now.saturating_duration_since(then),
        );
        self.watch_noise(figures, captured > 0, now);
        self.nothing_heard = blocks(figures.silent_blocks) >= NOTHING_FOR;
    }

    /// There is no microphone, or another one: nothing is known.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// What to tell the user now, the most important first.
    pub fn hint(&self) -> Option<MicrophoneHint> {
        if self.nothing_heard {
            Some(MicrophoneHint::NothingHeard)
        } else if self.speaking_while_muted {
            Some(MicrophoneHint::SpeakingWhileMuted)
        } else if self.very_noisy {
            Some(MicrophoneHint::VeryNoisy)
        } else {
            None
        }
    }

    fn watch_speech(&mut self, spoken: u32, muted: bool, now: Instant, passed: Duration) {
        if !muted {
            self.talked = Duration::ZERO;
            self.speaking_while_muted = false;
            return;
        }
        // Speech fades out of the count at the pace at which it would fill the window.
        let fading = passed.mul_f64(TALKS.as_secs_f64() / SPEECH_WINDOW.as_secs_f64());
        self.talked = self.talked.saturating_sub(fading) + blocks(spoken);
        self.talked = self.talked.min(2 * TALKS);
        if spoken > 0 {
            self.talked_at = Some(now);
        }
        let quiet = self
            .talked_at
            .is_none_or(|at| now.saturating_duration_since(at) >= QUIET_AGAIN);
        if self.talked >= TALKS {
            self.speaking_while_muted = true;
        } else if quiet {
            self.speaking_while_muted = false;
        }
    }

    fn watch_noise(&mut self, figures: MicrophoneFigures, captured: bool, now: Instant) {
        let noise = figures.noise_floor_dbfs();
        let turned = if self.very_noisy {
            noise < NOT_NOISY_DBFS
        } else {
            captured && noise > NOISY_DBFS
        };
        if !turned {
            self.noise_turned = None;
            return;
        }
        let since = *self.noise_turned.get_or_insert(now);
        if now.saturating_duration_since(since) >= NOISY_FOR {
            self.very_noisy = !self.very_noisy;
            self.noise_turned = None;
        }
    }
}

fn blocks(count: u32) -> Duration {
    crate::BLOCK_DURATION.saturating_mul(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Lab {
        health: MicrophoneHealth,
        watch: MicrophoneWatch,
        now: Instant,
    }

    impl Lab {
        fn new() -> Self {
            Self {
                health: MicrophoneHealth::default(),
                watch: MicrophoneWatch::default(),
                now: Instant::now(),
            }
        }

        /// So many seconds of the same; looked at ten times per second.
        fn hear(&mut self, seconds: f32, muted: bool, heard: Heard) -> Option<MicrophoneHint> {
            for block in 0..(seconds * 100.0) as u32 {
                self.health.update(heard);
                self.now += crate::BLOCK_DURATION;
                if block % 10 == 9 {
                    self.watch.update(self.health.get(), muted, self.now);
                }
            }
            self.watch.hint()
        }
    }

    const ROOM: Heard = Heard {
        speech: 0.02,
        captured: 1e-6,
        cleaned: 1e-8,
    };
    const VOICE: Heard = Heard {
        speech: 0.97,
        captured: 1e-3,
        cleaned: 1e-3,
    };
    const FAN: Heard = Heard {
        speech: 0.05,
        captured: 3e-4,
        cleaned: 1e-6,
    };
    const ZEROS: Heard = Heard {
        speech: 0.0,
        captured: 0.0,
        cleaned: 0.0,
    };

    #[test]
    fn talking_while_muted_is_noticed_within_a_second_and_a_cough_is_not() {
        let mut lab = Lab::new();
        assert_eq!(lab.hear(5.0, true, ROOM), None);
        assert_eq!(lab.hear(0.3, true, VOICE), None);
        assert_eq!(lab.hear(3.0, true, ROOM), None);
        let hint = Some(MicrophoneHint::SpeakingWhileMuted);
        assert_eq!(lab.hear(1.0, true, VOICE), hint);
        assert_eq!(lab.hear(2.0, true, ROOM), hint, "a pause between sentences");
        assert_eq!(lab.hear(3.0, true, ROOM), None);
        assert_eq!(lab.hear(1.0, true, VOICE), hint);
        assert_eq!(lab.hear(0.1, false, VOICE), None, "unmuted");
    }

    #[test]
    fn a_far_voice_is_not_somebody_who_forgot_to_unmute() {
        let mut lab = Lab::new();
        let far = Heard {
            speech: 0.97,
            captured: 2e-6,
            cleaned: 1e-6,
        };
        assert_eq!(lab.hear(10.0, true, far), None);
    }

    #[test]
    fn zeros_are_noticed_and_forgotten_at_the_first_sound() {
        let mut lab = Lab::new();
        lab.hear(1.0, false, ROOM);
        assert_eq!(lab.hear(2.5, false, ZEROS), None);
        let hint = Some(MicrophoneHint::NothingHeard);
        assert_eq!(lab.hear(1.0, false, ZEROS), hint);
        assert_eq!(lab.hear(0.1, true, ROOM), None);
    }

    #[test]
    fn noise_has_to_last_and_does_not_flicker() {
        let mut lab = Lab::new();
        assert_eq!(lab.hear(10.0, false, ROOM), None);
        assert_eq!(lab.hear(4.0, false, FAN), None);
        let hint = Some(MicrophoneHint::VeryNoisy);
        // The floor rises by 3 dB per second from -60 to -35 dBFS.
        assert_eq!(lab.hear(9.0, false, FAN), hint);
        assert_eq!(
            lab.hear(30.0, false, VOICE),
            hint,
            "a voice does not hide it"
        );
        assert_eq!(lab.hear(2.0, false, ROOM), hint, "over only after a while");
        assert_eq!(lab.hear(6.0, false, ROOM), None);
    }

    #[test]
    fn a_voice_is_no_noise() {
        let mut lab = Lab::new();
        lab.hear(1.0, false, ROOM);
        for _ in 0..30 {
            assert_eq!(lab.hear(1.5, false, VOICE), None);
            assert_eq!(lab.hear(0.3, false, ROOM), None);
        }
    }
}
