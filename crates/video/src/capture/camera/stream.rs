//! What every way to a camera comes down to.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ahoy_media::device::DeviceError;

use crate::capture::mode::Mode;

/// A camera that runs, on the thread that waits for it. Dropping it releases the device.
pub(super) trait Stream {
    /// Waits for the next picture, for ever if need be: packed as the mode says.
    ///
    /// # Errors
    /// The camera is of no more use.
    fn next_picture(&mut self) -> Result<Cow<'_, [u8]>, DeviceError>;
}

/// A stream, and what the camera has made of the mode that was asked for.
pub(super) struct Opened {
    pub(super) stream: Box<dyn Stream>,
    pub(super) mode: Mode,
    /// Bytes from one row to the next; 0 when they lie side by side.
    pub(super) stride: u32,
}

/// Something of a camera library whose drop may panic.
pub(super) struct Guarded<T>(Option<T>);

impl<T> Guarded<T> {
    pub(super) const fn new(guarded: T) -> Self {
        Self(Some(guarded))
    }

    /// `None` only while it is being dropped.
    pub(super) const fn get(&mut self) -> Option<&mut T> {
        self.0.as_mut()
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        let guarded = self.0.take();
        if catch_unwind(AssertUnwindSafe(|| drop(guarded))).is_err() {
            tracing::warn!("the camera could not be closed properly");
        }
    }
}
