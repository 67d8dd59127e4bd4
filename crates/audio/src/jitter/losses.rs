//! How packets get lost, and how many of the following ones it takes to restore them.

/// Packets lost in a row that are told apart.
const LONGEST: usize = 8;
/// Share of packets lost from which it is worth waiting for repair data.
const NOTICEABLE: f32 = 0.005;
/// How long a packet counts: after 500, 10 s, to about a third.
const FORGET: f32 = 0.998;
/// How long a burst counts: after 50 to about a third.
const FORGET_BURST: f32 = 0.98;
/// Share of bursts that are to be restored as a whole.
const RESTORED: f32 = 0.92;
/// Bursts that must have needed less waiting before less is waited: every change of the delay is
/// heard, and chance alone makes bursts shorter for a while.
const PATIENCE: u32 = 120;

/// Deep redundancy of so many samples, 250 ms, is for bursts; a sender that loses single packets
/// sends less.
const FOR_BURSTS: usize = 12_000;
/// What is expected of a sender's losses that protects itself, before any have been met: this share
/// of packets, and so many bursts of each length, as of three packets in a row on average or of
/// packets lost at random.
const EXPECTED: f32 = 0.1;
const EXPECTED_BURSTS: [f32; LONGEST] = [3.3, 2.2, 1.5, 1.0, 0.7, 0.4, 0.3, 0.6];
const EXPECTED_SINGLES: [f32; LONGEST] = [8.0, 1.6, 0.4, 0.0, 0.0, 0.0, 0.0, 0.0];

/// Losses that a sender protects its stream from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
enum Expected {
    #[default]
    None,
    Singles,
    Bursts,
}

/// Losses of one stream, as playout met them.
#[derive(Debug, Clone, Default)]
pub(super) struct Losses {
    share: f32,
    /// How often so many packets were missing in a row, the first entry being one.
    bursts: [f32; LONGEST],
    /// How often, lately, the packet after a loss had in-band FEC and deep redundancy.
    fec: f32,
    dred: f32,
    /// What the sender's deep redundancy was taken for.
    expected: Expected,
    wait: i64,
    /// Bursts since as much as `wait` was needed.
    idle: u32,
}

impl Losses {
    /// A packet was there when it was needed.
    pub(super) fn played(&mut self) {
        self.share *= FORGET;
    }

    /// So many packets in a row were not.
    pub(super) fn missing(&mut self, packets: usize) {
        for _ in 0..packets.min(LONGEST) {
            self.share = FORGET * self.share + (1.0 - FORGET);
        }
        for burst in &mut self.bursts {
            *burst *= FORGET_BURST;
        }
        self.bursts[packets.clamp(1, LONGEST) - 1] += 1.0;
    }

    /// A packet carries deep redundancy of so many samples: its sender has been told of losses, and
    /// of bursts when it is long. To wait at once rather than after the first ones spares them.
    pub(super) fn protected_by(&mut self, samples: usize) {
        let (kind, bursts) = match samples {
            0 => return,
            FOR_BURSTS.. => (Expected::Bursts, EXPECTED_BURSTS),
            _ => (Expected::Singles, EXPECTED_SINGLES),
        };
        if kind <= self.expected {
            return;
        }
        self.expected = kind;
        self.share = self.share.max(EXPECTED);
        self.dred = 1.0;
        for (burst, expected) in self.bursts.iter_mut().zip(bursts) {
            *burst += expected;
        }
        self.wait = self.wait.max(self.needed());
        self.idle = 0;
    }

    /// What the packet after a loss had to restore it.
    pub(super) fn repair_data(&mut self, fec: bool, dred: bool) {
        self.fec += (f32::from(u8::from(fec)) - self.fec) * 0.2;
        self.dred += (f32::from(u8::from(dred)) - self.dred) * 0.2;
        let needed = self.needed();
        self.idle = if needed < self.wait { self.idle + 1 } else { 0 };
        if needed > self.wait || self.idle > PATIENCE {
            self.wait = needed;
            self.idle = 0;
        }
    }

    /// How many packets must have come after a sample's own one before it is played, so that it
    /// can be restored. Zero when nothing is lost, or nothing could be restored.
    pub(super) fn packets_to_wait_for(&self) -> i64 {
        if self.share < NOTICEABLE {
            0
        } else {
            self.wait
        }
    }

    fn needed(&self) -> i64 {
        if self.dred > 0.3 {
            let mut left = RESTORED * self.bursts.iter().sum::<f32>();
            let shorter = self.bursts.iter().take_while(|count| {
                left -= **count;
                left > 0.0
            });
            return (shorter.count() as i64 + 1).min(LONGEST as i64 - 1);
        }
        i64::from(self.fec > 0.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(bursts: &[usize], fec: bool, dred: bool) -> i64 {
        let mut losses = Losses::default();
        for _ in 0..20 {
            for packets in bursts {
                (0..10).for_each(|_| losses.played());
                losses.missing(*packets);
                losses.repair_data(fec, dred);
            }
        }
        losses.packets_to_wait_for()
    }

    #[test]
    fn without_losses_or_repair_data_nobody_waits() {
        assert_eq!(after(&[], true, true), 0);
        assert_eq!(after(&[3], false, false), 0);
    }

    #[test]
    fn fec_needs_the_next_packet_and_dred_the_one_after_the_burst() {
        assert_eq!(after(&[1, 3], true, false), 1);
        assert_eq!(after(&[1], true, true), 1);
        assert_eq!(after(&[1, 3], true, true), 3);
        assert_eq!(after(&[30], false, true), 7);
    }

    #[test]
    fn a_protected_sender_is_waited_for_before_anything_is_lost() {
        let waits = |samples| {
            let mut losses = Losses::default();
            losses.protected_by(samples);
            let at_once = losses.packets_to_wait_for();
            (0..2_000).for_each(|_| losses.played());
            (at_once, losses.packets_to_wait_for())
        };
        assert_eq!(waits(0), (0, 0));
        assert_eq!(waits(5_760), (2, 0));
        assert_eq!(waits(14_400), (7, 0));
    }

    #[test]
    fn old_losses_are_forgotten() {
        let mut losses = Losses::default();
        losses.missing(5);
        losses.repair_data(true, true);
        losses.repair_data(true, true);
        assert_eq!(losses.packets_to_wait_for(), 5);
        (0..1_000).for_each(|_| losses.played());
        assert_eq!(losses.packets_to_wait_for(), 0);
    }
}
