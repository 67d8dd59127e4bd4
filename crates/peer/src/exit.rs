//! What the exit codes mean. They are documented in docs/ahoy-peer.md and stay as they are.

use std::process::ExitCode;

use ahoy_call::view::EndReason;
use ahoy_media::device::{DeviceKind, DeviceProblem};

/// Why the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Everything went as asked.
    Fine = 0,
    /// Something that has no code of its own.
    Other = 1,
    /// The command line or the environment.
    BadArguments = 2,
    /// The server: unreachable, lost, refusing, or no Ahoy server.
    Server = 3,
    /// The room: unknown or full.
    Room = 4,
    /// No connection to the other side.
    Connection = 5,
    /// A camera, microphone, speaker or input file that was asked for by name.
    Device = 6,
    /// A file that was to be written.
    Output = 7,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An end that is not fine, with a sentence for the person who started the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
        }
    }

    pub(crate) fn other(message: impl Into<String>) -> Self {
        Self::new(Exit::Other, message)
    }

    /// What the end of a call means; `None` when it ended as calls do.
    pub(crate) fn of_call(reason: EndReason) -> Option<Self> {
        let (exit, message) = match reason {
            EndReason::HungUp | EndReason::EveryoneLeft => return None,
            EndReason::UnknownRoom => (
                Exit::Room,
                "No room has this number, on the server or on this network: check the code, or ask for \
                 a new one.",
            ),
            EndReason::NumberTaken => (
                Exit::Room,
                "Another call has this number now: begin a new one.",
            ),
            EndReason::RoomFull => (
                Exit::Room,
                "The room is full: somebody has to leave it before you can join.",
            ),
            EndReason::ServerUnreachable => (
                Exit::Server,
                "The server cannot be reached: check its address and the network.",
            ),
            EndReason::NotAnAhoyServer => (
                Exit::Server,
                "What answers at this address is no Ahoy server of this version: check the address.",
            ),
            EndReason::ServerLost => (
                Exit::Server,
                "The connection to the server broke: check the network and call again.",
            ),
            EndReason::ServerRefused => (
                Exit::Server,
                "The server refused: wait a while and try again.",
            ),
            EndReason::ConnectionFailed => (
                Exit::Connection,
                "No connection to the other side could be made: check the network and its firewall.",
            ),
            EndReason::WrongCode => (
                Exit::Room,
                "The words of this code are wrong: this call could not be verified. Check them and try again.",
            ),
            EndReason::CodeRetired => (
                Exit::Room,
                "The words of this code are no longer good: too many wrong ones were tried. Ask for the new code.",
            ),
            EndReason::NotVerified => (
                Exit::Connection,
                "This call could not be verified: what came through the server was changed on the way.",
            ),
        };
        Some(Self::new(exit, message))
    }

    pub(crate) fn name_of(kind: DeviceKind) -> &'static str {
        match kind {
            DeviceKind::Camera => "camera",
            DeviceKind::Microphone => "microphone",
            DeviceKind::Speaker => "speaker",
        }
    }

    /// A device or file that was asked for by name cannot be used.
    pub(crate) fn of_device(kind: DeviceKind, problem: DeviceProblem, detail: &str) -> Self {
        let name = Self::name_of(kind);
        let advice = match problem {
            DeviceProblem::NotFound => "\"ahoy-peer devices\" lists what there is",
            DeviceProblem::Busy => "close the program that uses it",
            DeviceProblem::Denied => "allow its use in the system's settings",
            DeviceProblem::Lost => "plug it in again",
            DeviceProblem::Unsupported => "choose another one",
            DeviceProblem::File => "choose another file",
            DeviceProblem::Failed => "try again, or choose another one",
        };
        let exit = match (kind, problem) {
            // The only file in the place of a speaker is one that is written.
            (DeviceKind::Speaker, DeviceProblem::File) => Exit::Output,
            _ => Exit::Device,
        };
        let detail = detail.trim_end_matches('.');
        Self::new(
            exit,
            format!("The {name} cannot be used ({detail}): {advice}."),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_manual() {
        let manual = include_str!("../../../docs/ahoy-peer.md");
        for (exit, code) in [
            (Exit::Fine, 0),
            (Exit::Other, 1),
            (Exit::BadArguments, 2),
            (Exit::Server, 3),
            (Exit::Room, 4),
            (Exit::Connection, 5),
            (Exit::Device, 6),
            (Exit::Output, 7),
        ] {
            assert_eq!(exit as u8, code);
            assert!(manual.contains(&format!("| {code} |")), "{code}");
        }
    }

    #[test]
    fn ends_of_calls_have_their_code() {
        let exit = |reason| Failure::of_call(reason).map_or(Exit::Fine, |failure| failure.exit);
        assert_eq!(exit(EndReason::HungUp), Exit::Fine);
        assert_eq!(exit(EndReason::EveryoneLeft), Exit::Fine);
        assert_eq!(exit(EndReason::UnknownRoom), Exit::Room);
        assert_eq!(exit(EndReason::RoomFull), Exit::Room);
        assert_eq!(exit(EndReason::ServerUnreachable), Exit::Server);
        assert_eq!(exit(EndReason::NotAnAhoyServer), Exit::Server);
        assert_eq!(exit(EndReason::ServerLost), Exit::Server);
        assert_eq!(exit(EndReason::ServerRefused), Exit::Server);
        assert_eq!(exit(EndReason::ConnectionFailed), Exit::Connection);
        assert_eq!(exit(EndReason::WrongCode), Exit::Room);
        assert_eq!(exit(EndReason::CodeRetired), Exit::Room);
        assert_eq!(exit(EndReason::NotVerified), Exit::Connection);
    }

    #[test]
    fn a_file_in_the_place_of_the_speaker_is_an_output() {
        let exit = |kind| Failure::of_device(kind, DeviceProblem::File, "x").exit;
        assert_eq!(exit(DeviceKind::Speaker), Exit::Output);
        assert_eq!(exit(DeviceKind::Microphone), Exit::Device);
        assert_eq!(exit(DeviceKind::Camera), Exit::Device);
    }
}
