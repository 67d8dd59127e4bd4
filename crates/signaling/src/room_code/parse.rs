//! Reading codes as people type, paste and dictate them.

use std::fmt;
use std::str::FromStr;

use super::{CodeWords, RoomCode, RoomNumber, WORDS, WORDS_IN_CODE};

/// Longest text that is looked at: a pasted essay is no code.
const MAX_TEXT: usize = 200;
/// From this many letters on a word may be shortened or contain one slip.
const TOLERANT_FROM: usize = 4;
/// A word further away than this many slips is no suggestion but a guess.
const MAX_SUGGESTION_DISTANCE: usize = 3;

/// What is wrong with a code.
///
/// Neither `Display` nor `Debug` repeats what was typed: a word with one wrong letter gives the
/// right one away, and errors end up in logs. The fields are for the person who typed it;
/// [`CodeError::explain`] makes a sentence of them.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// Nothing was typed.
    #[error("the code is empty")]
    Empty,
    /// Far longer than any code.
    #[error("this is too long for a code")]
    TooLong,
    /// Words but no number.
    #[error("the number is missing")]
    NumberMissing,
    /// The number does not have four to six digits, or begins with a zero.
    #[error("the number must have four to six digits")]
    NumberOutOfRange,
    /// Digits in two places.
    #[error("there is more than one number")]
    NumberTwice,
    /// The number is there, but not all of the words.
    #[error("the code needs two words after the number, {given} given")]
    WordsMissing {
        /// How many words there are.
        given: usize,
    },
    /// More words than a code has.
    #[error("the code has more than two words")]
    TooManyWords,
    /// A word that is not on the list and not a slip of exactly one that is.
    #[error("word {position} is not one that codes are made of")]
    UnknownWord {
        /// Which, counted from 1.
        position: usize,
        /// As typed, in lower case.
        word: String,
        /// What may have been meant.
        nearest: Option<String>,
    },
    /// A character that belongs to no code.
    #[error("this character does not belong in a code")]
    UnexpectedCharacter {
        /// The character.
        character: char,
    },
}

impl CodeError {
    /// A sentence for the person who typed the code, with their words in it. Not for logs.
    pub fn explain(&self) -> String {
        match self {
            Self::UnknownWord {
                word,
                nearest: Some(nearest),
                ..
            } => {
                format!(
                    "\u{201c}{word}\u{201d} is not a code word. Did you mean \u{201c}{nearest}\u{201d}?"
                )
            }
            Self::UnknownWord {
                word,
                nearest: None,
                ..
            } => {
                format!("\u{201c}{word}\u{201d} is not a code word.")
            }
            Self::UnexpectedCharacter { character } => {
                format!(
                    "\u{201c}{}\u{201d} does not belong in a code.",
                    character.escape_debug()
                )
            }
            Self::Empty
            | Self::TooLong
            | Self::NumberMissing
            | Self::NumberOutOfRange
            | Self::NumberTwice
            | Self::WordsMissing { .. }
            | Self::TooManyWords => {
                let mut sentence = self.to_string();
                sentence[..1].make_ascii_uppercase();
                sentence + "."
            }
        }
    }
}

impl fmt::Debug for CodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CodeError({self})")
    }
}

impl FromStr for RoomCode {
    type Err = CodeError;

    /// Reads a code in any case, with spaces, dashes or other punctuation between its parts or
    /// with none, the number in front of the words or behind them, digits in groups (`48 21`). A
    /// word of four letters and more may be shortened to its beginning or contain one slip, as
    /// long as only one word can have been meant.
    fn from_str(text: &str) -> Result<Self, CodeError> {
        let parts = Parts::split(text)?;
        let number = parts.number()?;
        Ok(Self {
            number,
            words: words(&parts.words)?,
        })
    }
}

impl FromStr for CodeWords {
    type Err = CodeError;

    /// Reads the words alone, as tolerantly as a whole code.
    fn from_str(text: &str) -> Result<Self, CodeError> {
        let parts = Parts::split(text)?;
        if parts.digits.is_empty() {
            words(&parts.words)
        } else {
            Err(CodeError::NumberTwice)
        }
    }
}

/// Digits and words as they were found.
struct Parts {
    digits: String,
    words: Vec<String>,
}

