//! A sound server of its own for each test, with virtual speakers and microphones.
//!
//! Which server a program talks to is decided by its environment. So each test starts a server in
//! a directory of its own and runs itself once more, as a child that sees only that server.

use std::fs::{self, File, Permissions};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Set in the child: the process id of its server.
const SERVER_PID: &str = "AHOY_TEST_SOUND_SERVER_PID";
/// Real time is tested: one after the other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Speakers "Lab Speaker" (default) and "Other Speaker", microphones "Lab Microphone" (default)
/// and "Other Microphone". What is played to `lab_voice` is what "Lab Microphone" hears.
const DEVICES: &str = "\
load-module module-null-sink sink_name=lab_speaker rate=48000 channels=2 norewinds=1 sink_properties=device.description=\"Lab\\ Speaker\"
load-module module-null-sink sink_name=other_speaker rate=44100 channels=2 norewinds=1 sink_properties=device.description=\"Other\\ Speaker\"
load-module module-null-sink sink_name=lab_voice rate=48000 channels=1 norewinds=1
load-module module-null-sink sink_name=other_voice rate=44100 channels=2 norewinds=1
load-module module-remap-source source_name=lab_microphone master=lab_voice.monitor channels=1 source_properties=device.description=\"Lab\\ Microphone\"
load-module module-remap-source source_name=other_microphone master=other_voice.monitor channels=2 source_properties=device.description=\"Other\\ Microphone\"
set-default-sink lab_speaker
set-default-source lab_microphone
";

/// Runs `scenario` where there are virtual devices.
pub(crate) fn with_devices(test: &str, scenario: impl FnOnce(&Lab)) {
    run(test, DEVICES, scenario);
}

/// Runs `scenario` where there is a sound server with one speaker and no microphone.
pub(crate) fn with_only_a_speaker(test: &str, scenario: impl FnOnce(&Lab)) {
    let one = DEVICES.lines().next().expect("a speaker");
    run(test, one, scenario);
}

/// The same for a program that is no test: it is started once more with these arguments.
#[allow(dead_code, reason = "for benches")]
pub(crate) fn with_devices_and_arguments(arguments: &[&str], scenario: impl FnOnce(&Lab)) {
    if let Some(output) = beside_a_server(DEVICES, arguments, scenario) {
        print!("{}", String::from_utf8_lossy(&output.stdout));
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success());
    }
}

fn run(test: &str, devices: &str, scenario: impl FnOnce(&Lab)) {
    let arguments = ["--exact", test, "--nocapture", "--test-threads=1"];
    let Some(output) = beside_a_server(devices, &arguments, scenario) else {
        return;
    };
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    assert!(
        output.status.success() && out.contains("1 passed"),
        "{test} failed beside its sound server\n{out}\n{err}"
    );
    print!("{out}{err}");
}

/// In the child runs the scenario; otherwise starts the child and returns what it wrote.
fn beside_a_server(
    devices: &str,
    arguments: &[&str],
    scenario: impl FnOnce(&Lab),
) -> Option<Output> {
    if let Ok(pid) = std::env::var(SERVER_PID) {
        scenario(&Lab { server: pid });
        return None;
    }
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let server = Server::start(devices);
    let output = server
        .environment(Command::new(std::env::current_exe().expect("this test")))
        .args(arguments)
        .output();
    Some(output.expect("the test runs again"))
}

struct Server {
    directory: tempfile::TempDir,
    process: Child,
}

impl Server {
    fn start(devices: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        fs::set_permissions(directory.path(), Permissions::from_mode(0o700)).expect("private");
        let script = directory.path().join("devices.pa");
        let protocol = "load-module module-native-protocol-unix auth-anonymous=1\n";
        fs::write(&script, format!("{protocol}{devices}")).expect("written");
        let log = directory.path().join("log");
        let mut command = Command::new("pulseaudio");
        // Ends by itself should this test be killed.
        command
            .args(["--daemonize=no", "--exit-idle-time=60", "-n", "-F"])
            .arg(&script)
            .env("XDG_RUNTIME_DIR", directory.path())
            .env("HOME", directory.path())
            .env_remove("PULSE_SERVER")
            // A desktop's session bus knows one PulseAudio at a time, and a display leads to it.
            .env_remove("DBUS_SESSION_BUS_ADDRESS")
            .env_remove("DISPLAY")
            // The cookie belongs into this server's own home.
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("WAYLAND_DISPLAY")
            .stdout(File::create(&log).expect("a log"))
            .stderr(File::create(&log).expect("a log"));
        let process = command.spawn().unwrap_or_else(|error| {
            panic!("PulseAudio is needed for the tests of audio devices (apt install pulseaudio pulseaudio-utils): {error}")
        });
        let mut server = Self { directory, process };
        server.wait_until_ready(&log);
        server
    }

    fn wait_until_ready(&mut self, log: &Path) {
        let deadline = Instant::now() + Duration::from_secs(15);
        loop {
            let mut info = self.environment(Command::new("pactl"));
            let ready = info
                .args(["info"])
                .output()
                .expect("pactl runs (pulseaudio-utils)");
            if ready.status.success() {
                return;
            }
            let ended = self.process.try_wait().expect("a child").is_some();
            let log = fs::read_to_string(log).unwrap_or_default();
            assert!(
                !ended && Instant::now() < deadline,
                "PulseAudio does not start:\n{log}"
            );
            sleep(Duration::from_millis(50));
        }
    }

