//! A random secret as it travels: 32 hexadecimal digits.

use std::fmt;

use rand::Rng;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// 128 random bits that prove something to a server: too many to be tried out.
#[derive(Clone, Copy)]
pub struct Secret(u128);

impl Secret {
    /// A new one; `random` has to be fit for secrets.
    pub fn draw(random: &mut impl Rng) -> Self {
        Self((u128::from(random.next_u64()) << 64) | u128::from(random.next_u64()))
    }
}

/// Compares in a time that does not depend on the contents: all at once.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        std::hint::black_box(self.0 ^ other.0) == 0
    }
}

impl Eq for Secret {}

/// Secrets do not belong in logs.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:032x}", self.0))
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let digits = text.len() == 32
            && text
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let value = digits
            .then(|| u128::from_str_radix(&text, 16).ok())
            .flatten();
        value
            .map(Self)
            .ok_or_else(|| de::Error::custom("not 32 hexadecimal digits"))
    }
}
