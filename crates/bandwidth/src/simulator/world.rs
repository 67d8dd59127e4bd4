//! The clock, and what happens when.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use super::link::{Link, LinkConfig};
use super::media::{MediaConfig, MediaFlow};
use super::metrics::{Outcome, Trace};
use super::random::Random;
use super::receiver::MediaPacket;
use super::tcp::{Segment, TcpConfig, TcpFlow};

/// A number of a flow's own, to tell its timers apart.
pub(super) type Timer = u8;

#[derive(Debug, Clone)]
pub(super) struct Packet {
    pub(super) flow: usize,
    /// On the wire, in bytes.
    pub(super) size: usize,
    pub(super) content: Content,
}

#[derive(Debug, Clone)]
pub(super) enum Content {
    Media(MediaPacket),
    /// Transport-wide numbers with the times of arrival.
    Feedback(Vec<(u16, Option<Duration>)>),
    Nack(Vec<u32>),
    KeyFrameRequest,
    Tcp(Segment),
    TcpAck(Segment),
}

/// What a flow may do at a moment.
#[derive(Debug)]
pub(super) struct Now<'a> {
    pub(super) time: Duration,
    origin: Instant,
    pub(super) random: &'a mut Random,
    forward: Vec<(usize, Content)>,
    backward: Vec<(usize, Content)>,
    timers: Vec<(Duration, Timer)>,
}

impl Now<'_> {
    /// As the engine code sees it.
    pub(super) fn instant(&self) -> Instant {
        self.origin + self.time
    }

    pub(super) fn since_start(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.origin)
    }

    /// Towards the receiver.
    pub(super) fn send(&mut self, size: usize, content: Content) {
        self.forward.push((size, content));
    }

    /// Towards the sender.
    pub(super) fn reply(&mut self, size: usize, content: Content) {
        self.backward.push((size, content));
    }

    pub(super) fn wake(&mut self, at: Duration, timer: Timer) {
        self.timers.push((at.max(self.time), timer));
    }
}

pub(super) trait Flow {
    fn start(&mut self, now: &mut Now<'_>);
    fn timer(&mut self, now: &mut Now<'_>, timer: Timer);
    /// At the receiver or, for what was replied, at the sender.
    fn arrive(&mut self, now: &mut Now<'_>, content: Content, trace: &mut Trace);
    /// For the record, at the end.
    fn finish(&mut self, trace: &mut Trace);
}

/// Which kind of flow.
#[derive(Debug, Clone, PartialEq)]
pub enum FlowKind {
    /// A call of ours.
    Media(MediaConfig),
    /// TCP.
    Tcp(TcpConfig),
}

/// A flow of a scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct FlowConfig {
    /// What it is.
    pub kind: FlowKind,
    /// Propagation delay of its path, one way.
    pub delay: Duration,
    /// When it begins.
    pub start: Duration,
    /// Whether its data takes the backward link, and its feedback the forward one.
    pub reversed: bool,
}

/// Everything that makes a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// What to call it.
    pub name: String,
    /// The link that is looked at.
    pub forward: LinkConfig,
    /// The way back.
    pub backward: LinkConfig,
    /// Who uses them.
    pub flows: Vec<FlowConfig>,
    /// How long.
    pub duration: Duration,
    /// Of all random numbers.
    pub seed: u64,
}

#[derive(Debug)]
enum Event {
    Start(usize),
    Timer(usize, Timer),
    Through(usize),
    Arrive(Packet),
}

struct Entry {
    at: Duration,
    number: u64,
    event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

struct World<'a> {
    scenario: &'a Scenario,
    origin: Instant,
    time: Duration,
    random: Random,
    links: [Link; 2],
    flows: Vec<Box<dyn Flow>>,
    traces: Vec<Trace>,
    /// Last arrival of each flow on each link: packets stay in order.
    arrived: Vec<[Duration; 2]>,
    events: BinaryHeap<Reverse<Entry>>,
    number: u64,
}

/// Runs a scenario to its end.
pub fn run(scenario: &Scenario) -> Outcome {
    let mut world = World::new(scenario);
    for (flow, config) in scenario.flows.iter().enumerate() {
        world.schedule(config.start, Event::Start(flow));
    }
    while let Some(Reverse(entry)) = world.events.pop() {
        if entry.at > scenario.duration {
            break;
        }
        world.time = entry.at;
        world.happen(entry.event);
    }
    for (flow, trace) in world.flows.iter_mut().zip(&mut world.traces) {
        flow.finish(trace);
    }
    Outcome::new(scenario.clone(), world.traces)
}

impl<'a> World<'a> {
    fn new(scenario: &'a Scenario) -> Self {
        let flows = scenario.flows.iter().enumerate().map(|(index, flow)| {
            let seed = scenario.seed.wrapping_add(1 + index as u64);
            match &flow.kind {
                FlowKind::Media(config) => {
                    Box::new(MediaFlow::new(config.clone(), seed)) as Box<dyn Flow>
                }
                FlowKind::Tcp(config) => Box::new(TcpFlow::new(config.clone())),
            }
        });
        Self {
            scenario,
            origin: Instant::now(),
            time: Duration::ZERO,
            random: Random::new(scenario.seed),
            links: [
                Link::new(scenario.forward.clone()),
                Link::new(scenario.backward.clone()),
            ],
            flows: flows.collect(),
            traces: scenario.flows.iter().map(|_| Trace::default()).collect(),
            arrived: vec![[Duration::ZERO; 2]; scenario.flows.len()],
            events: BinaryHeap::new(),
            number: 0,
        }
    }

