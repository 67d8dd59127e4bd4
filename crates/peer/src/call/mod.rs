//! `ahoy-peer call` and `ahoy-peer join`: one call from its beginning to its end.

mod announce;
mod device_watch;
mod request;
mod viewers;

use std::pin::{Pin, pin};
use std::time::{Duration, Instant};

use ahoy_call::engine::{Engine, EngineConfig, EngineStopped, VideoTile};
use ahoy_call::view::{CallState, CallView, EndReason, ParticipantId};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, timeout};

use request::Entry;
pub(crate) use request::Request;

use crate::cli::CommonOptions;
use crate::exit::{Exit, Failure};
use crate::recorder::{Recorded, Recorder, RecorderInput};
use crate::report::{Moments, ReportFile, Samples};
use crate::{say, signals};
use announce::Announcer;
use device_watch::DeviceWatch;
use viewers::{KEY_FRAME_REQUESTS, Viewers};

/// How often the figures are taken: what a participant who leaves takes along is not older.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);
/// How long devices that were asked for by name may take to start.
const DEVICES_START: Duration = Duration::from_secs(10);
/// How long the engine may take to tell its figures.
const STATS_ANSWER: Duration = Duration::from_secs(1);
/// How long hanging up may take.
const HANG_UP: Duration = Duration::from_secs(2);
/// How long releasing the devices may take.
const CLOSE: Duration = Duration::from_secs(3);

/// Makes the call and stays until it ends.
///
/// # Errors
/// Whatever is worth an exit code of its own.
pub(crate) async fn run(request: Request) -> Result<(), Failure> {
    let options = &request.options;
    let config = options.engine_config()?;
    let report = options
        .stats
        .as_deref()
        .map(ReportFile::create)
        .transpose()?;
    let recorder = match &options.save_video {
        Some(path) => Some(Recorder::create(path, options.resolution.frame_rate)?),
        None => None,
    };
    let (requests, key_frames) = mpsc::channel(KEY_FRAME_REQUESTS);
    let input = recorder.as_ref().map(Recorder::input);
    let viewers = Viewers::new(report.is_some(), input.clone(), requests);
    let mut call = Call::new(options, config, viewers, input, report.is_some());

    let outcome = call.converse(&request.entry, key_frames).await;
    let (samples, moments) = call.end().await;
    let recorded = finish_recording(recorder).await;
    let written = report.map_or(Ok(()), |report| {
        report.write(
            &samples,
            &moments,
            recorded.as_ref().ok().copied().flatten(),
        )
    });
    outcome.and(recorded.map(drop)).and(written)
}

async fn finish_recording(recorder: Option<Recorder>) -> Result<Option<Recorded>, Failure> {
    let Some(recorder) = recorder else {
        return Ok(None);
    };
    tokio::task::spawn_blocking(|| recorder.finish().map(Some))
        .await
        .unwrap_or_else(|error| Err(Failure::other(format!("The recorder died: {error}."))))
}

/// What goes on during a call.
struct Call {
    duration: Option<Duration>,
    engine: Engine,
    view: watch::Receiver<CallView>,
    announcer: Announcer,
    devices: DeviceWatch,
    viewers: Viewers,
    samples: Samples,
    samples_wanted: bool,
    moments: Moments,
    recorder: Option<RecorderInput>,
    recording_failure_told: bool,
}

impl Call {
    /// Starts the engine and opens the devices.
    fn new(
        options: &CommonOptions,
        config: EngineConfig,
        viewers: Viewers,
        recorder: Option<RecorderInput>,
        samples_wanted: bool,
    ) -> Self {
        let engine = Engine::start(config);
        Self {
            duration: options.duration,
            view: engine.view(),
            engine,
            announcer: Announcer::default(),
            devices: DeviceWatch::new(options),
            viewers,
            samples: Samples::default(),
            samples_wanted,
            moments: Moments::begin(),
            recorder,
            recording_failure_told: false,
        }
    }

    /// From the devices to the end of the call, whoever ends it.
    async fn converse(
        &mut self,
        entry: &Entry,
        key_frames: mpsc::Receiver<ParticipantId>,
    ) -> Result<(), Failure> {
        let mut asked_to_end = pin!(signals::asked_to_end());
        tokio::select! {
            ready = self.devices_ready() => ready?,
            () = &mut asked_to_end => return Ok(()),
        }
        self.moments = Moments::begin();
        match entry {
            Entry::New { share_on_network } => self.engine.new_call(*share_on_network).await,
            Entry::Join(invite) => self.engine.join(invite.clone()).await,
        }
        .map_err(stopped)?;
        self.stay(key_frames, asked_to_end).await
    }

