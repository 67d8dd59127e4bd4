//! Payloads with copies of earlier sound (RFC 2198), taken apart and put together again.

#![no_main]

use ahoy_audio::opus::packet_samples;
use ahoy_audio::red::{Sound, pack, unpack};
use ahoy_media::frame::Copies;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

const PAYLOAD_TYPE: u8 = 111;

fn read(payload: &Bytes) {
    let Some(unpacked) = unpack(payload, PAYLOAD_TYPE) else {
        return;
    };
    assert!(!unpacked.own.is_empty());
    let copied: usize = unpacked.copies.iter().map(|copy| copy.2.len()).sum();
    assert!(unpacked.own.len() + copied < payload.len());
    for (distance, ticks, data) in &unpacked.copies {
        let samples = packet_samples(data).expect("only sound is taken") as u32;
        assert_eq!(u32::from(*distance) * samples, *ticks);
    }
}

/// Cuts the input into a packet and those before it, and expects each that was taken back whole.
fn write(data: &[u8]) {
    let sounds: Vec<Sound> = data
        .chunks(data.len().div_ceil(5).max(1))
        .enumerate()
        .map(|(number, data)| Sound {
            timestamp: (number as u32).wrapping_mul(960).wrapping_sub(1_500),
            data: Bytes::copy_from_slice(data),
        })
        .collect();
    let Some((own, earlier)) = sounds.split_last() else {
        return;
    };
    let before = |back: u16| {
        let index = earlier.len().checked_sub(usize::from(back))?;
        earlier.get(index).cloned()
    };
    let payload = pack(PAYLOAD_TYPE, own, Copies::three(1), before);
    let unpacked = unpack(&payload, PAYLOAD_TYPE).expect("our own");
    assert_eq!(unpacked.own, own.data);
    for (distance, ticks, data) in unpacked.copies {
        let sound = before(distance).expect("was there");
        assert_eq!(sound.data, data);
        assert_eq!(own.timestamp.wrapping_sub(sound.timestamp), ticks);
    }
}

fuzz_target!(|data: &[u8]| {
    read(&Bytes::copy_from_slice(data));
    write(data);
});
