//! How much one client may ask of a server.

use std::time::{Duration, Instant};

use crate::message::ClientMessage;

/// Unreadable messages after which a connection is closed: a client of a newer version sends one
/// or two that this server does not know, no honest client sends this many.
pub(super) const MAX_STRIKES: u8 = 20;

/// Who may open rooms, and who sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// Whoever reaches the server; every room can be entered by everybody.
    Anyone,
    /// Only clients on the server's own computer (loopback), who choose for each room whether
    /// others may enter it: the server inside a window.
    ThisComputer,
}

/// So much at once, and so much again per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// At once after a pause.
    pub burst: u32,
    /// Refill per second.
    pub per_second: u32,
}

/// Limits of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Rooms in all. At most a tenth of all numbers are ever in use, so that guessing one stays
    /// unlikely.
    pub rooms: usize,
    /// Open rooms that were opened from one address (IPv6: one /64 network).
    pub rooms_per_address: usize,
    /// Connections in all.
    pub connections: usize,
    /// Connections from one address (IPv6: one /64 network): an office behind one address fits.
    pub connections_per_address: usize,
    /// Messages of one connection. A tenth participant sends nine descriptions and up to twenty
    /// candidates for each of nine others at once, about 200 messages.
    pub messages: Rate,
    /// Bytes of one connection: nine descriptions of the greatest length fit into the burst.
    pub bytes: Rate,
    /// Wrong room numbers from one address.
    pub wrong_numbers: Rate,
    /// Seats in all that are kept for broken connections; with as many, another broken connection
    /// leaves its room at once.
    pub away: usize,
    /// Bytes in all of messages that are kept until their receiver has acknowledged them.
    pub held_bytes: usize,
    /// Who may open rooms.
    pub opening: Opening,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rooms: 20_000,
            rooms_per_address: 100,
            connections: 20_000,
            connections_per_address: 200,
            messages: Rate {
                burst: 400,
                per_second: 40,
            },
            bytes: Rate {
                burst: 1024 * 1024,
                per_second: 64 * 1024,
            },
            wrong_numbers: Rate {
                burst: 20,
                per_second: 1,
            },
            away: 20_000,
            held_bytes: 64 * 1024 * 1024,
            opening: Opening::Anyone,
        }
    }
}

/// When a connection counts as dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    /// Time between two pings.
    pub ping_interval: Duration,
    /// A client silent for this long is removed: three pings unanswered, so that one lost packet
    /// does not end a call, and early enough that the others know within five seconds.
    pub silence_limit: Duration,
    /// A client that is in no room for this long is removed.
    pub idle_limit: Duration,
    /// How long a seat is kept whose connection broke: a computer that changes its network, sleeps
    /// for a moment or restarts its router is back within this time. Whole seconds.
    pub away_limit: Duration,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_millis(1_500),
            silence_limit: Duration::from_millis(4_500),
            idle_limit: Duration::from_secs(15),
            away_limit: Duration::from_secs(60),
        }
    }
}

/// Up to so many connections, everybody is pinged at the usual interval.
const CROWD: f64 = 6_000.0;
/// The longest interval, as a multiple of the usual one: below the silence after which clients ask.
const MOST_STRETCHED: f64 = 3.0;

impl Heartbeat {
    /// With so many connections. A crowded server pings each one more rarely, so that what participants
    /// have to say to each other does not wait behind thousands of pings a second; whoever falls
    /// silent is noticed later by as much.
    pub(super) fn among(self, connections: usize) -> Self {
        let stretched = (connections as f64 / CROWD).clamp(1.0, MOST_STRETCHED);
        Self {
            ping_interval: self.ping_interval.mul_f64(stretched),
            silence_limit: self.silence_limit.mul_f64(stretched),
            ..self
        }
    }

    /// How long a ping may stay unanswered: whoever was heard just after the one before is then silent
    /// for as long as is allowed. Counted from the ping, so that it does not matter when the interval
    /// was a longer one before.
    pub(super) fn grace(self) -> Duration {
        self.silence_limit.saturating_sub(self.ping_interval)
    }
}

/// What a message costs of [`Limits::messages`]: entering a room makes the server speak to nine
/// others, and relay credentials are longer than the question.
pub(super) fn cost(message: &ClientMessage) -> usize {
    match message {
        ClientMessage::Create { .. }
        | ClientMessage::Join { .. }
        | ClientMessage::Resume { .. }
        | ClientMessage::IceServers => 10,
        ClientMessage::Leave
        | ClientMessage::Signal { .. }
        | ClientMessage::Received { .. }
        | ClientMessage::Ping
        | ClientMessage::Pong => 1,
    }
}

/// A token bucket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    tokens: f64,
    filled_at: Instant,
}

impl Bucket {
    pub(super) fn full(rate: Rate, now: Instant) -> Self {
        Self {
            tokens: f64::from(rate.burst),
            filled_at: now,
        }
    }

    /// Takes `amount`, or nothing and `false` when there is not enough.
    pub(super) fn take(&mut self, amount: usize, rate: Rate, now: Instant) -> bool {
        self.fill(rate, now);
        // Amounts are lengths of messages and small counts: exact in f64.
        let amount = amount as f64;
        let enough = self.tokens >= amount;
        if enough {
            self.tokens -= amount;
        }
        enough
    }

    pub(super) fn has(&mut self, amount: usize, rate: Rate, now: Instant) -> bool {
        self.fill(rate, now);
        self.tokens >= amount as f64
    }

    pub(super) fn is_full(&mut self, rate: Rate, now: Instant) -> bool {
        self.has(usize::try_from(rate.burst).unwrap_or(usize::MAX), rate, now)
    }

    fn fill(&mut self, rate: Rate, now: Instant) {
        let passed = now.saturating_duration_since(self.filled_at).as_secs_f64();
        let refill = passed * f64::from(rate.per_second);
        self.tokens = (self.tokens + refill).min(f64::from(rate.burst));
        self.filled_at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_the_burst_and_then_the_rate() {
        let rate = Rate {
            burst: 10,
            per_second: 2,
        };
        let start = Instant::now();
        let mut bucket = Bucket::full(rate, start);
        assert!(bucket.take(10, rate, start));
        assert!(!bucket.take(1, rate, start));
        let later = start + Duration::from_secs(2);
        assert!(bucket.take(4, rate, later));
        assert!(!bucket.take(1, rate, later));
        assert!(!bucket.is_full(rate, later + Duration::from_secs(4)));
        assert!(bucket.is_full(rate, later + Duration::from_secs(5)));
        assert!(!bucket.take(11, rate, later + Duration::from_secs(100)));
    }
}
