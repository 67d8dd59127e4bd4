//! `--stats`: what is known at the end of a call, as one JSON file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use ahoy_call::stats::{ParticipantStats, StatsReport};
use ahoy_call::view::ParticipantId;
use serde::Serialize;

use crate::exit::{Exit, Failure};
use crate::process::ProcessUsage;
use crate::recorder::Recorded;

/// Collects samples. A connection has figures only while it exists, so the last sample of
/// everybody is kept.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    timestamp: f64,
    participants: BTreeMap<ParticipantId, ParticipantStats>,
}

impl Samples {
    /// Takes in a newer sample of those who are there.
    pub(crate) fn take(&mut self, report: StatsReport) {
        self.timestamp = report.timestamp;
        for participant in report.participants {
            self.participants.insert(participant.id, participant);
        }
    }

    /// The last sample of a participant.
    pub(crate) fn of(&mut self, id: ParticipantId) -> Option<&mut ParticipantStats> {
        self.participants.get_mut(&id)
    }
}

/// Moments of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moments {
    /// The room was asked for.
    pub(crate) begun: Instant,
    pub(crate) entered: Option<Instant>,
    pub(crate) met: Option<Instant>,
    pub(crate) connected: Option<Instant>,
    pub(crate) first_picture: Option<Instant>,
}

impl Moments {
    pub(crate) fn begin() -> Self {
        Self {
            begun: Instant::now(),
            entered: None,
            met: None,
            connected: None,
            first_picture: None,
        }
    }

    fn timings(&self, ended: Instant) -> Timings {
        let after = |moment: Option<Instant>| {
            moment.map(|moment| moment.saturating_duration_since(self.begun).as_secs_f64() * 1000.0)
        };
        Timings {
            entered_room_ms: after(self.entered),
            met_ms: after(self.met),
            connected_ms: after(self.connected),
            first_picture_ms: after(self.first_picture),
            ended_ms: after(Some(ended)),
        }
    }
}

/// The same for the file, in ms since the room was asked for; what did not happen is left out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Timings {
    #[serde(skip_serializing_if = "Option::is_none")]
    entered_room_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    met_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connected_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_picture_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_ms: Option<f64>,
}

#[derive(Serialize)]
struct Report<'a> {
    timestamp: f64,
    participants: Vec<&'a ParticipantStats>,
    call: Timings,
    process: ProcessUsage,
    #[serde(skip_serializing_if = "Option::is_none")]
    recording: Option<Recorded>,
}

/// The file, opened before the call so that a wrong path is known before it.
pub(crate) struct ReportFile {
    file: File,
    name: String,
}

impl ReportFile {
    /// # Errors
    /// [`Exit::Output`]
    pub(crate) fn create(path: &Path) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let file = File::create(path).map_err(|error| unwritable(&name, &error))?;
        Ok(Self { file, name })
    }

    /// # Errors
    /// [`Exit::Output`]
    pub(crate) fn write(
        mut self,
        samples: &Samples,
        moments: &Moments,
        recording: Option<Recorded>,
    ) -> Result<(), Failure> {
        let report = Report {
            timestamp: samples.timestamp,
            participants: samples.participants.values().collect(),
            call: moments.timings(Instant::now()),
            process: crate::process::usage(),
            recording,
        };
        let mut text = serde_json::to_string_pretty(&report)
            .map_err(|error| Failure::other(format!("The statistics make no JSON: {error}.")))?;
        text.push('\n');
        self.file
            .write_all(text.as_bytes())
            .and_then(|()| self.file.sync_all().or_else(ignore_unsupported))
            .map_err(|error| unwritable(&self.name, &error))
    }
}

/// Pipes and terminals cannot be synchronised, and need not be.
fn ignore_unsupported(error: std::io::Error) -> std::io::Result<()> {
    match error.kind() {
        std::io::ErrorKind::InvalidInput | std::io::ErrorKind::Unsupported => Ok(()),
        _ => Err(error),
    }
}

fn unwritable(name: &str, error: &std::io::Error) -> Failure {
    Failure::new(
        Exit::Output,
        format!("\"{name}\" cannot be written ({error}): choose another place for --stats."),
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn sample(timestamp: f64, ids: &[ParticipantId]) -> StatsReport {
        StatsReport {
            timestamp,
            participants: ids
                .iter()
                .map(|&id| ParticipantStats {
                    id,
                    ..ParticipantStats::default()
                })
                .collect(),
        }
    }

    #[test]
    fn whoever_left_keeps_the_last_sample() {
        let mut samples = Samples::default();
        samples.take(sample(1.0, &[2, 3]));
        samples.of(2).expect("there").inbound_video.frames_decoded = Some(77);
        samples.take(sample(2.0, &[3]));
        samples.take(sample(3.0, &[]));

        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("stats.json");
        let mut moments = Moments::begin();
        moments.entered = Some(moments.begun + Duration::from_millis(250));
        let file = ReportFile::create(&path).expect("created");
        file.write(&samples, &moments, None).expect("written");
        let text = std::fs::read_to_string(&path).expect("there");
        let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(json["timestamp"], 3.0);
        assert_eq!(
            json["participants"][0]["inbound-rtp:video"]["framesDecoded"],
            77
        );
        assert_eq!(json["participants"][1]["id"], 3);
        assert_eq!(json["call"]["enteredRoomMs"], 250.0);
        assert!(json["call"].get("connectedMs").is_none());
        assert!(json.get("recording").is_none());
    }

    #[test]
    fn a_place_that_cannot_be_written_is_an_output() {
        let failure = ReportFile::create(Path::new("/no/such/folder/stats.json"))
            .err()
            .expect("refused");
        assert_eq!(failure.exit, Exit::Output);
    }
}
