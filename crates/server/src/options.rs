//! The command line.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use ahoy_signaling::ServerConfig;
use ahoy_signaling::message::{IceServer, MAX_ICE_TEXT, MAX_ICE_URLS};
use ahoy_signaling::room::{Limits, Rate};
use clap::Parser;
use clap::builder::RangedU64ValueParser;
use ipnet::IpNet;

use crate::certificate::Files;
use crate::ice::{IceServers, SharedSecret, Urls};
use crate::turn::Settings;

/// A signaling server for Ahoy: hands out room numbers and lets the people in a room find each
/// other. Sound and picture do not pass through it, except through the relay that it can start
/// beside itself for those whose networks let nothing else pass.
#[derive(Debug, Parser)]
#[command(version, after_help = AFTER_HELP)]
pub(crate) struct Options {
    /// Address and port to listen on; may be given several times
    #[arg(
        long,
        env = "AHOY_SERVER_LISTEN",
        value_name = "ADDRESS:PORT",
        value_delimiter = ',',
        default_value = "[::]:24640"
    )]
    pub(crate) listen: Vec<SocketAddr>,

    /// Certificate chain for TLS, in PEM format; read again when it changes, and on SIGHUP
    #[arg(
        long,
        env = "AHOY_SERVER_CERTIFICATE",
        value_name = "FILE",
        requires = "key"
    )]
    certificate: Option<PathBuf>,

    /// The private key for it, in PEM format
    #[arg(
        long,
        env = "AHOY_SERVER_KEY",
        value_name = "FILE",
        requires = "certificate"
    )]
    key: Option<PathBuf>,

    /// Reverse proxy whose X-Forwarded-For is believed: an address or a network; may be repeated
    #[arg(long, env = "AHOY_SERVER_BEHIND_PROXY", value_name = "ADDRESS[/BITS]",
        value_delimiter = ',', value_parser = network)]
    pub(crate) behind_proxy: Vec<IpNet>,

    /// Address and port for /health and /metrics (HTTP, not for the public); may be repeated
    #[arg(
        long,
        env = "AHOY_SERVER_METRICS_LISTEN",
        value_name = "ADDRESS:PORT",
        value_delimiter = ','
    )]
    pub(crate) metrics_listen: Vec<SocketAddr>,

    /// Start a relay (coturn) under this name or address, by which clients reach this computer
    #[arg(long, env = "AHOY_SERVER_TURN", value_name = "HOST")]
    turn: Option<String>,

    /// UDP and TCP port of the relay
    #[arg(long, env = "AHOY_SERVER_TURN_PORT", value_name = "PORT", default_value_t = 3478,
        value_parser = clap::value_parser!(u16).range(1..))]
    turn_port: u16,

    /// TLS port of the relay itself, with the same certificate. Without it the relay shares the TLS
    /// ports of --listen
    #[arg(long, env = "AHOY_SERVER_TURN_TLS_PORT", value_name = "PORT", requires = "certificate",
        value_parser = clap::value_parser!(u16).range(1..))]
    turn_tls_port: Option<u16>,

    /// Address that the relay listens on; all without; may be repeated
    #[arg(
        long,
        env = "AHOY_SERVER_TURN_LISTEN",
        value_name = "ADDRESS",
        value_delimiter = ','
    )]
    turn_listen: Vec<IpAddr>,

    /// This computer's public address where a NAT is before it, or PUBLIC/PRIVATE; may be repeated
    #[arg(long, env = "AHOY_SERVER_TURN_EXTERNAL_IP", value_name = "ADDRESS", value_delimiter = ',',
        value_parser = external)]
    turn_external_ip: Vec<String>,

    /// UDP ports that the relay hands out
    #[arg(long, env = "AHOY_SERVER_TURN_RELAY_PORTS", value_name = "FIRST-LAST",
        default_value = "49152-65535", value_parser = port_range)]
    turn_relay_ports: RangeInclusive<u16>,

    /// Most allocations of one participant: nine others by three transports, over IPv4 and IPv6
    #[arg(
        long,
        env = "AHOY_SERVER_TURN_USER_QUOTA",
        value_name = "N",
        default_value_t = 64
    )]
    turn_user_quota: u32,

    /// Most allocations in all
    #[arg(
        long,
        env = "AHOY_SERVER_TURN_TOTAL_QUOTA",
        value_name = "N",
        default_value_t = 4_000
    )]
    turn_total_quota: u32,

    /// The relay's program
    #[arg(
        long,
        env = "AHOY_SERVER_TURN_PROGRAM",
        value_name = "PROGRAM",
        default_value = "turnserver"
    )]
    turn_program: PathBuf,

    /// Let the relay reach private and loopback addresses: for tests on one computer only
    #[arg(long, env = "AHOY_SERVER_TURN_ALLOW_PRIVATE_PEERS", hide = true)]
    turn_allow_private_peers: bool,

    /// STUN or TURN server that somebody else runs, such as turn:example.org:3478?transport=udp; may
    /// be repeated
    #[arg(long, env = "AHOY_SERVER_ICE_SERVER", value_name = "URL", value_delimiter = ',',
        value_parser = ice_url)]
    ice_server: Vec<String>,

    /// User name for the TURN servers of --ice-server
    #[arg(
        long,
        env = "AHOY_SERVER_ICE_USERNAME",
        value_name = "NAME",
        requires = "ice_password"
    )]
    ice_username: Option<String>,

    /// Password for them; better given by the environment variable, which nobody else sees
    #[arg(
        long,
        env = "AHOY_SERVER_ICE_PASSWORD",
        value_name = "PASSWORD",
        requires = "ice_username",
        hide_env_values = true
    )]
    ice_password: Option<String>,

    /// Secret that those TURN servers share with us, for time-limited credentials instead; better
    /// given by the environment variable
    #[arg(long, env = "AHOY_SERVER_ICE_SECRET", value_name = "SECRET", hide_env_values = true,
        conflicts_with_all = ["ice_username", "ice_password"])]
    ice_secret: Option<String>,

    /// For how many seconds credentials for relays are good
    #[arg(long, env = "AHOY_SERVER_ICE_LIFETIME", value_name = "SECONDS", default_value_t = 21_600,
        value_parser = clap::value_parser!(u32).range(60..))]
    ice_lifetime: u32,

    /// Most open rooms, at most 90000: a tenth of all room numbers
    #[arg(long, env = "AHOY_SERVER_MAX_ROOMS", value_name = "N", default_value_t = Limits::default().rooms,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=90_000))]
    max_rooms: usize,

    /// Most open rooms that were opened from one address (IPv6: one /64 network)
    #[arg(long, env = "AHOY_SERVER_MAX_ROOMS_PER_ADDRESS", value_name = "N",
        default_value_t = Limits::default().rooms_per_address,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    max_rooms_per_address: usize,

    /// Most connections
    #[arg(long, env = "AHOY_SERVER_MAX_CONNECTIONS", value_name = "N",
        default_value_t = Limits::default().connections,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    max_connections: usize,

    /// Most connections from one address (IPv6: one /64 network). Behind a reverse proxy all come
    /// from one: set it as high as --max-connections there
    #[arg(long, env = "AHOY_SERVER_MAX_CONNECTIONS_PER_ADDRESS", value_name = "N",
        default_value_t = Limits::default().connections_per_address,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    max_connections_per_address: usize,

    /// Messages per second and connection that are always let through
    #[arg(long, env = "AHOY_SERVER_MESSAGE_RATE", value_name = "N",
        default_value_t = Limits::default().messages.per_second,
        value_parser = clap::value_parser!(u32).range(1..))]
    message_rate: u32,

    /// Messages per connection that are let through at once after a pause
    #[arg(long, env = "AHOY_SERVER_MESSAGE_BURST", value_name = "N",
        default_value_t = Limits::default().messages.burst,
        value_parser = clap::value_parser!(u32).range(20..))]
    message_burst: u32,

    /// Wrong room numbers per minute and address that are let through, in steps of 60
    #[arg(long, env = "AHOY_SERVER_WRONG_NUMBERS", value_name = "N", default_value_t = 60,
        value_parser = clap::value_parser!(u32).range(60..))]
    wrong_numbers: u32,

    /// What to log: off, error, warn, info, debug or trace
    #[arg(
        long,
        env = "AHOY_SERVER_LOG",
        value_name = "LEVEL",
        default_value = "info"
    )]
    pub(crate) log: String,
}

