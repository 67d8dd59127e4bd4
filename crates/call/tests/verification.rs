//! Whole engines with a signaling server between them that is honest, or is not: it may change,
//! replay, reorder and make up what passes, and say that it comes from somebody else.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ahoy_call::engine::{Engine, EngineConfig};
use ahoy_call::view::{CallEvent, CallState, CallView, EndReason};
use ahoy_media::selection::{CameraSelection, MicrophoneSelection, SpeakerSelection};
use ahoy_media::units::{Resolution, VideoConstraints};
use ahoy_sealing::{Context, Cpace, Handshake, Role, Secret, SecretKind, Secrets};
use ahoy_signaling::message::SignalData;
use ahoy_signaling::{Invite, Server, ServerAddress, ServerConfig, ServerMessage};
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::{accept_hdr_async, client_async};

/// More than anything here should take, so that a hang fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(30);

/// First two bytes of each kind of message.
const SHARE: [u8; 2] = [1, 1];
const CONFIRM: [u8; 2] = [1, 2];
const SEALED: [u8; 2] = [1, 4];

/// What the server makes of something that one participant says to another: what is delivered
/// instead. `to` is the number of the connection, counted from 1.
type Tamper = dyn Fn(u32, u32, Vec<u8>) -> Vec<Vec<u8>> + Send + Sync;

/// A server that passes everything through `tamper`.
async fn server(tamper: Arc<Tamper>) -> ServerAddress {
    let honest = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let target = honest.local_addr().expect("bound");
    let server = Server::new(ServerConfig::default());
    tokio::spawn(async move { server.serve(honest, std::future::pending()).await });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = ServerAddress::plain(listener.local_addr().expect("bound"));
    tokio::spawn(async move {
        let mut connections = 0;
        while let Ok((tcp, _)) = listener.accept().await {
            connections += 1;
            tokio::spawn(pass_on(tcp, target, connections, Arc::clone(&tamper)));
        }
    });
    address
}

async fn pass_on(tcp: TcpStream, target: std::net::SocketAddr, to: u32, tamper: Arc<Tamper>) {
    #[expect(
        clippy::result_large_err,
        reason = "the library's callback is declared so"
    )]
    let ours = |_: &Request, mut response: Response| {
        let name = "ahoy.2".parse().expect("a value");
        response
            .headers_mut()
            .insert("sec-websocket-protocol", name);
        Ok(response)
    };
    let mut client = accept_hdr_async(tcp, ours).await.expect("a client");
    let uri = format!("ws://{target}/").parse().expect("an address");
    let request = ClientRequestBuilder::new(uri).with_sub_protocol("ahoy.2");
    let tcp = TcpStream::connect(target).await.expect("the server");
    let (mut server, _) = client_async(request, tcp).await.expect("the server");
    loop {
        let sent = tokio::select! {
            Some(Ok(message)) = client.next() => server.send(message).await,
            Some(Ok(message)) = server.next() => {
                let mut sent = Ok(());
                for message in tampered(message, to, &*tamper) {
                    sent = client.send(message).await;
                }
                sent
            }
            else => return,
        };
        if sent.is_err() {
            return;
        }
    }
}

fn tampered(message: Message, to: u32, tamper: &Tamper) -> Vec<Message> {
    let text = match &message {
        Message::Text(text) => text.as_str(),
        _ => return vec![message],
    };
    let Ok(ServerMessage::Signal { from, data }) = ServerMessage::parse(text) else {
        return vec![message];
    };
    let bytes = data.bytes().expect("ours");
    tamper(from, to, bytes)
        .into_iter()
        .map(|bytes| {
            let data = SignalData::new(&bytes).expect("short enough");
            Message::text(ServerMessage::Signal { from, data }.to_json())
        })
        .collect()
}

fn honest() -> Arc<Tamper> {
    Arc::new(|_, _, bytes| vec![bytes])
}

fn engine(name: &str, server: &ServerAddress) -> Engine {
    Engine::start(EngineConfig {
        name: name.to_owned(),
        camera: CameraSelection::Pattern,
        microphone: MicrophoneSelection::Tone,
        speaker: SpeakerSelection::None,
        constraints: VideoConstraints {
            resolution: Resolution::new(320, 180),
            frame_rate: 5,
        },
        server: Some(server.clone()),
        ..EngineConfig::default()
    })
}

async fn until(engine: &Engine, what: &str, condition: impl Fn(&CallView) -> bool) -> CallView {
    let mut view = engine.view();
    let reached = tokio::time::timeout(PATIENCE, view.wait_for(|view| condition(view))).await;
    match reached {
        Ok(Ok(view)) => view.clone(),
        Ok(Err(_)) => panic!("the engine died before: {what}"),
        Err(_) => panic!("never came: {what}; now {:?}", engine.view().borrow().state),
    }
}

async fn event(events: &mut broadcast::Receiver<CallEvent>, wanted: &CallEvent) {
    let heard = async {
        loop {
            let event = events.recv().await.expect("running");
            assert!(
                !matches!(event, CallEvent::ParticipantJoined { .. }),
                "nobody may get in"
            );
            if event == *wanted {
                return;
            }
        }
    };
    let heard = tokio::time::timeout(PATIENCE, heard).await;
    assert!(heard.is_ok(), "never heard: {wanted:?}");
}

