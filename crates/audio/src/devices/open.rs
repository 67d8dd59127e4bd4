//! Opens a device: which one, in which of its configurations, with which callback. The same for
//! microphones and speakers but for what a [`Side`] says.

use std::sync::Arc;

use cpal::traits::{DeviceTrait, StreamTrait};
use cpal::{BufferSize, FromSample, SampleFormat, SizedSample, StreamConfig};

use super::format::candidates;
use super::stream::{Health, OpenStream};
use super::{Direction, Known, device_error, find};
use ahoy_media::device::{DeviceError, DeviceProblem};

/// What is different between the two directions.
pub(super) trait Side: Send + 'static {
    const DIRECTION: Direction;
    /// What is asked of the device, in frames at 48 kHz.
    const BUFFER_FRAMES: u32;
    /// The device's end of the ring, and ours.
    type Callback: Send + 'static;
    type End: Send + 'static;

    /// How many channels suit best.
    fn channels(&self) -> u16;

    /// Both ends of a ring for this configuration.
    fn ring(&self, config: &StreamConfig, health: Arc<Health>) -> (Self::Callback, Self::End);

    /// A stream that calls the callback.
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
                return Ok((OpenStream(stream, connection), opened));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
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
