//! How well the send path processes sound, and what it costs: `cargo bench -p ahoy-audio --bench
//! processing [part …]`. Everything but the last part is on a virtual clock and comes out the same
//! in every run on the same speech. `profile` is for a profiler.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints tables and may fail"
)]

mod lab;
mod shoebox;
mod speech;
mod stoi;

use std::time::Instant;

use ahoy_audio::processing::echo::{Aec3, EchoCanceller};
use ahoy_audio::processing::gain::{Agc2, GainControl};
use ahoy_audio::processing::noise::{NoiseSuppressor, RnNoise};
use ahoy_audio::processing::{Processing, ProcessingSettings};
use ahoy_audio::{BLOCK_SAMPLES, Block, SILENCE};
use lab::{Acoustics, Loudspeaker, RATE, active_level, at_level, erle};
use shoebox::ROOMS;
use sonora::config::{
    AdaptiveDigital, EchoCanceller as EngineEcho, GainController2, HighPassFilter,
    MaxProcessingRate, NoiseSuppression, Pipeline,
};
use sonora::{AudioProcessing, Config, StreamConfig};
use speech::Speech;
use stoi::stoi;

const PARTS: [&str; 8] = [
    "rooms",
    "jump",
    "drift",
    "double-talk",
    "noise",
    "gain",
    "cpu",
    "profile",
];

/// What processes the microphone.
#[derive(Clone, Copy, PartialEq)]
enum Who {
    /// sonora's own whole: its delay search, fed with what is played as it is handed over.
    Engine,
    /// Our alignment and its canceller.
    Echo,
    /// All of it but the gain, which would be counted as echo.
    NoGain,
    /// All of it.
    Chain,
}

impl Who {
    const ALL: [Self; 4] = [Self::Engine, Self::Echo, Self::NoGain, Self::Chain];

    fn name(self) -> &'static str {
        match self {
            Self::Engine => "engine alone",
            Self::Echo => "ours, echo only",
            Self::NoGain => "ours, echo+noise",
            Self::Chain => "ours, whole chain",
        }
    }

    fn settings(self) -> ProcessingSettings {
        ProcessingSettings {
            echo_cancellation: true,
            noise_suppression: matches!(self, Self::NoGain | Self::Chain),
            auto_gain_control: self == Self::Chain,
            original_sound: false,
        }
    }

    /// By how many samples the output is late.
    fn delay(self) -> usize {
        match self {
            Self::Engine => Aec3::DELAY_SAMPLES,
            Self::Echo => Aec3::DELAY_SAMPLES + 64,
            Self::NoGain | Self::Chain => Aec3::DELAY_SAMPLES + RnNoise::DELAY_SAMPLES + 64,
        }
    }
}

fn engine(noise: bool) -> AudioProcessing {
    AudioProcessing::builder()
        .config(Config {
            pipeline: Pipeline {
                maximum_internal_processing_rate: MaxProcessingRate::Rate48kHz,
                ..Pipeline::default()
            },
            high_pass_filter: Some(HighPassFilter::default()),
            echo_canceller: Some(EngineEcho::default()),
            noise_suppression: noise.then(NoiseSuppression::default),
            ..Config::default()
        })
        .capture_config(StreamConfig::new(48_000, 1))
        .render_config(StreamConfig::new(48_000, 1))
        .build()
}

/// Runs a call: `far` is played, `microphone` is captured. Returns what leaves.
fn run(who: Who, far: &[f32], microphone: &[f32], drift_ppm: f64, honest: bool) -> Vec<f32> {
    let mut out = Vec::with_capacity(microphone.len());
    if who == Who::Engine {
        let mut engine = engine(false);
        let mut speaker = Loudspeaker::new(None, drift_ppm, honest);
        let mut scrap = SILENCE;
        for (index, block) in microphone.chunks_exact(BLOCK_SAMPLES).enumerate() {
            let now = speaker.captured_at(index);
            for played in speaker.play(far, now) {
                engine
                    .process_render_f32(&[played], &mut [&mut scrap])
                    .unwrap();
            }
            let mut clean = SILENCE;
            engine
                .process_capture_f32(&[block], &mut [&mut clean])
                .unwrap();
            out.extend(clean);
        }
        return out;
    }
    let (mut processing, reference) = Processing::new(who.settings());
    let mut speaker = Loudspeaker::new(Some(reference), drift_ppm, honest);
    for (index, piece) in microphone.chunks_exact(BLOCK_SAMPLES).enumerate() {
        let now = speaker.captured_at(index);
        speaker.play(far, now);
        let mut block: Block = piece.try_into().unwrap();
        processing.process(&mut block, now);
        out.extend(block);
    }
    out
}

