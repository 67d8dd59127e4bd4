//! STUN and TURN servers: URIs (RFC 7064, RFC 7065) and credentials, checked when they are read.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU16;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Servers that are used at most. Each costs packets and time at the start of every connection;
/// more than a handful is a mistake or malice.
pub const MAX_ICE_SERVERS: usize = 8;
/// URIs of one server at most: UDP, TCP and TLS on a few ports.
pub const MAX_URIS_PER_SERVER: usize = 8;
/// Longest user name: what the attribute holds (RFC 8489 section 14.3).
pub const MAX_USERNAME_BYTES: usize = 508;
/// Longest credential. REST credentials have 28 characters.
pub const MAX_CREDENTIAL_BYTES: usize = 512;
/// Longest host name (RFC 1035 section 2.3.4).
const MAX_HOST_BYTES: usize = 253;
const MAX_LABEL_BYTES: usize = 63;

/// What a server is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Service {
    /// How our address looks from outside (RFC 8489).
    Stun,
    /// An address of its own, from which it relays (RFC 8656).
    Turn,
}

/// How a server is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServerTransport {
    /// Datagrams.
    Udp,
    /// A TCP stream.
    Tcp,
    /// A TLS stream over TCP.
    Tls,
}

impl fmt::Display for ServerTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
        })
    }
}

/// A `stun:`, `turn:` or `turns:` URI.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IceUri {
    service: Service,
    transport: ServerTransport,
    host: String,
    port: u16,
}

/// Why a text is no URI of a server that can be used. No message repeats the text, which may
/// hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IceUriError {
    /// Not one of the known schemes.
    #[error("it must begin with stun:, turn: or turns:")]
    Scheme,
    /// `stuns:`.
    #[error(
        "stuns: is of no use here: over TLS a server sees the address of a TCP connection, \
         which no media takes; write stun: for the address and turns: for a relay"
    )]
    Stuns,
    /// `turns:…?transport=udp`, which is DTLS.
    #[error("turns: with transport=udp (DTLS) is not supported; write turns:HOST?transport=tcp")]
    Dtls,
    /// `turn://host`.
    #[error("there are no slashes after the scheme: write turn:HOST:PORT")]
    Slashes,
    /// `user:password@`.
    #[error("user name and password do not belong into it, but beside it")]
    UserInfo,
    /// No host, or one that cannot be a name or an address.
    #[error("the host is no name and no address; an IPv6 address stands in brackets")]
    Host,
    /// Not 1 to 65535.
    #[error("the port is no number from 1 to 65535")]
    Port,
    /// Something else than `?transport=udp` or `?transport=tcp`, or on `stun:`.
    #[error("after the question mark only transport=udp or transport=tcp may follow, on turn:")]
    Query,
}

impl IceUri {
    /// What the server is asked for.
    pub const fn service(&self) -> Service {
        self.service
    }

    /// How it is reached.
    pub const fn transport(&self) -> ServerTransport {
        self.transport
    }

