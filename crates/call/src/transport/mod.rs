//! One connection to one participant: with `ahoy-ice` the only place that knows the webrtc crate.
//!
//! ```text
//! encode thread ──send_video──▶ queue (8 pictures) ─┐
//! audio thread  ──send_audio──▶ queue (10 packets) ─┴▶ writer task ─▶ connection task ─▶ network
//! network ─▶ connection task ─▶ packet chain ─▶ MediaReceiver (called on that task)
//!                            └▶ outbox ─▶ event task ─▶ TransportEvent (bounded channel)
//! ```
//!
//! A connection has one sound and one picture transceiver for life. Devices are switched before
//! the encoders, never here.

mod certificate;
mod config;
mod congestion;
mod connection;
mod data;
mod error;
mod events;
mod handler;
mod interceptors;
mod local_sockets;
mod send;
mod sound_repairs;
mod stats;

use std::future::Future;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ahoy_ice::privacy;
use ahoy_ice::runtime::IceRuntime;
use ahoy_ice::server::{ServerTransport, check_servers};
use ahoy_ice::status::{ServerState, ServerStatus};
use ahoy_media::frame::{EncodedAudio, EncodedAudioSink, EncodedFrame, EncodedVideoSink};
use ahoy_media::units::Bitrate;
use rtc::peer_connection::configuration::RTCOfferOptions;
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_OPUS, MIME_TYPE_VP8};
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind;
use tokio::sync::{Notify, mpsc};
use webrtc::data_channel::DataChannel;
use webrtc::peer_connection::{
    PeerConnection, RTCIceCandidateInit, RTCSessionDescription, RTCStatsReportEntry, StatsSelector,
};
use webrtc::runtime::{JoinHandle, Runtime, default_runtime};

pub use ahoy_ice::server::IceServer;
pub use ahoy_ice::stream::tls::ExtraRoots;
pub use certificate::Certificate;
pub use config::{LocalAddresses, TransportConfig};
pub use congestion::PathEstimate;
pub use error::TransportError;
pub use events::{MediaReceiver, TransportEvent};
pub use stats::{
    CandidatePairStats, InboundRtpStats, OutboundRtpStats, RemoteInboundRtpStats, SoundReception,
    TransportStats,
};
/// What a virtual network for tests implements.
pub use webrtc::runtime as network;

use crate::negotiation::{Action, Candidate, Completion, Description, DescriptionKind};
use crate::view::ConnectionStates;
use congestion::CongestionControl;
use connection::{ChainParts, MIME_TYPE_RED, Ssrcs};
use error::reason;
use events::Outbox;
use handler::Handler;
use send::{PayloadTypes, SendQueues, Writer};
use stats::Streams;

/// Longest session description that is read. Browsers with every codec stay below 20 kB.
pub const MAX_SDP_BYTES: usize = 64 * 1024;
/// Longest candidate that is read; RFC 8839 needs some 200 bytes.
pub const MAX_CANDIDATE_BYTES: usize = 1024;

/// A connection. Clones refer to the same one; when the last is dropped, it is closed.
#[derive(Clone)]
pub struct Transport(Arc<Shared>);

struct Shared {
    connection: Arc<dyn PeerConnection>,
    runtime: Arc<dyn Runtime>,
    ice_runtime: Arc<IceRuntime>,
    /// With a relay only: the last description that was made, as it may leave and as it is.
    made: Option<Mutex<Made>>,
    queues: Arc<SendQueues>,
    streams: Arc<Streams>,
    congestion: Arc<CongestionControl>,
    ssrcs: Ssrcs,
    outbox: Arc<Outbox>,
    texts: Option<mpsc::Sender<String>>,
    tasks: Mutex<Vec<Box<dyn JoinHandle>>>,
    /// An ICE restart was asked for and no answer has confirmed it yet.
    restarting: AtomicBool,
    /// The other side's ICE generation (`ice-ufrag`, RFC 8839 section 5.4).
    remote_ufrag: Mutex<Option<String>>,
    closed: AtomicBool,
}

/// A description of ours, without and with what may not be told.
#[derive(Default)]
struct Made {
    told: String,
    own: String,
}

