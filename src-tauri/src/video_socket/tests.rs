use futures_util::StreamExt;
use tokio::sync::oneshot;
use tokio_tungstenite::connect_async;

use super::testing::{connect, request};
use super::*;

/// Something that is served until the connection ends, and whoever notices that.
async fn offered() -> (VideoAddress, oneshot::Sender<()>) {
    let (kept, ends) = oneshot::channel();
    let served: Served = Box::new(move |mut socket| {
        Box::pin(async move {
            let _ends_with_this = ends;
            while let Some(message) = socket.next().await {
                message?;
            }
            Ok(())
        })
    });
    let address = VideoSocketServer::default().offer(served).await;
    (address.expect("a port"), kept)
}

#[tokio::test]
async fn other_pages_and_wrong_tokens_are_refused() {
    let (address, _kept) = offered().await;
    for origin in ["https://example.org", "null", ""] {
        let refused = connect_async(request(&address, origin)).await;
        assert!(
            matches!(refused, Err(Error::Http(response)) if response.status() == 403),
            "{origin}"
        );
    }
    let guess = VideoAddress {
        token: "0".repeat(32),
        ..address.clone()
    };
    assert!(connect_async(request(&guess, ORIGINS[0])).await.is_err());
    // A wrong origin does not use the token up.
    assert!(connect(&address).await.is_ok());
    assert!(connect(&address).await.is_err(), "taken");
}

#[tokio::test]
async fn the_source_ends_with_the_connection() {
    let (address, mut kept) = offered().await;
    let socket = connect(&address).await.expect("admitted");
    drop(socket);
    kept.closed().await;
}
