//! Balanced password-authenticated key exchange: both sides know the same secret and get the same
//! key; one who does not know it gets another key and learns nothing but that its guess was wrong.

use rand::CryptoRng;
use zeroize::Zeroizing;

/// Length of a share in bytes: one element of ristretto255 (RFC 9496).
pub const SHARE_LENGTH: usize = 32;

/// What each side sends: a group element that hides the secret.
pub type Share = [u8; SHARE_LENGTH];

/// The key that comes out (the draft's ISK), wiped when dropped. It is no proof yet: with different
/// secrets the two sides have different keys.
pub type SharedKey = Zeroizing<Vec<u8>>;

/// What both sides must agree on besides the secret, all of it public.
#[derive(Debug, Clone, Copy)]
pub struct Public<'a> {
    /// Who talks with whom about what (the draft's CI).
    pub channel: &'a [u8],
    /// Different for each run (the draft's sid).
    pub session: &'a [u8],
}

/// Why there is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PakeError {
    /// The share is no element of the group, or the neutral one, which would give away the key.
    #[error("the share is not a valid group element")]
    InvalidShare,
}

/// A balanced PAKE with an initiator and a responder. Behind a trait so that the library beneath
/// can be replaced.
pub trait Pake {
    /// What the initiator keeps until the answer comes; wiped when dropped.
    type Started;

    /// The initiator's first step. `ours` is its associated data: it does not go into the share,
    /// but the keys agree only if the other side saw the same.
    ///
    /// # Errors
    ///
    /// [`PakeError::InvalidShare`], with negligible probability.
    fn start(
        secret: &[u8],
        public: Public<'_>,
        ours: &[u8],
        random: &mut impl CryptoRng,
    ) -> Result<(Share, Self::Started), PakeError>;

    /// The responder's only step.
    ///
    /// # Errors
    ///
    /// [`PakeError::InvalidShare`]
    fn respond(
        secret: &[u8],
        public: Public<'_>,
        share: &Share,
        theirs: &[u8],
        ours: &[u8],
        random: &mut impl CryptoRng,
    ) -> Result<(Share, SharedKey), PakeError>;

    /// The initiator's last step.
    ///
    /// # Errors
    ///
    /// [`PakeError::InvalidShare`]
    fn finish(started: Self::Started, share: &Share, theirs: &[u8])
    -> Result<SharedKey, PakeError>;
}