impl Transport {
    /// Binds sockets and makes the transceivers. Fires [`TransportEvent::NegotiationNeeded`] soon
    /// after. `events` should have room for a few dozen; while it is full, nothing is lost and
    /// the data channel is held back.
    pub async fn new(
        config: TransportConfig,
        events: mpsc::Sender<TransportEvent>,
        receiver: Arc<dyn MediaReceiver>,
    ) -> Result<Self, TransportError> {
        let runtime = config.runtime.clone().or_else(default_runtime);
        let runtime =
            runtime.ok_or_else(|| TransportError::Setup("there is no runtime".to_owned()))?;
        check_servers(&config.ice_servers, config.relay_only)
            .map_err(|error| TransportError::Setup(error.to_string()))?;
        Self::build(&config, runtime, events, receiver)
            .await
            .map_err(|error| TransportError::Setup(reason(&error)))
    }

    /// Performs what the negotiation asks for, except [`Action::Send`] and [`Action::Report`],
    /// which are the caller's. `None` when nothing is to be reported back.
    pub async fn perform(&self, action: &Action) -> Option<Completion> {
        let text = |error: TransportError| error.to_string();
        match action {
            Action::CreateOffer => Some(Completion::OfferCreated(
                self.create_offer().await.map_err(text),
            )),
            Action::CreateAnswer => Some(Completion::AnswerCreated(
                self.create_answer().await.map_err(text),
            )),
            Action::SetLocal(description) => {
                let set = self.set_local_description(description).await;
                Some(Completion::LocalSet(set.map_err(text)))
            }
            Action::SetRemote(description) => {
                let set = self.set_remote_description(description).await;
                Some(Completion::RemoteSet(set.map_err(text)))
            }
            Action::RollBack => Some(Completion::RolledBack(self.roll_back().await.map_err(text))),
            Action::AddCandidate(candidate) => {
                if let Err(error) = self.add_candidate(candidate).await {
                    tracing::debug!(%error, "a remote candidate was passed over");
                }
                None
            }
            Action::Send(_) | Action::Report(_) => None,
        }
    }

    /// `createOffer` (webrtc-pc section 4.4.2).
    pub async fn create_offer(&self) -> Result<Description, TransportError> {
        let ice_restart = self.0.restarting.load(Ordering::Relaxed);
        let options = Some(RTCOfferOptions { ice_restart });
        let offer = guard(self.0.connection.create_offer(options)).await;
        Ok(self.made(DescriptionKind::Offer, self.own(offer)?))
    }

    /// `createAnswer`; there must be a remote offer.
    pub async fn create_answer(&self) -> Result<Description, TransportError> {
        let answer = guard(self.0.connection.create_answer(None)).await;
        Ok(self.made(DescriptionKind::Answer, self.own(answer)?))
    }

    /// `setLocalDescription` with what [`Self::create_offer`] or [`Self::create_answer`] gave
    /// last. Starts gathering candidates.
    pub async fn set_local_description(&self, local: &Description) -> Result<(), TransportError> {
        let parsed = parse(&self.as_made(local))
            .map_err(|error| TransportError::InvalidState(reason(&error)))?;
        let set = guard(self.0.connection.set_local_description(parsed)).await;
        self.own(set)?;
        if local.kind == DescriptionKind::Answer {
            self.negotiated().await;
        }
        Ok(())
    }

    /// `setRemoteDescription`. An offer that cannot be used leaves no trace; for an answer that
    /// cannot, roll back.
    pub async fn set_remote_description(&self, remote: &Description) -> Result<(), TransportError> {
        if remote.sdp.len() > MAX_SDP_BYTES {
            return Err(TransportError::InvalidDescription("too long".to_owned()));
        }
        let understood = Description {
            kind: remote.kind,
            sdp: sound_repairs::understood(&remote.sdp),
        };
        let set = match parse(&understood) {
            Ok(parsed) => guard(self.0.connection.set_remote_description(parsed)).await,
            Err(error) => Err(error),
        };
        if let Err(error) = set {
            self.forget_remote_offer(remote.kind).await;
            return Err(self.or_closed(TransportError::InvalidDescription(reason(&error))));
        }
        let restarted = self.notes_restart(&remote.sdp);
        if remote.kind == DescriptionKind::Answer || restarted {
            // An offer of theirs that restarts ICE restarts it for both.
            self.0.restarting.store(false, Ordering::Relaxed);
        }
        if remote.kind == DescriptionKind::Answer {
            self.negotiated().await;
        }
        Ok(())
    }

    /// Takes the pending offer back, whichever side's it is (RFC 9429 section 4.1.10.2).
    pub async fn roll_back(&self) -> Result<(), TransportError> {
        let local = self
            .0
            .connection
            .pending_local_description()
            .await
            .is_some();
        let rolled_back = self.roll_back_side(local).await;
        self.own(rolled_back)
    }

