//! The ICE servers that clients are told of, with credentials of their own for each.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ahoy_signaling::message::IceServer;
use ahoy_signaling::server::{IceServerList, IceServerSource};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rtc_stun::crypto::{self, CryptoError, HmacAlgorithm};

/// A secret that a TURN server shares with us, to make time-limited credentials
/// (draft-uberti-behave-turn-rest-00; coturn's `use-auth-secret`).
#[derive(Clone)]
pub(crate) struct SharedSecret(String);

impl SharedSecret {
    pub(crate) fn new(secret: String) -> Self {
        Self(secret)
    }

    /// A random one of 256 bits.
    pub(crate) fn random() -> Self {
        let bits: [u128; 2] = [rand::random(), rand::random()];
        Self(format!("{:032x}{:032x}", bits[0], bits[1]))
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    /// User name and password that are good until `expiry`, in seconds since 1970.
    ///
    /// # Errors
    ///
    /// When the cryptographic library has no HMAC-SHA1.
    pub(crate) fn credentials(
        &self,
        expiry: u64,
        name: &str,
    ) -> Result<(String, String), CryptoError> {
        let username = format!("{expiry}:{name}");
        let mut mac = [0; 20];
        crypto::default_provider()?
            .crypto()
            .new_hmac(HmacAlgorithm::Sha1, self.0.as_bytes())?
            .sign(&[username.as_bytes()], &mut mac)?;
        Ok((username, BASE64_STANDARD.encode(mac)))
    }
}

impl std::fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SharedSecret")
    }
}

/// URLs that come and go: those of our own relay that answered when tried.
#[derive(Debug, Clone, Default)]
pub(crate) struct Urls(Arc<RwLock<Vec<String>>>);

impl Urls {
    pub(crate) fn new(urls: Vec<String>) -> Self {
        Self(Arc::new(RwLock::new(urls)))
    }

    pub(crate) fn set(&self, urls: Vec<String>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = urls;
    }

    pub(crate) fn get(&self) -> Vec<String> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Everything that is handed out.
#[derive(Debug, Default)]
pub(crate) struct IceServers {
    /// As they are: STUN, and TURN with a fixed password.
    pub(crate) fixed: Vec<IceServer>,
    /// Relays with a shared secret.
    pub(crate) shared: Vec<(Urls, SharedSecret)>,
    /// STUN beside our own relay.
    pub(crate) stun: Urls,
    /// How long credentials of a shared secret are good.
    pub(crate) lifetime: Duration,
}

impl IceServers {
    fn list(&self, now: u64, name: &str) -> IceServerList {
        let mut servers = self.fixed.clone();
        let stun = self.stun.get();
        if !stun.is_empty() {
            servers.push(IceServer {
                urls: stun,
                username: None,
                credential: None,
            });
        }
        let mut lifetime = None;
        for (urls, secret) in &self.shared {
            let urls = urls.get();
            if urls.is_empty() {
                continue;
            }
            match secret.credentials(now + self.lifetime.as_secs(), name) {
                Ok((username, credential)) => {
                    lifetime = u32::try_from(self.lifetime.as_secs()).ok();
                    servers.push(IceServer {
                        urls,
                        username: Some(username),
                        credential: Some(credential),
                    });
                }
                Err(error) => tracing::error!(%error, "cannot make credentials for the relay"),
            }
        }
        IceServerList { servers, lifetime }
    }
}

impl IceServerSource for IceServers {
    fn issue(&self) -> IceServerList {
        // The name only tells one client's allocations from another's, for the relay's quota.
        self.list(unix_now(), &format!("{:016x}", rand::random::<u64>()))
    }
}

pub(crate) fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with `openssl dgst -sha1 -hmac north -binary | base64`.
    #[test]
    fn credentials_are_those_that_turn_servers_expect() {
        let secret = SharedSecret::new("north".into());
        let (username, password) = secret
            .credentials(1_433_895_918, "506qG2")
            .expect("HMAC-SHA1");
        assert_eq!(username, "1433895918:506qG2");
        assert_eq!(password, "gwAXdY7Ei/DJUmZrT23Dg340SWk=");
    }

    #[test]
    fn each_gets_credentials_of_its_own_and_learns_how_long_they_last() {
        let servers = IceServers {
            fixed: vec![IceServer {
                urls: vec!["turn:elsewhere.example.org".into()],
                username: Some("ann".into()),
                credential: Some("fixed".into()),
            }],
            shared: vec![
                (
                    Urls::new(vec!["turn:example.org:3478?transport=udp".into()]),
                    SharedSecret::random(),
                ),
                (Urls::default(), SharedSecret::random()),
            ],
            stun: Urls::new(vec!["stun:example.org:3478".into()]),
            lifetime: Duration::from_secs(600),
        };
        let list = servers.list(1_000, "name");
        assert_eq!(list.lifetime, Some(600));
        let names: Vec<_> = list.servers.iter().map(|s| s.username.as_deref()).collect();
        assert_eq!(names, [Some("ann"), None, Some("1600:name")]);
        assert_ne!(servers.issue(), servers.issue());
        assert!(!format!("{servers:?}").contains(servers.shared[0].1.text()));
    }
}
