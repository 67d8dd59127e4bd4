//! What one server process carries: idle connections in rooms of two, joins, and messages between
//! participants meanwhile. Prints a table; asserts no times.
//!
//! `cargo bench -p ahoy-server --bench load -- [--connections N] [--tls]`
//!
//! The server is the real program in a process of its own, so that its memory is its own and each
//! process has its own limit of open files; all clients are in this one.

#![expect(clippy::print_stdout, reason = "it prints a table")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ahoy_signaling::RoomNumber;
use ahoy_signaling::message::{
    ClientMessage, PROTOCOL_VERSION, SUBPROTOCOL, ServerMessage, SignalData,
};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

/// Clients that connect or join at the same time.
const AT_ONCE: usize = 128;
/// Joiners that are connected before they all join: few enough that none idles too long.
const BATCH: usize = 1_500;
/// Pairs that talk while the others idle, and how much.
const TALKING_PAIRS: usize = 10;
const MESSAGES_EACH: usize = 300;
const MESSAGE_BYTES: usize = 1_500;
/// Time between two messages of a pair: below the server's limit of 40 per second.
const MESSAGE_PAUSE: Duration = Duration::from_millis(30);
/// How long all idle before memory and processor time are read.
const IDLE: Duration = Duration::from_secs(10);

trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}
type Socket = WebSocketStream<Box<dyn Bytes>>;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let tls = arguments.iter().any(|argument| argument == "--tls");
    let connections = arguments
        .iter()
        .position(|argument| argument == "--connections")
        .and_then(|place| arguments.get(place + 1))
        .map_or(18_000, |count| count.parse().expect("a number"));
    raise_limit();
    let directory = tempfile::tempdir().expect("a directory");
    let trust = tls.then(|| certificate(directory.path()));
    let server = Server::start(trust.is_some().then_some(directory.path()));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .on_thread_start(give_way)
        .build();
    let runtime = runtime.expect("a runtime");
    runtime.block_on(measure(server, connections / 2, trust));
}

/// The clients would be on other computers: what they do is not to be in the server's way, nor in that
/// of the few that talk.
fn give_way() {
    #[cfg(target_os = "linux")]
    rustix::process::nice(19).expect("lower priority");
}

#[cfg(not(unix))]
fn raise_limit() {}

#[cfg(unix)]
fn raise_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    let wanted = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, wanted).expect("the hard limit");
}

