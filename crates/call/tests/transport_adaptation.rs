//! The whole way of a picture but for camera and codec, on a virtual network in virtual time: what
//! the encoder is asked for, pacing, loss, repair, the jitter buffer, and when each frame is shown.

#[allow(dead_code, reason = "each test file uses a part")]
#[path = "transport_support/sim.rs"]
mod sim;
mod transport_support;

use std::time::{Duration, Instant};

use ahoy_call::adaptation::{Adaptation, Decision, Situation};
use ahoy_call::transport::{LocalAddresses, TransportConfig};
use ahoy_media::frame::EncodedFrame;
use ahoy_media::units::{Bitrate, Resolution, VideoConstraints};
use ahoy_video::jitter::{VideoJitterBuffer, VideoOutput};
use ahoy_video::playout_delay::PlayoutDelay;
use ahoy_video::send::VideoSendStats;
use sim::{Link, World};
use transport_support::{Peer, roles, sound};

/// Thrifty sound: 20 kbit/s.
const SOUND_BYTES: usize = 50;
const TICK: Duration = Duration::from_millis(1);
/// A key frame is as large as so many others, which are made smaller afterwards.
const KEY_FRAME: f64 = 6.0;
const SAVED_OVER: f64 = 30.0;

/// A modelled camera and encoder.
struct Source {
    adaptation: Adaptation,
    decision: Decision,
    next: Instant,
    number: u32,
    debt: f64,
    requests: usize,
    key_frame_at: Option<Instant>,
    size: Resolution,
}

impl Source {
    fn new(now: Instant) -> Self {
        let mut adaptation = Adaptation::default();
        let decision = adaptation.update(now, &situation(&[]));
        Self {
            adaptation,
            decision,
            next: now,
            number: 0,
            debt: 0.0,
            requests: 0,
            key_frame_at: None,
            size: Resolution::new(0, 0),
        }
    }

    fn adapt(&mut self, now: Instant, peer: &Peer) {
        let paths = [peer.transport.path_estimate()];
        self.decision = self.adaptation.update(now, &situation(&paths));
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
        self.number += 1;
        Some(EncodedFrame {
            data: picture(key_frame, resolution, bytes as usize).into(),
            key_frame,
            rtp_timestamp: self.number.wrapping_mul(3000),
            captured_at: now,
            resolution,
        })
    }
}

