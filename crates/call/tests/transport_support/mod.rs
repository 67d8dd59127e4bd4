//! Two connections with their negotiations, joined by a signaling channel in memory.

#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use ahoy_call::negotiation::{Action, Candidate, Completion, Description, Negotiation, Role};
use ahoy_call::transport::{
    LocalAddresses, MediaReceiver, Transport, TransportConfig, TransportEvent,
};
use ahoy_media::frame::{Copies, EncodedAudio, EncodedFrame};
use ahoy_media::rtp::RtpPacket;
use ahoy_media::units::Resolution;
use bytes::Bytes;
use tokio::sync::mpsc;

/// Keeps what arrives.
#[derive(Default)]
pub(crate) struct Collector {
    audio: Mutex<Vec<RtpPacket>>,
    video: Mutex<Vec<RtpPacket>>,
    key_frame_requests: AtomicUsize,
}

impl Collector {
    pub(crate) fn audio(&self) -> Vec<RtpPacket> {
        self.audio.lock().expect("sound").clone()
    }

    pub(crate) fn video(&self) -> Vec<RtpPacket> {
        self.video.lock().expect("picture").clone()
    }

    /// Without the first so many.
    pub(crate) fn audio_from(&self, index: usize) -> Vec<RtpPacket> {
        let audio = self.audio.lock().expect("sound");
        audio.get(index..).unwrap_or_default().to_vec()
    }

    /// Without the first so many.
    pub(crate) fn video_from(&self, index: usize) -> Vec<RtpPacket> {
        let video = self.video.lock().expect("picture");
        video.get(index..).unwrap_or_default().to_vec()
    }

    pub(crate) fn key_frame_requests(&self) -> usize {
        self.key_frame_requests.load(Ordering::SeqCst)
    }
}

impl MediaReceiver for Collector {
    fn audio(&self, packet: RtpPacket) {
        self.audio.lock().expect("sound").push(packet);
    }

    fn video(&self, packet: RtpPacket) {
        self.video.lock().expect("picture").push(packet);
    }

    fn key_frame_requested(&self) {
        self.key_frame_requests.fetch_add(1, Ordering::SeqCst);
    }
}

/// What the two sides signal.
#[derive(Debug)]
pub(crate) enum Signal {
    Description(Description),
    Candidate(Candidate),
}

/// A connection, its negotiation and what it told so far.
pub(crate) struct Peer {
    pub(crate) transport: Transport,
    pub(crate) negotiation: Negotiation,
    pub(crate) received: Arc<Collector>,
    pub(crate) events: mpsc::Receiver<TransportEvent>,
    pub(crate) inbox: VecDeque<Signal>,
    pub(crate) actions: VecDeque<Action>,
    pub(crate) failures: Vec<String>,
    pub(crate) data: Vec<Bytes>,
    pub(crate) data_open: bool,
    pub(crate) closed: bool,
    pub(crate) offers: usize,
    pub(crate) rollbacks: usize,
}

impl Peer {
    pub(crate) async fn new(role: Role, config: TransportConfig) -> Self {
        let received = Arc::new(Collector::default());
        let (sender, events) = mpsc::channel(32);
        let transport = Transport::new(config, sender, Arc::clone(&received) as Arc<_>)
            .await
            .expect("a connection");
        Self {
            transport,
            negotiation: Negotiation::new(role),
            received,
            events,
            inbox: VecDeque::new(),
            actions: VecDeque::new(),
            failures: Vec::new(),
            data: Vec::new(),
            data_open: false,
            closed: false,
            offers: 0,
            rollbacks: 0,
        }
    }

    pub(crate) fn connected(&self) -> bool {
        self.transport.states().connection == "connected"
    }

    /// Takes events and signals and performs what follows; what is to be sent goes to `other`.
    /// Whether anything happened.
    pub(crate) async fn step(&mut self, other: &mut VecDeque<Signal>) -> bool {
        let mut moved = false;
        while let Ok(event) = self.events.try_recv() {
            moved = true;
            self.take(event, other);
        }
        while let Some(signal) = self.inbox.pop_front() {
            moved = true;
            let actions = match signal {
                Signal::Description(description) => {
                    self.negotiation.remote_description(description)
                }
                Signal::Candidate(candidate) => self.negotiation.remote_candidate(candidate),
            };
            self.actions.extend(actions);
        }
        while let Some(action) = self.actions.pop_front() {
            moved = true;
            self.perform(action, other).await;
        }
        moved
    }

    async fn perform(&mut self, action: Action, other: &mut VecDeque<Signal>) {
        match &action {
            Action::Send(description) => other.push_back(Signal::Description(description.clone())),
            Action::Report(failure) => self.failures.push(failure.to_string()),
            Action::CreateOffer => self.offers += 1,
            Action::RollBack => self.rollbacks += 1,
            _ => {}
        }
        if let Some(completion) = self.transport.perform(&action).await {
            if let Completion::OfferCreated(Ok(offer)) = &completion {
                assert!(offer.sdp.starts_with("v=0"), "{}", offer.sdp);
            }
            self.actions.extend(self.negotiation.completed(completion));
        }
    }

    fn take(&mut self, event: TransportEvent, other: &mut VecDeque<Signal>) {
        match event {
            TransportEvent::LocalCandidate(candidate) => {
                other.push_back(Signal::Candidate(candidate))
            }
            TransportEvent::NegotiationNeeded => {
                self.actions.extend(self.negotiation.negotiation_needed());
            }
            TransportEvent::Data(data) => self.data.push(data),
            TransportEvent::DataOpen => self.data_open = true,
            TransportEvent::Closed => self.closed = true,
            TransportEvent::States(_) => {}
        }
    }
}

/// The impolite side, which was there first, and the polite one, which offers.
pub(crate) fn roles() -> (Role, Role) {
    let first = Role {
        polite: false,
        offers_first: false,
    };
    let second = Role {
        polite: true,
        offers_first: true,
    };
    (first, second)
}

pub(crate) fn loopback() -> TransportConfig {
    TransportConfig {
        local_addresses: LocalAddresses::Loopback,
        ..TransportConfig::default()
    }
}

/// A stand-in for a VP8 picture: the transport does not look inside.
pub(crate) fn frame(number: u32, bytes: usize, key_frame: bool, now: Instant) -> EncodedFrame {
    EncodedFrame {
        data: vec![number as u8; bytes].into(),
        key_frame,
        rtp_timestamp: number.wrapping_mul(3000),
        captured_at: now,
        resolution: Resolution::new(640, 360),
    }
}

pub(crate) fn sound(number: u32, now: Instant) -> EncodedAudio {
    let mut data = vec![number as u8; 80];
    // One frame of 20 ms (RFC 6716 section 3.1).
    data[0] = 31 << 3;
    EncodedAudio {
        data: data.into(),
        rtp_timestamp: number.wrapping_mul(960),
        captured_at: now,
        copies: Copies::NONE,
    }
}
