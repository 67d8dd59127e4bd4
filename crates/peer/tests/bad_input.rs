//! Whatever is wrong from outside ends with its own exit code and a sentence, never with a panic.

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;

use support::{End, Peer, command, peer, server};

fn fails(arguments: &[&str], code: i32) -> End {
    let end = peer(arguments).end();
    assert_eq!(end.code, Some(code), "{arguments:?}: {end:?}");
    check_message(&end);
    end
}

fn check_message(end: &End) {
    assert!(!end.stderr.contains("panicked"), "{}", end.stderr);
    let sentence = end.stderr.lines().last().unwrap_or_default();
    assert!(sentence.len() > 20, "{}", end.stderr);
}

#[test]
fn arguments() {
    for arguments in [
        ["join", "hello"].as_slice(),
        &["join", "4821-amber"],
        &["join", "4821-amber-otter-otter"],
        &["join", "https://example.org/4821#amber-otter"],
        &["call", "--server", "not an address"],
        &["call", "--camera", "tone"],
        &["call", "--resolution", "large"],
        &["call", "--duration", "soon"],
        &["call", "--nonsense"],
        &["dial"],
    ] {
        let end = Peer::start(command(arguments)).end();
        assert_eq!(end.code, Some(2), "{arguments:?}: {end:?}");
        assert!(
            !end.stderr.contains("amber") && !end.stderr.contains("otter"),
            "{}",
            end.stderr
        );
        assert!(end.stdout.is_empty(), "{end:?}");
    }
}

#[test]
fn servers() {
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port");
    let nobody = format!("ws://{}", closed.local_addr().expect("bound"));
    drop(closed);
    fails(&["call", "--server", &nobody], 3);
    fails(&["join", "4821-amber-otter", "--server", &nobody], 3);
    fails(&["call", "--server", &web_server()], 3);
}

/// Answers everything like a web site.
fn web_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("ws://{}", listener.local_addr().expect("bound"));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi");
        }
    });
    url
}

#[test]
fn rooms() {
    let server = server();
    let end = fails(&["join", "4821-amber-otter", "--server", &server.url], 4);
    assert!(!end.stderr.contains("amber"), "{}", end.stderr);
}

#[test]
fn nobody_that_a_connection_can_be_made_to() {
    let server = server();
    let host = peer(&["call", "--server", &server.url, "--duration", "30s"]);
    let code = host.code();
    // A stopped program keeps its seat for some seconds and answers nothing.
    #[cfg(unix)]
    host.signal("STOP");
    fails(
        &[
            "join",
            &code,
            "--server",
            &server.url,
            "--duration",
            "500ms",
        ],
        5,
    );
}

#[test]
fn files() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).expect("written");
        format!("file:{}", path.display())
    };
    let header = b"YUV4MPEG2 W320 H180 F15:1 Ip A1:1 C420jpeg\n".as_slice();
    let server = server();
    let call = |option: &str, value: &str, code: i32| {
        let end = fails(&["call", "--server", &server.url, option, value], code);
        assert!(end.stdout.is_empty(), "no room is opened: {end:?}");
    };
    call("--camera", "file:/no/such/clip.y4m", 6);
    call("--camera", &file("text.y4m", b"hello\n"), 6);
    call("--camera", &file("empty.y4m", header), 6);
    call(
        "--camera",
        &file("short.y4m", &[header, b"FRAME\nabc"].concat()),
        6,
    );
    call("--camera", "device:/dev/no-such-camera", 6);
    call("--microphone", "file:/no/such/voice.wav", 6);
    call("--microphone", &file("text.wav", b"hello\n"), 6);
    call("--microphone", "device:no-such-microphone", 6);
    call("--speaker", "device:no-such-speaker", 6);
    call("--speaker", &format!("file:{}", folder.path().display()), 7);
    call("--save-video", "/no/such/folder/seen.y4m", 7);
    call("--stats", "/no/such/folder/stats.json", 7);
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_is_full_in_the_middle_of_a_call_does_not_end_it() {
    if !Path::new("/dev/full").exists() {
        panic!("this test needs /dev/full");
    }
    let server = server();
    let host = peer(&[
        "call",
        "--server",
        &server.url,
        "--camera",
        "pattern",
        "--duration",
        "20s",
    ]);
    let code = host.code();
    let guest = peer(&[
        "join",
        &code,
        "--server",
        &server.url,
        "--save-video",
        "/dev/full",
        "--duration",
        "4s",
    ]);
    guest.line("Joined: ");
    let end = guest.end();
    assert_eq!(end.code, Some(7), "{end:?}");
    assert!(end.stderr.contains("/dev/full"), "{}", end.stderr);
    assert!(
        !end.stdout
            .contains(&"The connection is interrupted.".to_owned())
    );
    host.line("Left: ");
}

#[test]
fn devices_are_listed_whatever_is_missing() {
    let end = Peer::start(command(&["devices", "--json"])).end();
    assert_eq!(end.code, Some(0), "{end:?}");
    let json: serde_json::Value = serde_json::from_str(&end.stdout.join("\n")).expect("JSON");
    for kind in ["cameras", "microphones", "speakers"] {
        assert!(json[kind].is_array(), "{json}");
    }
    let mut nothing = command(&["devices"]);
    nothing
        .env("PULSE_SERVER", "unix:/no/such/socket")
        .env("XDG_RUNTIME_DIR", "/no/such/folder");
    let end = Peer::start(nothing).end();
    assert_eq!(end.code, Some(0), "{end:?}");
    assert_eq!(end.stdout.first().map(String::as_str), Some("Cameras"));
}
