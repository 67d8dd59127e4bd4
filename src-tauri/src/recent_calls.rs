//! The calls of the past, for calling again.

use std::collections::BTreeMap;

use ahoy_call::view::{CallState, CallView, ParticipantId, Reach};
use serde::{Deserialize, Serialize};
use specta_typescript::Number;

/// Most calls that are kept; the oldest go.
const KEPT: usize = 50;

/// A call in which at least one other person was reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, specta::Type)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RecentCall {
    /// Names this entry.
    pub(crate) id: String,
    /// `4821-amber-otter`.
    pub(crate) code: String,
    /// The invite link, with which the call can be joined again.
    pub(crate) link: String,
    /// The server, unless it was one embedded in an Ahoy.
    pub(crate) server: Option<String>,
    /// Who was there, in join order; people without a name are left out.
    pub(crate) names: Vec<String>,
    /// When the first connection stood, Unix time in ms.
    #[specta(type = Number)]
    pub(crate) started_at_ms: u64,
    /// From the first connection to the end, in ms.
    #[specta(type = Number)]
    pub(crate) duration_ms: u64,
}

/// Puts `call` in front. An earlier call with the same code gives way: one entry per room.
pub(crate) fn add(calls: &mut Vec<RecentCall>, call: RecentCall) {
    calls.retain(|other| other.code != call.code);
    calls.insert(0, call);
    calls.sort_by_key(|call| std::cmp::Reverse(call.started_at_ms));
    calls.truncate(KEPT);
}

/// Follows the states of the engine and tells when a call is over that is worth remembering.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    code: String,
    link: String,
    server: Option<String>,
    names: BTreeMap<ParticipantId, String>,
    started_at_ms: u64,
}

impl Recorder {
    /// The state of the call at `now_ms`, Unix time. Returns the call that has just ended.
    pub(crate) fn observe(&mut self, view: &CallView, now_ms: u64) -> Option<RecentCall> {
        let over = match view.state {
            CallState::Idle | CallState::Ended { .. } | CallState::Joining => true,
            CallState::Waiting
            | CallState::Connecting
            | CallState::Connected
            | CallState::Reconnecting => !self.is_of(view),
        };
        let ended = if over { self.finish(now_ms) } else { None };
        self.follow(view, now_ms);
        ended
    }

    /// There will be no more states. Returns the call that has ended with them.
    pub(crate) fn finish(&mut self, now_ms: u64) -> Option<RecentCall> {
        let running = self.running.take()?;
        Some(running.into_recent_call(now_ms))
    }

    /// Whether the call that is being followed is the one in `view`. The words may be new ones.
    fn is_of(&self, view: &CallView) -> bool {
        let number = |code: &str| code.split('-').next().map(str::to_owned);
        let shown = view.invite.as_ref().map(|invite| number(&invite.code));
        let running = self.running.as_ref();
        running.map(|running| number(&running.code)) == shown
    }

    fn follow(&mut self, view: &CallView, now_ms: u64) {
        let (CallState::Connected, Some(invite)) = (&view.state, &view.invite) else {
            return;
        };
        let running = self.running.get_or_insert_with(|| Running {
            code: invite.code.clone(),
            link: invite.link.clone(),
            server: (invite.reach == Reach::Server).then(|| server_of(&invite.link)),
            names: BTreeMap::new(),
            started_at_ms: now_ms.saturating_sub(view.connected_for_ms.unwrap_or(0).into()),
        });
        running.code.clone_from(&invite.code);
        running.link.clone_from(&invite.link);
        for participant in &view.participants {
            if !participant.name.is_empty() {
                running
                    .names
                    .insert(participant.id, participant.name.clone());
            }
        }
    }
}

impl Running {
    fn into_recent_call(self, now_ms: u64) -> RecentCall {
        RecentCall {
            id: format!("{}-{}", self.started_at_ms, self.code),
            code: self.code,
            link: self.link,
            server: self.server,
            names: self.names.into_values().collect(),
            started_at_ms: self.started_at_ms,
            duration_ms: now_ms.saturating_sub(self.started_at_ms),
        }
    }
}

