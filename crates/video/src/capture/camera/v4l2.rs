//! What nokhwa does not tell on Linux, asked from V4L2 directly: which nodes are cameras, which
//! modes they have, and what the driver makes of a mode before nokhwa opens it. Modes that nokhwa
//! cannot open (30000/1001 pictures a second) are read from here.

use std::borrow::Cow;
use std::io;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use v4l::buffer::Type;
use v4l::frameinterval::FrameIntervalEnum;
use v4l::framesize::FrameSizeEnum;
use v4l::io::mmap;
use v4l::io::traits::CaptureStream;
use v4l::video::Capture;
use v4l::video::capture::Parameters;
use v4l::{Device, Format, FourCC, Fraction};

use super::problem::problem_of;
use super::stream::{Guarded, Stream};
use crate::capture::mode::{Mode, PixelFormat};
use ahoy_media::device::{DeviceError, DeviceProblem};
use ahoy_media::units::{Resolution, VideoConstraints};

/// Buffers that the driver fills in turn.
const BUFFERS: u32 = 4;

/// A camera node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    /// The N of `/dev/videoN`.
    pub(super) index: u32,
    pub(super) label: String,
}

/// Every node that gives pictures, by number. Nodes for metadata and the like are left out; one
/// that may not be opened is listed, so that choosing it can say why.
pub(super) fn nodes() -> Vec<Node> {
    let Ok(entries) = std::fs::read_dir("/dev") else {
        return Vec::new();
    };
    let mut nodes: Vec<Node> = entries
        .filter_map(|entry| index_of(&entry.ok()?.path()))
        .filter_map(node)
        .collect();
    nodes.sort_by_key(|node| node.index);
    nodes.dedup();
    nodes
}

/// The number in `/dev/videoN`, also behind links such as those in `/dev/v4l/by-id`.
pub(super) fn index_of(path: &Path) -> Option<u32> {
    let number = |path: &Path| path.to_str()?.strip_prefix("/dev/video")?.parse().ok();
    number(path).or_else(|| number(&path.canonicalize().ok()?))
}

/// Where the node is.
pub(super) fn path(index: u32) -> PathBuf {
    PathBuf::from(format!("/dev/video{index}"))
}

/// The modes of a camera. Sizes that it offers in steps are represented by the one nearest to
/// `wanted`.
pub(super) fn modes(index: u32, wanted: VideoConstraints) -> io::Result<Vec<Mode>> {
    let device = Device::with_path(path(index))?;
    let mut modes = Vec::new();
    for description in device.enum_formats()? {
        let Some(pixels) = pixels(description.fourcc) else {
            continue;
        };
        for size in device.enum_framesizes(description.fourcc)? {
            let Resolution { width, height } = nearest_size(&size.size, wanted.resolution);
            let rates = device
                .enum_frameintervals(description.fourcc, width, height)
                .unwrap_or_default();
            let rates = rates
                .iter()
                .filter_map(|rate| nearest_interval(&rate.interval, wanted.frame_rate));
            modes.extend(
                rates.filter_map(|interval| Mode::with_interval(width, height, interval, pixels)),
            );
        }
    }
    Ok(modes)
}

/// Sets the mode and reads back what the driver has made of it, with the bytes from one row to the
/// next. nokhwa refuses to open a camera that another program has left in a mode it does not know;
/// after this it is in one it knows.
pub(super) fn prepare(index: u32, wanted: Mode) -> io::Result<(Mode, u32)> {
    let device = Device::with_path(path(index))?;
    let Resolution { width, height } = wanted.format.resolution;
    device.set_format(&Format::new(width, height, fourcc(wanted.pixels)))?;
    let (numerator, denominator) = wanted.interval;
    let interval = device
        .set_params(&Parameters::new(Fraction::new(numerator, denominator)))
        .ok()
        .and_then(|_| device.params().ok())
        .and_then(|params| lowest_terms(params.interval))
        .unwrap_or(wanted.interval);
    let format = device.format()?;
    let pixels = pixels(format.fourcc)
        .ok_or_else(|| io::Error::other(format!("it insists on the format {}", format.fourcc)))?;
    Mode::with_interval(format.width, format.height, interval, pixels)
        .map(|mode| (mode, format.stride))
        .ok_or_else(|| io::Error::other("it insists on less than one picture in two seconds"))
}

/// Streams from a camera in the mode it was prepared for.
pub(super) fn stream(index: u32) -> io::Result<impl Stream> {
    let device = Device::with_path(path(index))?;
    mmap::Stream::with_buffers(&device, Type::VideoCapture, BUFFERS).map(Guarded::new)
}

impl Stream for Guarded<mmap::Stream<'_>> {
    fn next_picture(&mut self) -> Result<Cow<'_, [u8]>, DeviceError> {
        let lost = |error: io::Error| {
            let problem = error.raw_os_error().map_or(DeviceProblem::Lost, |code| {
                problem_of(code, DeviceProblem::Lost)
            });
            DeviceError::new(problem, error)
        };
        let closed = || DeviceError::new(DeviceProblem::Lost, "the camera is closed");
        let (data, about) = self.get().ok_or_else(closed)?.next().map_err(lost)?;
        let used = usize::try_from(about.bytesused).unwrap_or(usize::MAX);
        Ok(Cow::Borrowed(data.get(..used).unwrap_or(data)))
    }
}

