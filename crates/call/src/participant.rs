//! One other person: the connection to them, the negotiation of it, their picture and sound.
//!
//! A task of its own performs what [`Negotiation`] decides, one step after the other, so that a
//! slow step holds up nobody else. [`Participant`] is the handle that the engine keeps.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use ahoy_audio::playout::RemoteAudio;
use ahoy_audio::redundancy::LossReport;
use ahoy_media::frame::{EncodedAudio, EncodedAudioSink, EncodedFrame, EncodedVideoSink};
use ahoy_media::rtp::RtpPacket;
use ahoy_media::units::Bitrate;
use ahoy_sealing::Fingerprint;
use ahoy_video::send::VideoSend;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::fingerprint;
use crate::lip_sync::SoundAndPicture;
use crate::local::{AudioFanOut, LocalMedia, VideoFanOut};
use crate::negotiation::{Action, Candidate, Description, DescriptionKind, Negotiation, Role};
use crate::participant_stats::{self, Sources};
use crate::quality::{Observation, QualityView, QualityWatch, Sending};
use crate::reconnect::{Reconnect, ReconnectView, Step};
use crate::remote_video::RemoteVideo;
use crate::sound_losses::{ReportedGaps, ReportedLoss};
use crate::sound_protection;
use crate::stats::ParticipantStats;
use crate::status::PeerMessage;

use crate::transport::{
    IceServer, MediaReceiver, PathEstimate, Transport, TransportConfig, TransportEvent,
    TransportStats,
};
use crate::view::{ConnectionStates, ParticipantId, ParticipantView};

/// Inputs that wait for the task: an exchange is a description and some tens of candidates. When
/// it is full somebody floods us; what does not fit is dropped and logged.
const INPUT_CAPACITY: usize = 256;

/// Events of the transport that wait for the task; the transport waits when it is full.
const EVENT_CAPACITY: usize = 64;

/// How long a goodbye may take to leave this computer.
const GOODBYE: Duration = Duration::from_millis(150);

/// What a participant's task reports.
#[derive(Debug)]
pub enum ParticipantOutput {
    /// To be sent to them through the server.
    Description(Description),
    /// To be sent to them through the server.
    Candidate(Candidate),
    /// The W3C states of the connection.
    States(ConnectionStates),
    /// What is being tried while there is no path; `None` when there is one again.
    Reconnecting(Option<ReconnectView>),
    /// Messages can be sent to them.
    DataOpen,
    /// They told us something.
    Message(PeerMessage),
    /// A description of theirs names another certificate than the one that was verified.
    NotVerified,
    /// No connection can be made, or it is closed.
    Failed,
}

enum Input {
    Description(Description),
    Candidate(Candidate),
    IceServers(Vec<IceServer>),
    HangUp,
}

/// The handle. Dropping it closes the connection without a goodbye.
pub struct Participant {
    task: JoinHandle<()>,
    inputs: mpsc::Sender<Input>,
    link: Arc<MediaLink>,
    name: String,
    microphone_muted: bool,
    camera_on: bool,
    microphone_unplugged: bool,
    /// In our sound, as they told.
    gaps: ReportedGaps,
    loss: ReportedLoss,
    /// In theirs, as told last.
    gaps_told: u64,
    /// A status has arrived.
    heard: bool,
    states: ConnectionStates,
    reconnecting: Option<ReconnectView>,
    /// Their picture, as they say.
    sending: Sending,
    quality_watch: QualityWatch,
    quality: QualityView,
}

