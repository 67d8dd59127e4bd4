//! Which packets came, came twice or are missing: sequence arithmetic and the counters of
//! RFC 3550 appendix A.

use std::time::{Duration, Instant};

use ahoy_media::rtp::RtpPacket;
use ahoy_media::units::VIDEO_CLOCK_HZ;

/// How far back a packet is recognised as new or duplicate. Older ones are nobody's repair.
const WINDOW: i64 = 2048;
/// A packet further ahead than this begins a new stream: thousands of packets do not get lost in
/// a row (RFC 3550 appendix A.1, `MAX_DROPOUT`).
const MAX_DROPOUT: i64 = 3000;

/// What a packet is, by its sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Not seen before; its number without wraps.
    New(i64),
    /// The sender began anew; its number without wraps.
    NewStream(i64),
    /// Seen before.
    Duplicate,
    /// Much too old or too new. The next packet tells whether it begins a new stream.
    Suspicious,
}

/// The books about one stream.
#[derive(Debug, Default)]
pub(super) struct PacketLog {
    stream: Option<Stream>,
    /// Number after a suspicious packet's.
    suspicious: Option<u16>,
    received: u64,
    duplicates: u64,
    /// Packets expected in streams before the present one.
    expected_before: u64,
    transit: Option<(u32, Instant)>,
    jitter_ticks: f64,
}

#[derive(Debug)]
struct Stream {
    ssrc: u32,
    first: i64,
    highest: i64,
    /// Bit `n % WINDOW`: packet `n` came, for the last `WINDOW` numbers up to `highest`.
    seen: Vec<u64>,
}

impl PacketLog {
    /// Enters a packet.
    pub(super) fn register(&mut self, packet: &RtpPacket) -> Arrival {
        let arrival = self.classify(packet);
        match arrival {
            Arrival::New(_) | Arrival::NewStream(_) => {
                self.received += 1;
                self.suspicious = None;
            }
            Arrival::Duplicate => self.duplicates += 1,
            Arrival::Suspicious => {
                self.suspicious = Some(packet.sequence_number.wrapping_add(1));
            }
        }
        arrival
    }

    /// Different packets that came.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Packets that came again.
    pub(super) fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Packets expected less packets received.
    pub(super) fn lost(&self) -> u64 {
        let expected = self.expected_before + self.stream.as_ref().map_or(0, Stream::expected);
        expected.saturating_sub(self.received)
    }

    /// Interarrival jitter (RFC 3550 appendix A.8).
    pub(super) fn jitter(&self) -> Duration {
        Duration::from_secs_f64(self.jitter_ticks / f64::from(VIDEO_CLOCK_HZ))
    }

    fn classify(&mut self, packet: &RtpPacket) -> Arrival {
        let Some(stream) = self
            .stream
            .as_mut()
            .filter(|stream| stream.ssrc == packet.ssrc)
        else {
            return self.begin(packet);
        };
        let sequence = stream.unwrap(packet.sequence_number);
        let distance = sequence - stream.highest;
        if distance <= -WINDOW || distance > MAX_DROPOUT {
            if self.suspicious == Some(packet.sequence_number) {
                return self.begin(packet);
            }
            return Arrival::Suspicious;
        }
        if !stream.mark(sequence) {
            return Arrival::Duplicate;
        }
        stream.first = stream.first.min(sequence);
        // Repairs are late by design and say nothing about the path's jitter.
        if distance > 0 {
            self.update_jitter(packet);
        }
        Arrival::New(sequence)
    }

    fn begin(&mut self, packet: &RtpPacket) -> Arrival {
        let again = self.stream.take();
        self.expected_before += again.as_ref().map_or(0, Stream::expected);
        let sequence = i64::from(packet.sequence_number);
        let mut stream = Stream {
            ssrc: packet.ssrc,
            first: sequence,
            highest: sequence - 1,
            seen: vec![0; WINDOW as usize / 64],
        };
        stream.mark(sequence);
        self.stream = Some(stream);
        self.transit = Some((packet.timestamp, packet.arrival));
        match again {
            Some(_) => Arrival::NewStream(sequence),
            None => Arrival::New(sequence),
        }
    }

