//! What is sent follows what the paths carry, and both sides tell each other how it goes.

use std::time::Instant;

use ahoy_media::frame::EncodedVideoSink;
use ahoy_media::units::VideoConstraints;

use super::state::EngineTask;
use crate::adaptation::{Decision, QualityLimitationReason};
use crate::participant::Participant;
use crate::quality::Sending;
use crate::status::PeerMessage;

impl EngineTask {
    /// Lets the encoders follow what the paths carry.
    pub(super) fn adapt(&mut self) {
        let participants = self.participants.values();
        let paths: Vec<_> = participants
            .filter_map(Participant::path_estimate)
            .collect();
        let participants = self.participants.values();
        let received = participants.map(|other| other.video_out().decoding()).sum();
        let now = Instant::now();
        let losses = self.participants.values_mut();
        let losses = losses.filter_map(|participant| participant.loss_report(now));
        let decision = self.local.adapt(now, &paths, losses, received);
        let wanted = self.local.view().constraints;
        for participant in self.participants.values() {
            participant.set_needed_bitrate(decision.needed);
        }
        self.sending = if self.local.sends_picture() {
            compared(&decision, wanted)
        } else {
            // Next to nothing is sent, so nothing is known of the path.
            Sending::default()
        };
    }

    /// How good the connections are; and if our picture is less than wanted, they hear why.
    pub(super) fn watch_quality(&mut self) {
        let now = Instant::now();
        if self.sending != self.sending_told {
            self.sending_told = self.sending;
            let message = sending_message(self.sending);
            for participant in self.participants.values() {
                participant.send_message(&message);
            }
        }
        let lasting = |participant: &Participant| Some(participant.path_estimate()?.lasting);
        let slowest = self.participants.values().filter_map(lasting).min();
        for participant in self.participants.values_mut() {
            // Of several paths the slowest limits the picture; the others are not to blame.
            let limits = lasting(participant) <= slowest;
            let ours = if limits || self.sending.limitation == QualityLimitationReason::Cpu {
                self.sending
            } else {
                Sending::default()
            };
            participant.watch_quality(now, ours);
        }
    }

    /// Whoever has not told us their name yet may not have heard ours: see [`Participant::note`].
    pub(super) fn remind_the_silent(&self) {
        let status = self.local.status();
        for participant in self.participants.values().filter(|other| !other.heard()) {
            participant.send_message(&status);
        }
    }

    pub(super) fn tell_gaps(&mut self) {
        for participant in self.participants.values_mut() {
            if let Some(message) = participant.gaps_to_tell() {
                participant.send_message(&message);
            }
        }
    }
}

/// What is sent, beside what the user wants.
fn compared(decision: &Decision, wanted: VideoConstraints) -> Sending {
    let height = decision.encoding.constraints.resolution.height;
    let smaller = height < wanted.resolution.height;
    Sending {
        limitation: decision.limitation,
        height: if smaller { height } else { 0 },
    }
}

pub(super) fn sending_message(sending: Sending) -> PeerMessage {
    let Sending { limitation, height } = sending;
    PeerMessage::Sending { limitation, height }
}
