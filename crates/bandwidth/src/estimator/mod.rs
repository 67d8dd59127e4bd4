//! What the path carries, from transport-wide feedback (draft-holmer-rmcat-transport-wide-cc):
//! when each packet was sent, and when it arrived or that it did not.
//!
//! | part | says |
//! |---|---|
//! | `history` | what each report is about |
//! | `delivered` | how fast it arrives |
//! | `trendline` | whether the queue grows |
//! | `queue` | how long it is |
//! | `loss` | whether what is lost is our doing |
//! | `competition` | whether somebody else keeps the queue full |
//! | `probe` | whether there is more |
//!
//! and [`Estimator`] makes one figure of it.

mod competition;
mod delivered;
mod history;
mod loss;
mod probe;
mod queue;
mod trendline;

use std::time::{Duration, Instant};

use ahoy_media::units::Bitrate;

pub use self::probe::{ProbeCluster, ProbeId};

use self::competition::Competition;
use self::delivered::Delivered;
use self::history::{History, PacketResult};
use self::loss::{Loss, Verdict};
use self::probe::{Finding, Prober, Situation};
use self::queue::QueueDelay;
use self::trendline::{Trendline, Usage};

/// Growth per second while the limit of the path is not known, and when it has not shown for
/// [`CALM`].
const GROWTH: f64 = 0.08;
const CALM_GROWTH: f64 = 0.16;
const CALM: Duration = Duration::from_secs(4);
/// Near the last known limit: bits per round trip, and the most of it per second.
const STEP_BITS: f64 = 1200.0 * 8.0;
const MAX_STEP_GROWTH: f64 = 0.1;
/// What the response takes beside the round trip: feedback and filters (draft-ietf-rmcat-gcc-02
/// section 5.5).
const RESPONSE: Duration = Duration::from_millis(100);
/// The limit is near from this share of it on, and was wrong beyond this one.
const NEAR_LIMIT: f64 = 0.9;
const BEYOND_LIMIT: f64 = 1.15;
/// The estimate goes no further above what arrives.
const LEAD: f64 = 1.5;
const LEAD_BITS: f64 = 20_000.0;
/// Less of the target in use than this, and the application is what limits it.
const IN_USE: f64 = 0.75;
/// Backing off: share of what arrives, with a short queue and with a long one, in ms.
const BACK_OFF: (f64, f64) = (0.96, 0.85);
const BACK_OFF_QUEUE: f64 = 100.0;
/// A queue shorter than the tolerance is no congestion, however it grows. It is so many ms at
/// this rate, less for a faster flow and more for a slower one, by the square root: whoever has
/// more gives way first, so that flows of ours come to equal rates.
const TOLERANCE: f64 = 12.0;
const TOLERANCE_AT: f64 = 3e6;
const TOLERANCE_RANGE: (f64, f64) = (8.0, 25.0);
/// Beyond so many times the tolerance, the queue is congestion even if it does not grow: it may
/// be full.
const LONG_QUEUE: f64 = 2.5;
/// When less than this share of the estimate arrives, what the last moment says is believed, from
/// so many times the tolerance on: the path has become much slower.
const COLLAPSE: f64 = 0.6;
const COLLAPSE_QUEUE: f64 = 3.0;
const LATEST_PACKETS: usize = 5;
/// When less than this share arrives, over this time, the last few packets are enough: waiting for
/// more would only fill the queue.
const TRICKLE: f64 = 0.25;
const TRICKLE_TIME: Duration = Duration::from_millis(60);
const TRICKLE_PACKETS: usize = 3;
/// While the queue is longer than so many times the tolerance, less is sent so that it empties;
/// how much less per ms, and at most.
const DRAIN_FROM: f64 = 2.0;
const DRAIN_PER_MS: f64 = 1.0 / 300.0;
const MAX_DRAIN: f64 = 0.5;
/// Difference of delay between packets, in ms, that pacing and cross traffic cause. What is beyond
/// it is the path's jitter: where packets stay in order, one that is late makes those behind it
/// late too, and the least delay of a moment lies so many times as much above the least of all.
const ORDINARY_JITTER: f64 = 12.0;
const NOISE: f64 = 20.0;
/// With many packets the differences between them are small; then it lies above by so many times
/// how far jitter moves delay up and down.
const SWING_NOISE: f64 = 1.2;
/// More than this, in ms, is a queue in any case.
const MAX_NOISE: f64 = 100.0;
/// A fall below this share of what it was within [`DROP_TIME`] is a drop of capacity.
const DROP: f64 = 0.6;
const DROP_TIME: Duration = Duration::from_secs(3);
/// Without feedback for so many round trips, or this long, the path is taken for broken.
const OUTAGE_ROUND_TRIPS: u32 = 3;
const MIN_OUTAGE: Duration = Duration::from_millis(600);
const OUTAGE_CUT: f64 = 0.5;
/// Pacing leaves room for a frame that is larger than the others.
const PACING: f64 = 1.25;
/// Weight of a packet in the loss of the last thousand.
const LASTING: f64 = 0.001;
const UNKNOWN_ROUND_TRIP: Duration = Duration::from_millis(200);
const MAX_ROUND_TRIP: Duration = Duration::from_secs(3);

