//! Cameras by nokhwa, in modes of whole frames per second: it knows no others.

use std::borrow::Cow;

use ahoy_media::device::{DeviceError, DeviceProblem};
use ahoy_media::units::Resolution;
use nokhwa::NokhwaError;
use nokhwa::utils::{CameraFormat, CameraIndex, FrameFormat, RequestedFormat, RequestedFormatType};

use super::problem::{os_error, problem_of};
use super::stream::{Guarded, Opened, Stream};
use crate::capture::MAX_SIDE;
use crate::capture::mode::{Mode, PixelFormat};

/// Opens the camera in exactly this mode.
///
/// # Errors
/// See [`DeviceProblem`].
pub(super) fn open(index: &CameraIndex, mode: Mode, stride: u32) -> Result<Opened, DeviceError> {
    let format = camera_format(mode);
    let decoders = [format.format()];
    let request = RequestedFormat::with_formats(RequestedFormatType::Exact(format), &decoders);
    let camera = nokhwa::Camera::new(index.clone(), request).map_err(|error| open_error(&error))?;
    let mut camera = Guarded::new(camera);
    let mut mode = mode;
    if let Some(camera) = camera.get() {
        camera.open_stream().map_err(|error| open_error(&error))?;
        mode = mode_of(camera.camera_format());
    }
    Ok(Opened {
        stream: Box::new(camera),
        mode,
        stride,
    })
}

impl Stream for Guarded<nokhwa::Camera> {
    fn next_picture(&mut self) -> Result<Cow<'_, [u8]>, DeviceError> {
        let closed = || DeviceError::new(DeviceProblem::Lost, "the camera is closed");
        let camera = self.get().ok_or_else(closed)?;
        camera.frame_raw().map_err(|error| read_error(&error))
    }
}

fn camera_format(mode: Mode) -> CameraFormat {
    let Resolution { width, height } = mode.format.resolution;
    let format = match mode.pixels {
        PixelFormat::Nv12 => FrameFormat::NV12,
        PixelFormat::Yuyv => FrameFormat::YUYV,
        PixelFormat::Rgb => FrameFormat::RAWRGB,
        PixelFormat::Bgr => FrameFormat::RAWBGR,
        PixelFormat::Mjpeg => FrameFormat::MJPEG,
        PixelFormat::Gray => FrameFormat::GRAY,
    };
    CameraFormat::new_from(width, height, format, mode.format.frame_rate)
}

pub(super) fn mode_of(format: CameraFormat) -> Mode {
    let pixels = match format.format() {
        FrameFormat::NV12 => PixelFormat::Nv12,
        FrameFormat::YUYV => PixelFormat::Yuyv,
        FrameFormat::RAWRGB => PixelFormat::Rgb,
        FrameFormat::RAWBGR => PixelFormat::Bgr,
        FrameFormat::MJPEG => PixelFormat::Mjpeg,
        FrameFormat::GRAY => PixelFormat::Gray,
    };
    let side = |side: u32| side.min(MAX_SIDE);
    Mode::new(
        side(format.width()),
        side(format.height()),
        format.frame_rate(),
        pixels,
    )
}

pub(super) fn open_error(error: &NokhwaError) -> DeviceError {
    let words = error.to_string();
    let problem = match (os_error(&words), error) {
        (Some(code), _) => problem_of(code, DeviceProblem::NotFound),
        (None, NokhwaError::GetPropertyError { .. } | NokhwaError::SetPropertyError { .. }) => {
            DeviceProblem::Unsupported
        }
        (None, _) => DeviceProblem::Failed,
    };
    DeviceError::new(problem, words)
}

fn read_error(error: &NokhwaError) -> DeviceError {
    let words = error.to_string();
    let problem = os_error(&words).map_or(DeviceProblem::Lost, |code| {
        problem_of(code, DeviceProblem::Lost)
    });
    DeviceError::new(problem, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_errors_become_what_people_can_do() {
        let open = |words: &str| {
            open_error(&NokhwaError::OpenDeviceError("0".into(), words.into())).problem
        };
        assert_eq!(
            open("V4L2 Error: Device or resource busy (os error 16)"),
            DeviceProblem::Busy
        );
        assert_eq!(
            open("V4L2 Error: Permission denied (os error 13)"),
            DeviceProblem::Denied
        );
        assert_eq!(
            open("V4L2 Error: No such file or directory (os error 2)"),
            DeviceProblem::NotFound
        );
        assert_eq!(open("something else"), DeviceProblem::Failed);
        let read = |words: &str| read_error(&NokhwaError::ReadFrameError(words.into())).problem;
        assert_eq!(read("No such device (os error 19)"), DeviceProblem::Lost);
        assert_eq!(read("anything"), DeviceProblem::Lost);
        let rejected = NokhwaError::SetPropertyError {
            property: "CameraFormat".into(),
            value: String::new(),
            error: "Not same/Rejected".into(),
        };
        assert_eq!(open_error(&rejected).problem, DeviceProblem::Unsupported);
    }

    #[test]
    fn modes_survive_the_way_through_nokhwa() {
        for pixels in [
            PixelFormat::Nv12,
            PixelFormat::Yuyv,
            PixelFormat::Rgb,
            PixelFormat::Bgr,
            PixelFormat::Mjpeg,
            PixelFormat::Gray,
        ] {
            let mode = Mode::new(1280, 720, 30, pixels);
            assert_eq!(mode_of(camera_format(mode)), mode);
        }
    }
}
