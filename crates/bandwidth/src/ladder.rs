//! From bitrate to size and frames per second, as a person would choose.
//!
//! A camera picture gives up size before it gives up motion (W3C mst-content-hint,
//! `degradationPreference` `balanced`): at 30 frames per second down to 42 kbit/s, and only below
//! that slower. A shared screen keeps its size and gives up motion (`maintain-resolution`), since
//! nobody can read half a letter.

use std::time::{Duration, Instant};

use ahoy_media::units::{Bitrate, Resolution, VideoConstraints};

/// What gives way when there are too few bits (W3C mst-content-hint section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DegradationPreference {
    /// Size first, and frames per second when little is left: for a camera.
    #[default]
    Balanced,
    /// Frames per second only: for a screen.
    MaintainResolution,
}

/// Width, height, frames per second, and the bitrate of the encoder, in kbit/s, from which on
/// this is better than the rung before. It falls from 0.1 to 0.05 bit per pixel:
/// large pictures compress better. The sizes are those of libwebrtc's simulcast table, with a
/// smaller one below.
const RUNGS: [(u32, u32, u32, u64); 10] = [
    (160, 90, 7, 0),
    (160, 90, 15, 32),
    (160, 90, 30, 42),
    (240, 136, 30, 75),
    (320, 180, 30, 120),
    (480, 270, 30, 300),
    (640, 360, 30, 500),
    (960, 540, 30, 900),
    (1280, 720, 30, 1400),
    (1920, 1080, 30, 2900),
];
/// Frames per second of a screen by bit per pixel of one frame.
const SCREEN_RATES: [u32; 6] = [30, 15, 10, 7, 5, 2];
const SCREEN_BITS_PER_PIXEL: f64 = 0.06;
/// Down when the bitrate falls below this share of what the rung wants.
const DOWN: f64 = 0.85;
/// Up when the bitrate has sufficed for this long; longer when going up has failed before, since
/// each change costs a key frame.
const UP_AFTER: Duration = Duration::from_millis(600);
const MAX_UP_AFTER: Duration = Duration::from_secs(20);
/// Down again this soon after going up: that was a mistake.
const MISTAKE: Duration = Duration::from_secs(8);
/// A fall by so many rungs ends one below the suited one.
const DEEP: usize = 3;
/// The way up is free again after this long without one.
const FORGIVEN: Duration = Duration::from_secs(30);
/// Sizes are multiples of this: chroma has half of it.
const STEP: u32 = 2;

/// Chooses a rung, with hysteresis.
#[derive(Debug)]
pub struct Ladder {
    preference: DegradationPreference,
    ceiling: VideoConstraints,
    rungs: Vec<Rung>,
    current: usize,
    /// Since when the bitrate suffices for more.
    enough_since: Option<Instant>,
    up_after: Duration,
    went_up_at: Option<Instant>,
    mistake_at: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Rung {
    constraints: VideoConstraints,
    /// Bit/s.
    from: f64,
}

impl Ladder {
    /// `ceiling` is what the user chose; `bitrate` the encoder's target to begin with.
    pub fn new(
        preference: DegradationPreference,
        ceiling: VideoConstraints,
        bitrate: Bitrate,
    ) -> Self {
        let rungs = rungs(preference, ceiling);
        let mut ladder = Self {
            preference,
            ceiling,
            rungs,
            current: 0,
            enough_since: None,
            up_after: UP_AFTER,
            went_up_at: None,
            mistake_at: None,
        };
        ladder.current = ladder.suited(bitrate.bps() as f64);
        ladder
    }

    /// The ceiling from now on: what the user chose, or the [`crate::governor`] allows.
    pub fn set_ceiling(&mut self, ceiling: VideoConstraints) {
        if ceiling == self.ceiling {
            return;
        }
        let wanted = self.rungs.get(self.current).map_or(0.0, |rung| rung.from);
        self.ceiling = ceiling;
        self.rungs = rungs(self.preference, ceiling);
        self.current = self.suited(wanted);
        self.enough_since = None;
    }

    /// The size and rate for this bitrate of the encoder.
    pub fn update(&mut self, now: Instant, bitrate: Bitrate) -> VideoConstraints {
        let bitrate = bitrate.bps() as f64;
        let suited = self.suited(bitrate);
        let least = self.rungs.get(self.current).map_or(0.0, |rung| rung.from);
        if suited < self.current {
            self.enough_since = None;
            if bitrate < least * DOWN {
                self.go_down(now, suited);
            }
        } else if suited > self.current {
            let since = *self.enough_since.get_or_insert(now);
            if now.saturating_duration_since(since) >= self.up_after {
                self.go_up(now, suited);
            }
        } else {
            self.enough_since = None;
        }
        self.forgive(now);
        self.constraints()
    }

