//! The audio pipelines without devices: files, the tone, measurements, and what goes wrong.
#![expect(
    clippy::print_stdout,
    reason = "what was measured belongs into the test's output"
)]

mod support;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ahoy_audio::Block;
use ahoy_audio::playout::{Playout, PlayoutObserver, RemoteAudio};
use ahoy_audio::send::{AudioInjection, AudioSend};
use ahoy_media::device::{DeviceKind, DeviceProblem};
use ahoy_media::frame::{EncodedAudio, EncodedAudioSink};
use ahoy_media::selection::{MicrophoneSelection, SpeakerSelection};

use support::{Collector, Events, Speaker, packet};

/// A network without any delay.
struct Wire {
    remote: RemoteAudio,
    number: AtomicU64,
}

impl Wire {
    fn new(remote: RemoteAudio) -> Arc<Self> {
        Arc::new(Self {
            remote,
            number: AtomicU64::new(0),
        })
    }
}

impl EncodedAudioSink for Wire {
    fn on_encoded_audio(&self, audio: &EncodedAudio) {
        let number = self.number.fetch_add(1, Ordering::Relaxed) as u16;
        self.remote.push(packet(audio, number));
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn read(path: &Path) -> Vec<f32> {
    let mut file = hound::WavReader::open(path).expect("a WAV file");
    assert_eq!((file.spec().sample_rate, file.spec().channels), (48_000, 1));
    file.samples::<i16>()
        .map(|it| f32::from(it.expect("whole")) / 32_768.0)
        .collect()
}

/// Rising zero crossings per second where it is loud.
fn pitch(samples: &[f32]) -> f32 {
    let crossings: Vec<usize> = (1..samples.len())
        .filter(|&i| samples[i - 1] < 0.0 && samples[i] >= 0.0)
        .collect();
    let mut periods: Vec<usize> = crossings.windows(2).map(|pair| pair[1] - pair[0]).collect();
    periods.sort_unstable();
    48_000.0 / periods[periods.len() / 2] as f32
}

#[test]
fn the_test_tone_goes_all_the_way_into_a_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("heard.wav");
    let events = Events::default();
    let playout = Playout::start(events.sink());
    playout.set_speaker(SpeakerSelection::File(path.clone()));
    assert_eq!(events.started(DeviceKind::Speaker), "heard.wav");
    let send = AudioSend::start(Wire::new(playout.add_remote()), events.sink());
    send.set_microphone(MicrophoneSelection::Tone);
    events.started(DeviceKind::Microphone);
    sleep(seconds(2.2));
    playout.set_speaker(SpeakerSelection::None);
    events.stopped(DeviceKind::Speaker);
    send.set_microphone(MicrophoneSelection::None);
    events.stopped(DeviceKind::Microphone);

    let heard = read(&path);
    assert!((80_000..130_000).contains(&heard.len()), "{}", heard.len());
    let pitch = pitch(&heard[24_000..72_000]);
    assert!((pitch - 440.0).abs() < 8.0, "{pitch}");
    assert!(send.stats().packets_sent > 80, "{:?}", send.stats());
    assert_eq!(send.level().peak, 0.0, "nothing is heard any more");
}

#[test]
fn a_file_is_sent_and_a_bad_one_is_reported() {
    let directory = tempfile::tempdir().expect("a directory");
    let (sent, events) = (Arc::new(Collector::default()), Events::default());
    let send = AudioSend::start(sent.clone(), events.sink());
    let bad = directory.path().join("bad.wav");
    std::fs::write(&bad, "no sound").expect("written");
    send.set_microphone(MicrophoneSelection::File(bad));
    let error = events.failed(DeviceKind::Microphone, seconds(5.0));
    assert_eq!(error.problem, DeviceProblem::File);
    assert!(error.detail.starts_with("bad.wav: "), "{error}");

    let good = directory.path().join("good.wav");
    let spec = hound::WavSpec {
        channels: 2,
        sample_rate: 44_100,
        bits_per_sample: 24,
        sample_format: hound::SampleFormat::Int,
    };
    let mut file = hound::WavWriter::create(&good, spec).expect("a file");
    for i in 0..44_100 {
        let sample = (f64::from(i) / 44_100.0 * 500.0 * std::f64::consts::TAU).sin() * 4_000_000.0;
        file.write_sample(sample as i32).expect("written");
        file.write_sample(sample as i32).expect("written");
    }
    file.finalize().expect("complete");
    send.set_microphone(MicrophoneSelection::File(good));
    assert_eq!(events.started(DeviceKind::Microphone), "good.wav");
    sleep(seconds(0.8));
    let heard = sent.decode();
    assert!((pitch(&heard[9_600..]) - 500.0).abs() < 8.0);
    sent.assert_continuous();
}

#[test]
fn a_pause_of_the_microphone_is_a_pause_in_media_time() {
    let (sent, events) = (Arc::new(Collector::default()), Events::default());
    let send = AudioSend::start(sent.clone(), events.sink());
    send.set_microphone(MicrophoneSelection::Tone);
    events.started(DeviceKind::Microphone);
    sleep(seconds(0.5));
    send.set_microphone(MicrophoneSelection::None);
    events.stopped(DeviceKind::Microphone);
    let before = sent.packets().last().expect("packets").clone();
    sleep(seconds(0.5));
    send.set_microphone(MicrophoneSelection::Tone);
    events.started(DeviceKind::Microphone);
    sleep(seconds(0.3));
    sent.assert_continuous();
    let after = sent
        .packets()
        .into_iter()
        .find(|it| it.rtp_timestamp > before.rtp_timestamp);
    let after = after.expect("more packets");
    let media = f64::from(after.rtp_timestamp - before.rtp_timestamp) / 48_000.0;
    let real = (after.captured_at - before.captured_at).as_secs_f64();
    assert!((media - real).abs() < 0.06, "{media} {real}");
}

#[test]
fn a_file_that_cannot_be_written_is_reported_and_the_call_goes_on() {
    let events = Events::default();
    let playout = Playout::start(events.sink());
    let speaking = Speaker::start(playout.add_remote(), 300.0);
    playout.set_speaker(SpeakerSelection::File("/no such directory/out.wav".into()));
    let error = events.failed(DeviceKind::Speaker, seconds(5.0));
    assert_eq!(error.problem, DeviceProblem::File);
    sleep(seconds(0.6));
    let stats = speaking.stats();
    assert!(stats.total_samples_received > 20_000, "{stats:?}");
    assert!(speaking.level().peak > 0.3);
}

#[test]
fn several_people_are_heard_at_once_and_one_can_leave() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("heard.wav");
    let events = Events::default();
    let playout = Playout::start(events.sink());
    let people: Vec<_> = [300.0, 500.0, 700.0]
        .into_iter()
        .map(|hz| Speaker::start(playout.add_remote(), hz))
        .collect();
    playout.set_speaker(SpeakerSelection::File(path.clone()));
    events.started(DeviceKind::Speaker);
    sleep(seconds(1.2));
    assert!(people.iter().all(|one| one.level().peak > 0.3));
    drop(people);
    sleep(seconds(0.5));
    playout.set_speaker(SpeakerSelection::None);
    events.stopped(DeviceKind::Speaker);
    let heard = read(&path);
    let peak = heard
        .iter()
        .fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
    assert!(peak > 0.7 && peak <= 1.0, "{peak}");
    let end = &heard[heard.len() - 4_800..];
    assert!(
        end.iter().all(|sample| sample.abs() < 0.01),
        "they have left"
    );
}

