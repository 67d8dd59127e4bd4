//! A link that outlives its connections: the task that reconnects and takes its seat over.
//!
//! ```text
//!              broken                     resumed, joined again
//! connected ──────────▶ reconnecting ──────────────────────────▶ connected …
//!     │ leave               │ leave, refused for good, given up
//!     ▼                     ▼
//!    gone                  gone
//! ```

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use rand::rngs::StdRng;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

use super::backoff::{Backoff, Reconnect};
use super::connect::{self, Socket, send};
use super::link::{WRITE_TIMEOUT, broken, say_goodbye};
use super::memory::Memory;
use super::silence::{Next, Silence};
use super::{ConnectOptions, Entry, Seat, SignalingError};
use crate::address::ServerAddress;
use crate::message::{
    ClientMessage, ErrorCode, MessageError, PROTOCOL_VERSION, ServerMessage, Ticket,
};

/// What a lasting link reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignalingEvent {
    /// The server or another participant said something.
    Message(ServerMessage),
    /// The connection is broken, and the next try is due. What is said meanwhile waits.
    Reconnecting {
        /// Number of that try, from 1.
        attempt: u32,
        /// Pause before it.
        pause: Duration,
        /// What is wrong.
        error: SignalingError,
    },
    /// Connected again, with the same seat: nothing was lost, and who came or went meanwhile is
    /// reported as usual. Only after a restart of the server, what was under way may come twice.
    Resumed,
    /// Connected again, with another seat in the same room: the old one was given up. What was said
    /// and not yet sent is dropped, since it was for the others' old connections with us.
    Rejoined(Box<Seat>),
    /// The end of the link.
    Lost(SignalingError),
}

/// Keeps one seat. See [`super::SignalingClient::connect_lasting`].
pub(super) struct Lasting {
    pub(super) address: ServerAddress,
    pub(super) options: ConnectOptions,
    pub(super) policy: Reconnect,
    pub(super) memory: Memory,
    pub(super) outgoing: mpsc::Receiver<ClientMessage>,
    pub(super) events: mpsc::Sender<SignalingEvent>,
    pub(super) reconnect: Arc<Notify>,
    pub(super) random: StdRng,
}

/// What the task wakes up for while connected.
enum Input {
    Say(Option<ClientMessage>),
    Heard(Option<Result<Message, WsError>>),
    Taken,
    NobodyListens,
    Silence,
    Asked,
}

/// Why a connection ends.
enum End {
    /// We want it to, and have to say so.
    Leave,
    /// We have said so already.
    Left,
    Broken(SignalingError),
    /// It may still be good, but the network has changed.
    Replace,
}

/// One connection.
struct Live {
    socket: Socket,
    silence: Silence,
    /// Heard but not yet taken. Nothing more is read meanwhile.
    pending: VecDeque<SignalingEvent>,
    complaint: Option<ErrorCode>,
}

impl Live {
    fn new(socket: Socket, silence_limit: Duration) -> Self {
        Self {
            socket,
            silence: Silence::new(silence_limit),
            pending: VecDeque::new(),
            complaint: None,
        }
    }

    async fn write(&mut self, message: &ClientMessage) -> Result<(), End> {
        match timeout(WRITE_TIMEOUT, send(&mut self.socket, message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Broken(broken(self.complaint))),
        }
    }
}

impl Lasting {
    pub(super) async fn run(mut self, socket: Socket) {
        let mut live = Live::new(socket, self.options.silence_limit);
        loop {
            let (error, at_once) = match self.converse(&mut live).await {
                End::Leave => return say_goodbye(live.socket, true).await,
                End::Left => return say_goodbye(live.socket, false).await,
                End::Broken(error) => (error, false),
                End::Replace => (SignalingError::Lost, true),
            };
            tracing::debug!(%error, "signaling connection broken");
            // What was heard before the break comes first.
            for event in std::mem::take(&mut live.pending) {
                if self.events.send(event).await.is_err() {
                    return;
                }
            }
            // The old connection is dropped when the new one has taken the seat over: if the server
            // still believes in it, the others notice nothing.
            match self.reconnect(error, at_once).await {
                Ok(next) => live = next,
                Err(None) => return,
                Err(Some(error)) => {
                    self.outgoing.close();
                    // Nobody listening is fine: then nobody wants to know.
                    let _ = self.events.send(SignalingEvent::Lost(error)).await;
                    return;
                }
            }
        }
    }

    async fn converse(&mut self, live: &mut Live) -> End {
        loop {
            if let Err(end) = self.step(live).await {
                return end;
            }
        }
    }

