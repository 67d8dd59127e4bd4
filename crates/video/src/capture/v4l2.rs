//! What nokhwa does not tell on Linux, asked from V4L2 directly: which nodes are cameras, which
//! modes they have, and what the driver makes of a mode before nokhwa opens it.

use std::io;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use v4l::frameinterval::FrameIntervalEnum;
use v4l::framesize::FrameSizeEnum;
use v4l::video::Capture;
use v4l::video::capture::Parameters;
use v4l::{Device, Format, FourCC, Fraction};

use super::mode::{Mode, PixelFormat};
use ahoy_media::units::{Resolution, VideoConstraints};

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
                .filter_map(|rate| nearest_rate(&rate.interval, wanted.frame_rate));
            modes.extend(rates.map(|rate| Mode::new(width, height, rate, pixels)));
        }
    }
    Ok(modes)
}

/// What a driver has made of a mode.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prepared {
    pub(super) mode: Mode,
    /// Bytes from one row to the next.
    pub(super) stride: u32,
}

/// Sets the mode and reads back what the driver has made of it. nokhwa refuses to open a camera
/// that another program has left in a mode it does not know; after this it is in one it knows.
pub(super) fn prepare(index: u32, mode: Mode) -> io::Result<Prepared> {
    let device = Device::with_path(path(index))?;
    let Resolution { width, height } = mode.format.resolution;
    device.set_format(&Format::new(width, height, fourcc(mode.pixels)))?;
    let interval = Fraction::new(1, mode.format.frame_rate);
    let rate = device
        .set_params(&Parameters::new(interval))
        .ok()
        .and_then(|_| device.params().ok())
        .and_then(|params| whole_rate(params.interval));
    let format = device.format()?;
    let pixels = pixels(format.fourcc)
        .ok_or_else(|| io::Error::other(format!("it insists on the format {}", format.fourcc)))?;
    Ok(Prepared {
        mode: Mode::new(
            format.width,
            format.height,
            rate.unwrap_or(mode.format.frame_rate),
            pixels,
        ),
        stride: format.stride,
    })
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

/// Whole frames per second of an interval. nokhwa cannot open a camera at other rates.
fn nearest_rate(interval: &FrameIntervalEnum, wanted: u32) -> Option<u32> {
    match interval {
        FrameIntervalEnum::Discrete(interval) => whole_rate(*interval),
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
            (least <= most).then(|| wanted.clamp(least, most))
        }
    }
}

fn whole_rate(interval: Fraction) -> Option<u32> {
    let Fraction {
        numerator,
        denominator,
    } = interval;
    let whole = numerator > 0 && denominator > 0 && denominator.is_multiple_of(numerator);
    whole.then(|| denominator / numerator)
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
        assert_eq!(whole_rate(fraction(1, 30)), Some(30));
        assert_eq!(whole_rate(fraction(1001, 30000)), None);
        assert_eq!(whole_rate(fraction(0, 0)), None);
        let range = FrameIntervalEnum::Stepwise(v4l::frameinterval::Stepwise {
            min: fraction(1, 60),
            max: fraction(1, 5),
            step: fraction(1, 60),
        });
        assert_eq!(nearest_rate(&range, 30), Some(30));
        assert_eq!(nearest_rate(&range, 90), Some(60));
        assert_eq!(nearest_rate(&range, 1), Some(5));
    }
}
