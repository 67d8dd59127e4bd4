//! The WebSocket to the harness.

use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::http::Uri;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use super::messages::{Incoming, Outgoing};
use crate::exit::{Exit, Failure};

/// How long the harness may take to accept us.
const CONNECT: Duration = Duration::from_secs(2);
/// How long it may take to read a message: it counts as lost after that.
const SEND: Duration = Duration::from_millis(1500);
/// How long the closing handshake may take.
const CLOSE: Duration = Duration::from_millis(100);
/// Longest message that is read: a session description is below 20 kB.
const MAX_MESSAGE: usize = 256 * 1024;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// The harness is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lost;

impl From<Lost> for Failure {
    fn from(_: Lost) -> Self {
        Self::new(Exit::Server, "The WebSocket to the harness is lost.")
    }
}

/// Connects to `BENCH_SIGNAL_URL`.
pub(super) async fn connect(url: &Uri) -> Result<(LinkSender, LinkReceiver), Failure> {
    let config = WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE));
    let unreachable = |why: String| {
        Failure::new(
            Exit::Server,
            format!("Nothing to talk to at BENCH_SIGNAL_URL ({why}): start the harness first."),
        )
    };
    let connecting = connect_async_with_config(url, Some(config), true);
    match timeout(CONNECT, connecting).await {
        Ok(Ok((socket, _))) => {
            let (sink, stream) = socket.split();
            Ok((LinkSender(sink), LinkReceiver(stream)))
        }
        Ok(Err(error)) => Err(unreachable(error.to_string())),
        Err(_) => Err(unreachable("no answer".to_owned())),
    }
}

pub(super) struct LinkSender(SplitSink<Socket, Message>);

impl LinkSender {
    pub(super) async fn send(&mut self, message: &Outgoing) -> Result<(), Lost> {
        let Ok(text) = serde_json::to_string(message) else {
            tracing::error!("a message makes no JSON");
            return Ok(());
        };
        match timeout(SEND, self.0.send(Message::text(text))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Lost),
        }
    }

    pub(super) async fn close(&mut self) {
        // Whoever is gone already needs no goodbye.
        let _ = timeout(CLOSE, self.0.close()).await;
    }
}

pub(super) struct LinkReceiver(SplitStream<Socket>);

impl LinkReceiver {
    /// The next message; the inner error says why one cannot be understood. Can be cancelled.
    pub(super) async fn receive(&mut self) -> Result<Result<Incoming, String>, Lost> {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Text(text))) => {
                    let parsed = serde_json::from_str(text.as_str());
                    return Ok(
                        parsed.map_err(|error| format!("a message cannot be understood: {error}"))
                    );
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(Lost),
                // Pings are answered by the library.
                Some(Ok(_)) => {}
            }
        }
    }
}
