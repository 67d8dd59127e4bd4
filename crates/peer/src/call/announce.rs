//! What is told on standard output while a call goes on: the code, who comes and goes, how the
//! call stands.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ahoy_call::view::{CallState, CallView, ParticipantId, ParticipantView};

/// How long a participant's name is waited for after the connection stands. It comes at once,
/// unless the first packet of its channel is lost: that is repeated after a second or more.
const NAME_PATIENCE: Duration = Duration::from_secs(4);

/// Turns snapshots into lines, each once.
#[derive(Debug, Default)]
pub(super) struct Announcer {
    /// The code that was told last.
    invited: String,
    retired: bool,
    state: Option<CallState>,
    /// Connected, name not yet known.
    nameless: BTreeMap<ParticipantId, Instant>,
    present: BTreeMap<ParticipantId, String>,
}

impl Announcer {
    /// The lines that `view` adds. To be called with every view, and now and then.
    pub(super) fn lines(&mut self, view: &CallView, now: Instant) -> Vec<String> {
        let mut lines = Vec::new();
        let told = |code: &str| code == self.invited;
        if let Some(invite) = view.invite.as_ref().filter(|it| !told(&it.code)) {
            self.invited.clone_from(&invite.code);
            lines.push(format!("Code: {}", invite.code));
            lines.push(format!("Link: {}", invite.link));
            if let Some(server) = &invite.instead_of {
                lines.push(format!(
                    "{server} does not answer: only computers on this network can join."
                ));
            }
        }
        if view.code_retired && !self.retired {
            lines.push("Too many wrong codes were tried: this code is retired.".to_owned());
        }
        self.retired = view.code_retired;
        // Before the states: "Left" is the reason for what follows.
        self.departures(view, &mut lines);
        if self.state.as_ref() != Some(&view.state) {
            self.state = Some(view.state.clone());
            lines.extend(in_words(&view.state).map(str::to_owned));
        }
        for participant in &view.participants {
            lines.extend(self.arrival(participant, now));
        }
        lines
    }

    fn departures(&mut self, view: &CallView, lines: &mut Vec<String>) {
        let there = |id: &ParticipantId| view.participants.iter().any(|it| it.id == *id);
        self.nameless.retain(|id, _| {
            let stays = there(id);
            if !stays {
                let name = nameless(*id);
                lines.extend([format!("Joined: {name}"), format!("Left: {name}")]);
            }
            stays
        });
        self.present.retain(|id, name| {
            let stays = there(id);
            if !stays {
                lines.push(format!("Left: {name}"));
            }
            stays
        });
    }

    fn arrival(&mut self, participant: &ParticipantView, now: Instant) -> Option<String> {
        let id = participant.id;
        if self.present.contains_key(&id) || participant.states.connection != "connected" {
            return None;
        }
        let since = *self.nameless.entry(id).or_insert(now);
        if participant.name.is_empty() && now.saturating_duration_since(since) < NAME_PATIENCE {
            return None;
        }
        let name = if participant.name.is_empty() {
            nameless(id)
        } else {
            participant.name.clone()
        };
        self.nameless.remove(&id);
        self.present.insert(id, name.clone());
        Some(format!("Joined: {name}"))
    }
}

fn nameless(id: ParticipantId) -> String {
    format!("participant {id}")
}

fn in_words(state: &CallState) -> Option<&'static str> {
    match state {
        CallState::Idle | CallState::Joining | CallState::Ended { .. } => None,
        CallState::Waiting => Some("Waiting for others."),
        CallState::Connecting => Some("Connecting."),
        CallState::Connected => Some("Connected."),
        CallState::Reconnecting => Some("The connection is interrupted."),
    }
}

#[cfg(test)]
mod tests {
    use ahoy_call::view::{ConnectionStates, InviteView, LocalView, Reach, SignalingLinkState};

    use super::*;

    fn view(state: CallState, participants: &[(ParticipantId, &str, &str)]) -> CallView {
        CallView {
            state,
            participant: Some(1),
            invite: Some(InviteView {
                code: "4821-amber-otter".to_owned(),
                link: "ahoy://example.org/4821#amber-otter".to_owned(),
                reach: Reach::Server,
                instead_of: None,
            }),
            code_retired: false,
            participants: participants
                .iter()
                .map(|&(id, name, connection)| ParticipantView {
                    id,
                    name: name.to_owned(),
                    microphone_muted: false,
                    camera_on: true,
                    microphone_unplugged: false,
                    reconnecting: None,
                    quality: ahoy_call::quality::QualityView::default(),
                    states: ConnectionStates {
                        connection: connection.to_owned(),
                        ..ConnectionStates::default()
                    },
                })
                .collect(),
            local: LocalView::default(),
            signaling: SignalingLinkState::Joined,
            connected_for_ms: None,
        }
    }

    #[test]
    fn a_call_from_its_code_to_its_end() {
        let mut announcer = Announcer::default();
        let start = Instant::now();
        let mut at = |ms, view: &CallView| announcer.lines(view, start + Duration::from_millis(ms));
        assert_eq!(
            at(0, &view(CallState::Waiting, &[])),
            [
                "Code: 4821-amber-otter",
                "Link: ahoy://example.org/4821#amber-otter",
                "Waiting for others."
            ]
        );
        let connecting = view(CallState::Connecting, &[(2, "", "connecting")]);
        assert_eq!(at(10, &connecting), ["Connecting."]);
        let nameless = view(CallState::Connected, &[(2, "", "connected")]);
        assert_eq!(at(20, &nameless), ["Connected."]);
        assert!(at(30, &nameless).is_empty());
        let named = view(CallState::Connected, &[(2, "Mira", "connected")]);
        assert_eq!(at(40, &named), ["Joined: Mira"]);
        assert!(at(50, &named).is_empty());
        let two = view(
            CallState::Connected,
            &[(2, "Mira", "connected"), (3, "", "connected")],
        );
        assert!(at(60, &two).is_empty());
        assert_eq!(at(5000, &two), ["Joined: participant 3"]);
        let left = view(CallState::Waiting, &[]);
        assert_eq!(
            at(6000, &left),
            ["Left: Mira", "Left: participant 3", "Waiting for others."]
        );
        let brief = view(CallState::Connected, &[(4, "", "connected")]);
        assert_eq!(at(7000, &brief), ["Connected."]);
        assert_eq!(
            at(7010, &left),
            [
                "Joined: participant 4",
                "Left: participant 4",
                "Waiting for others."
            ]
        );
        assert_eq!(at(8000, &named), ["Connected.", "Joined: Mira"]);
    }
}