async fn new_call(engine: &Engine) -> Invite {
    engine.new_call(false).await.expect("running");
    let view = until(engine, "an invite", |view| view.invite.is_some()).await;
    invite(&view)
}

/// Code and link; how far it reaches, each side sees for itself.
fn told(view: &CallView) -> Option<(String, String)> {
    let invite = view.invite.as_ref()?;
    Some((invite.code.clone(), invite.link.clone()))
}

fn invite(view: &CallView) -> Invite {
    let invite = view.invite.as_ref().expect("in a room");
    invite.link.parse().expect("our own link")
}

/// As somebody types it: without the link's secret.
fn by_words(invite: &Invite) -> Invite {
    Invite {
        secret: None,
        ..invite.clone()
    }
}

fn wrong(invite: &Invite) -> Invite {
    let mut wrong = by_words(invite);
    while wrong.code.words == invite.code.words {
        wrong.code.words = ahoy_signaling::CodeWords::random();
    }
    wrong
}

fn ended(reason: EndReason) -> impl Fn(&CallView) -> bool {
    move |view| view.state == CallState::Ended { reason }
}

fn connected_to(others: usize) -> impl Fn(&CallView) -> bool {
    move |view| {
        let connected = |it: &&_| matches!(it, ahoy_call::view::ParticipantView { states, .. } if states.connection == "connected");
        view.participants.iter().filter(connected).count() == others
    }
}

