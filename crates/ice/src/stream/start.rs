//! When a TURN server is dialed over TCP or TLS. Pure.
//!
//! All relay candidates have one priority (RFC 8445 section 5.1.2.2), so a relay over TLS would be
//! taken as readily as one over UDP, although sound and picture suffer where a stream repeats lost
//! packets. So streams wait: TCP until no relay was given over UDP for a while, TLS until none was
//! over TCP either. Where a transport is not on offer nobody waits for it.

use std::time::{Duration, Instant};

use crate::server::ServerTransport;

/// What the better transport gets: DNS and the two round trips of an allocation, on a slow path.
/// With TLS alone getting through, a call is connected in less than two seconds.
pub(crate) const HEAD_START: Duration = Duration::from_millis(500);

/// Whether to dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    Now,
    At(Instant),
    /// A better relay is there.
    Never,
}

/// One gathering of candidates.
#[derive(Debug, Clone)]
pub(crate) struct StartRule {
    /// Transports over which relays are offered.
    offered: Vec<ServerTransport>,
    asked: Option<Instant>,
    allocated: Option<ServerTransport>,
}

impl StartRule {
    pub(crate) fn new(offered: impl Iterator<Item = ServerTransport>) -> Self {
        let mut offered: Vec<_> = offered.collect();
        offered.sort_unstable();
        offered.dedup();
        Self {
            offered,
            asked: None,
            allocated: None,
        }
    }

    /// Sockets are new, and so is everything else.
    pub(crate) fn begin_anew(&mut self) {
        self.asked = None;
        self.allocated = None;
    }

    /// A relay is asked for.
    pub(crate) fn asked(&mut self, now: Instant) {
        self.asked.get_or_insert(now);
    }

    /// A relay was given.
    pub(crate) fn allocated(&mut self, transport: ServerTransport) {
        self.allocated = Some(self.allocated.map_or(transport, |best| best.min(transport)));
    }

    pub(crate) fn decide(&self, transport: ServerTransport, now: Instant) -> Start {
        if self.allocated.is_some_and(|best| best < transport) {
            return Start::Never;
        }
        let better = self.offered.iter().filter(|other| **other < transport);
        let wait = HEAD_START * u32::try_from(better.count()).unwrap_or_default();
        let start = self.asked.unwrap_or(now) + wait;
        if start <= now {
            Start::Now
        } else {
            Start::At(start)
        }
    }
}

#[cfg(test)]
mod tests {
    use ServerTransport::{Tcp, Tls, Udp};

    use super::*;

    #[test]
    fn the_better_transport_has_a_head_start() {
        let now = Instant::now();
        let mut rule = StartRule::new([Tls, Udp, Tcp, Udp].into_iter());
        rule.asked(now);
        rule.asked(now + HEAD_START);
        assert_eq!(rule.decide(Udp, now), Start::Now);
        assert_eq!(rule.decide(Tcp, now), Start::At(now + HEAD_START));
        assert_eq!(rule.decide(Tls, now), Start::At(now + 2 * HEAD_START));
        assert_eq!(rule.decide(Tls, now + 2 * HEAD_START), Start::Now);
    }

    #[test]
    fn what_is_not_on_offer_is_not_waited_for() {
        let now = Instant::now();
        let mut rule = StartRule::new([Tls].into_iter());
        rule.asked(now);
        assert_eq!(rule.decide(Tls, now), Start::Now);
    }

    #[test]
    fn a_better_relay_ends_it_and_new_sockets_begin_anew() {
        let now = Instant::now();
        let mut rule = StartRule::new([Udp, Tcp, Tls].into_iter());
        rule.asked(now);
        rule.allocated(Tcp);
        assert_eq!(rule.decide(Tls, now + 9 * HEAD_START), Start::Never);
        assert_eq!(rule.decide(Tcp, now + HEAD_START), Start::Now);
        rule.allocated(Udp);
        rule.allocated(Tcp);
        assert_eq!(rule.decide(Tcp, now + HEAD_START), Start::Never);
        rule.begin_anew();
        assert_eq!(rule.decide(Tcp, now), Start::At(now + HEAD_START));
    }
}
