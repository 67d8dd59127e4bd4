//! The test camera: a calm picture with a ball that circles, a line that fills once a second, and
//! the frame's number, large for people and as a stamp for programs.

mod digits;

use std::time::Instant;

use self::digits::Digits;
use super::pace::Cadence;
use super::stamp::write_stamp;
use super::{MAX_SIDE, VideoSource};
use ahoy_media::device::DeviceError;
use ahoy_media::frame::{I420, VideoFrame};
use ahoy_media::pool::FramePool;
use ahoy_media::units::{Resolution, VideoConstraints};

/// Draws its pictures at the wanted size and rate.
pub struct PatternSource {
    format: VideoConstraints,
    wanted: VideoConstraints,
    background: I420,
    digits: Digits,
    cadence: Cadence,
    pool: FramePool,
    number: u64,
}

/// A colour as its three samples.
type Yuv = [u8; 3];

const NIGHT: [f32; 3] = [18.0, 32.0, 58.0];
const LAGOON: [f32; 3] = [38.0, 128.0, 140.0];
const CORAL: [f32; 3] = [255.0, 127.0, 96.0];
const WHITE: [f32; 3] = [255.0, 255.0, 255.0];

impl PatternSource {
    /// A source at `wanted`, with even sides from 16 to 4096.
    pub fn new(wanted: VideoConstraints) -> Self {
        let side = |side: u32| side.clamp(16, MAX_SIDE) & !1;
        let format = VideoConstraints {
            resolution: Resolution::new(
                side(wanted.resolution.width),
                side(wanted.resolution.height),
            ),
            frame_rate: wanted.frame_rate.max(1),
        };
        Self {
            format,
            wanted,
            background: background(format.resolution),
            digits: Digits::new(format.resolution),
            cadence: Cadence::new(format.frame_interval()),
            pool: FramePool::new(),
            number: 0,
        }
    }

    fn draw(&self, number: u64, picture: &mut I420) {
        picture
            .as_bytes_mut()
            .copy_from_slice(self.background.as_bytes());
        let seconds = (number % 3_000_000) as f32 / self.format.frame_rate as f32;
        draw_ball(picture, seconds);
        self.digits.draw(picture, number);
        draw_second(picture, seconds.fract());
        // The stamp has 24 bits and wraps by itself.
        write_stamp(picture, number as u32);
    }
}

impl VideoSource for PatternSource {
    fn label(&self) -> String {
        "Test camera".to_owned()
    }

    fn format(&self) -> VideoConstraints {
        self.format
    }

    fn next_frame(&mut self) -> Result<VideoFrame, DeviceError> {
        let number = self.number;
        self.number += 1;
        let mut pool = std::mem::take(&mut self.pool);
        let picture = pool.fill(self.format.resolution, |picture| {
            self.draw(number, picture);
            Ok(())
        });
        self.pool = pool;
        self.cadence.wait();
        Ok(VideoFrame {
            picture: picture?,
            captured_at: Instant::now(),
            number,
        })
    }

    fn suits(&self, wanted: VideoConstraints) -> bool {
        wanted == self.wanted
    }
}

/// BT.601, limited range.
fn yuv(rgb: [f32; 3]) -> Yuv {
    let [r, g, b] = rgb.map(|channel| channel / 255.0);
    [
        16.0 + 65.481 * r + 128.553 * g + 24.966 * b,
        128.0 - 37.797 * r - 74.203 * g + 112.0 * b,
        128.0 + 112.0 * r - 93.786 * g - 18.214 * b,
    ]
    .map(|sample| sample.round() as u8)
}

/// A diagonal gradient with soft bands.
fn background(resolution: Resolution) -> I420 {
    let mut picture = I420::black(resolution);
    let (width, height) = (resolution.width as f32, resolution.height as f32);
    let colour = |x: f32, y: f32| {
        let along = (x / width + y / height) / 2.0;
        let band = 0.06 * (along * 40.0).sin();
        let mix = (along + band).clamp(0.0, 1.0);
        yuv(std::array::from_fn(|i| {
            NIGHT[i] + (LAGOON[i] - NIGHT[i]) * mix
        }))
    };
    let chroma_width = picture.chroma_width();
    let (y_plane, u_plane, v_plane) = picture.planes_mut();
    for (y, row) in y_plane
        .chunks_exact_mut(resolution.width as usize)
        .enumerate()
    {
        for (x, sample) in row.iter_mut().enumerate() {
            *sample = colour(x as f32, y as f32)[0];
        }
    }
    for (index, (u, v)) in u_plane.iter_mut().zip(v_plane).enumerate() {
        let (x, y) = (index % chroma_width * 2, index / chroma_width * 2);
        [_, *u, *v] = colour(x as f32, y as f32);
    }
    picture
}

