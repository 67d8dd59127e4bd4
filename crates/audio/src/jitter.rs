//! From Opus packets as the network delivers them to an even flow of sound.
//!
//! Pure: every call is told what time it is. The delay follows what the packets need
//! ([`delay`]); too much or too little of it is corrected by playing a little faster or slower
//! ([`stretch`]). What is missing is restored from the in-band FEC of the next packet, else from
//! the deep redundancy (DRED) of a later one, else invented, fading out after 100 ms. While the
//! sender is silent (DTX) there is comfort noise.
//!
//! ```text
//!        packet            it is time to play it
//! Idle ─────────▶ Buffering ─────────────────▶ Playing
//!                     ▲                           │ nothing came for 200 ms, or restart
//!                     └───────────────────────────┘
//! ```

mod delay;
mod losses;
mod pauses;
mod sequence;
mod slack;
mod sound;
mod stats;
mod stretch;

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Instant;

use bytes::Bytes;

pub use self::stats::AudioReceiveStats;

use self::delay::DelayEstimator;
use self::pauses::Pauses;
use self::sequence::{Sequence, Verdict};
use self::slack::Slack;
use self::sound::{FADE_END, Sound};
use crate::opus::{
    FRAME_SAMPLES, OpusDecoder, SoundDecoder, fec_samples, is_silence, packet_samples,
};
use crate::{BLOCK_SAMPLES, StereoBlock};
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
/// Silence after concealment counts as concealed up to 1 s, then as a pause of the sender.
const MAX_CONCEALED_RUN: i64 = 48_000;
/// A hole in the media time of more than this is skipped rather than filled.
const MAX_GAP: i64 = 24_000;
/// Later than the target by more than this, and sound is skipped rather than played faster:
/// catching up would take several seconds.
const MAX_EXCESS: i64 = 9_600;
/// Differences between actual and wanted delay that are left alone while somebody speaks.
const TOO_LATE: i64 = 480;
const TOO_EARLY: i64 = 480;
/// Blocks for which a pause is waited for before speech is played faster: 3 s.
const PATIENCE: u32 = 300;
/// Blocks for which a pause is waited for before speech is played slower: half a second.
const IMPATIENCE: u32 = 50;
/// Later than the target by this, pieces are left out even where they do not fit so well.
const URGENT: i64 = 4_800;
/// Times in a row that packets may come late and lose what was concealed in their place: after
/// more, the network has become slower, and they are played late rather than never.
const MAX_STALLS_IN_A_ROW: u32 = 1;
/// Blocks between two changes of speed, so that speech does not sound hasty.
const STRETCH_PAUSE: u32 = 3;
/// Nobody holds sound back for longer than this beyond what the network asks for: half a second.
const MOST_HELD: i64 = 24_000;
/// A media time further than this from what the clock says is a restart of the sender: 5 s.
const PLAUSIBLE: i64 = 240_000;
/// Packets between two looks at how the sender protects them: its deep redundancy, as long as it
/// ever is, takes fifteen to build up.
const PROTECTION_EVERY: u64 = 16;
/// Packets after a hole whose redundancy is looked at.
const REDUNDANCY_DEPTH: usize = 2;

/// Collects the packets of one remote track and gives out 10 ms at a time.
#[derive(Debug)]
pub struct AudioJitterBuffer<D = OpusDecoder> {
    epoch: Instant,
    sequence: Sequence,
    delay: DelayEstimator,
    pauses: Pauses,
    slack: Slack,
    packets: BTreeMap<i64, Stored>,
    state: State,
    sound: Sound<D>,
    /// Media time just after what has been decoded.
    next: i64,
    /// Concealed while nothing was there: counts against what is then found missing.
    debt: i64,
    /// Times that nothing was there, without a packet in between that came in time.
    stalls_in_a_row: u32,
    /// Nothing was there last time.
    stalled: bool,
    /// The media time of the packet before which something is missing.
    bridging: Option<i64>,
    /// The media time of the packet whose deep redundancy was read last, and what it covers.
    redundancy: Option<(i64, Option<Range<usize>>)>,
    /// The last packet said that silence begins.
    silent: bool,
    /// Duration of the last packet.
    packet: i64,
    since_stretch: u32,
    /// Blocks played too late while nobody paused.
    too_late: u32,
    /// Blocks played too early while nobody paused.
    too_early: u32,
    /// Wanted by lip-sync.
    minimum_transit: Option<i64>,
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
        Ok(Self::with_decoder(OpusDecoder::new()?, now))
    }
}

