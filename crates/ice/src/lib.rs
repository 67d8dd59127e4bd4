//! Finding a way through: STUN and TURN servers, TURN over TCP and TLS, ICE restarts, and what is
//! wrong when there is no way. Knows the webrtc crate's runtime, and nothing of calls.

pub mod doctor;
mod passes;
mod placeholder;
pub mod privacy;
pub mod restart;
pub mod runtime;
pub mod server;
pub mod status;
pub mod stream;
mod stun;
pub mod watch;
