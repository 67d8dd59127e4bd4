use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;

const ANN: Fingerprint = [0xa; 32];
const BEN: Fingerprint = [0xb; 32];

fn words(text: &str) -> Secret {
    Secret::new(SecretKind::Words, text.as_bytes())
}

fn secrets(text: &str) -> Secrets {
    Secrets {
        words: Some(words(text)),
        link: None,
    }
}

fn joiner() -> Context {
    Context {
        role: Role::Joiner,
        room: 4_821,
        own: 2,
        other: 1,
        epoch: 1,
    }
}

fn member() -> Context {
    Context {
        role: Role::Member,
        own: 1,
        other: 2,
        ..joiner()
    }
}

/// Joiner, member, and the joiner's share.
fn start(given: &Secret, known: Secrets, random: &mut StdRng) -> (Handshake, Handshake, Vec<u8>) {
    let (ben, share) = Handshake::join(joiner(), BEN, given, random).expect("a share");
    (ben, Handshake::admit(member(), ANN, known), share)
}

fn random() -> StdRng {
    StdRng::seed_from_u64(1)
}

fn sent(step: Step) -> Vec<u8> {
    assert!(step.outcome.is_none(), "{step:?}");
    step.send.expect("an answer")
}

fn verified(step: &mut Step) -> (Channel, Fingerprint) {
    match step.outcome.take() {
        Some(Outcome::Verified {
            channel,
            remote_fingerprint,
        }) => (*channel, remote_fingerprint),
        other => panic!("{other:?}"),
    }
}

fn is_verified(step: &Step) -> bool {
    matches!(step.outcome, Some(Outcome::Verified { .. }))
}

fn failure(step: &Step) -> Failure {
    match (&step.send, &step.outcome) {
        (None, Some(Outcome::Failed(failure))) => *failure,
        _ => panic!("{step:?}"),
    }
}

#[test]
fn the_same_words_verify_both_sides() {
    let mut random = random();
    let (mut ben, mut ann, share) =
        start(&words("amber-otter"), secrets("amber-otter"), &mut random);
    assert_eq!(share.len(), MAX_HANDSHAKE_MESSAGE);
    let answer = sent(ann.receive(&share, &mut random));
    assert_eq!(ben.exposed(), None);
    let confirmation = sent(ben.receive(&answer, &mut random));
    assert_eq!(
        (ben.exposed(), ann.exposed()),
        (Some(SecretKind::Words), None)
    );
    let mut step = ann.receive(&confirmation, &mut random);
    let (mut anns, from_ben) = verified(&mut step);
    let mut last = ben.receive(&step.send.expect("a confirmation"), &mut random);
    let (mut bens, from_ann) = verified(&mut last);
    assert!(last.send.is_none() && ben.exposed().is_none());
    assert_eq!((from_ann, from_ben), (ANN, BEN));
    let frame = anns.seal(b"hello").expect("sealed");
    assert_eq!(bens.open(&frame), Ok(vec![b"hello".to_vec()]));
    let frame = bens.seal(b"hello yourself").expect("sealed");
    assert_eq!(anns.open(&frame), Ok(vec![b"hello yourself".to_vec()]));
}

#[test]
fn other_words_are_noticed_by_the_member_who_then_confirms_nothing() {
    let mut random = random();
    let (mut ben, mut ann, share) =
        start(&words("amber-badge"), secrets("amber-otter"), &mut random);
    let answer = sent(ann.receive(&share, &mut random));
    let confirmation = sent(ben.receive(&answer, &mut random));
    let step = ann.receive(&confirmation, &mut random);
    assert!(matches!(
        step.outcome,
        Some(Outcome::WrongCode(SecretKind::Words))
    ));
    let refused = step.send.expect("a refusal");
    assert_eq!(refused, refusal(Refusal::WrongCode));
    let step = ben.receive(&refused, &mut random);
    assert!(matches!(step.outcome, Some(Outcome::WrongCode(_))));
}

#[test]
fn a_joiner_notices_a_member_who_confirms_without_knowing_the_words() {
    let mut random = random();
    let (mut ben, mut mallory, share) =
        start(&words("amber-otter"), secrets("amber-badge"), &mut random);
    let answer = sent(mallory.receive(&share, &mut random));
    sent(ben.receive(&answer, &mut random));
    let step = ben.receive(&Message::Confirm([0; 64]).bytes(), &mut random);
    assert!(matches!(step.outcome, Some(Outcome::WrongCode(_))));
    assert!(step.send.is_none());
}

