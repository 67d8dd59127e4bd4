//! Quantities with their units in the type.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// RTP clock rate of video, in ticks per second (RFC 7741 section 4.1).
pub const VIDEO_CLOCK_HZ: u32 = 90_000;
/// RTP clock rate of Opus, in ticks per second (RFC 7587 section 4.1). Also the sample rate that
/// all audio has between capture and playout.
pub const AUDIO_CLOCK_HZ: u32 = 48_000;

/// Bits per second.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Bitrate(u64);

impl Bitrate {
    /// Nothing at all.
    pub const ZERO: Self = Self(0);

    /// From bits per second.
    pub const fn from_bps(bps: u64) -> Self {
        Self(bps)
    }

    /// From kilobits per second.
    pub const fn from_kbps(kbps: u64) -> Self {
        Self(kbps * 1000)
    }

    /// Bits per second.
    pub const fn bps(self) -> u64 {
        self.0
    }

    /// Whole kilobits per second, rounded down.
    pub const fn kbps(self) -> u64 {
        self.0 / 1000
    }
}

impl fmt::Display for Bitrate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} kbit/s", self.kbps())
    }
}

/// Width and height of a picture, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "specta", derive(specta::Type))]
pub struct Resolution {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl Resolution {
    /// `width` by `height` pixels.
    pub const fn new(width: u32, height: u32) -> Self {
        Self { width, height }
    }

    /// Number of pixels.
    pub const fn pixels(self) -> u64 {
        self.width as u64 * self.height as u64
    }
}

impl fmt::Display for Resolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// What is asked of a camera, and the ceiling of what is sent: size and frames per second
/// (W3C Media Capture and Streams, `MediaTrackConstraints`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "specta", derive(specta::Type))]
#[serde(rename_all = "camelCase")]
pub struct VideoConstraints {
    /// Largest picture.
    pub resolution: Resolution,
    /// Most frames per second, 7 to 30 in the interface.
    pub frame_rate: u32,
}

impl Default for VideoConstraints {
    /// 1280x720 at 30 frames per second.
    fn default() -> Self {
        Self {
            resolution: Resolution::new(1280, 720),
            frame_rate: 30,
        }
    }
}

impl VideoConstraints {
    /// Time between two frames.
    pub fn frame_interval(self) -> Duration {
        Duration::from_secs(1) / self.frame_rate.max(1)
    }
}

impl fmt::Display for VideoConstraints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.resolution, self.frame_rate)
    }
}

/// Why a text is no size and frame rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is not a size and frame rate such as 1280x720@30 (16x16 to 4096x4096, 1 to 60 frames per second)"
)]
pub struct ParseConstraintsError(String);

impl FromStr for VideoConstraints {
    type Err = ParseConstraintsError;

    /// Reads `WxH` or `WxH@FPS`; without a rate, 30.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseConstraintsError(text.to_owned());
        let (size, rate) = text.split_once('@').unwrap_or((text, "30"));
        let (width, height) = size.split_once('x').ok_or_else(error)?;
        let parse = |part: &str, low, high| {
            part.parse::<u32>()
                .ok()
                .filter(|value| (low..=high).contains(value))
                .ok_or_else(error)
        };
        Ok(Self {
            resolution: Resolution::new(parse(width, 16, 4096)?, parse(height, 16, 4096)?),
            frame_rate: parse(rate, 1, 60)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constraints_round_trip_and_refuse_nonsense() {
        let parsed: VideoConstraints = "640x360@15".parse().expect("valid");
        assert_eq!(parsed.to_string(), "640x360@15");
        assert_eq!(
            "320x180"
                .parse::<VideoConstraints>()
                .expect("valid")
                .frame_rate,
            30
        );
        for bad in [
            "",
            "x",
            "0x0@30",
            "640x360@0",
            "640x360@fast",
            "99999x2@30",
            "640@30",
        ] {
            assert!(bad.parse::<VideoConstraints>().is_err(), "{bad}");
        }
    }
}
