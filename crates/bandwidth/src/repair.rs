//! How both sides of a call deal with a lost packet: how long it is waited for, when it is asked
//! for again (generic NACK, RFC 4585 section 6.2.1), and how often it is sent then.
//!
//! A key frame is no cheaper way out of a loss. It is many packets, of which some get lost like any
//! others, and each of those needs a round trip too. So a gap is given up late.

use std::time::Duration;

use ahoy_media::units::Bitrate;

/// Round trips that a gap waits for its repair, and time for noticing on top.
const PATIENCE_ROUND_TRIPS: u32 = 8;
const NOTICING: Duration = Duration::from_millis(100);
/// Bounds of that wait.
const PATIENCE: (Duration, Duration) = (Duration::from_millis(300), Duration::from_millis(2000));
/// Time for the other side's scheduling on top of the round trip.
const ANSWER_SLACK: Duration = Duration::from_millis(10);
/// From the third request on, each wait is this much longer than the one before: a path that fills
/// up has a longer round trip than the last report said.
const BACKOFF: f64 = 1.2;
/// How often a packet is asked for at most.
pub const MAX_REQUESTS: u32 = 8;
/// From this request for a packet on, it is sent twice. Earlier it would cost goodput: on a path
/// that loses a fifth, one packet in five is asked for once, and one in 25 twice.
const DOUBLED_FROM: u32 = 3;
/// With a smaller share of packets lost, one copy is enough.
const DOUBLED_LOSS: f64 = 0.03;
/// From this round trip on, a picture that needs a second repair comes too late to move evenly with
/// the others, so the first request is sent twice, and so is its answer. Up to the other one, since
/// then the first repair is too late as well.
const FAR: (Duration, Duration) = (Duration::from_millis(150), Duration::from_millis(350));
/// Unless more than this is lost: each share lost would then be sent twice.
const DOUBLED_AT_ONCE_LOSS: f64 = 0.1;
/// Beyond this round trip and this loss, a repair would come later than pictures wait for one
/// another: everything is sent twice unasked. Below the first figures not any more.
const UNASKED_ROUND_TRIP: (Duration, Duration) =
    (Duration::from_millis(400), Duration::from_millis(500));
const UNASKED_LOSS: (f64, f64) = (0.005, 0.01);
/// With a lower target than these there is no room for it, in kbit/s.
const UNASKED_TARGET: (u64, u64) = (130, 170);
/// Between a packet and its unasked copy, longer than most bursts of losses.
pub const UNASKED_AFTER: Duration = Duration::from_millis(60);
/// Between the two copies of the first request, and between those of a packet: what is lost
/// together was sent together.
const COPY_AFTER: Duration = Duration::from_millis(30);
/// At most this part of the round trip: nearby the next request is there before.
const COPY_AFTER_PART: u32 = 5;

/// How long after a gap in sound was noticed its repair is still of use: sound that waits longer
/// for repairs makes people talk at the same time.
const SOUND_PATIENCE: Duration = Duration::from_millis(100);

/// Whether sound that has been missing for `missing_for` is worth asking for.
pub fn sound_comes_in_time(missing_for: Duration, round_trip: Duration) -> bool {
    missing_for + round_trip <= SOUND_PATIENCE
}

/// How long pictures wait for a missing packet before a key frame is asked for instead.
pub fn patience(round_trip: Duration) -> Duration {
    let (least, most) = PATIENCE;
    (round_trip * PATIENCE_ROUND_TRIPS + NOTICING).clamp(least, most)
}

/// How long to wait for the answer to a request, after so many for the same packet.
pub fn request_interval(round_trip: Duration, requests: u32) -> Duration {
    let later = i32::try_from(requests.min(MAX_REQUESTS)).unwrap_or_default() - 2;
    (round_trip + ANSWER_SLACK).mul_f64(BACKOFF.powi(later.max(0)))
}

/// Between two copies of a request or of a packet.
pub fn copy_after(round_trip: Duration) -> Duration {
    COPY_AFTER.min(round_trip / COPY_AFTER_PART)
}

