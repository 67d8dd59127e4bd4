//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use ahoy_audio::processing::ProcessingSettings;
use ahoy_media::selection::{CameraSelection, MicrophoneSelection, SpeakerSelection};
use ahoy_media::units::VideoConstraints;
use ahoy_signaling::address::ServerAddress;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::ice::IceOptions;

/// A participant of Ahoy calls without a window.
#[derive(Debug, Parser)]
#[command(name = "ahoy-peer", version, about, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// What is logged on standard error; without it RUST_LOG decides, or warn
    #[arg(long, global = true, value_enum, value_name = "LEVEL")]
    pub(crate) log: Option<LogLevel>,
}

const EXIT_CODES: &str = "Exit codes: 0 fine, 1 other, 2 bad arguments, 3 server, 4 no such room \
or room full, 5 no connection to the other side, 6 a requested device or file cannot be used, \
7 an output file cannot be written.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Open a room, print its code, and wait in it for others
    Call(CallOptions),
    /// Join the room of a code or an invite link
    Join(JoinOptions),
    /// List cameras, microphones and speakers
    Devices {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Look at the server, the network and the devices: what does not work, and what to do about it
    Doctor {
        /// Signaling server, such as wss://example.org, which also names STUN and TURN servers
        #[arg(long, value_name = "URL")]
        server: Option<ServerAddress>,

        /// As JSON
        #[arg(long)]
        json: bool,

        #[command(flatten)]
        ice: IceOptions,
    },
    /// Be one side of a measured call; configured by BENCH_… in the environment
    Bench,
}

#[derive(Debug, Args)]
pub(crate) struct CallOptions {
    /// Without --server, or where it does not answer: let the code and the invite link work for
    /// others on the local network
    #[arg(long)]
    pub(crate) share_on_network: bool,

    #[command(flatten)]
    pub(crate) common: CommonOptions,
}

#[derive(Debug, Args)]
pub(crate) struct JoinOptions {
    /// The code or invite link; "-" reads it from standard input, out of sight of other users
    // Several values: a code typed with spaces must not end up in an error message.
    #[arg(required = true, value_name = "CODE")]
    pub(crate) code: Vec<String>,

    #[command(flatten)]
    pub(crate) common: CommonOptions,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct CommonOptions {
    /// Signaling server, such as wss://example.org; without one, the server on this computer
    #[arg(long, value_name = "URL")]
    pub(crate) server: Option<ServerAddress>,

    /// The name that others see
    #[arg(long, default_value = "ahoy-peer")]
    pub(crate) name: String,

    /// default, device:ID, file:PATH.y4m, pattern or none
    #[arg(long, default_value_t, value_name = "SOURCE")]
    pub(crate) camera: CameraSelection,

    /// default, device:ID, file:PATH.wav, tone or none
    #[arg(long, default_value_t, value_name = "SOURCE")]
    pub(crate) microphone: MicrophoneSelection,

    /// default, device:ID, file:PATH.wav (written) or none
    #[arg(long, default_value_t, value_name = "SINK")]
    pub(crate) speaker: SpeakerSelection,

    #[command(flatten)]
    pub(crate) processing: ProcessingOptions,

    #[command(flatten)]
    pub(crate) ice: IceOptions,

    /// Always use a TURN server, so that the others learn no address of this computer
    #[arg(long)]
    pub(crate) relay_only: bool,

    /// Size and rate asked of the camera, and the most that is sent
    #[arg(long, default_value_t, value_name = "WxH@FPS")]
    pub(crate) resolution: VideoConstraints,

    /// Write the received picture of the first other participant to this y4m file
    #[arg(long, value_name = "OUT.y4m")]
    pub(crate) save_video: Option<PathBuf>,

    /// Hang up this long after entering the room, such as 20s or 1m30s
    #[arg(long, value_parser = parse_duration)]
    pub(crate) duration: Option<Duration>,

    /// Write statistics to this JSON file at the end
    #[arg(long, value_name = "OUT.json")]
    pub(crate) stats: Option<PathBuf>,
}

/// What is done with the sound of a microphone; files and tones are sent as they are.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct ProcessingOptions {
    /// Take what the speaker plays out of what the microphone hears
    #[arg(long, default_value_t = true, action = ArgAction::Set, value_name = "BOOL")]
    echo_cancellation: bool,

    /// Take noise out of what the microphone hears
    #[arg(long, default_value_t = true, action = ArgAction::Set, value_name = "BOOL")]
    noise_suppression: bool,

    /// Make quiet talkers louder
    #[arg(long, default_value_t = true, action = ArgAction::Set, value_name = "BOOL")]
    auto_gain_control: bool,

    /// For music: none of the above, and stereo in full band
    #[arg(long)]
    original_sound: bool,
}

