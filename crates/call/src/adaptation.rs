//! What the encoder is asked for: size, frames per second, bitrate and effort, from what the paths
//! carry and what the computer can do. Pure.
//!
//! One encoder serves everybody, so the slowest path decides. Sound is fed before the picture.

use std::time::Instant;

use ahoy_bandwidth::allocation::{allocate, ceiling, needed};
use ahoy_bandwidth::governor::{Governor, Limits};
use ahoy_bandwidth::ladder::{DegradationPreference, Ladder};
use ahoy_media::frame::DecodeCounts;
use ahoy_media::units::{Bitrate, VideoConstraints};
use ahoy_video::send::{VideoEncoding, VideoSendStats};
use serde::{Deserialize, Serialize};

use crate::transport::PathEstimate;

/// So many times what the picture takes is looked for: what a path carries beyond it lets a frame
/// leave at once instead of over the time until the next.
const HEADROOM: f64 = 2.5;

/// What keeps the picture below what the user wants (`RTCQualityLimitationReason` of
/// webrtc-stats).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "specta", derive(specta::Type))]
#[serde(rename_all = "camelCase")]
pub enum QualityLimitationReason {
    /// Nothing.
    #[default]
    None,
    /// This computer.
    Cpu,
    /// A path.
    Bandwidth,
}

/// What a decision is made from.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// What the user wants.
    pub wanted: VideoConstraints,
    /// What the sound to one participant takes on the wire.
    pub sound: Bitrate,
    /// The paths to everybody who is connected.
    pub paths: &'a [PathEstimate],
    /// The encoder's counters.
    pub encoder: VideoSendStats,
    /// Those of all decoders on this computer.
    pub decoders: DecodeCounts,
}

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// For the encoder.
    pub encoding: VideoEncoding,
    /// More than this would not be sent to anybody, headers included.
    pub needed: Bitrate,
    /// Why it is not all that the user wants.
    pub limitation: QualityLimitationReason,
}

/// Decides, with memory of what was tried.
#[derive(Debug, Default)]
pub struct Adaptation {
    /// `None` while nobody is connected.
    ladder: Option<Ladder>,
    governor: Option<Governor>,
    seen: VideoSendStats,
    decoders_seen: DecodeCounts,
}

impl Adaptation {
    /// To be called some tens of times per second.
    pub fn update(&mut self, now: Instant, situation: &Situation<'_>) -> Decision {
        let Situation {
            wanted,
            sound,
            paths,
            ..
        } = *situation;
        let limits = self.govern(now, situation);
        let most = ceiling(limits.constraints);
        let Some(path) = slowest(paths) else {
            // Only the self-view looks.
            self.ladder = None;
            return Decision {
                encoding: VideoEncoding {
                    constraints: limits.constraints,
                    bitrate: most,
                    cpu_used: limits.cpu_used,
                },
                needed: with_headroom(needed(wanted, 0.0)),
                limitation: limitation(wanted, limits.constraints, limits.constraints),
            };
        };
        let share = |target, rate| allocate(target, sound, rate, path.sent_again);
        let lasting = share(path.lasting, wanted.frame_rate).min(most);
        let preference = DegradationPreference::Balanced;
        let ladder = self
            .ladder
            .get_or_insert_with(|| Ladder::new(preference, limits.constraints, lasting));
        ladder.set_ceiling(limits.constraints);
        let constraints = ladder.update(now, lasting);
        let video = share(path.target, constraints.frame_rate);
        Decision {
            encoding: VideoEncoding {
                constraints,
                bitrate: video.min(most),
                cpu_used: limits.cpu_used,
            },
            needed: with_headroom(needed(limits.constraints, path.sent_again)),
            limitation: limitation(wanted, limits.constraints, constraints),
        }
    }

    /// Tells the governor what the encoder and the decoders have done since the last time.
    fn govern(&mut self, now: Instant, situation: &Situation<'_>) -> Limits {
        let Situation {
            wanted,
            encoder: stats,
            decoders,
            ..
        } = *situation;
        let governor = self.governor.get_or_insert_with(|| Governor::new(wanted));
        governor.set_wanted(wanted);
        let since = |count: fn(&VideoSendStats) -> u64| {
            count(&stats).saturating_sub(count(&self.seen)).min(1000)
        };
        let frames = since(|stats| stats.frames_encoded + stats.frames_dropped);
        let left_out = since(|stats| stats.frames_replaced);
        let spent = stats.total_encode_time;
        let busy = spent.saturating_sub(self.seen.total_encode_time);
        self.seen = stats;
        for _ in 0..frames {
            governor.encoded(now, busy / frames as u32);
        }
        for _ in 0..left_out {
            governor.left_out(now);
        }
        // Fewer than before: a decoder has gone.
        let grown = |now: u64, before: u64| now.saturating_sub(before).min(1000) as u32;
        let seen = std::mem::replace(&mut self.decoders_seen, decoders);
        governor.decoded(
            now,
            grown(decoders.frames, seen.frames),
            grown(decoders.given_up, seen.given_up),
        )
    }
}

