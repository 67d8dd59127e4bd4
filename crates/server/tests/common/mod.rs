//! The program in a process of its own, and what its clients need.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use ahoy_signaling::{
    ConnectOptions, Entry, ServerAddress, SignalingClient, SignalingError, SignalingLink,
};
use rustls::{ClientConfig, RootCertStore};

/// Far longer than anything here takes, so that a hang fails instead of lasting.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two looks at something that takes its time.
const LOOK: Duration = Duration::from_millis(50);

pub(crate) struct Program {
    pub(crate) child: Child,
    pub(crate) out: BufReader<ChildStdout>,
    err: ChildStderr,
}

impl Program {
    pub(crate) fn start(options: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ahoy-server"));
        command.args(options);
        Self::run(command)
    }

    pub(crate) fn run(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let out = BufReader::new(child.stdout.take().expect("piped"));
        let err = child.stderr.take().expect("piped");
        Self { child, out, err }
    }

    /// What the next line that the program prints says after `before`.
    fn line(&mut self, before: &str) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).expect("a line");
        match line.trim_end().strip_prefix(before) {
            Some(rest) => rest.to_owned(),
            None => {
                let _ = self.child.kill();
                let mut log = String::new();
                let _ = self.err.read_to_string(&mut log);
                panic!("expected {before}, got {line} and {log}");
            }
        }
    }

    /// The address of the next line that the program prints.
    pub(crate) fn address(&mut self) -> ServerAddress {
        let address = self.line("ahoy-server listens on ");
        address.parse().expect("an address")
    }

    /// Where it reports, which it prints last.
    pub(crate) fn status(&mut self) -> SocketAddr {
        let address = self.line("ahoy-server reports on http://");
        address.parse().expect("an address")
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Exit code and everything written to standard error.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let mut log = String::new();
        self.err.read_to_string(&mut log).expect("text");
        (self.child.wait().expect("it ended").code(), log)
    }
}

/// Leaves no program behind when a test fails.
impl Drop for Program {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // Gently, so that it ends what it has started.
            signal(self.child.id(), "TERM");
            for _ in 0..100 {
                if !matches!(self.child.try_wait(), Ok(None)) {
                    return;
                }
                std::thread::sleep(LOOK);
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn signal(process: u32, name: &str) {
    let sent = Command::new("kill")
        .args(["-s", name, &process.to_string()])
        .status();
    assert!(sent.expect("kill runs").success());
}

pub(crate) async fn connect(
    address: &ServerAddress,
    entry: Entry,
) -> Result<SignalingLink, SignalingError> {
    SignalingClient::connect(address, entry, &ConnectOptions::default()).await
}

/// Waits until `look` finds something.
pub(crate) async fn until<T>(look: impl AsyncFn() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking)
        .await
        .expect("in time")
}

/// The body that `path` answers with, and the status line before it.
pub(crate) async fn fetch(address: SocketAddr, path: &str) -> (String, String) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut tcp = tokio::net::TcpStream::connect(address)
        .await
        .expect("connected");
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    tcp.write_all(request.as_bytes()).await.expect("written");
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).await.expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("head and body");
    let line = head.lines().next().expect("a status line").to_owned();
    (line, body.to_owned())
}

/// A certificate for `localhost` in `cert.pem` and `key.pem`, and what trusts nothing but it.
pub(crate) fn certificate(directory: &Path) -> Arc<ClientConfig> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
    // The key first: the program looks at both, and reads them when both have changed.
    fs::write(directory.join("key.pem"), made.signing_key.serialize_pem()).expect("written");
    fs::write(directory.join("cert.pem"), made.cert.pem()).expect("written");
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

/// A port that is free for UDP and TCP on loopback at this moment.
pub(crate) fn free_port() -> u16 {
    for _ in 0..100 {
        let udp = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let port = udp.local_addr().expect("bound").port();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free for both");
}
