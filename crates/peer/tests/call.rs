//! Two real programs call each other through a server.

mod support;

use std::path::Path;

use ahoy_video::capture::VideoSource;
use ahoy_video::capture::stamp::read_stamp;
use ahoy_video::capture::y4m::Y4mSource;
use support::{Peer, peer, server};

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn pictures_and_sound_arrive_on_both_sides() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let file = |name: &str| folder.path().join(name);
    let server = server();
    let start = |name: &str, before: &[&str]| {
        let (wav, y4m, json) = (
            format!("file:{}", text(&file(&format!("{name}.wav")))),
            file(&format!("{name}.y4m")),
            file(&format!("{name}.json")),
        );
        let mut arguments = before.to_vec();
        arguments.extend(["--server", &server.url, "--name", name]);
        arguments.extend([
            "--camera",
            "pattern",
            "--microphone",
            "tone",
            "--speaker",
            &wav,
        ]);
        arguments.extend(["--save-video", text(&y4m), "--stats", text(&json)]);
        arguments.extend(["--resolution", "320x180@15", "--duration", "6s"]);
        peer(&arguments)
    };
    let ann = start("ann", &["call"]);
    let code = ann.code();
    let ben = start("ben", &["join", &code]);
    assert_eq!(ann.line("Joined: "), "ben");
    assert_eq!(ben.line("Joined: "), "ann");
    for (name, side) in [("ann", ann), ("ben", ben)] {
        let end = side.end();
        assert_eq!(end.code, Some(0), "{end:?}");
        check_pictures(&file(&format!("{name}.y4m")));
        check_tone(&file(&format!("{name}.wav")));
        check_statistics(&file(&format!("{name}.json")));
    }
}

fn check_pictures(path: &Path) {
    let mut source = Y4mSource::open(path).expect("a recording");
    let frames = source.frames();
    assert!(frames >= 30, "{frames} pictures");
    let stamps: Vec<u32> = (0..frames)
        .filter_map(|_| read_stamp(&source.next_frame().expect("plays").picture))
        .collect();
    assert!(
        stamps.len() as u64 * 10 >= frames * 9,
        "{} of {frames} readable",
        stamps.len()
    );
    assert!(
        stamps.windows(2).all(|pair| pair[0] < pair[1]),
        "{stamps:?}"
    );
}

/// The test microphone's 440 Hz make most of the loudest half second.
fn check_tone(path: &Path) {
    let mut reader = hound::WavReader::open(path).expect("a WAV file");
    assert_eq!(
        (reader.spec().sample_rate, reader.spec().channels),
        (48_000, 1)
    );
    let samples: Vec<f64> = reader
        .samples::<i16>()
        .map(|sample| f64::from(sample.expect("whole")) / 32_768.0)
        .collect();
    let energy = |part: &[f64]| part.iter().map(|sample| sample * sample).sum::<f64>();
    let loudest = samples
        .chunks_exact(24_000)
        .max_by(|a, b| energy(a).total_cmp(&energy(b)))
        .expect("half a second at least");
    let (mut cosine, mut sine) = (0.0, 0.0);
    for (index, sample) in loudest.iter().enumerate() {
        let phase = std::f64::consts::TAU * 440.0 * index as f64 / 48_000.0;
        cosine += sample * phase.cos();
        sine += sample * phase.sin();
    }
    let tone = (cosine * cosine + sine * sine) * 2.0 / loudest.len() as f64;
    assert!(energy(loudest) > 20.0, "nearly silent: {}", energy(loudest));
    assert!(
        tone > 0.5 * energy(loudest),
        "440 Hz are {tone} of {}",
        energy(loudest)
    );
}

fn check_statistics(path: &Path) {
    let text = std::fs::read_to_string(path).expect("written");
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let participants = json["participants"].as_array().expect("a list");
    assert_eq!(participants.len(), 1);
    let number = |value: &serde_json::Value| value.as_f64().unwrap_or(f64::NAN);
    let [video, audio] =
        ["inbound-rtp:video", "inbound-rtp:audio"].map(|key| &participants[0][key]);
    assert!(number(&video["framesDecoded"]) >= 30.0, "{video}");
    assert!(number(&video["totalDecodeTime"]) > 0.0, "{video}");
    assert!(video["freezeCount"].is_number(), "{video}");
    assert!(number(&audio["totalSamplesReceived"]) > 48_000.0, "{audio}");
    assert!(number(&participants[0]["outbound-rtp:video"]["framesEncoded"]) >= 30.0);
    assert!(number(&json["call"]["firstPictureMs"]) >= number(&json["call"]["connectedMs"]));
    assert!(number(&json["recording"]["frames"]) >= 30.0);
    if cfg!(target_os = "linux") {
        assert!(number(&json["process"]["cpuSeconds"]) > 0.0);
        assert!(number(&json["process"]["peakRssBytes"]) > 1e6);
    }
}

fn two(server: &str, log: &str) -> (Peer, Peer, String) {
    let host = peer(&["call", "--server", server, "--name", "ann", "--log", log]);
    let code = host.code();
    let guest = peer(&[
        "join", &code, "--server", server, "--name", "ben", "--log", log,
    ]);
    host.line("Joined: ben");
    guest.line("Joined: ann");
    (host, guest, code)
}

#[cfg(unix)]
#[test]
fn whoever_is_asked_to_end_hangs_up_and_the_other_side_ends_as_well() {
    let server = server();
    for signal in ["INT", "TERM"] {
        let (host, guest, _) = two(&server.url, "warn");
        guest.signal(signal);
        assert_eq!(guest.end().code, Some(0));
        host.line("Left: ben");
        let end = host.end();
        assert_eq!(end.code, Some(0), "{end:?}");
        assert_eq!(
            end.stdout.last().map(String::as_str),
            Some("Everybody else has left.")
        );
    }
}

#[test]
fn the_words_of_the_code_are_in_no_log() {
    let server = server();
    let (host, guest, code) = two(&server.url, "trace");
    drop(guest);
    host.line("Left: ben");
    #[cfg(unix)]
    host.signal("INT");
    let log = host.end().stderr;
    assert!(log.contains("ahoy_call"), "the log is there: {log}");
    for word in code.split('-').skip(1) {
        assert!(!log.contains(word), "{word}");
    }
}

#[test]
fn without_a_server_the_one_on_this_computer_is_used() {
    let host = peer(&["call", "--name", "ann", "--duration", "20s"]);
    let code = host.code();
    assert!(host.line("Link: ").starts_with("ahoy+ws://"));
    let guest = peer(&["join", &code, "--name", "ben", "--duration", "5s"]);
    host.line("Joined: ben");
    assert_eq!(guest.end().code, Some(0));
    assert_eq!(host.end().code, Some(0));
}
