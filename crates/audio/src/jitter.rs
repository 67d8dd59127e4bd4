//! From Opus packets as the network delivers them to an even flow of sound.
//!
//! Pure: every call is told what time it is. The delay follows what the packets need
//! ([`delay`]); too much or too little of it is corrected by playing a little faster or slower
//! ([`stretch`]). What is missing is restored from the next packet's repair data, or concealed,
//! fading out after 100 ms. While the sender is silent (DTX) there is comfort noise.
//!
//! ```text
//!        packet            it is time to play it
//! Idle ─────────▶ Buffering ─────────────────▶ Playing
//!                     ▲                           │ nothing came for 200 ms, or restart
//!                     └───────────────────────────┘
//! ```

mod delay;
mod sequence;
mod stats;
mod stretch;

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;

pub use self::stats::AudioReceiveStats;

use self::delay::DelayEstimator;
use self::sequence::{Sequence, Verdict};
use crate::opus::{
    FRAME_SAMPLES, MAX_PACKET_SAMPLES, OpusDecoder, has_repair_data, is_silence, packet_samples,
};
use crate::{BLOCK_SAMPLES, Block, SILENCE, bounded};
use ahoy_media::codec::CodecError;
use ahoy_media::rtp::RtpPacket;
use ahoy_media::units::AUDIO_CLOCK_HZ;

/// Larger payloads do not fit into a UDP datagram on any usual route.
const MAX_PAYLOAD_BYTES: usize = 1_500;
/// Packets that are kept at most: 5 s of the usual 20 ms, 640 ms of the shortest there are. When
/// more come, the oldest are discarded.
const MAX_PACKETS: usize = 256;
/// Sound that is kept at most: 2 s. Beyond it nobody waits for an answer any more.
const MAX_SPAN: i64 = 96_000;
/// Concealment begins to fade after 100 ms and is silent after 200: longer inventions sound
/// like a robot.
const FADE_START: i64 = 4_800;
const FADE_END: i64 = 9_600;
/// Silence after concealment counts as concealed up to 1 s, then as a pause of the sender.
const MAX_CONCEALED_RUN: i64 = 48_000;
/// A hole in the media time of more than this is skipped rather than filled.
const MAX_GAP: i64 = 24_000;
/// Later than the target by more than this, and sound is skipped rather than played faster:
/// catching up would take several seconds.
const MAX_EXCESS: i64 = 9_600;
/// Differences between actual and wanted delay that are left alone.
const TOO_LATE: i64 = 480;
const TOO_EARLY: i64 = 240;
/// Later than the target by this, pieces are left out even where they do not fit so well.
const URGENT: i64 = 2_880;
/// Blocks between two changes of speed, so that speech does not sound hasty.
const STRETCH_PAUSE: u32 = 3;
/// Samples over which invented and real sound are blended: 5 ms.
const BLEND: usize = 240;
/// What the decoder conceals at least, and a multiple of: 2.5 ms.
const CONCEAL_STEP: usize = 120;
/// A media time further than this from what the clock says is a restart of the sender: 5 s.
const PLAUSIBLE: i64 = 240_000;

/// Collects the packets of one remote track and gives out 10 ms at a time.
#[derive(Debug)]
pub struct AudioJitterBuffer {
    epoch: Instant,
    decoder: OpusDecoder,
    scratch: Box<[f32; MAX_PACKET_SAMPLES]>,
    sequence: Sequence,
    delay: DelayEstimator,
    slack: Slack,
    packets: BTreeMap<i64, Stored>,
    state: State,
    /// Decoded and not yet played.
    decoded: Vec<f32>,
    /// Media time just after `decoded`.
    next: i64,
    /// Concealed while nothing was there: counts against what is then found missing.
    debt: i64,
    /// Sound was skipped: lead over to what comes next.
    skipped: bool,
    /// Concealed without interruption.
    concealed_run: i64,
    /// The last packet said that silence begins.
    silent: bool,
    /// Duration of the last packet.
    packet: i64,
    since_stretch: u32,
    stats: AudioReceiveStats,
}

#[derive(Debug)]
struct Stored {
    payload: Bytes,
    samples: i64,
    arrival: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Buffering,
    Playing,
}

