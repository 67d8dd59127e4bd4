//! The task that keeps one connection: the only one that touches the socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::time::{sleep_until, timeout};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

use super::SignalingError;
use super::connect::{Socket, send};
use super::silence::{Next, Silence};
use crate::message::{ClientMessage, ErrorCode, ServerMessage};

/// A server that does not take a message within this time is lost.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(4);
/// How long saying goodbye may take.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

pub(super) struct Link {
    socket: Socket,
    outgoing: mpsc::Receiver<ClientMessage>,
    incoming: mpsc::Sender<Result<ServerMessage, SignalingError>>,
    ignored: Arc<AtomicU64>,
    silence: Silence,
    /// Heard but not yet taken. Nothing more is read meanwhile, while sending goes on: the reader
    /// may be waiting for room to send.
    pending: Option<ServerMessage>,
    /// What the server complained about in its last words.
    complaint: Option<ErrorCode>,
}

/// What the task wakes up for.
enum Input {
    /// Somebody wants something said, or nobody is left who could.
    Say(Option<ClientMessage>),
    /// The server said something, or the connection is gone.
    Heard(Option<Result<Message, WsError>>),
    /// What was pending has been taken.
    Taken,
    /// The receiver is gone.
    NobodyListens,
    /// The server has said nothing for too long.
    Silence,
}

/// Why the link ends.
enum End {
    /// We want it to.
    Leave,
    /// We have said so already.
    Left,
    /// It broke.
    Broken(SignalingError),
}

impl Link {
    pub(super) fn new(
        socket: Socket,
        outgoing: mpsc::Receiver<ClientMessage>,
        incoming: mpsc::Sender<Result<ServerMessage, SignalingError>>,
        ignored: Arc<AtomicU64>,
        silence_limit: Duration,
    ) -> Self {
        Self {
            socket,
            outgoing,
            incoming,
            ignored,
            silence: Silence::new(silence_limit),
            pending: None,
            complaint: None,
        }
    }

    pub(super) async fn run(mut self) {
        let end = loop {
            if let Err(end) = self.step().await {
                break end;
            }
        };
        match end {
            End::Leave => say_goodbye(self.socket, true).await,
            End::Left => say_goodbye(self.socket, false).await,
            End::Broken(error) => {
                tracing::debug!(%error, "signaling link ended");
                drop(self.socket);
                self.outgoing.close();
                // Nobody listening is fine: then nobody wants to know.
                let _ = self.incoming.send(Err(error)).await;
            }
        }
    }

    async fn step(&mut self) -> Result<(), End> {
        match self.next_input().await {
            Input::Say(Some(message)) => self.write(message).await,
            Input::Say(None) | Input::NobodyListens => Err(End::Leave),
            Input::Heard(frame) => self.read(frame).await,
            Input::Silence => match self.silence.lasted() {
                Next::Ask => self.write(ClientMessage::Ping).await,
                Next::GiveUp => Err(End::Broken(SignalingError::Lost)),
            },
            Input::Taken => {
                self.silence.ended(); // The server was not listened to for a while.
                Ok(())
            }
        }
    }

    async fn next_input(&mut self) -> Input {
        let reading = self.pending.is_none();
        tokio::select! {
            message = self.outgoing.recv() => Input::Say(message),
            frame = self.socket.next(), if reading => Input::Heard(frame),
            permit = self.incoming.reserve(), if !reading => match (permit, self.pending.take()) {
                (Ok(permit), Some(message)) => {
                    permit.send(Ok(message));
                    Input::Taken
                }
                (Ok(_), None) => Input::Taken,
                (Err(_), _) => Input::NobodyListens,
            },
            () = self.incoming.closed() => Input::NobodyListens,
            () = sleep_until(self.silence.next()), if reading => {
                Input::Silence
            }
        }
    }

    async fn write(&mut self, message: ClientMessage) -> Result<(), End> {
        let leaving = message == ClientMessage::Leave;
        match timeout(WRITE_TIMEOUT, send(&mut self.socket, &message)).await {
            Ok(Ok(())) if leaving => Err(End::Left),
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(self.broken()),
        }
    }

    async fn read(&mut self, frame: Option<Result<Message, WsError>>) -> Result<(), End> {
        let Some(Ok(frame)) = frame else {
            return Err(self.broken());
        };
        self.silence.ended();
        match frame {
            Message::Text(text) => match ServerMessage::parse(&text) {
                Ok(message) => self.take(message).await,
                Err(error) => self.ignore(&error.to_string()),
            },
            Message::Binary(_) | Message::Frame(_) => self.ignore("binary message"),
            Message::Ping(_) | Message::Pong(_) => Ok(()),
            Message::Close(_) => Err(self.broken()),
        }
    }

    async fn take(&mut self, message: ServerMessage) -> Result<(), End> {
        match message {
            ServerMessage::Ping => {
                self.complaint = None;
                self.write(ClientMessage::Pong).await
            }
            ServerMessage::Pong | ServerMessage::Received { .. } => Ok(()),
            ServerMessage::Error { code, .. } => {
                self.complaint = Some(code);
                self.pending = Some(message);
                Ok(())
            }
            ServerMessage::Created { .. }
            | ServerMessage::Joined { .. }
            | ServerMessage::ParticipantJoined { .. }
            | ServerMessage::ParticipantLeft { .. }
            | ServerMessage::Signal { .. }
            | ServerMessage::Resumed { .. }
            | ServerMessage::ParticipantAway { .. }
            | ServerMessage::ParticipantBack { .. }
            | ServerMessage::IceServers { .. } => {
                self.complaint = None;
                self.pending = Some(message);
                Ok(())
            }
        }
    }

    fn ignore(&self, reason: &str) -> Result<(), End> {
        self.ignored.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(reason, "ignored something from the signaling server");
        Ok(())
    }

    fn broken(&self) -> End {
        End::Broken(broken(self.complaint))
    }
}

/// Leaves the room unless that was said already, and closes the connection as RFC 6455 section 7.1.1
/// asks for: what the server still has to say is read to its end. A socket that is closed with
/// something unread in it is reset by the system, and the reset overtakes our own last words: the
/// server would take a goodbye for a crash and keep the seat.
///
/// Best effort within half a second: otherwise the server gives the seat up by itself in the end.
pub(super) async fn say_goodbye(mut socket: Socket, leave: bool) {
    let goodbye = async {
        if leave {
            send(&mut socket, &ClientMessage::Leave).await?;
        }
        socket.close(None).await?;
        while let Some(Ok(_)) = socket.next().await {}
        Ok::<(), WsError>(())
    };
    let _ = timeout(CLOSE_TIMEOUT, goodbye).await;
}

/// A server that puts us out says why first; one that shuts down is merely lost, since it may come
/// back.
pub(super) fn broken(complaint: Option<ErrorCode>) -> SignalingError {
    match complaint {
        Some(code) if code != ErrorCode::ShuttingDown => SignalingError::Refused { code },
        Some(_) | None => SignalingError::Lost,
    }
}