/// The echo, and the microphone: with the noise of a quiet room, -72 dBFS.
fn microphone(acoustics: &Acoustics, far: &[f32], near: Option<&[f32]>) -> (Vec<f32>, Vec<f32>) {
    let echo = acoustics.echo(far);
    let noise = lab::noise(far.len(), -72.0, 3);
    let mut heard: Vec<f32> = echo.iter().zip(&noise).map(|(a, b)| a + b).collect();
    if let Some(near) = near {
        for (sample, near) in heard.iter_mut().zip(near) {
            *sample += near;
        }
    }
    for sample in &mut heard {
        *sample = sample.clamp(-1.0, 1.0);
    }
    (echo, heard)
}

fn dash(decibel: Option<f32>) -> String {
    decibel.map_or("-".to_owned(), |it| format!("{it:.0}"))
}

/// The least ERLE of a second that begins between two times.
fn worst(echo: &[f32], left: &[f32], who: Who, from: f64, to: f64) -> Option<f32> {
    (0..)
        .map(|i| from + 0.25 * f64::from(i))
        .take_while(|from| *from < to - 0.25)
        .filter_map(|from| erle(echo, left, who.delay(), from, from + 1.0))
        .reduce(f32::min)
}

/// A laptop in one of [`ROOMS`].
fn laptop(room: usize) -> Acoustics {
    Acoustics {
        response: ROOMS[room].1.laptop(),
        ..Acoustics::new(0.15, 1)
    }
}

/// How far above the level of speech, -20 dBFS, a loudspeaker clips in the tables, in dB.
const CLIPS_DB: f32 = 6.0;

fn clips(acoustics: Acoustics, above_db: f32) -> Acoustics {
    Acoustics {
        clips_at: Some(10_f32.powf((above_db - 20.0) / 20.0)),
        ..acoustics
    }
}

fn rooms(speech: &Speech) {
    println!("\nRooms: reverberation as built, and the direct sound against the rest\n");
    println!("| room | T60 | direct |\n|---|---|---|");
    let responses = (0..3).map(|it| (ROOMS[it].0, laptop(it).response));
    let hard = [
        ("hard 150 ms", 0.15, 10),
        ("hard 250 ms", 0.25, 11),
        ("hard 400 ms", 0.4, 14),
    ]
    .map(|(name, rt60, seed)| (name, lab::room(rt60, seed)));
    for (name, response) in responses.chain(hard) {
        let (rt60, direct) = shoebox::measured(&response);
        println!("| {name} | {:.0} ms | {direct:+.0} dB |", 1e3 * rt60);
    }
    println!(
        "\nEcho: ERLE in dB at 1/3/10 s (a second around it); worst second from 3 to 10 s, from 10 to 20 s\n"
    );
    let far_away = Acoustics {
        latency: 0.32,
        ..laptop(1)
    };
    let rows = [
        ("150 ms", laptop(0)),
        ("250 ms", laptop(1)),
        ("400 ms", laptop(2)),
        ("250 ms, loudspeaker clips", clips(laptop(1), CLIPS_DB)),
        ("250 ms, 320 ms away", far_away),
        ("hard 150 ms", Acoustics::new(0.15, 10)),
        ("hard 250 ms", Acoustics::new(0.25, 11)),
        ("hard 400 ms", Acoustics::new(0.40, 14)),
        (
            "hard 250 ms, clips at 1.6 dB",
            clips(Acoustics::new(0.25, 12), 1.6),
        ),
    ];
    for (voice, far) in speech.all() {
        println!("| {voice} | {} |", Who::ALL.map(Who::name).join(" | "));
        println!("|---|---|---|---|---|");
        for (name, acoustics) in &rows {
            let far = &far[..20 * RATE];
            let (echo, heard) = microphone(acoustics, far, None);
            let cells = Who::ALL.map(|who| {
                let left = run(who, far, &heard, 0.0, true);
                let at = |from| dash(erle(&echo, &left, who.delay(), from, from + 1.0));
                let worst = |from, to| dash(worst(&echo, &left, who, from, to));
                let (early, late) = (worst(3.0, 10.0), worst(10.0, 19.0));
                format!("{}/{}/{}; {early}, {late}", at(0.5), at(2.5), at(9.5))
            });
            println!("| {name} | {} |", cells.join(" | "));
        }
        println!();
    }
}

