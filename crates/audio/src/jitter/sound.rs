//! What has been decoded, or made up, and is yet to be played.

use std::ops::Range;

use super::stats::AudioReceiveStats;
use super::stretch;
use crate::opus::{MAX_PACKET_SAMPLES, SoundDecoder};
use crate::{BLOCK_SAMPLES, StereoBlock, bounded};
use ahoy_media::codec::CodecError;

/// Samples already played that are kept, for slowing down.
const HISTORY: usize = stretch::MAX_LAG;
/// Concealment begins to fade after 100 ms and is silent after 200: longer inventions sound like a
/// robot.
pub(super) const FADE_START: i64 = 4_800;
pub(super) const FADE_END: i64 = 9_600;
/// Samples over which invented and real sound are blended: 5 ms.
const BLEND: usize = 240;
/// What the decoder conceals at least, and a multiple of: 2.5 ms.
const CONCEAL_STEP: usize = 120;
/// Mean square below which a cut is heard by nobody: −50 dB.
const QUIET: f32 = 1e-5;
/// How much quieter than the loudest of the last seconds a pause is: 45 dB.
const PAUSE: f32 = 3e-5;
/// The loudest block is forgotten within about 5 s.
const FORGET_LOUDNESS: f32 = 0.998;

/// A decoder and its output.
#[derive(Debug)]
pub(super) struct Sound<D> {
    decoder: D,
    scratch: Box<[[f32; 2]; MAX_PACKET_SAMPLES]>,
    /// [`HISTORY`] samples that were played, then those that will be.
    samples: Vec<[f32; 2]>,
    /// Concealed without interruption.
    concealed_run: i64,
    /// Mean square of the loudest block lately.
    loudness: f32,
    /// What comes next does not go on where this ends.
    skipped: bool,
    /// What was concealed last stands in for what may yet come.
    standing_in: bool,
    /// How concealment would go on: leads over to what takes its place.
    tail: Tail,
}

impl<D: SoundDecoder> Sound<D> {
    pub(super) fn new(decoder: D) -> Self {
        let mut samples = Vec::with_capacity(4 * MAX_PACKET_SAMPLES);
        samples.resize(HISTORY, [0.0; 2]);
        Self {
            decoder,
            scratch: Box::new([[0.0; 2]; MAX_PACKET_SAMPLES]),
            samples,
            concealed_run: 0,
            loudness: 0.0,
            skipped: false,
            standing_in: false,
            tail: Tail::NONE,
        }
    }

    /// Samples to be played.
    pub(super) fn len(&self) -> usize {
        self.samples.len() - HISTORY
    }

    /// Samples concealed without interruption until now.
    pub(super) fn concealed_run(&self) -> i64 {
        self.concealed_run
    }

    /// Whether a cut would go unnoticed.
    pub(super) fn is_quiet(&self) -> bool {
        let ahead = &self.samples[HISTORY..];
        power(&ahead[..ahead.len().min(BLOCK_SAMPLES)]) <= QUIET.max(self.loudness * PAUSE)
    }

    /// Another stream begins.
    pub(super) fn reset(&mut self) {
        self.decoder.reset();
        self.skipped = true;
        self.standing_in = false;
    }

    /// The next sound does not go on where this ends; all but the next block is dropped.
    pub(super) fn skip(&mut self) {
        self.samples.truncate(HISTORY + BLOCK_SAMPLES);
        self.skipped = true;
    }

    /// Appends a packet without its first `drop` samples, in whose place there already is
    /// concealment. Returns how many samples the packet holds.
    pub(super) fn decode(&mut self, packet: &[u8], drop: i64) -> Result<usize, CodecError> {
        self.lead_over(drop > 0);
        let samples = self.decoder.decode(packet, &mut self.scratch)?;
        self.append((drop as usize).min(samples)..samples);
        Ok(samples)
    }

