//! Microphones and speakers as the system lists them.

pub mod input;
pub mod output;

mod clock;
mod format;
mod healing;
mod margin;
mod open;
#[cfg(target_os = "linux")]
mod pulse;
pub(crate) mod slot;
mod stream;
mod watch;

use std::ops::Deref;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cpal::ErrorKind;
use cpal::traits::{DeviceTrait, HostTrait};

use self::stream::within;
use crate::priority::raise_current_thread;
use ahoy_media::device::{DeviceError, DeviceInfo, DeviceProblem};

/// Longest that a listing may take: a healthy server needs 2 ms, a hung one never answers.
const LIST_TIMEOUT: Duration = Duration::from_secs(3);

/// Which way the sound goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Input,
    Output,
}

/// The microphones that there are now, the default one marked. Empty when there is none; the
/// echo of a speaker ("monitor") is none.
///
/// # Errors
/// What the sound system answered when it could not list them.
pub fn microphones() -> Result<Vec<DeviceInfo>, DeviceError> {
    within(LIST_TIMEOUT, || list(Direction::Input))
}

/// The speakers and headphones that there are now, the default one marked.
///
/// # Errors
/// What the sound system answered when it could not list them.
pub fn speakers() -> Result<Vec<DeviceInfo>, DeviceError> {
    within(LIST_TIMEOUT, || list(Direction::Output))
}

/// A device by its id and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// As in the listing.
    pub id: String,
    /// The name the system shows for it.
    pub label: String,
}

/// The device with this id from the listing, or the system's default one, and the connection
/// that its stream has to itself.
fn find(
    direction: Direction,
    id: Option<&str>,
) -> Result<(cpal::Device, Known, Connection), DeviceError> {
    let host = Connection::open()?;
    let device = match id {
        None => default_device(&host, direction).filter(is_real),
        Some(id) => devices(&host, direction)?
            .into_iter()
            .find(|device| id_of(device) == id),
    };
    let device = device.ok_or_else(|| {
        let what = match direction {
            Direction::Input => "microphone",
            Direction::Output => "speaker",
        };
        let detail = match id {
            None => format!("there is no {what}"),
            Some(id) => format!("there is no {what} {id}"),
        };
        DeviceError::new(DeviceProblem::NotFound, detail)
    })?;
    let known = Known {
        id: id_of(&device),
        label: label_of(&device),
    };
    Ok((device, known, host))
}

/// What can be done about an error of the system.
fn device_error(error: &cpal::Error) -> DeviceError {
    let problem = match error.kind() {
        ErrorKind::DeviceBusy | ErrorKind::ResourceExhausted => DeviceProblem::Busy,
        ErrorKind::DeviceNotAvailable | ErrorKind::HostUnavailable => DeviceProblem::NotFound,
        ErrorKind::PermissionDenied => DeviceProblem::Denied,
        ErrorKind::UnsupportedConfig
        | ErrorKind::UnsupportedOperation
        | ErrorKind::InvalidInput => DeviceProblem::Unsupported,
        ErrorKind::StreamInvalidated => DeviceProblem::Lost,
        _ => DeviceProblem::Failed,
    };
    DeviceError::new(problem, error)
}

/// Connections to the sound server that nobody uses at the moment. They are kept because the
/// PulseAudio client beneath cpal leaves its thread and three open files behind in about every
/// fourth case when it is dropped while the server runs (pulseaudio 0.3.2). Never more than were
/// in use at the same time: two streams and a listing.
static IDLE: Mutex<Vec<cpal::Host>> = Mutex::new(Vec::new());

/// A connection to the sound system, of its own for each stream: a PulseAudio server takes all
/// streams of a connection for parts of one, and refuses one to another speaker.
struct Connection(Option<cpal::Host>);

impl Connection {
    fn open() -> Result<Self, DeviceError> {
        loop {
            let idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match idle {
                // One that has lost its server stays dead; its thread has ended by itself.
                Some(host) if host.devices().is_err() => drop(host),
                Some(host) => return Ok(Self(Some(host))),
                None => return Ok(Self(Some(new_host()?))),
            }
        }
    }
}

impl Deref for Connection {
    type Target = cpal::Host;

    fn deref(&self) -> &cpal::Host {
        self.0.as_ref().expect("only taken when dropped")
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(host) = self.0.take().filter(is_worth_keeping) {
            IDLE.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(host);
        }
    }
}

#[cfg(target_os = "linux")]
fn new_host() -> Result<cpal::Host, DeviceError> {
    // Samples come and go on a thread that the connection starts, and that inherits it.
    raise_current_thread();
    // PipeWire answers as a PulseAudio server too. ALSA is for machines without either.
    cpal::host_from_id(cpal::HostId::PulseAudio)
        .or_else(|_| cpal::host_from_id(cpal::HostId::Alsa))
        .map_err(|error| device_error(&error))
}

