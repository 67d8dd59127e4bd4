//! One side of the measured call: our media, the connection, and what is noted about both.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ahoy_audio::processing::ProcessingSettings;
use ahoy_call::fan_out::Subscription;
use ahoy_call::local::LocalMedia;
use ahoy_call::negotiation::{Candidate, Description, DescriptionKind, Role};
use ahoy_call::participant::{Participant, ParticipantOutput};
use ahoy_call::stats::ParticipantStats;
use ahoy_call::status::PeerMessage;
use ahoy_call::transport::{LocalAddresses, TransportConfig};
use ahoy_media::device::{DeviceKind, MediaEvent, MediaEvents};
use ahoy_media::frame::EncodedVideoSink;
use ahoy_media::selection::{CameraSelection, MicrophoneSelection, SpeakerSelection};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::clock::WallClock;
use super::env::{BenchAudio, BenchConfig, BenchRole};
use super::fidelity::Fidelity;
use super::log::{BenchLog, Entries};
use super::messages::{EventName, Incoming, Outgoing, Tick};
use super::pulses::{PulseListener, Pulses};
use crate::exit::Failure;
use crate::viewer::Viewer;

/// What waits for the endpoint's task: some tens of candidates and a few events. Media threads
/// drop what does not fit, the connection's task waits.
const NOTICES: usize = 256;
/// How often the other side is told of gaps in its sound.
const TELL_GAPS: Duration = Duration::from_secs(1);
/// How long the goodbye and the release of the media may take: the harness waits 1 s.
const END: Duration = Duration::from_millis(400);

/// What happens on this side.
pub(super) enum Notice {
    Media(MediaEvent),
    Connection(ParticipantOutput),
    Event(EventName, f64),
    KeyFrameNeeded,
}

/// One side of the call.
pub(super) struct Side {
    config: BenchConfig,
    clock: WallClock,
    log: Arc<BenchLog>,
    local: LocalMedia,
    notices: mpsc::Sender<Notice>,
    remote: Option<Remote>,
    ready: bool,
    /// Events are told once each.
    told: BTreeSet<EventName>,
    capture_failure: Option<String>,
    gaps_told_at: Instant,
}

/// The other side.
struct Remote {
    participant: Participant,
    viewer: Viewer,
    _subscription: Subscription,
}

impl Side {
    /// Starts capture.
    pub(super) fn start(config: BenchConfig) -> (Self, mpsc::Receiver<Notice>) {
        let (notices, receiver) = mpsc::channel(NOTICES);
        let clock = WallClock::align();
        let log = BenchLog::new(clock, config.fidelity.then(Fidelity::default));
        let local = start_media(&config, &log, &notices);
        let side = Self {
            config,
            clock,
            log,
            local,
            notices,
            remote: None,
            ready: false,
            told: BTreeSet::new(),
            capture_failure: None,
            gaps_told_at: Instant::now(),
        };
        (side, receiver)
    }

    /// Takes in a message of the harness; returns the answers.
    pub(super) fn incoming(&mut self, message: Incoming) -> Vec<Outgoing> {
        match message {
            Incoming::Start if self.config.role == BenchRole::Caller && self.remote.is_none() => {
                let begun = self.event(EventName::CreateOffer, self.clock.now());
                self.remote();
                return begun.into_iter().collect();
            }
            Incoming::Offer { sdp } => self.describe(DescriptionKind::Offer, sdp),
            Incoming::Answer { sdp } => self.describe(DescriptionKind::Answer, sdp),
            Incoming::Candidate {
                candidate,
                sdp_mid,
                sdp_m_line_index,
                username_fragment,
            } => self.remote().participant.remote_candidate(Candidate {
                candidate,
                sdp_mid,
                sdp_m_line_index,
                username_fragment,
            }),
            Incoming::Start | Incoming::Mark { .. } | Incoming::Bye | Incoming::Unknown => {}
        }
        Vec::new()
    }

    /// Takes in what happened; returns what the harness is told.
    pub(super) fn notice(&mut self, notice: Notice) -> Vec<Outgoing> {
        match notice {
            Notice::Media(event) => self.media(&event),
            Notice::Connection(output) => self.connection(output),
            Notice::Event(name, t) => self.event(name, t),
            Notice::KeyFrameNeeded => {
                if let Some(remote) = &self.remote {
                    remote.participant.request_key_frame();
                }
                None
            }
        }
        .into_iter()
        .collect()
    }

    /// # Errors
    /// Without a picture there is nothing to measure.
    pub(super) fn check(&self) -> Result<(), Failure> {
        match &self.capture_failure {
            Some(detail) => Err(Failure::other(format!(
                "The clip cannot be played: {detail}."
            ))),
            None => Ok(()),
        }
    }