    fn update_jitter(&mut self, packet: &RtpPacket) {
        let Some((timestamp, arrival)) = self.transit.replace((packet.timestamp, packet.arrival))
        else {
            return;
        };
        let ticks = packet
            .arrival
            .saturating_duration_since(arrival)
            .as_secs_f64()
            * f64::from(VIDEO_CLOCK_HZ);
        let sent = f64::from(packet.timestamp.wrapping_sub(timestamp).cast_signed());
        let difference = (ticks - sent).abs();
        // A pause of the camera is no jitter.
        if difference < f64::from(VIDEO_CLOCK_HZ) {
            self.jitter_ticks += (difference - self.jitter_ticks) / 16.0;
        }
    }
}

impl Stream {
    fn expected(&self) -> u64 {
        (self.highest - self.first + 1).unsigned_abs()
    }

    /// The number nearest to the highest one that ends in these 16 bits.
    fn unwrap(&self, sequence_number: u16) -> i64 {
        let ahead = sequence_number
            .wrapping_sub(self.highest as u16)
            .cast_signed();
        self.highest + i64::from(ahead)
    }

    /// Notes that the packet came; false if it had come before.
    fn mark(&mut self, sequence: i64) -> bool {
        for between in self.highest + 1..=sequence {
            let (word, bit) = place(between);
            self.seen[word] &= !bit;
        }
        self.highest = self.highest.max(sequence);
        let (word, bit) = place(sequence);
        let new = self.seen[word] & bit == 0;
        self.seen[word] |= bit;
        new
    }
}

fn place(sequence: i64) -> (usize, u64) {
    let index = sequence.rem_euclid(WINDOW) as usize;
    (index / 64, 1 << (index % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn packet(sequence_number: u16, timestamp: u32, arrival: Instant) -> RtpPacket {
        RtpPacket {
            payload_type: 96,
            ssrc: 1,
            sequence_number,
            timestamp,
            marker: false,
            payload: Bytes::new(),
            arrival,
        }
    }

    #[test]
    fn numbers_wrap_and_repairs_fill_gaps() {
        let now = Instant::now();
        let mut log = PacketLog::default();
        let mut register = |number| log.register(&packet(number, 0, now));
        assert_eq!(register(65534), Arrival::New(65534));
        assert_eq!(register(1), Arrival::New(65537));
        assert_eq!(register(65535), Arrival::New(65535));
        assert_eq!(register(1), Arrival::Duplicate);
        assert_eq!(register(65533), Arrival::New(65533));
        assert_eq!((log.received(), log.lost(), log.duplicates()), (4, 1, 1));
    }

    #[test]
    fn one_stray_packet_does_not_restart_the_stream_but_two_do() {
        let now = Instant::now();
        let mut log = PacketLog::default();
        let mut register = |number| log.register(&packet(number, 0, now));
        assert_eq!(register(100), Arrival::New(100));
        assert_eq!(register(30000), Arrival::Suspicious);
        assert_eq!(register(101), Arrival::New(101));
        assert_eq!(register(30001), Arrival::Suspicious);
        assert_eq!(register(30002), Arrival::NewStream(30002));
        assert_eq!(register(30003), Arrival::New(30003));
        assert_eq!(log.lost(), 0);
    }

    #[test]
    fn jitter_is_that_of_the_rfc() {
        let start = Instant::now();
        let mut log = PacketLog::default();
        for number in 0..2000_u16 {
            let wobble = Duration::from_millis(if number % 2 == 0 { 0 } else { 8 });
            let arrival = start + Duration::from_millis(20) * u32::from(number) + wobble;
            log.register(&packet(number, u32::from(number) * 1800, arrival));
        }
        let jitter = log.jitter().as_secs_f64();
        assert!((0.0079..0.0081).contains(&jitter), "{jitter}");
    }
}
