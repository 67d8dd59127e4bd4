//! The endpoint's messages, JSON texts with a `type`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::log::Entries;

/// What the harness says.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum Incoming {
    /// Make the offer.
    Start,
    Offer {
        sdp: String,
    },
    Answer {
        sdp: String,
    },
    #[serde(rename_all = "camelCase")]
    Candidate {
        candidate: String,
        #[serde(default)]
        sdp_mid: Option<String>,
        #[serde(default, rename = "sdpMLineIndex")]
        sdp_m_line_index: Option<u16>,
        #[serde(default)]
        username_fragment: Option<String>,
    },
    Mark {
        name: Mark,
    },
    /// The measurement is over.
    Bye,
    /// Of a later version: ignored.
    #[serde(other)]
    Unknown,
}

/// Where the measured time begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mark {
    Begin,
    End,
}

/// What the harness is told. Times are those of [`super::clock::WallClock`].
#[derive(Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum Outgoing {
    Ready {
        t: f64,
    },
    Offer {
        sdp: String,
    },
    Answer {
        sdp: String,
    },
    #[serde(rename_all = "camelCase")]
    Candidate {
        candidate: String,
        sdp_mid: Option<String>,
        #[serde(rename = "sdpMLineIndex")]
        sdp_m_line_index: Option<u16>,
    },
    Event {
        name: EventName,
        t: f64,
    },
    Log(Entries),
    Stats {
        name: Mark,
        stats: Value,
    },
    Tick(Tick),
    Error {
        error: String,
    },
}

/// Moments that happen once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum EventName {
    CreateOffer,
    Connected,
    FirstFrame,
    FullRes,
}

/// The state of the call once a second. What is not known is left out.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Tick {
    pub(super) t: f64,
    /// Received bytes of video.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bytes: Option<f64>,
    /// Decoded frames.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) frames: Option<u32>,
    /// Received width.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) w: Option<u32>,
    /// What the encoder is asked for, in bit/s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) target: Option<f64>,
    /// The estimate in bit/s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) avail: Option<f64>,
    /// Round trip in s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rtt: Option<f64>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn messages_are_those_of_the_contract() {
        let text = |message: &Outgoing| serde_json::to_value(message).expect("plain values");
        assert_eq!(
            text(&Outgoing::Candidate {
                candidate: "candidate:1 1 udp 1 127.0.0.1 9 typ host".to_owned(),
                sdp_mid: Some("0".to_owned()),
                sdp_m_line_index: Some(0),
            }),
            json!({"type": "candidate", "candidate": "candidate:1 1 udp 1 127.0.0.1 9 typ host",
                "sdpMid": "0", "sdpMLineIndex": 0})
        );
        assert_eq!(
            text(&Outgoing::Event {
                name: EventName::FullRes,
                t: 1.5
            }),
            json!({"type": "event", "name": "fullRes", "t": 1.5})
        );
        assert_eq!(
            text(&Outgoing::Log(Entries {
                cap: vec![(7, 1.5)],
                disp: vec![(Some(3), 1.0, 0.5, 640), (None, 2.0, 1.5, 640)],
                audio_gen: vec![9.0],
                audio_det: vec![],
            })),
            json!({"type": "log", "cap": [[7, 1.5]], "disp": [[3, 1.0, 0.5, 640], [null, 2.0, 1.5, 640]],
                "audioGen": [9.0], "audioDet": []})
        );
        assert_eq!(
            text(&Outgoing::Stats {
                name: Mark::Begin,
                stats: json!({})
            }),
            json!({"type": "stats", "name": "begin", "stats": {}})
        );
        let tick = Tick {
            t: 2.0,
            frames: Some(4),
            ..Tick::default()
        };
        assert_eq!(
            text(&Outgoing::Tick(tick)),
            json!({"type": "tick", "t": 2.0, "frames": 4})
        );
    }

    #[test]
    fn browsers_are_understood_and_later_versions_ignored() {
        let read = |value: Value| serde_json::from_value::<Incoming>(value);
        assert_eq!(
            read(json!({"type": "start", "at": 1})).expect("valid"),
            Incoming::Start
        );
        assert_eq!(
            read(json!({"type": "mark", "name": "end"})).expect("valid"),
            Incoming::Mark { name: Mark::End }
        );
        let candidate = read(
            json!({"type": "candidate", "candidate": "candidate:…", "sdpMid": "1", "sdpMLineIndex": null}),
        );
        assert!(matches!(
            candidate,
            Ok(Incoming::Candidate { sdp_mid: Some(mid), sdp_m_line_index: None, .. }) if mid == "1"
        ));
        assert_eq!(
            read(json!({"type": "restart", "x": [1]})).expect("valid"),
            Incoming::Unknown
        );
        assert!(read(json!({"type": "offer"})).is_err());
        assert!(read(json!("bye")).is_err());
    }
}
