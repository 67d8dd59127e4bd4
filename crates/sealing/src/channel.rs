//! Sealed frames between two verified participants: XChaCha20-Poly1305, one key per direction, a
//! counter as the nonce. What comes out on the other side is what went in, in order and once.

use std::collections::BTreeMap;
use std::fmt;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};

use crate::VERSION;
use crate::handshake::{Context, KIND_SEALED};

/// Longest frame in bytes; with base64url and its envelope a frame is 61,440 characters and fits
/// into a signaling message of 64 KiB.
pub const MAX_FRAME: usize = 46_080;

/// Longest content of a frame in bytes. The longest session description that is accepted has 32 KiB.
pub const MAX_PLAINTEXT: usize = MAX_FRAME - HEADER - TAG;

/// Frames that are held because one before them is missing. The way through a server keeps the
/// order, so that there are none in an honest exchange.
pub const MAX_EARLY: usize = 32;

/// Version, kind, epoch, sequence number.
const HEADER: usize = 1 + 1 + 4 + 8;
/// Poly1305 (RFC 8439).
const TAG: usize = 16;
/// Header, room, sender, receiver.
const ASSOCIATED: usize = HEADER + 3 * 4;

/// Why a frame was not sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Longer than [`MAX_PLAINTEXT`].
    #[error("the message is longer than {MAX_PLAINTEXT} bytes")]
    TooLong,
    /// As many frames were sealed as there are numbers for.
    #[error("the keys of this channel are used up")]
    Exhausted,
}

/// Why a frame was not opened. None of these changes the channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Shorter than any frame, longer than [`MAX_FRAME`], or of another kind.
    #[error("this is no sealed frame")]
    Malformed,
    /// Of a version that is unknown here.
    #[error("the frame has another version")]
    WrongVersion,
    /// Sealed before the keys were renewed.
    #[error("the frame belongs to an earlier exchange of keys")]
    OldEpoch,
    /// Sealed with keys that are not there yet.
    #[error("the frame belongs to a later exchange of keys")]
    UnknownEpoch,
    /// Too many before it are missing.
    #[error("more than {MAX_EARLY} frames before this one are missing")]
    TooEarly,
    /// Changed on the way, or not sealed by the other side for us.
    #[error("the frame has been changed on the way")]
    Tampered,
}

/// Both directions between two participants. `Debug` shows no key.
pub struct Channel {
    context: Context,
    sealing: XChaCha20Poly1305,
    /// Number of the next frame that is sealed, from 1.
    next_sent: u64,
    opening: XChaCha20Poly1305,
    /// Number of the next frame that is given out.
    next_received: u64,
    early: BTreeMap<u64, Vec<u8>>,
    repeats: u64,
}

impl Channel {
    pub(crate) fn new(context: Context, sealing: &[u8; 32], opening: &[u8; 32]) -> Self {
        Self {
            context,
            sealing: XChaCha20Poly1305::new(sealing.into()),
            next_sent: 1,
            opening: XChaCha20Poly1305::new(opening.into()),
            next_received: 1,
            early: BTreeMap::new(),
            repeats: 0,
        }
    }

    /// Who talks with whom.
    pub const fn context(&self) -> &Context {
        &self.context
    }

    /// Frames that came more than once and were left out.
    pub const fn repeats(&self) -> u64 {
        self.repeats
    }

    /// Seals `plaintext` for the other side.
    ///
    /// # Errors
    ///
    /// [`SealError`]
    pub fn seal(&mut self, plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
        if plaintext.len() > MAX_PLAINTEXT {
            return Err(SealError::TooLong);
        }
        let sequence = self.next_sent;
        let next = sequence.checked_add(1).ok_or(SealError::Exhausted)?;
        let Context {
            own, other, epoch, ..
        } = self.context;
        let associated = self.associated(own, other, sequence);
        let payload = Payload {
            msg: plaintext,
            aad: &associated,
        };
        let sealed = self
            .sealing
            .encrypt(&nonce(epoch, sequence), payload)
            .map_err(|_| SealError::TooLong)?;
        self.next_sent = next;
        let mut frame = Vec::with_capacity(HEADER + sealed.len());
        frame.extend_from_slice(&associated[..HEADER]);
        frame.extend_from_slice(&sealed);
        Ok(frame)
    }

