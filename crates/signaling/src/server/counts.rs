//! What a server has done so far.

use std::collections::HashMap;

use crate::message::{ErrorCode, ServerMessage};

/// Counts since the start. None of them tells anything about a single room or person.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that were let in.
    pub connections: u64,
    /// Connections that were refused for want of room.
    pub connections_refused: u64,
    /// Connections that were passed on to the relay.
    pub connections_relayed: u64,
    /// Rooms that were opened by `create`.
    pub rooms: u64,
    /// Seats taken by `join`.
    pub joins: u64,
    /// Seats taken over by `resume`.
    pub resumes: u64,
    /// Messages that were read, or could not be.
    pub messages_received: u64,
    /// Their bytes.
    pub bytes_received: u64,
    /// Messages that were put into a queue to a client.
    pub messages_sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
    /// Those of them that came from another participant.
    pub forwarded: u64,
    /// Connections that were closed because they did not take what was sent to them.
    pub slow_readers: u64,
    /// Errors that clients were told of.
    pub errors: HashMap<ErrorCode, u64>,
}

impl Counts {
    pub(super) fn sent(&mut self, message: &ServerMessage) {
        self.forwarded += u64::from(message.is_counted());
        match message {
            ServerMessage::Created { .. } => self.rooms += 1,
            ServerMessage::Joined { .. } => self.joins += 1,
            ServerMessage::Resumed { .. } => self.resumes += 1,
            ServerMessage::Error { code, .. } => *self.errors.entry(*code).or_insert(0) += 1,
            _ => {}
        }
    }
}
