//! What the video path costs per picture: the encoder at several efforts beside the `vpx-encode`
//! crate, the decoder, the conversions. Prints tables of CPU time, which holds on a busy machine
//! better than wall time does.
//!
//! `cargo bench -p ahoy-video --bench vp8`, with `AHOY_CLIP=clip.y4m` (1280x720, 4:2:0) of that clip
//! instead of the drawn one.

#![expect(clippy::print_stdout, reason = "the tables are what it is for")]
#![expect(
    clippy::unwrap_used,
    reason = "a measurement that fails has nobody to tell"
)]

use std::path::Path;
use std::time::{Duration, Instant};

use ahoy_media::frame::I420;
use ahoy_media::units::{Bitrate, Resolution};
use ahoy_video::capture::VideoSource;
use ahoy_video::capture::convert::Converter;
use ahoy_video::capture::mode::PixelFormat;
use ahoy_video::capture::pattern::PatternSource;
use ahoy_video::capture::scale::Scaler;
use ahoy_video::capture::y4m::Y4mHeader;
use ahoy_video::rtp_vp8::Vp8Packetizer;
use ahoy_video::vp8::{Vp8Decoder, Vp8Encoder, Vp8EncoderConfig};

const HD: Resolution = Resolution::new(1280, 720);
/// A second and a half at 30 per second: the rate control has settled by then.
const FRAMES: u32 = 45;
const FRAME_RATE: u32 = 30;

fn main() {
    // `cargo test --all-targets` runs this too, without the flag; it is not interested in figures.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let given = std::env::var_os("AHOY_CLIP");
    let clip = given.map_or_else(|| clip(HD), |path| read(path.as_ref()));
    println!("VP8 encoding, {HD}, 2500 kbit/s, {FRAMES} pictures");
    head();
    for cpu_used in [-4, -6, -8, -10, -12, -13, -14, -15, -16] {
        ours(&clip, 2500, cpu_used, false).print(&format!("ours, cpu-used {cpu_used}"));
    }
    ours(&clip, 2500, -12, true).print("ours, -12, error resilient");
    yardstick(&clip, 2500).print("vpx-encode 0.6.2");

    for (width, height, kbps) in [(640, 360, 250), (320, 180, 100)] {
        println!("\nVP8 encoding, {width}x{height}, {kbps} kbit/s");
        head();
        let small: Vec<I420> = clip
            .iter()
            .map(|picture| scaled(picture, width, height))
            .collect();
        for cpu_used in [-2, -4, -6, -8, -10, -12, -14, -16] {
            ours(&small, kbps, cpu_used, false).print(&format!("ours, cpu-used {cpu_used}"));
        }
        ours(&small, kbps, -12, true).print("ours, -12, error resilient");
    }
    others(&clip);
}

/// One line of the encoder tables.
struct Line {
    cpu: Duration,
    wall: Duration,
    bytes: usize,
    longest_ms: f64,
    sent: u32,
    psnr: f64,
}

fn head() {
    println!(
        "{:28} {:>8} {:>8} {:>9} {:>8} {:>7} {:>8}",
        "", "CPU ms", "wall ms", "worst ms", "kbit/s", "frames", "PSNR-Y"
    );
}

impl Line {
    fn print(&self, name: &str) {
        let per_frame = |time: Duration| time.as_secs_f64() * 1000.0 / f64::from(FRAMES);
        let kbps = self.bytes as f64 * 8.0 * f64::from(FRAME_RATE) / f64::from(FRAMES) / 1000.0;
        println!(
            "{name:28} {:8.2} {:8.2} {:9.1} {kbps:8.0} {:7} {:8.2}",
            per_frame(self.cpu),
            per_frame(self.wall),
            self.longest_ms,
            self.sent,
            self.psnr
        );
    }
}

