//! Asks a TURN server for a relay and gives it back at once.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rtc::sansio::Protocol;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};
use rtc::turn::client::{Client, ClientConfig, Event};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;

use super::observe::ProbeResult;
use crate::status::{ServerState, Tracker};
use crate::stream::Duplex;
use crate::stream::framing::{Deframer, MAX_MESSAGE_BYTES, frame};
use crate::stun::{self, Kind};

/// How long a server may take to give a relay, retransmissions included.
const LIMIT: Duration = Duration::from_secs(4);

/// A way to a server that takes and brings whole messages.
pub(super) enum Carrier {
    Udp(UdpSocket, SocketAddr),
    Stream(Box<dyn Duplex>, Deframer),
}

impl Carrier {
    async fn send(&mut self, message: &[u8]) -> Option<()> {
        match self {
            Self::Udp(socket, server) => {
                socket.send_to(message, *server).await.ok()?;
            }
            Self::Stream(stream, _) => {
                let mut framed = BytesMut::new();
                frame(message, &mut framed).ok()?;
                stream.write_all(&framed).await.ok()?;
                stream.flush().await.ok()?;
            }
        }
        Some(())
    }

    /// `None` when it is broken.
    async fn receive(&mut self) -> Option<Bytes> {
        match self {
            Self::Udp(socket, server) => {
                let mut buffer = [0; MAX_MESSAGE_BYTES];
                loop {
                    match socket.recv_from(&mut buffer).await {
                        Ok((bytes, from)) if from == *server => {
                            return Some(Bytes::copy_from_slice(buffer.get(..bytes)?));
                        }
                        Ok(_) => {}
                        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {}
                        Err(_) => return None,
                    }
                }
            }
            Self::Stream(stream, deframer) => loop {
                if let Some(message) = deframer.next_message().ok()? {
                    return Some(message);
                }
                deframer.buffer().reserve(MAX_MESSAGE_BYTES);
                if stream.read_buf(deframer.buffer()).await.ok()? == 0 {
                    return None;
                }
            },
        }
    }
}

/// Asks for a relay. `server` is where a datagram would go; for a stream any address will do.
pub(super) async fn allocate(
    carrier: Carrier,
    server: SocketAddr,
    username: &str,
    credential: &str,
) -> ProbeResult {
    let Some(mut allocation) = Allocation::new(carrier, server, username, credential) else {
        return ProbeResult::Unreachable;
    };
    match tokio::time::timeout(LIMIT, allocation.run()).await {
        Ok(result) => result,
        Err(_) => ProbeResult::Silent,
    }
}

struct Allocation {
    carrier: Carrier,
    client: Client,
    context: TransportContext,
    tracker: Tracker,
    asked: Instant,
    round_trip: Option<Duration>,
}

impl Allocation {
    fn new(carrier: Carrier, server: SocketAddr, username: &str, credential: &str) -> Option<Self> {
        let (local, protocol) = match &carrier {
            Carrier::Udp(socket, _) => (socket.local_addr().ok()?, TransportProtocol::UDP),
            Carrier::Stream(..) => (server, TransportProtocol::TCP),
        };
        let config = ClientConfig {
            stun_serv_addr: String::new(),
            turn_serv_addr: server.to_string(),
            local_addr: local,
            transport_protocol: protocol,
            username: username.to_owned(),
            password: credential.to_owned(),
            realm: String::new(),
            software: String::new(),
            rto_in_ms: 0,
            allocation_refresh_interval_cap: None,
        };
        let provider = rtc::crypto::default_provider().ok()?;
        Some(Self {
            carrier,
            client: Client::new(config, provider).ok()?,
            context: TransportContext {
                local_addr: local,
                peer_addr: server,
                transport_protocol: protocol,
                ecn: None,
            },
            tracker: Tracker::default(),
            asked: Instant::now(),
            round_trip: None,
        })
    }

    async fn run(&mut self) -> ProbeResult {
        self.asked = Instant::now();
        if self.client.allocate(self.asked).is_err() {
            return ProbeResult::Unreachable;
        }
        loop {
            if self.flush().await.is_none() {
                return ProbeResult::Unreachable;
            }
            while let Some(event) = self.client.poll_event() {
                if let Some(result) = self.take(event).await {
                    return result;
                }
            }
            let wait = self
                .client
                .poll_timeout()
                .map_or(LIMIT, |at| at.saturating_duration_since(Instant::now()));
            tokio::select! {
                message = self.carrier.receive() => match message {
                    Some(message) => self.received(&message),
                    None => return ProbeResult::Unreachable,
                },
                () = tokio::time::sleep(wait) => {
                    // Fails only for what it has no timer for.
                    let _ = self.client.handle_timeout(Instant::now());
                }
            }
        }
    }

    async fn flush(&mut self) -> Option<()> {
        while let Some(message) = self.client.poll_write() {
            if let Some(seen) = stun::allocate(&message.message) {
                self.tracker.sent(seen);
            }
            self.carrier.send(&message.message).await?;
        }
        Some(())
    }

    fn received(&mut self, message: &[u8]) {
        if let Some(seen) = stun::allocate(message) {
            self.round_trip.get_or_insert(self.asked.elapsed());
            self.tracker.received(seen);
            // The client reports no error for some codes.
            if let Kind::Error { code } = seen.kind {
                tracing::debug!(code, "a TURN server refused");
            }
        }
        let tagged = TaggedBytesMut {
            now: Instant::now(),
            transport: self.context,
            message: BytesMut::from(message),
        };
        if self.client.handle_read(tagged).is_err() {
            tracing::debug!("an answer of a TURN server is unreadable");
        }
    }

    async fn take(&mut self, event: Event) -> Option<ProbeResult> {
        match event {
            Event::AllocateResponse(_, relayed) => {
                if let Ok(mut relay) = self.client.relay(relayed) {
                    let _ = relay.close(Instant::now());
                }
                self.flush().await;
                Some(ProbeResult::Allocated {
                    round_trip: self.round_trip.unwrap_or_else(|| self.asked.elapsed()),
                })
            }
            Event::AllocateError(..) => Some(match self.tracker.state() {
                ServerState::WrongCredential => ProbeResult::WrongCredential,
                ServerState::Refused { code } => ProbeResult::Refused { code },
                _ => ProbeResult::Unreachable,
            }),
            Event::TransactionTimeout(_) => Some(ProbeResult::Silent),
            _ => None,
        }
    }
}
