//! Sound whose way through a call can be timed: short bursts on one side, their arrival on the
//! other.

use std::f64::consts::TAU;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ahoy_audio::playout::PlayoutObserver;
use ahoy_audio::send::AudioInjection;
use ahoy_audio::{BLOCK_SAMPLES, Block};
use ahoy_media::units::AUDIO_CLOCK_HZ;

use super::log::BenchLog;

const BURST_HZ: f64 = 1000.0;
const BURST_AMPLITUDE: f64 = 0.5;
/// Amplitude of the noise between bursts: below hearing, above digital silence.
const NEAR_SILENCE: f32 = 0.0005;
/// Shortest time from one burst to the next, in blocks of 10 ms.
const MIN_GAP_BLOCKS: u32 = 90;
/// The gap varies by 0 to 10 blocks, so that bursts do not keep step with packets.
const GAP_STEPS: u32 = 11;
/// Coprime to [`GAP_STEPS`]: every gap comes once in eleven bursts.
const GAP_STRIDE: u32 = 7;

/// What counts as a burst: a quarter of what was sent leaves room for the codec.
const THRESHOLD: f32 = 0.12;
/// After a detection nothing is detected for this long: a burst is one event.
const HOLD_OFF: Duration = Duration::from_millis(400);

/// Replaces captured blocks by near-silence with a burst of 10 ms, one whole block, every 0.9 to
/// 1.0 s.
pub(super) struct Pulses {
    log: Arc<BenchLog>,
    state: Mutex<PulseState>,
}

struct PulseState {
    blocks_to_burst: u32,
    bursts: u32,
    noise: u32,
}

impl Pulses {
    pub(super) fn new(log: Arc<BenchLog>) -> Self {
        Self {
            log,
            state: Mutex::new(PulseState {
                blocks_to_burst: MIN_GAP_BLOCKS,
                bursts: 0,
                noise: 0x2545_f491,
            }),
        }
    }
}

impl AudioInjection for Pulses {
    fn fill(&self, block: &mut Block, now: Instant) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        block.fill_with(|| state.noise());
        if state.blocks_to_burst > 0 {
            state.blocks_to_burst -= 1;
            return;
        }
        state.bursts = state.bursts.wrapping_add(1);
        state.blocks_to_burst =
            MIN_GAP_BLOCKS - 1 + state.bursts.wrapping_mul(GAP_STRIDE) % GAP_STEPS;
        drop(state);
        for (index, sample) in block.iter_mut().enumerate() {
            let time = index as f64 / f64::from(AUDIO_CLOCK_HZ);
            *sample = (BURST_AMPLITUDE * (TAU * BURST_HZ * time).sin()) as f32;
        }
        self.log.pulse_sent(now);
    }
}

impl PulseState {
    /// Xorshift: noise needs no better randomness.
    fn noise(&mut self) -> f32 {
        self.noise ^= self.noise << 13;
        self.noise ^= self.noise >> 17;
        self.noise ^= self.noise << 5;
        (self.noise as f32 / u32::MAX as f32 - 0.5) * NEAR_SILENCE
    }
}

/// Notes when a burst leaves for the speaker.
pub(super) struct PulseListener {
    log: Arc<BenchLog>,
    quiet_until: Mutex<Option<Instant>>,
}

impl PulseListener {
    pub(super) fn new(log: Arc<BenchLog>) -> Self {
        Self {
            log,
            quiet_until: Mutex::new(None),
        }
    }
}

impl PlayoutObserver for PulseListener {
    fn playing(&self, block: &Block, at: Instant) {
        let Some(index) = block.iter().position(|sample| sample.abs() > THRESHOLD) else {
            return;
        };
        // The block's later samples leave later.
        let at = at + Duration::from_millis(10) * index as u32 / BLOCK_SAMPLES as u32;
        let mut quiet_until = self
            .quiet_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if quiet_until.is_none_or(|until| at >= until) {
            *quiet_until = Some(at + HOLD_OFF);
            drop(quiet_until);
            self.log.pulse_heard(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::clock::WallClock;
    use super::*;

    const BLOCK: Duration = Duration::from_millis(10);

    /// Moments of `audioGen` or `audioDet` in ms from `start`.
    fn times(moments: &[f64], clock: &WallClock, start: Instant) -> Vec<f64> {
        moments
            .iter()
            .map(|moment| moment - clock.unix_ms(start))
            .collect()
    }

    #[test]
    fn bursts_come_every_0_9_to_1_0_s_and_are_heard_once_each() {
        let clock = WallClock::align();
        let (sent, heard) = (BenchLog::new(clock, None), BenchLog::new(clock, None));
        let pulses = Pulses::new(Arc::clone(&sent));
        let listener = PulseListener::new(Arc::clone(&heard));
        let start = Instant::now();
        let mut block = [0.0; BLOCK_SAMPLES];
        for number in 0..3000 {
            let now = start + BLOCK * number;
            pulses.fill(&mut block, now);
            listener.playing(&block, now + Duration::from_millis(150));
        }
        let sent = times(&sent.take().0.audio_gen, &clock, start);
        let heard = times(&heard.take().0.audio_det, &clock, start);
        assert!((30..=33).contains(&sent.len()), "{}", sent.len());
        assert_eq!(sent.len(), heard.len());
        let gaps: Vec<f64> = sent.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(
            gaps.iter().all(|gap| (899.9..=1000.1).contains(gap)),
            "{gaps:?}"
        );
        assert!(
            gaps.iter().any(|gap| (gap - gaps[0]).abs() > 5.0),
            "{gaps:?}"
        );
        for (sent, heard) in sent.iter().zip(&heard) {
            // The sine needs a few samples from zero to the threshold.
            assert!((150.0..150.2).contains(&(heard - sent)), "{sent} {heard}");
        }
    }

    #[test]
    fn between_bursts_it_is_nearly_silent() {
        let pulses = Pulses::new(BenchLog::new(WallClock::align(), None));
        let mut block = [1.0; BLOCK_SAMPLES];
        pulses.fill(&mut block, Instant::now());
        assert!(block.iter().all(|sample| sample.abs() <= NEAR_SILENCE));
        assert!(block.iter().any(|sample| *sample != 0.0));
    }

    #[test]
    fn a_burst_that_rings_on_is_one_and_the_next_is_another() {
        let clock = WallClock::align();
        let log = BenchLog::new(clock, None);
        let listener = PulseListener::new(Arc::clone(&log));
        let start = Instant::now();
        let mut loud = [0.0; BLOCK_SAMPLES];
        loud[240] = -0.3;
        for ms in [0, 10, 20, 390, 405, 800] {
            listener.playing(&loud, start + Duration::from_millis(ms));
        }
        let mut quiet = [0.119; BLOCK_SAMPLES];
        quiet[0] = -0.119;
        listener.playing(&quiet, start + Duration::from_secs(5));
        let heard = times(&log.take().0.audio_det, &clock, start);
        assert_eq!(heard.len(), 2, "{heard:?}");
        assert!(
            (heard[0] - 5.0).abs() < 0.01 && (heard[1] - 410.0).abs() < 0.01,
            "{heard:?}"
        );
    }
}
