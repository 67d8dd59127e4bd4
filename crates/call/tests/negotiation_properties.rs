//! Two negotiations over a channel that loses nothing and keeps order, interleaved in every way
//! that chance finds: they always come to rest, agree, and never ask for anything illegal.

use std::collections::VecDeque;

use ahoy_call::negotiation::{
    Action, Candidate, Completion, Description, DescriptionKind, MAX_CANDIDATES, Negotiation, Role,
    SignalingState,
};
use proptest::prelude::*;

/// What travels between the two.
#[derive(Debug, Clone)]
enum Message {
    Description(Description),
    Candidate(Candidate),
}

/// A side with a transport that only knows the rules of webrtc-pc section 4.3.1.
struct Side {
    name: &'static str,
    negotiation: Negotiation,
    actions: VecDeque<Action>,
    inbox: VecDeque<Message>,
    state: SignalingState,
    local: Option<Description>,
    remote: Option<Description>,
    made: u32,
    fail_next: bool,
    /// Needs that no completed exchange has covered: the offer (by number) that will.
    unmet: bool,
    holds_back: bool,
    reports: usize,
}

impl Side {
    fn new(name: &'static str, role: Role) -> Self {
        Self {
            name,
            negotiation: Negotiation::new(role),
            actions: VecDeque::new(),
            inbox: VecDeque::new(),
            state: SignalingState::Stable,
            local: None,
            remote: None,
            made: 0,
            fail_next: false,
            unmet: false,
            holds_back: !role.offers_first,
            reports: 0,
        }
    }

    fn need(&mut self) {
        self.unmet = true;
        self.actions.extend(self.negotiation.negotiation_needed());
    }

    fn receive(&mut self) -> bool {
        let Some(message) = self.inbox.pop_front() else {
            return false;
        };
        let actions = match message {
            Message::Description(description) => self.negotiation.remote_description(description),
            Message::Candidate(candidate) => self.negotiation.remote_candidate(candidate),
        };
        self.actions.extend(actions);
        true
    }

    /// Performs one action; what it sends goes to `outbox`.
    fn perform(&mut self, outbox: &mut VecDeque<Message>) -> bool {
        let Some(action) = self.actions.pop_front() else {
            return false;
        };
        if let Some(completion) = self.outcome(action, outbox) {
            self.actions.extend(self.negotiation.completed(completion));
        }
        true
    }

    fn outcome(&mut self, action: Action, outbox: &mut VecDeque<Message>) -> Option<Completion> {
        Some(match action {
            Action::CreateOffer => {
                assert_eq!(self.state, SignalingState::Stable, "{}", self.name);
                self.unmet = false;
                Completion::OfferCreated(Ok(self.make(DescriptionKind::Offer, "")))
            }
            Action::CreateAnswer => {
                assert_eq!(self.state, SignalingState::HaveRemoteOffer, "{}", self.name);
                let offer = self.remote.clone().expect("there is an offer").sdp;
                Completion::AnswerCreated(Ok(self.make(DescriptionKind::Answer, &offer)))
            }
            Action::SetLocal(description) => {
                self.set_local(&description);
                // Candidates are found as soon as a description is applied.
                outbox.push_back(Message::Candidate(candidate(&description.sdp)));
                Completion::LocalSet(Ok(()))
            }
            Action::SetRemote(description) => {
                if std::mem::take(&mut self.fail_next) {
                    return Some(Completion::RemoteSet(Err("malformed".to_owned())));
                }
                self.set_remote(description);
                Completion::RemoteSet(Ok(()))
            }
            Action::RollBack => {
                assert_ne!(self.state, SignalingState::Stable, "{}", self.name);
                if self.state == SignalingState::HaveLocalOffer {
                    self.unmet = true;
                    self.local = None;
                }
                self.state = SignalingState::Stable;
                Completion::RolledBack(Ok(()))
            }
            Action::AddCandidate(_) => {
                assert!(self.remote.is_some(), "{}", self.name);
                return None;
            }
            Action::Send(description) => {
                outbox.push_back(Message::Description(description));
                return None;
            }
            Action::Report(_) => {
                self.reports += 1;
                return None;
            }
        })
    }

    fn make(&mut self, kind: DescriptionKind, answers: &str) -> Description {
        self.made += 1;
        Description {
            kind,
            sdp: format!("{}{}>{answers}", self.name, self.made),
        }
    }

