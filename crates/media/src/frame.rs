//! Pictures and sound between capture, codecs and playout.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::units::Resolution;

/// An 8-bit 4:2:0 picture: three planes without padding, one after the other in one buffer.
/// Luma has stride `width`; each chroma plane has stride `(width + 1) / 2` and
/// `(height + 1) / 2` rows. BT.601, limited range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct I420 {
    resolution: Resolution,
    data: Vec<u8>,
}

impl I420 {
    /// Bytes of a picture of this size.
    pub const fn byte_len(resolution: Resolution) -> usize {
        let (width, height) = (resolution.width as usize, resolution.height as usize);
        width * height + 2 * width.div_ceil(2) * height.div_ceil(2)
    }

    /// A black picture.
    pub fn black(resolution: Resolution) -> Self {
        let mut data = vec![128; Self::byte_len(resolution)];
        data[..resolution.pixels() as usize].fill(16);
        Self { resolution, data }
    }

    /// Takes planes laid out as this type describes; `None` when the length does not fit.
    pub fn from_vec(resolution: Resolution, data: Vec<u8>) -> Option<Self> {
        (data.len() == Self::byte_len(resolution)).then_some(Self { resolution, data })
    }

    /// Size of the luma plane.
    pub fn resolution(&self) -> Resolution {
        self.resolution
    }

    /// Stride and width of a chroma plane, in samples.
    pub fn chroma_width(&self) -> usize {
        (self.resolution.width as usize).div_ceil(2)
    }

    /// Rows of a chroma plane.
    pub fn chroma_height(&self) -> usize {
        (self.resolution.height as usize).div_ceil(2)
    }

    /// The planes Y, U, V.
    pub fn planes(&self) -> (&[u8], &[u8], &[u8]) {
        let (y, chroma) = self.data.split_at(self.resolution.pixels() as usize);
        let (u, v) = chroma.split_at(chroma.len() / 2);
        (y, u, v)
    }

    /// The planes Y, U, V, for writing.
    pub fn planes_mut(&mut self) -> (&mut [u8], &mut [u8], &mut [u8]) {
        let (y, chroma) = self.data.split_at_mut(self.resolution.pixels() as usize);
        let half = chroma.len() / 2;
        let (u, v) = chroma.split_at_mut(half);
        (y, u, v)
    }

    /// All planes in one slice, in the order Y, U, V.
    pub fn as_bytes(&self) -> &[u8] {
        &self.data
    }

    /// All planes in one slice, in the order Y, U, V, for writing.
    pub fn as_bytes_mut(&mut self) -> &mut [u8] {
        &mut self.data
    }
}

/// A captured or decoded picture with its time.
#[derive(Debug, Clone)]
pub struct VideoFrame {
    /// The picture, shared rather than copied.
    pub picture: Arc<I420>,
    /// When the source handed it over, or for a received frame when it arrived.
    pub captured_at: Instant,
    /// Counts up by one per frame of the source; a gap is a dropped frame.
    pub number: u64,
}

/// One compressed VP8 picture (RFC 6386), complete.
#[derive(Debug, Clone)]
pub struct EncodedFrame {
    /// The VP8 frame, without any RTP payload descriptor.
    pub data: Bytes,
    /// Whether it can be decoded without any earlier frame.
    pub key_frame: bool,
    /// Media time in ticks of 90 kHz; wraps.
    pub rtp_timestamp: u32,
    /// Sending: when the source handed the picture over. Receiving: when its last packet arrived.
    pub captured_at: Instant,
    /// Size of the picture.
    pub resolution: Resolution,
}

/// One compressed Opus packet (RFC 6716).
#[derive(Debug, Clone)]
pub struct EncodedAudio {
    /// The Opus packet.
    pub data: Bytes,
    /// Media time of its first sample in ticks of 48 kHz; wraps.
    pub rtp_timestamp: u32,
    /// When its last sample was captured.
    pub captured_at: Instant,
    /// Which packets before it are to be sent again with it.
    pub copies: Copies,
}

/// Which earlier packets of sound go again inside a packet (RFC 2198), the nearest first: so many
/// packets back each. What is lost comes again with a later packet, exactly as it was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Copies([u8; Self::MOST]);

impl Copies {
    /// Copies of a packet at most.
    pub const MOST: usize = 3;
    /// Every packet goes once.
    pub const NONE: Self = Self([0; Self::MOST]);

    /// Two copies of every packet, `step` and twice as many packets later.
    pub const fn two(step: u8) -> Self {
        Self([step, 2 * step, 0])
    }

    /// Three copies of every packet, `step`, twice and three times as many packets later.
    pub const fn three(step: u8) -> Self {
        Self([step, 2 * step, 3 * step])
    }

    /// How many packets back each of them is.
    pub fn distances(self) -> impl Iterator<Item = u16> {
        let distances = self.0.into_iter().filter(|distance| *distance > 0);
        distances.map(u16::from)
    }

    /// How often a packet is sent in all, 1 or more.
    pub fn times(self) -> u64 {
        1 + self.distances().count() as u64
    }
}

/// Takes compressed pictures, on the encode thread or the receive task: must return at once and
/// never block. A sink that cannot keep up drops until the next key frame and asks for one.
pub trait EncodedVideoSink: Send + Sync {
    /// Called once per frame, in decoding order.
    fn on_encoded_frame(&self, frame: &EncodedFrame);

    /// Whether a frame would be of use just now. While not, nothing is encoded: nobody is there,
    /// or somebody has so much waiting that another frame would only come later.
    fn wants_frames(&self) -> bool {
        true
    }

    /// How decoding keeps up, where it happens on this computer.
    fn decoding(&self) -> DecodeCounts {
        DecodeCounts::default()
    }
}

/// What became of frames that this computer was to decode. Counts from the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DecodeCounts {
    /// Frames that were decoded.
    pub frames: u64,
    /// Frames that were given up because decoding was behind.
    pub given_up: u64,
}

impl std::ops::Add for DecodeCounts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            frames: self.frames + other.frames,
            given_up: self.given_up + other.given_up,
        }
    }
}

impl std::iter::Sum for DecodeCounts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), std::ops::Add::add)
    }
}

/// Takes compressed sound, on the audio-send thread: must return at once and never block.
pub trait EncodedAudioSink: Send + Sync {
    /// Called once per packet, in capture order.
    fn on_encoded_audio(&self, audio: &EncodedAudio);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_sizes_round_chroma_up() {
        let picture = I420::black(Resolution::new(5, 3));
        let (y, u, v) = picture.planes();
        assert_eq!((y.len(), u.len(), v.len()), (15, 6, 6));
        assert_eq!((y[0], u[0], v[5]), (16, 128, 128));
        assert!(I420::from_vec(Resolution::new(5, 3), vec![0; 26]).is_none());
    }
}
