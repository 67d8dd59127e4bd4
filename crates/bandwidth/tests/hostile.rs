//! Feedback that lies, is absent, or makes no sense; packets and clocks likewise.

use std::time::{Duration, Instant};

use ahoy_bandwidth::allocation::allocate;
use ahoy_bandwidth::estimator::{Estimator, EstimatorConfig};
use ahoy_bandwidth::ladder::{DegradationPreference, Ladder};
use ahoy_bandwidth::pacer::{Pacer, Priority, Release};
use ahoy_media::units::{Bitrate, VideoConstraints};
use proptest::prelude::*;

/// Sends at the target for `ms`, packets of 1000 bytes, and calls `feedback` every 50 ms with the
/// numbers sent since.
fn send(
    estimator: &mut Estimator,
    ms: u64,
    mut feedback: impl FnMut(&mut Estimator, Instant, Vec<(u16, Duration)>),
) {
    let start = Instant::now();
    let mut number = 0_u16;
    let mut sent = Vec::new();
    let mut next = Duration::ZERO;
    for at in 0..ms {
        let elapsed = Duration::from_millis(at);
        let now = start + elapsed;
        while next <= elapsed {
            estimator.on_sent(now, number, 1000, None);
            sent.push((number, elapsed));
            number = number.wrapping_add(1);
            let rate = estimator.target_bitrate().bps() as f64;
            next += Duration::from_secs_f64(8000.0 / rate);
        }
        if at % 50 == 49 {
            feedback(estimator, now, std::mem::take(&mut sent));
        }
        estimator.on_timeout(now);
        let _ = estimator.poll_probe(now);
        assert_bounded(estimator);
    }
}

fn assert_bounded(estimator: &Estimator) {
    let config = EstimatorConfig::default();
    let target = estimator.target_bitrate();
    assert!(target >= config.min && target <= config.max, "{target}");
}

#[test]
fn without_feedback_the_rate_falls_to_the_least() {
    let mut estimator = Estimator::new(EstimatorConfig::default());
    send(&mut estimator, 10_000, |_, _, _| {});
    assert_eq!(estimator.target_bitrate(), EstimatorConfig::default().min);
}

#[test]
fn everything_lost_does_not_raise_the_rate() {
    let mut estimator = Estimator::new(EstimatorConfig::default());
    let begin = estimator.target_bitrate();
    send(&mut estimator, 20_000, |estimator, now, sent| {
        estimator.on_feedback(now, sent.iter().map(|(number, _)| (*number, None)));
    });
    assert!(estimator.target_bitrate() <= begin);
}

#[test]
fn everything_at_once_stays_within_the_most() {
    let mut estimator = Estimator::new(EstimatorConfig::default());
    send(&mut estimator, 60_000, |estimator, now, sent| {
        let statuses = sent
            .iter()
            .map(|(number, _)| (*number, Some(Duration::ZERO)));
        estimator.on_feedback(now, statuses);
    });
}

#[test]
fn clocks_that_run_backwards_do_no_harm() {
    let mut estimator = Estimator::new(EstimatorConfig::default());
    send(&mut estimator, 20_000, |estimator, now, sent| {
        let statuses = sent
            .iter()
            .map(|(number, at)| (*number, Some(Duration::from_secs(1000).saturating_sub(*at))));
        estimator.on_feedback(now, statuses);
    });
}

#[test]
fn comes_back_when_the_feedback_does() {
    let mut estimator = Estimator::new(EstimatorConfig::default());
    let mut before = Bitrate::ZERO;
    let mut low = Bitrate::ZERO;
    let mut messages = 0;
    send(&mut estimator, 30_000, |estimator, now, sent| {
        messages += 1;
        match messages {
            0..200 => before = estimator.target_bitrate(),
            200..300 => {
                low = estimator.target_bitrate();
                return;
            }
            _ => {}
        }
        let arrival = Duration::from_millis(30);
        estimator.on_feedback(
            now,
            sent.iter()
                .map(|(number, at)| (*number, Some(*at + arrival))),
        );
    });
    assert!(low.bps() < before.bps() / 2, "{before} {low}");
    assert!(estimator.target_bitrate().bps() > low.bps() * 3 / 2);
}

