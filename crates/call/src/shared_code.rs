//! The code under which others get in, as all inside agree on it. Pure.

use ahoy_sealing::{Secret, SecretKind, Secrets};
use ahoy_signaling::link_secret::LinkSecret;
use ahoy_signaling::room_code::CodeWords;

use crate::status::PeerMessage;

/// Words and link secret of our room.
///
/// New words count up the generation. Of two codes of one generation (two people asked at once) the
/// words that come first in the alphabet count, so that all end with the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharedCode {
    /// 0: as we were invited, and not yet heard from anybody inside.
    generation: u32,
    words: CodeWords,
    link: Option<LinkSecret>,
}

impl SharedCode {
    /// The first code of a room.
    pub fn first() -> Self {
        Self {
            generation: 1,
            words: CodeWords::random(),
            link: Some(LinkSecret::random()),
        }
    }

    /// As we were invited.
    pub const fn invited(words: CodeWords, link: Option<LinkSecret>) -> Self {
        Self {
            generation: 0,
            words,
            link,
        }
    }

    /// New words. The link's secret stays: nobody has guessed it, and links that were sent go on to
    /// let in.
    pub fn renewed(&self) -> Self {
        Self {
            generation: self.generation.saturating_add(1),
            words: CodeWords::random(),
            link: self.link.or_else(|| Some(LinkSecret::random())),
        }
    }

    /// The words.
    pub const fn words(&self) -> CodeWords {
        self.words
    }

    /// The secret of the link, if it is known.
    pub const fn link(&self) -> Option<LinkSecret> {
        self.link
    }

    /// What it lets in with.
    pub fn secrets(&self) -> Secrets {
        let words = self.words.to_string().into_bytes();
        let link = self.link.map(|link| link.bytes().to_vec());
        Secrets {
            words: Some(Secret::new(SecretKind::Words, words)),
            link: link.map(|bytes| Secret::new(SecretKind::Link, bytes)),
        }
    }

    /// For those inside; `None` before we know more than they.
    pub fn message(&self) -> Option<PeerMessage> {
        let link = self.link.filter(|_| self.generation > 0)?;
        Some(PeerMessage::Code {
            generation: self.generation,
            words: self.words.to_string(),
            link: link.to_string(),
        })
    }

    /// Tells those inside that these words are retired.
    pub const fn retired(&self) -> PeerMessage {
        PeerMessage::CodeRetired {
            generation: self.generation,
        }
    }

    /// Whether these words are of this generation.
    pub const fn is(&self, generation: u32) -> bool {
        self.generation == generation
    }

    /// The code that counts after somebody inside has told theirs; `None` when that is ours, or
    /// when theirs cannot be read.
    pub fn told(&self, generation: u32, words: &str, link: &str) -> Option<Self> {
        let theirs = Self {
            generation,
            words: words.parse().ok()?,
            link: Some(link.parse().ok()?),
        };
        let newer = theirs.generation > self.generation;
        let earlier = theirs.generation == self.generation
            && theirs.words.to_string() < self.words.to_string();
        (newer || earlier).then_some(theirs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tell(to: &SharedCode, from: &SharedCode) -> Option<SharedCode> {
        match from.message() {
            Some(PeerMessage::Code {
                generation,
                words,
                link,
            }) => to.told(generation, &words, &link),
            _ => None,
        }
    }

    #[test]
    fn who_comes_in_learns_what_those_inside_know() {
        let inside = SharedCode::first();
        let invited = SharedCode::invited(inside.words(), None);
        assert_eq!(tell(&invited, &inside), Some(inside));
        assert_eq!(tell(&inside, &invited), None, "nothing to tell");
        assert_eq!(tell(&inside, &inside), None, "no news");
    }

    #[test]
    fn new_words_keep_the_link_and_replace_old_ones() {
        let old = SharedCode::first();
        let new = old.renewed();
        assert_eq!(new.link(), old.link());
        assert_eq!(tell(&old, &new), Some(new));
        assert_eq!(tell(&new, &old), None);
        assert!(old.is(1) && new.is(2) && !new.is(1));
    }

    #[test]
    fn two_who_renew_at_once_end_with_the_same() {
        let old = SharedCode::first();
        let (one, other) = (old.renewed(), old.renewed());
        let ones = tell(&one, &other).unwrap_or(one);
        let others = tell(&other, &one).unwrap_or(other);
        assert_eq!(ones, others);
    }

    #[test]
    fn what_cannot_be_read_changes_nothing() {
        let code = SharedCode::first();
        let link = LinkSecret::random().to_string();
        assert_eq!(code.told(9, "no such-word", &link), None);
        assert_eq!(code.told(9, "amber-otter", "short"), None);
    }
}
