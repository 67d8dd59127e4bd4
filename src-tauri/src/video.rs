//! Compressed pictures to the window, one Tauri channel per tile. See [`crate::credits`] for the
//! back-pressure and [`crate::frame_header`] for the bytes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ahoy_call::engine::Engine;
use ahoy_call::fan_out::Subscription;
use ahoy_media::frame::{EncodedFrame, EncodedVideoSink};
use specta::Types;
use specta::datatype::DataType;
use tauri::async_runtime::JoinHandle;
use tauri::ipc::{Channel, InvokeResponseBody, IpcResponse};
use tokio::sync::Notify;

use crate::credits::{Credits, Decision};
use crate::error::{CommandError, ErrorCode};
use crate::frame_header::FrameHeader;
use crate::view::VideoTile;

/// A message that reaches the window as an `ArrayBuffer`.
pub(crate) struct VideoBytes(Vec<u8>);

impl IpcResponse for VideoBytes {
    fn body(self) -> tauri::Result<InvokeResponseBody> {
        Ok(InvokeResponseBody::Raw(self.0))
    }
}

impl specta::Type for VideoBytes {
    fn definition(_: &mut Types) -> DataType {
        specta_typescript::define("ArrayBuffer").into()
    }
}

/// The tiles that the window shows.
#[derive(Default)]
pub(crate) struct VideoSubscriptions {
    last_id: AtomicU32,
    active: Mutex<HashMap<u32, Active>>,
}

/// One tile on its way; dropping it ends that.
struct Active {
    sink: Arc<ChannelSink>,
    key_frame_requests: JoinHandle<()>,
    _subscription: Subscription,
}

impl VideoSubscriptions {
    /// Sends the pictures of `tile` from now on, beginning with a key frame. Returns the number
    /// that the other functions want.
    ///
    /// # Errors
    /// The participant has left, or the engine has stopped.
    pub(crate) async fn subscribe(
        &self,
        engine: &Engine,
        tile: VideoTile,
        channel: Channel<VideoBytes>,
    ) -> Result<u32, CommandError> {
        let sink = Arc::new(ChannelSink::new(channel));
        let subscription = engine
            .subscribe_video(tile.into(), Arc::clone(&sink) as Arc<dyn EncodedVideoSink>)
            .await?
            .ok_or_else(|| CommandError::new(ErrorCode::NoSuchParticipant, "they have left"))?;
        let active = Active {
            key_frame_requests: tauri::async_runtime::spawn(pass_on_requests(
                Arc::clone(&sink),
                engine.clone(),
                tile,
            )),
            sink,
            _subscription: subscription,
        };
        let id = self.last_id.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        self.active().insert(id, active);
        Ok(id)
    }

    /// The window has taken the frames up to and including `seq`.
    pub(crate) fn acknowledge(&self, id: u32, seq: u32) {
        if let Some(active) = self.active().get(&id) {
            active.sink.acknowledge(seq);
        }
    }

    /// The window cannot go on without a key frame.
    pub(crate) fn request_key_frame(&self, id: u32) {
        if let Some(active) = self.active().get(&id) {
            active.sink.wants_key_frame.notify_one();
        }
    }

    /// Ends a subscription; an unknown one has ended already.
    pub(crate) fn unsubscribe(&self, id: u32) {
        // Dropped after the lock is given back: the end of a subscription takes locks itself.
        let ended = self.active().remove(&id);
        drop(ended);
    }

    /// Ends all subscriptions: the window has started anew, or closes.
    pub(crate) fn unsubscribe_all(&self) {
        let ended = std::mem::take(&mut *self.active());
        drop(ended);
    }

    fn active(&self) -> MutexGuard<'_, HashMap<u32, Active>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.key_frame_requests.abort();
    }
}

/// Takes the frames on the thread that makes them, which must not wait.
struct ChannelSink {
    channel: Channel<VideoBytes>,
    credits: Mutex<Credits>,
    wants_key_frame: Notify,
}

impl ChannelSink {
    fn new(channel: Channel<VideoBytes>) -> Self {
        Self {
            channel,
            credits: Mutex::new(Credits::new(Instant::now())),
            wants_key_frame: Notify::new(),
        }
    }

    fn acknowledge(&self, seq: u32) {
        if self.credits().acknowledge(seq, Instant::now()) {
            self.wants_key_frame.notify_one();
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
        if let Err(error) = self.channel.send(VideoBytes(header.before(&frame.data))) {
            // The window is closing; its subscriptions end in a moment.
            tracing::debug!(%error, "a picture did not reach the window");
        }
    }
}

impl EncodedVideoSink for ChannelSink {
    fn on_encoded_frame(&self, frame: &EncodedFrame) {
        let decision = self.credits().offer(frame.key_frame, Instant::now());
        match decision {
            Decision::Send { seq } => self.send(frame, seq),
            Decision::Drop => {}
            Decision::DropAndAskForKeyFrame => self.wants_key_frame.notify_one(),
        }
    }
}

/// Carries requests from where nothing may wait to the engine, where one may have to.
async fn pass_on_requests(sink: Arc<ChannelSink>, engine: Engine, tile: VideoTile) {
    loop {
        sink.wants_key_frame.notified().await;
        if engine.request_key_frame(tile.into()).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credits::CREDITS;
    use ahoy_media::units::Resolution;
    use bytes::Bytes;

    /// A sink, and what its channel was given.
    fn sink() -> (ChannelSink, Arc<Mutex<Vec<Vec<u8>>>>) {
        let messages = Arc::new(Mutex::new(Vec::new()));
        let taken = Arc::clone(&messages);
        let channel = Channel::new(move |body| {
            let InvokeResponseBody::Raw(bytes) = body else {
                panic!("pictures are raw bytes");
            };
            taken.lock().expect("no panic").push(bytes);
            Ok(())
        });
        (ChannelSink::new(channel), messages)
    }

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
        let (sink, messages) = sink();
        for key_frame in [false, true, false] {
            sink.on_encoded_frame(&frame(key_frame));
        }
        let messages = messages.lock().expect("no panic");
        let seen: Vec<_> = messages.iter().map(|m| (m[1], m[8], &m[24..])).collect();
        assert_eq!(seen, [(1, 0, &[9, 9][..]), (0, 1, &[9, 9][..])]);
    }

    #[test]
    fn a_window_that_takes_nothing_gets_no_more_than_its_credits() {
        let (sink, messages) = sink();
        for number in 0..1000 {
            sink.on_encoded_frame(&frame(number == 0));
        }
        assert_eq!(messages.lock().expect("no panic").len(), CREDITS as usize);
    }

    #[tokio::test]
    async fn a_window_that_catches_up_has_a_key_frame_asked_for() {
        let (sink, _messages) = sink();
        for number in 0..20 {
            sink.on_encoded_frame(&frame(number == 0));
        }
        sink.acknowledge(CREDITS - 1);
        sink.wants_key_frame.notified().await;
    }
}