    /// Opens a frame of the other side. What comes out is in order: nothing when one before it is
    /// missing or when it came already, several when it was the missing one.
    ///
    /// # Errors
    ///
    /// [`OpenError`]
    pub fn open(&mut self, frame: &[u8]) -> Result<Vec<Vec<u8>>, OpenError> {
        if frame.len() > MAX_FRAME {
            return Err(OpenError::Malformed);
        }
        let (header, sealed) = frame.split_at_checked(HEADER).ok_or(OpenError::Malformed)?;
        if header[0] != VERSION {
            return Err(OpenError::WrongVersion);
        }
        if header[1] != KIND_SEALED || sealed.len() < TAG {
            return Err(OpenError::Malformed);
        }
        let epoch = u32::from_be_bytes(array(&header[2..6]));
        let sequence = u64::from_be_bytes(array(&header[6..]));
        match epoch.cmp(&self.context.epoch) {
            std::cmp::Ordering::Less => return Err(OpenError::OldEpoch),
            std::cmp::Ordering::Greater => return Err(OpenError::UnknownEpoch),
            std::cmp::Ordering::Equal => {}
        }
        if sequence < self.next_received || self.early.contains_key(&sequence) {
            self.repeats = self.repeats.saturating_add(1);
            return Ok(Vec::new());
        }
        if sequence - self.next_received > MAX_EARLY as u64 {
            return Err(OpenError::TooEarly);
        }
        let payload = Payload {
            msg: sealed,
            aad: &self.associated(self.context.other, self.context.own, sequence),
        };
        // Opened before it is held, so that only the other side can fill the memory.
        let plaintext = self
            .opening
            .decrypt(&nonce(epoch, sequence), payload)
            .map_err(|_| OpenError::Tampered)?;
        self.early.insert(sequence, plaintext);
        let mut in_order = Vec::new();
        while let Some(plaintext) = self.early.remove(&self.next_received) {
            in_order.push(plaintext);
            self.next_received += 1;
        }
        Ok(in_order)
    }

    /// What is sealed along with a frame: its header, and what both sides know already.
    fn associated(&self, from: u32, to: u32, sequence: u64) -> [u8; ASSOCIATED] {
        let mut bytes = [0; ASSOCIATED];
        bytes[0] = VERSION;
        bytes[1] = KIND_SEALED;
        bytes[2..6].copy_from_slice(&self.context.epoch.to_be_bytes());
        bytes[6..14].copy_from_slice(&sequence.to_be_bytes());
        bytes[14..18].copy_from_slice(&self.context.room.to_be_bytes());
        bytes[18..22].copy_from_slice(&from.to_be_bytes());
        bytes[22..].copy_from_slice(&to.to_be_bytes());
        bytes
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("next_sent", &self.next_sent)
            .field("next_received", &self.next_received)
            .field("early", &self.early.len())
            .finish_non_exhaustive()
    }
}

