//! Lip-sync: when a picture is to be shown so that it goes with the sound, and how long the sound
//! has to wait for late pictures. Pure.
//!
//! Both streams are put on the sender's clock by the RTCP sender reports (RFC 3550 section 6.4.1).
//! Sound sets the pace, since a gap in it is worse than a late picture: pictures wait for it. Only
//! when pictures come so late that the sound would be heard first, the sound is made to wait.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ahoy_audio::playout_clock::PlayoutClock;
use ahoy_media::units::{AUDIO_CLOCK_HZ, VIDEO_CLOCK_HZ};

/// Pictures may be this much ahead of their sound: waiting costs delay, and nobody notices less
/// (ITU-R BT.1359-1 puts the threshold of detection at 125 ms for late and 45 ms for early sound).
const PICTURE_AHEAD: f64 = 0.040;
/// Sound that is ahead of its picture by more is delayed, until it is ahead by half of it.
const SOUND_AHEAD: f64 = 0.035;
/// What handing over, decoding and drawing take after a picture was due.
const SHOWING: f64 = 0.010;
/// No picture waits longer, whatever the reports say: they come from a stranger.
const MAX_WAIT: f64 = 0.6;
/// Longest that the sound is made to wait for pictures, in samples.
const MAX_HELD: i64 = 14_400;
/// A larger difference between the streams is no delay but a wrong report.
const MAX_SKEW: f64 = 5.0;
/// Sound that was played longer ago says nothing about when the next will be.
const STALE: Duration = Duration::from_millis(500);
/// A jump of the playout by more is followed at once, less is smoothed: positions come in blocks.
const JUMP: f64 = 0.030;
/// Weight of a new position of the sound.
const SMOOTHING: f64 = 0.1;
/// How often the delay of the sound is judged.
const JUDGE_EVERY: Duration = Duration::from_millis(250);
/// Pictures that come late are waited for when all have been late for so many judgements in which
/// there were any, 1 s. A picture that had to be sent again holds up those behind it, and then they
/// come in time again: sound that waited for them would come and go with each of them.
const LASTING: usize = 4;
/// Sound comes back when it need not have waited for so long. Each change is sound that is stretched,
/// and pictures that come earlier for a moment just wait for it.
const CALM: Duration = Duration::from_secs(4);
/// Less than this is not worth a change.
const WORTH_A_CHANGE: f64 = 0.040;

/// Samples per second.
const SAMPLES: f64 = AUDIO_CLOCK_HZ as f64;

/// Media time of one stream on its sender's clock.
#[derive(Debug, Clone)]
struct SenderClock {
    hz: f64,
    /// Seconds of the sender's clock, and RTP ticks at that moment.
    report: Option<(f64, u32)>,
}

impl SenderClock {
    fn new(hz: u32) -> Self {
        Self {
            hz: f64::from(hz),
            report: None,
        }
    }

    /// Takes in a sender report. `ntp_time` is in units of 2⁻³² s.
    fn report(&mut self, ntp_time: u64, rtp_time: u32) {
        self.report = Some((ntp_time as f64 / f64::from(u32::MAX), rtp_time));
    }

    /// When this was captured, in seconds of the sender's clock.
    fn captured(&self, rtp_timestamp: u32) -> Option<f64> {
        let (seconds, rtp_time) = self.report?;
        let ticks = rtp_timestamp.wrapping_sub(rtp_time).cast_signed();
        Some(seconds + f64::from(ticks) / self.hz)
    }
}

/// Sound and pictures of one participant.
#[derive(Debug, Clone)]
pub struct LipSync {
    epoch: Instant,
    audio: SenderClock,
    video: SenderClock,
    /// Our clock minus the sender's, in seconds, for the sound that leaves the speaker; and when
    /// that was last seen.
    sound: Option<(f64, Instant)>,
    /// How much later than its sound the earliest picture since the last judgement came. The few
    /// that are later than the rest are not worth making the sound wait for.
    earliest: Option<f64>,
    judged: Instant,
    /// The least transit of the sound, in samples.
    held: Option<i64>,
    /// How late the earliest picture was at each judgement of the last [`CALM`].
    judgements: VecDeque<(Instant, f64)>,
    skew: Option<f64>,
}

impl LipSync {
    /// Nothing is known before the first reports. `now`: start of the call.
    pub fn new(now: Instant) -> Self {
        Self {
            epoch: now,
            audio: SenderClock::new(AUDIO_CLOCK_HZ),
            video: SenderClock::new(VIDEO_CLOCK_HZ),
            sound: None,
            earliest: None,
            judged: now,
            held: None,
            judgements: VecDeque::new(),
            skew: None,
        }
    }

