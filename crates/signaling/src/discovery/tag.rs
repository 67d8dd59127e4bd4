//! What a server tells the network about its shared rooms: pure, with hostile records in mind.
//!
//! A TXT record (RFC 6763 section 6) of three strings: `txtvers=1`, `hour=495888` and
//! `rooms=0123456789abcdef…`, the [`RoomTag`]s one after the other. Of a code only the number goes
//! in, and only through a tag; the words never do.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::room_code::RoomNumber;

/// Rooms in one record: with 16 characters each and the key they stay within the 255 bytes of one
/// string (RFC 6763 section 6.1). A window has one room, and nobody opens as many windows.
pub const MAX_ROOMS: usize = 15;

/// Version of the record's layout, as RFC 6763 section 6.7 asks for.
const VERSION: &str = "1";
const VERSION_KEY: &str = "txtvers";
const HOUR_KEY: &str = "hour";
const ROOMS_KEY: &str = "rooms";

/// What is authenticated besides the hour, so that a tag is nothing but a tag.
const LABEL: &str = "ahoy room tag 1";

/// Bytes of a tag: enough that two of 999,000 rooms never share one by chance.
const TAG_BYTES: usize = 8;
/// Hexadecimal characters of a tag.
const TAG_CHARACTERS: usize = 2 * TAG_BYTES;

const SECONDS_PER_HOUR: u64 = Duration::from_secs(3_600).as_secs();

/// Hours since 1970-01-01 00:00 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hour(u32);

impl Hour {
    /// The hour that `time` is in. A clock that stands before 1970 or beyond all years gives the
    /// first or the last one: what matters is only that it changes.
    pub fn of(time: SystemTime) -> Self {
        let seconds = time
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        Self(u32::try_from(seconds / SECONDS_PER_HOUR).unwrap_or(u32::MAX))
    }
}

/// Stands for a room number during an hour: the first 8 bytes of
/// HMAC-SHA-256(key = number, "ahoy room tag 1 " + hour), both in decimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RoomTag(u64);

impl RoomTag {
    /// The tag of `number` in `hour`.
    pub fn new(number: RoomNumber, hour: Hour) -> Self {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(number.to_string().as_bytes())
            .expect("HMAC takes keys of any length");
        mac.update(format!("{LABEL} {}", hour.0).as_bytes());
        let mut first = [0; TAG_BYTES];
        first.copy_from_slice(&mac.finalize().into_bytes()[..TAG_BYTES]);
        Self(u64::from_be_bytes(first))
    }

    fn parse(text: &[u8]) -> Option<Self> {
        if !text.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let text = std::str::from_utf8(text).ok()?;
        u64::from_str_radix(text, 16).ok().map(Self)
    }
}

impl fmt::Display for RoomTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:0TAG_CHARACTERS$x}", self.0)
    }
}

/// The number can be guessed back from a tag, so it is no more for logs than the number itself.
impl fmt::Debug for RoomTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RoomTag(hidden)")
    }
}

/// The rooms of one server as they stand in its TXT record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advert {
    hour: Hour,
    tags: Vec<RoomTag>,
}

impl Advert {
    /// `rooms` in `hour`; those beyond [`MAX_ROOMS`] are left out.
    pub fn new(rooms: impl IntoIterator<Item = RoomNumber>, hour: Hour) -> Self {
        let rooms = rooms.into_iter().take(MAX_ROOMS);
        Self {
            hour,
            tags: rooms.map(|number| RoomTag::new(number, hour)).collect(),
        }
    }

    /// Keys and values of the record.
    pub fn properties(&self) -> [(&'static str, String); 3] {
        [
            (VERSION_KEY, VERSION.to_owned()),
            (HOUR_KEY, self.hour.0.to_string()),
            (
                ROOMS_KEY,
                self.tags.iter().map(RoomTag::to_string).collect(),
            ),
        ]
    }

    /// Reads a record whose values `value` looks up by key. `None` for what is no record of ours:
    /// a key is missing, the layout is another, something is no number or not whole.
    pub fn parse<'a>(value: impl Fn(&str) -> Option<&'a [u8]>) -> Option<Self> {
        if value(VERSION_KEY)? != VERSION.as_bytes() {
            return None;
        }
        let hour = value(HOUR_KEY)?;
        if !hour.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let hour = Hour(std::str::from_utf8(hour).ok()?.parse().ok()?);
        let rooms = value(ROOMS_KEY)?;
        if rooms.len() > MAX_ROOMS * TAG_CHARACTERS || !rooms.len().is_multiple_of(TAG_CHARACTERS) {
            return None;
        }
        let tags = rooms
            .chunks_exact(TAG_CHARACTERS)
            .map(RoomTag::parse)
            .collect::<Option<Vec<_>>>()?;
        Some(Self { hour, tags })
    }

