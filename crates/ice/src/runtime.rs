//! The runtime under a connection: tokio's, or a virtual one in tests, with what the webrtc crate
//! lacks.
//!
//! - TURN over TCP and TLS, at the sockets ([`crate::stream`]).
//! - Names of servers are resolved in a task of their own. The crate does it on the connection's
//!   task, where a name server that does not answer would hold up even a call on one desk.
//! - Its task makes more rounds where packets would wait inside it ([`crate::passes`]).

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rtc::peer_connection::configuration::RTCIceServer;
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, Runtime,
};

use crate::placeholder::Endpoints;
use crate::server::{IceServer, ServerTransport};
use crate::status::ServerStatus;
use crate::stream::shared::Shared;
use crate::stream::socket::IceSocket;
use crate::stream::tls::ExtraRoots;

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The runtime of one connection.
#[derive(Debug)]
pub struct IceRuntime {
    inner: Arc<dyn Runtime>,
    shared: Arc<Shared>,
}

impl IceRuntime {
    /// On top of `inner`, with these servers; `roots` are trusted for TLS besides the system's.
    pub fn new(inner: Arc<dyn Runtime>, servers: &[IceServer], roots: ExtraRoots) -> Arc<Self> {
        let endpoints = Endpoints::new(servers);
        let shared = Shared::new(Arc::clone(&inner), endpoints, roots);
        Arc::new(Self { inner, shared })
    }

    /// The servers as the crate is to be told, with the credentials they have here. Ways that
    /// [`Self::new`] was not given are left out.
    pub fn ice_servers(&self, servers: &[IceServer]) -> Vec<RTCIceServer> {
        self.shared.endpoints().for_crate(servers)
    }

    /// How the servers answer.
    pub fn server_statuses(&self) -> Vec<ServerStatus> {
        self.shared.statuses()
    }

    /// Where a relay's stream over TCP or TLS begins on this computer. The crate takes it for the
    /// address of one of its sockets, and the system chooses it.
    pub fn stream_address(&self, transport: ServerTransport) -> Option<IpAddr> {
        self.shared.stream_address(transport)
    }

    /// Lets the connection's task go round once more before it sleeps. To be called from within
    /// it: when ICE has found a path, the DTLS client's first message otherwise waits for the next
    /// timer.
    pub fn nudge(&self) {
        self.shared.passes().ask();
    }
}

impl Runtime for IceRuntime {
    fn spawn(&self, future: Boxed<'static, ()>) -> Box<dyn JoinHandle> {
        self.inner.spawn(future)
    }

    fn spawn_reactor(&self, pool_size: usize, future: Boxed<'static, ()>) -> Box<dyn JoinHandle> {
        self.inner.spawn_reactor(pool_size, future)
    }

    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let socket = self.inner.wrap_udp_socket(socket)?;
        if self.shared.endpoints().is_empty() {
            return Ok(socket);
        }
        let socket = IceSocket::new(socket, Arc::clone(&self.shared))?;
        Ok(Arc::new(socket))
    }

    fn wrap_tcp_listener(
        &self,
        listener: std::net::TcpListener,
    ) -> io::Result<Arc<dyn AsyncTcpListener>> {
        self.inner.wrap_tcp_listener(listener)
    }

    fn connect_tcp<'a>(
        &'a self,
        address: SocketAddr,
    ) -> Boxed<'a, io::Result<Arc<dyn AsyncTcpStream>>> {
        self.inner.connect_tcp(address)
    }

    fn resolve_host<'a>(&'a self, host: &'a str) -> Boxed<'a, io::Result<Vec<SocketAddr>>> {
        match self.shared.endpoints().named(host) {
            Some(index) => {
                self.shared.resolve(index);
                let addresses = self.shared.endpoints().addresses(index);
                Box::pin(std::future::ready(Ok(addresses)))
            }
            None => self.inner.resolve_host(host),
        }
    }

    fn now(&self) -> Instant {
        self.inner.now()
    }

    fn sleep(&self, duration: Duration) -> Boxed<'static, ()> {
        let ends_at_once = self.shared.passes().sleep(self.inner.now());
        if ends_at_once {
            return Box::pin(AtOnce(Arc::clone(&self.shared)));
        }
        self.inner.sleep(duration)
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        self.inner.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        self.inner.block_on(future);
    }

    fn yield_now(&self) -> Boxed<'static, ()> {
        self.inner.yield_now()
    }

    fn name(&self) -> &'static str {
        self.inner.name()
    }
}

/// A sleep that ends at once, and says so when it was what woke the task.
struct AtOnce(Arc<Shared>);

impl Future for AtOnce {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        self.0.passes().slept();
        Poll::Ready(())
    }
}
