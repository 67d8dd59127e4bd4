//! Invitations: a room code, with or without the server that knows its number.
//!
//! `ahoy://example.org/4821#amber-otter` names a server that is reached encrypted (`wss`),
//! `ahoy+ws://192.168.1.5:24642/4821#amber-otter` one that is not (`ws`), such as the one inside a
//! window on the same network. The words stand in the fragment, which programs do not send to
//! servers (RFC 3986 section 3.5), and after them the link's own longer secret:
//! `#amber-otter.k9QzBsL2TzqkN7d0y1XwVg`.

use std::str::FromStr;

use crate::address::{AddressError, ServerAddress};
use crate::link_secret::LinkSecret;
use crate::room_code::{CodeError, CodeWords, RoomCode, RoomNumber};

const SECURE: &str = "ahoy://";
const PLAIN: &str = "ahoy+ws://";
/// Longest text that is searched for a link: a message that somebody pasted whole.
const MAX_TEXT: usize = 4_096;

/// What somebody was given to join a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invite {
    /// The server that knows the number; `None` for a code without a link.
    pub server: Option<ServerAddress>,
    /// The code.
    pub code: RoomCode,
    /// The secret of a link; `None` for a code, and for a link that has lost it.
    pub secret: Option<LinkSecret>,
}

/// What is wrong with an invitation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InviteError {
    /// The code, or the code in the link.
    #[error(transparent)]
    Code(#[from] CodeError),
    /// The server in the link.
    #[error(transparent)]
    Server(#[from] AddressError),
    /// A link that is not one of ours.
    #[error("this link is not an invitation to an Ahoy call")]
    ForeignLink,
}

impl InviteError {
    /// A sentence for the person who typed or pasted it. Not for logs, see [`CodeError::explain`].
    pub fn explain(&self) -> String {
        match self {
            Self::Code(error) => error.explain(),
            Self::Server(error) => format!("In this link, {error}."),
            Self::ForeignLink => "This link is not an invitation to an Ahoy call.".to_owned(),
        }
    }
}

impl Invite {
    /// The link, or `None` when no server is named. It contains the words: for people, not for
    /// logs.
    pub fn link(&self) -> Option<String> {
        let server = self.server.as_ref()?;
        let scheme = if server.is_secure() { SECURE } else { PLAIN };
        let secret = self.secret.map(|secret| format!(".{secret}"));
        Some(format!(
            "{scheme}{}/{}#{}{}",
            server.authority(),
            self.code.number,
            self.code.words,
            secret.unwrap_or_default(),
        ))
    }
}

impl FromStr for Invite {
    type Err = InviteError;

    /// Reads a code or a link, also one that stands in the middle of a message.
    fn from_str(text: &str) -> Result<Self, InviteError> {
        if text.len() > MAX_TEXT {
            return Err(CodeError::TooLong.into());
        }
        if let Some(link) = find(text, PLAIN) {
            return parse_link(false, link);
        }
        if let Some(link) = find(text, SECURE) {
            return parse_link(true, link);
        }
        if text.contains("://") {
            return Err(InviteError::ForeignLink);
        }
        Ok(Self {
            server: None,
            code: text.parse()?,
            secret: None,
        })
    }
}

/// What follows `scheme` up to the next space.
fn find<'a>(text: &'a str, scheme: &str) -> Option<&'a str> {
    let start = text.to_ascii_lowercase().find(scheme)? + scheme.len();
    text[start..].split_whitespace().next().or(Some(""))
}

