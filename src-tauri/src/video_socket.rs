//! Pictures to the window over a WebSocket on this computer: a frame costs the web view a fraction of
//! what it does through a Tauri channel, which runs a script and fetches the bytes for each.
//!
//! Other programs and web pages on this computer can reach the port as well: a connection needs
//! the token that only our page was told, and the origin of our page.

mod offers;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OnceCell;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::StatusCode;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

use crate::view::VideoAddress;
use offers::{OFFER_LIFETIME, Offers};

/// A connection of our page.
pub(crate) type Socket = WebSocketStream<TcpStream>;
/// What is done with a connection until it ends. Dropped when nobody comes for it.
pub(crate) type Served = Box<dyn FnOnce(Socket) -> BoxFuture<'static, Result<(), Error>> + Send>;

/// Our page: on Linux and macOS, on Windows, and from the development server.
const ORIGINS: [&str; 3] = [
    "tauri://localhost",
    "http://tauri.localhost",
    "https://tauri.localhost",
];
const DEVELOPMENT_ORIGIN: &str = "http://127.0.0.1:1420";

/// Whoever connects and then says nothing is gone after this time; our page is on this computer.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(5);

/// The port, opened when it is first needed, and what can be fetched there.
#[derive(Default)]
pub(crate) struct VideoSocketServer {
    port: OnceCell<u16>,
    offers: Arc<Offers<Served>>,
}

impl VideoSocketServer {
    /// Offers something to one connection.
    ///
    /// # Errors
    /// There is no port to be had.
    pub(crate) async fn offer(&self, served: Served) -> io::Result<VideoAddress> {
        let offers = Arc::clone(&self.offers);
        let port = *self.port.get_or_try_init(|| listen(offers)).await?;
        let token = self.offers.add(served, Instant::now());
        let offers = Arc::clone(&self.offers);
        tokio::spawn(async move {
            tokio::time::sleep(OFFER_LIFETIME).await;
            offers.forget_old(Instant::now());
        });
        Ok(VideoAddress {
            url: format!("ws://127.0.0.1:{port}/video"),
            token,
        })
    }
}

async fn listen(offers: Arc<Offers<Served>>) -> io::Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(serve(stream, Arc::clone(&offers)));
                }
                Err(error) => tracing::debug!(%error, "a connection for pictures failed"),
            }
        }
    });
    Ok(port)
}

async fn serve(stream: TcpStream, offers: Arc<Offers<Served>>) {
    if let Err(error) = handshake_and_send(stream, &offers).await {
        tracing::debug!(%error, "pictures have ended");
    }
}

async fn handshake_and_send(stream: TcpStream, offers: &Offers<Served>) -> Result<(), Error> {
    stream.set_nodelay(true)?;
    let mut taken = None;
    #[expect(
        clippy::result_large_err,
        reason = "tungstenite's callback is of this type"
    )]
    let mut admit = |request: &Request, response: Response| {
        taken = has_our_origin(request)
            .then(|| token_of(request))
            .flatten()
            .and_then(|token| offers.take(token, Instant::now()));
        if taken.is_some() {
            Ok(response)
        } else {
            Err(forbidden())
        }
    };
    let handshake = accept_hdr_async(stream, &mut admit);
    let Ok(socket) = timeout(HANDSHAKE_PATIENCE, handshake).await else {
        return Ok(());
    };
    let socket = socket?;
    match taken {
        Some(serve) => serve(socket).await,
        None => Ok(()),
    }
}

fn has_our_origin(request: &Request) -> bool {
    let origin = request.headers().get("origin");
    let origin = origin.and_then(|value| value.to_str().ok()).unwrap_or("");
    ORIGINS.contains(&origin) || (cfg!(dev) && origin == DEVELOPMENT_ORIGIN)
}

fn token_of(request: &Request) -> Option<&str> {
    request.uri().query()?.strip_prefix("token=")
}

fn forbidden() -> ErrorResponse {
    let mut response = ErrorResponse::new(None);
    *response.status_mut() = StatusCode::FORBIDDEN;
    response
}

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) mod testing {
    //! Our page, as far as the port can tell.

    use tokio::net::TcpStream;
    use tokio_tungstenite::tungstenite::client::IntoClientRequest;
    use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

    use super::{Error, ORIGINS, Request, VideoAddress};

    pub(crate) fn request(address: &VideoAddress, origin: &'static str) -> Request {
        let url = format!("{}?token={}", address.url, address.token);
        let mut request = url.into_client_request().expect("a URL");
        let origin = origin.parse().expect("a header");
        request.headers_mut().insert("origin", origin);
        request
    }

    pub(crate) async fn connect(
        address: &VideoAddress,
    ) -> Result<WebSocketStream<MaybeTlsStream<TcpStream>>, Error> {
        let (socket, _) = connect_async(request(address, ORIGINS[0])).await?;
        Ok(socket)
    }
}
