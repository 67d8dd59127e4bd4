//! A call from `a` to `b` on a link, with a modelled camera and encoder at one end and at the other
//! all that decides when a picture is shown.

use std::time::{Duration, Instant};

use ahoy_audio::BLOCK_SAMPLES;
use ahoy_audio::jitter::AudioJitterBuffer;
use ahoy_call::adaptation::{Adaptation, Decision, Situation};
use ahoy_call::lip_sync::LipSync;
use ahoy_call::transport::{LocalAddresses, PathEstimate, TransportConfig};
use ahoy_media::frame::{DecodeCounts, EncodedFrame};
use ahoy_media::units::{Bitrate, Resolution, VideoConstraints};
use ahoy_video::jitter::{VideoJitterBuffer, VideoOutput};
use ahoy_video::playout_delay::PlayoutDelay;
use ahoy_video::send::VideoSendStats;

use crate::microphone::{Microphone, Speech};
use crate::sim::{Link, World};
use crate::transport_support::{Peer, roles};

const TICK: Duration = Duration::from_millis(1);
/// Ticks of the picture's RTP clock per second.
const PICTURE_HZ: f64 = 90_000.0;
/// Sound is played in blocks of this length, and heard so much later.
const BLOCK: Duration = Duration::from_millis(10);
const SPEAKER: Duration = Duration::from_millis(20);
/// Least time between two frames.
const CATCH_UP: Duration = Duration::from_millis(8);
/// A key frame is as large as so many others, which are made smaller afterwards.
const KEY_FRAME: f64 = 6.0;
const SAVED_OVER: f64 = 30.0;

/// A modelled camera and encoder.
struct Source {
    adaptation: Adaptation,
    decision: Decision,
    /// Where the clocks of both streams begin.
    zero: Instant,
    next: Instant,
    debt: f64,
    requests: usize,
    key_frame_at: Option<Instant>,
    size: Resolution,
}

impl Source {
    fn new(now: Instant) -> Self {
        let mut adaptation = Adaptation::default();
        let decision = adaptation.update(now, &situation(&[], Bitrate::default()));
        Self {
            adaptation,
            decision,
            zero: now,
            next: now,
            debt: 0.0,
            requests: 0,
            key_frame_at: None,
            size: Resolution::new(0, 0),
        }
    }

    fn adapt(&mut self, now: Instant, peer: &Peer, sound: Bitrate) {
        let paths = [peer.transport.path_estimate()];
        self.decision = self.adaptation.update(now, &situation(&paths, sound));
        peer.transport.set_needed_bitrate(self.decision.needed);
    }

    /// The frame of this moment, if there is one.
    fn frame(&mut self, now: Instant, peer: &Peer) -> Option<EncodedFrame> {
        let encoding = self.decision.encoding;
        if now < self.next {
            return None;
        }
        self.next += Duration::from_secs(1) / encoding.constraints.frame_rate;
        if peer.transport.is_backed_up() {
            return None;
        }
        let resolution = encoding.constraints.resolution;
        let allowed = self
            .key_frame_at
            .is_none_or(|at| now - at >= Duration::from_secs(1));
        let requests = peer.received.key_frame_requests();
        let asked = requests != self.requests && allowed;
        let key_frame = resolution != self.size || asked;
        let share =
            encoding.bitrate.bps() as f64 / 8.0 / f64::from(encoding.constraints.frame_rate);
        let mut bytes = share - (self.debt / SAVED_OVER).min(share * 0.5);
        self.debt -= share - bytes;
        if key_frame {
            self.requests = requests;
            self.key_frame_at = Some(now);
            self.size = resolution;
            self.debt += share * (KEY_FRAME - 1.0);
            bytes = share * KEY_FRAME;
        }
        let age = now.saturating_duration_since(self.zero);
        Some(EncodedFrame {
            data: picture(key_frame, resolution, bytes as usize).into(),
            key_frame,
            rtp_timestamp: (age.as_secs_f64() * PICTURE_HZ) as u32,
            captured_at: now,
            resolution,
        })
    }
}

