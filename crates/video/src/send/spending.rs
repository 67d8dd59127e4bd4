//! What an encoder spends beyond what it was asked for, and what to ask for so that it does not.
//!
//! libvpx keeps to a bitrate that stays as it is. One that follows a path changes many times a second, and
//! small pictures then come out a fifth larger than asked for: enough to keep the queue of a slow path
//! full. So what comes out is counted, and what was too much is asked less for until it is made up.

use std::time::{Duration, Instant};

use ahoy_media::units::Bitrate;

/// What was spent too much is made up over this time.
const MADE_UP_OVER: f64 = 1.0;
/// At most this share less is asked for: after a key frame the encoder saves by itself.
const MOST_LESS: f64 = 0.35;
/// What was saved counts for so long, in seconds: frames differ in size.
const SAVED: f64 = 0.1;
/// Longest time between frames that counts.
const LONGEST: Duration = Duration::from_millis(500);

/// The account of one encoder.
#[derive(Debug, Default)]
pub(super) struct Spending {
    /// Bits beyond what was wanted; negative when less was spent.
    debt: f64,
    last: Option<Instant>,
}

impl Spending {
    /// What to ask the encoder for, for a frame captured at `now`, so that `wanted` comes out.
    pub(super) fn ask(&mut self, now: Instant, wanted: Bitrate) -> Bitrate {
        let rate = wanted.bps().max(1) as f64;
        if let Some(last) = self.last.replace(now) {
            let elapsed = now.saturating_duration_since(last).min(LONGEST);
            self.debt = (self.debt - rate * elapsed.as_secs_f64()).max(-SAVED * rate);
        }
        let less = (self.debt / (rate * MADE_UP_OVER)).clamp(0.0, MOST_LESS);
        Bitrate::from_bps((rate * (1.0 - less)) as u64)
    }

    /// A frame of so many bytes came out.
    pub(super) fn spent(&mut self, bytes: usize) {
        self.debt += bytes as f64 * 8.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean rate in kbit/s over the last 5 s of 10 that comes out of an encoder that spends so many
    /// times what it is asked for, where 300 kbit/s are wanted.
    fn comes_out(excess: impl Fn(u32) -> f64) -> f64 {
        let start = Instant::now();
        let mut spending = Spending::default();
        let mut bits = 0.0;
        for frame in 0..300 {
            let asked = spending.ask(
                start + Duration::from_secs(1) / 30 * frame,
                Bitrate::from_kbps(300),
            );
            let bytes = asked.bps() as f64 / 30.0 / 8.0 * excess(frame);
            spending.spent(bytes as usize);
            if frame >= 150 {
                bits += bytes * 8.0;
            }
        }
        bits / 5.0 / 1000.0
    }

    #[test]
    fn what_is_wanted_comes_out_of_an_encoder_that_spends_too_much() {
        let steady = comes_out(|_| 1.2);
        assert!((steady - 300.0).abs() < 6.0, "{steady}");
    }

    #[test]
    fn an_encoder_that_keeps_to_it_is_left_alone() {
        assert!((comes_out(|_| 1.0) - 300.0).abs() < 1.0);
        let uneven = comes_out(|frame| if frame % 3 == 0 { 1.6 } else { 0.7 });
        assert!(uneven > 290.0, "{uneven}");
        assert!((comes_out(|_| 0.8) - 240.0).abs() < 1.0);
    }

    #[test]
    fn a_key_frame_is_made_up_within_limits() {
        let start = Instant::now();
        let mut spending = Spending::default();
        let wanted = Bitrate::from_kbps(300);
        spending.ask(start, wanted);
        spending.spent(30_000);
        let after = spending.ask(start + Duration::from_millis(33), wanted);
        assert_eq!(after.kbps(), 195);
        for frame in 2..60 {
            spending.ask(start + Duration::from_millis(33) * frame, wanted);
        }
        let later = start + Duration::from_secs(2);
        assert_eq!(spending.ask(later, wanted), wanted);
    }
}
