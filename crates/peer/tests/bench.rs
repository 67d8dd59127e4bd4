//! The bench endpoint, driven as its contract says, with itself on the other side.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use support::{End, PATIENCE, Peer, clip, command};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// Generous bounds on what the contract promises, in the face of a busy computer.
const AFTER_BYE: Duration = Duration::from_secs(3);
const AFTER_LOSS: Duration = Duration::from_secs(4);

fn bench(role: &str, clip: &Path, port: u16, changed: &[(&str, Option<&str>)]) -> Peer {
    let mut command = command(&["bench"]);
    command
        .env(
            "BENCH_SIGNAL_URL",
            format!("ws://127.0.0.1:{port}/ws?role={role}"),
        )
        .env("BENCH_ROLE", role)
        .env("BENCH_CLIP", clip)
        .env("BENCH_VIDEO", "320x180@15")
        .env("BENCH_AUDIO", "pulse");
    for (name, value) in changed {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    Peer::start(command)
}

/// The harness's end of one side.
struct Side {
    socket: WebSocketStream<TcpStream>,
    events: BTreeMap<String, f64>,
    stats: BTreeMap<String, Value>,
    log: BTreeMap<String, Vec<Value>>,
    ticks: Vec<Value>,
    errors: Vec<Value>,
    ready: Option<f64>,
}

impl Side {
    async fn accept(listener: &TcpListener) -> Self {
        let accepted = timeout(PATIENCE, listener.accept()).await.expect("in time");
        let (stream, _) = accepted.expect("a connection");
        Self {
            socket: tokio_tungstenite::accept_async(stream)
                .await
                .expect("a WebSocket"),
            events: BTreeMap::new(),
            stats: BTreeMap::new(),
            log: BTreeMap::new(),
            ticks: Vec::new(),
            errors: Vec::new(),
            ready: None,
        }
    }

    async fn send(&mut self, message: Value) {
        self.socket
            .send(Message::text(message.to_string()))
            .await
            .expect("sent");
    }

    /// Takes in one message; returns it when it is for the other side.
    async fn receive(&mut self) -> Option<Value> {
        let message = self.socket.next().await.expect("open").expect("whole");
        let message: Value =
            serde_json::from_str(message.to_text().expect("a text")).expect("JSON");
        let name = message["name"].as_str().unwrap_or_default().to_owned();
        match message["type"].as_str().expect("a type") {
            "ready" => self.ready = message["t"].as_f64(),
            "offer" | "answer" | "candidate" => return Some(message),
            "event" => {
                let t = message["t"].as_f64().expect("a moment");
                assert!(self.events.insert(name, t).is_none(), "twice: {message}");
            }
            "stats" => {
                self.stats.insert(name, message["stats"].clone());
            }
            "tick" => self.ticks.push(message),
            "error" => self.errors.push(message),
            "log" => {
                for kind in ["cap", "disp", "audioGen", "audioDet"] {
                    let entries = message[kind].as_array().expect(kind).clone();
                    self.log.entry(kind.to_owned()).or_default().extend(entries);
                }
            }
            other => panic!("unknown type {other}"),
        }
        None
    }
}

/// Relays between the sides until `done`.
async fn relay(a: &mut Side, b: &mut Side, what: &str, mut done: impl FnMut(&Side, &Side) -> bool) {
    let relaying = async {
        while !done(a, b) {
            tokio::select! {
                message = a.receive() => if let Some(message) = message { b.send(message).await },
                message = b.receive() => if let Some(message) = message { a.send(message).await },
            }
        }
    };
    if timeout(PATIENCE, relaying).await.is_err() {
        panic!(
            "{what}: not in time; {:?} {:?}, {:?} {:?}",
            a.events, a.errors, b.events, b.errors
        );
    }
}

async fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    (listener, port)
}

