//! The way in: [`Engine`] is a handle whose commands go, in order, to one task that owns the
//! call. State comes back as whole snapshots ([`Engine::view`]), moments as events
//! ([`Engine::events`]), pictures through [`Engine::subscribe_video`].

mod calls;
mod commands;
mod departures;
mod devices;
mod goodbyes;
mod ice_servers;
mod link;
mod participants;
mod rates;
mod room;
mod snapshot;
mod state;
mod task;
mod ticks;
mod verify;

pub(crate) use ice_servers::IceServers;

use std::sync::Arc;

use ahoy_audio::level::AudioLevel;
use ahoy_audio::processing::ProcessingSettings;
use ahoy_ice::server::IceServer;
use ahoy_media::device::Devices;
use ahoy_media::frame::EncodedVideoSink;
use ahoy_media::selection::{CameraSelection, MicrophoneSelection, SpeakerSelection};
use ahoy_media::units::VideoConstraints;
use ahoy_signaling::address::ServerAddress;
use ahoy_signaling::embedded::EmbeddedConfig;
use ahoy_signaling::invite::Invite;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::fan_out::Subscription;
use crate::stats::StatsReport;
use crate::view::{CallEvent, CallView, ParticipantId};

/// Commands that wait for the engine task. They come from a person's hand; more than this many
/// at once means the task hangs, and then the caller waits.
const COMMAND_CAPACITY: usize = 64;

/// Moments that a slow listener may lag behind before it loses the oldest.
const EVENT_CAPACITY: usize = 64;

/// What a call starts with; everything in it can be changed later.
#[derive(Debug, Clone, Default)]
pub struct EngineConfig {
    /// The name others see.
    pub name: String,
    /// Chosen camera.
    pub camera: CameraSelection,
    /// Chosen microphone.
    pub microphone: MicrophoneSelection,
    /// Chosen speaker.
    pub speaker: SpeakerSelection,
    /// What is done with the sound of the microphone.
    pub processing: ProcessingSettings,
    /// Requested size and rate of the picture.
    pub constraints: VideoConstraints,
    /// Begin with the microphone muted.
    pub microphone_muted: bool,
    /// Begin with the camera off.
    pub camera_off: bool,
    /// The signaling server; without one, the embedded server on this computer.
    pub server: Option<ServerAddress>,
    /// Where the embedded server listens.
    pub embedded: EmbeddedConfig,
    /// STUN and TURN servers.
    pub ice_servers: Vec<IceServer>,
    /// Everything goes through a relay, so that the others learn no address of ours.
    pub relay_only: bool,
}

/// Whose picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VideoTile {
    /// Our own, as it is sent.
    Local,
    /// A participant's, as it arrives.
    Participant(ParticipantId),
}

/// How loud everybody is, linear 0 to 1.
#[derive(Debug, Clone, Default)]
pub struct Levels {
    /// Our microphone, also while it is muted.
    pub local: AudioLevel,
    /// The others.
    pub participants: Vec<(ParticipantId, f32)>,
}

/// The engine task has ended: it was closed, or it died. Nothing can be done with this handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the call engine has stopped")]
pub struct EngineStopped;

/// Commands in the order in which they are carried out.
pub(crate) enum Command {
    NewCall {
        share_on_network: bool,
    },
    Join(Invite),
    Reopen {
        invite: Invite,
        share_on_network: bool,
    },
    RenewCode,
    HangUp,
    SetName(String),
    SetServer(Option<ServerAddress>),
    SetIceServers {
        servers: Vec<IceServer>,
        relay_only: bool,
    },
    SetMicrophoneMuted(bool),
    SetCameraOn(bool),
    SelectCamera(CameraSelection),
    SelectMicrophone(MicrophoneSelection),
    SelectSpeaker(SpeakerSelection),
    SetVideoConstraints(VideoConstraints),
    SetProcessing(ProcessingSettings),
    SubscribeVideo(
        VideoTile,
        Arc<dyn EncodedVideoSink>,
        oneshot::Sender<Option<Subscription>>,
    ),
    RequestKeyFrame(VideoTile),
    Levels(oneshot::Sender<Levels>),
    Stats(oneshot::Sender<StatsReport>),
    PlayTestSound,
    Close(oneshot::Sender<()>),
}