/// A click every half second.
#[derive(Default)]
struct Clicks {
    blocks: AtomicU64,
    made: Mutex<Vec<Instant>>,
    heard: Mutex<Vec<Instant>>,
}

impl AudioInjection for Clicks {
    fn fill(&self, block: &mut Block, now: Instant) {
        block.fill(0.0);
        if self.blocks.fetch_add(1, Ordering::Relaxed) % 50 == 25 {
            self.made.lock().expect("no panic").push(now);
            for (index, sample) in block.iter_mut().enumerate() {
                *sample = 0.5 * (index as f32 * std::f32::consts::TAU / 48.0).sin();
            }
        }
    }
}

impl PlayoutObserver for Clicks {
    fn playing(&self, block: &Block, at: Instant) {
        let mut heard = self.heard.lock().expect("no panic");
        let quiet = heard
            .last()
            .is_none_or(|last| at.saturating_duration_since(*last) > seconds(0.3));
        if let Some(index) = block
            .iter()
            .position(|sample| sample.abs() > 0.12)
            .filter(|_| quiet)
        {
            heard.push(at + Duration::from_micros(index as u64 * 1_000 / 48));
        }
    }
}

#[test]
fn what_is_injected_is_observed_a_little_later() {
    let clicks = Arc::new(Clicks::default());
    let events = Events::default();
    let playout = Playout::start(events.sink());
    playout.set_observer(Some(clicks.clone()));
    let send = AudioSend::start(Wire::new(playout.add_remote()), events.sink());
    send.set_injection(Some(clicks.clone()));
    send.set_microphone(MicrophoneSelection::Tone);
    events.started(DeviceKind::Microphone);
    sleep(seconds(3.4));
    let (made, heard) = (
        clicks.made.lock().expect("no panic"),
        clicks.heard.lock().expect("no panic"),
    );
    assert!(made.len() >= 5, "{}", made.len());
    assert!(
        heard.len() + 1 >= made.len(),
        "{} of {}",
        heard.len(),
        made.len()
    );
    let mut delays: Vec<f64> = heard
        .iter()
        .filter_map(|at| {
            let from = made.iter().rev().find(|made| *made < at)?;
            Some(1_000.0 * (*at - *from).as_secs_f64())
        })
        .collect();
    delays.sort_by(f64::total_cmp);
    println!("injected to observed, ms: {delays:.1?}");
    let median = delays[delays.len() / 2];
    assert!((5.0..400.0).contains(&median), "{median}");
}

/// A mistake in the code that takes the packets.
struct Broken;

impl EncodedAudioSink for Broken {
    fn on_encoded_audio(&self, _: &EncodedAudio) {
        panic!("a mistake");
    }
}

#[test]
fn a_thread_that_dies_is_reported_and_its_handle_stays_harmless() {
    let events = Events::default();
    let send = AudioSend::start(Arc::new(Broken), events.sink());
    send.set_microphone(MicrophoneSelection::Tone);
    let error = events.failed(DeviceKind::Microphone, seconds(10.0));
    assert_eq!(error.problem, DeviceProblem::Failed);
    for _ in 0..200 {
        send.set_microphone(MicrophoneSelection::None);
    }
}