    /// `addIceCandidate`; there must be a remote description. Hidden addresses (`.local`, RFC
    /// 8828) are passed over without an error.
    pub async fn add_candidate(&self, candidate: &Candidate) -> Result<(), TransportError> {
        if candidate.candidate.len() > MAX_CANDIDATE_BYTES {
            return Err(TransportError::InvalidCandidate("too long".to_owned()));
        }
        if candidate
            .candidate
            .split_whitespace()
            .any(|word| word.ends_with(".local"))
        {
            return Ok(());
        }
        let init = RTCIceCandidateInit {
            candidate: candidate.candidate.clone(),
            sdp_mid: candidate.sdp_mid.clone(),
            sdp_mline_index: candidate.sdp_m_line_index,
            username_fragment: candidate.username_fragment.clone(),
            url: None,
        };
        let added = guard(self.0.connection.add_ice_candidate(init)).await;
        added.map_err(|error| self.or_closed(TransportError::InvalidCandidate(reason(&error))))
    }

    /// The credentials that the servers have from now on, as `setConfiguration` (webrtc-pc section
    /// 4.4.1.6): they are used from the next ICE restart on. Servers and ways that the connection
    /// was not made with are passed over. When none is left, nothing changes.
    ///
    /// # Errors
    ///
    /// [`TransportError::Setup`] when there are too many, or no relay for a connection that needs
    /// one; [`TransportError::Closed`].
    pub async fn set_ice_servers(&self, servers: &[IceServer]) -> Result<(), TransportError> {
        let relay_only = self.0.made.is_some();
        check_servers(servers, relay_only)
            .map_err(|error| TransportError::Setup(error.to_string()))?;
        let known = self.0.ice_runtime.ice_servers(servers);
        let configuration = connection::ice_configuration(known, relay_only).build();
        let set = self.0.connection.set_configuration(configuration).await;
        self.own(set)
    }

    /// Makes the next offer restart ICE and fires [`TransportEvent::NegotiationNeeded`].
    pub fn restart_ice(&self) {
        self.0.restarting.store(true, Ordering::Relaxed);
        self.0.outbox.negotiation_needed();
    }

    /// Queues a picture, from any thread. When the queue is full, pictures are dropped until the
    /// next key frame, which is asked for through [`MediaReceiver::key_frame_requested`].
    pub fn send_video(&self, frame: &EncodedFrame) {
        self.0.queues.push_frame(frame);
    }

    /// Queues a sound packet, from any thread; it never waits behind pictures. When the queue is
    /// full, the oldest is dropped.
    pub fn send_audio(&self, audio: &EncodedAudio) {
        self.0.queues.push_audio(audio);
    }

    /// Queues a text for the data channel, also before it is open. `false` when there is no
    /// channel or 32 texts wait already.
    pub fn send_data(&self, text: String) -> bool {
        let texts = self.0.texts.as_ref();
        texts.is_some_and(|texts| texts.try_send(text).is_ok())
    }

    /// Asks the other side for a key frame (PLI), at most four times a second.
    pub fn request_key_frame(&self) {
        self.0.queues.request_key_frame();
    }

    /// What congestion control knows of the path.
    pub fn path_estimate(&self) -> PathEstimate {
        self.0.congestion.estimate()
    }

    /// The most that would be sent if the path carried it, headers included: congestion control
    /// does not look for more.
    pub fn set_needed_bitrate(&self, needed: Bitrate) {
        self.0.queues.set_needed(needed);
    }

    /// Whether so much waits already that another picture should be left out.
    pub fn is_backed_up(&self) -> bool {
        self.0.queues.is_backed_up()
    }

    /// How our sound arrives, by the other side's latest report (RFC 3550 section 6.4.2); `None`
    /// before the first.
    pub fn sound_reception(&self) -> Option<SoundReception> {
        let streams = &self.0.streams;
        let snapshot = streams.snapshot();
        let sent = snapshot.outbound_audio;
        Some(SoundReception {
            packets_sent: sent.packets_sent - sent.retransmitted_packets_sent,
            packets_lost: snapshot.remote_inbound_audio?.packets_lost,
            round_trip_time: streams.round_trip_time(),
        })
    }

    /// How much of their sound was lost and came again inside later packets (RFC 2198): packets, and
    /// gaps that they had left.
    pub fn sound_restored(&self) -> (u64, u64) {
        let inbound = self.0.streams.snapshot().inbound_audio;
        inbound.map_or((0, 0), |it| (it.packets_restored, it.gaps_restored))
    }

