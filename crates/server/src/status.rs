//! `/health` and `/metrics`, on a listener of their own: they are for whoever runs the server, not
//! for whoever reaches it.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use ahoy_signaling::Server;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use crate::metrics::{self, Process};
use crate::turn::RelayState;

/// Connections at once: a few collectors and checks.
const MAX_CONNECTIONS: usize = 32;
/// How long a client may take for its request, and a connection may last.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);
/// Pause after the system refused a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What is reported.
#[derive(Debug, Clone)]
pub(crate) struct Status {
    pub(crate) server: Server,
    pub(crate) relay: Option<watch::Receiver<RelayState>>,
    pub(crate) max_files: Option<u64>,
}

/// Answers until dropped.
pub(crate) async fn serve(listener: TcpListener, status: Status) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return Ok(());
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let status = status.clone();
                tokio::spawn(async move {
                    // A client that takes too long, or breaks off, is its own affair.
                    let _ = tokio::time::timeout(CONNECTION_TIMEOUT, talk(stream, status)).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections for the status at present");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn talk(stream: TcpStream, status: Status) -> hyper::Result<()> {
    let service = service_fn(|request: Request<Incoming>| {
        let response = answer(&request, &status);
        async move { Ok::<_, Infallible>(response) }
    });
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

fn answer(request: &Request<Incoming>, status: &Status) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return page(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET\n");
    }
    let relay = status.relay.as_ref().map(|relay| relay.borrow().clone());
    match request.uri().path() {
        "/health" => page(StatusCode::OK, "application/json", &health(relay.as_ref())),
        "/metrics" => page(
            StatusCode::OK,
            "text/plain; version=0.0.4",
            &metrics::text(
                status.server.load(),
                &status.server.counts(),
                relay.as_ref(),
                Process::look(status.max_files),
            ),
        ),
        _ => page(
            StatusCode::NOT_FOUND,
            "text/plain",
            "there is /health and /metrics\n",
        ),
    }
}

/// `degraded` rather than an error code when only the relay fails: signaling works, and most calls
/// need no relay, so nobody should take this server out of service for it.
fn health(relay: Option<&RelayState>) -> String {
    let problems: Vec<&str> = relay.map(RelayState::problems).unwrap_or_default();
    let status = if problems.is_empty() {
        "ok"
    } else {
        "degraded"
    };
    format!(
        "{}\n",
        serde_json::json!({ "status": status, "problems": problems })
    )
}

fn page(status: StatusCode, kind: &'static str, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text.to_owned())));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
