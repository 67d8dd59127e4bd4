//! The RTP payload format for VP8 (RFC 7741): frames to payloads, and the descriptor of a payload.
//! Pure, and safe to use on what strangers send.

use bytes::{BufMut, Bytes, BytesMut};

/// Longest RTP payload that is made. With the RTP header, SRTP, RTX and TURN around it, the
/// datagram stays below 1280 bytes, which every IPv6 path carries in one piece.
pub const MAX_PAYLOAD: usize = 1200;

/// Our descriptor: the required octet, the extension octet, and a picture id of 15 bits.
const DESCRIPTOR_LEN: usize = 4;
/// The extension octet follows.
const X: u8 = 0x80;
/// Non-reference frame.
const N: u8 = 0x20;
/// Start of a VP8 partition.
const S: u8 = 0x10;
/// In the extension octet: picture id present.
const I: u8 = 0x80;
/// In the extension octet: `TL0PICIDX` present.
const L: u8 = 0x40;
/// In the extension octet: temporal layer index present.
const T: u8 = 0x20;
/// In the extension octet: key index present.
const K: u8 = 0x10;
/// In the picture id: it has 15 bits.
const M: u8 = 0x80;

/// Cuts frames into RTP payloads of at most [`MAX_PAYLOAD`] bytes. One per outgoing stream.
#[derive(Debug, Clone)]
pub struct Vp8Packetizer {
    picture_id: u16,
}

impl Vp8Packetizer {
    /// Begins with this picture id, of which 15 bits are used. RFC 7741 section 4.2 recommends a
    /// random one.
    pub const fn new(first_picture_id: u16) -> Self {
        Self {
            picture_id: first_picture_id & 0x7fff,
        }
    }

    /// The payloads of one frame in order. The payloads share one buffer, and are as equal in
    /// length as possible, so that no tiny packet trails behind. An empty frame has none.
    pub fn packetize(&mut self, frame: &[u8]) -> Payloads {
        let id = self.picture_id;
        if !frame.is_empty() {
            self.picture_id = (id + 1) & 0x7fff;
        }
        let count = frame.len().div_ceil(MAX_PAYLOAD - DESCRIPTOR_LEN);
        let mut buffer = BytesMut::with_capacity(frame.len() + count * DESCRIPTOR_LEN);
        let mut rest = frame;
        for index in 0..count {
            let (part, after) = rest.split_at(rest.len().div_ceil(count - index));
            rest = after;
            buffer.put_u8(if index == 0 { X | S } else { X });
            buffer.put_u8(I);
            buffer.put_u16(id | u16::from(M) << 8);
            buffer.put_slice(part);
        }
        Payloads {
            buffer: buffer.freeze(),
            left: count,
        }
    }
}

/// The payloads of one frame; see [`Vp8Packetizer::packetize`].
#[derive(Debug, Clone)]
pub struct Payloads {
    buffer: Bytes,
    left: usize,
}

