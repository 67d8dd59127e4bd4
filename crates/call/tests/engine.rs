//! Whole engines with synthetic sources, over real sockets on loopback and one embedded server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ahoy_call::engine::{Engine, EngineConfig, VideoTile};
use ahoy_call::quality::QualityLevel;
use ahoy_call::view::{CallState, CallView, EndReason, ParticipantView};
use ahoy_media::frame::{EncodedFrame, EncodedVideoSink};
use ahoy_media::selection::{CameraSelection, MicrophoneSelection, SpeakerSelection};
use ahoy_media::units::{Resolution, VideoConstraints};
use ahoy_signaling::embedded::EmbeddedConfig;
use ahoy_signaling::invite::Invite;
use ahoy_video::capture::stamp::read_stamp;
use ahoy_video::vp8::Vp8Decoder;

/// More than anything here should take, so that a hang fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(20);

fn config(name: &str, embedded: &EmbeddedConfig) -> EngineConfig {
    EngineConfig {
        name: name.to_owned(),
        camera: CameraSelection::Pattern,
        microphone: MicrophoneSelection::Tone,
        speaker: SpeakerSelection::None,
        constraints: VideoConstraints {
            resolution: Resolution::new(320, 180),
            frame_rate: 15,
        },
        embedded: embedded.clone(),
        ..EngineConfig::default()
    }
}

