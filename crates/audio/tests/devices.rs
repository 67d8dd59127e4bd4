//! Microphones and speakers through a real sound server: enumeration, recording, playing,
//! switching, and what happens when the server dies or hangs.
#![cfg(target_os = "linux")]
#![expect(
    clippy::print_stdout,
    reason = "what was measured belongs into the test's output"
)]

mod lab;
mod support;

use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use ahoy_audio::devices::{microphones, speakers};
use ahoy_audio::playout::{Playout, RemoteAudio};
use ahoy_audio::processing::ProcessingSettings;
use ahoy_audio::send::AudioSend;
use ahoy_media::device::{DeviceKind, DeviceProblem};
use ahoy_media::selection::{MicrophoneSelection, SpeakerSelection};

use lab::{Lab, presence, with_devices, with_only_a_speaker};
use support::{Collector, Events, Speaker};

/// Share of a recording that has to be the tone. Another sound has next to none of it; a busy
/// machine costs a real-time path a few windows.
const MOSTLY: f32 = 0.6;

fn second(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

#[test]
fn devices_have_their_names_and_the_default_comes_first() {
    with_devices(
        "devices_have_their_names_and_the_default_comes_first",
        |lab| {
            let names = |devices: Vec<ahoy_media::device::DeviceInfo>| {
                let mut names: Vec<_> = devices
                    .iter()
                    .map(|it| format!("{}{}", it.label, if it.is_default { " *" } else { "" }))
                    .collect();
                names[1..].sort();
                names
            };
            let listed = names(microphones().expect("listed"));
            assert_eq!(
                listed,
                ["Lab Microphone *", "Other Microphone"],
                "no speaker's echo"
            );
            let listed = names(speakers().expect("listed"));
            assert_eq!(listed[0], "Lab Speaker *");
            assert!(listed.contains(&"Other Speaker".to_owned()));

            lab.pactl(&["set-default-sink", "other_speaker"]);
            let plugged = "sink_properties=device.description=\"Plugged\\ In\"";
            lab.pactl(&[
                "load-module",
                "module-null-sink",
                "sink_name=new",
                "norewinds=1",
                plugged,
            ]);
            let listed = names(speakers().expect("listed"));
            assert_eq!(listed[0], "Other Speaker *");
            assert!(listed.contains(&"Plugged In".to_owned()), "{listed:?}");
        },
    );
}

#[test]
fn asking_and_opening_again_and_again_leaves_nothing_behind() {
    with_devices(
        "asking_and_opening_again_and_again_leaves_nothing_behind",
        |_| {
            let (sent, events) = (Arc::new(Collector::default()), Events::default());
            let send = AudioSend::start(sent, events.sink());
            let playout = Playout::start(events.sink());
            let round = || {
                microphones().expect("listed");
                speakers().expect("listed");
                send.set_microphone(MicrophoneSelection::Default);
                playout.set_speaker(SpeakerSelection::Default);
                events.started(DeviceKind::Microphone);
                events.started(DeviceKind::Speaker);
                send.set_microphone(MicrophoneSelection::None);
                playout.set_speaker(SpeakerSelection::None);
                events.stopped(DeviceKind::Microphone);
                events.stopped(DeviceKind::Speaker);
            };
            let held = || {
                let entries = |path| std::fs::read_dir(path).expect("proc").count();
                (entries("/proc/self/task"), entries("/proc/self/fd"))
            };
            // A speaker that is let go stays open a little: several connections are in use.
            (0..8).for_each(|_| round());
            sleep(second(1.0));
            let before = held();
            (0..25).for_each(|_| round());
            sleep(second(2.0));
            let after = held();
            println!("threads and files before {before:?}, after {after:?}");
            assert!(
                after.0 <= before.0 + 3 && after.1 <= before.1 + 6,
                "{before:?} {after:?}"
            );
        },
    );
}

#[test]
fn what_a_microphone_hears_is_sent_and_muted_is_not() {
    with_devices("what_a_microphone_hears_is_sent_and_muted_is_not", |lab| {
        let _voice = lab.play_tone("lab_voice", 1_000.0);
        let (sent, events) = (Arc::new(Collector::default()), Events::default());
        let send = AudioSend::start(sent.clone(), events.sink());
        send.set_microphone(MicrophoneSelection::Default);
        assert_eq!(events.started(DeviceKind::Microphone), "Lab Microphone");
        sleep(second(0.7));

        sent.clear();
        let began = Instant::now();
        sleep(second(2.0));
        let heard = sent.decode();
        let pace = heard.len() as f64 / 48_000.0 / began.elapsed().as_secs_f64();
        println!(
            "captured {:.1} % of real time, {:?}",
            100.0 * pace,
            send.stats()
        );
        assert!((0.9..1.1).contains(&pace), "{pace}");
        assert!(
            presence(&heard, 1_000.0) > MOSTLY,
            "{}",
            presence(&heard, 1_000.0)
        );
        assert!((send.level().peak - 0.5).abs() < 0.1, "{:?}", send.level());

        send.set_muted(true);
        sleep(second(0.3));
        sent.clear();
        sleep(second(1.0));
        let muted = sent.decode();
        assert!(
            muted.iter().all(|sample| sample.abs() < 1e-4),
            "not one sample"
        );
        assert!((send.level().peak - 0.5).abs() < 0.1, "the meter goes on");
    });
}

#[test]
fn what_is_received_comes_out_of_the_speaker() {
    with_devices("what_is_received_comes_out_of_the_speaker", |lab| {
        let events = Events::default();
        let playout = Playout::start(events.sink());
        playout.set_speaker(SpeakerSelection::Default);
        assert_eq!(events.started(DeviceKind::Speaker), "Lab Speaker");
        let speaking = Speaker::start(playout.add_remote(), 600.0);
        sleep(second(1.0));
        let recorder = lab.record("lab_speaker");
        sleep(second(3.0));
        let heard = recorder.finish();
        let (stats, received) = (playout.stats(), speaking.stats());
        println!(
            "tone in {:.0} % of the recording, missing {:.1} ms of {:.1} s, ring delay {:.1} ms, jitter buffer {:.1} ms",
            100.0 * presence(&heard, 600.0),
            1_000.0 * stats.synthesized_samples_duration,
            stats.total_samples_duration,
            1_000.0 * stats.total_playout_delay / stats.total_samples_count as f64,
            1_000.0 * received.jitter_buffer_delay / received.jitter_buffer_emitted_count as f64,
        );
        assert!(heard.len() > 96_000, "{}", heard.len());
        assert!(
            presence(&heard, 600.0) > MOSTLY,
            "{}",
            presence(&heard, 600.0)
        );
        assert!(speaking.level().peak > 0.3);
    });
}

#[test]
fn the_test_sound_is_heard() {
    with_devices("the_test_sound_is_heard", |lab| {
        let events = Events::default();
        let playout = Playout::start(events.sink());
        playout.set_speaker(SpeakerSelection::Device(id_of(
            "Other Speaker",
            &speakers(),
        )));
        assert_eq!(events.started(DeviceKind::Speaker), "Other Speaker");
        let recorder = lab.record("other_speaker");
        sleep(second(0.5));
        playout.play_test_sound();
        sleep(second(1.2));
        let heard = recorder.finish();
        let notes = lab::share_at(&heard, 523.25);
        assert!(notes.iter().any(|share| *share > 0.8), "{notes:?}");
        let notes = lab::share_at(&heard, 783.99);
        assert!(notes.iter().any(|share| *share > 0.8), "{notes:?}");
    });
}

#[test]
fn devices_are_switched_while_they_run() {
    with_devices("devices_are_switched_while_they_run", |lab| {
        let _voices = (
            lab.play_tone("lab_voice", 1_000.0),
            lab.play_tone("other_voice", 500.0),
        );
        let (sent, events) = (Arc::new(Collector::default()), Events::default());
        let send = AudioSend::start(sent.clone(), events.sink());
        let playout = Playout::start(events.sink());
        let speaking = Speaker::start(playout.add_remote(), 600.0);
        send.set_microphone(MicrophoneSelection::Default);
        playout.set_speaker(SpeakerSelection::Default);
        events.started(DeviceKind::Microphone);
        events.started(DeviceKind::Speaker);
        sleep(second(1.0));

        let concealed = speaking.stats().concealed_samples;
        let other = id_of("Other Microphone", &microphones());
        send.set_microphone(MicrophoneSelection::Device(other));
        assert_eq!(events.started(DeviceKind::Microphone), "Other Microphone");
        let other = id_of("Other Speaker", &speakers());
        playout.set_speaker(SpeakerSelection::Device(other));
        assert_eq!(events.started(DeviceKind::Speaker), "Other Speaker");
        sleep(second(0.7));

        sent.assert_continuous();
        sent.clear();
        let recorder = lab.record("other_speaker");
        sleep(second(2.0));
        let (heard, played) = (sent.decode(), recorder.finish());
        assert!(
            presence(&heard, 500.0) > MOSTLY,
            "{}",
            presence(&heard, 500.0)
        );
        assert!(
            presence(&played, 600.0) > MOSTLY,
            "{}",
            presence(&played, 600.0)
        );
        let concealed = speaking.stats().concealed_samples - concealed;
        println!("concealed while switching: {} ms", concealed / 48);
        events.assert_no_failure();
    });
}

#[test]
fn a_device_that_is_unplugged_is_replaced_and_returned_to() {
    with_devices(
        "a_device_that_is_unplugged_is_replaced_and_returned_to",
        |lab| {
            let _voices = (
                lab.play_tone("lab_voice", 1_000.0),
                lab.play_tone("other_voice", 500.0),
            );
            let (sent, events) = (Arc::new(Collector::default()), Events::default());
            let send = AudioSend::start(sent.clone(), events.sink());
            let playout = Playout::start(events.sink());
            let speaking = Speaker::start(playout.add_remote(), 600.0);
            let other = id_of("Other Microphone", &microphones());
            send.set_microphone(MicrophoneSelection::Device(other));
            let other = id_of("Other Speaker", &speakers());
            playout.set_speaker(SpeakerSelection::Device(other));
            assert_eq!(events.started(DeviceKind::Microphone), "Other Microphone");
            assert_eq!(events.started(DeviceKind::Speaker), "Other Speaker");
            for (device, kind, name) in [
                (
                    "source_name=other_microphone",
                    DeviceKind::Microphone,
                    "Microphone",
                ),
                ("sink_name=other_speaker", DeviceKind::Speaker, "Speaker"),
            ] {
                let began = Instant::now();
                lab.unplug(device);
                let (lost, label, problem) = events.replaced(kind);
                println!("{kind:?} replaced after {:?}", began.elapsed());
                assert_eq!(
                    (lost, label),
                    (format!("Other {name}"), format!("Lab {name}"))
                );
                assert_eq!(problem, DeviceProblem::Lost);
                assert_eq!(events.started(kind), format!("Lab {name}"));
                events.listed(kind, &format!("Other {name}"), false);
            }
            assert_heard(lab, &sent, 1_000.0, "lab_speaker");
            for (device, kind, name) in [
                (
                    "source_name=other_microphone",
                    DeviceKind::Microphone,
                    "Other Microphone",
                ),
                (
                    "sink_name=other_speaker",
                    DeviceKind::Speaker,
                    "Other Speaker",
                ),
            ] {
                let began = Instant::now();
                lab.plug_in(device);
                assert_eq!(events.returned(kind), name);
                println!("{kind:?} returned to after {:?}", began.elapsed());
                assert_eq!(events.started(kind), name);
                events.listed(kind, name, true);
            }
            assert_heard(lab, &sent, 500.0, "other_speaker");
            events.assert_no_failure();
            assert!(speaking.stats().total_samples_received > 96_000);
        },
    );
}

#[test]
fn the_system_s_default_is_followed() {
    with_devices("the_system_s_default_is_followed", |lab| {
        let _voice = lab.play_tone("other_voice", 500.0);
        let (sent, events) = (Arc::new(Collector::default()), Events::default());
        let send = AudioSend::start(sent.clone(), events.sink());
        let playout = Playout::start(events.sink());
        let _speaking = Speaker::start(playout.add_remote(), 600.0);
        send.set_microphone(MicrophoneSelection::Default);
        playout.set_speaker(SpeakerSelection::Default);
        assert_eq!(events.started(DeviceKind::Microphone), "Lab Microphone");
        assert_eq!(events.started(DeviceKind::Speaker), "Lab Speaker");
        lab.pactl(&["set-default-source", "other_microphone"]);
        assert_eq!(events.started(DeviceKind::Microphone), "Other Microphone");
        lab.pactl(&["set-default-sink", "other_speaker"]);
        assert_eq!(events.started(DeviceKind::Speaker), "Other Speaker");
        assert_heard(lab, &sent, 500.0, "other_speaker");

        lab.unplug("sink_name=other_speaker");
        let (lost, label, _) = events.replaced(DeviceKind::Speaker);
        assert_eq!((&*lost, &*label), ("Other Speaker", "Lab Speaker"));
        assert_eq!(events.started(DeviceKind::Speaker), "Lab Speaker");
        lab.plug_in("sink_name=other_speaker");
        assert_eq!(events.returned(DeviceKind::Speaker), "Other Speaker");
        events.assert_no_failure();
    });
}

#[test]
fn switching_makes_no_click() {
    with_devices("switching_makes_no_click", |lab| {
        // The same tone from both, which never fits together.
        let _voices = (
            lab.play_tone("lab_voice", 500.0),
            lab.play_tone("other_voice", 500.0),
        );
        let (sent, events) = (Arc::new(Collector::default()), Events::default());
        let send = AudioSend::start(sent.clone(), events.sink());
        // Noise suppression takes a tone for noise, and is not even with it.
        send.set_processing(ProcessingSettings {
            echo_cancellation: false,
            noise_suppression: false,
            auto_gain_control: false,
            original_sound: false,
        });
        let playout = Playout::start(events.sink());
        let _speaking = Speaker::start(playout.add_remote(), 500.0);
        send.set_microphone(MicrophoneSelection::Default);
        playout.set_speaker(SpeakerSelection::Default);
        events.started(DeviceKind::Microphone);
        events.started(DeviceKind::Speaker);
        sleep(second(0.7));
        let microphone = |name| MicrophoneSelection::Device(id_of(name, &microphones()));
        let speaker = |name| SpeakerSelection::Device(id_of(name, &speakers()));
        let (mut sent_steps, mut played_steps) = (Vec::new(), Vec::new());
        for round in 0..6 {
            let other = round % 2 == 0;
            sent.clear();
            let recorders = [lab.record("lab_speaker"), lab.record("other_speaker")];
            sleep(second(0.3));
            send.set_microphone(microphone(if other {
                "Other Microphone"
            } else {
                "Lab Microphone"
            }));
            playout.set_speaker(speaker(if other {
                "Other Speaker"
            } else {
                "Lab Speaker"
            }));
            events.started(DeviceKind::Microphone);
            events.started(DeviceKind::Speaker);
            sleep(second(0.5));
            sent.assert_continuous();
            // A decoder, and a recorder, need a moment to begin with.
            sent_steps.push(steepest(&sent.decode()[4_800..]));
            let played = recorders.map(|it| steepest(it.finish().get(4_800..).unwrap_or_default()));
            played_steps.push(played[0].max(played[1]));
        }
        println!("steepest sent {sent_steps:.2?}, played {played_steps:.2?}");
        // The tone itself has 0.03, a cut up to 1. On a busy machine the server makes some more.
        for steps in [sent_steps, played_steps] {
            assert!(
                steps.iter().filter(|step| **step < 0.08).count() >= 3,
                "{steps:?}"
            );
        }
    });
}

/// Largest difference between two samples that follow each other.
fn steepest(samples: &[f32]) -> f32 {
    let steps = samples.windows(2).map(|pair| (pair[1] - pair[0]).abs());
    steps.fold(0.0, f32::max)
}

/// What is heard for two seconds: this tone by the others, 600 Hz by this speaker.
fn assert_heard(lab: &Lab, sent: &Collector, hz: f32, speaker: &str) {
    sleep(second(0.7));
    sent.assert_continuous();
    sent.clear();
    let recorder = lab.record(speaker);
    sleep(second(2.0));
    let (heard, played) = (sent.decode(), recorder.finish());
    assert!(presence(&heard, hz) > MOSTLY, "{}", presence(&heard, hz));
    assert!(
        presence(&played, 600.0) > MOSTLY,
        "{}",
        presence(&played, 600.0)
    );
}

#[test]
fn without_a_microphone_the_speaker_still_works() {
    with_only_a_speaker("without_a_microphone_the_speaker_still_works", |_| {
        assert_eq!(microphones().expect("listed"), []);
        let (sent, events) = (Arc::new(Collector::default()), Events::default());
        let send = AudioSend::start(sent.clone(), events.sink());
        let playout = Playout::start(events.sink());
        send.set_microphone(MicrophoneSelection::Default);
        let error = events.failed(DeviceKind::Microphone, second(5.0));
        assert_eq!(error.problem, DeviceProblem::NotFound, "{error}");
        playout.set_speaker(SpeakerSelection::Device("pulseaudio:gone".to_owned()));
        let (_, label, problem) = events.replaced(DeviceKind::Speaker);
        assert_eq!((&*label, problem), ("Lab Speaker", DeviceProblem::NotFound));
        playout.set_speaker(SpeakerSelection::Default);
        assert_eq!(events.started(DeviceKind::Speaker), "Lab Speaker");
        send.set_microphone(MicrophoneSelection::Tone);
        events.started(DeviceKind::Microphone);
    });
}

#[test]
fn a_server_that_dies_is_reported_and_nothing_hangs() {
    with_devices("a_server_that_dies_is_reported_and_nothing_hangs", |lab| {
        let (send, playout, speaking, events) = running_call(lab);
        lab.signal("KILL");
        for kind in [DeviceKind::Microphone, DeviceKind::Speaker] {
            let error = events.failed(kind, second(7.0));
            println!("{kind:?}: {error}");
            assert_eq!(error.problem, DeviceProblem::Lost, "{error}");
        }
        assert_the_call_goes_on(&send, &playout, &speaking, &events);
        // There may be an ALSA device behind it; what matters is that there is an answer.
        let began = Instant::now();
        let _ = (microphones(), speakers());
        assert!(began.elapsed() < second(8.0));
        drop_in_time(send, playout);
    });
}

#[test]
fn a_server_that_hangs_is_reported_and_nothing_hangs_with_it() {
    with_devices(
        "a_server_that_hangs_is_reported_and_nothing_hangs_with_it",
        |lab| {
            let (send, playout, speaking, events) = running_call(lab);
            lab.signal("STOP");
            for kind in [DeviceKind::Microphone, DeviceKind::Speaker] {
                let error = events.failed(kind, second(7.0));
                assert_eq!(error.problem, DeviceProblem::Lost, "{error}");
            }
            assert_the_call_goes_on(&send, &playout, &speaking, &events);
            let began = Instant::now();
            let _ = (microphones(), speakers());
            assert!(began.elapsed() < second(8.0));
            drop_in_time(send, playout);
            lab.signal("CONT");
        },
    );
}

fn running_call(lab: &Lab) -> (AudioSend, Playout, Speaker, Events) {
    let voice = lab.play_tone("lab_voice", 1_000.0);
    let (sent, events) = (Arc::new(Collector::default()), Events::default());
    let send = AudioSend::start(sent, events.sink());
    let playout = Playout::start(events.sink());
    let speaking = Speaker::start(playout.add_remote(), 600.0);
    send.set_microphone(MicrophoneSelection::Default);
    playout.set_speaker(SpeakerSelection::Default);
    events.started(DeviceKind::Microphone);
    events.started(DeviceKind::Speaker);
    sleep(second(0.7));
    drop(voice);
    (send, playout, speaking, events)
}

fn assert_the_call_goes_on(
    send: &AudioSend,
    playout: &Playout,
    speaking: &RemoteAudio,
    events: &Events,
) {
    let (sent, played) = (
        send.stats().packets_sent,
        playout.stats().total_samples_count,
    );
    let received = speaking.stats().packets_received;
    send.set_microphone(MicrophoneSelection::Tone);
    events.started(DeviceKind::Microphone);
    sleep(second(1.0));
    assert!(send.stats().packets_sent > sent + 20);
    assert!(playout.stats().total_samples_count > played + 24_000);
    assert!(speaking.stats().packets_received > received + 20);
}

fn drop_in_time(send: AudioSend, playout: Playout) {
    let began = Instant::now();
    drop(send);
    drop(playout);
    assert!(began.elapsed() < second(2.0), "{:?}", began.elapsed());
}

fn id_of(
    label: &str,
    devices: &Result<Vec<ahoy_media::device::DeviceInfo>, ahoy_media::device::DeviceError>,
) -> String {
    let devices = devices.as_ref().expect("listed");
    devices
        .iter()
        .find(|device| device.label == label)
        .expect("there")
        .id
        .clone()
}
