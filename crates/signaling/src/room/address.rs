//! What each address uses of a server.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;

use super::limits::{Bucket, Rate};

/// All addresses that are connected, have rooms open or have guessed wrong lately.
#[derive(Debug, Default)]
pub(super) struct Addresses(BTreeMap<IpAddr, Usage>);

#[derive(Debug)]
struct Usage {
    connections: usize,
    rooms: usize,
    guesses: Bucket,
}

impl Addresses {
    /// One more connection, unless there are `limit`.
    pub(super) fn connect(
        &mut self,
        address: IpAddr,
        limit: usize,
        guesses: Rate,
        now: Instant,
    ) -> bool {
        let usage = self.0.entry(address).or_insert_with(|| Usage {
            connections: 0,
            rooms: 0,
            guesses: Bucket::full(guesses, now),
        });
        count_up(&mut usage.connections, limit)
    }

    pub(super) fn disconnect(&mut self, address: IpAddr) {
        if let Some(usage) = self.0.get_mut(&address) {
            usage.connections = usage.connections.saturating_sub(1);
        }
    }

    /// One more room, unless there are `limit`.
    pub(super) fn open_room(&mut self, address: IpAddr, limit: usize) -> bool {
        self.0
            .get_mut(&address)
            .is_some_and(|usage| count_up(&mut usage.rooms, limit))
    }

    pub(super) fn close_room(&mut self, address: IpAddr) {
        if let Some(usage) = self.0.get_mut(&address) {
            usage.rooms = usage.rooms.saturating_sub(1);
        }
    }

    pub(super) fn may_guess(&mut self, address: IpAddr, rate: Rate, now: Instant) -> bool {
        self.0
            .get_mut(&address)
            .is_none_or(|usage| usage.guesses.has(1, rate, now))
    }

    pub(super) fn guessed_wrong(&mut self, address: IpAddr, rate: Rate, now: Instant) {
        if let Some(usage) = self.0.get_mut(&address) {
            usage.guesses.take(1, rate, now);
        }
    }

    /// Forgets who is gone, but only once their guesses are forgiven: reconnecting must not be a
    /// way to get new ones.
    pub(super) fn forget_idle(&mut self, rate: Rate, now: Instant) {
        self.0.retain(|_, usage| {
            usage.connections > 0 || usage.rooms > 0 || !usage.guesses.is_full(rate, now)
        });
    }
}

/// Addresses that count as one: an IPv6 host has a whole /64 network to itself (RFC 6177).
pub(crate) fn group(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) if !ip.is_loopback() => {
            let [a, b, c, d, ..] = ip.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        other => other,
    }
}

fn count_up(count: &mut usize, limit: usize) -> bool {
    let below = *count < limit;
    if below {
        *count += 1;
    }
    below
}
