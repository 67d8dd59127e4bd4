//! How long a server has been silent: after a while it is asked whether it is there, and lost when it
//! does not answer either.
//!
//! It pings by itself, but a crowded server does so more rarely.

use std::time::Duration;

use tokio::time::Instant;

/// From this share of the limit on, the server is asked.
const ASKED_FROM: f64 = 0.7;

#[derive(Debug, Clone, Copy)]
pub(super) struct Silence {
    limit: Duration,
    last_heard: Instant,
    asked: bool,
}

/// What silence asks for at [`Silence::next`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Ask,
    GiveUp,
}

impl Silence {
    /// A server that is silent for longer than `limit` is lost.
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            limit,
            last_heard: Instant::now(),
            asked: false,
        }
    }

    /// The server said something, or nobody listened.
    pub(super) fn ended(&mut self) {
        self.last_heard = Instant::now();
        self.asked = false;
    }

    /// When something is to be done about it.
    pub(super) fn next(&self) -> Instant {
        let wait = if self.asked {
            self.limit
        } else {
            self.limit.mul_f64(ASKED_FROM)
        };
        self.last_heard + wait
    }

    /// It is time: what is to be done.
    pub(super) fn lasted(&mut self) -> Next {
        if self.asked {
            return Next::GiveUp;
        }
        self.asked = true;
        Next::Ask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_server_is_asked_before_it_is_given_up() {
        let begin = Instant::now();
        let mut silence = Silence::new(Duration::from_secs(10));
        assert_eq!(silence.next(), begin + Duration::from_secs(7));
        assert_eq!(silence.lasted(), Next::Ask);
        assert_eq!(silence.next(), begin + Duration::from_secs(10));
        tokio::time::advance(Duration::from_secs(8)).await;
        silence.ended();
        assert_eq!(silence.next(), begin + Duration::from_secs(15));
        assert_eq!(silence.lasted(), Next::Ask);
        assert_eq!(silence.lasted(), Next::GiveUp);
    }
}