impl From<ProcessingOptions> for ProcessingSettings {
    fn from(options: ProcessingOptions) -> Self {
        Self {
            echo_cancellation: options.echo_cancellation,
            noise_suppression: options.noise_suppression,
            auto_gain_control: options.auto_gain_control,
            original_sound: options.original_sound,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    /// Our own crates at this level, libraries at most at `warn`: what they say at the finer
    /// levels is for their authors, and some of it per packet.
    pub(crate) fn filter(self) -> String {
        let (own, others) = match self {
            Self::Error => ("error", "error"),
            Self::Warn => ("warn", "error"),
            Self::Info => ("info", "warn"),
            Self::Debug => ("debug", "warn"),
            Self::Trace => ("trace", "info"),
        };
        let crates = [
            "ahoy_peer",
            "ahoy_call",
            "ahoy_audio",
            "ahoy_video",
            "ahoy_media",
            "ahoy_ice",
            "ahoy_signaling",
        ];
        // It tells of every packet that cannot leave, with addresses.
        let others = match self {
            Self::Debug | Self::Trace => others.to_owned(),
            _ => format!("{others},webrtc=off"),
        };
        crates
            .iter()
            .fold(others, |filter, name| format!("{filter},{name}={own}"))
    }
}

/// Reads `20s`, `1m30s`, `500ms`, `2h`; a number alone is seconds.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let error = || format!("\"{text}\" is no time such as 20s, 1m30s or 500ms");
    if let Ok(seconds) = text.parse::<u32>() {
        return Ok(Duration::from_secs(seconds.into()));
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(error)?;
        let (number, unit_and_more) = rest.split_at(digits);
        let end = unit_and_more
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(unit_and_more.len());
        let (unit, more) = unit_and_more.split_at(end);
        let number: u32 = number.parse().map_err(|_| error())?;
        total += match unit {
            "ms" => Duration::from_millis(number.into()),
            "s" => Duration::from_secs(number.into()),
            "m" | "min" => Duration::from_secs(u64::from(number) * 60),
            "h" => Duration::from_secs(u64::from(number) * 3600),
            _ => return Err(error()),
        };
        rest = more;
    }
    if text.is_empty() {
        Err(error())
    } else {
        Ok(total)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(arguments: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("ahoy-peer").chain(arguments.split(' ')))
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn everything_of_the_manual_is_understood() {
        let cli = parse(
            "call --server ws://127.0.0.1:1234 --name Mira --camera file:a.y4m --microphone tone \
             --speaker none --save-video out.y4m --resolution 640x360@15 --duration 1m30s \
             --stats out.json --share-on-network --log debug --noise-suppression false \
             --original-sound",
        )
        .expect("understood");
        assert_eq!(cli.log, Some(LogLevel::Debug));
        let Command::Call(options) = cli.command else {
            panic!("a call");
        };
        assert!(options.share_on_network);
        let common = options.common;
        assert_eq!(
            common.server.expect("given").to_string(),
            "ws://127.0.0.1:1234"
        );
        assert_eq!(common.camera.to_string(), "file:a.y4m");
        assert_eq!(common.resolution.to_string(), "640x360@15");
        assert_eq!(common.duration, Some(Duration::from_secs(90)));
        let processing = ProcessingSettings::from(common.processing);
        assert!(processing.echo_cancellation && processing.auto_gain_control);
        assert!(!processing.noise_suppression && processing.original_sound);
    }

    #[test]
    fn devices_and_size_have_defaults() {
        let cli = parse("join 4821-amber-otter").expect("understood");
        let Command::Join(JoinOptions { common, .. }) = cli.command else {
            panic!("a join");
        };
        assert_eq!(common.camera, CameraSelection::Default);
        assert_eq!(common.microphone, MicrophoneSelection::Default);
        assert_eq!(common.speaker, SpeakerSelection::Default);
        assert_eq!(common.resolution, VideoConstraints::default());
    }

    #[test]
    fn nonsense_is_refused_with_code_2() {
        for bad in [
            "",
            "dial",
            "join",
            "call --camera tone",
            "call --microphone pattern",
            "call --speaker tone",
            "call --camera device:",
            "call --resolution 0x0@30",
            "call --duration soon",
            "call --server http://example.org",
            "call --log loud",
            "call --no-such-option",
        ] {
            let error = parse(bad).expect_err(bad);
            assert_eq!(error.exit_code(), 2, "{bad}");
        }
    }

    #[test]
    fn the_words_of_a_code_are_in_no_error() {
        for typed in [
            "join 4821 amber otter --log loud",
            "join 4821-amber-otter --nonsense",
        ] {
            let text = parse(typed).expect_err("refused").to_string();
            assert!(!text.contains("amber") && !text.contains("otter"), "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, ms) in [
            ("20s", 20_000),
            ("1m30s", 90_000),
            ("500ms", 500),
            ("2h", 7_200_000),
            ("7", 7000),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(ms)),
                "{text}"
            );
        }
        for bad in ["", "s", "20", "1x", "-5s", "1.5s", "99999999999s", "5 s"] {
            let refused = parse_duration(bad).is_err();
            assert_eq!(refused, bad != "20", "{bad}");
        }
    }
}
