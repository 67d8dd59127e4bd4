//! A call of ours: the engine code between a modelled encoder and a modelled receiver.

use std::time::Duration;

use ahoy_media::units::{Bitrate, VideoConstraints};

use super::encoder::Encoder;
use super::metrics::{Sample, Trace};
use super::playout::Playout;
use super::receiver::{Kind, MediaPacket, Part, Receiver};
use super::repairs::Repairs;
use super::world::{Content, Flow, Now, Timer};
use crate::WIRE_OVERHEAD;
use crate::allocation::{allocate, ceiling, needed};
use crate::estimator::{Estimator, EstimatorConfig};
use crate::ladder::{DegradationPreference, Ladder};
use crate::pacer::{Pacer, Priority, Release};

const CAPTURE: Timer = 0;
const AUDIO: Timer = 1;
const PACER: Timer = 2;
const FEEDBACK: Timer = 3;
const NACK: Timer = 4;

const CAPTURE_INTERVAL: Duration = Duration::from_nanos(1_000_000_000 / 30);
const AUDIO_INTERVAL: Duration = Duration::from_millis(20);
const NACK_INTERVAL: Duration = Duration::from_millis(10);
/// RTP header with extensions, in bytes.
const HEADER: usize = 20;
const PAYLOAD: usize = 1200;
/// A frame is left out while more than this waits in the pacer.
const MAX_BACKLOG: Duration = Duration::from_millis(150);
/// Sound by what there is, both in kbit/s: from this target on, this much Opus. 16 kbit/s is still
/// wideband speech (RFC 7587 section 3.1.1).
const SOUND: [(u64, u64); 4] = [(300, 32), (180, 24), (110, 20), (0, 16)];
const SOUND_PACKETS: u64 = 50;
const FEEDBACK_PACKET: usize = 20 + 8 + 10 + 16;

/// How a call is.
#[derive(Debug, Clone, PartialEq)]
pub struct MediaConfig {
    /// Where the estimate begins and ends.
    pub estimator: EstimatorConfig,
    /// What the user has chosen.
    pub wanted: VideoConstraints,
    /// Between two feedback messages.
    pub feedback_interval: Duration,
    /// Nothing is sent between these times.
    pub paused: Option<(Duration, Duration)>,
}

