//! The way to the server: finds it, enters the room, and turns its messages into what the engine
//! understands.

mod nearby;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use ahoy_ice::watch::AddressWatch;
use ahoy_signaling::address::ServerAddress;
use ahoy_signaling::client::{
    ConnectOptions, Entry, Reconnect, Seat, SignalingClient, SignalingError, SignalingEvent,
    SignalingEvents, SignalingSender,
};
use ahoy_signaling::embedded::{EmbeddedError, EmbeddedServer};
use ahoy_signaling::message::{self, LeaveReason, ServerMessage, SignalData};
use ahoy_signaling::room_code::RoomNumber;
use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::session::Departure;
use crate::view::{EndReason, ParticipantId, Reach};

/// How long a seat that is just being given out is waited for when nobody wants it any more: given
/// back it is free at once, and otherwise the server keeps it for a minute.
const LAST_ANSWER: Duration = Duration::from_millis(500);

/// Which room is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum LinkRequest {
    Create {
        share_on_network: bool,
    },
    Join {
        number: RoomNumber,
    },
    /// Opens a room with this number.
    Reopen {
        number: RoomNumber,
        share_on_network: bool,
    },
}

/// What the link reports.
#[derive(Debug)]
pub(super) enum LinkOutput {
    Joined(Joined),
    ParticipantJoined(ParticipantId),
    ParticipantLeft(ParticipantId, Departure),
    /// Their connection to the server broke. With `crashed` it was closed without a goodbye, as
    /// when a program dies; otherwise it fell silent, as when a network is gone.
    ParticipantAway {
        id: ParticipantId,
        crashed: bool,
    },
    ParticipantBack(ParticipantId),
    /// STUN and TURN servers, and how long their credentials are good.
    IceServers(Vec<message::IceServer>, Option<Duration>),
    /// Bytes that another participant sent through the server.
    Signal(ParticipantId, Vec<u8>),
    /// There will be no seat.
    Failed(EndReason),
    /// Our connection to the server broke and is being made again. With `gone` the server's
    /// computer answers and the server does not run.
    Reconnecting {
        gone: bool,
    },
    /// It stands again, and the seat is ours.
    Resumed,
    /// It stands again with another seat: the old one was given up.
    Rejoined(Box<Seat>),
    /// The seat is lost.
    Lost,
}

/// The seat, and how others can be invited to the same room.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) seat: Seat,
    pub(super) sender: SignalingSender,
    pub(super) reach: Reach,
    pub(super) invite_server: ServerAddress,
    /// Host of the configured server, which cannot be reached: the room is on this computer instead.
    pub(super) instead_of: Option<String>,
    /// The server is on this computer, so that participants may be as well.
    pub(super) on_this_computer: bool,
}

/// Where a room is looked for.
#[derive(Debug, Clone)]
pub(super) struct Servers {
    /// The one that the invite names, or else ours.
    pub(super) first: Option<ServerAddress>,
    /// Ours; without one, that of this computer.
    pub(super) own: Option<ServerAddress>,
}

/// A connection to the server, being made or standing. Dropping it leaves the room.
pub(super) struct Link {
    task: JoinHandle<()>,
    /// The task leaves when this is dropped.
    stay: oneshot::Sender<()>,
    sender: Option<SignalingSender>,
}

impl Link {
    /// Starts connecting once `former` has ended; `report` is awaited with everything that happens.
    pub(super) fn open<F, Fut>(
        request: LinkRequest,
        servers: Servers,
        embedded: &Arc<EmbeddedServer>,
        former: Option<JoinHandle<()>>,
        report: F,
    ) -> Self
    where
        F: Fn(LinkOutput) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let embedded = Arc::clone(embedded);
        let (stay, leave) = oneshot::channel();
        let task = tokio::spawn(async move {
            if let Some(former) = former {
                // How it ended is nothing to us.
                let _ = former.await;
            }
            stay_there(request, servers, &embedded, leave, report).await;
        });
        Self {
            task,
            stay,
            sender: None,
        }
    }

    /// The seat is taken.
    pub(super) fn joined(&mut self, sender: SignalingSender) {
        self.sender = Some(sender);
    }

    /// Sends bytes to a participant. A lost link reports itself.
    pub(super) async fn send_signal(&self, to: ParticipantId, bytes: &[u8]) {
        let Some(data) = SignalData::new(bytes) else {
            tracing::warn!("a message to a participant is too long for the server");
            return;
        };
        if let Some(sender) = &self.sender {
            let _ = sender.signal(to, data).await;
        }
    }

    /// Asks for STUN and TURN servers with other credentials. A lost link reports itself.
    pub(super) async fn ask_for_ice_servers(&self) {
        if let Some(sender) = &self.sender {
            let _ = sender.ask_for_ice_servers().await;
        }
    }

    /// Leaves the room in the background. The task ends when the server knows, or has been given
    /// some time to.
    pub(super) fn leave(self) -> JoinHandle<()> {
        drop(self.stay);
        self.task
    }
}

