//! The buffer under hand-made networks, on a hand-made clock.

use std::sync::LazyLock;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::BLOCK_DURATION;
use crate::level::mean_square;
use crate::opus::{Content, Encoded, EncoderSettings, MAX_PACKET_SAMPLES, OpusEncoder};
use crate::pcm::testing::{frequency, sine, voice};
use ahoy_media::units::Bitrate;

const PACKET_MS: u64 = 20;
const QUIET: StereoBlock = [[0.0; 2]; BLOCK_SAMPLES];

/// Opus packets of a 220 Hz tone, 20 ms each.
fn tone_packets(count: usize) -> Vec<Bytes> {
    static PACKETS: LazyLock<Vec<Bytes>> =
        LazyLock::new(|| encode_all(&sine(220.0, 0.3, AUDIO_CLOCK_HZ, 3_000 * FRAME_SAMPLES)));
    PACKETS[..count].to_vec()
}

fn encode_all(samples: &[f32]) -> Vec<Bytes> {
    encode_with(samples, EncoderSettings::default())
}

fn encode_with(samples: &[f32], settings: EncoderSettings) -> Vec<Bytes> {
    let mut encoder = OpusEncoder::new(Content::Voice, settings).expect("encoder");
    samples
        .as_chunks::<FRAME_SAMPLES>()
        .0
        .iter()
        .map(|frame| {
            let frame = frame.map(|sample| [sample; 2]);
            match encoder.encode(&frame).expect("encodes") {
                Encoded::Packet(packet) | Encoded::Silence(packet) => packet,
            }
        })
        .collect()
}

fn packet(number: u64, payload: Bytes, arrival: Instant) -> RtpPacket {
    RtpPacket {
        payload_type: 111,
        ssrc: 7,
        // Both wrap soon after the beginning.
        sequence_number: 65_500_u16.wrapping_add(number as u16),
        timestamp: (u32::MAX - 100_000).wrapping_add(number as u32 * FRAME_SAMPLES as u32),
        marker: false,
        payload,
        arrival,
    }
}

/// A network: for each packet how many ms after its capture it arrives, or not at all.
struct Run {
    played: Vec<f32>,
    stats: AudioReceiveStats,
    /// Time from arrival to playout per sample, over the last half of the run.
    settled_delay_ms: f64,
}

fn run(count: usize, arrives_after: impl Fn(u64) -> Option<u64>) -> Run {
    run_with(tone_packets(count), arrives_after, |_| true)
}

/// `pulls` says whether the speaker takes a block at this time in ms.
fn run_with(
    payloads: Vec<Bytes>,
    arrives_after: impl Fn(u64) -> Option<u64>,
    pulls: impl Fn(u64) -> bool,
) -> Run {
    let start = Instant::now();
    let at = |ms: u64| start + Duration::from_millis(ms);
    let end = payloads.len() as u64 * PACKET_MS;
    let mut arrivals: Vec<(u64, RtpPacket)> = payloads
        .into_iter()
        .enumerate()
        .filter_map(|(number, payload)| {
            let arrival = number as u64 * PACKET_MS + arrives_after(number as u64)?;
            Some((arrival, packet(number as u64, payload, at(arrival))))
        })
        .collect();
    arrivals.sort_by_key(|(arrival, _)| *arrival);

    let mut buffer = AudioJitterBuffer::new(start).expect("decoder");
    let mut arrivals = arrivals.into_iter().peekable();
    let (mut played, mut half) = (Vec::new(), AudioReceiveStats::default());
    let mut block = QUIET;
    for ms in 0..end {
        while let Some((_, packet)) = arrivals.next_if(|(arrival, _)| *arrival <= ms) {
            buffer.push(packet, at(ms));
        }
        if ms % 10 == 3 && pulls(ms) {
            buffer.pull_10ms(at(ms), &mut block);
            assert!(
                block
                    .as_flattened()
                    .iter()
                    .all(|sample| sample.abs() <= 1.0)
            );
            played.extend(block.iter().map(|pair| pair[0]));
        }
        if ms == end / 2 {
            half = buffer.stats();
        }
    }
    let stats = buffer.stats();
    let emitted = stats.jitter_buffer_emitted_count - half.jitter_buffer_emitted_count;
    let delay = stats.jitter_buffer_delay - half.jitter_buffer_delay;
    Run {
        played,
        stats,
        settled_delay_ms: 1_000.0 * delay / emitted.max(1) as f64,
    }
}

