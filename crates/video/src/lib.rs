//! Pictures on this computer, from the camera to VP8 packets ([`send`]) and from received packets
//! to pictures ([`receive`]). No network and no async runtime.

pub mod capture;
pub mod jitter;
pub mod playout_delay;
pub mod receive;
pub mod rtp_vp8;
pub mod send;
pub mod vp8;
pub mod vp8_header;