fn situation(paths: &[PathEstimate], sound: Bitrate) -> Situation<'_> {
    Situation {
        wanted: VideoConstraints {
            resolution: Resolution::new(1280, 720),
            frame_rate: 30,
        },
        sound,
        paths,
        encoder: VideoSendStats::default(),
        decoders: DecodeCounts::default(),
    }
}

/// The beginning of a VP8 frame (RFC 6386 section 9.1), and nothing of use behind it.
fn picture(key_frame: bool, size: Resolution, bytes: usize) -> Vec<u8> {
    let mut data = vec![0; bytes.max(20)];
    if key_frame {
        data[..6].copy_from_slice(&[0x10, 0, 0, 0x9d, 0x01, 0x2a]);
        data[6..8].copy_from_slice(&(size.width as u16).to_le_bytes());
        data[8..10].copy_from_slice(&(size.height as u16).to_le_bytes());
    } else {
        data[0] = 1;
    }
    data
}

/// A frame on the screen, on the clock of the world.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown {
    pub(crate) at: Duration,
    pub(crate) captured: Duration,
}

/// What the other side sees and hears.
pub(crate) struct Screen {
    buffer: VideoJitterBuffer,
    even: PlayoutDelay,
    together: LipSync,
    sound: AudioJitterBuffer,
    taken: (usize, usize),
    /// Where the clocks of both streams begin, on the clock of the world.
    zero: Duration,
    played: Instant,
    pub(crate) shown: Vec<Shown>,
    /// When each packet of the picture came, and its payload in bytes.
    received: Vec<(Duration, usize)>,
    pub(crate) key_frames_asked: usize,
}

impl Screen {
    fn new(now: Instant) -> Self {
        Self {
            buffer: VideoJitterBuffer::new(),
            even: PlayoutDelay::new(now),
            together: LipSync::new(now),
            sound: AudioJitterBuffer::new(now).expect("a decoder"),
            taken: (0, 0),
            zero: Duration::ZERO,
            played: now,
            shown: Vec::new(),
            received: Vec::new(),
            key_frames_asked: 0,
        }
    }

    /// Both streams begin now.
    fn begin(&mut self, world: &World) {
        self.zero = world.elapsed();
        let second: u64 = 1000 << 32;
        self.together.audio_report(second, 0);
        self.together.video_report(second, 0);
    }

    fn take(&mut self, world: &World, peer: &Peer) {
        let now = world.now();
        self.play(now, peer);
        if let Some(round_trip) = peer.transport.round_trip_time() {
            self.buffer
                .set_repair_wait(ahoy_bandwidth::repair::patience(round_trip));
        }
        let packets = peer.received.video_from(self.taken.1);
        self.taken.1 += packets.len();
        for packet in packets {
            self.received.push((world.elapsed(), packet.payload.len()));
            self.buffer.push(packet, now);
        }
        while let Some(output) = self.buffer.poll(now) {
            match output {
                VideoOutput::Frame(frame) => self.show(world, frame.rtp_timestamp),
                VideoOutput::NeedKeyFrame => {
                    self.key_frames_asked += 1;
                    peer.transport.request_key_frame();
                }
            }
        }
    }

    /// As `RemoteVideo` does it.
    fn show(&mut self, world: &World, rtp_timestamp: u32) {
        let now = world.now();
        let even = self.even.due(rtp_timestamp, now);
        let due = self.together.picture_due(rtp_timestamp, now, even);
        let earliest = self.shown.last().map(|last| last.at + CATCH_UP);
        let at = (world.elapsed() + (due - now)).max(earliest.unwrap_or_default());
        let age = Duration::from_secs_f64(f64::from(rtp_timestamp) / PICTURE_HZ);
        self.shown.push(Shown {
            at,
            captured: self.zero + age,
        });
    }