    /// Appends the `length` samples before `next_packet` without the first `drop`, from its
    /// in-band FEC.
    pub(super) fn decode_fec(
        &mut self,
        next_packet: &[u8],
        length: i64,
        drop: i64,
    ) -> Result<(), CodecError> {
        self.lead_over(drop > 0);
        let length = (length as usize).min(MAX_PACKET_SAMPLES);
        self.decoder
            .decode_fec(next_packet, &mut self.scratch[..length])?;
        self.append((drop as usize).min(length)..length);
        Ok(())
    }

    /// Which samples before this packet its deep redundancy covers, counted backwards.
    pub(super) fn parse_dred(&mut self, packet: &[u8]) -> Option<Range<usize>> {
        self.decoder.parse_dred(packet)
    }

    /// How many samples before this packet its deep redundancy covers; forgets what was parsed.
    pub(super) fn dred_samples(&mut self, packet: &[u8]) -> usize {
        self.decoder.dred_samples(packet)
    }

    /// Appends `length` samples that begin `before` samples before the packet that was parsed last.
    pub(super) fn decode_dred(&mut self, before: i64, length: i64) -> Result<(), CodecError> {
        self.lead_over(false);
        let whole = whole_steps(length);
        self.decoder
            .decode_dred(before as usize, &mut self.scratch[..whole])?;
        self.append(0..length as usize);
        Ok(())
    }

    /// Appends inventions in the place of what may yet come: when it does, and its beginning is
    /// dropped, it is decoded as if it had come in time.
    pub(super) fn stand_in(&mut self, length: i64, stats: &mut AudioReceiveStats) {
        if !self.standing_in {
            self.decoder.remember();
        }
        self.conceal(length, stats);
        self.standing_in = true;
    }

    /// What was concealed is all there will be.
    pub(super) fn give_up(&mut self) {
        self.standing_in = false;
    }

    /// Appends inventions, or silence when there have been enough of them.
    pub(super) fn conceal(&mut self, length: i64, stats: &mut AudioReceiveStats) {
        let mut left = length;
        while left > 0 {
            let now = left.min(MAX_PACKET_SAMPLES as i64);
            let whole = whole_steps(now);
            let invented = &mut self.scratch[..whole];
            if self.concealed_run >= FADE_END || self.decoder.conceal(invented).is_err() {
                invented.fill([0.0; 2]);
            }
            let start = self.samples.len();
            for (index, pair) in self.scratch[..now as usize].iter().enumerate() {
                let gain = fade(self.concealed_run + index as i64);
                self.samples.push(pair.map(|sample| sample * gain));
            }
            let tail = std::mem::replace(&mut self.tail, Tail::NONE);
            stretch::cross_fade(&tail, &mut self.samples[start..]);
            self.count_concealed(now, stats);
            left -= now;
        }
        self.standing_in = false;
    }

    /// Appends the comfort noise that belongs to a pause of the speaker.
    pub(super) fn comfort(&mut self, length: usize, stats: &mut AudioReceiveStats) {
        let length = length.min(MAX_PACKET_SAMPLES);
        let noise = &mut self.scratch[..length.next_multiple_of(CONCEAL_STEP)];
        if self.decoder.comfort(noise).is_err() {
            noise.fill([0.0; 2]);
        }
        stats.comfort_noise_samples += length as u64;
        self.append(0..length);
    }

    /// Appends silence; it counts as `concealed` or as nothing.
    pub(super) fn silence(
        &mut self,
        length: usize,
        concealed: bool,
        stats: &mut AudioReceiveStats,
    ) {
        self.samples.resize(self.samples.len() + length, [0.0; 2]);
        self.tail = Tail::NONE;
        self.standing_in = false;
        if concealed {
            self.count_concealed(length as i64, stats);
        }
    }

