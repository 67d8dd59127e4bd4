//! What an Opus packet says about itself, against what libopus makes of it.

#![no_main]

use ahoy_audio::opus::{
    MAX_PACKET_SAMPLES, OpusDecoder, SoundDecoder, fec_samples, is_silence, packet_samples,
};
use libfuzzer_sys::fuzz_target;

/// 2.5 ms.
const STEP: usize = 120;

fn finite(sound: &[[f32; 2]]) {
    assert!(sound.as_flattened().iter().all(|sample| sample.is_finite()));
}

fuzz_target!(|packet: &[u8]| {
    let fec = fec_samples(packet);
    assert!(fec <= 2_880 && fec % STEP == 0, "{fec}");
    assert_eq!(is_silence(packet), packet.len() <= 2);
    let mut decoder = OpusDecoder::new().expect("there is memory");
    let mut out = Box::new([[0.0; 2]; MAX_PACKET_SAMPLES]);
    let Ok(samples) = packet_samples(packet) else {
        assert!(decoder.decode(packet, &mut out).is_err());
        return;
    };
    assert!((STEP..=MAX_PACKET_SAMPLES).contains(&samples) && samples % STEP == 0);
    assert!(fec <= samples);
    if fec > 0 && decoder.decode_fec(packet, &mut out[..fec]).is_ok() {
        finite(&out[..fec]);
    }
    if let Some(covered) = decoder.parse_dred(packet) {
        assert!(
            covered.start < covered.end && covered.end <= 48_000 + 5_760,
            "{covered:?}"
        );
        for before in [covered.end - 1, covered.start] {
            if decoder.decode_dred(before, &mut out[..960]).is_ok() {
                finite(&out[..960]);
            }
        }
    }
    if let Ok(decoded) = decoder.decode(packet, &mut out) {
        assert_eq!(decoded, samples);
        finite(&out[..decoded]);
    }
    if decoder.conceal(&mut out[..960]).is_ok() {
        finite(&out[..960]);
    }
});
