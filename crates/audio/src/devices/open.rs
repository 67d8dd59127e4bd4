//! Opens a device: which one, in which of its configurations, with which callback. The same for
//! microphones and speakers but for what a [`Side`] says.

use std::sync::Arc;

use cpal::traits::{DeviceTrait, StreamTrait};
use cpal::{BufferSize, FromSample, SampleFormat, SizedSample, StreamConfig};

use super::format::candidates;
#[cfg(target_os = "linux")]
use super::pulse::{self, Format};
use super::stream::{Health, OpenStream};
use super::{Direction, Known, device_error, find};
use ahoy_media::device::{DeviceError, DeviceProblem};
#[cfg(target_os = "linux")]
use ahoy_media::units::AUDIO_CLOCK_HZ;

/// What is different between the two directions.
pub(super) trait Side: Send + 'static {
    const DIRECTION: Direction;
    /// What is asked of the device, in frames at 48 kHz.
    const BUFFER_FRAMES: u32;
    /// What a sound server is asked to move at once, in frames at 48 kHz.
    #[cfg(target_os = "linux")]
    const SERVER_FRAMES: u32;
    /// The device's end of the ring, and ours.
    type Callback: Send + 'static;
    type End: Send + 'static;

    /// How many channels suit best.
    fn channels(&self) -> u16;

    /// Both ends of a ring for this configuration.
    fn ring(&self, config: &StreamConfig, health: Arc<Health>) -> (Self::Callback, Self::End);

    /// A stream of a sound server that calls the callback.
    #[cfg(target_os = "linux")]
    fn serve(
        name: &str,
        format: Format,
        callback: Self::Callback,
        health: Arc<Health>,
    ) -> Result<pulse::Stream, DeviceError>;

    /// A stream of anything else that calls the callback.
    fn build<T>(
        device: &cpal::Device,
        config: StreamConfig,
        callback: Self::Callback,
        on_error: impl FnMut(cpal::Error) + Send + 'static,
    ) -> Result<cpal::Stream, cpal::Error>
    where
        T: SizedSample + FromSample<f32>,
        f32: FromSample<T>;
}

/// A device that runs, seen from our side.
pub(super) struct Opened<E> {
    pub(super) device: Known,
    /// Frames per second.
    pub(super) rate: u32,
    /// Frames that it was asked to take or deliver at once, where it can be asked.
    pub(super) buffer_frames: Option<u32>,
    pub(super) health: Arc<Health>,
    pub(super) end: E,
}

/// Opens the device with this id, or the system's default one.
pub(super) fn open<S: Side>(
    side: &S,
    id: Option<&str>,
) -> Result<(OpenStream, Opened<S::End>), DeviceError> {
    let (device, known, connection) = find(S::DIRECTION, id)?;
    #[cfg(target_os = "linux")]
    if let Some(name) = server_name(&known.id) {
        let (stream, health, end) = serve(side, name)?;
        let opened = Opened {
            device: known.clone(),
            rate: AUDIO_CLOCK_HZ,
            buffer_frames: Some(S::SERVER_FRAMES),
            health,
            end,
        };
        return Ok((OpenStream::Pulse(stream), opened));
    }
    let listed: Vec<_> = match S::DIRECTION {
        Direction::Input => device.supported_input_configs().map(Iterator::collect),
        Direction::Output => device.supported_output_configs().map(Iterator::collect),
    }
    .map_err(|error| device_error(&error))?;
    let default = match S::DIRECTION {
        Direction::Input => device.default_input_config(),
        Direction::Output => device.default_output_config(),
    }
    .ok();
    let mut last = DeviceError::new(
        DeviceProblem::Unsupported,
        "the device lists no usable format",
    );
    for (config, format) in candidates(&listed, default.as_ref(), side.channels(), S::BUFFER_FRAMES)
    {
        match build(side, &device, config, format) {
            Ok((stream, health, end)) => {
                tracing::debug!(label = known.label, ?config, ?format, "device opened");
                let opened = Opened {
                    device: known,
                    rate: config.sample_rate,
                    buffer_frames: match config.buffer_size {
                        BufferSize::Fixed(frames) => Some(frames),
                        BufferSize::Default => None,
                    },
                    health,
                    end,
                };
                return Ok((OpenStream::Cpal(stream, connection), opened));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The name that the sound server itself uses.
#[cfg(target_os = "linux")]
fn server_name(id: &str) -> Option<&str> {
    let (host, name) = id.split_once(':')?;
    host.eq_ignore_ascii_case("pulseaudio").then_some(name)
}

/// The server converts: any rate, number of channels and format that the device has.
#[cfg(target_os = "linux")]
fn serve<S: Side>(
    side: &S,
    name: &str,
) -> Result<(pulse::Stream, Arc<Health>, S::End), DeviceError> {
    let health = Arc::new(Health::default());
    let config = StreamConfig {
        channels: side.channels(),
        sample_rate: AUDIO_CLOCK_HZ,
        buffer_size: BufferSize::Fixed(S::SERVER_FRAMES),
    };
    let (callback, end) = side.ring(&config, health.clone());
    let format = Format {
        rate: AUDIO_CLOCK_HZ,
        channels: side.channels() as u8,
        buffer_frames: S::SERVER_FRAMES,
    };
    let stream = S::serve(name, format, callback, health.clone())?;
    tracing::debug!(name, ?format, "device opened through the sound server");
    Ok((stream, health, end))
}

fn build<S: Side>(
    side: &S,
    device: &cpal::Device,
    config: StreamConfig,
    format: SampleFormat,
) -> Result<(cpal::Stream, Arc<Health>, S::End), DeviceError> {
    let health = Arc::new(Health::default());
    let (callback, end) = side.ring(&config, health.clone());
    let failed = health.clone();
    let on_error = move |error| failed.failed(&error);
    let stream = match format {
        SampleFormat::I8 => S::build::<i8>(device, config, callback, on_error),
        SampleFormat::I16 => S::build::<i16>(device, config, callback, on_error),
        SampleFormat::I24 => S::build::<cpal::I24>(device, config, callback, on_error),
        SampleFormat::I32 => S::build::<i32>(device, config, callback, on_error),
        SampleFormat::I64 => S::build::<i64>(device, config, callback, on_error),
        SampleFormat::U8 => S::build::<u8>(device, config, callback, on_error),
        SampleFormat::U16 => S::build::<u16>(device, config, callback, on_error),
        SampleFormat::U24 => S::build::<cpal::U24>(device, config, callback, on_error),
        SampleFormat::U32 => S::build::<u32>(device, config, callback, on_error),
        SampleFormat::U64 => S::build::<u64>(device, config, callback, on_error),
        SampleFormat::F64 => S::build::<f64>(device, config, callback, on_error),
        _ => S::build::<f32>(device, config, callback, on_error),
    };
    let stream = stream.map_err(|error| device_error(&error))?;
    stream.play().map_err(|error| device_error(&error))?;
    Ok((stream, health, end))
}
