//! Encoder and decoder, one against the other.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::level::mean_square;
use crate::pcm::testing::{frequency, sine, voice};
use ahoy_media::units::{AUDIO_CLOCK_HZ, Bitrate};

fn frames(samples: &[f32], length: usize) -> impl Iterator<Item = Vec<[f32; 2]>> {
    samples
        .chunks_exact(length)
        .map(|frame| frame.iter().map(|sample| [*sample; 2]).collect())
}

pub(super) fn encode_with(samples: &[f32], settings: EncoderSettings) -> Vec<Bytes> {
    let mut encoder = OpusEncoder::new(Content::Voice, settings).expect("encoder");
    frames(samples, encoder.frame_samples())
        .map(|frame| match encoder.encode(&frame).expect("encodes") {
            Encoded::Packet(packet) | Encoded::Silence(packet) => packet,
        })
        .collect()
}

fn encode_all(samples: &[f32], expected_loss: u8) -> Vec<Bytes> {
    let settings = EncoderSettings {
        expected_loss,
        ..EncoderSettings::default()
    };
    encode_with(samples, settings)
}

fn left(pairs: &[[f32; 2]]) -> Vec<f32> {
    pairs.iter().map(|pair| pair[0]).collect()
}

fn decode_all(packets: &[Bytes], mut lost: impl FnMut(usize) -> bool) -> Vec<f32> {
    let mut decoder = OpusDecoder::new().expect("decoder");
    let mut out = Box::new([[0.0; 2]; MAX_PACKET_SAMPLES]);
    let mut all = Vec::new();
    for (index, packet) in packets.iter().enumerate() {
        if lost(index) {
            let mut frame = [[0.0; 2]; FRAME_SAMPLES];
            match packets.get(index + 1).filter(|next| fec_samples(next) > 0) {
                Some(next) => decoder.decode_fec(next, &mut frame).expect("well-formed"),
                None => decoder.conceal(&mut frame).expect("20 ms"),
            }
            all.extend(left(&frame));
        } else {
            let samples = decoder.decode(packet, &mut out).expect("well-formed");
            all.extend(left(&out[..samples]));
        }
    }
    all
}

/// How much of `original` is left in the difference to `copy`.
fn error(original: &[f32], copy: &[f32]) -> f32 {
    let difference: Vec<f32> = original.iter().zip(copy).map(|(a, b)| a - b).collect();
    mean_square(&difference) / mean_square(original)
}

#[test]
fn a_tone_survives_at_its_pitch_and_level() {
    let decoded = decode_all(
        &encode_all(&sine(220.0, 0.3, AUDIO_CLOCK_HZ, 96_000), 10),
        |_| false,
    );
    assert_eq!(decoded.len(), 100 * FRAME_SAMPLES);
    let settled = &decoded[10_000..];
    assert!((frequency(settled, AUDIO_CLOCK_HZ) - 220.0).abs() < 2.0);
    assert!((mean_square(settled).sqrt() - 0.212).abs() < 0.02);
}

#[test]
fn repair_data_is_sent_when_loss_is_declared_and_restores_what_was_lost() {
    let with = encode_all(&voice(60 * FRAME_SAMPLES), 10);
    let without = encode_all(&voice(60 * FRAME_SAMPLES), 0);
    let repairing = with[10..].iter().filter(|it| fec_samples(it) > 0).count();
    assert!(repairing > 40, "{repairing}");
    assert!(!without.iter().any(|packet| fec_samples(packet) > 0));

    let clean = decode_all(&with, |_| false);
    let repaired = decode_all(&with, |index| index > 10 && index % 5 == 0);
    assert!(error(&clean, &repaired) < 0.1);
}

#[test]
fn longer_packets_hold_longer_frames_and_repair_as_much() {
    for frame_length in [FrameLength::Ms20, FrameLength::Ms40, FrameLength::Ms60] {
        let settings = EncoderSettings {
            frame_length,
            bitrate: Bitrate::from_kbps(24),
            ..EncoderSettings::default()
        };
        let packets = encode_with(&voice(96_000), settings);
        let samples = frame_length.samples();
        assert!(packets.iter().all(|it| packet_samples(it) == Ok(samples)));
        let repairing = packets.iter().filter(|it| fec_samples(it) > 0).count();
        assert!(
            repairing > packets.len() / 2,
            "{frame_length:?}: {repairing}"
        );
        let decoded = decode_all(&packets, |_| false);
        assert_eq!(decoded.len(), 96_000 / samples * samples);
    }
}

