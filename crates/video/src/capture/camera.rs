//! Cameras, by nokhwa.
//!
//! nokhwa's `frame` waits for ever when a camera stalls, and dropping its `Camera` can panic. So
//! it lives on a thread of its own (`camera-device`) that hands pictures over by a slot; whoever
//! waits at the slot has a time limit, and a thread that does not come back is left behind.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nokhwa::NokhwaError;
use nokhwa::utils::{CameraFormat, CameraIndex, FrameFormat, RequestedFormat, RequestedFormatType};

use super::convert::Converter;
use super::mode::{Mode, PixelFormat, choose};
use super::{MAX_SIDE, VideoSource};
use ahoy_media::device::{DeviceError, DeviceInfo, DeviceProblem};
use ahoy_media::frame::VideoFrame;
use ahoy_media::pool::FramePool;
use ahoy_media::queue::{Slot, Taken};
use ahoy_media::units::{Resolution, VideoConstraints};

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

/// What identifies a camera for nokhwa, and for people.
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
    Ok(devices()?
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
        let device = find(devices()?, id)?;
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
    let id = canonical(id);
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
    let modes = modes(device, wanted)?;
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

/// Runs nokhwa. Whatever it does, `finished` is dropped at the end and the slot closed.
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
    let (camera, mode, stride) = match open_device(index, mode) {
        Ok(open) => open,
        Err(error) => {
            let _ = opened.try_send(Err(error.clone()));
            return Err(error);
        }
    };
    let mut camera = Guarded(Some(camera));
    let _ = opened.try_send(Ok(mode));
    let mut reader = Reader {
        mode,
        stride,
        converter: Converter::new(),
        pool: FramePool::new(),
        damaged: 0,
    };
    while !shared.stop.load(Ordering::Acquire) {
        let Some(camera) = camera.0.as_mut() else {
            break;
        };
        if let Some(frame) = reader.read(camera)? {
            shared.slot.put(frame);
        }
    }
    Ok(())
}

/// Opens the stream in this mode and says what the camera really runs in.
fn open_device(
    index: &CameraIndex,
    mode: Mode,
) -> Result<(nokhwa::Camera, Mode, u32), DeviceError> {
    let (mode, stride) = prepare(index, mode)?;
    if choose(&[mode], mode.format).is_none() {
        let Mode { format, pixels } = mode;
        let words = format!("it insists on {format} {pixels:?}");
        return Err(DeviceError::new(DeviceProblem::Unsupported, words));
    }
    let format = camera_format(mode);
    let decoders = [format.format()];
    let request = RequestedFormat::with_formats(RequestedFormatType::Exact(format), &decoders);
    let mut camera =
        nokhwa::Camera::new(index.clone(), request).map_err(|error| open_error(&error))?;
    camera.open_stream().map_err(|error| open_error(&error))?;
    let real = mode_of(camera.camera_format());
    Ok((camera, real, stride))
}

/// A camera whose drop may panic.
struct Guarded(Option<nokhwa::Camera>);

impl Drop for Guarded {
    fn drop(&mut self) {
        let camera = self.0.take();
        if catch_unwind(AssertUnwindSafe(|| drop(camera))).is_err() {
            tracing::warn!("the camera could not be closed properly");
        }
    }
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
    fn read(&mut self, camera: &mut nokhwa::Camera) -> Result<Option<VideoFrame>, DeviceError> {
        let data = camera.frame_raw().map_err(|error| read_error(&error))?;
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

#[cfg(target_os = "linux")]
fn devices() -> Result<Vec<Device>, DeviceError> {
    Ok(super::v4l2::nodes()
        .into_iter()
        .map(|node| Device {
            id: super::v4l2::path(node.index).display().to_string(),
            label: node.label,
            index: CameraIndex::Index(node.index),
        })
        .collect())
}

#[cfg(target_os = "linux")]
fn canonical(id: &str) -> String {
    super::v4l2::index_of(std::path::Path::new(id)).map_or_else(
        || id.to_owned(),
        |index| super::v4l2::path(index).display().to_string(),
    )
}

#[cfg(target_os = "linux")]
fn modes(device: &Device, wanted: VideoConstraints) -> Result<Vec<Mode>, DeviceError> {
    let index = linux_index(&device.index)?;
    super::v4l2::modes(index, wanted).map_err(|error| system_error(&error))
}

#[cfg(target_os = "linux")]
fn prepare(index: &CameraIndex, mode: Mode) -> Result<(Mode, u32), DeviceError> {
    let prepared =
        super::v4l2::prepare(linux_index(index)?, mode).map_err(|error| system_error(&error))?;
    Ok((prepared.mode, prepared.stride))
}

#[cfg(target_os = "linux")]
fn linux_index(index: &CameraIndex) -> Result<u32, DeviceError> {
    index.as_index().map_err(|error| open_error(&error))
}

#[cfg(target_os = "linux")]
fn system_error(error: &std::io::Error) -> DeviceError {
    let problem = error
        .raw_os_error()
        .map_or(DeviceProblem::Unsupported, |code| {
            problem_of(code, DeviceProblem::NotFound)
        });
    DeviceError::new(problem, error)
}

#[cfg(not(target_os = "linux"))]
fn devices() -> Result<Vec<Device>, DeviceError> {
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

#[cfg(not(target_os = "linux"))]
fn canonical(id: &str) -> String {
    id.to_owned()
}

#[cfg(not(target_os = "linux"))]
fn modes(device: &Device, _wanted: VideoConstraints) -> Result<Vec<Mode>, DeviceError> {
    let any = RequestedFormat::with_formats(
        RequestedFormatType::AbsoluteHighestFrameRate,
        nokhwa::utils::frame_formats(),
    );
    let camera =
        nokhwa::Camera::new(device.index.clone(), any).map_err(|error| open_error(&error))?;
    let mut camera = Guarded(Some(camera));
    let formats = match camera.0.as_mut() {
        Some(camera) => camera
            .compatible_camera_formats()
            .map_err(|error| open_error(&error))?,
        None => Vec::new(),
    };
    Ok(formats.into_iter().map(mode_of).collect())
}

#[cfg(not(target_os = "linux"))]
fn prepare(_index: &CameraIndex, mode: Mode) -> Result<(Mode, u32), DeviceError> {
    Ok((mode, 0))
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

fn mode_of(format: CameraFormat) -> Mode {
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

fn open_error(error: &NokhwaError) -> DeviceError {
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

/// The number in "Device or resource busy (os error 16)": nokhwa passes errors on as text.
fn os_error(words: &str) -> Option<i32> {
    let (_, after) = words.rsplit_once("(os error ")?;
    after.split_once(')')?.0.parse().ok()
}

/// What a system error means, where `absent` is what it means that the device is not there.
fn problem_of(code: i32, absent: DeviceProblem) -> DeviceProblem {
    const EPERM: i32 = 1;
    const ENOENT: i32 = 2;
    const EIO: i32 = 5;
    const ENXIO: i32 = 6;
    const EACCES: i32 = 13;
    const EBUSY: i32 = 16;
    const ENODEV: i32 = 19;
    const EINVAL: i32 = 22;
    match code {
        EPERM | EACCES => DeviceProblem::Denied,
        EBUSY => DeviceProblem::Busy,
        ENOENT | ENXIO | ENODEV => absent,
        EIO => DeviceProblem::Lost,
        EINVAL => DeviceProblem::Unsupported,
        _ => DeviceProblem::Failed,
    }
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
