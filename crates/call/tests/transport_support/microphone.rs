//! A modelled microphone and sound encoder, with the real decision about how sound is protected.

use std::time::Instant;

use ahoy_audio::opus::FrameLength;
use ahoy_call::sound_losses::{ReportedGaps, ReportedLoss};
use ahoy_call::sound_protection::{SoundProtection, report};
use ahoy_media::frame::EncodedAudio;
use ahoy_media::units::Bitrate;

use crate::transport_support::Peer;

/// Who says what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Speech {
    /// All the time.
    #[default]
    Constant,
    /// A quarter of each second: the pulses of `tests/lab`. In between only a sign of life is sent, at
    /// once and every 400 ms (DTX).
    Pulses,
}

/// A pulse, and then signs of life, in ms.
const PULSE: u128 = 250;
const SIGN_OF_LIFE: u128 = 400;

/// Ticks of the sound's RTP clock per millisecond.
const TICKS_PER_MS: u128 = 48;

pub(crate) struct Microphone {
    speech: Speech,
    protection: SoundProtection,
    gaps: ReportedGaps,
    loss: ReportedLoss,
    zero: Instant,
    next: Instant,
    sent: (u64, u64),
}

impl Microphone {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            speech: Speech::default(),
            protection: SoundProtection::default(),
            gaps: ReportedGaps::default(),
            loss: ReportedLoss::default(),
            zero: now,
            next: now,
            sent: (0, 0),
        }
    }

    /// The clock begins.
    pub(crate) fn begin(&mut self, now: Instant) {
        (self.zero, self.next) = (now, now);
    }

    pub(crate) fn set_speech(&mut self, speech: Speech) {
        self.speech = speech;
    }

    /// What the sound takes on the wire. `gaps`: packets missing and gaps, as the other side counts.
    pub(crate) fn adapt(&mut self, now: Instant, peer: &Peer, gaps: (u64, u64)) -> Bitrate {
        self.gaps.note(gaps.0, gaps.1);
        let heard = peer.transport.sound_reception().map(|sound| {
            let share = self.loss.note(now, sound.packets_sent, sound.packets_lost);
            let target = peer.transport.path_estimate().target;
            report(share, &self.gaps, sound.round_trip_time, target, true)
        });
        self.protection.encoded(now, self.sent.0, self.sent.1);
        let _ = self.protection.update(heard.into_iter(), now);
        self.protection.bitrate()
    }

    /// The packet of this moment, if there is one.
    pub(crate) fn packet(&mut self, now: Instant) -> Option<EncodedAudio> {
        if now < self.next {
            return None;
        }
        let settings = self.protection.settings();
        let length = settings.frame_length.duration();
        let age = (self.next - self.zero).as_millis();
        self.next += length;
        let silent = match (self.speech, (age % 1000).checked_sub(PULSE)) {
            (Speech::Pulses, Some(silence)) if silence % SIGN_OF_LIFE < length.as_millis() => true,
            (Speech::Pulses, Some(_)) => return None,
            _ => false,
        };
        let times = settings.copies.times();
        let bitrate = settings.bitrate.bps() as f64 / times as f64;
        let bytes = bitrate / 8.0 * length.as_secs_f64();
        let mut data = vec![0; if silent { 1 } else { bytes as usize }];
        // SILK, wideband, one frame of 20, 40 or 60 ms (RFC 6716 section 3.1).
        let config = match settings.frame_length {
            FrameLength::Ms20 => 9,
            FrameLength::Ms40 => 10,
            FrameLength::Ms60 => 11,
        };
        data[0] = config << 3;
        self.sent.0 += 1;
        self.sent.1 += data.len() as u64 * times;
        Some(EncodedAudio {
            data: data.into(),
            rtp_timestamp: (age * TICKS_PER_MS) as u32,
            captured_at: now,
            copies: settings.copies,
        })
    }
}
