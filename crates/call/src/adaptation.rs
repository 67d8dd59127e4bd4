//! How many bits the encoder gets: pure.

use ahoy_media::units::{Bitrate, VideoConstraints};

/// Below this a picture is not worth sending.
pub const MIN_VIDEO: Bitrate = Bitrate::from_kbps(50);

/// Share of the estimate that is used: the rest is left for RTCP, repairs and the encoder's
/// overshoot on key frames.
const UTILISATION_PERCENT: u64 = 90;

/// More bits than this do not make the picture better: 0.09 bit per pixel, which is 2.5 Mbit/s
/// for 1280x720 at 30 frames per second (what libwebrtc caps this size at), with a floor for
/// small pictures, whose pixels are harder to compress.
pub fn ceiling(constraints: VideoConstraints) -> Bitrate {
    let pixels_per_second = constraints.resolution.pixels() * u64::from(constraints.frame_rate);
    Bitrate::from_bps((pixels_per_second * 9 / 100).clamp(200_000, 4_500_000))
}

/// The encoder's target: one encoder serves everybody, so the slowest path decides.
/// `estimates` are the congestion controllers' figures for the participants that are connected;
/// without any, nobody but the self-view looks, which gets the ceiling. Sound is fed before the
/// picture: `sound` is what it takes for each participant, with headers.
pub fn encoder_target(
    constraints: VideoConstraints,
    sound: Bitrate,
    estimates: impl Iterator<Item = Bitrate>,
) -> Bitrate {
    let ceiling = ceiling(constraints);
    let Some(slowest) = estimates.min() else {
        return ceiling;
    };
    let usable = slowest.bps() * UTILISATION_PERCENT / 100;
    let video = usable.saturating_sub(sound.bps());
    Bitrate::from_bps(video).clamp(MIN_VIDEO, ceiling)
}

#[cfg(test)]
mod tests {
    use ahoy_media::units::Resolution;

    use super::*;

    #[test]
    fn the_slowest_path_decides_within_floor_and_ceiling() {
        let hd = VideoConstraints::default();
        let target = |kbps: &[u64]| {
            encoder_target(
                hd,
                Bitrate::from_kbps(48),
                kbps.iter().copied().map(Bitrate::from_kbps),
            )
        };
        assert_eq!(target(&[]), ceiling(hd));
        assert_eq!(target(&[1000, 400, 3000]).kbps(), 312);
        assert_eq!(target(&[10]), MIN_VIDEO);
        assert_eq!(target(&[50_000]), ceiling(hd));
    }

    #[test]
    fn the_ceiling_follows_size_and_rate() {
        let at = |width, height, frame_rate| {
            ceiling(VideoConstraints {
                resolution: Resolution::new(width, height),
                frame_rate,
            })
            .kbps()
        };
        assert_eq!(at(1280, 720, 30), 2488);
        assert_eq!(at(1920, 1080, 30), 4500);
        assert_eq!(at(320, 180, 7), 200);
    }
}