/// A server may be there next time: ALSA is not kept.
#[cfg(target_os = "linux")]
fn is_worth_keeping(host: &cpal::Host) -> bool {
    host.id() == cpal::HostId::PulseAudio
}

#[cfg(not(target_os = "linux"))]
fn new_host() -> Result<cpal::Host, DeviceError> {
    Ok(cpal::default_host())
}

#[cfg(not(target_os = "linux"))]
fn is_worth_keeping(_: &cpal::Host) -> bool {
    false
}

fn list(direction: Direction) -> Result<Vec<DeviceInfo>, DeviceError> {
    let host = Connection::open()?;
    let default = default_device(&host, direction).map(|device| id_of(&device));
    let devices = devices(&host, direction)?.into_iter().map(|device| {
        let id = id_of(&device);
        DeviceInfo {
            label: label_of(&device),
            is_default: default.as_ref() == Some(&id),
            id,
        }
    });
    let mut devices: Vec<_> = devices.collect();
    devices.sort_by_key(|device| !device.is_default);
    Ok(devices)
}

/// Changes whenever a listing does, and never opens a device, as listing those of ALSA does.
fn fingerprint() -> Result<Vec<(String, String)>, DeviceError> {
    let host = Connection::open()?;
    let default = |direction| default_device(&host, direction).map(|it| id_of(&it));
    let defaults = [Direction::Input, Direction::Output]
        .map(|direction| ("default".to_owned(), default(direction).unwrap_or_default()));
    let devices = host.devices().map_err(|error| device_error(&error))?;
    let devices = devices.map(|it| (id_of(&it), label_of(&it)));
    Ok(defaults.into_iter().chain(devices).collect())
}

fn devices(host: &cpal::Host, direction: Direction) -> Result<Vec<cpal::Device>, DeviceError> {
    let devices = host.devices().map_err(|error| device_error(&error))?;
    let fits = |device: &cpal::Device| match direction {
        Direction::Input => device.supports_input(),
        Direction::Output => device.supports_output(),
    };
    // Asking an ALSA device what it supports opens it: leave the unreal ones alone.
    Ok(devices.filter(is_real).filter(fits).collect())
}

fn default_device(host: &cpal::Host, direction: Direction) -> Option<cpal::Device> {
    match direction {
        Direction::Input => host.default_input_device(),
        Direction::Output => host.default_output_device(),
    }
}

fn id_of(device: &cpal::Device) -> String {
    device.id().map(|id| id.to_string()).unwrap_or_default()
}

fn label_of(device: &cpal::Device) -> String {
    match device.description() {
        Ok(description) => description
            .name()
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned(),
        Err(_) => id_of(device),
    }
}

fn is_real(device: &cpal::Device) -> bool {
    is_real_id(&id_of(device))
}

/// Whether an id names something that a person would call a microphone or a speaker.
fn is_real_id(id: &str) -> bool {
    match id.split_once(':') {
        Some((host, name)) if host.eq_ignore_ascii_case("pulseaudio") => {
            !name.ends_with(".monitor")
        }
        Some((host, name)) if host.eq_ignore_ascii_case("alsa") => is_real_alsa(name),
        _ => !id.is_empty(),
    }
}

/// ALSA lists every plugin there is (`null`, `jack`, `oss`, `lavrate`, `dmix`, …) and every card
/// several times. What opens at any rate and is not listed under another name: the default, and
/// each card's `plughw` by name rather than by number.
fn is_real_alsa(name: &str) -> bool {
    name == "default"
        || name
            .strip_prefix("plughw:CARD=")
            .is_some_and(|card| !card.starts_with(|first: char| first.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreal_devices_are_hidden() {
        for real in [
            "pulseaudio:alsa_input.usb-headset.mono-fallback",
            "alsa:default",
            "alsa:plughw:CARD=PCH,DEV=0",
            "coreaudio:BuiltInMicrophoneDevice",
        ] {
            assert!(is_real_id(real), "{real}");
        }
        for unreal in [
            "pulseaudio:speaker.monitor",
            "alsa:null",
            "alsa:jack",
            "alsa:oss",
            "alsa:lavrate",
            "alsa:surround51:CARD=PCH,DEV=0",
            "alsa:plughw:CARD=0,DEV=0",
            "alsa:hw:CARD=PCH,DEV=0",
            "",
        ] {
            assert!(!is_real_id(unreal), "{unreal}");
        }
    }

    #[test]
    fn errors_are_sorted_by_remedy() {
        let problem = |kind| device_error(&cpal::Error::new(kind)).problem;
        assert_eq!(problem(ErrorKind::DeviceBusy), DeviceProblem::Busy);
        assert_eq!(problem(ErrorKind::PermissionDenied), DeviceProblem::Denied);
        assert_eq!(problem(ErrorKind::HostUnavailable), DeviceProblem::NotFound);
        assert_eq!(
            problem(ErrorKind::UnsupportedConfig),
            DeviceProblem::Unsupported
        );
        assert_eq!(problem(ErrorKind::Other), DeviceProblem::Failed);
    }
}