    async fn step(&mut self, live: &mut Live) -> Result<(), End> {
        match self.next_input(live).await {
            Input::Say(Some(ClientMessage::Leave)) => match live.write(&ClientMessage::Leave).await
            {
                Ok(()) => Err(End::Left),
                // Not said, but meant.
                Err(_) => Err(End::Leave),
            },
            Input::Say(Some(message)) => self.say(live, message).await,
            Input::Say(None) | Input::NobodyListens => Err(End::Leave),
            Input::Heard(frame) => self.read(live, frame).await,
            Input::Taken => {
                live.silence.ended(); // The server was not listened to for a while.
                Ok(())
            }
            Input::Silence => match live.silence.lasted() {
                Next::Ask => live.write(&ClientMessage::Ping).await,
                Next::GiveUp => Err(End::Broken(SignalingError::Lost)),
            },
            Input::Asked => Err(End::Replace),
        }
    }

    async fn next_input(&mut self, live: &mut Live) -> Input {
        let reading = live.pending.is_empty();
        tokio::select! {
            message = self.outgoing.recv(), if self.memory.can_send() => Input::Say(message),
            frame = live.socket.next(), if reading => Input::Heard(frame),
            permit = self.events.reserve(), if !reading => match (permit, live.pending.pop_front()) {
                (Ok(permit), Some(event)) => {
                    permit.send(event);
                    Input::Taken
                }
                (Ok(_), None) => Input::Taken,
                (Err(_), _) => Input::NobodyListens,
            },
            () = self.events.closed() => Input::NobodyListens,
            () = self.reconnect.notified() => Input::Asked,
            () = sleep_until(live.silence.next()), if reading => Input::Silence,
        }
    }

    async fn say(&mut self, live: &mut Live, message: ClientMessage) -> Result<(), End> {
        if let Err(error) = fits(&message) {
            let answer = ServerMessage::error(error.code());
            live.pending.push_back(SignalingEvent::Message(answer));
            return Ok(());
        }
        self.memory.sending(&message);
        live.write(&message).await
    }

    async fn read(
        &mut self,
        live: &mut Live,
        frame: Option<Result<Message, WsError>>,
    ) -> Result<(), End> {
        let Some(Ok(frame)) = frame else {
            return Err(End::Broken(broken(live.complaint)));
        };
        live.silence.ended();
        match frame {
            Message::Text(text) => match ServerMessage::parse(&text) {
                Ok(message) => self.take(live, message).await,
                Err(error) => {
                    tracing::debug!(%error, "ignored something from the signaling server");
                    Ok(())
                }
            },
            Message::Binary(_) | Message::Frame(_) | Message::Ping(_) | Message::Pong(_) => Ok(()),
            Message::Close(_) => Err(End::Broken(broken(live.complaint))),
        }
    }

    async fn take(&mut self, live: &mut Live, message: ServerMessage) -> Result<(), End> {
        self.memory.hear(&message);
        live.complaint = match message {
            ServerMessage::Error { code, .. } => Some(code),
            _ => None,
        };
        match message {
            ServerMessage::Ping => {
                if let Some(receipt) = self.memory.receipt() {
                    live.write(&receipt).await?;
                }
                live.write(&ClientMessage::Pong).await
            }
            ServerMessage::Pong | ServerMessage::Received { .. } => Ok(()),
            message => {
                live.pending.push_back(SignalingEvent::Message(message));
                Ok(())
            }
        }
    }

    /// Tries until there is a connection again. `Err(None)` when nobody wants one any more.
    async fn reconnect(
        &mut self,
        mut error: SignalingError,
        at_once: bool,
    ) -> Result<Live, Option<SignalingError>> {
        let broken_at = Instant::now();
        let mut backoff = Backoff::new(self.policy);
        loop {
            if is_final(&error) || backoff.gives_up_after(broken_at.elapsed()) {
                return Err(Some(error));
            }
            let (attempt, mut pause) = backoff.next(&mut self.random);
            if at_once && attempt == 1 {
                pause = Duration::ZERO;
            }
            let event = SignalingEvent::Reconnecting {
                attempt,
                pause,
                error,
            };
            self.events.send(event).await.map_err(|_| None)?;
            let reconnect = Arc::clone(&self.reconnect);
            let wait = async {
                tokio::select! {
                    () = sleep(pause) => {}
                    () = reconnect.notified() => {}
                }
            };
            self.unless_left(wait).await?;
            let attempt = try_again(
                self.address.clone(),
                self.options.clone(),
                self.memory.claim(PROTOCOL_VERSION),
                self.memory.seat().room,
            );
            error = match self.unless_left(attempt).await? {
                Ok(found) => return Ok(self.go_on(found).await),
                Err(error) => error,
            };
        }
    }

