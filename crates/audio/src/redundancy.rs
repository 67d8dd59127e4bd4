//! Decides how the sound we send is protected: which bit rate, how much of it for repair data, and
//! of which kind.
//!
//! Pure: it is told what the other side reports and what the network allows, and says how to
//! encode. Sound comes before pictures: what it asks for is to be taken from the available bit rate
//! before video gets any.
//!
//! | loss | bursts | to Ahoy, far away | to Ahoy, near or with little room | to a browser |
//! |---|---|---|---|---|
//! | none | | no repair data | the same | the same |
//! | some | short | FEC | FEC | FEC |
//! | [`NOT_FEW`] or more | short | every packet three or four times | FEC, from [`MUCH`] on and DRED | FEC |
//! | some | long | the same, further apart | DRED, and FEC if there is room | FEC |
//!
//! More protection is taken at once, less only after [`PATIENCE`] without need.

use std::time::{Duration, Instant};

use ahoy_media::frame::Copies;
use ahoy_media::units::Bitrate;

use crate::opus::{Bandwidth, EncoderSettings, FrameLength, MAX_VOICE_BITRATE, MIN_BITRATE};

/// Share of packets lost from which repair data is sent.
const SOME: f32 = 0.005;
/// Share of packets lost from which so often two in a row are lost that FEC alone, which restores
/// only the last, falls behind.
pub const MUCH: f32 = 0.13;
/// Share of packets lost from which whole copies of packets are better than what FEC restores.
const NOT_FEW: f32 = 0.08;
/// Packets lost in a row, on average, from which FEC alone is of little use.
const LONG_BURST: f32 = 1.6;
/// Packets lost in a row from which FEC restores so few that all goes into DRED, unless there is
/// room for both.
const VERY_LONG_BURST: f32 = 2.5;
/// How long loss must have been lower before protection is taken back. Losses come and go within
/// seconds, and each change is paid for by the receiver's delay.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A clean path: more is not heard.
const CLEAN: Bitrate = Bitrate::from_kbps(40);
/// With repair data.
const PROTECTED: Bitrate = Bitrate::from_kbps(48);
/// With FEC and DRED, which the encoder gives room only above 20 kbit/s for the speech itself.
const HEAVILY_PROTECTED: Bitrate = Bitrate::from_kbps(64);
/// Sound takes at most this share of what the network allows, down to [`MIN_BITRATE`]: the rest is
/// for packet headers, which are as large as the sound at low rates.
const SHARE: f64 = 0.8;
/// Below this, packets are made longer: headers of 20 ms packets take 16 kbit/s and more.
const SCARCE: Bitrate = Bitrate::from_kbps(20);
const VERY_SCARCE: Bitrate = Bitrate::from_kbps(15);
/// Scarcity is over above this many times the limit.
const RELIEF: f64 = 1.25;
/// Below this, FEC and DRED together starve the speech.
const ROOM_FOR_BOTH: Bitrate = Bitrate::from_kbps(28);
/// On shorter paths lost packets are asked for again, which costs less, and copies would only make
/// the delay wander between two kinds of late packets.
const TOO_FAR_TO_ASK: Duration = Duration::from_millis(100);
/// A path is near again below this share of it.
const NEARER: f64 = 0.8;
/// From this on there is room for two copies of each packet, or for three; and how much of it is
/// enough to go on with as many, since the receiver's delay follows each change.
const ROOM_FOR_COPIES: Bitrate = Bitrate::from_kbps(36);
const ROOM_FOR_THREE: Bitrate = Bitrate::from_kbps(60);
const ENOUGH: f64 = 0.8;
/// Below this, FEC goes only with the lower half of the spectrum.
const ROOM_FOR_FULL_BAND: Bitrate = Bitrate::from_kbps(56);

