//! Pauses of a speaker, which the encoder need not look at: it takes as long over silence as over
//! speech, only to say that nothing needs to be sent.

use super::FRAME_SAMPLES;

/// Frames that the encoder itself takes for silence, one after the other, until it is believed.
const SURE: u32 = 5;
/// Samples whose loudness is looked at, 2.5 ms: the beginning of a word at the end of a frame must not
/// be lost in it.
const PART: usize = 120;
/// Mean square, times that of what the encoder took for silence, from which on a voice may have set in:
/// 3 dB more.
const LOUDER: f32 = 2.0;
/// How much quieter than the loudest of what was said lately nobody hears anything any more, what an echo
/// canceller leaves over included: 55 dB.
const INAUDIBLE: f32 = 3e-6;
/// What is left of the loudest with each frame: a decibel less in 5 s.
const FORGET_LOUDEST: f32 = 0.999;
/// What is left of the loudness of a pause with each frame that is quieter, so that a softer voice is
/// noticed when a noise has ended.
const FORGET: f32 = 0.9;
/// Samples after which the noise of the pause is told anew, 400 ms: as the encoder does it (RFC 6716
/// section 2.1.9).
const REFRESH: usize = 20 * FRAME_SAMPLES;

/// What to do with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frame {
    /// The encoder has to look at it.
    Unknown,
    /// It belongs to a pause; the receiver is to hear again how that sounds.
    Refresh,
    /// It belongs to a pause.
    Silence,
}

/// Watches frames and what the encoder says of them.
#[derive(Debug, Default)]
pub(super) struct Pause {
    /// Frames of silence in a row, as the encoder says.
    silent: u32,
    /// Mean square of the loudest part of them.
    loudness: f32,
    /// The same of all frames lately.
    loudest: f32,
    /// Samples since the encoder saw any.
    unseen: usize,
}

impl Pause {
    /// What to do with a frame whose [`loudest_part`] is this.
    pub(super) fn judge(&mut self, loudest: f32, samples: usize) -> Frame {
        self.loudest = loudest.max(FORGET_LOUDEST * self.loudest);
        let quiet = (LOUDER * self.loudness).max(INAUDIBLE * self.loudest);
        if self.silent < SURE || loudest > quiet {
            return Frame::Unknown;
        }
        // Never more by this, or a voice that swells slowly would pass for a pause.
        self.loudness = self.loudness.min(loudest.max(FORGET * self.loudness));
        self.unseen += samples;
        if self.unseen < REFRESH {
            return Frame::Silence;
        }
        self.unseen = 0;
        Frame::Refresh
    }

    /// The encoder has looked at an unknown frame, and took it for `silence` or not.
    pub(super) fn encoded(&mut self, loudest: f32, silence: bool) {
        self.unseen = 0;
        if silence {
            self.silent = self.silent.saturating_add(1);
            self.loudness = self.loudness.max(loudest);
        } else {
            self.silent = 0;
            self.loudness = 0.0;
        }
    }
}

/// The mean square of the loudest 2.5 ms.
pub(super) fn loudest_part(samples: &[f32]) -> f32 {
    let power = |part: &[f32]| part.iter().map(|it| it * it).sum::<f32>() / part.len() as f32;
    samples.chunks(PART).map(power).fold(0.0, f32::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOISE: f32 = 1e-6;

    /// After a pause with this noise has become sure.
    fn paused() -> Pause {
        let mut pause = Pause::default();
        for _ in 0..SURE {
            assert_eq!(pause.judge(NOISE, FRAME_SAMPLES), Frame::Unknown);
            pause.encoded(NOISE, true);
        }
        pause
    }

    #[test]
    fn a_pause_goes_on_until_it_gets_louder() {
        let mut pause = paused();
        assert_eq!(pause.judge(1.9 * NOISE, FRAME_SAMPLES), Frame::Silence);
        assert_eq!(pause.judge(2.1 * NOISE, FRAME_SAMPLES), Frame::Unknown);
        pause.encoded(2.1 * NOISE, false);
        assert_eq!(pause.judge(NOISE, FRAME_SAMPLES), Frame::Unknown);
    }

    #[test]
    fn a_voice_that_swells_is_noticed() {
        let mut pause = paused();
        let mut voice = NOISE;
        while pause.judge(voice, FRAME_SAMPLES) == Frame::Silence {
            voice *= 1.1;
        }
        assert!(voice < 2.3 * NOISE);
    }

    #[test]
    fn a_soft_voice_is_noticed_once_a_noise_has_ended() {
        let mut pause = paused();
        assert_eq!(pause.judge(0.5 * NOISE, FRAME_SAMPLES), Frame::Silence);
        for _ in 0..50 {
            pause.judge(0.01 * NOISE, FRAME_SAMPLES);
        }
        assert_eq!(pause.judge(0.5 * NOISE, FRAME_SAMPLES), Frame::Unknown);
    }

    #[test]
    fn what_a_loud_voice_leaves_over_is_a_pause() {
        let mut pause = Pause::default();
        assert_eq!(pause.judge(0.1, FRAME_SAMPLES), Frame::Unknown);
        pause.encoded(0.1, false);
        (0..SURE).for_each(|_| pause.encoded(1e-10, true));
        assert_eq!(pause.judge(2e-7, FRAME_SAMPLES), Frame::Silence);
        assert_eq!(pause.judge(4e-7, FRAME_SAMPLES), Frame::Unknown);
    }

    #[test]
    fn the_noise_is_told_every_400_ms() {
        let mut pause = paused();
        let refreshed = |pause: &mut Pause| {
            let frames = (1..50).find(|_| pause.judge(NOISE, FRAME_SAMPLES) == Frame::Refresh);
            frames.expect("it is told")
        };
        assert_eq!(refreshed(&mut pause), 20);
        assert_eq!(refreshed(&mut pause), 20);
    }

    #[test]
    fn zeros_are_a_pause_and_the_loudest_part_counts() {
        let mut pause = Pause::default();
        (0..SURE).for_each(|_| pause.encoded(0.0, true));
        assert_eq!(pause.judge(0.0, FRAME_SAMPLES), Frame::Silence);
        let mut frame = [0.0; FRAME_SAMPLES];
        frame[FRAME_SAMPLES - PART..].fill(0.1);
        assert!((loudest_part(&frame) - 0.01).abs() < 1e-6);
    }
}
