//! Recorded speech for the bench.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::lab::{RATE, at_level, synthetic_voice};

/// Two people, each at -20 dBFS while speaking, 48 kHz. Settings are chosen by these two; `other`
/// is a third one, to see whether they hold for others.
pub(crate) struct Speech {
    pub(crate) far: Vec<f32>,
    pub(crate) near: Vec<f32>,
    other: Vec<f32>,
    pub(crate) source: String,
}

impl Speech {
    /// Everybody, by name: the voices that the tables of echo are made with.
    pub(crate) fn all(&self) -> [(&'static str, &[f32]); 3] {
        [
            ("English woman", &self.far),
            ("French woman, held out", &self.other),
            ("Italian man, held out", &self.near),
        ]
    }
}

/// From the folder that `AHOY_SPEECH` names, or from where Debian's packages
/// `asterisk-core-sounds-en-g722` (a woman), `-it-g722` (a man) and `-fr-g722` (a woman) put their
/// prompts, 16 kHz; `ffmpeg` decodes them. Without either, synthetic voices, and it says so.
pub(crate) fn load(seconds: f64) -> Speech {
    let folder = std::env::var_os("AHOY_SPEECH").map_or_else(
        || PathBuf::from("/usr/share/asterisk/sounds"),
        PathBuf::from,
    );
    let far = prompts(&folder.join("en_US_f_Allison"), seconds);
    let near = prompts(&folder.join("it_IT_m_Carlo"), seconds);
    let other = prompts(&folder.join("fr_CA_f_June"), seconds);
    match (far, near, other) {
        (Some(far), Some(near), Some(other)) => Speech {
            far: at_level(far, -20.0),
            near: at_level(near, -20.0),
            other: at_level(other, -20.0),
            source: format!("prompts of three people in {}", folder.display()),
        },
        _ => Speech {
            far: at_level(synthetic_voice(seconds, 190.0, 1), -20.0),
            near: at_level(synthetic_voice(seconds, 110.0, 2), -20.0),
            other: at_level(synthetic_voice(seconds, 150.0, 3), -20.0),
            source: format!(
                "SYNTHETIC voices, as there are no prompts (or no ffmpeg) for {}: install \
                 asterisk-core-sounds-en-g722, -it-g722, -fr-g722 and ffmpeg, or set AHOY_SPEECH",
                folder.display()
            ),
        },
    }
}

fn prompts(folder: &Path, seconds: f64) -> Option<Vec<f32>> {
    let samples = (seconds * RATE as f64) as usize;
    let mut speech = Vec::new();
    for name in [
        "demo-instruct",
        "demo-congrats",
        "priv-callee-options",
        "conf-adminmenu-162",
        "demo-echotest",
        "vm-options",
        "screen-callee-options",
    ] {
        speech.extend(decode(&folder.join(format!("{name}.g722")))?);
        if speech.len() >= samples {
            break;
        }
    }
    let begins = speech.iter().position(|it| it.abs() > 0.02).unwrap_or(0);
    speech.drain(..begins);
    let once = speech.clone();
    while speech.len() < samples {
        speech.extend_from_slice(&once);
    }
    speech.truncate(samples);
    Some(speech)
}

fn decode(file: &Path) -> Option<Vec<f32>> {
    let decoded = Command::new("ffmpeg")
        .args(["-v", "error", "-f", "g722", "-i"])
        .arg(file)
        .args(["-f", "f32le", "-ac", "1", "-ar", "48000", "-"])
        .output()
        .ok()?;
    let samples = decoded.stdout.chunks_exact(4);
    let speech: Vec<f32> = samples
        .map(|it| f32::from_le_bytes([it[0], it[1], it[2], it[3]]))
        .collect();
    (decoded.status.success() && !speech.is_empty()).then_some(speech)
}
