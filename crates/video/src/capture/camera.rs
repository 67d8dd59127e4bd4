//! Cameras: by nokhwa, and on Linux by V4L2 itself where nokhwa cannot.
//!
//! nokhwa's `frame` waits for ever when a camera stalls, and dropping its `Camera` can panic. So
//! it lives on a thread of its own (`camera-device`) that hands pictures over by a slot; whoever
//! waits at the slot has a time limit, and a thread that does not come back is left behind.

mod by_nokhwa;
mod problem;
mod stream;

#[cfg(target_os = "linux")]
#[path = "camera/linux.rs"]
mod system;
#[cfg(not(target_os = "linux"))]
#[path = "camera/elsewhere.rs"]
mod system;
#[cfg(target_os = "linux")]
mod v4l2;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nokhwa::utils::CameraIndex;

use self::stream::{Opened, Stream};
use super::VideoSource;
use super::convert::Converter;
use super::mode::{Mode, choose};
use ahoy_media::device::{DeviceError, DeviceInfo, DeviceProblem};
use ahoy_media::frame::VideoFrame;
use ahoy_media::pool::FramePool;
use ahoy_media::queue::{Slot, Taken};
use ahoy_media::units::VideoConstraints;

/// How long opening may take. Drivers that need a second to wake up are common.
const OPEN_TIMEOUT: Duration = Duration::from_secs(6);
/// How long the first picture may take: some cameras measure the light first.
const FIRST_FRAME_TIMEOUT: Duration = Duration::from_secs(5);
/// How long any other picture may take before the camera counts as stalled. Cameras halve their
/// rate in the dark, but none goes below one picture a second.
const FRAME_TIMEOUT: Duration = Duration::from_millis(2500);
/// How long closing waits for the device to be released before it leaves the thread behind.
const RELEASE_TIMEOUT: Duration = Duration::from_millis(800);
/// The same for a camera that has stalled: its driver will hardly return now.
const STALLED_RELEASE_TIMEOUT: Duration = Duration::from_millis(50);
/// Damaged pictures in a row after which the camera is given up: two seconds' worth.
const MAX_DAMAGED: u32 = 60;

/// A camera that runs. Dropping it releases the device.
pub struct Camera {
    label: String,
    device: Device,
    mode: Mode,
    shared: Arc<Shared>,
    finished: Receiver<()>,
    delivered: bool,
    stalled: bool,
    number: u64,
}

/// What identifies a camera for the system, and for people.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Device {
    id: String,
    label: String,
    index: CameraIndex,
}

struct Shared {
    slot: Slot<VideoFrame>,
    stop: AtomicBool,
    /// Why the thread has ended.
    error: Mutex<Option<DeviceError>>,
}

/// The cameras of this computer, the system's first one first.
///
/// # Errors
/// When the system cannot be asked.
pub fn enumerate() -> Result<Vec<DeviceInfo>, DeviceError> {
    Ok(system::devices()?
        .into_iter()
        .enumerate()
        .map(|(place, device)| DeviceInfo {
            id: device.id,
            label: device.label,
            is_default: place == 0,
        })
        .collect())
}

impl Camera {
    /// Opens the camera with this id, or the first one, in the mode nearest to `wanted`.
    ///
    /// # Errors
    /// [`DeviceProblem::NotFound`], [`DeviceProblem::Busy`], [`DeviceProblem::Denied`],
    /// [`DeviceProblem::Unsupported`], or [`DeviceProblem::Lost`] when it does not answer.
    pub fn open(id: Option<&str>, wanted: VideoConstraints) -> Result<Self, DeviceError> {
        let device = find(system::devices()?, id)?;
        let mode = choose_mode(&device, wanted)?;
        let shared = Arc::new(Shared {
            slot: Slot::new(),
            stop: AtomicBool::new(false),
            error: Mutex::new(None),
        });
        let (opened_sender, opened) = sync_channel(1);
        let (finished_sender, finished) = sync_channel(1);
        std::thread::Builder::new()
            .name("camera-device".to_owned())
            .spawn({
                let (shared, index) = (Arc::clone(&shared), device.index.clone());
                move || device_thread(&index, mode, &shared, &opened_sender, &finished_sender)
            })
            .map_err(|error| DeviceError::new(DeviceProblem::Failed, error))?;
        let mut camera = Self {
            label: device.label.clone(),
            device,
            mode,
            shared,
            finished,
            delivered: false,
            stalled: false,
            number: 0,
        };
        camera.mode = camera.wait_until_open(&opened)?;
        Ok(camera)
    }

    fn wait_until_open(
        &self,
        opened: &Receiver<Result<Mode, DeviceError>>,
    ) -> Result<Mode, DeviceError> {
        match opened.recv_timeout(OPEN_TIMEOUT) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => Err(DeviceError::new(
                DeviceProblem::Lost,
                format!("\"{}\" does not answer", self.label),
            )),
            Err(RecvTimeoutError::Disconnected) => Err(self.reason()),
        }
    }

    /// Why the device thread has ended.
    fn reason(&self) -> DeviceError {
        self.shared
            .error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
            .unwrap_or_else(|| {
                DeviceError::new(DeviceProblem::Failed, "the camera's driver library crashed")
            })
    }
}

impl VideoSource for Camera {
    fn label(&self) -> String {
        self.label.clone()
    }

    fn format(&self) -> VideoConstraints {
        self.mode.format
    }