    /// Name or address, an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, also where the text left it out.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The host, where it is an address.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// `host:port` as resolvers read it.
    pub fn host_and_port(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for IceUri {
    type Err = IceUriError;

    fn from_str(text: &str) -> Result<Self, IceUriError> {
        let (scheme, rest) = text.trim().split_once(':').ok_or(IceUriError::Scheme)?;
        let (service, secure) = match scheme.to_ascii_lowercase().as_str() {
            "stun" => (Service::Stun, false),
            "turn" => (Service::Turn, false),
            "turns" => (Service::Turn, true),
            "stuns" => return Err(IceUriError::Stuns),
            _ => return Err(IceUriError::Scheme),
        };
        if rest.starts_with("//") {
            return Err(IceUriError::Slashes);
        }
        if rest.contains('@') {
            return Err(IceUriError::UserInfo);
        }
        let (address, query) = match rest.split_once('?') {
            Some((address, query)) => (address, Some(query)),
            None => (rest, None),
        };
        let transport = transport(service, secure, query)?;
        let (host, port) = host_and_port(address)?;
        // RFC 7065 section 3.2.
        let default_port = if secure { 5349 } else { 3478 };
        Ok(Self {
            service,
            transport,
            host,
            port: port.unwrap_or(default_port),
        })
    }
}

fn transport(
    service: Service,
    secure: bool,
    query: Option<&str>,
) -> Result<ServerTransport, IceUriError> {
    let Some(query) = query else {
        return Ok(if secure {
            ServerTransport::Tls
        } else {
            ServerTransport::Udp
        });
    };
    let named = query.to_ascii_lowercase();
    match (service, named.as_str(), secure) {
        (Service::Stun, ..) => Err(IceUriError::Query),
        (Service::Turn, "transport=udp", false) => Ok(ServerTransport::Udp),
        (Service::Turn, "transport=tcp", false) => Ok(ServerTransport::Tcp),
        (Service::Turn, "transport=tcp", true) => Ok(ServerTransport::Tls),
        (Service::Turn, "transport=udp", true) => Err(IceUriError::Dtls),
        _ => Err(IceUriError::Query),
    }
}

fn host_and_port(text: &str) -> Result<(String, Option<u16>), IceUriError> {
    let (host, port) = if let Some(bracketed) = text.strip_prefix('[') {
        let (address, rest) = bracketed.split_once(']').ok_or(IceUriError::Host)?;
        let address: Ipv6Addr = address.parse().map_err(|_| IceUriError::Host)?;
        let port = match rest.strip_prefix(':') {
            Some(port) => Some(port),
            None if rest.is_empty() => None,
            None => return Err(IceUriError::Host),
        };
        (address.to_string(), port)
    } else {
        match text.split_once(':') {
            Some((host, port)) => (name(host)?, Some(port)),
            None => (name(text)?, None),
        }
    };
    Ok((host, port.map(port_number).transpose()?))
}

fn port_number(text: &str) -> Result<u16, IceUriError> {
    // A sign would be read as well.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse::<NonZeroU16>().ok().filter(|_| digits);
    number.map(NonZeroU16::get).ok_or(IceUriError::Port)
}

/// A host name or an IPv4 address.
fn name(text: &str) -> Result<String, IceUriError> {
    let label = |label: &str| {
        (1..=MAX_LABEL_BYTES).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    if name.len() > MAX_HOST_BYTES || !name.split('.').all(label) {
        return Err(IceUriError::Host);
    }
    Ok(name.to_ascii_lowercase())
}

impl fmt::Display for IceUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, query) = match (self.service, self.transport) {
            (Service::Stun, _) => ("stun", ""),
            (Service::Turn, ServerTransport::Udp) => ("turn", "?transport=udp"),
            (Service::Turn, ServerTransport::Tcp) => ("turn", "?transport=tcp"),
            (Service::Turn, ServerTransport::Tls) => ("turns", "?transport=tcp"),
        };
        write!(f, "{scheme}:{}{query}", self.host_and_port())
    }
}

impl TryFrom<String> for IceUri {
    type Error = IceUriError;

    fn try_from(text: String) -> Result<Self, IceUriError> {
        text.parse()
    }
}

impl From<IceUri> for String {
    fn from(uri: IceUri) -> Self {
        uri.to_string()
    }
}

/// A STUN or TURN server, `RTCIceServer` of webrtc-pc section 4.2.1. In JSON `urls` is a text or
/// a list of them. What was read satisfies [`Self::check`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked", rename_all = "camelCase")]
pub struct IceServer {
    /// Ways to the same server.
    pub urls: Vec<IceUri>,
    /// For TURN; empty for STUN.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// For TURN: the password of the long-term mechanism (RFC 8489 section 9.2).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub credential: String,
}

