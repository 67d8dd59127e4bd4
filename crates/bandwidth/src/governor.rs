//! Keeps encoding and decoding within the time there is: less effort per frame first, then fewer
//! frames, then smaller ones; and back, carefully.
//!
//! Effort goes first because it costs the least to look at, size last because a change costs a key
//! frame.

use std::time::{Duration, Instant};

use ahoy_media::units::{Resolution, VideoConstraints};

/// libvpx's `cpu-used` in the order of falling effort; the first is the ordinary one (measured in
/// `docs/performance.md`).
const CPU_USED: [i32; 3] = [-12, -14, -16];
/// Frames per second in the order in which they are given up.
const FRAME_RATES: [u32; 4] = [20, 15, 10, 7];
/// Share of the pixels that is left, in percent, in the order in which they are given up.
const PIXEL_PERCENT: [u64; 4] = [56, 25, 14, 6];
/// Time per observation, and frames it takes at least.
const OBSERVED: Duration = Duration::from_secs(1);
const MIN_FRAMES: u32 = 4;
/// Too much: share of the time in use, or of the frames that had to be left out.
const TOO_BUSY: f64 = 0.8;
const TOO_MANY_LEFT_OUT: f64 = 0.1;
/// Encoding makes room for decoding while it takes more than this share of the time. Decoding that gives
/// up more than one frame in ten lacks a tenth of the time, and a step saves about a third.
const WORTH_TAKING: f64 = 0.3;
/// Observations in a row that make a decision; a single slow second is somebody else's.
const TOO_BUSY_COUNT: u32 = 2;
/// Going back is tried when the step before would leave the use below this.
const ROOMY: f64 = 0.55;
const UP_AFTER: Duration = Duration::from_secs(5);
const MAX_UP_AFTER: Duration = Duration::from_secs(80);
/// Down again this soon after going up: that was a mistake.
const MISTAKE: Duration = Duration::from_secs(15);

/// What the encoder may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// `VP8E_SET_CPUUSED` at 1280x720.
    pub cpu_used: i32,
    /// Ceiling for [`crate::ladder::Ladder`].
    pub constraints: VideoConstraints,
}

/// Watches the time that frames take.
#[derive(Debug)]
pub struct Governor {
    wanted: VideoConstraints,
    step: usize,
    began: Option<Instant>,
    busy: Duration,
    frames: u32,
    left_out: u32,
    decoded: u32,
    not_decoded: u32,
    busy_count: u32,
    roomy_since: Option<Instant>,
    up_after: Duration,
    went_up_at: Option<Instant>,
}

impl Governor {
    /// Begins with everything the user wants.
    pub const fn new(wanted: VideoConstraints) -> Self {
        Self {
            wanted,
            step: 0,
            began: None,
            busy: Duration::ZERO,
            frames: 0,
            left_out: 0,
            decoded: 0,
            not_decoded: 0,
            busy_count: 0,
            roomy_since: None,
            up_after: UP_AFTER,
            went_up_at: None,
        }
    }

    /// What the user wants from now on.
    pub fn set_wanted(&mut self, wanted: VideoConstraints) {
        self.wanted = wanted;
    }

    /// A frame was encoded, which took `took` including scaling.
    pub fn encoded(&mut self, now: Instant, took: Duration) -> Limits {
        self.frames += 1;
        self.spent(now, took)
    }

    /// Of what was received, so many frames were decoded since the last time, and so many given up
    /// because decoding was behind. The same processor does it, so the encoder makes room.
    pub fn decoded(&mut self, now: Instant, frames: u32, given_up: u32) -> Limits {
        self.decoded = self.decoded.saturating_add(frames);
        self.not_decoded = self.not_decoded.saturating_add(given_up);
        self.spent(now, Duration::ZERO)
    }

    /// A captured frame was left out because the encoder was still busy.
    pub fn left_out(&mut self, now: Instant) -> Limits {
        self.left_out += 1;
        self.spent(now, Duration::ZERO)
    }

    /// The present limits.
    pub fn limits(&self) -> Limits {
        self.limits_at(self.step)
    }

    fn spent(&mut self, now: Instant, took: Duration) -> Limits {
        let began = *self.began.get_or_insert(now);
        self.busy = self.busy.saturating_add(took);
        let elapsed = now.saturating_duration_since(began);
        if elapsed >= OBSERVED {
            if self.frames + self.left_out >= MIN_FRAMES {
                self.judge(now, elapsed);
            }
            self.began = Some(now);
            self.busy = Duration::ZERO;
            self.frames = 0;
            self.left_out = 0;
            self.decoded = 0;
            self.not_decoded = 0;
        }
        self.limits()
    }

