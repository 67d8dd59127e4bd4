//! Jitter buffers: packets in any order to frames in the right one. Pure state, no clock.

pub mod audio;
pub mod video;