    /// Waits for `future`, while what is to be said is collected. `Err(None)` when that is goodbye,
    /// or nobody listens any more.
    async fn unless_left<T>(
        &mut self,
        future: impl Future<Output = T>,
    ) -> Result<T, Option<SignalingError>> {
        tokio::pin!(future);
        loop {
            tokio::select! {
                done = &mut future => return Ok(done),
                message = self.outgoing.recv(), if self.memory.can_send() => match message {
                    None | Some(ClientMessage::Leave) => return Err(None),
                    // What is too long is dropped, as the server would.
                    Some(message) if fits(&message).is_ok() => self.memory.sending(&message),
                    Some(_) => {}
                },
                () = self.events.closed() => return Err(None),
            }
        }
    }

    async fn go_on(&mut self, found: Found) -> Live {
        match found {
            Found::Same {
                socket,
                participants,
                away,
                received,
                ice,
            } => {
                let mut live = Live::new(socket, self.options.silence_limit);
                let (news, again) = self.memory.resumed(&participants, &away, received);
                live.pending.push_back(SignalingEvent::Resumed);
                live.pending
                    .extend(news.into_iter().chain(ice).map(SignalingEvent::Message));
                for message in again {
                    // If it breaks again, reading shows it, and all this is still unacknowledged.
                    if live.write(&message).await.is_err() {
                        break;
                    }
                }
                live
            }
            Found::Another {
                socket,
                seat,
                ticket,
            } => {
                while self.outgoing.try_recv().is_ok() {}
                let mut live = Live::new(socket, self.options.silence_limit);
                self.memory = Memory::new(seat.clone(), ticket);
                live.pending
                    .push_back(SignalingEvent::Rejoined(Box::new(seat)));
                live
            }
        }
    }
}

/// What a try has brought.
enum Found {
    Same {
        socket: Socket,
        participants: Vec<u32>,
        away: Vec<u32>,
        received: Option<u64>,
        ice: Option<ServerMessage>,
    },
    Another {
        socket: Socket,
        seat: Seat,
        ticket: Ticket,
    },
}

async fn try_again(
    address: ServerAddress,
    options: ConnectOptions,
    claim: ClientMessage,
    room: crate::room_code::RoomNumber,
) -> Result<Found, SignalingError> {
    let trying = async {
        let mut socket = connect::open(&address, &options).await?;
        match connect::resume(&mut socket, &claim).await {
            Ok(connect::Resumed {
                participants,
                away,
                received,
                ice,
            }) => Ok(Found::Same {
                socket,
                participants,
                away,
                received,
                ice,
            }),
            Err(SignalingError::Refused {
                code: ErrorCode::UnknownSeat,
            }) => {
                let (seat, ticket) =
                    connect::enter(&mut socket, Entry::Join { room }, true).await?;
                let ticket = ticket.ok_or(SignalingError::NotAhoy)?;
                Ok(Found::Another {
                    socket,
                    seat,
                    ticket,
                })
            }
            Err(error) => Err(error),
        }
    };
    timeout(options.timeout, trying)
        .await
        .map_err(|_| SignalingError::Timeout)?
}

/// Whether another try cannot help. A server that is being replaced may answer anything for a
/// while, a network that wants a login first as well, so most errors are not.
fn is_final(error: &SignalingError) -> bool {
    match error {
        SignalingError::WrongVersion | SignalingError::RoomFull => true,
        SignalingError::Refused { code } => !matches!(
            code,
            ErrorCode::TooManyConnections
                | ErrorCode::TooManyRooms
                | ErrorCode::TooFast
                | ErrorCode::ShuttingDown
                | ErrorCode::Idle
        ),
        SignalingError::Unreachable { .. }
        | SignalingError::Timeout
        | SignalingError::Untrusted { .. }
        | SignalingError::NotAhoy
        | SignalingError::UnknownRoom
        | SignalingError::Lost => false,
    }
}

/// Whether a server will read the message: one that it refuses would not be counted there.
fn fits(message: &ClientMessage) -> Result<(), MessageError> {
    if message.is_counted() {
        ClientMessage::parse(&message.to_json()).map(|_| ())
    } else {
        Ok(())
    }
}
