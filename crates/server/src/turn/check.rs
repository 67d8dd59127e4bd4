//! Tries a TURN server as a client would: a binding, an allocation with credentials, and its end
//! (RFC 8656 section 7).

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rtc_stun::attributes::{
    ATTR_ERROR_CODE, ATTR_LIFETIME, ATTR_NONCE, ATTR_REALM, ATTR_REQUESTED_TRANSPORT,
    ATTR_USERNAME, ATTR_XOR_PEER_ADDRESS, ATTR_XOR_RELAYED_ADDRESS,
};
use rtc_stun::crypto;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{
    CLASS_ERROR_RESPONSE, CLASS_REQUEST, CLASS_SUCCESS_RESPONSE, METHOD_ALLOCATE, METHOD_BINDING,
    METHOD_CREATE_PERMISSION, METHOD_REFRESH, Message, MessageType, Method, Setter,
};
use rtc_stun::xoraddr::XorMappedAddress;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// How long a check may take in all.
const PATIENCE: Duration = Duration::from_secs(5);
/// A request over UDP is sent again after this time, as RFC 8489 section 6.2.1 begins.
const AGAIN: Duration = Duration::from_millis(500);
const TRIES: u32 = 4;
/// Longest answer: coturn's are some hundred bytes.
const MAX_ANSWER: usize = 2_048;
/// REQUESTED-TRANSPORT: UDP, which is what is allocated whatever the way to the server.
const UDP_PROTOCOL: [u8; 4] = [17, 0, 0, 0];

/// How the relay is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    Tcp,
    Tls,
}

impl std::fmt::Display for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
        })
    }
}

/// What to try.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) transport: Transport,
    pub(crate) address: SocketAddr,
    /// Whose certificate it has to show.
    pub(crate) host: String,
    pub(crate) username: String,
    pub(crate) password: String,
    /// Whether it may let clients reach private addresses.
    pub(crate) private_peers: bool,
}

/// Somebody in a private network whom the relay has to keep its clients from.
const PRIVATE_PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 255, 255, 254)), 9);

/// Why it does not work, as a sentence with a remedy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckError {
    #[error("nothing answers on port {port}; does a firewall on this computer block it?")]
    Silent { port: u16 },
    #[error("port {port} cannot be reached: {reason}")]
    Unreachable { port: u16, reason: io::Error },
    #[error("the certificate for {host} is refused: {reason}")]
    Certificate { host: String, reason: String },
    #[error("what answers on port {port} is no TURN server")]
    NotTurn { port: u16 },
    #[error("the relay refuses the credentials; is this computer's clock right?")]
    Credentials,
    #[error("all relay ports are in use, or the quota is; widen --turn-relay-ports")]
    Exhausted,
    #[error("the relay lets its clients reach private networks; is its configuration another one?")]
    Open,
    #[error("the relay refuses an allocation with error {code}")]
    Refused { code: u16 },
    #[error("{0}")]
    Internal(String),
}

/// Only what this program itself does wrong: messages of ours that cannot be written.
fn internal(error: impl std::fmt::Display) -> CheckError {
    CheckError::Internal(error.to_string())
}

/// Gets an allocation and gives it back. Gives the relayed address.
pub(crate) async fn check(target: &Target) -> Result<SocketAddr, CheckError> {
    timeout(PATIENCE, async {
        let mut link = open(target).await?;
        allocate(&mut link, target).await
    })
    .await
    .unwrap_or(Err(CheckError::Silent {
        port: target.address.port(),
    }))
}

/// Whether anything answers a STUN binding over UDP.
pub(crate) async fn answers(address: SocketAddr) -> bool {
    let target = Target {
        transport: Transport::Udp,
        address,
        host: String::new(),
        username: String::new(),
        password: String::new(),
        private_peers: false,
    };
    let trying = async {
        let mut link = open(&target).await.ok()?;
        let answer = link.ask(&request(METHOD_BINDING, &[]).ok()?).await.ok()?;
        (answer.typ.class == CLASS_SUCCESS_RESPONSE).then_some(())
    };
    timeout(PATIENCE, trying).await.ok().flatten().is_some()
}

async fn allocate(link: &mut Link, target: &Target) -> Result<SocketAddr, CheckError> {
    let port = target.address.port();
    let binding = link.ask(&request(METHOD_BINDING, &[])?).await?;
    if binding.typ.class != CLASS_SUCCESS_RESPONSE {
        return Err(CheckError::NotTurn { port });
    }
    let transport = (ATTR_REQUESTED_TRANSPORT, &UDP_PROTOCOL[..]);
    let refusal = link.ask(&request(METHOD_ALLOCATE, &[transport])?).await?;
    let (Ok(realm), Ok(nonce)) = (refusal.get(ATTR_REALM), refusal.get(ATTR_NONCE)) else {
        return Err(CheckError::NotTurn { port });
    };
    let provider = crypto::default_provider().map_err(internal)?;
    let integrity = MessageIntegrity::new_long_term_integrity_with_provider(
        target.username.clone(),
        String::from_utf8_lossy(&realm).into_owned(),
        target.password.clone(),
        provider.crypto(),
    )
    .map_err(internal)?;
    let known = [
        (ATTR_USERNAME, target.username.as_bytes()),
        (ATTR_REALM, &realm[..]),
        (ATTR_NONCE, &nonce[..]),
    ];
    let signed = |method, own: (rtc_stun::attributes::AttrType, &[u8])| {
        let mut attributes = vec![own];
        attributes.extend(known);
        let mut message = request(method, &attributes)?;
        integrity.add_to(&mut message).map_err(internal)?;
        Ok::<_, CheckError>(message)
    };
    let answer = link.ask(&signed(METHOD_ALLOCATE, transport)?).await?;
    if answer.typ.class == CLASS_ERROR_RESPONSE {
        return Err(match error_code(&answer) {
            401 | 441 => CheckError::Credentials,
            486 | 508 => CheckError::Exhausted,
            code => CheckError::Refused { code },
        });
    }
    let mut relayed = XorMappedAddress::default();
    relayed
        .get_from_as(&answer, ATTR_XOR_RELAYED_ADDRESS)
        .map_err(|_| CheckError::NotTurn { port })?;
    let peer = XorMappedAddress {
        ip: PRIVATE_PEER.ip(),
        port: PRIVATE_PEER.port(),
    };
    let mut coded = Message::new();
    peer.add_to_as(&mut coded, ATTR_XOR_PEER_ADDRESS)
        .map_err(internal)?;
    // IPv4 is coded with the magic cookie alone, whatever the message (RFC 8489 section 14.2).
    let coded = coded.get(ATTR_XOR_PEER_ADDRESS).map_err(internal)?;
    let permission = signed(METHOD_CREATE_PERMISSION, (ATTR_XOR_PEER_ADDRESS, &coded))?;
    let permitted = link.ask(&permission).await?.typ.class == CLASS_SUCCESS_RESPONSE;
    // Best effort: it ends by itself after ten minutes.
    let _ = link
        .ask(&signed(METHOD_REFRESH, (ATTR_LIFETIME, &[0; 4]))?)
        .await;
    if permitted && !target.private_peers {
        return Err(CheckError::Open);
    }
    Ok(SocketAddr::new(relayed.ip, relayed.port))
}

