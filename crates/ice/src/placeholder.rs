//! The servers as the webrtc crate sees them. It resolves names while it does nothing else, skips
//! TURN over streams, and writes IPv6 addresses without brackets; so it gets a name of ours for
//! each server, which resolves at once to an address that stands for it. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rtc::peer_connection::configuration::RTCIceServer;

use crate::server::{IceServer, IceUri, ServerTransport, Service};

/// Ends our names; no such name exists outside (RFC 6761 section 6.4).
const SUFFIX: &str = ".ice.invalid";
/// TEST-NET-1 (RFC 5737): no host has such an address.
const V4: [u8; 3] = [192, 0, 2];
/// In the documentation prefix (RFC 3849).
const V6: [u16; 7] = [0x2001, 0xdb8, 0x6963, 0x65, 0, 0, 0];

/// One way to one server. `stun:` and `turn:` over UDP at the same place are one, since their
/// answers come from the same address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) transport: ServerTransport,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The URI under which its state is told.
    pub(crate) uri: IceUri,
    /// Whether a relay is asked for there.
    pub(crate) relays: bool,
}

impl Endpoint {
    /// Where datagrams go as they are: a UDP server given by its address.
    pub(crate) fn literal(&self) -> Option<SocketAddr> {
        let ip: IpAddr = self.host.parse().ok()?;
        (self.transport == ServerTransport::Udp).then_some(SocketAddr::new(ip, self.port))
    }

    /// `host:port` as resolvers read it.
    pub(crate) fn host_and_port(&self) -> String {
        self.uri.host_and_port()
    }
}

/// All ways to all servers, by index.
#[derive(Debug, Default)]
pub(crate) struct Endpoints(Vec<Endpoint>);

