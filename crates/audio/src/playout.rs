//! From received packets to the speaker.
//!
//! ```text
//! RemoteAudio::push → queue ─▶ playout thread: jitter buffer per remote, mix ─▶ ring → device
//!                                    ▲                                      └─▶ observer, WAV file
//!          the device's ring runs low, or a timer when there is no device
//! ```

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TryRecvError, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::jitter::{AudioJitterBuffer, AudioReceiveStats};
use crate::level::{AudioLevel, LevelMeter, SharedLevel};
use crate::mixer::Mixer;
use crate::playout_clock::PlayoutClock;
use crate::priority::raise_current_thread;
use crate::processing::reference::{RenderPosition, RenderReference};
use crate::sink::PlayoutSink;
use crate::tone::TestSound;
use crate::{BLOCK_DURATION, BLOCK_SAMPLES, Block, SILENCE, STEREO_SILENCE, StereoBlock, mono};
use ahoy_media::device::{DeviceError, DeviceKind, DeviceProblem, MediaEvent, MediaEvents};
use ahoy_media::rtp::RtpPacket;
use ahoy_media::selection::SpeakerSelection;
use ahoy_media::units::AUDIO_CLOCK_HZ;
use ahoy_media::worker::Worker;

/// Packets of one remote between the network and the playout thread, which takes them every 10
/// or 20 ms: 2 s of the usual packets. When it is full, because playout is stalled, new ones are
/// dropped and counted as discarded.
const REMOTE_QUEUE: usize = 100;
/// Blocks given to a device at once at most, so that commands are never kept waiting.
const MAX_BURST: usize = 20;

/// Hears everything that is played, for measurements and recordings.
pub trait PlayoutObserver: Send + Sync {
    /// These 10 ms begin to leave for the output device at `at`, which may lie a little ahead.
    /// Called on the playout thread: must return at once.
    fn playing(&self, block: &Block, at: Instant);
}

/// Counters of the speaker, named as in W3C webrtc-stats (`RTCAudioPlayoutStats`).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PlayoutStats {
    /// Samples handed to the speaker, the file or, without either, to nobody.
    pub total_samples_count: u64,
    /// Seconds of it.
    pub total_samples_duration: f64,
    /// Sum over all samples of the time until the device takes them, in seconds.
    pub total_playout_delay: f64,
    /// Seconds of silence that the device had to play because nothing was ready.
    pub synthesized_samples_duration: f64,
    /// Ours: how often a speaker was opened.
    pub device_openings: u64,
    /// Ours: how fast the speaker's clock is against the computer's, in parts per million.
    pub clock_drift_ppm: f64,
}

/// The receive pipeline for sound. It starts without a speaker and runs until it is dropped.
pub struct Playout {
    worker: Worker<Command>,
    stats: Arc<Mutex<PlayoutStats>>,
}

enum Command {
    Speaker(SpeakerSelection),
    Remote(Receiver<RtpPacket>, Arc<RemoteShared>, LevelMeter),
    TestSound,
    Observer(Option<Arc<dyn PlayoutObserver>>),
    Reference(Option<RenderReference>),
}

impl Playout {
    /// Starts the thread. What happens to the speaker is reported to `events`, on the thread.
    pub fn start(events: MediaEvents) -> Self {
        let stats = Arc::new(Mutex::new(PlayoutStats::default()));
        let (for_thread, died) = (stats.clone(), events.clone());
        let work = move |commands| Thread::new(events, for_thread).run(&commands);
        let died = move |detail| died(failed(DeviceError::new(DeviceProblem::Failed, detail)));
        Self {
            worker: Worker::start("playout", work, died),
            stats,
        }
    }

    /// Switches to another speaker; the present one plays until the other is open. A failure is
    /// reported as an event and leaves no speaker; the call goes on without.
    pub fn set_speaker(&self, speaker: SpeakerSelection) {
        self.worker.send(Command::Speaker(speaker));
    }