    fn schedule(&mut self, at: Duration, event: Event) {
        self.number += 1;
        self.events.push(Reverse(Entry {
            at,
            number: self.number,
            event,
        }));
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Start(flow) => self.with(flow, |flow, now, _| flow.start(now)),
            Event::Timer(flow, timer) => self.with(flow, |flow, now, _| flow.timer(now, timer)),
            Event::Through(link) => self.through(link),
            Event::Arrive(packet) => {
                let content = packet.content;
                self.with(packet.flow, |flow, now, trace| {
                    flow.arrive(now, content, trace);
                });
            }
        }
    }

    fn with(&mut self, index: usize, act: impl FnOnce(&mut dyn Flow, &mut Now<'_>, &mut Trace)) {
        let mut now = Now {
            time: self.time,
            origin: self.origin,
            random: &mut self.random,
            forward: Vec::new(),
            backward: Vec::new(),
            timers: Vec::new(),
        };
        act(&mut *self.flows[index], &mut now, &mut self.traces[index]);
        let (forward, backward, timers) = (now.forward, now.backward, now.timers);
        for (at, timer) in timers {
            self.schedule(at, Event::Timer(index, timer));
        }
        let reversed = usize::from(self.scenario.flows[index].reversed);
        for (size, content) in forward {
            self.enqueue(reversed, index, size, content);
        }
        for (size, content) in backward {
            self.enqueue(1 - reversed, index, size, content);
        }
    }

    fn enqueue(&mut self, link: usize, flow: usize, size: usize, content: Content) {
        let packet = Packet {
            flow,
            size,
            content,
        };
        let data = packet.is_data();
        if data {
            self.traces[flow].sent(self.time, size);
        }
        if !self.links[link].enqueue(self.time, packet) {
            if data {
                self.traces[flow].lost(self.time);
            }
            return;
        }
        self.begin(link);
    }

    fn begin(&mut self, link: usize) {
        if let Some(at) = self.links[link].begin(self.time) {
            self.schedule(at, Event::Through(link));
        }
    }

    fn through(&mut self, link: usize) {
        let finished = self.links[link].finish(self.time);
        self.begin(link);
        let Some((packet, waited)) = finished else {
            return;
        };
        let flow = packet.flow;
        if packet.is_data() {
            self.traces[flow].through(self.time, &packet, waited);
        }
        if self.links[link].loses(self.time, &mut self.random) {
            if packet.is_data() {
                self.traces[flow].lost(self.time);
            }
            return;
        }
        let propagation = self.scenario.flows[flow].delay;
        let delay = self.links[link].delay(propagation, &mut self.random);
        let last = &mut self.arrived[flow][link];
        *last = (*last).max(self.time + delay);
        let at = *last;
        self.schedule(at, Event::Arrive(packet));
    }
}

impl Packet {
    fn is_data(&self) -> bool {
        matches!(self.content, Content::Media(_) | Content::Tcp(_))
    }
}