/// A repeatable random number below `below`.
fn random(seed: u64, below: u64) -> u64 {
    let mut x = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (x ^ (x >> 31)) % below
}

fn concealed_share(stats: &AudioReceiveStats) -> f64 {
    stats.concealed_samples as f64 / stats.total_samples_received as f64
}

/// The tone is there, at its pitch and without jumps, in all but the beginning.
fn assert_clean_tone(run: &Run) {
    let settled = &run.played[24_000..];
    assert!((frequency(settled, AUDIO_CLOCK_HZ) - 220.0).abs() < 2.0);
    assert!((mean_square(settled).sqrt() - 0.212).abs() < 0.02);
    let step = settled
        .windows(2)
        .fold(0.0_f32, |step, pair| step.max((pair[1] - pair[0]).abs()));
    assert!(step < 0.02, "a click of {step}");
}

#[test]
fn a_clean_path_adds_little_delay_and_changes_nothing() {
    let run = run(500, |_| Some(30));
    assert_clean_tone(&run);
    assert_eq!(run.stats.concealed_samples, 0);
    assert_eq!(run.stats.packets_lost, 0);
    assert_eq!(
        run.stats.packets_received, 499,
        "the last one is still on its way"
    );
    assert_eq!(run.stats.packets_discarded, 0);
    assert!(
        (10.0..30.0).contains(&run.settled_delay_ms),
        "{}",
        run.settled_delay_ms
    );
    assert!(run.stats.jitter < 0.001);
    // 0.3 of full scale: 0.045 per second.
    let power = run.stats.total_audio_energy / run.stats.total_samples_duration;
    assert!((power - 0.045).abs() < 0.005, "{power}");
}

#[test]
fn jitter_is_waited_for_and_no_longer_than_needed() {
    let run = run(1_500, |n| Some(30 + random(n, 40)));
    assert!(concealed_share(&run.stats) < 0.01, "{:?}", run.stats);
    assert!(
        (20.0..60.0).contains(&run.settled_delay_ms),
        "{}",
        run.settled_delay_ms
    );
    assert!(run.stats.jitter > 0.005);
}

#[test]
fn a_late_packet_is_heard_only_where_it_was_missing() {
    let packets = || encode_all(&voice(300 * FRAME_SAMPLES));
    let even = run_with(packets(), |_| Some(30), |_| true);
    // Late by one and a half packets, and the next one comes with it.
    let late = |n| match n {
        200 => 65,
        201 => 45,
        _ => 30,
    };
    let late = run_with(packets(), |n| Some(late(n)), |_| true);
    assert_eq!(late.stats.underruns, 1);
    assert!(late.stats.concealed_samples <= 3 * BLOCK_SAMPLES as u64);
    let differ = |(one, other): &(&f32, &f32)| (*one - *other).abs() > 1e-6;
    let different = even.played.iter().zip(&late.played).filter(differ).count();
    // What was concealed, and the blending into what came.
    assert!(different <= 3 * BLOCK_SAMPLES + 240, "{different}");
}

#[test]
fn delay_comes_down_when_the_network_calms() {
    let run = run(3_000, |n| {
        Some(if n < 300 { 30 + random(n, 100) } else { 30 })
    });
    assert!(run.stats.removed_samples_for_acceleration > 1_000);
    assert!(run.settled_delay_ms < 35.0, "{}", run.settled_delay_ms);
}

#[test]
fn single_losses_are_restored_from_the_next_packet() {
    let voice = encode_all(&voice(1_500 * FRAME_SAMPLES));
    let run = run_with(voice, |n| (n < 200 || n % 20 != 0).then_some(30), |_| true);
    assert_eq!(run.stats.packets_lost, 65);
    let missing = 65 * FRAME_SAMPLES as u64;
    assert!(run.stats.fec_samples > missing * 8 / 10, "{:?}", run.stats);
    assert!(concealed_share(&run.stats) < 0.01, "{:?}", run.stats);
}