    fn judge(&mut self, now: Instant, elapsed: Duration) {
        // One thread encodes; while it is busy a captured frame waits.
        let used = self.busy.as_secs_f64() / elapsed.as_secs_f64();
        let encoding_behind = used > TOO_BUSY || too_many(self.left_out, self.frames);
        let decoding_behind = too_many(self.not_decoded, self.decoded);
        if encoding_behind || (decoding_behind && used > WORTH_TAKING) {
            self.roomy_since = None;
            self.busy_count += 1;
            if self.busy_count >= TOO_BUSY_COUNT {
                self.go_down(now);
            }
            return;
        }
        self.busy_count = 0;
        let room = if decoding_behind { WORTH_TAKING } else { ROOMY };
        if self.step == 0 || used * self.cost_of_going_up() > room {
            self.roomy_since = None;
            return;
        }
        let since = *self.roomy_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= self.up_after {
            self.roomy_since = None;
            self.went_up_at = Some(now);
            self.step = self.next_up();
        }
    }

    fn go_down(&mut self, now: Instant) {
        self.busy_count = 0;
        let hasty = |at: Instant| now.saturating_duration_since(at) < MISTAKE;
        self.up_after = if self.went_up_at.take().is_some_and(hasty) {
            (self.up_after * 2).min(MAX_UP_AFTER)
        } else {
            self.up_after
        };
        let now_at = self.limits();
        let lower = (self.step + 1..STEPS).find(|step| self.limits_at(*step) != now_at);
        self.step = lower.unwrap_or(self.step);
    }

    /// The step before that differs.
    fn next_up(&self) -> usize {
        let now_at = self.limits();
        let higher = (0..self.step)
            .rev()
            .find(|step| self.limits_at(*step) != now_at);
        higher.unwrap_or(0)
    }

    /// How much more work the next step up is.
    fn cost_of_going_up(&self) -> f64 {
        let (now_at, up) = (self.limits(), self.limits_at(self.next_up()));
        let work = |limits: Limits| {
            let constraints = limits.constraints;
            constraints.resolution.pixels() as f64 * f64::from(constraints.frame_rate)
        };
        let effort = if up.cpu_used == now_at.cpu_used {
            1.0
        } else {
            1.2
        };
        effort * work(up) / work(now_at).max(1.0)
    }

    fn limits_at(&self, step: usize) -> Limits {
        let effort = step.min(CPU_USED.len() - 1);
        let mut constraints = self.wanted;
        let slower = step
            .saturating_sub(CPU_USED.len() - 1)
            .min(FRAME_RATES.len());
        if let Some(rate) = slower
            .checked_sub(1)
            .and_then(|index| FRAME_RATES.get(index))
        {
            constraints.frame_rate = constraints.frame_rate.min(*rate);
        }
        let smaller = step.saturating_sub(CPU_USED.len() - 1 + FRAME_RATES.len());
        if let Some(percent) = smaller
            .checked_sub(1)
            .and_then(|index| PIXEL_PERCENT.get(index))
        {
            constraints.resolution = shrink(constraints.resolution, *percent);
        }
        Limits {
            cpu_used: CPU_USED[effort],
            constraints,
        }
    }
}

/// Whether too many of the frames were left out.
fn too_many(left_out: u32, done: u32) -> bool {
    let all = f64::from(left_out) + f64::from(done);
    all >= f64::from(MIN_FRAMES) && f64::from(left_out) / all > TOO_MANY_LEFT_OUT
}

const STEPS: usize = CPU_USED.len() + FRAME_RATES.len() + PIXEL_PERCENT.len();