impl Default for MediaConfig {
    /// 1920x1080@30, feedback every 50 ms.
    fn default() -> Self {
        let size = ahoy_media::units::Resolution::new(1920, 1080);
        Self {
            estimator: EstimatorConfig::default(),
            wanted: VideoConstraints {
                resolution: size,
                frame_rate: 30,
            },
            feedback_interval: Duration::from_millis(50),
            paused: None,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Queued {
    kind: Kind,
    size: usize,
}

#[derive(Debug)]
pub(super) struct MediaFlow {
    config: MediaConfig,
    estimator: Estimator,
    pacer: Pacer<Queued>,
    ladder: Ladder,
    encoder: Encoder,
    receiver: Receiver,
    playout: Playout,
    next_transport: u16,
    next_number: u32,
    next_frame: u32,
    repairs: Repairs,
    pacer_at: Option<Duration>,
    frames_left_out: u32,
    pictures_dropped: u32,
    key_frames: u32,
    samples: Vec<Sample>,
}

impl MediaFlow {
    pub(super) fn new(config: MediaConfig, seed: u64) -> Self {
        let estimator = Estimator::new(config.estimator);
        let target = estimator.target_bitrate();
        let video = allocate(target, on_wire(sound(target)), 30, 0.0);
        Self {
            pacer: Pacer::new(estimator.pacing_rate()),
            ladder: Ladder::new(DegradationPreference::Balanced, config.wanted, video),
            encoder: Encoder::new(seed),
            receiver: Receiver::default(),
            playout: Playout::default(),
            next_transport: 0,
            next_number: 1,
            next_frame: 0,
            repairs: Repairs::default(),
            pacer_at: None,
            frames_left_out: 0,
            pictures_dropped: 0,
            key_frames: 0,
            samples: Vec::new(),
            estimator,
            config,
        }
    }

    fn is_paused(&self, time: Duration) -> bool {
        self.config
            .paused
            .is_some_and(|(from, to)| (from..to).contains(&time))
    }

    fn capture(&mut self, now: &mut Now<'_>) {
        if self.is_paused(now.time) {
            self.encoder.request_key_frame();
            return;
        }
        let own_loss = self.estimator.stats().own_loss;
        let rate = self.ladder.constraints().frame_rate;
        let most = ceiling(self.config.wanted);
        let target = self.estimator.target_bitrate();
        let sound = on_wire(sound(target));
        let lasting = allocate(self.estimator.estimate(), sound, rate, own_loss);
        let constraints = self.ladder.update(now.instant(), lasting.min(most));
        let video = allocate(target, sound, rate, own_loss).min(most);
        if !self.encoder.is_due(now.time, constraints.frame_rate) {
            return;
        }
        if self.pacer.wait() > MAX_BACKLOG {
            self.frames_left_out += 1;
            return;
        }
        let encoded = self.encoder.encode(now.time, constraints, video);
        if encoded.key_frame {
            // Nobody needs what is older.
            self.key_frames += 1;
            self.pacer.drop_pictures();
            self.repairs.clear();
        }
        self.enqueue_frame(now.time, encoded.bytes, encoded.key_frame);
        self.check_age(now);
    }

    fn enqueue_frame(&mut self, time: Duration, bytes: usize, key_frame: bool) {
        let count = bytes.div_ceil(PAYLOAD).max(1);
        for index in 0..count {
            let payload = bytes / count + usize::from(index < bytes % count);
            let size = payload + HEADER + 4 + WIRE_OVERHEAD;
            let part = Part {
                number: 0,
                frame: self.next_frame,
                index: index as u32,
                count: count as u32,
                key_frame,
                captured: time,
                repair: false,
                bytes: size,
            };
            let queued = Queued {
                kind: Kind::Video(part),
                size,
            };
            let _ = self.pacer.enqueue(Priority::Video, queued, size, key_frame);
        }
        self.next_frame += 1;
    }

    fn audio(&mut self, now: &Now<'_>) {
        if self.is_paused(now.time) {
            return;
        }
        let audio = sound(self.estimator.target_bitrate());
        let size = audio.bps() as usize / 8 / 50 + HEADER + WIRE_OVERHEAD;
        let queued = Queued {
            kind: Kind::Audio(now.time, size),
            size,
        };
        let _ = self.pacer.enqueue(Priority::Audio, queued, size, false);
    }

    /// Sends what may be sent, and sets the timer for the rest.
    fn pump(&mut self, now: &mut Now<'_>) {
        let instant = now.instant();
        self.estimator.on_timeout(instant);
        self.pacer.set_rate(instant, self.estimator.pacing_rate());
        let waits = self.config.wanted;
        let loss = self.estimator.stats().own_loss;
        self.estimator.set_needed(needed(waits, loss));
        if let Some(cluster) = self.estimator.poll_probe(instant) {
            self.pacer.probe(instant, cluster);
        }
        let copies = self.repairs.copies(now.time);
        self.send_again(copies);
        while let Some(release) = self.pacer.poll(instant) {
            let (kind, size, probe) = match release {
                Release::Packet { packet, probe } => (packet.kind, packet.size, probe),
                Release::Padding { bytes, probe } => (Kind::Padding, bytes, Some(probe)),
            };
            let number = self.next_transport;
            self.next_transport = number.wrapping_add(1);
            self.estimator.on_sent(instant, number, size, probe);
            let kind = match kind {
                Kind::Video(part) if !part.repair => Kind::Video(self.number(now.time, part)),
                kind => kind,
            };
            now.send(size, Content::Media(MediaPacket { number, kind }));
        }
        let pacer = self.pacer.next_send_time(instant);
        let estimator = self.estimator.poll_timeout();
        let next = pacer.into_iter().chain(estimator).min();
        let next = next.map(|next| now.since_start(next));
        if let Some(next) = next.into_iter().chain(self.repairs.next_copy()).min() {
            // Timers of operating systems and runtimes have a resolution of a millisecond.
            let ms = next.max(now.time).as_micros().div_ceil(1000);
            let at = Duration::from_millis(ms as u64).max(now.time + Duration::from_micros(1));
            if self.pacer_at.is_none_or(|set| set > at || set <= now.time) {
                self.pacer_at = Some(at);
                now.wake(at, PACER);
            }
        }
    }

    /// A packet gets its number when it leaves, so that what is dropped before leaves no gap.
    fn number(&mut self, time: Duration, part: Part) -> Part {
        let part = Part {
            number: self.next_number,
            ..part
        };
        self.next_number += 1;
        self.repairs.sent(time, part);
        part
    }

    fn repair(&mut self, now: &Now<'_>, numbers: &[u32]) {
        let target = self.estimator.target_bitrate().bps() as f64;
        let stats = self.estimator.stats();
        let parts = self.repairs.answer(now.time, numbers, target, &stats);
        self.send_again(parts);
    }

    fn send_again(&mut self, parts: Vec<Part>) {
        for part in parts {
            // The number of the packet that it repairs (RFC 4588 section 4).
            let size = part.bytes + 2;
            let queued = Queued {
                kind: Kind::Video(part),
                size,
            };
            let _ = self
                .pacer
                .enqueue(Priority::Repair, queued, size, part.key_frame);
        }
    }

    /// What waits too long is dropped; the picture begins anew.
    fn check_age(&mut self, now: &mut Now<'_>) {
        self.pacer
            .set_rate(now.instant(), self.estimator.pacing_rate());
        if self.pacer.is_stale() && self.pacer.drop_pictures() > 0 {
            self.pictures_dropped += 1;
            self.repairs.clear();
            self.encoder.begin_with_key_frame();
        }
    }

    fn round_trip(&self) -> Duration {
        let measured = self.estimator.stats().round_trip_time;
        measured.unwrap_or(Duration::from_millis(100))
    }

    fn ask(&mut self, now: &mut Now<'_>) {
        let round_trip = self.round_trip();
        if self.receiver.wants_key_frame(now.time, round_trip) {
            now.reply(60, Content::KeyFrameRequest);
        }
        let due = self.receiver.nack(now.time, round_trip);
        if !due.is_empty() {
            now.reply(
                FEEDBACK_PACKET + 4 * due.len().div_ceil(8),
                Content::Nack(due),
            );
        }
    }
}

impl Flow for MediaFlow {
    fn start(&mut self, now: &mut Now<'_>) {
        // Cameras and sound cards of different people do not tick together.
        let shift = Duration::from_millis((now.random.unit() * 30.0) as u64);
        now.wake(now.time + shift, CAPTURE);
        now.wake(now.time + shift / 2, AUDIO);
        now.wake(now.time + self.config.feedback_interval, FEEDBACK);
        now.wake(now.time + NACK_INTERVAL, NACK);
    }

    fn timer(&mut self, now: &mut Now<'_>, timer: Timer) {
        match timer {
            CAPTURE => {
                self.capture(now);
                now.wake(now.time + CAPTURE_INTERVAL, CAPTURE);
            }
            AUDIO => {
                self.audio(now);
                now.wake(now.time + AUDIO_INTERVAL, AUDIO);
            }
            FEEDBACK => {
                if let Some(statuses) = self.receiver.feedback() {
                    // Two bits per status and up to two bytes per delta.
                    let size = FEEDBACK_PACKET + statuses.len() / 4 + statuses.len();
                    now.reply(size, Content::Feedback(statuses));
                }
                now.wake(now.time + self.config.feedback_interval, FEEDBACK);
                return;
            }
            NACK => {
                self.ask(now);
                now.wake(now.time + NACK_INTERVAL, NACK);
                return;
            }
            // Another one was set for an earlier time.
            _ if self.pacer_at != Some(now.time) => return,
            _ => self.pacer_at = None,
        }
        self.pump(now);
    }

    fn arrive(&mut self, now: &mut Now<'_>, content: Content, trace: &mut Trace) {
        match content {
            Content::Media(packet) => {
                let mut shown = Vec::new();
                let new = self.receiver.receive(now.time, &packet, &mut shown);
                let bytes = match packet.kind {
                    Kind::Audio(captured, bytes) => {
                        self.playout.heard(now.time, captured);
                        bytes
                    }
                    Kind::Video(part) => part.bytes,
                    Kind::Padding => 0,
                };
                trace.useful(now.time, if new { bytes } else { 0 });
                for frame in shown {
                    let at = self.playout.show(now.time, frame.captured);
                    trace.shown(at, frame.captured);
                }
                return;
            }
            Content::Feedback(statuses) => {
                self.estimator.on_feedback(now.instant(), statuses);
                self.check_age(now);
                self.samples.push(Sample {
                    at: now.time,
                    target: self.estimator.target_bitrate(),
                    constraints: self.ladder.constraints(),
                    stats: self.estimator.stats(),
                });
            }
            Content::Nack(numbers) => self.repair(now, &numbers),
            Content::KeyFrameRequest => {
                trace.key_frame_requests += 1;
                self.encoder.request_key_frame();
            }
            Content::Tcp(_) | Content::TcpAck(_) => return,
        }
        self.pump(now);
    }

    fn finish(&mut self, trace: &mut Trace) {
        trace.samples = std::mem::take(&mut self.samples);
        trace.frames_left_out = self.frames_left_out;
        trace.pictures_dropped = self.pictures_dropped;
        trace.key_frames = self.key_frames;
    }
}

fn sound(target: Bitrate) -> Bitrate {
    let step = SOUND.iter().find(|(from, _)| target.kbps() >= *from);
    Bitrate::from_kbps(step.map_or(16, |(_, kbps)| *kbps))
}

fn on_wire(sound: Bitrate) -> Bitrate {
    let headers = SOUND_PACKETS * 8 * (HEADER + WIRE_OVERHEAD) as u64;
    Bitrate::from_bps(sound.bps() + headers)
}
