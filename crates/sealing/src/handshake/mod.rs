//! Two participants make sure that they know the same secret, and who has which certificate.
//!
//! ```text
//! joiner (came later)                      member (was there)
//! AwaitingShare     ── share ──────────▶   AwaitingShare
//!                   ◀────────── share ──   AwaitingConfirmation
//! AwaitingConfirmation ── confirm ─────▶   right: Verified; wrong: refuse, WrongCode
//! Verified          ◀──────── confirm ──
//! ```
//!
//! The joiner confirms first: a stranger who comes into a room proves something before anybody in
//! it does, and gets nothing to test guesses with. Anything out of turn ends the handshake.

mod keys;
mod wire;

use std::fmt;
use std::mem;

use rand::CryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::VERSION;
use crate::channel::Channel;
use crate::cpace::Cpace;
use crate::pake::{Pake, Public, Share};
use keys::{Keys, Transcript};
pub(crate) use wire::KIND_SEALED;
use wire::{Identity, Message, SESSION_LENGTH, Session};
pub use wire::{MAX_HANDSHAKE_MESSAGE, share_epoch};

/// Begins the channel identifier, and sets this use of CPace apart from others.
const CHANNEL_LABEL: &[u8] = b"ahoy call";

/// SHA-256 of a DTLS certificate (RFC 8122 section 5).
pub type Fingerprint = [u8; 32];

/// Who came first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Role {
    /// Came later; begins and confirms first.
    Joiner = 1,
    /// Was there.
    Member = 2,
}

impl Role {
    const fn other(self) -> Self {
        match self {
            Self::Joiner => Self::Member,
            Self::Member => Self::Joiner,
        }
    }

    const fn read(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Joiner),
            2 => Some(Self::Member),
            _ => None,
        }
    }
}

/// Which secret the joiner was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum SecretKind {
    /// The words of the code.
    Words = 1,
    /// The longer secret of an invite link.
    Link = 2,
}

impl SecretKind {
    const fn read(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Words),
            2 => Some(Self::Link),
            _ => None,
        }
    }
}

/// Who talks with whom: public, and the same on both sides but for the point of view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// Ours.
    pub role: Role,
    /// Number of the room.
    pub room: u32,
    /// Our number in it.
    pub own: u32,
    /// Theirs.
    pub other: u32,
    /// Counts the handshakes of this pair, from 1.
    pub epoch: u32,
}

/// A secret of one kind, wiped when dropped. `Debug` hides it.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Secret {
    #[zeroize(skip)]
    kind: SecretKind,
    bytes: Vec<u8>,
}

impl Secret {
    /// `bytes` as a secret of this kind.
    pub fn new(kind: SecretKind, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            kind,
            bytes: bytes.into(),
        }
    }

    /// Its kind.
    pub const fn kind(&self) -> SecretKind {
        self.kind
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({:?}, hidden)", self.kind)
    }
}

/// What a member lets people in with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Secrets {
    /// The words of the code; `None` while they are retired.
    pub words: Option<Secret>,
    /// The secret of the invite link; `None` when we were not told it yet.
    pub link: Option<Secret>,
}

impl Secrets {
    fn of(&self, kind: SecretKind) -> Option<&Secret> {
        match kind {
            SecretKind::Words => self.words.as_ref(),
            SecretKind::Link => self.link.as_ref(),
        }
        .filter(|secret| secret.kind == kind)
    }
}

/// Why a member does not let somebody in. Not authenticated: whoever carries the messages can
/// refuse service anyway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Refusal {
    /// The confirmation was wrong.
    WrongCode = 1,
    /// Too many were wrong; these words let nobody in any more.
    CodeRetired = 2,
    /// The member does not know this kind of secret.
    UnknownSecret = 3,
    /// The handshake went wrong in another way, or a reason that this version does not know.
    Failed = 4,
}

