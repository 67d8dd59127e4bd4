//! The program itself: where it listens, whom it serves, how it ends.
#![cfg(unix)]

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::time::Duration;

use ahoy_signaling::{
    ConnectOptions, Entry, ServerAddress, SignalingClient, SignalingError, SignalingLink,
};

struct Program {
    child: Child,
    out: BufReader<ChildStdout>,
    err: ChildStderr,
}

impl Program {
    fn start(options: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ahoy-server"))
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let out = BufReader::new(child.stdout.take().expect("piped"));
        let err = child.stderr.take().expect("piped");
        Self { child, out, err }
    }

    /// The address of the next line that the program prints.
    fn address(&mut self) -> ServerAddress {
        let mut line = String::new();
        self.out.read_line(&mut line).expect("a line");
        let address = line
            .trim_end()
            .strip_prefix("ahoy-server listens on ")
            .expect("where it listens");
        address.parse().expect("an address")
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args(["-s", name, &self.child.id().to_string()])
            .status();
        assert!(sent.expect("kill runs").success());
    }

    /// Exit code and everything written to standard error.
    fn end(mut self) -> (Option<i32>, String) {
        let mut log = String::new();
        self.err.read_to_string(&mut log).expect("text");
        (self.child.wait().expect("it ended").code(), log)
    }
}

/// Leaves no program behind when a test fails.
impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn connect(address: &ServerAddress, entry: Entry) -> Result<SignalingLink, SignalingError> {
    SignalingClient::connect(address, entry, &ConnectOptions::default()).await
}

#[tokio::test]
async fn it_serves_rooms_and_ends_gracefully_on_a_signal() {
    for signal in ["TERM", "INT"] {
        let mut program = Program::start(&[
            "--listen",
            "127.0.0.1:0",
            "--listen",
            "127.0.0.1:0",
            "--log",
            "trace",
        ]);
        let (one, other) = (program.address(), program.address());
        let mut ann = connect(&one, Entry::Create { reach: None })
            .await
            .expect("a room");
        let room = ann.seat.room;
        let ben = connect(&other, Entry::Join { room })
            .await
            .expect("the same room");
        assert_eq!(ben.seat.participants, [1, 2]);
        ann.receiver
            .recv()
            .await
            .expect("open")
            .expect("somebody joined");

        program.signal(signal);
        let lost = async {
            while let Some(message) = ann.receiver.recv().await {
                if let Err(error) = message {
                    return error;
                }
            }
            panic!("the link ended without a reason");
        };
        let lost = tokio::time::timeout(Duration::from_secs(20), lost)
            .await
            .expect("in time");
        assert_eq!(lost, SignalingError::Lost);
        let (code, log) = program.end();
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("shutting down"), "{log}");
        // Without the timestamps, whose digits may look like anything.
        let said: Vec<&str> = log
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(_, rest)| rest)
            .collect();
        let said = said.join("\n");
        assert!(
            said.contains("ahoy_signaling"),
            "the library logs at this level: {log}"
        );
        for secret in [room.to_string(), "127.0.0.1".to_owned()] {
            assert!(!said.contains(&secret), "{secret} is in the log: {said}");
        }
    }
}

#[test]
fn a_port_in_use_is_explained() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let (code, log) = Program::start(&["--listen", &address]).end();
    assert_eq!(code, Some(3), "{log}");
    assert!(
        log.contains(&address) && log.contains("another program uses this port"),
        "{log}"
    );
}

#[test]
fn wrong_options_are_explained() {
    let (code, log) = Program::start(&["--listen", "somewhere"]).end();
    assert_eq!(code, Some(2), "{log}");
    assert!(log.contains("--listen"), "{log}");
    let (code, log) = Program::start(&["--listen", "127.0.0.1:0", "--log", "a=b=c"]).end();
    assert_eq!(code, Some(2), "{log}");
    assert!(log.contains("--log"), "{log}");
}

#[test]
fn help_names_the_exit_codes() {
    let mut program = Program::start(&["--help"]);
    let mut help = String::new();
    program.out.read_to_string(&mut help).expect("text");
    assert!(
        help.contains("--max-rooms") && help.contains("Exit codes"),
        "{help}"
    );
    assert_eq!(program.end().0, Some(0));
}

#[tokio::test]
async fn limits_from_the_command_line_hold() {
    let mut program = Program::start(&["--listen", "127.0.0.1:0", "--max-rooms", "1"]);
    let address = program.address();
    let _first = connect(&address, Entry::Create { reach: None })
        .await
        .expect("a room");
    let second = connect(&address, Entry::Create { reach: None }).await.err();
    assert!(
        matches!(second, Some(SignalingError::Refused { .. })),
        "{second:?}"
    );
}