    /// A sender report for the sound: NTP time in units of 2⁻³² s, RTP time in ticks of 48 kHz.
    pub fn audio_report(&mut self, ntp_time: u64, rtp_time: u32) {
        self.audio.report(ntp_time, rtp_time);
    }

    /// A sender report for the pictures: NTP time in units of 2⁻³² s, RTP time in ticks of 90 kHz.
    pub fn video_report(&mut self, ntp_time: u64, rtp_time: u32) {
        self.video.report(ntp_time, rtp_time);
    }

    /// The sample with this time stamp (ticks of 48 kHz) leaves the speaker at `at`.
    pub fn sound_plays(&mut self, rtp_timestamp: u32, at: Instant) {
        let Some(captured) = self.audio.captured(rtp_timestamp) else {
            return;
        };
        let offset = self.seconds(at) - captured;
        let smoothed = match self.sound {
            Some((known, seen))
                if (offset - known).abs() < JUMP && self.since(seen, at) < STALE.as_secs_f64() =>
            {
                known + SMOOTHING * (offset - known)
            }
            _ => offset,
        };
        self.sound = Some((smoothed, at));
    }

    /// When a picture that would be handed on at `ready` should be, as far as is known at `now`:
    /// then or later, by 0.6 s at most. `rtp_timestamp` in ticks of 90 kHz.
    pub fn picture_due(&mut self, rtp_timestamp: u32, now: Instant, ready: Instant) -> Instant {
        self.skew = None;
        let Some((offset, seen)) = self.sound else {
            return ready;
        };
        let Some(captured) = self.video.captured(rtp_timestamp) else {
            return ready;
        };
        if now.saturating_duration_since(seen) > STALE {
            return ready;
        }
        // How much later the picture would be seen than its sound is heard.
        let late = self.seconds(ready) + SHOWING - (captured + offset);
        if late.abs() > MAX_SKEW {
            return ready;
        }
        self.earliest = Some(self.earliest.map_or(late, |earliest| earliest.min(late)));
        let wait = (-late - PICTURE_AHEAD).clamp(0.0, MAX_WAIT);
        self.skew = Some(late + wait);
        ready + Duration::from_secs_f64(wait)
    }

    /// The least transit that the sound has to have so that late pictures can keep up, in samples;
    /// `network` is what it would have without (see
    /// [`AudioJitterBuffer::network_transit`](ahoy_audio::jitter::AudioJitterBuffer::network_transit)).
    pub fn hold_sound(&mut self, network: i64, now: Instant) -> Option<i64> {
        if now.saturating_duration_since(self.judged) >= JUDGE_EVERY {
            self.judged = now;
            if let Some(late) = self.earliest.take() {
                // One that is further away belongs to a stream of before.
                self.held = self.held.filter(|held| *held <= network + MAX_HELD);
                let before = self.held.map_or(network, |held| held.max(network));
                let change = self.change_for(late, before > network, now);
                if change != 0.0 {
                    let wanted = before + (change * SAMPLES) as i64;
                    let after = wanted.clamp(network, network + MAX_HELD);
                    self.held = (after > network).then_some(after);
                    // With sound that comes later, each picture is earlier than it.
                    let change = (after - before) as f64 / SAMPLES;
                    self.judgements
                        .iter_mut()
                        .for_each(|(_, late)| *late -= change);
                }
            }
        }
        self.held
    }

    /// What to change about the sound's delay, in seconds, when the earliest pictures are so late now.
    fn change_for(&mut self, late: f64, held: bool, now: Instant) -> f64 {
        let old = |(at, _): &(Instant, f64)| now.saturating_duration_since(*at) >= CALM;
        let calm = self.judgements.front().is_some_and(old);
        while self.judgements.len() > LASTING && self.judgements.front().is_some_and(old) {
            self.judgements.pop_front();
        }
        self.judgements.push_back((now, late));
        let least = |lates: &[(Instant, f64)]| {
            let lates = lates.iter().map(|(_, late)| *late);
            lates.fold(f64::INFINITY, f64::min)
        };
        let judgements = self.judgements.make_contiguous();
        let mut lasting = judgements.windows(LASTING).map(least);
        let Some(lately) = lasting.next_back() else {
            return 0.0;
        };
        if lately > SOUND_AHEAD {
            return lately - SOUND_AHEAD / 2.0;
        }
        let latest = lasting.fold(lately, f64::max);
        if calm && held && latest < -WORTH_A_CHANGE {
            return latest;
        }
        0.0
    }

    /// How much later the last picture is seen than its sound is heard, in seconds; negative when
    /// the sound comes later. `None` while nothing is known.
    pub fn skew(&self) -> Option<f64> {
        self.skew
    }

    fn seconds(&self, at: Instant) -> f64 {
        at.saturating_duration_since(self.epoch).as_secs_f64()
    }

