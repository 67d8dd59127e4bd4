//! Addresses at which no Ahoy server is.

mod common;

use std::sync::Arc;
use std::time::Duration;

use ahoy_signaling::{
    ConnectOptions, Entry, Server, ServerAddress, ServerConfig, SignalingClient, SignalingError,
};
use common::{connect, soon};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

const CREATE: Entry = Entry::Create { reach: None };

/// Says `answer` to whoever connects, once the client has spoken, and hangs up.
async fn says(answer: &'static [u8]) -> ServerAddress {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = ServerAddress::plain(listener.local_addr().expect("bound"));
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let _ = tcp.read(&mut request).await;
            let _ = tcp.write_all(answer).await;
        }
    });
    address
}

fn secure(address: &ServerAddress) -> ServerAddress {
    address
        .to_string()
        .replace("ws://", "wss://")
        .parse()
        .expect("an address")
}

#[tokio::test]
async fn a_web_server_is_not_ahoy() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"[..],
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 301 Moved Permanently\r\nLocation: https://example.org/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n",
    ] {
        let address = says(answer).await;
        assert_eq!(connect(&address, CREATE).await.err(), Some(SignalingError::NotAhoy));
    }
}

#[tokio::test]
async fn garbage_is_not_ahoy() {
    for answer in [
        &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
        &[0xff; 500],
        b"",
        b"HTTP/1.1 101 Switching\r\n\r\n",
    ] {
        let address = says(answer).await;
        assert_eq!(
            connect(&address, CREATE).await.err(),
            Some(SignalingError::NotAhoy)
        );
        assert_eq!(
            connect(&secure(&address), CREATE).await.err(),
            Some(SignalingError::NotAhoy)
        );
    }
}

#[tokio::test]
async fn another_websocket_server_is_not_ahoy() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = ServerAddress::plain(listener.local_addr().expect("bound"));
    tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.expect("a client");
        let _ = tokio_tungstenite::accept_async(tcp).await;
    });
    assert_eq!(
        connect(&address, CREATE).await.err(),
        Some(SignalingError::NotAhoy)
    );
}

#[tokio::test]
async fn an_ahoy_server_of_another_version_says_so() {
    let newer = b"HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Protocol: ahoy.3\r\nContent-Length: 0\r\n\r\n";
    let address = says(newer).await;
    assert_eq!(
        connect(&address, CREATE).await.err(),
        Some(SignalingError::WrongVersion)
    );
}

#[tokio::test]
async fn our_own_server_names_itself_to_other_clients() {
    let server = common::TestServer::start(ServerConfig::default()).await;
    let mut tcp = TcpStream::connect(server.socket).await.expect("connected");
    let request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Protocol: ahoy.3, chat\r\n\r\n";
    tcp.write_all(request.as_bytes()).await.expect("written");
    let mut answer = String::new();
    soon(tcp.read_to_string(&mut answer))
        .await
        .expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
    assert!(
        answer.contains("sec-websocket-protocol: ahoy.2"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_closed_port_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = ServerAddress::plain(listener.local_addr().expect("bound"));
    drop(listener);
    let error = connect(&address, CREATE).await.err();
    assert!(
        matches!(error, Some(SignalingError::Unreachable { .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_unknown_host_is_unreachable() {
    let address = "wss://no-such-host.invalid".parse().expect("an address");
    let error = connect(&address, CREATE).await.err();
    assert!(
        matches!(
            error,
            Some(SignalingError::Unreachable { .. } | SignalingError::Timeout)
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_port_that_says_nothing_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = ServerAddress::plain(listener.local_addr().expect("bound"));
    let options = ConnectOptions {
        timeout: Duration::from_millis(300),
        ..ConnectOptions::default()
    };
    let result = soon(SignalingClient::connect(&address, CREATE, &options)).await;
    assert_eq!(result.err(), Some(SignalingError::Timeout));
}

#[tokio::test]
async fn a_name_with_several_addresses_is_tried_until_one_answers() {
    let server = common::TestServer::start(ServerConfig::default()).await;
    // ::1 comes first on many systems, and nobody listens there.
    let address = format!("ws://localhost:{}", server.socket.port())
        .parse()
        .expect("an address");
    connect(&address, CREATE).await.expect("a room");
}

/// A server with TLS in front, as behind a reverse proxy, and its certificate.
async fn with_tls(name: &str) -> (ServerAddress, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("a certificate");
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .expect("a usable certificate");
    let behind = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let target = behind.local_addr().expect("bound");
    tokio::spawn(async move {
        Server::new(ServerConfig::default())
            .serve(behind, std::future::pending())
            .await
    });
    let front = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = format!(
        "wss://localhost:{}",
        front.local_addr().expect("bound").port()
    );
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((tcp, _)) = front.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut tls) = acceptor.accept(tcp).await else {
                    return;
                };
                let mut plain = TcpStream::connect(target).await.expect("the server behind");
                let _ = copy_bidirectional(&mut tls, &mut plain).await;
            });
        }
    });
    (address.parse().expect("an address"), certificate)
}

fn trusting(certificate: CertificateDer<'static>) -> ConnectOptions {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    ConnectOptions {
        tls: Some(Arc::new(config)),
        ..ConnectOptions::default()
    }
}

#[tokio::test]
async fn two_people_meet_over_tls() {
    let (address, certificate) = with_tls("localhost").await;
    let options = trusting(certificate);
    let mut ann = soon(SignalingClient::connect(&address, CREATE, &options))
        .await
        .expect("a room");
    let entry = Entry::Join {
        room: ann.seat.room,
    };
    let ben = soon(SignalingClient::connect(&address, entry, &options))
        .await
        .expect("a seat");
    common::next(&mut ann.receiver).await;
    soon(ben.sender.leave()).await;
    common::next(&mut ann.receiver).await;
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_not_trusted() {
    // Also the proof that wss works with the system's certificates without a panic.
    let (address, _) = with_tls("localhost").await;
    let error = connect(&address, CREATE).await.err();
    assert!(
        matches!(error, Some(SignalingError::Untrusted { .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_certificate_of_another_host_is_not_trusted() {
    let (address, certificate) = with_tls("example.org").await;
    let error = soon(SignalingClient::connect(
        &address,
        CREATE,
        &trusting(certificate),
    ))
    .await
    .err();
    assert!(
        matches!(error, Some(SignalingError::Untrusted { .. })),
        "{error:?}"
    );
}
