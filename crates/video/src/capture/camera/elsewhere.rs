//! Cameras on systems other than Linux: nokhwa alone.

use ahoy_media::device::{DeviceError, DeviceProblem};
use ahoy_media::units::VideoConstraints;
use nokhwa::utils::{CameraIndex, RequestedFormat, RequestedFormatType};

use super::Device;
use super::by_nokhwa::{mode_of, open_error};
use super::stream::Guarded;
use crate::capture::mode::Mode;

pub(super) use super::by_nokhwa::open;

pub(super) fn devices() -> Result<Vec<Device>, DeviceError> {
    if !nokhwa::nokhwa_check() {
        // Asks the person; the next attempt finds the answer.
        nokhwa::nokhwa_initialize(|_| {});
        return Err(DeviceError::new(
            DeviceProblem::Denied,
            "the system has not allowed the camera yet",
        ));
    }
    let cameras =
        nokhwa::query(nokhwa::utils::ApiBackend::Auto).map_err(|error| open_error(&error))?;
    Ok(cameras
        .into_iter()
        .map(|camera| Device {
            // Both macOS and Windows keep their own id of the device there.
            id: match camera.misc() {
                id if id.is_empty() => camera.index().as_string(),
                id => id,
            },
            label: camera.human_name(),
            index: camera.index().clone(),
        })
        .collect())
}

pub(super) fn canonical(id: &str) -> String {
    id.to_owned()
}

pub(super) fn modes(device: &Device, _wanted: VideoConstraints) -> Result<Vec<Mode>, DeviceError> {
    let any = RequestedFormat::with_formats(
        RequestedFormatType::AbsoluteHighestFrameRate,
        nokhwa::utils::frame_formats(),
    );
    let camera =
        nokhwa::Camera::new(device.index.clone(), any).map_err(|error| open_error(&error))?;
    let mut camera = Guarded::new(camera);
    let formats = match camera.get() {
        Some(camera) => camera
            .compatible_camera_formats()
            .map_err(|error| open_error(&error))?,
        None => Vec::new(),
    };
    Ok(formats.into_iter().map(mode_of).collect())
}

pub(super) fn prepare(_index: &CameraIndex, mode: Mode) -> Result<(Mode, u32), DeviceError> {
    Ok((mode, 0))
}
