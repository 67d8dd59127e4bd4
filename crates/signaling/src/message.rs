//! The messages between a client and a server: JSON objects whose `type` says what they are.
//!
//! Each message is one WebSocket text message (RFC 6455 section 5.6). Unknown fields are ignored,
//! so that a newer side can say more; an unknown `type` is an error that the other side learns of.
//! `docs/signaling-protocol.md` describes the conversation.

mod ice_server;
mod secret;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::room_code::RoomNumber;
pub use ice_server::{IceServer, MAX_ICE_SERVERS, MAX_ICE_TEXT, MAX_ICE_URLS};
pub use secret::Secret;

/// Version of the conversation: raised when an older side could no longer follow it.
pub const PROTOCOL_VERSION: u32 = 2;

/// WebSocket subprotocol (RFC 6455 section 1.9) that both sides name in the handshake, so that
/// each knows at once that the other is no Ahoy.
pub const SUBPROTOCOL: &str = "ahoy.2";

/// Longest message in bytes: room for the longest [`SignalData`], and small enough that nobody can
/// fill a server's memory with a few messages.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// Longest [`SignalData`] in characters: 46,080 bytes. A session description of 32 KiB, four times
/// the longest seen, fits in with its line ends escaped and sealed; and the rest of a message fits
/// around it whatever it is, so that what a server passes on is never too long for the receiver.
pub const MAX_SIGNAL: usize = 60 * 1024;

/// Most people in one room: a mesh of more would ask too much of a home's uplink.
pub const MAX_PARTICIPANTS: usize = 10;

/// Number of a participant within its room, handed out in join order from 1, never reused.
pub type ParticipantId = u32;

/// What a client says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "type",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum ClientMessage {
    /// Opens a room and enters it. Answered by [`ServerMessage::Created`].
    Create {
        /// [`PROTOCOL_VERSION`] of the client.
        version: u32,
        /// How far the room is to reach; only the server inside a window asks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reach: Option<Reach>,
        /// The number that it is to have; without one the server draws it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        room: Option<RoomNumber>,
        /// Whether the client can [resume](Self::Resume) its seat.
        #[serde(default, skip_serializing_if = "is_false")]
        resumable: bool,
    },
    /// Enters a room. Answered by [`ServerMessage::Joined`].
    Join {
        /// [`PROTOCOL_VERSION`] of the client.
        version: u32,
        /// The room.
        room: RoomNumber,
        /// Whether the client can [resume](Self::Resume) its seat.
        #[serde(default, skip_serializing_if = "is_false")]
        resumable: bool,
    },
    /// Takes a seat over whose connection broke, or the whole room when the server has forgotten
    /// it. Answered by [`ServerMessage::Resumed`].
    Resume {
        /// [`PROTOCOL_VERSION`] of the client.
        version: u32,
        /// The room.
        room: RoomNumber,
        /// The client's own number in it.
        participant: ParticipantId,
        /// The seat's.
        token: Secret,
        /// The room's.
        room_token: Secret,
        /// Everybody whom the client believes to be in the room, in join order, itself included.
        participants: Vec<ParticipantId>,
        /// The highest number that anybody has had in this room, as far as the client knows: a room
        /// that is opened again gives none a second time. `None` means the last of `participants`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        highest: Option<ParticipantId>,
        /// How many messages from other participants it has had on this seat.
        received: u64,
    },
    /// So many messages from other participants have arrived on this seat.
    Received {
        /// How many.
        count: u64,
    },
    /// Asks for [`ServerMessage::IceServers`].
    IceServers,
    /// Leaves the room; the connection may be used for another.
    Leave,
    /// Something for one other participant that the server cannot read.
    Signal {
        /// For whom.
        to: ParticipantId,
        /// What.
        data: SignalData,
    },
    /// Asks for a [`ServerMessage::Pong`].
    Ping,
    /// Answers [`ServerMessage::Ping`].
    Pong,
}

