//! STUN messages and ChannelData messages on a stream (RFC 8489 section 6.2.2, RFC 8656 section
//! 12.5), without I/O.
//!
//! A STUN message is 20 bytes of header and as many as its length field says. A ChannelData
//! message is 4 bytes of header, as many as its length field says and, on a stream only, padding to
//! a multiple of 4. The first two bits tell them apart.

use bytes::{Buf, BufMut, Bytes, BytesMut};

const STUN_HEADER: usize = 20;
const CHANNEL_HEADER: usize = 4;
/// ChannelData on streams is padded to a multiple of this.
const PADDING: usize = 4;
/// Largest message that is read: what the receiving end of a UDP socket takes. Anything longer is
/// no TURN message.
pub const MAX_MESSAGE_BYTES: usize = 2000;

/// A stream on which something else than TURN is spoken: it has to be closed, since nothing tells
/// where the next message begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// The first two bits are those of neither kind.
    #[error("neither a STUN message nor ChannelData")]
    Unknown,
    /// Longer than [`MAX_MESSAGE_BYTES`].
    #[error("a message of {0} bytes is too long")]
    TooLong(usize),
}

/// Header and length of the message that begins here; `None` while its header is incomplete.
fn message_bytes(start: &[u8]) -> Result<Option<(usize, bool)>, FramingError> {
    let &[first, _, high, low, ..] = start else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let (bytes, channel) = match first >> 6 {
        0 => (STUN_HEADER + length, false),
        1 => (CHANNEL_HEADER + length, true),
        _ => return Err(FramingError::Unknown),
    };
    if bytes > MAX_MESSAGE_BYTES {
        return Err(FramingError::TooLong(bytes));
    }
    Ok(Some((bytes, channel)))
}

/// Appends a datagram as a message of the stream.
///
/// # Errors
/// What is no TURN message or says another length than it has: it would put everything behind it
/// out of step.
pub fn frame(datagram: &[u8], stream: &mut BytesMut) -> Result<(), FramingError> {
    match message_bytes(datagram)? {
        Some((bytes, channel)) if bytes == datagram.len() => {
            stream.put_slice(datagram);
            if channel {
                stream.put_bytes(0, bytes.next_multiple_of(PADDING) - bytes);
            }
            Ok(())
        }
        // A padded ChannelData message, which RFC 8656 allows over UDP as well.
        Some((bytes, true)) if bytes.next_multiple_of(PADDING) == datagram.len() => {
            stream.put_slice(datagram);
            Ok(())
        }
        _ => Err(FramingError::Unknown),
    }
}

/// Takes messages out of what a stream brings.
#[derive(Debug, Default)]
pub struct Deframer {
    buffer: BytesMut,
}

impl Deframer {
    /// Where the stream is read into.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next whole message, without padding; `None` when more has to be read.
    ///
    /// # Errors
    /// The stream cannot be read any further.
    pub fn next_message(&mut self) -> Result<Option<Bytes>, FramingError> {
        let Some((bytes, channel)) = message_bytes(&self.buffer)? else {
            return Ok(None);
        };
        let with_padding = if channel {
            bytes.next_multiple_of(PADDING)
        } else {
            bytes
        };
        if self.buffer.len() < with_padding {
            return Ok(None);
        }
        let message = self.buffer.split_to(bytes).freeze();
        self.buffer.advance(with_padding - bytes);
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stun(length: u16) -> Vec<u8> {
        let mut message = vec![0, 3];
        message.extend(length.to_be_bytes());
        message.extend(std::iter::repeat_n(7, 16 + usize::from(length)));
        message
    }

    fn channel(length: u16) -> Vec<u8> {
        let mut message = vec![0x40, 1];
        message.extend(length.to_be_bytes());
        message.extend(std::iter::repeat_n(9, length.into()));
        message
    }

    #[test]
    fn channel_data_is_padded_and_stun_is_not() {
        for (datagram, bytes) in [
            (stun(0), 20),
            (stun(8), 28),
            (channel(0), 4),
            (channel(1), 8),
            (channel(4), 8),
            (channel(1201), 1208),
        ] {
            let mut stream = BytesMut::new();
            frame(&datagram, &mut stream).expect("framed");
            assert_eq!(stream.len(), bytes);
        }
    }

    #[test]
    fn what_would_put_the_stream_out_of_step_is_refused() {
        let mut stream = BytesMut::new();
        let mut short = stun(8);
        short.pop();
        let mut long = channel(5);
        long.push(0);
        for bad in [
            &[][..],
            &[0x40, 1, 0],
            &[0x80, 0, 0, 0],
            &[0xff; 40],
            &short,
            &long,
        ] {
            assert!(frame(bad, &mut stream).is_err(), "{bad:?}");
        }
        assert!(stream.is_empty());
        let mut padded = channel(5);
        padded.extend([0; 3]);
        frame(&padded, &mut stream).expect("padded by the sender");
        assert_eq!(stream.len(), 12);
    }

    #[test]
    fn a_stream_of_something_else_ends_with_an_error() {
        let mut deframer = Deframer::default();
        deframer.buffer().put_slice(b"HTTP/1.1 400 Bad Request");
        assert!(matches!(
            deframer.next_message(),
            Err(FramingError::TooLong(_))
        ));
        let mut deframer = Deframer::default();
        deframer.buffer().put_slice(&[0xc0; 8]);
        assert_eq!(deframer.next_message(), Err(FramingError::Unknown));
    }

    proptest! {
        #[test]
        fn messages_survive_a_stream_cut_anywhere(
            kinds in prop::collection::vec((any::<bool>(), 0_u16..1500), 1..20),
            cuts in prop::collection::vec(1_usize..700, 1..40),
        ) {
            let sent: Vec<_> = kinds
                .into_iter()
                .map(|(is_stun, length)| if is_stun { stun(length) } else { channel(length) })
                .collect();
            let mut stream = BytesMut::new();
            for datagram in &sent {
                frame(datagram, &mut stream).expect("framed");
            }
            let mut deframer = Deframer::default();
            let mut received = Vec::new();
            let mut cuts = cuts.iter().cycle();
            while !stream.is_empty() {
                let bytes = stream.len().min(*cuts.next().expect("endless"));
                deframer.buffer().put_slice(&stream.split_to(bytes));
                while let Some(message) = deframer.next_message().expect("in step") {
                    received.push(message.to_vec());
                }
            }
            prop_assert_eq!(received, sent);
            prop_assert!(deframer.buffer().is_empty());
        }

        #[test]
        fn nothing_panics_and_progress_ends(noise in prop::collection::vec(any::<u8>(), 0..4000)) {
            let mut deframer = Deframer::default();
            deframer.buffer().put_slice(&noise);
            let mut messages = 0;
            while let Ok(Some(message)) = deframer.next_message() {
                prop_assert!(message.len() >= 4 && message.len() <= MAX_MESSAGE_BYTES);
                messages += 1;
            }
            prop_assert!(messages <= noise.len() / 4);
        }
    }
}