const AFTER_HELP: &str = "\
Every option can also be set by an environment variable of the same name, such as \
AHOY_SERVER_LISTEN. The log names no rooms, people or addresses.

Exit codes: 0 stopped by SIGINT or SIGTERM, 2 wrong options or certificate, 3 cannot listen, \
4 a listener broke, 5 the relay cannot run.";

/// An address is a network of one.
fn network(text: &str) -> Result<IpNet, String> {
    let net = text
        .parse::<IpNet>()
        .ok()
        .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    net.ok_or_else(|| "not like 192.0.2.1 or 10.0.0.0/8".to_owned())
}

fn external(text: &str) -> Result<String, String> {
    let mut parts = text.split('/').map(str::parse::<IpAddr>);
    match (parts.next(), parts.next(), parts.next()) {
        (Some(Ok(_)), None | Some(Ok(_)), None) => Ok(text.to_owned()),
        _ => Err("not like 198.51.100.7 or 198.51.100.7/10.0.0.7".to_owned()),
    }
}

fn port_range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let wrong = || "not like 49152-65535".to_owned();
    let (first, last) = text.split_once('-').ok_or_else(wrong)?;
    let (first, last): (u16, u16) = (
        first.trim().parse().map_err(|_| wrong())?,
        last.trim().parse().map_err(|_| wrong())?,
    );
    if first < 1_024 || first > last {
        return Err(wrong());
    }
    Ok(first..=last)
}

