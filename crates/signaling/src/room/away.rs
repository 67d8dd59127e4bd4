//! The seats whose connection broke, and since when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use crate::message::ParticipantId;
use crate::room_code::RoomNumber;

type Place = (RoomNumber, ParticipantId);

/// Looked up by place, and taken out in order of time.
#[derive(Debug, Default)]
pub(super) struct Away {
    since: BTreeMap<Place, Instant>,
    order: BTreeSet<(Instant, Place)>,
}

impl Away {
    pub(super) fn len(&self) -> usize {
        self.since.len()
    }

    pub(super) fn insert(&mut self, place: Place, now: Instant) {
        self.remove(place);
        self.since.insert(place, now);
        self.order.insert((now, place));
    }

    pub(super) fn remove(&mut self, place: Place) {
        if let Some(since) = self.since.remove(&place) {
            self.order.remove(&(since, place));
        }
    }

    /// Whoever has been away longest, if for `long` at least.
    pub(super) fn longest(&self, long: std::time::Duration, now: Instant) -> Option<Place> {
        let (since, place) = self.order.first()?;
        (now.saturating_duration_since(*since) >= long).then_some(*place)
    }
}
