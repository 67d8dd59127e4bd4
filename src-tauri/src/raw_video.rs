//! Decoded pictures to the window, for webviews that have no VP8 decoder.
//!
//! Each message of the server is one picture: a [`crate::frame_header`] and the planes Y, U, V.
//! Each message of the client is one credit ("next"): it has drawn, and wants what is newest when
//! it is sent. Pictures in between are forgotten, so nothing piles up.

use std::sync::Arc;

use ahoy_call::engine::Engine;
use ahoy_media::frame::{EncodedVideoSink, VideoFrame};
use ahoy_video::receive::VideoDecodeThread;
use futures_util::{SinkExt, StreamExt};
use tokio::sync::{Notify, watch};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::error::{CommandError, ErrorCode};
use crate::frame_header::FrameHeader;
use crate::video_socket::{Served, Socket};
use crate::view::VideoTile;

/// The newest picture of a tile, as long as somebody wants it.
struct Feed {
    frames: watch::Receiver<Option<VideoFrame>>,
    /// Whatever makes the pictures; ends when dropped.
    _source: Box<dyn Send + Sync>,
}

/// Decodes `tile` for one connection.
///
/// # Errors
/// The participant has left, or the engine has stopped.
pub(crate) async fn serve(engine: &Engine, tile: VideoTile) -> Result<Served, CommandError> {
    Ok(served(feed(engine, tile).await?))
}

fn served(feed: Feed) -> Served {
    Box::new(move |socket| Box::pin(send_newest(socket, feed)))
}

/// Subscribes to a tile and decodes it on a thread of its own.
async fn feed(engine: &Engine, tile: VideoTile) -> Result<Feed, CommandError> {
    let (newest, frames) = watch::channel(None);
    let wants_key_frame = Arc::new(Notify::new());
    let asks = Arc::clone(&wants_key_frame);
    let decoder: Arc<dyn EncodedVideoSink> = Arc::new(VideoDecodeThread::start(
        move |frame| {
            newest.send_replace(Some(frame));
        },
        move || asks.notify_one(),
    ));
    let subscription = engine
        .subscribe_video(tile.into(), decoder)
        .await?
        .ok_or_else(|| CommandError::new(ErrorCode::NoSuchParticipant, "they have left"))?;
    let engine = engine.clone();
    let requests = AbortOnDrop(tokio::spawn(async move {
        loop {
            wants_key_frame.notified().await;
            if engine.request_key_frame(tile.into()).await.is_err() {
                return;
            }
        }
    }));
    Ok(Feed {
        frames,
        _source: Box::new((subscription, requests)),
    })
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Sends one picture per credit until either side ends.
async fn send_newest(mut socket: Socket, mut feed: Feed) -> Result<(), Error> {
    let mut seq = 0;
    while let Some(message) = socket.next().await {
        if !message?.is_text() {
            continue;
        }
        let frame = tokio::select! {
            frame = newest(&mut feed.frames) => frame,
            // Nothing is expected while a credit is open, except the end.
            ended = socket.next() => return ended.map_or(Ok(()), |message| message.map(|_| ())),
        };
        let Some(frame) = frame else { break };
        socket
            .send(Message::Binary(message_of(&frame, seq).into()))
            .await?;
        seq = seq.wrapping_add(1);
    }
    Ok(())
}

/// The next picture that was not sent before; `None` when there will be none.
async fn newest(frames: &mut watch::Receiver<Option<VideoFrame>>) -> Option<VideoFrame> {
    frames.changed().await.ok()?;
    frames.borrow_and_update().clone()
}

fn message_of(frame: &VideoFrame, seq: u32) -> Vec<u8> {
    let header = FrameHeader {
        key_frame: false,
        raw: true,
        resolution: frame.picture.resolution(),
        seq,
        rtp_timestamp: 0,
        captured_at: frame.captured_at,
    };
    header.before(frame.picture.as_bytes())
}

#[cfg(test)]
mod tests;