impl Participant {
    /// Starts the connection to whoever has the certificate `remote`; `None` takes any, for a bench
    /// whose two sides have no server between them. `report` is awaited on the task with everything
    /// that happens.
    pub fn start<F, Fut>(
        role: Role,
        remote: Option<Fingerprint>,
        config: TransportConfig,
        local: &LocalMedia,
        report: F,
    ) -> Self
    where
        F: Fn(ParticipantOutput) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let (inputs, receiver) = mpsc::channel(INPUT_CAPACITY);
        let link = MediaLink::new(local);
        let task = ParticipantTask {
            negotiation: Negotiation::new(role),
            reconnect: Reconnect::start(role.polite),
            remote,
            link: Arc::clone(&link),
            video_out: Arc::clone(&local.video_out),
            audio_out: Arc::clone(&local.audio_out),
            report,
        };
        Self {
            task: tokio::spawn(task.run(config, receiver)),
            inputs,
            link,
            name: String::new(),
            microphone_muted: false,
            camera_on: true,
            microphone_unplugged: false,
            gaps: ReportedGaps::default(),
            loss: ReportedLoss::default(),
            gaps_told: 0,
            heard: false,
            states: ConnectionStates::default(),
            reconnecting: None,
            sending: Sending::default(),
            quality_watch: QualityWatch::default(),
            quality: QualityView::default(),
        }
    }

    /// A description from them.
    pub fn remote_description(&self, description: Description) {
        self.input(Input::Description(description));
    }

    /// A candidate from them.
    pub fn remote_candidate(&self, candidate: Candidate) {
        self.input(Input::Candidate(candidate));
    }

    /// The credentials that the STUN and TURN servers have from now on, for the next way that is
    /// looked for.
    pub fn set_ice_servers(&self, servers: Vec<IceServer>) {
        self.input(Input::IceServers(servers));
    }

    /// Neither sends nor plays anything from now on, says goodbye and closes the connection. The
    /// task ends when that is done; nobody has to wait for it.
    pub fn hang_up(self) -> JoinHandle<()> {
        self.input(Input::HangUp);
        self.task
    }

    fn input(&self, input: Input) {
        if self.inputs.try_send(input).is_err() {
            tracing::warn!("too many signaling messages from one participant, or they are gone");
        }
    }

    /// Tells them something over the data channel, if it is open.
    pub fn send_message(&self, message: &PeerMessage) {
        if let Some(transport) = self.link.transport() {
            transport.send_data(message.to_json());
        }
    }

    /// Takes in what they said about themselves. `true` for the first time: by then they hear us,
    /// and our own status has to be repeated, because the transport loses a message that arrives
    /// together with the handshake of its data channel.
    #[must_use = "our status is to be repeated"]
    pub fn note(&mut self, message: PeerMessage) -> bool {
        if let PeerMessage::Status {
            name,
            microphone_muted,
            camera_on,
            microphone_unplugged,
            ..
        } = message
        {
            if camera_on != self.camera_on {
                self.link.video.paused();
            }
            self.name = name;
            self.microphone_muted = microphone_muted;
            self.camera_on = camera_on;
            self.microphone_unplugged = microphone_unplugged;
            return !std::mem::replace(&mut self.heard, true);
        }
        false
    }

    /// Takes in what they said about the picture that they send.
    pub fn note_sending(&mut self, sending: Sending) {
        self.sending = sending;
    }

    /// Looks at the connection; to be called about twice a second. `ours` is what limits our
    /// picture to them.
    pub fn watch_quality(&mut self, now: Instant, ours: Sending) {
        let state = self.states.connection.as_str();
        let mut seen = Observation {
            connected: state == "connected",
            interrupted: matches!(state, "disconnected" | "failed"),
            ours,
            theirs: self.sending,
            freezes: self.link.video.stats().freezes,
            ..Observation::default()
        };
        if let Some(transport) = self.link.transport() {
            let streams = transport.stream_stats();
            for inbound in [streams.inbound_audio, streams.inbound_video]
                .into_iter()
                .flatten()
            {
                seen.received += inbound.packets_received;
                seen.lost += inbound.packets_lost;
            }
            let path = transport.path_estimate();
            seen.upload_loss = path.loss;
            seen.round_trip_time = path.round_trip_time.map(|time| time.as_secs_f64());
            if let Some(round_trip) = transport.round_trip_time() {
                self.link.video.set_round_trip_time(round_trip);
            }
        }
        self.quality = self.quality_watch.update(now, seen);
    }

    /// Takes in what they said about gaps in our sound.
    pub fn note_gaps(&mut self, packets: u64, gaps: u64) {
        self.gaps.note(packets, gaps);
    }

    /// What there is to tell them about gaps in their sound; `None` without new ones.
    pub fn gaps_to_tell(&mut self) -> Option<PeerMessage> {
        let stats = self.link.audio.stats();
        let transport = self.link.transport();
        let (copied, gaps_closed) = transport.map(Transport::sound_restored).unwrap_or_default();
        let packets = stats.missing_packets + copied;
        let gaps = stats.missing_bursts + gaps_closed;
        let news = std::mem::replace(&mut self.gaps_told, gaps) != gaps;
        news.then_some(PeerMessage::SoundGaps { packets, gaps })
    }

    /// How our sound gets through to them; `None` before anything is known.
    pub fn loss_report(&mut self, now: Instant) -> Option<LossReport> {
        let sound = self.connected_transport()?.sound_reception()?;
        let target = self.connected_transport()?.path_estimate().target;
        let share = self.loss.note(now, sound.packets_sent, sound.packets_lost);
        Some(sound_protection::report(
            share,
            &self.gaps,
            sound.round_trip_time,
            target,
            self.heard,
        ))
    }

    /// Whether they have told us anything about themselves.
    pub const fn heard(&self) -> bool {
        self.heard
    }

    /// The name they gave; empty until it is known.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Notes the states of the connection.
    pub fn set_states(&mut self, states: ConnectionStates) {
        self.states = states;
    }

    /// Notes what is being tried to reach them again.
    pub fn set_reconnecting(&mut self, reconnecting: Option<ReconnectView>) {
        self.reconnecting = reconnecting;
    }

    /// What is shown of them.
    pub fn view(&self, id: ParticipantId) -> ParticipantView {
        ParticipantView {
            id,
            name: self.name.clone(),
            microphone_muted: self.microphone_muted,
            camera_on: self.camera_on,
            microphone_unplugged: self.microphone_unplugged,
            states: self.states.clone(),
            reconnecting: self.reconnecting,
            quality: self.quality,
        }
    }

    /// Who takes their frames.
    pub fn video_out(&self) -> &Arc<VideoFanOut> {
        self.link.video.frames_out()
    }

    /// Their picture as it arrives.
    pub fn video(&self) -> &RemoteVideo {
        &self.link.video
    }

    /// Their sound as it is played.
    pub fn audio(&self) -> &RemoteAudio {
        &self.link.audio
    }

    /// The connection, once it exists.
    pub fn transport(&self) -> Option<&Transport> {
        self.link.transport()
    }

    /// Asks them for a key frame.
    pub fn request_key_frame(&self) {
        self.link.request_key_frame();
    }

    /// How loud they are, linear 0 to 1.
    pub fn level(&self) -> f32 {
        self.link.audio.level().rms
    }

    /// Everything that is known about the connection, under W3C names.
    pub async fn stats(&self, id: ParticipantId, local: &LocalMedia) -> ParticipantStats {
        let transport = match self.link.transport() {
            Some(transport) => transport.stats().await,
            None => TransportStats::default(),
        };
        participant_stats::report(
            id,
            &Sources {
                transport,
                encoder: local.video.stats(),
                video: self.link.video.stats(),
                audio: self.link.audio.stats(),
                audio_level: self.level(),
            },
        )
    }

    /// What the path to them carries; `None` before ICE has found it. That is a little before media
    /// can be sent, so that the first picture is already of a size that gets through at once.
    pub fn path_estimate(&self) -> Option<PathEstimate> {
        let found = matches!(
            self.states.ice_connection.as_str(),
            "connected" | "completed"
        );
        let usable = found && matches!(self.states.connection.as_str(), "connecting" | "connected");
        let transport = self.link.transport().filter(|_| usable)?;
        Some(transport.path_estimate())
    }

    /// The most that would be sent to them if the path carried it.
    pub fn set_needed_bitrate(&self, needed: Bitrate) {
        if let Some(transport) = self.connected_transport() {
            transport.set_needed_bitrate(needed);
        }
    }

    fn connected_transport(&self) -> Option<&Transport> {
        let connected = self.states.connection == "connected";
        self.link.transport().filter(|_| connected)
    }
}

