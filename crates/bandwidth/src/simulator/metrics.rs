//! What is recorded, and what it comes to.

use std::time::Duration;

use ahoy_media::units::{Bitrate, VideoConstraints};

use super::receiver::Kind;
use super::world::{Content, FlowKind, Packet, Scenario};
use crate::estimator::EstimatorStats;

/// Length of a bin.
const BIN: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Copy, Default)]
struct Bin {
    sent_packets: u32,
    lost_packets: u32,
    /// Bytes through the bottleneck, without padding.
    through: usize,
    /// Bytes at the receiver that it did not have yet.
    useful: usize,
}

/// The sender's view after a feedback message.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Since the beginning of the run.
    pub at: Duration,
    /// What it may send.
    pub target: Bitrate,
    /// What it sends.
    pub constraints: VideoConstraints,
    /// Why.
    pub stats: EstimatorStats,
}

/// What happened to one flow.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    bins: Vec<Bin>,
    /// When a packet was through the bottleneck, and how long it took, in ms.
    queue: Vec<(Duration, f32)>,
    /// When a frame could be shown, and when it was captured.
    frames: Vec<(Duration, Duration)>,
    pub(super) samples: Vec<Sample>,
    /// Frames that were not encoded because the pacer was behind.
    pub frames_left_out: u32,
    /// How often everything queued was dropped because it was too old.
    pub pictures_dropped: u32,
    /// Key frames encoded.
    pub key_frames: u32,
    /// Requests for a key frame.
    pub key_frame_requests: u32,
}

impl Trace {
    /// The sender's views in the course of time; none for TCP.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    fn bin(&mut self, at: Duration) -> &mut Bin {
        let index = (at.as_micros() / BIN.as_micros()) as usize;
        if self.bins.len() <= index {
            self.bins.resize(index + 1, Bin::default());
        }
        &mut self.bins[index]
    }

    pub(super) fn sent(&mut self, at: Duration, _bytes: usize) {
        self.bin(at).sent_packets += 1;
    }

    pub(super) fn lost(&mut self, at: Duration) {
        self.bin(at).lost_packets += 1;
    }

    pub(super) fn through(&mut self, at: Duration, packet: &Packet, waited: Duration) {
        self.queue.push((at, waited.as_secs_f32() * 1000.0));
        let padding =
            matches!(&packet.content, Content::Media(media) if media.kind == Kind::Padding);
        if !padding {
            self.bin(at).through += packet.size;
        }
    }

    pub(super) fn useful(&mut self, at: Duration, bytes: usize) {
        self.bin(at).useful += bytes;
    }

    pub(super) fn shown(&mut self, at: Duration, captured: Duration) {
        self.frames.push((at, captured));
    }

    fn bins(&self, from: Duration, to: Duration) -> impl Iterator<Item = &Bin> {
        let index = |at: Duration| (at.as_micros() / BIN.as_micros()) as usize;
        let bins = self.bins.iter().take(index(to));
        bins.skip(index(from))
    }
}

/// A finished run.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What was run.
    pub scenario: Scenario,
    /// What happened to each flow.
    pub traces: Vec<Trace>,
}

/// What one flow got in a time.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Summary {
    /// Mean rate through the bottleneck, without padding, in kbit/s.
    pub kbps: f64,
    /// The same as a share of the capacity.
    pub link_use: f64,
    /// Mean rate of what the receiver did not have yet, as a share of the capacity.
    pub goodput: f64,
    /// Time in the bottleneck, median, in ms.
    pub queue_p50: f64,
    /// 95th percentile.
    pub queue_p95: f64,
    /// Share of packets lost.
    pub loss: f64,
    /// Frames shown per second.
    pub frame_rate: f64,
    /// Longest time between two frames, in ms.
    pub longest_gap: f64,
    /// Share of the time that is part of a freeze (webrtc-stats `freezeCount`).
    pub frozen: f64,
    /// From capture to where it could be shown, median, in ms.
    pub delay_p50: f64,
    /// 95th percentile.
    pub delay_p95: f64,
}

impl Outcome {
    pub(super) fn new(scenario: Scenario, traces: Vec<Trace>) -> Self {
        Self { scenario, traces }
    }