#[test]
fn bursts_are_concealed_and_counted() {
    let run = run(1_000, |n| (n < 100 || n % 50 >= 3).then_some(30));
    assert_eq!(run.stats.packets_lost, 18 * 3);
    assert!(run.stats.concealment_events >= 18);
    // Of three missing packets one is restored, two are concealed: 18 · 40 ms of 20 s.
    assert!(
        (0.02..0.06).contains(&concealed_share(&run.stats)),
        "{:?}",
        run.stats
    );
    assert!(run.settled_delay_ms < 70.0, "{}", run.settled_delay_ms);
}

#[test]
fn reordering_is_undone() {
    // Every tenth packet takes 45 ms longer and is overtaken by two.
    let run = run(1_500, |n| Some(if n % 10 == 0 { 75 } else { 30 }));
    assert_eq!(run.stats.packets_lost, 0);
    assert!(concealed_share(&run.stats) < 0.01, "{:?}", run.stats);
    assert!(
        (35.0..80.0).contains(&run.settled_delay_ms),
        "{}",
        run.settled_delay_ms
    );
}

#[test]
fn a_stall_is_silent_and_leaves_no_delay() {
    let run = run(1_500, |n| {
        Some(if (500..525).contains(&n) {
            30 + (525 - n) * 20
        } else {
            30
        })
    });
    assert!(run.settled_delay_ms < 40.0, "{}", run.settled_delay_ms);
    // Half a second was missing; it was not invented.
    let gap = &run.played[500 * FRAME_SAMPLES + 20_000..500 * FRAME_SAMPLES + 24_000];
    assert!(mean_square(gap) < 1e-6);
}

#[test]
fn the_position_goes_on_while_a_packet_is_late() {
    let start = Instant::now();
    let mut buffer = AudioJitterBuffer::new(start).expect("decoder");
    let mut block = QUIET;
    let mut last = None;
    for (number, payload) in tone_packets(100).into_iter().enumerate() {
        let arrival = start + Duration::from_millis(PACKET_MS) * number as u32;
        // Three packets come 60 ms late, all at once with the fourth.
        let stalled = (50..53).contains(&number);
        if !stalled {
            for late in if number == 53 { 50..53 } else { 0..0 } {
                buffer.push(
                    packet(late, tone_packets(100)[late as usize].clone(), arrival),
                    arrival,
                );
            }
            buffer.push(packet(number as u64, payload, arrival), arrival);
        }
        for half in 0..2 {
            buffer.pull_10ms(arrival + BLOCK_DURATION * half, &mut block);
            let position = buffer.position();
            if stalled && let (Some(last), Some(position)) = (last, position) {
                let step = position.wrapping_sub(last);
                assert_eq!(step, BLOCK_SAMPLES as u32, "{number}");
            }
            last = position;
        }
    }
}

#[test]
fn held_back_sound_keeps_its_pace_while_the_network_changes() {
    let start = Instant::now();
    let at = |ms: u64| start + Duration::from_millis(ms);
    let mut buffer = AudioJitterBuffer::new(start).expect("decoder");
    let mut block = QUIET;
    let mut lag = |buffer: &mut AudioJitterBuffer, seconds: Range<u64>, jitter: u64| {
        for ms in seconds.start * 1_000..seconds.end * 1_000 {
            let number = ms / PACKET_MS;
            if ms % PACKET_MS == random(number, jitter + 1) {
                let payload = tone_packets(number as usize + 1).remove(number as usize);
                buffer.push(packet(number, payload, at(ms)), at(ms));
            }
            if ms % 10 == 3 {
                buffer.pull_10ms(at(ms), &mut block);
            }
        }
        let (position, now) = (buffer.position().expect("plays"), seconds.end * 48_000);
        let captured = position.wrapping_sub(u32::MAX - 100_000);
        now as i64 - i64::from(captured)
    };
    let alone = lag(&mut buffer, 0..4, 0);
    buffer.set_minimum_transit(Some(buffer.network_transit() + 9_600));
    let held = lag(&mut buffer, 4..8, 0);
    assert!((held - alone - 9_600).abs() <= TOO_LATE, "{alone} {held}");
    let before = buffer.network_transit();
    let through_jitter = lag(&mut buffer, 8..20, 15);
    assert!(buffer.network_transit() > before + 200);
    assert!(
        (through_jitter - held).abs() <= TOO_LATE,
        "{held} {through_jitter}"
    );
    // One of another stream has no effect.
    buffer.set_minimum_transit(Some(buffer.network_transit() + MOST_HELD));
    let stale = lag(&mut buffer, 20..30, 0);
    assert!(stale < alone + 960, "{alone} {stale}");
}

