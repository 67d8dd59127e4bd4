//! Addresses of signaling servers.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use url::{Host, Url};

/// Longest address that is looked at: a host name has at most 253 characters (RFC 1035).
const MAX_TEXT: usize = 300;

/// Where a signaling server is: `wss://example.org`, `ws://192.168.1.5:24642`.
///
/// Text without a scheme means `wss`, except for this computer and private addresses
/// (`localhost`, `192.168.1.5`), for which nobody issues certificates: those mean `ws`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ServerAddress {
    secure: bool,
    host: String,
    port: u16,
}

/// What is wrong with a server's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Nothing was given.
    #[error("the server's address is empty")]
    Empty,
    /// Longer than any address.
    #[error("the server's address is too long")]
    TooLong,
    /// Another scheme than `ws` or `wss`.
    #[error("the server's address must begin with wss:// or ws://, or with the host's name")]
    WrongScheme,
    /// No name or number of a host.
    #[error("this is not the name of a host")]
    NoHost,
    /// The port is not within 1 to 65535.
    #[error("the port must be a number from 1 to 65535")]
    BadPort,
    /// A user name, path, query or fragment.
    #[error("the server's address has only a host and a port, nothing behind them")]
    Extra,
}

impl ServerAddress {
    /// The unencrypted address of the server on `socket`.
    pub fn plain(socket: SocketAddr) -> Self {
        let host = match socket.ip() {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        };
        Self {
            secure: false,
            host,
            port: socket.port(),
        }
    }

    /// Whether the connection is encrypted (`wss`).
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Name or number of the host; an IPv6 address stands in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether the address can only mean this very computer.
    pub fn is_this_computer(&self) -> bool {
        self.host == "localhost" || self.ip().is_some_and(|ip| ip.is_loopback())
    }

    /// `host` or `host:port`, where `port` is left out when it is the scheme's own.
    pub(crate) fn authority(&self) -> String {
        if self.port == default_port(self.secure) {
            self.host.clone()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Reads `authority` for a known scheme.
    pub(crate) fn from_authority(secure: bool, authority: &str) -> Result<Self, AddressError> {
        let scheme = if secure { "wss" } else { "ws" };
        let url = Url::parse(&format!("{scheme}://{authority}")).map_err(|error| match error {
            url::ParseError::InvalidPort => AddressError::BadPort,
            _ => AddressError::NoHost,
        })?;
        if !url.username().is_empty()
            || url.password().is_some()
            || !matches!(url.path(), "" | "/")
            || url.query().is_some()
            || url.fragment().is_some()
        {
            return Err(AddressError::Extra);
        }
        let port = url
            .port_or_known_default()
            .filter(|port| *port != 0)
            .ok_or(AddressError::BadPort)?;
        let host = url.host().ok_or(AddressError::NoHost)?;
        if !is_plausible(&host, authority) {
            return Err(AddressError::NoHost);
        }
        Ok(Self {
            secure,
            host: host.to_string(),
            port,
        })
    }

    fn ip(&self) -> Option<IpAddr> {
        self.host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse()
            .ok()
    }
}

impl FromStr for ServerAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(AddressError::Empty);
        }
        if text.len() > MAX_TEXT {
            return Err(AddressError::TooLong);
        }
        match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("wss") => {
                Self::from_authority(true, rest)
            }
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("ws") => {
                Self::from_authority(false, rest)
            }
            Some(_) => Err(AddressError::WrongScheme),
            None => without_scheme(text),
        }
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}://{}",
            if self.secure { "wss" } else { "ws" },
            self.authority()
        )
    }
}

impl fmt::Debug for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerAddress({self})")
    }
}

fn default_port(secure: bool) -> u16 {
    if secure { 443 } else { 80 }
}

fn without_scheme(text: &str) -> Result<ServerAddress, AddressError> {
    let secure = ServerAddress::from_authority(true, text)?;
    let nearby = secure.host == "localhost" || secure.ip().is_some_and(is_private);
    if nearby {
        ServerAddress::from_authority(false, text)
    } else {
        Ok(secure)
    }
}

fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// The URL standard reads `1234` as an IPv4 address and lets empty labels pass; people who type
/// those meant something else.
fn is_plausible(host: &Host<&str>, authority: &str) -> bool {
    match host {
        Host::Ipv4(ip) => authority.starts_with(&ip.to_string()) && !ip.is_unspecified(),
        Host::Ipv6(ip) => !ip.is_unspecified(),
        Host::Domain(name) => {
            let name = name.strip_suffix('.').unwrap_or(name);
            name.len() <= 253
                && name.split('.').all(|label| {
                    !label.is_empty()
                        && label.len() <= 63
                        && !label.starts_with('-')
                        && !label.ends_with('-')
                        && label
                            .bytes()
                            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
                })
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<String, AddressError> {
        text.parse::<ServerAddress>()
            .map(|address| address.to_string())
    }

    #[test]
    fn reads_hosts_with_and_without_scheme() {
        for (text, expected) in [
            ("example.org", "wss://example.org"),
            (" Example.ORG ", "wss://example.org"),
            ("example.org:8443", "wss://example.org:8443"),
            ("wss://example.org:443/", "wss://example.org"),
            ("ws://example.org", "ws://example.org"),
            ("WS://example.org:8080", "ws://example.org:8080"),
            ("localhost:24640", "ws://localhost:24640"),
            ("192.168.1.5:24642", "ws://192.168.1.5:24642"),
            ("wss://192.168.1.5", "wss://192.168.1.5"),
            ("93.184.216.34", "wss://93.184.216.34"),
            ("[::1]:24642", "ws://[::1]:24642"),
            ("ws://[fe80::1]:9", "ws://[fe80::1]:9"),
            ("ws://[2001:db8::1]", "ws://[2001:db8::1]"),
            ("b\u{fc}cher.example", "wss://xn--bcher-kva.example"),
            ("my_pi", "wss://my_pi"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_address() {
        for (text, error) in [
            ("", AddressError::Empty),
            ("   ", AddressError::Empty),
            ("https://example.org", AddressError::WrongScheme),
            ("ahoy://example.org", AddressError::WrongScheme),
            ("hello world", AddressError::NoHost),
            ("wss://", AddressError::NoHost),
            ("1234", AddressError::NoHost),
            ("0.0.0.0:24642", AddressError::NoHost),
            ("example..org", AddressError::NoHost),
            ("-example.org", AddressError::NoHost),
            ("ex*mple.org", AddressError::NoHost),
            ("example.org:0", AddressError::BadPort),
            ("example.org:99999", AddressError::BadPort),
            ("example.org:port", AddressError::BadPort),
            ("wss://example.org/call", AddressError::Extra),
            ("wss://me:secret@example.org", AddressError::Extra),
            ("example.org?x=1", AddressError::Extra),
            ("example.org#x", AddressError::Extra),
        ] {
            assert_eq!(read(text), Err(error), "{text}");
        }
        assert_eq!(read(&"a".repeat(301)), Err(AddressError::TooLong));
    }

    #[test]
    fn knows_this_computer() {
        for (text, expected) in [
            ("ws://127.0.0.1:1", true),
            ("[::1]", true),
            ("localhost", true),
            ("192.168.1.5", false),
            ("example.org", false),
        ] {
            let address: ServerAddress = text.parse().expect("an address");
            assert_eq!(address.is_this_computer(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_is_typed_panics_and_what_is_read_reads_back(text in "\\PC{0,40}") {
            if let Ok(address) = text.parse::<ServerAddress>() {
                prop_assert_eq!(address.to_string().parse(), Ok(address));
            }
        }
    }
}
