//! How connections come in: plain, through TLS, from a reverse proxy; and those that mean the relay.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ipnet::IpNet;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Header of reverse proxies with the addresses that a request came through.
pub(super) const FORWARDED_FOR: &str = "x-forwarded-for";

/// What a listener is for. The default takes plain WebSockets from anybody.
#[derive(Debug, Clone, Default)]
pub struct Entrance {
    /// With it, everything on this listener is TLS. A new configuration holds for connections that
    /// come after it.
    pub tls: Option<watch::Receiver<Arc<rustls::ServerConfig>>>,
    /// Reverse proxies, whose `X-Forwarded-For` is believed.
    pub proxies: Vec<IpNet>,
    /// Where the relay takes TURN over TCP. Connections that start like STUN (RFC 8489) rather than
    /// HTTP are passed on to it, so that one TLS port serves both: networks that let nothing but
    /// port 443 out are served by one address.
    pub turn: Option<SocketAddr>,
}

impl Entrance {
    pub(super) fn is_proxy(&self, peer: IpAddr) -> bool {
        self.proxies.iter().any(|net| net.contains(&peer))
    }

    /// Whose connection a proxy at `peer` passes on: the last address in its header that is no
    /// proxy of ours, since whatever stands before it was written by strangers.
    pub(super) fn client(&self, peer: IpAddr, headers: &[&str]) -> IpAddr {
        headers
            .iter()
            .rev()
            .flat_map(|header| header.rsplit(','))
            .map_while(|text| parse(text.trim()))
            .find(|ip| !self.is_proxy(*ip))
            .unwrap_or(peer)
    }

    /// The TLS handshake, where there is TLS.
    pub(super) async fn open(&self, tcp: TcpStream) -> io::Result<Stream> {
        let Some(tls) = &self.tls else {
            return Ok(Stream::Plain(tcp));
        };
        let config = Arc::clone(&tls.borrow());
        let stream = TlsAcceptor::from(config).accept(tcp).await?;
        Ok(Stream::Tls(Box::new(stream)))
    }
}

/// An address, perhaps with a port behind it as some proxies write.
fn parse(text: &str) -> Option<IpAddr> {
    let ip = text
        .parse::<IpAddr>()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    ip.map(|ip| ip.to_canonical())
}

/// A connection, encrypted or not.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    /// Apart, since it is large and every connection would take as much.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Whether what comes is for the relay: only STUN messages, with which TURN begins, start with
    /// a byte below 4 (RFC 7983 section 7); a request of HTTP starts with a letter.
    pub(super) async fn is_for_relay(&mut self) -> io::Result<bool> {
        let first = match self {
            Self::Plain(tcp) => {
                let mut first = [0; 1];
                let length = tcp.peek(&mut first).await?;
                first[..length].first().copied()
            }
            Self::Tls(tls) => tls.fill_buf().await?.first().copied(),
        };
        Ok(first.is_some_and(|byte| byte < 4))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(context, buffer),
            Self::Tls(tls) => Pin::new(tls).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(context, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(context),
            Self::Tls(tls) => Pin::new(tls).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(context),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn only_what_our_own_proxies_wrote_is_believed() {
        let entrance = Entrance {
            proxies: vec![
                "10.0.0.0/8".parse().expect("a network"),
                "fd00::1/128".parse().expect("a network"),
            ],
            ..Entrance::default()
        };
        let proxy = ip("10.0.0.1");
        assert!(entrance.is_proxy(proxy) && !entrance.is_proxy(ip("192.0.2.1")));
        for (headers, expected) in [
            (&["192.0.2.7"][..], "192.0.2.7"),
            // What a client wrote itself stands before what the proxy added.
            (&["198.51.100.1, 192.0.2.7"], "192.0.2.7"),
            (&["198.51.100.1", "192.0.2.7"], "192.0.2.7"),
            (&["192.0.2.7, 10.0.0.9"], "192.0.2.7"),
            (&["2001:db8::7, fd00::1"], "2001:db8::7"),
            (&["192.0.2.7:5000"], "192.0.2.7"),
            (&["[2001:db8::7]:5000"], "2001:db8::7"),
            (&["::ffff:192.0.2.7"], "192.0.2.7"),
            // Nonsense is nobody.
            (&["192.0.2.7, unknown"], "10.0.0.1"),
            (&[""], "10.0.0.1"),
            (&[], "10.0.0.1"),
            (&["10.0.0.9"], "10.0.0.1"),
        ] {
            assert_eq!(entrance.client(proxy, headers), ip(expected), "{headers:?}");
        }
    }
}
