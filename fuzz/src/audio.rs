//! What a network can do to an [`AudioJitterBuffer`], whatever decoder is in it.

use std::time::{Duration, Instant};

use ahoy_audio::jitter::{AudioJitterBuffer, AudioReceiveStats};
use ahoy_audio::opus::SoundDecoder;
use ahoy_audio::{BLOCK_DURATION, BLOCK_SAMPLES, StereoBlock};
use ahoy_media::rtp::RtpPacket;
use arbitrary::Arbitrary;

use crate::{heap, tracked};

/// Packets that the buffer may hold (`MAX_PACKETS` there).
const MOST_PACKETS: usize = 256;
/// What the buffer may take from the heap beside the payloads.
const MOST_HEAP: usize = 2 << 20;
/// Blocks that are taken out per input, so that none takes long.
const MOST_BLOCKS: usize = 1_000;

/// Something that happens, with payloads of kind `P`.
#[derive(Debug, Arbitrary)]
pub enum Step<P> {
    /// The next packet, as long as the sender says, with what it holds.
    Next(P),
    /// A packet like that, with other numbers.
    Odd {
        sequence: i16,
        time: i32,
        payload: P,
    },
    /// A packet of another stream.
    Foreign {
        payload_type: u8,
        ssrc: u8,
        payload: P,
    },
    /// The last packet once more.
    Again,
    /// The sender left packets out, or the network lost them.
    Skip { packets: u8, samples: u16 },
    /// A packet that came so many ms ago.
    Late { ms: u16, payload: P },
    /// The sender begins anew somewhere else.
    Restart { sequence: u16, time: u32, ssrc: u8 },
    /// So many blocks are taken out at their times.
    Play(u8),
    /// Blocks are taken out although it is not their time.
    Hurry(u8),
    /// Time passes.
    Pass(u16),
    /// Lip-sync wants more delay, in ms.
    Delay(u16),
}

struct Sender {
    sequence: u16,
    time: u32,
    ssrc: u32,
    payload_type: u8,
}

struct Driver<D> {
    buffer: AudioJitterBuffer<D>,
    now: Instant,
    sender: Sender,
    last: Option<RtpPacket>,
    blocks: usize,
    heap: usize,
    samples: u64,
}

/// Does all of it. `payload` makes a payload and says how many samples it claims to hold.
pub fn run<P, D: SoundDecoder>(
    steps: Vec<Step<P>>,
    now: Instant,
    buffer: AudioJitterBuffer<D>,
    payload: impl Fn(P) -> (Vec<u8>, u32),
) {
    let mut driver = Driver {
        buffer,
        now,
        sender: Sender {
            sequence: u16::MAX - 2,
            time: u32::MAX - 2_000,
            ssrc: 1,
            payload_type: 111,
        },
        last: None,
        blocks: 0,
        heap: heap::held(),
        samples: 0,
    };
    for step in steps {
        driver.step(step, &payload);
        driver.check();
    }
}

impl<D: SoundDecoder> Driver<D> {
    fn step<P>(&mut self, step: Step<P>, make: &impl Fn(P) -> (Vec<u8>, u32)) {
        match step {
            Step::Next(payload) => {
                let (data, samples) = make(payload);
                let packet = self.packet(data);
                self.sender.sequence = self.sender.sequence.wrapping_add(1);
                self.sender.time = self.sender.time.wrapping_add(samples);
                self.push(packet);
            }
            Step::Odd {
                sequence,
                time,
                payload,
            } => {
                let mut packet = self.packet(make(payload).0);
                packet.sequence_number = packet.sequence_number.wrapping_add_signed(sequence);
                packet.timestamp = packet.timestamp.wrapping_add_signed(time);
                self.push(packet);
            }
            Step::Foreign {
                payload_type,
                ssrc,
                payload,
            } => {
                let mut packet = self.packet(make(payload).0);
                packet.payload_type = payload_type;
                packet.ssrc = u32::from(ssrc);
                self.push(packet);
            }
            Step::Again => {
                if let Some(packet) = self.last.clone() {
                    self.push(packet);
                }
            }
            Step::Skip { packets, samples } => {
                let sender = &mut self.sender;
                sender.sequence = sender.sequence.wrapping_add(u16::from(packets));
                sender.time = sender.time.wrapping_add(u32::from(samples));
            }
            Step::Late { ms, payload } => {
                let mut packet = self.packet(make(payload).0);
                let age = Duration::from_millis(u64::from(ms));
                packet.arrival = self.now.checked_sub(age).unwrap_or(self.now);
                self.push(packet);
            }
            Step::Restart {
                sequence,
                time,
                ssrc,
            } => {
                self.sender.sequence = sequence;
                self.sender.time = time;
                self.sender.ssrc = u32::from(ssrc);
            }
            Step::Play(blocks) => self.pull(blocks, BLOCK_DURATION),
            Step::Hurry(blocks) => self.pull(blocks, Duration::ZERO),
            Step::Pass(ms) => self.now += Duration::from_millis(u64::from(ms)),
            Step::Delay(ms) => {
                let delay = Duration::from_millis(u64::from(ms) % 2_000);
                self.buffer.set_additional_delay(delay);
            }
        }
    }

    fn packet(&self, data: Vec<u8>) -> RtpPacket {
        RtpPacket {
            payload_type: self.sender.payload_type,
            ssrc: self.sender.ssrc,
            sequence_number: self.sender.sequence,
            timestamp: self.sender.time,
            marker: false,
            payload: tracked::payload(data),
            arrival: self.now,
        }
    }

    fn push(&mut self, packet: RtpPacket) {
        // The copy does not count as held.
        self.last = Some(RtpPacket {
            payload: bytes::Bytes::copy_from_slice(&packet.payload),
            ..packet.clone()
        });
        self.buffer.push(packet, self.now);
    }

    fn pull(&mut self, blocks: u8, each: Duration) {
        for _ in 0..blocks {
            if self.blocks == MOST_BLOCKS {
                return;
            }
            self.blocks += 1;
            let mut block: StereoBlock = [[7.0; 2]; BLOCK_SAMPLES];
            self.buffer.pull_10ms(self.now, &mut block);
            for sample in block.as_flattened() {
                assert!(sample.abs() <= 1.0, "{sample} is louder than full scale");
            }
            self.now += each;
        }
    }

    fn check(&mut self) {
        let held = tracked::packets();
        assert!(held <= MOST_PACKETS, "{held} packets are held");
        let payloads = tracked::bytes();
        let heap = heap::held().saturating_sub(self.heap + payloads);
        assert!(heap <= MOST_HEAP, "{heap} bytes of heap are held");
        let AudioReceiveStats {
            jitter,
            total_samples_received,
            jitter_buffer_delay,
            jitter_buffer_target_delay,
            total_audio_energy,
            total_samples_duration,
            ..
        } = self.buffer.stats();
        for figure in [
            jitter,
            jitter_buffer_delay,
            jitter_buffer_target_delay,
            total_audio_energy,
            total_samples_duration,
        ] {
            assert!(figure.is_finite() && figure >= 0.0, "{figure}");
        }
        assert!(total_samples_received >= self.samples);
        assert!(total_samples_received <= (self.blocks * BLOCK_SAMPLES) as u64);
        self.samples = total_samples_received;
    }
}
