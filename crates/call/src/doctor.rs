//! What stands in the way of calls on this computer: the signaling server, the network, the devices,
//! each in a sentence with what to do about it.

use std::time::{Duration, Instant};

use ahoy_ice::doctor::{self, Severity};
use ahoy_ice::server::IceServer;
use ahoy_ice::stream::tls::ExtraRoots;
use ahoy_media::device::Devices;
use ahoy_signaling::address::ServerAddress;
use ahoy_signaling::client::{ConnectOptions, Entry, SignalingClient, SignalingError};
use ahoy_signaling::message::ErrorCode;
use serde::{Deserialize, Serialize};

use crate::engine::{self, IceServers};

/// A round trip to the server that makes the beginning of a call feel slow.
const SLOW: Duration = Duration::from_millis(400);

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "specta", derive(specta::Type))]
#[serde(rename_all = "camelCase")]
pub enum CheckSeverity {
    /// As it should be.
    Fine,
    /// Good to know.
    Note,
    /// Calls work, some of them worse.
    Warning,
    /// Calls fail, some or all.
    Problem,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "specta", derive(specta::Type))]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// Stable name of the finding, for programs.
    pub code: String,
    /// How bad it is.
    pub severity: CheckSeverity,
    /// What was found.
    pub sentence: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

/// Looks at everything; takes a few seconds. `server` is where calls are arranged, `own` are the STUN
/// and TURN servers that the user set. The worst comes first.
pub async fn examine(server: Option<&ServerAddress>, own: Vec<IceServer>) -> Vec<Check> {
    let mut servers = IceServers::new(own);
    let mut checks = vec![signaling(server, &mut servers).await];
    let findings = doctor::examine(&servers.all(), &ExtraRoots::default()).await;
    checks.extend(findings.iter().map(|finding| Check {
        code: finding.code().to_owned(),
        severity: match finding.severity() {
            Severity::Fine => CheckSeverity::Fine,
            Severity::Note => CheckSeverity::Note,
            Severity::Warning => CheckSeverity::Warning,
            Severity::Problem => CheckSeverity::Problem,
        },
        sentence: finding.sentence(),
        remedy: finding.remedy(),
    }));
    // Listing devices asks the system, which may take its time.
    if let Ok(devices) = tokio::task::spawn_blocking(engine::devices).await {
        checks.extend(of_devices(&devices));
    }
    checks.sort_by_key(|check| std::cmp::Reverse(check.severity));
    checks
}

/// Opens a room and leaves it: that is how a server says which relays it has.
async fn signaling(server: Option<&ServerAddress>, servers: &mut IceServers) -> Check {
    let Some(server) = server else {
        return Check {
            code: "signaling-here".to_owned(),
            severity: CheckSeverity::Note,
            sentence: "Calls are arranged on this computer and reach only this network.".to_owned(),
            remedy: Some("For calls across the internet, set a server.".to_owned()),
        };
    };
    let began = Instant::now();
    let entry = Entry::Create { reach: None };
    match SignalingClient::connect(server, entry, &ConnectOptions::default()).await {
        Ok(link) => {
            let seat = &link.seat;
            servers.hand_out(&seat.ice_servers, seat.ice_servers_lifetime, began);
            let taken = began.elapsed();
            link.sender.leave().await;
            answered(taken)
        }
        // A window opens rooms for its own computer only. It answers: that is what was asked.
        Err(SignalingError::Refused {
            code: ErrorCode::NotAllowed,
        }) => answered(began.elapsed()),
        Err(error) => unanswered(server, &error),
    }
}

fn answered(taken: Duration) -> Check {
    let slow = taken > SLOW;
    Check {
        code: "signaling-answers".to_owned(),
        severity: if slow {
            CheckSeverity::Note
        } else {
            CheckSeverity::Fine
        },
        sentence: format!("The server answers within {} ms.", taken.as_millis()),
        remedy: slow.then(|| "Calls begin slowly; once they stand it does not matter.".to_owned()),
    }
}