impl AudioJitterBuffer {
    /// An empty buffer. `now` is the earliest time it will be told.
    ///
    /// # Errors
    /// [`CodecError`] when no decoder can be created.
    pub fn new(now: Instant) -> Result<Self, CodecError> {
        Ok(Self {
            epoch: now,
            decoder: OpusDecoder::new()?,
            scratch: Box::new([0.0; MAX_PACKET_SAMPLES]),
            sequence: Sequence::default(),
            delay: DelayEstimator::new(),
            slack: Slack::default(),
            packets: BTreeMap::new(),
            state: State::Idle,
            decoded: Vec::with_capacity(2 * MAX_PACKET_SAMPLES),
            next: 0,
            debt: 0,
            skipped: false,
            concealed_run: 0,
            silent: false,
            packet: FRAME_SAMPLES as i64,
            since_stretch: 0,
            stats: AudioReceiveStats::default(),
        })
    }

    /// Takes in a packet. Whatever is in it, the worst that happens is that it is discarded and
    /// counted.
    pub fn push(&mut self, packet: RtpPacket, now: Instant) {
        let arrival = self.samples_since_epoch(packet.arrival.min(now));
        let Some(samples) = valid_samples(&packet.payload) else {
            self.stats.packets_discarded += 1;
            return;
        };
        let plausible = |timestamp| self.delay.is_plausible(arrival, timestamp, PLAUSIBLE);
        let timestamp = match self.sequence.judge(&packet, plausible) {
            Verdict::Member { timestamp } => timestamp,
            Verdict::Restart { timestamp } => {
                self.restart();
                timestamp
            }
            Verdict::Stray => {
                self.stats.packets_discarded += 1;
                return;
            }
        };
        self.stats.packets_received += 1;
        self.delay.observe(arrival, timestamp);
        let stored = Stored {
            payload: packet.payload,
            samples,
            arrival,
        };
        self.store(timestamp, stored);
    }

    /// Gives out the next 10 ms; silence while there is no stream.
    pub fn pull_10ms(&mut self, now: Instant, out: &mut Block) {
        let now = self.samples_since_epoch(now);
        self.begin_if_due(now);
        match self.state {
            State::Idle => {
                *out = SILENCE;
                return;
            }
            State::Buffering => self.fill_pause(),
            State::Playing => {
                self.skip_excess(now);
                self.fill(now);
                self.adapt(now);
            }
        }
        for (sample, decoded) in out.iter_mut().zip(self.decoded.drain(..BLOCK_SAMPLES)) {
            *sample = bounded(decoded);
        }
        self.count_emitted(out);
    }

    /// Counters until now.
    pub fn stats(&self) -> AudioReceiveStats {
        let received = self.stats.packets_received as i64;
        AudioReceiveStats {
            packets_lost: self.sequence.expected() as i64 - received,
            jitter: self.delay.jitter() / f64::from(AUDIO_CLOCK_HZ),
            ..self.stats
        }
    }

    fn samples_since_epoch(&self, at: Instant) -> i64 {
        let elapsed = at.saturating_duration_since(self.epoch);
        (elapsed.as_secs_f64() * f64::from(AUDIO_CLOCK_HZ)) as i64
    }

    /// Another stream begins: forget everything but the counters.
    fn restart(&mut self) {
        self.stats.packets_discarded += self.packets.len() as u64;
        self.packets.clear();
        self.delay = DelayEstimator::new();
        self.decoder.reset();
        self.pause();
        self.silent = false;
    }

    /// Waits for packets, like at the beginning.
    fn pause(&mut self) {
        self.state = State::Buffering;
        self.slack = Slack::default();
        self.debt = 0;
    }

    fn store(&mut self, timestamp: i64, packet: Stored) {
        let over = timestamp + packet.samples <= self.next;
        // In a pause there is no hurry: nothing is played that could be disturbed.
        let late = self.state == State::Playing && over && !self.silent;
        if late || self.packets.contains_key(&timestamp) {
            self.stats.packets_discarded += 1;
            return;
        }
        self.packets.insert(timestamp, packet);
        while self.packets.len() > MAX_PACKETS || self.span() > MAX_SPAN {
            self.packets.pop_first();
            self.stats.packets_discarded += 1;
        }
    }