/// Joins the transport's receiving end to jitter buffers and to our own encoder.
struct MediaLink {
    audio: RemoteAudio,
    video: RemoteVideo,
    sync: Arc<SoundAndPicture>,
    /// The camera is released with the other end of it, whatever connections there still are.
    encoder: Weak<VideoSend>,
    transport: OnceLock<Transport>,
}

impl MediaLink {
    fn new(local: &LocalMedia) -> Arc<Self> {
        Arc::new_cyclic(|link: &Weak<Self>| {
            let link = Weak::clone(link);
            let audio = local.playout.add_remote();
            let sync = Arc::new(SoundAndPicture::new(Arc::clone(audio.clock())));
            Self {
                audio,
                sync: Arc::clone(&sync),
                video: RemoteVideo::start(sync, move || {
                    if let Some(link) = link.upgrade() {
                        link.request_key_frame();
                    }
                }),
                encoder: Arc::downgrade(&local.video),
                transport: OnceLock::new(),
            }
        })
    }

    fn transport(&self) -> Option<&Transport> {
        self.transport.get()
    }

    fn request_key_frame(&self) {
        if let Some(transport) = self.transport() {
            transport.request_key_frame();
        }
    }
}

impl MediaReceiver for MediaLink {
    fn audio(&self, packet: RtpPacket) {
        self.audio.push(packet);
    }

