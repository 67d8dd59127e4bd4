//! Who gets what of the estimate: sound first, the picture the rest, headers counted.

use ahoy_media::units::{Bitrate, VideoConstraints};

use crate::WIRE_OVERHEAD;

/// RTP header with the extensions that we send (RFC 3550 section 5.1, RFC 8285), in bytes.
const RTP_HEADER: usize = 12 + 8;
/// The payload descriptor of VP8 (RFC 7741 section 4.2), in bytes.
const VP8_DESCRIPTOR: usize = 4;
/// Payload of a full packet, in bytes.
const PACKET_PAYLOAD: usize = 1200;
/// Share of the video's part that the encoder is asked for: the rest is for repairs and for what
/// the encoder spends beyond its target. Repairs of what the path loses come on top.
const ENCODER_PERCENT: f64 = 97.0;
/// Below this a picture is not worth sending.
pub const MIN_VIDEO: Bitrate = Bitrate::from_kbps(30);

/// What the picture's encoder is asked for, without headers. `sound` is what the sound takes on the
/// wire; `frame_rate` is that of the picture, whose packets each have headers; `loss` the share of
/// packets, 0 to 1, that has to be sent again.
pub fn allocate(target: Bitrate, sound: Bitrate, frame_rate: u32, loss: f64) -> Bitrate {
    let rest = target.bps().saturating_sub(sound.bps()) as f64;
    let sent_once = rest * (1.0 - loss.clamp(0.0, 0.5));
    let header = (WIRE_OVERHEAD + RTP_HEADER + VP8_DESCRIPTOR) as f64;
    // On average half a packet of each frame is empty, so each frame has half a header more.
    let per_frame = f64::from(frame_rate) * header * 8.0 / 2.0;
    let payload = PACKET_PAYLOAD as f64;
    let video = (sent_once - per_frame) * payload / (payload + header) * ENCODER_PERCENT / 100.0;
    Bitrate::from_bps(video.max(0.0) as u64).max(MIN_VIDEO)
}

/// More bits than this do not make the picture better: 0.09 bit per pixel, which is 2.5 Mbit/s
/// for 1280x720 at 30 frames per second (what libwebrtc caps this size at), with a floor for
/// small pictures, whose pixels are harder to compress.
pub fn ceiling(constraints: VideoConstraints) -> Bitrate {
    let pixels_per_second = constraints.resolution.pixels() * u64::from(constraints.frame_rate);
    Bitrate::from_bps((pixels_per_second * 9 / 100).clamp(200_000, 4_500_000))
}

/// The least estimate with which [`ceiling`] is reached, for
/// [`crate::estimator::Estimator::set_needed`].
pub fn needed(constraints: VideoConstraints, loss: f64) -> Bitrate {
    let video = ceiling(constraints).bps() as f64 * 1.1 / (1.0 - loss.clamp(0.0, 0.5));
    Bitrate::from_bps(video as u64 + 100_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: Bitrate = Bitrate::from_kbps(50);

    #[test]
    fn sound_comes_first_and_headers_count() {
        let at = |kbps| allocate(Bitrate::from_kbps(kbps), SOUND, 30, 0.0);
        assert!((2200..2400).contains(&at(2500).kbps()));
        assert!((75..100).contains(&at(165).kbps()), "{}", at(165));
        assert_eq!(at(10), MIN_VIDEO);
        let lossy = allocate(Bitrate::from_kbps(1000), SOUND, 30, 0.2);
        assert!(lossy.bps() < at(1000).bps() * 82 / 100);
    }

    #[test]
    fn the_ceiling_can_be_reached() {
        for text in ["1920x1080@30", "1280x720@30", "320x180@7"] {
            let constraints: VideoConstraints = text.parse().expect("valid");
            let needed = needed(constraints, 0.0);
            let video = allocate(needed, SOUND, constraints.frame_rate, 0.0);
            assert!(video >= ceiling(constraints), "{text}");
        }
    }
}