/// Handle of a running engine; clones share it. When the last one is dropped the engine leaves
/// the call and releases the devices.
#[derive(Clone)]
pub struct Engine {
    commands: mpsc::Sender<Command>,
    view: watch::Receiver<CallView>,
    events: broadcast::Sender<CallEvent>,
}

impl Engine {
    /// Starts the engine task and the media threads, and opens the configured devices. Must be
    /// called within a tokio runtime.
    pub fn start(config: EngineConfig) -> Self {
        let (commands, receiver) = mpsc::channel(COMMAND_CAPACITY);
        let (events, _) = broadcast::channel(EVENT_CAPACITY);
        let view = task::spawn(config, receiver, events.clone());
        Self {
            commands,
            view,
            events,
        }
    }

    /// The state of the call now and whenever it changes.
    pub fn view(&self) -> watch::Receiver<CallView> {
        self.view.clone()
    }

    /// Moments from now on.
    pub fn events(&self) -> broadcast::Receiver<CallEvent> {
        self.events.subscribe()
    }

    /// Creates a room and waits in it. Hangs up first if there is a call. Without a configured
    /// server, or where it does not answer, `share_on_network` decides whether the embedded server
    /// can be reached from the local network while this room is open; see
    /// [`InviteView::instead_of`](crate::view::InviteView::instead_of).
    ///
    /// # Errors
    /// [`EngineStopped`], like every command. What goes wrong with the call is in the view.
    pub async fn new_call(&self, share_on_network: bool) -> Result<(), EngineStopped> {
        self.send(Command::NewCall { share_on_network }).await
    }

    /// Enters the room of an invite. Hangs up first if there is a call.
    ///
    /// # Errors
    /// [`EngineStopped`]
    pub async fn join(&self, invite: Invite) -> Result<(), EngineStopped> {
        self.send(Command::Join(invite)).await
    }

    /// Enters the room of a former call, or opens it again under the same code while its number is
    /// free. Hangs up first if there is a call.
    ///
    /// # Errors
    /// [`EngineStopped`]
    pub async fn reopen(
        &self,
        invite: Invite,
        share_on_network: bool,
    ) -> Result<(), EngineStopped> {
        self.send(Command::Reopen {
            invite,
            share_on_network,
        })
        .await
    }

    /// Draws new words for the room that we are in, and tells those who are in it. Nothing happens
    /// outside of a room.
    ///
    /// # Errors
    /// [`EngineStopped`]
    pub async fn renew_code(&self) -> Result<(), EngineStopped> {
        self.send(Command::RenewCode).await
    }

    /// Leaves the call; the others are told.
    ///
    /// # Errors
    /// [`EngineStopped`]
    pub async fn hang_up(&self) -> Result<(), EngineStopped> {
        self.send(Command::HangUp).await
    }

    /// The name others see, from now on.
    ///
    /// # Errors
    /// [`EngineStopped`]
    pub async fn set_name(&self, name: String) -> Result<(), EngineStopped> {
        self.send(Command::SetName(name)).await
    }

    /// The server of the next call; `None` for the embedded one.
    ///
    /// # Errors
    /// [`EngineStopped`]
    pub async fn set_server(&self, server: Option<ServerAddress>) -> Result<(), EngineStopped> {
        self.send(Command::SetServer(server)).await
    }

    /// STUN and TURN servers beside those that the signaling server hands out, and whether all goes
    /// through a relay. Holds for connections that are made from now on.
    ///
    /// # Errors
    /// [`EngineStopped`]
    pub async fn set_ice_servers(
        &self,
        servers: Vec<IceServer>,
        relay_only: bool,
    ) -> Result<(), EngineStopped> {
        self.send(Command::SetIceServers {
            servers,
            relay_only,
        })
        .await
    }

    /// While muted, silence is sent in the place of what the microphone hears.
    ///
    /// # Errors
    /// [`EngineStopped`]
    pub async fn set_microphone_muted(&self, muted: bool) -> Result<(), EngineStopped> {
        self.send(Command::SetMicrophoneMuted(muted)).await
    }

    /// Switches the camera on, or off, which releases the device.
    ///
    /// # Errors
    /// [`EngineStopped`]
    pub async fn set_camera_on(&self, on: bool) -> Result<(), EngineStopped> {
        self.send(Command::SetCameraOn(on)).await
    }

