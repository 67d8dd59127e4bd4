//! Connections that are passed on to the relay.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::TcpStream;

use super::entrance::Stream;

/// Bytes read at once in each direction: ten packets of sound, or a few of a picture.
const BUFFER: usize = 16 * 1024;

/// How many there are, from each address. The relay sees all of them come from this computer, so it
/// cannot count them itself.
#[derive(Debug, Default)]
pub(super) struct Relayed(Mutex<HashMap<IpAddr, usize>>);

/// One connection that counts until it is dropped.
pub(super) struct Pass {
    relayed: Arc<Relayed>,
    from: IpAddr,
}

impl Relayed {
    /// `None` when there are `in_all`, or `per_address` from this one.
    pub(super) fn pass(
        self: &Arc<Self>,
        from: IpAddr,
        in_all: usize,
        per_address: usize,
    ) -> Option<Pass> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.values().sum::<usize>() >= in_all {
            return None;
        }
        let count = counts.entry(from).or_insert(0);
        if *count >= per_address {
            return None;
        }
        *count += 1;
        Some(Pass {
            relayed: Arc::clone(self),
            from,
        })
    }

    pub(super) fn count(&self) -> usize {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.values().sum()
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut counts = self
            .relayed
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.from);
            }
        }
    }
}

/// Passes bytes on until either side ends. The relay itself ends those that ask for nothing.
pub(super) async fn pass_on(mut stream: Stream, relay: SocketAddr, _pass: Pass) {
    let Ok(mut relay) = TcpStream::connect(relay).await else {
        tracing::debug!("the relay takes no connection");
        return;
    };
    // Best effort: media in small packets should not wait for more.
    let _ = relay.set_nodelay(true);
    // However it ends, both are closed.
    let _ = copy_bidirectional_with_sizes(&mut stream, &mut relay, BUFFER, BUFFER).await;
}