    fn video(&self, packet: RtpPacket) {
        self.video.push(packet);
    }

    fn key_frame_requested(&self) {
        if let Some(encoder) = self.encoder.upgrade() {
            encoder.request_key_frame();
        }
    }

    fn pictures_dropped(&self) {
        if let Some(encoder) = self.encoder.upgrade() {
            encoder.begin_with_key_frame();
        }
    }

    fn audio_report(&self, ntp_time: u64, rtp_time: u32) {
        self.sync.audio_report(ntp_time, rtp_time);
    }

    fn video_report(&self, ntp_time: u64, rtp_time: u32) {
        self.sync.video_report(ntp_time, rtp_time);
    }
}

/// Hands our frames to one connection.
struct ToTransport(Transport);

impl EncodedVideoSink for ToTransport {
    fn on_encoded_frame(&self, frame: &EncodedFrame) {
        self.0.send_video(frame);
    }

    fn wants_frames(&self) -> bool {
        !self.0.is_backed_up()
    }
}

impl EncodedAudioSink for ToTransport {
    fn on_encoded_audio(&self, audio: &EncodedAudio) {
        self.0.send_audio(audio);
    }
}

struct ParticipantTask<F> {
    negotiation: Negotiation,
    reconnect: Reconnect,
    /// The only certificate that is accepted from them.
    remote: Option<Fingerprint>,
    link: Arc<MediaLink>,
    video_out: Arc<VideoFanOut>,
    audio_out: Arc<AudioFanOut>,
    report: F,
}