/// Never used twice: each direction of each run has its own key, and the number goes up.
fn nonce(epoch: u32, sequence: u64) -> XNonce {
    let mut nonce = XNonce::default();
    nonce[12..16].copy_from_slice(&epoch.to_be_bytes());
    nonce[16..].copy_from_slice(&sequence.to_be_bytes());
    nonce
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    array
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::handshake::Role;

    fn pair() -> (Channel, Channel) {
        let joiner = Context {
            role: Role::Joiner,
            room: 4_821,
            own: 2,
            other: 1,
            epoch: 3,
        };
        let member = Context {
            role: Role::Member,
            own: 1,
            other: 2,
            ..joiner
        };
        let (one, two) = ([1; 32], [2; 32]);
        (
            Channel::new(joiner, &one, &two),
            Channel::new(member, &two, &one),
        )
    }

    #[test]
    fn both_directions_carry_messages() {
        let (mut ann, mut ben) = pair();
        for text in [b"one".as_slice(), b"", &[7; MAX_PLAINTEXT]] {
            let frame = ann.seal(text).expect("short enough");
            assert!(frame.len() <= MAX_FRAME);
            assert_eq!(ben.open(&frame), Ok(vec![text.to_vec()]));
            let frame = ben.seal(text).expect("short enough");
            assert_eq!(ann.open(&frame), Ok(vec![text.to_vec()]));
        }
        assert_eq!(ann.seal(&[0; MAX_PLAINTEXT + 1]), Err(SealError::TooLong));
    }

    #[test]
    fn repeats_are_counted_and_left_out() {
        let (mut ann, mut ben) = pair();
        let frames: Vec<_> = (0..3).map(|n| ann.seal(&[n]).expect("sealed")).collect();
        assert_eq!(ben.open(&frames[0]), Ok(vec![vec![0]]));
        assert_eq!(ben.open(&frames[0]), Ok(vec![]));
        assert_eq!(ben.open(&frames[2]), Ok(vec![]));
        assert_eq!(ben.open(&frames[2]), Ok(vec![]));
        assert_eq!(ben.open(&frames[1]), Ok(vec![vec![1], vec![2]]));
        assert_eq!(ben.repeats(), 2);
    }

    #[test]
    fn holds_thirty_two_early_frames_and_no_more() {
        let (mut ann, mut ben) = pair();
        let frames: Vec<_> = (0..40).map(|n| ann.seal(&[n]).expect("sealed")).collect();
        for frame in &frames[1..=MAX_EARLY] {
            assert_eq!(ben.open(frame), Ok(vec![]));
        }
        assert_eq!(ben.open(&frames[MAX_EARLY + 1]), Err(OpenError::TooEarly));
        let all = ben.open(&frames[0]).expect("the missing one");
        assert_eq!(all.len(), MAX_EARLY + 1);
        assert!(all.iter().enumerate().all(|(at, text)| text == &[at as u8]));
    }

    #[test]
    fn every_changed_bit_is_noticed_and_changes_nothing() {
        let (mut ann, mut ben) = pair();
        let frame = ann.seal(b"hello").expect("sealed");
        for bit in 0..frame.len() * 8 {
            let mut changed = frame.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            // A lower sequence number looks like a repeat.
            assert!(!matches!(ben.open(&changed), Ok(texts) if !texts.is_empty()));
        }
        assert_eq!(ben.open(&frame), Ok(vec![b"hello".to_vec()]));
    }

    #[test]
    fn frames_of_others_are_refused() {
        let (mut ann, mut ben) = pair();
        let own = ann.seal(b"to Ben").expect("sealed");
        assert_eq!(ann.open(&own), Err(OpenError::Tampered), "reflected");
        for change in [
            |context: &mut Context| context.room += 1,
            |context: &mut Context| context.own += 1,
            |context: &mut Context| context.other += 1,
        ] {
            let (mut other, _) = pair();
            change(&mut other.context);
            let frame = other.seal(b"to Ben").expect("sealed");
            assert_eq!(ben.open(&frame), Err(OpenError::Tampered));
        }
        for (epoch, error) in [(2, OpenError::OldEpoch), (4, OpenError::UnknownEpoch)] {
            let (mut other, _) = pair();
            other.context.epoch = epoch;
            let frame = other.seal(b"to Ben").expect("sealed");
            assert_eq!(ben.open(&frame), Err(error));
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let (_, mut ben) = pair();
        for bytes in [&[][..], &[1, 4], &[1; HEADER + TAG], &[1; MAX_FRAME + 1]] {
            assert_eq!(ben.open(bytes), Err(OpenError::Malformed));
        }
        assert_eq!(ben.open(&[9; 40]), Err(OpenError::WrongVersion));
    }

    #[test]
    fn debug_output_shows_no_key() {
        let (ann, _) = pair();
        assert_eq!(
            format!("{ann:?}"),
            "Channel { next_sent: 1, next_received: 1, early: 0, .. }"
        );
    }

    proptest! {
        /// However a server repeats and reorders within the window: each once and in order.
        #[test]
        fn comes_out_once_and_in_order(order in Just((0..30_u8).collect::<Vec<_>>()).prop_shuffle(),
                                       repeats in proptest::collection::vec(0..30_usize, 0..20)) {
            let (mut ann, mut ben) = pair();
            let frames: Vec<_> = (0..30).map(|n| ann.seal(&[n]).expect("sealed")).collect();
            let mut got = Vec::new();
            for (at, number) in order.iter().enumerate() {
                got.extend(ben.open(&frames[usize::from(*number)]).expect("opens"));
                if let Some(again) = repeats.get(at) {
                    got.extend(ben.open(&frames[*again]).expect("opens"));
                }
            }
            let expected: Vec<Vec<u8>> = (0..30).map(|n| vec![n]).collect();
            prop_assert_eq!(got, expected);
        }

        #[test]
        fn anything_may_come(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let (_, mut ben) = pair();
            prop_assert!(!matches!(ben.open(&bytes), Ok(texts) if !texts.is_empty()));
        }
    }
}
