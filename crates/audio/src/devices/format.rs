//! Which configuration of a device to ask for.

use cpal::{
    BufferSize, SampleFormat, StreamConfig, SupportedBufferSize, SupportedStreamConfig,
    SupportedStreamConfigRange,
};

use ahoy_media::units::AUDIO_CLOCK_HZ;

/// What to try, best first. Usually the first one works; devices have been seen to refuse what
/// they list.
pub(super) fn candidates(
    listed: &[SupportedStreamConfigRange],
    default: Option<&SupportedStreamConfig>,
    channels: u16,
    buffer_frames: u32,
) -> Vec<(StreamConfig, SampleFormat)> {
    let best = listed
        .iter()
        .filter(|range| range.channels() > 0 && rank(range.sample_format()).is_some())
        .min_by_key(|range| {
            let off_rate = nearest_rate(range).abs_diff(AUDIO_CLOCK_HZ);
            (
                off_rate,
                range.channels().abs_diff(channels),
                rank(range.sample_format()),
            )
        })
        .map(|range| range.with_sample_rate(nearest_rate(range)));
    let default = default
        .filter(|config| config.channels() > 0 && rank(config.sample_format()).is_some())
        .copied();

    let mut candidates = Vec::new();
    for config in [best, default].into_iter().flatten() {
        let wanted = buffer_frames * (config.sample_rate() / 100) / (AUDIO_CLOCK_HZ / 100);
        for buffer_size in [
            fixed(config.buffer_size(), wanted),
            Some(BufferSize::Default),
        ] {
            let Some(buffer_size) = buffer_size else {
                continue;
            };
            let stream = StreamConfig {
                buffer_size,
                ..config.config()
            };
            if !candidates.contains(&(stream, config.sample_format())) {
                candidates.push((stream, config.sample_format()));
            }
        }
    }
    candidates
}

fn nearest_rate(range: &SupportedStreamConfigRange) -> u32 {
    AUDIO_CLOCK_HZ.clamp(
        range.min_sample_rate(),
        range.max_sample_rate().max(range.min_sample_rate()),
    )
}

fn fixed(supported: &SupportedBufferSize, frames: u32) -> Option<BufferSize> {
    match supported {
        SupportedBufferSize::Range { min, max } if min <= max => {
            Some(BufferSize::Fixed(frames.clamp(*min, *max)))
        }
        SupportedBufferSize::Range { .. } => None,
        SupportedBufferSize::Unknown => Some(BufferSize::Fixed(frames)),
    }
}

/// Preference among sample formats; `None` for what we cannot read, such as DSD.
fn rank(format: SampleFormat) -> Option<u8> {
    Some(match format {
        SampleFormat::F32 => 0,
        SampleFormat::I16 => 1,
        SampleFormat::I32 => 2,
        SampleFormat::I24 => 3,
        SampleFormat::F64 => 4,
        SampleFormat::U16 => 5,
        SampleFormat::U32 => 6,
        SampleFormat::U24 => 7,
        SampleFormat::I64 => 8,
        SampleFormat::U64 => 9,
        SampleFormat::I8 => 10,
        SampleFormat::U8 => 11,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUFFER: SupportedBufferSize = SupportedBufferSize::Range { min: 64, max: 4096 };

    fn range(
        channels: u16,
        low: u32,
        high: u32,
        format: SampleFormat,
    ) -> SupportedStreamConfigRange {
        SupportedStreamConfigRange::new(channels, low, high, BUFFER, format)
    }

    #[test]
    fn prefers_our_rate_then_channels_then_float() {
        let listed = [
            range(1, 44_100, 44_100, SampleFormat::F32),
            range(2, 8_000, 192_000, SampleFormat::F32),
            range(1, 8_000, 192_000, SampleFormat::U8),
            range(1, 8_000, 192_000, SampleFormat::I16),
            range(1, 8_000, 192_000, SampleFormat::DsdU8),
            range(0, 48_000, 48_000, SampleFormat::F32),
        ];
        let (config, format) = candidates(&listed, None, 1, 960)[0];
        assert_eq!(
            (config.channels, config.sample_rate, format),
            (1, 48_000, SampleFormat::I16)
        );
        assert_eq!(config.buffer_size, BufferSize::Fixed(960));
    }

    #[test]
    fn a_buffer_is_as_long_at_another_rate_and_fits_the_device() {
        let listed = [range(2, 16_000, 16_000, SampleFormat::I16)];
        let tried = candidates(&listed, None, 1, 960);
        assert_eq!(tried[0].0.buffer_size, BufferSize::Fixed(320));
        assert_eq!(tried[1].0.buffer_size, BufferSize::Default);
        let listed = [range(2, 192_000, 192_000, SampleFormat::I16)];
        assert_eq!(
            candidates(&listed, None, 1, 1_200)[0].0.buffer_size,
            BufferSize::Fixed(4_096)
        );
    }

    #[test]
    fn the_device_s_own_default_comes_after_our_choice_and_nothing_usable_gives_nothing() {
        let default = SupportedStreamConfig::new(6, 44_100, BUFFER, SampleFormat::I32);
        let tried = candidates(
            &[range(2, 48_000, 48_000, SampleFormat::F32)],
            Some(&default),
            2,
            960,
        );
        assert_eq!(tried.len(), 4);
        assert_eq!((tried[2].0.channels, tried[2].1), (6, SampleFormat::I32));
        assert!(
            candidates(&[range(0, 48_000, 48_000, SampleFormat::F32)], None, 1, 960).is_empty()
        );
    }
}