    fn span(&self) -> i64 {
        match (
            self.packets.first_key_value(),
            self.packets.last_key_value(),
        ) {
            (Some((first, _)), Some((last, _))) => last - first,
            _ => 0,
        }
    }

    /// `Buffering → Playing` once the first packet has waited for as long as the target says.
    fn begin_if_due(&mut self, now: i64) {
        let target = self.delay.target(self.packet);
        if self.state != State::Buffering {
            return;
        }
        // What has become too old while there was silence is not worth its delay any more.
        while let Some((&first, packet)) = self.packets.first_key_value()
            && self.packets.len() > 1
            && self.delay.lateness(now, first + packet.samples) > target + TOO_LATE
        {
            self.packets.pop_first();
            self.stats.packets_discarded += 1;
        }
        if let Some((&first, _)) = self.packets.first_key_value()
            && self.delay.lateness(now, first) >= target
        {
            self.state = State::Playing;
            self.next = first;
        }
    }

    /// Until playing begins (again): comfort noise or silence.
    fn fill_pause(&mut self) {
        while self.decoded.len() < BLOCK_SAMPLES {
            if self.silent {
                self.append_comfort(BLOCK_SAMPLES as i64);
            } else {
                self.decoded.resize(self.decoded.len() + BLOCK_SAMPLES, 0.0);
                let pausing = self.concealed_run > 0 && self.concealed_run < MAX_CONCEALED_RUN;
                if pausing {
                    self.count_concealed(BLOCK_SAMPLES as i64);
                }
            }
        }
    }

    /// Decodes or invents until a block is there.
    fn fill(&mut self, now: i64) {
        while self.decoded.len() < BLOCK_SAMPLES {
            let first = self
                .packets
                .first_key_value()
                .map(|(timestamp, _)| *timestamp);
            match first {
                Some(timestamp) if timestamp <= self.next => self.decode_first(now),
                Some(timestamp) if self.silent => self.rest_until(timestamp, now),
                Some(timestamp) => self.bridge(timestamp),
                None if self.silent => {
                    self.append_comfort(BLOCK_SAMPLES as i64);
                    self.next += BLOCK_SAMPLES as i64;
                }
                None => self.stall(),
            }
        }
    }

    /// Decodes the first packet, whose time has come.
    fn decode_first(&mut self, now: i64) {
        let Some((timestamp, packet)) = self.packets.pop_first() else {
            return;
        };
        if timestamp + packet.samples <= self.next && !self.silent {
            self.stats.packets_discarded += 1;
            return;
        }
        let tail = self.blend_tail();
        let start = self.decoded.len();
        let Ok(samples) = self.decoder.decode(&packet.payload, &mut self.scratch) else {
            self.stats.decode_errors += 1;
            self.stats.packets_discarded += 1;
            self.delay.observe_loss(true);
            self.append_concealed(packet.samples);
            self.next = timestamp + packet.samples;
            return;
        };
        self.decoded.extend_from_slice(&self.scratch[..samples]);
        stretch::cross_fade(&tail, &mut self.decoded[start..]);

        let waited = (now - packet.arrival).max(0) + start as i64;
        let seconds = |samples: i64| samples as f64 / f64::from(AUDIO_CLOCK_HZ);
        let target = self.delay.target(self.packet);
        self.stats.jitter_buffer_delay += seconds(waited) * samples as f64;
        self.stats.jitter_buffer_target_delay += seconds(target) * samples as f64;
        self.stats.jitter_buffer_emitted_count += samples as u64;

        self.delay.observe_loss(false);
        self.next = timestamp + samples as i64;
        self.packet = samples as i64;
        self.silent = is_silence(&packet.payload);
        self.debt = 0;
        self.concealed_run = 0;
    }

    /// After an invention: a little more of it, to lead over to what is real.
    fn blend_tail(&mut self) -> Vec<f32> {
        let skipped = std::mem::take(&mut self.skipped);
        if !skipped && self.debt == 0 && self.concealed_run < FADE_START {
            // The decoder itself leads over after its own concealment.
            return Vec::new();
        }
        let mut tail = vec![0.0; BLEND];
        if self.concealed_run < FADE_END && self.decoder.conceal(&mut tail).is_err() {
            tail.fill(0.0);
        }
        let gain = fade(self.concealed_run);
        tail.iter_mut().for_each(|sample| *sample *= gain);
        tail
    }

