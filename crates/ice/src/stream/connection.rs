//! One stream to one TURN server: dialed when it is time, used until it breaks, dialed again when
//! an allocation is asked for again.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use webrtc::runtime::Runtime;

use super::framing::{Deframer, FramingError, MAX_MESSAGE_BYTES, frame};
use super::shared::Shared;
use super::start::Start;
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

/// Resolves, connects and shakes hands; an address of the preferred family is tried first.
pub(crate) async fn dial(
    runtime: &dyn Runtime,
    endpoint: &Endpoint,
    prefer_v4: bool,
    roots: &ExtraRoots,
) -> Result<Box<dyn Duplex>, DialError> {
    let addresses = resolve(runtime, endpoint, prefer_v4).await;
    if addresses.is_empty() {
        return Err(DialError::Unresolved);
    }
    let mut problem = DialError::Unreachable;
    for address in addresses.into_iter().take(MAX_ADDRESSES) {
        match dial_address(endpoint, address, roots).await {
            Ok(stream) => return Ok(stream),
            Err(error) => problem = error,
        }
    }
    Err(problem)
}

/// The addresses of a server, those of the preferred family first; none when it is unknown.
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
    let mut addresses = match resolving.await {
        Ok(Ok(addresses)) => addresses,
        Ok(Err(_)) | Err(_) => Vec::new(),
    };
    addresses.sort_by_key(|address| address.is_ipv4() != prefer_v4);
    addresses
}

async fn dial_address(
    endpoint: &Endpoint,
    address: SocketAddr,
    roots: &ExtraRoots,
) -> Result<Box<dyn Duplex>, DialError> {
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
    if endpoint.transport != ServerTransport::Tls {
        return Ok(Box::new(stream));
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
        Ok(Ok(stream)) => Ok(Box::new(stream)),
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
            let Some(request) = self.wait_for_turn(request).await else {
                return;
            };
            let runtime = Arc::clone(self.shared.runtime());
            let roots = self.shared.roots().clone();
            let dialed = dial(&*runtime, &self.endpoint, self.prefer_v4, &roots).await;
            let problem = match dialed {
                Ok(stream) => match self.pump(stream, request).await {
                    Ended::Released => return,
                    Ended::Broken => {
                        pause = FIRST_PAUSE;
                        DialError::Unreachable
                    }
                },
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

    /// Waits for the time to dial. The request is repeated meanwhile: the newest is given back.
    /// `None` when nobody sends any more.
    async fn wait_for_turn(&mut self, mut request: Bytes) -> Option<Bytes> {
        let mut changes = self.shared.start_changes();
        loop {
            changes.mark_unchanged();
            let start = self.shared.start(self.endpoint.transport);
            let until = match start {
                Start::Now => return Some(request),
                Start::At(at) => at.saturating_duration_since(Instant::now()),
                // Until something changes.
                Start::Never => Duration::MAX,
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