    /// Waits until what was asked for by name runs: without it there is to be no room.
    async fn devices_ready(&mut self) -> Result<(), Failure> {
        let ready = async {
            loop {
                let local = self.view.borrow_and_update().local.clone();
                for sentence in self.devices.look(&local)? {
                    say::error(sentence);
                }
                if self.devices.missing().is_none() {
                    return Ok(());
                }
                self.view
                    .changed()
                    .await
                    .map_err(|_| stopped(EngineStopped))?;
            }
        };
        match timeout(DEVICES_START, ready).await {
            Ok(result) => result,
            Err(_) => Err(Failure::new(
                Exit::Device,
                format!(
                    "The {} does not start: unplug it and plug it in again, or choose another one.",
                    self.devices.missing().map_or("device", Failure::name_of)
                ),
            )),
        }
    }

    async fn stay(
        &mut self,
        mut key_frames: mpsc::Receiver<ParticipantId>,
        mut asked_to_end: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<(), Failure> {
        let mut sampling = tokio::time::interval(SAMPLE_INTERVAL);
        sampling.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let deadline = self.deadline();
            tokio::select! {
                changed = self.view.changed() => {
                    changed.map_err(|_| stopped(EngineStopped))?;
                    if let Some(reason) = self.look().await? {
                        return ended(reason);
                    }
                }
                Some(id) = key_frames.recv() => {
                    let tile = VideoTile::Participant(id);
                    self.engine.request_key_frame(tile).await.map_err(stopped)?;
                }
                _ = sampling.tick() => {
                    self.sample().await;
                    self.announce();
                }
                () = reached(deadline) => return self.time_is_up(),
                () = &mut asked_to_end => return Ok(()),
            }
        }
    }

    /// Takes in a new view; returns why the call has ended, if it has.
    async fn look(&mut self) -> Result<Option<EndReason>, Failure> {
        let view = self.view.borrow_and_update().clone();
        self.announce();
        for sentence in self.devices.look(&view.local)? {
            say::error(sentence);
        }
        self.viewers
            .follow(&self.engine, &view, &mut self.samples)
            .await;
        let now = Instant::now();
        match view.state {
            CallState::Idle | CallState::Joining => {}
            CallState::Waiting => note(&mut self.moments.entered, now),
            CallState::Connecting | CallState::Reconnecting => {
                note(&mut self.moments.entered, now);
                note(&mut self.moments.met, now);
            }
            CallState::Connected => {
                note(&mut self.moments.entered, now);
                note(&mut self.moments.met, now);
                note(&mut self.moments.connected, now);
            }
            CallState::Ended { reason } => return Ok(Some(reason)),
        }
        Ok(None)
    }

    fn announce(&mut self) {
        for line in self.announcer.lines(&self.view.borrow(), Instant::now()) {
            say::line(line);
        }
        if self.recording_failure_told {
            return;
        }
        if let Some(detail) = self.recorder.as_ref().and_then(RecorderInput::failure) {
            say::error(format!(
                "The picture is no longer recorded ({detail}). The call goes on."
            ));
            self.recording_failure_told = true;
        }
    }

    async fn sample(&mut self) {
        if !self.samples_wanted {
            return;
        }
        match timeout(STATS_ANSWER, self.engine.stats()).await {
            Ok(Ok(report)) => {
                self.samples.take(report);
                self.viewers.complete(&mut self.samples);
            }
            Ok(Err(_)) | Err(_) => tracing::warn!("the engine gives no statistics"),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        Some(self.moments.entered? + self.duration?)
    }

    fn time_is_up(&self) -> Result<(), Failure> {
        let alone = self.view.borrow().participants.is_empty();
        if self.moments.connected.is_none() && !alone {
            return ended(EndReason::ConnectionFailed);
        }
        Ok(())
    }

    /// Takes the last figures, leaves the room and releases the devices.
    async fn end(mut self) -> (Samples, Moments) {
        let in_room = self.moments.entered.is_some();
        let connected = in_room && !self.view.borrow().participants.is_empty();
        if connected {
            self.sample().await;
        }
        self.moments.first_picture = self.viewers.first_picture();
        self.viewers.finish(&mut self.samples);
        let gone = async {
            self.engine.hang_up().await?;
            let over =
                |view: &CallView| matches!(view.state, CallState::Idle | CallState::Ended { .. });
            let _ = self.view.wait_for(over).await;
            Ok::<_, EngineStopped>(())
        };
        if timeout(HANG_UP, gone).await.is_err() {
            tracing::warn!("hanging up takes too long");
        }
        if timeout(CLOSE, self.engine.close()).await.is_err() {
            tracing::warn!("the devices are not released in time");
        }
        (self.samples, self.moments)
    }
}

fn note(moment: &mut Option<Instant>, now: Instant) {
    moment.get_or_insert(now);
}

async fn reached(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

fn ended(reason: EndReason) -> Result<(), Failure> {
    if reason == EndReason::EveryoneLeft {
        say::line("Everybody else has left.");
    }
    Failure::of_call(reason).map_or(Ok(()), Err)
}

fn stopped(_: EngineStopped) -> Failure {
    Failure::other("The call engine has stopped unexpectedly: start ahoy-peer again.")
}
