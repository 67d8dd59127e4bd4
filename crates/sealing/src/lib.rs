//! What makes the code of a call its key: two participants who know the same secret (the words of a
//! code, or the longer secret of an invite link) find out that they do, without saying it, and seal
//! everything that they exchange afterwards. Whoever carries their messages can neither read nor
//! change them, and has one guess at the secret per attempt.
//!
//! ```text
//! secret ─► Pake (CPace) ─► Handshake ─► Channel: sealed frames, in order, each once
//!                               │
//!                               └─► Guesses: how often somebody was wrong
//! ```
//!
//! Pure: bytes in, bytes out. No network, no clock; random numbers are handed in.
//! `docs/signaling-protocol.md` describes the bytes, `docs/security.md` what they protect.

mod channel;
mod cpace;
mod guesses;
mod handshake;
mod pake;

pub use channel::{Channel, MAX_EARLY, MAX_FRAME, MAX_PLAINTEXT, OpenError, SealError};
pub use cpace::Cpace;
pub use guesses::{Guesses, MAX_WRONG_GUESSES, Verdict};
pub use handshake::{
    Context, Failure, Fingerprint, Handshake, MAX_HANDSHAKE_MESSAGE, MessageKind, Outcome, Refusal,
    Role, Secret, SecretKind, Secrets, Step, message_kind, refusal, share_epoch,
};
pub use pake::{Pake, PakeError, Public, SHARE_LENGTH, Share, SharedKey};

/// Version of the messages of this crate, the first byte of each.
pub const VERSION: u8 = 1;