    /// Between the marks.
    pub(super) fn set_measuring(&self, measuring: bool) {
        self.log.set_measuring(measuring);
    }

    /// How much of the pictures arrives, if that is measured.
    pub(super) fn fidelity(&self) -> Option<Value> {
        self.log.fidelity().map(Fidelity::report)
    }

    /// What was noted since the last time.
    pub(super) fn take_log(&self) -> (Entries, u64) {
        self.log.take()
    }

    /// Lets the encoder follow what the path carries.
    pub(super) fn adapt(&mut self) {
        let now = Instant::now();
        let mut remote = self.remote.as_mut().map(|it| &mut it.participant);
        let path = remote.as_ref().and_then(|it| it.path_estimate());
        let loss = remote.as_mut().and_then(|it| it.loss_report(now));
        let paths: Vec<_> = path.into_iter().collect();
        let decoding = remote.as_ref().map(|it| it.video_out().decoding());
        let decision =
            self.local
                .adapt(now, &paths, loss.into_iter(), decoding.unwrap_or_default());
        if let Some(participant) = remote {
            participant.set_needed_bitrate(decision.needed);
        }
        self.tell_gaps(now);
    }

    fn tell_gaps(&mut self, now: Instant) {
        let due = now.saturating_duration_since(self.gaps_told_at) >= TELL_GAPS;
        if let Some(remote) = self.remote.as_mut().filter(|_| due) {
            self.gaps_told_at = now;
            if let Some(gaps) = remote.participant.gaps_to_tell() {
                remote.participant.send_message(&gaps);
            }
        }
    }

    /// Everything that is known now.
    pub(super) async fn stats(&self) -> ParticipantStats {
        let Some(remote) = &self.remote else {
            return ParticipantStats::default();
        };
        let mut stats = remote.participant.stats(0, &self.local).await;
        remote.viewer.complete(&mut stats.inbound_video);
        stats
    }

    /// The state of the call in short.
    pub(super) async fn tick(&self) -> Tick {
        let stats = self.stats().await;
        Tick {
            t: self.clock.now(),
            bytes: stats.inbound_video.bytes_received,
            frames: stats.inbound_video.frames_decoded,
            w: stats.inbound_video.frame_width,
            target: stats.outbound_video.target_bitrate,
            avail: stats.pair.available_outgoing_bitrate,
            rtt: stats.pair.current_round_trip_time,
        }
    }

    /// Ends the call and releases everything.
    pub(super) async fn end(self) {
        // Its task says goodbye by itself.
        let _ = self.remote.map(|remote| remote.participant.hang_up());
        // Threads are joined, which blocks; one that hangs is left behind.
        let released = tokio::task::spawn_blocking(move || drop(self.local));
        if timeout(END, released).await.is_err() {
            tracing::warn!("the media are not released in time");
        }
    }

    fn describe(&mut self, kind: DescriptionKind, sdp: String) {
        let description = Description { kind, sdp };
        self.remote().participant.remote_description(description);
    }

    /// The other side; the connection to it is made when it is first needed.
    fn remote(&mut self) -> &Remote {
        if self.remote.is_none() {
            self.remote = Some(self.connect());
        }
        self.remote.as_ref().expect("just made")
    }

    fn connect(&self) -> Remote {
        let caller = self.config.role == BenchRole::Caller;
        let role = Role {
            polite: caller,
            offers_first: caller,
        };
        let config = TransportConfig {
            local_addresses: LocalAddresses::Loopback,
            // Beside the contract: what a real call tells the other side about its sound.
            data_channel: self.config.audio.uses_devices(),
            ..TransportConfig::default()
        };
        let outputs = self.notices.clone();
        let participant = Participant::start(role, None, config, &self.local, move |output| {
            let outputs = outputs.clone();
            async move {
                // Without the endpoint's task nobody needs to know.
                let _ = outputs.send(Notice::Connection(output)).await;
            }
        });
        let viewer = self.viewer();
        let subscription = participant.video_out().subscribe(viewer.sink());
        Remote {
            participant,
            viewer,
            _subscription: subscription,
        }
    }

    fn viewer(&self) -> Viewer {
        let (log, clock, events) = (Arc::clone(&self.log), self.clock, self.notices.clone());
        let full_width = self.config.video.resolution.width;
        let (mut first, mut full) = (true, true);
        let key_frames = self.notices.clone();
        Viewer::start(
            move |frame, shown| {
                let once = |name, pending: &mut bool| {
                    if std::mem::take(pending) {
                        let _ = events.try_send(Notice::Event(name, clock.unix_ms(shown)));
                    }
                };
                once(EventName::FirstFrame, &mut first);
                if frame.picture.resolution().width >= full_width {
                    once(EventName::FullRes, &mut full);
                }
                log.displayed(frame, shown);
            },
            move || {
                let _ = key_frames.try_send(Notice::KeyFrameNeeded);
            },
        )
    }