impl Parts {
    fn split(text: &str) -> Result<Self, CodeError> {
        if text.len() > MAX_TEXT {
            return Err(CodeError::TooLong);
        }
        let mut parts = Self {
            digits: String::new(),
            words: Vec::new(),
        };
        let mut previous = Kind::Separator;
        let mut digits_ended = false;
        for character in text.chars() {
            let kind = Kind::of(character)?;
            match kind {
                Kind::Digit if digits_ended => return Err(CodeError::NumberTwice),
                Kind::Digit => parts.digits.push(character),
                Kind::Letter => {
                    digits_ended = !parts.digits.is_empty();
                    if previous != Kind::Letter {
                        parts.words.push(String::new());
                    }
                    if let Some(word) = parts.words.last_mut() {
                        word.push(character.to_ascii_lowercase());
                    }
                }
                Kind::Separator => {}
            }
            previous = kind;
        }
        if parts.digits.is_empty() && parts.words.is_empty() {
            return Err(CodeError::Empty);
        }
        Ok(parts)
    }

    fn number(&self) -> Result<RoomNumber, CodeError> {
        if self.digits.is_empty() {
            return Err(CodeError::NumberMissing);
        }
        if self.digits.starts_with('0') {
            return Err(CodeError::NumberOutOfRange);
        }
        let number: u32 = self
            .digits
            .parse()
            .map_err(|_| CodeError::NumberOutOfRange)?;
        RoomNumber::try_from(number)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Digit,
    Letter,
    Separator,
}

impl Kind {
    fn of(character: char) -> Result<Self, CodeError> {
        match character {
            '0'..='9' => Ok(Self::Digit),
            'a'..='z' | 'A'..='Z' => Ok(Self::Letter),
            // Hyphens and dashes of every length, and the minus sign: editors change them.
            '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{ad}' => Ok(Self::Separator),
            // Typographic quotation marks, which come along when a code is quoted.
            '\u{2018}'..='\u{201f}' | '\u{ab}' | '\u{bb}' => Ok(Self::Separator),
            // What some editors and messengers put in invisibly.
            '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' => Ok(Self::Separator),
            other if other.is_whitespace() || other.is_ascii_punctuation() => Ok(Self::Separator),
            other => Err(CodeError::UnexpectedCharacter { character: other }),
        }
    }
}

fn words(typed: &[String]) -> Result<CodeWords, CodeError> {
    let mut found = [0; WORDS_IN_CODE];
    for (position, word) in typed.iter().enumerate().take(WORDS_IN_CODE) {
        let index = resolve(word).map_err(|nearest| CodeError::UnknownWord {
            position: position + 1,
            word: word.clone(),
            nearest: nearest.map(str::to_owned),
        })?;
        found[position] = u16::try_from(index).expect("the list has fewer than 65,536 words");
    }
    match typed.len() {
        given if given < WORDS_IN_CODE => Err(CodeError::WordsMissing { given }),
        WORDS_IN_CODE => Ok(CodeWords(found)),
        _ => Err(CodeError::TooManyWords),
    }
}

/// Index of the word that was meant, or else the nearest word.
fn resolve(typed: &str) -> Result<usize, Option<&'static str>> {
    if let Ok(index) = WORDS.binary_search(&typed) {
        return Ok(index);
    }
    if typed.len() < TOLERANT_FROM {
        return Err(nearest(typed));
    }
    let start = WORDS.partition_point(|word| *word < typed);
    if WORDS.get(start).is_some_and(|word| word.starts_with(typed)) {
        return Ok(start); // Four letters are unique, so no other word begins like this.
    }
    let mut one_slip = (0..WORDS.len()).filter(|index| slips(typed, WORDS[*index]) == 1);
    match (one_slip.next(), one_slip.next()) {
        (Some(index), None) => Ok(index),
        _ => Err(nearest(typed)),
    }
}

/// The closest word: the fewest slips, and among equals the longest common beginning.
fn nearest(typed: &str) -> Option<&'static str> {
    WORDS
        .iter()
        .map(|word| {
            (
                slips(typed, word),
                usize::MAX - common_beginning(typed, word),
                *word,
            )
        })
        .min()
        .filter(|(distance, _, word)| {
            *distance <= MAX_SUGGESTION_DISTANCE.min(word.len() / 2)
                || common_beginning(typed, word) >= TOLERANT_FROM
        })
        .map(|(_, _, word)| word)
}

/// Letters left out, added, replaced or exchanged with their neighbour.
fn slips(typed: &str, word: &str) -> usize {
    strsim::osa_distance(typed, word)
}