#[test]
fn deep_redundancy_restores_what_was_lost_long_before() {
    let settings = EncoderSettings {
        bitrate: Bitrate::from_kbps(64),
        expected_loss: 20,
        fec: false,
        dred: Duration::from_millis(200),
        ..EncoderSettings::default()
    };
    let packets = encode_with(&voice(100 * FRAME_SAMPLES), settings);
    let without = encode_all(&voice(20 * FRAME_SAMPLES), 10);
    let mut decoder = OpusDecoder::new().expect("decoder");
    assert_eq!(decoder.parse_dred(&without[15]), None);
    assert_eq!(decoder.parse_dred(&[]), None);
    let covered = decoder.parse_dred(&packets[60]).expect("has some");
    assert!(
        covered.start <= FRAME_SAMPLES && covered.end > 4 * FRAME_SAMPLES,
        "{covered:?}"
    );

    // Four packets are lost: how loud is it in their place?
    let mut out = Box::new([[0.0; 2]; MAX_PACKET_SAMPLES]);
    for packet in &packets[..56] {
        decoder.decode(packet, &mut out).expect("well-formed");
    }
    let mut restored = [[0.0; 2]; FRAME_SAMPLES];
    for before in (1..=4).rev() {
        decoder
            .decode_dred(before * FRAME_SAMPLES, &mut restored)
            .expect("20 ms");
        assert!(mean_square(&left(&restored)) > 1e-4);
    }
}

#[test]
fn nothing_is_restored_from_redundancy_that_was_never_read() {
    let mut decoder = OpusDecoder::new().expect("decoder");
    let mut out = [[0.0; 2]; FRAME_SAMPLES];
    assert!(decoder.decode_dred(FRAME_SAMPLES, &mut out).is_err());
}

#[test]
fn silence_of_a_voice_is_not_sent_and_of_music_it_is() {
    let sent = |content| {
        let mut encoder = OpusEncoder::new(content, EncoderSettings::default()).expect("encoder");
        let silence = [[0.0; 2]; FRAME_SAMPLES];
        (0..100)
            .filter(|_| matches!(encoder.encode(&silence), Ok(Encoded::Packet(_))))
            .count()
    };
    // A refresh every 400 ms at most, after the first moments.
    assert!(sent(Content::Voice) < 30, "{}", sent(Content::Voice));
    assert_eq!(sent(Content::Music), 100);
}

#[test]
fn what_is_said_after_a_pause_is_whole() {
    const SPOKEN: usize = 100;
    const PAUSE: usize = 150;
    let said = voice(SPOKEN * FRAME_SAMPLES);
    let mut state = 1_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        0.001 * ((state >> 8) as f32 / 8_388_608.0 - 1.0)
    };
    let pause: Vec<f32> = (0..PAUSE * FRAME_SAMPLES).map(|_| noise()).collect();
    let all = [&said[..], &pause, &said].concat();
    let packets = encode_all(&all, 0);
    // The encoder takes its time to be sure; then the noise is told every 400 ms.
    let sent = packets[SPOKEN + 50..SPOKEN + PAUSE]
        .iter()
        .filter(|packet| !is_silence(packet));
    assert!((4..=6).contains(&sent.clone().count()), "{}", sent.count());
    let decoded = decode_all(&packets, |_| false);
    let after = (SPOKEN + PAUSE) * FRAME_SAMPLES;
    let first = error(&said[9_600..], &decoded[9_600..after]);
    let second = error(&said, &decoded[after..]);
    assert!(
        second < 1.2 * first,
        "{second} after the pause, {first} before"
    );
}

#[test]
fn silence_is_as_long_as_packets_are_when_their_length_changes_in_it() {
    let mut settings = EncoderSettings::default();
    let mut encoder = OpusEncoder::new(Content::Voice, settings).expect("encoder");
    let silence = [[0.0; 2]; FRAME_SAMPLES];
    for _ in 0..100 {
        encoder.encode(&silence).expect("encodes");
    }
    settings.frame_length = FrameLength::Ms40;
    encoder.set(settings).expect("valid");
    for _ in 0..50 {
        match encoder
            .encode(&[[0.0; 2]; 2 * FRAME_SAMPLES])
            .expect("encodes")
        {
            Encoded::Packet(packet) | Encoded::Silence(packet) => {
                assert_eq!(packet_samples(&packet).expect("valid"), 2 * FRAME_SAMPLES);
            }
        }
    }
}