/// What the other side's decoder makes use of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Receiver {
    /// In-band FEC at most, as in browsers. Deep redundancy would only cost.
    #[default]
    Browser,
    /// Ahoy: FEC, copies, deep redundancy (DRED), and a buffer that waits for them.
    Ahoy,
}

/// What is known about the way to one receiver. With several, the worst of each.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossReport {
    /// Share of packets lost lately, 0 to 1 (RFC 3550 section 6.4.1: fraction lost / 256). Before
    /// repair: retransmissions and FEC do not count as received.
    pub fraction_lost: f32,
    /// Packets lost in a row on average, 1 or more; 1 when unknown.
    pub mean_burst: f32,
    /// Round trip time.
    pub round_trip: Duration,
    /// What the network is thought to allow for everything, packet headers included; `None` while
    /// nobody knows.
    pub available: Option<Bitrate>,
    /// What the other side can make use of.
    pub receiver: Receiver,
}

impl Default for LossReport {
    fn default() -> Self {
        Self {
            fraction_lost: 0.0,
            mean_burst: 1.0,
            round_trip: Duration::ZERO,
            available: None,
            receiver: Receiver::Browser,
        }
    }
}

/// Kinds of protection, the strongest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Protection {
    None,
    /// For losses of single packets.
    Single,
    /// For many losses.
    Many,
    /// For bursts.
    Bursts,
}

/// The controller of one sender.
#[derive(Debug, Clone)]
pub struct Redundancy {
    protection: Protection,
    /// The loss that is protected against.
    loss: f32,
    /// How many packets apart copies go.
    step: u8,
    /// Lost packets cannot be asked for again in time.
    far: bool,
    /// Since when less would do.
    calm_since: Option<Instant>,
    frame_length: FrameLength,
    settings: EncoderSettings,
}

impl Default for Redundancy {
    fn default() -> Self {
        Self {
            protection: Protection::Single,
            loss: 0.0,
            step: 1,
            far: false,
            calm_since: None,
            frame_length: FrameLength::Ms20,
            settings: EncoderSettings::default(),
        }
    }
}

impl Redundancy {
    /// How to encode, as decided last.
    pub fn settings(&self) -> EncoderSettings {
        self.settings
    }

    /// Takes in a report, of which there may be any number per second, and says how to encode from
    /// now on: for [`AudioSend::set_encoding`](crate::send::AudioSend::set_encoding) when it
    /// differs from before.
    pub fn update(&mut self, report: &LossReport, now: Instant) -> EncoderSettings {
        let loss = sane(report.fraction_lost, 0.0, 1.0);
        let burst = sane(report.mean_burst, 1.0, 50.0);
        self.decide_protection(wanted(loss, burst), loss, step(burst), now);
        self.decide_frame_length(report.available);
        self.far = report.round_trip
            >= if self.far {
                TOO_FAR_TO_ASK.mul_f64(NEARER)
            } else {
                TOO_FAR_TO_ASK
            };
        self.settings = self.compose(burst, report);
        self.settings
    }

    fn decide_protection(&mut self, wanted: Protection, loss: f32, step: u8, now: Instant) {
        self.step = self.step.max(step);
        // Loss that is a little lower than before is the same loss.
        if wanted > self.protection || loss > self.loss {
            self.protection = wanted.max(self.protection);
            self.loss = loss.max(self.loss);
            self.calm_since = None;
            return;
        }
        if wanted == self.protection && loss > 0.6 * self.loss {
            self.calm_since = None;
            return;
        }
        let since = *self.calm_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= PATIENCE {
            self.protection = wanted;
            self.loss = loss;
            self.step = step;
            self.calm_since = None;
        }
    }

