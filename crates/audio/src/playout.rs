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

use crate::devices::output::{OpeningOutput, Output};
use crate::jitter::{AudioJitterBuffer, AudioReceiveStats};
use crate::level::{AudioLevel, LevelMeter, SharedLevel};
use crate::mixer::Mixer;
use crate::tone::TestSound;
use crate::wav::WavSink;
use crate::{BLOCK_DURATION, BLOCK_SAMPLES, Block, SILENCE};
use ahoy_media::device::{DeviceError, DeviceKind, DeviceProblem, MediaEvent, MediaEvents};
use ahoy_media::rtp::RtpPacket;
use ahoy_media::selection::SpeakerSelection;
use ahoy_media::units::AUDIO_CLOCK_HZ;
use ahoy_media::worker::Worker;

/// Packets of one remote between the network and the playout thread, which takes them every 10
/// or 20 ms: 2 s of the usual packets. When it is full, because playout is stalled, new ones are
/// dropped and counted as discarded.
const REMOTE_QUEUE: usize = 100;
/// How long the thread sleeps at most while a device takes samples or is being opened: it is
/// woken by the device, this is only for the watchdog.
const WATCH_INTERVAL: Duration = Duration::from_millis(50);
/// How long it sleeps when nothing is to be done: commands wake it.
const IDLE_INTERVAL: Duration = Duration::from_millis(500);
/// Without a device, playout that is behind by more does not catch up.
const MAX_BEHIND: Duration = Duration::from_millis(100);
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
    /// Adds the next 10 ms to the mix; `false` when the handle is gone and this remote with it.
    fn render(&mut self, now: Instant, mixer: &mut Mixer) -> bool {
        loop {
            match self.packets.try_recv() {
                Ok(packet) => self.buffer.push(packet, now),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
        let mut block = SILENCE;
        self.buffer.pull_10ms(now, &mut block);
        self.meter.push(&block);
        mixer.add(&block);
        *self
            .shared
            .stats
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = self.buffer.stats();
        true
    }
}

enum Sink {
    None,
    Device(Box<Output>),
    File(WavSink),
}

struct Thread {
    events: MediaEvents,
    stats: Arc<Mutex<PlayoutStats>>,
    sink: Sink,
    opening: Option<OpeningOutput>,
    remotes: Vec<Remote>,
    mixer: Mixer,
    test_sound: Option<TestSound>,
    observer: Option<Arc<dyn PlayoutObserver>>,
    /// When the next block is due without a device.
    due: Instant,
    /// Missing samples of devices that are closed by now.
    missing_before: u64,
}

impl Thread {
    fn new(events: MediaEvents, stats: Arc<Mutex<PlayoutStats>>) -> Self {
        Self {
            events,
            stats,
            sink: Sink::None,
            opening: None,
            remotes: Vec::new(),
            mixer: Mixer::default(),
            test_sound: None,
            observer: None,
            due: Instant::now(),
            missing_before: 0,
        }
    }

    fn run(mut self, commands: &Receiver<Command>) {
        loop {
            loop {
                match commands.try_recv() {
                    Ok(command) => self.execute(command, Instant::now()),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return,
                }
            }
            self.finish_opening(Instant::now());
            self.play();
            thread::park_timeout(self.pause(Instant::now()));
        }
    }

    fn execute(&mut self, command: Command, now: Instant) {
        match command {
            Command::Speaker(selection) => self.select(selection, now),
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
        }
    }

    fn select(&mut self, selection: SpeakerSelection, now: Instant) {
        self.opening = None;
        let id = match selection {
            SpeakerSelection::None => return self.stop(),
            SpeakerSelection::Default => None,
            SpeakerSelection::Device(id) => Some(id),
            SpeakerSelection::File(path) => {
                // First completes a file that may be the same one.
                self.stop();
                return match WavSink::create(&path) {
                    Ok(file) => {
                        let label = file.label().to_owned();
                        self.begin(Sink::File(file), label);
                    }
                    Err(error) => self.fail(error),
                };
            }
        };
        self.opening = Some(OpeningOutput::start(id, thread::current(), now));
    }

    fn finish_opening(&mut self, now: Instant) {
        let Some(opened) = self.opening.as_mut().and_then(|opening| opening.poll(now)) else {
            return;
        };
        self.opening = None;
        match opened {
            Ok(output) => {
                let label = output.label().to_owned();
                self.begin(Sink::Device(Box::new(output)), label);
            }
            Err(error) => self.fail(error),
        }
    }

    fn begin(&mut self, sink: Sink, label: String) {
        self.stop();
        self.sink = sink;
        (self.events)(MediaEvent::Started {
            kind: DeviceKind::Speaker,
            label,
            format: String::new(),
        });
    }

    fn stop(&mut self) {
        if let Some(result) = self.close() {
            (self.events)(match result {
                Ok(()) => MediaEvent::Stopped {
                    kind: DeviceKind::Speaker,
                },
                Err(error) => failed(error),
            });
        }
    }

    fn fail(&mut self, error: DeviceError) {
        tracing::info!(%error, "speaker failed");
        self.close();
        (self.events)(failed(error));
    }

    /// Lets go of what is played to; `None` when that was nothing.
    fn close(&mut self) -> Option<Result<(), DeviceError>> {
        match std::mem::replace(&mut self.sink, Sink::None) {
            Sink::None => None,
            Sink::Device(output) => {
                self.missing_before += output.missing_samples();
                Some(Ok(()))
            }
            Sink::File(file) => Some(file.close()),
        }
    }

    /// Plays as much as is due.
    fn play(&mut self) {
        for _ in 0..MAX_BURST {
            let now = Instant::now();
            match self.play_block(now) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => return self.fail(error),
            }
        }
    }

    fn play_block(&mut self, now: Instant) -> Result<bool, DeviceError> {
        let mut block = SILENCE;
        match &mut self.sink {
            Sink::Device(output) => {
                output.check(now)?;
                self.due = now;
                if !output.wants_block(now) {
                    return Ok(false);
                }
                let queued = output.queued();
                self.render(now, now + queued, &mut block);
                self.count(queued);
                if let Sink::Device(output) = &mut self.sink {
                    output.write(&block);
                }
                Ok(true)
            }
            Sink::None | Sink::File(_) => {
                if now < self.due {
                    return Ok(false);
                }
                if now - self.due > MAX_BEHIND {
                    self.due = now;
                }
                self.due += BLOCK_DURATION;
                if self.is_idle() {
                    return Ok(false);
                }
                self.render(now, now, &mut block);
                self.count(Duration::ZERO);
                if let Sink::File(file) = &mut self.sink {
                    file.write(&block)?;
                }
                Ok(true)
            }
        }
    }

    fn render(&mut self, now: Instant, at: Instant, block: &mut Block) {
        let mixer = &mut self.mixer;
        self.remotes.retain_mut(|remote| remote.render(now, mixer));
        if let Some(sound) = &mut self.test_sound {
            if sound.fill(block) {
                mixer.add(block);
            } else {
                self.test_sound = None;
            }
        }
        mixer.finish(block);
        if let Some(observer) = &self.observer {
            observer.playing(block, at);
        }
    }

    fn count(&self, queued: Duration) {
        let missing = match &self.sink {
            Sink::Device(output) => output.missing_samples(),
            Sink::None | Sink::File(_) => 0,
        };
        let mut stats = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        stats.total_samples_count += BLOCK_SAMPLES as u64;
        stats.total_samples_duration += BLOCK_DURATION.as_secs_f64();
        stats.total_playout_delay += queued.as_secs_f64() * BLOCK_SAMPLES as f64;
        stats.synthesized_samples_duration =
            (self.missing_before + missing) as f64 / f64::from(AUDIO_CLOCK_HZ);
    }

    /// Nothing is to be heard and nobody would hear it.
    fn is_idle(&self) -> bool {
        matches!(self.sink, Sink::None)
            && self.remotes.is_empty()
            && self.test_sound.is_none()
            && self.observer.is_none()
    }

    fn pause(&self, now: Instant) -> Duration {
        match &self.sink {
            Sink::Device(_) => WATCH_INTERVAL,
            Sink::None if self.is_idle() && self.opening.is_some() => WATCH_INTERVAL,
            Sink::None if self.is_idle() => IDLE_INTERVAL,
            Sink::None | Sink::File(_) => self.due.saturating_duration_since(now),
        }
    }
}
