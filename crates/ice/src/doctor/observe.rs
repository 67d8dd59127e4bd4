//! Asks the servers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::net::UdpSocket;
use webrtc::runtime::{Runtime, TokioRuntime};

use super::allocation::{Carrier, allocate};
use super::binding::{self, Answer, From};
use crate::placeholder::{Endpoints, placeholder};
use crate::server::{IceServer, IceUri, ServerTransport, Service};
use crate::stream::framing::Deframer;
use crate::stream::tls::ExtraRoots;
use crate::stream::{DialError, dial};
use crate::watch::is_usable;

/// How long a name server may take.
const RESOLVE_LIMIT: Duration = Duration::from_secs(5);

/// What was seen, before anything is made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observations {
    /// Addresses of this computer that are neither loopback nor link-local.
    pub addresses: Vec<IpAddr>,
    /// Every way to every server.
    pub servers: Vec<ServerObservation>,
    /// What stands between this computer and the internet, where it could be found out.
    pub nat: Option<Nat>,
    /// IPv6.
    pub ipv6: Ipv6,
}

/// One way to one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerObservation {
    /// Which.
    pub uri: IceUri,
    /// How it went.
    pub result: ProbeResult,
}

/// How a server answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeResult {
    /// It told our address.
    Bound {
        /// To the server and back.
        round_trip: Duration,
    },
    /// It gave a relay.
    Allocated {
        /// To the server and back.
        round_trip: Duration,
    },
    /// Its name is unknown, or no name server answers.
    Unresolved,
    /// Nothing came back.
    Silent,
    /// No stream came about, or the system has no way there.
    Unreachable,
    /// Its certificate is not trusted or is another host's.
    BadCertificate,
    /// User name or password is wrong, or has expired.
    WrongCredential,
    /// It refused with a code of RFC 8656 section 19.
    Refused {
        /// The error code.
        code: u16,
    },
}

impl ProbeResult {
    /// Whether something came back, be it a refusal.
    pub const fn answered(self) -> bool {
        matches!(
            self,
            Self::Bound { .. }
                | Self::Allocated { .. }
                | Self::WrongCredential
                | Self::Refused { .. }
                | Self::BadCertificate
        )
    }
}

/// Network address translation (RFC 4787 section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nat {
    /// Which outer address a socket gets.
    pub mapping: Mapping,
    /// Who may answer, where a server helps to find out (RFC 5780 section 4.4).
    pub filtering: Option<Filtering>,
}

/// Which outer address a socket gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mapping {
    /// Its own.
    None,
    /// The same towards everybody ("cone").
    EndpointIndependent,
    /// Another towards everybody ("symmetric").
    AddressDependent,
    /// Translated; only one place could be asked.
    Unknown,
}

/// Whose packets come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filtering {
    /// Everybody's ("full cone").
    EndpointIndependent,
    /// Those from addresses that were written to ("address-restricted").
    AddressDependent,
    /// Those from address and port that were written to ("port-restricted").
    AddressAndPortDependent,
}

/// IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ipv6 {
    /// This computer has no address.
    Absent,
    /// It has one; no server is known that could be asked over it.
    Present,
    /// A server answered.
    Works,
    /// Servers have addresses, and none answered, though over IPv4 they do.
    Broken,
}

/// Asks all servers at once.
pub async fn observe(servers: &[IceServer], roots: &ExtraRoots) -> Observations {
    let addresses = usable_addresses();
    let probes = servers.iter().flat_map(|server| {
        server
            .urls
            .iter()
            .map(move |uri| probe(server, uri.clone(), roots))
    });
    let observed = join_all(probes);
    let asked = servers.iter().flat_map(|server| &server.urls);
    let resolved = join_all(asked.filter(|uri| asks_binding(uri)).map(resolve)).await;
    let mut places: Vec<SocketAddr> = resolved.into_iter().flatten().flatten().collect();
    places.sort_unstable();
    places.dedup();
    let (v4, v6): (Vec<_>, Vec<_>) = places.into_iter().partition(SocketAddr::is_ipv4);
    let (servers, nat, ipv6) = tokio::join!(
        observed,
        nat(&v4),
        ipv6(addresses.iter().any(IpAddr::is_ipv6), &v6)
    );
    Observations {
        addresses,
        servers,
        nat,
        ipv6,
    }
}

/// TURN servers over UDP answer Bindings as well (RFC 8656 section 3).
fn asks_binding(uri: &IceUri) -> bool {
    uri.transport() == ServerTransport::Udp
}

fn usable_addresses() -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let addresses = interfaces.into_iter().map(|interface| interface.ip());
    addresses.filter(|address| is_usable(*address)).collect()
}

async fn resolve(uri: &IceUri) -> Option<Vec<SocketAddr>> {
    let host = uri.host_and_port();
    if let Ok(address) = host.parse() {
        return Some(vec![address]);
    }
    let resolving = tokio::time::timeout(RESOLVE_LIMIT, TokioRuntime.resolve_host(&host));
    let addresses = resolving.await.ok()?.ok()?;
    (!addresses.is_empty()).then_some(addresses)
}

async fn probe(server: &IceServer, uri: IceUri, roots: &ExtraRoots) -> ServerObservation {
    let result = match (uri.service(), uri.transport()) {
        (Service::Stun, _) => bind(&uri).await,
        (Service::Turn, ServerTransport::Udp) => allocate_over_udp(server, &uri).await,
        (Service::Turn, _) => allocate_over_stream(server, &uri, roots).await,
    };
    ServerObservation { uri, result }
}

