//! coturn beside the server: configured, started, tried and watched.
//!
//! ```text
//!            answers               ended by itself
//! starting ──────────▶ running ────────────────────▶ pausing ──▶ starting …
//!                        │ tried at once, then every 5 min
//!                        ▼ stop: SIGTERM, then SIGKILL
//! ```

mod check;
mod config;
mod words;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::ice::{SharedSecret, Urls, unix_now};
pub(crate) use check::Transport;
use check::{Target, check};
pub(crate) use config::Settings;

/// How long coturn may take until it answers: it prepares all relay ports first.
const START_TIMEOUT: Duration = Duration::from_secs(10);
const START_PAUSE: Duration = Duration::from_millis(100);
/// Time between two tries of the relay, and when the last one failed.
const CHECK_INTERVAL: Duration = Duration::from_secs(300);
const CHECK_AGAIN: Duration = Duration::from_secs(15);
/// Pause before coturn is started again, doubled up to the longest; forgotten when it ran this long.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
const RAN_WELL: Duration = Duration::from_secs(60);
/// How long it may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the credentials for a try are good.
const CHECK_LIFETIME: u64 = 60;
/// Longest line of coturn's that is read.
const MAX_LINE: usize = 4_096;

/// Why there is no relay. Sentences with a remedy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TurnError {
    #[error("coturn is not installed: there is no program {}. Debian and Ubuntu: apt install coturn; Fedora: dnf install coturn", .program.display())]
    NotInstalled { program: PathBuf },
    #[error(
        "{protocol} port {port} is taken; stop what uses it (perhaps a coturn that the system started: systemctl disable --now coturn), or choose another with {option}"
    )]
    PortTaken {
        protocol: &'static str,
        port: u16,
        option: &'static str,
    },
    #[error("{protocol} port {port} cannot be used: {reason}")]
    PortUnusable {
        protocol: &'static str,
        port: u16,
        reason: io::Error,
    },
    #[error("cannot write coturn's configuration: {0}")]
    Configuration(io::Error),
    #[error("cannot start coturn: {0}")]
    CannotStart(io::Error),
    #[error("coturn ended at once ({status}); its last words: {words}")]
    Ended { status: ExitStatus, words: String },
    #[error("coturn runs but does not answer on UDP port {port}; its last words: {words}")]
    Silent { port: u16, words: String },
}

/// How the relay is.
#[derive(Debug, Clone, Default)]
pub(crate) struct RelayState {
    pub(crate) running: bool,
    pub(crate) restarts: u64,
    /// By transport, what came of the last try: nothing wrong, or a sentence.
    pub(crate) checks: Vec<(Transport, Result<(), String>)>,
}

impl RelayState {
    /// Sentences, for whoever runs the server.
    pub(crate) fn problems(&self) -> Vec<&str> {
        let stopped = (!self.running).then_some("coturn does not run");
        let failed = self.checks.iter().filter_map(|(_, result)| match result {
            Ok(()) => None,
            Err(problem) => Some(problem.as_str()),
        });
        stopped.into_iter().chain(failed).collect()
    }
}

/// Where clients are sent, once it has been tried.
#[derive(Debug, Clone)]
pub(crate) struct Publish {
    /// Ports of our own TLS listeners, which pass TURN on to coturn.
    pub(crate) shared_tls: Vec<u16>,
    pub(crate) turn: Urls,
    pub(crate) stun: Urls,
}

/// A relay that runs.
#[derive(Debug)]
pub(crate) struct Relay {
    state: watch::Receiver<RelayState>,
    commands: mpsc::Sender<Reload>,
    task: JoinHandle<()>,
}

/// Read the certificate again.
#[derive(Debug)]
struct Reload;

