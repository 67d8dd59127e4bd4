//! The one task that owns the call: it takes commands, and what the signaling link, the
//! participants and the media threads report, one at a time, and publishes a snapshot after each.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ahoy_media::device::MediaEvent;
use ahoy_media::frame::EncodedVideoSink;
use ahoy_media::units::VideoConstraints;
use ahoy_signaling::address::ServerAddress;
use ahoy_signaling::client::Seat;
use ahoy_signaling::embedded::EmbeddedServer;
use ahoy_signaling::invite::Invite;
use ahoy_signaling::room_code::RoomNumber;
use rand::SeedableRng;
use rand::rand_core::UnwrapErr;
use rand::rngs::{StdRng, SysRng};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::MissedTickBehavior;

use super::ice_servers::IceServers;
use super::link::{Joined, Link, LinkOutput, LinkRequest, Servers};
use super::{Command, EngineConfig, Levels, VideoTile};
use crate::adaptation::QualityLimitationReason;
use crate::fan_out::Subscription;
use crate::local::LocalMedia;
use crate::negotiation::Role;
use crate::participant::{Participant, ParticipantOutput};
use crate::quality::Sending;
use crate::sealed_message::SealedMessage;
use crate::session::{Departure, Session};
use crate::shared_code::SharedCode;
use crate::stats::StatsReport;
use crate::status::PeerMessage;
use crate::transport::{Certificate, LocalAddresses, TransportConfig};
use crate::verification::{Problem, Verification};
use crate::view::{
    CallEvent, CallState, CallView, EndReason, InviteView, ParticipantId, ParticipantView, Reach,
    SignalingLinkState,
};

/// What waits for the task from below. Candidates are the most numerous: some tens for each of
/// nine participants. Whoever finds it full waits; media threads instead drop the report.
const INPUT_CAPACITY: usize = 1024;

/// How often timeouts and the encoder's rate are looked at: as often as there is feedback.
const TICK: Duration = Duration::from_millis(50);

/// One second between two tries to make ourselves known.
const TICKS_PER_REMINDER: u32 = 20;

/// Half a second between two looks at the quality of the connections.
const TICKS_PER_QUALITY: u32 = 10;

/// Whoever joined later yields when offers collide, and makes the first one.
pub(super) const OFFERS: Role = Role {
    polite: true,
    offers_first: true,
};
pub(super) const ANSWERS: Role = Role {
    polite: false,
    offers_first: false,
};

/// What comes from below. The number is that of the call, or of our seat, that it belongs to: reports
/// of a call that is over, or of a connection of a former seat, are ignored.
pub(super) enum Input {
    Link(u64, LinkOutput),
    Participant(u64, ParticipantId, ParticipantOutput),
    Media(MediaEvent),
}

/// Starts the task and the local media.
pub(super) fn spawn(
    config: EngineConfig,
    commands: mpsc::Receiver<Command>,
    events: broadcast::Sender<CallEvent>,
) -> watch::Receiver<CallView> {
    let (inputs, from_below) = mpsc::channel(INPUT_CAPACITY);
    let task = EngineTask::new(config, inputs, events);
    let (view, watched) = watch::channel(task.snapshot(Instant::now()));
    tokio::spawn(task.run(commands, from_below, view));
    watched
}

/// The room that we are in, as others need to know it.
pub(super) struct Room {
    pub(super) number: RoomNumber,
    pub(super) server: ServerAddress,
    pub(super) reach: Reach,
    pub(super) instead_of: Option<String>,
}

pub(super) struct EngineTask {
    pub(super) local: LocalMedia,
    pub(super) session: Session,
    pub(super) participants: BTreeMap<ParticipantId, Participant>,
    pub(super) link: Option<Link>,
    signaling: SignalingLinkState,
    pub(super) own_id: Option<ParticipantId>,
    pub(super) invite: Option<InviteView>,
    /// The code that lets into our room; the server hands out and knows only the number.
    pub(super) code: Option<SharedCode>,
    /// Where it belongs to, once we have a seat.
    pub(super) room: Option<Room>,
    pub(super) verification: Option<Verification>,
    call: u64,
    /// Seats that we had so far.
    pub(super) seats: u64,
    pub(super) ice_servers: IceServers,
    pub(super) transport: TransportConfig,
    /// Our picture now, and as the others were told.
    sending: Sending,
    sending_told: Sending,
    ticks: u32,
    server: Option<ServerAddress>,
    embedded: Arc<EmbeddedServer>,
    pub(super) inputs: mpsc::Sender<Input>,
    events: broadcast::Sender<CallEvent>,
}