fn certificate(directory: &Path) -> Arc<ClientConfig> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
    fs::write(directory.join("cert.pem"), made.cert.pem()).expect("written");
    fs::write(directory.join("key.pem"), made.signing_key.serialize_pem()).expect("written");
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// The program under test.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start(certificate: Option<&Path>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ahoy-server"));
        command.args(["--listen", "127.0.0.1:0", "--log", "warn"]);
        command.args([
            "--max-connections",
            "60000",
            "--max-connections-per-address",
            "60000",
        ]);
        command.args(["--max-rooms", "60000", "--max-rooms-per-address", "60000"]);
        if let Some(directory) = certificate {
            command.arg("--certificate").arg(directory.join("cert.pem"));
            command.arg("--key").arg(directory.join("key.pem"));
        }
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped"))
            .read_line(&mut line)
            .expect("a line");
        let (_, address) = line.trim().rsplit_once('/').expect("an address");
        let address = address.parse().expect("an address");
        Self { child, address }
    }

    fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("Linux");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kilobytes.expect("VmRSS").parse::<u64>().expect("a number") * 1_024
    }

    /// Processor time so far.
    fn busy(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("Linux");
        let (_, rest) = stat.rsplit_once(") ").expect("a name in brackets");
        let fields: Vec<&str> = rest.split(' ').collect();
        let ticks: u64 = fields[11..13]
            .iter()
            .map(|field| field.parse::<u64>().expect("a number"))
            .sum();
        // USER_HZ, which Linux shows to programs whatever it counts in itself.
        Duration::from_millis(ticks * 10)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn connect(address: SocketAddr, tls: Option<Arc<ClientConfig>>, index: usize) -> Socket {
    let socket = TcpSocket::new_v4().expect("a socket");
    // Some hundred clients per address, as in life, and enough ports for all.
    let host = u8::try_from(2 + index / 500 % 200).expect("below 202");
    socket
        .bind(([127, 0, 0, host], 0).into())
        .expect("a loopback address");
    let tcp = socket.connect(address).await.expect("connected");
    tcp.set_nodelay(true).expect("set");
    let stream: Box<dyn Bytes> = match tls {
        Some(config) => {
            let name = ServerName::try_from("localhost").expect("a name");
            let connector = tokio_rustls::TlsConnector::from(config);
            Box::new(connector.connect(name, tcp).await.expect("TLS"))
        }
        None => Box::new(tcp),
    };
    let config = WebSocketConfig::default()
        .read_buffer_size(4_096)
        .write_buffer_size(0);
    let uri = format!("ws://{address}/").parse().expect("an address");
    let request = ClientRequestBuilder::new(uri).with_sub_protocol(SUBPROTOCOL);
    let (socket, _) = client_async_with_config(request, stream, Some(config))
        .await
        .expect("a handshake");
    socket
}

async fn say(socket: &mut Socket, message: &ClientMessage) {
    socket
        .send(Message::text(message.to_json()))
        .await
        .expect("said");
}

/// The next message that is no ping.
async fn hear(socket: &mut Socket) -> ServerMessage {
    loop {
        let message = socket.next().await.expect("open").expect("readable");
        let text = message.into_text().expect("text");
        match ServerMessage::parse(&text).expect("a message") {
            ServerMessage::Ping => say(socket, &ClientMessage::Pong).await,
            message => return message,
        }
    }
}

/// What the idle clients have met.
#[derive(Debug, Default)]
struct Idle {
    pings: AtomicUsize,
    lost: AtomicUsize,
}

/// Answers pings for ever.
async fn idle(mut socket: Socket, counts: Arc<Idle>) {
    let pong = Utf8Bytes::from(ClientMessage::Pong.to_json());
    while let Some(Ok(message)) = socket.next().await {
        let ping = message
            .to_text()
            .is_ok_and(|text| text.contains("\"ping\""));
        if ping {
            counts.pings.fetch_add(1, Ordering::Relaxed);
            if socket.send(Message::Text(pong.clone())).await.is_err() {
                break;
            }
        }
    }
    counts.lost.fetch_add(1, Ordering::Relaxed);
}

async fn create(mut socket: Socket) -> (Socket, RoomNumber) {
    let create = ClientMessage::Create {
        version: PROTOCOL_VERSION,
        reach: None,
        room: None,
        resumable: true,
    };
    say(&mut socket, &create).await;
    match hear(&mut socket).await {
        ServerMessage::Created { room, .. } => (socket, room),
        other => panic!("{other:?}"),
    }
}

async fn join(mut socket: Socket, room: RoomNumber) -> (Socket, Duration) {
    let join = ClientMessage::Join {
        version: PROTOCOL_VERSION,
        room,
        resumable: true,
    };
    let start = Instant::now();
    say(&mut socket, &join).await;
    match hear(&mut socket).await {
        ServerMessage::Joined { .. } => (socket, start.elapsed()),
        other => panic!("{other:?}"),
    }
}

/// Does something for each of `inputs`, [`AT_ONCE`] at a time.
async fn each<I, T, F>(inputs: Vec<I>, act: impl Fn(I) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let (mut running, mut done) = (JoinSet::new(), Vec::new());
    for input in inputs {
        if running.len() >= AT_ONCE {
            done.push(running.join_next().await.expect("some").expect("no panic"));
        }
        running.spawn(act(input));
    }
    while let Some(result) = running.join_next().await {
        done.push(result.expect("no panic"));
    }
    done
}

async fn measure(server: Server, rooms: usize, tls: Option<Arc<ClientConfig>>) {
    let address = server.address;
    let counts = Arc::new(Idle::default());
    let empty = server.resident_bytes();

    let start = Instant::now();
    let opened = each((0..rooms).collect(), |index| {
        let (tls, counts) = (tls.clone(), Arc::clone(&counts));
        async move {
            let (socket, room) = create(connect(address, tls, index).await).await;
            tokio::spawn(idle(socket, counts));
            room
        }
    })
    .await;
    let opening = start.elapsed();

    let (mut joining, mut latencies) = (Duration::ZERO, Vec::new());
    for batch in opened.chunks(BATCH) {
        let indices: Vec<usize> = (rooms..rooms + batch.len()).collect();
        let sockets = each(indices, |index| connect(address, tls.clone(), index)).await;
        let pairs: Vec<(Socket, RoomNumber)> =
            sockets.into_iter().zip(batch.iter().copied()).collect();
        let start = Instant::now();
        let joined = each(pairs, |(socket, room)| join(socket, room)).await;
        joining += start.elapsed();
        for (socket, latency) in joined {
            latencies.push(latency);
            tokio::spawn(idle(socket, Arc::clone(&counts)));
        }
    }

    let (busy, pings) = (server.busy(), counts.pings.load(Ordering::Relaxed));
    tokio::time::sleep(IDLE).await;
    let idling = server.busy() - busy;
    let pings = counts.pings.load(Ordering::Relaxed) - pings;
    let full = server.resident_bytes();

    // On a thread of its own, so that the many idle clients of this process do not delay it.
    let talking = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(talk(address, tls))
    });
    let relayed = tokio::task::spawn_blocking(|| talking.join().expect("no panic"))
        .await
        .expect("no panic");

    let connections = rooms * 2;
    println!("connections, in rooms of two          {connections}");
    println!(
        "lost meanwhile                        {}",
        counts.lost.load(Ordering::Relaxed)
    );
    println!(
        "memory of the empty server            {:.1} MB",
        empty as f64 / 1e6
    );
    println!(
        "memory with all of them               {:.1} MB",
        full as f64 / 1e6
    );
    println!(
        "memory per connection                 {:.0} bytes",
        (full - empty) as f64 / connections as f64
    );
    println!(
        "connect and create, one after another {:.0}/s",
        rooms as f64 / opening.as_secs_f64()
    );
    println!(
        "joins                                 {:.0}/s",
        rooms as f64 / joining.as_secs_f64()
    );
    report("a join, 128 at a time", latencies);
    println!(
        "processor while idle                  {:.0} % of one core, for {:.0} pings/s",
        100.0 * idling.as_secs_f64() / IDLE.as_secs_f64(),
        pings as f64 / IDLE.as_secs_f64()
    );
    report("1.5 kB from one to another meanwhile", relayed);
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "{what:37} p50 {:.2} ms, p99 {:.2} ms, most {:.2} ms",
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