impl Relay {
    /// Starts coturn and waits until it answers; what comes after that is done by a task.
    ///
    /// # Errors
    ///
    /// [`TurnError`], which says what to do about it.
    pub(crate) async fn start(
        settings: Settings,
        secret: SharedSecret,
        publish: Publish,
    ) -> Result<Self, TurnError> {
        ports_are_free(&settings)?;
        let directory = directory().map_err(TurnError::Configuration)?;
        let file = directory.path().join("turnserver.conf");
        write_private(&file, &config::text(&settings, &secret, directory.path()))
            .map_err(TurnError::Configuration)?;
        let (state, watched) = watch::channel(RelayState::default());
        let (commands, reloads) = mpsc::channel(1);
        let mut keeper = Keeper {
            settings,
            secret,
            publish,
            file,
            _directory: directory,
            state,
            reloads,
        };
        let running = keeper.launch().await?;
        let task = tokio::spawn(async move { keeper.keep(running).await });
        Ok(Self {
            state: watched,
            commands,
            task,
        })
    }

    pub(crate) fn state(&self) -> watch::Receiver<RelayState> {
        self.state.clone()
    }

    /// coturn is to read its certificate again.
    pub(crate) fn reload(&self) {
        // Full means that it is about to.
        let _ = self.commands.try_send(Reload);
    }

    /// Ends coturn, and waits for that.
    pub(crate) async fn stop(self) {
        drop(self.commands);
        if let Err(error) = self.task.await {
            tracing::warn!(%error, "the relay's keeper ended badly");
        }
    }
}

/// Keeps coturn running.
struct Keeper {
    settings: Settings,
    secret: SharedSecret,
    publish: Publish,
    file: PathBuf,
    _directory: TempDir,
    state: watch::Sender<RelayState>,
    reloads: mpsc::Receiver<Reload>,
}

/// One coturn.
struct Running {
    child: Child,
    since: Instant,
    listening: JoinHandle<String>,
}

/// Why keeping one coturn ends.
enum End {
    Stop,
    Ended(io::Result<ExitStatus>),
}

