//! Who in the room knows the code: runs a handshake with each participant, counts wrong codes, and
//! seals and opens what is said to those who were verified. Pure: bytes and times in, outputs out.
//!
//! ```text
//! joiner: Queued ─ its turn ─► Proving ─► Verified            (one member after the other)
//! member:          Proving ─ their share, their proof ─► Verified
//! ```
//!
//! A joiner proves itself to one member at a time, and stops at the first who turns out not to know
//! the code: whoever plays members learns one guess from one attempt to join, not nine.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use ahoy_sealing::{
    Channel, Context, Fingerprint, Guesses, Handshake, MessageKind, OpenError, Outcome, Refusal,
    Role, SecretKind, Secrets, Step, Verdict, message_kind, refusal, share_epoch,
};
use rand::rngs::StdRng;

use crate::view::ParticipantId;

/// How long a joiner waits for one member before it goes on to the next: some round trips through a
/// slow server.
pub const TURN: Duration = Duration::from_secs(3);

/// Handshakes between the same two, so that nobody is kept busy without end. An honest joiner needs
/// two at most: one with a link's secret that a member does not know yet, one with the words.
pub const MAX_EPOCHS: u32 = 8;

/// Why somebody was not verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// They know another code than we do, or somebody changed a message on the way.
    WrongCode,
    /// They let nobody in with our words any more: too many wrong ones were tried.
    CodeRetired,
    /// What came through the server makes no sense between honest sides.
    NotVerified,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this to them through the server.
    Send(ParticipantId, Vec<u8>),
    /// They know the code, and this is their certificate.
    Verified(ParticipantId, Fingerprint),
    /// They said this, sealed.
    Message(ParticipantId, Vec<u8>),
    /// A joiner did not know the code; it may be tried so many more times.
    WrongGuess(ParticipantId, u8),
    /// Nobody gets in with these words any more.
    CodeRetired,
    /// Nothing will come of this participant.
    Failed(ParticipantId, Problem),
    /// A sealed message from them, or from us to them as they say, was changed on the way. Not
    /// authenticated: no reason to end a connection that stands.
    Tampered(ParticipantId),
}

enum Pair {
    /// A member whose turn has not come.
    Queued {
        epoch: u32,
    },
    Proving(Box<Handshake>),
    Verified(Box<Channel>),
    Failed,
}

/// All handshakes and channels of one call.
pub struct Verification {
    room: u32,
    own: ParticipantId,
    fingerprint: Fingerprint,
    secrets: Secrets,
    guesses: Guesses,
    pairs: BTreeMap<ParticipantId, Pair>,
    queue: VecDeque<ParticipantId>,
    turn: Option<(ParticipantId, Instant)>,
    random: StdRng,
}

impl Verification {
    /// For the participant `own` of `room`, whose certificate is `fingerprint`. With several
    /// `secrets`, we join by the link's.
    pub fn new(
        room: u32,
        own: ParticipantId,
        fingerprint: Fingerprint,
        secrets: Secrets,
        random: StdRng,
    ) -> Self {
        Self {
            room,
            own,
            fingerprint,
            secrets,
            guesses: Guesses::default(),
            pairs: BTreeMap::new(),
            queue: VecDeque::new(),
            turn: None,
            random,
        }
    }

    /// Somebody is in the room: before us if their number is lower.
    pub fn participant_joined(&mut self, id: ParticipantId, now: Instant) -> Vec<Output> {
        if self.pairs.contains_key(&id) || id == self.own {
            return Vec::new();
        }
        if id < self.own {
            self.pairs.insert(id, Pair::Queued { epoch: 1 });
            self.queue.push_back(id);
            return self.next_turn(now);
        }
        let pair = self.admit(id, 1);
        self.pairs.insert(id, pair);
        Vec::new()
    }

    /// Somebody is gone.
    pub fn participant_left(&mut self, id: ParticipantId, now: Instant) -> Vec<Output> {
        let mut outputs = self.give_up_turn(id);
        self.pairs.remove(&id);
        self.queue.retain(|queued| *queued != id);
        outputs.extend(self.next_turn(now));
        outputs
    }

