//! What is told over HTTP, and to how many.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::net::SocketAddr;

use prometheus_client::metrics::gauge::Gauge;
use service::http::{CONNECTIONS_MAX, HEADER_BYTES_MAX};
use service::{Health, HttpArgs, Metrics, Shell};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

struct World {
    health: Health,
    metrics: Metrics,
    shell: Shell,
    address: SocketAddr,
}

async fn world() -> World {
    let (health, metrics, shell) = (Health::new(), Metrics::new(), Shell::default());
    let args = HttpArgs { http_listen: Some("127.0.0.1:0".parse().unwrap()) };
    let address = args.start(&health, &metrics, &shell).await.unwrap().unwrap();
    World { health, metrics, shell, address }
}

impl World {
    /// What a request without any headers of interest is answered: status line, type, body.
    async fn get(&self, path: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await
    }

    async fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // A refused request may end with a reset after its answer.
        let _ended = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let kept = |line: &&str| line.starts_with("HTTP/") || line.starts_with("content-type") || line.starts_with("allow");
        format!("{}\n{body}", head.lines().filter(kept).collect::<Vec<_>>().join("\n"))
    }
}

#[tokio::test]
async fn health_and_readiness_are_told_as_a_list_or_one_by_one() {
    let world = world().await;
    insta::assert_snapshot!(world.get("/healthz").await, @r"
    HTTP/1.1 200 OK
    content-type: text/plain; charset=utf-8
    OK
    ");
    let bus = world.health.check("bus");
    bus.failing("gone for good");
    let id = world.health.ready("cluster-id");
    insta::assert_snapshot!(world.get("/healthz").await, @r"
    HTTP/1.1 500 Internal Server Error
    content-type: text/plain; charset=utf-8
    FAILED
    [-]bus FAILED: gone for good
    ");
    insta::assert_snapshot!(world.get("/healthz/bus").await, @r"
    HTTP/1.1 500 Internal Server Error
    content-type: text/plain; charset=utf-8
    FAILED: gone for good
    ");
    insta::assert_snapshot!(world.get("/readyz").await, @r"
    HTTP/1.1 500 Internal Server Error
    content-type: text/plain; charset=utf-8
    FAILED
    [-]cluster-id FAILED: starting
    ");
    id.ok();
    insta::assert_snapshot!(world.get("/readyz/cluster-id").await, @r"
    HTTP/1.1 200 OK
    content-type: text/plain; charset=utf-8
    OK
    ");
    assert!(world.get("/readyz/other").await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn the_status_is_a_word_while_something_is_wrong() {
    let world = world().await;
    assert!(world.get("/statusz").await.starts_with("HTTP/1.1 200 OK"));
    world.health.set_reason(Some("CloudConnectFailed"));
    insta::assert_snapshot!(world.get("/statusz").await, @r"
    HTTP/1.1 503 Service Unavailable
    content-type: text/plain; charset=utf-8
    CloudConnectFailed
    ");
    world.health.set_reason(None);
    assert!(world.get("/statusz").await.starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn metrics_are_told_and_nothing_can_be_changed() {
    let world = world().await;
    let agents: Gauge = world.metrics.register("px_agents", "Agents that are alive", Gauge::default());
    agents.set(3);
    insta::assert_snapshot!(world.get("/metrics").await, @r"
    HTTP/1.1 200 OK
    content-type: application/openmetrics-text; version=1.0.0; charset=utf-8
    # HELP px_agents Agents that are alive.
    # TYPE px_agents gauge
    px_agents 3
    # EOF
    ");
    insta::assert_snapshot!(world.ask("POST /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await, @r"
    HTTP/1.1 405 Method Not Allowed
    content-type: text/plain; charset=utf-8
    allow: GET, HEAD
    only GET is served here
    ");
    assert!(world.get("/debug/pprof").await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn headers_without_end_are_refused() {
    let world = world().await;
    let answer = world.ask(&format!("GET / HTTP/1.1\r\nx: {}", "y".repeat(2 * HEADER_BYTES_MAX))).await;
    assert!(answer.starts_with("HTTP/1.1 431") || answer.trim().is_empty(), "{answer}");
    assert!(world.get("/healthz").await.starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn one_connection_too_many_waits_for_another_to_end() {
    let world = world().await;
    let mut silent = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        silent.push(TcpStream::connect(world.address).await.unwrap());
    }
    let mut waiting = Box::pin(world.get("/healthz"));
    // Those in front were accepted before it, in order: it cannot be answered while they are there.
    assert!(futures::poll!(&mut waiting).is_pending());
    silent.clear();
    assert!(waiting.await.starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_up_the_stop() {
    let world = world().await;
    let mut idle = TcpStream::connect(world.address).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).await.unwrap();
    world.shell.stop.cancel();
    world.shell.tasks.close();
    world.shell.tasks.wait().await;
}
