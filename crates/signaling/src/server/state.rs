//! What all connections share: the rooms, and a queue to each connection.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rand::rngs::StdRng;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::counts::Counts;
use super::ice::IceServerSource;
use super::relayed::{Pass, Relayed};
use super::{Load, ServerConfig};
use crate::message::{ClientMessage, ErrorCode, LeaveReason, MessageError, ServerMessage};
use crate::room::{ConnectionId, Output, Rooms};
use crate::room_code::RoomNumber;

/// Messages that wait for one connection to take them: nine others that each send a description
/// and twenty candidates make 189, twice and a half that is a client that does not read. It is
/// then closed, since leaving messages out would break its calls in stranger ways.
const OUTBOX_MESSAGES: usize = 512;
/// Their bytes: what one slow reader may cost in memory.
const OUTBOX_BYTES: usize = 1024 * 1024;

/// Connections that count for nobody: they last for a handshake, so this many are hundreds per
/// second, and they cannot use up the system's files.
const MAX_UNKNOWN: usize = 1_024;

/// [`ServerMessage::Ping`] as it travels.
const PING: &str = r#"{"type":"ping"}"#;

#[derive(Debug)]
pub(super) struct State {
    config: ServerConfig,
    shared: Mutex<Shared>,
    relayed: Arc<Relayed>,
    /// Connections that are being refused, and those from proxies whose client is not known yet.
    unknown: Arc<Semaphore>,
    shared_rooms: watch::Sender<BTreeSet<RoomNumber>>,
}

#[derive(Debug)]
struct Shared {
    rooms: Rooms,
    outboxes: HashMap<ConnectionId, OutboxSender>,
    ice: Arc<dyn IceServerSource>,
    counts: Counts,
}

/// The receiving end of a connection's queue. It ends when the connection is to be closed.
#[derive(Debug)]
pub(super) struct Outbox {
    messages: mpsc::Receiver<Utf8Bytes>,
    bytes: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct OutboxSender {
    messages: mpsc::Sender<Utf8Bytes>,
    bytes: Arc<AtomicUsize>,
}

impl State {
    pub(super) fn new(config: ServerConfig, ice: Arc<dyn IceServerSource>) -> Self {
        let rooms = Rooms::new(config.limits, config.heartbeat, rand::make_rng::<StdRng>());
        Self {
            config,
            shared: Mutex::new(Shared {
                rooms,
                outboxes: HashMap::new(),
                ice,
                counts: Counts::default(),
            }),
            relayed: Arc::default(),
            unknown: Arc::new(Semaphore::new(MAX_UNKNOWN)),
            shared_rooms: watch::Sender::new(BTreeSet::new()),
        }
    }

    pub(super) fn config(&self) -> &ServerConfig {
        &self.config
    }

    pub(super) fn connect(&self, ip: IpAddr) -> Result<(ConnectionId, Outbox), ErrorCode> {
        let (sender, messages) = mpsc::channel(OUTBOX_MESSAGES);
        let bytes = Arc::new(AtomicUsize::new(0));
        self.with(|shared, now| {
            let connected = shared.rooms.connect(ip, now);
            match connected {
                Ok(_) => shared.counts.connections += 1,
                Err(_) => shared.counts.connections_refused += 1,
            }
            let id = connected?;
            shared.outboxes.insert(
                id,
                OutboxSender {
                    messages: sender,
                    bytes: Arc::clone(&bytes),
                },
            );
            Ok((id, Outbox { messages, bytes }))
        })
    }

    pub(super) fn handle(
        &self,
        id: ConnectionId,
        message: Result<ClientMessage, MessageError>,
        length: usize,
    ) {
        self.with(|shared, now| {
            shared.counts.messages_received += 1;
            shared.counts.bytes_received += length as u64;
            shared.rooms.handle(id, message, length, now);
        });
    }

    pub(super) fn put_out(&self, id: ConnectionId, code: ErrorCode) {
        self.with(|shared, now| shared.rooms.put_out(id, code, now));
    }