    fn since(&self, earlier: Instant, later: Instant) -> f64 {
        later.saturating_duration_since(earlier).as_secs_f64()
    }
}

/// [`LipSync`] between the connection, which brings the reports, the playout of the sound and the
/// task of the pictures.
pub struct SoundAndPicture {
    sync: Mutex<LipSync>,
    playout: Arc<PlayoutClock>,
}

/// What is to be done with a picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PictureTiming {
    /// When it should be handed on.
    pub due: Instant,
    /// See [`LipSync::skew`].
    pub skew_s: Option<f64>,
}

impl SoundAndPicture {
    /// For the participant whose sound `playout` tells of.
    pub fn new(playout: Arc<PlayoutClock>) -> Self {
        Self {
            sync: Mutex::new(LipSync::new(Instant::now())),
            playout,
        }
    }

    /// See [`LipSync::audio_report`].
    pub fn audio_report(&self, ntp_time: u64, rtp_time: u32) {
        self.lock().audio_report(ntp_time, rtp_time);
    }

    /// See [`LipSync::video_report`].
    pub fn video_report(&self, ntp_time: u64, rtp_time: u32) {
        self.lock().video_report(ntp_time, rtp_time);
    }

    /// When a picture that would be handed on at `ready` should be, by what is heard now; makes
    /// the sound wait if it has to.
    pub fn picture_due(&self, rtp_timestamp: u32, now: Instant, ready: Instant) -> PictureTiming {
        let mut sync = self.lock();
        if let Some((sample, at)) = self.playout.position() {
            sync.sound_plays(sample, at);
        }
        let due = sync.picture_due(rtp_timestamp, now, ready);
        let held = sync.hold_sound(self.playout.network_transit(), now);
        self.playout.set_minimum_transit(held, now);
        PictureTiming {
            due,
            skew_s: sync.skew(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, LipSync> {
        self.sync.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NTP_SECOND: f64 = 4_294_967_295.0;

    /// A sender whose streams were captured together from second 1000 of its clock on, and a
    /// receiver who plays sound after `sound` seconds and has pictures complete after `picture`.
    struct Path {
        sync: LipSync,
        start: Instant,
        sound: f64,
        picture: f64,
    }

    impl Path {
        fn new(sound: f64, picture: f64) -> Self {
            let start = Instant::now();
            let mut sync = LipSync::new(start);
            sync.audio_report((1000.0 * NTP_SECOND) as u64, 5_000);
            sync.video_report((1000.0 * NTP_SECOND) as u64, u32::MAX - 100);
            Self {
                sync,
                start,
                sound,
                picture,
            }
        }

        fn at(&self, seconds: f64) -> Instant {
            self.start + Duration::from_secs_f64(seconds)
        }

        /// How old sound is that is heard, in seconds.
        fn heard(&mut self, now: Instant) -> f64 {
            let network = (self.sound * SAMPLES) as i64;
            let held = self.sync.hold_sound(network, now);
            held.map_or(self.sound, |held| held.max(network) as f64 / SAMPLES)
        }

        /// Runs from second `from` to second `to` of the capture; returns the worst skew of the
        /// last half second: picture seen minus sound heard.
        fn run(&mut self, from: f64, to: f64) -> (f64, f64) {
            let mut seen: Vec<f64> = Vec::new();
            let frames = ((to - from) * 30.0) as u32;
            for frame in 0..frames {
                let captured = from + f64::from(frame) / 30.0;
                let now = self.at(captured + self.picture);
                let heard = self.heard(now);
                // Blocks of 10 ms: what plays now was captured `heard` ago.
                let playing = captured + self.picture - heard;
                if playing > 0.0 {
                    let ticks = (playing * 48_000.0) as u32;
                    self.sync.sound_plays(ticks.wrapping_add(5_000), now);
                }
                let ticks = (captured * 90_000.0) as u32;
                let due = self
                    .sync
                    .picture_due((u32::MAX - 100).wrapping_add(ticks), now, now);
                let shown = due.duration_since(self.start).as_secs_f64() + SHOWING;
                seen.push(shown - captured - heard);
            }
            let last = &seen[seen.len().saturating_sub(15)..];
            let least = last.iter().copied().fold(f64::INFINITY, f64::min);
            let most = last.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            (least, most)
        }
    }

    fn in_sync((least, most): (f64, f64)) -> bool {
        // The aim: sound from 60 ms late to 40 ms early.
        least >= -0.060 && most <= 0.040
    }

    #[test]
    fn pictures_wait_for_the_sound() {
        for sound in [0.03, 0.08, 0.25, 0.5] {
            let skew = Path::new(sound, 0.01).run(0.0, 3.0);
            assert!(in_sync(skew), "{sound}: {skew:?}");
        }
    }

    #[test]
    fn little_is_not_worth_waiting_for() {
        let mut path = Path::new(0.045, 0.01);
        path.run(0.0, 1.0);
        let now = path.at(1.01);
        let due = path
            .sync
            .picture_due((u32::MAX - 100).wrapping_add(90_000), now, now);
        assert_eq!(due, now);
    }

    #[test]
    fn sound_waits_for_late_pictures() {
        for picture in [0.08, 0.15, 0.35] {
            let skew = Path::new(0.03, picture).run(0.0, 2.5);
            assert!(in_sync(skew), "{picture}: {skew:?}");
        }
    }

    #[test]
    fn jitter_of_the_pictures_leaves_the_sound_alone() {
        let mut path = Path::new(0.05, 0.1);
        path.run(0.0, 3.0);
        let mut delays = Vec::new();
        for half_second in 0..16 {
            // Now earlier, now later, as on a path with jitter.
            path.picture = 0.1 + [0.0, 0.02, -0.04, 0.01][half_second % 4];
            let from = 3.0 + 0.5 * half_second as f64;
            assert!(in_sync(path.run(from, from + 0.5)));
            let now = path.at(from + 0.5);
            delays.push(path.heard(now));
        }
        delays.dedup();
        assert_eq!(delays.len(), 1, "{delays:?}");
    }

    #[test]
    fn a_picture_that_had_to_be_sent_again_moves_no_sound() {
        let mut path = Path::new(0.05, 0.02);
        path.run(0.0, 3.0);
        for second in 3..20 {
            let from = f64::from(second);
            // It, and those behind it, for 0.6 s.
            path.picture = 0.3;
            path.run(from, from + 0.6);
            path.picture = 0.02;
            path.run(from + 0.6, from + 1.0);
            let now = path.at(from + 1.0);
            assert!(path.heard(now) < 0.051);
        }
    }

    #[test]
    fn held_sound_does_not_move_with_the_network() {
        let mut path = Path::new(0.03, 0.2);
        path.run(0.0, 3.0);
        let now = path.at(3.0);
        let heard = path.heard(now);
        for step in 0..20 {
            path.sound = 0.03 + 0.005 * f64::from(step);
            let from = 3.0 + 0.25 * f64::from(step);
            path.run(from, from + 0.25);
            let now = path.at(from + 0.25);
            assert!((path.heard(now) - heard).abs() < 0.001);
        }
    }

    #[test]
    fn a_change_of_the_network_is_followed_within_two_seconds() {
        let mut path = Path::new(0.05, 0.02);
        assert!(in_sync(path.run(0.0, 3.0)));
        path.sound = 0.25;
        assert!(in_sync(path.run(3.0, 5.0)));
        path.sound = 0.05;
        path.picture = 0.2;
        assert!(in_sync(path.run(5.0, 7.0)));
        path.picture = 0.02;
        assert!(in_sync(path.run(7.0, 9.0)));
        // The sound comes back, but not before it is clear that it need not wait.
        let (now, later) = (path.at(9.0), path.at(26.1));
        let heard = path.heard(now);
        assert!(heard > 0.15, "{heard}");
        path.run(9.0, 26.0);
        let heard = path.heard(later);
        assert!(heard < 0.06, "{heard}");
    }

    #[test]
    fn without_reports_or_sound_nothing_waits() {
        let start = Instant::now();
        let mut sync = LipSync::new(start);
        assert_eq!(sync.picture_due(7, start, start), start);
        sync.sound_plays(9, start);
        assert_eq!(sync.picture_due(7, start, start), start);
        assert_eq!(sync.skew(), None);
        let mut path = Path::new(0.3, 0.01);
        path.run(0.0, 1.0);
        let later = path.at(4.0);
        assert_eq!(path.sync.picture_due(77, later, later), later);
    }

    #[test]
    fn a_lying_report_delays_nothing_for_long() {
        let start = Instant::now();
        for (audio, video) in [(0, u64::MAX), (u64::MAX, 0), (1 << 40, 1 << 33)] {
            let mut sync = LipSync::new(start);
            sync.audio_report(audio, 0);
            sync.video_report(video, u32::MAX / 2);
            for step in 0..200_u64 {
                let now = start + Duration::from_millis(step * 33);
                sync.sound_plays(step as u32 * 1_584, now);
                let due = sync.picture_due(step as u32 * 2_970, now, now);
                assert!(due <= now + Duration::from_secs_f64(MAX_WAIT));
                let held = sync.hold_sound(1_000, now);
                assert!(held.is_none_or(|held| held <= 1_000 + MAX_HELD));
            }
        }
    }
}
