//! Congestion control of one connection: what the packet chain sees of packets and feedback, and
//! what the writer makes of it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ahoy_bandwidth::estimator::{Estimator, EstimatorConfig, ProbeCluster, ProbeId};
use ahoy_bandwidth::repair::Unasked;
use ahoy_media::units::Bitrate;
use tokio::sync::Notify;

use super::config::TransportConfig;

/// Packets of a probe between the writer and the wire. A probe has some tens.
const MAX_MARKED: usize = 256;

/// What the path carries, for whoever decides about encoders.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PathEstimate {
    /// What may be sent now, everything included: sound, repairs and headers.
    pub target: Bitrate,
    /// What the path is thought to carry: slower than `target`, and never below it for long.
    pub lasting: Bitrate,
    /// Share of packets that the path loses by itself, 0 to 1.
    pub own_loss: f64,
    /// Share of what is sent of pictures that is sent again, 0 to 1.
    pub sent_again: f64,
    /// Share of packets lost of late, for whatever reason, 0 to 1.
    pub loss: f64,
    /// From the sending of a packet to the report on it; `None` before the first.
    pub round_trip_time: Option<Duration>,
}

/// How the writer is to send from now on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) rate: Bitrate,
    pub(super) target: Bitrate,
    /// Share of packets lost of late, 0 to 1.
    pub(super) loss: f64,
    /// Time that packets wait on the path beyond that of the empty path.
    pub(super) queue_delay: Duration,
    /// Pictures are sent twice without being asked for.
    pub(super) twice: bool,
    pub(super) probe: Option<ProbeCluster>,
    /// When to ask again, if nothing else happens.
    pub(super) next: Option<Instant>,
}

/// The estimator, shared between the packet chain and the writer. Locked for a few additions.
#[derive(Debug)]
pub(super) struct CongestionControl {
    state: Mutex<State>,
    /// Wakes the writer.
    changed: Arc<Notify>,
}

#[derive(Debug)]
struct State {
    estimator: Estimator,
    unasked: Unasked,
    /// SSRC and sequence number of packets that are part of a probe and have not left yet.
    marked: VecDeque<(u32, u16, ProbeId)>,
}

impl CongestionControl {
    pub(super) fn new(config: &TransportConfig, changed: Arc<Notify>) -> Self {
        let estimator = Estimator::new(EstimatorConfig {
            initial: config.initial_bitrate,
            min: config.min_bitrate,
            max: config.max_bitrate,
        });
        Self {
            state: Mutex::new(State {
                estimator,
                unasked: Unasked::default(),
                marked: VecDeque::new(),
            }),
            changed,
        }
    }

    pub(super) fn estimate(&self) -> PathEstimate {
        let state = self.lock();
        let stats = state.estimator.stats();
        PathEstimate {
            target: state.estimator.target_bitrate(),
            lasting: state.estimator.estimate(),
            own_loss: stats.own_loss,
            sent_again: if state.unasked.is_active() {
                stats.own_loss.max(0.5)
            } else {
                stats.own_loss
            },
            loss: stats.loss,
            round_trip_time: stats.round_trip_time,
        }
    }

    /// Time passes. More than `needed` would not be sent.
    pub(super) fn drive(&self, now: Instant, needed: Bitrate) -> Pace {
        let mut state = self.lock();
        let State {
            estimator, unasked, ..
        } = &mut *state;
        let stats = estimator.stats();
        let round_trip = stats.round_trip_time.unwrap_or_default();
        unasked.update(
            round_trip.saturating_sub(stats.queue_delay),
            stats.lasting_loss,
            estimator.target_bitrate(),
        );
        estimator.on_timeout(now);
        estimator.set_needed(needed);
        let probe = estimator.poll_probe(now);
        Pace {
            probe,
            rate: estimator.pacing_rate(),
            target: estimator.target_bitrate(),
            loss: stats.loss,
            queue_delay: stats.queue_delay,
            twice: unasked.is_active(),
            next: estimator.poll_timeout(),
        }
    }

    /// The packet that will leave with this number is part of a probe.
    pub(super) fn mark(&self, ssrc: u32, sequence_number: u16, probe: ProbeId) {
        let marked = &mut self.lock().marked;
        if marked.len() == MAX_MARKED {
            marked.pop_front();
        }
        marked.push_back((ssrc, sequence_number, probe));
    }

    /// A packet goes on as another one: a repair in a stream of its own.
    pub(super) fn renamed(&self, from: (u32, u16), to: (u32, u16)) {
        let mut state = self.lock();
        let is_it = |(ssrc, number, _): &&mut (u32, u16, ProbeId)| (*ssrc, *number) == from;
        if let Some((ssrc, number, _)) = state.marked.iter_mut().find(is_it) {
            (*ssrc, *number) = to;
        }
    }

    /// A packet leaves: its stream and number, its transport-wide number, its size on the wire.
    pub(super) fn sent(
        &self,
        now: Instant,
        packet: (u32, u16),
        transport_number: u16,
        size: usize,
    ) {
        let mut state = self.lock();
        let is_it = |(ssrc, number, _): &(u32, u16, ProbeId)| (*ssrc, *number) == packet;
        let probe = match state.marked.iter().position(is_it) {
            Some(index) => state.marked.remove(index).map(|(_, _, probe)| probe),
            None => None,
        };
        state.estimator.on_sent(now, transport_number, size, probe);
    }

    /// The other side reports which packets came, and when on its own clock.
    pub(super) fn feedback(
        &self,
        now: Instant,
        statuses: impl IntoIterator<Item = (u16, Option<Duration>)>,
    ) {
        self.lock().estimator.on_feedback(now, statuses);
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