impl<F, Fut> ParticipantTask<F>
where
    F: Fn(ParticipantOutput) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    async fn run(mut self, config: TransportConfig, mut inputs: mpsc::Receiver<Input>) {
        let (events, mut from_transport) = mpsc::channel(EVENT_CAPACITY);
        // The transport must not keep the link alive: the link holds the transport.
        let receiver = Arc::new(WeakReceiver(Arc::downgrade(&self.link)));
        let transport = match Transport::new(config, events, receiver).await {
            Ok(transport) => transport,
            Err(error) => {
                tracing::warn!(%error, "no connection can be made");
                return (self.report)(ParticipantOutput::Failed).await;
            }
        };
        let _ = self.link.transport.set(transport.clone());
        let sink = Arc::new(ToTransport(transport.clone()));
        let subscriptions = (
            self.video_out.subscribe(Arc::clone(&sink) as _),
            self.audio_out.subscribe(sink),
        );
        // The need for a first offer comes from the transport at once. Taken up after an offer
        // that waits here already has been answered, it would begin a second exchange.
        while let Some(event) = from_transport.recv().await {
            let first_need = matches!(event, TransportEvent::NegotiationNeeded);
            self.transport_event(&transport, event).await;
            if first_need {
                break;
            }
        }
        let hung_up = loop {
            tokio::select! {
                input = inputs.recv() => match input {
                    Some(Input::Description(description)) => {
                        let other = |remote| !fingerprint::names_only(&description.sdp, remote);
                        if self.remote.as_ref().is_some_and(other) {
                            (self.report)(ParticipantOutput::NotVerified).await;
                            break false;
                        }
                        if description.kind == DescriptionKind::Offer {
                            self.reconnect.remote_offer();
                        }
                        let actions = self.negotiation.remote_description(description);
                        self.perform(&transport, actions).await;
                    }
                    Some(Input::Candidate(candidate)) => {
                        let actions = self.negotiation.remote_candidate(candidate);
                        self.perform(&transport, actions).await;
                    }
                    Some(Input::IceServers(servers)) => {
                        if let Err(error) = transport.set_ice_servers(&servers).await {
                            tracing::warn!(%error, "other STUN and TURN servers are of no use");
                        }
                    }
                    Some(Input::HangUp) => break true,
                    None => break false,
                },
                event = from_transport.recv() => match event {
                    Some(event) => self.transport_event(&transport, event).await,
                    None => break false,
                },
                step = self.reconnect.next(&transport) => self.reconnect_step(&transport, step).await,
            }
        };
        // Nothing more is sent or played.
        drop((subscriptions, self.link));
        if hung_up {
            transport.send_data(PeerMessage::Bye.to_json());
            tokio::time::sleep(GOODBYE).await;
        }
        transport.close().await;
    }

    async fn reconnect_step(&mut self, transport: &Transport, step: Step) {
        if step.restart {
            transport.restart_ice();
        }
        if let Some(reconnecting) = step.shown {
            (self.report)(ParticipantOutput::Reconnecting(reconnecting)).await;
        }
    }

    async fn transport_event(&mut self, transport: &Transport, event: TransportEvent) {
        match event {
            TransportEvent::LocalCandidate(candidate) => {
                (self.report)(ParticipantOutput::Candidate(candidate)).await;
            }
            TransportEvent::NegotiationNeeded => {
                let actions = self.negotiation.negotiation_needed();
                self.perform(transport, actions).await;
            }
            TransportEvent::States(states) => {
                if states.connection == "connected" {
                    // Whatever was sent before did not arrive.
                    self.link.pictures_dropped();
                }
                self.reconnect.states(&states);
                (self.report)(ParticipantOutput::States(states)).await;
            }
            TransportEvent::DataOpen => (self.report)(ParticipantOutput::DataOpen).await,
            TransportEvent::Data(bytes) => match PeerMessage::parse(&bytes) {
                Some(message) => (self.report)(ParticipantOutput::Message(message)).await,
                None => {
                    tracing::debug!(bytes = bytes.len(), "malformed message on the data channel")
                }
            },
            TransportEvent::Closed => (self.report)(ParticipantOutput::Failed).await,
        }
    }

    /// Performs actions and whatever follows from their completion.
    async fn perform(&mut self, transport: &Transport, actions: Vec<Action>) {
        let mut actions = VecDeque::from(actions);
        while let Some(action) = actions.pop_front() {
            let completion = transport.perform(&action).await;
            match action {
                Action::Send(description) => {
                    (self.report)(ParticipantOutput::Description(description)).await;
                }
                Action::Report(failure) => tracing::warn!(%failure, "negotiation"),
                Action::CreateOffer
                | Action::CreateAnswer
                | Action::SetLocal(_)
                | Action::SetRemote(_)
                | Action::RollBack
                | Action::AddCandidate(_) => {}
            }
            if let Some(completion) = completion {
                actions.extend(self.negotiation.completed(completion));
            }
        }
    }
}

struct WeakReceiver(Weak<MediaLink>);

impl MediaReceiver for WeakReceiver {
    fn audio(&self, packet: RtpPacket) {
        if let Some(link) = self.0.upgrade() {
            MediaReceiver::audio(&*link, packet);
        }
    }

    fn video(&self, packet: RtpPacket) {
        if let Some(link) = self.0.upgrade() {
            MediaReceiver::video(&*link, packet);
        }
    }

    fn key_frame_requested(&self) {
        if let Some(link) = self.0.upgrade() {
            link.key_frame_requested();
        }
    }

    fn pictures_dropped(&self) {
        if let Some(link) = self.0.upgrade() {
            link.pictures_dropped();
        }
    }

    fn audio_report(&self, ntp_time: u64, rtp_time: u32) {
        if let Some(link) = self.0.upgrade() {
            link.audio_report(ntp_time, rtp_time);
        }
    }

    fn video_report(&self, ntp_time: u64, rtp_time: u32) {
        if let Some(link) = self.0.upgrade() {
            link.video_report(ntp_time, rtp_time);
        }
    }
}
