//! The call: who is in the room, one peer connection to each of them, and what flows through it.
//!
//! [`engine`] is the way in: a handle whose commands go to one task. What that task decides is in
//! the pure files [`session`], [`verification`], [`negotiation`], [`adaptation`] and [`quality`]; what it does to the network is
//! in [`transport`], the only place that knows the webrtc crate.

pub mod adaptation;
pub mod doctor;
pub mod engine;
pub mod fan_out;
pub mod fingerprint;
pub mod lip_sync;
pub mod local;
pub mod negotiation;
pub mod participant;
mod participant_stats;
pub mod quality;
pub mod reconnect;
pub mod remote_video;
pub mod sealed_message;
pub mod session;
pub mod shared_code;
pub mod sound_losses;
pub mod sound_protection;
pub mod stats;
pub mod status;
pub mod transport;
pub mod verification;
pub mod view;
