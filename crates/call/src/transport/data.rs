//! The data channel `ahoy`: texts both ways, agreed on beforehand so that neither side has to
//! announce it (RFC 8832 is not used).

use std::sync::Arc;

use rtc::data_channel::RTCDataChannelInit;
use rtc::shared::error::Result;
use tokio::sync::{Notify, mpsc};
use webrtc::data_channel::{DataChannel, DataChannelEvent};
use webrtc::peer_connection::PeerConnection;

use super::events::TransportEvent;

/// Label of the channel.
const LABEL: &str = "ahoy";
/// SCTP stream of the channel on both sides.
const STREAM: u16 = 0;
/// Texts that wait for the channel to open or to drain. A status is sent per change of a button;
/// when full, a text is refused.
pub(super) const MAX_TEXTS: usize = 32;

pub(super) async fn open(connection: &dyn PeerConnection) -> Result<Arc<dyn DataChannel>> {
    let init = RTCDataChannelInit {
        ordered: true,
        negotiated: Some(STREAM),
        ..RTCDataChannelInit::default()
    };
    connection.create_data_channel(LABEL, Some(init)).await
}

/// Hands on what comes, until the channel ends. Waiting here holds the sender back (SCTP's
/// receive window).
pub(super) async fn read(
    channel: Arc<dyn DataChannel>,
    opened: Arc<Notify>,
    events: mpsc::Sender<TransportEvent>,
) {
    while let Some(event) = channel.poll().await {
        let event = match event {
            DataChannelEvent::OnOpen => {
                opened.notify_one();
                TransportEvent::DataOpen
            }
            DataChannelEvent::OnMessage(message) => TransportEvent::Data(message.data.freeze()),
            _ => continue,
        };
        if events.send(event).await.is_err() {
            return;
        }
    }
}

/// Sends texts once the channel is open.
pub(super) async fn write(
    channel: Arc<dyn DataChannel>,
    opened: Arc<Notify>,
    mut texts: mpsc::Receiver<String>,
) {
    opened.notified().await;
    while let Some(text) = texts.recv().await {
        if channel.send_text(&text).await.is_err() {
            tracing::debug!("a text could not be sent over the data channel");
        }
    }
}