impl Keeper {
    /// Starts coturn and waits until it answers.
    async fn launch(&mut self) -> Result<Running, TurnError> {
        let mut child = Command::new(&self.settings.program)
            .arg("-c")
            .arg(&self.file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => TurnError::NotInstalled {
                    program: self.settings.program.clone(),
                },
                _ => TurnError::CannotStart(error),
            })?;
        let stdout = child.stdout.take();
        let listening = tokio::spawn(async move {
            match stdout {
                Some(stdout) => listen(stdout).await,
                None => String::new(),
            }
        });
        let address = self.settings.own_address();
        let answering = async {
            while !check::answers(address).await {
                sleep(START_PAUSE).await;
            }
        };
        tokio::select! {
            () = answering => {}
            status = child.wait() => {
                let words = listening.await.unwrap_or_default();
                return Err(match status {
                    Ok(status) => TurnError::Ended { status, words },
                    Err(error) => TurnError::CannotStart(error),
                });
            }
            () = sleep(START_TIMEOUT) => {
                // Best effort: it is killed when dropped as well.
                let _ = child.kill().await;
                let words = listening.await.unwrap_or_default();
                return Err(TurnError::Silent { port: self.settings.port, words });
            }
        }
        self.state.send_modify(|state| state.running = true);
        Ok(Running {
            child,
            since: Instant::now(),
            listening,
        })
    }

    async fn keep(mut self, mut running: Running) {
        let mut pause = RESTART_PAUSE;
        loop {
            let end = self.watch(&mut running).await;
            self.state.send_modify(|state| state.running = false);
            match end {
                End::Stop => return stop(running.child).await,
                End::Ended(status) => {
                    let words = running.listening.await.unwrap_or_default();
                    let status = status.map_or_else(|error| error.to_string(), |s| s.to_string());
                    tracing::error!(status, words, "coturn ended by itself; it is started again");
                }
            }
            self.publish.turn.set(Vec::new());
            self.publish.stun.set(Vec::new());
            if running.since.elapsed() >= RAN_WELL {
                pause = RESTART_PAUSE;
            }
            running = loop {
                if self.stopped_within(pause).await {
                    return;
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
                self.state.send_modify(|state| state.restarts += 1);
                match self.launch().await {
                    Ok(running) => break running,
                    Err(error) => tracing::error!(%error, "coturn cannot be started again"),
                }
            };
        }
    }

    /// Tries the relay from time to time until it ends or is to end.
    async fn watch(&mut self, running: &mut Running) -> End {
        let mut due = Instant::now();
        loop {
            tokio::select! {
                status = running.child.wait() => return End::Ended(status),
                reload = self.reloads.recv() => match reload {
                    Some(Reload) => {
                        signal(&running.child, Signal::Reload);
                        due = Instant::now() + START_PAUSE;
                    }
                    None => return End::Stop,
                },
                () = tokio::time::sleep_until(due) => {
                    let fine = self.try_out().await;
                    due = Instant::now() + if fine { CHECK_INTERVAL } else { CHECK_AGAIN };
                }
            }
        }
    }

    async fn stopped_within(&mut self, pause: Duration) -> bool {
        let end = Instant::now() + pause;
        loop {
            match tokio::time::timeout_at(end, self.reloads.recv()).await {
                Ok(Some(Reload)) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    /// Gets an allocation over each transport, and publishes those that work.
    async fn try_out(&self) -> bool {
        let Settings {
            host, port, tls, ..
        } = &self.settings;
        let host_in_url = match host.parse::<IpAddr>() {
            Ok(IpAddr::V6(ip)) => format!("[{ip}]"),
            Ok(IpAddr::V4(_)) | Err(_) => host.clone(),
        };
        let mut ways = vec![
            (
                Transport::Udp,
                *port,
                format!("turn:{host_in_url}:{port}?transport=udp"),
            ),
            (
                Transport::Tcp,
                *port,
                format!("turn:{host_in_url}:{port}?transport=tcp"),
            ),
        ];
        let own_tls = tls.iter().map(|(port, _)| port);
        for port in self.publish.shared_tls.iter().chain(own_tls) {
            let url = format!("turns:{host_in_url}:{port}?transport=tcp");
            ways.push((Transport::Tls, *port, url));
        }
        let credentials = self
            .secret
            .credentials(unix_now() + CHECK_LIFETIME, "check");
        let Ok((username, password)) = credentials else {
            tracing::error!("cannot make credentials for the relay");
            return false;
        };
        let (mut checks, mut urls) = (Vec::new(), Vec::new());
        for (transport, port, url) in ways {
            let target = Target {
                transport,
                address: SocketAddr::new(self.settings.own_address().ip(), port),
                host: host.clone(),
                username: username.clone(),
                password: password.clone(),
                private_peers: self.settings.private_peers,
            };
            let result = match check(&target).await {
                Ok(relayed) => {
                    urls.push(url);
                    self.judge(relayed.ip())
                }
                Err(error) => Err(format!("TURN over {transport} does not work: {error}")),
            };
            checks.push((transport, result));
        }
        let reachable = checks.first().is_some_and(|(_, result)| result.is_ok());
        self.publish.turn.set(urls);
        self.publish.stun.set(if reachable {
            vec![format!("stun:{host_in_url}:{port}")]
        } else {
            Vec::new()
        });
        self.report(checks)
    }

    /// Whether peers reach what the relay hands out.
    fn judge(&self, relayed: IpAddr) -> Result<(), String> {
        let private = match relayed {
            IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
            IpAddr::V6(ip) => {
                ip.is_unique_local() || ip.is_loopback() || ip.is_unicast_link_local()
            }
        };
        if private && !self.settings.private_peers {
            return Err(
                "the relay hands out an address of a private network, which nobody on the \
                 internet reaches: give this computer's public address with --turn-external-ip"
                    .to_owned(),
            );
        }
        Ok(())
    }

    fn report(&self, checks: Vec<(Transport, Result<(), String>)>) -> bool {
        let mut fine = true;
        let before = self.state.borrow().checks.clone();
        for (transport, result) in &checks {
            let known = before.contains(&(*transport, result.clone()));
            match result {
                Ok(()) if !known => tracing::info!(%transport, "the relay works"),
                Ok(()) => {}
                Err(problem) => {
                    fine = false;
                    if !known {
                        tracing::error!("{problem}");
                    }
                }
            }
        }
        self.state.send_modify(|state| state.checks = checks);
        fine
    }
}

/// Hands coturn's words on to the log, and gives the last complaint when it has ended.
async fn listen(stdout: impl AsyncRead + Unpin) -> String {
    let mut lines = BufReader::with_capacity(MAX_LINE, stdout);
    let (mut line, mut last) = (Vec::new(), String::new());
    loop {
        line.clear();
        // One that is longer comes in pieces.
        let mut piece = tokio::io::AsyncReadExt::take(&mut lines, MAX_LINE as u64);
        match piece.read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return last,
            Ok(_) => {}
        }
        match words::clean(&String::from_utf8_lossy(&line)) {
            Some((text, true)) => {
                tracing::debug!(target: "ahoy_server::coturn", "{text}");
                last = text;
            }
            Some((text, false)) => tracing::trace!(target: "ahoy_server::coturn", "{text}"),
            None => {}
        }
    }
}

enum Signal {
    Reload,
    Terminate,
}

#[cfg(unix)]
fn signal(child: &Child, signal: Signal) {
    use rustix::process::{Pid, kill_process};
    let Some(pid) = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw)
    else {
        return;
    };
    let signal = match signal {
        Signal::Reload => rustix::process::Signal::USR2,
        Signal::Terminate => rustix::process::Signal::TERM,
    };
    // It may have ended just now.
    let _ = kill_process(pid, signal);
}

#[cfg(not(unix))]
fn signal(_child: &Child, _signal: Signal) {}

async fn stop(mut child: Child) {
    signal(&child, Signal::Terminate);
    if timeout(STOP_TIMEOUT, child.wait()).await.is_err() {
        // Best effort; the system reaps it with us.
        let _ = child.kill().await;
    }
}

/// Asked first, since coturn itself tries for ever and says so only in its log.
fn ports_are_free(settings: &Settings) -> Result<(), TurnError> {
    let everywhere = [IpAddr::from(Ipv4Addr::UNSPECIFIED)];
    let addresses = if settings.listen.is_empty() {
        &everywhere[..]
    } else {
        &settings.listen[..]
    };
    let tls = settings.tls.as_ref().map(|(port, _)| *port);
    let ports = [
        (Some(settings.port), "--turn-port"),
        (tls, "--turn-tls-port"),
    ];
    for ip in addresses {
        for (port, option) in ports {
            let Some(port) = port else { continue };
            let udp = UdpSocket::bind((*ip, port)).map(drop);
            let tcp = TcpListener::bind((*ip, port)).map(drop);
            for (protocol, result) in [("UDP", udp), ("TCP", tcp)] {
                result.map_err(|error| match error.kind() {
                    io::ErrorKind::AddrInUse => TurnError::PortTaken {
                        protocol,
                        port,
                        option,
                    },
                    _ => TurnError::PortUnusable {
                        protocol,
                        port,
                        reason: error,
                    },
                })?;
            }
        }
    }
    Ok(())
}

/// Ours alone, and gone when we are: in systemd's place for that, where there is one.
fn directory() -> io::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("ahoy-server-");
    match std::env::var_os("RUNTIME_DIRECTORY") {
        Some(place) => builder.tempdir_in(place),
        None => builder.tempdir(),
    }
}

/// Nobody else may read the secret in it.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file: File = options.open(path)?;
    file.write_all(text.as_bytes())
}
