//! The server inside a window: Ahoy without any configuration.
//!
//! The first window on a computer opens a server that only this computer can reach; other windows
//! find it there and use it. While a room is open that was created with
//! [`Reach::Network`](crate::message::Reach::Network), the same server listens on the addresses of
//! the local network as well, and stops when the last such room is gone.
//!
//! ```text
//!            an Ahoy server answers            nothing does
//! Elsewhere ◀───────────────────── unknown ─────────────────▶ Hosting
//!     │ it is gone                    ▲
//!     └───────────────────────────────┘
//! ```

mod lan;
mod network;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, oneshot};
use tokio::task::JoinHandle;

use crate::address::ServerAddress;
use crate::client::{ConnectOptions, SignalingClient};
use crate::discovery::{Advertiser, Discovery, NearbyServers};
use crate::room::{Limits, Opening};
use crate::server::{Server, ServerConfig};
pub use network::lan_addresses;

/// Where windows look for each other: not registered with IANA for anything, and below the ports
/// that systems hand out by themselves. Four, in case another program sits on the first.
pub const PORTS: RangeInclusive<u16> = 24_642..=24_645;

/// Environment variable with other ports, such as `25000-25003`: for several copies of Ahoy that
/// must not meet.
pub const PORTS_VARIABLE: &str = "AHOY_EMBEDDED_PORTS";

/// How long a program that holds one of our ports may take to prove itself an Ahoy server.
const PROBE_TIMEOUT: Duration = Duration::from_millis(1_500);
/// How long the network listeners may take to open after a room was created.
const NETWORK_TIMEOUT: Duration = Duration::from_secs(3);
/// Pause between two looks at them.
const NETWORK_PAUSE: Duration = Duration::from_millis(50);

/// How the server inside a window behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddedConfig {
    /// Ports on which windows look for each other, in order of preference.
    pub ports: RangeInclusive<u16>,
    /// The server, if this window is the one that hosts it.
    pub server: ServerConfig,
    /// How shared rooms are announced and found on the local network.
    pub discovery: Discovery,
}

impl Default for EmbeddedConfig {
    fn default() -> Self {
        let limits = Limits {
            opening: Opening::ThisComputer,
            ..Limits::default()
        };
        Self {
            ports: PORTS,
            server: ServerConfig {
                limits,
                web_pages: false,
                ..ServerConfig::default()
            },
            discovery: Discovery::default(),
        }
    }
}

impl EmbeddedConfig {
    /// The default, with the ports of [`PORTS_VARIABLE`] where that is set and makes sense.
    pub fn from_environment() -> Self {
        let mut config = Self::default();
        if let Ok(text) = std::env::var(PORTS_VARIABLE) {
            match parse_ports(&text) {
                Some(ports) => config.ports = ports,
                None => tracing::warn!("{PORTS_VARIABLE} is not like 25000-25003; ignored"),
            }
        }
        config
    }
}

/// Why there is no server inside this window.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// Other programs hold all of the ports.
    #[error("no port is free for the server inside this window: {source}")]
    NoPort {
        /// What the system said about the last one.
        source: io::Error,
    },
}

/// Whose server it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// This process runs it.
    Hosting,
    /// Another window on this computer does.
    Elsewhere,
}

/// The server of this computer, in this process or another.
#[derive(Debug)]
pub struct EmbeddedServer {
    config: EmbeddedConfig,
    place: Mutex<Option<Place>>,
}

#[derive(Debug)]
enum Place {
    Hosting(Host),
    Elsewhere { port: u16 },
}

