//! Our own devices: what becomes of them is told to the user, and to the others.

use ahoy_media::device::MediaEvent;

use super::state::EngineTask;
use crate::local::LocalMedia;
use crate::view::CallEvent;

impl EngineTask {
    pub(super) fn media_event(&mut self, event: MediaEvent) {
        self.emit_media(&event);
        self.change_status(|local| local.media_event(&event));
    }

    fn emit_media(&self, event: &MediaEvent) {
        self.emit(match event.clone() {
            MediaEvent::Started { .. } | MediaEvent::Stopped { .. } => return,
            MediaEvent::Failed { kind, error } => CallEvent::DeviceProblem {
                kind,
                problem: error.problem,
                detail: error.detail,
            },
            MediaEvent::Replaced {
                kind,
                lost_label,
                label,
                problem,
            } => CallEvent::DeviceReplaced {
                kind,
                lost_label,
                label,
                problem,
            },
            MediaEvent::Returned { kind, label } => CallEvent::DeviceReturned { kind, label },
            MediaEvent::DevicesChanged { kind, .. } => CallEvent::DevicesChanged { kind },
        });
    }

    /// Changes something about us and tells the others if it concerns them.
    pub(super) fn change_status(&mut self, change: impl FnOnce(&mut LocalMedia)) {
        let before = self.local.status();
        change(&mut self.local);
        let status = self.local.status();
        if status != before {
            for participant in self.participants.values() {
                participant.send_message(&status);
            }
        }
    }
}