/// What a server says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "type",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum ServerMessage {
    /// The room is there, and the client in it, alone.
    Created {
        /// Its number.
        room: RoomNumber,
        /// The client's own number in it.
        participant: ParticipantId,
        /// Everybody in it, in join order, the client included.
        participants: Vec<ParticipantId>,
        /// How far the room really reaches.
        reach: Reach,
        /// How to take the seat over later, for a client that can.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resume: Option<Ticket>,
        /// STUN and TURN servers for the call.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        ice_servers: Vec<IceServer>,
        /// For how many seconds their credentials are good; for ever without.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ice_servers_lifetime: Option<u32>,
    },
    /// The client is in the room.
    Joined {
        /// Its number.
        room: RoomNumber,
        /// The client's own number in it.
        participant: ParticipantId,
        /// Everybody in it, in join order, the client last.
        participants: Vec<ParticipantId>,
        /// Those of them whose connection to the server is broken at present.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        away: Vec<ParticipantId>,
        /// How to take the seat over later, for a client that can.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resume: Option<Ticket>,
        /// STUN and TURN servers for the call.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        ice_servers: Vec<IceServer>,
        /// For how many seconds their credentials are good; for ever without.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ice_servers_lifetime: Option<u32>,
    },
    /// The client has its seat again. What other participants said meanwhile follows.
    Resumed {
        /// The room.
        room: RoomNumber,
        /// The client's own number in it.
        participant: ParticipantId,
        /// Everybody in it, in join order, the client included.
        participants: Vec<ParticipantId>,
        /// Those of them whose connection to the server is broken at present.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        away: Vec<ParticipantId>,
        /// How many messages for other participants the server has had on this seat; missing when
        /// it had forgotten the room and counts from 0 again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        received: Option<u64>,
        /// STUN and TURN servers for the call.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        ice_servers: Vec<IceServer>,
        /// For how many seconds their credentials are good; for ever without.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ice_servers_lifetime: Option<u32>,
    },
    /// The STUN and TURN servers once more, with fresh credentials.
    IceServers {
        /// STUN and TURN servers for the call.
        ice_servers: Vec<IceServer>,
        /// For how many seconds their credentials are good; for ever without.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ice_servers_lifetime: Option<u32>,
    },
    /// So many messages for other participants have arrived on this seat.
    Received {
        /// How many.
        count: u64,
    },
    /// Somebody else came in.
    ParticipantJoined {
        /// Who.
        participant: ParticipantId,
    },
    /// Somebody else is gone.
    ParticipantLeft {
        /// Who.
        participant: ParticipantId,
        /// Why.
        reason: LeaveReason,
    },
    /// Somebody's connection to the server broke. The seat is kept for a while, and the call itself
    /// may go on.
    ParticipantAway {
        /// Who.
        participant: ParticipantId,
        /// [`LeaveReason::Timeout`] when it fell silent, as a network does that is gone;
        /// [`LeaveReason::Disconnected`] when it was closed without a word, as by a crash.
        #[serde(default = "LeaveReason::unknown")]
        reason: LeaveReason,
    },
    /// Somebody who was away has a connection to the server again.
    ParticipantBack {
        /// Who.
        participant: ParticipantId,
    },
    /// Something from another participant that the server cannot read.
    Signal {
        /// From whom.
        from: ParticipantId,
        /// What.
        data: SignalData,
    },
    /// Something that the client said was not done.
    Error {
        /// Why, for programs.
        code: ErrorCode,
        /// Why, in English, for people who read logs.
        message: String,
    },
    /// Asks for a [`ClientMessage::Pong`].
    Ping,
    /// Answers [`ClientMessage::Ping`].
    Pong,
}

/// What a client needs to take its seat over from a broken connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ticket {
    /// Proves that the seat is this client's. Nobody else is told.
    pub token: Secret,
    /// Tells this room from another that gets the same number later. Everybody in it is told.
    pub room_token: Secret,
    /// How many seconds a seat is kept.
    pub within: u32,
}

/// How far a room reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reach {
    /// Only clients on the server's own computer can enter.
    Computer,
    /// Clients on the same network can enter as well.
    Network,
    /// Whoever reaches the server can enter.
    Server,
}

/// Why a participant is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LeaveReason {
    /// Said so.
    Left,
    /// The connection closed without a word: a crash, a network that is gone.
    Disconnected,
    /// Silent for too long.
    Timeout,
    /// The server put it out, for hostile messages or for not taking what was sent to it.
    Removed,
    /// A reason that this version does not know.
    #[serde(other)]
    Unknown,
}

impl LeaveReason {
    const fn unknown() -> Self {
        Self::Unknown
    }
}

