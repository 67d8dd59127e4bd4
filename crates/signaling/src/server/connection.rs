//! One connection from its first byte to its last.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::{Error as WsError, Message, Utf8Bytes};

use super::entrance::Entrance;
use super::handshake::{Admission, Socket, accept};
use super::relayed::pass_on;
use super::state::{Outbox, State};
use crate::message::{ClientMessage, ErrorCode, LeaveReason, MessageError, ServerMessage};
use crate::room::{ConnectionId, group};

/// How long a client may take for its handshake: shorter than the silence that ends a connection.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(4);
/// How long the handshake of somebody who is refused anyway may take.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a client may take to accept one message before its connection is given up.
const WRITE_TIMEOUT: Duration = Duration::from_secs(4);
/// How long a client may take to answer our goodbye.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Frames of a broken connection that are still read: more than an honest client has under way.
const MAX_REST: usize = 64;
/// How long that may take. A connection that is gone says so at once.
const REST_TIMEOUT: Duration = Duration::from_millis(100);

pub(super) async fn run(
    state: Arc<State>,
    stream: TcpStream,
    entrance: Arc<Entrance>,
    closing: watch::Receiver<bool>,
) {
    // A connection that is gone already has no address.
    let Ok(peer) = stream.peer_addr() else { return };
    let peer = peer.ip().to_canonical();
    // Candidates are small and each one counts: no waiting for more to send (RFC 9293 3.7.4).
    let _ = stream.set_nodelay(true);
    // Whom a proxy speaks for is known when its headers have been read.
    let proxied = entrance.is_proxy(peer);
    let admitted = if proxied {
        None
    } else {
        Admitted::new(&state, peer)
    };
    let (permit, patience) = match &admitted {
        Some(_) => (None, HANDSHAKE_TIMEOUT),
        None => match state.unknown() {
            Some(permit) if proxied => (Some(permit), HANDSHAKE_TIMEOUT),
            Some(permit) => (Some(permit), REFUSAL_TIMEOUT),
            None => return,
        },
    };
    // Apart from the rest, so that its memory is given back when it is done.
    let arriving = Box::pin(arrive(&state, stream, entrance, peer, admitted));
    let Ok(Some(Arrived { socket, admitted })) = timeout(patience, arriving).await else {
        return;
    };
    drop(permit);
    Connection { admitted, closing }.run(socket).await;
}

/// A connection that the rooms know of.
struct Admitted {
    state: Arc<State>,
    id: ConnectionId,
    outbox: Outbox,
}

impl Admitted {
    fn new(state: &Arc<State>, ip: IpAddr) -> Option<Self> {
        let (id, outbox) = state.connect(ip).ok()?;
        Some(Self {
            state: Arc::clone(state),
            id,
            outbox,
        })
    }
}

/// Puts the connection out of its room even if the task is cut off.
impl Drop for Admitted {
    fn drop(&mut self) {
        self.state.disconnect(self.id, LeaveReason::Disconnected);
    }
}

/// A client whose handshake is done.
struct Arrived {
    socket: Socket,
    admitted: Admitted,
}

/// From the first byte to the end of the handshake. `None` when there is no client to talk to.
async fn arrive(
    state: &Arc<State>,
    tcp: TcpStream,
    entrance: Arc<Entrance>,
    peer: IpAddr,
    mut admitted: Option<Admitted>,
) -> Option<Arrived> {
    let mut stream = entrance.open(tcp).await.ok()?;
    if let Some(relay) = entrance.turn
        && stream.is_for_relay().await.ok()?
    {
        drop(admitted);
        let pass = state.relay(group(peer))?;
        // A task of its own: this one ends with the handshake's time.
        tokio::spawn(pass_on(stream, relay, pass));
        return None;
    }
    let proxied = entrance.is_proxy(peer);
    let admit = |forwarded: &[&str]| {
        if proxied && admitted.is_none() {
            admitted = Admitted::new(state, entrance.client(peer, forwarded));
        }
        if admitted.is_some() {
            Admission::Open
        } else {
            Admission::Full
        }
    };
    let socket = accept(stream, state.config().web_pages, admit).await.ok()?;
    Some(Arrived {
        socket,
        admitted: admitted?,
    })
}

struct Connection {
    admitted: Admitted,
    closing: watch::Receiver<bool>,
}

/// How a conversation ends.
#[derive(Debug)]
enum End {
    /// The server wants it, and has said why.
    Dismissed,
    /// The client wants it.
    Closed,
    /// It broke.
    Broken,
}

