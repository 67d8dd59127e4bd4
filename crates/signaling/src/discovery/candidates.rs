//! Which of the addresses that the network names are worth a try, and in what order: pure.

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use super::tag::Advert;
use crate::room_code::RoomNumber;

/// Addresses that are tried for one room: each costs a connection, and whoever names more than a
/// few servers is not one of us.
const MAX_CANDIDATES: usize = 16;
/// Addresses of one server: a cable, a wireless network, each with both versions of IP.
const MAX_PER_SERVER: usize = 4;

/// A network that this computer is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Subnet {
    address: IpAddr,
    prefix: u8,
}

impl Subnet {
    /// The network of `address`, whose first `prefix` bits its addresses share.
    pub(super) fn new(address: IpAddr, prefix: u8) -> Self {
        Self { address, prefix }
    }

    fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip) {
            (IpAddr::V4(own), IpAddr::V4(ip)) => {
                let differing = own.to_bits() ^ ip.to_bits();
                differing.leading_zeros() >= u32::from(self.prefix)
            }
            (IpAddr::V6(own), IpAddr::V6(ip)) => {
                let differing = own.to_bits() ^ ip.to_bits();
                differing.leading_zeros() >= u32::from(self.prefix)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// The servers that say that they have a room, one address after the other.
#[derive(Debug)]
pub(super) struct Candidates {
    room: RoomNumber,
    ports: RangeInclusive<u16>,
    subnets: Vec<Subnet>,
    seen: BTreeSet<SocketAddr>,
    waiting: VecDeque<SocketAddr>,
}

impl Candidates {
    /// None yet. Servers are looked for on `ports` of computers in `subnets`: nobody on the network
    /// can make us call at other programs, or outside.
    pub(super) fn new(room: RoomNumber, ports: RangeInclusive<u16>, subnets: Vec<Subnet>) -> Self {
        Self {
            room,
            ports,
            subnets,
            seen: BTreeSet::new(),
            waiting: VecDeque::new(),
        }
    }

    /// A server says where it is and what it has. Saying it again changes nothing.
    pub(super) fn offer(
        &mut self,
        addresses: impl IntoIterator<Item = IpAddr>,
        port: u16,
        advert: &Advert,
    ) {
        if !self.ports.contains(&port) || !advert.claims(self.room) {
            return;
        }
        let mut usable: Vec<IpAddr> = addresses
            .into_iter()
            .filter(|ip| self.is_near(*ip))
            .collect();
        // IPv4 first: where a network has both, it is the one that firewalls know.
        usable.sort_unstable_by_key(|ip| (ip.is_ipv6(), *ip));
        usable.dedup();
        for ip in usable.into_iter().take(MAX_PER_SERVER) {
            let socket = SocketAddr::new(ip, port);
            if self.seen.len() < MAX_CANDIDATES && self.seen.insert(socket) {
                self.waiting.push_back(socket);
            }
        }
    }

    /// The next address to try.
    pub(super) fn next(&mut self) -> Option<SocketAddr> {
        self.waiting.pop_front()
    }

    /// A link-local IPv6 address means nothing without an interface, which no server's address can
    /// name (RFC 6874 is not for WebSockets).
    fn is_near(&self, ip: IpAddr) -> bool {
        let scoped = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
        !(scoped || ip.is_unspecified() || ip.is_multicast())
            && self.subnets.iter().any(|subnet| subnet.contains(ip))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tag::Hour;
    use super::*;

    const PORT: u16 = 24_642;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn room() -> RoomNumber {
        RoomNumber::new(4_821).expect("in range")
    }

    fn advert(number: u32) -> Advert {
        let number = RoomNumber::new(number).expect("in range");
        Advert::new([number], Hour::of(std::time::UNIX_EPOCH))
    }

    fn candidates() -> Candidates {
        let subnets = vec![
            Subnet::new(ip("192.168.1.5"), 24),
            Subnet::new(ip("fd00::5"), 64),
            Subnet::new(ip("fe80::5"), 64),
        ];
        Candidates::new(room(), PORT..=PORT + 3, subnets)
    }

    fn all(mut candidates: Candidates) -> Vec<String> {
        std::iter::from_fn(|| candidates.next())
            .map(|socket| socket.to_string())
            .collect()
    }

    #[test]
    fn servers_with_the_room_are_tried_once_and_in_order() {
        let mut candidates = candidates();
        let addresses = ["fd00::7", "192.168.1.9", "192.168.1.7"].map(ip);
        candidates.offer(addresses, PORT + 1, &advert(4_821));
        candidates.offer(addresses, PORT + 1, &advert(4_821));
        candidates.offer([ip("192.168.1.8")], PORT, &advert(9_999));
        assert_eq!(
            all(candidates),
            ["192.168.1.7:24643", "192.168.1.9:24643", "[fd00::7]:24643"]
        );
    }

    #[test]
    fn nobody_can_send_us_elsewhere() {
        let mut candidates = candidates();
        let near = ip("192.168.1.7");
        for port in [0, 22, 80, PORT - 1, PORT + 4] {
            candidates.offer([near], port, &advert(4_821));
        }
        for other in [
            "192.168.2.7",
            "8.8.8.8",
            "127.0.0.1",
            "0.0.0.0",
            "224.0.0.251",
            "::1",
            "::",
            "fe80::7",
            "fd00:0:0:1::7",
            "2001:db8::1",
            "::ffff:192.168.1.7",
        ] {
            candidates.offer([ip(other)], PORT, &advert(4_821));
        }
        assert_eq!(all(candidates), [""; 0]);
    }

    #[test]
    fn the_number_of_tries_is_bounded() {
        let mut candidates = candidates();
        let many = (1..=200).map(|last| ip(&format!("192.168.1.{last}")));
        candidates.offer(many, PORT, &advert(4_821));
        assert_eq!(candidates.waiting.len(), MAX_PER_SERVER);
        for last in 1..=200 {
            candidates.offer([ip(&format!("192.168.1.{last}"))], PORT, &advert(4_821));
        }
        assert_eq!(all(candidates).len(), MAX_CANDIDATES);
    }

    #[test]
    fn networks_of_every_size_are_understood() {
        for (prefix, inside) in [(0, true), (8, true), (16, false), (32, false)] {
            let subnet = Subnet::new(ip("10.1.2.3"), prefix);
            assert_eq!(subnet.contains(ip("10.2.3.4")), inside, "{prefix}");
            assert!(subnet.contains(ip("10.1.2.3")) && !subnet.contains(ip("::1")));
        }
        assert!(Subnet::new(ip("fd00::1"), 128).contains(ip("fd00::1")));
        assert!(!Subnet::new(ip("fd00::1"), 255).contains(ip("fd00::2")));
    }

    proptest! {
        #[test]
        fn whatever_is_offered_only_near_addresses_come_out(
            addresses in proptest::collection::vec(any::<IpAddr>(), 0..40),
            port in any::<u16>(),
            near in any::<u8>(),
        ) {
            let mut candidates = candidates();
            let own = IpAddr::from([192, 168, 1, near]);
            candidates.offer(addresses.into_iter().chain([own]), port, &advert(4_821));
            while let Some(socket) = candidates.next() {
                prop_assert!((PORT..=PORT + 3).contains(&socket.port()));
                let ip = socket.ip();
                prop_assert!(ip.to_string().starts_with("192.168.1.") || ip.is_ipv6());
            }
        }
    }
}
