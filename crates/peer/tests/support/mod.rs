//! Real programs and a real server for the tests of `ahoy-peer`.

#![allow(dead_code, reason = "every test file uses a part of it")]

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use ahoy_media::frame::I420;
use ahoy_media::units::Resolution;
use ahoy_signaling::{Server, ServerConfig};
use ahoy_video::capture::stamp::write_stamp;
use ahoy_video::capture::y4m::Y4mWriter;

/// How long anything may take that takes a second on an idle computer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A signaling server on a port of its own, for as long as the test runs.
pub(crate) struct TestServer {
    pub(crate) url: String,
    _runtime: tokio::runtime::Runtime,
}

pub(crate) fn server() -> TestServer {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
        .expect("a port");
    let url = format!("ws://{}", listener.local_addr().expect("bound"));
    runtime.spawn(async move {
        let server = Server::new(ServerConfig::default());
        server.serve(listener, std::future::pending()).await
    });
    TestServer {
        url,
        _runtime: runtime,
    }
}

/// `ahoy-peer` with these arguments and nothing of the surroundings that could change it.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ahoy-peer"));
    command.args(arguments).env_remove("RUST_LOG");
    for variable in ["SIGNAL_URL", "ROLE", "CLIP", "VIDEO", "AUDIO", "WINDOW"] {
        command.env_remove(format!("BENCH_{variable}"));
    }
    command
}

/// A participant without devices, unless `arguments` say otherwise.
pub(crate) fn peer(arguments: &[&str]) -> Peer {
    let mut all = arguments.to_vec();
    for device in ["--camera", "--microphone", "--speaker"] {
        if !arguments.contains(&device) {
            all.extend([device, "none"]);
        }
    }
    Peer::start(command(&all))
}

/// A running program, killed when the test is over.
pub(crate) struct Peer {
    child: Child,
    stdout: Arc<(Mutex<Output>, Condvar)>,
    stderr: Option<thread::JoinHandle<String>>,
}

#[derive(Default)]
struct Output {
    lines: Vec<String>,
    ended: bool,
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<String>,
    pub(crate) stderr: String,
}

impl Peer {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let stdout = Arc::new((Mutex::new(Output::default()), Condvar::new()));
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let collected = Arc::clone(&stdout);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                collected.0.lock().expect("no panic").lines.push(line);
                collected.1.notify_all();
            }
            collected.0.lock().expect("no panic").ended = true;
            collected.1.notify_all();
        });
        let mut errors = child.stderr.take().expect("piped");
        let stderr = thread::spawn(move || {
            let mut text = Vec::new();
            let _ = errors.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        Self {
            child,
            stdout,
            stderr: Some(stderr),
        }
    }

    /// Waits for a line that begins with `start`; returns the rest of it.
    pub(crate) fn line(&self, start: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let (output, changed) = &*self.stdout;
        let mut output = output.lock().expect("no panic");
        loop {
            if let Some(rest) = output
                .lines
                .iter()
                .find_map(|line| line.strip_prefix(start))
            {
                return rest.to_owned();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !output.ended && !left.is_zero(),
                "no line \"{start}…\" in {:?}",
                output.lines
            );
            output = changed.wait_timeout(output, left).expect("no panic").0;
        }
    }

    pub(crate) fn code(&self) -> String {
        self.line("Code: ")
    }

    /// Sends a signal by name, such as `INT`.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([format!("-{name}"), self.child.id().to_string()])
            .status()
            .expect("kill is there");
        assert!(status.success());
    }

    /// Waits for the end.
    pub(crate) fn end(mut self) -> End {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                break status;
            }
            assert!(Instant::now() < deadline, "it does not end");
            thread::sleep(Duration::from_millis(10));
        };
        let stderr = self
            .stderr
            .take()
            .expect("not yet taken")
            .join()
            .expect("no panic");
        let (output, changed) = &*self.stdout;
        let all = changed
            .wait_while(output.lock().expect("no panic"), |output| !output.ended)
            .expect("no panic");
        End {
            code: status.code(),
            stdout: all.lines.clone(),
            stderr,
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A short clip whose pictures carry their number.
pub(crate) fn clip(folder: &Path, width: u32, height: u32, frame_rate: u32) -> PathBuf {
    let path = folder.join("clip.y4m");
    let mut writer = Y4mWriter::create(&path, frame_rate).expect("created");
    for number in 0..frame_rate * 2 {
        let mut picture = I420::black(Resolution::new(width, height));
        let luma = picture.planes_mut().0;
        for (index, sample) in luma.iter_mut().enumerate() {
            let (x, y) = (index as u32 % width, index as u32 / width);
            *sample = 40 + ((x + 3 * number) / 8 * 13 + y / 8 * 29) as u8 % 160;
        }
        write_stamp(&mut picture, number);
        writer.write(&picture).expect("written");
    }
    writer.finish().expect("flushed");
    path
}