/// As RFC 7064 and RFC 7065 write them.
fn ice_url(text: &str) -> Result<String, String> {
    let (scheme, rest) = text.split_once(':').unwrap_or((text, ""));
    let known = matches!(scheme, "stun" | "stuns" | "turn" | "turns");
    let plain = !rest.is_empty() && !rest.starts_with('/') && text.len() <= MAX_ICE_TEXT;
    if known && plain && !rest.contains(char::is_whitespace) {
        Ok(text.to_owned())
    } else {
        Err("not like turn:example.org:3478?transport=udp".to_owned())
    }
}

/// A name or address that can stand in a URL and in coturn's configuration.
fn is_host(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
        || (!text.is_empty()
            && text.len() <= 253
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')))
}

impl Options {
    /// Where the certificate lies, if TLS is wanted.
    pub(crate) fn certificate(&self) -> Option<Files> {
        Some(Files {
            certificate: self.certificate.clone()?,
            key: self.key.clone()?,
        })
    }

    /// The relay to be started, if any.
    ///
    /// # Errors
    ///
    /// A sentence about what cannot be.
    pub(crate) fn turn(&self) -> Result<Option<Settings>, String> {
        let Some(host) = self.turn.clone() else {
            return Ok(None);
        };
        if !is_host(&host) {
            return Err(format!(
                "--turn {host}: this is neither a host name nor an address"
            ));
        }
        Ok(Some(Settings {
            program: self.turn_program.clone(),
            host,
            listen: self.turn_listen.clone(),
            port: self.turn_port,
            tls: self.turn_tls_port.zip(self.certificate()),
            external: self.turn_external_ip.clone(),
            relay_ports: self.turn_relay_ports.clone(),
            user_quota: self.turn_user_quota,
            total_quota: self.turn_total_quota,
            private_peers: self.turn_allow_private_peers,
        }))
    }

    /// The ICE servers that others run.
    ///
    /// # Errors
    ///
    /// A sentence about what is missing.
    pub(crate) fn ice_servers(&self) -> Result<IceServers, String> {
        if self.ice_server.len() > MAX_ICE_URLS {
            return Err(format!("--ice-server: at most {MAX_ICE_URLS}"));
        }
        let (turn, stun): (Vec<String>, Vec<String>) = self
            .ice_server
            .iter()
            .cloned()
            .partition(|url| url.starts_with("turn"));
        let mut servers = IceServers {
            lifetime: Duration::from_secs(self.ice_lifetime.into()),
            ..IceServers::default()
        };
        if !stun.is_empty() {
            servers.fixed.push(IceServer {
                urls: stun,
                username: None,
                credential: None,
            });
        }
        if turn.is_empty() {
            return Ok(servers);
        }
        match (&self.ice_secret, &self.ice_username, &self.ice_password) {
            (Some(secret), _, _) => servers
                .shared
                .push((Urls::new(turn), SharedSecret::new(secret.clone()))),
            (None, Some(username), Some(credential)) => servers.fixed.push(IceServer {
                urls: turn,
                username: Some(username.clone()),
                credential: Some(credential.clone()),
            }),
            _ => {
                return Err(
                    "a TURN server needs --ice-username and --ice-password, or --ice-secret"
                        .to_owned(),
                );
            }
        }
        Ok(servers)
    }

    pub(crate) fn config(&self) -> ServerConfig {
        let limits = Limits {
            rooms: self.max_rooms,
            rooms_per_address: self.max_rooms_per_address,
            connections: self.max_connections,
            connections_per_address: self.max_connections_per_address,
            messages: Rate {
                burst: self.message_burst,
                per_second: self.message_rate,
            },
            wrong_numbers: Rate {
                per_second: self.wrong_numbers.div_ceil(60),
                ..Limits::default().wrong_numbers
            },
            ..Limits::default()
        };
        ServerConfig {
            limits,
            ..ServerConfig::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn without_options_the_librarys_defaults_hold() {
        let options = Options::parse_from(["ahoy-server"]);
        assert_eq!(options.config(), ServerConfig::default());
        assert_eq!(options.listen, ["[::]:24640".parse().expect("an address")]);
    }

    #[test]
    fn options_become_limits() {
        let options = Options::parse_from([
            "ahoy-server",
            "--listen=127.0.0.1:1",
            "--listen=[::1]:2",
            "--max-rooms=3",
            "--max-rooms-per-address=4",
            "--max-connections=5",
            "--max-connections-per-address=6",
            "--message-rate=7",
            "--message-burst=80",
            "--wrong-numbers=100",
        ]);
        let limits = options.config().limits;
        assert_eq!(options.listen.len(), 2);
        assert_eq!((limits.rooms, limits.rooms_per_address), (3, 4));
        assert_eq!((limits.connections, limits.connections_per_address), (5, 6));
        assert_eq!(
            limits.messages,
            Rate {
                burst: 80,
                per_second: 7
            }
        );
        assert_eq!(limits.wrong_numbers.per_second, 2);
    }

    #[test]
    fn nonsense_is_refused() {
        for wrong in [
            "--listen=nowhere",
            "--max-rooms=0",
            "--max-rooms=90001",
            "--message-burst=1",
            "--certificate=/c.pem",
            "--key=/k.pem",
            "--behind-proxy=everybody",
            "--turn-port=0",
            "--turn-tls-port=443",
            "--turn-external-ip=1.2.3.4/5.6.7.8/9.9.9.9",
            "--turn-relay-ports=60000-50000",
            "--turn-relay-ports=80-90",
            "--ice-server=https://example.org",
            "--ice-server=turn:",
            "--ice-username=ann",
            "--dance",
        ] {
            assert!(
                Options::try_parse_from(["ahoy-server", wrong]).is_err(),
                "{wrong}"
            );
        }
    }

    #[test]
    fn the_relay_is_described_by_options() {
        let options = Options::parse_from([
            "ahoy-server",
            "--turn=turn.example.org",
            "--turn-port=3479",
            "--turn-tls-port=5349",
            "--certificate=/c.pem",
            "--key=/k.pem",
            "--turn-listen=192.0.2.1,2001:db8::1",
            "--turn-external-ip=198.51.100.7/192.0.2.1",
            "--turn-relay-ports=50000-50100",
        ]);
        let turn = options.turn().expect("fine").expect("a relay");
        assert_eq!((turn.host.as_str(), turn.port), ("turn.example.org", 3479));
        assert_eq!(turn.own_address().to_string(), "192.0.2.1:3479");
        assert_eq!(turn.relay_ports, 50_000..=50_100);
        assert_eq!(turn.tls.expect("TLS").0, 5349);
        assert!(!turn.private_peers && options.certificate().is_some());
        for host in ["", "a b", "x\ndenied-peer-ip=1.1.1.1", "turn:example.org"] {
            let options = Options::parse_from(["ahoy-server", &format!("--turn={host}")]);
            assert!(options.turn().is_err(), "{host}");
        }
        assert!(
            Options::parse_from(["ahoy-server"])
                .turn()
                .expect("fine")
                .is_none()
        );
    }

    #[test]
    fn relays_of_others_have_one_kind_of_credentials() {
        let urls =
            "--ice-server=stun:a.example,turn:b.example:3478,turns:b.example:443?transport=tcp";
        let parse = |more: &[&str]| {
            let all = ["ahoy-server", urls]
                .into_iter()
                .chain(more.iter().copied());
            Options::parse_from(all).ice_servers()
        };
        assert!(
            parse(&[])
                .expect_err("no credentials")
                .contains("--ice-secret")
        );
        let fixed = parse(&["--ice-username=ann", "--ice-password=p"]).expect("fine");
        assert_eq!((fixed.fixed.len(), fixed.shared.len()), (2, 0));
        let shared = parse(&["--ice-secret=s"]).expect("fine");
        assert_eq!((shared.fixed.len(), shared.shared.len()), (1, 1));
        assert_eq!(shared.shared[0].0.get().len(), 2);
    }
}
