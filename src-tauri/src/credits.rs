//! Back-pressure on the way of encoded pictures to the window: what may go, what must wait.
//!
//! The window acknowledges the frames that it has taken. At most [`CREDITS`] frames are under way
//! unacknowledged, because a Tauri channel queues without bound when the page is slow. Beyond
//! that frames are dropped, and since a frame after a gap cannot be decoded, everything up to the
//! next key frame is dropped with them. That key frame is asked for once the window has caught
//! up, so that it does not arrive at a full queue as well.

use std::time::{Duration, Instant};

use ahoy_media::frame::DecodeCounts;

/// Frames under way without acknowledgement: 0.4 s at 30 frames per second, enough for the
/// window's habit of acknowledging every fourth frame, and for a pause of its main thread.
pub(crate) const CREDITS: u32 = 12;

/// After an overload, frames that may still be under way when the next key frame is asked for.
const CAUGHT_UP: u32 = 4;

/// A key frame that was asked for and has not come is asked for again after this time: two round
/// trips of a slow connection. Requests can be lost on the network.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What to do with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Send it, with this number.
    Send {
        /// Counts up by one per frame sent; wraps.
        seq: u32,
    },
    /// Forget it.
    Drop,
    /// Forget it, and ask its sender for a key frame.
    DropAndAskForKeyFrame,
}

/// The account of one stream to the window.
#[derive(Debug)]
pub(crate) struct Credits {
    next_seq: u32,
    unacknowledged: u32,
    waits_for_key_frame: bool,
    /// It waits because the window was too slow.
    behind: bool,
    counts: DecodeCounts,
    asked: Option<Instant>,
}