    pub(super) fn disconnect(&self, id: ConnectionId, reason: LeaveReason) {
        self.with(|shared, now| {
            shared.outboxes.remove(&id);
            shared.rooms.disconnect(id, reason, now);
        });
    }

    /// Gives the number of connections.
    pub(super) fn tick(&self) -> usize {
        self.with(|shared, now| {
            shared.rooms.tick(now);
            shared.rooms.connections()
        })
    }

    pub(super) fn shared_rooms(&self) -> watch::Receiver<BTreeSet<RoomNumber>> {
        self.shared_rooms.subscribe()
    }

    pub(super) fn load(&self) -> Load {
        self.with(|shared, _| Load {
            rooms: shared.rooms.rooms(),
            connections: shared.rooms.connections(),
            away: shared.rooms.away(),
            relayed: self.relayed.count(),
        })
    }

    pub(super) fn counts(&self) -> Counts {
        self.with(|shared, _| shared.counts.clone())
    }

    /// A place among the connections that are passed on to the relay.
    pub(super) fn relay(&self, from: IpAddr) -> Option<Pass> {
        let limits = &self.config.limits;
        let (in_all, per_address) = (limits.connections, limits.connections_per_address);
        let pass = self.relayed.pass(from, in_all, per_address);
        self.with(|shared, _| match pass {
            Some(_) => shared.counts.connections_relayed += 1,
            None => shared.counts.connections_refused += 1,
        });
        pass
    }

    /// A place for a connection that counts for no client (yet).
    pub(super) fn unknown(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.unknown).try_acquire_owned().ok()
    }

    /// Does something with the rooms and carries out what follows from it, in order.
    fn with<T>(&self, act: impl FnOnce(&mut Shared, Instant) -> T) -> T {
        // The state is consistent between any two calls; a panic elsewhere must not end all calls.
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let result = act(&mut shared, now);
        shared.deliver(now);
        let now_shared = shared.rooms.shared_rooms();
        self.shared_rooms.send_if_modified(|known| {
            let news = known != now_shared;
            if news {
                known.clone_from(now_shared);
            }
            news
        });
        result
    }
}

impl Shared {
    fn deliver(&mut self, now: Instant) {
        while let Some(output) = self.rooms.poll_output() {
            match output {
                Output::Send { to, mut message } => {
                    let Some(outbox) = self.outboxes.get(&to) else {
                        continue;
                    };
                    if message.has_ice_servers() {
                        let list = self.ice.issue();
                        message.set_ice_servers(list.servers, list.lifetime);
                    }
                    // By far the most frequent one.
                    let json = match message {
                        ServerMessage::Ping => Utf8Bytes::from_static(PING),
                        _ => message.to_json().into(),
                    };
                    self.counts.messages_sent += 1;
                    self.counts.bytes_sent += json.len() as u64;
                    self.counts.sent(&message);
                    if !outbox.push(json) {
                        self.counts.slow_readers += 1;
                        tracing::debug!("closed a connection that does not take its messages");
                        self.outboxes.remove(&to);
                        self.rooms.disconnect(to, LeaveReason::Removed, now);
                    }
                }
                Output::Close { connection } => {
                    self.outboxes.remove(&connection);
                }
            }
        }
    }
}

impl OutboxSender {
    /// `false` when the queue is full or nobody reads it any more.
    fn push(&self, message: Utf8Bytes) -> bool {
        let length = message.len();
        let queued = self.bytes.fetch_add(length, Ordering::Relaxed) + length;
        queued <= OUTBOX_BYTES && self.messages.try_send(message).is_ok()
    }
}

impl Outbox {
    /// The next message; `None` when the connection is to be closed. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Utf8Bytes> {
        let message = self.messages.recv().await?;
        self.bytes.fetch_sub(message.len(), Ordering::Relaxed);
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ping_is_a_ping() {
        assert_eq!(ServerMessage::Ping.to_json(), PING);
    }
}
