//! The bandwidth estimate of Google Congestion Control, readable from outside the packet chain.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use ahoy_media::units::Bitrate;
use rtc::interceptor::{BandwidthEstimator, EstimatorStats, Gcc, PacketReport};

use super::config::TransportConfig;

/// The latest estimate of what the path carries.
#[derive(Debug)]
pub(super) struct Estimate(AtomicU64);

impl Estimate {
    #[cfg(test)]
    pub(super) fn fixed(bitrate: Bitrate) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(bitrate.bps())))
    }

    pub(super) fn get(&self) -> Bitrate {
        Bitrate::from_bps(self.0.load(Ordering::Relaxed))
    }
}

/// The crate's estimator, publishing after everything that can move its target.
pub(super) struct PublishedGcc {
    gcc: Gcc,
    estimate: Arc<Estimate>,
}

impl PublishedGcc {
    pub(super) fn new(config: &TransportConfig) -> (Self, Arc<Estimate>) {
        let bps = |bitrate: Bitrate| bitrate.bps() as f64;
        let gcc = Gcc::new(
            bps(config.initial_bitrate),
            bps(config.min_bitrate),
            bps(config.max_bitrate),
        );
        let estimate = Arc::new(Estimate(AtomicU64::new(gcc.target_bitrate() as u64)));
        let published = Self {
            gcc,
            estimate: Arc::clone(&estimate),
        };
        (published, estimate)
    }

    fn publish(&self) {
        self.estimate
            .0
            .store(self.gcc.target_bitrate() as u64, Ordering::Relaxed);
    }
}

impl BandwidthEstimator for PublishedGcc {
    fn on_reports(&mut self, now: Instant, reports: &[PacketReport]) {
        self.gcc.on_reports(now, reports);
        self.publish();
    }

    fn target_bitrate(&self) -> f64 {
        self.gcc.target_bitrate()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.gcc.handle_timeout(now);
        self.publish();
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.gcc.poll_timeout()
    }

    fn stats(&self) -> EstimatorStats {
        self.gcc.stats()
    }
}