    /// Packets of sound that are missing, and the gaps they make.
    fn sound_gaps(&self, peer: &Peer) -> (u64, u64) {
        let stats = self.sound.stats();
        let (copied, gaps_closed) = peer.transport.sound_restored();
        (
            stats.missing_packets + copied,
            stats.missing_bursts + gaps_closed,
        )
    }

    fn play(&mut self, now: Instant, peer: &Peer) {
        let packets = peer.received.audio_from(self.taken.0);
        self.taken.0 += packets.len();
        for packet in packets {
            self.sound.push(packet, now);
        }
        while now >= self.played + BLOCK {
            self.played += BLOCK;
            let network = self.sound.network_transit();
            let held = self.together.hold_sound(network, now);
            self.sound.set_minimum_transit(held);
            if let Some(sample) = self.sound.position() {
                self.together.sound_plays(sample, now + SPEAKER);
            }
            self.sound
                .pull_10ms(self.played, &mut [[0.0; 2]; BLOCK_SAMPLES]);
        }
    }

    /// What frames are given to move evenly, in seconds.
    pub(crate) fn evening_out(&self) -> f64 {
        self.even.delay()
    }

    pub(crate) fn longest_gap(&self, from: Duration, to: Duration) -> Duration {
        let times = self.shown.iter().map(|shown| shown.at);
        let within: Vec<_> = times.filter(|at| (from..to).contains(at)).collect();
        let ends = [from]
            .into_iter()
            .chain(within)
            .chain([to])
            .collect::<Vec<_>>();
        let gaps = ends.windows(2).map(|pair| pair[1] - pair[0]);
        gaps.max().unwrap_or_default()
    }

    pub(crate) fn frames(&self, from: Duration, to: Duration) -> usize {
        self.within(from, to).count()
    }

    fn within(&self, from: Duration, to: Duration) -> impl Iterator<Item = &Shown> {
        let shown = self.shown.iter();
        shown.filter(move |shown| (from..to).contains(&shown.at))
    }

    /// Payload of the picture, in bit/s.
    pub(crate) fn rate(&self, from: Duration, to: Duration) -> f64 {
        let came = self.received.iter();
        let came = came.filter(|(at, _)| (from..to).contains(at));
        let bytes: usize = came.map(|(_, bytes)| bytes).sum();
        bytes as f64 * 8.0 / (to - from).as_secs_f64()
    }

    /// From capture to screen, in order.
    pub(crate) fn delays(&self, from: Duration, to: Duration) -> Vec<Duration> {
        let shown = self.within(from, to);
        let mut delays: Vec<_> = shown.map(|shown| shown.at - shown.captured).collect();
        delays.sort_unstable();
        delays
    }

    /// Share of the time in freezes (webrtc-stats, `freezeCount`).
    pub(crate) fn frozen(&self, from: Duration, to: Duration) -> f64 {
        let times: Vec<_> = self
            .within(from, to)
            .map(|shown| shown.at.as_secs_f64())
            .collect();
        let (mut mean, mut frozen) = (1.0 / 30.0, 0.0);
        for gap in times.windows(2).map(|pair| pair[1] - pair[0]) {
            if gap > f64::max(3.0 * mean, mean + 0.150) {
                frozen += gap;
            }
            mean = 0.97 * mean + 0.03 * gap.min(0.5);
        }
        frozen / (to - from).as_secs_f64()
    }
}

/// What was decided at a moment, and from what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Decided {
    pub(crate) at: Duration,
    pub(crate) lines: u32,
    pub(crate) sound: Bitrate,
    pub(crate) path: PathEstimate,
}

/// When the streams of a call begin.
const BEGIN: Duration = seconds(5);

/// A call from `a` to `b` on a link.
pub(crate) struct Call {
    world: World,
    pub(crate) a: Peer,
    pub(crate) b: Peer,
    source: Source,
    microphones: [Microphone; 2],
    /// What was asked for, every 50 ms.
    decided: Vec<Decided>,
    pub(crate) screen: Screen,
    ticks: u32,
}