impl Refusal {
    const fn read(byte: u8) -> Self {
        match byte {
            1 => Self::WrongCode,
            2 => Self::CodeRetired,
            3 => Self::UnknownSecret,
            _ => Self::Failed,
        }
    }
}

/// What was wrong with a message. Honest sides never see one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Too short, too long, or a field that cannot be.
    #[error("the message could not be read")]
    Malformed,
    /// Another version.
    #[error("the message has another version")]
    WrongVersion,
    /// Of no kind that is known here.
    #[error("the message is of an unknown kind")]
    UnknownKind,
    /// Not this side's turn.
    #[error("the message came out of turn")]
    OutOfOrder,
    /// The same kind came before.
    #[error("the message came twice")]
    Repeated,
    /// Our own, sent back to us.
    #[error("our own message came back")]
    Reflected,
    /// For another room, another participant, another role or another run.
    #[error("the message belongs to another exchange")]
    WrongContext,
    /// No valid element of the group.
    #[error("the share is not a valid group element")]
    InvalidShare,
    /// The handshake has ended already.
    #[error("the handshake has ended already")]
    Over,
}

/// How a handshake ends.
#[derive(Debug)]
pub enum Outcome {
    /// Both know the same secret, and both certificates are known.
    Verified {
        /// For everything that follows.
        channel: Box<Channel>,
        /// The other side's certificate: no other may be accepted from it.
        remote_fingerprint: Fingerprint,
    },
    /// The other side knows another secret, or somebody changed a message on the way: these two
    /// look the same.
    WrongCode(SecretKind),
    /// The other side says no.
    Refused(Refusal),
    /// A message made no sense.
    Failed(Failure),
}

/// What to do after a message.
#[derive(Debug)]
pub struct Step {
    /// To be sent to the other side, before anything sealed.
    pub send: Option<Vec<u8>>,
    /// Set once, when the handshake ends.
    pub outcome: Option<Outcome>,
}

impl Step {
    fn end(outcome: Outcome) -> Self {
        Self {
            send: None,
            outcome: Some(outcome),
        }
    }
}

/// What a message from the other side is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    /// For [`Handshake::receive`], the first of one.
    Share,
    /// For [`Handshake::receive`].
    Handshake,
    /// For [`Channel::open`].
    Sealed,
}

/// What `bytes` are for; whatever is unknown goes to the handshake, which says what is wrong.
pub fn message_kind(bytes: &[u8]) -> MessageKind {
    match bytes.get(1) {
        Some(&KIND_SEALED) => MessageKind::Sealed,
        Some(&wire::KIND_SHARE) => MessageKind::Share,
        _ => MessageKind::Handshake,
    }
}

/// The message that refuses a joiner.
pub fn refusal(reason: Refusal) -> Vec<u8> {
    Message::Refuse(reason).bytes()
}

enum State<P: Pake> {
    /// The joiner has sent its share.
    JoinerStarted {
        started: P::Started,
        share: Share,
        session: Session,
        sent: Vec<u8>,
        kind: SecretKind,
    },
    /// The member waits for somebody to begin.
    MemberWaits {
        secrets: Secrets,
    },
    /// Both shares are there.
    Confirming {
        keys: Box<Keys>,
        fingerprint: Fingerprint,
        kind: SecretKind,
    },
    Over,
}

/// One side of one handshake. Dropping it wipes what it knows.
pub struct Handshake<P: Pake = Cpace> {
    context: Context,
    fingerprint: Fingerprint,
    state: State<P>,
}