    fn environment(&self, mut command: Command) -> Command {
        command
            .env("XDG_RUNTIME_DIR", self.directory.path())
            .env("HOME", self.directory.path())
            .env(SERVER_PID, self.process.id().to_string())
            .env_remove("PULSE_SERVER")
            .env_remove("PULSE_RUNTIME_PATH")
            .env_remove("XDG_CONFIG_HOME");
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The server as the child sees it.
pub(crate) struct Lab {
    server: String,
}

impl Lab {
    /// Asks the server for something.
    pub(crate) fn pactl(&self, arguments: &[&str]) -> String {
        let output = Command::new("pactl")
            .args(arguments)
            .output()
            .expect("pactl runs");
        assert!(output.status.success(), "pactl {arguments:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Takes a device away: unloads the module that was loaded with this argument.
    pub(crate) fn unplug(&self, argument: &str) {
        let modules = self.pactl(&["list", "short", "modules"]);
        let module = modules.lines().find(|line| line.contains(argument));
        let number = module.expect("loaded").split_whitespace().next();
        self.pactl(&["unload-module", number.expect("a number")]);
    }

    /// Brings a device of [`DEVICES`] back.
    pub(crate) fn plug_in(&self, argument: &str) {
        let line = DEVICES.lines().find(|line| line.contains(argument));
        let line = line.expect("one of them");
        let mut words = line.splitn(3, ' ').skip(1);
        let (module, arguments) = (words.next().expect("a name"), words.next().expect("more"));
        // The server splits its arguments at blanks itself, quotation marks considered.
        self.pactl(&["load-module", module, arguments]);
    }

    /// Sends the server a signal: `KILL`, `STOP` or `CONT`.
    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{signal}"), &self.server])
            .status();
        assert!(sent.expect("kill runs").success());
    }

    /// Plays a tone into a sink until the result is dropped.
    pub(crate) fn play_tone(&self, sink: &str, hz: f32) -> Player {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("tone.wav");
        write_tone(&path, hz, 60);
        let process = Command::new("paplay")
            .arg(format!("--device={sink}"))
            .arg("--latency-msec=40")
            .arg(&path)
            .spawn()
            .expect("paplay runs (pulseaudio-utils)");
        Player {
            process,
            _directory: directory,
        }
    }

    /// Records what a sink plays, as 48 kHz mono.
    pub(crate) fn record(&self, sink: &str) -> Recorder {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("recording");
        let process = Command::new("parec")
            .arg(format!("--device={sink}.monitor"))
            .args([
                "--format=float32le",
                "--rate=48000",
                "--channels=1",
                "--raw",
            ])
            .arg("--latency-msec=20")
            .stdout(File::create(&path).expect("a file"))
            .spawn()
            .expect("parec runs (pulseaudio-utils)");
        Recorder {
            process,
            path,
            _directory: directory,
        }
    }
}

pub(crate) struct Player {
    process: Child,
    _directory: tempfile::TempDir,
}

impl Drop for Player {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) struct Recorder {
    process: Child,
    path: PathBuf,
    _directory: tempfile::TempDir,
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.end();
    }
}

impl Recorder {
    /// Left alone it would keep a failed test's output open, and the test would wait for ever.
    fn end(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Ends the recording and returns it.
    pub(crate) fn finish(mut self) -> Vec<f32> {
        self.end();
        let mut bytes = Vec::new();
        let mut file = File::open(&self.path).expect("a recording");
        file.read_to_end(&mut bytes).expect("readable");
        bytes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|sample| f32::from_le_bytes(*sample))
            .collect()
    }
}

/// A WAV file with a tone at half scale.
pub(crate) fn write_tone(path: &Path, hz: f32, seconds: u32) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 48_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut file = hound::WavWriter::create(path, spec).expect("a file");
    for i in 0..seconds * 48_000 {
        let phase = std::f64::consts::TAU * f64::from(hz) * f64::from(i) / 48_000.0;
        file.write_sample((phase.sin() * 16_384.0) as i16)
            .expect("written");
    }
    file.finalize().expect("complete");
}

/// Share of the sound's energy at a frequency, 0 to 1, in windows of 50 ms, per window.
pub(crate) fn share_at(samples: &[f32], hz: f32) -> Vec<f32> {
    samples
        .chunks_exact(2_400)
        .map(|window| window_share(window, hz))
        .collect()
}

fn window_share(window: &[f32], hz: f32) -> f32 {
    let step = std::f64::consts::TAU * f64::from(hz) / 48_000.0;
    let (mut sine, mut cosine, mut energy) = (0.0, 0.0, 0.0);
    for (i, sample) in window.iter().enumerate() {
        let sample = f64::from(*sample);
        sine += sample * (i as f64 * step).sin();
        cosine += sample * (i as f64 * step).cos();
        energy += sample * sample;
    }
    if energy < 1e-3 {
        return 0.0;
    }
    ((sine * sine + cosine * cosine) * 2.0 / window.len() as f64 / energy) as f32
}

/// Share of the windows in which a frequency dominates.
pub(crate) fn presence(samples: &[f32], hz: f32) -> f32 {
    let shares = share_at(samples, hz);
    shares.iter().filter(|share| **share > 0.8).count() as f32 / shares.len().max(1) as f32
}