fn unanswered(server: &ServerAddress, error: &SignalingError) -> Check {
    let host = server.host();
    let (code, sentence, remedy) = match error {
        SignalingError::Unreachable { refused: true, .. } => (
            "signaling-refused",
            format!("The computer {host} answers, but no server runs there."),
            "Tell whoever runs it, or check the port in the server's address.",
        ),
        SignalingError::Unreachable { .. } | SignalingError::Timeout => (
            "signaling-silent",
            format!("The server {host} cannot be reached."),
            "Check the network and the server's address. Calls on this network work without it.",
        ),
        SignalingError::Untrusted { .. } => (
            "signaling-untrusted",
            format!("The certificate of {host} is not trusted."),
            "Check the clock of this computer. Otherwise tell whoever runs the server.",
        ),
        SignalingError::NotAhoy => (
            "signaling-not-ahoy",
            format!("What answers at {host} is no Ahoy server."),
            "Check the server's address. A hotel or guest network may want a login first.",
        ),
        SignalingError::WrongVersion => (
            "signaling-version",
            format!("The server {host} speaks another version."),
            "Update Ahoy, or tell whoever runs the server.",
        ),
        SignalingError::UnknownRoom
        | SignalingError::RoomFull
        | SignalingError::Refused { .. }
        | SignalingError::Lost => (
            "signaling-unwilling",
            format!("The server {host} opens no room: {error}."),
            "Try again in a minute.",
        ),
    };
    Check {
        code: code.to_owned(),
        severity: CheckSeverity::Problem,
        sentence,
        remedy: Some(remedy.to_owned()),
    }
}

fn of_devices(devices: &Devices) -> Vec<Check> {
    let kinds = [
        (
            "microphone",
            devices.microphones.len(),
            CheckSeverity::Problem,
        ),
        ("speaker", devices.speakers.len(), CheckSeverity::Problem),
        ("camera", devices.cameras.len(), CheckSeverity::Warning),
    ];
    let checks = kinds.map(|(kind, count, level)| match count {
        0 => Check {
            code: format!("no-{kind}"),
            severity: level,
            sentence: format!("There is no {kind}."),
            remedy: Some(format!(
                "Connect a {kind}, or allow Ahoy to use it in the system's settings."
            )),
        },
        _ => Check {
            code: format!("has-{kind}"),
            severity: CheckSeverity::Fine,
            sentence: match count {
                1 => format!("There is a {kind}."),
                _ => format!("There are {count} {kind}s."),
            },
            remedy: None,
        },
    });
    checks.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> ServerAddress {
        "wss://call.example.org".parse().expect("an address")
    }

    #[test]
    fn every_failure_of_the_server_says_what_to_do() {
        let text = String::new;
        for error in [
            SignalingError::Unreachable {
                detail: text(),
                refused: true,
            },
            SignalingError::Unreachable {
                detail: text(),
                refused: false,
            },
            SignalingError::Timeout,
            SignalingError::Untrusted { detail: text() },
            SignalingError::NotAhoy,
            SignalingError::WrongVersion,
            SignalingError::Lost,
        ] {
            let check = unanswered(&server(), &error);
            assert_eq!(check.severity, CheckSeverity::Problem);
            assert!(check.sentence.contains("call.example.org"), "{check:?}");
            assert!(check.remedy.is_some());
        }
    }

    #[test]
    fn missing_devices_are_named() {
        let checks = of_devices(&Devices::default());
        assert_eq!(checks.len(), 3);
        assert!(checks.iter().all(|check| check.remedy.is_some()));
        assert_eq!(checks[2].severity, CheckSeverity::Warning);
    }

    #[tokio::test]
    async fn the_worst_comes_first() {
        let checks = examine(None, Vec::new()).await;
        assert!(checks.iter().any(|check| check.code == "signaling-here"));
        assert!(
            checks
                .windows(2)
                .all(|pair| pair[0].severity >= pair[1].severity)
        );
    }
}