impl Call {
    pub(crate) async fn connect(world: &World) -> Self {
        let config = || TransportConfig {
            local_addresses: LocalAddresses::Loopback,
            runtime: Some(world.runtime()),
            ..TransportConfig::default()
        };
        let (first, second) = roles();
        let mut call = Self {
            a: Peer::new(first, config()).await,
            b: Peer::new(second, config()).await,
            source: Source::new(world.now()),
            microphones: [0, 1].map(|_| Microphone::new(world.now())),
            decided: Vec::new(),
            screen: Screen::new(world.now()),
            world: world.clone(),
            ticks: 0,
        };
        while !(call.a.connected() && call.b.connected()) {
            call.tick().await;
        }
        // Handshakes differ in length; what follows begins at the same moment each time.
        assert!(world.elapsed() < BEGIN);
        world.sleep(BEGIN - TICK - world.elapsed()).await;
        call.tick().await;
        call.source.next = world.now();
        call.source.zero = world.now();
        for microphone in &mut call.microphones {
            microphone.begin(world.now());
        }
        call.screen.begin(world);
        call
    }

    async fn tick(&mut self) {
        while self.a.step(&mut self.b.inbox).await | self.b.step(&mut self.a.inbox).await {}
        self.world.sleep(TICK).await;
    }

    /// Until so long after the beginning of the world.
    pub(crate) async fn go(&mut self, until: Duration) {
        while self.world.elapsed() < until {
            let now = self.world.now();
            if self.ticks.is_multiple_of(50) {
                let gaps = self.screen.sound_gaps(&self.b);
                let [ours, theirs] = &mut self.microphones;
                let sound = ours.adapt(now, &self.a, gaps);
                // The way back is alike.
                theirs.adapt(now, &self.b, gaps);
                self.source.adapt(now, &self.a, sound);
                self.decided.push(Decided {
                    at: self.world.elapsed(),
                    lines: self.source.decision.encoding.constraints.resolution.height,
                    sound,
                    path: self.a.transport.path_estimate(),
                });
            }
            let [ours, theirs] = &mut self.microphones;
            if let Some(sound) = ours.packet(now) {
                self.a.transport.send_audio(&sound);
            }
            if let Some(sound) = theirs.packet(now) {
                self.b.transport.send_audio(&sound);
            }
            if let Some(frame) = self.source.frame(now, &self.a) {
                self.a.transport.send_video(&frame);
            }
            self.ticks += 1;
            self.tick().await;
            self.screen.take(&self.world, &self.b);
        }
    }

    pub(crate) fn set_speech(&mut self, speech: Speech) {
        for microphone in &mut self.microphones {
            microphone.set_speech(speech);
        }
    }

    /// The mean of a figure of what was decided.
    pub(crate) fn mean(
        &self,
        (from, to): (Duration, Duration),
        of: impl Fn(&Decided) -> f64,
    ) -> f64 {
        let within = self.decided.iter();
        let within = within.filter(|it| (from..to).contains(&it.at));
        let figures: Vec<f64> = within.map(of).collect();
        figures.iter().sum::<f64>() / figures.len().max(1) as f64
    }

    /// The most that a figure of what was decided came to.
    pub(crate) fn most(
        &self,
        (from, to): (Duration, Duration),
        of: impl Fn(&Decided) -> f64,
    ) -> f64 {
        self.decided
            .iter()
            .filter(|it| (from..to).contains(&it.at))
            .map(of)
            .fold(0.0, f64::max)
    }

    pub(crate) fn kbps(&self) -> u64 {
        self.source.decision.encoding.bitrate.kbps()
    }

    pub(crate) fn lines(&self) -> u32 {
        self.source.decision.encoding.constraints.resolution.height
    }
}

pub(crate) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn link(delay_ms: u64, bits_per_second: f64) -> Link {
    let mut link = Link::with_delay(Duration::from_millis(delay_ms));
    link.bits_per_second = Some(bits_per_second);
    link
}