#[tokio::test]
async fn a_whole_measurement() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let clip = clip(folder.path(), 320, 180, 15);
    let (listener, port) = listen().await;
    let caller_program = bench("caller", &clip, port, &[]);
    let mut caller = Side::accept(&listener).await;
    let callee_program = bench("callee", &clip, port, &[]);
    let mut callee = Side::accept(&listener).await;

    relay(&mut caller, &mut callee, "ready", |a, b| {
        a.ready.is_some() && b.ready.is_some()
    })
    .await;
    caller.send(json!({"type": "later version", "x": 1})).await;
    callee.send(json!({"type": "start"})).await;
    caller.send(json!({"type": "start"})).await;
    let all =
        |side: &Side, names: &[&str]| names.iter().all(|name| side.events.contains_key(*name));
    relay(&mut caller, &mut callee, "pictures", |a, b| {
        all(a, &["createOffer", "connected", "fullRes"]) && all(b, &["connected", "fullRes"])
    })
    .await;
    for side in [&mut caller, &mut callee] {
        side.send(json!({"type": "mark", "name": "begin"})).await;
    }
    let began = Instant::now();
    relay(&mut caller, &mut callee, "ticks and pulses", |a, b| {
        let enough = |side: &Side| side.ticks.len() >= 3 && side.log["audioDet"].len() >= 2;
        enough(a) && enough(b) && began.elapsed() > Duration::from_secs(3)
    })
    .await;
    for side in [&mut caller, &mut callee] {
        side.send(json!({"type": "mark", "name": "end"})).await;
    }
    relay(&mut caller, &mut callee, "statistics", |a, b| {
        a.stats.len() == 2 && b.stats.len() == 2
    })
    .await;
    assert!(!callee.events.contains_key("createOffer"));
    for (side, other) in [(&caller, &callee), (&callee, &caller)] {
        check_side(side, other);
    }
    for (side, program) in [(&mut caller, caller_program), (&mut callee, callee_program)] {
        side.send(json!({"type": "bye"})).await;
        let bye = Instant::now();
        let end = ended(program).await;
        assert_eq!(end.code, Some(0), "{end:?}");
        assert!(bye.elapsed() < AFTER_BYE);
    }
}

async fn ended(program: Peer) -> End {
    tokio::task::spawn_blocking(|| program.end())
        .await
        .expect("no panic")
}

fn check_side(side: &Side, other: &Side) {
    assert_eq!(side.errors, Vec::<Value>::new());
    let event = |name: &str| side.events[name];
    assert!(event("firstFrame") <= event("fullRes"));
    assert!(event("connected") < event("fullRes"));

    let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
    let captured: Vec<(f64, f64)> = other.log["cap"]
        .iter()
        .map(|entry| (number(&entry[0]), number(&entry[1])))
        .collect();
    assert!(
        captured
            .iter()
            .all(|(frame, _)| (0.0..30.0).contains(frame)),
        "{captured:?}"
    );
    let shown = &side.log["disp"];
    assert!(
        shown.len() > 20,
        "{} pictures between the marks",
        shown.len()
    );
    for entry in shown {
        let (frame, at, due) = (number(&entry[0]), number(&entry[1]), number(&entry[2]));
        assert!(due <= at && entry[3] == 320, "{entry}");
        let source = captured.iter().rev().find(|(n, t)| *n == frame && *t <= at);
        assert!(source.is_some(), "{entry} was never captured");
    }
    for heard in &side.log["audioDet"] {
        let sent = other.log["audioGen"]
            .iter()
            .filter(|sent| number(sent) <= number(heard))
            .count();
        assert!(sent > 0, "a pulse that nobody sent");
    }

    for tick in &side.ticks {
        for member in ["t", "bytes", "frames", "w", "target", "avail", "rtt"] {
            assert!(tick[member].is_number(), "{member}: {tick}");
        }
    }
    for (entry, members) in [
        (
            "outbound-rtp:video",
            ["framesEncoded", "totalEncodeTime", "bytesSent", "qpSum"].as_slice(),
        ),
        ("outbound-rtp:audio", &["bytesSent", "packetsSent"]),
        (
            "inbound-rtp:video",
            &[
                "framesDecoded",
                "totalDecodeTime",
                "freezeCount",
                "totalFreezesDuration",
                "jitterBufferDelay",
                "jitterBufferEmittedCount",
                "packetsLost",
                "nackCount",
                "pliCount",
            ],
        ),
        (
            "inbound-rtp:audio",
            &[
                "concealedSamples",
                "totalSamplesReceived",
                "jitterBufferDelay",
            ],
        ),
        ("remote-inbound-rtp:video", &["packetsLost"]),
        (
            "pair",
            &["currentRoundTripTime", "availableOutgoingBitrate"],
        ),
    ] {
        for member in members {
            let (begin, end) = (
                &side.stats["begin"][entry][*member],
                &side.stats["end"][entry][*member],
            );
            assert!(end.is_number(), "{entry} {member}");
            let grows = !matches!(*member, "currentRoundTripTime" | "availableOutgoingBitrate");
            assert!(
                !grows || begin.is_null() || number(begin) <= number(end),
                "{entry} {member}"
            );
        }
    }
    let decoded = |name: &str| number(&side.stats[name]["inbound-rtp:video"]["framesDecoded"]);
    assert!(decoded("end") - decoded("begin") > 20.0);
}