#[test]
fn the_secret_of_a_link_lets_in_as_well_and_is_another_one() {
    let mut random = random();
    let link = Secret::new(SecretKind::Link, [7; 16]);
    let known = Secrets {
        words: None,
        link: Some(link.clone()),
    };
    let (mut ben, mut ann, share) = start(&link, known.clone(), &mut random);
    let answer = sent(ann.receive(&share, &mut random));
    let confirmation = sent(ben.receive(&answer, &mut random));
    verified(&mut ann.receive(&confirmation, &mut random));

    // The same bytes as words are no link secret, and words that are not there let nobody in.
    let (_, mut ann, share) = start(&Secret::new(SecretKind::Words, [7; 16]), known, &mut random);
    let step = ann.receive(&share, &mut random);
    assert!(matches!(
        step.outcome,
        Some(Outcome::Refused(Refusal::UnknownSecret))
    ));
    assert_eq!(step.send, Some(refusal(Refusal::UnknownSecret)));
}

#[test]
fn a_refusal_reaches_the_joiner_only() {
    let mut random = random();
    for (reason, byte) in [
        (Refusal::CodeRetired, 2),
        (Refusal::UnknownSecret, 3),
        (Refusal::Failed, 4),
        (Refusal::Failed, 99),
    ] {
        let (mut ben, mut ann, _) = start(&words("a"), secrets("a"), &mut random);
        let bytes = [VERSION, 3, byte];
        let step = ben.receive(&bytes, &mut random);
        assert!(matches!(step.outcome, Some(Outcome::Refused(given)) if given == reason));
        assert_eq!(
            failure(&ann.receive(&bytes, &mut random)),
            Failure::OutOfOrder
        );
    }
}

#[test]
fn a_share_twice_is_refused_on_both_sides() {
    let mut random = random();
    let (mut ben, mut ann, share) = start(&words("a"), secrets("a"), &mut random);
    let answer = sent(ann.receive(&share, &mut random));
    assert_eq!(
        failure(&ann.receive(&share, &mut random)),
        Failure::Repeated
    );
    assert_eq!(failure(&ann.receive(&share, &mut random)), Failure::Over);
    sent(ben.receive(&answer, &mut random));
    assert_eq!(
        failure(&ben.receive(&answer, &mut random)),
        Failure::Repeated
    );
}

#[test]
fn our_own_messages_coming_back_are_refused() {
    let mut random = random();
    let (mut ben, _, share) = start(&words("a"), secrets("a"), &mut random);
    assert_eq!(
        failure(&ben.receive(&share, &mut random)),
        Failure::Reflected
    );

    let (mut ben, mut ann, share) = start(&words("a"), secrets("a"), &mut random);
    let answer = sent(ann.receive(&share, &mut random));
    let confirmation = sent(ben.receive(&answer, &mut random));
    let step = ben.receive(&confirmation, &mut random);
    assert!(matches!(step.outcome, Some(Outcome::WrongCode(_))));
}

#[test]
fn the_neutral_element_and_rubbish_are_refused() {
    for element in [[0; 32], [255; 32]] {
        let mut random = random();
        let (mut ben, mut ann, share) = start(&words("a"), secrets("a"), &mut random);
        let mut answer = sent(ann.receive(&share, &mut random));
        answer[18..50].copy_from_slice(&element);
        assert_eq!(
            failure(&ben.receive(&answer, &mut random)),
            Failure::InvalidShare
        );
        let (_, mut ann, mut share) = start(&words("a"), secrets("a"), &mut random);
        share[18..50].copy_from_slice(&element);
        assert_eq!(
            failure(&ann.receive(&share, &mut random)),
            Failure::InvalidShare
        );
    }
}

#[test]
fn out_of_turn_is_refused() {
    let mut random = random();
    let (mut ben, mut ann, _) = start(&words("a"), secrets("a"), &mut random);
    let confirmation = Message::Confirm([0; 64]).bytes();
    assert_eq!(
        failure(&ann.receive(&confirmation, &mut random)),
        Failure::OutOfOrder
    );
    assert_eq!(
        failure(&ben.receive(&confirmation, &mut random)),
        Failure::OutOfOrder
    );
    let error = Handshake::<Cpace>::join(member(), ANN, &words("a"), &mut random).err();
    assert_eq!(error, Some(Failure::WrongContext));
}

