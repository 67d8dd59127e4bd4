use super::*;
use crate::capture::stamp::{read_stamp, write_stamp};
use proptest::prelude::*;

/// A picture with structure that moves with `number`, stamped with it.
fn picture(resolution: Resolution, number: u32) -> I420 {
    let mut picture = I420::black(resolution);
    let width = resolution.width as usize;
    let (luma, ..) = picture.planes_mut();
    for (y, row) in luma.chunks_exact_mut(width).enumerate() {
        for (x, sample) in row.iter_mut().enumerate() {
            *sample = (64 + (x + number as usize * 3) / 2 % 96 + y % 64) as u8;
        }
    }
    write_stamp(&mut picture, number);
    picture
}

fn encoder(width: u32, height: u32, kbps: u64) -> Vp8Encoder {
    Vp8Encoder::new(Vp8EncoderConfig::new(
        Resolution::new(width, height),
        Bitrate::from_kbps(kbps),
        30,
    ))
    .expect("libvpx sets up")
}

fn encode(
    encoder: &mut Vp8Encoder,
    size: (u32, u32),
    number: u32,
    key: bool,
) -> Option<EncodedFrame> {
    let picture = picture(Resolution::new(size.0, size.1), number);
    encoder
        .encode(&picture, number * 3000, Instant::now(), key)
        .expect("encodes")
}

/// Encodes a picture that has little in common with the one before.
fn encode_busy(encoder: &mut Vp8Encoder, number: u32) -> Option<EncodedFrame> {
    let picture = picture(Resolution::new(640, 360), number * 13);
    encoder
        .encode(&picture, number * 3000, Instant::now(), false)
        .expect("encodes")
}

#[test]
fn pictures_come_back_with_their_stamp() {
    for (width, height) in [(320, 180), (321, 181), (64, 48)] {
        let mut encoder = encoder(width, height, 1000);
        let mut decoder = Vp8Decoder::new();
        for number in 0..20 {
            let frame = encode(&mut encoder, (width, height), number, false).expect("not dropped");
            assert_eq!(
                frame.key_frame,
                number == 0,
                "only the first frame is a key frame"
            );
            let decoded = decoder
                .decode(&frame.data)
                .expect("decodes")
                .expect("shown");
            assert_eq!(decoded.resolution(), Resolution::new(width, height));
            assert_eq!(read_stamp(&decoded), Some(number), "{width}x{height}");
            assert!(decoder.last_quantizer() <= 127);
            assert_eq!(decoder.last_quantizer(), encoder.last_quantizer());
        }
    }
}

#[test]
fn a_key_frame_comes_when_forced() {
    let mut encoder = encoder(320, 180, 1000);
    let keys: Vec<bool> = (0..10)
        .filter_map(|number| encode(&mut encoder, (320, 180), number, number == 6))
        .map(|frame| frame.key_frame)
        .collect();
    let expected: Vec<bool> = (0..10).map(|number| number == 0 || number == 6).collect();
    assert_eq!(keys, expected);
}

/// Bits per second of frames `numbers` at 30 frames per second.
fn measured(encoder: &mut Vp8Encoder, numbers: std::ops::Range<u32>) -> f64 {
    let seconds = f64::from(numbers.end - numbers.start) / 30.0;
    let bytes: usize = numbers
        .filter_map(|number| encode_busy(encoder, number))
        .map(|frame| frame.data.len())
        .sum();
    bytes as f64 * 8.0 / seconds
}

#[test]
fn the_bitrate_follows_its_target() {
    let mut encoder = encoder(640, 360, 1500);
    measured(&mut encoder, 0..60);
    let high = measured(&mut encoder, 60..150);
    encoder
        .set_bitrate(Bitrate::from_kbps(300))
        .expect("accepted");
    measured(&mut encoder, 150..180);
    let low = measured(&mut encoder, 180..270);
    assert!(low < 380_000.0, "{low} bit/s after a change to 300 kbit/s");
    assert!(
        high > low * 2.0,
        "{high} bit/s before, {low} bit/s after the change"
    );
}

