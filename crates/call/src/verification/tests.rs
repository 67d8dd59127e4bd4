use std::collections::BTreeSet;

use ahoy_sealing::Secret;
use proptest::prelude::*;
use rand::SeedableRng;

use super::*;

const ROOM: u32 = 4_821;

fn secrets(words: &str, link: Option<u8>) -> Secrets {
    Secrets {
        words: Some(Secret::new(SecretKind::Words, words.as_bytes())),
        link: link.map(|byte| Secret::new(SecretKind::Link, [byte; 16])),
    }
}

/// A room with everybody's verification, and an honest server between them.
struct World {
    now: Instant,
    people: BTreeMap<ParticipantId, Verification>,
    /// On their way: from, to, bytes.
    wire: VecDeque<(ParticipantId, ParticipantId, Vec<u8>)>,
    /// What came out besides messages to be sent.
    seen: Vec<(ParticipantId, Output)>,
}

impl World {
    fn new() -> Self {
        Self {
            now: Instant::now(),
            people: BTreeMap::new(),
            wire: VecDeque::new(),
            seen: Vec::new(),
        }
    }

    /// Somebody enters the room; `id` has to be higher than everybody's.
    fn join(&mut self, id: ParticipantId, secrets: Secrets) {
        let fingerprint = [u8::try_from(id).expect("few"); 32];
        let random = StdRng::seed_from_u64(id.into());
        let mut newcomer = Verification::new(ROOM, id, fingerprint, secrets, random);
        let others: Vec<ParticipantId> = self.people.keys().copied().collect();
        for other in others {
            let outputs = newcomer.participant_joined(other, self.now);
            self.take(id, outputs);
            let now = self.now;
            let member = self.people.get_mut(&other).expect("there");
            let outputs = member.participant_joined(id, now);
            self.take(other, outputs);
        }
        self.people.insert(id, newcomer);
    }

    fn leave(&mut self, id: ParticipantId) {
        self.people.remove(&id);
        let others: Vec<ParticipantId> = self.people.keys().copied().collect();
        for other in others {
            let now = self.now;
            let outputs = self.at(other).participant_left(id, now);
            self.take(other, outputs);
        }
    }

    fn at(&mut self, id: ParticipantId) -> &mut Verification {
        self.people.get_mut(&id).expect("there")
    }

    fn take(&mut self, from: ParticipantId, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Send(to, bytes) => self.wire.push_back((from, to, bytes)),
                other => self.seen.push((from, other)),
            }
        }
    }

    fn deliver(&mut self, from: ParticipantId, to: ParticipantId, bytes: &[u8]) {
        let now = self.now;
        if let Some(receiver) = self.people.get_mut(&to) {
            let outputs = receiver.receive(from, bytes, now);
            self.take(to, outputs);
        }
    }

    fn run(&mut self) {
        while let Some((from, to, bytes)) = self.wire.pop_front() {
            self.deliver(from, to, &bytes);
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        let ids: Vec<ParticipantId> = self.people.keys().copied().collect();
        for id in ids {
            let now = self.now;
            let outputs = self.at(id).tick(now);
            self.take(id, outputs);
        }
    }

    /// Pairs of which both were told that the other is verified, with the right certificate.
    fn verified(&self) -> BTreeSet<(ParticipantId, ParticipantId)> {
        let told: BTreeSet<_> = self
            .seen
            .iter()
            .filter_map(|(at, output)| match output {
                Output::Verified(id, fingerprint) => {
                    assert_eq!(u32::from(fingerprint[0]), *id);
                    Some((*at, *id))
                }
                _ => None,
            })
            .collect();
        told.iter()
            .copied()
            .filter(|(a, b)| a < b && told.contains(&(*b, *a)))
            .collect()
    }

    fn saw(&self, output: &(ParticipantId, Output)) -> bool {
        self.seen.contains(output)
    }
}