impl<P: Pake> Handshake<P> {
    /// The joiner's side, and its first message. `fingerprint` is our own certificate's.
    ///
    /// # Errors
    ///
    /// [`Failure::InvalidShare`] with negligible probability; [`Failure::WrongContext`] when
    /// `context` is a member's.
    pub fn join(
        context: Context,
        fingerprint: Fingerprint,
        secret: &Secret,
        random: &mut impl CryptoRng,
    ) -> Result<(Self, Vec<u8>), Failure> {
        if context.role != Role::Joiner {
            return Err(Failure::WrongContext);
        }
        let mut session = [0; SESSION_LENGTH];
        random.fill_bytes(&mut session);
        let identity = Identity::ours(&context, secret.kind, fingerprint);
        let channel = channel_identifier(&context, secret.kind);
        let public = Public {
            channel: &channel,
            session: &session,
        };
        let (share, started) = P::start(&secret.bytes, public, &identity.bytes(), random)
            .map_err(|_| Failure::InvalidShare)?;
        let sent = Message::Share {
            session,
            share,
            identity,
        }
        .bytes();
        let handshake = Self {
            context,
            fingerprint,
            state: State::JoinerStarted {
                started,
                share,
                session,
                sent: sent.clone(),
                kind: secret.kind,
            },
        };
        Ok((handshake, sent))
    }

    /// The member's side, which waits for the joiner's first message.
    pub fn admit(context: Context, fingerprint: Fingerprint, secrets: Secrets) -> Self {
        Self {
            context,
            fingerprint,
            state: State::MemberWaits { secrets },
        }
    }

    /// Who talks with whom.
    pub const fn context(&self) -> &Context {
        &self.context
    }

    /// Whether nothing has come from the other side yet.
    pub fn awaits_share(&self) -> bool {
        matches!(
            self.state,
            State::JoinerStarted { .. } | State::MemberWaits { .. }
        )
    }

    /// The secret of which our confirmation is out while theirs has not come: until then whoever plays
    /// the other side can test one guess with it. Always `None` of a member.
    pub fn exposed(&self) -> Option<SecretKind> {
        match (&self.state, self.context.role) {
            (State::Confirming { kind, .. }, Role::Joiner) => Some(*kind),
            _ => None,
        }
    }

    /// Takes a message of the other side.
    pub fn receive(&mut self, bytes: &[u8], random: &mut impl CryptoRng) -> Step {
        let message = match Message::read(bytes) {
            Ok(message) => message,
            Err(failure) => return self.fail(failure),
        };
        match (mem::replace(&mut self.state, State::Over), message) {
            (State::Over, _) => self.fail(Failure::Over),
            (
                State::MemberWaits { secrets },
                Message::Share {
                    session,
                    share,
                    identity,
                },
            ) => self.answer(&secrets, bytes, session, &share, &identity, random),
            (
                State::JoinerStarted {
                    started,
                    share: ours,
                    session: our_session,
                    sent,
                    kind,
                },
                Message::Share {
                    session,
                    share,
                    identity,
                },
            ) => {
                if share == ours {
                    self.fail(Failure::Reflected)
                } else if session != our_session
                    || identity.secret != kind
                    || !identity.answers(&self.context)
                {
                    self.fail(Failure::WrongContext)
                } else {
                    self.confirm_first(started, &sent, bytes, &share, &identity)
                }
            }
            (
                State::Confirming {
                    keys,
                    fingerprint,
                    kind,
                },
                Message::Confirm(mac),
            ) => self.conclude(&keys, fingerprint, kind, &mac),
            (State::Confirming { .. }, Message::Share { .. }) => self.fail(Failure::Repeated),
            (State::Confirming { kind, .. }, Message::Refuse(Refusal::WrongCode))
                if self.context.role == Role::Joiner =>
            {
                Step::end(Outcome::WrongCode(kind))
            }
            (State::JoinerStarted { .. } | State::Confirming { .. }, Message::Refuse(reason))
                if self.context.role == Role::Joiner =>
            {
                Step::end(Outcome::Refused(reason))
            }
            (
                State::JoinerStarted { .. } | State::MemberWaits { .. } | State::Confirming { .. },
                Message::Confirm(_) | Message::Refuse(_),
            ) => self.fail(Failure::OutOfOrder),
        }
    }

