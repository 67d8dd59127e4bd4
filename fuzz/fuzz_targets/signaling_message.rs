//! Signaling messages in both directions: what is read is within its limits and reads back.

#![no_main]

use ahoy_signaling::message::{
    ClientMessage, MAX_MESSAGE, MAX_PARTICIPANTS, MAX_SIGNAL, ServerMessage, SignalData,
};
use ahoy_signaling::room_code::RoomNumber;
use libfuzzer_sys::fuzz_target;

/// Longest `Debug` of a message that holds no text of a stranger.
const MOST_DEBUG: usize = 400;

fn signal(data: &SignalData) {
    assert!(data.len() <= MAX_SIGNAL);
    assert!(format!("{data:?}").len() < MOST_DEBUG);
    if let Some(bytes) = data.bytes() {
        assert_eq!(SignalData::new(&bytes).as_ref(), Some(data));
    }
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
        ClientMessage::Signal { data, .. } => signal(data),
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
        ServerMessage::Signal { data, .. } => signal(data),
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