fn request(
    method: Method,
    attributes: &[(rtc_stun::attributes::AttrType, &[u8])],
) -> Result<Message, CheckError> {
    let mut message = Message::new();
    message.set_type(MessageType::new(method, CLASS_REQUEST));
    message.new_transaction_id().map_err(internal)?;
    message.write_header();
    for (kind, value) in attributes {
        message.add(*kind, value);
    }
    Ok(message)
}

/// ERROR-CODE (RFC 8489 section 14.8): hundreds in the third byte, the rest in the fourth.
fn error_code(message: &Message) -> u16 {
    match message.get(ATTR_ERROR_CODE).as_deref() {
        Ok([_, _, class, number, ..]) => u16::from(class & 7) * 100 + u16::from(*number),
        _ => 0,
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

enum Way {
    Datagrams(UdpSocket),
    Bytes(Box<dyn Stream>),
}

struct Link {
    way: Way,
    port: u16,
}

async fn open(target: &Target) -> Result<Link, CheckError> {
    let port = target.address.port();
    let unreachable = |reason| CheckError::Unreachable { port, reason };
    let way = match target.transport {
        Transport::Udp => {
            let any: SocketAddr = if target.address.is_ipv4() {
                ([0, 0, 0, 0], 0).into()
            } else {
                ([0_u16; 8], 0).into()
            };
            let socket = UdpSocket::bind(any).await.map_err(unreachable)?;
            socket.connect(target.address).await.map_err(unreachable)?;
            Way::Datagrams(socket)
        }
        Transport::Tcp => {
            let stream = TcpStream::connect(target.address)
                .await
                .map_err(unreachable)?;
            Way::Bytes(Box::new(stream))
        }
        Transport::Tls => {
            let stream = TcpStream::connect(target.address)
                .await
                .map_err(unreachable)?;
            Way::Bytes(Box::new(encrypt(stream, &target.host).await?))
        }
    };
    Ok(Link { way, port })
}

/// TLS as a client would: with the certificates that this computer trusts.
async fn encrypt(
    stream: TcpStream,
    host: &str,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, CheckError> {
    let refused = |reason: String| CheckError::Certificate {
        host: host.to_owned(),
        reason,
    };
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| refused("this is no host name".to_owned()))?;
    let mut roots = rustls::RootCertStore::empty();
    let found = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs)
        .await
        .map_err(internal)?;
    roots.add_parsable_certificates(found.certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(internal)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .map_err(|error| refused(error.to_string()))
}

impl Link {
    /// Sends a request and waits for the answer to it.
    async fn ask(&mut self, request: &Message) -> Result<Message, CheckError> {
        let port = self.port;
        let unreachable = |reason| CheckError::Unreachable { port, reason };
        match &mut self.way {
            Way::Datagrams(socket) => {
                let mut answer = [0; MAX_ANSWER];
                for _ in 0..TRIES {
                    socket.send(&request.raw).await.map_err(unreachable)?;
                    let Ok(length) = timeout(AGAIN, socket.recv(&mut answer)).await else {
                        continue;
                    };
                    let length = length.map_err(unreachable)?;
                    if let Some(message) = decode(&answer[..length], request) {
                        return Ok(message);
                    }
                }
                Err(CheckError::Silent { port })
            }
            Way::Bytes(stream) => {
                stream.write_all(&request.raw).await.map_err(unreachable)?;
                stream.flush().await.map_err(unreachable)?;
                loop {
                    let mut header = [0; 20];
                    stream.read_exact(&mut header).await.map_err(unreachable)?;
                    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
                    if length > MAX_ANSWER || header[0] > 3 {
                        return Err(CheckError::NotTurn { port });
                    }
                    let mut whole = header.to_vec();
                    whole.resize(20 + length, 0);
                    stream
                        .read_exact(&mut whole[20..])
                        .await
                        .map_err(unreachable)?;
                    if let Some(message) = decode(&whole, request) {
                        return Ok(message);
                    }
                }
            }
        }
    }
}

fn decode(bytes: &[u8], request: &Message) -> Option<Message> {
    let mut message = Message::new();
    message.unmarshal_binary(bytes).ok()?;
    (message.transaction_id == request.transaction_id).then_some(message)
}