    /// The latest round trip by RTCP reports; `None` before the first.
    pub fn round_trip_time(&self) -> Option<Duration> {
        self.0.streams.round_trip_time()
    }

    /// The counters of the streams, without the candidate pair.
    pub fn stream_stats(&self) -> TransportStats {
        self.0.streams.snapshot()
    }

    /// How the STUN and TURN servers answer.
    pub fn server_statuses(&self) -> Vec<ServerStatus> {
        self.0.ice_runtime.server_statuses()
    }

    /// The states as they are now.
    pub fn states(&self) -> ConnectionStates {
        self.0.outbox.current_states()
    }

    /// A snapshot of the counters.
    pub async fn stats(&self) -> TransportStats {
        TransportStats {
            candidate_pair: self.candidate_pair().await,
            frames_dropped_before_sending: self.0.queues.frames_dropped(),
            audio_dropped_before_sending: self.0.queues.audio_dropped(),
            ..self.0.streams.snapshot()
        }
    }

    /// Tells the other side and releases sockets and tasks. The last event is
    /// [`TransportEvent::Closed`]. Repeating it does nothing.
    pub async fn close(&self) {
        if self.0.closed.swap(true, Ordering::Relaxed) {
            return;
        }
        self.0.stop();
        if self.0.connection.close().await.is_err() {
            tracing::debug!("a connection did not close in order");
        }
    }

    async fn build(
        config: &TransportConfig,
        runtime: Arc<dyn Runtime>,
        events: mpsc::Sender<TransportEvent>,
        receiver: Arc<dyn MediaReceiver>,
    ) -> rtc::shared::error::Result<Self> {
        let ssrcs = Ssrcs::random();
        let streams = Arc::new(Streams::new(ssrcs));
        let outbox = Arc::new(Outbox::new());
        let changed = Arc::new(Notify::new());
        let queues = Arc::new(SendQueues::new(Arc::clone(&receiver), Arc::clone(&changed)));
        let congestion = Arc::new(CongestionControl::new(config, changed));
        let ice_runtime = IceRuntime::new(
            Arc::clone(&runtime),
            &config.ice_servers,
            config.turn_roots.clone(),
        );
        let handler = Arc::new(Handler {
            outbox: Arc::clone(&outbox),
            queues: Arc::clone(&queues),
            runtime: Arc::clone(&ice_runtime),
            relay_only: config.relay_only,
            first_need_known: AtomicBool::new(true),
        });
        let parts = ChainParts {
            congestion: Arc::clone(&congestion),
            queues: Arc::clone(&queues),
            streams: Arc::clone(&streams),
            receiver,
            ssrcs,
        };
        let connection =
            connection::build(config, Arc::clone(&ice_runtime), handler, parts).await?;
        let tracks = connection::add_tracks(&*connection, ssrcs).await?;
        let channel = match config.data_channel {
            true => Some(data::open(&*connection).await?),
            false => None,
        };
        outbox.negotiation_needed();

        let writer = Writer::new(
            Arc::clone(&queues),
            Arc::clone(&congestion),
            tracks,
            Arc::clone(&streams),
            Arc::clone(&runtime),
            ssrcs,
        );
        let mut tasks = vec![runtime.spawn(Box::pin(writer.run()))];
        let texts =
            channel.map(|channel| spawn_data(&*runtime, &mut tasks, channel, events.clone()));
        // Not among the tasks that closing aborts: it ends by itself after the last event.
        runtime
            .spawn(Box::pin(Arc::clone(&outbox).forward(events)))
            .detach();

        Ok(Self(Arc::new(Shared {
            connection,
            runtime,
            ice_runtime,
            made: config.relay_only.then(Mutex::default),
            queues,
            streams,
            congestion,
            ssrcs,
            outbox,
            texts,
            tasks: Mutex::new(tasks),
            restarting: AtomicBool::new(false),
            remote_ufrag: Mutex::default(),
            closed: AtomicBool::new(false),
        })))
    }

    /// Whether a description of theirs begins another ICE generation than the one before.
    fn notes_restart(&self, sdp: &str) -> bool {
        let ufrag = sdp
            .lines()
            .find_map(|line| line.strip_prefix("a=ice-ufrag:"));
        let ufrag = ufrag.map(|ufrag| ufrag.trim_end().to_owned());
        let known = self.0.remote_ufrag.lock();
        let mut known = known.unwrap_or_else(PoisonError::into_inner);
        let restarted = known.is_some() && *known != ufrag;
        *known = ufrag;
        restarted
    }

