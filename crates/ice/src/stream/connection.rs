//! One stream to one TURN server: dialed and used when it is time, until it breaks; dialed again
//! when an allocation is asked for again.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use webrtc::runtime::Runtime;

use super::framing::{Deframer, FramingError, MAX_MESSAGE_BYTES, frame};
use super::shared::Shared;
use super::start::{Start, Step};
use super::tls::{self, ExtraRoots};
use crate::placeholder::Endpoint;
use crate::server::ServerTransport;
use crate::status::ServerState;
use crate::stun::{self, Kind};

/// Datagrams that wait for the stream: 75 kB, 60 ms at 10 Mbit/s. When full, the newest is dropped,
/// as a network would: congestion control has to learn of it soon.
pub(super) const OUTGOING_CAPACITY: usize = 64;
/// Datagrams that wait for the connection's task; it reads up to 64 at a time.
pub(super) const INCOMING_CAPACITY: usize = 256;
/// What the system buffers on its way out. More would only become delay: this carries 10 Mbit/s at
/// a round trip of 100 ms.
const SEND_BUFFER_BYTES: u32 = 128 * 1024;
/// Datagrams that are written together.
const BATCH: usize = 32;
/// How long one address may take to answer; a server has a few at most.
const CONNECT_LIMIT: Duration = Duration::from_secs(4);
/// How long a TLS handshake may take: three round trips on a very slow path.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(6);
/// How long resolving may take before the server counts as unknown.
pub(super) const RESOLVE_LIMIT: Duration = Duration::from_secs(5);
/// After so long without an answer the next address is tried beside it (RFC 8305 section 8).
const NEXT_ADDRESS: Duration = Duration::from_millis(250);
/// Addresses of one name that are tried.
const MAX_ADDRESSES: usize = 4;
/// Between two attempts, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// How long the last messages, which give the relay back, may take to leave.
const FAREWELL: Duration = Duration::from_millis(500);

/// A TCP or TLS stream.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// An open stream.
pub(crate) struct Dialed {
    pub(crate) stream: Box<dyn Duplex>,
    /// The address of this computer that it goes out from.
    pub(crate) local: Option<IpAddr>,
}

/// Why there is no stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DialError {
    Unresolved,
    Unreachable,
    BadCertificate,
}

impl From<DialError> for ServerState {
    fn from(error: DialError) -> Self {
        match error {
            DialError::Unresolved => Self::Unresolved,
            DialError::Unreachable => Self::Unreachable,
            DialError::BadCertificate => Self::BadCertificate,
        }
    }
}

/// Resolves, connects and shakes hands; an address of the preferred family is tried first, and the
/// next one beside it when it is slow (RFC 8305).
pub(crate) async fn dial(
    runtime: &dyn Runtime,
    endpoint: &Endpoint,
    prefer_v4: bool,
    roots: &ExtraRoots,
) -> Result<Dialed, DialError> {
    let addresses = resolve(runtime, endpoint, prefer_v4).await;
    let mut untried = addresses.into_iter().take(MAX_ADDRESSES);
    let mut problem = DialError::Unresolved;
    let mut trying = FuturesUnordered::new();
    loop {
        if let Some(address) = untried.next() {
            trying.push(dial_address(endpoint, address, roots));
        }
        tokio::select! {
            tried = trying.next() => match tried {
                Some(Ok(stream)) => return Ok(stream),
                Some(Err(error)) => problem = error,
                None => return Err(problem),
            },
            () = tokio::time::sleep(NEXT_ADDRESS), if untried.len() > 0 => {}
        }
    }
}

/// The addresses of a server, both families in turn, the preferred one first; none when it is
/// unknown.
pub(crate) async fn resolve(
    runtime: &dyn Runtime,
    endpoint: &Endpoint,
    prefer_v4: bool,
) -> Vec<SocketAddr> {
    let host = endpoint.host_and_port();
    // A literal needs no resolver.
    if let Ok(address) = host.parse() {
        return vec![address];
    }
    let resolving = tokio::time::timeout(RESOLVE_LIMIT, runtime.resolve_host(&host));
    let addresses = match resolving.await {
        Ok(Ok(addresses)) => addresses,
        Ok(Err(_)) | Err(_) => Vec::new(),
    };
    in_turn(addresses, prefer_v4)
}

