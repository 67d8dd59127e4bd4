//! Capture, codecs, jitter buffers and playout: everything Ahoy does to pictures and sound on
//! this computer. No network and no async runtime: threads, queues and pure state.
//!
//! Read [`frame`] and [`rtp`] for the values that travel, [`selection`] for how a device is
//! named, and [`pipeline`] for the threads that join the parts.

pub mod audio;
pub mod capture;
pub mod codec;
pub mod device;
pub mod frame;
pub mod jitter;
pub mod pipeline;
pub mod pool;
pub mod queue;
pub mod rtp;
pub mod rtp_vp8;
pub mod selection;
pub mod units;
