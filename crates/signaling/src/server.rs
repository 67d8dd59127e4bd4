//! The server's end: WebSockets around [`crate::room::Rooms`].
//!
//! Several listeners may share one server. Each connection is one task with one bounded queue;
//! all decisions are made in one place behind one lock, which is held for microseconds and never
//! across an `await`, so that everybody sees everything in the same order.

mod connection;
mod counts;
mod entrance;
mod handshake;
mod ice;
mod relayed;
mod state;

use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::room::{Heartbeat, Limits};
use crate::room_code::RoomNumber;
pub use counts::Counts;
pub use entrance::Entrance;
pub use ice::{IceServerList, IceServerSource};
use state::State;

/// Longest time between two looks at who is silent; shorter when the heartbeat is.
const MAX_TICK: Duration = Duration::from_millis(250);
/// The same with many connections: what is due is then done in small portions, between which others
/// get their turn.
const BUSY_TICK: Duration = Duration::from_millis(1);
/// How many are many.
const BUSY: usize = 500;
/// Pause after the system refused a connection (no file handles left), doubled
/// up to [`MAX_ACCEPT_PAUSE`]: trying again at once would burn the processor and change nothing.
const MIN_ACCEPT_PAUSE: Duration = Duration::from_millis(20);
const MAX_ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// How long connections have to say goodbye when the server shuts down.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(1_500);

/// How a server behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerConfig {
    /// How much clients may ask.
    pub limits: Limits,
    /// When they count as dead.
    pub heartbeat: Heartbeat,
    /// Whether web pages may connect. A browser lets any page connect to this computer, so the
    /// server inside a window refuses whoever names an origin (RFC 6455 section 10.2).
    pub web_pages: bool,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            heartbeat: Heartbeat::default(),
            web_pages: true,
        }
    }
}

/// A signaling server without a socket of its own. Clones are the same server.
#[derive(Debug, Clone)]
pub struct Server {
    state: Arc<State>,
}

impl Server {
    /// A server without rooms that tells of no ICE servers.
    pub fn new(config: ServerConfig) -> Self {
        Self::with_ice_servers(config, Arc::new(()))
    }

    /// A server without rooms that tells clients of the ICE servers of `source`.
    pub fn with_ice_servers(config: ServerConfig, source: Arc<dyn IceServerSource>) -> Self {
        Self {
            state: Arc::new(State::new(config, source)),
        }
    }

    /// Serves `listener` until `shutdown` completes, then lets its connections say goodbye for up
    /// to 1.5 s. May run for several listeners at once, which then share all rooms.
    ///
    /// # Errors
    ///
    /// Those of the listener that make it useless; a single connection that fails is no error.
    pub async fn serve(
        &self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> io::Result<()> {
        self.serve_at(listener, Entrance::default(), shutdown).await
    }

    /// As [`Server::serve`], for a listener with TLS, a reverse proxy before it or a relay behind it.
    ///
    /// # Errors
    ///
    /// As [`Server::serve`].
    pub async fn serve_at(
        &self,
        listener: TcpListener,
        entrance: Entrance,
        shutdown: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let entrance = Arc::new(entrance);
        listener.local_addr()?;
        let (closing, _) = watch::channel(false);
        let mut connections = JoinSet::new();
        let mut accept_pause = MIN_ACCEPT_PAUSE;
        let mut accept_from = Instant::now();
        let mut next_tick = Instant::now();
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                () = sleep_until(next_tick) => {
                    let connections = self.state.tick();
                    next_tick = Instant::now() + self.tick_interval(connections);
                }
                Some(_) = connections.join_next() => {}
                accepted = accept(&listener, accept_from) => match accepted {
                    Ok(stream) => {
                        accept_pause = MIN_ACCEPT_PAUSE;
                        connections.spawn(connection::run(
                            Arc::clone(&self.state),
                            stream,
                            Arc::clone(&entrance),
                            closing.subscribe(),
                        ));
                    }
                    Err(error) if concerns_one_connection(&error) => {}
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept connections at present");
                        accept_from = Instant::now() + accept_pause;
                        accept_pause = (accept_pause * 2).min(MAX_ACCEPT_PAUSE);
                    }
                },
            }
        }
        drop(listener);
        closing.send_replace(true);
        let goodbyes = async { while connections.join_next().await.is_some() {} };
        // Whoever is not done by then is cut off when the set is dropped.
        let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, goodbyes).await;
        Ok(())
    }

    /// Open rooms that are to be reached from the network.
    pub fn shared_rooms(&self) -> watch::Receiver<BTreeSet<RoomNumber>> {
        self.state.shared_rooms()
    }

    /// Open rooms and connections at present.
    pub fn load(&self) -> Load {
        self.state.load()
    }

    /// What the server has done so far.
    pub fn counts(&self) -> Counts {
        self.state.counts()
    }

    fn tick_interval(&self, connections: usize) -> Duration {
        let longest = if connections > BUSY {
            BUSY_TICK
        } else {
            MAX_TICK
        };
        (self.state.config().heartbeat.ping_interval / 4).clamp(Duration::from_millis(1), longest)
    }
}

/// What a server has to do at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Open rooms.
    pub rooms: usize,
    /// Connections, in rooms or not.
    pub connections: usize,
    /// Seats that are kept for broken connections.
    pub away: usize,
    /// Connections that are passed on to the relay.
    pub relayed: usize,
}

async fn accept(listener: &TcpListener, from: Instant) -> io::Result<TcpStream> {
    sleep_until(from).await;
    listener.accept().await.map(|(stream, _)| stream)
}

/// The other side gave up before we looked; the listener itself is fine.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}
