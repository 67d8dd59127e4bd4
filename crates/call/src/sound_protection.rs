//! How the sound that is sent is protected: one encoder serves everybody, so what is known of all
//! the ways becomes one report of the worst.

use std::collections::VecDeque;
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
    spent: SoundSpent,
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

    /// Takes in how many packets of sound have been encoded, and bytes in them, since the beginning.
    pub fn encoded(&mut self, now: Instant, packets: u64, bytes: u64) {
        self.spent.note(now, packets, bytes);
    }

    /// What the sound to one participant takes on the wire: the picture gets what is left. That is
    /// what it took at most of late, since silence is not sent (DTX).
    pub fn bitrate(&self) -> Bitrate {
        let settings = self.redundancy.settings();
        let packets_per_second = 1.0 / settings.frame_length.duration().as_secs_f64();
        let most = settings.bitrate.bps() + (packets_per_second * PACKET_OVERHEAD) as u64;
        let spent = self.spent.most().unwrap_or(f64::INFINITY);
        Bitrate::from_bps((spent as u64).min(most))
    }

    /// How to encode, as decided last.
    pub fn settings(&self) -> EncoderSettings {
        self.redundancy.settings()
    }
}

/// IPv6, UDP, RTP with transport-wide numbers, and the SRTP tag: bits per packet.
const PACKET_OVERHEAD: f64 = 8.0 * (40.0 + 8.0 + 20.0 + 10.0);

/// Share of what a way carries that the sound's bit rate is chosen from, from this share of lost
/// packets on: repair data is worth more than a larger picture, and where without it one could not
/// be understood, than half of the picture.
const SHARES: [(f64, f64); 3] = [(0.08, 0.5), (0.005, 0.3), (0.0, 0.2)];

/// What the sound took is measured over this time: long enough that the pauses between words count,
/// short enough that the picture makes room for who begins to speak.
const MEASURED: Duration = Duration::from_millis(500);
/// The most of so many such times counts, 6 s: who makes a pause goes on.
const MEASURED_TIMES: usize = 12;
/// An encoder with a variable rate takes more at times.
const VARIES: f64 = 1.1;

/// What the sound has taken of late.
#[derive(Debug, Default)]
struct SoundSpent {
    began: Option<(Instant, u64, u64)>,
    /// bit/s on the wire, the newest last.
    rates: VecDeque<f64>,
}

impl SoundSpent {
    fn note(&mut self, now: Instant, packets: u64, bytes: u64) {
        let (began, packets_before, bytes_before) =
            *self.began.get_or_insert((now, packets, bytes));
        let time = now.saturating_duration_since(began);
        if time < MEASURED {
            return;
        }
        self.began = Some((now, packets, bytes));
        let bits = bytes.saturating_sub(bytes_before) as f64 * 8.0
            + packets.saturating_sub(packets_before) as f64 * PACKET_OVERHEAD;
        if self.rates.len() == MEASURED_TIMES {
            self.rates.pop_front();
        }
        self.rates.push_back(bits / time.as_secs_f64());
    }

    /// bit/s; `None` before so much is known.
    fn most(&self) -> Option<f64> {
        let known = self.rates.len() == MEASURED_TIMES;
        known.then(|| VARIES * self.rates.iter().copied().fold(0.0, f64::max))
    }
}

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

/// What the sound may make use of, of what a way carries. Where there is little, it does not take all
/// that it could use before the picture gets any.
fn for_sound(fraction_lost: f64, available: Bitrate) -> Bitrate {
    let known = SHARES.iter().find(|(from, _)| fraction_lost >= *from);
    let share = known.map_or(0.0, |(_, share)| *share);
    Bitrate::from_bps((available.bps() as f64 * share) as u64)
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
        available: Some(for_sound(fraction_lost, available)),
        receiver: if ahoy {
            Receiver::Ahoy
        } else {
            Receiver::Browser
        },
    }
}

