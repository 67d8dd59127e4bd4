//! What pictures and sound have in common on their way through Ahoy: the values that travel, how
//! a device is named and what can be wrong with it, queues and threads.
//!
//! No network, no async runtime, no device and no codec: those are `ahoy-audio`, `ahoy-video` and
//! `ahoy-call`.

pub mod codec;
pub mod device;
pub mod frame;
pub mod pool;
pub mod queue;
pub mod rtp;
pub mod selection;
pub mod units;
pub mod worker;
