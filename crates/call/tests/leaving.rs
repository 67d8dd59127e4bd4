//! Hanging up with a server that takes its time, in virtual time: the user does not wait for it, and
//! nevertheless it hears every goodbye.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ahoy_call::engine::{Engine, EngineConfig};
use ahoy_call::view::{CallState, CallView, EndReason};
use ahoy_media::selection::{CameraSelection, MicrophoneSelection, SpeakerSelection};
use ahoy_signaling::ServerAddress;
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

const PATIENCE: Duration = Duration::from_secs(20);
/// Shorter than what any goodbye may take.
const SLOW: Duration = Duration::from_millis(300);
/// Less than the engine's pause between two looks: what a user does not have to wait for.
const AT_ONCE: Duration = Duration::from_millis(40);

/// A server that answers late.
#[derive(Clone)]
struct SlowServer {
    /// Before it gives a seat.
    seat: Duration,
    /// Before it answers a goodbye by closing the connection.
    goodbye: Duration,
    heard: Arc<Mutex<Vec<&'static str>>>,
}

impl SlowServer {
    async fn start(seat: Duration, goodbye: Duration) -> (Self, ServerAddress) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address: SocketAddr = listener.local_addr().expect("bound");
        let server = Self {
            seat,
            goodbye,
            heard: Arc::default(),
        };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        (server, ServerAddress::plain(address))
    }

    fn note(&self, what: &'static str) {
        self.heard.lock().expect("not poisoned").push(what);
    }

    fn heard(&self) -> Vec<&'static str> {
        self.heard.lock().expect("not poisoned").clone()
    }

    #[allow(clippy::result_large_err, reason = "the library's signature")]
    async fn serve(self, stream: TcpStream) {
        let choose = |_: &Request, mut response: Response| {
            let name = "ahoy.2".parse().expect("a header value");
            response
                .headers_mut()
                .insert("sec-websocket-protocol", name);
            Ok(response)
        };
        let mut socket = accept_hdr_async(stream, choose).await.expect("a handshake");
        let mut pings = tokio::time::interval(Duration::from_secs(1));
        loop {
            let text = tokio::select! {
                _ = pings.tick() => {
                    let _ = socket.send(Message::text(r#"{"type":"ping"}"#)).await;
                    continue;
                }
                message = socket.next() => match message {
                    Some(Ok(Message::Text(text))) => text,
                    Some(Ok(_)) => continue,
                    Some(Err(_)) | None => return self.note("crash"),
                },
            };
            if text.contains(r#""type":"create""#) {
                self.note("create");
                sleep(self.seat).await;
                let created = concat!(
                    r#"{"type":"created","room":4821,"participant":1,"participants":[1],"#,
                    r#""reach":"server","resume":{"token":"11111111111111111111111111111111","#,
                    r#""roomToken":"ffffffffffffffffffffffffffffffff","within":60}}"#,
                );
                let _ = socket.send(Message::text(created)).await;
            } else if text.contains(r#""type":"leave""#) {
                self.note("leave");
                sleep(self.goodbye).await;
                return self.note("answer");
            }
        }
    }
}

fn engine(server: ServerAddress) -> Engine {
    Engine::start(EngineConfig {
        name: "Mira".to_owned(),
        camera: CameraSelection::None,
        microphone: MicrophoneSelection::None,
        speaker: SpeakerSelection::None,
        server: Some(server),
        ..EngineConfig::default()
    })
}

async fn until(engine: &Engine, what: &str, condition: impl Fn(&CallView) -> bool) {
    let mut view = engine.view();
    let reached = timeout(PATIENCE, view.wait_for(|view| condition(view))).await;
    assert!(
        matches!(reached, Ok(Ok(_))),
        "never came: {what}; now {:?}",
        engine.view().borrow()
    );
}

async fn in_a_room(engine: &Engine) {
    engine.new_call(false).await.expect("running");
    until(engine, "a room", |view| view.state == CallState::Waiting).await;
}

/// Hangs up, and gives the time until that shows.
async fn hang_up(engine: &Engine) -> Duration {
    let begun = Instant::now();
    engine.hang_up().await.expect("running");
    let over = CallState::Ended {
        reason: EndReason::HungUp,
    };
    until(engine, "the end", |view| {
        view.state == over && view.invite.is_none()
    })
    .await;
    begun.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_call_is_over_at_once_and_the_goodbye_comes_before_the_next() {
    let (server, address) = SlowServer::start(Duration::ZERO, SLOW).await;
    let engine = engine(address);
    in_a_room(&engine).await;
    let took = hang_up(&engine).await;
    assert!(took < AT_ONCE, "over after {took:?}");
    assert!(!server.heard().contains(&"answer"), "not waited for");

    let begun = Instant::now();
    engine.new_call(false).await.expect("running");
    until(&engine, "joining", |view| view.state == CallState::Joining).await;
    assert!(begun.elapsed() < AT_ONCE, "what is next shows at once");
    until(&engine, "a room", |view| view.state == CallState::Waiting).await;
    assert_eq!(server.heard(), ["create", "leave", "answer", "create"]);
    engine.close().await;
}

#[tokio::test(start_paused = true)]
async fn the_program_ends_after_its_goodbye() {
    let (server, address) = SlowServer::start(Duration::ZERO, SLOW).await;
    let engine = engine(address);
    in_a_room(&engine).await;
    hang_up(&engine).await;
    // Called off while the goodbye before it is still being said: nothing of it reaches the server.
    engine.new_call(false).await.expect("running");
    engine.close().await;
    assert_eq!(server.heard(), ["create", "leave", "answer"]);
}

#[tokio::test(start_paused = true)]
async fn a_seat_that_nobody_wants_any_more_is_given_back() {
    let (server, address) = SlowServer::start(SLOW, SLOW).await;
    let engine = engine(address);
    engine.new_call(false).await.expect("running");
    let asked = async {
        while server.heard().is_empty() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, asked).await.expect("asked for a room");
    let took = hang_up(&engine).await;
    assert!(took < AT_ONCE, "over after {took:?}");
    engine.close().await;
    assert_eq!(server.heard(), ["create", "leave", "answer"]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_keeps_nobody() {
    let (server, address) = SlowServer::start(Duration::ZERO, Duration::MAX).await;
    let engine = engine(address);
    in_a_room(&engine).await;
    let begun = Instant::now();
    engine.close().await;
    assert_eq!(server.heard(), ["create", "leave"]);
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(2), "closed after {took:?}");
}
