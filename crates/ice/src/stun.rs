//! The few things that are read from TURN messages in passing: which kind, and how it ended.

/// `STUN_MAGIC` of RFC 8489 section 6.
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const HEADER: usize = 20;

const ALLOCATE_REQUEST: u16 = 0x0003;
const ALLOCATE_SUCCESS: u16 = 0x0103;
const ALLOCATE_ERROR: u16 = 0x0113;

const USERNAME: u16 = 0x0006;
const ERROR_CODE: u16 = 0x0009;

/// A message about an allocation (RFC 8656 section 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allocate {
    pub(crate) kind: Kind,
    /// Pairs an answer with its request.
    pub(crate) transaction: [u8; 12],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Ours; whether it names a user. The first does not (RFC 8489 section 9.2.3.1).
    Request { authenticated: bool },
    /// There is a relayed address.
    Success,
    /// Refused with this code.
    Error { code: u16 },
}

/// Reads a message about an allocation; `None` for everything else.
pub(crate) fn allocate(datagram: &[u8]) -> Option<Allocate> {
    let kind = u16::from_be_bytes([*datagram.first()?, *datagram.get(1)?]);
    if !matches!(kind, ALLOCATE_REQUEST | ALLOCATE_SUCCESS | ALLOCATE_ERROR)
        || datagram.get(4..8)? != MAGIC_COOKIE
    {
        return None;
    }
    let transaction = datagram.get(8..HEADER)?.try_into().ok()?;
    let kind = match kind {
        ALLOCATE_REQUEST => Kind::Request {
            authenticated: attribute(datagram, USERNAME).is_some(),
        },
        ALLOCATE_SUCCESS => Kind::Success,
        _ => {
            // RFC 8489 section 14.8: class and number in the third and fourth byte.
            let &[_, _, class, number, ..] = attribute(datagram, ERROR_CODE)? else {
                return None;
            };
            let code = u16::from(class & 0x07) * 100 + u16::from(number % 100);
            Kind::Error { code }
        }
    };
    Some(Allocate { kind, transaction })
}

/// The value of the first attribute of a kind.
fn attribute(message: &[u8], wanted: u16) -> Option<&[u8]> {
    let mut rest = message.get(HEADER..)?;
    loop {
        let &[kind_high, kind_low, high, low, ..] = rest else {
            return None;
        };
        let bytes = usize::from(u16::from_be_bytes([high, low]));
        let value = rest.get(4..4 + bytes)?;
        if u16::from_be_bytes([kind_high, kind_low]) == wanted {
            return Some(value);
        }
        rest = rest.get(4 + bytes.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rtc::stun::attributes::ATTR_USERNAME;
    use rtc::stun::error_code::{CODE_UNAUTHORIZED, ErrorCodeAttribute};
    use rtc::stun::message::{CLASS_ERROR_RESPONSE, CLASS_REQUEST, METHOD_ALLOCATE, Message};
    use rtc::stun::message::{MessageType, Setter, TransactionId};
    use rtc::stun::textattrs::TextAttribute;

    use super::*;

    fn message(class: rtc::stun::message::MessageClass, parts: Vec<Box<dyn Setter>>) -> Vec<u8> {
        let mut setters: Vec<Box<dyn Setter>> = vec![
            Box::<TransactionId>::default(),
            Box::new(MessageType::new(METHOD_ALLOCATE, class)),
        ];
        setters.extend(parts);
        let mut message = Message::new();
        message.build(&setters).expect("built");
        message.raw
    }

    fn kind(datagram: &[u8]) -> Option<Kind> {
        allocate(datagram).map(|message| message.kind)
    }

    #[test]
    fn requests_and_answers_are_told_apart() {
        assert_eq!(
            kind(&message(CLASS_REQUEST, vec![])),
            Some(Kind::Request {
                authenticated: false
            })
        );
        let user = TextAttribute::new(ATTR_USERNAME, "lab".to_owned());
        assert_eq!(
            kind(&message(CLASS_REQUEST, vec![Box::new(user)])),
            Some(Kind::Request {
                authenticated: true
            })
        );
        let error = ErrorCodeAttribute {
            code: CODE_UNAUTHORIZED,
            reason: b"Unauthorized".to_vec(),
        };
        assert_eq!(
            kind(&message(CLASS_ERROR_RESPONSE, vec![Box::new(error)])),
            Some(Kind::Error { code: 401 })
        );
        assert_eq!(allocate(&[0x40, 0, 0, 4, 1, 2, 3, 4]), None);
    }

    proptest! {
        #[test]
        fn nothing_panics(mut bytes in prop::collection::vec(any::<u8>(), 0..120), kind in 0_usize..3) {
            let _ = allocate(&bytes);
            if bytes.len() >= 8 {
                bytes[..2].copy_from_slice(&[[0, 3], [1, 3], [1, 0x13]][kind]);
                bytes[4..8].copy_from_slice(&MAGIC_COOKIE);
                let _ = allocate(&bytes);
            }
        }
    }
}