/// Ann calls, Ben tries to join; how it ends for Ben. Ann goes on waiting, and nobody was let in.
async fn refused(tamper: Arc<Tamper>, given: impl Fn(&Invite) -> Invite, reason: EndReason) {
    let server = server(tamper).await;
    let (ann, ben) = (engine("Ann", &server), engine("Ben", &server));
    let invite = new_call(&ann).await;
    let mut events = ann.events();
    ben.join(given(&invite)).await.expect("running");
    let view = until(&ben, "a refusal", |view| {
        matches!(view.state, CallState::Ended { .. })
    })
    .await;
    assert_eq!(view.state, CallState::Ended { reason });
    until(&ann, "waiting", |view| view.state == CallState::Waiting).await;
    while let Ok(event) = events.try_recv() {
        assert!(!matches!(event, CallEvent::ParticipantJoined { .. }));
    }
    ben.close().await;
    ann.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_words_are_counted_retired_and_renewed_and_late_comers_are_verified() {
    let server = server(honest()).await;
    let names = ["Ann", "Ben", "Cem", "Dan"];
    let [ann, ben, cem, dan] = names.map(|name| engine(name, &server));
    let first = new_call(&ann).await;
    let mut events = ann.events();
    for left in [2, 1, 0] {
        ben.join(wrong(&first)).await.expect("running");
        until(&ben, "the end", ended(EndReason::WrongCode)).await;
        event(&mut events, &CallEvent::WrongCode { left }).await;
    }
    let view = until(&ann, "retired", |view| view.code_retired).await;
    assert_eq!(view.state, CallState::Waiting, "nobody is thrown out");
    // The right words are no longer good.
    ben.join(by_words(&first)).await.expect("running");
    until(&ben, "the end", ended(EndReason::CodeRetired)).await;
    // The link is, and whoever comes by it hears that the words are retired.
    ben.join(first.clone()).await.expect("running");
    until(&ben, "Ann", connected_to(1)).await;
    until(&ben, "retired", |view| view.code_retired).await;

    // Ben draws new words: Ann shows the same, with the same number.
    ben.renew_code().await.expect("running");
    let renewed = |view: &CallView| !view.code_retired && invite(view).code != first.code;
    let bens = told(&until(&ben, "a new code", renewed).await);
    let view = until(&ann, "the same code", |view| told(view) == bens).await;
    assert!(!view.code_retired);
    let second = invite(&view);
    assert_eq!(second.code.number, first.code.number);

    // A third comes late, by words, and is verified with both; a fourth by the outdated link.
    cem.join(by_words(&second)).await.expect("running");
    until(&cem, "both", connected_to(2)).await;
    let view = until(&cem, "the link's secret", |view| told(view) == bens).await;
    assert_eq!(view.participants.len(), 2);
    dan.join(first).await.expect("running");
    until(&dan, "all three", connected_to(3)).await;
    until(&dan, "the new code", |view| told(view) == bens).await;
    for engine in [&ann, &ben, &cem] {
        until(engine, "everybody", connected_to(3)).await;
    }
    for engine in [dan, cem, ben, ann] {
        engine.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_swaps_fingerprints_gets_no_call() {
    let tamper: Arc<Tamper> = Arc::new(|_, _, mut bytes| {
        if bytes.starts_with(&SHARE) {
            let fingerprint = bytes.len() - 32;
            bytes[fingerprint..].fill(0xe);
        }
        vec![bytes]
    });
    refused(tamper, Invite::clone, EndReason::WrongCode).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_plays_the_member_gets_one_guess_and_no_call() {
    // Answers Ben's share in Ann's place, with a certificate of its own and words that it guessed.
    let bens = Mutex::new(Vec::new());
    let tamper: Arc<Tamper> = Arc::new(move |from, to, bytes| {
        if !bytes.starts_with(&SHARE) {
            return vec![bytes];
        }
        let mut bens = bens.lock().expect("no panic");
        if from == 2 {
            bens.clone_from(&bytes);
            return vec![bytes];
        }
        let room = u32::from_be_bytes([bytes[53], bytes[54], bytes[55], bytes[56]]);
        let context = Context {
            role: Role::Member,
            room,
            own: from,
            other: to,
            epoch: 1,
        };
        let guess = Secrets {
            words: Some(Secret::new(SecretKind::Words, *b"amber-otter")),
            link: None,
        };
        let mut as_ann = Handshake::<Cpace>::admit(context, [0xe; 32], guess);
        let step = as_ann.receive(&bens, &mut rand::rng());
        vec![step.send.expect("a share")]
    });
    refused(tamper, by_words, EndReason::WrongCode).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_reorders_replays_or_makes_up_gets_no_call() {
    // A sealed message before anybody is verified.
    let early: Arc<Tamper> = Arc::new(|_, _, bytes| {
        let mut sealed = SEALED.to_vec();
        sealed.extend([0; 60]);
        vec![sealed, bytes]
    });
    refused(early, Invite::clone, EndReason::NotVerified).await;
    // Shares twice.
    let twice: Arc<Tamper> = Arc::new(|_, _, bytes| match bytes.starts_with(&SHARE) {
        true => vec![bytes.clone(), bytes],
        false => vec![bytes],
    });
    refused(twice, Invite::clone, EndReason::NotVerified).await;
    // Each side's own share comes back to it, as the other's.
    let last = Mutex::new(Vec::new());
    let reflected: Arc<Tamper> = Arc::new(move |_, to, bytes| {
        let mut last = last.lock().expect("no panic");
        match (to, bytes.starts_with(&SHARE)) {
            (1, true) => {
                *last = bytes.clone();
                vec![bytes]
            }
            (_, true) => vec![last.clone()],
            _ => vec![bytes],
        }
    });
    refused(reflected, Invite::clone, EndReason::NotVerified).await;
    // A confirmation that is made up.
    let made_up: Arc<Tamper> = Arc::new(|_, to, bytes| match (to, bytes.starts_with(&CONFIRM)) {
        (2, true) => vec![[&CONFIRM[..], &[7; 64]].concat()],
        _ => vec![bytes],
    });
    refused_after_confirmation(made_up).await;
}

/// Ann is satisfied already; Ben is not, and goes.
async fn refused_after_confirmation(tamper: Arc<Tamper>) {
    let server = server(tamper).await;
    let (ann, ben) = (engine("Ann", &server), engine("Ben", &server));
    let invite = new_call(&ann).await;
    ben.join(invite).await.expect("running");
    until(&ben, "a refusal", ended(EndReason::WrongCode)).await;
    until(&ann, "nobody", |view| view.participants.is_empty()).await;
    ben.close().await;
    ann.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_changes_sealed_messages_gets_no_call() {
    let tamper: Arc<Tamper> = Arc::new(|_, _, mut bytes| {
        if bytes.starts_with(&SEALED)
            && let Some(last) = bytes.last_mut()
        {
            *last ^= 1;
        }
        vec![bytes]
    });
    let server = server(tamper).await;
    let (ann, ben) = (engine("Ann", &server), engine("Ben", &server));
    let invite = new_call(&ann).await;
    let mut events = ann.events();
    ben.join(invite).await.expect("running");
    // The first sealed message is Ben's offer.
    let heard = tokio::time::timeout(PATIENCE, async {
        while events.recv().await.expect("running") != CallEvent::NotVerified {}
    });
    assert!(heard.await.is_ok(), "Ann is told");
    until(&ben, "a refusal", ended(EndReason::NotVerified)).await;
    let view = until(&ann, "nobody", |view| view.participants.is_empty()).await;
    assert_eq!(view.connected_for_ms, None);
    ben.close().await;
    ann.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sealed_messages_that_come_twice_and_in_another_order_do_no_harm() {
    // Every sealed message twice, and each second one before the first of the next.
    let held = Mutex::new(BTreeMap::<u32, Vec<u8>>::new());
    let tamper: Arc<Tamper> = Arc::new(move |_, to, bytes| {
        if !bytes.starts_with(&SEALED) {
            return vec![bytes];
        }
        let mut held = held.lock().expect("no panic");
        let mut out = vec![bytes.clone(), bytes.clone()];
        out.extend(held.insert(to, bytes));
        out
    });
    let server = server(tamper).await;
    let (ann, ben) = (engine("Ann", &server), engine("Ben", &server));
    let invite = new_call(&ann).await;
    ben.join(invite).await.expect("running");
    until(&ann, "Ben", connected_to(1)).await;
    until(&ben, "Ann", connected_to(1)).await;
    ben.close().await;
    ann.close().await;
}
