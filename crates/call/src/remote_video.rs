//! Pictures of one participant: packets in, whole frames out to whoever takes them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use ahoy_media::frame::EncodedVideoSink;
use ahoy_media::rtp::RtpPacket;
use ahoy_media::units::Resolution;
use ahoy_video::jitter::{VideoJitterBuffer, VideoJitterStats, VideoOutput};
use tokio::sync::mpsc;

use crate::local::VideoFanOut;
use crate::stats::FrameClock;

/// Packets between the connection and the jitter buffer: half a second of 4 Mbit/s. When the task
/// is held up longer, packets are dropped and counted; the jitter buffer then asks for repair.
const PACKET_CAPACITY: usize = 256;

/// The receiving end of one participant's pictures. Dropping it ends its task.
pub struct RemoteVideo {
    packets: mpsc::Sender<RtpPacket>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    frames_out: Arc<VideoFanOut>,
    figures: Mutex<(VideoJitterStats, FrameClock, Option<Resolution>)>,
    dropped: AtomicU64,
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
}

impl RemoteVideo {
    /// Starts the task. `need_key_frame` is called, on the task, when nothing can be decoded
    /// until the sender makes a key frame.
    pub fn start(need_key_frame: impl Fn() + Send + 'static) -> Self {
        let (packets, receiver) = mpsc::channel(PACKET_CAPACITY);
        let shared = Arc::new(Shared::default());
        tokio::spawn(run(receiver, Arc::clone(&shared), need_key_frame));
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

    /// The sender has switched its camera: the gap is no freeze.
    pub fn paused(&self) {
        self.figures().1.pause();
    }

    /// Counters so far.
    pub fn stats(&self) -> RemoteVideoStats {
        let figures = self.figures();
        let (jitter, clock, last) = &*figures;
        RemoteVideoStats {
            jitter: *jitter,
            frames: clock.frames(),
            freezes: clock.freezes(),
            frozen_s: clock.frozen().as_secs_f64(),
            frames_per_second: clock.frames_per_second(Instant::now()),
            size: last.as_ref().map(|size| (size.width, size.height)),
            packets_dropped: self.shared.dropped.load(Ordering::Relaxed),
        }
    }

    fn figures(
        &self,
    ) -> std::sync::MutexGuard<'_, (VideoJitterStats, FrameClock, Option<Resolution>)> {
        self.shared
            .figures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

async fn run(
    mut packets: mpsc::Receiver<RtpPacket>,
    shared: Arc<Shared>,
    need_key_frame: impl Fn() + Send + 'static,
) {
    let mut buffer = VideoJitterBuffer::new();
    loop {
        let timeout = buffer.poll_timeout();
        let wake = async {
            match timeout {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            packet = packets.recv() => match packet {
                Some(packet) => buffer.push(packet, Instant::now()),
                None => return,
            },
            () = wake => {}
        }
        hand_on(&mut buffer, &shared, &need_key_frame);
    }
}

fn hand_on(buffer: &mut VideoJitterBuffer, shared: &Shared, need_key_frame: &impl Fn()) {
    while let Some(output) = buffer.poll(Instant::now()) {
        match output {
            VideoOutput::Frame(frame) => {
                shared.frames_out.on_encoded_frame(&frame);
                let mut figures = shared
                    .figures
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                figures.1.frame(Instant::now());
                figures.2 = Some(frame.resolution);
            }
            VideoOutput::NeedKeyFrame => need_key_frame(),
        }
    }
    let mut figures = shared
        .figures
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    figures.0 = buffer.stats();
}