/// Ports of this test alone: the operating system says which are free.
fn own_ports() -> EmbeddedConfig {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = socket.local_addr().expect("bound").port();
    EmbeddedConfig {
        ports: port..=port,
        ..EmbeddedConfig::default()
    }
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

fn connected(view: &CallView) -> bool {
    view.state == CallState::Connected
}

async fn call(engines: &[&Engine]) -> Invite {
    engines[0].new_call(false).await.expect("running");
    let view = until(engines[0], "an invite", |view| view.invite.is_some()).await;
    let invite: Invite = view
        .invite
        .expect("seen")
        .code
        .parse()
        .expect("our own code");
    for engine in &engines[1..] {
        engine.join(invite.clone()).await.expect("running");
    }
    invite
}

/// Counts pictures whose stamp can be read and goes forward.
#[derive(Default)]
struct Pictures {
    decoder: std::sync::Mutex<Option<Vp8Decoder>>,
    readable: AtomicU32,
    /// Going back, or far ahead. One stamp in 256 that a coarse picture has spoilt reads as another
    /// number, which makes two of these.
    strange: AtomicU32,
    last: AtomicU32,
}

impl EncodedVideoSink for Pictures {
    fn on_encoded_frame(&self, frame: &EncodedFrame) {
        let mut decoder = self.decoder.lock().expect("not poisoned");
        if frame.key_frame {
            decoder.get_or_insert_with(Vp8Decoder::new);
        }
        let Some(decoder) = decoder.as_mut() else {
            return;
        };
        let picture = decoder.decode(&frame.data).expect("decodable");
        if let Some(number) = picture.and_then(|picture| read_stamp(&picture)) {
            let last = self.last.swap(number, Ordering::Relaxed);
            let forward = last < number && number - last < 300;
            let count = if forward || last == 0 {
                &self.readable
            } else {
                &self.strange
            };
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn watch(engine: &Engine, tile: VideoTile) -> (Arc<Pictures>, impl Drop + use<>) {
    let pictures = Arc::new(Pictures::default());
    let subscription = engine
        .subscribe_video(tile, Arc::clone(&pictures) as _)
        .await
        .expect("running")
        .expect("somebody is there");
    (pictures, subscription)
}

async fn seen(pictures: &Pictures, at_least: u32) {
    let enough = async {
        while pictures.readable.load(Ordering::Relaxed) < at_least {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, enough)
        .await
        .expect("moving pictures");
    let strange = pictures.strange.load(Ordering::Relaxed);
    assert!(strange <= 2, "{strange} go back");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_engines_see_hear_and_know_each_other() {
    let ports = own_ports();
    let mira = Engine::start(config("Mira", &ports));
    let jon = Engine::start(config("Jon", &ports));
    call(&[&mira, &jon]).await;
    let view = until(&mira, "a named participant", |view| {
        connected(view) && view.participants[0].name == "Jon"
    })
    .await;
    let them = view.participants[0].id;
    let (pictures, _keep) = watch(&mira, VideoTile::Participant(them)).await;
    let (own, _keep_own) = watch(&mira, VideoTile::Local).await;
    seen(&pictures, 10).await;
    seen(&own, 10).await;
    let audible = async {
        while mira.levels().await.expect("running").participants[0].1 < 0.01 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, audible)
        .await
        .expect("the tone");

    jon.set_microphone_muted(true).await.expect("running");
    until(&mira, "Jon is muted", |view| {
        view.participants[0].microphone_muted
    })
    .await;
    jon.set_camera_on(false).await.expect("running");
    until(&mira, "Jon's camera is off", |view| {
        !view.participants[0].camera_on
    })
    .await;

    let report = mira.stats().await.expect("running");
    let stats = &report.participants[0];
    assert_eq!(stats.inbound_video.freeze_count, Some(0));
    assert_eq!(stats.inbound_video.frame_width, Some(320));
    assert!(stats.outbound_video.packets_sent > Some(0.0));

    jon.hang_up().await.expect("running");
    until(&mira, "the call is over", |view| {
        view.state
            == CallState::Ended {
                reason: EndReason::EveryoneLeft,
            }
    })
    .await;
    until(&jon, "Jon has left", |view| view.invite.is_none()).await;
    call(&[&jon, &mira]).await;
    until(&mira, "a second call", connected).await;
    until(&jon, "a second call", connected).await;
    mira.close().await;
    until(&jon, "Mira is gone", |view| !connected(view)).await;
    jon.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_engines_are_all_connected_to_each_other() {
    let ports = own_ports();
    let engines = ["Mira", "Jon", "Ines"].map(|name| Engine::start(config(name, &ports)));
    call(&engines.each_ref()).await;
    for engine in &engines {
        let view = until(engine, "two connected participants", |view| {
            view.participants.len() == 2
                && view
                    .participants
                    .iter()
                    .all(|other| other.states.connection == "connected")
        })
        .await;
        for other in view.participants {
            let (pictures, _keep) = watch(engine, VideoTile::Participant(other.id)).await;
            seen(&pictures, 5).await;
        }
    }
    engines[0].hang_up().await.expect("running");
    until(&engines[1], "one left", |view| {
        view.participants.len() == 1 && connected(view)
    })
    .await;
    for engine in &engines {
        engine.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_former_call_is_opened_again_under_its_code() {
    let ports = own_ports();
    let ann = Engine::start(config("Ann", &ports));
    let ben = Engine::start(config("Ben", &ports));
    let code = "4821-amber-otter";
    let invite: Invite = code.parse().expect("words of the list");
    ben.reopen(invite.clone(), false).await.expect("running");
    until(&ben, "the same code", |view| {
        let shown = view.invite.as_ref().map(|invite| invite.code.clone());
        view.state == CallState::Waiting && shown.as_deref() == Some(code)
    })
    .await;
    ann.reopen(invite, false).await.expect("running");
    until(&ann, "the call", connected).await;
    until(&ben, "the call", connected).await;
    for engine in [ann, ben] {
        engine.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_cameras_no_picture_is_said_to_be_reduced() {
    let ports = own_ports();
    let no_camera = |name| EngineConfig {
        camera: CameraSelection::None,
        constraints: VideoConstraints::default(),
        ..config(name, &ports)
    };
    let ann = Engine::start(no_camera("Ann"));
    let ben = Engine::start(no_camera("Ben"));
    call(&[&ann, &ben]).await;
    for engine in [&ann, &ben] {
        until(engine, "a judged connection", |view| {
            let of = |other: &ParticipantView| other.quality.level != QualityLevel::Unknown;
            connected(view) && view.participants.iter().all(of)
        })
        .await;
    }
    let mut view = ann.view();
    let reduced = view.wait_for(|view| view.participants[0].quality.reduced_to.is_some());
    let seen = tokio::time::timeout(Duration::from_secs(5), reduced).await;
    assert!(seen.is_err(), "{seen:?}");
    for engine in [ann, ben] {
        engine.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_code_and_a_dead_server_are_told_apart() {
    let ports = own_ports();
    let engine = Engine::start(config("Mira", &ports));
    let invite: Invite = "9999-amber-otter".parse().expect("words of the list");
    engine.join(invite.clone()).await.expect("running");
    until(&engine, "no such room", |view| {
        view.state
            == CallState::Ended {
                reason: EndReason::UnknownRoom,
            }
    })
    .await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = format!("ws://{}", nobody.local_addr().expect("bound"));
    drop(nobody);
    engine
        .set_server(Some(address.parse().expect("an address")))
        .await
        .expect("running");
    engine.new_call(false).await.expect("running");
    until(&engine, "no server", |view| {
        view.state
            == CallState::Ended {
                reason: EndReason::ServerUnreachable,
            }
    })
    .await;
    engine.close().await;
}
