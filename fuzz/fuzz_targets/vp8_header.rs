//! The first bytes of a VP8 frame.

#![no_main]

use ahoy_video::capture::MAX_SIDE;
use ahoy_video::vp8_header::Vp8FrameHeader;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|frame: &[u8]| {
    let header = Vp8FrameHeader::parse(frame);
    // Nothing behind the first ten bytes matters.
    assert_eq!(Vp8FrameHeader::parse(&frame[..frame.len().min(10)]), header);
    match header {
        Some(Vp8FrameHeader::Key { resolution }) => {
            let sides = 1..=MAX_SIDE;
            assert!(sides.contains(&resolution.width) && sides.contains(&resolution.height));
            assert_eq!(frame[0] & 1, 0);
            assert_eq!(frame[3..6], [0x9d, 0x01, 0x2a]);
        }
        Some(Vp8FrameHeader::Delta) => assert_eq!(frame[0] & 1, 1),
        None => assert!(frame.len() < 3 || frame[0] & 1 == 0),
    }
});
