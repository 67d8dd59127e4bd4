//! Which of a camera's modes to use.

use std::cmp::Ordering;

use super::MAX_SIDE;
use ahoy_media::units::{Resolution, VideoConstraints};

/// How a camera packs its pixels, cheapest conversion into I420 first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PixelFormat {
    /// Luma plane, then interleaved chroma, 4:2:0.
    Nv12,
    /// Y0 U Y1 V, 4:2:2.
    Yuyv,
    /// Three bytes per pixel, red first.
    Rgb,
    /// Three bytes per pixel, blue first.
    Bgr,
    /// A JPEG per picture: some 2 ms of decoding for 720p.
    Mjpeg,
    /// Luma only: cheap, but nobody prefers it to colours.
    Gray,
}

/// One mode that a camera offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mode {
    /// Size, and frames per second rounded to a whole number.
    pub format: VideoConstraints,
    /// Seconds from one picture to the next: numerator and denominator.
    pub interval: (u32, u32),
    /// Packing of the pixels.
    pub pixels: PixelFormat,
}

impl Mode {
    /// A mode from its parts.
    pub const fn new(width: u32, height: u32, frame_rate: u32, pixels: PixelFormat) -> Self {
        Self {
            format: VideoConstraints {
                resolution: Resolution::new(width, height),
                frame_rate,
            },
            interval: (1, frame_rate),
            pixels,
        }
    }

    /// A mode with any interval between pictures, such as 1001/30000 s. `None` when that is no rate
    /// of at least one picture in two seconds.
    pub fn with_interval(
        width: u32,
        height: u32,
        interval: (u32, u32),
        pixels: PixelFormat,
    ) -> Option<Self> {
        let (numerator, denominator) = interval;
        let doubled = u64::from(denominator) * 2;
        let rate = (doubled / u64::from(numerator.max(1))).div_ceil(2);
        let rate = u32::try_from(rate).ok().filter(|rate| *rate > 0)?;
        Some(Self {
            interval,
            ..Self::new(width, height, rate, pixels)
        })
    }

    /// Whether its rate is a whole number of frames per second.
    pub const fn has_whole_rate(&self) -> bool {
        self.interval.0 == 1
    }

    /// Whether we can use it at all. 4:2:0 and 4:2:2 need even sides.
    fn usable(&self) -> bool {
        let side = |side: u32| (2..=MAX_SIDE).contains(&side) && side.is_multiple_of(2);
        let Resolution { width, height } = self.format.resolution;
        side(width) && side(height) && self.format.frame_rate > 0
    }
}

/// The mode nearest to what is wanted: by size, then by rate, then by the cost of conversion.
/// Distance is the fitness distance of Media Capture and Streams section 6.3, except that a rate
/// below the wanted one counts double: too many frames can be left out, missing ones not made up.
pub fn choose(modes: &[Mode], wanted: VideoConstraints) -> Option<Mode> {
    modes
        .iter()
        .filter(|mode| mode.usable())
        .copied()
        .min_by(|a, b| compare(a, b, wanted))
}

fn compare(a: &Mode, b: &Mode, wanted: VideoConstraints) -> Ordering {
    size_distance(a.format.resolution, wanted.resolution)
        .total_cmp(&size_distance(b.format.resolution, wanted.resolution))
        .then_with(|| {
            rate_distance(a.format.frame_rate, wanted.frame_rate)
                .total_cmp(&rate_distance(b.format.frame_rate, wanted.frame_rate))
        })
        .then_with(|| b.has_whole_rate().cmp(&a.has_whole_rate()))
        .then_with(|| a.pixels.cmp(&b.pixels))
}

fn size_distance(actual: Resolution, ideal: Resolution) -> f64 {
    fitness(actual.width, ideal.width) + fitness(actual.height, ideal.height)
}

fn rate_distance(actual: u32, ideal: u32) -> f64 {
    let distance = fitness(actual, ideal);
    if actual < ideal {
        distance * 2.0
    } else {
        distance
    }
}

/// 0 when equal, towards 1 the further apart.
fn fitness(actual: u32, ideal: u32) -> f64 {
    f64::from(actual.abs_diff(ideal)) / f64::from(actual.max(ideal).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use PixelFormat::{Gray, Mjpeg, Nv12, Yuyv};

    fn chosen(modes: &[Mode], wanted: &str) -> Option<Mode> {
        choose(modes, wanted.parse().expect("valid"))
    }

    #[test]
    fn a_usual_webcam_is_used_as_people_expect() {
        let webcam = [
            Mode::new(640, 480, 30, Yuyv),
            Mode::new(640, 360, 30, Yuyv),
            Mode::new(1280, 720, 10, Yuyv),
            Mode::new(1280, 720, 30, Mjpeg),
            Mode::new(1920, 1080, 5, Yuyv),
            Mode::new(1920, 1080, 30, Mjpeg),
        ];
        assert_eq!(chosen(&webcam, "1280x720@30"), Some(webcam[3]));
        assert_eq!(chosen(&webcam, "1280x720@10"), Some(webcam[2]));
        assert_eq!(
            chosen(&webcam, "1280x720@15"),
            Some(webcam[3]),
            "30 can be thinned out"
        );
        assert_eq!(chosen(&webcam, "640x360@30"), Some(webcam[1]));
        assert_eq!(chosen(&webcam, "320x180@7"), Some(webcam[1]));
        assert_eq!(chosen(&webcam, "4096x2160@30"), Some(webcam[5]));
    }

    #[test]
    fn a_size_in_between_is_taken_from_the_larger_side_when_nearer() {
        let modes = [
            Mode::new(640, 480, 30, Yuyv),
            Mode::new(1920, 1080, 30, Mjpeg),
        ];
        assert_eq!(chosen(&modes, "1280x720@30"), Some(modes[1]));
    }

    #[test]
    fn the_cheapest_conversion_decides_between_equals() {
        let modes = [Gray, Mjpeg, Nv12, Yuyv].map(|pixels| Mode::new(640, 480, 30, pixels));
        assert_eq!(chosen(&modes, "640x480@30"), Some(modes[2]));
    }

    #[test]
    fn rates_that_are_no_whole_number_are_rounded_and_come_second() {
        let mode = |interval| Mode::with_interval(640, 480, interval, Yuyv);
        let ntsc = mode((1001, 30_000)).expect("a rate");
        assert_eq!(ntsc.format.frame_rate, 30);
        assert_eq!(mode((1001, 15_000)).map(|m| m.format.frame_rate), Some(15));
        assert_eq!(mode((2, 15)).map(|m| m.format.frame_rate), Some(8));
        assert_eq!(mode((5, 2)), None);
        assert_eq!(mode((0, 0)), None);
        let mjpeg = Mode::new(640, 480, 30, Mjpeg);
        assert_eq!(chosen(&[ntsc, mjpeg], "640x480@30"), Some(mjpeg));
        assert_eq!(chosen(&[ntsc], "640x480@30"), Some(ntsc));
    }

    #[test]
    fn unusable_modes_are_not_chosen() {
        let modes = [
            Mode::new(641, 480, 30, Yuyv),
            Mode::new(640, 480, 0, Yuyv),
            Mode::new(8192, 4320, 30, Mjpeg),
            Mode::new(0, 0, 30, Yuyv),
        ];
        assert_eq!(chosen(&modes, "640x480@30"), None);
        assert_eq!(chosen(&[], "640x480@30"), None);
    }
}