    /// Somebody to be heard, until the handle is dropped.
    pub fn add_remote(&self) -> RemoteAudio {
        let (packets, queue) = mpsc::sync_channel(REMOTE_QUEUE);
        let meter = LevelMeter::default();
        let shared = Arc::new(RemoteShared {
            level: meter.shared(),
            ..RemoteShared::default()
        });
        self.worker
            .send(Command::Remote(queue, shared.clone(), meter));
        RemoteAudio { packets, shared }
    }

    /// Plays two short notes, mixed into whatever is to be heard.
    pub fn play_test_sound(&self) {
        self.worker.send(Command::TestSound);
    }

    /// Who hears everything that is played.
    pub fn set_observer(&self, observer: Option<Arc<dyn PlayoutObserver>>) {
        self.worker.send(Command::Observer(observer));
    }

    /// Who is told what is played, and when the device plays it, to cancel its echo:
    /// [`AudioSend::render_reference`](crate::send::AudioSend::render_reference).
    pub fn set_render_reference(&self, reference: Option<RenderReference>) {
        self.worker.send(Command::Reference(reference));
    }

    /// Counters since the start.
    pub fn stats(&self) -> PlayoutStats {
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One remote participant's sound.
#[derive(Debug)]
pub struct RemoteAudio {
    packets: SyncSender<RtpPacket>,
    shared: Arc<RemoteShared>,
}

#[derive(Debug, Default)]
struct RemoteShared {
    level: Arc<SharedLevel>,
    clock: Arc<PlayoutClock>,
    stats: Mutex<AudioReceiveStats>,
    dropped: AtomicU64,
}

impl RemoteAudio {
    /// Takes in a packet of this participant. Never waits: when the queue is full the packet is
    /// dropped and counted.
    pub fn push(&self, packet: RtpPacket) {
        if let Err(TrySendError::Full(_)) = self.packets.try_send(packet) {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How loud they are, as played.
    pub fn level(&self) -> AudioLevel {
        self.shared.level.get()
    }

    /// Where their sound stands, for lip-sync.
    pub fn clock(&self) -> &Arc<PlayoutClock> {
        &self.shared.clock
    }

    /// Counters since the beginning.
    pub fn stats(&self) -> AudioReceiveStats {
        let mut stats = *self
            .shared
            .stats
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let dropped = self.shared.dropped.load(Ordering::Relaxed);
        // They did come in; that they never reached the buffer is our own doing.
        stats.packets_received += dropped;
        stats.packets_lost -= dropped as i64;
        stats.packets_discarded += dropped;
        stats
    }
}

fn failed(error: DeviceError) -> MediaEvent {
    MediaEvent::Failed {
        kind: DeviceKind::Speaker,
        error,
    }
}

struct Remote {
    packets: Receiver<RtpPacket>,
    buffer: AudioJitterBuffer,
    meter: LevelMeter,
    shared: Arc<RemoteShared>,
}

impl Remote {
    /// Adds the next 10 ms, which are played at `at`, to the mix; `false` when the handle is gone
    /// and this remote with it.
    fn render(&mut self, now: Instant, at: Instant, mixer: &mut Mixer) -> bool {
        loop {
            match self.packets.try_recv() {
                Ok(packet) => self.buffer.push(packet, now),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
        let mut block = STEREO_SILENCE;
        let clock = &self.shared.clock;
        self.buffer.set_minimum_transit(clock.minimum_transit(now));
        clock.set_position(self.buffer.position().map(|sample| (sample, at)));
        clock.set_network_transit(self.buffer.network_transit());
        self.buffer.pull_10ms(now, &mut block);
        self.meter.push(&mono(&block));
        mixer.add(&block);
        *self
            .shared
            .stats
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = self.buffer.stats();
        true
    }
}

struct Thread {
    stats: Arc<Mutex<PlayoutStats>>,
    sink: PlayoutSink,
    remotes: Vec<Remote>,
    mixer: Mixer,
    test_sound: Option<TestSound>,
    observer: Option<Arc<dyn PlayoutObserver>>,
    reference: Option<RenderReference>,
    /// Samples rendered.
    rendered: u64,
}

impl Thread {
    fn new(events: MediaEvents, stats: Arc<Mutex<PlayoutStats>>) -> Self {
        Self {
            stats,
            sink: PlayoutSink::new(events, Instant::now()),
            remotes: Vec::new(),
            mixer: Mixer::default(),
            test_sound: None,
            observer: None,
            reference: None,
            rendered: 0,
        }
    }

    fn run(mut self, commands: &Receiver<Command>) {
        raise_current_thread();
        loop {
            loop {
                match commands.try_recv() {
                    Ok(command) => self.execute(command, Instant::now()),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return,
                }
            }
            self.sink.poll(Instant::now());
            self.play();
            let pause = self.sink.pause(self.is_idle(), Instant::now());
            thread::park_timeout(pause);
        }
    }

    fn execute(&mut self, command: Command, now: Instant) {
        match command {
            Command::Speaker(selection) => self.sink.select(selection),
            Command::Remote(packets, shared, meter) => match AudioJitterBuffer::new(now) {
                Ok(buffer) => self.remotes.push(Remote {
                    packets,
                    buffer,
                    meter,
                    shared,
                }),
                Err(error) => tracing::error!(%error, "a participant will not be heard"),
            },
            Command::TestSound => self.test_sound = Some(TestSound::new()),
            Command::Observer(observer) => self.observer = observer,
            Command::Reference(reference) => self.reference = reference,
        }
    }

    /// Plays as much as is due.
    fn play(&mut self) {
        for _ in 0..MAX_BURST {
            let now = Instant::now();
            let Some(queued) = self.sink.wants_block(now) else {
                return;
            };
            if self.is_idle() {
                return;
            }
            let mut out = STEREO_SILENCE;
            self.render(now, now + queued, &mut out);
            self.count(queued);
            self.sink.write(&mut out);
        }
    }

    fn render(&mut self, now: Instant, at: Instant, out: &mut StereoBlock) {
        let mixer = &mut self.mixer;
        self.remotes
            .retain_mut(|remote| remote.render(now, at, mixer));
        if let Some(sound) = &mut self.test_sound {
            let mut block = SILENCE;
            if sound.fill(&mut block) {
                mixer.add(&block.map(|sample| [sample; 2]));
            } else {
                self.test_sound = None;
            }
        }
        mixer.finish(out);
        let block = mono(out);
        if let Some(observer) = &self.observer {
            observer.playing(&block, at);
        }
        if let Some(reference) = &self.reference {
            // Samples that the device missed are played all the same, as silence.
            let position = RenderPosition {
                device: self.sink.openings() as u32,
                position: self.rendered + self.sink.missing_samples(),
                plays_at: at,
            };
            reference.push(&block, position);
        }
        self.rendered += BLOCK_SAMPLES as u64;
    }

    fn count(&self, queued: Duration) {
        let mut stats = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        stats.total_samples_count += BLOCK_SAMPLES as u64;
        stats.total_samples_duration += BLOCK_DURATION.as_secs_f64();
        stats.total_playout_delay += queued.as_secs_f64() * BLOCK_SAMPLES as f64;
        stats.synthesized_samples_duration =
            self.sink.missing_samples() as f64 / f64::from(AUDIO_CLOCK_HZ);
        stats.device_openings = self.sink.openings();
        stats.clock_drift_ppm = self.sink.drift_ppm();
    }

    /// Nothing is to be heard and nobody would hear it.
    fn is_idle(&self) -> bool {
        self.sink.is_none()
            && self.remotes.is_empty()
            && self.test_sound.is_none()
            && self.observer.is_none()
    }
}
