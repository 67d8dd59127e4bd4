//! What the sockets of one connection share: servers, where their names lead, how they answer.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::watch;
use webrtc::runtime::{AsyncUdpSocket, Runtime};

use super::connection::resolve;
use super::start::{Start, StartRule, Step};
use super::tls::ExtraRoots;
use crate::passes::Passes;
use crate::placeholder::{Endpoint, Endpoints, placeholder};
use crate::server::ServerTransport;
use crate::status::{ServerState, ServerStatus, Tracker};
use crate::stun;

/// Datagrams that wait for a name to be resolved. They are first requests, one per socket and
/// server, and their repetitions; when full, the newest is dropped.
const MAX_WAITING: usize = 32;

pub(crate) struct Shared {
    runtime: Arc<dyn Runtime>,
    endpoints: Endpoints,
    roots: ExtraRoots,
    passes: Mutex<Passes>,
    state: Mutex<State>,
    start_changed: watch::Sender<()>,
}

struct State {
    start: StartRule,
    trackers: Vec<Tracker>,
    names: Vec<Name>,
    /// Which socket has the stream of a server. TCP takes whichever way the system chooses, so a
    /// second one from another socket would be the same path again.
    streams: Vec<Weak<()>>,
    /// Where the stream of a server begins on this computer.
    stream_addresses: Vec<Option<IpAddr>>,
    /// The sockets there are.
    sockets: Vec<Weak<()>>,
}

/// A UDP server that is known by name.
#[derive(Default)]
struct Name {
    v4: Option<SocketAddr>,
    v6: Option<SocketAddr>,
    resolving: bool,
    waiting: Vec<Waiting>,
}

struct Waiting {
    socket: Weak<dyn AsyncUdpSocket>,
    v4: bool,
    datagram: Bytes,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("endpoints", &self.endpoints.len())
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn new(
        runtime: Arc<dyn Runtime>,
        endpoints: Endpoints,
        roots: ExtraRoots,
    ) -> Arc<Self> {
        let relays = endpoints.iter().filter(|endpoint| endpoint.relays);
        let start = StartRule::new(relays.map(|endpoint| endpoint.transport));
        let count = endpoints.len();
        Arc::new(Self {
            runtime,
            endpoints,
            roots,
            passes: Mutex::default(),
            state: Mutex::new(State {
                start,
                trackers: vec![Tracker::default(); count],
                names: (0..count).map(|_| Name::default()).collect(),
                streams: (0..count).map(|_| Weak::new()).collect(),
                stream_addresses: vec![None; count],
                sockets: Vec::new(),
            }),
            start_changed: watch::Sender::default(),
        })
    }