    /// Whether the server says that it has this room. The hour is the one that the record names:
    /// see "Why" in `docs/signaling-protocol.md`.
    pub fn claims(&self, number: RoomNumber) -> bool {
        self.tags.contains(&RoomTag::new(number, self.hour))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(number: u32) -> RoomNumber {
        RoomNumber::new(number).expect("in range")
    }

    fn read(properties: &[(&str, String)]) -> Option<Advert> {
        Advert::parse(|key| {
            let (_, value) = properties.iter().find(|(name, _)| *name == key)?;
            Some(value.as_bytes())
        })
    }

    fn record(version: &str, hour: &str, rooms: &str) -> Option<Advert> {
        read(&[
            (VERSION_KEY, version.to_owned()),
            (HOUR_KEY, hour.to_owned()),
            (ROOMS_KEY, rooms.to_owned()),
        ])
    }

    /// Calculated with OpenSSL:
    /// `printf 'ahoy room tag 1 495888' | openssl dgst -sha256 -hmac 4821`
    #[test]
    fn a_tag_is_what_the_documentation_says() {
        let tag = RoomTag::new(number(4_821), Hour(495_888));
        assert_eq!(tag.to_string(), "057119939070c116");
        assert!(!format!("{tag:?}").contains("057119939070c116"));
    }

    #[test]
    fn tags_change_with_the_number_and_with_the_hour() {
        let hour = Hour(495_888);
        let tag = RoomTag::new(number(4_821), hour);
        assert_ne!(tag, RoomTag::new(number(4_822), hour));
        assert_ne!(tag, RoomTag::new(number(4_821), Hour(495_889)));
    }

    #[test]
    fn a_record_of_the_hour_before_still_leads_to_its_room() {
        let before = Hour::of(UNIX_EPOCH + Duration::from_secs(3_600 * 495_888 - 1));
        let now = Hour::of(UNIX_EPOCH + Duration::from_secs(3_600 * 495_888));
        assert_eq!((before, now), (Hour(495_887), Hour(495_888)));
        for hour in [before, now] {
            let advert = read(&Advert::new([number(4_821)], hour).properties()).expect("ours");
            assert!(advert.claims(number(4_821)) && !advert.claims(number(4_822)));
        }
    }

    #[test]
    fn clocks_far_off_are_hours_too() {
        let early = UNIX_EPOCH - Duration::from_secs(86_400 * 365 * 30);
        let late = UNIX_EPOCH + Duration::from_secs(u64::from(u32::MAX) * 3_600 * 2);
        for time in [early, late] {
            let advert = Advert::new([number(4_821)], Hour::of(time));
            let read = read(&advert.properties()).expect("ours");
            assert!(read.claims(number(4_821)));
        }
    }

    #[test]
    fn no_more_rooms_than_fit_are_announced() {
        let rooms = (1_000..2_000).map(number);
        let advert = Advert::new(rooms, Hour(1));
        for (key, value) in advert.properties() {
            assert!(key.len() + 1 + value.len() <= 255, "{key}");
        }
        assert_eq!(read(&advert.properties()), Some(advert.clone()));
        assert!(advert.claims(number(1_014)) && !advert.claims(number(1_015)));
    }

    #[test]
    fn what_is_no_record_of_ours_is_none() {
        let tag = RoomTag::new(number(4_821), Hour(7)).to_string();
        assert!(record("1", "7", &tag).is_some_and(|advert| advert.claims(number(4_821))));
        assert!(record("1", "7", &tag.to_uppercase()).is_some());
        assert!(record("1", "7", "").is_some_and(|advert| !advert.claims(number(4_821))));
        for (version, hour, rooms) in [
            ("2", "7", tag.as_str()),
            ("", "7", &tag),
            ("1", "", &tag),
            ("1", "-7", &tag),
            ("1", "+7", &tag),
            ("1", "7.0", &tag),
            ("1", "4294967296", &tag),
            ("1", "7", &tag[1..]),
            ("1", "7", &format!("{tag}0")),
            ("1", "7", "+123456789abcdef"),
            ("1", "7", "0123456789abcdeg"),
            ("1", "7", &tag.repeat(MAX_ROOMS + 1)),
        ] {
            assert_eq!(
                record(version, hour, rooms),
                None,
                "{version} {hour} {rooms}"
            );
        }
        assert_eq!(Advert::parse(|_| None), None);
    }

    proptest! {
        #[test]
        fn every_room_that_goes_in_comes_out(
            rooms in proptest::collection::vec(RoomNumber::MIN..=RoomNumber::MAX, 0..=MAX_ROOMS),
            hour in any::<u32>(),
        ) {
            let rooms: Vec<_> = rooms.into_iter().map(number).collect();
            let advert = Advert::new(rooms.iter().copied(), Hour(hour));
            let read = read(&advert.properties()).expect("ours");
            prop_assert!(rooms.iter().all(|room| read.claims(*room)));
        }

        #[test]
        fn nothing_in_a_record_panics_or_is_unbounded(
            version in proptest::collection::vec(any::<u8>(), 0..4),
            hour in proptest::collection::vec(any::<u8>(), 0..14),
            rooms in proptest::collection::vec(any::<u8>(), 0..300),
            ours in any::<bool>(),
            wanted in RoomNumber::MIN..=RoomNumber::MAX,
        ) {
            let advert = Advert::parse(|key| match key {
                VERSION_KEY if ours => Some(VERSION.as_bytes()),
                VERSION_KEY => Some(&version),
                HOUR_KEY => Some(&hour),
                ROOMS_KEY => Some(&rooms),
                _ => None,
            });
            if let Some(advert) = advert {
                prop_assert!(advert.tags.len() <= MAX_ROOMS);
                let _ = advert.claims(number(wanted));
            }
        }

        #[test]
        fn hexadecimal_digits_of_the_right_length_are_always_tags(
            tags in proptest::collection::vec(any::<u64>(), 0..=MAX_ROOMS),
        ) {
            let text: String = tags.iter().map(|tag| RoomTag(*tag).to_string()).collect();
            let advert = record("1", "5", &text).expect("ours");
            prop_assert_eq!(advert.tags, tags.into_iter().map(RoomTag).collect::<Vec<_>>());
        }
    }
}
