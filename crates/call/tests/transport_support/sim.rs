//! A virtual network with a virtual clock, on one thread: time stands still while anything can
//! run, then jumps to the next timer or arrival.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use ahoy_call::transport::network::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, RecvMeta, Runtime,
    Transmit,
};

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The path between any two sockets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Link {
    /// One way.
    pub(crate) delay: Duration,
    /// Share of RTP packets that vanish, 0 to 1. STUN, DTLS and RTCP always arrive, so that what
    /// is measured is the repair of media.
    pub(crate) rtp_loss: f64,
    /// Of each sender; `None` for no limit.
    pub(crate) bits_per_second: Option<f64>,
    /// Longest wait in front of the bottleneck; beyond it packets are dropped.
    pub(crate) queue: Duration,
    /// Standard deviation of the delay. Packets stay in order: one that is late delays those
    /// behind it.
    pub(crate) jitter: Duration,
    pub(crate) stalls: Stalls,
    /// What happens to all packets alike, those of RTCP included.
    pub(crate) loss: Loss,
}

/// With this chance for each packet, 0 to 1, everything is held up for up to so long and then comes
/// at once: others have their turn on a shared radio, or a computer is busy.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Stalls {
    pub(crate) chance: f64,
    pub(crate) longest: Duration,
}

/// Share of packets that vanish, 0 to 1, and how many in a row on average (Gilbert).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Loss {
    pub(crate) share: f64,
    pub(crate) burst: f64,
}

impl Link {
    pub(crate) fn with_delay(delay: Duration) -> Self {
        Self {
            delay,
            rtp_loss: 0.0,
            bits_per_second: None,
            queue: Duration::from_millis(300),
            jitter: Duration::ZERO,
            stalls: Stalls::default(),
            loss: Loss::default(),
        }
    }
}

/// What one sender's packets have met so far.
#[derive(Debug, Default)]
struct Line {
    /// When the bottleneck has sent everything before.
    free_at: Duration,
    /// By [`Kind`].
    streams: [Stream; 2],
}

#[derive(Debug, Default)]
struct Stream {
    /// When the packet before comes out.
    last_out: Duration,
    /// Everything is held up until then.
    stalled_until: Duration,
    /// Within a burst of losses.
    losing: bool,
}

/// Keys and identifiers differ from run to run, and with them when and in how many packets other
/// things than media are sent. Chance is kept apart so that it treats media alike each time.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Media,
    Other,
}

impl Kind {
    /// By the first byte (RFC 7983 section 7): RTP and RTCP are media.
    fn of(bytes: &[u8]) -> Self {
        match bytes.first() {
            Some(128..=191) => Self::Media,
            _ => Self::Other,
        }
    }
}

/// RTP packets that vanished, by payload type.
pub(crate) type Drops = BTreeMap<u8, usize>;

/// The network, the clock and everything that runs on them.
#[derive(Clone)]
pub(crate) struct World(Arc<Shared>);

struct Shared {
    start: Instant,
    ready: Arc<Mutex<VecDeque<usize>>>,
    state: Mutex<State>,
}

struct State {
    now: Duration,
    link: Link,
    /// By [`Kind`].
    chances: [Chance; 2],
    drops: Drops,
    tasks: HashMap<usize, Option<Task>>,
    spawned: usize,
    events: u64,
    timers: BTreeMap<(Duration, u64), Waker>,
    arrivals: BTreeMap<(Duration, u64), Datagram>,
    sockets: HashMap<SocketAddr, Arc<Inbox>>,
    lines: HashMap<SocketAddr, Line>,
}

struct Datagram {
    from: SocketAddr,
    to: SocketAddr,
    bytes: Vec<u8>,
}

#[derive(Default)]
struct Inbox {
    waiting: Mutex<Arrived>,
}

#[derive(Default)]
struct Arrived {
    datagrams: VecDeque<(SocketAddr, Vec<u8>)>,
    reader: Option<Waker>,
}

impl World {
    pub(crate) fn new(link: Link, seed: u64) -> Self {
        let state = State {
            now: Duration::ZERO,
            link,
            chances: [0, 1].map(|_| Chance(seed.max(1))),
            drops: Drops::new(),
            tasks: HashMap::new(),
            spawned: 0,
            events: 0,
            timers: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            sockets: HashMap::new(),
            lines: HashMap::new(),
        };
        Self(Arc::new(Shared {
            // Away from the real clock, so that code that reads it by mistake cannot work.
            start: Instant::now() + Duration::from_secs(3600),
            ready: Arc::default(),
            state: Mutex::new(state),
        }))
    }