#[test]
fn the_size_changes_down_and_beyond_the_first_one() {
    let mut encoder = encoder(320, 180, 800);
    let mut decoder = Vp8Decoder::new();
    let mut number = 0;
    for size in [
        (320, 180),
        (160, 90),
        (320, 180),
        (640, 360),
        (180, 320),
        (640, 360),
        (322, 182),
    ] {
        for index in 0..4 {
            let frame = encode(&mut encoder, size, number, false).expect("not dropped");
            assert_eq!(frame.key_frame, index == 0, "{size:?}, frame {index}");
            assert_eq!(frame.resolution, Resolution::new(size.0, size.1));
            let decoded = decoder
                .decode(&frame.data)
                .expect("decodes")
                .expect("shown");
            assert_eq!(decoded.resolution(), frame.resolution);
            assert_eq!(read_stamp(&decoded), Some(number), "{size:?}");
            number += 1;
        }
    }
}

#[test]
fn too_little_bandwidth_drops_frames_instead_of_overshooting() {
    let mut encoder = encoder(640, 360, 30);
    let sent = (0..90_u32)
        .filter_map(|number| encode_busy(&mut encoder, number))
        .count();
    assert!(sent < 80, "{sent} of 90 frames were sent at 30 kbit/s");
    assert!(sent > 0);
}

#[test]
fn timestamps_that_stand_still_or_wrap_are_no_problem() {
    let mut encoder = encoder(64, 48, 200);
    let picture = picture(Resolution::new(64, 48), 1);
    for timestamp in [
        u32::MAX - 10,
        u32::MAX - 10,
        5,
        3000,
        2000,
        0,
        u32::MAX / 2,
        u32::MAX,
    ] {
        encoder
            .encode(&picture, timestamp, Instant::now(), false)
            .expect("encodes");
    }
}

#[test]
fn impossible_sizes_are_refused() {
    for (width, height) in [(0, 0), (0, 10), (16384, 16384), (4097, 16)] {
        let config =
            Vp8EncoderConfig::new(Resolution::new(width, height), Bitrate::from_kbps(100), 30);
        assert!(matches!(Vp8Encoder::new(config), Err(CodecError::Setup(_))));
    }
    let zero = Vp8EncoderConfig::new(Resolution::new(16, 16), Bitrate::ZERO, 0);
    assert!(Vp8Encoder::new(zero).is_ok());
}

#[test]
fn after_damage_only_a_key_frame_helps() {
    let mut encoder = encoder(320, 180, 1000);
    let mut decoder = Vp8Decoder::new();
    let frames: Vec<_> = (0..6)
        .filter_map(|number| encode(&mut encoder, (320, 180), number, number == 4))
        .collect();
    assert_eq!(
        decoder.decode(&frames[1].data),
        Err(CodecError::KeyFrameNeeded)
    );
    assert!(decoder.decode(&frames[0].data).is_ok());
    assert!(matches!(decoder.decode(&[]), Err(CodecError::Decode(_))));
    assert!(decoder.needs_key_frame());
    assert_eq!(
        decoder.decode(&frames[2].data),
        Err(CodecError::KeyFrameNeeded)
    );
    let cut = &frames[4].data[..frames[4].data.len() / 3];
    assert!(matches!(decoder.decode(cut), Err(CodecError::Decode(_))));
    assert!(decoder.decode(&frames[4].data).is_ok());
    assert!(decoder.decode(&frames[5].data).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn garbage_never_breaks_the_decoder(
        noise in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..40),
        cut in any::<proptest::sample::Index>(),
    ) {
        let mut encoder = encoder(64, 48, 200);
        let mut decoder = Vp8Decoder::new();
        for number in 0..4 {
            let frame = encode(&mut encoder, (64, 48), number, false).expect("not dropped");
            let mut data = frame.data.to_vec();
            // The size in the header stays: other sizes are tested on their own and cost memory.
            for (index, value) in &noise {
                let index = index.index(data.len());
                if !(3..10).contains(&index) {
                    data[index] = *value;
                }
            }
            data.truncate(cut.index(data.len()) + 1);
            if let Ok(Some(picture)) = decoder.decode(&data) {
                prop_assert_eq!(picture.resolution(), Resolution::new(64, 48));
            }
        }
    }
}

#[test]
fn smaller_pictures_get_more_effort() {
    let sizes = [(1280, 720), (960, 540), (640, 360), (320, 180), (160, 90)];
    let efforts = |at_hd: i32| {
        sizes.map(|(width, height)| cpu_used_for(Resolution::new(width, height), at_hd))
    };
    assert_eq!(efforts(DEFAULT_CPU_USED), [-12, -8, -4, -2, -2]);
    // What the governor takes, it takes from all.
    assert_eq!(efforts(-16), [-16, -12, -8, -6, -6]);
}