#[test]
fn everybody_who_knows_the_code_is_verified_with_everybody_late_or_not() {
    let mut world = World::new();
    world.join(1, secrets("amber-otter", Some(7)));
    world.join(2, secrets("amber-otter", None));
    world.run();
    world.join(3, secrets("amber-otter", Some(7)));
    world.run();
    world.join(4, secrets("amber-otter", None));
    world.run();
    let all = [(1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4)];
    assert_eq!(world.verified(), BTreeSet::from(all), "{:?}", world.seen);
    assert_eq!(world.seen.len(), 12, "and nothing else happened");

    let frame = world.at(4).seal(1, b"offer").expect("verified");
    world.deliver(4, 1, &frame);
    assert!(world.saw(&(1, Output::Message(4, b"offer".to_vec()))));
    assert_eq!(world.at(4).seal(9, b"offer"), None);
}

#[test]
fn who_came_by_words_lets_in_by_link_once_it_was_told() {
    let mut world = World::new();
    world.join(2, secrets("amber-otter", None));
    // An outdated link whose words are old: its secret counts.
    world.join(3, secrets("old-words", Some(7)));
    world.run();
    assert!(
        world.saw(&(3, Output::Failed(2, Problem::WrongCode))),
        "words were tried then"
    );
    world.leave(3);
    world
        .at(2)
        .set_secrets(secrets("amber-otter", Some(7)), false);
    world.join(4, secrets("old-words", Some(7)));
    world.run();
    assert_eq!(world.verified(), BTreeSet::from([(2, 4)]));
}

#[test]
fn three_wrong_codes_retire_the_words_and_new_ones_let_in() {
    let mut world = World::new();
    world.join(1, secrets("amber-otter", Some(7)));
    for (id, left) in [(2, 2), (3, 1), (4, 0)] {
        world.join(id, secrets("amber-badge", None));
        world.run();
        assert!(
            world.saw(&(1, Output::WrongGuess(id, left))),
            "{:?}",
            world.seen
        );
        assert!(world.saw(&(1, Output::Failed(id, Problem::WrongCode))));
        assert!(world.saw(&(id, Output::Failed(1, Problem::WrongCode))));
        world.leave(id);
    }
    assert!(world.saw(&(1, Output::CodeRetired)) && world.at(1).retired());
    // Even the right words let nobody in; the link does.
    world.join(5, secrets("amber-otter", None));
    world.run();
    assert!(world.saw(&(5, Output::Failed(1, Problem::CodeRetired))));
    world.leave(5);
    world.join(6, secrets("amber-otter", Some(7)));
    world.run();
    world.at(1).set_secrets(secrets("new-words", Some(7)), true);
    assert!(!world.at(1).retired());
    world.at(6).set_secrets(secrets("new-words", Some(7)), true);
    world.join(7, secrets("new-words", None));
    world.run();
    assert_eq!(world.verified(), BTreeSet::from([(1, 6), (1, 7), (6, 7)]));
}

#[test]
fn new_words_count_for_those_who_have_come_but_not_begun() {
    let mut world = World::new();
    world.join(1, secrets("old-words", None));
    world.join(2, secrets("new-words", None));
    world.at(1).set_secrets(secrets("new-words", None), true);
    world.run();
    assert_eq!(world.verified(), BTreeSet::from([(1, 2)]));
}

#[test]
fn a_connection_that_is_lost_before_the_proof_counts_for_nothing() {
    let mut world = World::new();
    world.join(1, secrets("amber-otter", None));
    for id in 2..40 {
        world.join(id, secrets("amber-badge", None));
        let (from, to, share) = world.wire.pop_front().expect("a share");
        world.deliver(from, to, &share);
        world.wire.clear();
        world.leave(id);
    }
    assert!(!world.at(1).retired());
    assert_eq!(world.seen, []);
}