impl Endpoints {
    pub(crate) fn new(servers: &[IceServer]) -> Self {
        let mut endpoints: Vec<Endpoint> = Vec::new();
        for uri in servers.iter().flat_map(|server| &server.urls) {
            let relays = uri.service() == Service::Turn;
            match endpoints.iter_mut().find(|known| known.is(uri)) {
                Some(known) if relays && !known.relays => {
                    known.relays = true;
                    known.uri = uri.clone();
                }
                Some(_) => {}
                None => endpoints.push(Endpoint {
                    transport: uri.transport(),
                    host: uri.host().to_owned(),
                    port: uri.port(),
                    uri: uri.clone(),
                    relays,
                }),
            }
        }
        Self(endpoints)
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Endpoint> {
        self.0.get(index)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Endpoint> {
        self.0.iter()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The servers as the crate is to be told: our names, everything over UDP. What is not among
    /// these ways is left out.
    pub(crate) fn for_crate(&self, servers: &[IceServer]) -> Vec<RTCIceServer> {
        let url = |uri: &IceUri| {
            let index = self.0.iter().position(|known| known.is(uri))?;
            let name = format!("e{index}{SUFFIX}:{}", uri.port());
            Some(match uri.service() {
                Service::Stun => format!("stun:{name}"),
                Service::Turn => format!("turn:{name}?transport=udp"),
            })
        };
        let told = servers.iter().map(|server| RTCIceServer {
            urls: server.urls.iter().filter_map(url).collect(),
            username: server.username.clone(),
            credential: server.credential.clone(),
        });
        told.filter(|server| !server.urls.is_empty()).collect()
    }

    /// Which server a name of ours, with its port, stands for.
    pub(crate) fn named(&self, host: &str) -> Option<usize> {
        let (name, _) = host.rsplit_once(':')?;
        let index = name.strip_suffix(SUFFIX)?.strip_prefix('e')?.parse().ok()?;
        (index < self.0.len()).then_some(index)
    }

    /// What the crate takes for the addresses of a server: its own, or those that stand for it.
    pub(crate) fn addresses(&self, index: usize) -> Vec<SocketAddr> {
        let Some(endpoint) = self.get(index) else {
            return Vec::new();
        };
        match endpoint.literal() {
            Some(address) => vec![address],
            None => vec![
                placeholder(index, endpoint.port, true),
                placeholder(index, endpoint.port, false),
            ],
        }
    }

    /// The server that an address stands for.
    pub(crate) fn standing_for(&self, address: SocketAddr) -> Option<usize> {
        let number = match address.ip() {
            IpAddr::V4(ip) => {
                let [a, b, c, number] = ip.octets();
                ([a, b, c] == V4).then_some(usize::from(number))
            }
            IpAddr::V6(ip) => {
                let [prefix @ .., number] = ip.segments();
                (prefix == V6).then_some(usize::from(number))
            }
        };
        let index = number?.checked_sub(1)?;
        let endpoint = self.get(index)?;
        (endpoint.literal().is_none() && endpoint.port == address.port()).then_some(index)
    }

    /// The server with this address of its own.
    pub(crate) fn at(&self, address: SocketAddr) -> Option<usize> {
        self.0
            .iter()
            .position(|endpoint| endpoint.literal() == Some(address))
    }
}

impl Endpoint {
    fn is(&self, uri: &IceUri) -> bool {
        (self.transport, &*self.host, self.port) == (uri.transport(), uri.host(), uri.port())
    }
}

/// The address that stands for a server. There are at most 64 servers, so that a byte is enough.
pub(crate) fn placeholder(index: usize, port: u16, v4: bool) -> SocketAddr {
    let number = u8::try_from(index + 1).unwrap_or(u8::MAX);
    let ip = if v4 {
        let [a, b, c] = V4;
        IpAddr::V4(Ipv4Addr::new(a, b, c, number))
    } else {
        let [a, b, c, d, e, f, g] = V6;
        IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, number.into()))
    };
    SocketAddr::new(ip, port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers() -> Vec<IceServer> {
        vec![
            IceServer::new(&["stun:a.example", "stun:192.0.2.77:9"], "", "").expect("stun"),
            IceServer::new(
                &[
                    "turn:a.example",
                    "turn:a.example?transport=tcp",
                    "turns:[2001:db8::5]:443",
                    "turn:[2001:db8::5]",
                ],
                "u",
                "p",
            )
            .expect("turn"),
        ]
    }

    #[test]
    fn stun_and_turn_at_one_place_are_one() {
        let endpoints = Endpoints::new(&servers());
        assert_eq!(endpoints.len(), 5);
        let first = endpoints.get(0).expect("there");
        assert!(first.relays && first.transport == ServerTransport::Udp);
    }

    #[test]
    fn the_crate_gets_names_of_ours_over_udp() {
        let servers = servers();
        let endpoints = Endpoints::new(&servers);
        let told = endpoints.for_crate(&servers);
        assert_eq!(
            told[0].urls,
            ["stun:e0.ice.invalid:3478", "stun:e1.ice.invalid:9"]
        );
        assert_eq!(
            told[1].urls,
            [
                "turn:e0.ice.invalid:3478?transport=udp",
                "turn:e2.ice.invalid:3478?transport=udp",
                "turn:e3.ice.invalid:443?transport=udp",
                "turn:e4.ice.invalid:3478?transport=udp",
            ]
        );
        for server in &told {
            server.urls().expect("the crate reads them");
        }
        assert_eq!(endpoints.named("e3.ice.invalid:443"), Some(3));
        for other in [
            "e5.ice.invalid:1",
            "a.example:3478",
            "e.ice.invalid:1",
            "e0.ice.invalid",
        ] {
            assert_eq!(endpoints.named(other), None, "{other}");
        }
    }

    #[test]
    fn the_crate_gets_no_servers_that_are_unknown() {
        let endpoints = Endpoints::new(&servers());
        let other = IceServer::new(&["turn:b.example"], "u", "p").expect("turn");
        let renewed = ["turn:b.example", "turn:a.example"];
        let renewed = IceServer::new(&renewed, "later", "p2").expect("turn");
        let told = endpoints.for_crate(&[other, renewed]);
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].urls, ["turn:e0.ice.invalid:3478?transport=udp"]);
        assert_eq!(told[0].username, "later");
    }

    #[test]
    fn addresses_stand_for_all_but_udp_servers_given_by_address() {
        let endpoints = Endpoints::new(&servers());
        for index in 0..endpoints.len() {
            for address in endpoints.addresses(index) {
                let literal = endpoints.get(index).and_then(Endpoint::literal).is_some();
                let found = if literal {
                    endpoints.at(address)
                } else {
                    endpoints.standing_for(address)
                };
                assert_eq!(found, Some(index), "{address}");
            }
        }
        let literal: SocketAddr = "192.0.2.77:9".parse().expect("address");
        assert_eq!(endpoints.addresses(1), [literal]);
        assert_eq!(endpoints.standing_for(literal), None);
    }
}
