//! Cameras on Linux: V4L2 says what there is, nokhwa reads it, and V4L2 itself in modes that nokhwa
//! does not know.

use ahoy_media::device::{DeviceError, DeviceProblem};
use ahoy_media::units::VideoConstraints;
use nokhwa::utils::CameraIndex;

use super::problem::problem_of;
use super::stream::Opened;
use super::{Device, by_nokhwa, v4l2};
use crate::capture::mode::Mode;

pub(super) fn devices() -> Result<Vec<Device>, DeviceError> {
    Ok(v4l2::nodes()
        .into_iter()
        .map(|node| Device {
            id: v4l2::path(node.index).display().to_string(),
            label: node.label,
            index: CameraIndex::Index(node.index),
        })
        .collect())
}

pub(super) fn canonical(id: &str) -> String {
    v4l2::index_of(std::path::Path::new(id)).map_or_else(
        || id.to_owned(),
        |index| v4l2::path(index).display().to_string(),
    )
}

pub(super) fn modes(device: &Device, wanted: VideoConstraints) -> Result<Vec<Mode>, DeviceError> {
    let index = number(&device.index)?;
    v4l2::modes(index, wanted).map_err(|error| open_error(&error))
}

pub(super) fn prepare(index: &CameraIndex, mode: Mode) -> Result<(Mode, u32), DeviceError> {
    v4l2::prepare(number(index)?, mode).map_err(|error| open_error(&error))
}

/// Opens a camera that was prepared for this mode.
pub(super) fn open(index: &CameraIndex, mode: Mode, stride: u32) -> Result<Opened, DeviceError> {
    if mode.has_whole_rate() {
        return by_nokhwa::open(index, mode, stride);
    }
    let stream = v4l2::stream(number(index)?).map_err(|error| open_error(&error))?;
    Ok(Opened {
        stream: Box::new(stream),
        mode,
        stride,
    })
}

fn number(index: &CameraIndex) -> Result<u32, DeviceError> {
    index
        .as_index()
        .map_err(|error| by_nokhwa::open_error(&error))
}

fn open_error(error: &std::io::Error) -> DeviceError {
    let problem = error
        .raw_os_error()
        .map_or(DeviceProblem::Unsupported, |code| {
            problem_of(code, DeviceProblem::NotFound)
        });
    DeviceError::new(problem, error)
}
