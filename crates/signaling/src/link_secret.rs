//! The secret of an invite link: longer than words can be, since nobody has to say it.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRng;
use rand::rngs::SysRng;

/// 128 bits, which nobody guesses.
pub const LINK_SECRET_LENGTH: usize = 16;

/// Stands in the fragment of a link, and lets in as the words do. `Display` writes 22 characters of
/// base64url for people to paste; `Debug`, and with it every log, does not.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct LinkSecret([u8; LINK_SECRET_LENGTH]);

impl LinkSecret {
    /// One from the system's random numbers.
    ///
    /// # Panics
    ///
    /// If the operating system has no random numbers, without which nothing here is safe to do.
    pub fn random() -> Self {
        let mut bytes = [0; LINK_SECRET_LENGTH];
        SysRng
            .try_fill_bytes(&mut bytes)
            .expect("the system has random numbers");
        Self(bytes)
    }

    /// Its bytes.
    pub const fn bytes(&self) -> &[u8; LINK_SECRET_LENGTH] {
        &self.0
    }
}

/// The text is no secret of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not the secret of a link")]
pub struct NotALinkSecret;

impl FromStr for LinkSecret {
    type Err = NotALinkSecret;

    fn from_str(text: &str) -> Result<Self, NotALinkSecret> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| NotALinkSecret)?;
        bytes.try_into().map(Self).map_err(|_| NotALinkSecret)
    }
}

impl fmt::Display for LinkSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for LinkSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkSecret(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_read_back_and_differ() {
        let secret = LinkSecret::random();
        assert_eq!(secret.to_string().len(), 22);
        assert_eq!(secret.to_string().parse(), Ok(secret));
        assert_ne!(secret, LinkSecret::random());
        assert_eq!(format!("{secret:?}"), "LinkSecret(hidden)");
    }

    #[test]
    fn other_lengths_and_characters_are_none() {
        for text in [
            "",
            "AQ",
            &"A".repeat(21),
            &"A".repeat(23),
            "+AAAAAAAAAAAAAAAAAAAAA",
        ] {
            assert_eq!(text.parse::<LinkSecret>(), Err(NotALinkSecret), "{text}");
        }
    }
}
