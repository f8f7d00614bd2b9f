//! What a process tells over HTTP about itself: no token is needed, and nothing can be changed.
//!
//! | path | answer |
//! |---|---|
//! | `/healthz`, `/healthz/NAME` | 200 or 500: whether it works, or a restart may mend it |
//! | `/readyz`, `/readyz/NAME` | 200 or 500: whether others can use it |
//! | `/statusz` | 200, or 503 and the reason in a word |
//! | `/metrics` | Prometheus' text |

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::health::Kind;
use crate::{Error, Health, Metrics, Shell};

/// Connections at a time; further ones wait in the kernel's queue. A node's prober and a scraper or two need one each.
pub const CONNECTIONS_MAX: usize = 64;
/// A request's line and headers together. Bodies are never read.
pub const HEADER_BYTES_MAX: usize = 16 * 1024;
/// How long a client may take for them.
pub const HEADER_TIME_MAX: Duration = Duration::from_secs(5);
/// How long a connection may last, idle or not. Prometheus scrapes every 15 s to a minute and connects again.
pub const CONNECTION_TIME_MAX: Duration = Duration::from_mins(2);

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const OPEN_METRICS: HeaderValue = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// Where a process tells how it does.
#[derive(Debug, Clone, Default, Args)]
pub struct HttpArgs {
    /// Address to serve /healthz, /readyz, /statusz and /metrics on, in plaintext; port 0 lets the system choose. Without it they are not
    /// served.
    #[arg(long, env = "PX_HTTP_LISTEN", value_name = "ADDR")]
    pub http_listen: Option<SocketAddr>,
}

impl HttpArgs {
    /// Listens and serves from now on, until the shell stops. Where it listens, if it does.
    ///
    /// # Errors
    /// The address cannot be had.
    pub async fn start(&self, health: &Health, metrics: &Metrics, shell: &Shell) -> Result<Option<SocketAddr>, Error> {
        let Some(address) = self.http_listen else { return Ok(None) };
        let failed = |source| Error::Http { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        tracing::info!(%address, "health and metrics are served");
        shell.tasks.spawn(serve(listener, health.clone(), metrics.clone(), shell.stop.clone()));
        Ok(Some(address))
    }
}

/// Serves until `stop`; then what was begun is finished.
pub async fn serve(listener: TcpListener, health: Health, metrics: Metrics, stop: CancellationToken) {
    let turns = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let tasks = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = next(&listener, &turns) => accepted,
        };
        let Some((stream, turn)) = accepted else { continue };
        let (health, metrics, stop) = (health.clone(), metrics.clone(), stop.clone());
        tasks.spawn(async move {
            connection(stream, health, metrics, stop).await;
            drop(turn);
        });
    }
    tasks.close();
    tasks.wait().await;
}

/// The next connection, when it may be served.
async fn next(listener: &TcpListener, turns: &Arc<Semaphore>) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    // It is never closed.
    let turn = Arc::clone(turns).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, turn)),
        Err(error) => {
            tracing::warn!(%error, "a connection is not accepted");
            // Out of descriptors, most likely: others give some back.
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

async fn connection(stream: TcpStream, health: Health, metrics: Metrics, stop: CancellationToken) {
    let service = service_fn(move |request: Request<Incoming>| {
        let response = respond(request.method(), request.uri().path(), &health, &metrics);
        async move { Ok::<_, Infallible>(response) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIME_MAX).max_buf_size(HEADER_BYTES_MAX);
    let mut serving = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    // However it ends, and also when its time is over, it is the client's loss alone.
    let ended = tokio::time::timeout(CONNECTION_TIME_MAX, async {
        tokio::select! {
            ended = &mut serving => return ended,
            () = stop.cancelled() => serving.as_mut().graceful_shutdown(),
        }
        serving.await
    });
    if let Ok(Err(error)) = ended.await {
        tracing::debug!(%error, "a connection ended badly");
    }
}

/// Pure but for what the handles hold.
fn respond(method: &Method, path: &str, health: &Health, metrics: &Metrics) -> Response<Full<Bytes>> {
    if method != Method::GET && method != Method::HEAD {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET is served here\n".to_owned());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let checks = |kind, name: Option<&str>| {
        let report = match name {
            None => Some(health.report(kind)),
            Some(name) => health.report_one(kind, name),
        };
        match report {
            Some((true, body)) => text(StatusCode::OK, body),
            Some((false, body)) => text(StatusCode::INTERNAL_SERVER_ERROR, body),
            None => text(StatusCode::NOT_FOUND, "there is no such check\n".to_owned()),
        }
    };
    let path = path.trim_start_matches('/');
    let (page, name) = path.split_once('/').map_or((path, None), |(page, name)| (page, Some(name).filter(|name| !name.is_empty())));
    match (page, name) {
        ("healthz", name) => checks(Kind::Health, name),
        ("readyz", name) => checks(Kind::Readiness, name),
        ("statusz", None) => match health.reason() {
            None => text(StatusCode::OK, String::new()),
            Some(reason) => text(StatusCode::SERVICE_UNAVAILABLE, reason),
        },
        ("metrics", None) => match metrics.encode() {
            Ok(body) => with_type(StatusCode::OK, body, OPEN_METRICS),
            Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "a metric cannot be written\n".to_owned()),
        },
        _ => text(StatusCode::NOT_FOUND, "there are /healthz, /readyz, /statusz and /metrics\n".to_owned()),
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    with_type(status, body, TEXT)
}

fn with_type(status: StatusCode, body: String, kind: HeaderValue) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
