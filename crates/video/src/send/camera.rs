//! The camera thread: opens what is asked for, reads it, and survives whatever it does. A camera
//! that is gone or busy is tried again until it is there.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::{Request, Shared, lock};
use crate::capture::pace::FrameRateLimiter;
use crate::capture::{self, VideoSource};
use ahoy_media::device::{DeviceError, DeviceKind, DeviceProblem, MediaEvent};
use ahoy_media::frame::VideoFrame;
use ahoy_media::selection::CameraSelection;
use ahoy_media::units::VideoConstraints;

/// Between two tries of a camera that cannot be used. Asking costs a look into a directory, or an
/// open that fails.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// It is twice as long each time for a camera that opens and then delivers nothing for long, up to
/// this.
const MAX_RETRY_INTERVAL: Duration = Duration::from_secs(30);
/// A camera that has run for so long works.
const WORKS: Duration = Duration::from_secs(10);

/// Runs until the handle is dropped.
pub(super) fn run(shared: &Shared) {
    let mut thread = CameraThread {
        shared,
        generation: 0,
        camera: CameraSelection::None,
        source: None,
        limiter: None,
        number: 0,
        missed: None,
        retry_interval: RETRY_INTERVAL,
        opened_at: None,
    };
    while let Some(change) = thread.wait_for_work() {
        match change {
            Some((camera, wanted)) => thread.apply(camera, wanted),
            None => thread.try_again(),
        }
        thread.deliver_frame();
    }
    thread.release();
    lock(&shared.request).closed = true;
    shared.request_changed.notify_all();
}

struct CameraThread<'a> {
    shared: &'a Shared,
    generation: u64,
    camera: CameraSelection,
    source: Option<Box<dyn VideoSource>>,
    /// Only when the source is faster than wanted.
    limiter: Option<FrameRateLimiter>,
    /// Counts across sources, so that a gap always means a dropped frame.
    number: u64,
    missed: Option<Missed>,
    retry_interval: Duration,
    opened_at: Option<Instant>,
}

/// A camera that should run and cannot.
struct Missed {
    wanted: VideoConstraints,
    retry_at: Instant,
}

