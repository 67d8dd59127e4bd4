//! The client's end: enters one room on one server and stays there until it leaves or loses it.

mod backoff;
mod connect;
mod lasting;
mod link;
mod memory;
mod silence;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use tokio::sync::{Notify, mpsc};

use crate::address::ServerAddress;
use crate::message::{
    ClientMessage, ErrorCode, IceServer, PROTOCOL_VERSION, ParticipantId, Reach, ServerMessage,
    SignalData,
};
use crate::room_code::RoomNumber;
pub use backoff::Reconnect;
pub use lasting::SignalingEvent;

/// Messages that wait to be sent: nine descriptions and twenty candidates for each of nine others
/// would be 189, but they come over seconds; whoever sends more waits.
const OUTGOING_CAPACITY: usize = 128;
/// Messages that wait to be read: all of the above from everybody at once. When it is full, the
/// connection is not read until there is room again.
const INCOMING_CAPACITY: usize = 256;
/// How long leaving may take before the connection is just dropped.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// Enters rooms.
#[derive(Debug)]
pub struct SignalingClient;

/// Which room to enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// A new one.
    Create {
        /// How far it is to reach, which only the server inside a window asks; see [`Seat::reach`].
        reach: Option<Reach>,
    },
    /// A new one with a number of our choice, such as that of a call which is over.
    /// [`ErrorCode::NumberTaken`] when another room has it.
    Reopen {
        /// The number.
        room: RoomNumber,
        /// How far it is to reach, as in [`Entry::Create`].
        reach: Option<Reach>,
    },
    /// One that exists.
    Join {
        /// Its number.
        room: RoomNumber,
    },
}

/// How to connect.
#[derive(Clone)]
pub struct ConnectOptions {
    /// How long everything up to the seat in the room may take, name look-up included.
    pub timeout: Duration,
    /// A server that says nothing for this long, and does not answer when it is asked after 0.7 of
    /// it either, is lost. It pings every 1.5 s, when it is crowded every 4.5 s at most.
    pub silence_limit: Duration,
    /// TLS for `wss`; `None` trusts what the operating system trusts.
    pub tls: Option<Arc<rustls::ClientConfig>>,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            silence_limit: Duration::from_secs(7),
            tls: None,
        }
    }
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectOptions")
            .field("timeout", &self.timeout)
            .field("silence_limit", &self.silence_limit)
            .finish_non_exhaustive()
    }
}

/// The place that a client got in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat {
    /// The room.
    pub room: RoomNumber,
    /// Our own number in it.
    pub participant: ParticipantId,
    /// Everybody in it in join order, ourselves last.
    pub participants: Vec<ParticipantId>,
    /// Those of them whose connection to the server was broken at that moment.
    pub away: Vec<ParticipantId>,
    /// STUN and TURN servers that the server hands out.
    pub ice_servers: Vec<IceServer>,
    /// How long their credentials are good; for ever without.
    pub ice_servers_lifetime: Option<Duration>,
    /// How far a room that we opened really reaches; `None` for one that we joined.
    pub reach: Option<Reach>,
}

impl Seat {
    /// The others, in join order.
    pub fn others(&self) -> impl Iterator<Item = ParticipantId> {
        self.participants
            .iter()
            .copied()
            .filter(|id| *id != self.participant)
    }
}

/// Why there is no connection to a room, or no longer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignalingError {
    /// Nothing answers at the address.
    #[error("the server cannot be reached: {detail}")]
    Unreachable {
        /// The system's words.
        detail: String,
        /// The computer is there and no server runs on it.
        refused: bool,
    },
    /// A connection was made or tried, but nothing came back in time.
    #[error("the server does not answer")]
    Timeout,
    /// The server's certificate is not trusted.
    #[error("the server's certificate is not trusted: {detail}")]
    Untrusted {
        /// The TLS library's words.
        detail: String,
    },
    /// Something answers, but no Ahoy server.
    #[error("this is not an Ahoy server")]
    NotAhoy,
    /// An Ahoy server of another version.
    #[error("this Ahoy server speaks another version")]
    WrongVersion,
    /// No room has this number.
    #[error("no room has this number")]
    UnknownRoom,
    /// Ten people are in the room.
    #[error("the room is full")]
    RoomFull,
    /// The server does not do it.
    #[error("the server refuses: {}", .code.sentence())]
    Refused {
        /// Why.
        code: ErrorCode,
    },
    /// The connection broke, or the server fell silent.
    #[error("the connection to the server is lost")]
    Lost,
}

