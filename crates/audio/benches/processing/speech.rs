//! Recorded speech for the bench.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::lab::{RATE, at_level, synthetic_voice};

/// Two people, each at -20 dBFS while speaking, 48 kHz.
pub(crate) struct Speech {
    pub(crate) far: Vec<f32>,
    pub(crate) near: Vec<f32>,
    pub(crate) source: String,
}

/// From the folder that `AHOY_SPEECH` names, or from where Debian's packages
/// `asterisk-core-sounds-en-g722` (a woman) and `asterisk-core-sounds-it-g722` (a man) put their
/// prompts, 16 kHz; `ffmpeg` decodes them. Without either, synthetic voices, and it says so.
pub(crate) fn load(seconds: f64) -> Speech {
    let folder = std::env::var_os("AHOY_SPEECH").map_or_else(
        || PathBuf::from("/usr/share/asterisk/sounds"),
        PathBuf::from,
    );
    let far = prompts(&folder.join("en_US_f_Allison"), seconds);
    let near = prompts(&folder.join("it_IT_m_Carlo"), seconds);
    match (far, near) {
        (Some(far), Some(near)) => Speech {
            far: at_level(far, -20.0),
            near: at_level(near, -20.0),
            source: format!("prompts of two people in {}", folder.display()),
        },
        _ => Speech {
            far: at_level(synthetic_voice(seconds, 190.0, 1), -20.0),
            near: at_level(synthetic_voice(seconds, 110.0, 2), -20.0),
            source: format!(
                "SYNTHETIC voices, as there are no prompts (or no ffmpeg) for {}: install \
                 asterisk-core-sounds-en-g722, asterisk-core-sounds-it-g722 and ffmpeg, or set \
                 AHOY_SPEECH",
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
