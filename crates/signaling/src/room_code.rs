//! Room codes: `4821-amber-otter`, a number that the server hands out and words that only people
//! exchange.

mod parse;
mod words;

use std::fmt;

use rand::RngExt;
use rand::rand_core::UnwrapErr;
use rand::rngs::SysRng;
use serde::{Deserialize, Serialize};

pub use parse::CodeError;
use words::WORDS;

/// How many words a code has: with 1,100 words and more, two make 20 bits.
pub const WORDS_IN_CODE: usize = 2;

/// Number of a room, 1000 to 999999: all that a server knows of a code.
///
/// It never begins with a zero, since people drop those when they read a number aloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct RoomNumber(u32);

impl RoomNumber {
    /// Smallest number: four digits are easy to say and enough for a server with few rooms.
    pub const MIN: u32 = 1_000;
    /// Largest number: six digits are the most that people keep in mind at once.
    pub const MAX: u32 = 999_999;

    /// The room number `number`, or `None` outside [`Self::MIN`]`..=`[`Self::MAX`].
    pub const fn new(number: u32) -> Option<Self> {
        if Self::MIN <= number && number <= Self::MAX {
            Some(Self(number))
        } else {
            None
        }
    }

    /// The number itself.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for RoomNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<RoomNumber> for u32 {
    fn from(number: RoomNumber) -> Self {
        number.0
    }
}

impl TryFrom<u32> for RoomNumber {
    type Error = CodeError;

    fn try_from(number: u32) -> Result<Self, CodeError> {
        Self::new(number).ok_or(CodeError::NumberOutOfRange)
    }
}

/// The words of a code: the part that never leaves the computers of those who talk.
///
/// `Display` writes them for people; `Debug`, and with it every log, does not.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CodeWords([u16; WORDS_IN_CODE]);

impl CodeWords {
    /// Words drawn from the system's random numbers, each as likely as any other.
    ///
    /// # Panics
    ///
    /// If the operating system has no random numbers, without which nothing here is safe to do.
    pub fn random() -> Self {
        let mut random = UnwrapErr(SysRng);
        let last = u16::try_from(WORDS.len() - 1).expect("the list has fewer than 65,536 words");
        Self(std::array::from_fn(|_| random.random_range(0..=last)))
    }

    /// The words in order.
    pub fn iter(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|index| WORDS[usize::from(*index)])
    }
}

impl fmt::Display for CodeWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, word) in self.iter().enumerate() {
            if position > 0 {
                f.write_str("-")?;
            }
            f.write_str(word)?;
        }
        Ok(())
    }
}

impl fmt::Debug for CodeWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CodeWords(hidden)")
    }
}

/// A whole code. `Display` and `FromStr` use `4821-amber-otter`; `Debug` hides the words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomCode {
    /// What the server knows.
    pub number: RoomNumber,
    /// What only people know.
    pub words: CodeWords,
}

impl fmt::Display for RoomCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.number, self.words)
    }
}

/// Words of the list that begin with `prefix` (any case), in alphabetical order; none for an
/// empty prefix. Four letters leave at most one.
pub fn complete(prefix: &str) -> Vec<&'static str> {
    let prefix = prefix.trim().to_ascii_lowercase();
    if prefix.is_empty() {
        return Vec::new();
    }
    let first = WORDS.partition_point(|word| *word < prefix.as_str());
    WORDS[first..]
        .iter()
        .copied()
        .take_while(|word| word.starts_with(&prefix))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_within_four_to_six_digits() {
        assert_eq!(RoomNumber::new(999), None);
        assert_eq!(RoomNumber::new(1_000).map(RoomNumber::get), Some(1_000));
        assert_eq!(RoomNumber::new(999_999).map(RoomNumber::get), Some(999_999));
        assert_eq!(RoomNumber::new(1_000_000), None);
        assert!(serde_json::from_str::<RoomNumber>("12").is_err());
    }

    #[test]
    fn debug_output_never_shows_the_words() {
        let code: RoomCode = "4821-amber-otter".parse().expect("a code");
        let shown = format!("{code:?} {:?} {:#?}", code.words, code);
        assert!(
            shown.contains("4821") && shown.contains("hidden"),
            "{shown}"
        );
        assert!(
            !shown.contains("amber") && !shown.contains("otter"),
            "{shown}"
        );
        let indices: Vec<String> = code.words.0.iter().map(u16::to_string).collect();
        assert!(
            indices.iter().all(|index| !shown.contains(index)),
            "{shown}"
        );
    }

    #[test]
    fn completion_finds_every_word_by_its_first_letters() {
        assert_eq!(complete("otte"), ["otter"]);
        assert_eq!(complete(" OTTE "), ["otter"]);
        assert!(complete("a").len() > 20);
        assert!(complete("").is_empty());
        assert!(complete("xq").is_empty());
        for word in WORDS {
            assert_eq!(complete(&word[..word.len().min(4)]), [word]);
        }
    }

    #[test]
    fn random_words_differ_and_read_back() {
        let codes: Vec<RoomCode> = (0..50)
            .map(|_| RoomCode {
                number: RoomNumber::new(4_821).expect("in range"),
                words: CodeWords::random(),
            })
            .collect();
        for code in &codes {
            assert_eq!(code.to_string().parse(), Ok(*code));
        }
        let distinct = codes
            .iter()
            .map(ToString::to_string)
            .collect::<std::collections::BTreeSet<_>>();
        assert!(distinct.len() > 45, "{} of 50", distinct.len());
    }
}

#[cfg(test)]
mod list_tests {
    use std::collections::BTreeSet;

    use super::WORDS;

    #[test]
    fn it_has_at_least_1024_words_so_that_two_make_20_bits() {
        assert!(WORDS.len() >= 1_024, "{}", WORDS.len());
    }

    #[test]
    fn words_are_short_lower_case_and_sorted() {
        for word in WORDS {
            assert!((3..=8).contains(&word.len()), "{word}");
            assert!(
                word.bytes().all(|letter| letter.is_ascii_lowercase()),
                "{word}"
            );
        }
        assert!(WORDS.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn four_letters_tell_every_word_apart() {
        let beginnings: BTreeSet<&str> = WORDS
            .iter()
            .map(|word| &word[..word.len().min(4)])
            .collect();
        assert_eq!(beginnings.len(), WORDS.len());
        for pair in WORDS.windows(2) {
            assert!(!pair[1].starts_with(pair[0]), "{pair:?}");
        }
    }

    #[test]
    fn one_slip_never_turns_a_word_into_another() {
        for (index, word) in WORDS.iter().enumerate() {
            for other in &WORDS[index + 1..] {
                assert!(strsim::osa_distance(word, other) >= 2, "{word} {other}");
            }
        }
    }

    /// Words that differ in spelling only would be confused over the telephone.
    #[test]
    fn no_word_has_a_homophone_in_the_list() {
        const PAIRS: [(&str, &str); 12] = [
            ("flour", "flower"),
            ("knight", "night"),
            ("medal", "metal"),
            ("cereal", "serial"),
            ("cymbal", "symbol"),
            ("muscle", "mussel"),
            ("pair", "pear"),
            ("idle", "idol"),
            ("uncle", "ankle"),
            ("letter", "ladder"),
            ("desert", "dessert"),
            ("plain", "plane"),
        ];
        for (one, other) in PAIRS {
            assert!(
                !(WORDS.contains(&one) && WORDS.contains(&other)),
                "{one} {other}"
            );
        }
    }
}
