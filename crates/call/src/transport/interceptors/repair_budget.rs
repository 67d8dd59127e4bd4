//! Keeps repairs from crowding out what they repair.
//!
//! When a path fills up, much is lost and asked for at once. Repairs that are sent on top of the
//! media make the queue longer still. They get a share of what the path carries; what does not
//! fit is not sent, and may be asked for again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rtc::rtp;

use super::{Link, Verdict};
use crate::transport::estimate::Estimate;

/// Share of the estimate that repairs may take: enough for one packet in three lost, repairs of
/// repairs included.
const SHARE: f64 = 0.5;
/// What may be saved up, as time at that share: a burst of losses comes at once.
const SAVED_UP: Duration = Duration::from_millis(250);

pub(in crate::transport) struct RepairBudget {
    rtx_ssrc: u32,
    estimate: Arc<Estimate>,
    bytes: f64,
    updated: Option<Instant>,
}

impl RepairBudget {
    pub(in crate::transport) fn new(rtx_ssrc: u32, estimate: Arc<Estimate>) -> Self {
        Self {
            rtx_ssrc,
            estimate,
            bytes: 0.0,
            updated: None,
        }
    }

    fn refill(&mut self, now: Instant) {
        let bytes_per_second = self.estimate.get().bps() as f64 / 8.0 * SHARE;
        let saved_up = SAVED_UP.as_secs_f64();
        let elapsed = self.updated.map_or(saved_up, |updated| {
            now.saturating_duration_since(updated).as_secs_f64()
        });
        self.updated = Some(now);
        let most = bytes_per_second * saved_up;
        self.bytes = (self.bytes + bytes_per_second * elapsed).min(most);
    }
}

impl Link for RepairBudget {
    fn write_rtp(&mut self, now: Instant, packet: &rtp::Packet) -> Verdict {
        if packet.header.ssrc != self.rtx_ssrc {
            return Verdict::Pass;
        }
        self.refill(now);
        // Into debt by one packet at most, so that a small budget still repairs large packets.
        if self.bytes <= 0.0 {
            return Verdict::Swallow;
        }
        self.bytes -= packet.payload.len() as f64;
        Verdict::Pass
    }
}

#[cfg(test)]
mod tests {
    use ahoy_media::units::Bitrate;

    use super::*;

    fn packet(ssrc: u32) -> rtp::Packet {
        let mut packet = rtp::Packet::default();
        packet.header.ssrc = ssrc;
        packet.payload = vec![0; 1000].into();
        packet
    }

    #[test]
    fn repairs_keep_to_their_share_and_media_is_free() {
        let mut budget = RepairBudget::new(7, Estimate::fixed(Bitrate::from_kbps(800)));
        let start = Instant::now();
        let passed = |budget: &mut RepairBudget, ssrc, at: Instant| {
            let verdicts = (0..100).map(|_| budget.write_rtp(at, &packet(ssrc)));
            verdicts.filter(|verdict| *verdict == Verdict::Pass).count()
        };
        // 800 kbit/s, half of it for a quarter of a second: 12.5 kB.
        assert_eq!(passed(&mut budget, 7, start), 13);
        assert_eq!(passed(&mut budget, 1, start), 100);
        // 100 ms later 5 kB more, less the debt of half a packet.
        assert_eq!(
            passed(&mut budget, 7, start + Duration::from_millis(100)),
            5
        );
        assert_eq!(passed(&mut budget, 7, start + Duration::from_secs(60)), 13);
    }
}
