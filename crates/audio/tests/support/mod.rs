//! The ends of the audio pipelines, for tests.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ahoy_audio::opus::{
    Content, Encoded, EncoderSettings, FRAME_SAMPLES, MAX_PACKET_SAMPLES, OpusDecoder, OpusEncoder,
    SoundDecoder,
};
use ahoy_audio::playout::RemoteAudio;
use ahoy_media::device::{DeviceError, DeviceKind, DeviceProblem, MediaEvent, MediaEvents};
use ahoy_media::frame::{Copies, EncodedAudio, EncodedAudioSink};
use ahoy_media::rtp::RtpPacket;

/// Keeps what is sent.
#[derive(Default)]
pub(crate) struct Collector(Mutex<Vec<EncodedAudio>>);

impl EncodedAudioSink for Collector {
    fn on_encoded_audio(&self, audio: &EncodedAudio) {
        self.0.lock().expect("no panic").push(audio.clone());
    }
}

impl Collector {
    pub(crate) fn clear(&self) {
        self.0.lock().expect("no panic").clear();
    }

    pub(crate) fn packets(&self) -> Vec<EncodedAudio> {
        self.0.lock().expect("no panic").clone()
    }

    /// The sound in what was sent; unsent silence is left out.
    pub(crate) fn decode(&self) -> Vec<f32> {
        let mut decoder = OpusDecoder::new().expect("decoder");
        let mut out = Box::new([[0.0; 2]; MAX_PACKET_SAMPLES]);
        let mut all = Vec::new();
        for packet in self.packets() {
            let samples = decoder
                .decode(&packet.data, &mut out)
                .expect("our own packets");
            all.extend(out[..samples].iter().map(|pair| pair[0]));
        }
        all
    }

    /// Media times only go on, in whole packets.
    pub(crate) fn assert_continuous(&self) {
        for pair in self.packets().windows(2) {
            let step = pair[1].rtp_timestamp.wrapping_sub(pair[0].rtp_timestamp);
            assert!(
                step >= 960 && step.is_multiple_of(960) && step < 480_000,
                "{step}"
            );
        }
    }
}

/// Events in their order, to be waited for.
#[derive(Clone, Default)]
pub(crate) struct Events(Arc<(Mutex<Vec<MediaEvent>>, Condvar)>);

impl Events {
    pub(crate) fn sink(&self) -> MediaEvents {
        let events = self.0.clone();
        Arc::new(move |event| {
            events.0.lock().expect("no panic").push(event);
            events.1.notify_all();
        })
    }

    /// Waits for the device to start, and for nothing else to happen to it before.
    pub(crate) fn started(&self, kind: DeviceKind) -> String {
        self.wait(Duration::from_secs(10), |event| match event {
            MediaEvent::Started {
                kind: it, label, ..
            } if *it == kind => Some(label.clone()),
            MediaEvent::Failed { kind: it, error } if *it == kind => panic!("{error:?}"),
            _ => None,
        })
    }

    pub(crate) fn failed(&self, kind: DeviceKind, limit: Duration) -> DeviceError {
        self.wait(limit, |event| match event {
            MediaEvent::Failed { kind: it, error } if *it == kind => Some(error.clone()),
            _ => None,
        })
    }

    /// Waits for another device in the place of a lost one: the names of both, and why.
    pub(crate) fn replaced(&self, kind: DeviceKind) -> (String, String, DeviceProblem) {
        self.wait(Duration::from_secs(10), |event| match event {
            MediaEvent::Replaced {
                kind: it,
                lost_label,
                label,
                problem,
            } if *it == kind => Some((lost_label.clone(), label.clone(), *problem)),
            _ => None,
        })
    }

    pub(crate) fn returned(&self, kind: DeviceKind) -> String {
        self.wait(Duration::from_secs(10), |event| match event {
            MediaEvent::Returned { kind: it, label } if *it == kind => Some(label.clone()),
            _ => None,
        })
    }

    /// Waits until a device of this name is listed or, if not `there`, no more.
    pub(crate) fn listed(&self, kind: DeviceKind, label: &str, there: bool) {
        self.wait(Duration::from_secs(10), |event| match event {
            MediaEvent::DevicesChanged { kind: it, devices } if *it == kind => {
                (devices.iter().any(|device| device.label == label) == there).then_some(())
            }
            _ => None,
        });
    }

    pub(crate) fn stopped(&self, kind: DeviceKind) {
        self.wait(Duration::from_secs(10), |event| {
            (*event == MediaEvent::Stopped { kind }).then_some(())
        });
    }

    pub(crate) fn assert_no_failure(&self) {
        let events = self.0.0.lock().expect("no panic");
        let failure = events
            .iter()
            .find(|event| matches!(event, MediaEvent::Failed { .. }));
        assert_eq!(failure, None);
    }

    /// Takes the first event that fits.
    fn wait<T>(&self, limit: Duration, fits: impl Fn(&MediaEvent) -> Option<T>) -> T {
        let deadline = Instant::now() + limit;
        let mut events = self.0.0.lock().expect("no panic");
        loop {
            let found = events
                .iter()
                .enumerate()
                .find_map(|(at, it)| Some((at, fits(it)?)));
            if let Some((at, value)) = found {
                events.remove(at);
                return value;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "nothing after {limit:?}: {events:?}");
            events = self.0.1.wait_timeout(events, left).expect("no panic").0;
        }
    }
}

/// A packet as the network would deliver it.
pub(crate) fn packet(audio: &EncodedAudio, number: u16) -> RtpPacket {
    RtpPacket {
        payload_type: 111,
        ssrc: 1,
        sequence_number: number,
        timestamp: audio.rtp_timestamp,
        marker: false,
        payload: audio.data.clone(),
        arrival: Instant::now(),
    }
}

/// Somebody who hums a tone at half scale, in real time.
pub(crate) struct Speaker {
    remote: Arc<RemoteAudio>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Speaker {
    pub(crate) fn start(remote: RemoteAudio, hz: f32) -> Self {
        let (remote, stop) = (Arc::new(remote), Arc::new(AtomicBool::new(false)));
        let (to, stopped) = (remote.clone(), stop.clone());
        let thread = std::thread::spawn(move || hum(&to, hz, &stopped));
        Self {
            remote,
            stop,
            thread: Some(thread),
        }
    }
}

fn hum(remote: &RemoteAudio, hz: f32, stop: &AtomicBool) {
    let mut encoder =
        OpusEncoder::new(Content::Voice, EncoderSettings::default()).expect("encoder");
    let start = Instant::now();
    for number in 0_u32.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let frame: [[f32; 2]; FRAME_SAMPLES] = std::array::from_fn(|i| {
            let time = (f64::from(number) * FRAME_SAMPLES as f64 + i as f64) / 48_000.0;
            [(0.5 * (std::f64::consts::TAU * f64::from(hz) * time).sin()) as f32; 2]
        });
        if let Ok(Encoded::Packet(data)) = encoder.encode(&frame) {
            let audio = EncodedAudio {
                data,
                rtp_timestamp: number * FRAME_SAMPLES as u32,
                captured_at: Instant::now(),
                copies: Copies::NONE,
            };
            remote.push(packet(&audio, number as u16));
        }
        let due = start + Duration::from_millis(20) * (number + 1);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

impl Deref for Speaker {
    type Target = RemoteAudio;

    fn deref(&self) -> &RemoteAudio {
        &self.remote
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