/// A seat with the two ends of its connection.
#[derive(Debug)]
pub struct SignalingLink {
    /// Where we sit.
    pub seat: Seat,
    /// To the others and the server.
    pub sender: SignalingSender,
    /// From the others and the server.
    pub receiver: SignalingReceiver,
}

impl SignalingClient {
    /// Connects to `address` and enters a room. Needs a tokio runtime, on which it leaves a task
    /// that ends with the link.
    ///
    /// # Errors
    ///
    /// Every [`SignalingError`] except [`SignalingError::Lost`] after the seat is taken, which
    /// [`SignalingReceiver::recv`] reports.
    pub async fn connect(
        address: &ServerAddress,
        entry: Entry,
        options: &ConnectOptions,
    ) -> Result<SignalingLink, SignalingError> {
        let (socket, (seat, _)) = tokio::time::timeout(options.timeout, async {
            let mut socket = connect::open(address, options).await?;
            let entered = connect::enter(&mut socket, entry, false).await?;
            Ok((socket, entered))
        })
        .await
        .map_err(|_| SignalingError::Timeout)??;

        let (outgoing, outgoing_end) = mpsc::channel(OUTGOING_CAPACITY);
        let (incoming_end, incoming) = mpsc::channel(INCOMING_CAPACITY);
        let ignored = Arc::new(AtomicU64::new(0));
        let task = link::Link::new(
            socket,
            outgoing_end,
            incoming_end,
            Arc::clone(&ignored),
            options.silence_limit,
        );
        tokio::spawn(task.run());
        Ok(SignalingLink {
            seat,
            sender: SignalingSender {
                outgoing,
                reconnect: Arc::default(),
            },
            receiver: SignalingReceiver { incoming, ignored },
        })
    }

    /// Connects to `address` and enters a room, as [`SignalingClient::connect`] does, and stays
    /// there: when the connection breaks, the link reconnects and takes its seat over, by itself and
    /// as `policy` says. Messages are neither lost nor doubled by that.
    ///
    /// # Errors
    ///
    /// As [`SignalingClient::connect`]; later ones are [`SignalingEvent::Lost`].
    pub async fn connect_lasting(
        address: &ServerAddress,
        entry: Entry,
        options: &ConnectOptions,
        policy: Reconnect,
    ) -> Result<LastingLink, SignalingError> {
        let (socket, seat, ticket) = tokio::time::timeout(options.timeout, async {
            let mut socket = connect::open(address, options).await?;
            let (seat, ticket) = connect::enter(&mut socket, entry, true).await?;
            let ticket = ticket.ok_or(SignalingError::NotAhoy)?;
            Ok((socket, seat, ticket))
        })
        .await
        .map_err(|_| SignalingError::Timeout)??;

        let (outgoing, outgoing_end) = mpsc::channel(OUTGOING_CAPACITY);
        let (events_end, events) = mpsc::channel(INCOMING_CAPACITY);
        let reconnect = Arc::new(Notify::new());
        let task = lasting::Lasting {
            address: address.clone(),
            options: options.clone(),
            policy,
            memory: memory::Memory::new(seat.clone(), ticket),
            outgoing: outgoing_end,
            events: events_end,
            reconnect: Arc::clone(&reconnect),
            random: rand::make_rng::<StdRng>(),
        };
        tokio::spawn(task.run(socket));
        Ok(LastingLink {
            seat,
            sender: SignalingSender {
                outgoing,
                reconnect,
            },
            events: SignalingEvents { events },
        })
    }

    /// Whether an Ahoy server answers at `address`, without entering a room.
    ///
    /// # Errors
    ///
    /// As [`SignalingClient::connect`].
    pub async fn probe(
        address: &ServerAddress,
        options: &ConnectOptions,
    ) -> Result<(), SignalingError> {
        tokio::time::timeout(options.timeout, async {
            let mut socket = connect::open(address, options).await?;
            // Best effort: the answer is known already.
            let _ = socket.close(None).await;
            Ok(())
        })
        .await
        .map_err(|_| SignalingError::Timeout)?
    }
}

