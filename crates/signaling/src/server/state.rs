//! What all connections share: the rooms, and a queue to each connection.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rand::rngs::StdRng;
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::{Load, ServerConfig};
use crate::message::{ClientMessage, ErrorCode, LeaveReason, MessageError};
use crate::room::{ConnectionId, Output, Rooms};
use crate::room_code::RoomNumber;

/// Messages that wait for one connection to take them: nine others that each send a description
/// and twenty candidates make 189, twice and a half that is a client that does not read. It is
/// then closed, since leaving messages out would break its calls in stranger ways.
const OUTBOX_MESSAGES: usize = 512;
/// Their bytes: what one slow reader may cost in memory.
const OUTBOX_BYTES: usize = 1024 * 1024;

#[derive(Debug)]
pub(super) struct State {
    config: ServerConfig,
    shared: Mutex<Shared>,
    shared_rooms: watch::Sender<BTreeSet<RoomNumber>>,
}

#[derive(Debug)]
struct Shared {
    rooms: Rooms,
    outboxes: HashMap<ConnectionId, OutboxSender>,
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
    pub(super) fn new(config: ServerConfig) -> Self {
        let rooms = Rooms::new(config.limits, config.heartbeat, rand::make_rng::<StdRng>());
        Self {
            config,
            shared: Mutex::new(Shared {
                rooms,
                outboxes: HashMap::new(),
            }),
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
            let id = shared.rooms.connect(ip, now)?;
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
        self.with(|shared, now| shared.rooms.handle(id, message, length, now));
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

    pub(super) fn tick(&self) {
        self.with(|shared, now| shared.rooms.tick(now));
    }

    pub(super) fn shared_rooms(&self) -> watch::Receiver<BTreeSet<RoomNumber>> {
        self.shared_rooms.subscribe()
    }

    pub(super) fn load(&self) -> Load {
        self.with(|shared, _| Load {
            rooms: shared.rooms.rooms(),
            connections: shared.rooms.connections(),
        })
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
                Output::Send { to, message } => {
                    let Some(outbox) = self.outboxes.get(&to) else {
                        continue;
                    };
                    if !outbox.push(message.to_json().into()) {
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
