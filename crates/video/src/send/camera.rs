//! The camera thread: opens what is asked for, reads it, and survives whatever it does.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::PoisonError;

use super::{Request, Shared, lock};
use crate::capture::pace::FrameRateLimiter;
use crate::capture::{self, VideoSource};
use ahoy_media::device::{DeviceError, DeviceKind, DeviceProblem, MediaEvent};
use ahoy_media::frame::VideoFrame;
use ahoy_media::selection::CameraSelection;
use ahoy_media::units::VideoConstraints;

/// Runs until the handle is dropped.
pub(super) fn run(shared: &Shared) {
    let mut thread = CameraThread {
        shared,
        generation: 0,
        camera: CameraSelection::None,
        source: None,
        limiter: None,
        number: 0,
    };
    while let Some(change) = thread.wait_for_work() {
        if let Some((camera, wanted)) = change {
            thread.apply(camera, wanted);
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
}

impl CameraThread<'_> {
    /// The new request, if there is one; `None` at the end. Sleeps while there is nothing to do.
    fn wait_for_work(&mut self) -> Option<Option<(CameraSelection, VideoConstraints)>> {
        let idle = self.source.is_none();
        let seen = self.generation;
        let nothing =
            |request: &mut Request| idle && !request.closing && request.generation == seen;
        let request = self
            .shared
            .request_changed
            .wait_while(lock(&self.shared.request), nothing)
            .unwrap_or_else(PoisonError::into_inner);
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
            self.open(wanted);
        }
        self.limiter = self.source.as_ref().and_then(|source| {
            (source.format().frame_rate > wanted.frame_rate)
                .then(|| FrameRateLimiter::new(wanted.frame_interval()))
        });
    }

    fn open(&mut self, wanted: VideoConstraints) {
        let camera = &self.camera;
        // Capture crates panic where they should fail; that must not end the call's pictures.
        let opened =
            catch_unwind(|| capture::open(camera, wanted)).unwrap_or_else(|_| Err(panicked()));
        match opened {
            Ok(source) => {
                if let Some(source) = &source {
                    tracing::info!(label = source.label(), format = %source.format(), "camera started");
                    self.report(MediaEvent::Started {
                        kind: DeviceKind::Camera,
                        label: source.label(),
                        format: source.format().to_string(),
                    });
                }
                self.source = source;
            }
            Err(error) => self.fail(error),
        }
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
