//! Servers on free ports, clients of both kinds (ours, and raw ones that misbehave).
#![allow(dead_code, reason = "each test file uses its own part")]

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use ahoy_signaling::message::{Reach, SignalData};
use ahoy_signaling::{
    ConnectOptions, Entry, RoomNumber, Server, ServerAddress, ServerConfig, ServerMessage,
    SignalingClient, SignalingError, SignalingLink, SignalingReceiver,
};
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;
use tokio_tungstenite::{WebSocketStream, client_async};

/// Far longer than anything here takes, so that a hang fails instead of lasting.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct TestServer {
    pub(crate) server: Server,
    pub(crate) socket: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<std::io::Result<()>>,
}

impl TestServer {
    pub(crate) async fn start(config: ServerConfig) -> Self {
        Self::listen(Server::new(config)).await
    }

    /// One more listener of `server`.
    pub(crate) async fn listen(server: Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let socket = listener.local_addr().expect("bound");
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = server.clone();
        let task = tokio::spawn(async move {
            serving
                .serve(listener, async {
                    let _ = stopped.await;
                })
                .await
        });
        Self {
            server,
            socket,
            stop: Some(stop),
            task,
        }
    }

    pub(crate) fn address(&self) -> ServerAddress {
        ServerAddress::plain(self.socket)
    }

    pub(crate) async fn stop(mut self) {
        drop(self.stop.take());
        soon(self.task).await.expect("no panic").expect("served");
    }

    pub(crate) async fn create(&self) -> SignalingLink {
        connect(&self.address(), Entry::Create { reach: None })
            .await
            .expect("a room")
    }

    pub(crate) async fn join(&self, room: RoomNumber) -> Result<SignalingLink, SignalingError> {
        connect(&self.address(), Entry::Join { room }).await
    }

    pub(crate) async fn raw(&self) -> Raw {
        Raw::connect(self.socket).await
    }
}

pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("in time")
}

pub(crate) async fn connect(
    address: &ServerAddress,
    entry: Entry,
) -> Result<SignalingLink, SignalingError> {
    soon(SignalingClient::connect(
        address,
        entry,
        &ConnectOptions::default(),
    ))
    .await
}

pub(crate) fn shared() -> Entry {
    Entry::Create {
        reach: Some(Reach::Network),
    }
}

pub(crate) async fn next(receiver: &mut SignalingReceiver) -> ServerMessage {
    soon(receiver.recv())
        .await
        .expect("still open")
        .expect("still connected")
}

/// What ended the link, after whatever was said before.
pub(crate) async fn ending(receiver: &mut SignalingReceiver) -> SignalingError {
    loop {
        if let Err(error) = soon(receiver.recv()).await.expect("an error comes last") {
            return error;
        }
    }
}

pub(crate) fn sealed(text: &str) -> SignalData {
    SignalData::new(text.as_bytes()).expect("short enough")
}

pub(crate) fn number(number: u32) -> RoomNumber {
    RoomNumber::new(number).expect("a room number")
}

/// A room number that is not `room`: with one room open it belongs to nobody.
pub(crate) fn another(room: RoomNumber) -> RoomNumber {
    number(if room.get() == 1_000 { 1_001 } else { 1_000 })
}

/// A WebSocket that says what it is told and answers nothing by itself.
pub(crate) struct Raw(pub(crate) WebSocketStream<TcpStream>);

impl Raw {
    pub(crate) async fn connect(socket: SocketAddr) -> Self {
        let tcp = TcpStream::connect(socket).await.expect("a server");
        Self::over(tcp).await
    }

    pub(crate) async fn over(tcp: TcpStream) -> Self {
        let uri = format!("ws://{}/", tcp.peer_addr().expect("connected"))
            .parse()
            .expect("an address");
        let request = ClientRequestBuilder::new(uri).with_sub_protocol("ahoy.2");
        let (socket, _) = soon(client_async(request, tcp)).await.expect("a handshake");
        Self(socket)
    }

    pub(crate) async fn say(&mut self, text: &str) {
        self.send(Message::text(text)).await;
    }

    pub(crate) async fn send(&mut self, message: Message) {
        soon(self.0.send(message)).await.expect("sent");
    }

    /// The next message that is no ping; `None` when the connection has ended.
    pub(crate) async fn hear(&mut self) -> Option<ServerMessage> {
        loop {
            match soon(self.0.next()).await {
                Some(Ok(Message::Text(text))) => {
                    match ServerMessage::parse(&text).expect("a message") {
                        ServerMessage::Ping => {}
                        message => return Some(message),
                    }
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(other)) => panic!("the server said {other:?}"),
            }
        }
    }

    /// Says `text`, and gives the code of the error that comes back.
    pub(crate) async fn refused(&mut self, text: &str) -> String {
        self.say(text).await;
        self.error().await
    }

    pub(crate) async fn error(&mut self) -> String {
        match self.hear().await {
            Some(ServerMessage::Error { code, .. }) => format!("{code:?}"),
            other => panic!("expected an error, got {other:?}"),
        }
    }
}
