//! Somebody between the two who knows everything that a server knows (the number, who is who, every
//! byte that passes) but not the words, and may do to the messages whatever it likes.

use ahoy_sealing::{
    Context, Fingerprint, Handshake, OpenError, Outcome, Role, Secret, SecretKind, Secrets, Step,
};
use rand::SeedableRng;
use rand::rngs::StdRng;

const ANN: Fingerprint = [0xa; 32];
const BEN: Fingerprint = [0xb; 32];
const MALLORY: Fingerprint = [0xe; 32];

/// Where things stand in a share message.
const SESSION: std::ops::Range<usize> = 2..18;
const ELEMENT: std::ops::Range<usize> = 18..50;
const ROLE: usize = 51;
const SECRET: usize = 52;
const ROOM: usize = 53;
const FROM: usize = 57;
const TO: usize = 61;
const EPOCH: usize = 65;
const FINGERPRINT: std::ops::Range<usize> = 69..101;

fn words(text: &str) -> Secret {
    Secret::new(SecretKind::Words, text.as_bytes())
}

fn context(role: Role, own: u32, other: u32) -> Context {
    Context {
        role,
        room: 4_821,
        own,
        other,
        epoch: 1,
    }
}

/// Everything between Ben, who joins Ann, and Ann, who is there.
struct Exchange {
    ann: Handshake,
    ben: Handshake,
    random: StdRng,
}

impl Exchange {
    fn new(seed: u64) -> (Self, Vec<u8>) {
        let mut random = StdRng::seed_from_u64(seed);
        let secrets = Secrets {
            words: Some(words("amber-otter")),
            link: None,
        };
        let ann = Handshake::admit(context(Role::Member, 1, 2), ANN, secrets);
        let joins = context(Role::Joiner, 2, 1);
        let (ben, share) =
            Handshake::join(joins, BEN, &words("amber-otter"), &mut random).expect("a share");
        (Self { ann, ben, random }, share)
    }

    fn ann_gets(&mut self, bytes: &[u8]) -> Step {
        self.ann.receive(bytes, &mut self.random)
    }

    fn ben_gets(&mut self, bytes: &[u8]) -> Step {
        self.ben.receive(bytes, &mut self.random)
    }

    /// Runs the exchange, each share through a hand of the server. `true` when anybody was verified.
    fn anybody_verified(
        mut self,
        share: Vec<u8>,
        joiners: impl Fn(&mut Vec<u8>),
        members: impl Fn(&mut Vec<u8>),
    ) -> bool {
        let mut share = share;
        joiners(&mut share);
        let step = self.ann_gets(&share);
        let Some(mut answer) = step.send else {
            return verified(&step);
        };
        members(&mut answer);
        let step = self.ben_gets(&answer);
        let Some(confirmation) = step.send else {
            return verified(&step);
        };
        let at_ann = self.ann_gets(&confirmation);
        let Some(last) = &at_ann.send else {
            return verified(&at_ann);
        };
        let at_ben = self.ben_gets(last);
        verified(&at_ann) || verified(&at_ben)
    }
}

fn verified(step: &Step) -> bool {
    matches!(step.outcome, Some(Outcome::Verified { .. }))
}

#[test]
fn left_alone_it_works() {
    let (exchange, share) = Exchange::new(1);
    assert!(exchange.anybody_verified(share, |_| {}, |_| {}));
}

#[test]
fn no_field_of_a_share_can_be_changed() {
    type Change = fn(&mut Vec<u8>);
    let changes: [(&str, Change); 9] = [
        ("session", |share| share[SESSION].fill(9)),
        ("share of another run", |share| {
            let (_, other) = Exchange::new(2);
            share[ELEMENT].copy_from_slice(&other[ELEMENT]);
        }),
        ("role", |share| share[ROLE] ^= 3),
        ("secret", |share| share[SECRET] ^= 3),
        ("room", |share| share[ROOM + 3] ^= 1),
        ("from", |share| share[FROM + 3] ^= 4),
        ("to", |share| share[TO + 3] ^= 4),
        ("epoch", |share| share[EPOCH + 3] ^= 2),
        ("fingerprint", |share| {
            share[FINGERPRINT].copy_from_slice(&MALLORY)
        }),
    ];
    for (name, change) in changes {
        let (exchange, share) = Exchange::new(1);
        assert!(
            !exchange.anybody_verified(share, change, |_| {}),
            "{name} of the joiner"
        );
        let (exchange, share) = Exchange::new(1);
        assert!(
            !exchange.anybody_verified(share, |_| {}, change),
            "{name} of the member"
        );
    }
}

#[test]
fn roles_cannot_be_exchanged() {
    // Both believe to be the joiner: each gets the other's share.
    let mut random = StdRng::seed_from_u64(1);
    let (mut one, share_one) = Handshake::<ahoy_sealing::Cpace>::join(
        context(Role::Joiner, 2, 1),
        BEN,
        &words("amber-otter"),
        &mut random,
    )
    .expect("a share");
    let (mut two, share_two) = Handshake::<ahoy_sealing::Cpace>::join(
        context(Role::Joiner, 1, 2),
        ANN,
        &words("amber-otter"),
        &mut random,
    )
    .expect("a share");
    for step in [
        one.receive(&share_two, &mut random),
        two.receive(&share_one, &mut random),
    ] {
        assert!(step.send.is_none() && matches!(step.outcome, Some(Outcome::Failed(_))));
    }
}

