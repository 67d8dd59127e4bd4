//! Which packets belong to the stream: source, wrapping numbers, restarts.

use ahoy_media::rtp::RtpPacket;

/// A jump ahead of up to this many packets is loss, a larger one a restart (RFC 3550 appendix A.1).
const MAX_DROPOUT: i32 = 3_000;
/// A packet of up to this many packets ago is late, an older one a stray (RFC 3550 appendix A.1
/// has 100).
const MAX_MISORDER: i32 = 100;
/// Largest difference between two media times of one stream: 60 s in samples.
const MAX_TIME_JUMP: i64 = 60 * 48_000;

/// Follows the numbers of one stream. After a restart of the sender, or when another source
/// takes over, two packets in a row are needed before it is believed: strays change nothing.
#[derive(Debug, Clone, Default)]
pub(super) struct Sequence {
    stream: Option<Stream>,
    candidate: Option<(u32, u8, u16)>,
    expected_before: u64,
}

#[derive(Debug, Clone)]
struct Stream {
    ssrc: u32,
    payload_type: u8,
    first: i64,
    highest: i64,
    timestamp: i64,
}

/// What a packet is to the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Part of it, with its unwrapped media time.
    Member { timestamp: i64 },
    /// The first of a new stream; what was collected so far is over.
    Restart { timestamp: i64 },
    /// Not part of it.
    Stray,
}

impl Sequence {
    /// Sorts a packet in. `plausible` judges an unwrapped media time against the clock.
    pub(super) fn judge(&mut self, packet: &RtpPacket, plausible: impl Fn(i64) -> bool) -> Verdict {
        let Some(stream) = &mut self.stream else {
            return self.begin(packet);
        };
        let ahead = i32::from(packet.sequence_number.wrapping_sub(stream.highest as u16) as i16);
        let timestamp = stream.timestamp
            + i64::from(packet.timestamp.wrapping_sub(stream.timestamp as u32) as i32);
        let same = (stream.ssrc, stream.payload_type) == (packet.ssrc, packet.payload_type);
        let near = (-MAX_MISORDER..=MAX_DROPOUT).contains(&ahead)
            && (timestamp - stream.timestamp).abs() <= MAX_TIME_JUMP;
        if same && near && plausible(timestamp) {
            self.candidate = None;
            stream.first = stream.first.min(stream.highest + i64::from(ahead));
            if ahead > 0 {
                stream.highest += i64::from(ahead);
                stream.timestamp = timestamp;
            }
            return Verdict::Member { timestamp };
        }
        let this = (packet.ssrc, packet.payload_type, packet.sequence_number);
        if self.candidate == Some(this) {
            return self.begin(packet);
        }
        let next = packet.sequence_number.wrapping_add(1);
        self.candidate = Some((packet.ssrc, packet.payload_type, next));
        Verdict::Stray
    }

    /// Packets that the sender has sent, as far as the numbers tell.
    pub(super) fn expected(&self) -> u64 {
        let current = self
            .stream
            .as_ref()
            .map_or(0, |it| (it.highest - it.first + 1) as u64);
        self.expected_before + current
    }

    fn begin(&mut self, packet: &RtpPacket) -> Verdict {
        self.expected_before = self.expected();
        self.candidate = None;
        let number = i64::from(packet.sequence_number);
        // Far from zero, so that packets from before the first one have a place too.
        let timestamp = i64::from(packet.timestamp) + (1 << 32);
        self.stream = Some(Stream {
            ssrc: packet.ssrc,
            payload_type: packet.payload_type,
            first: number,
            highest: number,
            timestamp,
        });
        Verdict::Restart { timestamp }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn packet(number: u16, timestamp: u32) -> RtpPacket {
        RtpPacket {
            payload_type: 111,
            ssrc: 1,
            sequence_number: number,
            timestamp,
            marker: false,
            payload: bytes::Bytes::new(),
            arrival: Instant::now(),
        }
    }

    fn always(_: i64) -> bool {
        true
    }

    #[test]
    fn numbers_wrap_and_packets_from_before_the_first_count() {
        let mut sequence = Sequence::default();
        let begin = sequence.judge(&packet(u16::MAX, u32::MAX - 959), always);
        let Verdict::Restart { timestamp: first } = begin else {
            panic!("{begin:?}");
        };
        let expect = |verdict, packets: i64| {
            assert_eq!(
                verdict,
                Verdict::Member {
                    timestamp: first + packets * 960
                }
            );
        };
        expect(sequence.judge(&packet(1, 960), always), 2);
        expect(sequence.judge(&packet(0, 0), always), 1);
        expect(
            sequence.judge(&packet(65_534, u32::MAX - 1_919), always),
            -1,
        );
        assert_eq!(sequence.expected(), 4);
    }

    #[test]
    fn a_restart_needs_two_packets_in_a_row() {
        let mut sequence = Sequence::default();
        sequence.judge(&packet(10, 0), always);
        assert_eq!(sequence.judge(&packet(40_000, 0), always), Verdict::Stray);
        assert!(matches!(
            sequence.judge(&packet(11, 960), always),
            Verdict::Member { .. }
        ));
        assert_eq!(sequence.judge(&packet(40_001, 960), always), Verdict::Stray);
        assert!(matches!(
            sequence.judge(&packet(40_002, 1_920), always),
            Verdict::Restart { .. }
        ));
        assert_eq!(sequence.expected(), 3);
    }

    #[test]
    fn a_media_time_that_the_clock_contradicts_is_a_stray() {
        let mut sequence = Sequence::default();
        sequence.judge(&packet(10, 0), always);
        assert_eq!(sequence.judge(&packet(11, 960), |_| false), Verdict::Stray);
    }
}
