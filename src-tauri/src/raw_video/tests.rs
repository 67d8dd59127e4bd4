use std::time::{Duration, Instant};

use ahoy_media::frame::I420;
use ahoy_media::units::Resolution;
use tokio::time::timeout;

use super::*;
use crate::video_socket::VideoSocketServer;
use crate::video_socket::testing::connect;

fn frame(number: u64) -> VideoFrame {
    VideoFrame {
        picture: Arc::new(I420::black(Resolution::new(4, 2))),
        captured_at: Instant::now(),
        number,
    }
}

#[tokio::test]
async fn one_picture_per_credit_and_always_the_newest() {
    let (pictures, frames) = watch::channel(None);
    let feed = Feed {
        frames,
        _source: Box::new(()),
    };
    let server = VideoSocketServer::default();
    let address = server.offer(served(feed)).await.expect("a port");
    let mut socket = connect(&address).await.expect("admitted");
    for (seq, newest) in [(0, 2), (1, 5)] {
        for number in 0..=newest {
            pictures.send_replace(Some(frame(number)));
        }
        socket.send(Message::text("next")).await.expect("sent");
        let message = socket
            .next()
            .await
            .expect("open")
            .expect("a picture")
            .into_data();
        assert_eq!(message.len(), crate::frame_header::LENGTH + 4 * 2 * 3 / 2);
        assert_eq!((message[1], message[8]), (2, seq));
    }
    // A credit without a new picture waits for one.
    socket.send(Message::text("next")).await.expect("sent");
    let early = timeout(Duration::from_millis(50), socket.next()).await;
    assert!(early.is_err(), "the same picture came twice");
    pictures.send_replace(Some(frame(9)));
    socket.next().await.expect("open").expect("a picture");
    drop(pictures);
    socket.send(Message::text("next")).await.expect("sent");
    assert!(matches!(
        socket.next().await,
        None | Some(Err(_) | Ok(Message::Close(_)))
    ));
}