fn with_headroom(needed: Bitrate) -> Bitrate {
    Bitrate::from_bps((needed.bps() as f64 * HEADROOM) as u64)
}

/// The least of everything, from whichever path.
fn slowest(paths: &[PathEstimate]) -> Option<PathEstimate> {
    paths.iter().copied().reduce(|a, b| PathEstimate {
        target: a.target.min(b.target),
        lasting: a.lasting.min(b.lasting),
        own_loss: a.own_loss.max(b.own_loss),
        sent_again: a.sent_again.max(b.sent_again),
        ..a
    })
}

fn limitation(
    wanted: VideoConstraints,
    governed: VideoConstraints,
    decided: VideoConstraints,
) -> QualityLimitationReason {
    if decided != governed {
        QualityLimitationReason::Bandwidth
    } else if governed != wanted {
        QualityLimitationReason::Cpu
    } else {
        QualityLimitationReason::None
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn path(kbps: u64) -> PathEstimate {
        PathEstimate {
            target: Bitrate::from_kbps(kbps),
            lasting: Bitrate::from_kbps(kbps),
            own_loss: 0.0,
            sent_again: 0.0,
            loss: 0.0,
            round_trip_time: None,
        }
    }

    fn situation(paths: &[PathEstimate]) -> Situation<'_> {
        Situation {
            wanted: VideoConstraints::default(),
            sound: Bitrate::from_kbps(48),
            paths,
            encoder: VideoSendStats::default(),
            decoders: DecodeCounts::default(),
        }
    }

    #[test]
    fn the_slowest_path_decides_within_floor_and_ceiling() {
        let decide = |kbps: &[u64]| {
            let paths: Vec<_> = kbps.iter().copied().map(path).collect();
            Adaptation::default().update(Instant::now(), &situation(&paths))
        };
        let alone = decide(&[]);
        assert_eq!(alone.encoding.constraints, VideoConstraints::default());
        assert_eq!(alone.limitation, QualityLimitationReason::None);
        let slow = decide(&[1000, 400, 3000]);
        assert!(
            (290..340).contains(&slow.encoding.bitrate.kbps()),
            "{slow:?}"
        );
        assert_eq!(slow.encoding.constraints.to_string(), "480x270@30");
        assert_eq!(slow.limitation, QualityLimitationReason::Bandwidth);
        assert!(decide(&[10]).encoding.bitrate > Bitrate::default());
        let fast = decide(&[50_000]);
        assert_eq!(fast.encoding, alone.encoding);
    }

    #[test]
    fn a_slow_computer_is_spared() {
        let mut adaptation = Adaptation::default();
        let paths = [path(6000)];
        let mut situation = situation(&paths);
        let start = Instant::now();
        let mut last = adaptation.update(start, &situation);
        for step in 1..400 {
            // Each frame takes as long as there is, and every other is left out.
            situation.encoder.frames_encoded += 1;
            situation.encoder.frames_replaced += 1;
            situation.encoder.total_encode_time += Duration::from_millis(60);
            last = adaptation.update(start + Duration::from_millis(66) * step, &situation);
        }
        assert!(last.encoding.constraints.frame_rate < 30, "{last:?}");
        assert_eq!(last.limitation, QualityLimitationReason::Cpu);
    }

    #[test]
    fn a_computer_that_decodes_too_slowly_encodes_less() {
        let mut adaptation = Adaptation::default();
        let paths = [path(6000)];
        let mut situation = situation(&paths);
        let start = Instant::now();
        let mut last = adaptation.update(start, &situation);
        for step in 1..400 {
            situation.encoder.frames_encoded += 2;
            situation.encoder.total_encode_time += Duration::from_millis(30);
            situation.decoders.frames += 1;
            situation.decoders.given_up += 1;
            last = adaptation.update(start + Duration::from_millis(66) * step, &situation);
        }
        assert!(last.encoding.constraints.frame_rate < 30, "{last:?}");
        assert_eq!(last.limitation, QualityLimitationReason::Cpu);
    }
}