    /// The present size and rate.
    pub fn constraints(&self) -> VideoConstraints {
        self.rungs
            .get(self.current)
            .map_or(self.ceiling, |rung| rung.constraints)
    }

    fn suited(&self, bitrate: f64) -> usize {
        let enough = self.rungs.iter().rposition(|rung| rung.from <= bitrate);
        enough.unwrap_or(0)
    }

    fn go_down(&mut self, now: Instant, to: usize) {
        let hasty = |at: Instant| now.saturating_duration_since(at) < MISTAKE;
        if self.went_up_at.take().is_some_and(hasty) {
            self.up_after = (self.up_after * 2).min(MAX_UP_AFTER);
            self.mistake_at = Some(now);
        }
        // After such a fall the queue is full: a smaller key frame is through sooner.
        let is_camera = self.preference == DegradationPreference::Balanced;
        let deep = is_camera && self.current.saturating_sub(to) >= DEEP;
        self.current = to.saturating_sub(usize::from(deep));
    }

    fn go_up(&mut self, now: Instant, to: usize) {
        self.current = to;
        self.went_up_at = Some(now);
        self.enough_since = None;
    }

    fn forgive(&mut self, now: Instant) {
        let long_ago = |at: Instant| now.saturating_duration_since(at) > FORGIVEN;
        if self.mistake_at.is_some_and(long_ago) {
            self.mistake_at = None;
            self.up_after = UP_AFTER;
        }
    }
}

fn rungs(preference: DegradationPreference, ceiling: VideoConstraints) -> Vec<Rung> {
    match preference {
        DegradationPreference::Balanced => balanced(ceiling),
        DegradationPreference::MaintainResolution => maintain_resolution(ceiling),
    }
}

/// The rungs below the ceiling, and the ceiling itself as the last one.
fn balanced(ceiling: VideoConstraints) -> Vec<Rung> {
    let mut rungs: Vec<Rung> = Vec::with_capacity(RUNGS.len() + 1);
    for (width, height, frame_rate, kbps) in RUNGS {
        let resolution = within(Resolution::new(width, height), ceiling.resolution);
        let rate = frame_rate.min(ceiling.frame_rate.max(1));
        let constraints = VideoConstraints {
            resolution,
            frame_rate: rate,
        };
        let from = kbps as f64 * 1000.0 * rate_cost(rate, frame_rate);
        let known = rungs.iter().any(|rung| rung.constraints == constraints);
        if !known && resolution.pixels() < ceiling.resolution.pixels() {
            rungs.push(Rung { constraints, from });
        }
    }
    let from = rungs.last().map_or(0.0, |last| {
        let own = ceiling_from(ceiling);
        own.max(last.from * 1.2)
    });
    rungs.push(Rung {
        constraints: ceiling,
        from,
    });
    rungs
}

/// What the ceiling wants, between the rungs around it by number of pixels.
fn ceiling_from(ceiling: VideoConstraints) -> f64 {
    let pixels = ceiling.resolution.pixels() as f64;
    let mut from = 0.0;
    let mut below = (1.0, 0.0);
    for (width, height, frame_rate, kbps) in RUNGS {
        let at = (f64::from(width * height), kbps as f64 * 1000.0);
        from = if pixels >= at.0 {
            at.1 * (pixels / at.0).powf(0.8)
        } else {
            let share = ((pixels - below.0) / (at.0 - below.0)).clamp(0.0, 1.0);
            return (below.1 + share * (at.1 - below.1)) * rate_cost(ceiling.frame_rate, 30);
        };
        from *= rate_cost(ceiling.frame_rate, frame_rate);
        below = at;
    }
    from
}

/// Frames further apart differ more: half the frames take three quarters of the bits.
fn rate_cost(rate: u32, of: u32) -> f64 {
    (f64::from(rate.max(1)) / f64::from(of.max(1)))
        .min(1.0)
        .powf(0.4)
}

fn maintain_resolution(ceiling: VideoConstraints) -> Vec<Rung> {
    let pixels = ceiling.resolution.pixels() as f64;
    let mut rates: Vec<u32> = SCREEN_RATES
        .into_iter()
        .filter(|rate| *rate < ceiling.frame_rate)
        .collect();
    rates.insert(0, ceiling.frame_rate.max(1));
    let rungs = rates
        .into_iter()
        .rev()
        .enumerate()
        .map(|(index, frame_rate)| {
            let from = pixels * SCREEN_BITS_PER_PIXEL * f64::from(frame_rate);
            Rung {
                constraints: VideoConstraints {
                    frame_rate,
                    ..ceiling
                },
                from: if index == 0 { 0.0 } else { from },
            }
        });
    rungs.collect()
}

/// The rung in the shape of the ceiling: no larger in area, no side longer than allowed.
fn within(rung: Resolution, ceiling: Resolution) -> Resolution {
    let area = rung.pixels() as f64 / ceiling.pixels().max(1) as f64;
    if area >= 1.0 {
        return ceiling;
    }
    let scale = area.sqrt();
    let side = |side: u32| {
        let scaled = (f64::from(side) * scale / f64::from(STEP)).round() as u32 * STEP;
        scaled.clamp(16.min(side), side.max(1))
    };
    Resolution::new(side(ceiling.width), side(ceiling.height))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ceiling: &str, kbps: u64) -> String {
        let ceiling = ceiling.parse().expect("valid");
        let bitrate = Bitrate::from_kbps(kbps);
        Ladder::new(DegradationPreference::Balanced, ceiling, bitrate)
            .constraints()
            .to_string()
    }

