//! How fast what is sent arrives: the acknowledged bitrate.

use std::collections::VecDeque;
use std::time::Duration;

/// How far back arrivals are remembered.
const KEPT: Duration = Duration::from_millis(1000);
/// Packets that are remembered at most, whatever the reported times.
const MAX_PACKETS: usize = 4096;
/// Over less time than this a rate would be the luck of a packet or two.
const MIN_SPAN: Duration = Duration::from_millis(50);

#[derive(Debug, Default)]
pub(super) struct Delivered {
    /// Time of arrival on the receiver's clock, size.
    packets: VecDeque<(Duration, usize)>,
}

impl Delivered {
    pub(super) fn arrived(&mut self, arrival: Duration, size: usize) {
        // Reordered packets count for the newest time; only the sum over the window matters.
        let newest = self.packets.back().map_or(arrival, |(at, _)| *at);
        self.push(arrival.max(newest), size);
    }

    /// A packet was lost of which so many bytes do not matter: the path would have carried them.
    pub(super) fn lost(&mut self, size: usize) {
        let newest = self.packets.back().map(|(at, _)| *at);
        if let Some(newest) = newest.filter(|_| size > 0) {
            self.push(newest, size);
        }
    }

    pub(super) fn reset(&mut self) {
        self.packets.clear();
    }

    fn push(&mut self, newest: Duration, size: usize) {
        self.packets.push_back((newest, size));
        while let Some((at, _)) = self.packets.front() {
            if newest.saturating_sub(*at) <= KEPT && self.packets.len() <= MAX_PACKETS {
                break;
            }
            self.packets.pop_front();
        }
    }

    /// Bits per second over the last `window`, at most [`KEPT`]. `None` while there is too little
    /// to tell.
    pub(super) fn rate(&self, window: Duration) -> Option<f64> {
        let (last, _) = *self.packets.back()?;
        let begin = last.saturating_sub(window);
        let mut inside = self.packets.iter().rev().take_while(|(at, _)| *at >= begin);
        // The last packet's bytes took the time before it, the first one's are of before.
        let mut bytes = 0;
        let mut first = last;
        let mut first_size = 0;
        for (at, size) in &mut inside {
            bytes += size;
            first = *at;
            first_size = *size;
        }
        let span = last.saturating_sub(first);
        (span >= MIN_SPAN.min(window / 2))
            .then(|| (bytes - first_size) as f64 * 8.0 / span.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_bounded_when_nothing_but_losses_is_reported() {
        let mut delivered = Delivered::default();
        delivered.arrived(Duration::ZERO, 1000);
        for _ in 0..2 * MAX_PACKETS {
            delivered.lost(1000);
        }
        assert!(delivered.packets.len() <= MAX_PACKETS);
    }

    #[test]
    fn measures_over_the_window_that_is_asked_for() {
        let mut delivered = Delivered::default();
        assert_eq!(delivered.rate(Duration::from_millis(500)), None);
        let ms = Duration::from_millis;
        // 1 Mbit/s for a second, then half of it.
        for index in 0..125_u64 {
            delivered.arrived(ms(index * 8), 1000);
        }
        let full = delivered.rate(ms(500)).expect("enough");
        assert!((full - 1e6).abs() < 1e4, "{full}");
        for index in 0..20_u64 {
            delivered.arrived(ms(1000 + index * 16), 1000);
        }
        let half = delivered.rate(ms(200)).expect("enough");
        assert!((half - 5e5).abs() < 1e4, "{half}");
        assert!(delivered.rate(ms(1000)).expect("enough") > 6e5);
    }
}
