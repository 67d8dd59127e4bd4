//! When each packet may go: sound at once, then repairs, pictures and padding, at the pace of the
//! path.
//!
//! Time is booked: after each packet the pacer notes when the path will be free again. Time that
//! passes unused is kept for [`MAX_BURST`] and no longer, which makes up for timers that come
//! late, and a pause never turns into more of a burst than that. Sound is sent at once and its
//! time is booked like any other, so the rest makes room for it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use ahoy_media::units::Bitrate;

use crate::estimator::{ProbeCluster, ProbeId};

/// What may go at once, as time at the pacing rate. A packet that takes longer goes alone.
pub const MAX_BURST: Duration = Duration::from_millis(5);
/// How long a repair or a part of a picture may have to wait. When more is queued than can go in
/// this time, the picture is late in any case: all of it is dropped, and a key frame begins anew.
pub const MAX_WAIT: Duration = Duration::from_millis(400);
/// The same while a key frame waits, which is the new beginning itself and takes longer.
pub const MAX_WAIT_KEY_FRAME: Duration = Duration::from_millis(1200);
/// Packets that wait at most, however fast the path: four 1080p key frames.
const MAX_PACKETS: usize = 1200;
/// Bytes of one packet of padding, wire overhead included: an ordinary packet's.
const MAX_PADDING: usize = 1250;
const MIN_PADDING: usize = 200;
/// A probe that has not got going by now has nothing to go with.
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);

/// What a packet is, most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Sound: never waits.
    Audio,
    /// A packet that is sent again.
    Repair,
    /// A part of a picture.
    Video,
}

/// One step of [`Pacer::poll`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release<T> {
    /// Send this packet now.
    Packet {
        /// What was given to [`Pacer::enqueue`].
        packet: T,
        /// The probe it is part of; to be given to the estimator.
        probe: Option<ProbeId>,
    },
    /// Send this many bytes of padding now, wire overhead included.
    Padding {
        /// Size of the packet on the wire.
        bytes: usize,
        /// The probe it is part of.
        probe: ProbeId,
    },
}

#[derive(Debug)]
struct Queued<T> {
    packet: T,
    bytes: usize,
    key_frame: bool,
}

#[derive(Debug)]
struct Probing {
    cluster: ProbeCluster,
    began: Instant,
    packets: usize,
    bytes: usize,
}

/// Orders packets by [`Priority`] and says when each may go. `T` is whatever a packet is to the
/// caller.
#[derive(Debug)]
pub struct Pacer<T> {
    rate: f64,
    audio: VecDeque<Queued<T>>,
    repairs: VecDeque<Queued<T>>,
    video: VecDeque<Queued<T>>,
    /// Bytes of repairs and pictures.
    waiting: usize,
    key_frame_packets: usize,
    /// When everything sent so far has gone through at the pacing rate.
    free_at: Option<Instant>,
    probing: Option<Probing>,
    padding: Padding,
}

/// What there is to fill a probe with.
#[derive(Debug, Clone, Copy)]
enum Padding {
    /// Packets of any size.
    Any,
    /// Packets of this size on the wire, or nothing.
    Only(Option<usize>),
}

impl<T> Pacer<T> {
    /// An empty pacer.
    pub fn new(rate: Bitrate) -> Self {
        Self {
            rate: rate.bps().max(1) as f64,
            audio: VecDeque::new(),
            repairs: VecDeque::new(),
            video: VecDeque::new(),
            waiting: 0,
            key_frame_packets: 0,
            free_at: None,
            probing: None,
            padding: Padding::Any,
        }
    }

    /// The rate from now on. What was booked stays booked, in bytes.
    pub fn set_rate(&mut self, now: Instant, rate: Bitrate) {
        let new = rate.bps().max(1) as f64;
        let ahead = self.free_at.map(|at| at.saturating_duration_since(now));
        if let Some(ahead) = ahead.filter(|ahead| !ahead.is_zero()) {
            // A second of debt is enough, however much slower it has become.
            let ahead = (ahead.as_secs_f64() * self.rate / new).min(1.0);
            self.free_at = Some(now + Duration::from_secs_f64(ahead));
        }
        self.rate = new;
    }

    /// Puts a packet into the queue of its priority. `bytes` is its size on the wire, `key_frame`
    /// whether it is part of one. `false` when there are too many already and it is not taken;
    /// for a part of a picture that means [`Self::drop_pictures`] and a key frame.
    #[must_use]
    pub fn enqueue(
        &mut self,
        priority: Priority,
        packet: T,
        bytes: usize,
        key_frame: bool,
    ) -> bool {
        let queued = Queued {
            packet,
            bytes,
            key_frame,
        };
        let queue = match priority {
            Priority::Audio => &mut self.audio,
            Priority::Repair => &mut self.repairs,
            Priority::Video => &mut self.video,
        };
        if queue.len() >= MAX_PACKETS {
            return false;
        }
        queue.push_back(queued);
        if priority != Priority::Audio {
            self.waiting += bytes;
            self.key_frame_packets += usize::from(key_frame);
        }
        true
    }

