//! What people type and paste: codes, words, links, addresses. What is read reads back, and no
//! error that could end up in a log repeats the text.

#![no_main]

use std::fmt::Debug;

use ahoy_signaling::room_code::complete;
use ahoy_signaling::{CodeWords, Invite, RoomCode, RoomNumber, ServerAddress};
use libfuzzer_sys::fuzz_target;

/// Longest sentence about an error beside the text that it is about.
const MOST_WORDS: usize = 200;

fn short(error: &impl Debug) {
    let shown = format!("{error:?}");
    assert!(shown.len() < MOST_WORDS, "{shown}");
}

fn code(text: &str) {
    match text.parse::<RoomCode>() {
        Ok(code) => {
            assert_eq!(RoomNumber::new(code.number.get()), Some(code.number));
            assert_eq!(code.to_string().parse(), Ok(code));
            assert_eq!(code.words.to_string().parse(), Ok(code.words));
            for word in code.words.iter() {
                assert_eq!(complete(word), [word]);
            }
        }
        Err(error) => {
            short(&error);
            assert!(error.explain().len() < MOST_WORDS + 6 * text.len());
        }
    }
    if let Ok(words) = text.parse::<CodeWords>() {
        assert_eq!(words.to_string().parse(), Ok(words));
    }
    let beginning = text.trim().to_ascii_lowercase();
    for word in complete(text) {
        assert!(word.starts_with(&beginning));
    }
}

fn address(text: &str) {
    match text.parse::<ServerAddress>() {
        Ok(address) => {
            same(&address);
            assert_eq!(address.to_string().parse(), Ok(address));
        }
        Err(error) => short(&error),
    }
}

/// What any server's address promises.
fn same(address: &ServerAddress) {
    assert!(address.port() != 0 && !address.host().is_empty());
    let forbidden = |c: char| c.is_whitespace() || c.is_control() || "/?#@\\".contains(c);
    assert!(!address.host().contains(forbidden), "{address}");
}

fn invite(text: &str) {
    match text.parse::<Invite>() {
        Ok(invite) => {
            let words = invite.code.words.to_string();
            assert!(!format!("{invite:?}").contains(&words));
            let Some(link) = invite.link() else {
                assert_eq!(text.parse(), Ok(invite.code));
                return;
            };
            same(invite.server.as_ref().expect("a link names a server"));
            assert_eq!(link.parse(), Ok(invite));
        }
        Err(error) => {
            short(&error);
            assert!(error.explain().len() < MOST_WORDS + 6 * text.len());
        }
    }
}

fuzz_target!(|text: &str| {
    code(text);
    address(text);
    invite(text);
});
