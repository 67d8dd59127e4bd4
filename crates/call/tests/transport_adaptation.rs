//! The whole way of a picture but for camera and codec, on a virtual network in virtual time: what
//! the encoder is asked for, pacing, loss, repair, the jitter buffer, and when each frame is shown.

#[allow(dead_code, reason = "each test file uses a part")]
#[path = "transport_support/call.rs"]
mod call;
#[allow(dead_code, reason = "each file uses a part")]
#[path = "transport_support/microphone.rs"]
mod microphone;
#[allow(dead_code, reason = "each test file uses a part")]
#[path = "transport_support/sim.rs"]
mod sim;
mod transport_support;

use std::time::Duration;

use call::{Call, link, seconds};
use sim::{Stalls, World};

#[test]
fn sharp_within_three_seconds_and_alive_through_a_drop() {
    let world = World::new(link(25, 4e6), 21);
    world.clone().run(async move {
        let mut call = Call::connect(&world).await;
        let start = world.elapsed();
        call.go(start + seconds(3)).await;
        eprintln!("after 3 s: {} kbit/s, {} lines", call.kbps(), call.lines());
        assert!(call.kbps() > 2200 && call.lines() == 720);
        let first = call.screen.shown.first().expect("a frame").at - start;
        eprintln!("first frame after {first:?}");
        assert!(first < Duration::from_millis(150), "{first:?}");

        call.go(start + seconds(15)).await;
        world.set_link(|link| link.bits_per_second = Some(500e3));
        let drop = world.elapsed();
        call.go(drop + seconds(20)).await;
        let gap = call.screen.longest_gap(drop - seconds(1), drop + seconds(20));
        let frames = call.screen.frames(drop + seconds(2), drop + seconds(20));
        eprintln!(
            "4 to 0.5 Mbit/s: longest gap {gap:?}, then {} kbit/s, {} lines, {:.1} frames per second",
            call.kbps(),
            call.lines(),
            frames as f64 / 18.0
        );
        assert!(gap <= Duration::from_millis(500), "{gap:?}");
        assert!((250..480).contains(&call.kbps()), "{}", call.kbps());
        assert!(frames > 18 * 27);

        world.set_link(|link| link.bits_per_second = Some(4e6));
        call.go(drop + seconds(26)).await;
        eprintln!("6 s after it is back: {} kbit/s, {} lines", call.kbps(), call.lines());
        assert!(call.kbps() > 2200 && call.lines() == 720);
    });
}

/// Probes whose packets are held up on their way and come at once would promise anything.
#[test]
fn packets_that_come_at_once_do_not_pass_for_capacity() {
    for seed in 1..=4 {
        let world = World::new(link(20, 4e6), seed);
        world.clone().run(async move {
            let mut call = Call::connect(&world).await;
            world.set_link(|link| {
                link.stalls = Stalls {
                    chance: 0.02,
                    longest: Duration::from_millis(40),
                };
            });
            let start = world.elapsed();
            call.go(start + seconds(15)).await;
            world.set_link(|link| link.bits_per_second = Some(500e3));
            let drop = world.elapsed();
            call.go(drop + seconds(20)).await;
            let low = (drop + seconds(4), drop + seconds(20));
            let most = call.most(low, |it| it.path.lasting.bps() as f64 / 1000.0);
            eprintln!("at most {most:.0} kbit/s on 500");
            assert!(most < 600.0, "{most}");

            world.set_link(|link| link.bits_per_second = Some(4e6));
            call.go(drop + seconds(28)).await;
            assert!(call.kbps() > 2200, "{}", call.kbps());
        });
    }
}

#[test]
fn loss_hardly_shows() {
    let world = World::new(link(25, 4e6), 22);
    world.clone().run(async move {
        let mut call = Call::connect(&world).await;
        let start = world.elapsed();
        call.go(start + seconds(5)).await;
        for (loss, least) in [(0.05, 29.0), (0.10, 28.5), (0.20, 28.0)] {
            world.set_link(|link| link.rtp_loss = loss);
            let from = world.elapsed() + seconds(5);
            let to = from + seconds(20);
            call.go(to).await;
            let rate = call.screen.frames(from, to) as f64 / 20.0;
            let gap = call.screen.longest_gap(from, to);
            let stats = call.b.transport.stats().await.inbound_video.expect("came");
            eprintln!(
                "{loss}: {} kbit/s, {} lines, {rate:.1} frames per second, longest gap {gap:?}, \
                 delay {:.3} s, {} PLI",
                call.kbps(),
                call.lines(),
                call.screen.evening_out(),
                stats.pli_count
            );
            assert!(rate >= least, "{rate}");
        }
    });
}

#[test]
fn a_slow_path_carries_a_small_picture() {
    let world = World::new(link(50, 150e3), 23);
    world.clone().run(async move {
        let mut call = Call::connect(&world).await;
        let start = world.elapsed();
        call.go(start + seconds(30)).await;
        let (from, to) = (start + seconds(10), start + seconds(30));
        let rate = call.screen.frames(from, to) as f64 / 20.0;
        let gap = call.screen.longest_gap(from, to);
        let (kbps, lines) = (call.kbps(), call.lines());
        eprintln!("{kbps} kbit/s, {lines} lines, {rate:.1} frames per second, gap {gap:?}");
        assert!(rate > 25.0 && gap < Duration::from_millis(400));
    });
}