fn jump(far: &[f32]) {
    let far = &far[..25 * RATE];
    println!(
        "\nThe echo's delay jumps after 15 s: ERLE in dB in the half seconds after it, and from when it is 30 dB for good\n"
    );
    println!("| jump | who | 0.5 s … 4 s | 30 dB after |");
    println!("|---|---|---|---|");
    for (name, jump) in [("+100 ms", 0.1), ("-35 ms", -0.035), ("+12 ms", 0.012)] {
        let mut acoustics = laptop(1);
        acoustics.latency = 0.060;
        acoustics.jump = Some((15.0, jump));
        let (echo, heard) = microphone(&acoustics, far, None);
        for who in [Who::Engine, Who::Echo, Who::NoGain] {
            let left = run(who, far, &heard, 0.0, true);
            let halves: Vec<Option<f32>> = (0..16)
                .map(|i| 15.0 + 0.5 * f64::from(i))
                .map(|from| erle(&echo, &left, who.delay(), from, from + 0.5))
                .collect();
            // In steps of a tenth of a second, each with the half second from there on.
            let recovered = (0..70)
                .rev()
                .map(|i| (i, 15.0 + 0.1 * f64::from(i)))
                .take_while(|(_, from)| {
                    erle(&echo, &left, who.delay(), *from, from + 0.5).is_none_or(|it| it >= 30.0)
                })
                .last();
            println!(
                "| {name} | {} | {} | {} |",
                who.name(),
                halves[..8]
                    .iter()
                    .map(|it| dash(*it))
                    .collect::<Vec<_>>()
                    .join(" "),
                recovered.map_or("-".to_owned(), |(i, _)| format!(
                    "{:.1} s",
                    0.1 * f64::from(i)
                ))
            );
        }
    }
}

fn drift(far: &[f32]) {
    let far = &far[..40 * RATE];
    println!(
        "\nClocks that drift: worst second of ERLE in dB, from 3 s on, from 10 s on, over 40 s\n"
    );
    println!(
        "| ppm | engine alone | ours, echo only | ours, echo+noise | times tell nothing: echo only, echo+noise |"
    );
    println!("|---|---|---|---|---|");
    let rows = [0.0, 50.0, 200.0, -200.0].map(|ppm| (ppm, "", laptop(1)));
    let hard = [200.0, -200.0].map(|ppm| (ppm, ", hard", Acoustics::new(0.25, 30)));
    for (ppm, name, mut acoustics) in rows.into_iter().chain(hard) {
        acoustics.drift_ppm = ppm;
        let (echo, heard) = microphone(&acoustics, far, None);
        let cell = |who: Who, honest| {
            let left = run(who, far, &heard, ppm, honest);
            let worst = |from| dash(worst(&echo, &left, who, from, 39.0));
            format!("{}, {}", worst(3.0), worst(10.0))
        };
        println!(
            "| {ppm:+}{name} | {} | {} | {} | {}; {} |",
            cell(Who::Engine, true),
            cell(Who::Echo, true),
            cell(Who::NoGain, true),
            cell(Who::Echo, false),
            cell(Who::NoGain, false)
        );
    }
}

fn double_talk(far: &[f32], near: &[f32]) {
    let length = 25 * RATE;
    let far = &far[..length];
    println!(
        "\nBoth speak from 8 s on: STOI of the near voice from 10 to 25 s, mean of three rooms (150, 250, 400 ms)\n"
    );
    println!(
        "| echo relative to the voice | microphone | {} |",
        Who::ALL.map(Who::name).join(" | ")
    );
    println!("|---|---|---|---|---|---|");
    for (level, hard) in [-15.0, -6.0, 6.0]
        .into_iter()
        .flat_map(|it| [(it, false), (it, true)])
    {
        let mut sums = [0.0; 5];
        for (room, rt60, seed) in [(0, 0.15, 40), (1, 0.25, 41), (2, 0.4, 42)] {
            let mut acoustics = if hard {
                Acoustics::new(rt60, seed)
            } else {
                laptop(room)
            };
            // Both voices are at -20 dBFS.
            acoustics.gain_db = level;
            let mut voice = near[..length].to_vec();
            voice[..8 * RATE].fill(0.0);
            let (_, heard) = microphone(&acoustics, far, Some(&voice));
            let said = &voice[10 * RATE..length - 2_000];
            sums[0] += stoi(said, &heard[10 * RATE..length - 2_000]);
            for (sum, who) in sums[1..].iter_mut().zip(Who::ALL) {
                let left = run(who, far, &heard, 0.0, true);
                let late = who.delay();
                *sum += stoi(said, &left[10 * RATE + late..length - 2_000 + late]);
            }
        }
        let cells = sums.map(|it| format!("{:.3}", it / 3.0));
        let rooms = if hard { ", hard rooms" } else { "" };
        println!("| {level:+} dB{rooms} | {} |", cells.join(" | "));
    }
}

