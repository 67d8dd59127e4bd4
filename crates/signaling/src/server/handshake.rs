//! The WebSocket handshake: who is an Ahoy client, and who learns why not.

use tokio_tungstenite::tungstenite::Error as WsError;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, ORIGIN, SEC_WEBSOCKET_PROTOCOL,
};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};

use super::entrance::{FORWARDED_FOR, Stream};
use crate::message::{MAX_MESSAGE, SUBPROTOCOL};

/// The library's own 128 KiB per connection would be 2 GB for the connections that a process can
/// have; messages are mostly shorter than this.
const READ_BUFFER: usize = 4 * 1024;

pub(super) type Socket = WebSocketStream<Stream>;

/// Why a client is not let in although its handshake may be fine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    Open,
    Full,
}

/// The handshake. `admit` is asked about a client that speaks our protocol, with the
/// `X-Forwarded-For` headers of its request.
pub(super) async fn accept(
    stream: Stream,
    web_pages: bool,
    mut admit: impl FnMut(&[&str]) -> Admission + Unpin,
) -> Result<Socket, WsError> {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(READ_BUFFER)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    #[expect(
        clippy::result_large_err,
        reason = "the library's callback is declared so"
    )]
    let check =
        |request: &Request, response: Response| decide(web_pages, &mut admit, request, response);
    accept_hdr_async_with_config(stream, check, Some(config)).await
}

#[expect(
    clippy::result_large_err,
    reason = "the library's callback is declared so"
)]
fn decide(
    web_pages: bool,
    admit: &mut impl FnMut(&[&str]) -> Admission,
    request: &Request,
    mut response: Response,
) -> Result<Response, ErrorResponse> {
    let offered = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL);
    let speaks_ours = offered
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|name| name.trim() == SUBPROTOCOL);
    if !speaks_ours {
        return Err(refusal(
            StatusCode::UPGRADE_REQUIRED,
            "This server speaks the WebSocket subprotocol ahoy.2.\n",
        ));
    }
    if !web_pages && request.headers().contains_key(ORIGIN) {
        return Err(refusal(StatusCode::FORBIDDEN, "Not for web pages.\n"));
    }
    let forwarded: Vec<&str> = request
        .headers()
        .get_all(FORWARDED_FOR)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    match admit(&forwarded) {
        Admission::Full => Err(refusal(
            StatusCode::SERVICE_UNAVAILABLE,
            "Too many connections.\n",
        )),
        Admission::Open => {
            response.headers_mut().insert(
                SEC_WEBSOCKET_PROTOCOL,
                HeaderValue::from_static(SUBPROTOCOL),
            );
            Ok(response)
        }
    }
}

/// An answer that an Ahoy client recognises as one of ours by the subprotocol in it.
fn refusal(status: StatusCode, text: &str) -> ErrorResponse {
    let mut response = ErrorResponse::new(Some(text.to_owned()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        SEC_WEBSOCKET_PROTOCOL,
        HeaderValue::from_static(SUBPROTOCOL),
    );
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
