//! One network after the other, and what they did to the speech.

use std::collections::HashSet;
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ahoy_audio::jitter::{AudioJitterBuffer, AudioReceiveStats};
use ahoy_audio::opus::{Content, Encoded, EncoderSettings, OpusEncoder};
use ahoy_audio::{BLOCK_SAMPLES, StereoBlock};
use ahoy_media::frame::Copies;
use ahoy_media::rtp::RtpPacket;
use bytes::Bytes;

use crate::trace::Trace;

/// A line of the table.
pub(crate) struct Case {
    pub(crate) trace: Trace,
    pub(crate) settings: EncoderSettings,
    /// It is run once with each, which gives the packets another fate.
    pub(crate) seeds: Range<u64>,
}

impl Case {
    pub(crate) fn name(&self) -> String {
        let Trace { loss, burst, .. } = self.trace;
        if loss == 0.0 {
            return self.trace.name.to_owned();
        }
        let kbps = self.settings.bitrate.kbps();
        let bursts = if burst > 1.0 {
            format!(", {burst} in a row")
        } else {
            String::new()
        };
        format!("{:.0} % lost{bursts}, {kbps} kbit/s", loss * 100.0)
    }

    /// How it is protected.
    fn protection(&self) -> String {
        let mut kinds = Vec::new();
        if self.settings.fec {
            kinds.push(format!("FEC {} %", self.settings.expected_loss));
        }
        if !self.settings.dred.is_zero() {
            kinds.push(format!("DRED {} ms", self.settings.dred.as_millis()));
        }
        if self.settings.copies != Copies::NONE {
            let distances: Vec<String> = self
                .settings
                .copies
                .distances()
                .map(|it| it.to_string())
                .collect();
            kinds.push(format!("copies {} later", distances.join(" and ")));
        }
        kinds.join(", ")
    }
}

struct Outcome {
    played: Vec<f32>,
    stats: AudioReceiveStats,
    /// Of the recording as a file.
    shift_ms: f64,
    delay_ms: f64,
    /// What a packet waited on average.
    buffer_ms: f64,
    cpu_us: f64,
}

