//! Devices in figures: what waits where, what it costs, how fast a lost one is replaced. Beside a
//! sound server of its own with virtual devices, like `tests/devices.rs`.
#![cfg_attr(
    not(target_os = "linux"),
    allow(unused, reason = "there are no virtual devices to measure with")
)]
#![expect(clippy::print_stdout, reason = "the table is what it is for")]

#[path = "../tests/lab/mod.rs"]
#[allow(dead_code, reason = "tests use the rest")]
mod lab;
#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use ahoy_audio::devices::{microphones, speakers};
use ahoy_audio::playout::Playout;
use ahoy_audio::send::AudioSend;
use ahoy_media::device::{DeviceInfo, DeviceKind};
use ahoy_media::selection::{MicrophoneSelection, SpeakerSelection};

use lab::{Lab, with_devices_and_arguments};
use support::{Collector, Events, Speaker};

const MEASURED: Duration = Duration::from_secs(20);

fn main() {
    // Passed on to the program beside the sound server.
    with_devices_and_arguments(&["--bench"], measure);
}

fn measure(lab: &Lab) {
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
    sleep(Duration::from_secs(3));

    println!("| figure | |\n|---|---|");
    steady(&send, &playout, &speaking);
    switches(&send, &playout, &sent, &speaking, &events);
    unplugged(lab, &send, &playout, &events);
}

/// A call that goes on.
fn steady(send: &AudioSend, playout: &Playout, speaking: &Speaker) {
    let (sent, played, received) = (send.stats(), playout.stats(), speaking.stats());
    let (cpu, began) = (cpu_times(), Instant::now());
    sleep(MEASURED);
    let (elapsed, after) = (began.elapsed().as_secs_f64(), cpu_times());
    let (send, play) = (send.stats(), playout.stats());
    let samples = play.total_samples_count - played.total_samples_count;
    let delay = (play.total_playout_delay - played.total_playout_delay) / samples as f64;
    let missing = play.synthesized_samples_duration - played.synthesized_samples_duration;
    let share = |part: f64| 100.0 * part / elapsed;
    row(
        "a block waits in the ring to the speaker",
        format!("{:.1} ms", 1_000.0 * delay),
    );
    row("missing at the speaker", format!("{:.2} %", share(missing)));
    row(
        "captured, of real time",
        format!(
            "{:.1} %",
            share(send.total_samples_duration - sent.total_samples_duration)
        ),
    );
    row(
        "skipped of it",
        format!("{} samples", send.skipped_samples - sent.skipped_samples),
    );
    let now = speaking.stats();
    row(
        "concealed of what was received",
        format!(
            "{} samples",
            now.concealed_samples - received.concealed_samples
        ),
    );
    row(
        "drift of microphone and speaker",
        format!(
            "{:.0}, {:.0} ppm",
            send.clock_drift_ppm, play.clock_drift_ppm
        ),
    );
    for (name, time) in after {
        let used = time - cpu.get(&name).copied().unwrap_or(0.0);
        if share(used) >= 0.05 {
            row(
                &format!("processor, threads `{name}`"),
                format!("{:.2} %", share(used)),
            );
        }
    }
}

/// To the other devices and back, again and again.
fn switches(
    send: &AudioSend,
    playout: &Playout,
    sent: &Collector,
    speaking: &Speaker,
    events: &Events,
) {
    let (mut opened, mut holes, mut concealed) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..6 {
        let microphone = &microphones().expect("listed")[1 - round % 2];
        sent.clear();
        let began = Instant::now();
        send.set_microphone(MicrophoneSelection::Device(microphone.id.clone()));
        events.started(DeviceKind::Microphone);
        opened.push(milliseconds(began.elapsed()));
        sleep(Duration::from_millis(800));
        let packets = sent.packets();
        let hole = packets.windows(2).map(|pair| {
            let step = pair[1].rtp_timestamp.wrapping_sub(pair[0].rtp_timestamp);
            f64::from(step) / 48.0 - 20.0
        });
        holes.push(hole.sum::<f64>());

        let before = speaking.stats().concealed_samples;
        let speaker = &speakers().expect("listed");
        let speaker = speaker.iter().filter(|it| it.label.ends_with("Speaker"));
        let speaker: Vec<&DeviceInfo> = speaker.collect();
        playout.set_speaker(SpeakerSelection::Device(speaker[1 - round % 2].id.clone()));
        events.started(DeviceKind::Speaker);
        sleep(Duration::from_millis(800));
        let lost = speaking.stats().concealed_samples - before;
        concealed.push(lost as f64 / 48.0);
    }
    row("another microphone is open after", median(opened));
    row("sound lost with it", median(holes));
    row("concealed while the speaker is switched", median(concealed));
}

fn unplugged(lab: &Lab, send: &AudioSend, playout: &Playout, events: &Events) {
    let (mut replaced, mut returned) = (Vec::new(), Vec::new());
    let id = |devices: Vec<DeviceInfo>, label: &str| {
        let device = devices.into_iter().find(|it| it.label == label);
        device.expect("there").id
    };
    let other = id(microphones().expect("listed"), "Other Microphone");
    send.set_microphone(MicrophoneSelection::Device(other));
    let other = id(speakers().expect("listed"), "Other Speaker");
    playout.set_speaker(SpeakerSelection::Device(other));
    sleep(Duration::from_secs(1));
    for _ in 0..3 {
        for (device, kind) in [
            ("source_name=other_microphone", DeviceKind::Microphone),
            ("sink_name=other_speaker", DeviceKind::Speaker),
        ] {
            let began = Instant::now();
            lab.unplug(device);
            events.replaced(kind);
            replaced.push(milliseconds(began.elapsed()));
            let began = Instant::now();
            lab.plug_in(device);
            events.returned(kind);
            returned.push(milliseconds(began.elapsed()));
        }
    }
    row(
        "another runs after a device was unplugged, `pactl` included",
        median(replaced),
    );
    row(
        "the same runs after it was plugged in again",
        median(returned),
    );
}

fn row(figure: &str, value: String) {
    println!("| {figure} | {value} |");
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

fn median(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    let largest = values.last().copied().unwrap_or(0.0);
    format!("{:.0} ms, at most {largest:.0}", values[values.len() / 2])
}

/// Seconds of processor time that the threads of each name have used.
fn cpu_times() -> BTreeMap<String, f64> {
    let mut times = BTreeMap::new();
    for task in fs::read_dir("/proc/self/task").expect("proc").flatten() {
        let read = |file| fs::read_to_string(task.path().join(file)).unwrap_or_default();
        let nanoseconds = read("schedstat")
            .split(' ')
            .next()
            .and_then(|it| it.parse::<f64>().ok());
        *times.entry(read("comm").trim().to_owned()).or_default() +=
            nanoseconds.unwrap_or(0.0) / 1e9;
    }
    times
}