/// Whether the first request for a packet is sent again after [`copy_after`], in case it was lost.
/// The sender answers one of them.
pub fn repeats_request(round_trip: Duration) -> bool {
    round_trip >= FAR.0
}

/// How many copies to send of a packet that is asked for the `request`th time, counted from 1.
/// `loss` is the share of packets lost of late, 0 to 1; `round_trip` that of the empty path.
pub fn copies(request: u32, loss: f64, round_trip: Duration) -> usize {
    let late = request >= DOUBLED_FROM && loss > DOUBLED_LOSS;
    let far = (FAR.0..FAR.1).contains(&round_trip) && loss < DOUBLED_AT_ONCE_LOSS;
    if late || far { 2 } else { 1 }
}

/// Whether pictures are sent twice without being asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unasked {
    active: bool,
}

impl Unasked {
    /// `round_trip` is that of the empty path, `loss` the lasting share of packets lost, 0 to 1,
    /// `target` what may be sent, everything included.
    pub fn update(&mut self, round_trip: Duration, loss: f64, target: Bitrate) {
        let (long, lossy, room) = if self.active {
            (UNASKED_ROUND_TRIP.0, UNASKED_LOSS.0, UNASKED_TARGET.0)
        } else {
            (UNASKED_ROUND_TRIP.1, UNASKED_LOSS.1, UNASKED_TARGET.1)
        };
        self.active = round_trip > long && loss > lossy && target.kbps() > room;
    }

    /// See [`Self`].
    pub fn is_active(&self) -> bool {
        self.active
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEAR: Duration = Duration::from_millis(50);

    #[test]
    fn a_gap_waits_for_several_attempts_but_not_for_ever() {
        let round_trip = Duration::from_millis(100);
        let attempts = (1..=4).map(|requests| request_interval(round_trip, requests));
        assert!(attempts.sum::<Duration>() < patience(round_trip));
        assert_eq!(patience(Duration::ZERO), PATIENCE.0);
        assert_eq!(patience(Duration::from_secs(9)), PATIENCE.1);
        assert_eq!(
            request_interval(round_trip, 0),
            request_interval(round_trip, 2)
        );
        assert!(request_interval(round_trip, 3) > request_interval(round_trip, 2));
    }

    #[test]
    fn sound_is_asked_for_again_only_nearby() {
        let ms = Duration::from_millis;
        assert!(sound_comes_in_time(ms(0), ms(100)));
        assert!(!sound_comes_in_time(ms(0), ms(101)));
        assert!(sound_comes_in_time(ms(50), ms(40)));
        assert!(!sound_comes_in_time(ms(61), ms(40)));
    }

    #[test]
    fn only_what_keeps_getting_lost_is_sent_twice() {
        assert_eq!(
            [1, 2, 3, 4].map(|request| copies(request, 0.2, NEAR)),
            [1, 1, 2, 2]
        );
        assert_eq!(copies(5, 0.01, NEAR), 1);
    }

    #[test]
    fn from_afar_the_first_repair_has_to_arrive() {
        assert_eq!(copies(1, 0.05, FAR.0), 2);
        assert_eq!(copies(1, 0.05, FAR.1), 1);
        assert_eq!(copies(1, 0.05, NEAR), 1);
        assert_eq!(copies(1, 0.2, FAR.0), 1);
        assert!(repeats_request(FAR.0) && !repeats_request(NEAR));
    }

    #[test]
    fn pictures_are_sent_twice_where_a_repair_takes_too_long() {
        let run = |round_trip_ms, loss, kbps| {
            let mut unasked = Unasked::default();
            let round_trip = Duration::from_millis(round_trip_ms);
            unasked.update(round_trip, loss, Bitrate::from_kbps(kbps));
            unasked.is_active()
        };
        assert!(run(600, 0.03, 300));
        assert!(!run(600, 0.03, 100));
        assert!(!run(600, 0.004, 300));
        assert!(!run(200, 0.05, 300));
    }
}