#[test]
fn a_sender_that_loses_time_costs_no_more_than_it_loses() {
    // An overloaded sender: every 600 ms its sound server drops 100 ms and its media time does not
    // tell. After 12 s packets come 2 s later than the first ones did.
    let run = run(1_500, |n| Some(30 + n / 30 * 100));
    assert!(concealed_share(&run.stats) < 0.2, "{:?}", run.stats);
    assert!(run.stats.packets_discarded < 30, "{:?}", run.stats);
}

#[test]
fn a_speaker_that_stalls_leaves_no_delay() {
    let run = run_with(
        tone_packets(1_500),
        |_| Some(30),
        |ms| !(5_000..7_000).contains(&ms),
    );
    assert!(run.settled_delay_ms < 40.0, "{}", run.settled_delay_ms);
    assert!(run.stats.packets_discarded > 80);
}

#[test]
fn blocks_pulled_in_bursts_do_not_run_dry() {
    let start = Instant::now();
    let mut buffer = AudioJitterBuffer::new(start).expect("decoder");
    let mut block = QUIET;
    for (number, payload) in tone_packets(500).into_iter().enumerate() {
        let now = start + Duration::from_millis(number as u64 * PACKET_MS);
        buffer.push(packet(number as u64, payload, now), now);
        if number % 2 == 1 {
            // A device that takes 40 ms at once.
            (0..4).for_each(|_| buffer.pull_10ms(now, &mut block));
        }
    }
    assert!(
        concealed_share(&buffer.stats()) < 0.01,
        "{:?}",
        buffer.stats()
    );
}

#[test]
fn speech_pauses_are_comfort_noise_and_no_loss() {
    let start = Instant::now();
    let at = |ms: u64| start + Duration::from_millis(ms);
    let mut encoder =
        OpusEncoder::new(Content::Voice, EncoderSettings::default()).expect("encoder");
    let mut buffer = AudioJitterBuffer::new(start).expect("decoder");
    let tone = sine(220.0, 0.3, AUDIO_CLOCK_HZ, FRAME_SAMPLES);
    let tone: Vec<[f32; 2]> = tone.iter().map(|sample| [*sample; 2]).collect();
    let (mut silent, mut sequence, mut unsent) = (false, 0, 0);
    let mut block = QUIET;
    // One second of speech, two of silence, and so on.
    for frame in 0..900_u64 {
        let speaks = frame % 150 < 50;
        let encoded = encoder.encode(if speaks {
            &tone
        } else {
            &[[0.0; 2]; FRAME_SAMPLES]
        });
        let payload = match encoded.expect("encodes") {
            Encoded::Packet(payload) => {
                silent = false;
                Some(payload)
            }
            Encoded::Silence(payload) => (!std::mem::replace(&mut silent, true)).then_some(payload),
        };
        if let Some(payload) = payload {
            let mut packet = packet(frame, payload, at(frame * PACKET_MS));
            packet.sequence_number = sequence;
            sequence += 1;
            buffer.push(packet, at(frame * PACKET_MS));
        } else {
            unsent += 1;
        }
        for half in 0..2 {
            buffer.pull_10ms(at(frame * PACKET_MS + half * 10), &mut block);
            if frame % 150 == 40 {
                assert!(mean_square(block.as_flattened()) > 0.01, "speech is heard");
            }
        }
    }
    let stats = buffer.stats();
    assert!(unsent > 300, "{unsent}");
    assert!(concealed_share(&stats) < 0.01, "{stats:?}");
    assert_eq!((stats.packets_lost, stats.packets_discarded), (0, 0));
}

