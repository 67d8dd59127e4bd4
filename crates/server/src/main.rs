//! `ahoy-server`: a signaling server for whoever can reach it, with a relay beside it.

mod certificate;
mod ice;
mod metrics;
mod open_files;
mod options;
mod signals;
mod status;
mod turn;

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use ahoy_signaling::Server;
use ahoy_signaling::server::Entrance;
use clap::Parser;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use certificate::Certificate;
use ice::{IceServers, SharedSecret, Urls};
use options::Options;
use signals::{Request, Signals};
use status::Status;
use turn::{Publish, Relay, Settings};

/// Exit code for options that contradict each other, and files that cannot be used. Clap's own.
const WRONG_OPTIONS: u8 = 2;
/// Exit code when an address cannot be listened on.
const CANNOT_LISTEN: u8 = 3;
/// Exit code when a listener breaks while serving.
const CANNOT_SERVE: u8 = 4;
/// Exit code when the relay that was asked for cannot run.
const NO_RELAY: u8 = 5;
/// How often the certificate's files are looked at.
const CERTIFICATE_INTERVAL: Duration = Duration::from_secs(10);
/// Files and sockets that the program needs beside connections: listeners, coturn's output, the
/// status page, and descriptors of the runtime.
const OTHER_FILES: u64 = 64;

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    match run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// Why the program ends.
struct Failure {
    code: u8,
    problem: String,
}

impl Failure {
    fn new(code: u8, problem: impl std::fmt::Display) -> Self {
        Self {
            code,
            problem: problem.to_string(),
        }
    }

    #[expect(
        clippy::print_stderr,
        reason = "the program ends here, whatever the log level"
    )]
    fn report(self) -> ExitCode {
        eprintln!("ahoy-server: {}", self.problem);
        ExitCode::from(self.code)
    }
}

async fn run(options: Options) -> Result<(), Failure> {
    start_log(&options.log).map_err(|problem| {
        Failure::new(WRONG_OPTIONS, format!("--log {}: {problem}", options.log))
    })?;
    let max_files = open_files::raise_limit();
    warn_of_few_files(&options, max_files);
    let certificate = options
        .certificate()
        .map(Certificate::load)
        .transpose()
        .map_err(|error| Failure::new(WRONG_OPTIONS, error))?;
    let listeners = bind_all(&options.listen).await?;
    let status_listeners = bind_all(&options.metrics_listen).await?;
    // Before the address is printed: whoever reads it may send a signal at once.
    let signals = Signals::new()
        .map_err(|error| Failure::new(CANNOT_SERVE, format!("cannot wait for signals: {error}")))?;

    let mut ice = options
        .ice_servers()
        .map_err(|problem| Failure::new(WRONG_OPTIONS, problem))?;
    let turn = options
        .turn()
        .map_err(|problem| Failure::new(WRONG_OPTIONS, problem))?;
    let relay_address = turn.as_ref().map(Settings::own_address);
    let relay = match turn {
        Some(settings) => {
            let shared_tls = match &certificate {
                Some(_) => ports(&listeners),
                None => Vec::new(),
            };
            let relay = start_relay(settings, shared_tls, &mut ice).await;
            Some(relay.map_err(|error| Failure::new(NO_RELAY, error))?)
        }
        None => None,
    };
    let server = Server::with_ice_servers(options.config(), Arc::new(ice));
    let entrance = Entrance {
        tls: certificate.as_ref().map(Certificate::config),
        proxies: options.behind_proxy.clone(),
        turn: relay_address.filter(|_| certificate.is_some()),
    };
    let status = Status {
        server: server.clone(),
        relay: relay.as_ref().map(Relay::state),
        max_files,
    };
    print_addresses(&listeners, certificate.is_some(), &status_listeners);
    let mut running = Running {
        certificate,
        relay,
        signals,
    };
    let result = running
        .serve(server, listeners, entrance, status, status_listeners)
        .await;
    if let Some(relay) = running.relay {
        relay.stop().await;
    }
    result.map_err(|error| Failure::new(CANNOT_SERVE, format!("a listener broke: {error}")))
}

async fn start_relay(
    settings: Settings,
    shared_tls: Vec<u16>,
    ice: &mut IceServers,
) -> Result<Relay, turn::TurnError> {
    let secret = SharedSecret::random();
    let publish = Publish {
        shared_tls,
        turn: Urls::default(),
        stun: Urls::default(),
    };
    ice.stun = publish.stun.clone();
    ice.shared.push((publish.turn.clone(), secret.clone()));
    Relay::start(settings, secret, publish).await
}