impl<D: SoundDecoder> AudioJitterBuffer<D> {
    /// An empty buffer with this decoder. `now` is the earliest time it will be told.
    pub fn with_decoder(decoder: D, now: Instant) -> Self {
        Self {
            epoch: now,
            sequence: Sequence::default(),
            delay: DelayEstimator::new(),
            pauses: Pauses::default(),
            slack: Slack::default(),
            packets: BTreeMap::new(),
            state: State::Idle,
            sound: Sound::new(decoder),
            next: 0,
            debt: 0,
            stalls_in_a_row: 0,
            stalled: false,
            bridging: None,
            redundancy: None,
            silent: false,
            packet: FRAME_SAMPLES as i64,
            since_stretch: 0,
            too_late: 0,
            too_early: 0,
            minimum_transit: None,
            stats: AudioReceiveStats::default(),
        }
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
        // Silence is not waited for.
        if !self.pauses.began_with(packet.sequence_number, timestamp) {
            self.delay.observe(arrival, timestamp);
        }
        if self.stats.packets_received.is_multiple_of(PROTECTION_EVERY) {
            let samples = self.sound.dred_samples(&packet.payload);
            self.redundancy = None;
            self.delay.losses.protected_by(samples);
        }
        let stored = Stored {
            payload: packet.payload,
            samples,
            arrival,
        };
        self.store(timestamp, stored);
    }

    /// Gives out the next 10 ms; silence while there is no stream.
    pub fn pull_10ms(&mut self, now: Instant, out: &mut StereoBlock) {
        let now = self.samples_since_epoch(now);
        self.begin_if_due(now);
        match self.state {
            State::Idle => {
                *out = [[0.0; 2]; BLOCK_SAMPLES];
                return;
            }
            State::Buffering => self.fill_pause(),
            State::Playing => {
                self.skip_excess(now);
                if self.sound.len() < BLOCK_SAMPLES {
                    // Now the next packet is needed, however much of it goes into this block.
                    self.slack.observe(now, self.transit(now));
                }
                self.fill(now);
                self.adapt(now);
            }
        }
        self.sound.emit(out);
        self.count_emitted(out);
    }

    /// The transit that the network asks for: time of playing minus media time, in samples. Its zero
    /// means nothing, its differences are delays.
    pub fn network_transit(&self) -> i64 {
        self.delay.target(self.packet)
    }

    /// Sound is to have at least this transit (see [`Self::network_transit`]). It does not move with
    /// what the network asks for, so that held back sound keeps its pace. One that is half a second
    /// above the network's belongs to a stream of before, and has no effect.
    pub fn set_minimum_transit(&mut self, transit: Option<i64>) {
        self.minimum_transit = transit;
    }

    /// RTP time stamp of the next sample to be given out, or of what it stands in for; `None` while
    /// nothing is played.
    pub fn position(&self) -> Option<u32> {
        let decoded = self.next + self.repayment();
        (self.state == State::Playing).then(|| (decoded - self.sound.len() as i64) as u32)
    }

    fn target(&self) -> i64 {
        let network = self.network_transit();
        match self.minimum_transit {
            Some(minimum) if minimum - network < MOST_HELD => network.max(minimum),
            _ => network,
        }
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
        self.pauses = Pauses::default();
        self.sound.reset();
        self.redundancy = None;
        self.pause();
        self.silent = false;
    }

