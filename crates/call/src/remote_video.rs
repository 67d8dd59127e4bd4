//! Pictures of one participant: packets in, whole frames out to whoever takes them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ahoy_bandwidth::repair;
use ahoy_media::frame::{EncodedFrame, EncodedVideoSink};
use ahoy_media::rtp::RtpPacket;
use ahoy_media::units::Resolution;
use ahoy_video::jitter::{VideoJitterBuffer, VideoJitterStats, VideoOutput};
use ahoy_video::playout_delay::PlayoutDelay;
use tokio::sync::mpsc;

use crate::lip_sync::SoundAndPicture;
use crate::local::VideoFanOut;
use crate::stats::FrameClock;

/// Packets between the connection and the jitter buffer: half a second of 4 Mbit/s. When the task
/// is held up longer, packets are dropped and counted; the jitter buffer then asks for repair.
const PACKET_CAPACITY: usize = 256;

/// Frames that wait for their time: three seconds of 30 per second. When more come, the oldest go
/// on before their time.
const MAX_HELD: usize = 90;

/// Least time between two frames that are handed on: what came together when a gap was filled is
/// decoded one after the other instead of flooding the decoder or the window.
const CATCH_UP: Duration = Duration::from_millis(8);

/// The receiving end of one participant's pictures. Dropping it ends its task.
pub struct RemoteVideo {
    packets: mpsc::Sender<RtpPacket>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    frames_out: Arc<VideoFanOut>,
    figures: Mutex<Figures>,
    dropped: AtomicU64,
    /// In µs; 0 while unknown.
    round_trip_time: AtomicU64,
}

#[derive(Default)]
struct Figures {
    jitter: VideoJitterStats,
    clock: FrameClock,
    size: Option<Resolution>,
    held_s: f64,
    skew_s: Option<f64>,
}

impl Shared {
    fn figures(&self) -> MutexGuard<'_, Figures> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known about the received picture.
#[derive(Debug, Clone, Default)]
pub struct RemoteVideoStats {
    /// The jitter buffer's counters.
    pub jitter: VideoJitterStats,
    /// Frames handed on.
    pub frames: u32,
    /// Freezes in the sense of webrtc-stats.
    pub freezes: u32,
    /// Their length together, in seconds.
    pub frozen_s: f64,
    /// Frames per second just now.
    pub frames_per_second: f64,
    /// Size of the last frame, in pixels.
    pub size: Option<(u32, u32)>,
    /// Packets dropped because the task was held up.
    pub packets_dropped: u64,
    /// Sum over all frames of the seconds that they waited to move evenly and with their sound.
    pub held_s: f64,
    /// How much later the last picture is seen than its sound is heard, in seconds; negative when
    /// the sound comes later. `None` while unknown.
    pub skew_s: Option<f64>,
}

impl RemoteVideo {
    /// Starts the task. Frames wait for what `sound` says; `need_key_frame` is called, on the
    /// task, when nothing can be decoded until the sender makes a key frame.
    pub fn start(sound: Arc<SoundAndPicture>, need_key_frame: impl Fn() + Send + 'static) -> Self {
        let (packets, receiver) = mpsc::channel(PACKET_CAPACITY);
        let shared = Arc::new(Shared::default());
        let task = Task {
            shared: Arc::clone(&shared),
            sound,
            buffer: VideoJitterBuffer::new(),
            even: PlayoutDelay::new(Instant::now()),
            held: VecDeque::new(),
            handed_on: None,
            need_key_frame,
        };
        tokio::spawn(task.run(receiver));
        Self { packets, shared }
    }