/// Why something was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ErrorCode {
    /// Not JSON, not an object, a wrong or missing field.
    Malformed,
    /// A `type` that this server does not know.
    UnknownType,
    /// The message or one of its fields is too long.
    TooLarge,
    /// The client speaks a version that this server does not.
    WrongVersion,
    /// No room has this number.
    UnknownRoom,
    /// Ten are in it.
    RoomFull,
    /// Asks for a room while in one.
    AlreadyInRoom,
    /// Asks for what only somebody in a room can do.
    NotInRoom,
    /// Nobody in the room has this number.
    UnknownParticipant,
    /// Too many messages, or too many wrong room numbers, in too short a time.
    TooFast,
    /// The server has as many rooms as it may, in all or for this address.
    TooManyRooms,
    /// The server has as many connections as it may, in all or for this address.
    TooManyConnections,
    /// The number that was asked for belongs to another room.
    NumberTaken,
    /// There is no such seat to be taken over.
    UnknownSeat,
    /// Too much waits for this participant, whose connection to the server is broken.
    ParticipantAway,
    /// Another connection has taken the seat over.
    Replaced,
    /// This server opens rooms for its own computer only.
    NotAllowed,
    /// Connected for a while without entering a room.
    Idle,
    /// The server is shutting down.
    ShuttingDown,
    /// A code that this version does not know.
    #[serde(other)]
    Unknown,
}

/// What participants tell each other through the server: bytes as base64url without padding (RFC
/// 4648 section 5). They are sealed, so that only the two can read them; a server passes them on.
///
/// `Debug`, and with it every log, shows the length only.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SignalData(String);

impl SignalData {
    /// `bytes` as they travel; `None` when they are too many for [`MAX_SIGNAL`].
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let text = URL_SAFE_NO_PAD.encode(bytes);
        (text.len() <= MAX_SIGNAL).then_some(Self(text))
    }

    /// The bytes; `None` when the text is not canonical base64url.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        URL_SAFE_NO_PAD.decode(&self.0).ok()
    }

    /// Length of the text in characters, which are bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it looks like what it must be; a server need not know more.
    fn check(&self) -> Result<(), MessageError> {
        check_length("data", self.0.len(), MAX_SIGNAL)?;
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if self.0.bytes().all(allowed) {
            Ok(())
        } else {
            Err(MessageError::Malformed)
        }
    }
}

impl fmt::Debug for SignalData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignalData({} characters)", self.0.len())
    }
}

/// Why a text is no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Longer than [`MAX_MESSAGE`].
    #[error("the message is longer than {MAX_MESSAGE} bytes")]
    TooLarge,
    /// A field is longer than its limit.
    #[error("the field {field} is longer than {limit} bytes")]
    FieldTooLarge {
        /// Which.
        field: &'static str,
        /// How long it may be.
        limit: usize,
    },
    /// Not a JSON object with a `type`.
    #[error("the message is no JSON object with a type")]
    NotAMessage,
    /// A `type` that this version does not know. It is not repeated here: a stranger wrote it.
    #[error("the message has an unknown type")]
    UnknownType,
    /// A known `type` with a wrong or missing field.
    #[error("a field of the message is missing or wrong")]
    Malformed,
}

impl MessageError {
    /// The code under which the other side learns of it.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::TooLarge | Self::FieldTooLarge { .. } => ErrorCode::TooLarge,
            Self::NotAMessage | Self::Malformed => ErrorCode::Malformed,
            Self::UnknownType => ErrorCode::UnknownType,
        }
    }
}

impl ClientMessage {
    const TYPES: [&str; 9] = [
        "create",
        "join",
        "resume",
        "received",
        "iceServers",
        "leave",
        "signal",
        "ping",
        "pong",
    ];

    /// Reads a message, whoever wrote it.
    pub fn parse(text: &str) -> Result<Self, MessageError> {
        let message = parse(text, &Self::TYPES)?;
        match &message {
            Self::Signal { data, .. } => data.check()?,
            Self::Resume { participants, .. } => {
                check_length("participants", participants.len(), MAX_PARTICIPANTS)?;
            }
            Self::Create { .. }
            | Self::Join { .. }
            | Self::Received { .. }
            | Self::IceServers
            | Self::Leave
            | Self::Ping
            | Self::Pong => {}
        }
        Ok(message)
    }

    /// The message as it travels.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers can always be written as JSON")
    }

    /// Whether it is for another participant: these are counted, so that none is lost and none
    /// comes twice when a seat is resumed.
    pub fn is_counted(&self) -> bool {
        matches!(self, Self::Signal { .. })
    }
}

impl ServerMessage {
    const TYPES: [&str; 13] = [
        "created",
        "joined",
        "resumed",
        "iceServers",
        "received",
        "participantAway",
        "participantBack",
        "participantJoined",
        "participantLeft",
        "signal",
        "error",
        "ping",
        "pong",
    ];