    /// Silence between two bursts of speech, until the time of the next packet.
    fn rest_until(&mut self, timestamp: i64, now: i64) {
        let due = self.delay.lateness(now, timestamp) >= self.delay.target(self.packet);
        if due || self.next >= timestamp {
            self.next = timestamp;
            self.slack = Slack::default();
        } else {
            self.append_comfort(BLOCK_SAMPLES as i64);
            self.next = (self.next + BLOCK_SAMPLES as i64).min(timestamp);
        }
    }

    /// Something is missing before the first packet there is.
    fn bridge(&mut self, timestamp: i64) {
        let gap = timestamp - self.next;
        let frame = self.packet.min(gap);
        if gap > MAX_GAP || self.debt >= gap {
            self.delay.observe_loss(true);
            self.next = timestamp;
            self.debt = 0;
            return;
        }
        self.delay.observe_loss(true);
        let payload = self
            .packets
            .get(&timestamp)
            .map(|packet| packet.payload.clone());
        let repair = payload.filter(|payload| gap <= self.packet && has_repair_data(payload));
        match repair {
            Some(payload) => self.append_repaired(&payload, frame),
            None => self.append_concealed((frame - self.debt).max(0)),
        }
        self.debt = (self.debt - frame).max(0);
        self.next += frame;
    }

    /// Nothing is there at all: invents without going on in media time, so that what comes late
    /// can still be played; gives up after a while.
    fn stall(&mut self) {
        if self.debt >= FADE_END {
            self.pause();
            self.fill_pause();
            return;
        }
        self.append_concealed(BLOCK_SAMPLES as i64);
        self.debt += BLOCK_SAMPLES as i64;
    }

    fn append_repaired(&mut self, next_payload: &[u8], samples: i64) {
        let tail = self.blend_tail();
        let start = self.decoded.len();
        self.decoded.resize(start + samples as usize, 0.0);
        if self
            .decoder
            .repair(next_payload, &mut self.decoded[start..])
            .is_err()
        {
            self.decoded.truncate(start);
            self.append_concealed(samples);
            return;
        }
        stretch::cross_fade(&tail, &mut self.decoded[start..]);
        self.stats.fec_samples += samples as u64;
        self.concealed_run = 0;
    }

    fn append_concealed(&mut self, samples: i64) {
        let start = self.decoded.len();
        // The decoder conceals in steps of 2.5 ms; holes in odd time stamps have any length.
        let whole = (samples as usize).next_multiple_of(CONCEAL_STEP);
        self.decoded.resize(start + whole, 0.0);
        let invented = &mut self.decoded[start..];
        if self.concealed_run >= FADE_END || self.decoder.conceal(invented).is_err() {
            invented.fill(0.0);
        }
        self.decoded.truncate(start + samples as usize);
        let invented = &mut self.decoded[start..];
        for (index, sample) in invented.iter_mut().enumerate() {
            *sample *= fade(self.concealed_run + index as i64);
        }
        self.count_concealed(samples);
    }

    fn append_comfort(&mut self, samples: i64) {
        let start = self.decoded.len();
        self.decoded.resize(start + samples as usize, 0.0);
        if self.decoder.conceal(&mut self.decoded[start..]).is_err() {
            self.decoded[start..].fill(0.0);
        }
    }

    fn count_concealed(&mut self, samples: i64) {
        if self.concealed_run == 0 {
            self.stats.concealment_events += 1;
        }
        if self.concealed_run >= FADE_END {
            self.stats.silent_concealed_samples += samples as u64;
        }
        self.stats.concealed_samples += samples as u64;
        self.concealed_run += samples;
    }