    /// Begins a probe: until it is complete, packets and padding go at its rate. One that is
    /// under way is broken off.
    pub fn probe(&mut self, now: Instant, cluster: ProbeCluster) {
        self.probing = Some(Probing {
            cluster,
            began: now,
            packets: 0,
            bytes: 0,
        });
        self.free_at = Some(now);
    }

    /// Size on the wire of the padding that the probe under way would like; `None` without one.
    pub fn wanted_padding(&self) -> Option<usize> {
        let cluster = &self.probing.as_ref()?.cluster;
        Some((cluster.bytes / cluster.packets.max(1)).clamp(MIN_PADDING, MAX_PADDING))
    }

    /// The size on the wire of the padding that there is; `None` when there is none. Without this
    /// call padding can have any size.
    pub fn set_padding(&mut self, bytes: Option<usize>) {
        self.padding = Padding::Only(bytes);
    }

    /// How long what is queued will take at the pacing rate.
    pub fn wait(&self) -> Duration {
        Duration::from_secs_f64((self.waiting as f64 * 8.0 / self.rate).min(3600.0))
    }

    /// Whether repairs and pictures wait so long that they should be dropped in favour of a key
    /// frame.
    pub fn is_stale(&self) -> bool {
        let limit = match self.key_frame_packets {
            0 => MAX_WAIT,
            _ => MAX_WAIT_KEY_FRAME,
        };
        self.wait() > limit
    }

    /// Drops all repairs and pictures; what comes next has to be a key frame. Says how many
    /// packets that were.
    pub fn drop_pictures(&mut self) -> usize {
        let dropped = self.repairs.len() + self.video.len();
        self.repairs.clear();
        self.video.clear();
        self.waiting = 0;
        self.key_frame_packets = 0;
        dropped
    }

    /// When [`Self::poll`] will next give something, `now` or later; `None` while there is
    /// nothing to send.
    pub fn next_send_time(&self, now: Instant) -> Option<Instant> {
        if !self.audio.is_empty() {
            return Some(now);
        }
        let bytes = self.next_bytes()?;
        let Some(free_at) = self.free_at else {
            return Some(now);
        };
        let took = self.duration(bytes);
        // In a burst each packet's own time has to have passed already.
        let due = free_at + took.min(MAX_BURST);
        Some(due.max(now))
    }

    /// What is to be sent at `now`, one packet per call, until `None`.
    pub fn poll(&mut self, now: Instant) -> Option<Release<T>> {
        self.give_up_probe(now);
        if let Some(audio) = self.audio.pop_front() {
            let probe = self.book(now, audio.bytes);
            return Some(Release::Packet {
                packet: audio.packet,
                probe,
            });
        }
        if self.next_send_time(now)? > now {
            return None;
        }
        if let Some(queued) = self.repairs.pop_front().or_else(|| self.video.pop_front()) {
            self.waiting -= queued.bytes;
            self.key_frame_packets -= usize::from(queued.key_frame);
            let probe = self.book(now, queued.bytes);
            return Some(Release::Packet {
                packet: queued.packet,
                probe,
            });
        }
        let bytes = self.padding_bytes()?;
        let probe = self.book(now, bytes)?;
        Some(Release::Padding { bytes, probe })
    }

    /// Size of what goes next, unless it is sound.
    fn next_bytes(&self) -> Option<usize> {
        let front = self.repairs.front().or_else(|| self.video.front());
        front
            .map(|queued| queued.bytes)
            .or_else(|| self.padding_bytes())
    }

    /// Size of what fills the probe under way.
    fn padding_bytes(&self) -> Option<usize> {
        let wanted = self.wanted_padding()?;
        match self.padding {
            Padding::Any => Some(wanted),
            Padding::Only(bytes) => bytes,
        }
    }

    /// Books the time of a packet, and counts it for the probe that is under way.
    fn book(&mut self, now: Instant, bytes: usize) -> Option<ProbeId> {
        let took = self.duration(bytes);
        let kept = now.checked_sub(MAX_BURST).unwrap_or(now);
        self.free_at = Some(self.free_at.map_or(kept, |at| at.max(kept)) + took);
        let probing = self.probing.as_mut()?;
        let id = probing.cluster.id;
        probing.packets += 1;
        probing.bytes += bytes;
        let cluster = probing.cluster;
        if probing.packets >= cluster.packets && probing.bytes >= cluster.bytes {
            self.probing = None;
            // What went faster than the pace is made up for: the path has to carry it, too.
            let back_to_pace = bytes_at(cluster.bytes, self.rate);
            let catch_up = back_to_pace.saturating_sub(bytes_at(cluster.bytes, rate(&cluster)));
            self.free_at = self.free_at.map(|at| at + catch_up);
        }
        Some(id)
    }

