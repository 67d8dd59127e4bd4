//! What a person has set, as it is kept in `settings.json`.

use ahoy_audio::processing::ProcessingSettings;
use ahoy_ice::server::{IceServer, IceServerError, check_servers};
use ahoy_media::selection::{CameraSelection, MicrophoneSelection, SpeakerSelection};
use ahoy_media::units::VideoConstraints;
use ahoy_signaling::address::ServerAddress;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// The version that this program writes and the newest that it understands.
pub(crate) const VERSION: u32 = 1;

/// Longest name that others are shown, in characters.
const NAME_LENGTH: usize = 64;

/// Everything that is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, specta::Type)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Settings {
    /// Version of this format.
    pub(crate) version: u32,
    /// The name others see; empty until one is given.
    pub(crate) name: String,
    /// Address of the signaling server; `null` for the one that is embedded in Ahoy.
    pub(crate) server: Option<String>,
    /// STUN and TURN servers beside those that the signaling server hands out.
    pub(crate) ice_servers: Vec<IceServerSetting>,
    /// Everything goes through a relay, so that the others learn no address of this computer.
    pub(crate) always_relay: bool,
    /// Chosen camera.
    #[specta(type = String)]
    pub(crate) camera: CameraSelection,
    /// Chosen microphone.
    #[specta(type = String)]
    pub(crate) microphone: MicrophoneSelection,
    /// Chosen speaker.
    #[specta(type = String)]
    pub(crate) speaker: SpeakerSelection,
    /// What is done with the sound of the microphone.
    pub(crate) processing: ProcessingSettings,
    /// Requested size and rate of our picture.
    pub(crate) constraints: VideoConstraints,
    /// Colours of the window.
    pub(crate) theme: Theme,
    /// Calls on the embedded server can be joined from the local network.
    pub(crate) share_on_network: bool,
    /// Our own picture is shown as in a mirror; others see it as it is.
    pub(crate) mirror_self_view: bool,
    /// Fades instead of movements, also where the system does not ask for it.
    pub(crate) reduce_motion: bool,
    /// Shortcuts without Ctrl, such as M for mute (WCAG 2.1.4).
    pub(crate) single_key_shortcuts: bool,
    /// Where our own picture lies in a call.
    pub(crate) self_view: SelfView,
}

/// A STUN or TURN server as it was typed.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, specta::Type)]
#[serde(rename_all = "camelCase")]
pub(crate) struct IceServerSetting {
    /// Such as `turn:example.org:3478` (RFC 7064, RFC 7065).
    pub(crate) url: String,
    /// For TURN.
    #[serde(default)]
    pub(crate) username: String,
    /// For TURN.
    #[serde(default)]
    pub(crate) credential: String,
}

/// Passwords do not belong in logs.
impl fmt::Debug for IceServerSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceServerSetting")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// Colours of the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, specta::Type)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Theme {
    /// As the desktop has it.
    #[default]
    System,
    /// Light.
    Light,
    /// Dark.
    Dark,
}

/// Where our own picture lies in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, specta::Type)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SelfView {
    /// In which corner.
    pub(crate) corner: Corner,
    /// How large.
    pub(crate) size: SelfViewSize,
    /// Not shown at all.
    pub(crate) hidden: bool,
}

/// A corner of the stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, specta::Type)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Corner {
    TopLeft,
    TopRight,
    BottomLeft,
    #[default]
    BottomRight,
}

/// Size of our own picture in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, specta::Type)]
#[serde(rename_all = "camelCase")]
pub(crate) enum SelfViewSize {
    Small,
    #[default]
    Medium,
    Large,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            version: VERSION,
            name: String::new(),
            server: None,
            ice_servers: Vec::new(),
            always_relay: false,
            camera: CameraSelection::default(),
            microphone: MicrophoneSelection::default(),
            speaker: SpeakerSelection::default(),
            processing: ProcessingSettings::default(),
            constraints: VideoConstraints::default(),
            theme: Theme::default(),
            share_on_network: true,
            mirror_self_view: true,
            reduce_motion: false,
            single_key_shortcuts: true,
            self_view: SelfView::default(),
        }
    }
}

/// What is wrong with settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SettingsProblem {
    /// A newer Ahoy wrote them.
    #[error("version {0} is newer than this Ahoy, which understands {VERSION}")]
    TooNew(u32),
    /// The server's address.
    #[error("\"{text}\" is no server address: {problem}")]
    Server {
        /// What was given.
        text: String,
        /// Why not.
        problem: String,
    },
    /// A STUN or TURN server.
    #[error("{0}")]
    IceServer(String),
    /// Size or frame rate.
    #[error("{0}")]
    Constraints(String),
}

impl Settings {
    /// What a file holds. A member that is missing there has its default.
    ///
    /// # Errors
    /// What cannot be understood or used.
    pub(crate) fn read(file: Value) -> Result<Self, String> {
        let mut whole = serde_json::to_value(Self::default()).map_err(|error| error.to_string())?;
        overlay(&mut whole, file);
        let settings: Self = serde_json::from_value(whole).map_err(|error| error.to_string())?;
        settings.check().map_err(|problem| problem.to_string())?;
        Ok(settings)
    }

    /// Whether everything in them can be used.
    ///
    /// # Errors
    /// The first thing that cannot.
    pub(crate) fn check(&self) -> Result<(), SettingsProblem> {
        if self.version > VERSION {
            return Err(SettingsProblem::TooNew(self.version));
        }
        check_constraints(self.constraints)?;
        self.ice_servers()?;
        self.server_address().map(|_| ())
    }

