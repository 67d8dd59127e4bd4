//! Calls behind the bad networks of `tests/lab/network.mjs`, in virtual time, and what they come to.

use std::time::Duration;

use crate::call::{Call, seconds};
use crate::microphone::Speech;
use crate::sim::{Link, Loss, World};

/// What a call comes to, measured for a minute after [`SETTLING`].
const MEASURED: Duration = seconds(60);
const SETTLING: Duration = seconds(8);
#[derive(Debug, Clone, Copy)]
pub(crate) struct Network {
    pub(crate) name: &'static str,
    pub(crate) delay_ms: u64,
    pub(crate) jitter_ms: u64,
    pub(crate) loss: f64,
    pub(crate) burst: f64,
    pub(crate) kbps: Option<u32>,
    pub(crate) queue_ms: u64,
    pub(crate) speech: Speech,
}

pub(crate) const CLEAN: Network = Network {
    name: "clean",
    delay_ms: 20,
    jitter_ms: 0,
    loss: 0.0,
    burst: 1.0,
    kbps: None,
    queue_ms: 300,
    speech: Speech::Constant,
};
pub(crate) const MODERATE: Network = Network {
    name: "moderate",
    delay_ms: 100,
    jitter_ms: 25,
    loss: 0.05,
    ..CLEAN
};
pub(crate) const INTERNATIONAL: Network = Network {
    name: "international",
    delay_ms: 250,
    jitter_ms: 100,
    loss: 0.03,
    burst: 3.0,
    kbps: Some(300),
    queue_ms: 500,
    speech: Speech::Constant,
};
pub(crate) const NETWORKS: [Network; 13] = [
    CLEAN,
    MODERATE,
    INTERNATIONAL,
    Network {
        name: "jitter",
        loss: 0.0,
        ..MODERATE
    },
    Network {
        name: "jitter2000",
        kbps: Some(2000),
        ..MODERATE
    },
    Network {
        name: "long5",
        jitter_ms: 0,
        ..MODERATE
    },
    Network {
        name: "loss10",
        delay_ms: 1,
        loss: 0.1,
        ..CLEAN
    },
    Network {
        name: "burst20",
        delay_ms: 1,
        loss: 0.2,
        burst: 3.0,
        ..CLEAN
    },
    Network {
        name: "bw500",
        kbps: Some(500),
        ..CLEAN
    },
    Network {
        name: "bw150",
        kbps: Some(150),
        ..CLEAN
    },
    Network {
        name: "international, pulses",
        speech: Speech::Pulses,
        ..INTERNATIONAL
    },
    Network {
        name: "bw500, pulses",
        kbps: Some(500),
        speech: Speech::Pulses,
        ..CLEAN
    },
    Network {
        name: "bw150, pulses",
        kbps: Some(150),
        speech: Speech::Pulses,
        ..CLEAN
    },
];

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Figures {
    pub(crate) frame_rate: f64,
    pub(crate) frozen: f64,
    pub(crate) longest_gap_ms: f64,
    pub(crate) delay_p50_ms: f64,
    pub(crate) delay_p95_ms: f64,
    pub(crate) kbps: f64,
    /// Lines of the picture on average.
    pub(crate) lines: f64,
    /// What the path was thought to carry.
    pub(crate) estimate_kbps: f64,
    /// What was set aside for the sound.
    pub(crate) sound_kbps: f64,
    pub(crate) key_frames_asked: f64,
    pub(crate) twice: f64,
}

pub(crate) fn measure(network: Network, seed: u64) -> Figures {
    let world = World::new(
        Link::with_delay(Duration::from_millis(network.delay_ms)),
        seed,
    );
    world.clone().run(async move {
        let mut call = Call::connect(&world).await;
        call.set_speech(network.speech);
        world.set_link(|link| {
            link.bits_per_second = network.kbps.map(|kbps| f64::from(kbps) * 1000.0);
            link.queue = Duration::from_millis(network.queue_ms);
            link.jitter = Duration::from_millis(network.jitter_ms);
            link.loss = Loss {
                share: network.loss,
                burst: network.burst,
            };
        });
        let from = world.elapsed() + SETTLING;
        let to = from + MEASURED;
        call.go(to).await;
        let screen = &call.screen;
        let delays = screen.delays(from, to);
        let at = |share: f64| {
            let index = (delays.len() as f64 * share) as usize;
            delays
                .get(index)
                .map_or(0.0, |delay| 1000.0 * delay.as_secs_f64())
        };
        Figures {
            frame_rate: screen.frames(from, to) as f64 / MEASURED.as_secs_f64(),
            frozen: screen.frozen(from, to),
            longest_gap_ms: 1000.0 * screen.longest_gap(from, to).as_secs_f64(),
            delay_p50_ms: at(0.5),
            delay_p95_ms: at(0.95),
            kbps: screen.rate(from, to) / 1000.0,
            lines: call.mean((from, to), |it| f64::from(it.lines)),
            estimate_kbps: call.mean((from, to), |it| it.path.lasting.bps() as f64 / 1000.0),
            sound_kbps: call.mean((from, to), |it| it.sound.bps() as f64 / 1000.0),
            twice: call.mean((from, to), |it| it.path.sent_again),
            key_frames_asked: screen.key_frames_asked as f64,
        }
    })
}