    fn next_frame(&mut self) -> Result<VideoFrame, DeviceError> {
        let timeout = if self.delivered {
            FRAME_TIMEOUT
        } else {
            FIRST_FRAME_TIMEOUT
        };
        match self.shared.slot.take_timeout(timeout) {
            Taken::Value(frame) => {
                self.delivered = true;
                let number = self.number;
                self.number += 1;
                Ok(VideoFrame { number, ..frame })
            }
            Taken::TimedOut => {
                self.stalled = true;
                Err(DeviceError::new(
                    DeviceProblem::Lost,
                    format!("\"{}\" has stopped delivering pictures", self.label),
                ))
            }
            Taken::Closed => Err(self.reason()),
        }
    }

    fn suits(&self, wanted: VideoConstraints) -> bool {
        choose_mode(&self.device, wanted).is_ok_and(|mode| mode == self.mode)
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.slot.close();
        let timeout = if self.stalled {
            STALLED_RELEASE_TIMEOUT
        } else {
            RELEASE_TIMEOUT
        };
        if self.finished.recv_timeout(timeout) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!(
                camera = self.label,
                "the driver does not return; its thread is left behind"
            );
        }
    }
}

fn find(devices: Vec<Device>, id: Option<&str>) -> Result<Device, DeviceError> {
    let Some(id) = id else {
        return devices
            .into_iter()
            .next()
            .ok_or_else(|| DeviceError::new(DeviceProblem::NotFound, "there is no camera"));
    };
    let id = system::canonical(id);
    devices
        .into_iter()
        .find(|device| device.id == id)
        .ok_or_else(|| {
            DeviceError::new(
                DeviceProblem::NotFound,
                format!("there is no camera \"{id}\""),
            )
        })
}

fn choose_mode(device: &Device, wanted: VideoConstraints) -> Result<Mode, DeviceError> {
    let modes = system::modes(device, wanted)?;
    choose(&modes, wanted).ok_or_else(|| {
        DeviceError::new(
            DeviceProblem::Unsupported,
            format!(
                "\"{}\" offers no picture format that is understood",
                device.label
            ),
        )
    })
}

/// Runs the device. Whatever it does, `finished` is dropped at the end and the slot closed.
fn device_thread(
    index: &CameraIndex,
    mode: Mode,
    shared: &Shared,
    opened: &SyncSender<Result<Mode, DeviceError>>,
    finished: &SyncSender<()>,
) {
    let result = catch_unwind(AssertUnwindSafe(|| run(index, mode, shared, opened)));
    if let Ok(Err(error)) = result {
        let mut place = shared.error.lock().unwrap_or_else(PoisonError::into_inner);
        *place = Some(error);
    }
    shared.slot.close();
    let _ = finished.try_send(());
}

fn run(
    index: &CameraIndex,
    mode: Mode,
    shared: &Shared,
    opened: &SyncSender<Result<Mode, DeviceError>>,
) -> Result<(), DeviceError> {
    let Opened {
        mut stream,
        mode,
        stride,
    } = match open_device(index, mode) {
        Ok(opened) => opened,
        Err(error) => {
            let _ = opened.try_send(Err(error.clone()));
            return Err(error);
        }
    };
    let _ = opened.try_send(Ok(mode));
    let mut reader = Reader {
        mode,
        stride,
        converter: Converter::new(),
        pool: FramePool::new(),
        damaged: 0,
    };
    while !shared.stop.load(Ordering::Acquire) {
        if let Some(frame) = reader.read(stream.as_mut())? {
            shared.slot.put(frame);
        }
    }
    Ok(())
}

/// Opens the stream in this mode and says what the camera really runs in.
fn open_device(index: &CameraIndex, mode: Mode) -> Result<Opened, DeviceError> {
    let (mode, stride) = system::prepare(index, mode)?;
    if choose(&[mode], mode.format).is_none() {
        let Mode { format, pixels, .. } = mode;
        let words = format!("it insists on {format} {pixels:?}");
        return Err(DeviceError::new(DeviceProblem::Unsupported, words));
    }
    system::open(index, mode, stride)
}

struct Reader {
    mode: Mode,
    stride: u32,
    converter: Converter,
    pool: FramePool,
    damaged: u32,
}

impl Reader {
    /// The next picture; `None` for a damaged one.
    fn read(&mut self, stream: &mut dyn Stream) -> Result<Option<VideoFrame>, DeviceError> {
        let data = stream.next_picture()?;
        let captured_at = Instant::now();
        let Self {
            mode,
            stride,
            converter,
            pool,
            damaged,
        } = self;
        let picture = pool.fill(mode.format.resolution, |target| {
            converter.convert(mode.pixels, *stride, &data, target)
        });
        match picture {
            Ok(picture) => {
                *damaged = 0;
                Ok(Some(VideoFrame {
                    picture,
                    captured_at,
                    number: 0,
                }))
            }
            Err(error) => {
                *damaged += 1;
                tracing::debug!(%error, "a damaged picture from the camera");
                if *damaged < MAX_DAMAGED {
                    Ok(None)
                } else {
                    Err(DeviceError::new(DeviceProblem::Unsupported, error))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_camera_that_is_not_there_is_not_found() {
        let error = Camera::open(Some("/dev/video99999"), VideoConstraints::default())
            .err()
            .expect("no such camera");
        assert_eq!(error.problem, DeviceProblem::NotFound);
        let device = |id: &str| Device {
            id: id.into(),
            label: id.into(),
            index: CameraIndex::Index(0),
        };
        assert!(
            find(Vec::new(), None).is_err_and(|error| error.problem == DeviceProblem::NotFound)
        );
        let two = || vec![device("/dev/video2"), device("/dev/video0")];
        assert_eq!(find(two(), None).expect("the first").id, "/dev/video2");
        assert_eq!(
            find(two(), Some("/dev/video0")).expect("that one").id,
            "/dev/video0"
        );
    }
}
