use ahoy_media::frame::I420;
use ahoy_media::units::Resolution;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::*;

fn frame(number: u64) -> VideoFrame {
    VideoFrame {
        picture: Arc::new(I420::black(Resolution::new(4, 2))),
        captured_at: Instant::now(),
        number,
    }
}

async fn offered() -> (RawVideo, watch::Sender<Option<VideoFrame>>) {
    let (sender, frames) = watch::channel(None);
    let feed = Feed {
        frames,
        _source: Box::new(()),
    };
    let server = RawVideoServer::default();
    let raw_video = server.offer_feed(feed).await.expect("a port");
    (raw_video, sender)
}

fn request(raw_video: &RawVideo, origin: &'static str) -> Request {
    let url = format!("{}?token={}", raw_video.url, raw_video.token);
    let mut request = url.into_client_request().expect("a URL");
    let origin = origin.parse().expect("a header");
    request.headers_mut().insert("origin", origin);
    request
}

#[tokio::test]
async fn one_picture_per_credit_and_always_the_newest() {
    let (raw_video, pictures) = offered().await;
    let (mut socket, _) = connect_async(request(&raw_video, ORIGINS[0]))
        .await
        .expect("admitted");
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

#[tokio::test]
async fn other_pages_and_wrong_tokens_are_refused() {
    let (raw_video, _pictures) = offered().await;
    for origin in ["https://example.org", "null", ""] {
        let refused = connect_async(request(&raw_video, origin)).await;
        assert!(
            matches!(refused, Err(Error::Http(response)) if response.status() == 403),
            "{origin}"
        );
    }
    let guess = RawVideo {
        token: "0".repeat(32),
        ..raw_video.clone()
    };
    assert!(connect_async(request(&guess, ORIGINS[0])).await.is_err());
    // A wrong origin does not use the token up.
    assert!(connect_async(request(&raw_video, ORIGINS[0])).await.is_ok());
    assert!(
        connect_async(request(&raw_video, ORIGINS[0]))
            .await
            .is_err(),
        "taken"
    );
}

#[tokio::test]
async fn the_source_ends_with_the_connection() {
    let (raw_video, pictures) = offered().await;
    let (socket, _) = connect_async(request(&raw_video, ORIGINS[0]))
        .await
        .expect("admitted");
    drop(socket);
    pictures.closed().await;
}
