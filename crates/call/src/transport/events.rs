//! What a connection tells: rare things over a channel, media and key frame requests by call.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use ahoy_media::rtp::RtpPacket;
use bytes::Bytes;
use tokio::sync::{Notify, mpsc};

use crate::negotiation::Candidate;
use crate::view::ConnectionStates;

/// Local candidates that wait for the engine. A computer has about twenty; when full, the newest
/// is dropped (the description carries those gathered before it was made).
const MAX_CANDIDATES: usize = 64;

/// Takes what arrives, on the connection's own task: must return at once and never block.
pub trait MediaReceiver: Send + Sync {
    /// A sound packet, once each, in order of arrival.
    fn audio(&self, packet: RtpPacket);
    /// A picture packet, once each, in order of arrival; repairs look like the packet they
    /// replace. An empty payload is padding: its sequence number is used, nothing is missing.
    fn video(&self, packet: RtpPacket);
    /// The other side cannot decode any further (PLI, RFC 4585 section 6.3.1; FIR, RFC 5104
    /// section 4.3.1), or this side had to drop a picture. May come in bursts.
    fn key_frame_requested(&self);
    /// Pictures were dropped before they left: the next one should be a key frame, at once.
    fn pictures_dropped(&self) {
        self.key_frame_requested();
    }
    /// The other side's clock and its sound's media time at one moment (RFC 3550 section 6.4.1):
    /// NTP time in units of 2⁻³² s, RTP time in ticks of 48 kHz.
    fn audio_report(&self, _ntp_time: u64, _rtp_time: u32) {}
    /// The same for the picture, in ticks of 90 kHz.
    fn video_report(&self, _ntp_time: u64, _rtp_time: u32) {}
}

/// A change of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransportEvent {
    /// For the other side.
    LocalCandidate(Candidate),
    /// An offer is to be made (webrtc-pc section 4.7.3).
    NegotiationNeeded,
    /// The states changed; only the latest are told.
    States(ConnectionStates),
    /// The data channel can carry messages.
    DataOpen,
    /// A message from the other side.
    Data(Bytes),
    /// The last event.
    Closed,
}

/// Collects events where nothing may block, and hands them on where waiting is allowed.
#[derive(Debug)]
pub(super) struct Outbox {
    pending: Mutex<Pending>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Pending {
    states: ConnectionStates,
    states_changed: bool,
    negotiation_needed: bool,
    candidates: VecDeque<Candidate>,
    closed: bool,
}

impl Outbox {
    pub(super) fn new() -> Self {
        let pending = Pending {
            states: ConnectionStates {
                connection: "new".to_owned(),
                ice_connection: "new".to_owned(),
                ice_gathering: "new".to_owned(),
                signaling: "stable".to_owned(),
            },
            ..Pending::default()
        };
        Self {
            pending: Mutex::new(pending),
            changed: Notify::new(),
        }
    }

    pub(super) fn negotiation_needed(&self) {
        self.change(|pending| pending.negotiation_needed = true);
    }

    pub(super) fn candidate(&self, candidate: Candidate) {
        self.change(|pending| {
            if pending.candidates.len() < MAX_CANDIDATES {
                pending.candidates.push_back(candidate);
            }
        });
    }

    pub(super) fn states(&self, change: impl FnOnce(&mut ConnectionStates)) {
        self.change(|pending| {
            change(&mut pending.states);
            pending.states_changed = true;
        });
    }

    pub(super) fn current_states(&self) -> ConnectionStates {
        self.lock().states.clone()
    }

    pub(super) fn close(&self) {
        self.change(|pending| pending.closed = true);
    }

    /// Hands events on until the connection is closed or nobody listens.
    pub(super) async fn forward(self: Arc<Self>, events: mpsc::Sender<TransportEvent>) {
        loop {
            let (batch, closed) = self.take();
            for event in batch {
                if events.send(event).await.is_err() {
                    return;
                }
            }
            if closed {
                return;
            }
            self.changed.notified().await;
        }
    }

    fn take(&self) -> (Vec<TransportEvent>, bool) {
        let mut pending = self.lock();
        let mut batch = Vec::new();
        if std::mem::take(&mut pending.states_changed) {
            batch.push(TransportEvent::States(pending.states.clone()));
        }
        if std::mem::take(&mut pending.negotiation_needed) {
            batch.push(TransportEvent::NegotiationNeeded);
        }
        batch.extend(
            pending
                .candidates
                .drain(..)
                .map(TransportEvent::LocalCandidate),
        );
        if pending.closed {
            batch.push(TransportEvent::Closed);
        }
        (batch, pending.closed)
    }

    fn change(&self, change: impl FnOnce(&mut Pending)) {
        change(&mut self.lock());
        self.changed.notify_one();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
