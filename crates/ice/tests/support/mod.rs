//! A coturn of our own on loopback. Used by the tests and benches of other crates as well.

#![allow(dead_code, reason = "each test file uses a part")]

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ahoy_ice::server::IceServer;
use ahoy_ice::stream::tls::ExtraRoots;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

pub(crate) const USER: &str = "lab";
pub(crate) const PASSWORD: &str = "labpass";

/// Far longer than it takes to start; a hang becomes a failure.
const START_LIMIT: Duration = Duration::from_secs(20);
/// Another program may take a port between our look and its use.
const ATTEMPTS: usize = 5;

/// Ends with this value.
pub(crate) struct Coturn {
    process: Child,
    folder: PathBuf,
    pub(crate) port: u16,
    pub(crate) tls_port: u16,
    /// Of the authority that signed its certificate, in DER.
    pub(crate) authority: Vec<u8>,
    /// User name and password of the only user.
    user: (String, String),
    options: Vec<String>,
}

impl Coturn {
    /// On 127.0.0.1, with a certificate for 127.0.0.1 and localhost.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    pub(crate) fn start_with(options: &[&str]) -> Self {
        let folder =
            std::env::temp_dir().join(format!("ahoy-coturn-{}-{:x}", std::process::id(), unique()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let authority = certificates(&folder);
        let user = (USER.to_owned(), PASSWORD.to_owned());
        for _ in 0..ATTEMPTS {
            let (port, tls_port) = (free_port(), free_port());
            let mut process = command(&folder, (port, tls_port), &user, options)
                .spawn()
                .expect("turnserver: install the package coturn");
            if came_up(&mut process, port) && came_up(&mut process, tls_port) {
                return Self {
                    process,
                    folder,
                    port,
                    tls_port,
                    authority,
                    user,
                    options: options.iter().map(|&option| option.to_owned()).collect(),
                };
            }
            let _ = process.kill();
            let _ = process.wait();
        }
        panic!("coturn did not start");
    }

    /// Kills it and starts it again at the same ports; it remembers nothing.
    pub(crate) fn restart(&mut self) {
        self.process.kill().expect("killed");
        self.process.wait().expect("ended");
        let options: Vec<&str> = self.options.iter().map(String::as_str).collect();
        let mut process = command(
            &self.folder,
            (self.port, self.tls_port),
            &self.user,
            &options,
        )
        .spawn()
        .expect("started before");
        assert!(
            came_up(&mut process, self.port),
            "coturn did not start again"
        );
        self.process = process;
    }

    /// Like [`Self::restart`], and knows nobody but this user.
    pub(crate) fn restart_for(&mut self, name: &str, password: &str) {
        self.user = (name.to_owned(), password.to_owned());
        self.restart();
    }

    pub(crate) fn roots(&self) -> ExtraRoots {
        ExtraRoots::new([self.authority.clone()])
    }

    pub(crate) fn server(&self, urls: &[String]) -> IceServer {
        let (name, password) = &self.user;
        IceServer::new(urls, name, password).expect("a server")
    }

    pub(crate) fn stun(&self) -> String {
        format!("stun:127.0.0.1:{}", self.port)
    }

    pub(crate) fn udp(&self) -> String {
        format!("turn:127.0.0.1:{}?transport=udp", self.port)
    }

    pub(crate) fn tcp(&self) -> String {
        format!("turn:127.0.0.1:{}?transport=tcp", self.port)
    }

    pub(crate) fn tls(&self) -> String {
        format!("turns:127.0.0.1:{}?transport=tcp", self.tls_port)
    }
}

impl Drop for Coturn {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn command(
    folder: &Path,
    (port, tls_port): (u16, u16),
    (name, password): &(String, String),
    options: &[&str],
) -> Command {
    let mut command = Command::new("turnserver");
    command
        .current_dir(folder)
        .args(["-n", "--no-cli", "--no-dtls", "--log-file=stdout"])
        .args(["--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1"])
        .arg(format!("--listening-port={port}"))
        .arg(format!("--tls-listening-port={tls_port}"))
        .args(["--lt-cred-mech", "--realm=ahoy.test"])
        .arg(format!("--user={name}:{password}"))
        .args(["--cert=cert.pem", "--pkey=key.pem", "--pidfile=turn.pid"])
        .args(["--userdb=turndb", "--allow-loopback-peers"])
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

fn unique() -> u128 {
    let epoch = std::time::SystemTime::UNIX_EPOCH.elapsed();
    epoch.map_or(0, |elapsed| elapsed.as_nanos())
}

fn came_up(process: &mut Child, port: u16) -> bool {
    let end = Instant::now() + START_LIMIT;
    while Instant::now() < end {
        if process.try_wait().expect("a child").is_some() {
            return false;
        }
        if TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).is_ok() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

/// A port that is free for UDP and TCP.
pub(crate) fn free_port() -> u16 {
    for _ in 0..100 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free for both UDP and TCP");
}

/// Writes a certificate and its key; gives the authority's.
fn certificates(folder: &Path) -> Vec<u8> {
    let authority_key = KeyPair::generate().expect("a key");
    let mut authority = CertificateParams::new(Vec::new()).expect("parameters");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_certificate = authority.self_signed(&authority_key).expect("signed");
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().expect("a key");
    let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    let own = CertificateParams::new(names).expect("parameters");
    let own = own.signed_by(&key, &issuer).expect("signed");
    for (name, text) in [("cert.pem", own.pem()), ("key.pem", key.serialize_pem())] {
        let mut file = std::fs::File::create(folder.join(name)).expect("a file");
        file.write_all(text.as_bytes()).expect("written");
    }
    authority_certificate.der().to_vec()
}