#[test]
fn a_joiner_proves_itself_to_one_member_at_a_time() {
    let mut world = World::new();
    for id in 1..=4 {
        world.join(id, secrets("amber-otter", None));
        world.run();
    }
    world.join(5, secrets("amber-badge", None));
    assert_eq!(world.wire.len(), 1, "one share is out");
    world.run();
    // The engine leaves at the first; here it goes on, one after the other, until enough members
    // have had a guess.
    let failed: Vec<_> = world
        .seen
        .iter()
        .filter_map(|(at, output)| match output {
            Output::Failed(member, problem) if *at == 5 => Some((*member, *problem)),
            _ => None,
        })
        .collect();
    let wrong = |member| (member, Problem::WrongCode);
    let given_up = (4, Problem::NotVerified);
    assert_eq!(failed, [wrong(1), wrong(2), wrong(3), given_up]);
}

#[test]
fn a_silent_member_holds_up_nobody_and_is_tried_again() {
    let mut world = World::new();
    for id in 1..=2 {
        world.join(id, secrets("amber-otter", None));
    }
    world.run();
    world.join(3, secrets("amber-otter", None));
    world.wire.clear(); // The share for 1 is lost.
    world.run();
    world.pass(TURN / 2);
    assert!(world.wire.is_empty());
    world.pass(TURN / 2);
    world.run();
    let all = BTreeSet::from([(1, 2), (1, 3), (2, 3)]);
    assert_eq!(world.verified(), all, "{:?}", world.seen);
}

#[test]
fn a_member_that_keeps_silent_after_our_proof_has_had_its_guess() {
    let mut world = World::new();
    world.join(1, secrets("amber-otter", None));
    world.join(2, secrets("amber-otter", None));
    for _ in 0..2 {
        let (from, to, bytes) = world.wire.pop_front().expect("a share");
        world.deliver(from, to, &bytes);
    }
    world.wire.clear(); // Our proof is out; nothing comes back.
    world.pass(TURN);
    assert_eq!(world.seen, [(2, Output::Failed(1, Problem::NotVerified))]);
    world.pass(TURN);
    assert!(world.wire.is_empty(), "and no second one");
}

#[test]
fn whatever_answers_our_proof_without_one_has_had_its_guess() {
    for answer in [
        refusal(Refusal::WrongCode),
        refusal(Refusal::Failed),
        refusal(Refusal::UnknownSecret),
        vec![1, 2],
        [&[1, 4][..], &[0; 60]].concat(),
    ] {
        let mut world = World::new();
        for id in 1..=5 {
            world.join(id, secrets("amber-otter", None));
            world.run();
        }
        world.join(6, secrets("amber-otter", None));
        let mut proofs = 0;
        while let Some((from, to, bytes)) = world.wire.pop_front() {
            if from == 6 && bytes.starts_with(&[1, 2]) {
                proofs += 1;
                world.deliver(to, 6, &answer);
            } else {
                world.deliver(from, to, &bytes);
            }
        }
        assert_eq!(proofs, 3, "{answer:?}");
        assert!(world.at(6).retired());
    }
}

#[test]
fn a_proof_by_link_gives_nobody_a_guess_at_the_words() {
    let mut world = World::new();
    for id in 1..=4 {
        world.join(id, secrets("amber-otter", Some(7)));
        world.run();
    }
    world.join(5, secrets("amber-otter", Some(7)));
    while let Some((from, to, bytes)) = world.wire.pop_front() {
        if from == 5 && bytes.starts_with(&[1, 2]) {
            world.pass(TURN); // Nothing comes back.
        } else {
            world.deliver(from, to, &bytes);
        }
    }
    assert!(!world.at(5).retired());
}

