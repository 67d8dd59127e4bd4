//! Networks, written down: when each packet arrives.

/// One network, the same every time it is used.
#[derive(Clone, Copy)]
pub(crate) struct Trace {
    pub(crate) name: &'static str,
    /// Deviation of the delay in ms: half of a normal distribution, in order.
    pub(crate) jitter_ms: f64,
    /// The jitter of whole calls (`tests/lab/network.mjs`) instead: around this delay in ms, from the
    /// fourth second on, and what is said before it is measured lasts [`SETTLING_MS`].
    pub(crate) around_ms: Option<f64>,
    /// Share of packets lost, and how many in a row on average.
    pub(crate) loss: f64,
    pub(crate) burst: f64,
    /// Share of packets that are overtaken, by taking 45 ms longer.
    pub(crate) reordered: f64,
    /// Nothing arrives for so long, from 15 s on.
    pub(crate) stall_ms: f64,
    /// How much faster the sender's clock runs.
    pub(crate) drift_ppm: f64,
}

pub(crate) const CLEAN: Trace = Trace {
    name: "clean",
    jitter_ms: 0.0,
    around_ms: None,
    loss: 0.0,
    burst: 1.0,
    reordered: 0.0,
    stall_ms: 0.0,
    drift_ppm: 0.0,
};

/// How long a whole call goes on before it is measured.
pub(crate) const SETTLING_MS: usize = 10_000;
/// When its network becomes bad, and how often something of its picture comes along, which keeps its
/// place in the order too.
const BEGINS_MS: f64 = 4_000.0;
const PICTURE_MS: f64 = 25.0;

impl Trace {
    /// What is said before it is measured.
    pub(crate) fn settling_ms(&self) -> usize {
        self.around_ms.map_or(0, |_| SETTLING_MS)
    }

    /// When each packet arrives, in ms after the beginning, or never. A packet is sent when the
    /// last of its samples has been captured.
    pub(crate) fn arrivals(&self, packets: usize, packet_ms: f64, seed: u64) -> Vec<Option<f64>> {
        let mut random = Random(seed);
        let mut lost = false;
        let mut last = 0.0_f64;
        let mut picture = 0.0;
        (0..packets)
            .map(|number| {
                let sent = (number + 1) as f64 * packet_ms * (1.0 - self.drift_ppm * 1e-6);
                // Gilbert's model: losses begin and end at random.
                let begins = self.loss / (self.burst * (1.0 - self.loss));
                let (end, draw) = (self.burst.recip(), random.uniform());
                lost = if self.burst <= 1.0 {
                    draw < self.loss
                } else if lost {
                    draw >= end
                } else {
                    draw < begins
                };
                while self.around_ms.is_some() && picture < sent {
                    last = last.max(picture + self.delay(picture, &mut random));
                    picture += PICTURE_MS;
                }
                let mut arrival = sent + self.delay(sent, &mut random);
                if (15_000.0..15_000.0 + self.stall_ms).contains(&sent) {
                    arrival = 15_000.0 + self.stall_ms;
                }
                arrival = arrival.max(last);
                last = arrival;
                if random.uniform() < self.reordered {
                    arrival += 45.0;
                }
                (!lost).then_some(arrival)
            })
            .collect()
    }

    /// How long a packet takes that is sent now, if nothing is in its way.
    fn delay(&self, sent: f64, random: &mut Random) -> f64 {
        match self.around_ms {
            None => random.normal().abs() * self.jitter_ms,
            Some(delay) if sent < BEGINS_MS => delay,
            Some(delay) => {
                let sum = random.uniform() + random.uniform() + random.uniform();
                (delay + (2.0 * sum - 3.0) * self.jitter_ms).max(0.0)
            }
        }
    }
}

/// Repeatable numbers (SplitMix64).
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((x ^ (x >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Box and Muller.
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.uniform().max(f64::MIN_POSITIVE).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}