    /// One packet from the network; never blocks.
    pub fn push(&self, packet: RtpPacket) {
        if self.packets.try_send(packet).is_err() {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Who takes the frames.
    pub fn frames_out(&self) -> &Arc<VideoFanOut> {
        &self.shared.frames_out
    }

    /// The round trip to the sender, by which a gap waits for its repair.
    pub fn set_round_trip_time(&self, round_trip: Duration) {
        let micros = u64::try_from(round_trip.as_micros()).unwrap_or(u64::MAX);
        self.shared
            .round_trip_time
            .store(micros.max(1), Ordering::Relaxed);
    }

    /// The sender has switched its camera: the gap is no freeze.
    pub fn paused(&self) {
        self.shared.figures().clock.pause();
    }

    /// Counters so far.
    pub fn stats(&self) -> RemoteVideoStats {
        let figures = self.shared.figures();
        let clock = &figures.clock;
        RemoteVideoStats {
            jitter: figures.jitter,
            frames: clock.frames(),
            freezes: clock.freezes(),
            frozen_s: clock.frozen().as_secs_f64(),
            frames_per_second: clock.frames_per_second(Instant::now()),
            size: figures.size.map(|size| (size.width, size.height)),
            packets_dropped: self.shared.dropped.load(Ordering::Relaxed),
            held_s: figures.held_s,
            skew_s: figures.skew_s,
        }
    }
}

struct Task<F> {
    shared: Arc<Shared>,
    sound: Arc<SoundAndPicture>,
    buffer: VideoJitterBuffer,
    even: PlayoutDelay,
    /// Whole frames in decoding order, and when they are due.
    held: VecDeque<(Instant, EncodedFrame)>,
    /// When the last frame was handed on.
    handed_on: Option<Instant>,
    need_key_frame: F,
}

impl<F: Fn() + Send> Task<F> {
    async fn run(mut self, mut packets: mpsc::Receiver<RtpPacket>) {
        loop {
            let due = self.held.front().map(|(due, _)| *due);
            let timeout = self.buffer.poll_timeout().into_iter().chain(due).min();
            let wake = async {
                match timeout {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                packet = packets.recv() => match packet {
                    Some(packet) => self.buffer.push(packet, Instant::now()),
                    None => return,
                },
                () = wake => {}
            }
            self.heed_round_trip();
            self.take_over(Instant::now());
            self.hand_on(Instant::now());
        }
    }

    fn heed_round_trip(&mut self) {
        let micros = self.shared.round_trip_time.load(Ordering::Relaxed);
        if micros > 0 {
            self.buffer
                .set_repair_wait(repair::patience(Duration::from_micros(micros)));
        }
    }

    /// Takes what is complete.
    fn take_over(&mut self, now: Instant) {
        let mut waited = 0.0;
        let mut skew = None;
        while let Some(output) = self.buffer.poll(now) {
            match output {
                VideoOutput::Frame(frame) => {
                    let even = self.even.due(frame.rtp_timestamp, now);
                    let timing = self.sound.picture_due(frame.rtp_timestamp, now, even);
                    // A frame never overtakes the one it builds upon.
                    let before = self.held.back().map(|(due, _)| *due);
                    let earliest = before.or(self.handed_on).map_or(now, |at| at + CATCH_UP);
                    let due = timing.due.max(earliest);
                    waited += due.saturating_duration_since(now).as_secs_f64();
                    skew = timing.skew_s;
                    self.held.push_back((due, frame));
                }
                VideoOutput::NeedKeyFrame => (self.need_key_frame)(),
            }
        }
        let mut figures = self.figures();
        figures.jitter = self.buffer.stats();
        figures.held_s += waited;
        figures.skew_s = skew.or(figures.skew_s);
    }

    /// Hands on what is due.
    fn hand_on(&mut self, now: Instant) {
        while let Some((due, _)) = self.held.front()
            && (*due <= now || self.held.len() > MAX_HELD)
            && let Some((_, frame)) = self.held.pop_front()
        {
            self.handed_on = Some(now);
            self.shared.frames_out.on_encoded_frame(&frame);
            let mut figures = self.figures();
            figures.clock.frame(now);
            figures.size = Some(frame.resolution);
        }
    }

    fn figures(&self) -> MutexGuard<'_, Figures> {
        self.shared.figures()
    }
}
