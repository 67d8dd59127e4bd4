//! Which device or synthetic source a caller chose. The texts are those of the command line and
//! of the settings file.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where pictures come from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum CameraSelection {
    /// The first camera there is.
    #[default]
    Default,
    /// The camera with this id from the enumeration.
    Device(String),
    /// A y4m file, played in a loop at its own frame rate.
    File(PathBuf),
    /// A moving test picture with a frame number ("Test camera").
    Pattern,
    /// No pictures.
    None,
}

/// Where sound comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum MicrophoneSelection {
    /// The system's default microphone.
    #[default]
    Default,
    /// The microphone with this id from the enumeration.
    Device(String),
    /// A WAV file, played in a loop.
    File(PathBuf),
    /// A quiet 440 Hz tone that comes and goes ("Test microphone").
    Tone,
    /// No sound.
    None,
}

/// Where received sound goes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum SpeakerSelection {
    /// The system's default speaker.
    #[default]
    Default,
    /// The speaker with this id from the enumeration.
    Device(String),
    /// A WAV file that is written, 48 kHz.
    File(PathBuf),
    /// Nowhere.
    None,
}

/// Why a text names no source or destination.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not one of {expected}")]
pub struct ParseSelectionError {
    text: String,
    expected: &'static str,
}

macro_rules! texts {
    ($type:ident, $expected:literal $(, $word:literal => $variant:ident)*) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    Self::Device(id) => write!(f, "device:{id}"),
                    Self::File(path) => write!(f, "file:{}", path.display()),
                    $(Self::$variant => f.write_str($word),)*
                }
            }
        }

        impl FromStr for $type {
            type Err = ParseSelectionError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text.split_once(':') {
                    Some(("device", id)) if !id.is_empty() => Ok(Self::Device(id.to_owned())),
                    Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
                    _ => match text {
                        $($word => Ok(Self::$variant),)*
                        _ => Err(ParseSelectionError { text: text.to_owned(), expected: $expected }),
                    },
                }
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }

        impl TryFrom<String> for $type {
            type Error = ParseSelectionError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }
    };
}

texts!(CameraSelection, "default, device:ID, file:PATH.y4m, pattern, none",
    "default" => Default, "pattern" => Pattern, "none" => None);
texts!(MicrophoneSelection, "default, device:ID, file:PATH.wav, tone, none",
    "default" => Default, "tone" => Tone, "none" => None);
texts!(SpeakerSelection, "default, device:ID, file:PATH.wav, none",
    "default" => Default, "none" => None);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_round_trip() {
        for text in [
            "default",
            "device:/dev/video0",
            "file:/a b:c.y4m",
            "pattern",
            "none",
        ] {
            assert_eq!(
                text.parse::<CameraSelection>().expect("valid").to_string(),
                text
            );
        }
        assert!("device:".parse::<CameraSelection>().is_err());
        assert!("pattern".parse::<MicrophoneSelection>().is_err());
        assert!("tone".parse::<SpeakerSelection>().is_err());
    }
}
