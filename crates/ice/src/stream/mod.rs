//! TURN over TCP and TLS (RFC 8656 section 3.1), which the webrtc crate leaves out.
//!
//! The crate believes that it sends datagrams to an address. Those of a TURN server behind a stream
//! are taken at the socket, and go down the stream; what the stream brings comes out of the socket.
//!
//! ```text
//! connection task ─poll_send─▶ IceSocket ─queue (64)─▶ stream task ─▶ TCP or TLS ─▶ TURN server
//! connection task ◀─poll_recv─ IceSocket ◀queue (256)─ stream task ◀─ TCP or TLS ◀─
//! ```

mod connection;
pub mod framing;
pub(crate) mod shared;
pub(crate) mod socket;
pub(crate) mod start;
pub mod tls;

pub(crate) use connection::{DialError, Duplex, dial};
