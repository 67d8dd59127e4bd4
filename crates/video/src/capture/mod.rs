//! Where pictures come from. Everything behind one small trait: a camera, a file, a test picture,
//! later the screen.

pub mod camera;
pub mod convert;
mod halve;
pub mod mode;
pub mod pace;
pub mod pattern;
pub mod scale;
pub mod stamp;
pub mod y4m;

use ahoy_media::device::{DeviceError, DeviceInfo};
use ahoy_media::frame::VideoFrame;
use ahoy_media::selection::CameraSelection;
use ahoy_media::units::VideoConstraints;

/// Widest and highest picture that is taken from anywhere: file, camera or network. It bounds
/// the memory that a stranger's header can make us use (25 MB per picture).
pub const MAX_SIDE: u32 = 4096;

/// Delivers pictures, one after the other. Dropping it releases the device.
pub trait VideoSource: Send {
    /// The name that people see.
    fn label(&self) -> String;

    /// The size and rate that it really delivers.
    fn format(&self) -> VideoConstraints;

    /// Waits for the next picture. Called on a thread of its own.
    ///
    /// # Errors
    /// The source is of no more use and should be dropped.
    fn next_frame(&mut self) -> Result<VideoFrame, DeviceError>;

    /// Whether the source would deliver the same if it were opened anew for `wanted`.
    fn suits(&self, _wanted: VideoConstraints) -> bool {
        true
    }
}

/// Opens what was chosen as near to `wanted` as it can. `None` for [`CameraSelection::None`].
///
/// # Errors
/// See [`ahoy_media::device::DeviceProblem`].
pub fn open(
    selection: &CameraSelection,
    wanted: VideoConstraints,
) -> Result<Option<Box<dyn VideoSource>>, DeviceError> {
    Ok(match selection {
        CameraSelection::Default => Some(Box::new(camera::Camera::open(None, wanted)?)),
        CameraSelection::Device(id) => Some(Box::new(camera::Camera::open(Some(id), wanted)?)),
        CameraSelection::File(path) => Some(Box::new(y4m::Y4mSource::open(path)?)),
        CameraSelection::Pattern => Some(Box::new(pattern::PatternSource::new(wanted))),
        CameraSelection::None => None,
    })
}

/// All the cameras of this computer, the default one first. Files and the test picture are not
/// among them.
///
/// # Errors
/// When the system cannot be asked. No camera at all is an empty list.
pub fn cameras() -> Result<Vec<DeviceInfo>, DeviceError> {
    camera::enumerate()
}