#[cfg(test)]
mod tests {
    use ahoy_bandwidth::allocation::allocate;
    use ahoy_bandwidth::ladder::{DegradationPreference, Ladder};
    use ahoy_media::frame::Copies;
    use ahoy_media::units::VideoConstraints;

    use super::*;

    #[test]
    fn the_worst_way_decides_and_a_change_is_told_once() {
        let now = Instant::now();
        let mut protection = SoundProtection::default();
        assert_eq!(protection.update(std::iter::empty(), now), None);
        let gaps = ReportedGaps::default();
        let good = report(0.0, &gaps, None, Bitrate::from_kbps(2000), true);
        let far = Some(Duration::from_millis(150));
        let bad = report(0.2, &gaps, far, Bitrate::from_kbps(1000), true);
        let first = protection.update([good, good].into_iter(), now);
        let lossy = protection
            .update([good, bad].into_iter(), now)
            .expect("more protection");
        assert!(lossy.copies != Copies::NONE && Some(lossy) != first);
        assert_eq!(protection.update([bad, good].into_iter(), now), None);
        assert!(protection.bitrate() > lossy.bitrate);
    }

    #[test]
    fn sound_leaves_room_for_a_picture_that_moves() {
        let bitrate = |kbps| {
            let mut protection = SoundProtection::default();
            let gaps = ReportedGaps::default();
            let way = report(0.0, &gaps, None, Bitrate::from_kbps(kbps), true);
            protection.update([way].into_iter(), Instant::now());
            protection.bitrate()
        };
        for kbps in [120, 140] {
            let path = Bitrate::from_kbps(kbps);
            let picture = allocate(path, bitrate(kbps), 30, 0.0);
            let wanted = VideoConstraints::default();
            let ladder = Ladder::new(DegradationPreference::Balanced, wanted, picture);
            assert_eq!(ladder.constraints().frame_rate, 30, "{kbps}: {picture:?}");
        }
        assert_eq!(bitrate(2000), bitrate(300));
    }

    #[test]
    fn more_losses_leave_the_sound_more() {
        let way = |lost| {
            let gaps = ReportedGaps::default();
            report(lost, &gaps, None, Bitrate::from_kbps(100), true).available
        };
        let shares = [0.0, 0.02, 0.2, 1.0].map(way);
        let expected = [20, 30, 50, 50].map(|kbps| Some(Bitrate::from_kbps(kbps)));
        assert_eq!(shares, expected);
    }

    #[test]
    fn silence_leaves_its_bits_to_the_picture_until_somebody_speaks() {
        let start = Instant::now();
        let mut protection = SoundProtection::default();
        let most = protection.bitrate();
        let (mut packets, mut now) = (0, start);
        let mut run = |protection: &mut SoundProtection, seconds: u64, per_tick: u64| {
            for _ in 0..seconds * 20 {
                now += Duration::from_millis(50);
                packets += per_tick;
                protection.encoded(now, packets, packets * 100);
            }
        };
        run(&mut protection, 3, 0);
        assert_eq!(protection.bitrate(), most, "not known yet");
        run(&mut protection, 10, 0);
        assert_eq!(protection.bitrate(), Bitrate::default());
        // 60 packets of 100 bytes a second: what was decided is the most.
        run(&mut protection, 1, 3);
        assert_eq!(protection.bitrate(), most);
        run(&mut protection, 4, 0);
        assert_eq!(protection.bitrate(), most, "a pause");
        run(&mut protection, 4, 0);
        assert!(protection.bitrate() < most);
    }

    #[test]
    fn a_browser_among_them_gets_no_copies() {
        let now = Instant::now();
        let gaps = ReportedGaps::default();
        let far = Some(Duration::from_millis(150));
        let lossy = |ahoy| report(0.25, &gaps, far, Bitrate::from_kbps(2000), ahoy);
        let update =
            |ahoy| SoundProtection::default().update([lossy(true), lossy(ahoy)].into_iter(), now);
        assert!(update(true).is_some_and(|settings| settings.copies != Copies::NONE));
        assert!(update(false).is_none_or(|settings| settings.copies == Copies::NONE));
    }
}
