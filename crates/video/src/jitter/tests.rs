use super::*;
use crate::rtp_vp8::Vp8Packetizer;
use proptest::prelude::*;

const MS: Duration = Duration::from_millis(1);
/// Time between frames.
const INTERVAL: Duration = Duration::from_millis(33);

/// A sender of made-up frames that carry their own number.
struct Sender {
    packetizer: Vp8Packetizer,
    sequence_number: u16,
    timestamp: u32,
    ssrc: u32,
    number: u32,
}

impl Sender {
    fn new() -> Self {
        Self::starting_at(1000, 5000)
    }

    fn starting_at(sequence_number: u16, timestamp: u32) -> Self {
        Self {
            packetizer: Vp8Packetizer::new(0x7ff0),
            sequence_number,
            timestamp,
            ssrc: 7,
            number: 0,
        }
    }

    /// The packets of the next frame, which is to have about `packets` of them.
    fn frame(&mut self, key: bool, packets: usize, at: Instant) -> Vec<RtpPacket> {
        let mut data = if key {
            vec![0x10, 0, 0, 0x9d, 0x01, 0x2a, 64, 0, 48, 0]
        } else {
            vec![0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        };
        data.extend(self.number.to_be_bytes());
        data.resize(14 + (packets - 1) * 1190, 0xab);
        self.number += 1;
        self.timestamp = self.timestamp.wrapping_add(3000);
        let payloads: Vec<_> = self.packetizer.packetize(&data).collect();
        payloads
            .into_iter()
            .map(|(marker, payload)| self.packet(marker, payload, at))
            .collect()
    }

    fn packet(&mut self, marker: bool, payload: Bytes, arrival: Instant) -> RtpPacket {
        let sequence_number = self.sequence_number;
        self.sequence_number = sequence_number.wrapping_add(1);
        RtpPacket {
            payload_type: 96,
            ssrc: self.ssrc,
            sequence_number,
            timestamp: self.timestamp,
            marker,
            payload,
            arrival,
        }
    }
}

fn number(frame: &EncodedFrame) -> u32 {
    u32::from_be_bytes(frame.data[10..14].try_into().expect("four bytes"))
}

/// Numbers of the frames that come out at `now`, and how many requests for a key frame.
fn drain(buffer: &mut VideoJitterBuffer, now: Instant) -> (Vec<u32>, usize) {
    let (mut numbers, mut requests) = (Vec::new(), 0);
    while let Some(output) = buffer.poll(now) {
        match output {
            VideoOutput::Frame(frame) => numbers.push(number(&frame)),
            VideoOutput::NeedKeyFrame => requests += 1,
        }
    }
    (numbers, requests)
}

fn push_all(buffer: &mut VideoJitterBuffer, packets: Vec<RtpPacket>, now: Instant) {
    for packet in packets {
        buffer.push(
            RtpPacket {
                arrival: now,
                ..packet
            },
            now,
        );
    }
}

/// A buffer that has handed on frame 0, a key frame.
fn playing(sender: &mut Sender, now: Instant) -> VideoJitterBuffer {
    let mut buffer = VideoJitterBuffer::new();
    push_all(&mut buffer, sender.frame(true, 3, now), now);
    assert_eq!(drain(&mut buffer, now), (vec![0], 0));
    buffer
}

#[test]
fn an_ordered_stream_is_not_delayed_at_all() {
    let start = Instant::now();
    // Sequence numbers, timestamps and picture ids all wrap on the way.
    let mut sender = Sender::starting_at(65_500, u32::MAX - 9000);
    let mut buffer = VideoJitterBuffer::new();
    for index in 0..100_u32 {
        let now = start + INTERVAL * index;
        let packets = sender.frame(index % 40 == 0, 1 + index as usize % 4, now);
        let last = packets.len() - 1;
        let timestamp = packets[0].timestamp;
        for (place, packet) in packets.into_iter().enumerate() {
            buffer.push(packet, now);
            let output = buffer.poll(now);
            assert_eq!(
                output.is_some(),
                place == last,
                "frame {index}, packet {place}"
            );
            if let Some(VideoOutput::Frame(frame)) = output {
                assert_eq!(number(&frame), index);
                assert_eq!(frame.key_frame, index % 40 == 0);
                assert_eq!((frame.rtp_timestamp, frame.captured_at), (timestamp, now));
                assert_eq!(frame.resolution, Resolution::new(64, 48));
            }
        }
        assert_eq!(buffer.poll_timeout(), None);
    }
    let stats = buffer.stats();
    assert_eq!(
        (stats.frames_assembled, stats.key_frames_assembled),
        (100, 3)
    );
    assert_eq!(
        (stats.packets_lost, stats.duplicates, stats.frames_dropped),
        (0, 0, 0)
    );
    assert_eq!(stats.key_frames_requested, 0);
    assert_eq!(stats.jitter_buffer_delay, Duration::ZERO);
}

#[test]
fn packets_in_any_order_make_the_same_frames() {
    let now = Instant::now();
    let mut sender = Sender::new();
    let mut buffer = VideoJitterBuffer::new();
    let mut packets: Vec<_> = (0..5)
        .flat_map(|index| sender.frame(index == 0, 4, now))
        .collect();
    packets.reverse();
    push_all(&mut buffer, packets, now);
    assert_eq!(drain(&mut buffer, now), (vec![0, 1, 2, 3, 4], 0));
}

#[test]
fn a_repair_in_time_releases_everything_held_back() {
    let start = Instant::now();
    let mut sender = Sender::new();
    let mut buffer = playing(&mut sender, start);
    let mut broken = sender.frame(false, 4, start);
    let missing = broken.remove(2);
    push_all(&mut buffer, broken, start);
    for index in 1..6 {
        let now = start + INTERVAL * index;
        push_all(&mut buffer, sender.frame(false, 2, now), now);
        assert_eq!(drain(&mut buffer, now), (vec![], 0));
    }
    let now = start + 200 * MS;
    buffer.push(
        RtpPacket {
            arrival: now,
            ..missing
        },
        now,
    );
    assert_eq!(drain(&mut buffer, now), (vec![1, 2, 3, 4, 5, 6], 0));
    assert_eq!(buffer.stats().packets_lost, 0);
    assert!(buffer.stats().jitter_buffer_delay > 200 * MS);
}

#[test]
fn a_gap_that_stays_asks_for_a_key_frame_until_one_comes() {
    const REPAIR_WAIT: Duration = Duration::from_millis(300);
    let start = Instant::now();
    let mut sender = Sender::new();
    let mut buffer = playing(&mut sender, start);
    buffer.set_repair_wait(REPAIR_WAIT);
    sender.frame(false, 1, start);
    push_all(&mut buffer, sender.frame(false, 1, start), start);
    assert_eq!(drain(&mut buffer, start), (vec![], 0));
    assert_eq!(buffer.poll_timeout(), Some(start + REPAIR_WAIT));

    let mut requests = Vec::new();
    for step in 1..=60 {
        let now = start + INTERVAL * step;
        push_all(&mut buffer, sender.frame(false, 2, now), now);
        let (frames, asked) = drain(&mut buffer, now);
        assert_eq!(frames, [], "a frame without its reference came out");
        requests.extend((0..asked).map(|_| now - start));
    }
    assert_eq!(requests.len(), 4, "{requests:?}");
    assert!(requests[0] >= REPAIR_WAIT && requests[0] < REPAIR_WAIT + 2 * INTERVAL);
    assert!(
        requests
            .windows(2)
            .all(|pair| pair[1] - pair[0] >= KEY_FRAME_REQUEST_INTERVAL)
    );

    let now = start + INTERVAL * 61;
    let key = sender.number;
    push_all(&mut buffer, sender.frame(true, 5, now), now);
    push_all(&mut buffer, sender.frame(false, 1, now), now);
    assert_eq!(drain(&mut buffer, now), (vec![key, key + 1], 0));
    assert_eq!(buffer.poll_timeout(), None);
    let stats = buffer.stats();
    assert_eq!((stats.packets_lost, stats.key_frames_requested), (1, 4));
    assert_eq!(stats.frames_dropped, u64::from(key) - 2);
}

#[test]
fn how_long_a_gap_may_last_is_set_within_bounds() {
    let start = Instant::now();
    for (set, wait) in [(0, 100), (650, 650), (5000, 2000)] {
        let mut sender = Sender::new();
        let mut buffer = playing(&mut sender, start);
        buffer.set_repair_wait(set * MS);
        sender.frame(false, 1, start);
        push_all(&mut buffer, sender.frame(false, 1, start), start);
        assert_eq!(buffer.poll_timeout(), Some(start + wait * MS));
    }
}

#[test]
fn a_whole_key_frame_behind_a_gap_is_shown_at_once() {
    let now = Instant::now();
    let mut sender = Sender::new();
    let mut buffer = playing(&mut sender, now);
    sender.frame(false, 1, now);
    push_all(&mut buffer, sender.frame(false, 2, now), now);
    let mut key = sender.frame(true, 4, now);
    let first = key.remove(0);
    push_all(&mut buffer, key, now);
    assert_eq!(drain(&mut buffer, now), (vec![], 0));
    buffer.push(first, now);
    push_all(&mut buffer, sender.frame(false, 1, now), now);
    assert_eq!(drain(&mut buffer, now), (vec![3, 4], 0));
}

#[test]
fn without_a_beginning_a_key_frame_is_asked_for_but_not_hastily() {
    let start = Instant::now();
    let mut sender = Sender::new();
    let mut buffer = VideoJitterBuffer::new();
    assert_eq!(
        (buffer.poll_timeout(), drain(&mut buffer, start)),
        (None, (vec![], 0))
    );
    // The beginning of the first key frame is merely late.
    let mut key = sender.frame(true, 3, start);
    let first = key.remove(0);
    push_all(&mut buffer, key, start);
    assert_eq!(drain(&mut buffer, start), (vec![], 0));
    buffer.push(first, start + 10 * MS);
    assert_eq!(drain(&mut buffer, start + 10 * MS), (vec![0], 0));

    let mut buffer = VideoJitterBuffer::new();
    push_all(&mut buffer, sender.frame(false, 1, start), start);
    assert_eq!(drain(&mut buffer, start), (vec![], 0));
    let due = buffer.poll_timeout().expect("a request is due");
    assert!(due <= start + 50 * MS);
    assert_eq!(drain(&mut buffer, due), (vec![], 1));
}

#[test]
fn a_key_frame_that_is_still_coming_in_is_not_asked_for_again() {
    let start = Instant::now();
    let mut sender = Sender::new();
    let mut buffer = VideoJitterBuffer::new();
    // 2 s for one key frame, as on a line of 100 kbit/s.
    let packets = sender.frame(true, 20, start);
    let last = packets.len() as u32 - 1;
    for (index, packet) in (0..).zip(packets) {
        let now = start + 100 * MS * index;
        buffer.push(
            RtpPacket {
                arrival: now,
                ..packet
            },
            now,
        );
        let expected = if index == last { vec![0] } else { vec![] };
        assert_eq!(drain(&mut buffer, now), (expected, 0), "packet {index}");
    }
}

#[test]
fn duplicates_are_counted_and_change_nothing() {
    let now = Instant::now();
    let mut sender = Sender::new();
    let mut buffer = VideoJitterBuffer::new();
    let packets: Vec<_> = (0..4)
        .flat_map(|index| sender.frame(index == 0, 2, now))
        .collect();
    let twice = packets
        .iter()
        .chain(&packets)
        .chain(&packets[..1])
        .cloned()
        .collect();
    push_all(&mut buffer, twice, now);
    assert_eq!(drain(&mut buffer, now), (vec![0, 1, 2, 3], 0));
    let stats = buffer.stats();
    assert_eq!((stats.packets_received, stats.duplicates), (8, 9));
}

#[test]
fn padding_takes_up_numbers_but_no_frames() {
    let now = Instant::now();
    let mut sender = Sender::new();
    let mut buffer = playing(&mut sender, now);
    for _ in 0..3 {
        let padding = sender.packet(false, Bytes::new(), now);
        buffer.push(padding, now);
    }
    push_all(&mut buffer, sender.frame(false, 2, now), now);
    assert_eq!(drain(&mut buffer, now), (vec![1], 0));
    assert_eq!(buffer.poll_timeout(), None);
}

#[test]
fn a_new_stream_begins_with_its_own_key_frame() {
    let now = Instant::now();
    let mut sender = Sender::new();
    let mut buffer = playing(&mut sender, now);
    let mut other = Sender::starting_at(40_000, 77);
    other.ssrc = 8;
    other.number = 100;
    push_all(&mut buffer, other.frame(false, 1, now), now);
    assert_eq!(drain(&mut buffer, now), (vec![], 1));
    push_all(&mut buffer, other.frame(true, 1, now), now);
    assert_eq!(drain(&mut buffer, now), (vec![101], 0));
}

#[test]
fn a_frame_without_marker_ends_where_the_next_begins() {
    let now = Instant::now();
    let mut sender = Sender::new();
    let mut buffer = playing(&mut sender, now);
    let mut unmarked = sender.frame(false, 3, now);
    unmarked[2].marker = false;
    push_all(&mut buffer, unmarked, now);
    assert_eq!(drain(&mut buffer, now), (vec![], 0));
    push_all(&mut buffer, sender.frame(false, 1, now), now);
    assert_eq!(drain(&mut buffer, now), (vec![1, 2], 0));
}

#[test]
fn a_picture_of_impossible_size_is_never_handed_on() {
    let now = Instant::now();
    let mut sender = Sender::new();
    let mut buffer = playing(&mut sender, now);
    for (width, height) in [(0_u16, 0_u16), (16383, 16383)] {
        let mut data = vec![0x10, 0, 0, 0x9d, 0x01, 0x2a];
        data.extend(width.to_le_bytes());
        data.extend(height.to_le_bytes());
        data.extend([0; 20]);
        let (marker, payload) = sender.packetizer.packetize(&data).next().expect("one");
        let packet = sender.packet(marker, payload, now);
        buffer.push(packet, now);
        assert_eq!(drain(&mut buffer, now).0, []);
    }
    assert_eq!(buffer.stats().key_frames_requested, 1);
    push_all(&mut buffer, sender.frame(false, 1, now), now);
    assert_eq!(drain(&mut buffer, now).0, []);
    push_all(&mut buffer, sender.frame(true, 1, now), now);
    assert_eq!(drain(&mut buffer, now).0, [2]);
}

#[test]
fn a_decoder_in_trouble_gets_a_key_frame_next() {
    let now = Instant::now();
    let mut sender = Sender::new();
    let mut buffer = playing(&mut sender, now);
    push_all(&mut buffer, sender.frame(false, 1, now), now);
    buffer.require_key_frame(now);
    assert_eq!(drain(&mut buffer, now), (vec![], 1));
    push_all(&mut buffer, sender.frame(false, 1, now), now);
    assert_eq!(drain(&mut buffer, now), (vec![], 0));
    push_all(&mut buffer, sender.frame(true, 1, now), now);
    push_all(&mut buffer, sender.frame(false, 1, now), now);
    // A key frame that is there already is kept.
    buffer.require_key_frame(now);
    assert_eq!(drain(&mut buffer, now), (vec![3, 4], 0));
}

#[test]
fn a_frame_that_never_ends_costs_bounded_memory() {
    let start = Instant::now();
    let mut sender = Sender::new();
    let mut buffer = VideoJitterBuffer::new();
    let first = sender.frame(true, 2, start).remove(0);
    let middle = Bytes::from(vec![0x80; 1400]);
    buffer.push(first, start);
    for index in 0..20_000 {
        let now = start + MS * (index / 10);
        let packet = sender.packet(false, middle.clone(), now);
        buffer.push(packet, now);
        assert!(buffer.packets.len() <= MAX_PACKETS && buffer.bytes <= MAX_BYTES);
        assert!(drain(&mut buffer, now).1 <= 1);
    }
    assert!(buffer.stats().key_frames_requested <= 5);
}

#[test]
fn nobody_polling_costs_bounded_memory() {
    let now = Instant::now();
    let mut sender = Sender::new();
    let mut buffer = VideoJitterBuffer::new();
    for index in 0..200 {
        push_all(&mut buffer, sender.frame(index == 0, 1, now), now);
        assert!(buffer.ready.len() <= MAX_READY);
    }
    assert_eq!(drain(&mut buffer, now), (vec![], 1));
}

/// What happens to one packet on its way.
#[derive(Debug, Clone, Copy)]
struct Fate {
    lost: bool,
    /// Lost, but repaired after this many ms.
    repaired: Option<u64>,
    delay_ms: u64,
    twice: bool,
}

fn fate() -> impl Strategy<Value = Fate> {
    (
        proptest::bool::weighted(0.08),
        proptest::option::weighted(0.7, 30_u64..500),
        prop_oneof![4 => Just(0_u64), 1 => 0_u64..80],
        proptest::bool::weighted(0.05),
    )
        .prop_map(|(lost, repaired, delay_ms, twice)| Fate {
            lost,
            repaired,
            delay_ms,
            twice,
        })
}

proptest! {
    #[test]
    fn frames_come_in_order_and_never_after_a_break(
        frames in proptest::collection::vec((proptest::bool::weighted(0.1), 1_usize..5), 1..120),
        fates in proptest::collection::vec(fate(), 600),
        first_sequence: u16,
        first_timestamp: u32,
    ) {
        let start = Instant::now();
        let mut sender = Sender::starting_at(first_sequence, first_timestamp);
        let mut fates = fates.into_iter();
        let mut on_the_way = Vec::new();
        for (index, (key, packets)) in (0_u32..).zip(frames) {
            let sent = start + INTERVAL * index;
            for packet in sender.frame(key || index == 0, packets, sent) {
                let fate = fates.next().expect("enough");
                let on_time = sent + MS * fate.delay_ms as u32;
                if !fate.lost {
                    on_the_way.push((on_time, packet.clone()));
                }
                if fate.twice {
                    on_the_way.push((on_time + MS * 3, packet.clone()));
                }
                if let (true, Some(after)) = (fate.lost, fate.repaired) {
                    on_the_way.push((on_time + MS * after as u32, packet));
                }
            }
        }
        on_the_way.sort_by_key(|(at, _)| *at);

        let mut buffer = VideoJitterBuffer::new();
        let mut last: Option<u32> = None;
        let mut last_request: Option<Instant> = None;
        for (now, packet) in on_the_way {
            buffer.push(RtpPacket { arrival: now, ..packet }, now);
            while let Some(output) = buffer.poll(now) {
                match output {
                    VideoOutput::Frame(frame) => {
                        let number = number(&frame);
                        prop_assert!(frame.key_frame || last == number.checked_sub(1), "frame {} after {:?}", number, last);
                        prop_assert!(last.is_none_or(|last| number > last));
                        last = Some(number);
                    }
                    VideoOutput::NeedKeyFrame => {
                        prop_assert!(last_request.is_none_or(|last| now - last >= KEY_FRAME_REQUEST_INTERVAL));
                        last_request = Some(now);
                    }
                }
            }
            prop_assert!(buffer.poll_timeout().is_none_or(|at| at > now), "nothing was due, but the timeout has passed");
            prop_assert!(buffer.packets.len() <= MAX_PACKETS);
            let bytes: usize = buffer.packets.values().map(|packet| packet.data.len()).sum();
            prop_assert_eq!(bytes, buffer.bytes);
        }
        let stats = buffer.stats();
        prop_assert!(stats.frames_assembled + stats.frames_dropped <= u64::from(sender.number));
    }

    #[test]
    fn with_every_loss_repaired_in_time_every_frame_comes_out(
        lost in proptest::collection::vec(proptest::bool::weighted(0.2), 300),
    ) {
        let start = Instant::now();
        let mut sender = Sender::new();
        let mut buffer = VideoJitterBuffer::new();
        let mut lost = lost.into_iter();
        let mut on_the_way = Vec::new();
        for index in 0..100_u32 {
            let sent = start + INTERVAL * index;
            for packet in sender.frame(index == 0, 3, sent) {
                let late = if lost.next().expect("enough") && index > 0 { 90 * MS } else { Duration::ZERO };
                on_the_way.push((sent + late, packet));
            }
        }
        on_the_way.sort_by_key(|(at, _)| *at);
        let mut numbers = Vec::new();
        for (now, packet) in on_the_way {
            buffer.push(RtpPacket { arrival: now, ..packet }, now);
            let (frames, requests) = drain(&mut buffer, now);
            numbers.extend(frames);
            prop_assert_eq!(requests, 0);
        }
        prop_assert_eq!(numbers, (0..100).collect::<Vec<_>>());
        prop_assert_eq!(buffer.stats().packets_lost, 0);
    }

    #[test]
    fn whatever_strangers_send_is_survived(
        packets in proptest::collection::vec(
            (any::<u16>(), any::<u32>(), any::<bool>(), 0_u32..3, proptest::collection::vec(any::<u8>(), 0..30), 0_u64..50),
            0..300,
        ),
    ) {
        let mut now = Instant::now();
        let mut buffer = VideoJitterBuffer::new();
        for (sequence_number, timestamp, marker, ssrc, payload, pause) in packets {
            now += MS * pause as u32;
            buffer.push(RtpPacket {
                payload_type: 96,
                ssrc,
                sequence_number: sequence_number % 500,
                timestamp: timestamp % 4,
                marker,
                payload: payload.into(),
                arrival: now,
            }, now);
            while let Some(output) = buffer.poll(now) {
                if let VideoOutput::Frame(frame) = output {
                    prop_assert!(Vp8FrameHeader::parse(&frame.data).is_some());
                }
            }
            prop_assert!(buffer.poll_timeout().is_none_or(|at| at > now));
        }
        let _ = buffer.stats();
    }
}