#[test]
fn what_was_lost_of_a_pause_is_not_waited_for() {
    let start = Instant::now();
    let at = |ms: u64| start + Duration::from_millis(ms);
    let mut encoder =
        OpusEncoder::new(Content::Voice, EncoderSettings::default()).expect("encoder");
    let mut buffer = AudioJitterBuffer::new(start).expect("decoder");
    let tone: Vec<[f32; 2]> = sine(220.0, 0.3, AUDIO_CLOCK_HZ, FRAME_SAMPLES)
        .iter()
        .map(|sample| [*sample; 2])
        .collect();
    let (mut sequence, mut silent, mut lost) = (0, false, None);
    let mut block = QUIET;
    // Half a second of speech and one of silence, whose beginning comes when speech is back.
    for frame in 0..1500_u64 {
        let speaks = frame % 75 < 25;
        let encoded = encoder.encode(if speaks {
            &tone
        } else {
            &[[0.0; 2]; FRAME_SAMPLES]
        });
        let now = at(frame * PACKET_MS);
        let mut send = |payload| {
            let mut packet = packet(frame, payload, now);
            packet.sequence_number = sequence;
            sequence += 1;
            packet
        };
        match encoded.expect("encodes") {
            Encoded::Packet(payload) => {
                buffer.push(send(payload), now);
                let repaired: Option<RtpPacket> = lost.take();
                if let Some(packet) = repaired {
                    buffer.push(
                        RtpPacket {
                            arrival: now,
                            ..packet
                        },
                        now,
                    );
                }
                silent = false;
            }
            Encoded::Silence(payload) => {
                if !std::mem::replace(&mut silent, true) {
                    lost = Some(send(payload));
                }
            }
        }
        for half in 0..2 {
            buffer.pull_10ms(at(frame * PACKET_MS + half * 10), &mut block);
        }
    }
    let stats = buffer.stats();
    let mean = stats.jitter_buffer_target_delay / stats.jitter_buffer_emitted_count as f64;
    assert!(mean < 0.05, "{mean} s");
}

#[test]
fn strays_change_nothing() {
    let start = Instant::now();
    let mut buffer = AudioJitterBuffer::new(start).expect("decoder");
    let mut block = QUIET;
    let payloads = tone_packets(600);
    let mut strays = 0;
    for (number, payload) in payloads.iter().enumerate() {
        let now = start + Duration::from_millis(number as u64 * PACKET_MS);
        let good = packet(number as u64, payload.clone(), now);
        let mut bad = vec![good.clone(); 7];
        bad[0].sequence_number = good.sequence_number.wrapping_sub(30_000);
        bad[0].timestamp = good.timestamp.wrapping_sub(10 * 60 * AUDIO_CLOCK_HZ);
        bad[1].payload_type = 13;
        bad[2].ssrc = 8;
        bad[3].payload = Bytes::new();
        bad[4].payload = Bytes::from(vec![0xFF; 40]);
        bad[5].payload = Bytes::from(vec![0; 60_000]);
        // The clock says otherwise.
        bad[6].timestamp = good.timestamp.wrapping_add(30 * AUDIO_CLOCK_HZ);
        if number > 50 && number % 10 == 0 {
            let stray = bad.swap_remove(number / 10 % bad.len());
            buffer.push(stray, now);
            strays += 1;
        }
        buffer.push(good.clone(), now);
        if number % 7 == 0 {
            buffer.push(good, now);
            strays += 1;
        }
        (0..2).for_each(|half| {
            buffer.pull_10ms(now + Duration::from_millis(half * 10), &mut block);
        });
        assert!(
            number < 50 || mean_square(block.as_flattened()) > 0.02,
            "at {number}"
        );
    }
    let stats = buffer.stats();
    assert_eq!(stats.concealed_samples, 0);
    assert_eq!(stats.packets_discarded, strays);
}

#[test]
fn another_source_takes_over() {
    let start = Instant::now();
    let mut buffer = AudioJitterBuffer::new(start).expect("decoder");
    let mut block = QUIET;
    for (number, payload) in tone_packets(200).into_iter().enumerate() {
        let now = start + Duration::from_millis(number as u64 * PACKET_MS);
        let mut packet = packet(number as u64, payload, now);
        if number >= 100 {
            packet.ssrc = 99;
            packet.sequence_number = number as u16;
            packet.timestamp = packet.timestamp.wrapping_add(123_456_789);
        }
        buffer.push(packet, now);
        (0..2).for_each(|half| {
            buffer.pull_10ms(now + Duration::from_millis(half * 10), &mut block);
        });
    }
    assert!(
        mean_square(block.as_flattened()) > 0.02,
        "the new source is heard"
    );
    let stats = buffer.stats();
    assert!((0..=1).contains(&stats.packets_lost), "{stats:?}");
    assert!(stats.concealed_samples < 10_000, "{stats:?}");
}

