//! The send path's processing through synthetic rooms, on a virtual clock.

#[path = "../benches/processing/lab.rs"]
#[expect(dead_code, reason = "the bench uses more of it")]
mod lab;

use std::time::{Duration, Instant};

use ahoy_audio::processing::reference::RenderPosition;
use ahoy_audio::processing::{Processing, ProcessingSettings};
use ahoy_audio::{BLOCK_SAMPLES, Block, SILENCE};
use lab::{Acoustics, Loudspeaker, RATE, at_level, erle, synthetic_voice};

/// By how much the output of echo cancellation alone is late: the canceller and the limiter.
const LATE: usize = 464 + 64;

fn echo_only() -> ProcessingSettings {
    ProcessingSettings {
        noise_suppression: false,
        auto_gain_control: false,
        ..ProcessingSettings::default()
    }
}

struct Call {
    echo: Vec<f32>,
    left: Vec<f32>,
    processing: Processing,
}

/// Only the other side speaks.
fn call(acoustics: &Acoustics, seconds: f64) -> Call {
    let far = at_level(synthetic_voice(seconds, 190.0, 1), -20.0);
    let echo = acoustics.echo(&far);
    let noise = lab::noise(far.len(), -75.0, 2);
    let (mut processing, reference) = Processing::new(echo_only());
    let mut speaker = Loudspeaker::new(Some(reference), acoustics.drift_ppm, true);
    let mut left = Vec::new();
    let heard: Vec<f32> = echo.iter().zip(&noise).map(|(a, b)| a + b).collect();
    for (index, piece) in heard.chunks_exact(BLOCK_SAMPLES).enumerate() {
        let now = speaker.captured_at(index);
        speaker.play(&far, now);
        let mut block = SILENCE;
        block.copy_from_slice(piece);
        processing.process(&mut block, now);
        left.extend(block);
    }
    Call {
        echo,
        left,
        processing,
    }
}

impl Call {
    /// The least of the seconds between two times.
    fn worst(&self, from: u32, to: u32) -> f32 {
        (from..to)
            .map(f64::from)
            .filter_map(|at| erle(&self.echo, &self.left, LATE, at, at + 1.0))
            .fold(f32::MAX, f32::min)
    }
}

#[test]
fn an_unknown_delay_is_found_and_its_echo_cancelled() {
    let mut acoustics = Acoustics::new(0.15, 1);
    acoustics.latency = 0.21;
    let call = call(&acoustics, 8.0);
    let delay = call.processing.alignment().delay.expect("found");
    assert!((0.185..0.225).contains(&delay), "{delay}");
    let worst = call.worst(4, 7);
    assert!(worst > 25.0, "{worst} dB");
}

#[test]
fn who_speaks_beside_a_voice_that_does_not_echo_is_not_ducked() {
    let far = at_level(synthetic_voice(14.0, 190.0, 1), -20.0);
    let near = at_level(synthetic_voice(14.0, 120.0, 7), -20.0);
    let (mut processing, reference) = Processing::new(echo_only());
    let mut speaker = Loudspeaker::new(Some(reference), 0.0, true);
    let mut left = Vec::new();
    for (index, piece) in near.chunks_exact(BLOCK_SAMPLES).enumerate() {
        let now = speaker.captured_at(index);
        speaker.play(&far, now);
        let mut block = SILENCE;
        block.copy_from_slice(piece);
        processing.process(&mut block, now);
        left.extend(block);
    }
    assert_eq!(processing.alignment().delay, None, "there is no echo");
    let power = |samples: &[f32]| samples.iter().map(|it| it * it).sum::<f32>();
    let second = |samples: &[f32], at: usize| power(&samples[at * RATE..(at + 3) * RATE]);
    let kept = second(&left, 10) / second(&near, 10);
    assert!(kept > 0.7, "{kept}");
}

#[test]
fn a_jump_of_100_ms_is_followed_within_a_second_and_a_half() {
    let mut acoustics = Acoustics::new(0.15, 2);
    acoustics.latency = 0.06;
    acoustics.jump = Some((6.0, 0.1));
    let call = call(&acoustics, 10.0);
    assert_eq!(call.processing.alignment().jumps, 1);
    let after = erle(&call.echo, &call.left, LATE, 7.5, 8.3).expect("they speak");
    assert!(after > 25.0, "{after} dB");
}

#[test]
fn clocks_that_drift_by_200_ppm_do_no_harm() {
    let mut acoustics = Acoustics::new(0.15, 3);
    acoustics.drift_ppm = 200.0;
    let call = call(&acoustics, 14.0);
    let drift = call.processing.alignment().drift_ppm;
    assert!((170.0..230.0).contains(&drift), "{drift} ppm");
    let worst = call.worst(9, 13);
    assert!(worst > 25.0, "{worst} dB");
}

