//! Keeps the NACK generator from asking for the same packet again before an answer can have come.
//!
//! The generator asks for everything that is missing at every tick. On a path with a round trip
//! longer than the tick that makes the other side send each lost packet several times. Here a
//! number passes when it is asked for the first time, and again only after a round trip; on a long
//! path also a moment after the first time, since a request may be lost as well. Sound is asked for only while
//! its repair would come before it is played.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ahoy_bandwidth::repair;
use rtc::rtcp;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::{
    NackPair, TransportLayerNack, nack_pairs_from_sequence_numbers,
};

use super::{Link, Verdict};
use crate::transport::stats::{Kind, Streams};

/// Assumed before the first measurement, as libwebrtc does.
const UNKNOWN_ROUND_TRIP: Duration = Duration::from_millis(100);
/// After this long the number belongs to another packet, or to one that nobody waits for.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(5);
/// Requests that are remembered: as many as the generator's log has packets.
const MAX_REMEMBERED: usize = 512;

pub(in crate::transport) struct NackPacing {
    streams: Arc<Streams>,
    asked: Vec<Asked>,
}

#[derive(Debug, Clone, Copy)]
struct Asked {
    ssrc: u32,
    sequence_number: u16,
    first: Instant,
    last: Instant,
    times: u32,
    /// The first request was sent again.
    repeated: bool,
}

impl NackPacing {
    pub(in crate::transport) fn new(streams: Arc<Streams>) -> Self {
        Self {
            streams,
            asked: Vec::new(),
        }
    }

    fn due(&mut self, nack: &TransportLayerNack, now: Instant) -> Vec<u16> {
        let round_trip = self.streams.round_trip_time().unwrap_or(UNKNOWN_ROUND_TRIP);
        let missing: Vec<u16> = nack.nacks.iter().flat_map(NackPair::packet_list).collect();
        // The generator names everything that is missing: what it no longer names has come.
        self.asked.retain(|asked| {
            let elsewhere = asked.ssrc != nack.media_ssrc;
            let recent = now.duration_since(asked.last) < FORGOTTEN_AFTER;
            elsewhere || (recent && missing.contains(&asked.sequence_number))
        });
        let sound = self.streams.remote_kind(nack.media_ssrc) == Some(Kind::Audio);
        missing
            .into_iter()
            .filter(|number| {
                let waited = self.waited(nack.media_ssrc, *number, now);
                let in_time = !sound || repair::sound_comes_in_time(waited, round_trip);
                in_time && self.ask(nack.media_ssrc, *number, now, round_trip)
            })
            .collect()
    }

    /// How long ago the packet was asked for first.
    fn waited(&self, ssrc: u32, sequence_number: u16, now: Instant) -> Duration {
        let mut asked = self.asked.iter();
        asked
            .find(|asked| asked.ssrc == ssrc && asked.sequence_number == sequence_number)
            .map_or(Duration::ZERO, |asked| now.duration_since(asked.first))
    }

    fn ask(&mut self, ssrc: u32, sequence_number: u16, now: Instant, round_trip: Duration) -> bool {
        let same =
            |asked: &&mut Asked| asked.ssrc == ssrc && asked.sequence_number == sequence_number;
        if let Some(asked) = self.asked.iter_mut().find(same) {
            let repeats =
                asked.times == 1 && !asked.repeated && repair::repeats_request(round_trip);
            if repeats && now.duration_since(asked.last) >= repair::copy_after(round_trip) {
                asked.repeated = true;
                return true;
            }
            let wait = repair::request_interval(round_trip, asked.times);
            let due = asked.times < repair::MAX_REQUESTS && now.duration_since(asked.last) >= wait;
            if due {
                asked.last = now;
                asked.times += 1;
            }
            return due;
        }
        if self.asked.len() == MAX_REMEMBERED {
            self.asked.remove(0);
        }
        self.asked.push(Asked {
            ssrc,
            sequence_number,
            first: now,
            last: now,
            times: 1,
            repeated: false,
        });
        true
    }
}

impl Link for NackPacing {
    fn write_rtcp(&mut self, now: Instant, packets: &mut Vec<Box<dyn rtcp::Packet>>) -> Verdict {
        let mut kept: Vec<Box<dyn rtcp::Packet>> = Vec::with_capacity(packets.len());
        for packet in packets.drain(..) {
            let Some(nack) = packet.as_any().downcast_ref::<TransportLayerNack>() else {
                kept.push(packet);
                continue;
            };
            let due = self.due(nack, now);
            if !due.is_empty() {
                kept.push(Box::new(TransportLayerNack {
                    nacks: nack_pairs_from_sequence_numbers(&due),
                    ..nack.clone()
                }));
            }
        }
        *packets = kept;
        if packets.is_empty() {
            Verdict::Swallow
        } else {
            Verdict::Pass
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nack(numbers: &[u16]) -> Vec<Box<dyn rtcp::Packet>> {
        vec![Box::new(TransportLayerNack {
            sender_ssrc: 5,
            media_ssrc: 1,
            nacks: nack_pairs_from_sequence_numbers(numbers),
        })]
    }

    fn asked(pacing: &mut NackPacing, numbers: &[u16], now: Instant) -> Vec<u16> {
        let mut packets = nack(numbers);
        pacing.write_rtcp(now, &mut packets);
        packets
            .iter()
            .filter_map(|packet| packet.as_any().downcast_ref::<TransportLayerNack>())
            .flat_map(|nack| nack.nacks.iter().flat_map(NackPair::packet_list))
            .collect()
    }

    #[test]
    fn asks_again_after_a_round_trip_and_not_for_ever() {
        let mut pacing = NackPacing::new(Arc::default());
        let start = Instant::now();
        let wait = repair::request_interval(UNKNOWN_ROUND_TRIP, 1);
        assert_eq!(asked(&mut pacing, &[10, 11], start), [10, 11]);
        let tick = start + Duration::from_millis(20);
        assert_eq!(asked(&mut pacing, &[10, 11, 12], tick), [12]);
        assert_eq!(asked(&mut pacing, &[10, 12], start + wait), [10]);
        let mut times = 2;
        for tick in 1..200_u32 {
            let at = start + wait + Duration::from_millis(20) * tick;
            times += asked(&mut pacing, &[10], at).len();
        }
        assert_eq!(times, repair::MAX_REQUESTS as usize);
    }

    #[test]
    fn a_number_that_comes_round_again_is_new() {
        let mut pacing = NackPacing::new(Arc::default());
        let now = Instant::now();
        assert_eq!(asked(&mut pacing, &[7], now), [7]);
        assert_eq!(asked(&mut pacing, &[8], now), [8]);
        assert_eq!(asked(&mut pacing, &[7, 8], now), [7]);
    }
}
