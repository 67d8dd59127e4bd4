//! How a server answers, as far as the messages that pass by tell. Pure.

use serde::Serialize;

use crate::server::{IceUri, ServerTransport, Service};
use crate::stun::{Allocate, Kind};

/// Unauthenticated or wrong (RFC 8489 section 9.2.4).
const UNAUTHORIZED: u16 = 401;
/// Ask again with the new nonce (RFC 8489 section 9.2.4).
const STALE_NONCE: u16 = 438;
/// Ask elsewhere (RFC 8489 section 10).
const TRY_ALTERNATE: u16 = 300;

/// How far a server got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub enum ServerState {
    /// Nothing was asked yet: streams wait for a relay over UDP first.
    #[default]
    Unused,
    /// Asked; no answer yet.
    Asking,
    /// It relays for us.
    Allocated,
    /// User name or password is wrong, or has expired.
    WrongCredential,
    /// It refused, with a code of RFC 8656 section 19.
    Refused {
        /// The error code.
        code: u16,
    },
    /// Its name is unknown, or no name server answers.
    Unresolved,
    /// No stream came about, or it broke.
    Unreachable,
    /// Its certificate is not trusted or is another host's.
    BadCertificate,
}

/// A server and how it answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServerStatus {
    /// Which server.
    pub uri: IceUri,
    /// How far it got.
    #[serde(flatten)]
    pub state: ServerState,
}

impl ServerStatus {
    /// Whether it is a relay.
    pub const fn relays(&self) -> bool {
        matches!(self.uri.service(), Service::Turn)
    }

    /// How it is reached.
    pub const fn transport(&self) -> ServerTransport {
        self.uri.transport()
    }
}

/// Follows one server.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tracker {
    state: ServerState,
    /// The last request that named a user: a 401 to it means that the user is not accepted.
    authenticated: Option<[u8; 12]>,
}

impl Tracker {
    pub(crate) const fn state(self) -> ServerState {
        self.state
    }

    pub(crate) fn sent(&mut self, message: Allocate) {
        if let Kind::Request { authenticated } = message.kind {
            if authenticated {
                self.authenticated = Some(message.transaction);
            }
            if matches!(self.state, ServerState::Unused | ServerState::Unreachable) {
                self.state = ServerState::Asking;
            }
        }
    }

    pub(crate) fn received(&mut self, message: Allocate) {
        match message.kind {
            Kind::Success => self.state = ServerState::Allocated,
            Kind::Error { code: UNAUTHORIZED } => {
                // Those to the first request, and to its repetitions, belong to the exchange.
                if self.authenticated == Some(message.transaction) {
                    self.state = ServerState::WrongCredential;
                }
            }
            Kind::Error {
                code: STALE_NONCE | TRY_ALTERNATE,
            }
            | Kind::Request { .. } => {}
            Kind::Error { code } => self.state = ServerState::Refused { code },
        }
    }

    pub(crate) fn failed(&mut self, state: ServerState) {
        self.state = state;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: [u8; 12] = [1; 12];
    const SECOND: [u8; 12] = [2; 12];

    fn request(transaction: [u8; 12]) -> Allocate {
        Allocate {
            kind: Kind::Request {
                authenticated: transaction == SECOND,
            },
            transaction,
        }
    }

    fn error(code: u16, transaction: [u8; 12]) -> Allocate {
        Allocate {
            kind: Kind::Error { code },
            transaction,
        }
    }

    #[test]
    fn the_first_401_is_part_of_the_exchange_and_the_second_is_not() {
        let mut tracker = Tracker::default();
        tracker.sent(request(FIRST));
        tracker.received(error(401, FIRST));
        assert_eq!(tracker.state(), ServerState::Asking);
        tracker.sent(request(SECOND));
        tracker.received(error(401, FIRST));
        tracker.received(error(438, SECOND));
        assert_eq!(tracker.state(), ServerState::Asking);
        tracker.received(error(401, SECOND));
        assert_eq!(tracker.state(), ServerState::WrongCredential);
    }

    #[test]
    fn relays_and_refusals_are_told() {
        let mut tracker = Tracker::default();
        tracker.sent(request(FIRST));
        tracker.failed(ServerState::Unreachable);
        tracker.sent(request(FIRST));
        assert_eq!(tracker.state(), ServerState::Asking);
        tracker.sent(request(SECOND));
        tracker.received(Allocate {
            kind: Kind::Success,
            transaction: SECOND,
        });
        assert_eq!(tracker.state(), ServerState::Allocated);
        tracker.received(error(486, SECOND));
        assert_eq!(tracker.state(), ServerState::Refused { code: 486 });
    }
}