    #[test]
    fn bits_become_size_before_motion() {
        let expected = [
            (30, "160x90@7"),
            (35, "160x90@15"),
            (50, "160x90@30"),
            (80, "240x136@30"),
            (120, "320x180@30"),
            (200, "320x180@30"),
            (400, "480x270@30"),
            (700, "640x360@30"),
            (1000, "960x540@30"),
            (2000, "1280x720@30"),
            (4500, "1920x1080@30"),
        ];
        for (kbps, rung) in expected {
            assert_eq!(at("1920x1080@30", kbps), rung, "{kbps}");
        }
    }

    #[test]
    fn the_ceiling_holds_and_shapes_the_rungs() {
        assert_eq!(at("1280x720@30", 9000), "1280x720@30");
        assert_eq!(at("640x480@15", 9000), "640x480@15");
        assert_eq!(at("640x480@15", 300), "416x312@15");
        assert_eq!(at("720x1280@30", 200), "180x320@30");
        assert_eq!(at("16x16@1", 9000), "16x16@1");
        assert_eq!(at("100x100@60", 9000), "100x100@60");
    }

    #[test]
    fn goes_down_at_once_and_up_after_a_while() {
        let start = Instant::now();
        let ms = |ms: u64| start + Duration::from_millis(ms);
        let ceiling = VideoConstraints::default();
        let high = Bitrate::from_kbps(2000);
        let mut ladder = Ladder::new(DegradationPreference::Balanced, ceiling, high);
        // Within the hysteresis nothing changes.
        assert_eq!(ladder.update(ms(0), Bitrate::from_kbps(1250)), ceiling);
        let low = ladder.update(ms(10), Bitrate::from_kbps(400));
        // One rung below the suited one: the key frame has to get through a full queue.
        assert_eq!(low.to_string(), "320x180@30");
        assert_eq!(ladder.update(ms(500), high), low);
        assert_eq!(ladder.update(ms(1000), high), low);
        assert_eq!(ladder.update(ms(1100), high), ceiling);
        // A mistake: the next time it takes twice as long.
        assert_eq!(ladder.update(ms(1200), Bitrate::from_kbps(400)), low);
        assert_eq!(ladder.update(ms(1300), high), low);
        assert_eq!(ladder.update(ms(2200), high), low);
        assert_eq!(ladder.update(ms(2500), high), ceiling);
    }

    #[test]
    fn a_screen_keeps_its_size() {
        let ceiling: VideoConstraints = "1920x1080@30".parse().expect("valid");
        let preference = DegradationPreference::MaintainResolution;
        for (kbps, rate) in [(100, 2), (700, 5), (1300, 10), (4000, 30)] {
            let ladder = Ladder::new(preference, ceiling, Bitrate::from_kbps(kbps));
            assert_eq!(ladder.constraints().resolution, ceiling.resolution);
            assert_eq!(ladder.constraints().frame_rate, rate, "{kbps}");
        }
    }
}