impl Entry {
    fn message(self, resumable: bool) -> ClientMessage {
        let create = |room, reach| ClientMessage::Create {
            version: PROTOCOL_VERSION,
            reach,
            room,
            resumable,
        };
        match self {
            Self::Create { reach } => create(None, reach),
            Self::Reopen { room, reach } => create(Some(room), reach),
            Self::Join { room } => ClientMessage::Join {
                version: PROTOCOL_VERSION,
                room,
                resumable,
            },
        }
    }

    /// Whether a new room with this number is what was asked for.
    fn creates(self, number: RoomNumber) -> bool {
        match self {
            Self::Create { .. } => true,
            Self::Reopen { room, .. } => room == number,
            Self::Join { .. } => false,
        }
    }
}

/// A seat that outlives its connections, with the two ends of the link.
#[derive(Debug)]
pub struct LastingLink {
    /// Where we sit at first; [`SignalingEvent::Rejoined`] brings another.
    pub seat: Seat,
    /// To the others and the server. What is said while the connection is broken waits.
    pub sender: SignalingSender,
    /// What happens.
    pub events: SignalingEvents,
}

/// Hears what the others and the server say, and how the connection is. Dropping it leaves the room.
#[derive(Debug)]
pub struct SignalingEvents {
    events: mpsc::Receiver<SignalingEvent>,
}

impl SignalingEvents {
    /// The next event. [`SignalingEvent::Lost`] is the last one unless we left ourselves; after it
    /// comes `None`. Cancel safe.
    pub async fn recv(&mut self) -> Option<SignalingEvent> {
        self.events.recv().await
    }
}

/// Says things to the others. When the last clone is dropped, the client leaves the room.
#[derive(Debug, Clone)]
pub struct SignalingSender {
    outgoing: mpsc::Sender<ClientMessage>,
    /// Only a lasting link listens to it.
    reconnect: Arc<Notify>,
}

impl SignalingSender {
    /// The network has changed: a lasting link connects anew at once rather than wait until the old
    /// connection proves dead, or until the next try is due. Nothing is lost by it.
    pub fn reconnect(&self) {
        self.reconnect.notify_one();
    }

    /// Asks for the ICE servers with fresh credentials, which come as
    /// [`ServerMessage::IceServers`].
    ///
    /// # Errors
    ///
    /// [`SignalingError::Lost`] when the link has ended.
    pub async fn ask_for_ice_servers(&self) -> Result<(), SignalingError> {
        self.send(ClientMessage::IceServers).await
    }

    /// Sends something sealed to one other participant, waiting while the queue (128) is full.
    ///
    /// # Errors
    ///
    /// [`SignalingError::Lost`] when the link has ended.
    pub async fn signal(&self, to: ParticipantId, data: SignalData) -> Result<(), SignalingError> {
        self.send(ClientMessage::Signal { to, data }).await
    }

    /// Sends any message, waiting while the queue (128) is full. [`ClientMessage::Leave`] ends the
    /// link.
    ///
    /// # Errors
    ///
    /// [`SignalingError::Lost`] when the link has ended.
    pub async fn send(&self, message: ClientMessage) -> Result<(), SignalingError> {
        self.outgoing
            .send(message)
            .await
            .map_err(|_| SignalingError::Lost)
    }

    /// Leaves the room and waits until the server has been told, at most one second.
    pub async fn leave(self) {
        let leaving = async {
            if self.outgoing.send(ClientMessage::Leave).await.is_ok() {
                self.outgoing.closed().await;
            }
        };
        // A server that does not take it notices the closed connection instead.
        let _ = tokio::time::timeout(LEAVE_TIMEOUT, leaving).await;
    }
}

/// Hears what the others and the server say. Dropping it leaves the room.
#[derive(Debug)]
pub struct SignalingReceiver {
    incoming: mpsc::Receiver<Result<ServerMessage, SignalingError>>,
    ignored: Arc<AtomicU64>,
}

impl SignalingReceiver {
    /// The next message; pings are answered inside. `Err` is the last thing said unless we left
    /// ourselves; after it comes `None`. Cancel safe.
    pub async fn recv(&mut self) -> Option<Result<ServerMessage, SignalingError>> {
        self.incoming.recv().await
    }

    /// How many things were ignored because they were no message of this version.
    pub fn ignored(&self) -> u64 {
        self.ignored.load(Ordering::Relaxed)
    }
}