#[tokio::test]
async fn a_lost_websocket_is_code_3() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let clip = clip(folder.path(), 320, 180, 15);
    let (listener, port) = listen().await;
    let program = bench("caller", &clip, port, &[]);
    let mut side = Side::accept(&listener).await;
    while side.ready.is_none() {
        timeout(PATIENCE, side.receive()).await.expect("in time");
    }
    drop(side);
    let lost = Instant::now();
    let end = ended(program).await;
    assert_eq!(end.code, Some(3), "{end:?}");
    assert!(lost.elapsed() < AFTER_LOSS);
    drop(listener);
    let end = ended(bench("caller", &clip, port, &[])).await;
    assert_eq!(end.code, Some(3), "{end:?}");
}

#[tokio::test]
async fn what_cannot_be_understood_is_told_and_no_end() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let clip = clip(folder.path(), 320, 180, 15);
    let (listener, port) = listen().await;
    let program = bench("callee", &clip, port, &[]);
    let mut side = Side::accept(&listener).await;
    for text in [
        "{",
        "[]",
        "{\"type\":\"offer\"}",
        "{\"type\":\"mark\",\"name\":\"middle\"}",
    ] {
        side.socket.send(Message::text(text)).await.expect("sent");
    }
    side.send(json!({"type": "offer", "sdp": "v=0 nonsense"}))
        .await;
    side.send(json!({"type": "candidate", "candidate": "candidate:nonsense", "sdpMid": "9"}))
        .await;
    side.send(json!({"type": "mark", "name": "end"})).await;
    while side.stats.is_empty() {
        timeout(PATIENCE, side.receive()).await.expect("in time");
    }
    assert_eq!(side.errors.len(), 4, "{:?}", side.errors);
    side.send(json!({"type": "bye"})).await;
    let end = ended(program).await;
    assert_eq!(end.code, Some(0), "{end:?}");
    assert!(!end.stderr.contains("panicked"), "{}", end.stderr);
}

#[tokio::test]
async fn a_bad_environment_is_code_2() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let clip = clip(folder.path(), 64, 36, 15);
    for (name, value) in [
        ("BENCH_SIGNAL_URL", None),
        ("BENCH_SIGNAL_URL", Some("nonsense")),
        ("BENCH_ROLE", Some("both")),
        ("BENCH_CLIP", Some("/no/such/clip.y4m")),
        ("BENCH_VIDEO", Some("large")),
        ("BENCH_AUDIO", Some("loud")),
        ("BENCH_WINDOW", Some("1")),
    ] {
        let end = ended(bench("caller", &clip, 9, &[(name, value)])).await;
        assert_eq!(end.code, Some(2), "{name}: {end:?}");
        assert!(end.stderr.contains(name), "{}", end.stderr);
    }
}
