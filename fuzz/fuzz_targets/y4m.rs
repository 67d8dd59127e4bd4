//! The header of a y4m file, and the structure of the whole file.

#![no_main]

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use ahoy_fuzz::heap;
use ahoy_media::frame::I420;
use ahoy_video::capture::y4m::{Y4mHeader, Y4mSource};
use ahoy_video::capture::{MAX_SIDE, VideoSource};
use libfuzzer_sys::fuzz_target;

fn file() -> &'static PathBuf {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    FILE.get_or_init(|| std::env::temp_dir().join(format!("ahoy-fuzz-{}.y4m", std::process::id())))
}

fn header(line: &[u8]) -> Option<Y4mHeader> {
    let header = Y4mHeader::parse(line).ok()?;
    let size = header.resolution;
    let sides = 1..=MAX_SIDE;
    assert!(sides.contains(&size.width) && sides.contains(&size.height));
    let interval = header.interval;
    assert!(interval >= Duration::from_micros(4_166) && interval <= Duration::from_secs(10));
    // The same said in our words.
    let rate = interval.as_nanos();
    let again = format!(
        "YUV4MPEG2 W{} H{} F1000000000:{rate}",
        size.width, size.height
    );
    let again = Y4mHeader::parse(again.as_bytes()).expect("our own header");
    assert_eq!(again.resolution, size);
    assert!(again.interval.abs_diff(interval) <= Duration::from_nanos(2));
    Some(header)
}

fuzz_target!(|data: &[u8]| {
    let line = data.split(|byte| *byte == b'\n').next().unwrap_or(data);
    let header = header(line);
    let path = file();
    std::fs::write(path, data).expect("room for a small file");
    let before = heap::held();
    let Ok(mut source) = Y4mSource::open(path) else {
        return;
    };
    let header = header.expect("a source has a header");
    let picture = I420::byte_len(header.resolution);
    assert!(source.frames() > 0);
    assert!(source.frames() * (6 + picture as u64) <= data.len() as u64);
    assert_eq!(source.format().resolution, header.resolution);
    // Only the first: the others come at their times.
    let frame = source.next_frame().expect("what was promised");
    assert_eq!(frame.picture.resolution(), header.resolution);
    assert!(heap::held().saturating_sub(before) <= 2 * picture + (64 << 10));
});
