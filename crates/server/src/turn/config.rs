//! What coturn is told: pure, the file is written elsewhere.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use crate::certificate::Files;
use crate::ice::SharedSecret;

/// Addresses that the relay must not be used to reach: what is behind the server's own firewall, and
/// what is no single host. From the registries of RFC 6890, with those of IPv6 that contain an IPv4
/// address, which would be a way round the others.
const DENIED_PEERS: [&str; 25] = [
    "0.0.0.0-0.255.255.255",
    "10.0.0.0-10.255.255.255",
    "100.64.0.0-100.127.255.255",
    "127.0.0.0-127.255.255.255",
    "169.254.0.0-169.254.255.255",
    "172.16.0.0-172.31.255.255",
    "192.0.0.0-192.0.0.255",
    "192.0.2.0-192.0.2.255",
    "192.88.99.0-192.88.99.255",
    "192.168.0.0-192.168.255.255",
    "198.18.0.0-198.19.255.255",
    "198.51.100.0-198.51.100.255",
    "203.0.113.0-203.0.113.255",
    "224.0.0.0-255.255.255.255",
    "::",
    "::1",
    "::ffff:0:0-::ffff:ffff:ffff",
    "64:ff9b::-64:ff9b::ffff:ffff",
    "64:ff9b:1::-64:ff9b:1:ffff:ffff:ffff:ffff:ffff",
    "100::-100::ffff:ffff:ffff:ffff",
    "2001:db8::-2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
    "2002::-2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "fc00::-fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "fe80::-febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "ff00::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
];

/// Seconds after which a nonce is stale (RFC 8489 section 9.2): one that was overheard is of no use
/// for long.
const NONCE_LIFETIME: u32 = 600;

/// How the relay is to be.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The program.
    pub(crate) program: PathBuf,
    /// Name or address under which clients reach it; also the realm.
    pub(crate) host: String,
    /// Addresses to listen on; all without.
    pub(crate) listen: Vec<IpAddr>,
    /// UDP and TCP port.
    pub(crate) port: u16,
    /// TLS port of its own, with the certificate for it.
    pub(crate) tls: Option<(u16, Files)>,
    /// Addresses under which the internet sees this computer, where a NAT is between; perhaps with
    /// the inner address behind a slash.
    pub(crate) external: Vec<String>,
    /// Ports that are handed out to clients.
    pub(crate) relay_ports: RangeInclusive<u16>,
    /// Allocations per credentials and in all.
    pub(crate) user_quota: u32,
    pub(crate) total_quota: u32,
    /// For tests on one computer: peers on private and loopback addresses are allowed.
    pub(crate) private_peers: bool,
}

impl Settings {
    /// Where this computer itself reaches the relay.
    pub(crate) fn own_address(&self) -> SocketAddr {
        let first = self.listen.iter().find(|ip| !ip.is_unspecified());
        let ip = first.copied().unwrap_or(Ipv4Addr::LOCALHOST.into());
        SocketAddr::new(ip, self.port)
    }
}

/// The configuration file of coturn 4.5 and later. `directory` is where it may write.
pub(crate) fn text(settings: &Settings, secret: &SharedSecret, directory: &Path) -> String {
    let mut text = String::from("# Written by ahoy-server at its start.\n");
    let mut option = |name: &str, value: &dyn std::fmt::Display| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name}={value}");
    };
    for address in &settings.listen {
        option("listening-ip", address);
    }
    option("listening-port", &settings.port);
    for address in &settings.external {
        option("external-ip", address);
    }
    option("min-port", settings.relay_ports.start());
    option("max-port", settings.relay_ports.end());
    option("realm", &settings.host);
    option("static-auth-secret", &secret.text());
    option("stale-nonce", &NONCE_LIFETIME);
    option("user-quota", &settings.user_quota);
    option("total-quota", &settings.total_quota);
    option("userdb", &directory.join("users").display());
    option("pidfile", &directory.join("pid").display());
    option("log-file", &"stdout");
    if let Some((port, files)) = &settings.tls {
        option("tls-listening-port", port);
        option("cert", &files.certificate.display());
        option("pkey", &files.key.display());
    }
    if !settings.private_peers {
        for range in DENIED_PEERS {
            option("denied-peer-ip", &range);
        }
    }
    // TLS before 1.2 is deprecated (RFC 8996).
    for flag in [
        "use-auth-secret",
        "fingerprint",
        "no-cli",
        "no-multicast-peers",
        "no-software-attribute",
        "no-tcp-relay",
        "no-tlsv1",
        "no-tlsv1_1",
        "simple-log",
    ] {
        text.push_str(flag);
        text.push('\n');
    }
    if settings.tls.is_none() {
        text.push_str("no-tls\nno-dtls\n");
    }
    if settings.private_peers {
        text.push_str("allow-loopback-peers\n");
    }
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    pub(crate) fn settings() -> Settings {
        Settings {
            program: "turnserver".into(),
            host: "example.org".into(),
            listen: Vec::new(),
            port: 3478,
            tls: None,
            external: Vec::new(),
            relay_ports: 49_152..=65_535,
            user_quota: 64,
            total_quota: 4_000,
            private_peers: false,
        }
    }

    fn lines(settings: &Settings) -> Vec<String> {
        let secret = SharedSecret::new("s3".into());
        let text = text(settings, &secret, Path::new("/run/ahoy"));
        text.lines().map(ToOwned::to_owned).collect()
    }

    #[test]
    fn the_file_says_what_coturn_needs() {
        let settings = Settings {
            listen: vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            tls: Some((
                5349,
                Files {
                    certificate: "/c.pem".into(),
                    key: "/k.pem".into(),
                },
            )),
            external: vec!["198.51.100.7/10.0.0.7".into()],
            ..settings()
        };
        let lines = lines(&settings);
        for line in [
            "listening-ip=127.0.0.1",
            "listening-ip=::1",
            "listening-port=3478",
            "external-ip=198.51.100.7/10.0.0.7",
            "min-port=49152",
            "realm=example.org",
            "use-auth-secret",
            "static-auth-secret=s3",
            "tls-listening-port=5349",
            "cert=/c.pem",
            "no-cli",
            "denied-peer-ip=127.0.0.0-127.255.255.255",
            "denied-peer-ip=::1",
            "denied-peer-ip=fe80::-febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ] {
            assert!(lines.iter().any(|found| found == line), "{line}: {lines:?}");
        }
        assert!(
            !lines
                .iter()
                .any(|line| line.starts_with("allow") || line == "no-tls")
        );
    }

    #[test]
    fn private_peers_are_allowed_only_when_asked_for() {
        let open = lines(&Settings {
            private_peers: true,
            ..settings()
        });
        assert!(open.contains(&"allow-loopback-peers".to_owned()));
        assert!(!open.iter().any(|line| line.starts_with("denied")));
        assert!(lines(&settings()).contains(&"no-tls".to_owned()));
    }

    #[test]
    fn ranges_are_ranges() {
        for range in DENIED_PEERS {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last): (IpAddr, IpAddr) = (
                first.parse().expect("an address"),
                last.parse().expect("an address"),
            );
            assert!(
                first <= last && first.is_ipv4() == last.is_ipv4(),
                "{range}"
            );
        }
    }
}
