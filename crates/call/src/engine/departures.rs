//! Somebody is gone, or is taken for gone.

use super::state::EngineTask;
use crate::session::Departure;
use crate::view::{CallEvent, EndReason, ParticipantId};

impl EngineTask {
    /// Nothing is heard of somebody, and their program seems to have died: they are gone for whoever
    /// looks. If it was only a bad moment, their connection comes back by itself.
    pub(super) fn vanish(&mut self, id: ParticipantId) {
        self.session.vanish(id);
        if let Some(participant) = self.participants.get(&id) {
            let name = participant.name().to_owned();
            self.emit(CallEvent::ParticipantLeft { id, name });
        }
    }

    /// There is no connection to somebody, or none any more. With nobody else there, that ends a call
    /// that never stood; but a stranger who comes in and is not verified ends nothing.
    pub(super) fn given_up(&mut self, id: ParticipantId) {
        let joins = self.own_id.is_some_and(|own| own > id);
        let stranger = !joins && !self.participants.contains_key(&id);
        self.participant_left(id, Departure::Lost);
        let met = self.session.connected_since().is_some();
        if self.participants.is_empty() && !met && !stranger {
            self.session.end(EndReason::ConnectionFailed);
        }
    }

    pub(super) fn participant_left(&mut self, id: ParticipantId, departure: Departure) {
        let name = self
            .participants
            .remove(&id)
            .map(|participant| participant.name().to_owned());
        // Who was never in the call does not end it by leaving the room.
        let departure = name.as_ref().map_or(Departure::Lost, |_| departure);
        let told_already = self.session.has_vanished(id);
        self.session.participant_left(id, departure);
        if let Some(name) = name.filter(|_| !told_already) {
            self.emit(CallEvent::ParticipantLeft { id, name });
        }
    }
}