    /// Reads a message, whoever wrote it.
    pub fn parse(text: &str) -> Result<Self, MessageError> {
        let message = parse(text, &Self::TYPES)?;
        match &message {
            Self::Signal { data, .. } => data.check()?,
            Self::Created {
                participants,
                ice_servers,
                ..
            } => {
                check_length("participants", participants.len(), MAX_PARTICIPANTS)?;
                ice_server::check(ice_servers)?;
            }
            Self::Joined {
                participants,
                away,
                ice_servers,
                ..
            }
            | Self::Resumed {
                participants,
                away,
                ice_servers,
                ..
            } => {
                check_length("participants", participants.len(), MAX_PARTICIPANTS)?;
                check_length("away", away.len(), MAX_PARTICIPANTS)?;
                ice_server::check(ice_servers)?;
            }
            Self::IceServers { ice_servers, .. } => ice_server::check(ice_servers)?,
            Self::ParticipantJoined { .. }
            | Self::ParticipantLeft { .. }
            | Self::ParticipantAway { .. }
            | Self::ParticipantBack { .. }
            | Self::Received { .. }
            | Self::Error { .. }
            | Self::Ping
            | Self::Pong => {}
        }
        Ok(message)
    }

    /// The message as it travels.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers can always be written as JSON")
    }

    /// Whether it is from another participant, see [`ClientMessage::is_counted`].
    pub fn is_counted(&self) -> bool {
        matches!(self, Self::Signal { .. })
    }

    /// Fills in `servers` where the message has a place for them.
    pub fn set_ice_servers(&mut self, servers: Vec<IceServer>, lifetime: Option<u32>) {
        if let Self::Created {
            ice_servers,
            ice_servers_lifetime,
            ..
        }
        | Self::Joined {
            ice_servers,
            ice_servers_lifetime,
            ..
        }
        | Self::Resumed {
            ice_servers,
            ice_servers_lifetime,
            ..
        }
        | Self::IceServers {
            ice_servers,
            ice_servers_lifetime,
        } = self
        {
            *ice_servers = servers;
            *ice_servers_lifetime = lifetime;
        }
    }

    /// Whether [`Self::set_ice_servers`] has an effect.
    pub fn has_ice_servers(&self) -> bool {
        matches!(
            self,
            Self::Created { .. }
                | Self::Joined { .. }
                | Self::Resumed { .. }
                | Self::IceServers { .. }
        )
    }

    /// The error `code` with its English sentence.
    pub fn error(code: ErrorCode) -> Self {
        Self::Error {
            code,
            message: code.sentence().to_owned(),
        }
    }
}

impl ErrorCode {
    /// What the code means, in English.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Malformed => "the message could not be read",
            Self::UnknownType => "the message has an unknown type",
            Self::TooLarge => "the message or one of its fields is too long",
            Self::WrongVersion => "this server speaks another version of the protocol",
            Self::UnknownRoom => "no room has this number",
            Self::RoomFull => "ten people are in this room already",
            Self::AlreadyInRoom => "this connection is in a room already",
            Self::NotInRoom => "this connection is in no room",
            Self::UnknownParticipant => "nobody in the room has this number",
            Self::TooFast => "too many messages in too short a time",
            Self::TooManyRooms => "the server has as many rooms as it may",
            Self::TooManyConnections => "the server has as many connections as it may",
            Self::NumberTaken => "another room has this number",
            Self::UnknownSeat => "there is no such seat",
            Self::ParticipantAway => "too much waits for somebody whose connection is broken",
            Self::Replaced => "another connection has taken this seat over",
            Self::NotAllowed => "this server opens rooms for its own computer only",
            Self::Idle => "the connection entered no room",
            Self::ShuttingDown => "the server is shutting down",
            Self::Unknown => "the server gave a reason that is unknown here",
        }
    }
}

#[derive(Deserialize)]
struct Tagged<'a> {
    #[serde(rename = "type", borrow)]
    kind: std::borrow::Cow<'a, str>,
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str, types: &[&str]) -> Result<T, MessageError> {
    if text.len() > MAX_MESSAGE {
        return Err(MessageError::TooLarge);
    }
    // serde also reads a struct from an array; a message is an object.
    if !text.trim_start().starts_with('{') {
        return Err(MessageError::NotAMessage);
    }
    let tagged: Tagged<'_> = serde_json::from_str(text).map_err(|_| MessageError::NotAMessage)?;
    if !types.contains(&tagged.kind.as_ref()) {
        return Err(MessageError::UnknownType);
    }
    serde_json::from_str(text).map_err(|_| MessageError::Malformed)
}

fn is_false(value: &bool) -> bool {
    !value
}

fn check_length(field: &'static str, length: usize, limit: usize) -> Result<(), MessageError> {
    if length > limit {
        Err(MessageError::FieldTooLarge { field, limit })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
