//! The engine's part in verification: carries out what [`Verification`] puts out, and keeps the code
//! that all inside share.

use std::time::Instant;

use ahoy_sealing::Fingerprint;
use ahoy_signaling::invite::Invite;
use ahoy_signaling::room_code::RoomCode;

use super::state::{EngineTask, Input};
use crate::negotiation::Role;
use crate::participant::Participant;
use crate::sealed_message::SealedMessage;
use crate::session::Departure;
use crate::shared_code::SharedCode;
use crate::status::PeerMessage;
use crate::verification::{Output, Problem};
use crate::view::{CallEvent, EndReason, InviteView, ParticipantId};

/// Whoever joined later yields when offers collide, and makes the first one.
const OFFERS: Role = Role {
    polite: true,
    offers_first: true,
};
const ANSWERS: Role = Role {
    polite: false,
    offers_first: false,
};

impl EngineTask {
    /// Bytes of a participant came through the server.
    pub(super) async fn signal(&mut self, from: ParticipantId, bytes: &[u8]) {
        if let Some(verification) = &mut self.verification {
            let outputs = verification.receive(from, bytes, Instant::now());
            self.verify(outputs).await;
        }
    }

    /// Carries out what verification puts out.
    pub(super) async fn verify(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Send(to, bytes) => {
                    if let Some(link) = &self.link {
                        link.send_signal(to, &bytes).await;
                    }
                }
                Output::Verified(id, fingerprint) => self.verified(id, fingerprint),
                Output::Message(id, text) => self.sealed_message(id, &text),
                Output::WrongGuess(_, left) => self.emit(CallEvent::WrongCode { left }),
                Output::CodeRetired => {
                    if let Some(code) = self.code {
                        self.tell_everybody(&code.retired());
                    }
                }
                Output::Failed(id, problem) => self.not_verified(id, problem),
                Output::Tampered(id) => {
                    // A connection that stands needs nothing from the server.
                    let connected = self.participants.get(&id).is_some_and(Participant::heard);
                    if !connected {
                        self.not_verified(id, Problem::NotVerified);
                    }
                }
            }
        }
    }

    /// Seals a message and sends it through the server.
    pub(super) async fn send_sealed(&mut self, to: ParticipantId, message: &SealedMessage) {
        let sealed = self
            .verification
            .as_mut()
            .and_then(|verification| verification.seal(to, message.to_json().as_bytes()));
        match (&self.link, sealed) {
            (Some(link), Some(frame)) => link.send_signal(to, &frame).await,
            (_, None) => tracing::warn!("a message to a participant could not be sealed"),
            (None, Some(_)) => {}
        }
    }

    /// Whoever knows the code is in the call.
    fn verified(&mut self, id: ParticipantId, fingerprint: Fingerprint) {
        if !self.session.has(id) {
            return;
        }
        let joined_later = self.own_id.is_some_and(|own| own > id);
        let role = if joined_later { OFFERS } else { ANSWERS };
        self.transport.ice_servers = self.ice_servers.all();
        let (inputs, seat) = (self.inputs.clone(), self.seats);
        let participant = Participant::start(
            role,
            Some(fingerprint),
            self.transport.clone(),
            &self.local,
            move |output| {
                let inputs = inputs.clone();
                async move {
                    let _ = inputs.send(Input::Participant(seat, id, output)).await;
                }
            },
        );
        self.participants.insert(id, participant);
        self.emit(CallEvent::ParticipantJoined { id });
    }

    fn sealed_message(&self, id: ParticipantId, text: &[u8]) {
        let Some(participant) = self.participants.get(&id) else {
            return;
        };
        match SealedMessage::parse(text) {
            Ok(SealedMessage::Description { description }) => {
                participant.remote_description(description);
            }
            Ok(SealedMessage::Candidate {
                candidate: Some(candidate),
            }) => participant.remote_candidate(candidate),
            Ok(SealedMessage::Candidate { candidate: None } | SealedMessage::Unknown) => {}
            Err(error) => tracing::debug!(%error, "a participant's message"),
        }
    }

    /// Nothing will come of this participant. With nobody else there, that is the end for whoever
    /// wanted to join; those inside stay.
    pub(super) fn not_verified(&mut self, id: ParticipantId, problem: Problem) {
        if !self.session.has(id) {
            return;
        }
        let joins = self.own_id.is_some_and(|own| own > id);
        let met = self.session.connected_since().is_some();
        if self.participants.contains_key(&id) {
            self.participant_left(id, Departure::Lost);
        } else {
            self.session.participant_left(id, Departure::Lost);
        }
        if joins && !met && self.participants.is_empty() {
            self.session.end(match problem {
                Problem::WrongCode => EndReason::WrongCode,
                Problem::CodeRetired => EndReason::CodeRetired,
                Problem::NotVerified => EndReason::NotVerified,
            });
        } else if joins || problem == Problem::NotVerified {
            self.emit(CallEvent::NotVerified);
        }
    }

    /// New words for the same room.
    pub(super) fn renew_code(&mut self) {
        if let Some(code) = self.code.filter(|_| self.invite.is_some()) {
            self.use_code(code.renewed());
            self.tell_code();
        }
    }

    /// Somebody inside told the code that they know.
    pub(super) fn told_code(&mut self, generation: u32, words: &str, link: &str) {
        let told = self
            .code
            .and_then(|code| code.told(generation, words, link));
        if let Some(code) = told {
            self.use_code(code);
        }
    }

    /// Somebody inside has seen the last wrong guess.
    pub(super) fn told_retired(&mut self, generation: u32) {
        let ours = self.code.is_some_and(|code| code.is(generation));
        if let Some(verification) = self.verification.as_mut().filter(|_| ours) {
            verification.retire();
        }
    }

    /// What everybody inside should know of the code.
    fn tell_code(&self) {
        if let Some(message) = self.code.and_then(|code| code.message()) {
            self.tell_everybody(&message);
        }
    }

    fn tell_everybody(&self, message: &PeerMessage) {
        for participant in self.participants.values() {
            participant.send_message(message);
        }
    }

    fn use_code(&mut self, code: SharedCode) {
        let renewed = self
            .code
            .replace(code)
            .is_none_or(|old| old.words() != code.words());
        if let Some(verification) = &mut self.verification {
            verification.set_secrets(code.secrets(), renewed);
        }
        self.show_invite();
        if renewed {
            self.emit(CallEvent::CodeRenewed);
        }
    }

    /// Puts the code into the invitation that is shown.
    pub(super) fn show_invite(&mut self) {
        let (Some(code), Some(room)) = (self.code, &self.room) else {
            return;
        };
        let invite = Invite {
            server: Some(room.server.clone()),
            code: RoomCode {
                number: room.number,
                words: code.words(),
            },
            secret: code.link(),
        };
        self.invite = Some(InviteView {
            link: invite.link().unwrap_or_default(),
            code: invite.code.to_string(),
            reach: room.reach,
            instead_of: room.instead_of.clone(),
        });
    }
}
