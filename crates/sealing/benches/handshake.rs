//! What verification and sealing cost: `cargo bench -p ahoy-sealing`. Prints, asserts no times.

#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::time::Instant;

use ahoy_sealing::{
    Channel, Context, Cpace, Handshake, Outcome, Role, Secret, SecretKind, Secrets,
};

const HANDSHAKES: u32 = 500;
const FRAMES: u32 = 20_000;
const FRAME: usize = 4 * 1024;

fn handshake() -> (Channel, Channel) {
    let mut random = rand::rng();
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
    let (mut ben, share) =
        Handshake::<Cpace>::join(joiner, [2; 32], &secret, &mut random).expect("a share");
    let answer = ann.receive(&share, &mut random).send.expect("a share");
    let confirmation = ben.receive(&answer, &mut random).send.expect("one");
    let at_ann = ann.receive(&confirmation, &mut random);
    let at_ben = ben.receive(at_ann.send.as_deref().expect("one"), &mut random);
    match (at_ann.outcome, at_ben.outcome) {
        (
            Some(Outcome::Verified { channel: ann, .. }),
            Some(Outcome::Verified { channel: ben, .. }),
        ) => (*ann, *ben),
        other => panic!("{other:?}"),
    }
}

fn main() {
    let begin = Instant::now();
    for _ in 0..HANDSHAKES {
        black_box(handshake());
    }
    let each = begin.elapsed() / HANDSHAKES;
    println!(
        "handshake, both sides     {:8.1} us",
        each.as_secs_f64() * 1e6
    );

    let (mut ann, mut ben) = handshake();
    let plaintext = vec![7; FRAME];
    let begin = Instant::now();
    for _ in 0..FRAMES {
        let frame = ann.seal(black_box(&plaintext)).expect("sealed");
        black_box(ben.open(&frame).expect("opened"));
    }
    let each = begin.elapsed() / FRAMES;
    println!(
        "seal and open 4 kB        {:8.1} us",
        each.as_secs_f64() * 1e6
    );
}