impl Iterator for Payloads {
    /// Whether the RTP marker is to be set, as on the last packet of a frame, and the payload.
    type Item = (bool, Bytes);

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let frame_bytes = self.buffer.len() - self.left * DESCRIPTOR_LEN;
        let length = frame_bytes.div_ceil(self.left) + DESCRIPTOR_LEN;
        self.left -= 1;
        Some((self.left == 0, self.buffer.split_to(length)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Payloads {}

/// What precedes the VP8 data in a payload (RFC 7741 section 4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vp8Descriptor {
    /// `N`: the frame can be dropped without harm to any other.
    pub non_reference: bool,
    /// `S`: begins a VP8 partition.
    pub partition_start: bool,
    /// `PID`, 0 to 7; partition 0 begins a frame.
    pub partition: u8,
    /// `PictureID`, and whether it has 15 bits rather than 7.
    pub picture_id: Option<(u16, bool)>,
    /// `TL0PICIDX`.
    pub temporal_base_index: Option<u8>,
    /// `TID`, 0 to 3, and `Y`: refers to the base layer only.
    pub temporal_layer: Option<(u8, bool)>,
    /// `KEYIDX`, 0 to 31.
    pub key_index: Option<u8>,
    /// Bytes that the descriptor takes up.
    pub len: usize,
}

impl Vp8Descriptor {
    /// Whether the payload begins a frame.
    pub fn frame_start(&self) -> bool {
        self.partition_start && self.partition == 0
    }
}

/// Reads the descriptor of a payload. `None` when it is cut off, or nothing follows it.
pub fn parse_descriptor(payload: &[u8]) -> Option<Vp8Descriptor> {
    let mut reader = Reader { payload, at: 0 };
    let first = reader.octet()?;
    let extension = if first & X == 0 { 0 } else { reader.octet()? };
    let picture_id = if extension & I == 0 {
        None
    } else {
        Some(reader.picture_id()?)
    };
    let temporal_base_index = if extension & L == 0 {
        None
    } else {
        Some(reader.octet()?)
    };
    let layers = if extension & (T | K) == 0 {
        None
    } else {
        Some(reader.octet()?)
    };
    let descriptor = Vp8Descriptor {
        non_reference: first & N != 0,
        partition_start: first & S != 0,
        partition: first & 7,
        picture_id,
        temporal_base_index,
        temporal_layer: layers
            .filter(|_| extension & T != 0)
            .map(|octet| (octet >> 6, octet & 0x20 != 0)),
        key_index: layers
            .filter(|_| extension & K != 0)
            .map(|octet| octet & 0x1f),
        len: reader.at,
    };
    (reader.at < payload.len()).then_some(descriptor)
}

struct Reader<'a> {
    payload: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn octet(&mut self) -> Option<u8> {
        let octet = self.payload.get(self.at).copied()?;
        self.at += 1;
        Some(octet)
    }

    fn picture_id(&mut self) -> Option<(u16, bool)> {
        let high = self.octet()?;
        if high & M == 0 {
            return Some((u16::from(high), false));
        }
        let low = self.octet()?;
        Some((u16::from_be_bytes([high & !M, low]), true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_examples_of_the_rfc_are_read() {
        // Section 4.5.1: the start of a frame without extension.
        let descriptor = parse_descriptor(&[0x10, 0xaa]).expect("valid");
        assert!(descriptor.frame_start() && !descriptor.non_reference);
        assert_eq!((descriptor.picture_id, descriptor.len), (None, 1));
        // Section 4.5.3: a picture id of 15 bits.
        let descriptor = parse_descriptor(&[0x90, 0x80, 0x92, 0x34, 0xaa]).expect("valid");
        assert_eq!(descriptor.picture_id, Some((0x1234, true)));
        // Everything at once.
        let descriptor =
            parse_descriptor(&[0xa3, 0xf0, 0x11, 7, 0b1011_0101, 0xaa]).expect("valid");
        assert!(descriptor.non_reference && !descriptor.partition_start);
        assert_eq!(descriptor.partition, 3);
        assert_eq!(descriptor.picture_id, Some((0x11, false)));
        assert_eq!(descriptor.temporal_base_index, Some(7));
        assert_eq!(descriptor.temporal_layer, Some((2, true)));
        assert_eq!(descriptor.key_index, Some(0b1_0101));
        assert_eq!(descriptor.len, 5);
    }

    #[test]
    fn cut_off_descriptors_are_refused() {
        let whole = [0xff, 0xf0, 0x92, 0x34, 7, 0xb5, 0xaa];
        for length in 0..whole.len() {
            assert_eq!(parse_descriptor(&whole[..length]), None, "{length} bytes");
        }
        assert!(parse_descriptor(&whole).is_some());
    }

    #[test]
    fn picture_ids_count_up_and_wrap() {
        let mut packetizer = Vp8Packetizer::new(0x7ffe);
        let ids: Vec<_> = (0..4)
            .filter_map(|_| packetizer.packetize(&[1, 2, 3]).next())
            .filter_map(|(_, payload)| parse_descriptor(&payload)?.picture_id)
            .collect();
        assert_eq!(ids, [(0x7ffe, true), (0x7fff, true), (0, true), (1, true)]);
    }

    #[test]
    fn an_empty_frame_has_no_payload() {
        assert_eq!(Vp8Packetizer::new(0).packetize(&[]).len(), 0);
    }

    proptest! {
        #[test]
        fn frames_come_back_whole(frame in proptest::collection::vec(any::<u8>(), 1..9000), id: u16) {
            let payloads: Vec<_> = Vp8Packetizer::new(id).packetize(&frame).collect();
            prop_assert_eq!(payloads.len(), frame.len().div_ceil(MAX_PAYLOAD - DESCRIPTOR_LEN));
            let mut joined = Vec::new();
            let lengths: Vec<_> = payloads.iter().map(|(_, payload)| payload.len()).collect();
            for (index, (marker, payload)) in payloads.iter().enumerate() {
                prop_assert!(payload.len() <= MAX_PAYLOAD);
                prop_assert_eq!(*marker, index + 1 == payloads.len());
                let descriptor = parse_descriptor(payload).expect("our own descriptor");
                prop_assert_eq!(descriptor.frame_start(), index == 0);
                prop_assert_eq!(descriptor.picture_id, Some((id & 0x7fff, true)));
                joined.extend_from_slice(&payload[descriptor.len..]);
            }
            prop_assert_eq!(joined, frame);
            prop_assert!(lengths.iter().max().zip(lengths.iter().min()).is_some_and(|(a, b)| a - b <= 1));
        }

        #[test]
        fn anything_can_be_parsed(payload in proptest::collection::vec(any::<u8>(), 0..20)) {
            if let Some(descriptor) = parse_descriptor(&payload) {
                prop_assert!(descriptor.len < payload.len());
                prop_assert!(descriptor.partition < 8);
            }
        }
    }
}