/// What is looked after while serving.
struct Running {
    certificate: Option<Certificate>,
    relay: Option<Relay>,
    signals: Signals,
}

impl Running {
    /// Serves all listeners until a signal comes or one of them breaks.
    async fn serve(
        &mut self,
        server: Server,
        listeners: Vec<TcpListener>,
        entrance: Entrance,
        status: Status,
        status_listeners: Vec<TcpListener>,
    ) -> io::Result<()> {
        let (stop, stopped) = watch::channel(());
        let mut serving = JoinSet::new();
        for listener in listeners {
            let (server, mut stopped) = (server.clone(), stopped.clone());
            let entrance = entrance.clone();
            serving.spawn(async move {
                // Ends with an error when the sender is dropped: that is the signal to stop.
                let stopped = async { while stopped.changed().await.is_ok() {} };
                server.serve_at(listener, entrance, stopped).await
            });
        }
        let mut reporting = JoinSet::new();
        for listener in status_listeners {
            reporting.spawn(status::serve(listener, status.clone()));
        }
        let mut result = Ok(());
        let mut looks = tokio::time::interval(CERTIFICATE_INTERVAL);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                request = self.signals.next() => match request {
                    Request::Stop => {
                        tracing::info!("shutting down");
                        break;
                    }
                    Request::Reload => self.reload(),
                },
                _ = looks.tick() => {
                    if self.certificate.as_ref().is_some_and(Certificate::has_changed) {
                        self.reload();
                    }
                }
                Some(ended) = serving.join_next() => {
                    result = ended.map_err(io::Error::other).flatten();
                    break;
                }
            }
        }
        drop(stop);
        while let Some(ended) = serving.join_next().await {
            result = result.and(ended.map_err(io::Error::other).flatten());
        }
        result
    }

    fn reload(&mut self) {
        if let Some(certificate) = &mut self.certificate {
            match certificate.reload() {
                Ok(()) => tracing::info!("the certificate was read again"),
                Err(error) => {
                    tracing::error!(%error, "the certificate is not changed");
                    return;
                }
            }
        }
        if let Some(relay) = &self.relay {
            relay.reload();
        }
    }
}

async fn bind_all(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, Failure> {
    let mut listeners = Vec::new();
    for address in addresses {
        match TcpListener::bind(address).await {
            Ok(listener) => listeners.push(listener),
            Err(error) => return Err(Failure::new(CANNOT_LISTEN, explain(*address, &error))),
        }
    }
    Ok(listeners)
}

fn ports(listeners: &[TcpListener]) -> Vec<u16> {
    let mut ports: Vec<u16> = listeners
        .iter()
        .filter_map(|listener| listener.local_addr().ok())
        .map(|address| address.port())
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

fn warn_of_few_files(options: &Options, max_files: Option<u64>) {
    let Some(limit) = max_files else { return };
    let wanted = options.config().limits.connections as u64 + OTHER_FILES;
    if limit < wanted {
        tracing::warn!(
            limit,
            wanted,
            "the system lets this process have fewer open files than --max-connections asks for; \
             raise LimitNOFILE= of the unit, or ulimit -n"
        );
    }
}

/// Our own messages at `filter`, those of libraries only when they warn: at finer levels they
/// would write whole messages.
fn start_log(filter: &str) -> Result<(), String> {
    let directives = match filter.parse::<tracing_subscriber::filter::LevelFilter>() {
        Ok(level) => format!("warn,ahoy_server={level},ahoy_signaling={level}"),
        Err(_) => filter.to_owned(),
    };
    let filter =
        tracing_subscriber::EnvFilter::try_new(directives).map_err(|error| error.to_string())?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    Ok(())
}

fn explain(address: SocketAddr, error: &io::Error) -> String {
    let reason = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program uses this port already; stop it or choose another with --listen"
                .to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need special rights; choose a higher one, or see docs/server.md"
                .to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "this computer does not have this address".to_owned(),
        _ => error.to_string(),
    };
    format!("cannot listen on {address}: {reason}")
}

#[expect(clippy::print_stdout, reason = "scripts read the addresses there")]
fn print_addresses(listeners: &[TcpListener], tls: bool, status: &[TcpListener]) {
    let scheme = if tls { "wss" } else { "ws" };
    for address in listeners.iter().filter_map(|l| l.local_addr().ok()) {
        println!("ahoy-server listens on {scheme}://{address}");
    }
    for address in status.iter().filter_map(|l| l.local_addr().ok()) {
        println!("ahoy-server reports on http://{address}");
    }
}