/// Samples are lost on either side, and the reference stays where it is to the sample.
#[test]
fn lost_samples_do_not_move_the_reference() {
    let acoustics = Acoustics::new(0.15, 4);
    let far = at_level(synthetic_voice(9.0, 190.0, 1), -20.0);
    // The device starves for 37 ms at 5 s, and plays silence meanwhile.
    let (at, gap) = (5 * RATE, 1_776);
    let mut played = far[..at].to_vec();
    played.extend(std::iter::repeat_n(0.0, gap));
    played.extend(&far[at..]);
    let echo = acoustics.echo(&played);
    let (mut processing, reference) = Processing::new(echo_only());
    let epoch = Instant::now();
    let (mut next, mut left) = (0, Vec::new());
    // 50 ms of the microphone are lost at 7 s.
    let (mut index, mut before) = (0, None);
    while (index + 1) * BLOCK_SAMPLES <= 9 * RATE {
        if index == 700 {
            before = processing.alignment().delay;
            processing.capture_skipped(5 * BLOCK_SAMPLES as u64);
            left.extend([0.0; 5 * BLOCK_SAMPLES]);
            index += 5;
        }
        let now = epoch + Duration::from_millis(10 * (index as u64 + 1) + 2);
        while let Some(block) = far[next * BLOCK_SAMPLES..].first_chunk::<BLOCK_SAMPLES>() {
            let position = next * BLOCK_SAMPLES + if next * BLOCK_SAMPLES >= at { gap } else { 0 };
            let plays_at = epoch + Duration::from_secs_f64(position as f64 / RATE as f64);
            if plays_at > now + Duration::from_millis(25) {
                break;
            }
            let position = position as u64;
            reference.push(
                block,
                RenderPosition {
                    device: 1,
                    position,
                    plays_at,
                },
            );
            next += 1;
        }
        let mut block = SILENCE;
        block.copy_from_slice(&echo[index * BLOCK_SAMPLES..][..BLOCK_SAMPLES]);
        processing.process(&mut block, now);
        left.extend(block);
        index += 1;
    }
    assert_eq!(
        processing.alignment().jumps,
        0,
        "{:?}",
        processing.alignment()
    );
    let after = processing.alignment().delay.expect("known");
    let moved = (after - before.expect("known")).abs();
    assert!(moved < 0.001, "{moved} s");
    let erle = erle(&echo, &left, LATE, 6.0, 6.9).expect("they speak");
    assert!(erle > 20.0, "{erle} dB");
}

fn loudest(blocks: &[Block]) -> f32 {
    blocks
        .iter()
        .flatten()
        .fold(0.0_f32, |it, sample| it.max(sample.abs()))
}

#[test]
fn anything_goes_in_and_nothing_above_full_scale_comes_out() {
    let (mut processing, reference) = Processing::new(ProcessingSettings::default());
    let epoch = Instant::now();
    let odd = [
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        1e30,
        -3.0,
        1.0,
        0.0,
        f32::MIN_POSITIVE,
    ];
    let mut out = Vec::new();
    for index in 0..300_u64 {
        let now = epoch + Duration::from_millis(10 * index);
        let played: Block = std::array::from_fn(|i| odd[(i + index as usize) % odd.len()]);
        let position = RenderPosition {
            device: (index / 100) as u32,
            position: index * 480,
            plays_at: now,
        };
        reference.push(&played, position);
        let mut block: Block = std::array::from_fn(|i| odd[(i / 7 + index as usize) % odd.len()]);
        processing.process(&mut block, now);
        out.push(block);
    }
    assert!(loudest(&out) <= 1.0);
    assert!(out.iter().flatten().all(|sample| sample.is_finite()));
    // It still works: a voice comes through.
    let voice = at_level(synthetic_voice(2.0, 120.0, 3), -20.0);
    let mut heard = Vec::new();
    for (index, piece) in voice.chunks_exact(BLOCK_SAMPLES).enumerate() {
        let mut block = SILENCE;
        block.copy_from_slice(piece);
        processing.process(
            &mut block,
            epoch + Duration::from_millis(3_000 + 10 * index as u64),
        );
        heard.push(block);
    }
    assert!(loudest(&heard[100..]) > 0.02);
}

#[test]
fn stages_switch_without_a_click() {
    let (mut processing, _reference) = Processing::new(ProcessingSettings::default());
    let epoch = Instant::now();
    let (mut last, mut step) = (0.0_f32, 0.0_f32);
    for index in 0..800_usize {
        if index >= 100 && index % 50 == 0 {
            let bits = index / 50;
            processing.set_settings(ProcessingSettings {
                echo_cancellation: bits & 1 == 0,
                noise_suppression: bits & 2 == 0,
                auto_gain_control: bits & 4 == 0,
                original_sound: bits % 5 == 0,
            });
            processing.set_headset(bits % 7 == 0);
        }
        let mut block: Block = std::array::from_fn(|i| {
            let at = (index * BLOCK_SAMPLES + i) as f32;
            0.2 * (at * 300.0 / 48_000.0 * std::f32::consts::TAU).sin()
        });
        processing.process(&mut block, epoch + Duration::from_millis(10 * index as u64));
        for sample in block {
            step = step.max((sample - last).abs());
            last = sample;
        }
    }
    // The tone itself moves by 0.008 per sample, and may be made twice as loud; a click from
    // one delay to another would be up to 0.4.
    assert!(step < 0.03, "{step}");
}

#[test]
fn original_sound_passes_in_stereo_as_it_is() {
    let settings = ProcessingSettings {
        original_sound: true,
        ..ProcessingSettings::default()
    };
    let (mut processing, _reference) = Processing::new(settings);
    let music: [[f32; 2]; BLOCK_SAMPLES] =
        std::array::from_fn(|i| [(i as f32 * 0.05).sin(), (i as f32 * 0.003).cos()]);
    let mut block = music;
    processing.process_stereo(&mut block, Instant::now());
    assert_eq!(block, music);
    let mut mono: Block = std::array::from_fn(|i| music[i][0]);
    processing.process(&mut mono, Instant::now());
    assert!(mono.iter().zip(&music).all(|(a, b)| *a == b[0]));
}