fn node(index: u32) -> Option<Node> {
    // The `v4l` crate panics on a name that is not UTF-8.
    let asked = catch_unwind(|| {
        let device = Device::with_path(path(index))?;
        let pictures = device
            .enum_formats()
            .is_ok_and(|formats| !formats.is_empty());
        let name = device.query_caps().map(|caps| caps.card)?;
        Ok::<_, io::Error>(pictures.then_some(name))
    });
    let label = match asked {
        Ok(Ok(Some(name))) => Some(name),
        Ok(Ok(None)) => return None,
        Ok(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => system_name(index),
        Ok(Err(_)) => return None,
        Err(_) => system_name(index),
    };
    let label = label.unwrap_or_else(|| format!("Camera {index}"));
    Some(Node {
        index,
        label: shorten(label.trim_matches(['\0', ' '])),
    })
}

fn system_name(index: u32) -> Option<String> {
    let name = std::fs::read(format!("/sys/class/video4linux/video{index}/name")).ok()?;
    Some(String::from_utf8_lossy(&name).trim().to_owned())
}

/// The UVC driver writes many names twice: "HD Webcam: HD Webcam".
fn shorten(label: &str) -> String {
    match label.split_once(": ") {
        Some((first, second)) if first.starts_with(second) => first.to_owned(),
        _ => label.to_owned(),
    }
}

fn pixels(fourcc: FourCC) -> Option<PixelFormat> {
    match &fourcc.repr {
        b"NV12" => Some(PixelFormat::Nv12),
        b"YUYV" => Some(PixelFormat::Yuyv),
        b"RGB3" => Some(PixelFormat::Rgb),
        b"BGR3" => Some(PixelFormat::Bgr),
        b"MJPG" => Some(PixelFormat::Mjpeg),
        _ => None,
    }
}

fn fourcc(pixels: PixelFormat) -> FourCC {
    FourCC::new(match pixels {
        PixelFormat::Nv12 => b"NV12",
        PixelFormat::Yuyv => b"YUYV",
        PixelFormat::Rgb => b"RGB3",
        PixelFormat::Bgr => b"BGR3",
        PixelFormat::Mjpeg => b"MJPG",
        PixelFormat::Gray => b"GREY",
    })
}

fn nearest_size(size: &FrameSizeEnum, wanted: Resolution) -> Resolution {
    let step = |wanted: u32, least: u32, most: u32, step: u32| {
        let wanted = wanted.clamp(least, most.max(least));
        least + (wanted - least) / step.max(1) * step.max(1)
    };
    match size {
        FrameSizeEnum::Discrete(size) => Resolution::new(size.width, size.height),
        FrameSizeEnum::Stepwise(size) => Resolution::new(
            step(
                wanted.width,
                size.min_width,
                size.max_width,
                size.step_width,
            ),
            step(
                wanted.height,
                size.min_height,
                size.max_height,
                size.step_height,
            ),
        ),
    }
}

/// The interval between pictures that is nearest to so many in a second.
fn nearest_interval(interval: &FrameIntervalEnum, wanted: u32) -> Option<(u32, u32)> {
    match interval {
        FrameIntervalEnum::Discrete(interval) => lowest_terms(*interval),
        FrameIntervalEnum::Stepwise(range) => {
            // The shortest interval is the highest rate.
            let rate = |interval: Fraction, up: bool| {
                let Fraction {
                    numerator,
                    denominator,
                } = interval;
                if up {
                    denominator
                        .checked_next_multiple_of(numerator)?
                        .checked_div(numerator)
                } else {
                    denominator.checked_div(numerator)
                }
            };
            let most = rate(range.min, false)?;
            let least = rate(range.max, true)?.max(1);
            (least <= most).then(|| (1, wanted.clamp(least, most)))
        }
    }
}

/// Numerator and denominator, a whole rate as 1 over it.
fn lowest_terms(interval: Fraction) -> Option<(u32, u32)> {
    let Fraction {
        numerator,
        denominator,
    } = interval;
    let divides = denominator.checked_rem(numerator)? == 0 && denominator > 0;
    Some(if divides {
        (1, denominator / numerator)
    } else {
        (numerator, denominator)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbered_nodes_are_cameras() {
        assert_eq!(index_of(Path::new("/dev/video0")), Some(0));
        assert_eq!(index_of(Path::new("/dev/video12")), Some(12));
        for other in ["/dev/video", "/dev/videoX", "/dev/null", "/dev/video-1", ""] {
            assert_eq!(index_of(Path::new(other)), None, "{other}");
        }
    }

    #[test]
    fn names_written_twice_are_shortened() {
        assert_eq!(shorten("HD Webcam: HD Webcam"), "HD Webcam");
        assert_eq!(
            shorten("Integrated Camera: Integrated C"),
            "Integrated Camera"
        );
        assert_eq!(shorten("UVC Camera: Front"), "UVC Camera: Front");
    }

    #[test]
    fn rates_in_steps_and_fractions() {
        let fraction = Fraction::new;
        assert_eq!(lowest_terms(fraction(2, 60)), Some((1, 30)));
        assert_eq!(lowest_terms(fraction(1001, 30000)), Some((1001, 30000)));
        assert_eq!(lowest_terms(fraction(0, 0)), None);
        let range = FrameIntervalEnum::Stepwise(v4l::frameinterval::Stepwise {
            min: fraction(1, 60),
            max: fraction(1, 5),
            step: fraction(1, 60),
        });
        assert_eq!(nearest_interval(&range, 30), Some((1, 30)));
        assert_eq!(nearest_interval(&range, 90), Some((1, 60)));
        assert_eq!(nearest_interval(&range, 1), Some((1, 5)));
    }
}