/// RFC 8305 section 4: should one family lead nowhere, the other must not wait for all of it.
fn in_turn(addresses: Vec<SocketAddr>, prefer_v4: bool) -> Vec<SocketAddr> {
    let (preferred, other): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv4() == prefer_v4);
    let rounds = 0..preferred.len().max(other.len());
    let both = rounds.flat_map(|round| [preferred.get(round), other.get(round)]);
    both.flatten().copied().collect()
}

async fn dial_address(
    endpoint: &Endpoint,
    address: SocketAddr,
    roots: &ExtraRoots,
) -> Result<Dialed, DialError> {
    let connecting = async {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
        socket.set_nodelay(true)?;
        socket.connect(address).await
    };
    let connected = tokio::time::timeout(CONNECT_LIMIT, connecting).await;
    let Ok(Ok(stream)) = connected else {
        return Err(DialError::Unreachable);
    };
    let local = stream.local_addr().ok().map(|address| address.ip());
    if endpoint.transport != ServerTransport::Tls {
        let stream = Box::new(stream);
        return Ok(Dialed { stream, local });
    }
    let name =
        ServerName::try_from(endpoint.host.clone()).map_err(|_| DialError::BadCertificate)?;
    let roots = roots.clone();
    let config = tokio::task::spawn_blocking(move || tls::client_config(&roots)).await;
    let config = match config {
        Ok(Ok(config)) => config,
        Ok(Err(reason)) => {
            tracing::warn!(%reason, "no TLS to TURN servers");
            return Err(DialError::BadCertificate);
        }
        Err(_) => return Err(DialError::Unreachable),
    };
    let handshake = TlsConnector::from(config).connect(name, stream);
    match tokio::time::timeout(HANDSHAKE_LIMIT, handshake).await {
        Ok(Ok(stream)) => {
            let stream = Box::new(stream);
            Ok(Dialed { stream, local })
        }
        Ok(Err(error)) if is_certificate_error(&error) => Err(DialError::BadCertificate),
        Ok(Err(_)) | Err(_) => Err(DialError::Unreachable),
    }
}

fn is_certificate_error(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    matches!(inner, Some(rustls::Error::InvalidCertificate(_)))
}

/// What the task of a stream works with. It ends when the sender of `outgoing` is dropped.
pub(super) struct StreamTask {
    pub(super) index: usize,
    pub(super) endpoint: Endpoint,
    pub(super) prefer_v4: bool,
    pub(super) shared: Arc<Shared>,
    pub(super) outgoing: mpsc::Receiver<Bytes>,
    pub(super) incoming: mpsc::Sender<(usize, Bytes)>,
}

/// Why a stream is used no longer.
enum Ended {
    /// Nobody sends any more.
    Released,
    Broken,
}

