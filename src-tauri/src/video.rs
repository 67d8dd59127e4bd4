//! Compressed pictures to the window, one connection per tile. See [`crate::credits`] for the
//! back-pressure and [`crate::frame_header`] for the bytes.
//!
//! Each message of the server is one frame. Messages of the client are text: `key` asks for a key
//! frame, and two numbers are that of the last frame it has taken and how many it has given up since
//! the message before, because decoding was behind.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ahoy_call::engine::Engine;
use ahoy_call::fan_out::Subscription;
use ahoy_media::frame::{DecodeCounts, EncodedFrame, EncodedVideoSink};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::sync::Notify;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::credits::{CREDITS, Credits, Decision};
use crate::error::{CommandError, ErrorCode};
use crate::frame_header::FrameHeader;
use crate::video_socket::{Served, Socket};
use crate::view::VideoTile;

/// What the window sends when its decoder cannot go on without a key frame.
const KEY: &str = "key";

/// The pictures of `tile` from now on, beginning with a key frame, for one connection.
///
/// # Errors
/// The participant has left, or the engine has stopped.
pub(crate) async fn serve(engine: &Engine, tile: VideoTile) -> Result<Served, CommandError> {
    let (sink, frames) = FrameSink::new();
    let sink = Arc::new(sink);
    let subscription = engine
        .subscribe_video(tile.into(), Arc::clone(&sink) as Arc<dyn EncodedVideoSink>)
        .await?
        .ok_or_else(|| CommandError::new(ErrorCode::NoSuchParticipant, "they have left"))?;
    let stream = Stream {
        frames,
        sink,
        engine: engine.clone(),
        tile,
        _subscription: subscription,
    };
    Ok(Box::new(move |socket| Box::pin(stream.send_to(socket))))
}

/// One tile on its way; dropping it ends that.
struct Stream {
    frames: Receiver<Bytes>,
    sink: Arc<FrameSink>,
    engine: Engine,
    tile: VideoTile,
    _subscription: Subscription,
}

impl Stream {
    async fn send_to(mut self, mut socket: Socket) -> Result<(), Error> {
        loop {
            tokio::select! {
                Some(frame) = self.frames.recv() => socket.send(Message::Binary(frame)).await?,
                () = self.sink.wants_key_frame.notified() => {
                    if self.engine.request_key_frame(self.tile.into()).await.is_err() {
                        return Ok(());
                    }
                }
                message = socket.next() => match message {
                    Some(message) => self.sink.told(&message?),
                    None => return Ok(()),
                },
            }
        }
    }
}

/// Takes the frames on the thread that makes them, which must not wait.
struct FrameSink {
    /// Never full: no more than the credits allow are under way.
    frames: Sender<Bytes>,
    credits: Mutex<Credits>,
    wants_key_frame: Notify,
}

impl FrameSink {
    fn new() -> (Self, Receiver<Bytes>) {
        let (frames, receiver) = channel(CREDITS as usize);
        let sink = Self {
            frames,
            credits: Mutex::new(Credits::new(Instant::now())),
            wants_key_frame: Notify::new(),
        };
        (sink, receiver)
    }

    /// Takes in a message of the window; one that makes no sense changes nothing.
    fn told(&self, message: &Message) {
        let Message::Text(text) = message else {
            return;
        };
        if text.as_str() == KEY {
            self.wants_key_frame.notify_one();
        } else if let Some((seq, given_up)) = text.split_once(' ')
            && let (Ok(seq), Ok(given_up)) = (seq.parse(), given_up.parse())
        {
            let mut credits = self.credits();
            if credits.acknowledge(seq, Instant::now()) {
                self.wants_key_frame.notify_one();
            }
            credits.given_up(given_up);
        }
    }

    fn credits(&self) -> MutexGuard<'_, Credits> {
        self.credits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, frame: &EncodedFrame, seq: u32) {
        let header = FrameHeader {
            key_frame: frame.key_frame,
            raw: false,
            resolution: frame.resolution,
            seq,
            rtp_timestamp: frame.rtp_timestamp,
            captured_at: frame.captured_at,
        };
        // Without a receiver the connection has ended, and the subscription ends in a moment.
        let _ = self.frames.try_send(header.before(&frame.data).into());
    }
}

impl EncodedVideoSink for FrameSink {
    fn on_encoded_frame(&self, frame: &EncodedFrame) {
        let decision = self.credits().offer(frame.key_frame, Instant::now());
        match decision {
            Decision::Send { seq } => self.send(frame, seq),
            Decision::Drop => {}
            Decision::DropAndAskForKeyFrame => self.wants_key_frame.notify_one(),
        }
    }

    fn decoding(&self) -> DecodeCounts {
        self.credits().counts()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ahoy_media::units::Resolution;

    fn frame(key_frame: bool) -> EncodedFrame {
        EncodedFrame {
            data: Bytes::from_static(&[9, 9]),
            key_frame,
            rtp_timestamp: 3000,
            captured_at: Instant::now(),
            resolution: Resolution::new(64, 32),
        }
    }

    #[test]
    fn frames_arrive_whole_and_numbered_from_the_first_key_frame() {
        let (sink, mut frames) = FrameSink::new();
        for key_frame in [false, true, false] {
            sink.on_encoded_frame(&frame(key_frame));
        }
        let mut seen = Vec::new();
        while let Ok(message) = frames.try_recv() {
            seen.push((message[1], message[8], message[24..].to_vec()));
        }
        assert_eq!(seen, [(1, 0, vec![9, 9]), (0, 1, vec![9, 9])]);
    }

    #[test]
    fn a_window_that_takes_nothing_gets_no_more_than_its_credits() {
        let (sink, frames) = FrameSink::new();
        for number in 0..1000 {
            sink.on_encoded_frame(&frame(number == 0));
        }
        assert_eq!(frames.len(), CREDITS as usize);
    }

    #[tokio::test]
    async fn a_window_that_catches_up_has_a_key_frame_asked_for() {
        let (sink, _frames) = FrameSink::new();
        for number in 0..20 {
            sink.on_encoded_frame(&frame(number == 0));
        }
        for nonsense in ["", "-1 0", "keys", "4294967296 0", "11", "11 x", "11 0 0"] {
            sink.told(&Message::text(nonsense));
        }
        assert_eq!(sink.credits().offer(true, Instant::now()), Decision::Drop);
        sink.told(&Message::text(format!("{} 0", CREDITS - 1)));
        sink.wants_key_frame.notified().await;
    }

    #[test]
    fn what_the_window_gives_up_is_counted_and_what_comes_before_it_begins_is_not() {
        let (sink, _frames) = FrameSink::new();
        for key_frame in [false, false, true, false, false] {
            sink.on_encoded_frame(&frame(key_frame));
        }
        let counts = |frames, given_up| DecodeCounts { frames, given_up };
        assert_eq!(sink.decoding(), counts(0, 0));
        sink.told(&Message::text("2 2"));
        assert_eq!(sink.decoding(), counts(1, 2));
        sink.told(&Message::text(format!("2 {}", u32::MAX)));
        assert_eq!(sink.decoding(), counts(0, 3));
    }
}
