//! When speech is worth enhancing (OSCE LACE): it costs as much as decoding.

use super::packet::fec_samples;
use ahoy_media::units::AUDIO_CLOCK_HZ;

/// Bits per second up to which whatever is said is enhanced, and what is sent with repair data, which
/// leaves less for the speech and is coarse itself.
const PLAIN: f32 = 24_000.0;
const REPAIRED: f32 = 36_000.0;
/// Once it is enhanced, it is up to so much more.
const HYSTERESIS: f32 = 4_000.0;
/// Share of a packet in the smoothed bit rate.
const WEIGHT: f32 = 0.02;
/// The same of one of less than half the rate: it may hold a pause, and that of speech is wanted.
const SMALL_WEIGHT: f32 = 0.001;
/// Packets after which repair data is no longer expected; some have none in between.
const NO_REPAIRS: u32 = 50;

/// Watches the packets of a stream.
#[derive(Debug)]
pub(super) struct Enhancement {
    /// Smoothed, in bits per second.
    bitrate: f32,
    /// Packets since the last one with repair data.
    plain: u32,
    worthwhile: bool,
}

impl Enhancement {
    /// Nothing is enhanced before something is known.
    pub(super) const fn new() -> Self {
        Self {
            bitrate: REPAIRED + HYSTERESIS,
            plain: NO_REPAIRS,
            worthwhile: false,
        }
    }

    /// A packet of so many samples, which is not silence.
    pub(super) fn observe(&mut self, packet: &[u8], samples: usize) {
        self.plain = self.plain.saturating_add(1);
        if fec_samples(packet) > 0 {
            self.repair_data();
        }
        let seconds = samples.max(1) as f32 / AUDIO_CLOCK_HZ as f32;
        let now = packet.len() as f32 * 8.0 / seconds;
        let weight = if now < self.bitrate / 2.0 {
            SMALL_WEIGHT
        } else {
            WEIGHT
        };
        self.bitrate += (now - self.bitrate) * weight;
        let most = if self.plain < NO_REPAIRS {
            REPAIRED
        } else {
            PLAIN
        };
        let hysteresis = if self.worthwhile { HYSTERESIS } else { 0.0 };
        self.worthwhile = self.bitrate < most + hysteresis;
    }

    /// A packet has data to repair others.
    pub(super) const fn repair_data(&mut self) {
        self.plain = 0;
    }

    /// Whether it would be heard.
    pub(super) const fn is_worthwhile(&self) -> bool {
        self.worthwhile
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::opus::tests::encode_with;
    use crate::opus::{EncoderSettings, FRAME_SAMPLES};
    use crate::pcm::testing::voice;
    use ahoy_media::units::Bitrate;

    /// After six seconds of a voice at this rate.
    fn watched(kbps: u64, expected_loss: u8) -> Enhancement {
        let settings = EncoderSettings {
            bitrate: Bitrate::from_kbps(kbps),
            expected_loss,
            ..EncoderSettings::default()
        };
        let mut enhancement = Enhancement::new();
        for packet in encode_with(&voice(300 * FRAME_SAMPLES), settings) {
            enhancement.observe(&packet, FRAME_SAMPLES);
        }
        enhancement
    }

    #[test]
    fn low_rates_are_enhanced_and_middling_ones_with_repair_data() {
        assert!(watched(16, 0).is_worthwhile());
        assert!(!watched(32, 0).is_worthwhile());
        assert!(watched(30, 20).is_worthwhile());
        assert!(!watched(48, 20).is_worthwhile());
    }

    #[test]
    fn small_packets_of_a_pause_do_not_pass_for_a_low_rate() {
        let mut enhancement = watched(40, 0);
        let noise = [0x78, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14];
        for _ in 0..250 {
            enhancement.observe(&noise, FRAME_SAMPLES);
        }
        assert!(!enhancement.is_worthwhile());
    }
}