    /// What flow number `flow` got between two times.
    pub fn summary(&self, flow: usize, from: Duration, to: Duration) -> Summary {
        let trace = &self.traces[flow];
        let link = match self.scenario.flows[flow].reversed {
            false => &self.scenario.forward,
            true => &self.scenario.backward,
        };
        let seconds = to.saturating_sub(from).as_secs_f64();
        let capacity = link.bits(from, to);
        let (mut sent, mut lost, mut through, mut useful) = (0, 0, 0, 0);
        for bin in trace.bins(from, to) {
            sent += bin.sent_packets;
            lost += bin.lost_packets;
            through += bin.through;
            useful += bin.useful;
        }
        let bits = through as f64 * 8.0;
        let inside = |at: Duration| at >= from && at < to;
        let queue = trace.queue.iter().filter(|(at, _)| inside(*at));
        let queue = sorted(queue.map(|(_, waited)| f64::from(*waited)));
        let frames: Vec<_> = trace.frames.iter().filter(|(at, _)| inside(*at)).collect();
        let delays = frames
            .iter()
            .map(|(at, captured)| (*at - *captured).as_secs_f64() * 1000.0);
        let delays = sorted(delays);
        let (longest_gap, frozen) = self.gaps(flow, from, to);
        Summary {
            kbps: bits / 1000.0 / seconds,
            link_use: bits / capacity,
            goodput: useful as f64 * 8.0 / capacity,
            queue_p50: quantile(&queue, 0.5),
            queue_p95: quantile(&queue, 0.95),
            loss: f64::from(lost) / f64::from(sent.max(1)),
            frame_rate: frames.len() as f64 / seconds,
            longest_gap,
            frozen,
            delay_p50: quantile(&delays, 0.5),
            delay_p95: quantile(&delays, 0.95),
        }
    }

    /// When the flow's rate, averaged over half a second, is first at `kbps` or more after
    /// `from`; as time since then.
    pub fn reaches(&self, flow: usize, from: Duration, kbps: f64) -> Option<Duration> {
        let trace = &self.traces[flow];
        let first = (from.as_micros() / BIN.as_micros()) as usize;
        let rate = |index: usize| {
            let bins = trace.bins.get(index.saturating_sub(5)..index)?;
            let bytes: usize = bins.iter().map(|bin| bin.through).sum();
            Some(bytes as f64 * 8.0 / 1000.0 / (BIN.as_secs_f64() * 5.0))
        };
        let index = (first + 1..=trace.bins.len())
            .find(|index| rate(*index).is_some_and(|rate| rate >= kbps))?;
        Some((BIN * index as u32).saturating_sub(from))
    }

    /// When the flow's target is first at `kbps` or more after `from`; as time since then.
    pub fn target_reaches(&self, flow: usize, from: Duration, kbps: f64) -> Option<Duration> {
        let samples = self.traces[flow].samples.iter();
        let mut reached = samples
            .filter(|sample| sample.at >= from && sample.target.bps() as f64 >= kbps * 1000.0);
        Some(reached.next()?.at - from)
    }

    /// When the picture is first at least this high; as time since `from`.
    pub fn height_reaches(&self, flow: usize, from: Duration, height: u32) -> Option<Duration> {
        let samples = self.traces[flow].samples.iter();
        let mut reached = samples
            .filter(|sample| sample.at >= from && sample.constraints.resolution.height >= height);
        Some(reached.next()?.at - from)
    }

    /// Changes of size between two times.
    pub fn resizes(&self, flow: usize, from: Duration, to: Duration) -> usize {
        let samples = self.traces[flow].samples.iter();
        let inside: Vec<_> = samples
            .filter(|sample| sample.at >= from && sample.at < to)
            .map(|sample| sample.constraints.resolution)
            .collect();
        inside.windows(2).filter(|pair| pair[0] != pair[1]).count()
    }

    /// Whether the flow is a call of ours.
    pub fn is_media(&self, flow: usize) -> bool {
        matches!(self.scenario.flows[flow].kind, FlowKind::Media(_))
    }

    /// Longest gap in ms, and share of time in freezes.
    fn gaps(&self, flow: usize, from: Duration, to: Duration) -> (f64, f64) {
        let frames = &self.traces[flow].frames;
        let mut longest = 0.0_f64;
        let mut frozen = 0.0;
        let mut recent: Vec<f64> = Vec::new();
        let mut last: Option<Duration> = None;
        let end = [(to, to)];
        for (at, _) in frames.iter().filter(|(at, _)| *at < to).chain(&end) {
            if let Some(last) = last.replace(*at) {
                let gap = (*at - last).as_secs_f64() * 1000.0;
                let mean = recent.iter().sum::<f64>() / recent.len().max(1) as f64;
                if *at > from {
                    let inside = (*at - last.max(from)).as_secs_f64() * 1000.0;
                    longest = longest.max(gap);
                    if !recent.is_empty() && gap > (3.0 * mean).max(mean + 150.0) {
                        frozen += inside;
                    }
                }
                if recent.len() == 30 {
                    recent.remove(0);
                }
                recent.push(gap);
            }
        }
        (longest, frozen / ((to - from).as_secs_f64() * 1000.0))
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

fn quantile(sorted: &[f64], share: f64) -> f64 {
    let index = (sorted.len() as f64 * share) as usize;
    let last = sorted.len().saturating_sub(1);
    sorted.get(index.min(last)).copied().unwrap_or(0.0)
}
