//! The values that travel to the interface, beside those of the call itself.

use ahoy_audio::level::AudioLevel;
use ahoy_call::view::{CallEvent, CallView, ParticipantId};
use ahoy_media::device::Devices;
use serde::{Deserialize, Serialize};
use specta_typescript::Number;

use crate::profile::Notice;
use crate::recent_calls::RecentCall;
use crate::settings::Settings;

/// What the interface has to know before it draws anything.
#[derive(Debug, Clone, Serialize, specta::Type)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AppState {
    /// What is set.
    pub(crate) settings: Settings,
    /// Newest first.
    pub(crate) recent_calls: Vec<RecentCall>,
    /// What went wrong at the start without stopping it.
    pub(crate) notices: Vec<Notice>,
    /// The computer.
    pub(crate) platform: Platform,
    /// The window fills the screen.
    pub(crate) full_screen: bool,
    /// The invite link that Ahoy was started with, as it was given.
    pub(crate) invite: Option<String>,
    /// Version of Ahoy.
    pub(crate) version: String,
}

/// What the interface has to know about the computer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, specta::Type)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Platform {
    /// No graphics processor draws the window: WebGL is slow, a 2D canvas is not.
    pub(crate) software_rendering: bool,
    /// The desktop prefers dark windows.
    pub(crate) theme_dark: bool,
}

/// Everything that comes unasked, in the order in which it happened.
#[derive(Debug, Clone, Serialize, specta::Type)]
#[serde(
    tag = "type",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub(crate) enum UiMessage {
    /// The state of the call, whole; at most ten times a second.
    View {
        /// The snapshot.
        view: Box<CallView>,
    },
    /// A moment of the call.
    Event {
        /// Which.
        event: CallEvent,
    },
    /// Loudness, linear 0 to 1; at most fifteen times a second, and only when it changes.
    Levels {
        /// Our microphone, also while it is muted.
        #[specta(type = Loudness)]
        local: AudioLevel,
        /// The others.
        #[specta(type = Vec<(ParticipantId, Number)>)]
        participants: Vec<(ParticipantId, f32)>,
    },
    /// The list has changed.
    RecentCalls {
        /// Newest first.
        recent_calls: Vec<RecentCall>,
    },
    /// The settings have changed.
    Settings {
        /// As they are in effect.
        settings: Box<Settings>,
    },
    /// Something was plugged in or taken away; also once at the beginning.
    Devices {
        /// All there are now.
        devices: Devices,
    },
    /// Something went wrong without stopping anything.
    Notice {
        /// What.
        notice: Notice,
    },
    /// The desktop has changed between light and dark.
    Theme {
        /// It prefers dark windows now.
        dark: bool,
    },
    /// The window fills the screen or has ceased to, by Ahoy or by the window manager.
    FullScreen {
        /// It does now.
        on: bool,
    },
    /// Somebody wants to close the window during a call. It closes on the command `closeWindow`,
    /// or when it is asked for once more.
    CloseRequested,
}

/// [`AudioLevel`] for TypeScript: what is measured is always a number, which specta cannot know.
#[derive(specta::Type)]
#[expect(dead_code, reason = "describes another type")]
struct Loudness {
    /// Root mean square; a full-scale sine has 0.71.
    #[specta(type = Number)]
    rms: f32,
    /// Largest absolute sample.
    #[specta(type = Number)]
    peak: f32,
}

/// Whose picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, specta::Type)]
#[serde(tag = "type", rename_all = "camelCase")]
pub(crate) enum VideoTile {
    /// Our own, as it is sent.
    Local,
    /// Another participant's.
    Participant {
        /// Who.
        id: ParticipantId,
    },
}

impl From<VideoTile> for ahoy_call::engine::VideoTile {
    fn from(tile: VideoTile) -> Self {
        match tile {
            VideoTile::Local => Self::Local,
            VideoTile::Participant { id } => Self::Participant(id),
        }
    }
}

/// Where the pictures of a tile can be fetched: a WebSocket to `url` with the query `token=…`, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, specta::Type)]
pub(crate) struct VideoAddress {
    /// `ws://127.0.0.1:PORT/video`.
    pub(crate) url: String,
    /// Good for one connection within ten seconds.
    pub(crate) token: String,
}