    /// A description of ours as it may leave.
    fn made(&self, kind: DescriptionKind, made: RTCSessionDescription) -> Description {
        let announced = sound_repairs::announced(&made.sdp, self.0.ssrcs);
        let Some(last) = &self.0.made else {
            return Description {
                kind,
                sdp: announced,
            };
        };
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Made {
            told: privacy::relayed_only_sdp(&announced),
            own: made.sdp,
        };
        Description {
            kind,
            sdp: last.told.clone(),
        }
    }

    /// The description that was told as this one: the crate takes back only what it made.
    fn as_made(&self, local: &Description) -> Description {
        let mut sdp = sound_repairs::taken_back(&local.sdp);
        if let Some(last) = &self.0.made {
            let last = last.lock().unwrap_or_else(PoisonError::into_inner);
            if last.told == local.sdp {
                sdp.clone_from(&last.own);
            }
        }
        Description {
            kind: local.kind,
            sdp,
        }
    }

    /// The crate applies an offer step by step and stops where it fails.
    async fn forget_remote_offer(&self, kind: DescriptionKind) {
        let applied = self
            .0
            .connection
            .pending_remote_description()
            .await
            .is_some();
        if kind == DescriptionKind::Offer && applied && self.roll_back_side(false).await.is_err() {
            tracing::debug!("an unusable offer could not be taken back");
        }
    }

    async fn roll_back_side(&self, local: bool) -> rtc::shared::error::Result<()> {
        let rollback = RTCSessionDescription::rollback(None)?;
        if local {
            guard(self.0.connection.set_local_description(rollback)).await
        } else {
            guard(self.0.connection.set_remote_description(rollback)).await
        }
    }

    /// Learns the payload types that hold from now on.
    async fn negotiated(&self) {
        use RtpCodecKind::{Audio, Video};
        self.0.queues.negotiated(PayloadTypes {
            audio: self.payload_type(Audio, MIME_TYPE_OPUS).await,
            red: self.payload_type(Audio, MIME_TYPE_RED).await,
            video: self.payload_type(Video, MIME_TYPE_VP8).await,
        });
    }

    async fn payload_type(&self, kind: RtpCodecKind, mime_type: &str) -> Option<u8> {
        for sender in self.0.connection.get_senders().await {
            if sender.track().kind().await != kind {
                continue;
            }
            let parameters = sender.get_parameters().await.ok()?;
            let mut codecs = parameters.rtp_parameters.codecs.iter();
            let codec =
                codecs.find(|codec| codec.rtp_codec.mime_type.eq_ignore_ascii_case(mime_type));
            return codec.map(|codec| codec.payload_type);
        }
        None
    }

    /// Where the selected path begins on this computer, as far as that is known: the address of
    /// its socket (the base of its local candidate, RFC 8445 section 4) or stream.
    pub async fn local_address(&self) -> Option<IpAddr> {
        self.candidate_pair().await?.local_address
    }

    async fn candidate_pair(&self) -> Option<CandidatePairStats> {
        let now = self.0.runtime.now();
        let report = self.0.connection.get_stats(now, StatsSelector::None).await;
        let selected = report.iter().find_map(|entry| match entry {
            RTCStatsReportEntry::Transport(transport) => {
                Some(&transport.selected_candidate_pair_id)
            }
            _ => None,
        })?;
        let pair = report.iter().find_map(|entry| match entry {
            RTCStatsReportEntry::IceCandidatePair(pair) if pair.stats.id == *selected => Some(pair),
            _ => None,
        })?;
        // The crate refers to a candidate without the prefix under which it lists it, and lists
        // only those that were gathered or signaled: any other was learned from a check.
        let candidate_type = |wanted: &str| {
            let listed = report.iter().find_map(|entry| match entry {
                RTCStatsReportEntry::LocalCandidate(candidate)
                | RTCStatsReportEntry::RemoteCandidate(candidate)
                    if candidate.stats.id.ends_with(wanted) =>
                {
                    Some(candidate.candidate_type.to_string())
                }
                _ => None,
            });
            listed.unwrap_or_else(|| "prflx".to_owned())
        };
        let local = report.iter().find_map(|entry| match entry {
            RTCStatsReportEntry::LocalCandidate(candidate)
                if candidate.stats.id.ends_with(&pair.local_candidate_id) =>
            {
                let base = Some(&candidate.related_address).filter(|base| !base.is_empty());
                base.or(candidate.address.as_ref())?.parse().ok()
            }
            _ => None,
        });
        let local_type = candidate_type(&pair.local_candidate_id);
        let relay = self.relay_transport(&local_type);
        let stream = relay.and_then(|transport| self.0.ice_runtime.stream_address(transport));
        let measured = pair.current_round_trip_time > 0.0;
        Some(CandidatePairStats {
            current_round_trip_time: measured.then_some(pair.current_round_trip_time),
            available_outgoing_bitrate: self.0.congestion.estimate().lasting,
            bytes_sent: pair.bytes_sent,
            bytes_received: pair.bytes_received,
            local_address: stream.or(local),
            relay_protocol: relay.map(relay_protocol),
            local_candidate_type: local_type,
            remote_candidate_type: candidate_type(&pair.remote_candidate_id),
        })
    }