    fn set_local(&mut self, description: &Description) {
        match description.kind {
            DescriptionKind::Offer => {
                assert_eq!(self.state, SignalingState::Stable, "{}", self.name);
                self.state = SignalingState::HaveLocalOffer;
            }
            DescriptionKind::Answer => {
                assert_eq!(self.state, SignalingState::HaveRemoteOffer, "{}", self.name);
                self.state = SignalingState::Stable;
                if std::mem::take(&mut self.holds_back) {
                    self.unmet = false;
                }
            }
        }
        self.local = Some(description.clone());
    }

    fn set_remote(&mut self, description: Description) {
        match description.kind {
            DescriptionKind::Offer => {
                assert_eq!(self.state, SignalingState::Stable, "{}", self.name);
                self.state = SignalingState::HaveRemoteOffer;
            }
            DescriptionKind::Answer => {
                assert_eq!(self.state, SignalingState::HaveLocalOffer, "{}", self.name);
                let ours = self.local.clone().expect("there is an offer").sdp;
                assert!(
                    description.sdp.ends_with(&format!(">{ours}")),
                    "answers another offer"
                );
                self.state = SignalingState::Stable;
                self.holds_back = false;
            }
        }
        self.remote = Some(description);
    }
}

fn candidate(of: &str) -> Candidate {
    Candidate {
        candidate: format!("candidate:{of}"),
        sdp_mid: None,
        sdp_m_line_index: Some(0),
        username_fragment: None,
    }
}

/// Everything that can happen, in turns, until nothing can.
fn settle(a: &mut Side, b: &mut Side) {
    for _ in 0..10_000 {
        let mut moved = a.perform(&mut b.inbox);
        moved |= b.perform(&mut a.inbox);
        moved |= a.receive();
        moved |= b.receive();
        if !moved {
            return;
        }
    }
    panic!("never comes to rest");
}

fn sides(a_first: bool, b_first: bool) -> (Side, Side) {
    let role = |polite, offers_first| Role {
        polite,
        offers_first,
    };
    (
        Side::new("a", role(false, a_first)),
        Side::new("b", role(true, b_first)),
    )
}