fn situation(paths: &[ahoy_call::transport::PathEstimate]) -> Situation<'_> {
    Situation {
        wanted: VideoConstraints {
            resolution: Resolution::new(1280, 720),
            frame_rate: 30,
        },
        // With 58 bytes of headers, 50 times a second.
        sound: Bitrate::from_bps((SOUND_BYTES as u64 + 58) * 8 * 50),
        paths,
        encoder: VideoSendStats::default(),
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

/// What the other side sees.
struct Screen {
    buffer: VideoJitterBuffer,
    even: PlayoutDelay,
    taken: usize,
    /// When each frame is shown, on the clock of the world, and its lines.
    shown: Vec<(Duration, u32)>,
}

impl Screen {
    fn new(now: Instant) -> Self {
        Self {
            buffer: VideoJitterBuffer::new(),
            even: PlayoutDelay::new(now),
            taken: 0,
            shown: Vec::new(),
        }
    }

    fn take(&mut self, world: &World, peer: &Peer) {
        let now = world.now();
        if let Some(round_trip) = peer.transport.round_trip_time() {
            self.buffer
                .set_repair_wait(ahoy_bandwidth::repair::patience(round_trip));
        }
        let packets = peer.received.video_from(self.taken);
        self.taken += packets.len();
        for packet in packets {
            self.buffer.push(packet, now);
        }
        while let Some(output) = self.buffer.poll(now) {
            match output {
                VideoOutput::Frame(frame) => {
                    let wait = self.even.due(frame.rtp_timestamp, now) - now;
                    let before = self.shown.last().map_or(Duration::ZERO, |(at, _)| *at);
                    let at = (world.elapsed() + wait).max(before);
                    self.shown.push((at, frame.resolution.height));
                }
                VideoOutput::NeedKeyFrame => peer.transport.request_key_frame(),
            }
        }
    }

    fn longest_gap(&self, from: Duration, to: Duration) -> Duration {
        let times = self.shown.iter().map(|(at, _)| *at);
        let within: Vec<_> = times.filter(|at| (from..to).contains(at)).collect();
        let ends = [from]
            .into_iter()
            .chain(within)
            .chain([to])
            .collect::<Vec<_>>();
        let gaps = ends.windows(2).map(|pair| pair[1] - pair[0]);
        gaps.max().unwrap_or_default()
    }

    fn frames(&self, from: Duration, to: Duration) -> usize {
        let within = |(at, _): &&(Duration, u32)| (from..to).contains(at);
        self.shown.iter().filter(within).count()
    }
}

/// A call from `a` to `b` on a link.
struct Call {
    world: World,
    a: Peer,
    b: Peer,
    source: Source,
    screen: Screen,
    ticks: u32,
}

impl Call {
    async fn connect(world: &World) -> Self {
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
            screen: Screen::new(world.now()),
            world: world.clone(),
            ticks: 0,
        };
        while !(call.a.connected() && call.b.connected()) {
            call.tick().await;
        }
        call.source.next = world.now();
        call
    }

    async fn tick(&mut self) {
        while self.a.step(&mut self.b.inbox).await | self.b.step(&mut self.a.inbox).await {}
        self.world.sleep(TICK).await;
    }

    /// Until so long after the beginning of the world.
    async fn go(&mut self, until: Duration) {
        while self.world.elapsed() < until {
            let now = self.world.now();
            if self.ticks.is_multiple_of(50) {
                self.source.adapt(now, &self.a);
            }
            if self.ticks.is_multiple_of(20) {
                let mut sound = sound(self.ticks / 20, now);
                sound.data.truncate(SOUND_BYTES);
                self.a.transport.send_audio(&sound);
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

    fn kbps(&self) -> u64 {
        self.source.decision.encoding.bitrate.kbps()
    }

    fn lines(&self) -> u32 {
        self.source.decision.encoding.constraints.resolution.height
    }
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn link(delay_ms: u64, bits_per_second: f64) -> Link {
    let mut link = Link::with_delay(Duration::from_millis(delay_ms));
    link.bits_per_second = Some(bits_per_second);
    link
}

#[test]
fn sharp_within_three_seconds_and_alive_through_a_drop() {
    let world = World::new(link(25, 4e6), 21);
    world.clone().run(async move {
        let mut call = Call::connect(&world).await;
        let start = world.elapsed();
        call.go(start + seconds(3)).await;
        eprintln!("after 3 s: {} kbit/s, {} lines", call.kbps(), call.lines());
        assert!(call.kbps() > 2200 && call.lines() == 720);
        let first = call.screen.shown.first().expect("a frame").0 - start;
        eprintln!("first frame after {first:?}");
        assert!(first < Duration::from_millis(150), "{first:?}");

        call.go(start + seconds(15)).await;
        world.set_link(|link| link.bits_per_second = Some(500e3));
        let drop = world.elapsed();
        call.go(drop + seconds(20)).await;
        let gap = call.screen.longest_gap(drop - seconds(1), drop + seconds(20));
        let frames = call.screen.frames(drop + seconds(2), drop + seconds(20));
        eprintln!(
            "4 to 0.5 Mbit/s: longest gap {gap:?}, then {} kbit/s, {} lines, {:.1} frames per second",
            call.kbps(),
            call.lines(),
            frames as f64 / 18.0
        );
        assert!(gap <= Duration::from_millis(500), "{gap:?}");
        assert!((250..480).contains(&call.kbps()), "{}", call.kbps());
        assert!(frames > 18 * 27);

        world.set_link(|link| link.bits_per_second = Some(4e6));
        call.go(drop + seconds(26)).await;
        eprintln!("6 s after it is back: {} kbit/s, {} lines", call.kbps(), call.lines());
        assert!(call.kbps() > 2200 && call.lines() == 720);
    });
}

#[test]
fn loss_hardly_shows() {
    let world = World::new(link(25, 4e6), 22);
    world.clone().run(async move {
        let mut call = Call::connect(&world).await;
        let start = world.elapsed();
        call.go(start + seconds(5)).await;
        for (loss, least) in [(0.05, 29.0), (0.10, 28.5), (0.20, 28.0)] {
            world.set_link(|link| link.rtp_loss = loss);
            let from = world.elapsed() + seconds(5);
            let to = from + seconds(20);
            call.go(to).await;
            let rate = call.screen.frames(from, to) as f64 / 20.0;
            let gap = call.screen.longest_gap(from, to);
            let stats = call.b.transport.stats().await.inbound_video.expect("came");
            eprintln!(
                "{loss}: {} kbit/s, {} lines, {rate:.1} frames per second, longest gap {gap:?}, \
                 delay {:.3} s, {} PLI",
                call.kbps(),
                call.lines(),
                call.screen.even.delay(),
                stats.pli_count
            );
            assert!(rate >= least, "{rate}");
        }
    });
}

#[test]
fn a_slow_path_carries_a_small_picture() {
    let world = World::new(link(50, 150e3), 23);
    world.clone().run(async move {
        let mut call = Call::connect(&world).await;
        let start = world.elapsed();
        call.go(start + seconds(30)).await;
        let (from, to) = (start + seconds(10), start + seconds(30));
        let rate = call.screen.frames(from, to) as f64 / 20.0;
        let gap = call.screen.longest_gap(from, to);
        let (kbps, lines) = (call.kbps(), call.lines());
        eprintln!("{kbps} kbit/s, {lines} lines, {rate:.1} frames per second, gap {gap:?}");
        assert!(rate > 25.0 && gap < Duration::from_millis(400));
    });
}
