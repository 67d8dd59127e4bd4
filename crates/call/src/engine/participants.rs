//! What the connections to the others report.

use std::time::Instant;

use super::rates::sending_message;
use super::state::EngineTask;
use crate::participant::ParticipantOutput;
use crate::quality::Sending;
use crate::sealed_message::SealedMessage;
use crate::session::Departure;
use crate::status::PeerMessage;
use crate::verification::Problem;
use crate::view::{CallEvent, ParticipantId};

impl EngineTask {
    pub(super) async fn participant_output(
        &mut self,
        id: ParticipantId,
        output: ParticipantOutput,
    ) {
        let retired = self.code.filter(|_| self.retired());
        let Some(participant) = self.participants.get_mut(&id) else {
            return;
        };
        match output {
            ParticipantOutput::Description(description) => {
                self.send_sealed(id, &SealedMessage::Description { description })
                    .await;
            }
            ParticipantOutput::Candidate(candidate) => {
                let candidate = Some(candidate);
                self.send_sealed(id, &SealedMessage::Candidate { candidate })
                    .await;
            }
            ParticipantOutput::States(states) => {
                let back = self.session.connection_changed(id, &states, Instant::now());
                participant.set_states(states);
                if back {
                    self.emit(CallEvent::ParticipantJoined { id });
                }
                self.adapt();
            }
            ParticipantOutput::Reconnecting(reconnecting) => {
                participant.set_reconnecting(reconnecting);
            }
            ParticipantOutput::DataOpen => {
                participant.send_message(&self.local.status());
                participant.send_message(&sending_message(self.sending));
                if let Some(code) = self.code.and_then(|code| code.message()) {
                    participant.send_message(&code);
                }
                if let Some(code) = retired {
                    participant.send_message(&code.retired());
                }
            }
            ParticipantOutput::Message(PeerMessage::Bye) => {
                self.participant_left(id, Departure::Left);
            }
            ParticipantOutput::Message(PeerMessage::SoundGaps { packets, gaps }) => {
                participant.note_gaps(packets, gaps);
            }
            ParticipantOutput::Message(PeerMessage::Sending { limitation, height }) => {
                participant.note_sending(Sending { limitation, height });
            }
            ParticipantOutput::Message(PeerMessage::Code {
                generation,
                words,
                link,
            }) => self.told_code(generation, &words, &link),
            ParticipantOutput::Message(PeerMessage::CodeRetired { generation }) => {
                self.told_retired(generation);
            }
            ParticipantOutput::NotVerified => self.not_verified(id, Problem::NotVerified),
            ParticipantOutput::Message(message) => {
                if participant.note(message) {
                    participant.send_message(&self.local.status());
                }
            }
            ParticipantOutput::Failed => self.given_up(id),
        }
    }
}
