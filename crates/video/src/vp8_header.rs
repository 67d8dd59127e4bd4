//! The first bytes of a VP8 frame (RFC 6386 section 9.1): whether it is a key frame, and its size.

use crate::capture::MAX_SIDE;
use ahoy_media::units::Resolution;

/// What is known of a frame without decoding it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vp8FrameHeader {
    /// Decodable by itself.
    Key {
        /// Size of this and the following frames, each side 1 to 4096.
        resolution: Resolution,
    },
    /// Needs the frames before it.
    Delta,
}

impl Vp8FrameHeader {
    /// Reads the header; `None` when it is damaged, or a side of the picture is 0 or larger
    /// than [`MAX_SIDE`].
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let [first, _, _, rest @ ..] = frame else {
            return None;
        };
        if first & 1 == 1 {
            return Some(Self::Delta);
        }
        let [0x9d, 0x01, 0x2a, w0, w1, h0, h1, ..] = rest else {
            return None;
        };
        // The upper two bits of each are a hint for scaling when shown, which nobody uses.
        let width = u32::from(u16::from_le_bytes([*w0, *w1]) & 0x3fff);
        let height = u32::from(u16::from_le_bytes([*h0, *h1]) & 0x3fff);
        let possible = 1..=MAX_SIDE;
        (possible.contains(&width) && possible.contains(&height)).then_some(Self::Key {
            resolution: Resolution::new(width, height),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(width: u16, height: u16) -> Vec<u8> {
        let mut frame = vec![0x10, 0, 0, 0x9d, 0x01, 0x2a];
        frame.extend(width.to_le_bytes());
        frame.extend(height.to_le_bytes());
        frame
    }

    #[test]
    fn sizes_are_read_and_impossible_ones_refused() {
        assert_eq!(
            Vp8FrameHeader::parse(&key(1280, 720 | 0x4000)),
            Some(Vp8FrameHeader::Key {
                resolution: Resolution::new(1280, 720)
            })
        );
        for (width, height) in [(0, 0), (0, 10), (10, 0), (16383, 16383), (4097, 1)] {
            assert_eq!(Vp8FrameHeader::parse(&key(width, height)), None);
        }
        assert_eq!(
            Vp8FrameHeader::parse(&[0x11, 0, 0]),
            Some(Vp8FrameHeader::Delta)
        );
        assert_eq!(
            Vp8FrameHeader::parse(&[0x10, 0, 0, 1, 2, 3, 4, 5, 6, 7]),
            None
        );
        assert_eq!(Vp8FrameHeader::parse(&[]), None);
    }

    proptest! {
        #[test]
        fn anything_can_be_parsed(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = Vp8FrameHeader::parse(&bytes);
        }
    }
}
