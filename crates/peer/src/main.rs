//! `ahoy-peer`: a participant without a window, for tests, servers, kiosks and bots. The manual
//! is docs/ahoy-peer.md.

mod bench;
mod call;
mod cli;
mod devices;
mod doctor;
mod exit;
mod ice;
mod process;
mod recorder;
mod report;
mod say;
mod signals;
mod viewer;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::cli::{Cli, Command, LogLevel};
use crate::exit::{Exit, Failure};

/// How long threads of the runtime may take to end: the work is done by then, and a device that
/// hangs must not keep the program.
const RUNTIME_SHUTDOWN: Duration = Duration::from_millis(300);

fn main() -> ExitCode {
    let cli = Cli::parse();
    start_log(cli.log);
    match run(cli.command) {
        Ok(()) => Exit::Fine.into(),
        Err(failure) => {
            say::error(&failure.message);
            failure.exit.into()
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("ahoy-peer")
        .enable_all()
        .build()
        .map_err(|error| Failure::other(format!("Cannot start: {error}.")))?;
    let result = runtime.block_on(async {
        match command {
            Command::Call(options) => call::run(options.into()).await,
            Command::Join(options) => call::run(options.try_into()?).await,
            Command::Devices { json } => devices::run(json).await,
            Command::Doctor { server, json, ice } => doctor::run(server, ice, json).await,
            Command::Bench => bench::run().await,
        }
    });
    runtime.shutdown_timeout(RUNTIME_SHUTDOWN);
    result
}

/// Logs go to standard error.
fn start_log(level: Option<LogLevel>) {
    let filter = match (level, std::env::var(EnvFilter::DEFAULT_ENV)) {
        (None, Ok(directives)) => directives,
        (level, _) => level.unwrap_or(LogLevel::Warn).filter(),
    };
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::builder().parse_lossy(filter))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}