fn noise(near: &[f32]) {
    let voice = &near[..15 * RATE];
    println!(
        "\nNoise: STOI before and after; how much quieter pauses get in dB (voice at -20 dBFS)\n"
    );
    println!("| noise | engine (NS moderate) | ours |");
    println!("|---|---|---|");
    for (name, noise) in [
        ("fan, 5 dB", lab::fan(voice.len(), -25.0, 50)),
        ("fan, 15 dB", lab::fan(voice.len(), -35.0, 51)),
        ("white, 15 dB", lab::noise(voice.len(), -35.0, 52)),
    ] {
        let noisy: Vec<f32> = voice.iter().zip(&noise).map(|(a, b)| a + b).collect();
        let cell = |clean: Vec<f32>, late: usize| {
            let end = voice.len() - 2_000;
            let pauses = |signal: &[f32], late: usize| {
                let quiet = (3 * RATE..end)
                    .step_by(BLOCK_SAMPLES)
                    .filter(|at| lab::power(&voice[at - 4_800..at + 4_800.min(end - at)]) < 1e-7);
                let powers: Vec<f32> = quiet
                    .map(|at| lab::power(&signal[at + late..at + late + BLOCK_SAMPLES]))
                    .collect();
                powers.iter().sum::<f32>() / powers.len().max(1) as f32
            };
            format!(
                "{:.3}→{:.3}, {:.0}",
                stoi(&voice[RATE..end], &noisy[RATE..end]),
                stoi(&voice[RATE..end], &clean[RATE + late..end + late]),
                10.0 * (pauses(&noisy, 0) / pauses(&clean, late)).log10()
            )
        };
        let mut engine = engine(true);
        let mut theirs = Vec::new();
        for block in noisy.chunks_exact(BLOCK_SAMPLES) {
            let mut clean = SILENCE;
            engine
                .process_render_f32(&[&SILENCE], &mut [&mut clean])
                .unwrap();
            engine
                .process_capture_f32(&[block], &mut [&mut clean])
                .unwrap();
            theirs.extend(clean);
        }
        let ours = run(Who::NoGain, &SILENCE, &noisy, 0.0, true);
        println!(
            "| {name} | {} | {} |",
            cell(theirs, Who::Engine.delay()),
            cell(ours, Who::NoGain.delay())
        );
    }
}

fn gain(near: &[f32]) {
    let seconds = [0, 1, 2, 4, 8, 16, 24];
    println!(
        "\nGain: level in dBFS of what leaves while somebody speaks, in the second from … on\n"
    );
    let head: Vec<String> = seconds.iter().map(|it| format!("{it} s")).collect();
    println!("| voice | {} | loudest sample |", head.join(" | "));
    println!("|---|{}---|", "---|".repeat(seconds.len()));
    for level in [-46.0, -36.0, -26.0, -16.0, -6.0] {
        let mut voice = at_level(near[..26 * RATE].to_vec(), level);
        for (sample, noise) in voice.iter_mut().zip(lab::noise(26 * RATE, -80.0, 60)) {
            *sample = (*sample + noise).clamp(-1.0, 1.0);
        }
        let left = run(Who::Chain, &SILENCE, &voice, 0.0, true);
        let cells: Vec<String> = seconds
            .iter()
            .map(|from| format!("{:.0}", active_level(&left[from * RATE..(from + 2) * RATE])))
            .collect();
        let loudest = left.iter().fold(0.0_f32, |it, sample| it.max(sample.abs()));
        println!("| {level} | {} | {loudest:.3} |", cells.join(" | "));
    }
}

