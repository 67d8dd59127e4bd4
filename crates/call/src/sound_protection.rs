//! How the sound that is sent is protected: one encoder serves everybody, so what is known of all
//! the ways becomes one report of the worst.

use std::time::{Duration, Instant};

use ahoy_audio::opus::EncoderSettings;
use ahoy_audio::redundancy::{LossReport, Receiver, Redundancy};
use ahoy_media::units::Bitrate;

use crate::sound_losses::ReportedGaps;

/// Decides for all participants together.
#[derive(Debug, Default)]
pub struct SoundProtection {
    redundancy: Redundancy,
    told: Option<EncoderSettings>,
}

impl SoundProtection {
    /// Takes in what is known of the ways to everybody; says how to encode when that has changed.
    /// Nothing changes while nobody is connected.
    pub fn update(
        &mut self,
        reports: impl Iterator<Item = LossReport>,
        now: Instant,
    ) -> Option<EncoderSettings> {
        let settings = self.redundancy.update(&worst(reports)?, now);
        (self.told.replace(settings) != Some(settings)).then_some(settings)
    }

    /// What the sound to one participant takes on the wire: the picture gets what is left.
    pub fn bitrate(&self) -> Bitrate {
        let settings = self.redundancy.settings();
        let packets_per_second = 1.0 / settings.frame_length.duration().as_secs_f64();
        Bitrate::from_bps(settings.bitrate.bps() + (packets_per_second * PACKET_OVERHEAD) as u64)
    }
}

/// IPv6, UDP, RTP with transport-wide numbers, and the SRTP tag: bits per packet.
const PACKET_OVERHEAD: f64 = 8.0 * (40.0 + 8.0 + 20.0 + 10.0);

fn worst(reports: impl Iterator<Item = LossReport>) -> Option<LossReport> {
    reports.reduce(|a, b| LossReport {
        fraction_lost: a.fraction_lost.max(b.fraction_lost),
        mean_burst: a.mean_burst.max(b.mean_burst),
        round_trip: a.round_trip.max(b.round_trip),
        available: a.available.into_iter().chain(b.available).min(),
        receiver: match (a.receiver, b.receiver) {
            (Receiver::Ahoy, Receiver::Ahoy) => Receiver::Ahoy,
            _ => Receiver::Browser,
        },
    })
}

/// The report of one way, from what RTCP and the participant said.
pub fn report(
    fraction_lost: f64,
    gaps: &ReportedGaps,
    round_trip: Option<Duration>,
    available: Bitrate,
    ahoy: bool,
) -> LossReport {
    LossReport {
        fraction_lost: fraction_lost as f32,
        mean_burst: gaps.mean_burst(),
        round_trip: round_trip.unwrap_or_default(),
        available: Some(available),
        receiver: if ahoy {
            Receiver::Ahoy
        } else {
            Receiver::Browser
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_way_decides_and_a_change_is_told_once() {
        let now = Instant::now();
        let mut protection = SoundProtection::default();
        assert_eq!(protection.update(std::iter::empty(), now), None);
        let gaps = ReportedGaps::default();
        let good = report(0.0, &gaps, None, Bitrate::from_kbps(2000), true);
        let bad = report(0.2, &gaps, None, Bitrate::from_kbps(1000), true);
        let first = protection.update([good, good].into_iter(), now);
        let lossy = protection
            .update([good, bad].into_iter(), now)
            .expect("more protection");
        assert!(lossy.expected_loss >= 15 && Some(lossy) != first);
        assert_eq!(protection.update([bad, good].into_iter(), now), None);
        assert!(protection.bitrate() > lossy.bitrate);
    }

    #[test]
    fn a_browser_among_them_gets_no_deep_redundancy() {
        let now = Instant::now();
        let gaps = ReportedGaps::default();
        let lossy = |ahoy| report(0.25, &gaps, None, Bitrate::from_kbps(2000), ahoy);
        let update =
            |ahoy| SoundProtection::default().update([lossy(true), lossy(ahoy)].into_iter(), now);
        assert!(update(true).is_some_and(|settings| settings.dred > Duration::ZERO));
        assert!(update(false).is_none_or(|settings| settings.dred.is_zero()));
    }
}
