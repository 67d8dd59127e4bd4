//! A STUN Binding (RFC 8489 section 3) over UDP, with what RFC 5780 adds.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rtc::stun::addr::OtherAddress;
use rtc::stun::attributes::{ATTR_CHANGE_REQUEST, ATTR_OTHER_ADDRESS};
use rtc::stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Getter, Message, TransactionId};
use rtc::stun::xoraddr::XorMappedAddress;
use tokio::net::UdpSocket;

/// The first repetition; then twice as long each time.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// Requests until a server counts as silent: 250 ms, 0.5, 1 and 2 s.
const REQUESTS: u32 = 4;
/// Largest answer: what comes from a stranger is cut off here.
const MAX_ANSWER: usize = 1500;

/// From where the server is to answer (RFC 5780 section 7.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// Where it was asked.
    There,
    /// The same address, another port.
    OtherPort,
    /// Another address and port.
    OtherAddress,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Answer {
    pub(super) mapped: SocketAddr,
    /// Another address of the server, if it supports RFC 5780.
    pub(super) other: Option<SocketAddr>,
    pub(super) round_trip: Duration,
}

/// Asks, a few times; `None` when no answer comes.
pub(super) async fn ask(socket: &UdpSocket, server: SocketAddr, from: From) -> Option<Answer> {
    let id = TransactionId::new();
    let request = request(id, from)?;
    let mut wait = FIRST_WAIT;
    for _ in 0..REQUESTS {
        let sent = Instant::now();
        socket.send_to(&request, server).await.ok()?;
        if let Ok(found) = tokio::time::timeout(wait, answer(socket, id)).await {
            let (mapped, other) = found?;
            return Some(Answer {
                mapped,
                other,
                round_trip: sent.elapsed(),
            });
        }
        wait *= 2;
    }
    None
}

fn request(id: TransactionId, from: From) -> Option<Vec<u8>> {
    let mut message = Message::new();
    message
        .build(&[Box::new(id), Box::new(BINDING_REQUEST)])
        .ok()?;
    let flags = match from {
        From::There => None,
        From::OtherPort => Some(2),
        From::OtherAddress => Some(6),
    };
    if let Some(flags) = flags {
        message.add(ATTR_CHANGE_REQUEST, &[0, 0, 0, flags]);
    }
    Some(message.raw)
}

/// Waits for the answer to this request; `None` when the socket breaks.
async fn answer(socket: &UdpSocket, id: TransactionId) -> Option<(SocketAddr, Option<SocketAddr>)> {
    let mut buffer = [0; MAX_ANSWER];
    loop {
        let (bytes, _) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            // An ICMP message about an earlier datagram.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => continue,
            Err(_) => return None,
        };
        if let Some(read) = read(buffer.get(..bytes)?, id) {
            return Some(read);
        }
    }
}

fn read(datagram: &[u8], id: TransactionId) -> Option<(SocketAddr, Option<SocketAddr>)> {
    let mut message = Message::new();
    message.raw = datagram.to_vec();
    message.decode().ok()?;
    if message.transaction_id != id || message.typ != BINDING_SUCCESS {
        return None;
    }
    let mut mapped = XorMappedAddress::default();
    mapped.get_from(&message).ok()?;
    let mut other = OtherAddress::default();
    let other = other
        .get_from_as(&message, ATTR_OTHER_ADDRESS)
        .is_ok()
        .then(|| SocketAddr::new(other.ip, other.port));
    Some((SocketAddr::new(mapped.ip, mapped.port), other))
}