#[test]
fn damaged_packets_are_concealed() {
    let start = Instant::now();
    let mut buffer = AudioJitterBuffer::new(start).expect("decoder");
    let mut block = QUIET;
    for (number, payload) in tone_packets(300).into_iter().enumerate() {
        let now = start + Duration::from_millis(number as u64 * PACKET_MS);
        let mut payload = payload.to_vec();
        if number > 20 && number % 9 == 0 {
            let end = payload.len();
            payload[1..end].iter_mut().for_each(|byte| *byte ^= 0xA5);
        }
        buffer.push(packet(number as u64, payload.into(), now), now);
        (0..2).for_each(|half| {
            buffer.pull_10ms(now + Duration::from_millis(half * 10), &mut block);
            assert!(
                block
                    .as_flattened()
                    .iter()
                    .all(|sample| sample.abs() <= 1.0)
            );
        });
    }
}

#[test]
fn before_the_first_packet_there_is_silence_and_nothing_is_counted() {
    let start = Instant::now();
    let mut buffer = AudioJitterBuffer::new(start).expect("decoder");
    let mut block = [[1.0; 2]; BLOCK_SAMPLES];
    buffer.pull_10ms(start + Duration::from_secs(1), &mut block);
    assert_eq!(block, QUIET);
    assert_eq!(buffer.stats(), AudioReceiveStats::default());
}

#[test]
fn drifting_clocks_keep_the_delay() {
    // The sender's clock is 200 ppm fast: 36 ms in three minutes.
    let start = Instant::now();
    let mut buffer = AudioJitterBuffer::new(start).expect("decoder");
    let payloads = tone_packets(100);
    let mut block = QUIET;
    for (sender_ppm, from) in [(200_i64, 0), (-200, 9_000)] {
        for number in from..from + 9_000_u64 {
            let since = (number - from) as i64 * 20_000;
            let micros = from as i64 * 20_000 + since - since * sender_ppm / 1_000_000;
            let now = start + Duration::from_micros(micros as u64);
            let payload = payloads[number as usize % payloads.len()].clone();
            buffer.push(packet(number, payload, now), now);
            // The speaker keeps to the true clock.
            let due = micros / 10_000 - (micros - 20_000).max(0) / 10_000;
            (0..due).for_each(|_| buffer.pull_10ms(now, &mut block));
        }
    }
    let stats = buffer.stats();
    let delay = stats.jitter_buffer_delay / stats.jitter_buffer_emitted_count as f64;
    assert!(delay < 0.05, "{delay}");
    assert!(concealed_share(&stats) < 0.005, "{stats:?}");
}

/// Decodes every packet to a wave, at next to no cost.
#[derive(Debug, Default)]
struct Humming {
    position: usize,
}

impl Humming {
    /// 200 Hz.
    const WAVE: usize = 240;

    fn hum(&mut self, out: &mut [[f32; 2]]) {
        for pair in out {
            let phase = self.position as f32 / Self::WAVE as f32 - 0.5;
            *pair = [phase * (1.0 - 4.0 * phase * phase); 2];
            self.position = (self.position + 1) % Self::WAVE;
        }
    }
}

impl SoundDecoder for Humming {
    fn decode(
        &mut self,
        packet: &[u8],
        out: &mut [[f32; 2]; MAX_PACKET_SAMPLES],
    ) -> Result<usize, CodecError> {
        let samples = packet_samples(packet)?;
        self.hum(&mut out[..samples]);
        Ok(samples)
    }

    fn decode_fec(&mut self, _: &[u8], out: &mut [[f32; 2]]) -> Result<(), CodecError> {
        self.hum(out);
        Ok(())
    }

    fn parse_dred(&mut self, _: &[u8]) -> Option<Range<usize>> {
        None
    }

    fn dred_samples(&mut self, _: &[u8]) -> usize {
        0
    }

    fn decode_dred(&mut self, _: usize, out: &mut [[f32; 2]]) -> Result<(), CodecError> {
        self.hum(out);
        Ok(())
    }