    fn media(&mut self, event: &MediaEvent) -> Option<Outgoing> {
        self.local.media_event(event);
        match event {
            MediaEvent::Started {
                kind: DeviceKind::Camera,
                ..
            } if !self.ready => {
                self.ready = true;
                Some(Outgoing::Ready {
                    t: self.clock.now(),
                })
            }
            MediaEvent::Failed {
                kind: DeviceKind::Camera,
                error,
            } => {
                self.capture_failure = Some(error.to_string());
                Some(Outgoing::Error {
                    error: error.to_string(),
                })
            }
            MediaEvent::Failed { kind, error } => {
                // Playout then keeps its own time: the measurement is as good.
                tracing::info!(?kind, %error, "goes on without a device");
                None
            }
            MediaEvent::Started { .. }
            | MediaEvent::Stopped { .. }
            | MediaEvent::Replaced { .. }
            | MediaEvent::Returned { .. }
            | MediaEvent::DevicesChanged { .. } => None,
        }
    }

    fn connection(&mut self, output: ParticipantOutput) -> Option<Outgoing> {
        match output {
            ParticipantOutput::Description(Description { kind, sdp }) => Some(match kind {
                DescriptionKind::Offer => Outgoing::Offer { sdp },
                DescriptionKind::Answer => Outgoing::Answer { sdp },
            }),
            // The mark for the end of candidates has no text, and no place in the contract.
            ParticipantOutput::Candidate(candidate) => {
                (!candidate.candidate.is_empty()).then_some(Outgoing::Candidate {
                    candidate: candidate.candidate,
                    sdp_mid: candidate.sdp_mid,
                    sdp_m_line_index: candidate.sdp_m_line_index,
                })
            }
            ParticipantOutput::States(states) => {
                let remote = self.remote.as_mut()?;
                let state = states.connection.clone();
                remote.participant.set_states(states);
                self.adapt();
                match state.as_str() {
                    "connected" => self.event(EventName::Connected, self.clock.now()),
                    "failed" => Some(error("the connection failed")),
                    _ => None,
                }
            }
            ParticipantOutput::Failed | ParticipantOutput::NotVerified => {
                Some(error("the connection is closed"))
            }
            ParticipantOutput::Reconnecting(_) => None,
            ParticipantOutput::DataOpen => {
                self.introduce();
                None
            }
            ParticipantOutput::Message(message) => {
                self.message(message);
                None
            }
        }
    }

    fn introduce(&self) {
        if let Some(remote) = &self.remote {
            remote.participant.send_message(&self.local.status());
        }
    }

    fn message(&mut self, message: PeerMessage) {
        let Some(remote) = &mut self.remote else {
            return;
        };
        match message {
            PeerMessage::SoundGaps { packets, gaps } => remote.participant.note_gaps(packets, gaps),
            status => {
                // Statuses; whatever else there is to say is no figure of this side.
                let first = remote.participant.note(status);
                if first {
                    self.introduce();
                }
            }
        }
    }

    fn event(&mut self, name: EventName, t: f64) -> Option<Outgoing> {
        self.told
            .insert(name)
            .then_some(Outgoing::Event { name, t })
    }
}

fn error(text: &str) -> Outgoing {
    Outgoing::Error {
        error: text.to_owned(),
    }
}

/// The media of any call, with the clip as the camera and with everything noted.
fn start_media(
    config: &BenchConfig,
    log: &Arc<BenchLog>,
    notices: &mpsc::Sender<Notice>,
) -> LocalMedia {
    let events = notices.clone();
    let events: MediaEvents = Arc::new(move |event| {
        if events.try_send(Notice::Media(event)).is_err() {
            tracing::warn!("too busy to hear of a device");
        }
    });
    let mut local = LocalMedia::start(&events);
    local.video.set_observer(Some(Arc::clone(log) as _));
    local
        .playout
        .set_observer(Some(Arc::new(PulseListener::new(Arc::clone(log)))));
    if config.audio == BenchAudio::Pulses {
        local
            .audio
            .set_injection(Some(Arc::new(Pulses::new(Arc::clone(log)))));
    }
    local.set_constraints(config.video);
    if config.audio == BenchAudio::Unprocessed {
        local.set_processing(ProcessingSettings {
            echo_cancellation: false,
            noise_suppression: false,
            auto_gain_control: false,
            original_sound: false,
        });
    }
    local.select_microphone(if config.audio.uses_devices() {
        MicrophoneSelection::Default
    } else {
        MicrophoneSelection::Tone
    });
    local.select_speaker(SpeakerSelection::Default);
    local.select_camera(CameraSelection::File(config.clip.clone()));
    local
}