/// Where the estimate begins and what it never leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EstimatorConfig {
    /// Before anything is known.
    pub initial: Bitrate,
    /// Least.
    pub min: Bitrate,
    /// Most, whatever the other side reports.
    pub max: Bitrate,
}

impl Default for EstimatorConfig {
    /// 300 kbit/s, which even a bad path carries and the first probe leaves behind within half a
    /// second; 80 kbit/s: sound and the smallest picture; 6 Mbit/s: the largest picture, sound
    /// and repairs.
    fn default() -> Self {
        Self {
            initial: Bitrate::from_kbps(300),
            min: Bitrate::from_kbps(80),
            max: Bitrate::from_kbps(6000),
        }
    }
}

/// What the estimator knows, for statistics.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EstimatorStats {
    /// What the path is thought to carry: `availableOutgoingBitrate` of webrtc-stats.
    pub estimate: Bitrate,
    /// What arrives; `None` while unknown.
    pub acknowledged: Option<Bitrate>,
    /// Delay above that of the empty path.
    pub queue_delay: Duration,
    /// From the sending of a packet to the report on it.
    pub round_trip_time: Option<Duration>,
    /// Share of packets lost of late, 0 to 1.
    pub loss: f64,
    /// The part of it that the path has by itself.
    pub own_loss: f64,
    /// Share of the last thousand packets lost, for whatever reason, 0 to 1.
    pub lasting_loss: f64,
    /// Whether another flow keeps the queue filled.
    pub competing: bool,
    /// Whether less is sent than the path would carry.
    pub application_limited: bool,
}

/// Estimates what the path carries. Everything sent, repairs and padding included, is to be
/// announced by [`Self::on_sent`], in the order of the numbers.
#[derive(Debug)]
pub struct Estimator {
    config: EstimatorConfig,
    estimate: f64,
    needed: f64,
    origin: Option<Instant>,
    history: History,
    delivered: Delivered,
    trendline: Trendline,
    queue: QueueDelay,
    loss: Loss,
    lasting_loss: f64,
    competition: Competition,
    prober: Prober,
    round_trip: Option<Duration>,
    /// What arrived when the path was last full.
    limit: Option<f64>,
    congested_at: Option<Instant>,
    /// Queue in ms when backing off last.
    congested_queue: f64,
    updated_at: Option<Instant>,
    feedback_at: Option<Instant>,
    /// Highest estimate of late and until when it held, to recognise a drop.
    high: (f64, Option<Instant>),
    /// Estimate before the feedback ceased.
    before_outage: Option<f64>,
    outage_cut_at: Option<Instant>,
}

impl Estimator {
    /// Begins with what `config` says.
    pub fn new(config: EstimatorConfig) -> Self {
        let initial = config.initial.clamp(config.min, config.max);
        Self {
            config,
            estimate: initial.bps() as f64,
            needed: config.max.bps() as f64,
            origin: None,
            history: History::default(),
            delivered: Delivered::default(),
            trendline: Trendline::default(),
            queue: QueueDelay::default(),
            loss: Loss::default(),
            lasting_loss: 0.0,
            competition: Competition::default(),
            prober: Prober::default(),
            round_trip: None,
            limit: None,
            congested_at: None,
            congested_queue: 0.0,
            updated_at: None,
            feedback_at: None,
            high: (0.0, None),
            before_outage: None,
            outage_cut_at: None,
        }
    }