    fn conceal(&mut self, out: &mut [[f32; 2]]) -> Result<(), CodecError> {
        self.hum(out);
        Ok(())
    }

    fn comfort(&mut self, out: &mut [[f32; 2]]) -> Result<(), CodecError> {
        self.hum(out);
        Ok(())
    }

    fn remember(&mut self) {}

    fn recall(&mut self) {}

    fn reset(&mut self) {}
}

#[test]
fn two_hours_with_drifting_clocks_keep_the_delay_and_never_run_dry() {
    const PACKETS: u64 = 2 * 3_600 * 50;
    for sender_ppm in [200_i64, -200] {
        let start = Instant::now();
        let mut buffer = AudioJitterBuffer::with_decoder(Humming::default(), start);
        let payload = tone_packets(10)[9].clone();
        let (mut block, mut pulled) = (QUIET, 0_u64);
        let (mut before, mut worst) = (buffer.stats(), 0.0_f64);
        for number in 0..PACKETS {
            let sent = number as i64 * 20_000;
            let jitter = random(number, 3_000) as i64;
            let micros = (sent - sent * sender_ppm / 1_000_000 + jitter) as u64;
            // The speaker keeps to the true clock.
            while pulled * 10_000 <= micros {
                let now = start + Duration::from_micros(pulled * 10_000);
                buffer.pull_10ms(now, &mut block);
                pulled += 1;
            }
            let now = start + Duration::from_micros(micros);
            buffer.push(packet(number, payload.clone(), now), now);
            if number % 500 == 499 {
                let stats = buffer.stats();
                let emitted =
                    stats.jitter_buffer_emitted_count - before.jitter_buffer_emitted_count;
                let over = (stats.jitter_buffer_delay - before.jitter_buffer_delay)
                    - (stats.jitter_buffer_target_delay - before.jitter_buffer_target_delay);
                worst = worst.max((over / emitted as f64).abs());
                before = stats;
            }
        }
        let stats = buffer.stats();
        assert!(worst < 0.02, "{sender_ppm} ppm: {worst} s from the target");
        assert_eq!(
            (stats.underruns, stats.concealed_samples),
            (0, 0),
            "{sender_ppm} ppm"
        );
        // A second and a half of drift was made up for.
        let made_up =
            stats.removed_samples_for_acceleration + stats.inserted_samples_for_deceleration;
        assert!(made_up > 50_000, "{made_up}");
        assert!(pulled > 700_000);
    }
}

#[test]
fn bursts_are_restored_from_deep_redundancy_and_waited_for() {
    let settings = EncoderSettings {
        bitrate: Bitrate::from_kbps(64),
        expected_loss: 30,
        dred: Duration::from_millis(200),
        ..EncoderSettings::default()
    };
    let voice = encode_with(&voice(1_500 * FRAME_SAMPLES), settings);
    let run = run_with(voice, |n| (n % 20 < 17).then_some(30), |_| true);
    let missing = run.stats.missing_packets as f64 / run.stats.missing_bursts as f64;
    assert!((2.5..3.5).contains(&missing), "{:?}", run.stats);
    assert!(run.stats.dred_samples > 60 * 2 * 900, "{:?}", run.stats);
    assert!(run.stats.fec_samples > 50 * 900, "{:?}", run.stats);
    assert!(concealed_share(&run.stats) < 0.03, "{:?}", run.stats);
    assert!(
        (55.0..110.0).contains(&run.settled_delay_ms),
        "{}",
        run.settled_delay_ms
    );
}

#[test]
fn music_stays_stereo() {
    let settings = EncoderSettings::default();
    let mut encoder = OpusEncoder::new(Content::Music, settings).expect("encoder");
    let start = Instant::now();
    let mut buffer = AudioJitterBuffer::new(start).expect("decoder");
    let (tone, mut block) = (sine(440.0, 0.3, AUDIO_CLOCK_HZ, 100 * FRAME_SAMPLES), QUIET);
    for (number, frame) in tone.as_chunks::<FRAME_SAMPLES>().0.iter().enumerate() {
        let left_only = frame.map(|sample| [sample, 0.0]);
        let Ok(Encoded::Packet(payload)) = encoder.encode(&left_only) else {
            panic!("music is always sent");
        };
        let now = start + Duration::from_millis(number as u64 * PACKET_MS);
        buffer.push(packet(number as u64, payload, now), now);
        buffer.pull_10ms(now, &mut block);
        buffer.pull_10ms(now + BLOCK_DURATION, &mut block);
    }
    let channel = |at: usize| mean_square(&block.map(|pair| pair[at]));
    assert!(
        channel(0) > 0.02 && channel(1) < 0.001,
        "{} {}",
        channel(0),
        channel(1)
    );
}