impl Credits {
    /// A stream whose first key frame has been asked for at `now`.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            next_seq: 0,
            unacknowledged: 0,
            waits_for_key_frame: true,
            behind: false,
            counts: DecodeCounts::default(),
            asked: Some(now),
        }
    }

    /// How the window keeps up.
    pub(crate) const fn counts(&self) -> DecodeCounts {
        self.counts
    }

    /// A frame is there.
    pub(crate) fn offer(&mut self, key_frame: bool, now: Instant) -> Decision {
        if self.unacknowledged >= CREDITS {
            self.waits_for_key_frame = true;
            self.behind = true;
            self.asked = None;
            self.counts.given_up += 1;
            return Decision::Drop;
        }
        if key_frame || !self.waits_for_key_frame {
            self.waits_for_key_frame = false;
            self.behind = false;
            return Decision::Send { seq: self.send() };
        }
        self.counts.given_up += u64::from(self.behind);
        if self.may_ask(now) {
            self.asked = Some(now);
            return Decision::DropAndAskForKeyFrame;
        }
        Decision::Drop
    }

    /// The window has taken everything up to and including `seq`. Numbers that were never sent
    /// or were acknowledged before change nothing. Returns whether a key frame is to be asked
    /// for.
    pub(crate) fn acknowledge(&mut self, seq: u32, now: Instant) -> bool {
        let newest = self.next_seq.wrapping_sub(1);
        let still_under_way = newest.wrapping_sub(seq);
        if still_under_way < self.unacknowledged {
            self.counts.frames += u64::from(self.unacknowledged - still_under_way);
            self.unacknowledged = still_under_way;
        }
        let ask = self.waits_for_key_frame && self.may_ask(now);
        if ask {
            self.asked = Some(now);
        }
        ask
    }

    /// Of the frames that the window has taken, it has given up so many more.
    pub(crate) fn given_up(&mut self, frames: u32) {
        let frames = u64::from(frames).min(self.counts.frames);
        self.counts.frames -= frames;
        self.counts.given_up += frames;
    }

    fn send(&mut self) -> u32 {
        let seq = self.next_seq;
        self.next_seq = seq.wrapping_add(1);
        self.unacknowledged += 1;
        seq
    }

    fn may_ask(&self, now: Instant) -> bool {
        self.unacknowledged <= CAUGHT_UP
            && self
                .asked
                .is_none_or(|asked| now.saturating_duration_since(asked) >= ASK_AGAIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Duration = Duration::from_millis(33);

    /// A stream that has sent its first key frame and had it acknowledged.
    fn running(now: Instant) -> Credits {
        let mut credits = Credits::new(now);
        assert_eq!(credits.offer(true, now), Decision::Send { seq: 0 });
        assert!(!credits.acknowledge(0, now));
        credits
    }

    #[test]
    fn begins_with_a_key_frame() {
        let now = Instant::now();
        let mut credits = Credits::new(now);
        assert_eq!(credits.offer(false, now), Decision::Drop);
        assert_eq!(credits.offer(true, now), Decision::Send { seq: 0 });
        assert_eq!(credits.offer(false, now), Decision::Send { seq: 1 });
    }

    #[test]
    fn a_key_frame_that_does_not_come_is_asked_for_again_once_a_second() {
        let start = Instant::now();
        let mut credits = Credits::new(start);
        let asked = (1..=100)
            .filter(|frame| {
                credits.offer(false, start + FRAME * *frame) == Decision::DropAndAskForKeyFrame
            })
            .count();
        assert_eq!(asked, 3, "3.3 s without a key frame");
    }

    #[test]
    fn a_window_that_keeps_up_gets_everything() {
        let start = Instant::now();
        let mut credits = running(start);
        for frame in 1..1000 {
            let now = start + FRAME * frame;
            assert_eq!(credits.offer(false, now), Decision::Send { seq: frame });
            if frame % 4 == 0 {
                assert!(!credits.acknowledge(frame, now));
            }
        }
    }

    #[test]
    fn a_window_that_hangs_gets_no_more_than_the_credits() {
        let now = Instant::now();
        let mut credits = running(now);
        let sent = (0..1000)
            .filter(|frame| matches!(credits.offer(frame % 100 == 0, now), Decision::Send { .. }))
            .count();
        assert_eq!(sent, CREDITS as usize);
    }

    #[test]
    fn after_an_overload_nothing_goes_until_a_key_frame_which_is_asked_for_once() {
        let now = Instant::now();
        let mut credits = running(now);
        for _ in 0..=CREDITS {
            credits.offer(false, now);
        }
        assert!(!credits.acknowledge(2, now), "ten are still under way");
        assert_eq!(
            credits.offer(false, now),
            Decision::Drop,
            "a gap is before it"
        );
        assert_eq!(credits.counts().given_up, 2);
        assert!(credits.acknowledge(CREDITS, now), "caught up");
        assert!(!credits.acknowledge(CREDITS, now), "asked already");
        assert_eq!(credits.offer(false, now), Decision::Drop);
        assert_eq!(
            credits.offer(true, now),
            Decision::Send { seq: CREDITS + 1 }
        );
        assert_eq!(
            credits.offer(false, now),
            Decision::Send { seq: CREDITS + 2 }
        );
    }

    #[test]
    fn a_key_frame_that_meets_a_full_window_is_lost_and_asked_for_anew() {
        let now = Instant::now();
        let mut credits = running(now);
        for _ in 0..CREDITS {
            credits.offer(false, now);
        }
        assert_eq!(credits.offer(true, now), Decision::Drop);
        assert!(credits.acknowledge(CREDITS, now));
    }

    #[test]
    fn false_acknowledgements_grant_nothing() {
        let now = Instant::now();
        let mut credits = Credits::new(now);
        assert!(!credits.acknowledge(7, now), "nothing was sent");
        credits.offer(true, now);
        for _ in 1..CREDITS {
            credits.offer(false, now);
        }
        for seq in [CREDITS, CREDITS + 100, u32::MAX, u32::MAX / 2] {
            credits.acknowledge(seq, now);
            assert_eq!(credits.offer(true, now), Decision::Drop, "after {seq}");
        }
    }

    #[test]
    fn numbers_wrap() {
        let now = Instant::now();
        let mut credits = Credits {
            next_seq: u32::MAX,
            ..running(now)
        };
        assert_eq!(credits.offer(false, now), Decision::Send { seq: u32::MAX });
        assert_eq!(credits.offer(false, now), Decision::Send { seq: 0 });
        credits.acknowledge(u32::MAX, now);
        assert_eq!(credits.unacknowledged, 1);
        credits.acknowledge(0, now);
        assert_eq!(credits.unacknowledged, 0);
    }
}
