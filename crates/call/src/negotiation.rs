//! Perfect negotiation (W3C webrtc-pc section 10.7) as a pure machine.
//!
//! Both sides may want to renegotiate at any time. When their offers cross (*glare*), the impolite
//! side ignores the offer that reaches it and the polite side takes its own back. The machine is
//! told what happened and answers with [`Action`]s; whoever performs them reports the outcome of
//! each as a [`Completion`]. It knows neither a network nor a clock.
//!
//! ```text
//!            CreateOffer, SetLocal(offer), Send            SetRemote(answer)
//!   Stable ────────────────────────────────▶ HaveLocalOffer ───────────────▶ Stable
//!     │  ▲                                        │
//!     │  └──────────────── RollBack ──────────────┘   (polite, on a colliding offer)
//!     │ SetRemote(offer)                  CreateAnswer, SetLocal(answer), Send
//!     └─────────────────▶ HaveRemoteOffer ─────────────────────────────────▶ Stable
//! ```

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Remote candidates taken for one remote description, before and after it. A computer with many
/// interfaces and relays offers about twenty; more is waste or malice, and each would be sent checks.
/// Those beyond are dropped.
pub const MAX_CANDIDATES: usize = 64;

/// Remote messages that wait while an operation is under way. In a correct exchange at most an
/// answer, an offer and their candidates wait. When full, the newest is dropped.
pub const MAX_WAITING: usize = 128;

/// `RTCSdpType` without the provisional kinds, which Ahoy never sends (webrtc-pc section 4.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DescriptionKind {
    /// Proposes a session.
    Offer,
    /// Accepts one.
    Answer,
}

/// `RTCSessionDescriptionInit` (webrtc-pc section 4.6.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Offer or answer.
    #[serde(rename = "type")]
    pub kind: DescriptionKind,
    /// The SDP text (RFC 8866).
    pub sdp: String,
}

/// `RTCIceCandidateInit` (webrtc-pc section 4.8.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// The `candidate-attribute` of RFC 8839 section 5.1; empty for the end of candidates.
    pub candidate: String,
    /// Media section by its identification tag.
    pub sdp_mid: Option<String>,
    /// Media section by its index.
    #[serde(rename = "sdpMLineIndex")]
    pub sdp_m_line_index: Option<u16>,
    /// Which ICE generation it belongs to.
    pub username_fragment: Option<String>,
}

/// `RTCSignalingState` as far as it occurs here (webrtc-pc section 4.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalingState {
    /// No exchange under way.
    Stable,
    /// Our offer waits for its answer.
    HaveLocalOffer,
    /// Their offer waits for our answer.
    HaveRemoteOffer,
}

/// Which side this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Role {
    /// Yields when offers collide. Exactly one side is polite: in Ahoy the one that joined later.
    pub polite: bool,
    /// Makes the first offer. The other side keeps its first need to itself until then, so that
    /// two peers that meet do not begin with a collision. At least one side must.
    pub offers_first: bool,
}

/// What is to be done. Actions are performed one after the other, in the order they were given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Make an offer; report [`Completion::OfferCreated`].
    CreateOffer,
    /// Make an answer; report [`Completion::AnswerCreated`].
    CreateAnswer,
    /// Apply our description; report [`Completion::LocalSet`].
    SetLocal(Description),
    /// Apply theirs; report [`Completion::RemoteSet`]. A failure must leave the transport as it
    /// was, or in the state that [`Action::RollBack`] repairs.
    SetRemote(Description),
    /// Take back whichever offer is pending; report [`Completion::RolledBack`].
    RollBack,
    /// Give a remote candidate to the transport. Nothing is reported.
    AddCandidate(Candidate),
    /// Send our description to the other side. Nothing is reported.
    Send(Description),
    /// Something failed and was abandoned; for the log.
    Report(Failure),
}

