//! The STUN and TURN servers of a call: those that the user set, then those that the signaling
//! server hands out, whose credentials run out and are asked for again.

use std::time::{Duration, Instant};

use ahoy_ice::server::{IceServer, MAX_ICE_SERVERS};
use ahoy_signaling::message;

/// Of the time that credentials are good, what passes before others are asked for.
const RENEWED_AFTER: f64 = 0.75;
/// Between two requests: one may be lost with the connection.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// What is used.
#[derive(Debug, Default)]
pub(crate) struct IceServers {
    own: Vec<IceServer>,
    handed_out: Vec<IceServer>,
    renew_at: Option<Instant>,
}

impl IceServers {
    /// Those that the user set.
    pub(crate) fn new(own: Vec<IceServer>) -> Self {
        Self {
            own,
            ..Self::default()
        }
    }

    /// The user set others.
    pub(crate) fn set_own(&mut self, own: Vec<IceServer>) {
        self.own = own;
    }

    /// A call is over: what its server handed out is no longer ours to use.
    pub(crate) fn forget_handed_out(&mut self) {
        self.handed_out.clear();
        self.renew_at = None;
    }

    /// The signaling server handed these out, good for `lifetime`. What cannot be used is passed over.
    pub(crate) fn hand_out(
        &mut self,
        servers: &[message::IceServer],
        lifetime: Option<Duration>,
        now: Instant,
    ) {
        self.handed_out.clear();
        for server in servers {
            let username = server.username.as_deref().unwrap_or_default();
            let credential = server.credential.as_deref().unwrap_or_default();
            match IceServer::new(&server.urls, username, credential) {
                Ok(server) => self.handed_out.push(server),
                Err(error) => tracing::warn!(%error, "a server that was handed out is of no use"),
            }
        }
        self.renew_at = lifetime.map(|lifetime| now + lifetime.mul_f64(RENEWED_AFTER));
    }

    /// Whether it is time to ask for other credentials.
    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        let due = self.renew_at.is_some_and(|at| now >= at);
        if due {
            self.renew_at = Some(now + ASK_AGAIN);
        }
        due
    }

    /// What new connections use: the user's own first.
    pub(crate) fn all(&self) -> Vec<IceServer> {
        let all = self.own.iter().chain(&self.handed_out);
        all.take(MAX_ICE_SERVERS).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(url: &str) -> message::IceServer {
        message::IceServer {
            urls: vec![url.to_owned()],
            username: Some("1:ann".to_owned()),
            credential: Some("secret".to_owned()),
        }
    }

    #[test]
    fn own_servers_come_first_and_unusable_ones_not_at_all() {
        let now = Instant::now();
        let own = IceServer::new(&["stun:own.example"], "", "").expect("a server");
        let mut servers = IceServers::new(vec![own.clone()]);
        servers.hand_out(
            &[turn("turn:a.example"), turn("http://b.example")],
            None,
            now,
        );
        let all = servers.all();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0], own);
        servers.hand_out(&vec![turn("turn:a.example"); 20], None, now);
        assert_eq!(servers.all().len(), MAX_ICE_SERVERS);
        servers.forget_handed_out();
        assert_eq!(servers.all(), vec![own]);
    }

    #[test]
    fn credentials_are_renewed_before_they_run_out() {
        let now = Instant::now();
        let mut servers = IceServers::default();
        assert!(!servers.is_due(now + Duration::from_secs(1_000_000)));
        let hour = Duration::from_secs(3600);
        servers.hand_out(&[turn("turn:a.example")], Some(hour), now);
        assert!(!servers.is_due(now + hour / 2));
        let late = now + hour * 4 / 5;
        assert!(servers.is_due(late));
        assert!(!servers.is_due(late), "asked for");
        assert!(servers.is_due(late + ASK_AGAIN));
    }
}
