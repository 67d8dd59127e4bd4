//! Keeps a device's stream on a thread of its own: opening may block for seconds, and closing has
//! been seen to hang for good when the sound server is gone. Neither may hold up a call.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::Connection;
use crate::priority::raise_current_thread;
use ahoy_media::device::{DeviceError, DeviceProblem};

/// Longest that opening a device may take; Bluetooth headsets need two to three seconds.
const OPEN_TIMEOUT: Duration = Duration::from_secs(8);
/// A running device that has not called for so long is gone: the longest buffers are under 1 s.
const SILENT_AFTER: Duration = Duration::from_secs(2);
/// A device that was just opened may take longer to begin.
const SILENT_AFTER_OPENING: Duration = Duration::from_secs(5);
/// Error callbacks per [`ERROR_WINDOW`] after which a stream is given up: a few are normal under
/// load, a dead ALSA plugin makes hundreds of thousands and burns a core doing it.
const MAX_ERRORS: u64 = 500;
const ERROR_WINDOW: Duration = Duration::from_secs(1);
/// A device that was released a moment ago may still be busy: tries and the pause between them.
const BUSY_TRIES: u32 = 4;
const BUSY_PAUSE: Duration = Duration::from_millis(150);

/// A stream, which plays as long as it is kept.
#[expect(dead_code, reason = "its being dropped closes it")]
pub(super) enum OpenStream {
    /// With its connection, which is free for others when the stream is closed.
    Cpal(cpal::Stream, Connection),
    #[cfg(target_os = "linux")]
    Pulse(super::pulse::Stream),
}

/// A device that is being opened on another thread.
#[derive(Debug)]
pub(super) struct Opening<T> {
    result: Receiver<Result<T, DeviceError>>,
    deadline: Instant,
}

impl<T: Send + 'static> Opening<T> {
    /// Runs `open` on its own thread, repeats it while the device is busy, and keeps the stream
    /// there until the [`StreamGuard`] is dropped, and for `linger` after that. `waiting` is
    /// unparked when there is a result.
    pub(super) fn start<S: 'static>(
        name: &str,
        linger: Duration,
        now: Instant,
        waiting: Thread,
        open: impl Fn() -> Result<(S, T), DeviceError> + Send + 'static,
    ) -> Opening<(StreamGuard, T)> {
        let (sender, result) = mpsc::channel();
        let failed = sender.clone();
        let work = move || {
            // The threads that the sound library starts for the stream inherit it.
            raise_current_thread();
            let opened = retry_while_busy(&open);
            let (guard, released) = mpsc::channel();
            let (stream, message) = match opened {
                Ok((stream, value)) => (Some(stream), Ok((StreamGuard(guard), value))),
                Err(error) => (None, Err(error)),
            };
            let wanted = sender.send(message).is_ok();
            drop(sender);
            waiting.unpark();
            if let Some(_stream) = stream.filter(|_| wanted) {
                // Nothing is ever sent: it ends when the guard is dropped.
                let _ = released.recv();
                thread::sleep(linger);
            }
        };
        if let Err(error) = thread::Builder::new().name(name.to_owned()).spawn(work) {
            let _ = failed.send(Err(DeviceError::new(DeviceProblem::Failed, error)));
        }
        Opening {
            result,
            deadline: now + OPEN_TIMEOUT,
        }
    }
}

impl<T> Opening<T> {
    /// The result as soon as there is one; after a timeout that is an error, and a device that
    /// opens later is closed again by itself.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Result<T, DeviceError>> {
        match self.result.try_recv() {
            Ok(result) => Some(result),
            Err(TryRecvError::Empty) if now < self.deadline => None,
            Err(TryRecvError::Empty) => Some(Err(DeviceError::new(
                DeviceProblem::Failed,
                "the device did not open in time",
            ))),
            Err(TryRecvError::Disconnected) => Some(Err(DeviceError::new(
                DeviceProblem::Failed,
                "opening the device failed",
            ))),
        }
    }
}

fn retry_while_busy<T>(open: &dyn Fn() -> Result<T, DeviceError>) -> Result<T, DeviceError> {
    for _ in 1..BUSY_TRIES {
        match open() {
            Err(error) if error.problem == DeviceProblem::Busy => thread::sleep(BUSY_PAUSE),
            result => return result,
        }
    }
    open()
}

/// Dropping it closes the stream, on the stream's own thread and without waiting.
#[derive(Debug)]
pub(super) struct StreamGuard(
    #[expect(dead_code, reason = "its being dropped is the message")] Sender<()>,
);

#[cfg(test)]
impl StreamGuard {
    /// For tests without a stream.
    pub(super) fn unconnected() -> Self {
        Self(mpsc::channel().0)
    }
}