impl StreamTask {
    pub(super) async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        // A request for an allocation, not some late message of an old one.
        while let Some(request) = self.next_request().await {
            let Some(request) = self.wait_for(Step::Dial, request).await else {
                return;
            };
            let runtime = Arc::clone(self.shared.runtime());
            let roots = self.shared.roots().clone();
            let dialed = dial(&*runtime, &self.endpoint, self.prefer_v4, &roots).await;
            let problem = match dialed {
                // The socket has gone meanwhile.
                Ok(_) if self.outgoing.is_closed() => return,
                Ok(Dialed { stream, local }) => {
                    self.shared.opened(self.index, local);
                    let Some(request) = self.wait_for(Step::Ask, request).await else {
                        return;
                    };
                    match self.pump(stream, request).await {
                        Ended::Released => return,
                        Ended::Broken => {
                            pause = FIRST_PAUSE;
                            DialError::Unreachable
                        }
                    }
                }
                Err(problem) => problem,
            };
            tracing::info!(
                transport = %self.endpoint.transport,
                ?problem,
                "a TURN server cannot be reached by a stream"
            );
            self.shared.failed(self.index, problem.into());
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn next_request(&mut self) -> Option<Bytes> {
        loop {
            let datagram = self.outgoing.recv().await?;
            let message = stun::allocate(&datagram);
            if message.is_some_and(|message| matches!(message.kind, Kind::Request { .. })) {
                return Some(datagram);
            }
        }
    }

    /// Waits for the time to do this. The request is repeated meanwhile: the newest is given back.
    /// `None` when nobody sends any more, or a better relay makes the stream needless: that one
    /// stays as long as the socket.
    async fn wait_for(&mut self, step: Step, mut request: Bytes) -> Option<Bytes> {
        let mut changes = self.shared.start_changes();
        loop {
            changes.mark_unchanged();
            let until = match self.shared.start(step, self.endpoint.transport) {
                Start::Now => return Some(request),
                Start::At(at) => at.saturating_duration_since(Instant::now()),
                Start::Never => return None,
            };
            tokio::select! {
                datagram = self.outgoing.recv() => request = datagram?,
                () = tokio::time::sleep(until) => {}
                _ = changes.changed() => {}
            }
        }
    }

    async fn pump(&mut self, stream: Box<dyn Duplex>, request: Bytes) -> Ended {
        let (reader, writer) = tokio::io::split(stream);
        let read = read(reader, self.index, self.incoming.clone());
        let write = write(writer, &mut self.outgoing, request);
        tokio::select! {
            error = read => {
                tracing::debug!(?error, "a stream to a TURN server ended");
                Ended::Broken
            }
            ended = write => ended,
        }
    }
}

async fn read(
    mut stream: impl AsyncRead + Unpin,
    index: usize,
    incoming: mpsc::Sender<(usize, Bytes)>,
) -> Result<(), FramingError> {
    let mut deframer = Deframer::default();
    loop {
        deframer.buffer().reserve(MAX_MESSAGE_BYTES);
        match stream.read_buf(deframer.buffer()).await {
            Ok(0) | Err(_) => return Ok(()),
            Ok(_) => {}
        }
        while let Some(message) = deframer.next_message()? {
            // Full: dropped, as a network would.
            let _ = incoming.try_send((index, message));
        }
    }
}

async fn write(
    mut stream: impl AsyncWrite + Unpin,
    outgoing: &mut mpsc::Receiver<Bytes>,
    first: Bytes,
) -> Ended {
    let mut batch = vec![first];
    let mut buffer = BytesMut::new();
    loop {
        for datagram in batch.drain(..) {
            if frame(&datagram, &mut buffer).is_err() {
                tracing::debug!("what is no TURN message is not sent down a stream");
            }
        }
        let written = async {
            stream.write_all(&buffer).await?;
            stream.flush().await
        };
        if written.await.is_err() {
            return Ended::Broken;
        }
        buffer.clear();
        if outgoing.recv_many(&mut batch, BATCH).await == 0 {
            let _ = tokio::time::timeout(FAREWELL, stream.shutdown()).await;
            return Ended::Released;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_tried_in_turn() {
        let addresses = |texts: &[&str]| -> Vec<SocketAddr> {
            let parsed = texts.iter().map(|text| text.parse().expect("an address"));
            parsed.collect()
        };
        let mixed = addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "10.0.0.1:1"]);
        assert_eq!(
            in_turn(mixed.clone(), true),
            addresses(&["10.0.0.1:1", "[::1]:1", "[::2]:1", "[::3]:1"])
        );
        assert_eq!(
            in_turn(mixed, false),
            addresses(&["[::1]:1", "10.0.0.1:1", "[::2]:1", "[::3]:1"])
        );
        assert!(in_turn(Vec::new(), true).is_empty());
    }
}
