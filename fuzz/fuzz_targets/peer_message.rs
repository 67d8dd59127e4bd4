//! What participants tell each other, over the data channel and sealed through the server.

#![no_main]

use ahoy_call::sealed_message::SealedMessage;
use ahoy_call::status::{MAX_MESSAGE_BYTES, MAX_NAME_CHARS, PeerMessage, clean_name};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(message) = SealedMessage::parse(data)
        && message != SealedMessage::Unknown
    {
        let json = message.to_json();
        assert_eq!(SealedMessage::parse(json.as_bytes()), Ok(message));
    }
    let Some(message) = PeerMessage::parse(data) else {
        return;
    };
    assert!(data.len() <= MAX_MESSAGE_BYTES);
    if let PeerMessage::Status { name, .. } = &message {
        assert!(name.chars().count() <= MAX_NAME_CHARS);
        assert!(!name.contains(char::is_control), "{name:?}");
        assert_eq!(clean_name(name), *name);
    }
    if message != PeerMessage::Unknown {
        assert_eq!(
            PeerMessage::parse(message.to_json().as_bytes()),
            Some(message)
        );
    }
});