fn common_beginning(one: &str, other: &str) -> usize {
    one.bytes()
        .zip(other.bytes())
        .take_while(|(a, b)| a == b)
        .count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn code(text: &str) -> Result<String, CodeError> {
        text.parse::<RoomCode>().map(|code| code.to_string())
    }

    #[test]
    fn accepts_what_people_type() {
        for text in [
            "4821-amber-otter",
            "4821 amber otter",
            "  4821 - Amber - OTTER ",
            "4821amber otter",
            "4821_amber.otter",
            "48 21, amber, otter",
            "\u{201c}4821\u{2013}amber\u{2014}otter\u{201d}.",
            "amber otter 4821",
            "#4821 amber/otter\n",
            "4821-amber\u{200b}-otter",
        ] {
            assert_eq!(code(text).as_deref(), Ok("4821-amber-otter"), "{text}");
        }
    }

    #[test]
    fn mends_what_can_only_mean_one_word() {
        for text in [
            "4821-ambr-otter",
            "4821-ambre-otter",
            "4821-ambe-otter",
            "4821-amber-ottter",
            "4821-amber-oter",
        ] {
            assert_eq!(code(text).as_deref(), Ok("4821-amber-otter"), "{text}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        assert_eq!(code(""), Err(CodeError::Empty));
        assert_eq!(code(" - "), Err(CodeError::Empty));
        assert_eq!(code(&"a".repeat(201)), Err(CodeError::TooLong));
        assert_eq!(code("amber-otter"), Err(CodeError::NumberMissing));
        assert_eq!(code("12-amber-otter"), Err(CodeError::NumberOutOfRange));
        assert_eq!(code("0821-amber-otter"), Err(CodeError::NumberOutOfRange));
        assert_eq!(
            code("48211234567890-amber-otter"),
            Err(CodeError::NumberOutOfRange)
        );
        assert_eq!(code("4821-amber-1234-otter"), Err(CodeError::NumberTwice));
        assert_eq!(code("4821"), Err(CodeError::WordsMissing { given: 0 }));
        assert_eq!(
            code("4821-amber"),
            Err(CodeError::WordsMissing { given: 1 })
        );
        assert_eq!(code("4821-amber-otter-acorn"), Err(CodeError::TooManyWords));
        assert_eq!(
            code("4821-\u{e4}mber-otter"),
            Err(CodeError::UnexpectedCharacter {
                character: '\u{e4}'
            })
        );
    }

    #[test]
    fn names_the_wrong_word_and_the_nearest() {
        assert_eq!(
            code("4821-amber-ot"),
            Err(CodeError::UnknownWord {
                position: 2,
                word: "ot".into(),
                nearest: None
            })
        );
        assert_eq!(
            code("4821-umbrrellla-otter"),
            Err(CodeError::UnknownWord {
                position: 1,
                word: "umbrrellla".into(),
                nearest: Some("umbrella".into())
            })
        );
        assert_eq!(
            code("4821-qqqqqqq-otter"),
            Err(CodeError::UnknownWord {
                position: 1,
                word: "qqqqqqq".into(),
                nearest: None
            })
        );
    }

    #[test]
    fn an_error_shows_the_typed_word_only_when_asked() {
        let error = code("4821-umbrrellla-otter").expect_err("unknown word");
        let logged = format!("{error} {error:?}");
        assert!(!logged.contains("umbr"), "{logged}");
        assert!(
            error
                .explain()
                .contains("Did you mean \u{201c}umbrella\u{201d}")
        );
        assert_eq!(CodeError::NumberMissing.explain(), "The number is missing.");
    }

    #[test]
    fn every_word_survives_any_one_slip_or_is_refused() {
        for (index, word) in WORDS.iter().enumerate() {
            for position in 0..word.len() {
                let mut missing = (*word).to_owned();
                missing.remove(position);
                // Never the wrong word silently: either mended or asked about, unless what is left
                // is itself the unique beginning of, or one slip from, a single other word.
                if let Ok(found) = resolve(&missing) {
                    assert!(
                        found == index
                            || slips(&missing, WORDS[found]) <= 1
                            || WORDS[found].starts_with(&missing)
                    );
                }
            }
        }
    }

    proptest! {
        #[test]
        fn nothing_that_is_typed_panics(text in "\\PC{0,40}") {
            let _ = text.parse::<RoomCode>().map_err(|error| error.explain());
        }

        #[test]
        fn a_written_code_reads_back(number in RoomNumber::MIN..=RoomNumber::MAX, one in 0..WORDS.len(), two in 0..WORDS.len()) {
            let text = format!("{number} {} {}", WORDS[one].to_uppercase(), WORDS[two]);
            let code: RoomCode = text.parse().expect("a code");
            prop_assert_eq!(code.to_string(), format!("{}-{}-{}", number, WORDS[one], WORDS[two]));
        }
    }
}
