//! What is wrong with a code while it is being typed.

use ahoy_signaling::invite::{Invite, InviteError};
use ahoy_signaling::room_code::CodeError;
use serde::Serialize;

/// The judgement on a code or an invite link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, specta::Type)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CodeCheck {
    /// It can be joined with.
    pub(crate) ok: bool,
    /// `4821-amber-otter`; empty unless `ok`.
    pub(crate) normalized: String,
    /// Why not `ok`.
    pub(crate) problem: Option<CodeProblem>,
    /// It names the server that knows the room.
    pub(crate) has_server: bool,
}

/// What is wrong, and with which word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, specta::Type)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CodeProblem {
    /// What.
    pub(crate) kind: CodeProblemKind,
    /// The word or character that does not belong there, as typed in lower case.
    pub(crate) word: Option<String>,
    /// The word that may have been meant.
    pub(crate) nearest: Option<String>,
}

/// What can be wrong. The interface has a sentence for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, specta::Type)]
#[serde(rename_all = "camelCase")]
pub(crate) enum CodeProblemKind {
    /// Nothing was typed.
    Empty,
    /// Far longer than any code.
    TooLong,
    /// Words but no number.
    NumberMissing,
    /// The number does not have four to six digits.
    NumberOutOfRange,
    /// Digits in two places.
    NumberTwice,
    /// Fewer than two words.
    WordsMissing,
    /// More than two words.
    TooManyWords,
    /// A word that no code has.
    UnknownWord,
    /// A character that no code has.
    UnexpectedCharacter,
    /// The server in the link is no address.
    BadServer,
    /// A link, but not one of ours.
    ForeignLink,
}

/// Judges what was typed or pasted.
pub(crate) fn check(text: &str) -> CodeCheck {
    match text.parse::<Invite>() {
        Ok(invite) => CodeCheck {
            ok: true,
            normalized: invite.code.to_string(),
            problem: None,
            has_server: invite.server.is_some(),
        },
        Err(error) => CodeCheck {
            ok: false,
            normalized: String::new(),
            problem: Some(problem(error)),
            has_server: false,
        },
    }
}

fn problem(error: InviteError) -> CodeProblem {
    let of = |kind| CodeProblem {
        kind,
        word: None,
        nearest: None,
    };
    match error {
        InviteError::Server(_) => of(CodeProblemKind::BadServer),
        InviteError::ForeignLink => of(CodeProblemKind::ForeignLink),
        InviteError::Code(error) => match error {
            CodeError::Empty => of(CodeProblemKind::Empty),
            CodeError::TooLong => of(CodeProblemKind::TooLong),
            CodeError::NumberMissing => of(CodeProblemKind::NumberMissing),
            CodeError::NumberOutOfRange => of(CodeProblemKind::NumberOutOfRange),
            CodeError::NumberTwice => of(CodeProblemKind::NumberTwice),
            CodeError::WordsMissing { .. } => of(CodeProblemKind::WordsMissing),
            CodeError::TooManyWords => of(CodeProblemKind::TooManyWords),
            CodeError::UnknownWord { word, nearest, .. } => CodeProblem {
                kind: CodeProblemKind::UnknownWord,
                word: Some(word),
                nearest,
            },
            CodeError::UnexpectedCharacter { character } => CodeProblem {
                kind: CodeProblemKind::UnexpectedCharacter,
                word: Some(character.to_string()),
                nearest: None,
            },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_good_in_any_case_and_with_or_without_a_server() {
        let code = check(" 4821 Amber OTTER ");
        assert!(code.ok && !code.has_server);
        assert_eq!(code.normalized, "4821-amber-otter");
        let link = check("ahoy://example.org/4821#amber-otter");
        assert!(link.ok && link.has_server);
        assert_eq!(link.normalized, "4821-amber-otter");
    }

    #[test]
    fn a_wrong_word_is_named_with_the_one_that_was_meant() {
        let problem = check("4821-amber-otxxr").problem.expect("wrong");
        assert_eq!(problem.kind, CodeProblemKind::UnknownWord);
        assert_eq!(problem.word.as_deref(), Some("otxxr"));
        assert_eq!(problem.nearest.as_deref(), Some("otter"));
    }

    #[test]
    fn each_mistake_has_its_kind() {
        for (text, kind) in [
            ("", CodeProblemKind::Empty),
            ("amber-otter", CodeProblemKind::NumberMissing),
            ("4821-amber", CodeProblemKind::WordsMissing),
            ("https://example.org/4821", CodeProblemKind::ForeignLink),
            ("ahoy://:0/4821#amber-otter", CodeProblemKind::BadServer),
        ] {
            assert_eq!(check(text).problem.expect("wrong").kind, kind, "{text}");
        }
    }
}
