//! WAV files: whatever is in one, what comes out is sound, and needs no more memory than its
//! header is worth.

#![no_main]

use std::path::PathBuf;
use std::sync::OnceLock;

use ahoy_audio::SILENCE;
use ahoy_audio::wav::WavSource;
use ahoy_fuzz::heap;
use libfuzzer_sys::fuzz_target;

/// Half a second.
const BLOCKS: usize = 50;
const MOST_HEAP: usize = 8 << 20;

fn file() -> &'static PathBuf {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    FILE.get_or_init(|| std::env::temp_dir().join(format!("ahoy-fuzz-{}.wav", std::process::id())))
}

fuzz_target!(|data: &[u8]| {
    let path = file();
    std::fs::write(path, data).expect("room for a small file");
    let before = heap::held();
    let Ok(mut source) = WavSource::open(path) else {
        return;
    };
    for _ in 0..BLOCKS {
        let mut block = SILENCE;
        if source.fill(&mut block).is_err() {
            break;
        }
        for sample in block {
            // The resampler may go beyond full scale a little where the sound is at it.
            assert!(sample.abs() <= 2.0, "{sample}");
        }
        let heap = heap::held().saturating_sub(before);
        assert!(heap <= MOST_HEAP, "{heap} bytes of heap are held");
    }
});