/// The outcome of an [`Action`]; a failure carries the reason for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Completion {
    /// Of [`Action::CreateOffer`].
    OfferCreated(Result<Description, String>),
    /// Of [`Action::CreateAnswer`].
    AnswerCreated(Result<Description, String>),
    /// Of [`Action::SetLocal`].
    LocalSet(Result<(), String>),
    /// Of [`Action::SetRemote`].
    RemoteSet(Result<(), String>),
    /// Of [`Action::RollBack`].
    RolledBack(Result<(), String>),
}

/// A step that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{step} failed: {reason}")]
pub struct Failure {
    /// Which step.
    pub step: &'static str,
    /// Why.
    pub reason: String,
}

/// The state of one negotiation. See the module's description.
#[derive(Debug)]
pub struct Negotiation {
    role: Role,
    state: SignalingState,
    operation: Option<Operation>,
    negotiation_needed: bool,
    ignore_offer: bool,
    /// The first remote offer is still awaited (see [`Role::offers_first`]).
    holds_back: bool,
    has_remote_description: bool,
    waiting: VecDeque<Remote>,
    early_candidates: VecDeque<Candidate>,
    /// Remote candidates so far, of the last remote description or before the first.
    candidates: usize,
}

/// What is being performed.
#[derive(Debug)]
enum Operation {
    CreatingOffer,
    SettingLocalOffer(Description),
    /// With the colliding offer that takes its place; `None` after a failure.
    RollingBack(Option<Description>),
    SettingRemoteOffer,
    CreatingAnswer,
    SettingLocalAnswer(Description),
    SettingRemoteAnswer,
}

#[derive(Debug)]
enum Remote {
    Description(Description),
    Candidate(Candidate),
}

impl Negotiation {
    /// At rest, before the first exchange.
    pub fn new(role: Role) -> Self {
        Self {
            role,
            state: SignalingState::Stable,
            operation: None,
            negotiation_needed: false,
            ignore_offer: false,
            holds_back: !role.offers_first,
            has_remote_description: false,
            waiting: VecDeque::new(),
            early_candidates: VecDeque::new(),
            candidates: 0,
        }
    }

    /// Where the exchange stands.
    pub fn state(&self) -> SignalingState {
        self.state
    }

    /// Nothing is under way and nothing waits.
    pub fn is_idle(&self) -> bool {
        self.state == SignalingState::Stable
            && self.operation.is_none()
            && self.waiting.is_empty()
            && (!self.negotiation_needed || self.holds_back)
    }

    /// The transport fired `negotiationneeded`, or ICE is to be restarted.
    #[must_use = "actions are to be performed"]
    pub fn negotiation_needed(&mut self) -> Vec<Action> {
        self.negotiation_needed = true;
        self.proceed()
    }

    /// A description came from the other side.
    #[must_use = "actions are to be performed"]
    pub fn remote_description(&mut self, description: Description) -> Vec<Action> {
        let is_offer = description.kind == DescriptionKind::Offer;
        self.ignore_offer = is_offer && !self.role.polite && self.collides();
        if self.ignore_offer {
            return Vec::new();
        }
        self.wait(Remote::Description(description))
    }

    /// A candidate came from the other side. One that belongs to an offer that was ignored is
    /// dropped, as is the mark for the end of candidates.
    #[must_use = "actions are to be performed"]
    pub fn remote_candidate(&mut self, candidate: Candidate) -> Vec<Action> {
        if self.ignore_offer || candidate.candidate.is_empty() {
            return Vec::new();
        }
        self.wait(Remote::Candidate(candidate))
    }

    /// An action was performed. A completion that does not belong to the operation under way is
    /// disregarded.
    #[must_use = "actions are to be performed"]
    pub fn completed(&mut self, completion: Completion) -> Vec<Action> {
        let mut actions = self.finish_operation(completion);
        if self.operation.is_none() {
            actions.extend(self.proceed());
        }
        actions
    }

