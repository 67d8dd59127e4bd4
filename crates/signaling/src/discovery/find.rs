//! Listening to what the network's computers say about their rooms.

use std::net::IpAddr;

use mdns_sd::{Receiver, ResolvedService, ScopedIp, ServiceDaemon, ServiceEvent};

use super::candidates::{Candidates, Subnet};
use super::join::Search;
use super::tag::Advert;
use super::{NearbyServers, SERVICE_TYPE};
use crate::address::ServerAddress;
use crate::room_code::RoomNumber;

/// A search under way. It ends when this is dropped.
pub(super) struct Finder {
    daemon: ServiceDaemon,
    /// Bounded by the library (1,000); what does not fit ends the search.
    events: Receiver<ServiceEvent>,
    candidates: Candidates,
}

impl Finder {
    /// Begins to search for `room`; the network hears only that somebody looks for Ahoy. `None`,
    /// with the reason in the log, when this computer cannot.
    pub(super) fn start(servers: &NearbyServers, room: RoomNumber) -> Option<Self> {
        let subnets = subnets(servers.discovery.loopback);
        if subnets.is_empty() {
            return None;
        }
        let begin = || {
            let daemon = servers.discovery.daemon()?;
            let events = daemon.browse(SERVICE_TYPE)?;
            Ok::<_, mdns_sd::Error>((daemon, events))
        };
        let (daemon, events) = begin()
            .inspect_err(|error| tracing::warn!(%error, "cannot search the local network"))
            .ok()?;
        Some(Self {
            daemon,
            events,
            candidates: Candidates::new(room, servers.ports.clone(), subnets),
        })
    }

    fn take(&mut self, service: &ResolvedService) {
        let record = |key: &str| service.get_property_val(key).flatten();
        if let Some(advert) = Advert::parse(record) {
            let addresses = service.get_addresses().iter().map(ScopedIp::to_ip_addr);
            self.candidates
                .offer(addresses, service.get_port(), &advert);
        }
    }
}

impl Search for Finder {
    async fn next(&mut self) -> ServerAddress {
        loop {
            if let Some(socket) = self.candidates.next() {
                return ServerAddress::plain(socket);
            }
            match self.events.recv_async().await {
                Ok(ServiceEvent::ServiceResolved(service)) => self.take(&service),
                Ok(_) => {}
                Err(_) => return std::future::pending().await,
            }
        }
    }
}

impl Drop for Finder {
    fn drop(&mut self) {
        if let Err(error) = self.daemon.shutdown() {
            tracing::debug!(%error, "the search of the local network ended by itself");
        }
    }
}

/// The networks that this computer is in.
fn subnets(loopback: bool) -> Vec<Subnet> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot list network addresses");
        Vec::new()
    });
    interfaces
        .iter()
        .filter(|interface| interface.is_loopback() == loopback)
        .map(|interface| match &interface.addr {
            if_addrs::IfAddr::V4(addr) => Subnet::new(IpAddr::V4(addr.ip), addr.prefixlen),
            if_addrs::IfAddr::V6(addr) => Subnet::new(IpAddr::V6(addr.ip), addr.prefixlen),
        })
        .collect()
}
