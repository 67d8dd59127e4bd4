//! What a command of the interface can fail with: a code to translate, and words for the log.

use ahoy_call::engine::EngineStopped;
use serde::Serialize;

/// Which failure. The interface has a sentence for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, specta::Type)]
#[serde(rename_all = "camelCase")]
pub(crate) enum ErrorCode {
    /// The call engine is gone; only a restart of Ahoy helps.
    EngineStopped,
    /// The text is neither a room code nor an invite link.
    BadCode,
    /// The text names no device, file or test source.
    BadSelection,
    /// Size or frame rate are outside of what can be asked for.
    BadConstraints,
    /// The text is no address of a signaling server.
    BadServer,
    /// A STUN or TURN server that cannot be used.
    BadIceServer,
    /// A newer version of Ahoy made these settings.
    BadSettings,
    /// The participant has left.
    NoSuchParticipant,
    /// The system's clipboard did not take the text.
    ClipboardFailed,
    /// No socket for pictures could be opened on this computer.
    VideoFailed,
}

/// A failed command as the interface sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, specta::Type, thiserror::Error)]
#[error("{message}")]
pub(crate) struct CommandError {
    /// Which failure.
    pub(crate) code: ErrorCode,
    /// Details in English, not for people in a hurry.
    pub(crate) message: String,
}

impl CommandError {
    /// A failure with the words of whoever noticed it.
    pub(crate) fn new(code: ErrorCode, message: impl ToString) -> Self {
        Self {
            code,
            message: message.to_string(),
        }
    }
}

impl From<EngineStopped> for CommandError {
    fn from(error: EngineStopped) -> Self {
        Self::new(ErrorCode::EngineStopped, error)
    }
}