/// The same shape with this share of the pixels, even and not below 160 wide or 90 high.
fn shrink(resolution: Resolution, percent: u64) -> Resolution {
    let scale = (percent as f64 / 100.0).sqrt();
    let side = |side: u32, least: u32| {
        let scaled = (f64::from(side) * scale / 2.0).round() as u32 * 2;
        scaled.max(least).min(side)
    };
    Resolution::new(side(resolution.width, 160), side(resolution.height, 90))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `seconds` of frames whose encoding takes `cost(limits)`, never two at once.
    fn run(
        governor: &mut Governor,
        from: Instant,
        seconds: u64,
        cost: impl Fn(Limits) -> Duration,
    ) -> Vec<Limits> {
        let mut seen = vec![governor.limits()];
        let mut free_at = from;
        let mut now = from;
        while now < from + Duration::from_secs(seconds) {
            let limits = governor.limits();
            if free_at > now {
                governor.left_out(now);
            } else {
                let took = cost(limits);
                free_at = now + took;
                governor.encoded(now, took);
            }
            if seen.last() != Some(&governor.limits()) {
                seen.push(governor.limits());
            }
            now += governor.limits().constraints.frame_interval();
        }
        seen
    }

    fn pixels_cost(limits: Limits, ns_per_pixel: u64) -> Duration {
        Duration::from_nanos(limits.constraints.resolution.pixels() * ns_per_pixel)
    }

    #[test]
    fn a_fast_computer_is_left_alone() {
        let mut governor = Governor::new(VideoConstraints::default());
        let seen = run(&mut governor, Instant::now(), 60, |limits| {
            pixels_cost(limits, 8)
        });
        assert_eq!(seen.len(), 1);
    }

    #[test]
    fn a_slow_one_gives_up_effort_then_motion_then_size() {
        let mut governor = Governor::new(VideoConstraints::default());
        let seen = run(&mut governor, Instant::now(), 60, |limits| {
            pixels_cost(limits, 250)
        });
        assert_eq!(seen[1].cpu_used, -14);
        assert_eq!(seen[2].cpu_used, -16);
        assert_eq!(seen[3].constraints.frame_rate, 20);
        let last = governor.limits();
        assert_eq!(last.constraints.frame_rate, 7);
        assert!(last.constraints.resolution.pixels() < 1280 * 720);
        assert!(last.constraints.resolution.pixels() > 160 * 90);
    }

    #[test]
    fn comes_back_when_the_load_is_gone_and_hardly_swings() {
        let start = Instant::now();
        let mut governor = Governor::new(VideoConstraints::default());
        run(&mut governor, start, 20, |limits| pixels_cost(limits, 60));
        assert_ne!(governor.limits().constraints.frame_rate, 30);
        let swings = run(
            &mut governor,
            start + Duration::from_secs(20),
            60,
            |limits| pixels_cost(limits, 60),
        );
        assert!(swings.len() <= 4, "{swings:?}");
        run(
            &mut governor,
            start + Duration::from_secs(80),
            300,
            |limits| pixels_cost(limits, 5),
        );
        assert_eq!(governor.limits().constraints, VideoConstraints::default());
        assert_eq!(governor.limits().cpu_used, -12);
    }

    /// Encodes at `ns_per_pixel` for `seconds` while decoding manages `decoded(limits)` of the 30 frames
    /// that come in each. The frame rates of these seconds.
    fn run_decoding(
        governor: &mut Governor,
        from: Instant,
        seconds: u64,
        ns_per_pixel: u64,
        decoded: impl Fn(Limits) -> u32,
    ) -> Vec<u32> {
        let mut rates = Vec::new();
        for second in 0..seconds {
            let limits = governor.limits();
            rates.push(limits.constraints.frame_rate);
            let now = from + Duration::from_secs(second);
            for frame in 0..limits.constraints.frame_rate {
                let at = now + limits.constraints.frame_interval() * frame;
                governor.encoded(at, pixels_cost(limits, ns_per_pixel));
            }
            let done = decoded(limits);
            governor.decoded(now + Duration::from_millis(999), done, 30 - done);
        }
        rates
    }

    #[test]
    fn encoding_makes_room_when_decoding_falls_behind() {
        let start = Instant::now();
        let mut governor = Governor::new(VideoConstraints::default());
        let rates = run_decoding(&mut governor, start, 120, 15, |limits| {
            if limits.constraints.frame_rate > 20 {
                20
            } else {
                30
            }
        });
        assert_eq!(rates.iter().min(), Some(&20));
        let enough = rates.iter().filter(|rate| **rate == 20).count();
        assert!(enough > 80, "{enough} of 120 s, the rest tries for more");
        let later = start + Duration::from_secs(120);
        run_decoding(&mut governor, later, 300, 15, |_| 30);
        assert_eq!(
            governor.limits(),
            Governor::new(VideoConstraints::default()).limits()
        );
    }

    #[test]
    fn nothing_is_given_up_where_decoding_would_gain_little() {
        let start = Instant::now();
        let mut governor = Governor::new(VideoConstraints::default());
        run(&mut governor, start, 20, |limits| pixels_cost(limits, 60));
        let later = start + Duration::from_secs(20);
        let rates = run_decoding(&mut governor, later, 120, 8, |_| 10);
        assert_ne!(rates.first(), Some(&30));
        assert_eq!(
            governor.limits(),
            Governor::new(VideoConstraints::default()).limits()
        );
    }

    #[test]
    fn nothing_is_taken_back_while_decoding_is_behind() {
        let mut governor = Governor::new(VideoConstraints::default());
        let rates = run_decoding(&mut governor, Instant::now(), 120, 15, |_| 10);
        // 28 % of the time at 20 frames a second.
        let mut rest = rates.iter().skip_while(|rate| **rate == 30);
        assert!(rest.all(|rate| *rate == 20), "{rates:?}");
        assert_eq!(rates.last(), Some(&20));
    }

    #[test]
    fn a_frame_given_up_now_and_then_changes_nothing() {
        let mut governor = Governor::new(VideoConstraints::default());
        run_decoding(&mut governor, Instant::now(), 60, 15, |_| 28);
        assert_eq!(
            governor.limits(),
            Governor::new(VideoConstraints::default()).limits()
        );
    }

    #[test]
    fn nonsense_does_no_harm() {
        let now = Instant::now();
        let mut governor = Governor::new("16x16@1".parse().expect("valid"));
        for second in 0..100 {
            let at = now + Duration::from_secs(second);
            governor.encoded(at, Duration::MAX);
            governor.left_out(now);
            governor.decoded(at, u32::MAX, u32::MAX);
        }
        assert_eq!(
            governor.limits().constraints.resolution,
            Resolution::new(16, 16)
        );
    }
}
