//! What can go wrong with a connection, by what can be done about it.

/// Longest part of a library's explanation that is kept.
const MAX_REASON_CHARS: usize = 200;

/// Why an operation on a transport failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// The connection is closed: make a new one.
    #[error("the connection is closed")]
    Closed,
    /// No socket, certificate or codec could be set up: nothing to retry without a change.
    #[error("the connection could not be set up: {0}")]
    Setup(String),
    /// The other side's description cannot be used: refuse it.
    #[error("their session description cannot be used: {0}")]
    InvalidDescription(String),
    /// The other side's candidate cannot be used: go on without it.
    #[error("their candidate cannot be used: {0}")]
    InvalidCandidate(String),
    /// The operation does not fit the state of the negotiation.
    #[error("not possible in this state: {0}")]
    InvalidState(String),
}

/// A library's explanation, short enough for a log.
pub(super) fn reason(error: &dyn std::fmt::Display) -> String {
    error.to_string().chars().take(MAX_REASON_CHARS).collect()
}