impl Connection {
    async fn run(mut self, mut socket: Socket) {
        let (state, id) = (Arc::clone(&self.admitted.state), self.admitted.id);
        tracing::debug!(connection = ?id, "connected");
        let end = self.converse(&mut socket).await;
        tracing::debug!(connection = ?id, ?end, "disconnecting");
        match end {
            // Apart, so that the buffers for it take no memory before.
            End::Dismissed => {
                Box::pin(self.say_last_words(&mut socket)).await;
                Box::pin(say_goodbye(socket)).await;
            }
            End::Closed => {
                state.disconnect(id, LeaveReason::Left);
                Box::pin(say_goodbye(socket)).await;
            }
            // The others are told before the socket is tidied up.
            End::Broken => state.disconnect(id, LeaveReason::Disconnected),
        }
    }

    async fn converse(&mut self, socket: &mut Socket) -> End {
        loop {
            let step = tokio::select! {
                message = self.admitted.outbox.next() => match message {
                    Some(message) => write(socket, message).await,
                    None => Err(End::Dismissed),
                },
                frame = socket.next() => self.read(frame),
                _ = self.closing.changed() => {
                    let farewell = ServerMessage::error(ErrorCode::ShuttingDown).to_json();
                    write(socket, farewell.into()).await.and(Err(End::Dismissed))
                }
            };
            match step {
                Ok(()) => {}
                Err(End::Broken) => return Box::pin(self.read_rest(socket)).await,
                Err(end) => return end,
            }
        }
    }

    /// Writing may find out first that a client is gone. What it said before, a goodbye perhaps, has
    /// arrived all the same.
    async fn read_rest(&self, socket: &mut Socket) -> End {
        let reading = async {
            for _ in 0..MAX_REST {
                let frame = socket.next().await;
                if !matches!(frame, Some(Ok(_))) {
                    break;
                }
                if let Err(end) = self.read(frame) {
                    return end;
                }
            }
            End::Broken
        };
        let end = timeout(REST_TIMEOUT, reading).await;
        end.unwrap_or(End::Broken)
    }

    /// Hands on what was heard. Whatever the rooms decide about it comes out of the outbox.
    fn read(&self, frame: Option<Result<Message, WsError>>) -> Result<(), End> {
        match frame {
            Some(Ok(Message::Text(text))) => {
                self.admitted.state.handle(
                    self.admitted.id,
                    ClientMessage::parse(&text),
                    text.len(),
                );
                Ok(())
            }
            Some(Ok(Message::Binary(bytes))) => {
                self.admitted.state.handle(
                    self.admitted.id,
                    Err(MessageError::NotAMessage),
                    bytes.len(),
                );
                Ok(())
            }
            // The library answers pings; here they are signs of life that cost as much as ours.
            Some(Ok(Message::Ping(bytes) | Message::Pong(bytes))) => {
                self.admitted
                    .state
                    .handle(self.admitted.id, Ok(ClientMessage::Pong), bytes.len());
                Ok(())
            }
            Some(Ok(Message::Close(_))) => Err(End::Closed),
            Some(Err(WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake))) => {
                Err(End::Broken)
            }
            Some(Err(WsError::Capacity(_))) => self.put_out(ErrorCode::TooLarge),
            Some(Err(WsError::Utf8(_) | WsError::Protocol(_))) => {
                self.put_out(ErrorCode::Malformed)
            }
            Some(Ok(Message::Frame(_)) | Err(_)) | None => Err(End::Broken),
        }
    }

    /// For what makes the rest of the stream unreadable.
    fn put_out(&self, code: ErrorCode) -> Result<(), End> {
        self.admitted.state.put_out(self.admitted.id, code);
        Err(End::Dismissed)
    }

    /// Sends what is left in the outbox, which has ended when the rooms closed the connection.
    async fn say_last_words(&mut self, socket: &mut Socket) {
        self.admitted
            .state
            .disconnect(self.admitted.id, LeaveReason::Disconnected);
        while let Some(message) = self.admitted.outbox.next().await {
            if write(socket, message).await.is_err() {
                return;
            }
        }
    }
}

async fn write(socket: &mut Socket, message: Utf8Bytes) -> Result<(), End> {
    match timeout(WRITE_TIMEOUT, socket.send(Message::Text(message))).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(End::Broken),
    }
}

/// Closes, and waits for the other side to close as well: closing a socket with unread bytes in it
/// would reset the connection and take our last words along (RFC 1122 section 4.2.2.13). The bytes
/// are thrown away unread, since the stream may be broken.
async fn say_goodbye(mut socket: Socket) {
    let goodbye = async {
        socket.close(None).await.map_err(io::Error::other)?;
        let tcp = socket.get_mut();
        tcp.shutdown().await?;
        let mut rest = [0; 1024];
        while tcp.read(&mut rest).await? > 0 {}
        Ok::<(), io::Error>(())
    };
    // Whatever goes wrong, the connection ends here.
    let _ = timeout(CLOSE_TIMEOUT, goodbye).await;
}
