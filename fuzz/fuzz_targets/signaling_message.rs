//! Signaling messages in both directions: what is read is within its limits and reads back.

#![no_main]

use ahoy_signaling::message::{
    ClientMessage, IceCandidate, MAX_CANDIDATE, MAX_LABEL, MAX_MESSAGE, MAX_PARTICIPANTS, MAX_SDP,
    ServerMessage, SessionDescription,
};
use ahoy_signaling::room_code::RoomNumber;
use libfuzzer_sys::fuzz_target;

/// Longest `Debug` of a message that holds no text of a stranger.
const MOST_DEBUG: usize = 400;

fn description(description: &SessionDescription) {
    assert!(description.sdp.len() <= MAX_SDP);
    assert!(format!("{description:?}").len() < MOST_DEBUG);
}

fn candidate(candidate: Option<&IceCandidate>) {
    let Some(candidate) = candidate else { return };
    let label = |label: &Option<String>| label.as_ref().map_or(0, String::len);
    assert!(candidate.candidate.len() <= MAX_CANDIDATE);
    assert!(label(&candidate.sdp_mid) <= MAX_LABEL);
    assert!(label(&candidate.username_fragment) <= MAX_LABEL);
    assert!(format!("{candidate:?}").len() < MOST_DEBUG);
}

fn room(number: RoomNumber) {
    assert_eq!(RoomNumber::new(number.get()), Some(number));
}

fn client(text: &str) {
    let message = match ClientMessage::parse(text) {
        Ok(message) => message,
        Err(error) => {
            assert!(error.to_string().len() < 100, "{error}");
            return;
        }
    };
    match &message {
        ClientMessage::Join { room: number, .. } => room(*number),
        ClientMessage::Description {
            description: it, ..
        } => description(it),
        ClientMessage::Candidate { candidate: it, .. } => candidate(it.as_ref()),
        _ => {}
    }
    let json = message.to_json();
    if json.len() <= MAX_MESSAGE {
        assert_eq!(ClientMessage::parse(&json), Ok(message));
    }
}

fn server(text: &str) {
    let message = match ServerMessage::parse(text) {
        Ok(message) => message,
        Err(error) => {
            assert!(error.to_string().len() < 100, "{error}");
            return;
        }
    };
    match &message {
        ServerMessage::Created {
            room: number,
            participants,
            ..
        }
        | ServerMessage::Joined {
            room: number,
            participants,
            ..
        } => {
            room(*number);
            assert!(participants.len() <= MAX_PARTICIPANTS);
        }
        ServerMessage::Description {
            description: it, ..
        } => description(it),
        ServerMessage::Candidate { candidate: it, .. } => candidate(it.as_ref()),
        _ => {}
    }
    let json = message.to_json();
    if json.len() <= MAX_MESSAGE {
        assert_eq!(ServerMessage::parse(&json), Ok(message));
    }
}

fuzz_target!(|text: &str| {
    client(text);
    server(text);
});