#[test]
fn shares_without_end_are_not_answered_without_end() {
    let mut world = World::new();
    world.join(1, secrets("amber-otter", None));
    let mut random = StdRng::seed_from_u64(9);
    let outputs = world.at(1).participant_joined(2, Instant::now());
    assert_eq!(outputs, []);
    let mut answers = 0;
    for epoch in 1..100 {
        let context = Context {
            role: Role::Joiner,
            room: ROOM,
            own: 2,
            other: 1,
            epoch,
        };
        let secret = Secret::new(SecretKind::Words, *b"guess");
        let (_, share) =
            Handshake::<ahoy_sealing::Cpace>::join(context, [2; 32], &secret, &mut random)
                .expect("a share");
        let outputs = world.at(1).receive(2, &share, Instant::now());
        answers += outputs
            .iter()
            .filter(|output| matches!(output, Output::Send(_, bytes) if bytes.len() > 3))
            .count();
    }
    assert_eq!(answers, MAX_EPOCHS as usize);
}

#[test]
fn sealed_messages_that_were_changed_or_come_too_soon_are_noticed() {
    let mut world = World::new();
    world.join(1, secrets("amber-otter", None));
    world.join(2, secrets("amber-otter", None));
    world.run();
    world.seen.clear();
    let mut frame = world.at(2).seal(1, b"offer").expect("verified");
    world.deliver(2, 1, &frame);
    world.deliver(2, 1, &frame);
    assert_eq!(world.seen, [(1, Output::Message(2, b"offer".to_vec()))]);
    frame = world.at(2).seal(1, b"answer").expect("verified");
    *frame.last_mut().expect("not empty") ^= 1;
    world.deliver(2, 1, &frame);
    assert_eq!(world.seen[1..], [(1, Output::Tampered(2))]);

    world.join(3, secrets("amber-otter", None));
    world.deliver(3, 1, &frame);
    let failed = (1, Output::Failed(3, Problem::NotVerified));
    assert!(world.saw(&failed), "before it was verified");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A server that swaps, repeats, drops and changes what passes, and says of anybody's message
    /// that it is another's: nobody is verified who should not be, and no certificate is another's.
    #[test]
    fn a_hostile_server_verifies_nobody_wrongly(
        acts in prop::collection::vec((0..7_u8, any::<prop::sample::Index>(), any::<u8>()), 0..60),
    ) {
        let mut world = World::new();
        world.join(1, secrets("amber-otter", None));
        world.join(2, secrets("amber-otter", None));
        world.join(3, secrets("amber-badge", None));
        let mut recorded: Vec<(ParticipantId, ParticipantId, Vec<u8>)> = Vec::new();
        for (act, at, byte) in acts {
            if world.wire.is_empty() && recorded.is_empty() {
                break;
            }
            match act {
                0 | 1 => {
                    if let Some(message) = world.wire.pop_front() {
                        world.deliver(message.0, message.1, &message.2);
                        recorded.push(message);
                    }
                }
                2 if world.wire.len() > 1 => {
                    let at = at.index(world.wire.len());
                    world.wire.swap(0, at);
                }
                3 => {
                    world.wire.pop_front();
                }
                4 => {
                    if let Some((_, _, bytes)) = world.wire.front_mut() {
                        let at = at.index(bytes.len());
                        bytes[at] ^= byte;
                    }
                }
                5 if !recorded.is_empty() => {
                    let (from, to, bytes) = recorded[at.index(recorded.len())].clone();
                    world.deliver(from, to, &bytes);
                }
                _ if !recorded.is_empty() => {
                    let (_, _, bytes) = recorded[at.index(recorded.len())].clone();
                    let (from, to) = (u32::from(byte % 3) + 1, u32::from(byte / 3 % 3) + 1);
                    world.deliver(from, to, &bytes);
                }
                _ => world.pass(Duration::from_secs(1)),
            }
        }
        for (at, output) in &world.seen {
            if let Output::Verified(id, fingerprint) = output {
                prop_assert_eq!(u32::from(fingerprint[0]), *id);
                prop_assert!(*at != 3 && *id != 3, "without the words");
            }
        }
    }
}