#[test]
fn music_is_stereo_and_full_band() {
    let settings = EncoderSettings {
        bitrate: Bitrate::from_kbps(128),
        expected_loss: 0,
        ..EncoderSettings::default()
    };
    let mut encoder = OpusEncoder::new(Content::Voice, settings).expect("encoder");
    encoder
        .set_content(Content::Music)
        .expect("another encoder");
    let (low, high) = (
        sine(440.0, 0.3, AUDIO_CLOCK_HZ, 48_000),
        sine(15_000.0, 0.3, AUDIO_CLOCK_HZ, 48_000),
    );
    let music: Vec<[f32; 2]> = low.iter().zip(&high).map(|(l, h)| [*l, *h]).collect();
    let mut decoder = OpusDecoder::new().expect("decoder");
    let mut out = Box::new([[0.0; 2]; MAX_PACKET_SAMPLES]);
    let mut heard = Vec::new();
    for frame in music.chunks_exact(FRAME_SAMPLES) {
        let Encoded::Packet(packet) = encoder.encode(frame).expect("encodes") else {
            panic!("music is always sent");
        };
        let samples = decoder.decode(&packet, &mut out).expect("well-formed");
        heard.extend_from_slice(&out[..samples]);
    }
    let settled = &heard[10_000..];
    assert!((frequency(&left(settled), AUDIO_CLOCK_HZ) - 440.0).abs() < 2.0);
    let right: Vec<f32> = settled.iter().map(|pair| pair[1]).collect();
    assert!((frequency(&right, AUDIO_CLOCK_HZ) - 15_000.0).abs() < 20.0);
    assert!((mean_square(&right).sqrt() - 0.212).abs() < 0.04);
}

#[test]
fn settings_out_of_range_are_brought_into_range() {
    let settings = EncoderSettings {
        bitrate: Bitrate::ZERO,
        expected_loss: 255,
        dred: Duration::from_secs(60),
        ..EncoderSettings::default()
    };
    let mut encoder = OpusEncoder::new(Content::Voice, settings).expect("clamped");
    let bitrate = Bitrate::from_kbps(9_999_999);
    encoder
        .set(EncoderSettings {
            bitrate,
            ..settings
        })
        .expect("clamped");
    assert!(encoder.encode(&[[0.0; 2]; 7]).is_err());
}

#[test]
fn nothing_is_no_packet() {
    let mut decoder = OpusDecoder::new().expect("decoder");
    let mut out = Box::new([[0.0; 2]; MAX_PACKET_SAMPLES]);
    assert!(decoder.decode(&[], &mut out).is_err());
    assert!(decoder.decode_fec(&[], &mut out[..FRAME_SAMPLES]).is_err());
    assert!(decoder.conceal(&mut out[..7]).is_err());
    assert_eq!(fec_samples(&[]), 0);
}

proptest! {
    #[test]
    fn any_bytes_are_an_error_or_a_sound(
        packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..8),
    ) {
        let mut decoder = OpusDecoder::new().expect("decoder");
        let mut out = Box::new([[0.0; 2]; MAX_PACKET_SAMPLES]);
        for packet in &packets {
            let declared = packet_samples(packet);
            let fec = fec_samples(packet);
            let _ = decoder.decode_fec(packet, &mut out[..FRAME_SAMPLES.max(fec)]);
            if decoder.parse_dred(packet).is_some() {
                let _ = decoder.decode_dred(2 * FRAME_SAMPLES, &mut out[..FRAME_SAMPLES]);
            }
            if let Ok(samples) = decoder.decode(packet, &mut out) {
                prop_assert_eq!(Ok(samples), declared);
                prop_assert!(out[..samples].as_flattened().iter().all(|it| it.is_finite()));
            }
        }
    }
}

#[test]
fn what_was_remembered_is_recalled_to_the_bit() {
    let packets = encode_all(&voice(20 * FRAME_SAMPLES), 0);
    let mut decoder = OpusDecoder::new().expect("decoder");
    let mut other = OpusDecoder::new().expect("decoder");
    let mut out = [[0.0; 2]; MAX_PACKET_SAMPLES];
    let mut expected = out;
    for (number, packet) in packets.iter().enumerate() {
        if number % 5 == 3 {
            decoder.remember();
            decoder.conceal(&mut out[..480]).expect("conceals");
            decoder.recall();
        }
        decoder.decode(packet, &mut out).expect("decodes");
        other.decode(packet, &mut expected).expect("decodes");
        assert_eq!(out, expected, "packet {number}");
    }
}