/// Enters a room and reports what happens in it, until `leave` is closed.
async fn stay_there<F, Fut>(
    request: LinkRequest,
    servers: Servers,
    embedded: &EmbeddedServer,
    mut leave: oneshot::Receiver<()>,
    report: F,
) where
    F: Fn(LinkOutput) -> Fut,
    Fut: Future<Output = ()>,
{
    if matches!(leave.try_recv(), Err(TryRecvError::Closed)) {
        return;
    }
    let mut entering = pin!(nearby::enter(request, servers, embedded));
    let entered = tokio::select! {
        entered = &mut entering => entered,
        _ = &mut leave => {
            if let Ok(Ok((joined, _))) = timeout(LAST_ANSWER, entering).await {
                joined.sender.leave().await;
            }
            return;
        }
    };
    let (joined, events) = match entered {
        Ok(entered) => entered,
        Err(error) => {
            tracing::warn!(%error, "no seat in a room");
            return report(LinkOutput::Failed(end_reason(&error))).await;
        }
    };
    let sender = joined.sender.clone();
    // The server of this computer is reached in any network, or none.
    let follows = (!joined.on_this_computer).then(|| sender.clone());
    let staying = async {
        report(LinkOutput::Joined(joined)).await;
        tokio::select! {
            () = listen(events, report) => {}
            () = follow_network(follows) => {}
        }
    };
    let leaving = async {
        // Closed is all that it ever is.
        let _ = leave.await;
        sender.leave().await;
    };
    tokio::select! {
        () = staying => {}
        () = leaving => {}
    }
}

/// Enters a room at `server`, or at the server of this computer.
async fn enter_at(
    request: LinkRequest,
    server: Option<ServerAddress>,
    embedded: &EmbeddedServer,
) -> Result<(Joined, SignalingEvents), LinkError> {
    let own_server = server.is_none();
    let address = match server {
        Some(address) => address,
        None => embedded.address().await?,
    };
    let reach_asked = |share_on_network| {
        own_server.then_some(if share_on_network {
            message::Reach::Network
        } else {
            message::Reach::Computer
        })
    };
    let entry = match request {
        LinkRequest::Create { share_on_network } => Entry::Create {
            reach: reach_asked(share_on_network),
        },
        LinkRequest::Join { number } => Entry::Join { room: number },
        LinkRequest::Reopen {
            number,
            share_on_network,
        } => Entry::Reopen {
            room: number,
            reach: reach_asked(share_on_network),
        },
    };
    let options = ConnectOptions::default();
    let link =
        SignalingClient::connect_lasting(&address, entry, &options, Reconnect::default()).await?;
    let on_this_computer = address.is_this_computer();
    let (reach, invite_server) = reach(&link.seat, address, embedded).await;
    let joined = Joined {
        seat: link.seat,
        sender: link.sender,
        reach,
        invite_server,
        instead_of: None,
        on_this_computer,
    };
    Ok((joined, link.events))
}

/// How far an invite to this room reaches, and the address that it has to name.
async fn reach(
    seat: &Seat,
    server: ServerAddress,
    embedded: &EmbeddedServer,
) -> (Reach, ServerAddress) {
    match seat.reach {
        Some(message::Reach::Network) => {
            match embedded.network_addresses().await.into_iter().next() {
                Some(address) => (Reach::LocalNetwork, address),
                None => (Reach::ThisComputer, server),
            }
        }
        Some(message::Reach::Computer) => (Reach::ThisComputer, server),
        Some(message::Reach::Server) => (Reach::Server, server),
        None if server.is_this_computer() => (Reach::ThisComputer, server),
        None => (Reach::Server, server),
    }
}

