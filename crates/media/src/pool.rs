//! Reuse of picture buffers: a 720p picture is 1.4 MB, too much to allocate 30 times a second.

use std::sync::Arc;

use crate::frame::I420;
use crate::units::Resolution;

/// Buffers that are kept for reuse. Four cover the path of one stream: one being filled, one in
/// the slot, one in the encoder, one with an observer. When all are out, a fresh one is made and
/// not kept, so memory stays bounded by what the readers hold.
const KEPT: usize = 4;

/// Hands out pictures and takes them back by itself once no reader holds them any more.
#[derive(Debug, Default)]
pub struct FramePool {
    kept: Vec<Arc<I420>>,
}

impl FramePool {
    /// An empty pool; buffers come with use.
    pub const fn new() -> Self {
        Self { kept: Vec::new() }
    }

    /// Lets `fill` write a picture of this size and shares it. The buffer holds an older picture
    /// before that, so `fill` has to write every sample it cares for.
    ///
    /// # Errors
    /// Whatever `fill` returns; the buffer is reused then.
    pub fn fill<E>(
        &mut self,
        resolution: Resolution,
        fill: impl FnOnce(&mut I420) -> Result<(), E>,
    ) -> Result<Arc<I420>, E> {
        self.kept
            .retain(|picture| picture.resolution() == resolution);
        let free = self
            .kept
            .iter_mut()
            .position(|picture| Arc::get_mut(picture).is_some());
        let mut picture = match free {
            Some(index) => self.kept.swap_remove(index),
            None => Arc::new(I420::black(resolution)),
        };
        let result = match Arc::get_mut(&mut picture) {
            Some(writable) => fill(writable),
            // Cannot happen: just found free, or just made. A copy is right in any case.
            None => fill(Arc::make_mut(&mut picture)),
        };
        if self.kept.len() < KEPT {
            self.kept.push(Arc::clone(&picture));
        }
        result.map(|()| picture)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn luma(pool: &mut FramePool, value: u8) -> Arc<I420> {
        pool.fill(Resolution::new(2, 2), |picture| {
            picture.as_bytes_mut().fill(value);
            Ok::<(), ()>(())
        })
        .expect("cannot fail")
    }

    #[test]
    fn a_picture_in_use_is_never_written() {
        let mut pool = FramePool::new();
        let held: Vec<_> = (0..10).map(|value| luma(&mut pool, value)).collect();
        for (value, picture) in held.iter().enumerate() {
            assert_eq!(picture.as_bytes()[0] as usize, value);
        }
        assert!(pool.kept.len() <= KEPT);
    }

    #[test]
    fn a_released_picture_is_used_again() {
        let mut pool = FramePool::new();
        let first = luma(&mut pool, 1);
        let address = Arc::as_ptr(&first);
        drop(first);
        assert_eq!(Arc::as_ptr(&luma(&mut pool, 2)), address);
    }
}