pub(crate) fn run(cases: &[Case]) {
    let speech = speech();
    let folder = std::env::temp_dir().join(format!("ahoy-receive-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let reference = folder.join("reference.wav");
    write(&reference, &speech);

    let mut outcomes = Vec::new();
    let mut jobs = Vec::new();
    for case in cases {
        let settling = case.trace.settling_ms() * 48;
        let said = [&speech[speech.len() - settling..], &speech].concat();
        let (packets, kbps) = encode(&said, case.settings);
        for seed in case.seeds.clone() {
            let outcome = play(&packets, case, seed, &said, settling);
            let path = folder.join(format!("{}.wav", jobs.len()));
            write(&path, &outcome.played);
            jobs.push(format!(
                "{} {} {}",
                reference.display(),
                path.display(),
                outcome.shift_ms
            ));
            outcomes.push((outcome, kbps));
        }
    }
    let scores = scores(&jobs);
    if std::env::var_os("AHOY_KEEP").is_none() {
        let _ = std::fs::remove_dir_all(&folder);
    }
    if scores.is_none() {
        println!("PESQ and STOI are not available: they want Python with pesq and pystoi.\n");
    }
    println!(
        "| {:<34} | {:<20} | kbit/s | PESQ | STOI | delay ms | buffer ms | concealed % | FEC % | DRED % | stretched % | underruns | CPU us/10 ms |",
        "network", "protection"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    let mut at = 0;
    for case in cases {
        let seeds = case.seeds.clone().count();
        let range = at..at + seeds;
        at += seeds;
        let mean = |value: &dyn Fn(&Outcome) -> f64| {
            outcomes[range.clone()]
                .iter()
                .map(|(outcome, _)| value(outcome))
                .sum::<f64>()
                / seeds as f64
        };
        let share = |part: fn(&AudioReceiveStats) -> u64| {
            mean(&|it| {
                100.0 * part(&it.stats) as f64 / it.stats.total_samples_received.max(1) as f64
            })
        };
        let score = |which: usize| match &scores {
            Some(scores) => {
                let sum: f64 = scores[range.clone()].iter().map(|it| it[which]).sum();
                format!("{:.2}", sum / seeds as f64)
            }
            None => "-".to_owned(),
        };
        println!(
            "| {:<34} | {:<20} | {:6.1} | {:>4} | {:>4} | {:8.0} | {:9.0} | {:11.1} | {:5.1} | {:6.1} | {:11.2} | {:9.1} | {:12.0} |",
            case.name(),
            case.protection(),
            outcomes[range.start].1,
            score(0),
            score(1),
            mean(&|it| it.delay_ms),
            mean(&|it| it.buffer_ms),
            share(|it| it.concealed_samples),
            share(|it| it.fec_samples),
            share(|it| it.dred_samples),
            share(|it| it.inserted_samples_for_deceleration + it.removed_samples_for_acceleration),
            mean(&|it| it.stats.underruns as f64),
            mean(&|it| it.cpu_us),
        );
    }
}

/// What is said, 48 kHz.
fn speech() -> Vec<f32> {
    let path = std::env::var("AHOY_SPEECH").expect("AHOY_SPEECH names a WAV file, see speech.sh");
    let mut file = hound::WavReader::open(path).unwrap();
    assert_eq!((file.spec().sample_rate, file.spec().channels), (48_000, 1));
    file.samples::<i16>()
        .map(|sample| f32::from(sample.unwrap()) / 32_768.0)
        .collect()
}

fn write(path: &Path, samples: &[f32]) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 48_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut file = hound::WavWriter::create(path, spec).unwrap();
    for sample in samples {
        file.write_sample((sample * 32_767.0) as i16).unwrap();
    }
    file.finalize().unwrap();
}

/// Of each copy in a packet (RFC 2198 section 3), in bytes.
const COPY_HEADER: u64 = 4;

/// The packets, and how many kbit/s they are with their copies.
fn encode(speech: &[f32], settings: EncoderSettings) -> (Vec<Bytes>, f64) {
    let mut encoder = OpusEncoder::new(Content::Voice, settings).unwrap();
    let samples = encoder.frame_samples();
    let packets: Vec<Bytes> = speech
        .chunks_exact(samples)
        .map(|frame| {
            let frame: Vec<[f32; 2]> = frame.iter().map(|sample| [*sample; 2]).collect();
            match encoder.encode(&frame).unwrap() {
                Encoded::Packet(packet) | Encoded::Silence(packet) => packet,
            }
        })
        .collect();
    let bytes: usize = packets.iter().map(Bytes::len).sum();
    let times = encoder.copies().times();
    let headers = packets.len() as u64 * (times - 1) * COPY_HEADER;
    let bytes = bytes as u64 * times + headers;
    let kbps = bytes as f64 * 8.0 / (speech.len() as f64 / 48.0);
    (packets, kbps)
}

/// Of what is played, what belongs to the first `settling` samples is left out.
fn play(packets: &[Bytes], case: &Case, seed: u64, said: &[f32], settling: usize) -> Outcome {
    let speech = &said[settling..];
    let samples = case.settings.frame_length.samples();
    let packet_ms = samples as f64 / 48.0;
    let start = Instant::now();
    let at = |ms: f64| start + Duration::from_secs_f64(ms / 1_000.0);
    let mut arrivals: Vec<(f64, RtpPacket)> = case
        .trace
        .arrivals(packets.len(), packet_ms, 1 + 1_000 * seed)
        .into_iter()
        .enumerate()
        .flat_map(|(number, arrival)| {
            let distances = [0].into_iter().chain(case.settings.copies.distances());
            let numbers = distances.filter_map(move |back| number.checked_sub(back.into()));
            numbers.filter_map(move |number| Some((number, arrival?)))
        })
        .map(|(number, arrival)| {
            let packet = RtpPacket {
                payload_type: 111,
                ssrc: 1,
                sequence_number: number as u16,
                timestamp: (number * samples) as u32,
                marker: false,
                payload: packets[number].clone(),
                arrival: at(arrival),
            };
            (arrival, packet)
        })
        .collect();
    arrivals.sort_by(|left, right| left.0.total_cmp(&right.0));
    // What came already is not given to the jitter buffer again.
    let mut came = HashSet::new();
    arrivals.retain(|(_, packet)| came.insert(packet.sequence_number));
    let mut arrivals = arrivals.into_iter().peekable();

    let mut buffer = AudioJitterBuffer::new(start).unwrap();
    let mut block: StereoBlock = [[0.0; 2]; BLOCK_SAMPLES];
    let mut played = Vec::with_capacity(said.len() + 48_000);
    let mut busy = Duration::ZERO;
    let blocks = said.len() / BLOCK_SAMPLES + 60;
    // Between the packets, as luck has it.
    let phase = 3.0 + (seed * 2 % 10) as f64;
    let mut stats = AudioReceiveStats::default();
    for number in 0..blocks {
        if number == said.len() / BLOCK_SAMPLES {
            // What is concealed after the last packet is nobody's fault.
            stats = buffer.stats();
        }
        let now = number as f64 * 10.0 + phase;
        let began = Instant::now();
        while let Some((ms, packet)) = arrivals.next_if(|(ms, _)| *ms <= now) {
            buffer.push(packet, at(ms));
        }
        buffer.pull_10ms(at(now), &mut block);
        busy += began.elapsed();
        played.extend(block.iter().map(|pair| pair[0]));
    }
    played.drain(..settling);
    let shift_ms = shift_ms(speech, &played);
    Outcome {
        played,
        stats,
        shift_ms,
        // The first sample was pulled at `phase`; the packet's own length is the sender's.
        delay_ms: shift_ms + phase - packet_ms,
        buffer_ms: 1_000.0 * stats.jitter_buffer_delay
            / stats.jitter_buffer_emitted_count.max(1) as f64,
        cpu_us: busy.as_secs_f64() * 1e6 / blocks as f64,
    }
}

/// Median over windows of 2 s of the shift at which the recording resembles the speech most.
fn shift_ms(speech: &[f32], played: &[f32]) -> f64 {
    const DECIMATION: usize = 8;
    const WINDOW: usize = 2 * 48_000 / DECIMATION;
    const MOST: usize = 48_000 / DECIMATION * 3 / 4;
    let slow = |samples: &[f32]| -> Vec<f32> {
        let chunks = samples.as_chunks::<DECIMATION>().0.iter();
        chunks.map(|it| it.iter().sum()).collect()
    };
    let (speech, played) = (slow(speech), slow(played));
    let mut delays: Vec<usize> = (1..)
        .map(|window| window * WINDOW)
        .take_while(|start| start + WINDOW + MOST <= played.len().min(speech.len()))
        .map(|start| {
            let said = &speech[start..start + WINDOW];
            (0..MOST)
                .map(|lag| {
                    let heard = &played[start + lag..start + lag + WINDOW];
                    let both: f32 = said.iter().zip(heard).map(|(a, b)| a * b).sum();
                    let energy: f32 = heard.iter().map(|sample| sample * sample).sum();
                    (lag, both / energy.max(1e-9).sqrt())
                })
                .max_by(|left, right| left.1.total_cmp(&right.1))
                .unwrap()
                .0
        })
        .collect();
    delays.sort_unstable();
    delays[delays.len() / 2] as f64 * DECIMATION as f64 / 48.0
}

/// PESQ and STOI of each job; `None` when Python or its packages are missing.
fn scores(jobs: &[String]) -> Option<Vec<[f64; 2]>> {
    let python = std::env::var("AHOY_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/receive/score.py");
    let mut child = Command::new(python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut input = child.stdin.take()?;
    // Fails when Python has given up, which its output then shows.
    let _ = input.write_all((jobs.join("\n") + "\n").as_bytes());
    drop(input);
    let output = child.wait_with_output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let scores: Vec<[f64; 2]> = text
        .lines()
        .filter_map(|line| {
            let (pesq, stoi) = line.split_once(' ')?;
            Some([pesq.parse().ok()?, stoi.parse().ok()?])
        })
        .collect();
    (scores.len() == jobs.len()).then_some(scores)
}
