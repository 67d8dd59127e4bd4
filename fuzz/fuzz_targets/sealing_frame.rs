//! Sealed frames in any order, repeated, changed, made up: what comes out is what was sealed, in
//! order and once, and memory stays bounded.

#![no_main]

use ahoy_fuzz::heap;
use ahoy_sealing::{
    Channel, Context, Cpace, Handshake, MAX_EARLY, MAX_FRAME, Outcome, Role, Secret, SecretKind,
    Secrets,
};
use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use rand::SeedableRng;
use rand::rngs::StdRng;

/// Frames that are sealed; each has 100 bytes of text.
const FRAMES: u8 = 80;
/// The frames that may be held, with what belongs to them.
const MOST_HEAP: usize = (MAX_EARLY + 2) * 400 + MAX_FRAME;

#[derive(Debug, Arbitrary)]
enum Step {
    Honest(u8),
    Changed { frame: u8, at: u8, by: u8 },
    Raw(Vec<u8>),
}

fn pair() -> (Channel, Channel) {
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

fuzz_target!(|steps: Vec<Step>| {
    let (mut ann, mut ben) = pair();
    let frames: Vec<Vec<u8>> = (0..FRAMES)
        .map(|number| ann.seal(&[number; 100]).expect("short"))
        .collect();
    let before = heap::held();
    let mut expected = 0;
    for step in steps.iter().take(500) {
        let changed;
        let frame = match step {
            Step::Honest(number) => &frames[usize::from(number % FRAMES)],
            Step::Changed { frame, at, by } => {
                let mut bytes = frames[usize::from(frame % FRAMES)].clone();
                let at = usize::from(*at) % bytes.len();
                bytes[at] ^= by;
                changed = bytes;
                &changed
            }
            Step::Raw(bytes) => bytes,
        };
        if let Ok(texts) = ben.open(frame) {
            for text in texts {
                assert_eq!(text, [expected; 100]);
                expected += 1;
            }
        }
        let held = heap::held().saturating_sub(before);
        assert!(held <= MOST_HEAP, "{held} bytes of heap are held");
    }
});