fn parse_link(secure: bool, rest: &str) -> Result<Invite, InviteError> {
    let (place, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (authority, path) = place.split_once('/').unwrap_or((place, ""));
    let server = ServerAddress::from_authority(secure, authority)?;
    let number = number(path.trim_end_matches('/'))?;
    let (words, secret) = fragment.split_once('.').unwrap_or((fragment, ""));
    // Without the secret, or with what is left of one, the words still let in.
    let secret = secret
        .trim_end_matches(|end: char| !end.is_ascii_alphanumeric() && end != '-' && end != '_')
        .parse()
        .ok();
    let words = words.parse::<CodeWords>().map_err(|error| match error {
        CodeError::Empty => CodeError::WordsMissing { given: 0 },
        other => other,
    })?;
    Ok(Invite {
        server: Some(server),
        code: RoomCode { number, words },
        secret,
    })
}

fn number(path: &str) -> Result<RoomNumber, CodeError> {
    if path.is_empty() {
        return Err(CodeError::NumberMissing);
    }
    if path.starts_with('0') || !path.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(CodeError::NumberOutOfRange);
    }
    RoomNumber::try_from(
        path.parse::<u32>()
            .map_err(|_| CodeError::NumberOutOfRange)?,
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Invite, InviteError> {
        text.parse()
    }

    #[test]
    fn a_link_reads_back() {
        for link in [
            "ahoy://example.org/4821#amber-otter",
            "ahoy://example.org:8443/4821#amber-otter",
            "ahoy+ws://192.168.1.5:24642/48211#amber-otter",
            "ahoy+ws://[fd00::5]:24642/482112#amber-otter",
            "ahoy://example.org/4821#amber-otter.k9QzBsL2TzqkN7d0y1XwVg",
        ] {
            assert_eq!(
                read(link).expect("an invitation").link().as_deref(),
                Some(link)
            );
        }
    }

    #[test]
    fn finds_the_link_in_a_message_in_any_case() {
        let invite =
            read("Join me:  AHOY://Example.org/4821#Amber-OTTER, see you").expect("an invitation");
        assert_eq!(
            invite.link().as_deref(),
            Some("ahoy://example.org/4821#amber-otter")
        );
        let invite = read("<ahoy+ws://10.0.0.2:24642/4821#amber-otter>").expect("an invitation");
        assert_eq!(
            invite.server.expect("a server").to_string(),
            "ws://10.0.0.2:24642"
        );
    }

    #[test]
    fn the_secret_is_read_or_missed() {
        let with = "ahoy://example.org/4821#amber-otter.k9QzBsL2TzqkN7d0y1XwVg";
        for end in ["", ".", ">", ")!", "\"", ","] {
            let invite = read(&format!("{with}{end}")).expect("an invitation");
            assert_eq!(invite.link().as_deref(), Some(with), "{end}");
        }
        for end in ["", ".", ".k9Qz", ".k9QzBsL2TzqkN7d0y1XwVgA", ".!"] {
            let text = format!("ahoy://example.org/4821#amber-otter{end}");
            assert_eq!(read(&text).expect("an invitation").secret, None, "{end}");
        }
    }

    #[test]
    fn a_code_has_no_server() {
        let invite = read(" 4821 amber otter ").expect("an invitation");
        assert_eq!((invite.server.clone(), invite.link()), (None, None));
        assert_eq!(invite.code.to_string(), "4821-amber-otter");
    }

    #[test]
    fn says_what_is_wrong() {
        let code = |error| Err(InviteError::Code(error));
        assert_eq!(
            read("https://example.org/4821#amber-otter"),
            Err(InviteError::ForeignLink)
        );
        assert_eq!(
            read("ahoy://example.org/4821"),
            code(CodeError::WordsMissing { given: 0 })
        );
        assert_eq!(
            read("ahoy://example.org/4821#amber"),
            code(CodeError::WordsMissing { given: 1 })
        );
        assert_eq!(
            read("ahoy://example.org#amber-otter"),
            code(CodeError::NumberMissing)
        );
        assert_eq!(
            read("ahoy://example.org/1#amber-otter"),
            code(CodeError::NumberOutOfRange)
        );
        assert_eq!(
            read("ahoy://example.org/x#amber-otter"),
            code(CodeError::NumberOutOfRange)
        );
        assert_eq!(
            read("ahoy:///4821#amber-otter"),
            Err(InviteError::Server(AddressError::NoHost))
        );
        assert_eq!(
            read("ahoy://"),
            Err(InviteError::Server(AddressError::NoHost))
        );
        assert_eq!(
            read("ahoy://a:0/4821#amber-otter"),
            Err(InviteError::Server(AddressError::BadPort))
        );
        assert_eq!(read(""), code(CodeError::Empty));
    }

    #[test]
    fn debug_output_never_shows_the_words() {
        let invite = read("ahoy://example.org/4821#amber-otter").expect("an invitation");
        let shown = format!("{invite:?}");
        assert!(
            !shown.contains("amber") && !shown.contains("otter"),
            "{shown}"
        );
    }

    proptest! {
        #[test]
        fn nothing_that_is_pasted_panics(text in "(ahoy(\\+ws)?://)?\\PC{0,60}") {
            let _ = read(&text).map_err(|error| error.explain());
        }
    }
}