impl CameraThread<'_> {
    /// The new request, if there is one; `None` at the end. Sleeps while there is nothing to do.
    fn wait_for_work(&mut self) -> Option<Option<(CameraSelection, VideoConstraints)>> {
        let idle = self.source.is_none();
        let seen = self.generation;
        let nothing =
            |request: &mut Request| idle && !request.closing && request.generation == seen;
        let request = lock(&self.shared.request);
        let changed = &self.shared.request_changed;
        let request = match &self.missed {
            Some(missed) => {
                let patience = missed.retry_at.saturating_duration_since(Instant::now());
                let waited = changed.wait_timeout_while(request, patience, nothing);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            None => changed
                .wait_while(request, nothing)
                .unwrap_or_else(PoisonError::into_inner),
        };
        if request.closing {
            return None;
        }
        if request.generation == seen {
            return Some(None);
        }
        self.generation = request.generation;
        Some(Some((request.camera.clone(), request.wanted)))
    }

    fn apply(&mut self, camera: CameraSelection, wanted: VideoConstraints) {
        let keep = camera == self.camera
            && self
                .source
                .as_ref()
                .is_some_and(|source| source.suits(wanted));
        if !keep {
            self.release();
            self.camera = camera;
            self.missed = None;
            self.retry_interval = RETRY_INTERVAL;
            if let Err(error) = self.open(wanted) {
                self.miss(wanted, &error);
                self.fail(error);
            }
        }
        self.limit(wanted);
    }

    /// Whether a camera that was gone or busy can be used now. That it still cannot is no news.
    fn try_again(&mut self) {
        let due = |missed: &mut Missed| missed.retry_at <= Instant::now();
        let Some(Missed { wanted, .. }) = self.missed.take_if(due) else {
            return;
        };
        match self.open(wanted) {
            Ok(()) => {
                self.limit(wanted);
                if let Some(source) = &self.source {
                    self.report(MediaEvent::Returned {
                        kind: DeviceKind::Camera,
                        label: source.label(),
                    });
                }
            }
            Err(error) => self.miss(wanted, &error),
        }
    }

    fn miss(&mut self, wanted: VideoConstraints, error: &DeviceError) {
        let is_device = matches!(
            self.camera,
            CameraSelection::Default | CameraSelection::Device(_)
        );
        let may_change = matches!(
            error.problem,
            DeviceProblem::NotFound | DeviceProblem::Busy | DeviceProblem::Lost
        );
        self.missed = (is_device && may_change).then(|| Missed {
            wanted,
            retry_at: Instant::now() + self.retry_interval,
        });
    }

    fn limit(&mut self, wanted: VideoConstraints) {
        self.limiter = self.source.as_ref().and_then(|source| {
            (source.format().frame_rate > wanted.frame_rate)
                .then(|| FrameRateLimiter::new(wanted.frame_interval()))
        });
    }

    fn open(&mut self, wanted: VideoConstraints) -> Result<(), DeviceError> {
        let camera = &self.camera;
        // Capture crates panic where they should fail; that must not end the call's pictures.
        let source =
            catch_unwind(|| capture::open(camera, wanted)).unwrap_or_else(|_| Err(panicked()))?;
        if let Some(source) = &source {
            tracing::info!(label = source.label(), format = %source.format(), "camera started");
            self.report(MediaEvent::Started {
                kind: DeviceKind::Camera,
                label: source.label(),
                format: source.format().to_string(),
            });
        }
        self.source = source;
        self.opened_at = Some(Instant::now());
        Ok(())
    }

    fn release(&mut self) {
        let Some(source) = self.source.take() else {
            return;
        };
        let _ = catch_unwind(AssertUnwindSafe(|| drop(source)));
        self.shared.slot.clear();
        self.report(MediaEvent::Stopped {
            kind: DeviceKind::Camera,
        });
    }

    fn deliver_frame(&mut self) {
        let Some(source) = &mut self.source else {
            return;
        };
        match catch_unwind(AssertUnwindSafe(|| source.next_frame())) {
            Ok(Ok(frame)) => self.hand_on(frame),
            Ok(Err(error)) => self.lose(error),
            Err(_) => self.lose(panicked()),
        }
    }

    fn hand_on(&mut self, frame: VideoFrame) {
        let wanted = self
            .limiter
            .as_mut()
            .is_none_or(|limiter| limiter.accept(frame.captured_at));
        {
            let mut stats = lock(&self.shared.stats);
            stats.frames_captured += 1;
            stats.frames_skipped += u64::from(!wanted);
        }
        if !wanted {
            return;
        }
        let frame = VideoFrame {
            number: self.number,
            ..frame
        };
        self.number += 1;
        let observer = lock(&self.shared.observer).clone();
        if let Some(observer) = observer {
            observer.captured(&frame);
        }
        if self.shared.slot.put(frame).is_some() {
            lock(&self.shared.stats).frames_replaced += 1;
        }
    }

    fn lose(&mut self, error: DeviceError) {
        if let Some(source) = self.source.take() {
            let _ = catch_unwind(AssertUnwindSafe(|| drop(source)));
        }
        self.shared.slot.clear();
        let worked = self.opened_at.is_some_and(|at| at.elapsed() >= WORKS);
        self.retry_interval = match worked {
            true => RETRY_INTERVAL,
            false => (self.retry_interval * 2).min(MAX_RETRY_INTERVAL),
        };
        let wanted = lock(&self.shared.request).wanted;
        self.miss(wanted, &error);
        self.fail(error);
    }

    fn fail(&self, error: DeviceError) {
        tracing::warn!(%error, problem = ?error.problem, "no camera");
        self.report(MediaEvent::Failed {
            kind: DeviceKind::Camera,
            error,
        });
    }

    fn report(&self, event: MediaEvent) {
        (self.shared.events)(event);
    }
}

fn panicked() -> DeviceError {
    DeviceError::new(DeviceProblem::Failed, "the camera's driver library crashed")
}