    /// A backlog, after a stall of the network or of the speaker: go on near its end.
    fn skip_excess(&mut self, now: i64) {
        let target = self.delay.target(self.packet);
        let head = self.next - self.decoded.len() as i64;
        if self.delay.lateness(now, head) <= target + MAX_EXCESS {
            return;
        }
        let before = self.next;
        while let Some((&first, packet)) = self.packets.first_key_value()
            && self.packets.len() > 1
            && self.delay.lateness(now, first + packet.samples) >= target
        {
            self.next = first + packet.samples;
            self.packets.pop_first();
            self.stats.packets_discarded += 1;
        }
        let skipped = self.next - before;
        if skipped > 0 {
            self.stats.removed_samples_for_acceleration += skipped as u64;
            self.slack = Slack::default();
            self.skipped = true;
            self.decoded.truncate(BLOCK_SAMPLES);
        }
    }

    /// Plays a little faster or slower when the delay is not what it should be.
    fn adapt(&mut self, now: i64) {
        let head = self.next - self.decoded.len() as i64;
        self.slack.observe(now, self.delay.lateness(now, head));
        self.since_stretch = self.since_stretch.saturating_add(1);
        if self.concealed_run > 0 || self.silent {
            return;
        }
        let excess = self.slack.least() - self.delay.target(self.packet);
        let urgent = excess > URGENT;
        if self.since_stretch < STRETCH_PAUSE && !urgent {
            return;
        }
        let change = if excess > TOO_LATE {
            self.decode_ahead(now);
            let length = self.decoded.len();
            let most = length.saturating_sub(BLOCK_SAMPLES).min(excess as usize);
            let removed = stretch::remove(&mut self.decoded, most, urgent) as i64;
            self.stats.removed_samples_for_acceleration += removed as u64;
            -removed
        } else if excess < -TOO_EARLY {
            self.decode_ahead(now);
            let inserted = stretch::insert(&mut self.decoded) as i64;
            self.stats.inserted_samples_for_deceleration += inserted as u64;
            inserted
        } else {
            0
        };
        if change != 0 {
            self.since_stretch = 0;
            self.slack.shift(change);
        }
    }

    /// Decodes what is there without a gap, for [`stretch`] to work on.
    fn decode_ahead(&mut self, now: i64) {
        while self.decoded.len() < BLOCK_SAMPLES + stretch::NEEDED
            && !self.silent
            && self
                .packets
                .first_key_value()
                .is_some_and(|(first, _)| *first <= self.next)
        {
            self.decode_first(now);
        }
    }

    fn count_emitted(&mut self, out: &Block) {
        let energy: f32 = out.iter().map(|sample| sample * sample).sum();
        self.stats.total_samples_received += out.len() as u64;
        self.stats.total_audio_energy += f64::from(energy) / f64::from(AUDIO_CLOCK_HZ);
        self.stats.total_samples_duration += out.len() as f64 / f64::from(AUDIO_CLOCK_HZ);
    }
}

fn valid_samples(payload: &[u8]) -> Option<i64> {
    if payload.len() > MAX_PAYLOAD_BYTES {
        return None;
    }
    packet_samples(payload).ok().map(|samples| samples as i64)
}

/// Gain of the sample after this much concealment.
fn fade(concealed: i64) -> f32 {
    let over = (concealed - FADE_START).clamp(0, FADE_END - FADE_START);
    1.0 - over as f32 / (FADE_END - FADE_START) as f32
}

/// The least lateness of playout within the last second: blocks are pulled in bursts, and it is
/// the earliest one of a burst that must find its packet.
#[derive(Debug, Clone, Default)]
struct Slack {
    current: Option<(i64, i64)>,
    previous: Option<i64>,
}

impl Slack {
    /// Half of the window.
    const HALF: i64 = 24_000;

    fn observe(&mut self, now: i64, lateness: i64) {
        match &mut self.current {
            Some((start, least)) if now - *start < Self::HALF => *least = lateness.min(*least),
            current => {
                self.previous = current.map(|(_, least)| least);
                *current = Some((now, lateness));
            }
        }
    }

    fn least(&self) -> i64 {
        let current = self.current.map(|(_, least)| least);
        current.into_iter().chain(self.previous).min().unwrap_or(0)
    }

    /// The delay was changed on purpose.
    fn shift(&mut self, change: i64) {
        if let Some((_, least)) = &mut self.current {
            *least += change;
        }
        if let Some(least) = &mut self.previous {
            *least += change;
        }
    }
}

#[cfg(test)]
mod tests;