/// A ball on a slow path across the whole picture.
fn draw_ball(picture: &mut I420, seconds: f32) {
    let Resolution { width, height } = picture.resolution();
    let (width, height) = (width as f32, height as f32);
    let radius = height.min(width) * 0.09;
    let turn = std::f32::consts::TAU * seconds;
    let x = width * (0.5 + 0.40 * (turn / 7.0).sin());
    let y = height * (0.54 + 0.34 * (turn / 5.0 + 0.7).sin());
    blend(
        picture,
        (x - radius, y - radius, x + radius, y + radius),
        yuv(CORAL),
        |px, py| radius - (px - x).hypot(py - y) + 0.5,
    );
}

/// A line along the bottom that fills from left to right once a second.
fn draw_second(picture: &mut I420, fraction: f32) {
    let Resolution { width, height } = picture.resolution();
    let (width, height) = (width as f32, height as f32);
    let end = width * fraction;
    let top = (height * 0.98).min(height - 2.0);
    blend(picture, (0.0, top, end, height), yuv(WHITE), |x, _| end - x);
}

/// Lays a colour over the samples within the rectangle (left, top, right, bottom), as opaque as
/// `cover` says for a sample's place: 0 or less is not at all, 1 and more is fully.
fn blend(
    picture: &mut I420,
    (left, top, right, bottom): (f32, f32, f32, f32),
    colour: Yuv,
    cover: impl Fn(f32, f32) -> f32,
) {
    let Resolution { width, height } = picture.resolution();
    let chroma = (picture.chroma_width(), picture.chroma_height());
    let planes: [&mut [u8]; 3] = picture.planes_mut().into();
    for (index, (plane, sample)) in planes.into_iter().zip(colour).enumerate() {
        let ((columns, rows), scale) = if index == 0 {
            ((width as usize, height as usize), 1.0)
        } else {
            (chroma, 2.0)
        };
        let range = |from: f32, to: f32, limit: usize| {
            let clamp = |value: f32| (value / scale).clamp(0.0, limit as f32) as usize;
            clamp(from.floor())..clamp(to.ceil() + scale).min(limit)
        };
        for y in range(top, bottom, rows) {
            let row = &mut plane[y * columns..(y + 1) * columns];
            for x in range(left, right, columns) {
                let opacity = cover(x as f32 * scale, y as f32 * scale).clamp(0.0, 1.0);
                let under = f32::from(row[x]);
                row[x] = (under + (f32::from(sample) - under) * opacity) as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::stamp::read_stamp;

    fn picture(number: u64, size: &str) -> I420 {
        let source = PatternSource::new(size.parse().expect("valid"));
        let mut picture = I420::black(source.format.resolution);
        source.draw(number, &mut picture);
        picture
    }

    #[test]
    fn every_picture_is_stamped_with_its_number() {
        for size in [
            "1280x720", "160x90", "640x480", "90x160", "17x4096", "4096x17",
        ] {
            for number in [0, 1, 4711, 0x00ff_ffff] {
                let picture = picture(number, size);
                if picture.resolution().width >= 32
                    && picture.resolution().height >= picture.resolution().width / 32
                {
                    assert_eq!(read_stamp(&picture), Some(number as u32), "{size}");
                }
            }
        }
        assert_eq!(read_stamp(&picture(0x0100_0005, "320x180")), Some(5));
    }

    #[test]
    fn consecutive_pictures_differ_far_from_the_stamp() {
        let (a, b) = (picture(100, "640x360"), picture(101, "640x360"));
        let below = |picture: &I420| picture.planes().0[640 * 40..].to_vec();
        let changed = below(&a)
            .iter()
            .zip(below(&b))
            .filter(|(a, b)| **a != *b)
            .count();
        assert!(changed > 500, "{changed} samples changed");
    }

    #[test]
    fn frames_come_at_the_wanted_size_and_count_up() {
        let mut source = PatternSource::new("64x48@60".parse().expect("valid"));
        for number in 0..3 {
            let frame = source.next_frame().expect("never fails");
            assert_eq!(frame.number, number);
            assert_eq!(frame.picture.resolution(), Resolution::new(64, 48));
            assert_eq!(read_stamp(&frame.picture), Some(number as u32));
        }
        assert!(source.suits("64x48@60".parse().expect("valid")));
        assert!(!source.suits("64x48@30".parse().expect("valid")));
    }
}