impl EngineTask {
    fn new(
        config: EngineConfig,
        inputs: mpsc::Sender<Input>,
        events: broadcast::Sender<CallEvent>,
    ) -> Self {
        let to_task = inputs.clone();
        let mut local = LocalMedia::start(
            &(Arc::new(move |event| {
                if let Err(TrySendError::Full(_)) = to_task.try_send(Input::Media(event)) {
                    tracing::warn!("the engine is too busy to hear of a device");
                }
            }) as _),
        );
        local.set_name(&config.name);
        local.set_muted(config.microphone_muted);
        local.set_camera_on(!config.camera_off);
        local.set_constraints(config.constraints);
        local.set_processing(config.processing);
        local.select_microphone(config.microphone);
        local.select_speaker(config.speaker);
        local.select_camera(config.camera);
        Self {
            local,
            session: Session::new(),
            participants: BTreeMap::new(),
            link: None,
            signaling: SignalingLinkState::Disconnected,
            own_id: None,
            invite: None,
            code: None,
            room: None,
            verification: None,
            call: 0,
            seats: 0,
            ice_servers: IceServers::new(config.ice_servers),
            transport: TransportConfig {
                relay_only: config.relay_only,
                ..TransportConfig::default()
            },
            sending: Sending::default(),
            sending_told: Sending::default(),
            ticks: 0,
            server: config.server,
            embedded: Arc::new(EmbeddedServer::new(config.embedded)),
            inputs,
            events,
        }
    }