    pub(crate) fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::new(SimRuntime(self.clone()))
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.state().now
    }

    pub(crate) fn now(&self) -> Instant {
        self.0.start + self.elapsed()
    }

    pub(crate) fn set_link(&self, change: impl FnOnce(&mut Link)) {
        change(&mut self.state().link);
    }

    pub(crate) fn drops(&self) -> Drops {
        self.state().drops.clone()
    }

    pub(crate) async fn sleep(&self, duration: Duration) {
        Sleep::new(self.clone(), duration).await;
    }

    /// Runs a future and all that it starts until it is done.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let result = Arc::new(Mutex::new(None));
        let place = Arc::clone(&result);
        self.spawn(Box::pin(async move {
            let done = future.await;
            *place.lock().expect("result") = Some(done);
        }));
        loop {
            self.run_ready();
            if let Some(done) = result.lock().expect("result").take() {
                return done;
            }
            self.advance();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("world")
    }

    fn spawn(&self, task: Task) -> usize {
        let mut state = self.state();
        let id = state.spawned;
        state.spawned += 1;
        state.tasks.insert(id, Some(task));
        self.0.ready.lock().expect("ready").push_back(id);
        id
    }

    fn run_ready(&self) {
        loop {
            let Some(id) = self.0.ready.lock().expect("ready").pop_front() else {
                return;
            };
            let Some(mut task) = self.state().tasks.get_mut(&id).and_then(Option::take) else {
                continue;
            };
            let waker = Waker::from(Arc::new(TaskWaker {
                id,
                ready: Arc::clone(&self.0.ready),
                woken: AtomicBool::new(false),
            }));
            let polled = task.as_mut().poll(&mut Context::from_waker(&waker));
            // Dropped outside the lock: a task owns timers and sockets.
            let finished = {
                let mut state = self.state();
                let aborted = !state.tasks.contains_key(&id);
                if polled.is_pending() && !aborted {
                    state.tasks.insert(id, Some(task));
                    None
                } else {
                    state.tasks.remove(&id);
                    Some(task)
                }
            };
            drop(finished);
        }
    }

    /// To the next timer or arrival.
    fn advance(&self) {
        let mut due = Vec::new();
        {
            let mut state = self.state();
            let timer = state.timers.keys().next().map(|(at, _)| *at);
            let arrival = state.arrivals.keys().next().map(|(at, _)| *at);
            let next = timer.into_iter().chain(arrival).min();
            let next = next.expect("nothing will ever happen again");
            state.now = state.now.max(next);
            let now = state.now;
            while let Some(entry) = state.arrivals.first_entry() {
                if entry.key().0 > now {
                    break;
                }
                let Datagram { from, to, bytes } = entry.remove();
                if let Some(inbox) = state.sockets.get(&to) {
                    let mut waiting = inbox.waiting.lock().expect("inbox");
                    waiting.datagrams.push_back((from, bytes));
                    due.extend(waiting.reader.take());
                }
            }
            while let Some(entry) = state.timers.first_entry() {
                if entry.key().0 > now {
                    break;
                }
                due.push(entry.remove());
            }
        }
        due.into_iter().for_each(Waker::wake);
    }
}

impl State {
    fn transmit(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let payload_type = rtp_payload_type(bytes);
        let kind = Kind::of(bytes);
        let chance = &mut self.chances[kind as usize];
        let out = if payload_type.is_some() && chance.next() < self.link.rtp_loss {
            None
        } else {
            let line = self.lines.entry(from).or_default();
            self.link.pass(line, self.now, bytes.len(), kind, chance)
        };
        let Some(at) = out else {
            return self.vanished(payload_type);
        };
        let bytes = bytes.to_vec();
        let number = self.number();
        self.arrivals
            .insert((at, number), Datagram { from, to, bytes });
    }

    fn vanished(&mut self, payload_type: Option<u8>) {
        if let Some(payload_type) = payload_type {
            *self.drops.entry(payload_type).or_default() += 1;
        }
    }

    fn number(&mut self) -> u64 {
        self.events += 1;
        self.events
    }
}

impl Link {
    /// When a packet comes out of the link; `None` when it does not.
    fn pass(
        &self,
        line: &mut Line,
        now: Duration,
        bytes: usize,
        kind: Kind,
        chance: &mut Chance,
    ) -> Option<Duration> {
        let mut leaves = now;
        if let Some(rate) = self.bits_per_second {
            let free = line.free_at.max(now);
            if free - now > self.queue {
                return None;
            }
            // 28 bytes of IPv4 and UDP headers.
            leaves = free + Duration::from_secs_f64((bytes + 28) as f64 * 8.0 / rate);
            line.free_at = leaves;
        }
        let stream = &mut line.streams[kind as usize];
        if self.loses(stream, chance) {
            return None;
        }
        let mut out = leaves + self.delay;
        if self.stalls.chance > 0.0 {
            if chance.next() < self.stalls.chance {
                stream.stalled_until = out + self.stalls.longest.mul_f64(chance.next());
            }
            out = out.max(stream.stalled_until);
        }
        if self.jitter.is_zero() {
            return Some(out);
        }
        // The sum of three is nearly normal.
        let spread = (chance.next() + chance.next() + chance.next()) * 2.0 - 3.0;
        let late = self.delay.as_secs_f64() + spread * self.jitter.as_secs_f64();
        let out = out - self.delay + Duration::from_secs_f64(late.max(0.0));
        stream.last_out = stream.last_out.max(out);
        Some(stream.last_out)
    }

