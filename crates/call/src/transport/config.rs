//! How a connection is made.

use std::sync::Arc;

use ahoy_ice::server::IceServer;
use ahoy_ice::stream::tls::ExtraRoots;
use ahoy_media::units::Bitrate;
use webrtc::runtime::Runtime;

use super::certificate::Certificate;

/// Which local addresses become host candidates (RFC 8445 section 5.1.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LocalAddresses {
    /// Those of the network interfaces; when there is none, loopback, so that two windows on a
    /// computer without a network can call each other.
    #[default]
    Network,
    /// Those of the network interfaces and 127.0.0.1.
    NetworkAndLoopback,
    /// 127.0.0.1 alone.
    Loopback,
}

/// How a connection to one participant is made.
#[derive(Debug, Clone)]
pub struct TransportConfig {
    /// Host candidates.
    pub local_addresses: LocalAddresses,
    /// STUN and TURN servers.
    pub ice_servers: Vec<IceServer>,
    /// Whether everything goes through a relay, so that the other side learns no address of ours
    /// (`iceTransportPolicy` `relay`, webrtc-pc section 4.2.4). Needs a TURN server.
    pub relay_only: bool,
    /// Certificates that TURN servers may have besides those the system trusts.
    pub turn_roots: ExtraRoots,
    /// Our certificate; without one, the connection makes its own.
    pub certificate: Option<Certificate>,
    /// Whether there is a data channel; a browser under test has none.
    pub data_channel: bool,
    /// Where the estimate of the path begins. Even a bad path carries 300 kbit/s, and the first
    /// probe leaves them behind within half a second.
    pub initial_bitrate: Bitrate,
    /// What the estimate never falls below: sound and the smallest picture.
    pub min_bitrate: Bitrate,
    /// What it never exceeds: room enough for the largest picture to leave without delay.
    pub max_bitrate: Bitrate,
    /// Clock, tasks and sockets; `None` for tokio. Tests put a virtual network here.
    pub runtime: Option<Arc<dyn Runtime>>,
}

impl Default for TransportConfig {
    fn default() -> Self {
        Self {
            local_addresses: LocalAddresses::default(),
            ice_servers: Vec::new(),
            relay_only: false,
            turn_roots: ExtraRoots::default(),
            certificate: None,
            data_channel: true,
            initial_bitrate: Bitrate::from_kbps(300),
            min_bitrate: Bitrate::from_kbps(80),
            max_bitrate: Bitrate::from_kbps(12_000),
            runtime: None,
        }
    }
}
