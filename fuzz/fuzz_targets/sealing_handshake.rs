//! Handshakes told anything by the other side: nobody is verified who does not know the secret, and
//! whatever is answered is short.

#![no_main]

use ahoy_sealing::{
    Context, Cpace, Handshake, MAX_HANDSHAKE_MESSAGE, Outcome, Role, Secret, SecretKind, Secrets,
    message_kind,
};
use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use rand::SeedableRng;
use rand::rngs::StdRng;

#[derive(Debug, Arbitrary)]
enum Message {
    /// Anything.
    Raw(Vec<u8>),
    /// What the other honest side said last, with one byte changed.
    Changed { at: u8, by: u8 },
}

fuzz_target!(|messages: Vec<Message>| {
    let mut random = StdRng::seed_from_u64(1);
    let secret = Secret::new(SecretKind::Words, b"amber-otter");
    let secrets = Secrets {
        words: Some(secret.clone()),
        link: None,
    };
    let joiner = Context {
        role: Role::Joiner,
        room: 4_821,
        own: 2,
        other: 1,
        epoch: 1,
    };
    let member = Context {
        role: Role::Member,
        own: 1,
        other: 2,
        ..joiner
    };
    let mut ann = Handshake::<Cpace>::admit(member, [1; 32], secrets);
    let (mut ben, mut last) =
        Handshake::<Cpace>::join(joiner, [2; 32], &secret, &mut random).expect("a share");
    // Once something was changed, nobody may be verified any more.
    let mut honest = true;
    for (number, message) in messages.into_iter().take(16).enumerate() {
        let bytes = match message {
            Message::Raw(bytes) => {
                honest &= bytes == last;
                bytes
            }
            Message::Changed { at, by } => {
                let mut bytes = last.clone();
                let at = usize::from(at) % bytes.len().max(1);
                if let Some(byte) = bytes.get_mut(at) {
                    honest &= by == 0;
                    *byte ^= by;
                }
                bytes
            }
        };
        let _ = message_kind(&bytes);
        let side = if number % 2 == 0 { &mut ann } else { &mut ben };
        let step = side.receive(&bytes, &mut random);
        if let Some(Outcome::Verified { .. }) = step.outcome {
            assert!(honest, "verified after a change");
        }
        if let Some(answer) = step.send {
            assert!(answer.len() <= MAX_HANDSHAKE_MESSAGE);
            last = answer;
        }
    }
});
