//! Packets of sound that go again inside later ones: redundant audio data (RED, RFC 2198).
//!
//! ```text
//! block of a copy:  1 | payload type (7) | ticks before this packet (14) | bytes (10)
//! block of its own: 0 | payload type (7)
//! then the copies, the oldest first, and the packet's own sound
//! ```

use ahoy_media::frame::Copies;
use bytes::{BufMut, Bytes, BytesMut};

use crate::opus::packet_samples;

/// What a copy may be behind at most, in ticks, and how long it may be, in bytes.
const MAX_OFFSET: u32 = (1 << 14) - 1;
const MAX_LENGTH: usize = (1 << 10) - 1;
/// Header of a copy, and of the packet's own sound, in bytes.
const COPY_HEADER: usize = 4;
const OWN_HEADER: usize = 1;
/// Blocks of a packet that are looked at: more than anybody sends.
const MAX_BLOCKS: usize = 32;

/// An Opus packet and the RTP time stamp of its first sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sound {
    /// RTP ticks of 48 kHz; wraps.
    pub timestamp: u32,
    /// The Opus packet.
    pub data: Bytes,
}

/// The payload of a packet that has `own` and copies of those of `earlier` that `copies` asks for.
/// `earlier` says what was sent so many packets before. Left out is what lies too far back or on
/// the other side of a pause, where its place could not be told from the time stamp.
pub fn pack(
    payload_type: u8,
    own: &Sound,
    copies: Copies,
    earlier: impl Fn(u16) -> Option<Sound>,
) -> Bytes {
    let mut blocks: Vec<(u32, Bytes)> = copies
        .distances()
        .filter_map(|distance| {
            let sound = earlier(distance)?;
            let offset = own.timestamp.wrapping_sub(sound.timestamp);
            let adjoins = packets_back(offset, &sound.data) == Some(distance);
            let fits = offset <= MAX_OFFSET && sound.data.len() <= MAX_LENGTH;
            (adjoins && fits).then_some((offset, sound.data))
        })
        .collect();
    blocks.sort_by_key(|(offset, _)| std::cmp::Reverse(*offset));
    let length: usize = blocks.iter().map(|it| COPY_HEADER + it.1.len()).sum();
    let mut payload = BytesMut::with_capacity(length + OWN_HEADER + own.data.len());
    for (offset, data) in &blocks {
        payload.put_u8(0x80 | payload_type);
        // 14 and 10 bits, both checked.
        payload.put_uint(u64::from(offset << 10) | data.len() as u64, 3);
    }
    payload.put_u8(payload_type & 0x7f);
    for (_, data) in &blocks {
        payload.put_slice(data);
    }
    payload.put_slice(&own.data);
    payload.freeze()
}

/// What is in a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// The packet's own sound.
    pub own: Bytes,
    /// Copies of what was sent before: how many packets, how many ticks, and what.
    pub copies: Vec<(u16, u32, Bytes)>,
}

/// Takes apart the payload of a packet. Only sound of `payload_type` is taken; `None` when the
/// packet's own is of another, or lengths contradict each other.
pub fn unpack(payload: &Bytes, payload_type: u8) -> Option<Unpacked> {
    let mut headers = Vec::new();
    let mut at = 0;
    let own_type = loop {
        let first = *payload.get(at)?;
        if first & 0x80 == 0 {
            at += OWN_HEADER;
            break first;
        }
        let bits = payload.get(at + 1..at + COPY_HEADER)?;
        let bits = u32::from_be_bytes([0, bits[0], bits[1], bits[2]]);
        headers.push((first & 0x7f, bits >> 10, (bits & 0x3ff) as usize));
        if headers.len() == MAX_BLOCKS {
            return None;
        }
        at += COPY_HEADER;
    };
    let mut copies = Vec::with_capacity(headers.len());
    for (kind, offset, length) in headers {
        let end = at.checked_add(length).filter(|end| *end <= payload.len())?;
        let data = payload.slice(at..end);
        at = end;
        if kind == payload_type
            && let Some(distance) = packets_back(offset, &data)
        {
            copies.push((distance, offset, data));
        }
    }
    let own = payload.slice(at..);
    (own_type == payload_type && !own.is_empty()).then_some(Unpacked { own, copies })
}

/// How many packets like this one lie between its beginning and `offset` ticks later.
fn packets_back(offset: u32, packet: &[u8]) -> Option<u16> {
    let samples = packet_samples(packet).ok()? as u32;
    let whole = samples > 0 && offset > 0 && offset.is_multiple_of(samples);
    whole
        .then(|| offset / samples)
        .and_then(|it| it.try_into().ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An Opus packet of 20 ms (RFC 6716 section 3.1: SILK, wideband, one frame).
    fn opus(content: u8) -> Bytes {
        Bytes::from(vec![9 << 3, content, content, content])
    }

    fn sound(number: u8) -> Sound {
        Sound {
            timestamp: (u32::from(number) * 960).wrapping_sub(2_000),
            data: opus(number),
        }
    }

    fn packed(number: u8, copies: Copies) -> Bytes {
        pack(111, &sound(number), copies, |distance| {
            Some(sound(number.checked_sub(distance as u8)?))
        })
    }

    #[test]
    fn copies_come_out_as_they_went_in_across_the_wrap_of_time() {
        let unpacked = unpack(&packed(7, Copies::two(3)), 111).expect("well formed");
        assert_eq!(unpacked.own, opus(7));
        assert_eq!(
            unpacked.copies,
            [(6, 6 * 960, opus(1)), (3, 3 * 960, opus(4))]
        );
    }

    #[test]
    fn the_header_is_that_of_the_rfc() {
        let payload = packed(1, Copies::two(1));
        assert_eq!(payload[..5], [0xef, 0x0f, 0x00, 0x04, 0x6f]);
        assert_eq!(payload[5..], [&opus(0)[..], &opus(1)[..]].concat());
    }

    #[test]
    fn what_is_not_there_or_beyond_a_pause_is_left_out() {
        assert!(
            unpack(&packed(0, Copies::two(1)), 111)
                .expect("well formed")
                .copies
                .is_empty()
        );
        let payload = pack(111, &sound(9), Copies::two(1), |_| Some(sound(1)));
        assert!(
            unpack(&payload, 111)
                .expect("well formed")
                .copies
                .is_empty()
        );
    }

    #[test]
    fn sound_of_another_kind_and_lengths_that_lie_are_refused() {
        let payload = packed(7, Copies::two(1));
        assert_eq!(unpack(&payload, 110), None);
        for length in 0..payload.len() - 3 {
            assert_eq!(
                unpack(&payload.slice(..length), 111),
                None,
                "{length} bytes"
            );
        }
        assert_eq!(unpack(&Bytes::from(vec![0xef; 400]), 111), None);
    }

    proptest! {
        #[test]
        fn anything_is_taken_apart_or_refused(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
            let payload = Bytes::from(payload);
            if let Some(unpacked) = unpack(&payload, 111) {
                let copied: usize = unpacked.copies.iter().map(|copy| copy.2.len()).sum();
                prop_assert!(unpacked.own.len() + copied < payload.len());
                prop_assert!(unpacked.copies.iter().all(|copy| copy.0 > 0 && copy.1 <= MAX_OFFSET));
            }
        }
    }
}