#[test]
fn a_server_that_plays_both_sides_is_verified_by_neither() {
    // To Ben it plays Ann, to Ann it plays Ben, each time with its own certificate and a guess.
    let (mut exchange, share) = Exchange::new(1);
    let mut random = StdRng::seed_from_u64(5);
    let guess = Secrets {
        words: Some(words("amber-badge")),
        link: None,
    };
    let mut as_ann =
        Handshake::<ahoy_sealing::Cpace>::admit(context(Role::Member, 1, 2), MALLORY, guess);
    let answer = as_ann.receive(&share, &mut random).send.expect("a share");
    let confirmation = exchange.ben_gets(&answer).send.expect("a confirmation");
    let step = as_ann.receive(&confirmation, &mut random);
    assert!(matches!(step.outcome, Some(Outcome::WrongCode(_))));
    // Ben is told that all is well, by a confirmation with the keys that the server has.
    assert!(!verified(&exchange.ben_gets(&confirmation)));

    let joins = context(Role::Joiner, 2, 1);
    let (mut as_ben, share) =
        Handshake::<ahoy_sealing::Cpace>::join(joins, MALLORY, &words("amber-badge"), &mut random)
            .expect("a share");
    let answer = exchange.ann_gets(&share).send.expect("a share");
    let confirmation = as_ben.receive(&answer, &mut random).send.expect("one");
    let step = exchange.ann_gets(&confirmation);
    assert!(matches!(step.outcome, Some(Outcome::WrongCode(_))));
    assert_eq!(step.send.expect("a refusal").len(), 3, "no confirmation");
}

#[test]
fn nothing_of_an_earlier_run_can_be_used_again() {
    // A whole right run is recorded.
    let (mut exchange, share) = Exchange::new(1);
    let answer = exchange.ann_gets(&share).send.expect("a share");
    let confirmation = exchange.ben_gets(&answer).send.expect("a confirmation");
    let last = exchange
        .ann_gets(&confirmation)
        .send
        .expect("a confirmation");
    assert!(verified(&exchange.ben_gets(&last)));

    // Ann again gets what Ben sent then: she draws another share, and his confirmation is wrong.
    let (mut again, _) = Exchange::new(7);
    assert_ne!(again.ann_gets(&share).send.expect("a share"), answer);
    assert!(!verified(&again.ann_gets(&confirmation)));
    // Ben again gets what Ann sent then.
    let (mut again, _) = Exchange::new(8);
    assert!(!verified(&again.ben_gets(&answer)));
    let (mut again, share) = Exchange::new(9);
    let fresh = again.ann_gets(&share).send.expect("a share");
    again.ben_gets(&fresh);
    assert!(!verified(&again.ben_gets(&last)));
}

#[test]
fn messages_in_another_order_verify_nobody() {
    let (mut exchange, share) = Exchange::new(1);
    let answer = exchange.ann_gets(&share).send.expect("a share");
    let confirmation = exchange.ben_gets(&answer).send.expect("a confirmation");
    let last = exchange
        .ann_gets(&confirmation)
        .send
        .expect("a confirmation");
    let recorded = [share, answer, confirmation, last];
    for first in 0..4 {
        for second in 0..4 {
            for third in 0..4 {
                let (mut again, _) = Exchange::new(2);
                for index in [first, second, third] {
                    assert!(!verified(&again.ann_gets(&recorded[index])));
                    assert!(!verified(&again.ben_gets(&recorded[index])));
                }
            }
        }
    }
}

#[test]
fn sealed_frames_of_another_pair_or_run_do_not_open() {
    let channels = |seed| {
        let (mut exchange, share) = Exchange::new(seed);
        let answer = exchange.ann_gets(&share).send.expect("a share");
        let confirmation = exchange.ben_gets(&answer).send.expect("a confirmation");
        let at_ann = exchange.ann_gets(&confirmation);
        let at_ben = exchange.ben_gets(at_ann.send.as_deref().expect("a confirmation"));
        match (at_ann.outcome, at_ben.outcome) {
            (
                Some(Outcome::Verified { channel: ann, .. }),
                Some(Outcome::Verified { channel: ben, .. }),
            ) => (ann, ben),
            other => panic!("{other:?}"),
        }
    };
    let (mut ann, mut ben) = channels(1);
    let (mut other_ann, _) = channels(2);
    let frame = other_ann.seal(b"an earlier call").expect("sealed");
    assert_eq!(ben.open(&frame), Err(OpenError::Tampered));
    let frame = ben.seal(b"to Ann").expect("sealed");
    assert_eq!(ben.open(&frame), Err(OpenError::Tampered), "reflected");
    assert_eq!(ann.open(&frame), Ok(vec![b"to Ann".to_vec()]));
    assert_eq!(ann.open(&frame), Ok(vec![]), "replayed");
}