/// Connects anew when the network has changed: the old connection is dead, and would be found to be
/// only after seconds of silence.
async fn follow_network(sender: Option<SignalingSender>) {
    let Some(sender) = sender else {
        return std::future::pending().await;
    };
    let mut watch = AddressWatch::start();
    let mut known = watch.changed().await;
    loop {
        let addresses = watch.changed().await;
        // Others coming or going says nothing about the connection as long as none is lost.
        let lost = known.iter().any(|address| !addresses.contains(address));
        if lost && !addresses.is_empty() {
            sender.reconnect();
            known = addresses;
        } else if !lost {
            known = addresses;
        }
    }
}

async fn listen<F, Fut>(mut events: SignalingEvents, report: F)
where
    F: Fn(LinkOutput) -> Fut,
    Fut: Future<Output = ()>,
{
    while let Some(event) = events.recv().await {
        let output = match event {
            SignalingEvent::Message(message) => understood(message),
            SignalingEvent::Reconnecting { attempt, error, .. } => {
                tracing::debug!(attempt, %error, "signaling is to be connected again");
                let gone = matches!(error, SignalingError::Unreachable { refused: true, .. });
                Some(LinkOutput::Reconnecting { gone })
            }
            SignalingEvent::Resumed => Some(LinkOutput::Resumed),
            SignalingEvent::Rejoined(seat) => Some(LinkOutput::Rejoined(seat)),
            SignalingEvent::Lost(error) => {
                tracing::warn!(%error, "signaling");
                Some(LinkOutput::Lost)
            }
        };
        if let Some(output) = output {
            report(output).await;
        }
    }
}

fn understood(message: ServerMessage) -> Option<LinkOutput> {
    match message {
        ServerMessage::ParticipantJoined { participant } => {
            Some(LinkOutput::ParticipantJoined(participant))
        }
        ServerMessage::ParticipantLeft {
            participant,
            reason,
        } => {
            let departure = match reason {
                LeaveReason::Left => Departure::Left,
                LeaveReason::Disconnected
                | LeaveReason::Timeout
                | LeaveReason::Removed
                | LeaveReason::Unknown => Departure::Lost,
            };
            Some(LinkOutput::ParticipantLeft(participant, departure))
        }
        ServerMessage::Signal { from, data } => Some(LinkOutput::Signal(from, data.bytes()?)),
        ServerMessage::ParticipantAway {
            participant,
            reason,
        } => Some(LinkOutput::ParticipantAway {
            id: participant,
            crashed: reason == LeaveReason::Disconnected,
        }),
        ServerMessage::ParticipantBack { participant } => {
            Some(LinkOutput::ParticipantBack(participant))
        }
        ServerMessage::IceServers {
            ice_servers,
            ice_servers_lifetime,
        } => {
            let lifetime = ice_servers_lifetime.map(|it| Duration::from_secs(it.into()));
            Some(LinkOutput::IceServers(ice_servers, lifetime))
        }
        ServerMessage::Error { code, .. } => {
            tracing::warn!(?code, "the server did not do something");
            None
        }
        ServerMessage::Created { .. }
        | ServerMessage::Joined { .. }
        | ServerMessage::Resumed { .. }
        | ServerMessage::Received { .. }
        | ServerMessage::Ping
        | ServerMessage::Pong => None,
    }
}

/// Why there is no seat.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    #[error(transparent)]
    Signaling(#[from] SignalingError),
}

const fn end_reason(error: &LinkError) -> EndReason {
    let LinkError::Signaling(error) = error else {
        return EndReason::ServerUnreachable;
    };
    match error {
        SignalingError::Unreachable { .. }
        | SignalingError::Timeout
        | SignalingError::Untrusted { .. } => EndReason::ServerUnreachable,
        SignalingError::NotAhoy | SignalingError::WrongVersion => EndReason::NotAnAhoyServer,
        SignalingError::UnknownRoom => EndReason::UnknownRoom,
        SignalingError::RoomFull => EndReason::RoomFull,
        SignalingError::Refused {
            code: message::ErrorCode::NumberTaken,
        } => EndReason::NumberTaken,
        SignalingError::Refused { .. } => EndReason::ServerRefused,
        SignalingError::Lost => EndReason::ServerLost,
    }
}