proptest! {
    /// Whatever is reported, nothing panics and the bounds hold.
    #[test]
    fn any_feedback_is_survived(
        steps in proptest::collection::vec((0_u64..400, any::<u16>(), 0_usize..70_000, 0_u64..1 << 40, 0_u8..4), 1..400)
    ) {
        let mut estimator = Estimator::new(EstimatorConfig::default());
        let mut now = Instant::now();
        for (ms, number, size, arrival, what) in steps {
            now += Duration::from_millis(ms);
            match what {
                0 => estimator.on_sent(now, number, size, None),
                1 => estimator.on_feedback(now, [(number, None)]),
                2 => estimator.on_feedback(
                    now,
                    (0..20).map(|index: u16| (number.wrapping_add(index), Some(Duration::from_micros(arrival)))),
                ),
                _ => estimator.on_timeout(now),
            }
            if let Some(cluster) = estimator.poll_probe(now) {
                prop_assert!(cluster.rate <= Bitrate::from_kbps(6300));
                estimator.on_sent(now, number, size, Some(cluster.id));
            }
            let _ = (estimator.poll_timeout(), estimator.pacing_rate(), estimator.stats());
            assert_bounded(&estimator);
        }
    }

    /// Sound never waits, the order within a priority is kept, and no burst is longer than 5 ms.
    #[test]
    fn the_pacer_keeps_its_promises(
        rate in 50_000_u64..6_000_000,
        packets in proptest::collection::vec((0_u64..30, 0_u8..3, 60_usize..1300), 1..200)
    ) {
        let start = Instant::now();
        let mut now = start;
        let mut pacer = Pacer::new(Bitrate::from_bps(rate));
        let mut arriving = packets.into_iter().enumerate().peekable();
        let mut due = start;
        let mut released: Vec<(Instant, usize, u8, usize)> = Vec::new();
        loop {
            while let Some((index, (gap, priority, bytes))) = arriving.next_if(|_| due <= now) {
                let kind = [Priority::Audio, Priority::Repair, Priority::Video][usize::from(priority)];
                prop_assert!(pacer.enqueue(kind, (index, priority, bytes), bytes, false));
                if kind == Priority::Audio {
                    let Some(Release::Packet { packet, .. }) = pacer.poll(now) else {
                        panic!("sound waits");
                    };
                    prop_assert_eq!(packet.0, index);
                }
                due += Duration::from_millis(gap);
            }
            while let Some(Release::Packet { packet: (index, priority, bytes), .. }) = pacer.poll(now) {
                released.push((now, index, priority, bytes));
            }
            let next = pacer.next_send_time(now);
            prop_assert!(next.is_none_or(|at| at > now));
            let Some(at) = next.into_iter().chain(arriving.peek().map(|_| due)).min() else {
                break;
            };
            now = at.max(now + Duration::from_micros(1));
        }
        for (first, (begin, ..)) in released.iter().enumerate() {
            let burst = released[first..].iter().take_while(|(at, ..)| at == begin);
            let sizes: Vec<_> = burst.map(|(.., bytes)| *bytes).collect();
            let bits = sizes.iter().sum::<usize>() as f64 * 8.0;
            prop_assert!(sizes.len() == 1 || bits / rate as f64 <= 0.005 + 1e-6, "{sizes:?}");
        }
        for priority in [1, 2] {
            let order: Vec<_> = released.iter().filter(|(_, _, kind, _)| *kind == priority).map(|(_, index, ..)| *index).collect();
            prop_assert!(order.is_sorted());
        }
    }

    /// Any bitrate and any ceiling give a picture within the ceiling.
    #[test]
    fn the_ladder_stays_below_the_ceiling(
        width in 1_u32..5000, height in 1_u32..5000, frame_rate in 0_u32..120,
        rates in proptest::collection::vec(0_u64..100_000_000, 1..50)
    ) {
        let ceiling = VideoConstraints { resolution: ahoy_media::units::Resolution::new(width, height), frame_rate };
        let mut now = Instant::now();
        for preference in [DegradationPreference::Balanced, DegradationPreference::MaintainResolution] {
            let mut ladder = Ladder::new(preference, ceiling, Bitrate::from_bps(rates[0]));
            for rate in &rates {
                now += Duration::from_millis(300);
                let sound = Bitrate::from_kbps(50);
                let video = allocate(Bitrate::from_bps(*rate), sound, frame_rate, 0.0);
                let constraints = ladder.update(now, video);
                prop_assert!(constraints.resolution.width <= width && constraints.resolution.height <= height);
                prop_assert!(constraints.frame_rate <= frame_rate.max(1));
                prop_assert!(constraints.resolution.pixels() > 0);
            }
        }
    }
}
