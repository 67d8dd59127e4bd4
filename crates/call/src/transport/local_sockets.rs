//! Where sockets are bound.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};

use ahoy_ice::watch::is_usable;
use rtc::shared::ifaces::ifaces;

use super::config::LocalAddresses;

/// The addresses to bind, any port of each. The crate asks at the start and at every ICE restart,
/// so that a computer that had IPv4 alone may move to a network with IPv6 alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct LocalSockets(pub(super) LocalAddresses);

impl ToSocketAddrs for LocalSockets {
    type Iter = std::vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        let mut addresses = match self.0 {
            LocalAddresses::Loopback => Vec::new(),
            LocalAddresses::Network | LocalAddresses::NetworkAndLoopback => usable(),
        };
        if addresses.is_empty() || self.0 == LocalAddresses::NetworkAndLoopback {
            addresses.push(Ipv4Addr::LOCALHOST.into());
        }
        let sockets = addresses.into_iter().map(|ip| SocketAddr::new(ip, 0));
        Ok(sockets.collect::<Vec<_>>().into_iter())
    }
}

fn usable() -> Vec<IpAddr> {
    let interfaces = ifaces().unwrap_or_default().into_iter();
    let addresses = interfaces.filter_map(|interface| Some(interface.addr?.ip()));
    addresses.filter(|ip| is_usable(*ip)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(wanted: LocalAddresses) -> Vec<IpAddr> {
        let addresses = LocalSockets(wanted).to_socket_addrs().expect("addresses");
        let ips = addresses.map(|address| {
            assert_eq!(address.port(), 0);
            address.ip()
        });
        ips.collect()
    }

    #[test]
    fn there_is_always_somewhere_to_bind() {
        let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);
        assert_eq!(of(LocalAddresses::Loopback), [loopback]);
        let network = of(LocalAddresses::Network);
        match usable() {
            none if none.is_empty() => assert_eq!(network, [loopback]),
            some => assert_eq!(network, some),
        }
        assert!(of(LocalAddresses::NetworkAndLoopback).contains(&loopback));
    }
}
