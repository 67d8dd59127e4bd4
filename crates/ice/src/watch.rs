//! The addresses of this computer, as they come and go.

use std::net::{IpAddr, UdpSocket};
use std::task::Poll;

use futures_util::StreamExt;
use if_watch::tokio::IfWatcher;

/// Tells when an address comes or goes. Belongs to the task that waits for it.
pub struct AddressWatch(Option<IfWatcher>);

impl std::fmt::Debug for AddressWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AddressWatch(works: {})", self.0.is_some())
    }
}

impl AddressWatch {
    /// Begins to watch. Where the system does not tell, [`Self::changed`] never returns, and a
    /// lost path is noticed by its silence alone.
    pub fn start() -> Self {
        let watcher = IfWatcher::new();
        if let Err(error) = &watcher {
            tracing::warn!(%error, "changes of the network cannot be watched");
        }
        Self(watcher.ok())
    }

    /// Waits for a change; gives the usable addresses there are then. The first time it returns
    /// at once.
    pub async fn changed(&mut self) -> Vec<IpAddr> {
        let Some(watcher) = &mut self.0 else {
            return std::future::pending().await;
        };
        loop {
            match watcher.next().await {
                Some(Ok(_)) => break,
                Some(Err(error)) => {
                    tracing::debug!(%error, "an event of the network is unreadable")
                }
                None => return std::future::pending().await,
            }
        }
        // What comes together is told together.
        while let Poll::Ready(Some(_)) = futures_util::poll!(watcher.next()) {}
        let addresses = watcher.iter().map(|network| network.addr());
        addresses.filter(|address| is_usable(*address)).collect()
    }
}

/// Whether there is a way out of the local network. Asks the routing table: nothing is sent.
pub fn has_route() -> bool {
    let leads = |from: &str, to: &str| {
        let socket = UdpSocket::bind(from);
        socket.is_ok_and(|socket| socket.connect(to).is_ok())
    };
    // Documentation addresses (RFC 5737, RFC 3849): any way there is the default one.
    leads("0.0.0.0:0", "192.0.2.1:9") || leads("[::]:0", "[2001:db8::1]:9")
}

/// Whether others can be reached from an address: it is neither loopback nor link-local.
pub fn is_usable(address: IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !address.is_loopback() && !address.is_unspecified() && !link_local
}
