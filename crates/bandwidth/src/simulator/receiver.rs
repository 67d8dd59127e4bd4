//! The other side of a call: feedback, requests for repairs and key frames, frames in order.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::repair::{MAX_REQUESTS, patience, request_interval};

/// Between two requests for a key frame.
const REQUEST_INTERVAL: Duration = Duration::from_millis(500);
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// With the time of capture, and the size on the wire in bytes.
    Audio(Duration, usize),
    Video(Part),
    Padding,
}

/// A packet of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    /// RTP sequence number, without wraps; given when the packet leaves for the first time.
    pub(super) number: u32,
    pub(super) frame: u32,
    /// Which packet of the frame it is, and how many there are.
    pub(super) index: u32,
    pub(super) count: u32,
    pub(super) key_frame: bool,
    pub(super) captured: Duration,
    pub(super) repair: bool,
    pub(super) bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MediaPacket {
    /// Transport-wide number.
    pub(super) number: u16,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, Copy)]
struct Asked {
    at: Duration,
    times: u32,
    since: Duration,
}

#[derive(Debug)]
struct Frame {
    missing: u32,
    /// The first number behind it.
    end: u32,
    key_frame: bool,
    captured: Duration,
}

/// A frame that can be shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown {
    pub(super) captured: Duration,
}

#[derive(Debug, Default)]
pub(super) struct Receiver {
    /// Transport-wide number without wraps and time of arrival, since the last feedback.
    arrivals: BTreeMap<u64, Duration>,
    next_feedback: u64,
    newest: Option<u64>,
    /// Numbers received from `floor` on.
    received: BTreeSet<u32>,
    floor: u32,
    highest: Option<u32>,
    asked: BTreeMap<u32, Asked>,
    frames: BTreeMap<u32, Frame>,
    /// The frame that comes next; nothing can be shown before a key frame while `None`.
    next_frame: Option<u32>,
    blocked_since: Option<Duration>,
    requested_at: Option<Duration>,
}

impl Receiver {
    /// Whether the packet brings something new. What can be shown now goes to `shown`.
    pub(super) fn receive(
        &mut self,
        now: Duration,
        packet: &MediaPacket,
        shown: &mut Vec<Shown>,
    ) -> bool {
        self.note_arrival(now, packet.number);
        let Kind::Video(part) = packet.kind else {
            return matches!(packet.kind, Kind::Audio(..));
        };
        if part.number < self.floor || !self.received.insert(part.number) {
            return false;
        }
        self.note_gaps(now, part.number);
        self.asked.remove(&part.number);
        let frame = self.frames.entry(part.frame).or_insert(Frame {
            missing: part.count,
            end: part.number - part.index + part.count,
            key_frame: part.key_frame,
            captured: part.captured,
        });
        frame.missing = frame.missing.saturating_sub(1);
        self.show(now, shown);
        true
    }

    /// The statuses since the last feedback.
    pub(super) fn feedback(&mut self) -> Option<Vec<(u16, Option<Duration>)>> {
        let newest = self.newest?;
        let oldest = *self.arrivals.keys().next()?;
        let from = self.next_feedback.min(oldest);
        let statuses =
            (from..=newest).map(|number| (number as u16, self.arrivals.get(&number).copied()));
        let statuses = statuses.collect();
        self.arrivals.clear();
        self.next_feedback = newest + 1;
        Some(statuses)
    }

    /// Numbers that are due to be asked for.
    pub(super) fn nack(&mut self, now: Duration, round_trip: Duration) -> Vec<u32> {
        let mut due = Vec::new();
        for (number, asked) in &mut self.asked {
            let pause = request_interval(round_trip, asked.times);
            let again = asked.times == 0 || now.saturating_sub(asked.at) >= pause;
            if again && asked.times < MAX_REQUESTS {
                asked.times += 1;
                asked.at = now;
                due.push(*number);
            }
        }
        due
    }

    /// Whether to ask for a key frame now.
    pub(super) fn wants_key_frame(&mut self, now: Duration, round_trip: Duration) -> bool {
        let gave_up = self
            .blocked_since
            .is_some_and(|since| now.saturating_sub(since) > patience(round_trip));
        if gave_up {
            self.give_up();
        }
        let lost = self.next_frame.is_none() && self.highest.is_some();
        let allowed = self
            .requested_at
            .is_none_or(|at| now.saturating_sub(at) >= REQUEST_INTERVAL);
        if lost && allowed {
            self.requested_at = Some(now);
        }
        lost && allowed
    }

    fn note_arrival(&mut self, now: Duration, number: u16) {
        let newest = self.newest.unwrap_or(u64::from(number));
        let ahead = i64::from(number.wrapping_sub(newest as u16).cast_signed());
        let number = newest.saturating_add_signed(ahead);
        self.newest = Some(newest.max(number));
        self.arrivals.insert(number, now);
    }

    fn note_gaps(&mut self, now: Duration, number: u32) {
        let Some(highest) = self.highest else {
            self.highest = Some(number);
            self.floor = number;
            return;
        };
        for missing in highest + 1..number {
            self.asked.insert(
                missing,
                Asked {
                    at: now,
                    times: 0,
                    since: now,
                },
            );
        }
        self.highest = Some(highest.max(number));
    }

    fn show(&mut self, now: Duration, shown: &mut Vec<Shown>) {
        let key = self.frames.iter().rev();
        let mut complete_keys = key.filter(|(_, frame)| frame.key_frame && frame.missing == 0);
        if let Some((number, _)) = complete_keys.next() {
            let number = *number;
            if self.next_frame.is_none_or(|next| next < number) {
                self.next_frame = Some(number);
                self.frames = self.frames.split_off(&number);
            }
        }
        while let Some(next) = self.next_frame {
            let Some(frame) = self.frames.get(&next) else {
                break;
            };
            if frame.missing > 0 {
                break;
            }
            shown.push(Shown {
                captured: frame.captured,
            });
            // What is missing before it is not waited for any more.
            self.asked = self.asked.split_off(&frame.end);
            self.frames.remove(&next);
            self.next_frame = Some(next + 1);
            self.blocked_since = None;
        }
        let waiting = self
            .next_frame
            .is_some_and(|next| self.frames.range(next + 1..).next().is_some());
        if waiting {
            let oldest = self.asked.values().map(|asked| asked.since).min();
            self.blocked_since = self.blocked_since.or(oldest).or(Some(now));
        } else {
            self.blocked_since = None;
        }
        self.forget();
    }

    /// Repairs of what is shown or given up are not needed any more.
    fn forget(&mut self) {
        let Some(highest) = self.highest else {
            return;
        };
        let floor = highest.saturating_sub(2000);
        if floor > self.floor + 500 {
            self.floor = floor;
            self.received = self.received.split_off(&floor);
            self.asked = self.asked.split_off(&floor);
        }
        if self.next_frame.is_some() && self.blocked_since.is_none() && self.frames.is_empty() {
            self.asked.clear();
        }
    }

    fn give_up(&mut self) {
        self.next_frame = None;
        self.blocked_since = None;
        self.asked.clear();
        let newest_key = self.frames.iter().rev().find(|(_, frame)| frame.key_frame);
        let keep = newest_key.map(|(number, _)| *number);
        self.frames = keep.map_or_else(BTreeMap::new, |number| self.frames.split_off(&number));
    }
}
