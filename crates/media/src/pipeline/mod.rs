//! The threads that join sources, codecs and sinks.

pub mod audio_send;
pub mod playout;
pub mod video_receive;
pub mod video_send;

mod worker;