    /// More than this the application would not send, headers included. There is no probing for
    /// more.
    pub fn set_needed(&mut self, needed: Bitrate) {
        self.needed = needed.bps() as f64;
    }

    /// A packet has left: its transport-wide number, its size on the wire in bytes, and the probe
    /// that it is part of.
    pub fn on_sent(
        &mut self,
        now: Instant,
        sequence_number: u16,
        size: usize,
        probe: Option<ProbeId>,
    ) {
        self.origin.get_or_insert(now);
        self.history.sent(now, sequence_number, size, probe);
        if let Some(id) = probe {
            self.prober.sent(id, size);
        }
    }

    /// A feedback message: for each number it covers, when that packet arrived on the receiver's
    /// clock, or `None` when it did not. Numbers that no message covers are not lost, they are
    /// unknown.
    pub fn on_feedback(
        &mut self,
        now: Instant,
        statuses: impl IntoIterator<Item = (u16, Option<Duration>)>,
    ) {
        let mut news = News::default();
        for (sequence_number, arrival) in statuses {
            if let Some(result) = self.history.report(sequence_number, arrival) {
                self.take(now, &result, &mut news);
            }
        }
        if news.results == 0 {
            return;
        }
        self.end_outage(now);
        self.feedback_at = Some(now);
        self.measure_round_trip(now, &news);
        self.update(now, &news);
    }

    /// To be called at [`Self::poll_timeout`], or more often.
    pub fn on_timeout(&mut self, now: Instant) {
        let Some(deadline) = self.outage_deadline() else {
            return;
        };
        if now >= deadline {
            self.before_outage.get_or_insert(self.estimate);
            self.outage_cut_at = Some(now);
            self.set(now, self.estimate * OUTAGE_CUT);
        }
    }

