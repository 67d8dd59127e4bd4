//! Decoded pictures to the window over a WebSocket on this computer, for webviews that have no
//! VP8 decoder: there a socket costs a third of what a Tauri channel does.
//!
//! Each message of the server is one picture: a [`crate::frame_header`] and the planes Y, U, V.
//! Each message of the client is one credit ("next"): it has drawn, and wants what is newest when
//! it is sent. Pictures in between are forgotten, so nothing piles up.
//!
//! Other programs and web pages on this computer can reach the port as well: a connection needs
//! the token that only our page was told, and the origin of our page.

mod offers;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ahoy_call::engine::Engine;
use ahoy_media::frame::{EncodedVideoSink, VideoFrame};
use ahoy_video::receive::VideoDecodeThread;
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OnceCell, watch};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::StatusCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

use crate::error::{CommandError, ErrorCode};
use crate::frame_header::FrameHeader;
use crate::view::{RawVideo, VideoTile};
use offers::{OFFER_LIFETIME, Offers};

/// Our page: on Linux and macOS, on Windows, and from the development server.
const ORIGINS: [&str; 3] = [
    "tauri://localhost",
    "http://tauri.localhost",
    "https://tauri.localhost",
];
const DEVELOPMENT_ORIGIN: &str = "http://127.0.0.1:1420";

/// Whoever connects and then says nothing is gone after this time; our page is on this computer.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(5);

/// The newest picture of a tile, as long as somebody wants it.
struct Feed {
    frames: watch::Receiver<Option<VideoFrame>>,
    /// Whatever makes the pictures; ends when dropped.
    _source: Box<dyn Send + Sync>,
}

/// The port, opened when it is first needed, and what can be fetched there.
#[derive(Default)]
pub(crate) struct RawVideoServer {
    port: OnceCell<u16>,
    offers: Arc<Offers<Feed>>,
}

impl RawVideoServer {
    /// Decodes `tile` and offers its pictures once.
    ///
    /// # Errors
    /// The participant has left, the engine has stopped, or there is no port to be had.
    pub(crate) async fn offer(
        &self,
        engine: &Engine,
        tile: VideoTile,
    ) -> Result<RawVideo, CommandError> {
        let feed = feed(engine, tile).await?;
        self.offer_feed(feed)
            .await
            .map_err(|error| CommandError::new(ErrorCode::RawVideoFailed, error))
    }

    async fn offer_feed(&self, feed: Feed) -> io::Result<RawVideo> {
        let offers = Arc::clone(&self.offers);
        let port = *self.port.get_or_try_init(|| listen(offers)).await?;
        let token = self.offers.add(feed, Instant::now());
        let offers = Arc::clone(&self.offers);
        tokio::spawn(async move {
            tokio::time::sleep(OFFER_LIFETIME).await;
            offers.forget_old(Instant::now());
        });
        Ok(RawVideo {
            url: format!("ws://127.0.0.1:{port}/video"),
            token,
        })
    }
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

async fn listen(offers: Arc<Offers<Feed>>) -> io::Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(serve(stream, Arc::clone(&offers)));
                }
                Err(error) => tracing::debug!(%error, "a connection for raw pictures failed"),
            }
        }
    });
    Ok(port)
}

async fn serve(stream: TcpStream, offers: Arc<Offers<Feed>>) {
    if let Err(error) = handshake_and_send(stream, &offers).await {
        tracing::debug!(%error, "raw pictures have ended");
    }
}

async fn handshake_and_send(stream: TcpStream, offers: &Offers<Feed>) -> Result<(), Error> {
    stream.set_nodelay(true)?;
    let mut taken = None;
    #[expect(
        clippy::result_large_err,
        reason = "tungstenite's callback is of this type"
    )]
    let mut admit = |request: &Request, response: Response| {
        taken = has_our_origin(request)
            .then(|| token_of(request))
            .flatten()
            .and_then(|token| offers.take(token, Instant::now()));
        if taken.is_some() {
            Ok(response)
        } else {
            Err(forbidden())
        }
    };
    let handshake = accept_hdr_async(stream, &mut admit);
    let Ok(socket) = timeout(HANDSHAKE_PATIENCE, handshake).await else {
        return Ok(());
    };
    let socket = socket?;
    match taken {
        Some(feed) => send_newest(socket, feed).await,
        None => Ok(()),
    }
}

/// Sends one picture per credit until either side ends.
async fn send_newest(mut socket: WebSocketStream<TcpStream>, mut feed: Feed) -> Result<(), Error> {
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

fn has_our_origin(request: &Request) -> bool {
    let origin = request.headers().get("origin");
    let origin = origin.and_then(|value| value.to_str().ok()).unwrap_or("");
    ORIGINS.contains(&origin) || (cfg!(dev) && origin == DEVELOPMENT_ORIGIN)
}

fn token_of(request: &Request) -> Option<&str> {
    request.uri().query()?.strip_prefix("token=")
}

fn forbidden() -> ErrorResponse {
    let mut response = ErrorResponse::new(None);
    *response.status_mut() = StatusCode::FORBIDDEN;
    response
}

#[cfg(test)]
mod tests;