    /// Waits for packets, like at the beginning.
    fn pause(&mut self) {
        self.state = State::Buffering;
        self.slack = Slack::default();
        self.debt = 0;
        self.stalled = false;
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

    /// The media time of the first packet there is.
    fn first(&self) -> Option<i64> {
        self.packets.first_key_value().map(|(first, _)| *first)
    }

    /// `Buffering → Playing` once the first packet has waited for as long as the target says.
    fn begin_if_due(&mut self, now: i64) {
        if self.state != State::Buffering {
            return;
        }
        let target = self.target();
        // What has become too old while there was silence is not worth its delay any more.
        while let Some((&first, packet)) = self.packets.first_key_value()
            && self.packets.len() > 1
            && now - (first + packet.samples) > target + TOO_EARLY
        {
            self.packets.pop_first();
            self.stats.packets_discarded += 1;
        }
        if let Some(first) = self.first()
            && now - first >= target
        {
            self.state = State::Playing;
            self.next = first;
        }
    }

    /// Until playing begins (again): comfort noise or silence.
    fn fill_pause(&mut self) {
        while self.sound.len() < BLOCK_SAMPLES {
            if self.silent {
                self.sound.comfort(BLOCK_SAMPLES, &mut self.stats);
            } else {
                let run = self.sound.concealed_run();
                let concealed = run > 0 && run < MAX_CONCEALED_RUN;
                self.sound
                    .silence(BLOCK_SAMPLES, concealed, &mut self.stats);
            }
        }
    }

    /// Decodes or invents until a block is there.
    fn fill(&mut self, now: i64) {
        while self.sound.len() < BLOCK_SAMPLES {
            match self.first() {
                Some(timestamp) if timestamp <= self.next => self.decode_first(now),
                Some(timestamp) if self.silent => self.rest_until(timestamp, now),
                Some(timestamp) => self.bridge(timestamp),
                None if self.silent => {
                    self.sound.comfort(BLOCK_SAMPLES, &mut self.stats);
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
        let start = self.sound.len() as i64;
        let repaid = self.repayment().min(packet.samples);
        if !std::mem::take(&mut self.stalled) && self.debt == 0 {
            self.stalls_in_a_row = 0;
        }
        let Ok(samples) = self.sound.decode(&packet.payload, repaid) else {
            self.stats.decode_errors += 1;
            self.stats.packets_discarded += 1;
            self.delay.losses.missing(1);
            let missing = (packet.samples - self.debt).max(0);
            self.sound.conceal(missing, &mut self.stats);
            self.debt = 0;
            self.next = timestamp + packet.samples;
            return;
        };
        let waited = (now - packet.arrival).max(0) + start;
        let seconds = |samples: i64| samples as f64 / f64::from(AUDIO_CLOCK_HZ);
        let target = self.target() - self.delay.fastest();
        self.stats.jitter_buffer_delay += seconds(waited) * samples as f64;
        self.stats.jitter_buffer_target_delay += seconds(target) * samples as f64;
        self.stats.jitter_buffer_emitted_count += samples as u64;

        self.delay.losses.played();
        self.next = timestamp + samples as i64;
        self.packet = samples as i64;
        self.silent = is_silence(&packet.payload);
        self.settle(repaid, samples as i64);
    }

    /// So much of a packet or a hole of `length` was concealed before. What is not repaid, although
    /// it could have been, stays as delay.
    fn settle(&mut self, repaid: i64, length: i64) {
        let left = self.debt - repaid;
        self.debt = if repaid == length { left } else { 0 };
        if self.debt == 0 {
            self.slack.shift(left);
        }
    }

    /// Silence between two bursts of speech, until the time of the next packet.
    fn rest_until(&mut self, timestamp: i64, now: i64) {
        let due = now - timestamp >= self.target();
        if due || self.next >= timestamp {
            self.next = timestamp;
            self.slack = Slack::default();
        } else {
            self.sound.comfort(BLOCK_SAMPLES, &mut self.stats);
            self.next = (self.next + BLOCK_SAMPLES as i64).min(timestamp);
        }
    }

    /// How much of what was concealed while nothing was there stands for what then came: all of it,
    /// so that one late packet changes no timing. More delay, if it takes that, comes by playing
    /// slower, which is heard less.
    fn repayment(&self) -> i64 {
        if self.stalls_in_a_row > MAX_STALLS_IN_A_ROW {
            return 0;
        }
        self.debt
    }

    /// Something is missing before the first packet there is.
    fn bridge(&mut self, timestamp: i64) {
        let gap = timestamp - self.next;
        if self.bridging != Some(timestamp) {
            self.bridging = Some(timestamp);
            self.count_missing(timestamp, gap);
        }
        let repaid = self.repayment().min(gap);
        self.settle(repaid, gap);
        if repaid == gap {
            self.account_for(timestamp, gap);
        }
        self.next += repaid;
        if gap > MAX_GAP {
            self.sound.skip();
            self.next = timestamp;
        } else if self.next < timestamp {
            self.restore_frame(timestamp);
        }
    }

    /// A hole that has been concealed as a whole: what is known of it helps the decoder.
    fn account_for(&mut self, timestamp: i64, gap: i64) {
        let packet = self.packets.get(&timestamp);
        let fec = packet.map_or(0, |packet| fec_samples(&packet.payload) as i64);
        let restored = packet.is_some_and(|packet| {
            gap == fec && self.sound.decode_fec(&packet.payload, fec, fec).is_ok()
        });
        if !restored {
            self.sound.give_up();
        }
    }

    fn count_missing(&mut self, timestamp: i64, gap: i64) {
        let packets = ((gap + self.packet / 2) / self.packet).max(1);
        self.stats.missing_packets += packets as u64;
        self.stats.missing_bursts += 1;
        self.delay.losses.missing(packets as usize);
        let fec = self
            .packets
            .get(&timestamp)
            .is_some_and(|packet| fec_samples(&packet.payload) > 0);
        let dred = self.redundancy_for(timestamp).is_some();
        self.delay.losses.repair_data(fec, dred);
    }

    /// Restores or invents a packet, or what is left to do of it, of the hole before `timestamp`.
    fn restore_frame(&mut self, timestamp: i64) {
        let before = timestamp - self.next;
        let packet = self.packets.get(&timestamp);
        let fec = packet.map_or(0, |packet| fec_samples(&packet.payload) as i64);
        if before <= fec
            && let Some(packet) = packet
        {
            let payload = packet.payload.clone();
            if self.sound.decode_fec(&payload, fec, fec - before).is_ok() {
                self.stats.fec_samples += before as u64;
                self.next = timestamp;
                return;
            }
        }
        let length = (before - fec).max(0).min(self.packet);
        let length = if length == 0 {
            before.min(self.packet)
        } else {
            length
        };
        if let Some(before) = self.redundancy_for(timestamp)
            && self.sound.decode_dred(before, length).is_ok()
        {
            self.stats.dred_samples += length as u64;
        } else {
            self.sound.conceal(length, &mut self.stats);
        }
        self.next += length;
    }

    /// Reads the deep redundancy of the packets from `timestamp` on until one has what comes
    /// next; returns how long before that packet it is.
    fn redundancy_for(&mut self, timestamp: i64) -> Option<i64> {
        for (&at, packet) in self.packets.range(timestamp..).take(REDUNDANCY_DEPTH) {
            let covered = match &self.redundancy {
                Some((parsed, covered)) if *parsed == at => covered.clone(),
                _ => {
                    let covered = self.sound.parse_dred(&packet.payload);
                    self.redundancy = Some((at, covered.clone()));
                    covered
                }
            };
            let before = at - self.next;
            if covered.is_some_and(|covered| covered.contains(&(before as usize))) {
                return Some(before);
            }
        }
        None
    }

    /// Nothing is there at all: invents without going on in media time, so that what comes late
    /// can still be played; gives up after a while.
    fn stall(&mut self) {
        if self.debt >= FADE_END {
            self.pause();
            self.fill_pause();
            return;
        }
        if !std::mem::replace(&mut self.stalled, true) {
            self.stats.underruns += 1;
            self.stalls_in_a_row += 1;
        }
        self.sound.stand_in(BLOCK_SAMPLES as i64, &mut self.stats);
        self.debt += BLOCK_SAMPLES as i64;
    }

    /// A backlog, after a stall of the network or of the speaker: go on near its end.
    fn skip_excess(&mut self, now: i64) {
        let target = self.target();
        if self.transit(now) <= target + MAX_EXCESS {
            return;
        }
        let before = self.next;
        while let Some((&first, packet)) = self.packets.first_key_value()
            && self.packets.len() > 1
            && now - (first + packet.samples) >= target
        {
            self.next = first + packet.samples;
            self.packets.pop_first();
            self.stats.packets_discarded += 1;
        }
        let skipped = self.next - before;
        if skipped > 0 {
            self.stats.removed_samples_for_acceleration += skipped as u64;
            self.slack = Slack::default();
            self.sound.skip();
        }
    }

    /// The transit of a packet that came just in time to be decoded now.
    fn transit(&self, now: i64) -> i64 {
        now - self.next - self.debt
    }

    /// Plays a little faster or slower when the delay is not what it should be, best of all in
    /// pauses, where nobody hears it.
    ///
    /// Packets are needed on the grid of blocks. What is left of the last packet when the next one
    /// is needed, `spare`, only delays: it can be left out at no risk, and adding less than what
    /// makes it a whole block gains no time.
    fn adapt(&mut self, now: i64) {
        const BLOCK: i64 = BLOCK_SAMPLES as i64;
        self.since_stretch = self.since_stretch.saturating_add(1);
        if self.sound.concealed_run() > 0 || self.silent {
            return;
        }
        let quiet = self.sound.is_quiet();
        let spare = self.sound.len() as i64 % BLOCK;
        let excess = self.slack.least() - self.target();
        let urgent = excess > URGENT;
        if self.since_stretch < STRETCH_PAUSE && !urgent && !quiet {
            return;
        }
        let tolerated = self.delay.spread() / 4;
        let too_late = excess > tolerated.max(TOO_LATE);
        self.too_late = if too_late { self.too_late + 1 } else { 0 };
        self.too_early = if excess < 0 { self.too_early + 1 } else { 0 };
        let early = excess < -tolerated.max(TOO_EARLY) || quiet || self.too_early > IMPATIENCE;
        let change = if excess < 0 && !early {
            return;
        } else if excess < 0 {
            let wanted = (-excess + BLOCK - 1) / BLOCK * BLOCK - spare;
            let inserted = self.sound.insert(wanted as usize, quiet) as i64;
            self.stats.inserted_samples_for_deceleration += inserted as u64;
            inserted
        } else {
            // The target wanders as much under jitter: to follow it down would mean to come back.
            let worth = if excess > tolerated { excess } else { 0 };
            let most = spare + worth / BLOCK * BLOCK;
            let worthwhile = if quiet {
                most > 0
            } else {
                urgent || self.too_late > PATIENCE
            };
            if !worthwhile {
                return;
            }
            self.decode_ahead(now);
            let removed = self.sound.remove(most as usize, quiet, urgent) as i64;
            self.stats.removed_samples_for_acceleration += removed as u64;
            -removed
        };
        if change != 0 {
            self.since_stretch = 0;
            let gained = change + spare - (spare + change).rem_euclid(BLOCK);
            self.slack.shift(gained);
        }
    }

    /// Decodes what is there without a gap, for [`stretch`] to work on.
    fn decode_ahead(&mut self, now: i64) {
        while self.sound.len() < BLOCK_SAMPLES + stretch::NEEDED
            && !self.silent
            && self.first().is_some_and(|first| first <= self.next)
        {
            self.decode_first(now);
        }
    }

    fn count_emitted(&mut self, out: &StereoBlock) {
        let energy: f32 = out.as_flattened().iter().map(|it| it * it).sum();
        let samples = out.len() as f64;
        self.stats.total_samples_received += out.len() as u64;
        self.stats.total_audio_energy += f64::from(energy) / 2.0 / f64::from(AUDIO_CLOCK_HZ);
        self.stats.total_samples_duration += samples / f64::from(AUDIO_CLOCK_HZ);
    }
}

fn valid_samples(payload: &[u8]) -> Option<i64> {
    if payload.len() > MAX_PAYLOAD_BYTES {
        return None;
    }
    packet_samples(payload).ok().map(|samples| samples as i64)
}

#[cfg(test)]
mod tests;