    /// Leaves out a piece at the beginning, of at most `most` samples; where it is `quiet`, of
    /// exactly so many if it can. See [`stretch::remove`].
    pub(super) fn remove(&mut self, most: usize, quiet: bool, force: bool) -> usize {
        let spare = self.len().saturating_sub(BLOCK_SAMPLES);
        let most = most.min(spare);
        if quiet {
            return stretch::cut(&mut self.samples, HISTORY, most);
        }
        stretch::remove(&mut self.samples, HISTORY, most, force)
    }

    /// Plays a piece at the beginning twice; where it is `quiet`, one of `wanted` samples if it
    /// can. See [`stretch::insert`].
    pub(super) fn insert(&mut self, wanted: usize, quiet: bool) -> usize {
        if quiet {
            return stretch::repeat(&mut self.samples, HISTORY, wanted);
        }
        stretch::insert(&mut self.samples, HISTORY, false)
    }

    /// Hands out 10 ms, which there must be.
    pub(super) fn emit(&mut self, out: &mut StereoBlock) {
        for (out, pair) in out.iter_mut().zip(&self.samples[HISTORY..]) {
            *out = pair.map(bounded);
        }
        let played = self.len().min(BLOCK_SAMPLES);
        self.samples.drain(..played);
        self.loudness = power(out).max(self.loudness * FORGET_LOUDNESS);
    }

    fn append(&mut self, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        let start = self.samples.len();
        self.samples.extend_from_slice(&self.scratch[range]);
        let tail = std::mem::replace(&mut self.tail, Tail::NONE);
        stretch::cross_fade(&tail, &mut self.samples[start..]);
        self.concealed_run = 0;
    }

    /// Prepares a little more of what was invented, to lead over to what does not follow from it.
    /// The decoder itself leads over where its own concealment ends.
    fn lead_over(&mut self, drops: bool) {
        let standing_in = std::mem::take(&mut self.standing_in) && drops;
        let jumps = std::mem::take(&mut self.skipped) || drops;
        if self.tail.length == 0 && (jumps || self.concealed_run >= FADE_START) {
            self.tail.length = BLEND;
            let samples = &mut self.tail.samples;
            if self.concealed_run >= FADE_END || self.decoder.conceal(samples).is_err() {
                samples.fill([0.0; 2]);
            }
            let gain = fade(self.concealed_run);
            for pair in samples {
                *pair = pair.map(|sample| sample * gain);
            }
        }
        if standing_in {
            self.decoder.recall();
        }
    }

    fn count_concealed(&mut self, samples: i64, stats: &mut AudioReceiveStats) {
        if self.concealed_run == 0 {
            stats.concealment_events += 1;
        }
        if self.concealed_run >= FADE_END {
            stats.silent_concealed_samples += samples as u64;
        }
        stats.concealed_samples += samples as u64;
        self.concealed_run += samples;
    }
}

/// Up to [`BLEND`] samples.
#[derive(Debug)]
struct Tail {
    samples: [[f32; 2]; BLEND],
    length: usize,
}

impl Tail {
    const NONE: Self = Self {
        samples: [[0.0; 2]; BLEND],
        length: 0,
    };
}

impl std::ops::Deref for Tail {
    type Target = [[f32; 2]];

    fn deref(&self) -> &Self::Target {
        &self.samples[..self.length]
    }
}

/// Mean square of both channels.
fn power(samples: &[[f32; 2]]) -> f32 {
    let samples = samples.as_flattened();
    samples.iter().map(|it| it * it).sum::<f32>() / samples.len().max(1) as f32
}

fn whole_steps(length: i64) -> usize {
    (length.max(0) as usize)
        .next_multiple_of(CONCEAL_STEP)
        .min(MAX_PACKET_SAMPLES)
}

/// Gain of the sample after this much concealment.
fn fade(concealed: i64) -> f32 {
    let over = (concealed - FADE_START).clamp(0, FADE_END - FADE_START);
    1.0 - over as f32 / (FADE_END - FADE_START) as f32
}
