//! A UDP socket as the connection's task sees it: TURN servers behind streams and servers known by
//! name look like any other address.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::mpsc;
use webrtc::runtime::{AsyncUdpSocket, RecvMeta, Transmit};

use super::connection::{INCOMING_CAPACITY, OUTGOING_CAPACITY, StreamTask};
use super::shared::Shared;
use crate::placeholder::placeholder;
use crate::server::ServerTransport;

pub(crate) struct IceSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    shared: Arc<Shared>,
    v4: bool,
    /// Tells that this socket still is.
    _life: Arc<()>,
    streams: Mutex<HashMap<usize, Stream>>,
    incoming: Mutex<mpsc::Receiver<(usize, Bytes)>>,
    incoming_sender: mpsc::Sender<(usize, Bytes)>,
}

/// Dropping it ends the stream, after what waits in it.
struct Stream {
    outgoing: mpsc::Sender<Bytes>,
    _claim: Arc<()>,
}

impl std::fmt::Debug for IceSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IceSocket")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl IceSocket {
    pub(crate) fn new(inner: Arc<dyn AsyncUdpSocket>, shared: Arc<Shared>) -> io::Result<Self> {
        let (incoming_sender, incoming) = mpsc::channel(INCOMING_CAPACITY);
        Ok(Self {
            v4: inner.local_addr()?.is_ipv4(),
            _life: shared.socket(),
            inner,
            shared,
            streams: Mutex::default(),
            incoming: Mutex::new(incoming),
            incoming_sender,
        })
    }

    fn send_to_server(
        &self,
        index: usize,
        cx: &mut Context<'_>,
        transmit: &Transmit<'_>,
    ) -> Poll<io::Result<usize>> {
        let now = self.shared.runtime().now();
        for datagram in segments(transmit) {
            self.shared.sent(index, datagram, now);
        }
        let endpoint = self.shared.endpoints().get(index);
        if endpoint.is_some_and(|endpoint| endpoint.transport == ServerTransport::Udp) {
            return self.send_by_name(index, cx, transmit);
        }
        for datagram in segments(transmit) {
            self.send_down_stream(index, datagram);
        }
        Poll::Ready(Ok(transmit.contents.len()))
    }

    fn send_by_name(
        &self,
        index: usize,
        cx: &mut Context<'_>,
        transmit: &Transmit<'_>,
    ) -> Poll<io::Result<usize>> {
        let v4 = transmit.destination.is_ipv4();
        match self.shared.address(index, v4) {
            Some(destination) => {
                let transmit = Transmit {
                    destination,
                    ..transmit.clone()
                };
                self.inner.poll_send(cx, &transmit)
            }
            None => {
                for datagram in segments(transmit) {
                    self.shared.hold(index, v4, &self.inner, datagram);
                }
                Poll::Ready(Ok(transmit.contents.len()))
            }
        }
    }

    fn send_down_stream(&self, index: usize, datagram: &[u8]) {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let stream = match streams.entry(index) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(vacant) => match self.open(index) {
                Some(stream) => vacant.insert(stream),
                None => return,
            },
        };
        // Full: dropped, as a network would.
        let _ = stream.outgoing.try_send(Bytes::copy_from_slice(datagram));
    }

    fn open(&self, index: usize) -> Option<Stream> {
        let claim = self.shared.claim_stream(index)?;
        let (outgoing, receiver) = mpsc::channel(OUTGOING_CAPACITY);
        let task = StreamTask {
            index,
            endpoint: self.shared.endpoints().get(index)?.clone(),
            prefer_v4: self.v4,
            shared: Arc::clone(&self.shared),
            outgoing: receiver,
            incoming: self.incoming_sender.clone(),
        };
        self.shared.runtime().spawn(Box::pin(task.run())).detach();
        Some(Stream {
            outgoing,
            _claim: claim,
        })
    }

    /// What a stream brought, if there is any.
    fn poll_streams(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
        meta: &mut RecvMeta,
    ) -> Poll<()> {
        let mut incoming = self.incoming.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let Poll::Ready(Some((index, message))) = incoming.poll_recv(cx) else {
                return Poll::Pending;
            };
            let port = self.shared.endpoints().get(index).map_or(0, |it| it.port);
            let Some(room) = buffer.get_mut(..message.len()) else {
                continue;
            };
            room.copy_from_slice(&message);
            self.shared
                .received(index, &message, self.shared.runtime().now());
            *meta = received(placeholder(index, port, self.v4), message.len());
            return Poll::Ready(());
        }
    }

    /// Gives datagrams of servers known by name the address that stands for them.
    fn note(&self, buffer: &[u8], meta: &mut RecvMeta) {
        let index = match self.shared.endpoints().at(meta.addr) {
            Some(index) => index,
            None => match self.shared.name_at(meta.addr) {
                Some((index, address)) => {
                    meta.addr = address;
                    index
                }
                None => return,
            },
        };
        let now = self.shared.runtime().now();
        let datagrams = buffer.get(..meta.len).unwrap_or_default();
        for datagram in datagrams.chunks(meta.stride.max(1)) {
            self.shared.received(index, datagram, now);
        }
    }
}

impl AsyncUdpSocket for IceSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        let endpoints = self.shared.endpoints();
        if let Some(index) = endpoints.standing_for(transmit.destination) {
            return self.send_to_server(index, cx, transmit);
        }
        if let Some(index) = endpoints.at(transmit.destination) {
            let now = self.shared.runtime().now();
            for datagram in segments(transmit) {
                self.shared.sent(index, datagram, now);
            }
        }
        self.inner.poll_send(cx, transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        if let ([buffer, ..], [meta, ..]) = (&mut *buffers, &mut *meta)
            && self.poll_streams(cx, buffer, meta).is_ready()
        {
            return Poll::Ready(Ok(1));
        }
        let count = std::task::ready!(self.inner.poll_recv(cx, buffers, meta))?;
        for (buffer, meta) in buffers.iter().zip(meta.iter_mut()).take(count) {
            self.note(buffer, meta);
        }
        Poll::Ready(Ok(count))
    }

    fn max_gso_segments(&self) -> usize {
        self.inner.max_gso_segments()
    }

    fn max_gro_segments(&self) -> usize {
        self.inner.max_gro_segments()
    }
}

/// The datagrams of a batch.
fn segments<'a>(transmit: &Transmit<'a>) -> impl Iterator<Item = &'a [u8]> {
    let bytes = transmit.segment_size.unwrap_or(transmit.contents.len());
    transmit.contents.chunks(bytes.max(1))
}

fn received(from: SocketAddr, bytes: usize) -> RecvMeta {
    let mut meta = RecvMeta::default();
    meta.addr = from;
    meta.len = bytes;
    meta.stride = bytes.max(1);
    meta
}