    fn give_up_probe(&mut self, now: Instant) {
        let overdue =
            |probing: &mut Probing| now.saturating_duration_since(probing.began) > PROBE_TIMEOUT;
        self.probing.take_if(overdue);
    }

    fn duration(&self, bytes: usize) -> Duration {
        let probing = self.probing.as_ref();
        bytes_at(
            bytes,
            probing.map_or(self.rate, |probing| rate(&probing.cluster)),
        )
    }
}

fn rate(cluster: &ProbeCluster) -> f64 {
    cluster.rate.bps().max(1) as f64
}

fn bytes_at(bytes: usize, rate: f64) -> Duration {
    Duration::from_secs_f64((bytes as f64 * 8.0 / rate).min(60.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Bitrate = Bitrate::from_kbps(800);

    /// Everything that goes until `end`, with its time in ms.
    fn run(pacer: &mut Pacer<&'static str>, start: Instant, end: u64) -> Vec<(u64, &'static str)> {
        let mut sent = Vec::new();
        let mut now = start;
        while now <= start + Duration::from_millis(end) {
            while let Some(release) = pacer.poll(now) {
                let at = now.saturating_duration_since(start).as_millis() as u64;
                sent.push(match release {
                    Release::Packet { packet, .. } => (at, packet),
                    Release::Padding { .. } => (at, "padding"),
                });
            }
            now += Duration::from_millis(1);
        }
        sent
    }

    fn enqueue(pacer: &mut Pacer<&'static str>, priority: Priority, name: &'static str) {
        assert!(pacer.enqueue(priority, name, 1000, false));
    }

    #[test]
    fn sends_the_most_urgent_first_at_the_rate() {
        let mut pacer = Pacer::new(RATE);
        for _ in 0..2 {
            enqueue(&mut pacer, Priority::Video, "video");
            enqueue(&mut pacer, Priority::Repair, "repair");
            enqueue(&mut pacer, Priority::Audio, "audio");
        }
        // 1000 bytes take 10 ms.
        let expected = [
            (0, "audio"),
            (0, "audio"),
            (20, "repair"),
            (30, "repair"),
            (40, "video"),
            (50, "video"),
        ];
        assert_eq!(run(&mut pacer, Instant::now(), 100), expected);
    }

    #[test]
    fn a_pause_does_not_become_a_burst() {
        let start = Instant::now();
        let mut pacer = Pacer::new(Bitrate::from_kbps(4000));
        enqueue(&mut pacer, Priority::Video, "one");
        run(&mut pacer, start, 0);
        for _ in 0..6 {
            enqueue(&mut pacer, Priority::Video, "more");
        }
        // 2 ms each, 5 ms at once.
        let sent = run(&mut pacer, start + Duration::from_secs(1), 20);
        let times: Vec<_> = sent.iter().map(|(at, _)| *at).collect();
        assert_eq!(times, [0, 0, 1, 3, 5, 7]);
    }

    #[test]
    fn a_probe_goes_at_its_own_rate_and_is_filled_up() {
        let start = Instant::now();
        let mut pacer = Pacer::new(RATE);
        enqueue(&mut pacer, Priority::Video, "video");
        pacer.probe(
            start,
            ProbeCluster {
                id: ProbeId(7),
                rate: Bitrate::from_kbps(1600),
                bytes: 4000,
                packets: 4,
            },
        );
        enqueue(&mut pacer, Priority::Video, "video");
        let sent = run(&mut pacer, start, 200);
        let names: Vec<_> = sent.iter().map(|(_, name)| *name).collect();
        assert_eq!(names, ["video", "video", "padding", "padding"]);
        assert!(sent[3].0 - sent[0].0 <= 15, "{sent:?}");
        assert_eq!(pacer.next_send_time(start + Duration::from_secs(1)), None);
    }

    #[test]
    fn what_waits_too_long_is_stale_and_a_key_frame_may_take_longer() {
        let mut pacer = Pacer::new(RATE);
        for _ in 0..50 {
            enqueue(&mut pacer, Priority::Video, "video");
        }
        assert!(pacer.is_stale());
        assert_eq!(pacer.drop_pictures(), 50);
        assert!(!pacer.is_stale());
        for _ in 0..50 {
            assert!(pacer.enqueue(Priority::Video, "key", 1000, true));
        }
        assert!(!pacer.is_stale());
        pacer.set_rate(Instant::now(), Bitrate::from_kbps(100));
        assert!(pacer.is_stale());
    }
}
