//! The addresses of this computer on its networks.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

/// An address from the block for documentation (RFC 5737): on no network, so the way to it is the
/// default route.
const SOMEWHERE: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 0, 2, 1), 9);

/// Addresses of this computer under which others on the same network may reach it, the likeliest
/// first: the one of the default route, then IPv4, then IPv6. None of loopback, none that needs an
/// interface's name to be used (link-local IPv6).
pub fn lan_addresses() -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot list network addresses");
        Vec::new()
    });
    sort(
        interfaces.iter().map(if_addrs::Interface::ip).collect(),
        default_route(),
    )
}

fn sort(mut addresses: Vec<IpAddr>, default: Option<IpAddr>) -> Vec<IpAddr> {
    addresses.retain(is_usable);
    addresses.sort_by_key(|ip| (Some(*ip) != default, ip.is_ipv6(), is_makeshift(ip), *ip));
    addresses.dedup();
    addresses
}

fn is_usable(ip: &IpAddr) -> bool {
    let scoped = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    !(ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || scoped)
}

/// Chosen by the computer itself for want of a DHCP server (RFC 3927).
fn is_makeshift(ip: &IpAddr) -> bool {
    matches!(ip, IpAddr::V4(ip) if ip.is_link_local())
}

/// Our address on the way out. Connecting a UDP socket chooses a route and sends nothing.
fn default_route() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(SOMEWHERE).ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(is_usable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_route_comes_first_and_useless_addresses_not_at_all() {
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let all = [
            "127.0.0.1",
            "::1",
            "fe80::1",
            "fd00::5",
            "169.254.3.4",
            "172.17.0.1",
            "10.0.0.7",
            "10.0.0.7",
        ];
        let sorted = sort(all.into_iter().map(ip).collect(), Some(ip("172.17.0.1")));
        assert_eq!(
            sorted,
            ["172.17.0.1", "10.0.0.7", "169.254.3.4", "fd00::5"].map(ip)
        );
        assert_eq!(sort(Vec::new(), None), Vec::<IpAddr>::new());
    }

    #[test]
    fn this_computer_lists_no_loopback() {
        assert!(lan_addresses().iter().all(is_usable));
    }
}