/// Why a server cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IceServerError {
    /// One of its URIs is wrong.
    #[error("URL {number} of a STUN or TURN server cannot be used: {reason}")]
    Uri {
        /// Which, from 1.
        number: usize,
        /// Why.
        reason: IceUriError,
    },
    /// No URI at all.
    #[error("a STUN or TURN server has no URL")]
    NoUri,
    /// More than [`MAX_URIS_PER_SERVER`].
    #[error("a STUN or TURN server has more than {MAX_URIS_PER_SERVER} URLs")]
    TooManyUris,
    /// TURN without both.
    #[error("a TURN server needs a user name and a password")]
    NoCredential,
    /// Longer than [`MAX_USERNAME_BYTES`] or [`MAX_CREDENTIAL_BYTES`].
    #[error("user name or password of a TURN server is too long")]
    TooLong,
    /// More than [`MAX_ICE_SERVERS`].
    #[error("more than {MAX_ICE_SERVERS} STUN and TURN servers")]
    TooManyServers,
    /// Always relaying needs a relay.
    #[error("always relaying needs a TURN server, and there is none")]
    NoRelay,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Unchecked {
    urls: OneOrMany,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    credential: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl TryFrom<Unchecked> for IceServer {
    type Error = IceServerError;

    fn try_from(read: Unchecked) -> Result<Self, IceServerError> {
        let texts = match read.urls {
            OneOrMany::One(text) => vec![text],
            OneOrMany::Many(texts) => texts,
        };
        Self::new(
            &texts,
            &read.username.unwrap_or_default(),
            &read.credential.unwrap_or_default(),
        )
    }
}

impl IceServer {
    /// Reads and checks a server. User name and credential are left out where only STUN is asked
    /// for.
    pub fn new<T: AsRef<str>>(
        urls: &[T],
        username: &str,
        credential: &str,
    ) -> Result<Self, IceServerError> {
        if urls.len() > MAX_URIS_PER_SERVER {
            return Err(IceServerError::TooManyUris);
        }
        let parsed = urls.iter().enumerate().map(|(index, text)| {
            let parsed = text.as_ref().parse();
            parsed.map_err(|reason| IceServerError::Uri {
                number: index + 1,
                reason,
            })
        });
        let server = Self {
            urls: parsed.collect::<Result<_, _>>()?,
            username: username.to_owned(),
            credential: credential.to_owned(),
        };
        server.check()?;
        Ok(server)
    }

    /// Whether it can be used.
    pub fn check(&self) -> Result<(), IceServerError> {
        if self.urls.is_empty() {
            return Err(IceServerError::NoUri);
        }
        if self.urls.len() > MAX_URIS_PER_SERVER {
            return Err(IceServerError::TooManyUris);
        }
        let complete = !self.username.is_empty() && !self.credential.is_empty();
        if self.relays() && !complete {
            return Err(IceServerError::NoCredential);
        }
        if self.username.len() > MAX_USERNAME_BYTES || self.credential.len() > MAX_CREDENTIAL_BYTES
        {
            return Err(IceServerError::TooLong);
        }
        Ok(())
    }

    /// Whether one of its URIs is a relay's.
    pub fn relays(&self) -> bool {
        self.urls.iter().any(|uri| uri.service() == Service::Turn)
    }
}

/// Whether these servers can be used together; `relay_only` needs one that relays.
pub fn check_servers(servers: &[IceServer], relay_only: bool) -> Result<(), IceServerError> {
    if servers.len() > MAX_ICE_SERVERS {
        return Err(IceServerError::TooManyServers);
    }
    servers.iter().try_for_each(IceServer::check)?;
    if relay_only && !servers.iter().any(IceServer::relays) {
        return Err(IceServerError::NoRelay);
    }
    Ok(())
}

impl fmt::Debug for IceServer {
    /// Without user name and credential: either may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls: Vec<_> = self.urls.iter().map(ToString::to_string).collect();
        f.debug_struct("IceServer")
            .field("urls", &urls)
            .field("authenticated", &!self.credential.is_empty())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> String {
        text.parse::<IceUri>().expect(text).to_string()
    }

    #[test]
    fn uris_of_the_rfcs_are_read() {
        for (text, canonical) in [
            ("stun:example.org", "stun:example.org:3478"),
            ("stun:example.org:8000", "stun:example.org:8000"),
            ("STUN:Example.ORG.", "stun:example.org:3478"),
            ("turn:example.org", "turn:example.org:3478?transport=udp"),
            ("turns:example.org", "turns:example.org:5349?transport=tcp"),
            (
                "turn:192.0.2.7:8000?transport=tcp",
                "turn:192.0.2.7:8000?transport=tcp",
            ),
            (
                "turns:[2001:DB8:0::1]:443?transport=tcp",
                "turns:[2001:db8::1]:443?transport=tcp",
            ),
            ("stun:[::1]", "stun:[::1]:3478"),
        ] {
            assert_eq!(parsed(text), canonical, "{text}");
            assert_eq!(parsed(canonical), canonical, "read again");
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_its_reason() {
        for (text, reason) in [
            ("", IceUriError::Scheme),
            ("example.org", IceUriError::Scheme),
            ("https://example.org", IceUriError::Scheme),
            ("stuns:example.org", IceUriError::Stuns),
            ("turns:example.org?transport=udp", IceUriError::Dtls),
            ("turn://example.org", IceUriError::Slashes),
            ("turn:lab:pw@example.org", IceUriError::UserInfo),
            ("turn:", IceUriError::Host),
            ("turn:exa mple.org", IceUriError::Host),
            ("turn:::1", IceUriError::Host),
            ("turn:[::1", IceUriError::Host),
            ("turn:[::1]x", IceUriError::Host),
            ("turn:a..b", IceUriError::Host),
            ("turn:example.org:0", IceUriError::Port),
            ("turn:example.org:70000", IceUriError::Port),
            ("turn:example.org:+1", IceUriError::Port),
            ("turn:example.org?transport=sctp", IceUriError::Query),
            ("turn:example.org?ttl=1", IceUriError::Query),
            ("stun:example.org?transport=udp", IceUriError::Query),
        ] {
            assert_eq!(text.parse::<IceUri>(), Err(reason), "{text}");
        }
    }

    #[test]
    fn json_has_one_url_or_several() {
        let one: IceServer =
            serde_json::from_str(r#"{"urls":"stun:example.org"}"#).expect("one url");
        assert_eq!(one.urls.len(), 1);
        let text = r#"{"urls":["turn:a.example","turns:a.example:443"],"username":"u","credential":"secret"}"#;
        let many: IceServer = serde_json::from_str(text).expect("two urls");
        assert_eq!(many.urls.len(), 2);
        let written = serde_json::to_string(&many).expect("written");
        assert_eq!(
            serde_json::from_str::<IceServer>(&written).expect("again"),
            many
        );
        for bad in [
            r#"{"urls":[]}"#,
            r#"{"urls":"turn:a.example"}"#,
            r#"{"urls":"turn:a.example","username":"u"}"#,
            r#"{"urls":["stun:a.example","http:b"]}"#,
            r#"{"username":"u"}"#,
        ] {
            assert!(serde_json::from_str::<IceServer>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn secrets_are_in_no_debug_text_and_in_no_error() {
        let server = IceServer::new(&["turn:a.example"], "some-user", "some-secret").expect("read");
        let text = format!("{server:?}");
        assert!(!text.contains("some-user") && !text.contains("some-secret"));
        let error =
            IceServer::new(&["turn:u:some-secret@a.example"], "", "").expect_err("userinfo");
        assert!(!error.to_string().contains("some-secret"));
    }

    #[test]
    fn limits_hold() {
        let stun = || IceServer::new(&["stun:a.example"], "", "").expect("read");
        assert_eq!(check_servers(&[], false), Ok(()));
        assert_eq!(check_servers(&[], true), Err(IceServerError::NoRelay));
        assert_eq!(check_servers(&[stun()], true), Err(IceServerError::NoRelay));
        let many = vec![stun(); MAX_ICE_SERVERS + 1];
        assert_eq!(
            check_servers(&many, false),
            Err(IceServerError::TooManyServers)
        );
        let urls = vec!["stun:a.example"; MAX_URIS_PER_SERVER + 1];
        assert_eq!(
            IceServer::new(&urls, "", ""),
            Err(IceServerError::TooManyUris)
        );
        let long = "x".repeat(MAX_CREDENTIAL_BYTES + 1);
        assert_eq!(
            IceServer::new(&["turn:a.example"], "u", &long),
            Err(IceServerError::TooLong)
        );
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_read_reads_again(text in "(stun|turn|turns):.{0,40}") {
            if let Ok(uri) = text.parse::<IceUri>() {
                prop_assert_eq!(uri.to_string().parse::<IceUri>(), Ok(uri));
            }
        }
    }
}