    /// The member's turn: its share, and the keys.
    fn answer(
        &mut self,
        secrets: &Secrets,
        received: &[u8],
        session: Session,
        share: &Share,
        identity: &Identity,
        random: &mut impl CryptoRng,
    ) -> Step {
        if self.context.role != Role::Member || !identity.answers(&self.context) {
            return self.fail(Failure::WrongContext);
        }
        let kind = identity.secret;
        let Some(secret) = secrets.of(kind) else {
            return Step {
                send: Some(refusal(Refusal::UnknownSecret)),
                outcome: Some(Outcome::Refused(Refusal::UnknownSecret)),
            };
        };
        let ours = Identity::ours(&self.context, kind, self.fingerprint);
        let channel = channel_identifier(&self.context, kind);
        let public = Public {
            channel: &channel,
            session: &session,
        };
        let answer = P::respond(
            &secret.bytes,
            public,
            share,
            &identity.bytes(),
            &ours.bytes(),
            random,
        );
        let Ok((share, shared)) = answer else {
            return self.fail(Failure::InvalidShare);
        };
        let message = Message::Share {
            session,
            share,
            identity: ours,
        }
        .bytes();
        self.state = State::Confirming {
            keys: Box::new(Keys::new(&shared, Transcript::new(received, &message))),
            fingerprint: identity.fingerprint,
            kind,
        };
        Step {
            send: Some(message),
            outcome: None,
        }
    }

    /// The joiner's turn: the keys, and its confirmation.
    fn confirm_first(
        &mut self,
        started: P::Started,
        sent: &[u8],
        received: &[u8],
        share: &Share,
        identity: &Identity,
    ) -> Step {
        let Ok(shared) = P::finish(started, share, &identity.bytes()) else {
            return self.fail(Failure::InvalidShare);
        };
        let keys = Keys::new(&shared, Transcript::new(sent, received));
        let message = Message::Confirm(keys.confirmation(Role::Joiner));
        self.state = State::Confirming {
            keys: Box::new(keys),
            fingerprint: identity.fingerprint,
            kind: identity.secret,
        };
        Step {
            send: Some(message.bytes()),
            outcome: None,
        }
    }

    /// The other side's confirmation is there.
    fn conclude(
        &mut self,
        keys: &Keys,
        remote_fingerprint: Fingerprint,
        kind: SecretKind,
        mac: &wire::Mac,
    ) -> Step {
        let role = self.context.role;
        let right = keys.confirms(role.other(), mac);
        let send = match role {
            Role::Joiner => None,
            Role::Member if right => {
                Some(Message::Confirm(keys.confirmation(Role::Member)).bytes())
            }
            Role::Member => Some(refusal(Refusal::WrongCode)),
        };
        let outcome = if right {
            let (ours, theirs) = (keys.frames(role), keys.frames(role.other()));
            Outcome::Verified {
                channel: Box::new(Channel::new(self.context, ours, theirs)),
                remote_fingerprint,
            }
        } else {
            Outcome::WrongCode(kind)
        };
        Step {
            send,
            outcome: Some(outcome),
        }
    }

    fn fail(&mut self, failure: Failure) -> Step {
        self.state = State::Over;
        Step::end(Outcome::Failed(failure))
    }
}

impl<P: Pake> fmt::Debug for Handshake<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::JoinerStarted { .. } | State::MemberWaits { .. } => "AwaitingShare",
            State::Confirming { .. } => "AwaitingConfirmation",
            State::Over => "Over",
        };
        write!(f, "Handshake({:?}, {state})", self.context.role)
    }
}

/// The draft's CI: what this is, and between whom.
fn channel_identifier(context: &Context, kind: SecretKind) -> Vec<u8> {
    let (joiner, member) = match context.role {
        Role::Joiner => (context.own, context.other),
        Role::Member => (context.other, context.own),
    };
    let mut identifier = CHANNEL_LABEL.to_vec();
    identifier.extend_from_slice(&[VERSION, kind as u8]);
    for number in [context.room, joiner, member, context.epoch] {
        identifier.extend_from_slice(&number.to_be_bytes());
    }
    identifier
}

#[cfg(test)]
mod tests;
