//! What others get to see of the call: snapshots, moments, figures.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use super::Levels;
use super::state::EngineTask;
use crate::participant::Participant;
use crate::stats::StatsReport;
use crate::verification::Verification;
use crate::view::{CallEvent, CallState, CallView, ParticipantId, ParticipantView};

impl EngineTask {
    /// Those who are in the call, as far as is known.
    pub(super) fn present(&self) -> impl Iterator<Item = (ParticipantId, &Participant)> {
        let participants = self.participants.iter();
        participants
            .map(|(id, participant)| (*id, participant))
            .filter(|(id, _)| !self.session.has_vanished(*id))
    }

    pub(super) fn levels(&self) -> Levels {
        Levels {
            local: self.local.audio.level(),
            participants: self
                .present()
                .map(|(id, participant)| (id, participant.level()))
                .collect(),
        }
    }

    pub(super) async fn stats(&self) -> StatsReport {
        let mut participants = Vec::with_capacity(self.participants.len());
        for (id, participant) in self.present() {
            participants.push(participant.stats(id, &self.local).await);
        }
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        StatsReport {
            timestamp: since_epoch.map_or(0.0, |time| time.as_secs_f64() * 1000.0),
            participants,
        }
    }

    /// Where the call stands, for whom a stranger that is still to be verified is not there yet.
    fn state(&self) -> CallState {
        let state = self.session.state();
        if state != CallState::Connecting || self.present().next().is_some() {
            return state;
        }
        let own = self.own_id.unwrap_or_default();
        if (1..own).any(|id| self.session.has(id)) {
            CallState::Joining
        } else {
            CallState::Waiting
        }
    }

    /// Whether too many wrong words were tried.
    pub(super) fn retired(&self) -> bool {
        let retired = self.verification.as_ref().map(Verification::retired);
        retired.unwrap_or_default()
    }

    pub(super) fn emit(&self, event: CallEvent) {
        // Nobody listening is fine.
        let _ = self.events.send(event);
    }

    pub(super) fn publish(&self, view: &watch::Sender<CallView>) {
        let next = self.snapshot(Instant::now());
        view.send_if_modified(|current| {
            let changed = !same_but_for_the_clock(current, &next);
            if changed {
                log_transition(&current.state, &next.state);
                *current = next;
            }
            changed
        });
    }

    pub(super) fn snapshot(&self, now: Instant) -> CallView {
        let connected_for = self
            .session
            .connected_since()
            .map(|since| now.saturating_duration_since(since).as_millis());
        CallView {
            state: self.state(),
            participant: self.own_id,
            invite: self.invite.clone(),
            code_retired: self.retired(),
            participants: self
                .present()
                .map(|(id, participant)| participant.view(id))
                .collect::<Vec<ParticipantView>>(),
            local: self.local.view().clone(),
            signaling: self.signaling,
            connected_for_ms: connected_for.map(|ms| u32::try_from(ms).unwrap_or(u32::MAX)),
        }
    }
}

/// The call clock runs on its own in whoever shows it: its progress alone is no news.
fn same_but_for_the_clock(a: &CallView, b: &CallView) -> bool {
    let without_clock = |view: &CallView| CallView {
        connected_for_ms: view.connected_for_ms.map(|_| 0),
        ..view.clone()
    };
    without_clock(a) == without_clock(b)
}

fn log_transition(from: &CallState, to: &CallState) {
    if from != to {
        tracing::info!(?from, ?to, "call");
    }
}
