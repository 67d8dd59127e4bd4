//! How often somebody was wrong about the words of our code. The clients count, since a hostile
//! server would not.
//!
//! Counted is a wrong confirmation, and nothing else:
//!
//! - **A handshake that ends before the joiner's confirmation does not count.** All that the joiner
//!   has by then is our share, a group element that is equally likely for every secret, and the
//!   member confirms nothing before the joiner did. So an abandoned handshake tests no guess, however
//!   often it is repeated. Counting it would only make a weak network, or a server that cuts
//!   connections, retire a code that nobody tried to guess.
//! - **A joiner that has confirmed has shown a test for one guess** to whoever played the member.
//!   When no right confirmation comes back, that counts on the joiner's side, whether what came was
//!   wrong, a refusal, or nothing in time.
//! - **A wrong link secret does not count towards the words.** It has 128 bits, so that nobody
//!   guesses it, and says nothing about the words.

use crate::handshake::SecretKind;

/// Wrong guesses after which the words are retired. With 20 bits, three guesses succeed once in
/// 350,000 rooms; people who mistype get two more attempts.
pub const MAX_WRONG_GUESSES: u8 = 3;

/// What a wrong guess leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The words stay good; so many more guesses are allowed.
    Counted {
        /// At least 1.
        left: u8,
    },
    /// That was the last one: nobody gets in with these words any more.
    Retired,
}

/// The count for one code.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Guesses {
    wrong: u8,
}

impl Guesses {
    /// Somebody was wrong.
    pub fn wrong(&mut self, kind: SecretKind) -> Verdict {
        if kind == SecretKind::Words {
            self.wrong = self.wrong.saturating_add(1);
        }
        match MAX_WRONG_GUESSES.saturating_sub(self.wrong) {
            0 => Verdict::Retired,
            left => Verdict::Counted { left },
        }
    }

    /// Whether a handshake with this kind of secret may begin.
    pub fn allows(&self, kind: SecretKind) -> bool {
        kind == SecretKind::Link || !self.retired()
    }

    /// Whether the words are used up.
    pub fn retired(&self) -> bool {
        self.wrong >= MAX_WRONG_GUESSES
    }

    /// Somebody else inside has retired the words.
    pub fn retire(&mut self) {
        self.wrong = MAX_WRONG_GUESSES;
    }

    /// There are new words.
    pub fn renew(&mut self) {
        self.wrong = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_wrong_guesses_retire_the_words_until_there_are_new_ones() {
        let mut guesses = Guesses::default();
        let words = SecretKind::Words;
        assert_eq!(guesses.wrong(words), Verdict::Counted { left: 2 });
        assert_eq!(guesses.wrong(words), Verdict::Counted { left: 1 });
        assert!(guesses.allows(words));
        assert_eq!(guesses.wrong(words), Verdict::Retired);
        assert_eq!(guesses.wrong(words), Verdict::Retired);
        assert!(guesses.retired() && !guesses.allows(words));
        guesses.renew();
        assert!(!guesses.retired() && guesses.allows(words));
    }

    #[test]
    fn links_neither_use_up_the_words_nor_suffer_when_they_are() {
        let mut guesses = Guesses::default();
        for _ in 0..1_000 {
            assert_eq!(
                guesses.wrong(SecretKind::Link),
                Verdict::Counted { left: 3 }
            );
        }
        guesses.retire();
        assert!(guesses.allows(SecretKind::Link) && !guesses.allows(SecretKind::Words));
    }

    #[test]
    fn the_count_never_wraps() {
        let mut guesses = Guesses::default();
        for _ in 0..600 {
            guesses.wrong(SecretKind::Words);
        }
        assert!(guesses.retired());
    }
}