#[derive(Debug)]
struct Host {
    port: u16,
    /// Dropping it ends the tasks.
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl EmbeddedServer {
    /// Finds the server of this computer or becomes it. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`EmbeddedError`]; [`EmbeddedServer::address`] may be asked again later.
    pub async fn start(config: EmbeddedConfig) -> Result<Self, EmbeddedError> {
        let server = Self::new(config);
        server.address().await?;
        Ok(server)
    }

    /// Does nothing yet: the first [`EmbeddedServer::address`] finds or opens the server.
    pub fn new(config: EmbeddedConfig) -> Self {
        Self {
            config,
            place: Mutex::new(None),
        }
    }

    /// Where to reach the server from this computer. To be asked before each call: when the window
    /// that hosted it has gone, this process becomes the host.
    ///
    /// # Errors
    ///
    /// [`EmbeddedError::NoPort`].
    pub async fn address(&self) -> Result<ServerAddress, EmbeddedError> {
        let mut place = self.place.lock().await;
        let still_there = match &*place {
            Some(Place::Hosting(host)) => !host.task.is_finished(),
            Some(Place::Elsewhere { port }) => is_ahoy(*port).await,
            None => false,
        };
        if !still_there {
            *place = None;
            *place = Some(self.find_or_host().await?);
        }
        Ok(local(place.as_ref().map_or(0, Place::port)))
    }

    /// Whose server it is; `None` before it was found.
    pub async fn role(&self) -> Option<Role> {
        self.place.lock().await.as_ref().map(|place| match place {
            Place::Hosting(_) => Role::Hosting,
            Place::Elsewhere { .. } => Role::Elsewhere,
        })
    }

    /// Addresses under which the server really answers on the local network, the likeliest first:
    /// each was tried. Empty when no room is shared or this computer has no network. Waits up to
    /// 3 s for the listeners of a room that was created just now.
    pub async fn network_addresses(&self) -> Vec<ServerAddress> {
        let Some(port) = self.place.lock().await.as_ref().map(Place::port) else {
            return Vec::new();
        };
        let candidates: Vec<ServerAddress> = lan_addresses()
            .into_iter()
            .map(|ip| ServerAddress::plain((ip, port).into()))
            .collect();
        if candidates.is_empty() {
            return candidates;
        }
        let looking = async {
            loop {
                let found = answering(&candidates).await;
                if !found.is_empty() {
                    return found;
                }
                tokio::time::sleep(NETWORK_PAUSE).await;
            }
        };
        tokio::time::timeout(NETWORK_TIMEOUT, looking)
            .await
            .unwrap_or_default()
    }

    /// The servers inside windows of other computers on this network.
    pub fn nearby(&self) -> NearbyServers {
        NearbyServers {
            discovery: self.config.discovery,
            ports: self.config.ports.clone(),
        }
    }

    /// Ends the server if this process hosts it, and waits until its connections are closed.
    pub async fn shutdown(self) {
        if let Some(Place::Hosting(Host {
            stop,
            task,
            port: _,
        })) = self.place.into_inner()
        {
            drop(stop);
            if let Err(error) = task.await {
                tracing::warn!(%error, "the embedded server ended badly");
            }
        }
    }

    async fn find_or_host(&self) -> Result<Place, EmbeddedError> {
        let ports: Vec<u16> = self.config.ports.clone().collect();
        let found = join_all(ports.iter().map(|port| is_ahoy(*port))).await;
        if let Some((port, _)) = ports.iter().zip(found).find(|(_, ahoy)| *ahoy) {
            return Ok(Place::Elsewhere { port: *port });
        }
        let mut source = io::Error::new(io::ErrorKind::InvalidInput, "there are no ports to try");
        for port in ports {
            match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
                Ok(listener) => {
                    return Ok(Place::Hosting(host(listener, port, &self.config)));
                }
                Err(error) => source = error,
            }
            // Another window may have been faster.
            if is_ahoy(port).await {
                return Ok(Place::Elsewhere { port });
            }
        }
        Err(EmbeddedError::NoPort { source })
    }
}

impl Place {
    fn port(&self) -> u16 {
        match self {
            Self::Hosting(host) => host.port,
            Self::Elsewhere { port } => *port,
        }
    }
}

fn host(listener: TcpListener, port: u16, config: &EmbeddedConfig) -> Host {
    let server = Server::new(config.server);
    let advertiser = Advertiser::new(config.discovery, port);
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = server.clone();
    let task = tokio::spawn(async move {
        let (stop_lan, lan_stopped) = oneshot::channel::<()>();
        let lan = tokio::spawn(lan::share(serving.clone(), port, advertiser, lan_stopped));
        let stopped = async {
            // Sent or dropped: both mean the end.
            let _ = stopped.await;
        };
        if let Err(error) = serving.serve(listener, stopped).await {
            tracing::warn!(%error, "the embedded server cannot serve");
        }
        drop(stop_lan);
        if let Err(error) = lan.await {
            tracing::warn!(%error, "sharing on the network ended badly");
        }
    });
    Host { port, stop, task }
}

fn local(port: u16) -> ServerAddress {
    ServerAddress::plain(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

async fn is_ahoy(port: u16) -> bool {
    answers(&local(port)).await
}

async fn answers(address: &ServerAddress) -> bool {
    let options = ConnectOptions {
        timeout: PROBE_TIMEOUT,
        ..ConnectOptions::default()
    };
    SignalingClient::probe(address, &options).await.is_ok()
}

async fn answering(candidates: &[ServerAddress]) -> Vec<ServerAddress> {
    let answers = join_all(candidates.iter().map(answers)).await;
    candidates
        .iter()
        .zip(answers)
        .filter(|(_, ok)| *ok)
        .map(|(address, _)| address.clone())
        .collect()
}

fn parse_ports(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.trim().split_once('-')?;
    let (first, last): (u16, u16) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (0 < first && first <= last && last - first < 100).then_some(first..=last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_from_text() {
        assert_eq!(parse_ports("25000-25003"), Some(25_000..=25_003));
        assert_eq!(parse_ports(" 25000 - 25000 "), Some(25_000..=25_000));
        for wrong in ["", "25000", "25003-25000", "0-3", "1-65535", "a-b", "1-2-3"] {
            assert_eq!(parse_ports(wrong), None, "{wrong}");
        }
    }
}