    /// The signaling server; `None` for the embedded one.
    ///
    /// # Errors
    /// The address is none.
    pub(crate) fn server_address(&self) -> Result<Option<ServerAddress>, SettingsProblem> {
        let parse = |text: &String| {
            text.parse().map_err(|problem| SettingsProblem::Server {
                text: text.clone(),
                problem: format!("{problem}"),
            })
        };
        self.server.as_ref().map(parse).transpose()
    }

    /// The STUN and TURN servers.
    ///
    /// # Errors
    /// One of them cannot be used, or there are too many.
    pub(crate) fn ice_servers(&self) -> Result<Vec<IceServer>, SettingsProblem> {
        let problem = |error: IceServerError| SettingsProblem::IceServer(error.to_string());
        let read = self.ice_servers.iter().map(|typed| {
            IceServer::new(&[&typed.url], &typed.username, &typed.credential).map_err(problem)
        });
        let servers = read.collect::<Result<Vec<_>, _>>()?;
        // The signaling server may hand out the relay that "always relay" needs.
        check_servers(&servers, false).map_err(problem)?;
        Ok(servers)
    }

    /// As a person meant them: no blanks around what was typed, an empty server for none.
    pub(crate) fn tidied(mut self) -> Self {
        let printable = self.name.chars().filter(|c| !c.is_control());
        self.name = printable
            .take(NAME_LENGTH)
            .collect::<String>()
            .trim()
            .to_owned();
        self.server = self
            .server
            .map(|server| server.trim().to_owned())
            .filter(|server| !server.is_empty());
        for typed in &mut self.ice_servers {
            for text in [&mut typed.url, &mut typed.username, &mut typed.credential] {
                *text = text.trim().to_owned();
            }
        }
        self.version = VERSION;
        self
    }
}

/// Puts `upper` over `lower`, member by member.
fn overlay(lower: &mut Value, upper: Value) {
    match (lower, upper) {
        (Value::Object(lower), Value::Object(upper)) => {
            for (name, value) in upper {
                overlay(lower.entry(name).or_insert(Value::Null), value);
            }
        }
        (lower, upper) => *lower = upper,
    }
}

/// Whether this can be asked of a camera.
///
/// # Errors
/// It cannot; says what can.
pub(crate) fn check_constraints(constraints: VideoConstraints) -> Result<(), SettingsProblem> {
    // The limits are those of the text form.
    let parsed = constraints.to_string().parse::<VideoConstraints>();
    parsed
        .map(|_| ())
        .map_err(|error| SettingsProblem::Constraints(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ahoy_media::units::Resolution;
    use serde_json::json;

    #[test]
    fn a_file_may_leave_out_what_it_does_not_change() {
        let file = json!({
            "name": "Mira", "camera": "pattern", "future": 1, "selfView": {"hidden": true},
        });
        let settings = Settings::read(file).expect("understood");
        assert!(settings.self_view.hidden);
        assert_eq!(settings.self_view.corner, Corner::BottomRight);
        assert_eq!(settings.name, "Mira");
        assert_eq!(settings.camera, CameraSelection::Pattern);
        assert!(settings.share_on_network);
    }

    #[test]
    fn what_is_written_is_read() {
        let settings = Settings {
            name: "Jon".into(),
            speaker: SpeakerSelection::Device("a b".into()),
            theme: Theme::Dark,
            ..Settings::default()
        };
        let file = serde_json::to_value(&settings).expect("written");
        assert_eq!(Settings::read(file), Ok(settings));
    }

    #[test]
    fn a_file_of_something_else_is_not_taken() {
        for file in [
            json!([1]),
            json!("text"),
            json!({"name": 7}),
            json!({"camera": "moon"}),
        ] {
            assert!(Settings::read(file.clone()).is_err(), "{file}");
        }
    }

    #[test]
    fn nonsense_is_noticed() {
        let broken = |change: fn(&mut Settings)| {
            let mut settings = Settings::default();
            change(&mut settings);
            settings.check().expect_err("nonsense")
        };
        assert_eq!(broken(|s| s.version = 2), SettingsProblem::TooNew(2));
        assert!(matches!(
            broken(|s| s.server = Some("not a server".into())),
            SettingsProblem::Server { .. }
        ));
        let server = |url: &str, credential: &str| IceServerSetting {
            url: url.into(),
            username: credential.into(),
            credential: credential.into(),
        };
        for (url, credential) in [("http://a", "x"), ("turn:a.example", ""), ("", "")] {
            let settings = Settings {
                ice_servers: vec![server(url, credential)],
                ..Settings::default()
            };
            let problem = settings.check().expect_err(url);
            assert!(matches!(problem, SettingsProblem::IceServer(_)));
        }
        assert!(!format!("{:?}", server("turn:a", "secret")).contains("secret"));
        assert!(matches!(
            broken(|s| s.constraints.resolution = Resolution::new(0, 720)),
            SettingsProblem::Constraints(_)
        ));
        assert!(matches!(
            broken(|s| s.constraints.frame_rate = 0),
            SettingsProblem::Constraints(_)
        ));
    }

    #[test]
    fn typing_is_tidied() {
        let settings = Settings {
            name: format!("  Mi\u{7}ra {}", "x".repeat(100)),
            server: Some("  ".into()),
            ..Settings::default()
        };
        let tidied = settings.tidied();
        assert!(tidied.name.starts_with("Mira x"));
        assert!(tidied.name.chars().count() <= NAME_LENGTH);
        assert_eq!(tidied.server, None);
    }
}
