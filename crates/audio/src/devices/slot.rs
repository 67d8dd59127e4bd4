//! The place of one device in a pipeline: what is chosen is opened, watched, replaced and
//! returned to.

use std::thread::{self, Thread};
use std::time::Instant;

use super::Known;
use super::healing::{Healing, Step};
use super::watch::Subscription;
use ahoy_media::device::{DeviceError, DeviceKind, MediaEvents};

pub(crate) use super::healing::Choice;

/// An open microphone or speaker.
pub(crate) trait Device: Sized {
    const KIND: DeviceKind;
    /// How it is to be used.
    type Options: Copy + PartialEq;
    /// One that is being opened.
    type Opening;

    /// Begins to open the device with this id, or the system's default one. `user` is unparked
    /// when it is open and whenever it has delivered or taken samples.
    fn open(
        id: Option<String>,
        options: Self::Options,
        user: Thread,
        now: Instant,
    ) -> Self::Opening;

    /// The device as soon as it is open.
    fn poll(opening: &mut Self::Opening, now: Instant) -> Option<Result<Self, DeviceError>>;

    /// What it is.
    fn device(&self) -> &Known;

    /// # Errors
    /// Why it has to be given up: `Lost` when it is gone or has fallen silent.
    fn check(&mut self, now: Instant) -> Result<(), DeviceError>;
}

/// Something to be done by the pipeline.
pub(crate) enum Change<D> {
    /// This one is open and takes the place of the one that runs.
    Opened(Box<D>),
    /// The one that runs is to be let go.
    Closed,
}

/// Lives on the pipeline's thread, which it wakes when something is to be done.
pub(crate) struct Slot<D: Device> {
    healing: Healing,
    opening: Option<D::Opening>,
    options: D::Options,
    devices: Option<Subscription>,
    events: MediaEvents,
}

impl<D: Device> Slot<D> {
    /// Without a device.
    pub(crate) fn new(options: D::Options, events: MediaEvents) -> Self {
        Self {
            healing: Healing::new(D::KIND),
            opening: None,
            options,
            devices: None,
            events,
        }
    }

    /// Another choice; with none the device is let go.
    pub(crate) fn choose(&mut self, choice: Option<Choice>) {
        // Devices are watched only once somebody wants one.
        if choice.is_some() && self.devices.is_none() {
            self.devices = Some(Subscription::new(D::KIND, thread::current()));
        }
        self.opening = None;
        self.healing.choose(choice);
    }

    /// Another use, for which the device is opened anew.
    pub(crate) fn set_options(&mut self, options: D::Options) {
        if self.options != options {
            self.options = options;
            self.opening = None;
            self.healing.reopen();
        }
    }

    /// The device that runs has failed and is let go by the caller.
    pub(crate) fn lost(&mut self, error: DeviceError, now: Instant) {
        tracing::info!(%error, kind = ?D::KIND, "device failed");
        self.healing.lost(error, now);
    }

    /// What the pipeline has to do now. Reports what has happened.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Change<D>> {
        if let Some(devices) = self.devices.as_mut().and_then(Subscription::take) {
            self.healing.listed(&devices, now);
        }
        let mut change = self.poll_opening(now);
        while change.is_none() {
            match self.healing.poll(now) {
                Some(Step::Open(id)) => {
                    self.opening = Some(D::open(id, self.options, thread::current(), now));
                }
                Some(Step::Close) => change = Some(Change::Closed),
                None => break,
            }
        }
        while let Some(event) = self.healing.take_event() {
            (self.events)(event);
        }
        change
    }

    /// Something may have to be done soon without anybody waking the thread.
    pub(crate) fn is_waiting(&self) -> bool {
        self.opening.is_some() || self.healing.is_waiting()
    }

    fn poll_opening(&mut self, now: Instant) -> Option<Change<D>> {
        let result = D::poll(self.opening.as_mut()?, now)?;
        self.opening = None;
        match result {
            Ok(device) => {
                self.healing.opened(device.device().clone(), now);
                Some(Change::Opened(Box::new(device)))
            }
            Err(error) => {
                tracing::info!(%error, kind = ?D::KIND, "device not opened");
                self.healing.open_failed(error, now);
                None
            }
        }
    }
}
