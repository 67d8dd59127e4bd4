//! Meeting on the local network without any server elsewhere: a window that shares a room there
//! says so by DNS-SD over multicast DNS (RFC 6763, RFC 6762), and whoever types the code finds it.
//!
//! What is said is in [`tag`], which addresses are tried in `candidates`, when in `join`; all pure
//! or free of sockets. `advertise` and `find` hold the multicast DNS daemons (`mdns-sd`).

mod advertise;
mod candidates;
mod find;
mod join;
pub mod tag;

use std::future::Future;
use std::ops::RangeInclusive;

use mdns_sd::{IfKind, MDNS_PORT, ServiceDaemon};

pub(crate) use advertise::Advertiser;
use find::Finder;

use crate::address::ServerAddress;
use crate::client::SignalingError;
use crate::room_code::RoomNumber;

/// Service type and domain (RFC 6763 section 7). Not registered with IANA.
const SERVICE_TYPE: &str = "_ahoy._tcp.local.";

/// How servers inside windows are announced and found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Discovery {
    /// UDP port of multicast DNS; another one than 5353 is for tests that must meet nobody.
    pub port: u16,
    /// Only the loopback interface instead of all others, for the same tests.
    pub loopback: bool,
}

impl Default for Discovery {
    fn default() -> Self {
        Self {
            port: MDNS_PORT,
            loopback: false,
        }
    }
}

impl Discovery {
    /// A daemon on the interfaces that are meant: a thread that lives until it is told to shut
    /// down. Windows and the system's own daemon (Avahi, Bonjour) share the port.
    fn daemon(self) -> mdns_sd::Result<ServiceDaemon> {
        let daemon = ServiceDaemon::new_with_port(self.port)?;
        if self.loopback {
            daemon.disable_interface(IfKind::All)?;
            daemon.enable_interface(IfKind::LoopbackV4)?;
        } else {
            daemon.disable_interface(vec![IfKind::LoopbackV4, IfKind::LoopbackV6])?;
        }
        Ok(daemon)
    }
}

/// Where to look for a room besides the server that is asked first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NearbyServers {
    /// How.
    pub discovery: Discovery,
    /// Ports on which servers inside windows are: what is announced on others is ignored.
    pub ports: RangeInclusive<u16>,
}

impl NearbyServers {
    /// Enters the room `number`: at the server that `first` asks, and where that has no such room
    /// or is silent, at a computer of this network that says that it has it. `enter` connects to
    /// an address and takes a seat there; it is dropped when it takes longer than a second.
    ///
    /// A server that answers is never made slower by this, and within half a second nothing is
    /// sent to the network. A room on the network is entered within 3 s, or given up.
    ///
    /// # Errors
    ///
    /// That of `first`, or [`SignalingError::RoomFull`] of the room on the network.
    pub async fn join<T, E, First, Enter, Entering>(
        &self,
        number: RoomNumber,
        first: First,
        enter: Enter,
    ) -> Result<T, E>
    where
        E: From<SignalingError> + FirstServerError,
        First: Future<Output = Result<T, E>>,
        Enter: FnMut(ServerAddress) -> Entering,
        Entering: Future<Output = Result<T, SignalingError>>,
    {
        let search = || Finder::start(self, number);
        join::join(first, search, enter).await
    }
}

/// What the first server's error means for the search.
pub trait FirstServerError {
    /// The room is at the first server, but cannot be entered: no search.
    fn has_room(&self) -> bool;
}

impl FirstServerError for SignalingError {
    fn has_room(&self) -> bool {
        matches!(self, Self::RoomFull)
    }
}

