//! What a call looks like from outside: whole snapshots that are safe to repeat, and moments.

use ahoy_audio::processing::ProcessingSettings;
use ahoy_audio::processing::health::MicrophoneHint;
use ahoy_media::device::{DeviceKind, DeviceProblem};
use ahoy_media::units::VideoConstraints;
use serde::{Deserialize, Serialize};

use crate::quality::QualityView;
use crate::reconnect::ReconnectView;

/// Number of a participant within its room: handed out by the server in join order, never reused.
pub type ParticipantId = u32;

/// Where the call stands.
///
/// ```text
/// Idle → Joining → Waiting → Connecting → Connected ⇄ Reconnecting → Ended
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "specta", derive(specta::Type))]
#[serde(rename_all = "camelCase", tag = "name")]
pub enum CallState {
    /// No call.
    Idle,
    /// The server is being asked for a room.
    Joining,
    /// Alone in the room.
    Waiting,
    /// Somebody is there, no connection carries media yet.
    Connecting,
    /// At least one participant is connected.
    Connected,
    /// Every connection that there was is interrupted.
    Reconnecting,
    /// Over; the view keeps what was known until the next call.
    Ended {
        /// Why.
        reason: EndReason,
    },
}

/// Why a call ended, or did not begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "specta", derive(specta::Type))]
#[serde(rename_all = "camelCase")]
pub enum EndReason {
    /// We hung up.
    HungUp,
    /// Everybody else left.
    EveryoneLeft,
    /// No room has this number, neither at the server nor on the local network.
    UnknownRoom,
    /// A former call cannot be opened again: another room has its number.
    NumberTaken,
    /// Ten people are in it.
    RoomFull,
    /// Nothing answers at the server's address, and the local network does not help either.
    ServerUnreachable,
    /// Something answers there, but it is no Ahoy server or speaks another version.
    NotAnAhoyServer,
    /// The connection to the server broke before the call stood.
    ServerLost,
    /// The server refused: too many rooms, too fast, too large.
    ServerRefused,
    /// Media could not be set up or was lost for good.
    ConnectionFailed,
    /// The number is right, the words are not; or somebody changed a message on the way, which
    /// looks the same.
    WrongCode,
    /// Too many wrong words were tried in this room: those inside have a new code.
    CodeRetired,
    /// What came through the server was changed on the way.
    NotVerified,
}

/// How far an invite reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "specta", derive(specta::Type))]
#[serde(rename_all = "camelCase")]
pub enum Reach {
    /// Other windows on this computer.
    ThisComputer,
    /// Computers on the same network, by code or invite link.
    LocalNetwork,
    /// Wherever the configured server can be reached.
    Server,
}

/// The invitation of the running call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "specta", derive(specta::Type))]
#[serde(rename_all = "camelCase")]
pub struct InviteView {
    /// `4821-amber-otter`.
    pub code: String,
    /// The link with the server's address in it.
    pub link: String,
    /// How far it reaches.
    pub reach: Reach,
    /// Host of the configured server, which cannot be reached: this computer stands in for it, so
    /// that at least the local network can join.
    pub instead_of: Option<String>,
}

/// The W3C states of one peer connection (webrtc-pc section 4.3), in the specification's words.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "specta", derive(specta::Type))]
#[serde(rename_all = "camelCase")]
pub struct ConnectionStates {
    /// `RTCPeerConnectionState`.
    pub connection: String,
    /// `RTCIceConnectionState`.
    pub ice_connection: String,
    /// `RTCIceGatheringState`.
    pub ice_gathering: String,
    /// `RTCSignalingState`.
    pub signaling: String,
}

/// Another person in the room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "specta", derive(specta::Type))]
#[serde(rename_all = "camelCase")]
pub struct ParticipantView {
    /// Number within the room.
    pub id: ParticipantId,
    /// The name they gave; empty until it is known.
    pub name: String,
    /// Their microphone is muted, or they have none.
    pub microphone_muted: bool,
    /// They send pictures.
    pub camera_on: bool,
    /// Their microphone was unplugged and is not back; another may have taken its place.
    pub microphone_unplugged: bool,
    /// W3C states of the connection to them.
    pub states: ConnectionStates,
    /// What is being tried while there is no path to them.
    #[cfg_attr(feature = "specta", specta(optional))]
    pub reconnecting: Option<ReconnectView>,
    /// How good it is.
    pub quality: QualityView,
}

