//! The VP8 payload descriptor, read and written back, and frames through the packetiser.

#![no_main]

use ahoy_video::rtp_vp8::{MAX_PAYLOAD, Vp8Descriptor, Vp8Packetizer, parse_descriptor};
use libfuzzer_sys::fuzz_target;

/// The octets of RFC 7741 section 4.2 that say this.
fn write(descriptor: &Vp8Descriptor) -> Vec<u8> {
    let bit = |set: bool, bit: u8| if set { bit } else { 0 };
    let layers = descriptor.temporal_layer.is_some() || descriptor.key_index.is_some();
    let extension = bit(descriptor.picture_id.is_some(), 0x80)
        | bit(descriptor.temporal_base_index.is_some(), 0x40)
        | bit(descriptor.temporal_layer.is_some(), 0x20)
        | bit(descriptor.key_index.is_some(), 0x10);
    let mut octets = vec![
        bit(extension != 0, 0x80)
            | bit(descriptor.non_reference, 0x20)
            | bit(descriptor.partition_start, 0x10)
            | descriptor.partition,
    ];
    if extension != 0 {
        octets.push(extension);
    }
    match descriptor.picture_id {
        Some((id, true)) => octets.extend((id | 0x8000).to_be_bytes()),
        Some((id, false)) => octets.push(u8::try_from(id).expect("7 bits")),
        None => {}
    }
    octets.extend(descriptor.temporal_base_index);
    if layers {
        let (layer, base_only) = descriptor.temporal_layer.unwrap_or_default();
        octets.push(layer << 6 | bit(base_only, 0x20) | descriptor.key_index.unwrap_or(0));
    }
    octets
}

fn read(payload: &[u8]) {
    let Some(descriptor) = parse_descriptor(payload) else {
        return;
    };
    let length = descriptor.len;
    assert!((1..=6).contains(&length) && length < payload.len());
    assert!(descriptor.partition < 8);
    if let Some((id, long)) = descriptor.picture_id {
        assert!(id < if long { 1 << 15 } else { 1 << 7 });
    }
    assert!(descriptor.temporal_layer.is_none_or(|(layer, _)| layer < 4));
    assert!(descriptor.key_index.is_none_or(|index| index < 32));
    // What follows does not matter, and without anything that follows it is none.
    assert_eq!(parse_descriptor(&payload[..=length]), Some(descriptor));
    for cut in 0..=length {
        assert_eq!(parse_descriptor(&payload[..cut]), None);
    }
    let mut again = write(&descriptor);
    let len = again.len();
    again.push(0);
    assert_eq!(
        parse_descriptor(&again),
        Some(Vp8Descriptor { len, ..descriptor })
    );
}

fn cut_and_join(frame: &[u8]) {
    let mut joined = Vec::new();
    let payloads = Vp8Packetizer::new(frame.len() as u16).packetize(frame);
    let count = payloads.len();
    for (index, (marker, payload)) in payloads.enumerate() {
        assert!(payload.len() <= MAX_PAYLOAD);
        assert_eq!(marker, index + 1 == count);
        let descriptor = parse_descriptor(&payload).expect("our own");
        assert_eq!(descriptor.frame_start(), index == 0);
        joined.extend_from_slice(&payload[descriptor.len..]);
    }
    assert_eq!(joined, frame);
}

fuzz_target!(|data: &[u8]| {
    read(data);
    cut_and_join(data);
    cut_and_join(&data.repeat(usize::from(data.first().copied().unwrap_or(0))));
});