    /// Longer packets while there is little room, and shorter ones not before there is clearly
    /// more.
    fn decide_frame_length(&mut self, available: Option<Bitrate>) {
        let Some(available) = available else {
            return;
        };
        let below = |limit: Bitrate, current: bool| {
            let limit = limit.bps() as f64 * if current { RELIEF } else { 1.0 };
            (available.bps() as f64 * SHARE) < limit
        };
        self.frame_length = if below(VERY_SCARCE, self.frame_length == FrameLength::Ms60) {
            FrameLength::Ms60
        } else if below(SCARCE, self.frame_length >= FrameLength::Ms40) {
            FrameLength::Ms40
        } else {
            FrameLength::Ms20
        };
    }

    /// Whether every packet can be sent so often.
    fn has_room_for(&self, times: u64, from: Bitrate, bitrate: Bitrate) -> bool {
        let part = if self.settings.copies.times() < times {
            1.0
        } else {
            ENOUGH
        };
        bitrate.bps() as f64 >= part * from.bps() as f64
    }

    fn compose(&self, burst: f32, report: &LossReport) -> EncoderSettings {
        let protection = match (report.receiver, self.protection) {
            (Receiver::Browser, Protection::None) => Protection::None,
            (Receiver::Browser, _) => Protection::Single,
            (Receiver::Ahoy, protection) => protection,
        };
        let bitrate = bitrate(protection, self.loss, report.available);
        let copied = report.receiver == Receiver::Ahoy
            && self.far
            && (self.loss >= NOT_FEW || protection == Protection::Bursts)
            && self.has_room_for(3, ROOM_FOR_COPIES, bitrate);
        if copied {
            return EncoderSettings {
                bitrate,
                expected_loss: 0,
                fec: false,
                dred: Duration::ZERO,
                frame_length: self.frame_length,
                bandwidth: Bandwidth::Wide,
                copies: if self.has_room_for(4, ROOM_FOR_THREE, bitrate) {
                    Copies::three(self.step)
                } else {
                    Copies::two(self.step)
                },
            };
        }
        let room_for_both = bitrate >= ROOM_FOR_BOTH;
        let bursts_only =
            protection == Protection::Bursts && burst >= VERY_LONG_BURST && bitrate < PROTECTED;
        let dred = match protection {
            Protection::None | Protection::Single => Duration::ZERO,
            // As far back as two or three packets in a row: more would take from the speech.
            Protection::Many => Duration::from_millis(120),
            Protection::Bursts => Duration::from_millis(300),
        };
        let percent = (self.loss * 100.0).round() as u8;
        let expected_loss = match protection {
            Protection::None => 0,
            // Below six, libopus gives repair data little room.
            Protection::Single => percent.clamp(6, 30),
            // With less, it gives DRED no room beside FEC at low rates.
            Protection::Many if bitrate < PROTECTED => percent.max(30),
            // With less, it gives DRED too little room to be of use.
            Protection::Many | Protection::Bursts => percent.max(20),
        };
        let fec = match protection {
            Protection::None => false,
            Protection::Single => true,
            Protection::Many | Protection::Bursts => room_for_both && !bursts_only,
        };
        EncoderSettings {
            bitrate,
            expected_loss,
            fec,
            dred,
            frame_length: self.frame_length,
            bandwidth: if protection > Protection::None && bitrate < ROOM_FOR_FULL_BAND {
                Bandwidth::Wide
            } else {
                Bandwidth::Full
            },
            copies: Copies::NONE,
        }
    }
}

fn sane(value: f32, least: f32, most: f32) -> f32 {
    if value.is_nan() {
        least
    } else {
        value.clamp(least, most)
    }
}

/// So far apart that one burst seldom takes two of them.
fn step(burst: f32) -> u8 {
    if burst >= VERY_LONG_BURST {
        3
    } else if burst >= LONG_BURST {
        2
    } else {
        1
    }
}

fn wanted(loss: f32, burst: f32) -> Protection {
    if loss < SOME {
        Protection::None
    } else if burst >= LONG_BURST && loss >= 0.02 {
        Protection::Bursts
    } else if loss >= MUCH {
        Protection::Many
    } else {
        Protection::Single
    }
}