    /// Another camera, without renegotiation.
    ///
    /// # Errors
    /// [`EngineStopped`]
    pub async fn select_camera(&self, camera: CameraSelection) -> Result<(), EngineStopped> {
        self.send(Command::SelectCamera(camera)).await
    }

    /// Another microphone, without renegotiation.
    ///
    /// # Errors
    /// [`EngineStopped`]
    pub async fn select_microphone(
        &self,
        microphone: MicrophoneSelection,
    ) -> Result<(), EngineStopped> {
        self.send(Command::SelectMicrophone(microphone)).await
    }

    /// Another speaker.
    ///
    /// # Errors
    /// [`EngineStopped`]
    pub async fn select_speaker(&self, speaker: SpeakerSelection) -> Result<(), EngineStopped> {
        self.send(Command::SelectSpeaker(speaker)).await
    }

    /// Another size or frame rate, without renegotiation.
    ///
    /// # Errors
    /// [`EngineStopped`]
    pub async fn set_video_constraints(
        &self,
        constraints: VideoConstraints,
    ) -> Result<(), EngineStopped> {
        self.send(Command::SetVideoConstraints(constraints)).await
    }

    /// Echo cancellation, noise suppression and automatic gain, or original sound; at once and
    /// without renegotiation.
    ///
    /// # Errors
    /// [`EngineStopped`]
    pub async fn set_processing(&self, settings: ProcessingSettings) -> Result<(), EngineStopped> {
        self.send(Command::SetProcessing(settings)).await
    }

    /// Compressed pictures of `tile` to `sink` until the subscription is dropped, beginning with
    /// a key frame, which is asked for. `None` when no such participant is there.
    ///
    /// # Errors
    /// [`EngineStopped`]
    pub async fn subscribe_video(
        &self,
        tile: VideoTile,
        sink: Arc<dyn EncodedVideoSink>,
    ) -> Result<Option<Subscription>, EngineStopped> {
        self.ask(|answer| Command::SubscribeVideo(tile, sink, answer))
            .await
    }

    /// A taker of `tile` cannot go on without a key frame.
    ///
    /// # Errors
    /// [`EngineStopped`]
    pub async fn request_key_frame(&self, tile: VideoTile) -> Result<(), EngineStopped> {
        self.send(Command::RequestKeyFrame(tile)).await
    }

    /// How loud everybody is just now.
    ///
    /// # Errors
    /// [`EngineStopped`]
    pub async fn levels(&self) -> Result<Levels, EngineStopped> {
        self.ask(Command::Levels).await
    }

    /// W3C webrtc-stats of every connection.
    ///
    /// # Errors
    /// [`EngineStopped`]
    pub async fn stats(&self) -> Result<StatsReport, EngineStopped> {
        self.ask(Command::Stats).await
    }

    /// Two notes through the chosen speaker.
    ///
    /// # Errors
    /// [`EngineStopped`]
    pub async fn play_test_sound(&self) -> Result<(), EngineStopped> {
        self.send(Command::PlayTestSound).await
    }

    /// Leaves the call, tells the others, releases the devices and ends the task.
    pub async fn close(&self) {
        // An error means that the engine has ended already.
        let _ = self.ask(Command::Close).await;
    }

    async fn send(&self, command: Command) -> Result<(), EngineStopped> {
        self.commands.send(command).await.map_err(|_| EngineStopped)
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, EngineStopped> {
        let (answer, answered) = oneshot::channel();
        self.send(command(answer)).await?;
        answered.await.map_err(|_| EngineStopped)
    }
}

/// Every camera, microphone and speaker there is now. Asks the system: some milliseconds, so not
/// for an async task. A kind that cannot be listed comes out empty and is logged.
pub fn devices() -> Devices {
    fn listed<T, E: std::fmt::Display>(what: &str, result: Result<Vec<T>, E>) -> Vec<T> {
        result.unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot list {what}");
            Vec::new()
        })
    }
    Devices {
        cameras: listed("cameras", ahoy_video::capture::cameras()),
        microphones: listed("microphones", ahoy_audio::devices::microphones()),
        speakers: listed("speakers", ahoy_audio::devices::speakers()),
    }
}