/// Host and port of an invite link.
fn server_of(link: &str) -> String {
    let address = link.split_once("://").map_or(link, |(_, rest)| rest);
    address.split('/').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ahoy_call::view::{
        ConnectionStates, EndReason, InviteView, LocalView, ParticipantView, SignalingLinkState,
    };

    fn view(state: CallState, code: &str, names: &[&str]) -> CallView {
        let participants = names.iter().zip(2..).map(|(name, id)| ParticipantView {
            id,
            name: (*name).to_owned(),
            microphone_muted: false,
            camera_on: true,
            microphone_unplugged: false,
            reconnecting: None,
            states: ConnectionStates::default(),
            quality: ahoy_call::quality::QualityView::default(),
        });
        CallView {
            state,
            participant: Some(1),
            invite: Some(InviteView {
                code: code.to_owned(),
                link: format!("ahoy://calls.example:8443/{code}"),
                reach: Reach::Server,
                instead_of: None,
            }),
            code_retired: false,
            participants: participants.collect(),
            local: LocalView::default(),
            signaling: SignalingLinkState::Joined,
            connected_for_ms: Some(0),
        }
    }

    fn ended() -> CallState {
        CallState::Ended {
            reason: EndReason::HungUp,
        }
    }

    #[test]
    fn a_call_is_remembered_once_with_everybody_who_was_there() {
        let mut recorder = Recorder::default();
        let steps = [
            (CallState::Waiting, vec![]),
            (CallState::Connected, vec![""]),
            (CallState::Connected, vec!["Jon", "Ines"]),
            (CallState::Reconnecting, vec!["Jon"]),
            (CallState::Waiting, vec![]),
        ];
        for (step, (state, names)) in (0..).zip(steps) {
            let seen = recorder.observe(&view(state, "1-a-b", &names), 1000 + step * 500);
            assert_eq!(seen, None);
        }
        let call = recorder
            .observe(&view(ended(), "1-a-b", &[]), 9000)
            .expect("over");
        assert_eq!(call.names, ["Jon", "Ines"]);
        assert_eq!((call.started_at_ms, call.duration_ms), (1500, 7500));
        assert_eq!(call.server.as_deref(), Some("calls.example:8443"));
        assert_eq!(recorder.observe(&view(ended(), "1-a-b", &[]), 9100), None);
    }

    #[test]
    fn nobody_reached_is_no_call() {
        let mut recorder = Recorder::default();
        for state in [
            CallState::Joining,
            CallState::Waiting,
            CallState::Connecting,
            ended(),
        ] {
            assert_eq!(
                recorder.observe(&view(state, "1-a-b", &["Jon"]), 1000),
                None
            );
        }
    }

    #[test]
    fn going_straight_into_another_room_ends_the_first_call() {
        let mut recorder = Recorder::default();
        recorder.observe(&view(CallState::Connected, "1-a-b", &["Jon"]), 1000);
        let first = recorder.observe(&view(CallState::Connected, "2-c-d", &["Ines"]), 2000);
        assert_eq!(first.expect("over").code, "1-a-b");
        let second = recorder.observe(&view(CallState::Idle, "2-c-d", &[]), 3000);
        assert_eq!(second.expect("over").names, ["Ines"]);
    }

    #[test]
    fn the_list_has_one_entry_per_room_newest_first_and_an_end() {
        let call = |number: u64, code: &str| RecentCall {
            id: number.to_string(),
            code: code.to_owned(),
            link: String::new(),
            server: None,
            names: vec![],
            started_at_ms: number,
            duration_ms: 1,
        };
        let mut calls = Vec::new();
        for number in 0..=60 {
            add(&mut calls, call(number, &format!("{number}-a-b")));
        }
        assert_eq!(calls.len(), KEPT);
        add(&mut calls, call(100, "60-a-b"));
        assert_eq!(calls.len(), KEPT);
        assert_eq!((calls[0].id.as_str(), calls[1].id.as_str()), ("100", "59"));
        add(&mut calls, call(55, "restored"));
        assert_eq!(
            calls[5].id, "55",
            "an undone removal goes back to its place"
        );
    }
}
