//! The audio jitter buffer with libopus in it: real packets, real ones that were tampered with,
//! and rubbish.

#![no_main]

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use ahoy_audio::jitter::AudioJitterBuffer;
use ahoy_audio::opus::{
    Content, Encoded, EncoderSettings, FrameLength, OpusEncoder, packet_samples,
};
use ahoy_fuzz::audio::{Step, run};
use ahoy_media::units::Bitrate;
use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
enum Payload<'a> {
    /// One of the [`packets`].
    Real(u8),
    /// The same with some bytes changed, and cut off.
    Tampered {
        which: u8,
        changes: [(u8, u8); 3],
        cut: u8,
    },
    Rubbish(&'a [u8]),
}

/// Packets of all the kinds that we send.
fn packets() -> &'static [Vec<u8>] {
    static PACKETS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    PACKETS.get_or_init(|| {
        let lengths = [FrameLength::Ms20, FrameLength::Ms40, FrameLength::Ms60];
        let mut packets = vec![vec![0xf8]];
        for (content, frame_length) in [Content::Voice, Content::Music]
            .into_iter()
            .flat_map(|content| lengths.map(|length| (content, length)))
        {
            let settings = EncoderSettings {
                bitrate: Bitrate::from_kbps(48),
                expected_loss: 30,
                dred: Duration::from_millis(500),
                frame_length,
                ..EncoderSettings::default()
            };
            let mut encoder = OpusEncoder::new(content, settings).expect("possible settings");
            for number in 0..12 {
                let sound = sound(frame_length.samples(), number);
                if let Ok(Encoded::Packet(packet)) = encoder.encode(&sound) {
                    packets.push(packet.to_vec());
                }
            }
        }
        packets
    })
}

/// A hummed syllable, repeated.
fn sound(samples: usize, number: usize) -> Vec<[f32; 2]> {
    (0..samples)
        .map(|index| {
            let time = (number * samples + index) as f32 / 48_000.0;
            let loudness = (time * 9.0).sin().max(0.0) * 0.2;
            let hum: f32 = (1..12_u8)
                .map(|n| (time * 140.0 * f32::from(n) * std::f32::consts::TAU).sin())
                .sum();
            [hum * loudness * 0.2; 2]
        })
        .collect()
}

fn bytes(payload: Payload<'_>) -> Vec<u8> {
    let real = |which: u8| packets()[usize::from(which) % packets().len()].clone();
    match payload {
        Payload::Real(which) => real(which),
        Payload::Tampered {
            which,
            changes,
            cut,
        } => {
            let mut data = real(which);
            for (at, change) in changes {
                let at = usize::from(at) % data.len();
                data[at] ^= change;
            }
            data.truncate(data.len().saturating_sub(usize::from(cut % 32)));
            data
        }
        Payload::Rubbish(data) => data.to_vec(),
    }
}

fuzz_target!(|steps: Vec<Step<Payload<'_>>>| {
    // Made once; not to be counted as the buffer's.
    packets();
    let now = Instant::now();
    let buffer = AudioJitterBuffer::new(now).expect("there is memory");
    run(steps, now, buffer, |payload| {
        let data = bytes(payload);
        let samples = packet_samples(&data).unwrap_or(960) as u32;
        (data, samples)
    });
});
