//! Payloads that tell how many of them are still held by whoever was given them.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

static PACKETS: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);

struct Tracked(Vec<u8>);

impl AsRef<[u8]> for Tracked {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        PACKETS.fetch_sub(1, Ordering::Relaxed);
        BYTES.fetch_sub(self.0.len(), Ordering::Relaxed);
    }
}

/// A payload that counts as held until the last reference to any part of it is gone.
pub fn payload(data: Vec<u8>) -> Bytes {
    PACKETS.fetch_add(1, Ordering::Relaxed);
    BYTES.fetch_add(data.len(), Ordering::Relaxed);
    Bytes::from_owner(Tracked(data))
}

/// Payloads that are held.
pub fn packets() -> usize {
    PACKETS.load(Ordering::Relaxed)
}

/// Their length in all.
pub fn bytes() -> usize {
    BYTES.load(Ordering::Relaxed)
}