/// Encodes with `encode`, which may drop a frame, and decodes for the comparison.
fn measure(clip: &[I420], mut encode: impl FnMut(u32, &I420) -> Option<Vec<u8>>) -> Line {
    let mut decoder = Vp8Decoder::new();
    let mut line = Line {
        cpu: Duration::ZERO,
        wall: Duration::ZERO,
        bytes: 0,
        longest_ms: 0.0,
        sent: 0,
        psnr: 0.0,
    };
    for (number, picture) in (0..).zip(clip) {
        let (cpu, wall) = (cpu_time(), Instant::now());
        let data = encode(number, picture);
        let took = wall.elapsed();
        line.cpu += cpu_time() - cpu;
        line.wall += took;
        line.longest_ms = line.longest_ms.max(took.as_secs_f64() * 1000.0);
        if let Some(data) = data {
            line.sent += 1;
            line.bytes += data.len();
            line.psnr += psnr(picture, &decoder.decode(&data).unwrap().unwrap());
        }
    }
    line.psnr /= f64::from(line.sent);
    line
}

fn ours(clip: &[I420], kbps: u64, cpu_used: i32, error_resilient: bool) -> Line {
    let config = Vp8EncoderConfig {
        cpu_used,
        error_resilient,
        ..Vp8EncoderConfig::new(clip[0].resolution(), Bitrate::from_kbps(kbps), FRAME_RATE)
    };
    let mut encoder = Vp8Encoder::new(config).unwrap();
    measure(clip, |number, picture| {
        let frame = encoder
            .encode(picture, number * 3000, Instant::now(), false)
            .unwrap();
        frame.map(|frame| frame.data.to_vec())
    })
}

fn yardstick(clip: &[I420], kbps: u32) -> Line {
    let Resolution { width, height } = clip[0].resolution();
    let mut encoder = vpx_encode::Encoder::new(vpx_encode::Config {
        width,
        height,
        timebase: [1, FRAME_RATE.cast_signed()],
        bitrate: kbps,
        codec: vpx_encode::VideoCodecId::VP8,
    })
    .unwrap();
    measure(clip, |number, picture| {
        let mut packets = encoder
            .encode(i64::from(number), picture.as_bytes())
            .unwrap();
        packets.next().map(|frame| frame.data.to_vec())
    })
}

/// Everything but encoding.
fn others(clip: &[I420]) {
    println!("\n{:44} {:>8}", "one picture", "CPU ms");
    let config = Vp8EncoderConfig::new(HD, Bitrate::from_kbps(2500), FRAME_RATE);
    let mut encoder = Vp8Encoder::new(config).unwrap();
    let frames: Vec<_> = (0..)
        .zip(clip)
        .filter_map(|(number, picture)| {
            encoder
                .encode(picture, number * 3000, Instant::now(), false)
                .unwrap()
        })
        .collect();
    let mut decoder = Vp8Decoder::new();
    cost(
        "VP8 decoding, 1280x720, 2500 kbit/s",
        frames.len(),
        |index| {
            decoder.decode(&frames[index].data).unwrap();
        },
    );
    let mut packetizer = Vp8Packetizer::new(0);
    cost("packets of one frame", frames.len(), |index| {
        packetizer.packetize(&frames[index].data).count();
    });

    let mut converter = Converter::new();
    let mut target = I420::black(HD);
    let pixels = HD.pixels() as usize;
    let noise: Vec<u8> = (0..pixels * 3)
        .map(|index| (index * 7 + index / 1280) as u8)
        .collect();
    for (name, format) in [
        ("YUYV into I420, 1280x720", PixelFormat::Yuyv),
        ("NV12 into I420, 1280x720", PixelFormat::Nv12),
        ("RGB into I420, 1280x720", PixelFormat::Rgb),
    ] {
        cost(name, 30, |_| {
            converter.convert(format, 0, &noise, &mut target).unwrap()
        });
    }
    let jpeg = include_bytes!("../tests/data/test-camera-37.jpg");
    cost("MJPEG (4:2:2) into I420, 1280x720", 30, |_| {
        converter
            .convert(PixelFormat::Mjpeg, 0, jpeg, &mut target)
            .unwrap();
    });

    let mut scaler = Scaler::new();
    let full = scaled(&clip[0], 1920, 1080);
    for (name, source, width, height) in [
        ("scaling 1920x1080 to 1280x720", &full, 1280, 720),
        ("scaling 1280x720 to 960x540", &clip[0], 960, 540),
        ("scaling 1280x720 to 640x360", &clip[0], 640, 360),
        ("scaling 1280x720 to 480x270", &clip[0], 480, 270),
    ] {
        let mut target = I420::black(Resolution::new(width, height));
        cost(name, 20, |_| scaler.scale(source, &mut target).unwrap());
    }
    let mut pattern = PatternSource::new("1280x720@60".parse().unwrap());
    cost("drawing the test picture, 1280x720", 20, |_| {
        drop(pattern.next_frame().unwrap())
    });
}