/// Real multicast DNS, on the loopback interface and a port of its own.
#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
    use std::time::{Duration, SystemTime};

    use tokio::net::TcpListener;

    use super::*;
    use crate::client::{ConnectOptions, Entry, SignalingClient, SignalingLink};
    use crate::server::{Server, ServerConfig};

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    /// Far longer than a search.
    const PATIENCE: Duration = Duration::from_secs(60);

    fn discovery() -> Discovery {
        let socket = UdpSocket::bind((HERE, 0)).expect("a free port");
        Discovery {
            port: socket.local_addr().expect("bound").port(),
            loopback: true,
        }
    }

    async fn listen() -> SocketAddr {
        let listener = TcpListener::bind((HERE, 0)).await.expect("a free port");
        let socket = listener.local_addr().expect("bound");
        let server = Server::new(ServerConfig::default());
        tokio::spawn(async move { server.serve(listener, std::future::pending()).await });
        socket
    }

    async fn connect(
        address: ServerAddress,
        entry: Entry,
    ) -> Result<SignalingLink, SignalingError> {
        SignalingClient::connect(&address, entry, &ConnectOptions::default()).await
    }

    async fn open(server: SocketAddr) -> SignalingLink {
        connect(ServerAddress::plain(server), Entry::Create { reach: None })
            .await
            .expect("a room")
    }

    async fn join(
        discovery: Discovery,
        number: RoomNumber,
    ) -> Result<SignalingLink, SignalingError> {
        let nearby = NearbyServers {
            discovery,
            ports: 1..=u16::MAX,
        };
        let first = async { Err(SignalingError::UnknownRoom) };
        let enter = |address| connect(address, Entry::Join { room: number });
        nearby.join(number, first, enter).await
    }

    /// As often as it takes on a busy computer.
    async fn found(discovery: Discovery, number: RoomNumber) -> SignalingLink {
        let looking = async {
            loop {
                if let Ok(link) = join(discovery, number).await {
                    return link;
                }
            }
        };
        tokio::time::timeout(PATIENCE, looking)
            .await
            .expect("the room is found")
    }

    fn another(number: RoomNumber) -> RoomNumber {
        RoomNumber::new(number.get() ^ 1).expect("in range")
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_room_is_found_by_its_number_and_no_other_is() {
        let (discovery, server) = (discovery(), listen().await);
        let ann = open(server).await;
        let mut advertiser = Advertiser::new(discovery, server.port());
        let rooms = BTreeSet::from([ann.seat.room]);
        advertiser.update(&rooms, &[HERE], SystemTime::now());

        let ben = found(discovery, ann.seat.room).await;
        assert_eq!(ben.seat.participants, [1, 2]);
        let nobody = join(discovery, another(ann.seat.room)).await;
        assert_eq!(nobody.err(), Some(SignalingError::UnknownRoom));

        // In the next hour, and with a clock that is years off.
        for hours in [1, 100_000] {
            let later = SystemTime::now() + Duration::from_secs(3_600 * hours);
            advertiser.update(&rooms, &[HERE], later);
            found(discovery, ann.seat.room).await;
        }
        advertiser.update(&BTreeSet::new(), &[HERE], SystemTime::now());
        let gone = join(discovery, ann.seat.room).await;
        assert_eq!(gone.err(), Some(SignalingError::UnknownRoom));
        advertiser.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn others_that_claim_the_room_do_not_hide_it() {
        let (discovery, server, other) = (discovery(), listen().await, listen().await);
        let ann = open(server).await;
        let rooms = BTreeSet::from([ann.seat.room]);
        let closed = {
            let socket = TcpListener::bind((HERE, 0)).await.expect("a free port");
            socket.local_addr().expect("bound")
        };
        let mut advertisers = Vec::new();
        for socket in [closed, other, server] {
            let mut advertiser = Advertiser::new(discovery, socket.port());
            advertiser.update(&rooms, &[HERE], SystemTime::now());
            advertisers.push(advertiser);
        }
        let ben = found(discovery, ann.seat.room).await;
        assert_eq!(ben.seat.participants, [1, 2]);
        for advertiser in advertisers {
            advertiser.stop().await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_server_on_another_port_than_windows_use_is_never_asked() {
        let (discovery, server) = (discovery(), listen().await);
        let ann = open(server).await;
        let mut advertiser = Advertiser::new(discovery, server.port());
        advertiser.update(&BTreeSet::from([ann.seat.room]), &[HERE], SystemTime::now());
        found(discovery, ann.seat.room).await;
        let nearby = NearbyServers {
            discovery,
            ports: 24_642..=24_645,
        };
        let first = async { Err::<(), _>(SignalingError::UnknownRoom) };
        let result = nearby
            .join(ann.seat.room, first, |address| async move {
                panic!("{address} was asked")
            })
            .await;
        assert_eq!(result, Err(SignalingError::UnknownRoom));
        advertiser.stop().await;
    }
}
