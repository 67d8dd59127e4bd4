//! From the PAKE's key to the keys that are used, and the confirmations.

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac as _};
use sha2::{Digest, Sha512};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::Role;
use super::wire::{MAC_LENGTH, Mac};
use crate::pake::SharedKey;

/// Sets these keys apart from any others that are ever made of the same secret.
const SALT: &[u8] = b"ahoy sealing 1";

/// SHA-512 over both share messages as they were sent, the joiner's first.
pub(super) struct Transcript([u8; 64]);

impl Transcript {
    pub(super) fn new(joiners: &[u8], members: &[u8]) -> Self {
        // Both have one fixed length, so that the border needs no mark.
        let hash = Sha512::new_with_prefix(joiners).chain_update(members);
        Self(hash.finalize().into())
    }
}

/// The keys of one run, wiped when dropped.
pub(super) struct Keys {
    transcript: Transcript,
    joiners_mac: Zeroizing<[u8; 64]>,
    members_mac: Zeroizing<[u8; 64]>,
    joiners_frames: Zeroizing<[u8; 32]>,
    members_frames: Zeroizing<[u8; 32]>,
}

impl Keys {
    pub(super) fn new(shared: &SharedKey, transcript: Transcript) -> Self {
        let hkdf = Hkdf::<Sha512>::new(Some(SALT), shared);
        Self {
            joiners_mac: expand(&hkdf, b"joiner confirms", &transcript),
            members_mac: expand(&hkdf, b"member confirms", &transcript),
            joiners_frames: expand(&hkdf, b"joiner seals", &transcript),
            members_frames: expand(&hkdf, b"member seals", &transcript),
            transcript,
        }
    }

    /// The proof that `role` has the same keys.
    pub(super) fn confirmation(&self, role: Role) -> Mac {
        let key = match role {
            Role::Joiner => &self.joiners_mac,
            Role::Member => &self.members_mac,
        };
        let mut mac =
            Hmac::<Sha512>::new_from_slice(&**key).expect("HMAC takes keys of any length");
        mac.update(&self.transcript.0);
        let mut bytes = [0; MAC_LENGTH];
        bytes.copy_from_slice(&mac.finalize().into_bytes());
        bytes
    }

    /// Whether `given` is the confirmation of `role`, in constant time.
    pub(super) fn confirms(&self, role: Role, given: &Mac) -> bool {
        self.confirmation(role).ct_eq(given).into()
    }

    /// The key with which `role` seals.
    pub(super) fn frames(&self, role: Role) -> &[u8; 32] {
        match role {
            Role::Joiner => &self.joiners_frames,
            Role::Member => &self.members_frames,
        }
    }
}

fn expand<const N: usize>(
    hkdf: &Hkdf<Sha512>,
    label: &[u8],
    transcript: &Transcript,
) -> Zeroizing<[u8; N]> {
    let mut key = Zeroizing::new([0; N]);
    hkdf.expand_multi_info(&[label, &transcript.0], &mut *key)
        .expect("HKDF-SHA-512 gives up to 16,320 bytes");
    key
}