    /// When there is something to do without any feedback.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let probe = self.prober.poll_timeout();
        let outage = self.outage_deadline();
        probe.into_iter().chain(outage).min()
    }

    /// A probe for the pacer, when it is time for one. To be asked after every feedback and at
    /// [`Self::poll_timeout`].
    pub fn poll_probe(&mut self, now: Instant) -> Option<ProbeCluster> {
        self.origin?;
        let calm = self
            .congested_at
            .is_none_or(|at| now.saturating_duration_since(at) > Duration::from_millis(500));
        let situation = Situation {
            estimate: self.estimate,
            enough: self.needed.min(self.config.max.bps() as f64),
            clear: calm
                && !self.competition.is_active()
                && !self.loss.is_testing()
                && self.before_outage.is_none()
                && self.queue.standing() < DRAIN_FROM * self.tolerance() + self.noise(),
            jitter: Duration::from_secs_f64(self.queue.jitter() / 1000.0),
        };
        self.prober.poll(now, situation)
    }

    /// What the path is thought to carry: what size and frame rate go by, which should not follow
    /// every moment that [`Self::target_bitrate`] follows.
    pub fn estimate(&self) -> Bitrate {
        Bitrate::from_bps(self.estimate as u64)
    }

    /// What may be sent now, everything included: the estimate, less what lets a queue empty.
    pub fn target_bitrate(&self) -> Bitrate {
        let target = Bitrate::from_bps(
            (self.estimate * self.competition.factor() * (1.0 - self.drain())) as u64,
        );
        target.clamp(self.config.min, self.config.max)
    }

    /// The rate for the pacer.
    pub fn pacing_rate(&self) -> Bitrate {
        let factor = if self.drain() > 0.0 { 1.0 } else { PACING };
        Bitrate::from_bps((self.target_bitrate().bps() as f64 * factor) as u64)
    }

    /// Figures for statistics.
    pub fn stats(&self) -> EstimatorStats {
        let ms = |ms: f64| Duration::from_secs_f64(ms.clamp(0.0, 1e6) / 1000.0);
        EstimatorStats {
            estimate: Bitrate::from_bps(self.estimate as u64),
            acknowledged: self.arriving().map(|rate| Bitrate::from_bps(rate as u64)),
            queue_delay: ms(self.queue.standing()),
            round_trip_time: self.round_trip,
            loss: self.loss.recent(),
            own_loss: self.loss.own(),
            lasting_loss: self.lasting_loss,
            competing: self.competition.is_active(),
            application_limited: self.is_application_limited(),
        }
    }

    fn take(&mut self, now: Instant, result: &PacketResult, news: &mut News) {
        news.results += 1;
        news.lost += usize::from(result.arrival.is_none());
        let lost = f64::from(u8::from(result.arrival.is_none()));
        self.lasting_loss += LASTING * (lost - self.lasting_loss);
        self.loss
            .reported(result.sent_at, result.arrival.is_none(), result.late);
        if result.arrival.is_none() {
            let part = self.loss.own_part();
            self.delivered.lost((result.size as f64 * part) as usize);
        }
        if let Some(arrival) = result.arrival {
            news.newest_sent = news.newest_sent.max(Some(result.sent_at));
            self.delivered.arrived(arrival, result.size);
            let origin = self.origin.unwrap_or(now);
            let sent = result
                .sent_at
                .saturating_duration_since(origin)
                .as_secs_f64()
                * 1000.0;
            let arrival = arrival.as_secs_f64() * 1000.0;
            if self.trendline.arrived(sent, arrival) {
                self.queue.reset();
                self.delivered.reset();
                self.competition.reset();
            }
            self.queue.arrived(sent, arrival);
        }
        if let Some(id) = result.probe {
            let finding =
                self.prober
                    .reported(now, id, result.size, result.sent_at, result.arrival);
            news.finding = news.finding.or(finding);
        }
    }

    fn measure_round_trip(&mut self, now: Instant, news: &News) {
        if let Some(sent_at) = news.newest_sent {
            let latest = now.saturating_duration_since(sent_at).min(MAX_ROUND_TRIP);
            self.round_trip = Some(
                self.round_trip
                    .map_or(latest, |smooth| smooth.mul_f64(0.8) + latest.mul_f64(0.2)),
            );
        }
    }

    fn update(&mut self, now: Instant, news: &News) {
        let elapsed = self
            .updated_at
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at))
            .min(Duration::from_millis(500));
        self.updated_at = Some(now);
        self.queue
            .set_packet_time(STEP_BITS * 1000.0 / self.estimate.max(1.0));
        let standing = self.queue.standing();
        let queue = (standing, self.queue.peak());
        let yielded = self.congested_at.is_some();
        let seen = (queue.0 - self.noise(), queue.1 - self.noise());
        self.competition.observe(elapsed, seen, yielded);
        if self.competition.is_active() {
            let round_trip = self.round_trip();
            let present = (self.estimate, elapsed);
            let rate = self
                .competition
                .rate(now, present, round_trip, news.lost > 0, queue);
            self.loss.disregard(now);
            self.raise_or_lower(now, rate);
            return;
        }
        if self.is_congested(now) {
            self.back_off(now);
        } else if self.may_grow(now) {
            self.grow(now, elapsed);
        }
        if standing > 2.0 * DRAIN_FROM * self.tolerance() {
            self.loss.disregard(now);
        } else {
            self.heed_loss(now);
        }
        if let Some(finding) = news.finding {
            self.heed_probe(now, finding);
        }
    }

    fn is_congested(&self, now: Instant) -> bool {
        let standing = self.queue.standing();
        let tolerance = self.tolerance();
        let long = standing > LONG_QUEUE * tolerance + 2.0 * self.queue.jitter() + self.noise();
        // What does not use the path does not fill it; a short queue is a passing one then.
        let over = self.trendline.usage() == Usage::Over
            && standing > tolerance + self.noise()
            && !self.is_application_limited();
        let Some(at) = self.congested_at else {
            return over || long || self.has_collapsed();
        };
        let since = now.saturating_duration_since(at);
        // What was done about it shows after a round trip; until then it is the same congestion.
        let answered = since > self.round_trip() + RESPONSE;
        let worse = self
            .arriving()
            .is_some_and(|rate| rate < 0.5 * self.estimate);
        let worse = worse || self.has_collapsed_at_once();
        if !answered && !worse {
            return false;
        }
        if self.has_collapsed() {
            return true;
        }
        let emptying = standing < 0.9 * self.congested_queue;
        (over || long) && (!emptying || since > Duration::from_secs(2))
    }

    fn has_collapsed(&self) -> bool {
        let slow = self.queue.latest(LATEST_PACKETS) > self.collapse_queue()
            && self
                .arriving_now()
                .is_some_and(|rate| rate < COLLAPSE * self.estimate);
        slow || self.has_collapsed_at_once()
    }

    /// The same to a fraction, which a few packets show.
    fn has_collapsed_at_once(&self) -> bool {
        self.queue.latest(TRICKLE_PACKETS) > self.collapse_queue() && self.trickling().is_some()
    }

    /// Queue in ms that a collapse has at least.
    fn collapse_queue(&self) -> f64 {
        COLLAPSE_QUEUE * self.tolerance() + 2.0 * self.queue.jitter() + self.noise()
    }

    /// What arrives at this very moment, if that is a fraction of the estimate.
    fn trickling(&self) -> Option<f64> {
        let rate = self.delivered.rate(TRICKLE_TIME)?;
        (rate < TRICKLE * self.estimate).then_some(rate)
    }

    fn back_off(&mut self, now: Instant) {
        let standing = self.queue.standing().max(self.queue.latest(LATEST_PACKETS));
        let fullness = ((standing - self.tolerance()) / BACK_OFF_QUEUE).clamp(0.0, 1.0);
        let factor = BACK_OFF.0 + (BACK_OFF.1 - BACK_OFF.0) * fullness;
        self.congested_at = Some(now);
        self.congested_queue = standing;
        let Some(arriving) = self.arriving_now() else {
            self.prober.congested(now);
            self.raise_or_lower(now, self.estimate * factor);
            return;
        };
        self.limit = Some(arriving);
        self.prober.congested(now);
        let rate = (arriving * factor).min(self.estimate);
        self.raise_or_lower(now, rate);
    }

    fn may_grow(&self, now: Instant) -> bool {
        let settled = self
            .congested_at
            .is_none_or(|at| now.saturating_duration_since(at) > self.round_trip() + RESPONSE);
        settled
            && self.does_not_grow()
            && self.queue.standing()
                < DRAIN_FROM * self.tolerance() + self.queue.jitter() + self.noise()
            && !self.loss.is_testing()
            && !self.is_application_limited()
    }

    /// Whether the queue stays as it is; where there is jitter, that is below what jitter explains.
    fn does_not_grow(&self) -> bool {
        let noise = self.noise();
        self.trendline.usage() == Usage::Normal
            || (noise > 0.0 && self.queue.standing() < self.tolerance() + noise)
    }

    fn grow(&mut self, now: Instant, elapsed: Duration) {
        if self
            .limit
            .is_some_and(|limit| self.estimate > limit * BEYOND_LIMIT)
        {
            self.limit = None;
        }
        let near = self
            .limit
            .is_some_and(|limit| self.estimate > limit * NEAR_LIMIT);
        let calm = self
            .congested_at
            .is_none_or(|at| now.saturating_duration_since(at) > CALM);
        let growth = if near {
            let response = (self.round_trip() + RESPONSE).as_secs_f64();
            (STEP_BITS / response / self.estimate).min(MAX_STEP_GROWTH)
        } else if calm {
            CALM_GROWTH
        } else {
            GROWTH
        };
        let grown = self.estimate * (1.0 + growth * elapsed.as_secs_f64());
        // Nothing arrives, or too little to tell: there is no reason to send more.
        let Some(arriving) = self.arriving() else {
            return;
        };
        let bounded = grown.min(arriving * LEAD + LEAD_BITS);
        if bounded > self.estimate {
            self.set(now, bounded);
        }
    }

    fn heed_loss(&mut self, now: Instant) {
        match self.loss.judge(now, self.estimate, self.round_trip()) {
            Verdict::Nothing => {}
            Verdict::Cut(factor) => {
                self.prober.congested(now);
                self.set(now, self.estimate * factor);
            }
            Verdict::Restore(rate) => self.set(now, rate.max(self.estimate)),
        }
    }

    fn heed_probe(&mut self, now: Instant, finding: Finding) {
        match finding {
            Finding::AtLeast(_) => {}
            Finding::Limit { trusted: false, .. } => return,
            Finding::Limit { rate, .. } => self.limit = Some(rate),
        }
        let rate = finding.estimate();
        if rate > self.estimate {
            self.set(now, rate);
        }
    }

    /// Sets the estimate, and notices when it has fallen far in a short time.
    fn raise_or_lower(&mut self, now: Instant, rate: f64) {
        self.set(now, rate);
        if self.estimate < self.high.0 * DROP {
            self.prober.dropped(now);
        }
    }

    fn set(&mut self, now: Instant, rate: f64) {
        // What it was until now, however long ago it was set; the first one was only a guess.
        let (high, high_at) = self.high;
        let old = high_at.is_some_and(|at| now.saturating_duration_since(at) > DROP_TIME);
        if high_at.is_none() {
            self.high = (rate, Some(now));
        } else if old || self.estimate >= high {
            self.high = (self.estimate, Some(now));
        }
        let (min, max) = (self.config.min.bps() as f64, self.config.max.bps() as f64);
        self.estimate = if rate.is_finite() {
            rate.clamp(min, max.max(min))
        } else {
            min
        };
    }

    fn outage_deadline(&self) -> Option<Instant> {
        let patience = MIN_OUTAGE.max(self.round_trip() * OUTAGE_ROUND_TRIPS);
        let unknown = self.history.oldest_unknown()?;
        let last_word = self.feedback_at.map_or(unknown, |at| at.max(unknown));
        let from = self
            .outage_cut_at
            .map_or(last_word, |cut| cut.max(last_word));
        Some(from + patience)
    }

    fn end_outage(&mut self, now: Instant) {
        self.outage_cut_at = None;
        if let Some(before) = self.before_outage.take() {
            // Mostly it was the other side or a moment of radio silence; half is a careful guess,
            // and probes do the rest.
            self.set(now, self.estimate.max(before * OUTAGE_CUT));
            self.prober.dropped(now);
            self.loss.disregard(now);
        }
    }

    fn round_trip(&self) -> Duration {
        self.round_trip.unwrap_or(UNKNOWN_ROUND_TRIP)
    }

    /// What arrives, and what is lost on the way by no fault of ours, in bit/s.
    fn arriving(&self) -> Option<f64> {
        self.delivered.rate(Duration::from_millis(500))
    }

    /// The same, but of the last moment when that is much less.
    fn arriving_now(&self) -> Option<f64> {
        let rate = self.delivered.rate(Duration::from_millis(300))?;
        let last = self.delivered.rate(Duration::from_millis(120));
        let rate = last.filter(|last| *last < 0.7 * rate).unwrap_or(rate);
        Some(self.trickling().unwrap_or(rate))
    }

    /// Queue in ms that is no reason to do anything.
    fn tolerance(&self) -> f64 {
        let (low, high) = TOLERANCE_RANGE;
        (TOLERANCE * (TOLERANCE_AT / self.estimate.max(1.0)).sqrt()).clamp(low, high)
    }

    /// Queue in ms that may be jitter.
    fn noise(&self) -> f64 {
        let few = NOISE * (self.queue.jitter() - ORDINARY_JITTER);
        let many = SWING_NOISE * self.queue.jitter_swing();
        few.max(many).clamp(0.0, MAX_NOISE)
    }

    fn is_application_limited(&self) -> bool {
        self.arriving()
            .is_some_and(|rate| rate < IN_USE * self.target_bitrate().bps() as f64)
    }

    fn drain(&self) -> f64 {
        if self.competition.is_active() || self.congested_at.is_none() {
            return 0.0;
        }
        let excess = self.queue.standing()
            - DRAIN_FROM * self.tolerance()
            - self.queue.jitter()
            - self.noise();
        (excess * DRAIN_PER_MS).clamp(0.0, MAX_DRAIN)
    }
}

/// What one feedback message brought.
#[derive(Debug, Default)]
struct News {
    results: usize,
    lost: usize,
    newest_sent: Option<Instant>,
    finding: Option<Finding>,
}