/// Runs something that may never return on a disposable thread.
///
/// # Errors
/// `Failed` when it takes longer than `limit`, or when several earlier ones still hang.
pub(super) fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> Result<T, DeviceError> + Send + 'static,
) -> Result<T, DeviceError> {
    let no_answer = || DeviceError::new(DeviceProblem::Failed, "the sound system does not answer");
    let Some(permit) = Permit::take() else {
        return Err(no_answer());
    };
    let (sender, result) = mpsc::channel();
    thread::Builder::new()
        .name("device-list".to_owned())
        .spawn(move || {
            let _permit = permit;
            let _ = sender.send(work());
        })
        .map_err(|error| DeviceError::new(DeviceProblem::Failed, error))?;
    result
        .recv_timeout(limit)
        .unwrap_or_else(|_| Err(no_answer()))
}

/// Threads that may hang in the sound system at the same time: who asks once a second must not
/// fill the process with them.
static HANGING: AtomicU64 = AtomicU64::new(0);
const MAX_HANGING: u64 = 4;

struct Permit;

impl Permit {
    fn take() -> Option<Self> {
        let permit = Self;
        (HANGING.fetch_add(1, Ordering::Relaxed) < MAX_HANGING).then_some(permit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        HANGING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the callbacks of a stream leave behind for the pipeline.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// Data callbacks so far: no lock, they run on the device's own thread.
    callbacks: AtomicU64,
    /// Errors that may pass.
    errors: AtomicU64,
    /// The first error that does not pass.
    fatal: OnceLock<DeviceError>,
    /// For logs: the first words of the last passing error.
    passing: Mutex<Option<String>>,
}

impl Health {
    pub(super) fn called(&self) {
        self.callbacks.fetch_add(1, Ordering::Relaxed);
    }

    /// The stream has broken off.
    pub(super) fn ended(&self, error: &dyn std::fmt::Display) {
        let _ = self.fatal.set(DeviceError::new(DeviceProblem::Lost, error));
    }

    /// What to do with an error callback. Cheap however often it is called.
    pub(super) fn failed(&self, error: &cpal::Error) {
        use cpal::ErrorKind;
        let lost = || DeviceError::new(DeviceProblem::Lost, error);
        match error.kind() {
            ErrorKind::DeviceNotAvailable
            | ErrorKind::StreamInvalidated
            | ErrorKind::HostUnavailable => {
                let _ = self.fatal.set(lost());
            }
            ErrorKind::PermissionDenied => {
                let _ = self
                    .fatal
                    .set(DeviceError::new(DeviceProblem::Denied, error));
            }
            ErrorKind::DeviceChanged | ErrorKind::RealtimeDenied | ErrorKind::Xrun => {}
            _ => {
                if self.errors.fetch_add(1, Ordering::Relaxed) == 0 {
                    *self.passing.lock().unwrap_or_else(PoisonError::into_inner) =
                        Some(error.to_string());
                }
            }
        }
    }
}

/// Notices that a stream has died, also when nothing says so.
#[derive(Debug)]
pub(super) struct Watchdog {
    health: Arc<Health>,
    callbacks: u64,
    silent_since: Instant,
    errors: u64,
    window_start: Instant,
}

impl Watchdog {
    pub(super) fn new(health: Arc<Health>, now: Instant) -> Self {
        Self {
            health,
            callbacks: 0,
            silent_since: now,
            errors: 0,
            window_start: now,
        }
    }

    /// # Errors
    /// Why the stream has to be given up.
    pub(super) fn check(&mut self, now: Instant) -> Result<(), DeviceError> {
        if let Some(error) = self.health.fatal.get() {
            return Err(error.clone());
        }
        let callbacks = self.health.callbacks.load(Ordering::Relaxed);
        if callbacks != self.callbacks {
            self.callbacks = callbacks;
            self.silent_since = now;
        }
        let limit = if self.callbacks == 0 {
            SILENT_AFTER_OPENING
        } else {
            SILENT_AFTER
        };
        if now.saturating_duration_since(self.silent_since) >= limit {
            return Err(DeviceError::new(
                DeviceProblem::Lost,
                "the device has stopped delivering",
            ));
        }
        self.check_errors(now)
    }

    fn check_errors(&mut self, now: Instant) -> Result<(), DeviceError> {
        let errors = self.health.errors.load(Ordering::Relaxed);
        if errors - self.errors > MAX_ERRORS {
            let words = self
                .health
                .passing
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            let words = words.unwrap_or_else(|| "the device reports errors".to_owned());
            return Err(DeviceError::new(DeviceProblem::Lost, words));
        }
        if now.saturating_duration_since(self.window_start) >= ERROR_WINDOW {
            if errors > self.errors {
                tracing::debug!(
                    errors = errors - self.errors,
                    "audio device reported errors"
                );
            }
            self.errors = errors;
            self.window_start = now;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: cpal::ErrorKind) -> cpal::Error {
        cpal::Error::with_message(kind, "it said")
    }

    fn watchdog() -> (Arc<Health>, Watchdog, Instant) {
        let (health, now) = (Arc::new(Health::default()), Instant::now());
        (health.clone(), Watchdog::new(health, now), now)
    }

    #[test]
    fn a_device_that_falls_silent_is_lost() {
        let (health, mut watchdog, start) = watchdog();
        assert_eq!(
            watchdog.check(start + Duration::from_secs(4)),
            Ok(()),
            "may take its time"
        );
        health.called();
        let called = start + Duration::from_millis(4_100);
        assert_eq!(watchdog.check(called), Ok(()));
        assert_eq!(
            watchdog.check(called + Duration::from_millis(1_900)),
            Ok(())
        );
        let error = watchdog
            .check(called + Duration::from_secs(2))
            .expect_err("silent");
        assert_eq!(error.problem, DeviceProblem::Lost);
    }

    #[test]
    fn only_errors_that_end_a_stream_end_it() {
        let (health, mut watchdog, now) = watchdog();
        for kind in [
            cpal::ErrorKind::Xrun,
            cpal::ErrorKind::DeviceChanged,
            cpal::ErrorKind::RealtimeDenied,
            cpal::ErrorKind::BackendError,
        ] {
            health.failed(&error(kind));
        }
        assert_eq!(watchdog.check(now), Ok(()));
        health.failed(&error(cpal::ErrorKind::StreamInvalidated));
        health.failed(&error(cpal::ErrorKind::PermissionDenied));
        let error = watchdog.check(now).expect_err("invalidated");
        assert_eq!(
            (error.problem, &*error.detail),
            (DeviceProblem::Lost, "it said")
        );
    }

    #[test]
    fn a_storm_of_errors_ends_a_stream_and_a_trickle_does_not() {
        let (health, mut watchdog, start) = watchdog();
        let mut now = start;
        for _ in 0..10 {
            for _ in 0..MAX_ERRORS {
                health.failed(&error(cpal::ErrorKind::BackendError));
            }
            now += ERROR_WINDOW;
            health.called();
            assert_eq!(watchdog.check(now), Ok(()));
        }
        for _ in 0..=MAX_ERRORS {
            health.failed(&error(cpal::ErrorKind::BackendError));
        }
        assert!(watchdog.check(now).is_err());
    }

    #[test]
    fn opening_waits_its_turn_and_gives_up_in_time() {
        let now = Instant::now();
        let (_hold, hang) = mpsc::channel::<()>();
        let hang = Mutex::new(hang);
        let mut opening =
            Opening::<u8>::start("test", Duration::ZERO, now, thread::current(), move || {
                let _ = hang.lock().expect("one user").recv();
                Ok(((), 1))
            });
        assert!(opening.poll(now).is_none());
        let error = opening
            .poll(now + OPEN_TIMEOUT)
            .expect("over")
            .expect_err("too late");
        assert_eq!(error.problem, DeviceProblem::Failed);
    }

    #[test]
    fn listing_gives_up_and_does_not_pile_up_threads() {
        let (release, hang) = mpsc::channel::<()>();
        let hang = Arc::new(Mutex::new(hang));
        for _ in 0..3 * MAX_HANGING {
            let hang = hang.clone();
            let error = within::<()>(Duration::from_millis(1), move || {
                let _ = hang.lock().expect("no panic").recv();
                Ok(())
            });
            assert_eq!(error.expect_err("hangs").problem, DeviceProblem::Failed);
            assert!(HANGING.load(Ordering::Relaxed) <= MAX_HANGING);
        }
        drop(release);
        let deadline = Instant::now() + Duration::from_secs(5);
        while within(Duration::from_secs(1), || Ok(())).is_err() {
            assert!(Instant::now() < deadline, "works again");
        }
    }

    #[test]
    fn a_busy_device_is_tried_again() {
        let tries = Arc::new(AtomicU64::new(0));
        let counted = tries.clone();
        let result = retry_while_busy(&move || {
            if counted.fetch_add(1, Ordering::Relaxed) == 0 {
                return Err(DeviceError::new(DeviceProblem::Busy, "taken"));
            }
            Ok(())
        });
        assert_eq!((result, tries.load(Ordering::Relaxed)), (Ok(()), 2));
    }

    #[test]
    fn dropping_the_guard_drops_the_stream_on_its_own_thread() {
        struct Stream(Sender<thread::ThreadId>);
        impl Drop for Stream {
            fn drop(&mut self) {
                let _ = self.0.send(thread::current().id());
            }
        }
        let (dropped, was_dropped) = mpsc::channel();
        let mut opening = Opening::<u8>::start(
            "test",
            Duration::ZERO,
            Instant::now(),
            thread::current(),
            move || Ok((Stream(dropped.clone()), 7)),
        );
        let (guard, value) = loop {
            match opening.poll(Instant::now()) {
                Some(result) => break result.expect("opens"),
                None => thread::park_timeout(Duration::from_millis(5)),
            }
        };
        assert_eq!(value, 7);
        assert!(
            was_dropped.try_recv().is_err(),
            "open as long as the guard lives"
        );
        drop(guard);
        let by = was_dropped
            .recv_timeout(Duration::from_secs(5))
            .expect("closed");
        assert_ne!(by, thread::current().id());
    }
}