    /// Bytes came from a participant through the server.
    pub fn receive(&mut self, id: ParticipantId, bytes: &[u8], now: Instant) -> Vec<Output> {
        let kind = message_kind(bytes);
        let outputs = match self.pairs.get_mut(&id) {
            None | Some(Pair::Failed) => Vec::new(),
            Some(Pair::Verified(channel)) => match kind {
                MessageKind::Sealed => opened(id, channel.open(bytes)),
                // They could not open what we sealed.
                MessageKind::Handshake if bytes == refusal(Refusal::Failed) => {
                    vec![Output::Tampered(id)]
                }
                // An echo of the handshake; nothing that could come of it is wanted.
                MessageKind::Share | MessageKind::Handshake => Vec::new(),
            },
            Some(Pair::Queued { .. } | Pair::Proving(_)) if kind == MessageKind::Sealed => {
                let mut outputs = self.give_up_turn(id);
                outputs.extend(self.fail(id, Problem::NotVerified));
                outputs
            }
            // An answer to a run that was given up.
            Some(Pair::Queued { .. }) => Vec::new(),
            Some(Pair::Proving(handshake)) => {
                let epoch = handshake.context().epoch;
                match share_epoch(bytes) {
                    Some(theirs) if theirs < epoch => Vec::new(),
                    Some(theirs) if theirs > epoch && id > self.own && theirs <= MAX_EPOCHS => {
                        let pair = self.admit(id, theirs);
                        self.pairs.insert(id, pair);
                        self.prove(id, bytes)
                    }
                    _ => self.prove(id, bytes),
                }
            }
        };
        self.and_next_turn(outputs, now)
    }

    /// Seals something for a participant; `None` unless they were verified, or when it is too long.
    pub fn seal(&mut self, id: ParticipantId, plaintext: &[u8]) -> Option<Vec<u8>> {
        match self.pairs.get_mut(&id) {
            Some(Pair::Verified(channel)) => channel.seal(plaintext).ok(),
            _ => None,
        }
    }

    /// Looks whether a member is silent for too long.
    pub fn tick(&mut self, now: Instant) -> Vec<Output> {
        let Some((id, since)) = self.turn else {
            return Vec::new();
        };
        if now.saturating_duration_since(since) < TURN {
            return Vec::new();
        }
        let mut outputs = self.give_up_turn(id);
        if let Some(Pair::Proving(handshake)) = self.pairs.get(&id) {
            let epoch = handshake.context().epoch.saturating_add(1);
            if handshake.exposed().is_some() || epoch > MAX_EPOCHS {
                outputs.extend(self.fail(id, Problem::NotVerified));
            } else {
                // It may only be slow: the others first, then again.
                self.pairs.insert(id, Pair::Queued { epoch });
                self.queue.push_back(id);
            }
        }
        self.and_next_turn(outputs, now)
    }

    /// Whether the words let nobody in any more.
    pub fn retired(&self) -> bool {
        self.guesses.retired()
    }

    /// Somebody inside has seen the last wrong guess.
    pub fn retire(&mut self) {
        self.guesses.retire();
    }

    /// From now on these let in. `renewed` when the words are new ones: the count begins again.
    pub fn set_secrets(&mut self, secrets: Secrets, renewed: bool) {
        self.secrets = secrets;
        if renewed {
            self.guesses.renew();
        }
        // Who has not begun yet gets the new ones; who has goes on with those it began with.
        let waiting: Vec<(ParticipantId, u32)> = self
            .pairs
            .iter()
            .filter_map(|(id, pair)| match pair {
                Pair::Proving(handshake) if *id > self.own && handshake.awaits_share() => {
                    Some((*id, handshake.context().epoch))
                }
                _ => None,
            })
            .collect();
        for (id, epoch) in waiting {
            let pair = self.admit(id, epoch);
            self.pairs.insert(id, pair);
        }
    }

    fn context(&self, other: ParticipantId, epoch: u32) -> Context {
        Context {
            role: if other < self.own {
                Role::Joiner
            } else {
                Role::Member
            },
            room: self.room,
            own: self.own,
            other,
            epoch,
        }
    }

    fn admit(&self, id: ParticipantId, epoch: u32) -> Pair {
        let mut secrets = self.secrets.clone();
        if !self.guesses.allows(SecretKind::Words) {
            secrets.words = None;
        }
        let context = self.context(id, epoch);
        Pair::Proving(Box::new(Handshake::admit(
            context,
            self.fingerprint,
            secrets,
        )))
    }

    /// Begins with the next member if none is under way.
    fn next_turn(&mut self, now: Instant) -> Vec<Output> {
        let mut outputs = Vec::new();
        while self.turn.is_none()
            && let Some(id) = self.queue.pop_front()
        {
            let Some(Pair::Queued { epoch }) = self.pairs.get(&id) else {
                continue;
            };
            let context = self.context(id, *epoch);
            // A second run is by the words: the first was refused, or not answered.
            let link = self.secrets.link.as_ref().filter(|_| context.epoch == 1);
            // Enough members have had a guess at them.
            let words = self.secrets.words.as_ref();
            let words = words.filter(|_| !self.guesses.retired());
            let begun = link
                .or(words)
                .map(|secret| Handshake::join(context, self.fingerprint, secret, &mut self.random));
            match begun {
                Some(Ok((handshake, share))) => {
                    self.pairs.insert(id, Pair::Proving(Box::new(handshake)));
                    self.turn = Some((id, now));
                    outputs.push(Output::Send(id, share));
                }
                Some(Err(_)) | None => outputs.extend(self.fail(id, Problem::NotVerified)),
            }
        }
        outputs
    }