    /// How the relay is reached; there is one transport at a time, the best that was given.
    fn relay_transport(&self, local_type: &str) -> Option<ServerTransport> {
        let relaying = self.server_statuses().into_iter().filter(|status| {
            status.relays() && status.state == ServerState::Allocated && local_type == "relay"
        });
        relaying.map(|status| status.transport()).min()
    }

    fn own<T>(&self, result: rtc::shared::error::Result<T>) -> Result<T, TransportError> {
        result.map_err(|error| self.or_closed(TransportError::InvalidState(reason(&error))))
    }

    fn or_closed(&self, error: TransportError) -> TransportError {
        if self.0.closed.load(Ordering::Relaxed) {
            return TransportError::Closed;
        }
        error
    }
}

/// `relayProtocol` of webrtc-stats section 8.9.
const fn relay_protocol(transport: ServerTransport) -> &'static str {
    match transport {
        ServerTransport::Udp => "udp",
        ServerTransport::Tcp => "tcp",
        ServerTransport::Tls => "tls",
    }
}

impl EncodedVideoSink for Transport {
    fn on_encoded_frame(&self, frame: &EncodedFrame) {
        self.send_video(frame);
    }
}

impl EncodedAudioSink for Transport {
    fn on_encoded_audio(&self, audio: &EncodedAudio) {
        self.send_audio(audio);
    }
}

impl Shared {
    /// Ends what needs no goodbye.
    fn stop(&self) {
        self.queues.shut();
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        for task in tasks.drain(..) {
            task.abort();
        }
        self.outbox.close();
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if *self.closed.get_mut() {
            return;
        }
        self.stop();
        let connection = Arc::clone(&self.connection);
        let close = async move {
            if connection.close().await.is_err() {
                tracing::debug!("a dropped connection did not close in order");
            }
        };
        self.runtime.spawn(Box::pin(close)).detach();
    }
}

fn spawn_data(
    runtime: &dyn Runtime,
    tasks: &mut Vec<Box<dyn JoinHandle>>,
    channel: Arc<dyn DataChannel>,
    events: mpsc::Sender<TransportEvent>,
) -> mpsc::Sender<String> {
    let (texts, waiting) = mpsc::channel(data::MAX_TEXTS);
    let opened = Arc::new(Notify::new());
    let reader = data::read(Arc::clone(&channel), Arc::clone(&opened), events);
    tasks.push(runtime.spawn(Box::pin(reader)));
    tasks.push(runtime.spawn(Box::pin(data::write(channel, opened, waiting))));
    texts
}

fn parse(description: &Description) -> rtc::shared::error::Result<RTCSessionDescription> {
    let sdp = description.sdp.clone();
    std::panic::catch_unwind(|| match description.kind {
        DescriptionKind::Offer => RTCSessionDescription::offer(sdp),
        DescriptionKind::Answer => RTCSessionDescription::answer(sdp),
    })
    .unwrap_or_else(|_| Err(panicked()))
}

/// Turns a panic of the crate over what a stranger sent into an error.
async fn guard<T>(
    future: impl Future<Output = rtc::shared::error::Result<T>>,
) -> rtc::shared::error::Result<T> {
    let mut future = Box::pin(future);
    std::future::poll_fn(move |context| {
        let polled = AssertUnwindSafe(|| Pin::as_mut(&mut future).poll(context));
        std::panic::catch_unwind(polled).unwrap_or_else(|_| std::task::Poll::Ready(Err(panicked())))
    })
    .await
}

fn panicked() -> rtc::shared::error::Error {
    rtc::shared::error::Error::Other("the library gave up on it".to_owned())
}
