//! How much is sent, when, and as what: congestion control and what follows from it, as pure
//! functions of the time they are given.
//!
//! ```text
//! feedback ─▶ Estimator ─▶ target ─▶ allocate ─▶ sound first, the rest to the picture
//!                 │                                   │
//!              probes                              Ladder ─▶ size and frames per second
//!                 ▼                                   ▲
//!               Pacer ─▶ packets, when they may go  Governor ◀─ time that encoding takes
//! ```
//!
//! No network, no async runtime, no clock. `docs/bandwidth.md` has the design and the figures.

pub mod allocation;
pub mod estimator;
pub mod governor;
pub mod ladder;
pub mod pacer;
pub mod repair;
#[cfg(feature = "simulator")]
pub mod simulator;

/// What a packet of RTP takes on the wire beside itself: IPv4 (20), UDP (8) and the tag of SRTP
/// (10), in bytes. Sizes given to the [`estimator`] and the [`pacer`] include it, or at low rates
/// a fifth of the traffic would be overlooked.
pub const WIRE_OVERHEAD: usize = 38;