    fn and_next_turn(&mut self, mut outputs: Vec<Output>, now: Instant) -> Vec<Output> {
        outputs.extend(self.next_turn(now));
        outputs
    }

    /// The turn of `id` is over. If our proof is out and no answer came, that was a chance to test
    /// a guess.
    fn give_up_turn(&mut self, id: ParticipantId) -> Vec<Output> {
        if self.turn.is_some_and(|(current, _)| current == id) {
            self.turn = None;
        }
        let exposed = match self.pairs.get(&id) {
            Some(Pair::Proving(handshake)) => handshake.exposed(),
            _ => None,
        };
        self.count_exposed(exposed)
    }

    fn count_exposed(&mut self, exposed: Option<SecretKind>) -> Vec<Output> {
        exposed.map_or_else(Vec::new, |kind| self.count(kind).1)
    }

    fn prove(&mut self, id: ParticipantId, bytes: &[u8]) -> Vec<Output> {
        let Some(Pair::Proving(handshake)) = self.pairs.get_mut(&id) else {
            return Vec::new();
        };
        let epoch = handshake.context().epoch;
        let exposed = handshake.exposed();
        let Step { send, outcome } = handshake.receive(bytes, &mut self.random);
        let sent = send.map(|bytes| Output::Send(id, bytes));
        let Some(outcome) = outcome else {
            return sent.into_iter().collect();
        };
        if self.turn.is_some_and(|(current, _)| current == id) {
            self.turn = None;
        }
        // Whoever has our proof and answers with no proof of theirs has had a guess.
        let guessed = match outcome {
            Outcome::Refused(_) | Outcome::Failed(_) => self.count_exposed(exposed),
            Outcome::Verified { .. } | Outcome::WrongCode(_) => Vec::new(),
        };
        let mut outputs: Vec<Output> = sent.into_iter().collect();
        match outcome {
            Outcome::Verified {
                channel,
                remote_fingerprint,
            } => {
                self.pairs.insert(id, Pair::Verified(channel));
                outputs.push(Output::Verified(id, remote_fingerprint));
            }
            Outcome::WrongCode(kind) => {
                let (left, retired) = self.count(kind);
                if id > self.own {
                    outputs.push(Output::WrongGuess(id, left));
                }
                outputs.extend(self.fail(id, Problem::WrongCode));
                outputs.extend(retired);
            }
            Outcome::Refused(Refusal::UnknownSecret) if id > self.own => {
                if self.retired() {
                    outputs = vec![Output::Send(id, refusal(Refusal::CodeRetired))];
                }
                // They may come again with the words, or when there are new ones.
                let pair = self.admit(id, epoch);
                self.pairs.insert(id, pair);
            }
            Outcome::Refused(Refusal::UnknownSecret)
                if epoch == 1 && self.secrets.link.is_some() =>
            {
                self.pairs.insert(id, Pair::Queued { epoch: 2 });
                self.queue.push_front(id);
            }
            Outcome::Refused(Refusal::CodeRetired) => {
                outputs.extend(self.fail(id, Problem::CodeRetired));
            }
            Outcome::Refused(_) => outputs.extend(self.fail(id, Problem::NotVerified)),
            Outcome::Failed(failure) => {
                tracing::warn!(%failure, "a participant was not verified");
                outputs.push(Output::Send(id, refusal(Refusal::Failed)));
                outputs.extend(self.fail(id, Problem::NotVerified));
            }
        }
        outputs.extend(guessed);
        outputs
    }

    fn fail(&mut self, id: ParticipantId, problem: Problem) -> Vec<Output> {
        if self.turn.is_some_and(|(current, _)| current == id) {
            self.turn = None;
        }
        self.pairs.insert(id, Pair::Failed);
        vec![Output::Failed(id, problem)]
    }

    /// Counts a wrong guess: how many are left, and what follows from the last one.
    fn count(&mut self, kind: SecretKind) -> (u8, Vec<Output>) {
        let already = self.retired();
        match self.guesses.wrong(kind) {
            Verdict::Counted { left } => (left, Vec::new()),
            Verdict::Retired if already => (0, Vec::new()),
            Verdict::Retired => {
                // Nobody who has not begun gets in with them any more.
                self.set_secrets(self.secrets.clone(), false);
                (0, vec![Output::CodeRetired])
            }
        }
    }
}

fn opened(id: ParticipantId, opened: Result<Vec<Vec<u8>>, OpenError>) -> Vec<Output> {
    match opened {
        Ok(texts) => texts
            .into_iter()
            .map(|text| Output::Message(id, text))
            .collect(),
        Err(error) => {
            tracing::warn!(%error, "a sealed message");
            vec![
                Output::Send(id, refusal(Refusal::Failed)),
                Output::Tampered(id),
            ]
        }
    }
}

#[cfg(test)]
mod tests;
