//! `ahoy-server`: a signaling server for whoever can reach it.

mod options;

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::process::ExitCode;

use ahoy_signaling::Server;
use clap::Parser;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use options::Options;

/// Exit code when an address cannot be listened on. Wrong options end with clap's 2.
const CANNOT_LISTEN: u8 = 3;
/// Exit code when a listener breaks while serving.
const CANNOT_SERVE: u8 = 4;

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    if let Err(problem) = start_log(&options.log) {
        return fail(2, &format!("--log {}: {problem}", options.log));
    }
    let mut listeners = Vec::new();
    for address in &options.listen {
        match TcpListener::bind(address).await {
            Ok(listener) => listeners.push(listener),
            Err(error) => return fail(CANNOT_LISTEN, &explain(*address, &error)),
        }
    }
    // Before the address is printed: whoever reads it may send a signal at once.
    let signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return fail(CANNOT_SERVE, &format!("cannot wait for signals: {error}")),
    };
    print_addresses(&listeners);
    match serve(Server::new(options.config()), listeners, signals).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(CANNOT_SERVE, &format!("a listener broke: {error}")),
    }
}

/// Serves all listeners until a signal comes or one of them breaks.
async fn serve(
    server: Server,
    listeners: Vec<TcpListener>,
    mut signals: Signals,
) -> io::Result<()> {
    let (stop, stopped) = watch::channel(());
    let mut serving = JoinSet::new();
    for listener in listeners {
        let (server, mut stopped) = (server.clone(), stopped.clone());
        serving.spawn(async move {
            // Ends with an error when the sender is dropped: that is the signal to stop.
            let stopped = async { while stopped.changed().await.is_ok() {} };
            server.serve(listener, stopped).await
        });
    }
    let mut result = Ok(());
    tokio::select! {
        () = signals.next() => tracing::info!("shutting down"),
        Some(ended) = serving.join_next() => result = ended.map_err(io::Error::other).flatten(),
    }
    drop(stop);
    while let Some(ended) = serving.join_next().await {
        result = result.and(ended.map_err(io::Error::other).flatten());
    }
    result
}

/// What asks the server to end.
struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    #[cfg(unix)]
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    #[cfg(unix)]
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    #[cfg(not(unix))]
    fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(not(unix))]
    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
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
            "ports below 1024 need special rights; choose a higher one".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "this computer does not have this address".to_owned(),
        _ => error.to_string(),
    };
    format!("cannot listen on {address}: {reason}")
}

#[expect(clippy::print_stdout, reason = "scripts read the addresses there")]
fn print_addresses(listeners: &[TcpListener]) {
    for listener in listeners {
        if let Ok(address) = listener.local_addr() {
            println!("ahoy-server listens on ws://{address}");
        }
    }
}

#[expect(
    clippy::print_stderr,
    reason = "the program ends here, whatever the log level"
)]
fn fail(code: u8, problem: &str) -> ExitCode {
    eprintln!("ahoy-server: {problem}");
    ExitCode::from(code)
}