    async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut from_below: mpsc::Receiver<Input>,
        view: watch::Sender<CallView>,
    ) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let closed = loop {
            tokio::select! {
                command = commands.recv() => match command {
                    None => break None,
                    Some(Command::Close(done)) => break Some(done),
                    Some(command) => self.command(command).await,
                },
                Some(input) = from_below.recv() => self.input(input).await,
                _ = tick.tick() => self.tick().await,
            }
            self.publish(&view);
        };
        self.end_call(EndReason::HungUp).await;
        self.publish(&view);
        if let Some(done) = closed {
            // Joining media threads blocks; whoever waits for it sits on another task.
            let local = self.local;
            let _ = tokio::task::spawn_blocking(move || drop(local)).await;
            let _ = done.send(());
        }
    }

    async fn command(&mut self, command: Command) {
        match command {
            Command::NewCall { share_on_network } => self.new_call(share_on_network).await,
            Command::Join(invite) => self.join(invite).await,
            Command::Reopen {
                invite,
                share_on_network,
            } => self.reopen(invite, share_on_network).await,
            Command::RenewCode => self.renew_code(),
            Command::HangUp => self.end_call(EndReason::HungUp).await,
            Command::SetName(name) => self.change_status(|local| local.set_name(&name)),
            Command::SetServer(server) => self.server = server,
            Command::SetIceServers {
                servers,
                relay_only,
            } => {
                self.ice_servers.set_own(servers);
                self.transport.relay_only = relay_only;
                self.tell_ice_servers();
            }
            Command::SetMicrophoneMuted(muted) => {
                self.change_status(|local| local.set_muted(muted));
            }
            Command::SetCameraOn(on) => self.change_status(|local| local.set_camera_on(on)),
            Command::SelectCamera(camera) => self.local.select_camera(camera),
            Command::SelectMicrophone(microphone) => self.local.select_microphone(microphone),
            Command::SelectSpeaker(speaker) => self.local.select_speaker(speaker),
            Command::SetVideoConstraints(wanted) => self.local.set_constraints(wanted),
            Command::SetProcessing(settings) => self.local.set_processing(settings),
            Command::SubscribeVideo(tile, sink, answer) => {
                let _ = answer.send(self.subscribe(tile, sink));
            }
            Command::RequestKeyFrame(tile) => self.request_key_frame(tile),
            Command::Levels(answer) => {
                let _ = answer.send(self.levels());
            }
            Command::Stats(answer) => {
                let _ = answer.send(self.stats().await);
            }
            Command::PlayTestSound => self.local.playout.play_test_sound(),
            Command::Close(done) => {
                let _ = done.send(());
            }
        }
    }

    async fn new_call(&mut self, share_on_network: bool) {
        self.begin_call().await;
        self.code = Some(SharedCode::first());
        self.open_link(LinkRequest::Create { share_on_network }, None);
    }

    async fn join(&mut self, invite: Invite) {
        self.begin_call().await;
        self.code = Some(SharedCode::invited(invite.code.words, invite.secret));
        let number = invite.code.number;
        self.open_link(LinkRequest::Join { number }, invite.server);
    }

    async fn reopen(&mut self, invite: Invite, share_on_network: bool) {
        self.begin_call().await;
        self.code = Some(SharedCode::invited(invite.code.words, invite.secret));
        let request = LinkRequest::Reopen {
            number: invite.code.number,
            share_on_network,
        };
        self.open_link(request, invite.server);
    }

    async fn begin_call(&mut self) {
        self.end_call(EndReason::HungUp).await;
        self.call += 1;
        self.session.begin();
    }

    fn open_link(&mut self, request: LinkRequest, invited_to: Option<ServerAddress>) {
        self.signaling = SignalingLinkState::Connecting;
        let servers = Servers {
            first: invited_to.or_else(|| self.server.clone()),
            own: self.server.clone(),
        };
        let (inputs, call) = (self.inputs.clone(), self.call);
        self.link = Some(Link::open(
            request,
            servers,
            &self.embedded,
            move |output| {
                let inputs = inputs.clone();
                async move {
                    // The task outlives its links; without it nobody needs to know.
                    let _ = inputs.send(Input::Link(call, output)).await;
                }
            },
        ));
    }

    /// Leaves the room and drops every connection. What was known stays visible until the next
    /// call begins.
    async fn end_call(&mut self, reason: EndReason) {
        self.session.end(reason);
        self.release_call().await;
    }

    /// Drops what an ended call still holds.
    async fn release_call(&mut self) {
        for (_, participant) in std::mem::take(&mut self.participants) {
            participant.hang_up();
        }
        if let Some(link) = self.link.take() {
            link.leave().await;
        }
        self.signaling = SignalingLinkState::Disconnected;
        self.ice_servers.forget_handed_out();
        self.own_id = None;
        self.invite = None;
        self.code = None;
        self.room = None;
        self.verification = None;
    }

    async fn input(&mut self, input: Input) {
        match input {
            Input::Link(call, output) if call == self.call => self.link_output(output).await,
            Input::Participant(seat, id, output) if seat == self.seats => {
                self.participant_output(id, output).await;
            }
            Input::Link(..) | Input::Participant(..) => {}
            Input::Media(event) => self.media_event(event),
        }
        if !self.session.in_call() && self.link.is_some() {
            self.release_call().await;
        }
    }

    async fn link_output(&mut self, output: LinkOutput) {
        match output {
            LinkOutput::Joined(joined) => self.joined(joined).await,
            LinkOutput::ParticipantJoined(id) => self.participant_joined(id).await,
            LinkOutput::ParticipantLeft(id, departure) => {
                // The server gave the seat up; whom we still hear is still there.
                if departure == Departure::Left || !self.session.stays_without_seat(id) {
                    self.participant_left(id, departure);
                    self.left_the_room(id).await;
                }
            }
            LinkOutput::ParticipantAway { id, crashed } => {
                self.session.participant_away(id, crashed);
            }
            LinkOutput::IceServers(servers, lifetime) => {
                self.ice_servers
                    .hand_out(&servers, lifetime, Instant::now());
                self.tell_ice_servers();
            }
            LinkOutput::ParticipantBack(id) => self.session.participant_back(id),
            LinkOutput::Signal(from, bytes) => self.signal(from, &bytes).await,
            LinkOutput::Failed(reason) => self.end_call(reason).await,
            LinkOutput::Reconnecting { gone } => {
                self.signaling = SignalingLinkState::Lost;
                self.session.server_away(gone);
                // A window that ran the server for us is closed: nobody can come any more.
                if gone && self.server_on_this_computer() {
                    self.session.server_lost();
                }
            }
            LinkOutput::Resumed => {
                self.signaling = SignalingLinkState::Joined;
                self.session.server_back();
            }
            LinkOutput::Rejoined(seat) => self.rejoined(&seat).await,
            LinkOutput::Lost => {
                self.signaling = SignalingLinkState::Lost;
                self.session.server_lost();
            }
        }
    }

    /// Connections that there are take the renewed credentials when they restart ICE.
    fn tell_ice_servers(&self) {
        for participant in self.participants.values() {
            participant.set_ice_servers(self.ice_servers.all());
        }
    }

    async fn joined(&mut self, joined: Joined) {
        let Some(link) = &mut self.link else {
            return;
        };
        link.joined(joined.sender);
        self.seats += 1;
        self.signaling = SignalingLinkState::Joined;
        self.own_id = Some(joined.seat.participant);
        let lifetime = joined.seat.ice_servers_lifetime;
        self.ice_servers
            .hand_out(&joined.seat.ice_servers, lifetime, Instant::now());
        if joined.on_this_computer {
            self.transport.local_addresses = LocalAddresses::NetworkAndLoopback;
        } else {
            self.transport.local_addresses = LocalAddresses::Network;
        }
        match Certificate::generate() {
            Ok(certificate) => self.transport.certificate = Some(certificate),
            Err(error) => {
                tracing::warn!(%error, "no certificate");
                return self.session.end(EndReason::ConnectionFailed);
            }
        }
        self.room = Some(Room {
            number: joined.seat.room,
            server: joined.invite_server,
            reach: joined.reach,
            instead_of: joined.instead_of,
        });
        self.begin_verification();
        self.show_invite();
        self.session.joined(&[], Instant::now());
        for id in joined.seat.others() {
            self.participant_joined(id).await;
        }
    }

    fn server_on_this_computer(&self) -> bool {
        self.transport.local_addresses == LocalAddresses::NetworkAndLoopback
    }

    /// Our seat was given up while we could not be reached, and we have another: everything begins
    /// anew, in the same room. The old connections go without a goodbye: whoever still has one is not
    /// to think that we hung up.
    async fn rejoined(&mut self, seat: &Seat) {
        self.seats += 1;
        self.signaling = SignalingLinkState::Joined;
        self.own_id = Some(seat.participant);
        self.ice_servers
            .hand_out(&seat.ice_servers, seat.ice_servers_lifetime, Instant::now());
        self.participants.clear();
        self.session.rejoined();
        self.begin_verification();
        for id in seat.others() {
            self.participant_joined(id).await;
        }
    }

    /// Nobody is verified yet; words that are retired stay so.
    fn begin_verification(&mut self) {
        let retired = self.retired();
        let certificate = self.transport.certificate.as_ref();
        self.verification = match (self.code, self.own_id, &self.room, certificate) {
            (Some(code), Some(own), Some(room), Some(certificate)) => Some(Verification::new(
                room.number.get(),
                own,
                certificate.fingerprint(),
                code.secrets(),
                StdRng::from_rng(&mut UnwrapErr(SysRng)),
            )),
            _ => None,
        };
        if let Some(verification) = self.verification.as_mut().filter(|_| retired) {
            verification.retire();
        }
    }

    /// Somebody is in the room; in the call they are when they are verified.
    async fn participant_joined(&mut self, id: ParticipantId) {
        let now = Instant::now();
        if self.session.participant_joined(id, now)
            && let Some(verification) = &mut self.verification
        {
            let outputs = verification.participant_joined(id, now);
            self.verify(outputs).await;
        }
    }

    /// Somebody is out of the room: the next one's turn to be verified.
    async fn left_the_room(&mut self, id: ParticipantId) {
        if let Some(verification) = &mut self.verification {
            let outputs = verification.participant_left(id, Instant::now());
            self.verify(outputs).await;
        }
    }

    /// Nothing is heard of somebody, and their program seems to have died: they are gone for whoever
    /// looks. If it was only a bad moment, their connection comes back by itself.
    fn vanish(&mut self, id: ParticipantId) {
        self.session.vanish(id);
        if let Some(participant) = self.participants.get(&id) {
            let name = participant.name().to_owned();
            self.emit(CallEvent::ParticipantLeft { id, name });
        }
    }

    /// Those who are in the call, as far as is known.
    fn present(&self) -> impl Iterator<Item = (ParticipantId, &Participant)> {
        let participants = self.participants.iter();
        participants
            .map(|(id, participant)| (*id, participant))
            .filter(|(id, _)| !self.session.has_vanished(*id))
    }

    /// There is no connection to somebody, or none any more. With nobody else there, that ends a call
    /// that never stood; but a stranger who comes in and is not verified ends nothing.
    fn given_up(&mut self, id: ParticipantId) {
        let joins = self.own_id.is_some_and(|own| own > id);
        let stranger = !joins && !self.participants.contains_key(&id);
        self.participant_left(id, Departure::Lost);
        let met = self.session.connected_since().is_some();
        if self.participants.is_empty() && !met && !stranger {
            self.session.end(EndReason::ConnectionFailed);
        }
    }

    pub(super) fn participant_left(&mut self, id: ParticipantId, departure: Departure) {
        let name = self
            .participants
            .remove(&id)
            .map(|participant| participant.name().to_owned());
        // Who was never in the call does not end it by leaving the room.
        let departure = name.as_ref().map_or(Departure::Lost, |_| departure);
        let told_already = self.session.has_vanished(id);
        self.session.participant_left(id, departure);
        if let Some(name) = name.filter(|_| !told_already) {
            self.emit(CallEvent::ParticipantLeft { id, name });
        }
    }

    async fn participant_output(&mut self, id: ParticipantId, output: ParticipantOutput) {
        let retired = self.code.filter(|_| self.retired());
        let Some(participant) = self.participants.get_mut(&id) else {
            return;
        };
        match output {
            ParticipantOutput::Description(description) => {
                self.send_sealed(id, &SealedMessage::Description { description })
                    .await;
            }
            ParticipantOutput::Candidate(candidate) => {
                let candidate = Some(candidate);
                self.send_sealed(id, &SealedMessage::Candidate { candidate })
                    .await;
            }
            ParticipantOutput::States(states) => {
                let back = self.session.connection_changed(id, &states, Instant::now());
                participant.set_states(states);
                if back {
                    self.emit(CallEvent::ParticipantJoined { id });
                }
                self.adapt();
            }
            ParticipantOutput::Reconnecting(reconnecting) => {
                participant.set_reconnecting(reconnecting);
            }
            ParticipantOutput::DataOpen => {
                participant.send_message(&self.local.status());
                participant.send_message(&sending_message(self.sending));
                if let Some(code) = self.code.and_then(|code| code.message()) {
                    participant.send_message(&code);
                }
                if let Some(code) = retired {
                    participant.send_message(&code.retired());
                }
            }
            ParticipantOutput::Message(PeerMessage::Bye) => {
                self.participant_left(id, Departure::Left);
            }
            ParticipantOutput::Message(PeerMessage::SoundGaps { packets, gaps }) => {
                participant.note_gaps(packets, gaps);
            }
            ParticipantOutput::Message(PeerMessage::Sending { limitation, height }) => {
                participant.note_sending(Sending { limitation, height });
            }
            ParticipantOutput::Message(PeerMessage::Code {
                generation,
                words,
                link,
            }) => self.told_code(generation, &words, &link),
            ParticipantOutput::Message(PeerMessage::CodeRetired { generation }) => {
                self.told_retired(generation);
            }
            ParticipantOutput::NotVerified => self.not_verified(id, Problem::NotVerified),
            ParticipantOutput::Message(message) => {
                if participant.note(message) {
                    participant.send_message(&self.local.status());
                }
            }
            ParticipantOutput::Failed => self.given_up(id),
        }
    }

    fn media_event(&mut self, event: MediaEvent) {
        self.emit_media(&event);
        self.change_status(|local| local.media_event(&event));
    }

    fn emit_media(&self, event: &MediaEvent) {
        self.emit(match event.clone() {
            MediaEvent::Started { .. } | MediaEvent::Stopped { .. } => return,
            MediaEvent::Failed { kind, error } => CallEvent::DeviceProblem {
                kind,
                problem: error.problem,
                detail: error.detail,
            },
            MediaEvent::Replaced {
                kind,
                lost_label,
                label,
                problem,
            } => CallEvent::DeviceReplaced {
                kind,
                lost_label,
                label,
                problem,
            },
            MediaEvent::Returned { kind, label } => CallEvent::DeviceReturned { kind, label },
            MediaEvent::DevicesChanged { kind, .. } => CallEvent::DevicesChanged { kind },
        });
    }

    /// Changes something about us and tells the others if it concerns them.
    fn change_status(&mut self, change: impl FnOnce(&mut LocalMedia)) {
        let before = self.local.status();
        change(&mut self.local);
        let status = self.local.status();
        if status != before {
            for participant in self.participants.values() {
                participant.send_message(&status);
            }
        }
    }

    async fn tick(&mut self) {
        if let Some(verification) = &mut self.verification {
            let outputs = verification.tick(Instant::now());
            self.verify(outputs).await;
        }
        for id in self.session.vanishing(Instant::now()) {
            self.vanish(id);
        }
        for id in self.session.overdue(Instant::now()) {
            self.given_up(id);
        }
        if !self.session.in_call() && self.link.is_some() {
            self.release_call().await;
        }
        self.ticks = self.ticks.wrapping_add(1);
        if self.ticks.is_multiple_of(TICKS_PER_REMINDER) {
            if self.ice_servers.is_due(Instant::now())
                && let Some(link) = &self.link
            {
                link.ask_for_ice_servers().await;
            }
            self.remind_the_silent();
            self.tell_gaps();
        }
        self.local.watch_microphone(Instant::now());
        self.adapt();
        if self.ticks.is_multiple_of(TICKS_PER_QUALITY) {
            self.watch_quality();
        }
    }

    /// Lets the encoders follow what the paths carry.
    fn adapt(&mut self) {
        let participants = self.participants.values();
        let paths: Vec<_> = participants
            .filter_map(Participant::path_estimate)
            .collect();
        let participants = self.participants.values();
        let received = participants.map(|other| other.video_out().decoding()).sum();
        let now = Instant::now();
        let losses = self.participants.values_mut();
        let losses = losses.filter_map(|participant| participant.loss_report(now));
        let decision = self.local.adapt(now, &paths, losses, received);
        let wanted = self.local.view().constraints;
        for participant in self.participants.values() {
            participant.set_needed_bitrate(decision.needed);
        }
        self.sending = Sending {
            limitation: decision.limitation,
            height: fewer_lines(decision.encoding.constraints, wanted).unwrap_or_default(),
        };
    }

    /// How good the connections are; and if our picture is less than wanted, they hear why.
    fn watch_quality(&mut self) {
        let now = Instant::now();
        if self.sending != self.sending_told {
            self.sending_told = self.sending;
            let message = sending_message(self.sending);
            for participant in self.participants.values() {
                participant.send_message(&message);
            }
        }
        let lasting = |participant: &Participant| Some(participant.path_estimate()?.lasting);
        let slowest = self.participants.values().filter_map(lasting).min();
        for participant in self.participants.values_mut() {
            // Of several paths the slowest limits the picture; the others are not to blame.
            let limits = lasting(participant) <= slowest;
            let ours = if limits || self.sending.limitation == QualityLimitationReason::Cpu {
                self.sending
            } else {
                Sending::default()
            };
            participant.watch_quality(now, ours);
        }
    }

    /// Whoever has not told us their name yet may not have heard ours: see [`Participant::note`].
    fn remind_the_silent(&self) {
        let status = self.local.status();
        for participant in self.participants.values().filter(|other| !other.heard()) {
            participant.send_message(&status);
        }
    }

    fn tell_gaps(&mut self) {
        for participant in self.participants.values_mut() {
            if let Some(message) = participant.gaps_to_tell() {
                participant.send_message(&message);
            }
        }
    }

    fn subscribe(&self, tile: VideoTile, sink: Arc<dyn EncodedVideoSink>) -> Option<Subscription> {
        let subscription = match tile {
            VideoTile::Local => {
                let subscription = self.local.preview_out.subscribe(sink);
                self.local.video.request_preview_key_frame();
                subscription
            }
            VideoTile::Participant(id) => {
                let participant = self.participants.get(&id)?;
                let subscription = participant.video_out().subscribe(sink);
                participant.request_key_frame();
                subscription
            }
        };
        Some(subscription)
    }

    fn request_key_frame(&self, tile: VideoTile) {
        match tile {
            VideoTile::Local => self.local.video.request_preview_key_frame(),
            VideoTile::Participant(id) => {
                if let Some(participant) = self.participants.get(&id) {
                    participant.request_key_frame();
                }
            }
        }
    }

    fn levels(&self) -> Levels {
        Levels {
            local: self.local.audio.level(),
            participants: self
                .present()
                .map(|(id, participant)| (id, participant.level()))
                .collect(),
        }
    }

    async fn stats(&self) -> StatsReport {
        let mut participants = Vec::with_capacity(self.participants.len());
        for (id, participant) in self.present() {
            participants.push(participant.stats(id, &self.local).await);
        }
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        StatsReport {
            timestamp: since_epoch.map_or(0.0, |time| time.as_secs_f64() * 1000.0),
            participants,
        }
    }

    /// Where the call stands, for whom a stranger that is still to be verified is not there yet.
    fn state(&self) -> CallState {
        let state = self.session.state();
        if state != CallState::Connecting || self.present().next().is_some() {
            return state;
        }
        let own = self.own_id.unwrap_or_default();
        if (1..own).any(|id| self.session.has(id)) {
            CallState::Joining
        } else {
            CallState::Waiting
        }
    }

    /// Whether too many wrong words were tried.
    fn retired(&self) -> bool {
        let retired = self.verification.as_ref().map(Verification::retired);
        retired.unwrap_or_default()
    }

    pub(super) fn emit(&self, event: CallEvent) {
        // Nobody listening is fine.
        let _ = self.events.send(event);
    }

    fn publish(&self, view: &watch::Sender<CallView>) {
        let next = self.snapshot(Instant::now());
        view.send_if_modified(|current| {
            let changed = !same_but_for_the_clock(current, &next);
            if changed {
                log_transition(&current.state, &next.state);
                *current = next;
            }
            changed
        });
    }

    fn snapshot(&self, now: Instant) -> CallView {
        let connected_for = self
            .session
            .connected_since()
            .map(|since| now.saturating_duration_since(since).as_millis());
        CallView {
            state: self.state(),
            participant: self.own_id,
            invite: self.invite.clone(),
            code_retired: self.retired(),
            participants: self
                .present()
                .map(|(id, participant)| participant.view(id))
                .collect::<Vec<ParticipantView>>(),
            local: self.local.view().clone(),
            signaling: self.signaling,
            connected_for_ms: connected_for.map(|ms| u32::try_from(ms).unwrap_or(u32::MAX)),
        }
    }
}

/// The call clock runs on its own in whoever shows it: its progress alone is no news.
fn same_but_for_the_clock(a: &CallView, b: &CallView) -> bool {
    let without_clock = |view: &CallView| CallView {
        connected_for_ms: view.connected_for_ms.map(|_| 0),
        ..view.clone()
    };
    without_clock(a) == without_clock(b)
}

/// Lines of a picture that is smaller than wanted.
fn fewer_lines(constraints: VideoConstraints, wanted: VideoConstraints) -> Option<u32> {
    let height = constraints.resolution.height;
    (height < wanted.resolution.height).then_some(height)
}

fn sending_message(sending: Sending) -> PeerMessage {
    let Sending { limitation, height } = sending;
    PeerMessage::Sending { limitation, height }
}

fn log_transition(from: &CallState, to: &CallState) {
    if from != to {
        tracing::info!(?from, ?to, "call");
    }
}
