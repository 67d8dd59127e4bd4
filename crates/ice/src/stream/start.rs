//! When a TURN server is dialed over TCP or TLS, and when a relay is asked for there. Pure.
//!
//! All relay candidates have one priority (RFC 8445 section 5.1.2.2), so a relay over TLS would be
//! taken as readily as one over UDP, although sound and picture suffer where a stream repeats lost
//! packets. So a relay is asked for down a stream only after none was given over UDP for a while,
//! and over TLS only later still where a TCP stream is open. Streams are opened before: all of them
//! as soon as UDP is late. Where a transport is not on offer nobody waits for it, and what got
//! through before the network changed is asked at once.

use std::time::{Duration, Instant};

use crate::server::ServerTransport;

/// What the better transport gets to give a relay: DNS and the two round trips of an allocation,
/// on a slow path.
pub(crate) const HEAD_START: Duration = Duration::from_millis(500);
/// After this much of it streams are opened, in case they are needed. On most networks UDP has
/// given a relay by then, and servers see no streams.
pub(crate) const DIAL_AFTER: Duration = Duration::from_millis(200);

/// Whether it is time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    Now,
    At(Instant),
    /// A better relay is there.
    Never,
}

/// What it may be time for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Opening a stream.
    Dial,
    /// Asking for a relay down an open stream.
    Ask,
}

/// One gathering of candidates, and what the one before found.
#[derive(Debug, Clone)]
pub(crate) struct StartRule {
    /// Transports over which relays are offered.
    offered: Vec<ServerTransport>,
    asked: Option<Instant>,
    /// The best over which a stream is open.
    open: Option<ServerTransport>,
    /// The best over which a relay was given.
    allocated: Option<ServerTransport>,
    /// The same, in the last gathering in which there was one.
    before: Option<ServerTransport>,
}

impl StartRule {
    pub(crate) fn new(offered: impl Iterator<Item = ServerTransport>) -> Self {
        Self {
            offered: offered.collect(),
            asked: None,
            open: None,
            allocated: None,
            before: None,
        }
    }

    /// Sockets are new, and so is everything else.
    pub(crate) fn begin_anew(&mut self) {
        *self = Self {
            before: self.allocated.or(self.before),
            ..Self::new(std::mem::take(&mut self.offered).into_iter())
        };
    }

    /// A relay is asked for.
    pub(crate) fn asked(&mut self, now: Instant) {
        self.asked.get_or_insert(now);
    }

    /// A stream is open.
    pub(crate) fn opened(&mut self, transport: ServerTransport) {
        self.open = better(self.open, transport);
    }

    /// A relay was given.
    pub(crate) fn allocated(&mut self, transport: ServerTransport) {
        self.allocated = better(self.allocated, transport);
    }

    pub(crate) fn decide(&self, step: Step, transport: ServerTransport, now: Instant) -> Start {
        if self.allocated.is_some_and(|best| best < transport) {
            return Start::Never;
        }
        let known = self.before.is_some_and(|before| before >= transport);
        let datagrams = self.offered.contains(&ServerTransport::Udp) && !known;
        let better_stream = self.open.is_some_and(|open| open < transport);
        let wait = match (step, datagrams) {
            (Step::Dial, true) => DIAL_AFTER,
            (Step::Dial, false) => Duration::ZERO,
            (Step::Ask, datagrams) => {
                HEAD_START * (u32::from(datagrams) + u32::from(better_stream))
            }
        };
        let start = self.asked.unwrap_or(now) + wait;
        if start <= now {
            Start::Now
        } else {
            Start::At(start)
        }
    }
}

fn better(known: Option<ServerTransport>, transport: ServerTransport) -> Option<ServerTransport> {
    Some(known.map_or(transport, |known| known.min(transport)))
}

#[cfg(test)]
mod tests {
    use ServerTransport::{Tcp, Tls, Udp};
    use Step::{Ask, Dial};

    use super::*;

    fn asked(offered: &[ServerTransport], now: Instant) -> StartRule {
        let mut rule = StartRule::new(offered.iter().copied());
        rule.asked(now);
        rule.asked(now + HEAD_START);
        rule
    }

    #[test]
    fn datagrams_have_a_head_start_and_streams_are_open_when_it_ends() {
        let now = Instant::now();
        let rule = asked(&[Tls, Udp, Tcp, Udp], now);
        for transport in [Tcp, Tls] {
            assert_eq!(
                rule.decide(Dial, transport, now),
                Start::At(now + DIAL_AFTER)
            );
            assert_eq!(
                rule.decide(Ask, transport, now),
                Start::At(now + HEAD_START)
            );
            assert_eq!(rule.decide(Ask, transport, now + HEAD_START), Start::Now);
        }
    }

    #[test]
    fn tls_waits_longer_where_tcp_gets_through() {
        let now = Instant::now();
        let mut rule = asked(&[Tls, Udp, Tcp], now);
        rule.opened(Tls);
        assert_eq!(rule.decide(Ask, Tls, now + HEAD_START), Start::Now);
        rule.opened(Tcp);
        rule.opened(Tls);
        assert_eq!(rule.decide(Ask, Tcp, now + HEAD_START), Start::Now);
        let later = now + 2 * HEAD_START;
        assert_eq!(rule.decide(Ask, Tls, now + HEAD_START), Start::At(later));
        assert_eq!(rule.decide(Ask, Tls, later), Start::Now);
    }

    #[test]
    fn what_is_not_on_offer_is_not_waited_for() {
        let now = Instant::now();
        let rule = asked(&[Tls, Tcp], now);
        for transport in [Tls, Tcp] {
            assert_eq!(rule.decide(Dial, transport, now), Start::Now);
            assert_eq!(rule.decide(Ask, transport, now), Start::Now);
        }
    }

    #[test]
    fn a_better_relay_ends_it() {
        let now = Instant::now();
        let mut rule = asked(&[Udp, Tcp, Tls], now);
        rule.allocated(Tcp);
        assert_eq!(rule.decide(Dial, Tls, now + 9 * HEAD_START), Start::Never);
        assert_eq!(rule.decide(Ask, Tcp, now + HEAD_START), Start::Now);
        rule.allocated(Udp);
        rule.allocated(Tcp);
        assert_eq!(rule.decide(Ask, Tcp, now + HEAD_START), Start::Never);
    }

    #[test]
    fn what_got_through_before_is_asked_at_once_on_new_sockets() {
        let now = Instant::now();
        let mut rule = asked(&[Udp, Tcp, Tls], now);
        rule.opened(Tcp);
        rule.allocated(Tcp);
        rule.begin_anew();
        rule.asked(now);
        assert_eq!(rule.decide(Dial, Tcp, now), Start::Now);
        assert_eq!(rule.decide(Ask, Tcp, now), Start::Now);
        assert_eq!(rule.decide(Dial, Tls, now), Start::At(now + DIAL_AFTER));
        // Nothing was given meanwhile: what was known still is.
        rule.begin_anew();
        assert_eq!(rule.decide(Ask, Tcp, now), Start::Now);
        rule.allocated(Udp);
        rule.begin_anew();
        rule.asked(now);
        assert_eq!(rule.decide(Ask, Tcp, now), Start::At(now + HEAD_START));
    }
}