#[test]
fn every_length_and_version_but_the_right_one_is_refused() {
    let mut random = random();
    let (_, _, share) = start(&words("a"), secrets("a"), &mut random);
    for bytes in [
        &share[..],
        &Message::Confirm([0; 64]).bytes(),
        &refusal(Refusal::Failed),
    ] {
        let (_, mut ann, _) = start(&words("a"), secrets("a"), &mut random);
        let mut longer = bytes.to_vec();
        longer.push(0);
        assert_eq!(
            failure(&ann.receive(&longer, &mut random)),
            Failure::Malformed
        );
        for length in 0..bytes.len() {
            let (_, mut ann, _) = start(&words("a"), secrets("a"), &mut random);
            let step = ann.receive(&bytes[..length], &mut random);
            assert_eq!(failure(&step), Failure::Malformed);
        }
        let (_, mut ann, _) = start(&words("a"), secrets("a"), &mut random);
        let mut other = bytes.to_vec();
        other[0] = 2;
        assert_eq!(
            failure(&ann.receive(&other, &mut random)),
            Failure::WrongVersion
        );
        other[..2].copy_from_slice(&[VERSION, 77]);
        let (_, mut ann, _) = start(&words("a"), secrets("a"), &mut random);
        assert_eq!(
            failure(&ann.receive(&other, &mut random)),
            Failure::UnknownKind
        );
    }
}

#[test]
fn messages_are_told_apart() {
    assert_eq!(message_kind(&[1, 1]), MessageKind::Share);
    assert_eq!(message_kind(&[1, 2]), MessageKind::Handshake);
    assert_eq!(message_kind(&[1, 4]), MessageKind::Sealed);
    assert_eq!(message_kind(&[]), MessageKind::Handshake);
    let (_, _, share) = start(&words("a"), secrets("a"), &mut random());
    assert_eq!(share_epoch(&share), Some(1));
    assert_eq!(share_epoch(&share[1..]), None);
    assert_eq!(share_epoch(&refusal(Refusal::Failed)), None);
}

#[test]
fn debug_output_shows_no_secret() {
    let mut random = random();
    let (ben, ann, _) = start(&words("amber-otter"), secrets("amber-otter"), &mut random);
    let shown = format!(
        "{ben:?} {ann:?} {:?} {:?}",
        words("amber"),
        secrets("amber")
    );
    assert!(!shown.contains("amber") && !shown.contains("97"), "{shown}");
    assert!(shown.contains("AwaitingShare") && shown.contains("hidden"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Nothing but the same secret on both sides is ever verified.
    #[test]
    fn only_equal_secrets_verify(a in "[a-c]{1,2}", b in "[a-c]{1,2}", seed in any::<u64>()) {
        let mut random = StdRng::seed_from_u64(seed);
        let (mut ben, mut ann, share) = start(&words(&a), secrets(&b), &mut random);
        let answer = sent(ann.receive(&share, &mut random));
        let confirmation = sent(ben.receive(&answer, &mut random));
        let step = ann.receive(&confirmation, &mut random);
        prop_assert_eq!(is_verified(&step), a == b);
    }

    /// One changed bit anywhere, and nobody is verified.
    #[test]
    fn a_changed_bit_is_noticed(message in 0..4_usize, at in any::<prop::sample::Index>(), bit in 0..8) {
        let mut random = random();
        let (mut ben, mut ann, share) = start(&words("a"), secrets("a"), &mut random);
        let mut next = Some(share);
        for number in 0..4 {
            let Some(mut bytes) = next.take() else { break };
            if number == message {
                let at = at.index(bytes.len());
                bytes[at] ^= 1_u8 << bit;
            }
            let side = if number % 2 == 0 { &mut ann } else { &mut ben };
            let step = side.receive(&bytes, &mut random);
            if number >= message {
                prop_assert!(!is_verified(&step));
            }
            next = step.send;
        }
    }

    /// Whatever comes in whatever order: no panic, and nobody is verified by it.
    #[test]
    fn anything_may_come(
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..120), 1..4),
        kind in 0..6_u8,
    ) {
        let mut random = random();
        let (mut ben, mut ann, _) = start(&words("a"), secrets("a"), &mut random);
        for mut message in messages {
            if let Some(header) = message.get_mut(..2) {
                header.copy_from_slice(&[VERSION, kind]);
            }
            for side in [&mut ben, &mut ann] {
                let step = side.receive(&message, &mut random);
                prop_assert!(!is_verified(&step));
            }
        }
    }
}
