//! What two verified participants tell each other through the server: JSON, tag `type`, in a sealed
//! frame. Once they are connected, everything else goes over their data channel (see `status`).

use serde::{Deserialize, Serialize};

use crate::negotiation::{Candidate, Description};

/// Longest `sdp` in bytes. Real ones have up to 8 KiB.
pub const MAX_SDP: usize = 32 * 1024;

/// Longest candidate line in bytes: the grammar (RFC 8839 section 5.1) with a 253-character host
/// name stays below 600.
pub const MAX_CANDIDATE: usize = 1024;

/// Longest `sdpMid` and `usernameFragment` in bytes (RFC 8839 section 5.4 allows 256).
pub const MAX_LABEL: usize = 256;

/// A message between two participants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum SealedMessage {
    /// A session description.
    Description {
        /// It.
        description: Description,
    },
    /// An ICE candidate.
    Candidate {
        /// It; `null` after the last one.
        candidate: Option<Candidate>,
    },
    /// A type that this version does not know.
    #[serde(other)]
    Unknown,
}

/// Why a text is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealedMessageError {
    /// No JSON object with a `type`, or a field missing or wrong.
    #[error("the message could not be read")]
    Malformed,
    /// A field is longer than its limit.
    #[error("the field {field} is longer than {limit} bytes")]
    FieldTooLarge {
        /// Which.
        field: &'static str,
        /// How long it may be.
        limit: usize,
    },
}

impl SealedMessage {
    /// The JSON text.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads what a participant sent.
    ///
    /// # Errors
    ///
    /// [`SealedMessageError`]
    pub fn parse(bytes: &[u8]) -> Result<Self, SealedMessageError> {
        let message = serde_json::from_slice(bytes).map_err(|_| SealedMessageError::Malformed)?;
        match &message {
            Self::Description { description } => check("sdp", &description.sdp, MAX_SDP)?,
            Self::Candidate {
                candidate: Some(candidate),
            } => {
                let label = |label: &Option<String>| label.clone().unwrap_or_default();
                check("candidate", &candidate.candidate, MAX_CANDIDATE)?;
                check("sdpMid", &label(&candidate.sdp_mid), MAX_LABEL)?;
                let fragment = label(&candidate.username_fragment);
                check("usernameFragment", &fragment, MAX_LABEL)?;
            }
            Self::Candidate { candidate: None } | Self::Unknown => {}
        }
        Ok(message)
    }
}

fn check(field: &'static str, text: &str, limit: usize) -> Result<(), SealedMessageError> {
    if text.len() > limit {
        Err(SealedMessageError::FieldTooLarge { field, limit })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::negotiation::DescriptionKind;

    fn offer(sdp: &str) -> SealedMessage {
        SealedMessage::Description {
            description: Description {
                kind: DescriptionKind::Offer,
                sdp: sdp.to_owned(),
            },
        }
    }

    fn candidate(line: &str, mid: &str) -> SealedMessage {
        SealedMessage::Candidate {
            candidate: Some(Candidate {
                candidate: line.to_owned(),
                sdp_mid: Some(mid.to_owned()),
                sdp_m_line_index: Some(0),
                username_fragment: None,
            }),
        }
    }

    #[test]
    fn messages_look_as_documented() {
        for (message, json) in [
            (
                offer("v=0\r\n"),
                r#"{"type":"description","description":{"type":"offer","sdp":"v=0\r\n"}}"#,
            ),
            (
                candidate("candidate:1", "0"),
                r#"{"type":"candidate","candidate":{"candidate":"candidate:1","sdpMid":"0","sdpMLineIndex":0,"usernameFragment":null}}"#,
            ),
            (
                SealedMessage::Candidate { candidate: None },
                r#"{"type":"candidate","candidate":null}"#,
            ),
        ] {
            assert_eq!(message.to_json(), json);
            assert_eq!(SealedMessage::parse(json.as_bytes()), Ok(message));
        }
        let later = br#"{"type":"later","x":1}"#;
        assert_eq!(SealedMessage::parse(later), Ok(SealedMessage::Unknown));
    }

    #[test]
    fn what_is_too_long_or_malformed_is_refused() {
        let parse = |message: SealedMessage| SealedMessage::parse(message.to_json().as_bytes());
        assert!(parse(offer(&"x".repeat(MAX_SDP))).is_ok());
        let long = |field, limit| Err(SealedMessageError::FieldTooLarge { field, limit });
        assert_eq!(parse(offer(&"x".repeat(MAX_SDP + 1))), long("sdp", MAX_SDP));
        assert_eq!(
            parse(candidate(&"x".repeat(MAX_CANDIDATE + 1), "")),
            long("candidate", MAX_CANDIDATE)
        );
        assert_eq!(
            parse(candidate("", &"x".repeat(MAX_LABEL + 1))),
            long("sdpMid", MAX_LABEL)
        );
        for text in [
            "",
            "[]",
            "\u{1}",
            r#"{"type":"description","description":{"type":"rollback","sdp":""}}"#,
            r#"{"type":"description"}"#,
        ] {
            let read = SealedMessage::parse(text.as_bytes());
            assert_eq!(read, Err(SealedMessageError::Malformed), "{text}");
        }
    }
}