    pub(crate) fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.runtime
    }

    pub(crate) fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    pub(super) fn roots(&self) -> &ExtraRoots {
        &self.roots
    }

    pub(crate) fn passes(&self) -> MutexGuard<'_, Passes> {
        self.passes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the servers answer.
    pub(crate) fn statuses(&self) -> Vec<ServerStatus> {
        let state = self.state();
        let both = self.endpoints.iter().zip(&state.trackers);
        both.map(|(endpoint, tracker)| ServerStatus {
            uri: endpoint.uri.clone(),
            state: tracker.state(),
        })
        .collect()
    }

    /// A new socket. After the last of the old ones has gone, everything begins anew.
    pub(super) fn socket(&self) -> Arc<()> {
        let life = Arc::new(());
        let mut state = self.state();
        state.sockets.retain(|socket| socket.strong_count() > 0);
        if state.sockets.is_empty() {
            state.start.begin_anew();
            state.trackers.fill(Tracker::default());
        }
        state.sockets.push(Arc::downgrade(&life));
        life
    }

    /// The right to have the stream of a server; `None` while another socket has it.
    pub(super) fn claim_stream(&self, index: usize) -> Option<Arc<()>> {
        let mut state = self.state();
        let held = state.streams.get_mut(index)?;
        if held.strong_count() > 0 {
            return None;
        }
        let claim = Arc::new(());
        *held = Arc::downgrade(&claim);
        Some(claim)
    }

    pub(super) fn sent(&self, index: usize, datagram: &[u8], now: Instant) {
        if !self.relays(index) {
            return;
        }
        self.passes().turn_message(now);
        if let Some(message) = stun::allocate(datagram) {
            let mut state = self.state();
            state.start.asked(now);
            if let Some(tracker) = state.trackers.get_mut(index) {
                tracker.sent(message);
            }
        }
    }

    pub(super) fn received(&self, index: usize, datagram: &[u8], now: Instant) {
        if !self.relays(index) {
            return;
        }
        self.passes().turn_message(now);
        let Some(message) = stun::allocate(datagram) else {
            return;
        };
        let transport = self.endpoints.get(index).map(|it| it.transport);
        let mut state = self.state();
        if let Some(tracker) = state.trackers.get_mut(index) {
            tracker.received(message);
        }
        if let (stun::Kind::Success, Some(transport)) = (message.kind, transport) {
            state.start.allocated(transport);
            drop(state);
            self.start_changed.send_replace(());
        }
    }

    fn relays(&self, index: usize) -> bool {
        let endpoint = self.endpoints.get(index);
        endpoint.is_some_and(|endpoint| endpoint.relays)
    }

    pub(super) fn failed(&self, index: usize, reason: ServerState) {
        if let Some(tracker) = self.state().trackers.get_mut(index) {
            tracker.failed(reason);
        }
    }

    /// The stream of a server is open, from this address of ours.
    pub(super) fn opened(&self, index: usize, local: Option<IpAddr>) {
        let Some(endpoint) = self.endpoints.get(index) else {
            return;
        };
        let mut state = self.state();
        state.start.opened(endpoint.transport);
        if let Some(address) = state.stream_addresses.get_mut(index) {
            *address = local;
        }
        drop(state);
        self.start_changed.send_replace(());
    }

    /// Where the stream begins that leads to the best relay over this transport.
    pub(crate) fn stream_address(&self, transport: ServerTransport) -> Option<IpAddr> {
        let state = self.state();
        let mut servers = self.endpoints.iter().zip(&state.trackers);
        let index = servers.position(|(endpoint, tracker)| {
            endpoint.transport == transport && tracker.state() == ServerState::Allocated
        })?;
        *state.stream_addresses.get(index)?
    }

    pub(super) fn start(&self, step: Step, transport: ServerTransport) -> Start {
        self.state().start.decide(step, transport, Instant::now())
    }

    pub(super) fn start_changes(&self) -> watch::Receiver<()> {
        self.start_changed.subscribe()
    }

    /// Where a UDP server that is known by name is; `None` until that is known.
    pub(super) fn address(&self, index: usize, v4: bool) -> Option<SocketAddr> {
        let state = self.state();
        let name = state.names.get(index)?;
        if v4 { name.v4 } else { name.v6 }
    }

    /// What stands for the server at this address, where it is known by name.
    pub(super) fn name_at(&self, address: SocketAddr) -> Option<(usize, SocketAddr)> {
        let state = self.state();
        let index = state
            .names
            .iter()
            .position(|name| name.v4 == Some(address) || name.v6 == Some(address))?;
        let port = self.endpoints.get(index)?.port;
        Some((index, placeholder(index, port, address.is_ipv4())))
    }

    /// Keeps a datagram until the name is resolved.
    pub(super) fn hold(
        &self,
        index: usize,
        v4: bool,
        socket: &Arc<dyn AsyncUdpSocket>,
        datagram: &[u8],
    ) {
        let mut state = self.state();
        let Some(name) = state.names.get_mut(index) else {
            return;
        };
        if name.resolving && name.waiting.len() < MAX_WAITING {
            name.waiting.push(Waiting {
                socket: Arc::downgrade(socket),
                v4,
                datagram: Bytes::copy_from_slice(datagram),
            });
        }
    }

    /// Finds out where the server is, in a task of its own: the connection's task must not wait.
    pub(crate) fn resolve(self: &Arc<Self>, index: usize) {
        let Some(endpoint) = self.endpoints.get(index).cloned() else {
            return;
        };
        if endpoint.transport != ServerTransport::Udp || endpoint.literal().is_some() {
            return;
        }
        match self.state().names.get_mut(index) {
            Some(name) if !name.resolving => name.resolving = true,
            _ => return,
        }
        let shared = Arc::clone(self);
        let resolving = async move {
            let addresses = resolve(&*shared.runtime, &endpoint, true).await;
            for (socket, to, datagram) in shared.resolved(index, &endpoint, &addresses) {
                if let Some(socket) = socket.upgrade() {
                    let _ = socket.send_to(&datagram, to).await;
                }
            }
        };
        self.runtime.spawn(Box::pin(resolving)).detach();
    }

    /// Notes the addresses; gives back what waited for them.
    fn resolved(
        &self,
        index: usize,
        endpoint: &Endpoint,
        addresses: &[SocketAddr],
    ) -> Vec<(Weak<dyn AsyncUdpSocket>, SocketAddr, Bytes)> {
        let mut state = self.state();
        // Another server's address stays its own: answers could not be told apart.
        let taken: Vec<SocketAddr> = state
            .names
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != index)
            .flat_map(|(_, name)| [name.v4, name.v6])
            .flatten()
            .chain(self.endpoints.iter().filter_map(Endpoint::literal))
            .collect();
        let free = |v4: bool| {
            let of_family = |address: &&SocketAddr| address.is_ipv4() == v4;
            let first = addresses.iter().find(of_family).copied();
            first.filter(|address| !taken.contains(address))
        };
        let Some(name) = state.names.get_mut(index) else {
            return Vec::new();
        };
        name.resolving = false;
        // Otherwise what was known before may still be right.
        if !addresses.is_empty() {
            name.v4 = free(true);
            name.v6 = free(false);
        }
        let (v4, v6) = (name.v4, name.v6);
        let waiting = std::mem::take(&mut name.waiting);
        if addresses.is_empty() {
            tracing::info!("the name of a STUN or TURN server cannot be resolved");
            if let Some(tracker) = state.trackers.get_mut(index).filter(|_| endpoint.relays) {
                tracker.failed(ServerState::Unresolved);
            }
        }
        let sendable = waiting.into_iter().filter_map(|it| {
            let to = if it.v4 { v4 } else { v6 };
            Some((it.socket, to?, it.datagram))
        });
        sendable.collect()
    }
}