fn bitrate(protection: Protection, loss: f32, available: Option<Bitrate>) -> Bitrate {
    let wanted = match protection {
        Protection::None => CLEAN,
        Protection::Single if loss < NOT_FEW => CLEAN,
        Protection::Single => PROTECTED,
        Protection::Many | Protection::Bursts => HEAVILY_PROTECTED,
    };
    let most = available.map_or(MAX_VOICE_BITRATE, |available| {
        Bitrate::from_bps((available.bps() as f64 * SHARE) as u64)
    });
    wanted.min(most).clamp(MIN_BITRATE, MAX_VOICE_BITRATE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn report(percent: f32, mean_burst: f32, kbps: u64) -> LossReport {
        LossReport {
            fraction_lost: percent / 100.0,
            mean_burst,
            available: Some(Bitrate::from_kbps(kbps)),
            round_trip: Duration::from_millis(150),
            receiver: Receiver::Ahoy,
        }
    }

    fn decided(report: &LossReport) -> EncoderSettings {
        let mut redundancy = Redundancy::default();
        let start = Instant::now();
        (0..20)
            .map(|second| redundancy.update(report, start + Duration::from_secs(second)))
            .last()
            .expect("twenty")
    }

    #[test]
    fn a_clean_path_has_no_repair_data() {
        let settings = decided(&report(0.0, 1.0, 2_000));
        assert_eq!((settings.fec, settings.dred), (false, Duration::ZERO));
        assert_eq!((settings.bitrate, settings.expected_loss), (CLEAN, 0));
        assert_eq!(settings.bandwidth, Bandwidth::Full);
    }

    #[test]
    fn single_losses_get_fec_and_enough_declared_loss_for_it() {
        let settings = decided(&report(2.0, 1.0, 2_000));
        assert_eq!((settings.fec, settings.dred), (true, Duration::ZERO));
        assert!(settings.expected_loss >= 6);
    }

    #[test]
    fn many_losses_and_bursts_get_copies_and_more_bits() {
        let many = decided(&report(20.0, 1.2, 2_000));
        let bursts = decided(&report(20.0, 3.0, 2_000));
        for (settings, step) in [(many, 1), (bursts, 3)] {
            assert_eq!(settings.copies, Copies::three(step));
            assert_eq!((settings.fec, settings.dred), (false, Duration::ZERO));
            assert_eq!(settings.bitrate, MAX_VOICE_BITRATE);
        }
    }

    #[test]
    fn fewer_losses_or_less_room_get_fewer_copies() {
        assert_eq!(decided(&report(10.0, 1.1, 2_000)).copies, Copies::two(1));
        assert_eq!(decided(&report(20.0, 2.0, 60)).copies, Copies::two(2));
        assert_eq!(decided(&report(5.0, 1.1, 2_000)).copies, Copies::NONE);
    }

    #[test]
    fn a_path_that_carries_now_more_and_now_less_changes_no_copies() {
        let mut redundancy = Redundancy::default();
        let mut copies = |kbps| {
            redundancy
                .update(&report(20.0, 3.0, kbps), Instant::now())
                .copies
        };
        let found = [50, 74, 76, 62, 59, 46, 37, 35].map(&mut copies);
        let (none, two, three) = (Copies::NONE, Copies::two(3), Copies::three(3));
        assert_eq!(found, [two, two, three, three, two, two, two, none]);
    }

    #[test]
    fn near_by_lost_packets_are_asked_for_and_not_copied() {
        let mut near = report(20.0, 3.0, 2_000);
        near.round_trip = Duration::from_millis(40);
        let settings = decided(&near);
        assert_eq!(settings.copies, Copies::NONE);
        assert!(settings.fec && !settings.dred.is_zero());
        // A round trip about the limit changes nothing all the time.
        let mut redundancy = Redundancy::default();
        let mut copies = |milliseconds| {
            near.round_trip = Duration::from_millis(milliseconds);
            redundancy.update(&near, Instant::now()).copies
        };
        assert_eq!(copies(99), Copies::NONE);
        assert_eq!(copies(101), Copies::three(3));
        assert_eq!(copies(90), Copies::three(3));
        assert_eq!(copies(79), Copies::NONE);
    }

    #[test]
    fn with_little_room_many_losses_and_bursts_get_dred() {
        let many = decided(&report(20.0, 1.2, 40));
        assert!(many.fec && many.dred >= Duration::from_millis(100));
        let bursts = decided(&report(20.0, 3.0, 40));
        assert!(!bursts.fec && bursts.dred > many.dred, "{bursts:?}");
        assert_eq!((many.copies, bursts.copies), (Copies::NONE, Copies::NONE));
    }

    #[test]
    fn browsers_get_what_they_decode() {
        let mut browser = report(25.0, 3.0, 2_000);
        browser.receiver = Receiver::Browser;
        let settings = decided(&browser);
        assert_eq!((settings.fec, settings.dred), (true, Duration::ZERO));
        assert_eq!(settings.copies, Copies::NONE);
    }

    #[test]
    fn protection_comes_at_once_and_goes_after_a_while() {
        let mut redundancy = Redundancy::default();
        let start = Instant::now();
        let at = |second: u64| start + Duration::from_secs(second);
        let first = redundancy.update(&report(20.0, 3.0, 500), at(0));
        assert_eq!(first.copies, Copies::three(3));
        // Loss that comes and goes changes nothing.
        for second in 1..60 {
            let percent = if second % 7 == 0 { 20.0 } else { 0.0 };
            let burst = if second % 3 == 0 { 3.0 } else { 2.0 };
            let settings = redundancy.update(&report(percent, burst, 500), at(second));
            assert_eq!(settings, first, "at {second} s");
        }
        for second in 60..80 {
            redundancy.update(&report(0.0, 1.0, 500), at(second));
        }
        assert_eq!(redundancy.settings().copies, Copies::NONE);
        assert!(!redundancy.settings().fec);
    }

    #[test]
    fn little_room_makes_packets_longer_and_the_limit_is_no_seesaw() {
        let mut redundancy = Redundancy::default();
        let now = Instant::now();
        let mut length = |kbps| redundancy.update(&report(0.0, 1.0, kbps), now).frame_length;
        assert_eq!(length(100), FrameLength::Ms20);
        assert_eq!(length(24), FrameLength::Ms40);
        assert_eq!(length(26), FrameLength::Ms40);
        assert_eq!(length(17), FrameLength::Ms60);
        assert_eq!(length(20), FrameLength::Ms60);
        assert_eq!(length(40), FrameLength::Ms20);
    }

    proptest! {
        #[test]
        fn whatever_is_reported_the_settings_are_sensible(
            reports in proptest::collection::vec(
                (any::<f32>(), any::<f32>(), proptest::option::of(any::<u64>()), any::<bool>()),
                1..40,
            ),
        ) {
            let mut redundancy = Redundancy::default();
            let start = Instant::now();
            for (second, (fraction_lost, mean_burst, available, ahoy)) in reports.into_iter().enumerate() {
                let report = LossReport {
                    fraction_lost,
                    mean_burst,
                    available: available.map(Bitrate::from_bps),
                    receiver: if ahoy { Receiver::Ahoy } else { Receiver::Browser },
                    ..LossReport::default()
                };
                let settings = redundancy.update(&report, start + Duration::from_secs(second as u64));
                prop_assert!((MIN_BITRATE..=MAX_VOICE_BITRATE).contains(&settings.bitrate));
                prop_assert!(settings.expected_loss <= 100);
                prop_assert!(ahoy || (settings.dred.is_zero() && settings.copies == Copies::NONE));
                prop_assert!(settings.expected_loss >= 6 || (!settings.fec && settings.dred.is_zero()));
            }
        }
    }
}
