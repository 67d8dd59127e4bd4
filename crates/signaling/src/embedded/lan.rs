//! Listening on the local network and being found there, only while a room is shared.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::network::lan_addresses;
use crate::discovery::Advertiser;
use crate::server::Server;

/// How often addresses are looked up again while a room is shared: networks come and go.
const RESCAN: Duration = Duration::from_secs(2);

/// Opens and closes listeners on `port` as `server`'s rooms ask for them, and lets `advertiser`
/// announce those rooms, until `stopped` ends.
///
/// One listener per address rather than one for all: the port is in use on loopback already, and
/// what is not a network of this moment stays closed.
pub(super) async fn share(
    server: Server,
    port: u16,
    mut advertiser: Advertiser,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut shared_rooms = server.shared_rooms();
    let mut listeners = BTreeMap::new();
    loop {
        let rooms = shared_rooms.borrow_and_update().clone();
        let sharing = !rooms.is_empty();
        let wanted = if sharing { lan_addresses() } else { Vec::new() };
        adjust(&mut listeners, &wanted, &server, port).await;
        let open: Vec<IpAddr> = listeners.keys().copied().collect();
        advertiser.update(&rooms, &open, SystemTime::now());
        tokio::select! {
            _ = &mut stopped => break,
            changed = shared_rooms.changed() => if changed.is_err() { break },
            () = tokio::time::sleep(RESCAN), if sharing => {}
        }
    }
    advertiser.stop().await;
}

/// Makes `listeners` those of `wanted`. A listener stops when its sender is dropped.
async fn adjust(
    listeners: &mut BTreeMap<IpAddr, oneshot::Sender<()>>,
    wanted: &[IpAddr],
    server: &Server,
    port: u16,
) {
    listeners.retain(|ip, stop| wanted.contains(ip) && !stop.is_closed());
    for ip in wanted {
        if listeners.contains_key(ip) {
            continue;
        }
        match TcpListener::bind((*ip, port)).await {
            Ok(listener) => {
                listeners.insert(*ip, serve(server.clone(), listener));
            }
            Err(error) => tracing::warn!(%error, "cannot listen on one of the network addresses"),
        }
    }
}

fn serve(server: Server, listener: TcpListener) -> oneshot::Sender<()> {
    let (stop, stopped) = oneshot::channel::<()>();
    tokio::spawn(async move {
        let stopped = async {
            // Sent or dropped: both mean the end.
            let _ = stopped.await;
        };
        if let Err(error) = server.serve(listener, stopped).await {
            tracing::warn!(%error, "cannot serve one of the network addresses");
        }
    });
    stop
}
