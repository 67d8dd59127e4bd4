//! An encoder as rate control sees it: frames around their share of the bitrate, key frames that
//! are several times larger and are paid back by the frames after them.

use std::time::Duration;

use ahoy_media::units::{Bitrate, VideoConstraints};

use super::random::Random;

/// Sizes of ordinary frames scatter by this (standard deviation of the logarithm).
const SCATTER: f64 = 0.2;
/// A key frame is this many ordinary ones, within these bounds in byte per pixel: what libvpx
/// makes of camera pictures in `cargo bench -p ahoy-video --bench vp8`.
const KEY_FRAME: f64 = 6.0;
const KEY_FRAME_BYTES_PER_PIXEL: (f64, f64) = (0.02, 0.06);
/// What was spent too much is saved again over this time.
const PAY_BACK: f64 = 0.7;
/// A frame has at least this share of its bits.
const LEAST: f64 = 0.4;
/// Forced key frames are at least this far apart (`ahoy-video`).
const KEY_FRAME_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Encoder {
    random: Random,
    constraints: Option<VideoConstraints>,
    last_frame: Option<Duration>,
    last_key_frame: Option<Duration>,
    key_frame_wanted: bool,
    /// Bits spent beyond the target.
    debt: f64,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Encoded {
    pub(super) bytes: usize,
    pub(super) key_frame: bool,
}

impl Encoder {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            constraints: None,
            last_frame: None,
            last_key_frame: None,
            key_frame_wanted: true,
            debt: 0.0,
        }
    }

    pub(super) fn request_key_frame(&mut self) {
        self.key_frame_wanted = true;
    }

    /// The same without waiting for its turn.
    pub(super) fn begin_with_key_frame(&mut self) {
        self.key_frame_wanted = true;
        self.last_key_frame = None;
    }

    /// Whether a frame is due that the camera hands over now.
    pub(super) fn is_due(&self, now: Duration, frame_rate: u32) -> bool {
        let interval = Duration::from_secs(1) / frame_rate.max(1);
        self.last_frame
            .is_none_or(|last| now.saturating_sub(last) + Duration::from_millis(5) >= interval)
    }

    pub(super) fn encode(
        &mut self,
        now: Duration,
        constraints: VideoConstraints,
        bitrate: Bitrate,
    ) -> Encoded {
        let resized = self
            .constraints
            .is_none_or(|old| old.resolution != constraints.resolution);
        self.constraints = Some(constraints);
        let allowed = self
            .last_key_frame
            .is_none_or(|at| now.saturating_sub(at) >= KEY_FRAME_INTERVAL);
        let key_frame = resized || (self.key_frame_wanted && allowed);
        let rate = f64::from(constraints.frame_rate.max(1));
        let share = bitrate.bps() as f64 / rate;
        let noise = (self.random.normal().clamp(-2.5, 2.5) * SCATTER).exp();
        let bits = if key_frame {
            self.key_frame_wanted = false;
            self.last_key_frame = Some(now);
            let pixels = constraints.resolution.pixels() as f64 * 8.0;
            let (least, most) = KEY_FRAME_BYTES_PER_PIXEL;
            (share * KEY_FRAME).clamp(pixels * least, pixels * most)
        } else {
            let pay_back = self.debt / (PAY_BACK * rate);
            (share * noise - pay_back).max(share * LEAST)
        };
        self.debt = (self.debt + bits - share).max(-2.0 * share);
        self.last_frame = Some(now);
        Encoded {
            bytes: (bits / 8.0).max(40.0) as usize,
            key_frame,
        }
    }
}
