//! `ahoy-peer devices`

use std::sync::mpsc;
use std::time::Duration;

use ahoy_media::device::{DeviceError, DeviceInfo, Devices};

use crate::exit::Failure;
use crate::say;

/// How long a part of the system may take to list its devices.
const PATIENCE: Duration = Duration::from_secs(5);

/// Prints the list. A part of the system that is missing, hangs or crashes has an empty list and
/// a sentence on standard error.
///
/// # Errors
/// None that come from the system.
pub(crate) async fn run(json: bool) -> Result<(), Failure> {
    let devices = tokio::task::spawn_blocking(list)
        .await
        .map_err(|error| Failure::other(format!("The devices cannot be listed: {error}.")))?;
    if json {
        let text = serde_json::to_string_pretty(&devices)
            .map_err(|error| Failure::other(format!("The devices make no JSON: {error}.")))?;
        say::line(text);
    } else {
        say::line(in_words(&devices));
    }
    Ok(())
}

fn list() -> Devices {
    let asked = [
        ask("cameras", ahoy_video::capture::cameras),
        ask("microphones", ahoy_audio::devices::microphones),
        ask("speakers", ahoy_audio::devices::speakers),
    ];
    let [cameras, microphones, speakers] = asked.map(|(what, answer)| {
        answer
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|_| Err("the system does not answer".to_owned()))
            .unwrap_or_else(|error| {
                say::error(format!("The {what} cannot be listed: {error}."));
                Vec::new()
            })
    });
    Devices {
        cameras,
        microphones,
        speakers,
    }
}

type Answer = Result<Vec<DeviceInfo>, String>;

/// Asks on a thread of its own: drivers hang and libraries panic.
fn ask(
    what: &'static str,
    enumerate: fn() -> Result<Vec<DeviceInfo>, DeviceError>,
) -> (&'static str, mpsc::Receiver<Answer>) {
    let (answer, answered) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let _ = answer.send(enumerate().map_err(|error| error.to_string()));
    });
    (what, answered)
}

fn in_words(devices: &Devices) -> String {
    let kind = |title: &str, list: &[DeviceInfo]| {
        let mut lines = vec![title.to_owned()];
        lines.extend(list.iter().map(|device| {
            let default = if device.is_default {
                ", the default"
            } else {
                ""
            };
            format!("  {}{default}\n    device:{}", device.label, device.id)
        }));
        if list.is_empty() {
            lines.push("  none".to_owned());
        }
        lines.join("\n")
    };
    [
        kind("Cameras", &devices.cameras),
        kind("Microphones", &devices.microphones),
        kind("Speakers", &devices.speakers),
    ]
    .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_shows_what_can_be_typed() {
        let camera = DeviceInfo {
            id: "/dev/video0".to_owned(),
            label: "Built-in".to_owned(),
            is_default: true,
        };
        let devices = Devices {
            cameras: vec![camera],
            ..Devices::default()
        };
        assert_eq!(
            in_words(&devices),
            "Cameras\n  Built-in, the default\n    device:/dev/video0\nMicrophones\n  none\nSpeakers\n  none"
        );
    }

    #[test]
    fn a_part_that_crashes_or_fails_is_no_end() {
        let (_, crashed) = ask("x", || panic!("a driver"));
        assert!(crashed.recv_timeout(PATIENCE).is_err());
        let (_, failed) = ask("x", || {
            Err(DeviceError::new(
                ahoy_media::device::DeviceProblem::Failed,
                "broken",
            ))
        });
        assert_eq!(
            failed.recv_timeout(PATIENCE).expect("answers"),
            Err("broken".to_owned())
        );
    }
}
