//! The bytes of a handshake. Integers are big-endian; every kind has one length.
//!
//! ```text
//! share     version kind=1 session[16] element[32] associated data[51]
//! confirm   version kind=2 mac[64]
//! refuse    version kind=3 reason
//! sealed    version kind=4 …                     (see `channel`)
//!
//! associated data    version role secret room[4] from[4] to[4] epoch[4] fingerprint[32]
//! ```

use super::{Context, Failure, Fingerprint, Refusal, Role, SecretKind};
use crate::VERSION;
use crate::pake::{SHARE_LENGTH, Share};

pub(super) const KIND_SHARE: u8 = 1;
pub(super) const KIND_CONFIRM: u8 = 2;
pub(super) const KIND_REFUSE: u8 = 3;
pub(crate) const KIND_SEALED: u8 = 4;

/// Random bytes that make each run a new one; the draft recommends at least 16.
pub(super) const SESSION_LENGTH: usize = 16;
/// HMAC-SHA-512.
pub(super) const MAC_LENGTH: usize = 64;
const FINGERPRINT_LENGTH: usize = 32;
const ASSOCIATED_LENGTH: usize = 3 + 4 * 4 + FINGERPRINT_LENGTH;
const SHARE_MESSAGE: usize = 2 + SESSION_LENGTH + SHARE_LENGTH + ASSOCIATED_LENGTH;

/// Longest message of a handshake in bytes.
pub const MAX_HANDSHAKE_MESSAGE: usize = SHARE_MESSAGE;

pub(super) type Session = [u8; SESSION_LENGTH];
pub(super) type Mac = [u8; MAC_LENGTH];
pub(super) type Associated = [u8; ASSOCIATED_LENGTH];

/// What a side says about itself; part of what the keys are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) role: Role,
    pub(super) secret: SecretKind,
    pub(super) room: u32,
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) epoch: u32,
    pub(super) fingerprint: Fingerprint,
}

impl Identity {
    pub(super) fn ours(context: &Context, secret: SecretKind, fingerprint: Fingerprint) -> Self {
        Self {
            role: context.role,
            secret,
            room: context.room,
            from: context.own,
            to: context.other,
            epoch: context.epoch,
            fingerprint,
        }
    }

    /// Whether this is what the other side of `context` has to say.
    pub(super) fn answers(&self, context: &Context) -> bool {
        self.role == context.role.other()
            && self.room == context.room
            && self.from == context.other
            && self.to == context.own
            && self.epoch == context.epoch
    }

    pub(super) fn bytes(&self) -> Associated {
        let mut bytes = [0; ASSOCIATED_LENGTH];
        bytes[..3].copy_from_slice(&[VERSION, self.role as u8, self.secret as u8]);
        let numbers = [self.room, self.from, self.to, self.epoch];
        for (place, number) in bytes[3..19].chunks_exact_mut(4).zip(numbers) {
            place.copy_from_slice(&number.to_be_bytes());
        }
        bytes[19..].copy_from_slice(&self.fingerprint);
        bytes
    }

    fn read(bytes: &Associated) -> Result<Self, Failure> {
        if bytes[0] != VERSION {
            return Err(Failure::WrongVersion);
        }
        let number = |at: usize| {
            u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let mut fingerprint = [0; FINGERPRINT_LENGTH];
        fingerprint.copy_from_slice(&bytes[19..]);
        Ok(Self {
            role: Role::read(bytes[1]).ok_or(Failure::Malformed)?,
            secret: SecretKind::read(bytes[2]).ok_or(Failure::Malformed)?,
            room: number(3),
            from: number(7),
            to: number(11),
            epoch: number(15),
            fingerprint,
        })
    }
}

/// A message of a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Message {
    Share {
        session: Session,
        share: Share,
        identity: Identity,
    },
    Confirm(Mac),
    Refuse(Refusal),
}

impl Message {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Failure> {
        let (&[version, kind], rest) = bytes.split_first_chunk().ok_or(Failure::Malformed)?;
        if version != VERSION {
            return Err(Failure::WrongVersion);
        }
        match kind {
            KIND_SHARE => {
                let (session, rest) = rest.split_first_chunk().ok_or(Failure::Malformed)?;
                let (share, rest) = rest.split_first_chunk().ok_or(Failure::Malformed)?;
                let associated = rest.try_into().map_err(|_| Failure::Malformed)?;
                Ok(Self::Share {
                    session: *session,
                    share: *share,
                    identity: Identity::read(associated)?,
                })
            }
            KIND_CONFIRM => {
                let mac = rest.try_into().map_err(|_| Failure::Malformed)?;
                Ok(Self::Confirm(mac))
            }
            KIND_REFUSE => match rest {
                [reason] => Ok(Self::Refuse(Refusal::read(*reason))),
                _ => Err(Failure::Malformed),
            },
            _ => Err(Failure::UnknownKind),
        }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Share {
                session,
                share,
                identity,
            } => {
                let mut bytes = vec![VERSION, KIND_SHARE];
                bytes.extend_from_slice(session);
                bytes.extend_from_slice(share);
                bytes.extend_from_slice(&identity.bytes());
                bytes
            }
            Self::Confirm(mac) => {
                let mut bytes = vec![VERSION, KIND_CONFIRM];
                bytes.extend_from_slice(mac);
                bytes
            }
            Self::Refuse(reason) => vec![VERSION, KIND_REFUSE, *reason as u8],
        }
    }
}

/// The run that a share belongs to; `None` for anything else.
pub fn share_epoch(bytes: &[u8]) -> Option<u32> {
    match Message::read(bytes) {
        Ok(Message::Share { identity, .. }) => Some(identity.epoch),
        Ok(Message::Confirm(_) | Message::Refuse(_)) | Err(_) => None,
    }
}