/// A device of ours as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "specta", derive(specta::Type))]
#[serde(rename_all = "camelCase")]
pub struct DeviceView {
    /// What was chosen, as [`ahoy_media::selection`] writes it.
    pub selection: String,
    /// Name of what runs; `None` when nothing runs.
    pub label: Option<String>,
    /// For a running camera what it delivers, such as `1280x720@30`; otherwise empty.
    pub format: String,
    /// Why nothing runs although it should.
    pub problem: Option<DeviceProblem>,
    /// The system's own words about the problem.
    pub problem_detail: String,
    /// Name of the device that this one stands in for until it is back: it was unplugged, is busy
    /// or has not been there.
    pub instead_of: Option<String>,
}

/// Our own side.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "specta", derive(specta::Type))]
#[serde(rename_all = "camelCase")]
pub struct LocalView {
    /// The name others see.
    pub name: String,
    /// Nothing that the microphone hears is sent.
    pub microphone_muted: bool,
    /// The camera is to run.
    pub camera_on: bool,
    /// Requested size and rate.
    pub constraints: VideoConstraints,
    /// Microphone.
    pub microphone: DeviceView,
    /// Camera.
    pub camera: DeviceView,
    /// Speaker.
    pub speaker: DeviceView,
    /// What is done with the sound of the microphone.
    pub processing: ProcessingSettings,
    /// Something to tell the user about the microphone.
    pub microphone_hint: Option<MicrophoneHint>,
}

/// The connection to the signaling server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "specta", derive(specta::Type))]
#[serde(rename_all = "camelCase")]
pub enum SignalingLinkState {
    /// Not needed at present.
    Disconnected,
    /// Being set up.
    Connecting,
    /// In a room.
    Joined,
    /// Gone while the call goes on.
    Lost,
}

/// Everything about the call at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "specta", derive(specta::Type))]
#[serde(rename_all = "camelCase")]
pub struct CallView {
    /// Where the call stands.
    pub state: CallState,
    /// Our participant number while in a room.
    pub participant: Option<ParticipantId>,
    /// The invitation, from the moment the room exists.
    pub invite: Option<InviteView>,
    /// Too many wrong words were tried: nobody gets in with the words of `invite` until there are new
    /// ones.
    pub code_retired: bool,
    /// The others, in join order.
    pub participants: Vec<ParticipantView>,
    /// Our own side.
    pub local: LocalView,
    /// The signaling server.
    pub signaling: SignalingLinkState,
    /// Time since the first connection of this call, in ms; `None` before it.
    pub connected_for_ms: Option<u32>,
}

/// A moment worth a sound, a note or a line in a log. State is in [`CallView`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "specta", derive(specta::Type))]
#[serde(rename_all = "camelCase", tag = "type")]
pub enum CallEvent {
    /// Somebody came in.
    #[serde(rename_all = "camelCase")]
    ParticipantJoined {
        /// Who.
        id: ParticipantId,
    },
    /// Somebody left.
    #[serde(rename_all = "camelCase")]
    ParticipantLeft {
        /// Who.
        id: ParticipantId,
        /// The name they had.
        name: String,
    },
    /// Somebody tried to come in with wrong words.
    #[serde(rename_all = "camelCase")]
    WrongCode {
        /// How many more wrong ones are allowed; 0 when that was the last.
        left: u8,
    },
    /// Somebody was not let in: what came from them through the server made no sense.
    NotVerified,
    /// There are new words.
    CodeRenewed,
    /// A device of ours could not be used.
    #[serde(rename_all = "camelCase")]
    DeviceProblem {
        /// Which.
        kind: DeviceKind,
        /// What can be done.
        problem: DeviceProblem,
        /// The system's words.
        detail: String,
    },
    /// A device of ours cannot be used, and another one has taken its place.
    #[serde(rename_all = "camelCase")]
    DeviceReplaced {
        /// Which.
        kind: DeviceKind,
        /// The name of the one that is missed; empty if it has not been seen yet.
        lost_label: String,
        /// The name of the one that runs now.
        label: String,
        /// Why.
        problem: DeviceProblem,
    },
    /// The device that was replaced is back and runs again.
    #[serde(rename_all = "camelCase")]
    DeviceReturned {
        /// Which.
        kind: DeviceKind,
        /// Its name.
        label: String,
    },
    /// Devices have come or gone, or another one is the default (W3C Media Capture and Streams,
    /// `devicechange`).
    #[serde(rename_all = "camelCase")]
    DevicesChanged {
        /// Which.
        kind: DeviceKind,
    },
}
