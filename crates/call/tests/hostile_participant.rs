//! Somebody who knows the code, and is verified, and then sends nonsense: the others notice nothing.

use std::time::Duration;

use ahoy_call::engine::{Engine, EngineConfig};
use ahoy_call::negotiation::{Candidate, Description, DescriptionKind};
use ahoy_call::sealed_message::SealedMessage;
use ahoy_call::view::CallView;
use ahoy_media::selection::{CameraSelection, MicrophoneSelection, SpeakerSelection};
use ahoy_media::units::{Resolution, VideoConstraints};
use ahoy_sealing::{Channel, Context, Cpace, Handshake, Outcome, Role, Secret, SecretKind};
use ahoy_signaling::client::{ConnectOptions, Entry, SignalingClient, SignalingLink};
use ahoy_signaling::message::SignalData;
use ahoy_signaling::{Invite, Server, ServerAddress, ServerConfig, ServerMessage};
use tokio::net::TcpListener;

const PATIENCE: Duration = Duration::from_secs(30);
const FINGERPRINT: [u8; 32] = [7; 32];

/// Allows more than an honest one would.
async fn generous_server() -> ServerAddress {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = ServerAddress::plain(listener.local_addr().expect("bound"));
    let mut config = ServerConfig::default();
    for rate in [&mut config.limits.messages, &mut config.limits.bytes] {
        rate.burst = u32::MAX;
    }
    let server = Server::new(config);
    tokio::spawn(async move { server.serve(listener, std::future::pending()).await });
    address
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
        Err(_) => panic!("never came: {what}; now {:?}", engine.view().borrow()),
    }
}

fn connected(view: &CallView) -> usize {
    let people = view.participants.iter();
    people
        .filter(|it| it.states.connection == "connected")
        .count()
}

/// Joins and proves to know the code, as participant 2 to participant 1.
struct Intruder {
    link: SignalingLink,
    channel: Box<Channel>,
}

impl Intruder {
    async fn join(server: &ServerAddress, invite: &Invite) -> Self {
        let entry = Entry::Join {
            room: invite.code.number,
        };
        let options = ConnectOptions::default();
        let link = SignalingClient::connect(server, entry, &options).await;
        let mut link = link.expect("a seat");
        let context = Context {
            role: Role::Joiner,
            room: invite.code.number.get(),
            own: 2,
            other: 1,
            epoch: 1,
        };
        let words = Secret::new(SecretKind::Words, invite.code.words.to_string());
        let begun = Handshake::<Cpace>::join(context, FINGERPRINT, &words, &mut rand::rng());
        let (mut handshake, share) = begun.expect("a secret that can be used");
        say(&link, &share).await;
        loop {
            let message = tokio::time::timeout(PATIENCE, link.receiver.recv());
            let message = message
                .await
                .expect("in time")
                .expect("open")
                .expect("connected");
            let ServerMessage::Signal { data, .. } = message else {
                continue;
            };
            let step = handshake.receive(&data.bytes().expect("bytes"), &mut rand::rng());
            if let Some(bytes) = step.send {
                say(&link, &bytes).await;
            }
            match step.outcome {
                Some(Outcome::Verified { channel, .. }) => return Self { link, channel },
                Some(_) => panic!("not verified"),
                None => {}
            }
        }
    }

    async fn seal(&mut self, text: &[u8]) {
        let frame = self.channel.seal(text).expect("short enough");
        say(&self.link, &frame).await;
    }

    async fn describe(&mut self, kind: DescriptionKind, sdp: String) {
        let description = Description { kind, sdp };
        let message = SealedMessage::Description { description };
        self.seal(message.to_json().as_bytes()).await;
    }

    async fn candidate(&mut self, candidate: String) {
        let candidate = Some(Candidate {
            candidate,
            sdp_mid: Some("0".to_owned()),
            sdp_m_line_index: Some(0),
            username_fragment: None,
        });
        let message = SealedMessage::Candidate { candidate };
        self.seal(message.to_json().as_bytes()).await;
    }
}

async fn say(link: &SignalingLink, bytes: &[u8]) {
    let data = SignalData::new(bytes).expect("short enough");
    link.sender.signal(1, data).await.expect("connected");
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_from_somebody_who_knows_the_code_harms_nobody() {
    let server = generous_server().await;
    let ann = engine("Ann", &server);
    ann.new_call(false).await.expect("running");
    let view = until(&ann, "an invite", |view| view.invite.is_some()).await;
    let invite: Invite = view.invite.expect("seen").link.parse().expect("our link");
    let mut intruder = Intruder::join(&server, &invite).await;
    until(&ann, "the intruder", |view| view.participants.len() == 1).await;

    for text in ["", "{", "[[[[", "\u{0}", r#"{"type":"later"}"#] {
        intruder.seal(text.as_bytes()).await;
    }
    let certificate = ["07"; 32].join(":");
    let named = format!("a=fingerprint:sha-256 {certificate}\r\n");
    for kind in [DescriptionKind::Answer, DescriptionKind::Offer] {
        for sdp in [
            format!("v=0\r\n{named}"),
            format!("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n{named}m=video\r\n"),
            format!("{named}{}", "m=audio 9 RTP/AVP 0\r\n".repeat(1000)),
        ] {
            intruder.describe(kind, sdp).await;
        }
    }
    for number in 0..10_000 {
        let (host, port) = (number % 250, 1024 + number);
        let line = format!("candidate:{number} 1 udp 2130706431 192.0.2.{host} {port} typ host");
        intruder.candidate(line).await;
        // The server closes a connection for which too much waits.
        if number % 50 == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    let cem = engine("Cem", &server);
    cem.join(invite).await.expect("running");
    until(&cem, "Ann", |view| connected(view) == 1).await;
    until(&ann, "Cem", |view| connected(view) == 1).await;
    for engine in [cem, ann] {
        engine.close().await;
    }
}
