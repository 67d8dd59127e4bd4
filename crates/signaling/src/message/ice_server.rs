//! The STUN and TURN servers that a signaling server hands out.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{MessageError, check_length};

/// Most servers in one message, and most URLs of each: a STUN server and two relays by three
/// transports each are seven URLs.
pub const MAX_ICE_SERVERS: usize = 8;
/// Most URLs of one server.
pub const MAX_ICE_URLS: usize = 8;
/// Longest URL, user name and credential in bytes: a host name has up to 253, a user name in TURN
/// up to 508 (RFC 8489 section 14.3).
pub const MAX_ICE_TEXT: usize = 512;

/// A STUN or TURN server (W3C `RTCIceServer`).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceServer {
    /// Such as `turn:example.org:3478?transport=udp` (RFC 7064, RFC 7065).
    pub urls: Vec<String>,
    /// User name, for TURN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Password, for TURN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

/// Whoever has the credential may use the relay: it does not belong in logs, nor does the user name
/// that goes with it.
impl fmt::Debug for IceServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceServer")
            .field("urls", &self.urls)
            .field("with_credential", &self.credential.is_some())
            .finish()
    }
}

pub(super) fn check(servers: &[IceServer]) -> Result<(), MessageError> {
    check_length("iceServers", servers.len(), MAX_ICE_SERVERS)?;
    for server in servers {
        check_length("urls", server.urls.len(), MAX_ICE_URLS)?;
        for url in &server.urls {
            check_length("urls", url.len(), MAX_ICE_TEXT)?;
        }
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        check_length("username", length(&server.username), MAX_ICE_TEXT)?;
        check_length("credential", length(&server.credential), MAX_ICE_TEXT)?;
    }
    Ok(())
}