fn cost(name: &str, times: usize, mut run: impl FnMut(usize)) {
    let began = cpu_time();
    (0..times).for_each(&mut run);
    let each = (cpu_time() - began).as_secs_f64() * 1000.0 / times as f64;
    println!("{name:44} {each:8.3}");
}

/// CPU time of all threads of this process: libvpx may have some of its own.
fn cpu_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a live structure of the right type.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn psnr(a: &I420, b: &I420) -> f64 {
    let (a, b) = (a.planes().0, b.planes().0);
    let squares: u64 = a
        .iter()
        .zip(b)
        .map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2))
        .sum();
    10.0 * (255.0_f64.powi(2) * a.len() as f64 / squares.max(1) as f64).log10()
}

fn scaled(picture: &I420, width: u32, height: u32) -> I420 {
    let mut target = I420::black(Resolution::new(width, height));
    Scaler::new().scale(picture, &mut target).unwrap();
    target
}

/// Like a person before a wall: a textured background that stands still but for the sensor's
/// noise, and a textured shape that sways in front of it.
fn clip(resolution: Resolution) -> Vec<I420> {
    let (width, height) = (resolution.width as usize, resolution.height as usize);
    let mut random = 0x1234_5678_u32;
    let texture: Vec<u8> = (0..width * height)
        .map(|index| {
            let (x, y) = ((index % width) as f32, (index / width) as f32);
            let wave = (x / 23.0).sin() * 18.0
                + (y / 17.0 + x / 61.0).sin() * 22.0
                + (x * y / 9000.0).sin() * 14.0;
            (120.0 + wave + (next(&mut random) % 9) as f32) as u8
        })
        .collect();
    (0..FRAMES)
        .map(|number| {
            let mut picture = I420::black(resolution);
            let sway = (number as f32 / 9.0).sin() * width as f32 * 0.06;
            let (luma, u, v) = picture.planes_mut();
            for (index, sample) in luma.iter_mut().enumerate() {
                let (x, y) = (index % width, index / width);
                let (dx, dy) = (
                    x as f32 - width as f32 / 2.0 - sway,
                    y as f32 - height as f32 * 0.6,
                );
                let inside = (dx / (width as f32 * 0.18)).powi(2)
                    + (dy / (height as f32 * 0.45)).powi(2)
                    < 1.0;
                let from = if inside {
                    (x as f32 - sway) as usize % width + (y + 200) % height * width
                } else {
                    index
                };
                let noise = (next(&mut random) % 5) as u8;
                *sample = texture[from].saturating_add(noise) - 2 + if inside { 30 } else { 0 };
            }
            for (index, (u, v)) in u.iter_mut().zip(v).enumerate() {
                (*u, *v) = (110 + (index % 37) as u8 / 4, 140 + (index % 29) as u8 / 4);
            }
            picture
        })
        .collect()
}

/// The first pictures of a y4m file.
fn read(path: &Path) -> Vec<I420> {
    let bytes = std::fs::read(path).unwrap();
    let mut rest = bytes.as_slice();
    let head = Y4mHeader::parse(line(&mut rest)).unwrap();
    assert_eq!(head.resolution, HD, "the size that is measured");
    let picture = |_| {
        line(&mut rest);
        let mut picture = I420::black(HD);
        let (luma, u, v) = picture.planes_mut();
        for plane in [luma, u, v] {
            plane.copy_from_slice(rest.split_off(..plane.len()).unwrap());
        }
        picture
    };
    (0..FRAMES).map(picture).collect()
}

/// Takes the first line from `bytes`, without its line feed.
fn line<'a>(bytes: &mut &'a [u8]) -> &'a [u8] {
    let at = bytes.iter().position(|byte| *byte == b'\n').unwrap();
    let line = bytes.split_off(..at).unwrap();
    bytes.split_off_first().unwrap();
    line
}

/// Xorshift: noise that is the same in every run.
fn next(state: &mut u32) -> u32 {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    *state
}