/// Several pairs, whose messages say when they were sent.
async fn talk(address: SocketAddr, tls: Option<Arc<ClientConfig>>) -> Vec<Duration> {
    let start = Instant::now();
    let mut pairs = JoinSet::new();
    for index in 0..TALKING_PAIRS {
        let (ann, room) = create(connect(address, tls.clone(), index).await).await;
        let (ben, _) = join(connect(address, tls.clone(), index).await, room).await;
        let (speaker, speakers_ear) = ann.split();
        let (voice, ear) = ben.split();
        pairs.spawn(async move {
            // Apart in time, so that pairs do not queue behind each other.
            tokio::time::sleep(MESSAGE_PAUSE * u32::try_from(index).expect("small") / 10).await;
            let answering = tokio::spawn(answer_pings(speakers_ear));
            let speaking = tokio::spawn(speak(speaker, start));
            let times = listen(ear, voice, start).await;
            speaking.await.expect("no panic");
            answering.abort();
            times
        });
    }
    pairs.join_all().await.into_iter().flatten().collect()
}

/// What a speaker hears; its messages to others are signs of life enough.
async fn answer_pings(mut ear: SplitStream<Socket>) {
    while let Some(Ok(_)) = ear.next().await {}
}

async fn speak(mut voice: SplitSink<Socket, Message>, start: Instant) {
    let mut ticks = tokio::time::interval(MESSAGE_PAUSE);
    for _ in 0..MESSAGES_EACH {
        ticks.tick().await;
        let mut text = format!("{}|", start.elapsed().as_nanos());
        // As base64url three bytes become four characters, and 40 are around them.
        text.push_str(&"x".repeat((MESSAGE_BYTES - 40) / 4 * 3 - text.len()));
        let data = SignalData::new(text.as_bytes()).expect("short enough");
        let message = ClientMessage::Signal { to: 2, data };
        voice
            .send(Message::text(message.to_json()))
            .await
            .expect("said");
    }
}

async fn listen(
    mut ear: SplitStream<Socket>,
    mut voice: SplitSink<Socket, Message>,
    start: Instant,
) -> Vec<Duration> {
    let mut times = Vec::new();
    while times.len() < MESSAGES_EACH {
        let message = ear.next().await.expect("open").expect("readable");
        let arrived = start.elapsed();
        let text = message.into_text().expect("text");
        match ServerMessage::parse(&text).expect("a message") {
            ServerMessage::Signal { data, .. } => {
                let text = data.bytes().expect("ours");
                let text = String::from_utf8(text).expect("ours");
                let (sent, _) = text.split_once('|').expect("ours");
                let sent = Duration::from_nanos(sent.parse().expect("a number"));
                times.push(arrived - sent);
            }
            ServerMessage::Ping => voice
                .send(Message::text(ClientMessage::Pong.to_json()))
                .await
                .expect("said"),
            _ => {}
        }
    }
    times
}
