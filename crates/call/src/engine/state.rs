//! What the engine task knows.

use std::collections::BTreeMap;
use std::sync::Arc;

use ahoy_media::device::MediaEvent;
use ahoy_signaling::address::ServerAddress;
use ahoy_signaling::embedded::EmbeddedServer;
use ahoy_signaling::room_code::RoomNumber;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{broadcast, mpsc};

use super::EngineConfig;
use super::goodbyes::Goodbyes;
use super::ice_servers::IceServers;
use super::link::{Link, LinkOutput};
use crate::local::LocalMedia;
use crate::participant::{Participant, ParticipantOutput};
use crate::quality::Sending;
use crate::session::Session;
use crate::shared_code::SharedCode;
use crate::transport::TransportConfig;
use crate::verification::Verification;
use crate::view::{CallEvent, InviteView, ParticipantId, Reach, SignalingLinkState};

/// What comes from below. The number is that of the call, or of our seat, that it belongs to: reports
/// of a call that is over, or of a connection of a former seat, are ignored.
pub(super) enum Input {
    Link(u64, LinkOutput),
    Participant(u64, ParticipantId, ParticipantOutput),
    Media(MediaEvent),
}

/// The room that we are in, as others need to know it.
pub(super) struct Room {
    pub(super) number: RoomNumber,
    pub(super) server: ServerAddress,
    pub(super) reach: Reach,
    pub(super) instead_of: Option<String>,
}

pub(super) struct EngineTask {
    pub(super) local: LocalMedia,
    pub(super) session: Session,
    pub(super) participants: BTreeMap<ParticipantId, Participant>,
    pub(super) link: Option<Link>,
    pub(super) goodbyes: Goodbyes,
    pub(super) signaling: SignalingLinkState,
    pub(super) own_id: Option<ParticipantId>,
    pub(super) invite: Option<InviteView>,
    /// The code that lets into our room; the server hands out and knows only the number.
    pub(super) code: Option<SharedCode>,
    /// Where it belongs to, once we have a seat.
    pub(super) room: Option<Room>,
    pub(super) verification: Option<Verification>,
    pub(super) call: u64,
    /// Seats that we had so far.
    pub(super) seats: u64,
    pub(super) ice_servers: IceServers,
    pub(super) transport: TransportConfig,
    /// Our picture now, and as the others were told.
    pub(super) sending: Sending,
    pub(super) sending_told: Sending,
    pub(super) ticks: u32,
    pub(super) server: Option<ServerAddress>,
    pub(super) embedded: Arc<EmbeddedServer>,
    pub(super) inputs: mpsc::Sender<Input>,
    pub(super) events: broadcast::Sender<CallEvent>,
}

impl EngineTask {
    pub(super) fn new(
        config: EngineConfig,
        inputs: mpsc::Sender<Input>,
        events: broadcast::Sender<CallEvent>,
    ) -> Self {
        let to_task = inputs.clone();
        let mut local = LocalMedia::start(
            &(Arc::new(move |event| {
                if let Err(TrySendError::Full(_)) = to_task.try_send(Input::Media(event)) {
                    tracing::warn!("the engine is too busy to hear of a device");
                }
            }) as _),
        );
        local.set_name(&config.name);
        local.set_muted(config.microphone_muted);
        local.set_camera_on(!config.camera_off);
        local.set_constraints(config.constraints);
        local.set_processing(config.processing);
        local.select_microphone(config.microphone);
        local.select_speaker(config.speaker);
        local.select_camera(config.camera);
        Self {
            local,
            session: Session::new(),
            participants: BTreeMap::new(),
            link: None,
            goodbyes: Goodbyes::default(),
            signaling: SignalingLinkState::Disconnected,
            own_id: None,
            invite: None,
            code: None,
            room: None,
            verification: None,
            call: 0,
            seats: 0,
            ice_servers: IceServers::new(config.ice_servers),
            transport: TransportConfig {
                relay_only: config.relay_only,
                ..TransportConfig::default()
            },
            sending: Sending::default(),
            sending_told: Sending::default(),
            ticks: 0,
            server: config.server,
            embedded: Arc::new(EmbeddedServer::new(config.embedded)),
            inputs,
            events,
        }
    }
}
