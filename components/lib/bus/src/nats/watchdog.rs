//! Follows how a connection is, and says so.

use std::sync::Arc;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, Event};
use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;

use super::connection::round_trip;
use crate::counts::{Counters, add};
use crate::link::{Link, Reason};

/// A new connection that does not answer within this is asked again.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Runs for as long as the connection is held.
pub(super) fn spawn(
    client: Client,
    news: mpsc::Receiver<Event>,
    link: Arc<watch::Sender<Link>>,
    counters: Arc<Counters>,
) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(watch_over(client, news, link, counters)))
}

async fn watch_over(client: Client, mut news: mpsc::Receiver<Event>, link: Arc<watch::Sender<Link>>, counters: Arc<Counters>) {
    while let Some(event) = news.recv().await {
        match event {
            Event::Connected => connected(&client, &link).await,
            Event::Disconnected | Event::Closed => lost(&link, &counters),
            Event::SlowConsumer(_) => {
                add(&counters.received, 1);
                add(&counters.dropped, 1);
            }
            Event::ServerError(error) => tracing::warn!(%error, "the bus refuses something"),
            // Said by `note_failure`, with the cause.
            Event::ClientError(_) => {}
            Event::LameDuckMode | Event::Draining => tracing::info!(%event, "the bus is about to end this connection"),
        }
    }
}

/// Connected is said when subscriptions are in effect: when the server has answered what was sent after them.
async fn connected(client: &Client, link: &watch::Sender<Link>) {
    while client.connection_state() == State::Connected {
        if let Ok(true) = tokio::time::timeout(ANSWER_MAX, round_trip(client)).await {
            link.send_replace(Link::Connected);
            tracing::info!("the bus is connected");
            return;
        }
    }
}

fn lost(link: &watch::Sender<Link>, counters: &Counters) {
    let was_connected = link.send_if_modified(|now| {
        let was_connected = now.is_connected();
        if was_connected {
            *now = Link::lost(Reason::Lost);
        }
        was_connected
    });
    if was_connected {
        add(&counters.disconnects, 1);
        tracing::warn!("the bus is not connected any more");
    }
}

/// Called before each attempt with what became of the last one.
pub(super) fn note_failure(link: &watch::Sender<Link>, error: Option<&str>) {
    let Some(reason) = error.map(reason) else { return };
    let news = link.send_if_modified(|now| match now {
        Link::Disconnected { reason: known, .. } if *known != reason => {
            *known = reason.clone();
            true
        }
        Link::Disconnected { .. } | Link::Connected => false,
    });
    if news {
        tracing::warn!(%reason, "the bus cannot be reached");
    }
}

/// async-nats hands on the causes of a failed attempt as text alone; the words are those of nats-server and rustls.
fn reason(error: &str) -> Reason {
    let text = error.to_owned();
    let lower = error.to_lowercase();
    if lower.contains("authorization") || lower.contains("authentication") {
        Reason::Refused(text)
    } else if ["certificate", "tls", "unknown ca", "unknownca", "handshakefailure"].iter().any(|word| lower.contains(word)) {
        Reason::Untrusted(text)
    } else {
        Reason::Unreachable(text)
    }
}