/// Microseconds per block: median and worst of the blocks, each the fastest of five runs. Others
/// use this machine too.
fn timed<W: FnMut(usize)>(blocks: usize, mut fresh: impl FnMut() -> W) -> (f64, f64) {
    let mut times = vec![f64::MAX; blocks];
    for _ in 0..5 {
        let mut work = fresh();
        for (index, time) in times.iter_mut().enumerate() {
            let started = Instant::now();
            work(index);
            *time = time.min(started.elapsed().as_secs_f64() * 1e6);
        }
    }
    times.sort_by(f64::total_cmp);
    (times[blocks / 2], times[blocks - 1])
}

fn block(signal: &[f32], index: usize) -> Block {
    let samples = &signal[index * BLOCK_SAMPLES..][..BLOCK_SAMPLES];
    samples.try_into().unwrap()
}

fn cpu(far: &[f32], near: &[f32]) {
    let blocks = 1_500;
    let length = blocks * BLOCK_SAMPLES;
    let far = &far[..length];
    let (_, heard) = microphone(&laptop(1), far, Some(&near[..length]));
    println!(
        "\nCost per 10 ms block, both speak: median, worst, and median in percent of one core\n"
    );
    println!("| stage | µs | worst | % |");
    println!("|---|---|---|---|");
    let row = |name: &str, (median, worst): (f64, f64)| {
        println!(
            "| {name} | {median:.0} | {worst:.0} | {:.2} |",
            median / 100.0
        );
    };
    let canceller = || {
        let mut canceller = Aec3::new();
        let (heard, far) = (&heard, &far);
        move |index| canceller.process(&mut block(heard, index), &block(far, index))
    };
    row("echo cancellation", timed(blocks, canceller));
    let suppressor = || {
        let mut suppressor = RnNoise::new();
        let heard = &heard;
        move |index| {
            suppressor.process(&block(heard, index), &mut SILENCE.clone());
        }
    };
    row(
        "noise suppression, speech probability",
        timed(blocks, suppressor),
    );
    let control = || {
        let mut control = Agc2::new();
        let heard = &heard;
        move |index| control.process(&mut block(heard, index), 0.99)
    };
    row("gain", timed(blocks, control));
    for who in [Who::Echo, Who::Chain] {
        let chain = || {
            let (mut processing, reference) = Processing::new(who.settings());
            let mut speaker = Loudspeaker::new(Some(reference), 0.0, true);
            let (heard, far) = (&heard, &far);
            move |index| {
                let now = speaker.captured_at(index);
                speaker.play(far, now);
                processing.process(&mut block(heard, index), now);
            }
        };
        row(who.name(), timed(blocks, chain));
    }
    for (name, all) in [
        ("engine alone, echo", false),
        ("engine alone, echo+noise+gain", true),
    ] {
        let whole = || {
            let mut whole = engine(all);
            let mut config = whole.config().clone();
            config.gain_controller2 = all.then(|| GainController2 {
                adaptive_digital: Some(AdaptiveDigital::default()),
                ..GainController2::default()
            });
            whole.apply_config(config);
            let (heard, far) = (&heard, &far);
            move |index| {
                let mut scrap = SILENCE;
                whole
                    .process_render_f32(&[&block(far, index)], &mut [&mut scrap])
                    .unwrap();
                whole
                    .process_capture_f32(&[&block(heard, index)], &mut [&mut scrap])
                    .unwrap();
            }
        };
        row(name, timed(blocks, whole));
    }
}

/// The whole chain once, for a profiler: 15 s in which both speak.
fn profile(far: &[f32], near: &[f32]) {
    let length = 15 * RATE;
    let (_, heard) = microphone(&laptop(1), &far[..length], Some(&near[..length]));
    run(Who::Chain, &far[..length], &heard, 0.0, true);
}

fn main() {
    let asked: Vec<String> = std::env::args()
        .skip(1)
        .filter(|it| !it.starts_with('-'))
        .collect();
    let speech = speech::load(40.0);
    println!("Speech: {}", speech.source);
    for part in PARTS {
        let all = asked.is_empty() && part != "profile";
        if !all && !asked.iter().any(|it| it == part) {
            continue;
        }
        match part {
            "rooms" => rooms(&speech),
            "jump" => jump(&speech.far),
            "drift" => drift(&speech.far),
            "double-talk" => double_talk(&speech.far, &speech.near),
            "noise" => noise(&speech.near),
            "gain" => gain(&speech.near),
            "profile" => profile(&speech.far, &speech.near),
            _ => cpu(&speech.far, &speech.near),
        }
    }
}