fn assert_at_rest(side: &Side) {
    assert_eq!(
        side.negotiation.state(),
        SignalingState::Stable,
        "{}",
        side.name
    );
    assert_eq!(side.state, SignalingState::Stable, "{}", side.name);
    assert!(
        side.negotiation.is_idle(),
        "{}: {:?}",
        side.name,
        side.negotiation
    );
    assert!(
        !side.unmet,
        "{} was not heard: {:?}",
        side.name, side.negotiation
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// Needs at any moment on both sides, messages and operations interleaved at will.
    #[test]
    fn two_peers_always_end_in_stable(
        first in 1_u8..4,
        steps in proptest::collection::vec(0_u8..12, 0..120),
    ) {
        let (mut a, mut b) = sides(first & 1 != 0, first & 2 != 0);
        a.need();
        b.need();
        for step in steps {
            match step {
                0 => a.need(),
                1 => b.need(),
                2..=4 => { a.receive(); }
                5..=7 => { b.receive(); }
                8 | 9 => { a.perform(&mut b.inbox); }
                _ => { b.perform(&mut a.inbox); }
            }
        }
        settle(&mut a, &mut b);
        assert_at_rest(&a);
        assert_at_rest(&b);
        prop_assert_eq!((a.reports, b.reports), (0, 0));
        // Both hold the same exchange.
        prop_assert_eq!(a.local.map(|d| d.sdp), b.remote.map(|d| d.sdp));
        prop_assert_eq!(b.local.map(|d| d.sdp), a.remote.map(|d| d.sdp));
    }

    /// Descriptions that cannot be applied: each side still comes to rest, and a later exchange
    /// works.
    #[test]
    fn failures_do_not_lock_up(steps in proptest::collection::vec(0_u8..12, 0..120)) {
        let (mut a, mut b) = sides(true, true);
        a.need();
        b.need();
        for step in steps {
            match step {
                0 => a.need(),
                1 => b.need(),
                2 => a.fail_next = true,
                3 => b.fail_next = true,
                4 | 5 => { a.receive(); }
                6 | 7 => { b.receive(); }
                8 | 9 => { a.perform(&mut b.inbox); }
                _ => { b.perform(&mut a.inbox); }
            }
        }
        settle(&mut a, &mut b);
        prop_assert!(a.actions.is_empty() && b.actions.is_empty());
        // An offer that was refused leaves its sender waiting: nothing in the protocol tells it.
        // The side that refused can still begin again.
        for side in [&a, &b] {
            prop_assert_ne!(side.state, SignalingState::HaveRemoteOffer);
        }
    }

    /// Whatever a stranger sends in whatever order: no panic, bounded memory.
    #[test]
    fn nonsense_from_outside_is_survived(
        polite: bool,
        messages in proptest::collection::vec((0_u8..4, 0_u8..3), 0..400),
    ) {
        let mut side = Side::new("x", Role { polite, offers_first: true });
        let mut outbox = VecDeque::new();
        for (message, performed) in messages {
            match message {
                0 => side.inbox.push_back(Message::Description(Description {
                    kind: DescriptionKind::Offer,
                    sdp: "o".to_owned(),
                })),
                1 => side.inbox.push_back(Message::Candidate(candidate("c"))),
                2 => side.need(),
                _ => {}
            }
            side.receive();
            for _ in 0..performed {
                side.perform(&mut outbox);
            }
        }
    }
}

#[test]
fn the_polite_side_yields() {
    let (mut a, mut b) = sides(true, true);
    a.need();
    b.need();
    for _ in 0..4 {
        a.perform(&mut b.inbox);
        b.perform(&mut a.inbox);
    }
    assert_eq!(a.negotiation.state(), SignalingState::HaveLocalOffer);
    assert_eq!(b.negotiation.state(), SignalingState::HaveLocalOffer);
    settle(&mut a, &mut b);
    assert_at_rest(&a);
    assert_at_rest(&b);
    assert!(b.made > 1, "its own need came up again after the collision");
}

#[test]
fn who_holds_back_does_not_collide() {
    let (mut a, mut b) = sides(false, true);
    a.need();
    b.need();
    settle(&mut a, &mut b);
    assert_at_rest(&a);
    assert_eq!((a.made, b.made), (1, 1), "one offer, one answer");
    a.need();
    settle(&mut a, &mut b);
    assert_eq!((a.made, b.made), (2, 2), "afterwards it may offer");
}

#[test]
fn candidates_are_taken_in_bounded_numbers() {
    let (mut a, _) = sides(true, true);
    for index in 0..MAX_CANDIDATES + 40 {
        let actions = a
            .negotiation
            .remote_candidate(candidate(&index.to_string()));
        assert!(actions.is_empty());
    }
    let mut nobody = VecDeque::new();
    a.inbox.push_back(Message::Description(Description {
        kind: DescriptionKind::Offer,
        sdp: "b1>".to_owned(),
    }));
    a.receive();
    a.perform(&mut nobody);
    let added = |action: &&Action| matches!(action, Action::AddCandidate(_));
    assert_eq!(a.actions.iter().filter(added).count(), MAX_CANDIDATES);
    assert_eq!(a.actions[0], Action::AddCandidate(candidate("0")));
    // Ten thousand more for the same description, then some for a new one.
    while !a.actions.is_empty() {
        a.perform(&mut nobody);
    }
    for index in 0..10_000 {
        let more = candidate(&index.to_string());
        assert_eq!(a.negotiation.remote_candidate(more), []);
    }
    a.inbox.push_back(Message::Description(Description {
        kind: DescriptionKind::Offer,
        sdp: "b2>".to_owned(),
    }));
    a.receive();
    a.perform(&mut nobody);
    while !a.actions.is_empty() {
        a.perform(&mut nobody);
    }
    let restarted = candidate("b2");
    assert_eq!(
        a.negotiation.remote_candidate(restarted.clone()),
        [Action::AddCandidate(restarted)]
    );
}

#[test]
fn candidates_of_an_ignored_offer_are_dropped_and_later_ones_are_not() {
    let (mut a, mut b) = sides(true, true);
    a.need();
    for _ in 0..3 {
        a.perform(&mut b.inbox);
    }
    a.inbox.clear();
    let offer = Description {
        kind: DescriptionKind::Offer,
        sdp: "b9>".to_owned(),
    };
    assert!(a.negotiation.remote_description(offer).is_empty());
    assert!(a.negotiation.remote_candidate(candidate("b9")).is_empty());
    let answer = Description {
        kind: DescriptionKind::Answer,
        sdp: "b1>a1>".to_owned(),
    };
    a.actions.extend(a.negotiation.remote_description(answer));
    a.actions
        .extend(a.negotiation.remote_candidate(candidate("b1")));
    settle(&mut a, &mut b);
    assert_at_rest(&a);
}
