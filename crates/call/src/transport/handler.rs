//! Turns the crate's callbacks into events. They run on the connection's own task: nothing here
//! waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ahoy_ice::privacy;
use ahoy_ice::runtime::IceRuntime;
use async_trait::async_trait;
use webrtc::data_channel::DataChannel;
use webrtc::peer_connection::{
    PeerConnectionEventHandler, RTCIceConnectionState, RTCIceGatheringState,
    RTCPeerConnectionIceEvent, RTCPeerConnectionState, RTCSignalingState,
};

use super::events::Outbox;
use super::send::SendQueues;
use crate::negotiation::Candidate;

pub(super) struct Handler {
    pub(super) outbox: Arc<Outbox>,
    pub(super) queues: Arc<SendQueues>,
    pub(super) runtime: Arc<IceRuntime>,
    /// Nothing but relayed addresses may be told.
    pub(super) relay_only: bool,
    /// The first offer is asked for by [`super::Transport::new`] itself: the crate's own first
    /// request is only delivered when something else wakes its task, which without a data channel
    /// may be after the other side's offer has been answered.
    pub(super) first_need_known: AtomicBool,
}

impl Handler {
    fn may_leave(&self, candidate: String) -> Option<String> {
        if self.relay_only {
            return privacy::relayed_only(&candidate);
        }
        Some(candidate)
    }
}

#[async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_negotiation_needed(&self) {
        if !self.first_need_known.swap(false, Ordering::Relaxed) {
            self.outbox.negotiation_needed();
        }
    }

    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        match event.candidate.to_json() {
            Ok(candidate) => {
                let Some(text) = self.may_leave(candidate.candidate) else {
                    return;
                };
                self.outbox.candidate(Candidate {
                    candidate: text,
                    // All media share the transport of the first section; the crate leaves the
                    // section's tag empty, which browsers refuse.
                    sdp_mid: None,
                    sdp_m_line_index: Some(0),
                    username_fragment: candidate.username_fragment,
                });
            }
            Err(error) => tracing::debug!(%error, "a local candidate cannot be written"),
        }
    }

    async fn on_signaling_state_change(&self, state: RTCSignalingState) {
        self.outbox
            .states(|states| states.signaling = state.to_string());
    }

    async fn on_ice_connection_state_change(&self, state: RTCIceConnectionState) {
        self.runtime.nudge();
        self.outbox
            .states(|states| states.ice_connection = state.to_string());
    }

    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        self.outbox
            .states(|states| states.ice_gathering = state.to_string());
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        match state {
            RTCPeerConnectionState::Connected => self.queues.open(),
            RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed => self.queues.shut(),
            _ => {}
        }
        self.outbox
            .states(|states| states.connection = state.to_string());
    }

    async fn on_data_channel(&self, _channel: Arc<dyn DataChannel>) {
        tracing::debug!("a data channel that was not agreed on is left alone");
    }
}