    fn loses(&self, stream: &mut Stream, chance: &mut Chance) -> bool {
        let Loss { share, burst } = self.loss;
        if share <= 0.0 {
            return false;
        }
        if burst <= 1.0 {
            return chance.next() < share;
        }
        let end = 1.0 / burst;
        let begin = share * end / (1.0 - share);
        stream.losing = chance.next() < if stream.losing { 1.0 - end } else { begin };
        stream.losing
    }
}

/// xorshift64*.
struct Chance(u64);

impl Chance {
    /// 0 to 1.
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let mixed = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d);
        (mixed >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// `None` for anything but RTP (RFC 7983 section 7, RFC 5761 section 4).
fn rtp_payload_type(bytes: &[u8]) -> Option<u8> {
    let &[first, second, ..] = bytes else {
        return None;
    };
    let rtp = (128..=191).contains(&first) && !(192..=223).contains(&second);
    rtp.then_some(second & 0x7f)
}

struct TaskWaker {
    id: usize,
    ready: Arc<Mutex<VecDeque<usize>>>,
    woken: AtomicBool,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, Ordering::SeqCst) {
            self.ready.lock().expect("ready").push_back(self.id);
        }
    }
}

struct Sleep {
    world: World,
    at: Duration,
    key: Option<(Duration, u64)>,
}

impl Sleep {
    fn new(world: World, duration: Duration) -> Self {
        let at = world.elapsed().saturating_add(duration);
        Self {
            world,
            at,
            key: None,
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let world = self.world.clone();
        let mut state = world.state();
        if state.now >= self.at {
            return Poll::Ready(());
        }
        let key = match self.key {
            Some(key) => key,
            None => (self.at, state.number()),
        };
        self.key = Some(key);
        state.timers.insert(key, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.world.state().timers.remove(&key);
        }
    }
}

struct SimRuntime(World);

impl std::fmt::Debug for SimRuntime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SimRuntime")
    }
}

impl Runtime for SimRuntime {
    fn spawn(&self, future: Task) -> Box<dyn JoinHandle> {
        let id = self.0.spawn(future);
        Box::new(SimHandle {
            world: self.0.clone(),
            id,
        })
    }

    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let address = socket.local_addr()?;
        let inbox = Arc::new(Inbox::default());
        self.0.state().sockets.insert(address, Arc::clone(&inbox));
        Ok(Arc::new(SimSocket {
            world: self.0.clone(),
            address,
            inbox,
            _reserves_the_port: socket,
        }))
    }

    fn wrap_tcp_listener(&self, _: std::net::TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn connect_tcp<'a>(
        &'a self,
        _: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = io::Result<Arc<dyn AsyncTcpStream>>> + Send + 'a>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }

    fn resolve_host<'a>(
        &'a self,
        _: &'a str,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }

    fn now(&self) -> Instant {
        self.0.now()
    }

    fn sleep(&self, duration: Duration) -> Task {
        Box::pin(Sleep::new(self.0.clone(), duration))
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        Box::new(SimInterval(self.0.clone(), period))
    }

    fn block_on(&self, _: Pin<Box<dyn Future<Output = ()> + '_>>) {
        unimplemented!("nothing blocks in here");
    }
}

struct SimInterval(World, Duration);

impl AsyncInterval for SimInterval {
    fn tick(&mut self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(Sleep::new(self.0.clone(), self.1))
    }
}

struct SimHandle {
    world: World,
    id: usize,
}

impl JoinHandle for SimHandle {
    fn detach(&self) {}

    fn abort(&self) {
        let task = self.world.state().tasks.remove(&self.id);
        drop(task);
    }

    fn is_finished(&self) -> bool {
        !self.world.state().tasks.contains_key(&self.id)
    }
}

struct SimSocket {
    world: World,
    address: SocketAddr,
    inbox: Arc<Inbox>,
    _reserves_the_port: std::net::UdpSocket,
}

impl std::fmt::Debug for SimSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SimSocket({})", self.address)
    }
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        self.world.state().sockets.remove(&self.address);
    }
}

impl AsyncUdpSocket for SimSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }

    fn poll_send(&self, _: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        let size = transmit
            .segment_size
            .unwrap_or(transmit.contents.len())
            .max(1);
        let mut state = self.world.state();
        for datagram in transmit.contents.chunks(size) {
            state.transmit(self.address, transmit.destination, datagram);
        }
        Poll::Ready(Ok(transmit.contents.len()))
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut waiting = self.inbox.waiting.lock().expect("inbox");
        let Some((from, bytes)) = waiting.datagrams.pop_front() else {
            waiting.reader = Some(context.waker().clone());
            return Poll::Pending;
        };
        let length = bytes.len().min(buffers[0].len());
        buffers[0][..length].copy_from_slice(&bytes[..length]);
        let mut received = RecvMeta::default();
        received.addr = from;
        received.len = length;
        received.stride = length.max(1);
        meta[0] = received;
        Poll::Ready(Ok(1))
    }
}
