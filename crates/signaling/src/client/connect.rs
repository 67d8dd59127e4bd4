//! From an address to a seat in a room.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;
use tokio_tungstenite::tungstenite::http::{Response, StatusCode, Uri};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config};

use super::{ConnectOptions, Entry, Seat, SignalingError};
use crate::address::ServerAddress;
use crate::message::{
    ClientMessage, ErrorCode, MAX_MESSAGE, ParticipantId, SUBPROTOCOL, ServerMessage, Ticket,
};
use crate::tls;

pub(super) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Head start of one address of a host before the next is tried beside it (RFC 8305 section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// Signaling messages are small; the library's own 128 KiB would be waste.
const READ_BUFFER: usize = 4 * 1024;

/// TCP, TLS where asked for, and the WebSocket handshake.
pub(super) async fn open(
    address: &ServerAddress,
    options: &ConnectOptions,
) -> Result<Socket, SignalingError> {
    let unreachable = |error: io::Error| SignalingError::Unreachable {
        detail: error.to_string(),
        refused: error.kind() == io::ErrorKind::ConnectionRefused,
    };
    let uri: Uri = format!("{address}/")
        .parse()
        .map_err(|_| SignalingError::NotAhoy)?;
    let connector = connector(address, options).await?;
    let tcp = connect_tcp(address).await.map_err(unreachable)?;
    // Candidates are small and each one counts: no waiting for more to send (RFC 9293 3.7.4).
    tcp.set_nodelay(true).map_err(unreachable)?;
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    let request = ClientRequestBuilder::new(uri).with_sub_protocol(SUBPROTOCOL);
    let (socket, _) = client_async_tls_with_config(request, tcp, Some(config), Some(connector))
        .await
        .map_err(handshake_error)?;
    Ok(socket)
}

/// Asks for a room and waits for the answer.
pub(super) async fn enter(
    socket: &mut Socket,
    entry: Entry,
    resumable: bool,
) -> Result<(Seat, Option<Ticket>), SignalingError> {
    let (seat, ticket) = ask(socket, &entry.message(resumable), |message| {
        entered(entry, message)
    })
    .await?;
    // A server that contradicts itself is none of ours.
    let in_join_order = seat.participants.is_sorted_by(|a, b| a < b);
    if in_join_order && seat.participants.last() == Some(&seat.participant) {
        Ok((seat, ticket))
    } else {
        Err(SignalingError::NotAhoy)
    }
}

fn entered(entry: Entry, message: ServerMessage) -> Option<(Seat, Option<Ticket>)> {
    match message {
        ServerMessage::Created {
            room,
            participant,
            participants,
            reach,
            resume,
            ice_servers,
            ice_servers_lifetime,
        } if entry.creates(room) => Some((
            Seat {
                room,
                participant,
                participants,
                away: Vec::new(),
                reach: Some(reach),
                ice_servers,
                ice_servers_lifetime: seconds(ice_servers_lifetime),
            },
            resume,
        )),
        ServerMessage::Joined {
            room,
            participant,
            participants,
            away,
            resume,
            ice_servers,
            ice_servers_lifetime,
        } if entry == (Entry::Join { room }) => Some((
            Seat {
                room,
                participant,
                participants,
                away,
                reach: None,
                ice_servers,
                ice_servers_lifetime: seconds(ice_servers_lifetime),
            },
            resume,
        )),
        _ => None,
    }
}

fn seconds(lifetime: Option<u32>) -> Option<Duration> {
    lifetime.map(|seconds| Duration::from_secs(seconds.into()))
}

/// A seat that was given back.
pub(super) struct Resumed {
    pub(super) participants: Vec<ParticipantId>,
    pub(super) away: Vec<ParticipantId>,
    pub(super) received: Option<u64>,
    /// The ICE servers that came with it, if any, as a message of their own.
    pub(super) ice: Option<ServerMessage>,
}

/// Asks for the seat that `claim` describes and waits for the answer.
pub(super) async fn resume(
    socket: &mut Socket,
    claim: &ClientMessage,
) -> Result<Resumed, SignalingError> {
    let ClientMessage::Resume {
        room: ours,
        participant: myself,
        ..
    } = *claim
    else {
        return Err(SignalingError::NotAhoy);
    };
    let resumed = ask(socket, claim, |message| match message {
        ServerMessage::Resumed {
            room,
            participant,
            participants,
            away,
            received,
            ice_servers,
            ice_servers_lifetime,
        } if (room, participant) == (ours, myself) => Some(Resumed {
            participants,
            away,
            received,
            ice: (!ice_servers.is_empty()).then_some(ServerMessage::IceServers {
                ice_servers,
                ice_servers_lifetime,
            }),
        }),
        _ => None,
    })
    .await?;
    let consistent = resumed.participants.is_sorted_by(|a, b| a < b)
        && resumed.participants.contains(&myself)
        && resumed
            .away
            .iter()
            .all(|id| *id != myself && resumed.participants.contains(id));
    if consistent {
        Ok(resumed)
    } else {
        Err(SignalingError::NotAhoy)
    }
}

/// Says `question` and waits for what `answer` recognises, or an error.
async fn ask<T>(
    socket: &mut Socket,
    question: &ClientMessage,
    answer: impl Fn(ServerMessage) -> Option<T>,
) -> Result<T, SignalingError> {
    send(socket, question)
        .await
        .map_err(|_| SignalingError::Lost)?;
    loop {
        let text = match socket.next().await {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
            Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(SignalingError::Lost),
            Some(Ok(Message::Binary(_) | Message::Frame(_))) => {
                return Err(SignalingError::NotAhoy);
            }
        };
        match ServerMessage::parse(&text) {
            Ok(ServerMessage::Ping) => send(socket, &ClientMessage::Pong)
                .await
                .map_err(|_| SignalingError::Lost)?,
            Ok(ServerMessage::Error { code, .. }) => return Err(refusal(code)),
            Ok(message) => {
                if let Some(answer) = answer(message) {
                    return Ok(answer);
                }
                // Whatever else is said before the answer is not for us, or from a newer version.
            }
            Err(_) => {}
        }
    }
}

pub(super) async fn send(socket: &mut Socket, message: &ClientMessage) -> Result<(), WsError> {
    socket.send(Message::text(message.to_json())).await
}

async fn connector(
    address: &ServerAddress,
    options: &ConnectOptions,
) -> Result<Connector, SignalingError> {
    if !address.is_secure() {
        return Ok(Connector::Plain);
    }
    if let Some(config) = &options.tls {
        return Ok(Connector::Rustls(config.clone()));
    }
    let config = tokio::task::spawn_blocking(tls::client_config)
        .await
        .map_err(|error| SignalingError::Untrusted {
            detail: error.to_string(),
        })?
        .map_err(|detail| SignalingError::Untrusted { detail })?;
    Ok(Connector::Rustls(config))
}

/// Tries the host's addresses one after the other without waiting long for any.
async fn connect_tcp(address: &ServerAddress) -> io::Result<TcpStream> {
    let host = address.host().trim_start_matches('[').trim_end_matches(']');
    let mut left = tokio::net::lookup_host((host, address.port()))
        .await?
        .collect::<Vec<SocketAddr>>()
        .into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut last_error = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    loop {
        if let Some(next) = left.next() {
            attempts.push(TcpStream::connect(next));
        } else if attempts.is_empty() {
            return Err(last_error);
        }
        let head_start = async {
            if left.len() == 0 {
                std::future::pending().await
            } else {
                tokio::time::sleep(ATTEMPT_DELAY).await
            }
        };
        tokio::select! {
            Some(result) = attempts.next() => match result {
                Ok(stream) => return Ok(stream),
                Err(error) => last_error = error,
            },
            () = head_start => {}
        }
    }
}

fn handshake_error(error: WsError) -> SignalingError {
    match error {
        WsError::Http(response) => http_error(&response),
        WsError::Io(error) => match error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        {
            Some(rustls::Error::InvalidCertificate(reason)) => SignalingError::Untrusted {
                detail: reason.to_string(),
            },
            _ => SignalingError::NotAhoy,
        },
        _ => SignalingError::NotAhoy,
    }
}

/// An Ahoy server that refuses the handshake still names its subprotocol.
fn http_error(response: &Response<Option<Vec<u8>>>) -> SignalingError {
    let ours = response
        .headers()
        .get("sec-websocket-protocol")
        .and_then(|value| value.to_str().ok());
    match (ours, response.status()) {
        (Some(name), StatusCode::UPGRADE_REQUIRED) if name.starts_with("ahoy.") => {
            SignalingError::WrongVersion
        }
        (Some(SUBPROTOCOL), StatusCode::SERVICE_UNAVAILABLE) => SignalingError::Refused {
            code: ErrorCode::TooManyConnections,
        },
        (Some(SUBPROTOCOL), StatusCode::FORBIDDEN) => SignalingError::Refused {
            code: ErrorCode::NotAllowed,
        },
        _ => SignalingError::NotAhoy,
    }
}

fn refusal(code: ErrorCode) -> SignalingError {
    match code {
        ErrorCode::WrongVersion => SignalingError::WrongVersion,
        ErrorCode::UnknownRoom => SignalingError::UnknownRoom,
        ErrorCode::RoomFull => SignalingError::RoomFull,
        ErrorCode::Malformed
        | ErrorCode::UnknownType
        | ErrorCode::TooLarge
        | ErrorCode::AlreadyInRoom
        | ErrorCode::NotInRoom
        | ErrorCode::UnknownParticipant
        | ErrorCode::TooFast
        | ErrorCode::TooManyRooms
        | ErrorCode::TooManyConnections
        | ErrorCode::NumberTaken
        | ErrorCode::UnknownSeat
        | ErrorCode::ParticipantAway
        | ErrorCode::Replaced
        | ErrorCode::NotAllowed
        | ErrorCode::Idle
        | ErrorCode::ShuttingDown
        | ErrorCode::Unknown => SignalingError::Refused { code },
    }
}