    /// W3C's `offerCollision` for an offer that arrives now: ours is being made or is pending and
    /// not already being answered.
    fn collides(&self) -> bool {
        let making_offer = matches!(
            self.operation,
            Some(Operation::CreatingOffer | Operation::SettingLocalOffer(_))
        );
        let setting_remote_answer = matches!(self.operation, Some(Operation::SettingRemoteAnswer));
        making_offer || (self.state == SignalingState::HaveLocalOffer && !setting_remote_answer)
    }

    fn wait(&mut self, remote: Remote) -> Vec<Action> {
        if self.waiting.len() < MAX_WAITING {
            self.waiting.push_back(remote);
        }
        self.proceed()
    }

    /// Takes up what waits, then our own need, until an operation is under way.
    fn proceed(&mut self) -> Vec<Action> {
        let mut actions = Vec::new();
        while self.operation.is_none() {
            match self.waiting.pop_front() {
                Some(Remote::Candidate(candidate)) => {
                    actions.extend(self.take_candidate(candidate))
                }
                Some(Remote::Description(description)) => actions.extend(self.take(description)),
                None if self.may_offer() => {
                    self.negotiation_needed = false;
                    actions.push(self.begin(Operation::CreatingOffer, Action::CreateOffer));
                }
                None => break,
            }
        }
        actions
    }

    fn may_offer(&self) -> bool {
        self.negotiation_needed && !self.holds_back && self.state == SignalingState::Stable
    }

    fn begin(&mut self, operation: Operation, action: Action) -> Action {
        self.operation = Some(operation);
        action
    }

    fn take_candidate(&mut self, candidate: Candidate) -> Option<Action> {
        if self.candidates == MAX_CANDIDATES {
            return None;
        }
        self.candidates += 1;
        if self.has_remote_description {
            return Some(Action::AddCandidate(candidate));
        }
        self.early_candidates.push_back(candidate);
        None
    }

    fn take(&mut self, description: Description) -> Option<Action> {
        match (description.kind, self.state) {
            (DescriptionKind::Offer, SignalingState::HaveLocalOffer) => {
                self.negotiation_needed = true;
                Some(self.begin(Operation::RollingBack(Some(description)), Action::RollBack))
            }
            (DescriptionKind::Offer, SignalingState::Stable | SignalingState::HaveRemoteOffer) => {
                Some(self.begin(
                    Operation::SettingRemoteOffer,
                    Action::SetRemote(description),
                ))
            }
            (DescriptionKind::Answer, SignalingState::HaveLocalOffer) => Some(self.begin(
                Operation::SettingRemoteAnswer,
                Action::SetRemote(description),
            )),
            // An answer to an offer that was taken back.
            (DescriptionKind::Answer, SignalingState::Stable | SignalingState::HaveRemoteOffer) => {
                None
            }
        }
    }

    fn finish_operation(&mut self, completion: Completion) -> Vec<Action> {
        match (self.operation.take(), completion) {
            (Some(Operation::CreatingOffer), Completion::OfferCreated(result)) => {
                self.offer_created(result)
            }
            (Some(Operation::SettingLocalOffer(offer)), Completion::LocalSet(result)) => {
                self.local_offer_set(offer, result)
            }
            (Some(Operation::RollingBack(next)), Completion::RolledBack(result)) => {
                self.rolled_back(next, result)
            }
            (Some(Operation::SettingRemoteOffer), Completion::RemoteSet(result)) => {
                self.remote_offer_set(result)
            }
            (Some(Operation::CreatingAnswer), Completion::AnswerCreated(result)) => {
                self.answer_created(result)
            }
            (Some(Operation::SettingLocalAnswer(answer)), Completion::LocalSet(result)) => {
                self.local_answer_set(answer, result)
            }
            (Some(Operation::SettingRemoteAnswer), Completion::RemoteSet(result)) => {
                self.remote_answer_set(result)
            }
            (operation, _) => {
                self.operation = operation;
                Vec::new()
            }
        }
    }