/// What a hostile or broken network can do.
#[derive(Debug, Clone)]
enum Step {
    Push {
        number: u16,
        timestamp: u32,
        ssrc: u32,
        payload_type: u8,
        payload: Vec<u8>,
        age_ms: u64,
    },
    Real {
        ahead: u8,
    },
    Pull,
    Wait {
        ms: u64,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let bytes = proptest::collection::vec(any::<u8>(), 0..60);
    let push = (
        any::<u16>(),
        any::<u32>(),
        0..3_u32,
        110..113_u8,
        bytes,
        0..2_000_u64,
    )
        .prop_map(
            |(number, timestamp, ssrc, payload_type, payload, age_ms)| Step::Push {
                number,
                timestamp,
                ssrc,
                payload_type,
                payload,
                age_ms,
            },
        );
    let step = prop_oneof![
        2 => push,
        6 => (0..5_u8).prop_map(|ahead| Step::Real { ahead }),
        8 => Just(Step::Pull),
        2 => (0..60_u64).prop_map(|ms| Step::Wait { ms }),
        1 => (0..5_000_u64).prop_map(|ms| Step::Wait { ms }),
    ];
    proptest::collection::vec(step, 1..300)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_panics_grows_or_exceeds_full_scale(steps in steps()) {
        let payloads = tone_packets(20);
        let mut now = Instant::now() + Duration::from_secs(10);
        let mut buffer = AudioJitterBuffer::new(now).expect("decoder");
        let (mut number, mut pulled, mut block) = (0_u64, 0_u64, QUIET);
        for step in steps {
            match step {
                Step::Push { number, timestamp, ssrc, payload_type, payload, age_ms } => {
                    let arrival = now - Duration::from_millis(age_ms);
                    buffer.push(
                        RtpPacket {
                            payload_type,
                            ssrc,
                            sequence_number: number,
                            timestamp,
                            marker: false,
                            payload: payload.into(),
                            arrival,
                        },
                        now,
                    );
                }
                Step::Real { ahead } => {
                    let payload = payloads[number as usize % payloads.len()].clone();
                    buffer.push(packet(number + u64::from(ahead), payload, now), now);
                    number += 1;
                }
                Step::Pull => {
                    buffer.pull_10ms(now, &mut block);
                    pulled += 1;
                    now += Duration::from_millis(10);
                    prop_assert!(block.as_flattened().iter().all(|sample| sample.abs() <= 1.0));
                }
                Step::Wait { ms } => now += Duration::from_millis(ms),
            }
            prop_assert!(buffer.packets.len() <= MAX_PACKETS);
            prop_assert!(buffer.span() <= MAX_SPAN);
            prop_assert!(buffer.sound.len() <= 4 * MAX_PACKET_SAMPLES);
            let stats = buffer.stats();
            prop_assert!(stats.total_samples_received <= pulled * BLOCK_SAMPLES as u64);
            prop_assert!(stats.jitter_buffer_delay.is_finite());
        }
    }

    #[test]
    fn delay_stays_bounded_and_sound_comes_through(
        jitter_ms in 0..120_u64, loss_percent in 0..30_u64, seed in any::<u64>(),
    ) {
        let run = run(400, |n| {
            let lost = random(seed ^ n, 100) < loss_percent;
            (!lost).then(|| 30 + random(seed.wrapping_add(n), jitter_ms + 1))
        });
        // Four packets of 20 ms may be waited for, and six where one in four is lost.
        let repair = if loss_percent < 15 { 80.0 } else { 120.0 };
        prop_assert!(run.settled_delay_ms < jitter_ms as f64 + repair, "{}", run.settled_delay_ms);
        let missing = loss_percent as f64 / 100.0 + 0.1;
        prop_assert!(concealed_share(&run.stats) < missing, "{:?}", run.stats);
    }
}
