//! The program itself: where it listens, whom it serves, how it ends.
#![cfg(unix)]

mod common;

use std::io::Read;
use std::time::Duration;

use ahoy_signaling::{Entry, SignalingError};
use common::{Program, connect};

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
