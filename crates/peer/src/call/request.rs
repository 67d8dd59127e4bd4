//! What the command line asks for, checked.

use ahoy_call::engine::EngineConfig;
use ahoy_media::device::DeviceKind;
use ahoy_media::selection::{CameraSelection, MicrophoneSelection, SpeakerSelection};
use ahoy_signaling::embedded::EmbeddedConfig;
use ahoy_signaling::invite::Invite;

use crate::cli::{CallOptions, CommonOptions, JoinOptions};
use crate::exit::{Exit, Failure};

/// Which room.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    New { share_on_network: bool },
    Join(Invite),
}

/// A call to be made.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) entry: Entry,
    pub(crate) options: CommonOptions,
}

impl From<CallOptions> for Request {
    fn from(call: CallOptions) -> Self {
        Self {
            entry: Entry::New {
                share_on_network: call.share_on_network,
            },
            options: call.common,
        }
    }
}

impl TryFrom<JoinOptions> for Request {
    type Error = Failure;

    fn try_from(join: JoinOptions) -> Result<Self, Failure> {
        // The reason comes without what was typed: standard error ends up in logs.
        let invite = join.code.join(" ").parse().map_err(|error| {
            Failure::new(
                Exit::BadArguments,
                format!("This is no code such as 4821-word-word and no invite link: {error}."),
            )
        })?;
        Ok(Self {
            entry: Entry::Join(invite),
            options: join.common,
        })
    }
}

impl CommonOptions {
    pub(super) fn engine_config(&self) -> Result<EngineConfig, Failure> {
        Ok(EngineConfig {
            name: self.name.clone(),
            camera: self.camera.clone(),
            microphone: self.microphone.clone(),
            speaker: self.speaker.clone(),
            processing: self.processing.into(),
            constraints: self.resolution,
            server: self.server.clone(),
            embedded: EmbeddedConfig::from_environment(),
            ice_servers: self.ice.servers(self.relay_only)?,
            relay_only: self.relay_only,
            ..EngineConfig::default()
        })
    }

    /// Whether a device or file was asked for by name: then the call needs it.
    pub(super) fn requires(&self, kind: DeviceKind) -> bool {
        match kind {
            DeviceKind::Camera => matches!(
                self.camera,
                CameraSelection::Device(_) | CameraSelection::File(_)
            ),
            DeviceKind::Microphone => matches!(
                self.microphone,
                MicrophoneSelection::Device(_) | MicrophoneSelection::File(_)
            ),
            DeviceKind::Speaker => matches!(
                self.speaker,
                SpeakerSelection::Device(_) | SpeakerSelection::File(_)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn request(arguments: &str) -> Result<Request, Failure> {
        let cli = Cli::parse_from(std::iter::once("ahoy-peer").chain(arguments.split(' ')));
        match cli.command {
            Command::Call(options) => Ok(options.into()),
            Command::Join(options) => options.try_into(),
            Command::Devices { .. } | Command::Doctor { .. } | Command::Bench => panic!("no call"),
        }
    }

    #[test]
    fn codes_and_links_are_understood_as_they_are_typed() {
        for typed in [
            "join 4821-amber-otter",
            "join 4821 Amber OTTER",
            "join ahoy+ws://127.0.0.1:24642/4821#amber-otter",
        ] {
            let Ok(Request {
                entry: Entry::Join(invite),
                ..
            }) = request(typed)
            else {
                panic!("{typed}");
            };
            assert_eq!(invite.code.to_string(), "4821-amber-otter");
        }
    }

    #[test]
    fn what_is_wrong_with_a_code_is_told_without_its_words() {
        for typed in [
            "join 4821-amber",
            "join 4821-amber-xyzzyx",
            "join amber-otter",
            "join https://a/4821#amber-otter",
        ] {
            let failure = request(typed).expect_err(typed);
            assert_eq!(failure.exit, Exit::BadArguments);
            for word in ["amber", "otter", "xyzzyx"] {
                assert!(!failure.message.contains(word), "{}", failure.message);
            }
        }
    }

    #[test]
    fn only_what_was_asked_for_by_name_is_required() {
        let request =
            request("call --camera device:/dev/video0 --speaker file:x.wav").expect("valid");
        assert!(request.options.requires(DeviceKind::Camera));
        assert!(!request.options.requires(DeviceKind::Microphone));
        assert!(request.options.requires(DeviceKind::Speaker));
    }
}