async fn bind(uri: &IceUri) -> ProbeResult {
    let Some(addresses) = resolve(uri).await else {
        return ProbeResult::Unresolved;
    };
    let mut result = ProbeResult::Unreachable;
    for address in one_per_family(&addresses) {
        let Some(socket) = socket_for(address).await else {
            continue;
        };
        match binding::ask(&socket, address, From::There).await {
            Some(answer) => {
                return ProbeResult::Bound {
                    round_trip: answer.round_trip,
                };
            }
            None => result = ProbeResult::Silent,
        }
    }
    result
}

async fn allocate_over_udp(server: &IceServer, uri: &IceUri) -> ProbeResult {
    let Some(addresses) = resolve(uri).await else {
        return ProbeResult::Unresolved;
    };
    let mut result = ProbeResult::Unreachable;
    for address in one_per_family(&addresses) {
        let Some(socket) = socket_for(address).await else {
            continue;
        };
        let carrier = Carrier::Udp(socket, address);
        result = allocate(carrier, address, &server.username, &server.credential).await;
        if result.answered() {
            break;
        }
    }
    result
}

async fn allocate_over_stream(server: &IceServer, uri: &IceUri, roots: &ExtraRoots) -> ProbeResult {
    let alone = IceServer {
        urls: vec![uri.clone()],
        ..server.clone()
    };
    let endpoints = Endpoints::new(std::slice::from_ref(&alone));
    let Some(endpoint) = endpoints.get(0) else {
        return ProbeResult::Unreachable;
    };
    let begun = Instant::now();
    let stream = match dial(&TokioRuntime, endpoint, true, roots).await {
        Ok(dialed) => dialed.stream,
        Err(DialError::Unresolved) => return ProbeResult::Unresolved,
        Err(DialError::Unreachable) => return ProbeResult::Unreachable,
        Err(DialError::BadCertificate) => return ProbeResult::BadCertificate,
    };
    tracing::debug!(transport = %uri.transport(), elapsed = ?begun.elapsed(), "a stream stands");
    let carrier = Carrier::Stream(stream, Deframer::default());
    let address = placeholder(0, uri.port(), true);
    allocate(carrier, address, &server.username, &server.credential).await
}

fn one_per_family(addresses: &[SocketAddr]) -> impl Iterator<Item = SocketAddr> {
    let v4 = addresses.iter().find(|address| address.is_ipv4());
    let v6 = addresses.iter().find(|address| address.is_ipv6());
    v4.into_iter().chain(v6).copied()
}

async fn socket_for(address: SocketAddr) -> Option<UdpSocket> {
    let local: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    UdpSocket::bind((local, 0)).await.ok()
}

/// How this computer's address towards `place` looks from here.
async fn local_towards(place: SocketAddr) -> Option<IpAddr> {
    let socket = socket_for(place).await?;
    socket.connect(place).await.ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// Compares how two places see one socket; the second is another address of the first where it
/// says so, else another server.
async fn nat(places: &[SocketAddr]) -> Option<Nat> {
    let socket = socket_for(*places.first()?).await?;
    let mut answers: Vec<(SocketAddr, Answer)> = Vec::new();
    for place in places {
        if let Some(answer) = binding::ask(&socket, *place, From::There).await {
            answers.push((*place, answer));
            if answer.other.is_some() || answers.len() == 2 {
                break;
            }
        }
    }
    let (place, first) = *answers.first()?;
    let helper = answers
        .iter()
        .find_map(|(place, answer)| Some((*place, answer.other?)));
    let own = local_towards(place).await;
    let local_port = socket.local_addr().ok()?.port();
    let mapping = if own == Some(first.mapped.ip()) && first.mapped.port() == local_port {
        Mapping::None
    } else {
        let second = match (answers.get(1), helper) {
            (Some((_, answer)), _) => Some(*answer),
            (None, Some((_, other))) => binding::ask(&socket, other, From::There).await,
            (None, None) => None,
        };
        match second {
            Some(second) if second.mapped == first.mapped => Mapping::EndpointIndependent,
            Some(_) => Mapping::AddressDependent,
            None => Mapping::Unknown,
        }
    };
    let filtering = match helper {
        Some((place, _)) => Some(filtering(place).await),
        None => None,
    };
    Some(Nat { mapping, filtering })
}

/// With a socket of its own, which nobody else has been written to from.
async fn filtering(place: SocketAddr) -> Filtering {
    let Some(socket) = socket_for(place).await else {
        return Filtering::AddressAndPortDependent;
    };
    if binding::ask(&socket, place, From::OtherAddress)
        .await
        .is_some()
    {
        Filtering::EndpointIndependent
    } else if binding::ask(&socket, place, From::OtherPort)
        .await
        .is_some()
    {
        Filtering::AddressDependent
    } else {
        Filtering::AddressAndPortDependent
    }
}

async fn ipv6(present: bool, places: &[SocketAddr]) -> Ipv6 {
    if !present {
        return Ipv6::Absent;
    }
    let Some(place) = places.first() else {
        return Ipv6::Present;
    };
    let answered = match socket_for(*place).await {
        Some(socket) => binding::ask(&socket, *place, From::There).await.is_some(),
        None => false,
    };
    if answered { Ipv6::Works } else { Ipv6::Broken }
}
