//! What the harness asks for, in the environment.

use std::path::{Path, PathBuf};

use ahoy_media::units::VideoConstraints;
use ahoy_video::capture::y4m::Y4mSource;
use tokio_tungstenite::tungstenite::http::Uri;

/// Which side makes the offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BenchRole {
    Caller,
    Callee,
}

/// What is heard on the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BenchAudio {
    /// The test microphone's tone.
    Microphone,
    /// Bursts whose way is timed.
    Pulses,
    /// The computer's microphone and speaker, as in a call.
    Devices,
    /// The same, with nothing done to their sound.
    Unprocessed,
}

impl BenchAudio {
    /// Whether the computer's microphone is used.
    pub(super) fn uses_devices(self) -> bool {
        matches!(self, Self::Devices | Self::Unprocessed)
    }
}

/// A whole, valid environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BenchConfig {
    pub(super) signal_url: Uri,
    pub(super) role: BenchRole,
    pub(super) clip: PathBuf,
    pub(super) video: VideoConstraints,
    pub(super) audio: BenchAudio,
    /// Beside the contract: `BENCH_PSNR=1` has pictures compared with the clip's.
    pub(super) fidelity: bool,
}

impl BenchConfig {
    /// Reads the variables through `lookup`, which returns `None` for one that is not set.
    ///
    /// # Errors
    /// A sentence that names the variable and what it must be.
    pub(super) fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        refuse_window(lookup("BENCH_WINDOW").as_deref())?;
        let required = |name: &str, expected: &str| {
            lookup(name).ok_or_else(|| format!("{name} is missing: it must be {expected}."))
        };
        Ok(Self {
            signal_url: parse_url(&required("BENCH_SIGNAL_URL", URL)?)?,
            role: parse_role(&required("BENCH_ROLE", ROLE)?)?,
            clip: check_clip(&required("BENCH_CLIP", CLIP)?)?,
            video: parse_video(&required("BENCH_VIDEO", VIDEO)?)?,
            audio: parse_audio(&required("BENCH_AUDIO", AUDIO)?)?,
            fidelity: lookup("BENCH_PSNR").as_deref() == Some("1"),
        })
    }
}

const URL: &str = "a WebSocket address such as ws://127.0.0.1:8080/ws?role=caller";
const ROLE: &str = "caller or callee";
const CLIP: &str = "the path of a y4m file";
const VIDEO: &str = "a size and rate such as 1280x720@30";
const AUDIO: &str = "mic, pulse, devices or unprocessed";

fn parse_url(text: &str) -> Result<Uri, String> {
    let uri = text.parse::<Uri>().ok().filter(|uri| {
        matches!(uri.scheme_str(), Some("ws" | "wss"))
            && uri.host().is_some_and(|it| !it.is_empty())
    });
    uri.ok_or_else(|| format!("BENCH_SIGNAL_URL is \"{text}\": it must be {URL}."))
}

fn parse_role(text: &str) -> Result<BenchRole, String> {
    match text {
        "caller" => Ok(BenchRole::Caller),
        "callee" => Ok(BenchRole::Callee),
        _ => Err(format!("BENCH_ROLE is \"{text}\": it must be {ROLE}.")),
    }
}

fn check_clip(text: &str) -> Result<PathBuf, String> {
    match Y4mSource::open(Path::new(text)) {
        Ok(_) => Ok(text.into()),
        Err(error) => Err(format!(
            "BENCH_CLIP must be {CLIP} that can be played: {error}."
        )),
    }
}

fn parse_video(text: &str) -> Result<VideoConstraints, String> {
    // The rate is part of what is measured: no default for it here.
    let parsed = text.contains('@').then(|| text.parse().ok()).flatten();
    parsed.ok_or_else(|| format!("BENCH_VIDEO is \"{text}\": it must be {VIDEO}."))
}

fn parse_audio(text: &str) -> Result<BenchAudio, String> {
    match text {
        "mic" => Ok(BenchAudio::Microphone),
        "pulse" => Ok(BenchAudio::Pulses),
        "devices" => Ok(BenchAudio::Devices),
        "unprocessed" => Ok(BenchAudio::Unprocessed),
        _ => Err(format!("BENCH_AUDIO is \"{text}\": it must be {AUDIO}.")),
    }
}

fn refuse_window(text: Option<&str>) -> Result<(), String> {
    match text {
        None | Some("" | "0") => Ok(()),
        Some("1") => Err(
            "BENCH_WINDOW=1 needs a window, which ahoy-peer does not have: leave it out."
                .to_owned(),
        ),
        Some(other) => Err(format!("BENCH_WINDOW is \"{other}\": leave it out.")),
    }
}

#[cfg(test)]
mod tests {
    use ahoy_media::frame::I420;
    use ahoy_media::units::Resolution;
    use ahoy_video::capture::y4m::Y4mWriter;

    use super::*;

    fn clip() -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        let mut writer = Y4mWriter::create(file.path(), 30).expect("created");
        writer
            .write(&I420::black(Resolution::new(64, 36)))
            .expect("written");
        writer.finish().expect("flushed");
        file
    }

    fn read(clip: &Path, changed: &str, value: Option<&str>) -> Result<BenchConfig, String> {
        let clip = clip.display().to_string();
        BenchConfig::read(|name| {
            if name == changed {
                return value.map(str::to_owned);
            }
            let value = match name {
                "BENCH_SIGNAL_URL" => "ws://127.0.0.1:9/ws?role=caller",
                "BENCH_ROLE" => "caller",
                "BENCH_CLIP" => &clip,
                "BENCH_VIDEO" => "640x360@30",
                "BENCH_AUDIO" => "mic",
                _ => return None,
            };
            Some(value.to_owned())
        })
    }

    #[test]
    fn a_whole_environment_is_understood() {
        let clip = clip();
        let config = read(clip.path(), "BENCH_AUDIO", Some("pulse")).expect("valid");
        assert_eq!(config.role, BenchRole::Caller);
        assert_eq!(config.audio, BenchAudio::Pulses);
        assert_eq!(config.video.to_string(), "640x360@30");
        assert_eq!(config.signal_url.query(), Some("role=caller"));
        assert!(read(clip.path(), "BENCH_WINDOW", Some("0")).is_ok());
    }

    #[test]
    fn whatever_is_wrong_is_named() {
        let clip = clip();
        for (name, bad) in [
            ("BENCH_SIGNAL_URL", "nonsense"),
            ("BENCH_SIGNAL_URL", "http://127.0.0.1/"),
            ("BENCH_SIGNAL_URL", "ws://"),
            ("BENCH_ROLE", "both"),
            ("BENCH_CLIP", "/no/such/clip.y4m"),
            ("BENCH_VIDEO", "large"),
            ("BENCH_VIDEO", "640x360"),
            ("BENCH_AUDIO", "loud"),
            ("BENCH_WINDOW", "1"),
            ("BENCH_WINDOW", "yes"),
        ] {
            let error = read(clip.path(), name, Some(bad)).expect_err(bad);
            assert!(error.contains(name), "{error}");
        }
        for name in [
            "BENCH_SIGNAL_URL",
            "BENCH_ROLE",
            "BENCH_CLIP",
            "BENCH_VIDEO",
            "BENCH_AUDIO",
        ] {
            let error = read(clip.path(), name, None).expect_err(name);
            assert!(error.contains(name) && error.contains("missing"), "{error}");
        }
    }
}
