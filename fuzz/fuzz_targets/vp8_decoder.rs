//! Frames from a stranger through libvpx: real ones, real ones that were tampered with, rubbish.

#![no_main]

use std::sync::OnceLock;
use std::time::Instant;

use ahoy_media::codec::CodecError;
use ahoy_media::frame::I420;
use ahoy_media::units::{Bitrate, Resolution};
use ahoy_video::capture::MAX_SIDE;
use ahoy_video::vp8::{Vp8Decoder, Vp8Encoder, Vp8EncoderConfig};
use ahoy_video::vp8_header::Vp8FrameHeader;
use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;

/// Larger pictures are left out: they only take longer.
const MOST_PIXELS: u64 = 1 << 16;

#[derive(Debug, Arbitrary)]
enum Step<'a> {
    Real(u8),
    Tampered {
        which: u8,
        changes: [(u16, u8); 4],
        cut: u8,
    },
    Rubbish(&'a [u8]),
    /// A key frame of this size with rubbish in it.
    Key {
        width: u8,
        height: u8,
        rest: &'a [u8],
    },
}

/// Frames of two sizes, each beginning with a key frame.
fn frames() -> &'static [Vec<u8>] {
    static FRAMES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    FRAMES.get_or_init(|| {
        let mut frames = Vec::new();
        for (width, height) in [(48, 32), (37, 51)] {
            let resolution = Resolution::new(width, height);
            let config = Vp8EncoderConfig::new(resolution, Bitrate::from_kbps(200), 30);
            let mut encoder = Vp8Encoder::new(config).expect("a possible size");
            for number in 0..6_u32 {
                let mut picture = I420::black(resolution);
                for (index, sample) in picture.as_bytes_mut().iter_mut().enumerate() {
                    *sample = (index as u32 * (3 + number) / 5) as u8;
                }
                let encoded = encoder.encode(&picture, number * 3_000, Instant::now(), false);
                if let Ok(Some(frame)) = encoded {
                    frames.push(frame.data.to_vec());
                }
            }
        }
        frames
    })
}

fn bytes(step: Step<'_>) -> Vec<u8> {
    let real = |which: u8| frames()[usize::from(which) % frames().len()].clone();
    match step {
        Step::Real(which) => real(which),
        Step::Tampered {
            which,
            changes,
            cut,
        } => {
            let mut data = real(which);
            for (at, change) in changes {
                let at = usize::from(at) % data.len();
                data[at] ^= change;
            }
            data.truncate(data.len().saturating_sub(usize::from(cut % 32)));
            data
        }
        Step::Rubbish(data) => data.to_vec(),
        Step::Key {
            width,
            height,
            rest,
        } => {
            let mut data = vec![0x10, 0, 0, 0x9d, 0x01, 0x2a, width, 0, height, 0];
            data.extend_from_slice(rest);
            data
        }
    }
}

fuzz_target!(|steps: Vec<Step<'_>>| {
    let mut decoder = Vp8Decoder::new();
    let mut expected = None;
    for step in steps {
        let data = bytes(step);
        let header = Vp8FrameHeader::parse(&data);
        if let Some(Vp8FrameHeader::Key { resolution }) = header {
            if resolution.pixels() > MOST_PIXELS {
                continue;
            }
            expected = Some(resolution);
        }
        let needed_key = decoder.needs_key_frame();
        match decoder.decode(&data) {
            Ok(picture) => {
                assert!(header.is_some() && !decoder.needs_key_frame());
                if let Some(picture) = picture {
                    let resolution = picture.resolution();
                    assert_eq!(Some(resolution), expected);
                    assert!(resolution.width.max(resolution.height) <= MAX_SIDE);
                    assert_eq!(picture.as_bytes().len(), I420::byte_len(resolution));
                }
                assert!(decoder.last_quantizer() <= 127);
            }
            Err(CodecError::KeyFrameNeeded) => {
                assert!(needed_key && header == Some(Vp8FrameHeader::Delta));
            }
            Err(_) => assert!(decoder.needs_key_frame()),
        }
    }
});