    fn offer_created(&mut self, result: Result<Description, String>) -> Vec<Action> {
        match result {
            // Only the polite side lets an offer wait here: it takes precedence over ours.
            Ok(_) if self.offer_waits() => {
                self.negotiation_needed = true;
                Vec::new()
            }
            Ok(offer) => {
                vec![self.begin(
                    Operation::SettingLocalOffer(offer.clone()),
                    Action::SetLocal(offer),
                )]
            }
            Err(reason) => vec![report("creating an offer", reason)],
        }
    }

    fn local_offer_set(&mut self, offer: Description, result: Result<(), String>) -> Vec<Action> {
        match result {
            Ok(()) => {
                self.state = SignalingState::HaveLocalOffer;
                if self.offer_waits() {
                    Vec::new()
                } else {
                    vec![Action::Send(offer)]
                }
            }
            Err(reason) => vec![report("applying our offer", reason)],
        }
    }

    fn rolled_back(
        &mut self,
        next: Option<Description>,
        result: Result<(), String>,
    ) -> Vec<Action> {
        self.state = SignalingState::Stable;
        let mut actions: Vec<_> = result
            .err()
            .map(|reason| report("taking an offer back", reason))
            .into_iter()
            .collect();
        if let Some(offer) = next {
            actions.push(self.begin(Operation::SettingRemoteOffer, Action::SetRemote(offer)));
        }
        actions
    }

    fn remote_offer_set(&mut self, result: Result<(), String>) -> Vec<Action> {
        match result {
            Ok(()) => {
                self.state = SignalingState::HaveRemoteOffer;
                let mut actions = self.remote_description_set();
                actions.push(self.begin(Operation::CreatingAnswer, Action::CreateAnswer));
                actions
            }
            Err(reason) => vec![report("applying their offer", reason)],
        }
    }

    fn answer_created(&mut self, result: Result<Description, String>) -> Vec<Action> {
        match result {
            Ok(answer) => {
                if self.holds_back {
                    // What we had to say at the start is in this answer. The transport asks
                    // again when something is left (webrtc-pc section 4.7.3).
                    self.holds_back = false;
                    self.negotiation_needed = false;
                }
                vec![self.begin(
                    Operation::SettingLocalAnswer(answer.clone()),
                    Action::SetLocal(answer),
                )]
            }
            Err(reason) => self.give_up("creating an answer", reason),
        }
    }

    fn local_answer_set(&mut self, answer: Description, result: Result<(), String>) -> Vec<Action> {
        match result {
            Ok(()) => {
                self.state = SignalingState::Stable;
                vec![Action::Send(answer)]
            }
            Err(reason) => self.give_up("applying our answer", reason),
        }
    }

    fn remote_answer_set(&mut self, result: Result<(), String>) -> Vec<Action> {
        match result {
            Ok(()) => {
                self.state = SignalingState::Stable;
                self.holds_back = false;
                self.remote_description_set()
            }
            Err(reason) => self.give_up("applying their answer", reason),
        }
    }

    fn give_up(&mut self, step: &'static str, reason: String) -> Vec<Action> {
        vec![
            report(step, reason),
            self.begin(Operation::RollingBack(None), Action::RollBack),
        ]
    }

    fn remote_description_set(&mut self) -> Vec<Action> {
        self.has_remote_description = true;
        self.candidates = self.early_candidates.len();
        self.early_candidates
            .drain(..)
            .map(Action::AddCandidate)
            .collect()
    }

    fn offer_waits(&self) -> bool {
        let is_offer = |remote: &Remote| match remote {
            Remote::Description(description) => description.kind == DescriptionKind::Offer,
            Remote::Candidate(_) => false,
        };
        self.waiting.iter().any(is_offer)
    }
}

fn report(step: &'static str, reason: String) -> Action {
    Action::Report(Failure { step, reason })
}
