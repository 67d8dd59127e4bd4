//! The 24 bytes before every picture on its way to the window, little endian:
//!
//! | bytes | what |
//! |---|---|
//! | 0 | version, 1 |
//! | 1 | flags: 1 key frame, 2 raw I420 instead of VP8 |
//! | 2–3, 4–5 | width, height in pixels |
//! | 6–7 | 0 |
//! | 8–11 | number, counts up by one per picture sent; wraps |
//! | 12–15 | RTP timestamp, 90 kHz; wraps; 0 for raw pictures |
//! | 16–23 | when it was captured, or received: µs since some moment before Ahoy's start |

use std::sync::LazyLock;
use std::time::Instant;

use ahoy_media::units::Resolution;

/// Bytes of the header.
pub(crate) const LENGTH: usize = 24;

const VERSION: u8 = 1;
const KEY_FRAME: u8 = 1;
const RAW: u8 = 2;

static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// What the header says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameHeader {
    /// VP8, decodable without earlier frames.
    pub(crate) key_frame: bool,
    /// I420 planes follow instead of VP8.
    pub(crate) raw: bool,
    /// Size of the picture.
    pub(crate) resolution: Resolution,
    /// Number within the stream.
    pub(crate) seq: u32,
    /// Media time, 90 kHz.
    pub(crate) rtp_timestamp: u32,
    /// Capture, or arrival of a received frame.
    pub(crate) captured_at: Instant,
}

/// Sets the zero of the times, which must lie before the first capture.
pub(crate) fn start_clock() {
    LazyLock::force(&EPOCH);
}

impl FrameHeader {
    /// A message: the header and `payload` behind it.
    pub(crate) fn before(&self, payload: &[u8]) -> Vec<u8> {
        let since_start = self.captured_at.saturating_duration_since(*EPOCH);
        let flags = u8::from(self.key_frame) * KEY_FRAME + u8::from(self.raw) * RAW;
        let mut message = Vec::with_capacity(LENGTH + payload.len());
        message.extend([VERSION, flags]);
        message.extend(side(self.resolution.width));
        message.extend(side(self.resolution.height));
        message.extend([0, 0]);
        message.extend(self.seq.to_le_bytes());
        message.extend(self.rtp_timestamp.to_le_bytes());
        message.extend((since_start.as_micros() as u64).to_le_bytes());
        message.extend_from_slice(payload);
        message
    }
}

/// VP8 has at most 16383 pixels a side (RFC 6386 section 9.1).
fn side(pixels: u32) -> [u8; 2] {
    u16::try_from(pixels).unwrap_or(u16::MAX).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn bytes_are_where_the_window_expects_them() {
        start_clock();
        let header = FrameHeader {
            key_frame: true,
            raw: false,
            resolution: Resolution::new(1280, 720),
            seq: 0x0102_0304,
            rtp_timestamp: 0xA0B0_C0D0,
            captured_at: *EPOCH + Duration::from_micros(0x12_3456_789A),
        };
        let expected = [
            1, 1, 0x00, 0x05, 0xD0, 0x02, 0, 0, 4, 3, 2, 1, 0xD0, 0xC0, 0xB0, 0xA0, 0x9A, 0x78,
            0x56, 0x34, 0x12, 0, 0, 0, 7, 8, 9,
        ];
        assert_eq!(header.before(&[7, 8, 9]), expected);
        let raw = FrameHeader {
            key_frame: false,
            raw: true,
            ..header
        };
        assert_eq!(raw.before(&[])[1], 2);
        assert_eq!(raw.before(&[]).len(), LENGTH);
    }
}
