//! What participants tell each other over the data channel `ahoy`: JSON texts, tag `type`.
//! Names and device states travel here, encrypted between the two computers, and never through
//! the signaling server.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::adaptation::QualityLimitationReason;

/// Version of these messages. A message of another version is still read where its fields agree.
pub const STATUS_VERSION: u32 = 1;

/// Longest accepted message in bytes. A status is below 1 kB; more is an attempt to waste memory.
pub const MAX_MESSAGE_BYTES: usize = 4096;

/// Longest accepted name in characters; the rest is cut off.
pub const MAX_NAME_CHARS: usize = 64;

/// A message between two participants.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "type")]
pub enum PeerMessage {
    /// Sent when the channel opens and whenever something in it changes.
    #[serde(rename_all = "camelCase")]
    Status {
        /// [`STATUS_VERSION`] of the sender.
        version: u32,
        /// The sender's name; may be empty.
        name: String,
        /// Nothing that the sender's microphone hears is sent.
        microphone_muted: bool,
        /// The sender's camera sends pictures.
        camera_on: bool,
        /// The sender's microphone was unplugged and is not back; another one may have taken its
        /// place.
        #[serde(default)]
        microphone_unplugged: bool,
    },
    /// How the other side's sound arrives at the sender, once a second while packets go missing.
    /// RTCP tells how many are lost, but not how many in a row.
    #[serde(rename_all = "camelCase")]
    SoundGaps {
        /// Packets that were missing when they were to be played, since the beginning.
        packets: u64,
        /// Gaps that they made.
        gaps: u64,
    },
    /// What the sender's picture is, sent when it changes and it is less than its user wants, or
    /// is so no longer.
    #[serde(rename_all = "camelCase")]
    Sending {
        /// Why it is less.
        limitation: QualityLimitationReason,
        /// Lines of the picture when they are fewer than wanted, otherwise 0.
        height: u32,
    },
    /// The code under which others get in, sent when the channel opens and when it is a new one: all
    /// show the same, and let in whoever was given it.
    #[serde(rename_all = "camelCase")]
    Code {
        /// Counts the codes of this room. Of two with the same number, the one whose words come
        /// first in the alphabet counts.
        generation: u32,
        /// `amber-otter`.
        words: String,
        /// The secret of the invite link, in base64url.
        link: String,
    },
    /// Too many wrong words were tried, and nobody gets in with these any more.
    #[serde(rename_all = "camelCase")]
    CodeRetired {
        /// Which code.
        generation: u32,
    },
    /// The sender hangs up now.
    Bye,
    /// A type that this version does not know.
    #[serde(other)]
    Unknown,
}

/// Names and words do not belong in logs.
impl fmt::Debug for PeerMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Status { .. } => "Status",
            Self::SoundGaps { .. } => "SoundGaps",
            Self::Sending { .. } => "Sending",
            Self::Code { .. } => "Code",
            Self::CodeRetired { .. } => "CodeRetired",
            Self::Bye => "Bye",
            Self::Unknown => "Unknown",
        })
    }
}

impl PeerMessage {
    /// The JSON text.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads what a participant sent. `None` for anything too long or malformed. Names come out
    /// cleaned by [`clean_name`].
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MAX_MESSAGE_BYTES {
            return None;
        }
        let message = serde_json::from_slice(bytes).ok()?;
        Some(match message {
            Self::Status {
                version,
                name,
                microphone_muted,
                camera_on,
                microphone_unplugged,
            } => Self::Status {
                version,
                name: clean_name(&name),
                microphone_muted,
                camera_on,
                microphone_unplugged,
            },
            other => other,
        })
    }
}

/// A name that is safe to show: without control and direction-changing characters, trimmed, at
/// most [`MAX_NAME_CHARS`] long.
pub fn clean_name(name: &str) -> String {
    let visible = |c: &char| {
        !c.is_control()
            && !matches!(*c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    let kept: String = name.chars().filter(visible).take(MAX_NAME_CHARS).collect();
    kept.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_round_trips() {
        let message = PeerMessage::Status {
            version: STATUS_VERSION,
            name: "Mira".to_owned(),
            microphone_muted: true,
            camera_on: false,
            microphone_unplugged: true,
        };
        assert_eq!(
            PeerMessage::parse(message.to_json().as_bytes()),
            Some(message)
        );
    }

    #[test]
    fn hostile_messages_are_refused_or_cleaned() {
        assert_eq!(
            PeerMessage::parse(b"{\"type\":\"later\",\"x\":1}"),
            Some(PeerMessage::Unknown)
        );
        assert_eq!(PeerMessage::parse(b"[]"), None);
        assert_eq!(PeerMessage::parse(b"\xff\xfe"), None);
        assert_eq!(PeerMessage::parse(&vec![b' '; MAX_MESSAGE_BYTES + 1]), None);
        let long = format!(
            "{{\"type\":\"status\",\"version\":9,\"name\":\"\u{202e}{}\\n\",\"microphoneMuted\":false,\"cameraOn\":true}}",
            "x".repeat(500)
        );
        let Some(PeerMessage::Status { name, .. }) = PeerMessage::parse(long.as_bytes()) else {
            panic!("a status");
        };
        assert_eq!(name, "x".repeat(MAX_NAME_CHARS));
    }
}
