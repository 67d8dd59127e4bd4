//! Devices as people see them, and what can be wrong with one.

use serde::{Deserialize, Serialize};

/// One entry of an enumeration (W3C Media Capture and Streams, `MediaDeviceInfo`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "specta", derive(specta::Type))]
#[serde(rename_all = "camelCase")]
pub struct DeviceInfo {
    /// Stable while the device stays plugged in; what `device:ID` names.
    pub id: String,
    /// The name the system shows for it.
    pub label: String,
    /// Whether the system uses it when nobody chooses.
    pub is_default: bool,
}

/// Everything that can capture or play, as it was at the moment of asking.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "specta", derive(specta::Type))]
#[serde(rename_all = "camelCase")]
pub struct Devices {
    /// Cameras, the system's first one first.
    pub cameras: Vec<DeviceInfo>,
    /// Audio inputs.
    pub microphones: Vec<DeviceInfo>,
    /// Audio outputs.
    pub speakers: Vec<DeviceInfo>,
}

/// Which of the three parts of a participant's equipment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "specta", derive(specta::Type))]
#[serde(rename_all = "camelCase")]
pub enum DeviceKind {
    /// Video input.
    Camera,
    /// Audio input.
    Microphone,
    /// Audio output.
    Speaker,
}

/// What is wrong, sorted by what the caller can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "specta", derive(specta::Type))]
#[serde(rename_all = "camelCase")]
pub enum DeviceProblem {
    /// There is none, or not the chosen one: plug it in or choose another.
    NotFound,
    /// Another program uses it: close that.
    Busy,
    /// The system forbids it: allow it in the system's settings.
    Denied,
    /// It was there and is gone, or has stopped delivering.
    Lost,
    /// It offers no format that we understand: choose another.
    Unsupported,
    /// The file cannot be read or written, or is not of the right kind.
    File,
    /// Anything else the system reported.
    Failed,
}

/// A device, or file in the place of one, that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct DeviceError {
    /// What can be done about it.
    pub problem: DeviceProblem,
    /// What the system said, for logs and for the curious.
    pub detail: String,
}

impl DeviceError {
    /// An error with the system's own words.
    pub fn new(problem: DeviceProblem, detail: impl ToString) -> Self {
        Self {
            problem,
            detail: detail.to_string(),
        }
    }
}

/// What the media threads report, in the order in which it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaEvent {
    /// The device or source runs, in the place of any other. For a camera, `format` says what it really delivers,
    /// such as `1280x720@30`.
    Started {
        /// Which of the three.
        kind: DeviceKind,
        /// The device's name, or the file's.
        label: String,
        /// What it delivers, empty for audio.
        format: String,
    },
    /// Released, because it was switched off or another was chosen.
    Stopped {
        /// Which of the three.
        kind: DeviceKind,
    },
    /// Could not be opened, or failed while running. The pipeline goes on without it.
    Failed {
        /// Which of the three.
        kind: DeviceKind,
        /// Why.
        error: DeviceError,
    },
    /// Another device runs in the place of one that cannot be used. Follows `Started`; without
    /// anything to take its place there is `Failed` instead.
    Replaced {
        /// Which of the three.
        kind: DeviceKind,
        /// The name of the one that is missed; empty if it has not been seen yet.
        lost_label: String,
        /// The name of the one that runs now.
        label: String,
        /// Why: `Lost` when it was unplugged, `NotFound` when it has not been there, `Busy`, ….
        problem: DeviceProblem,
    },
    /// The device that was replaced is back and runs again. Follows `Started`.
    Returned {
        /// Which of the three.
        kind: DeviceKind,
        /// Its name.
        label: String,
    },
    /// Devices have come or gone, or another one is the default (W3C Media Capture and Streams,
    /// `devicechange`).
    DevicesChanged {
        /// Which of the three.
        kind: DeviceKind,
        /// Those that there are now, the default one first.
        devices: Vec<DeviceInfo>,
    },
}

/// Where media threads report to: called from any of them, must not block.
pub type MediaEvents = std::sync::Arc<dyn Fn(MediaEvent) + Send + Sync>;
