//! The one client that reads a query's messages, and the one that comes back for them. Reference: api.md §3.4.
//!
//! ```text
//! query ─▶ bounded queue ─▶ Consumer (a call's stream)       its call ends: the queue stays, full or not, and the query waits with it
//!                             ▲ attach: another call takes over, the one before is cancelled
//! ```

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use api::vizierpb::ExecuteScriptResponse;
use futures::Stream;
use ids::QueryId;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tonic::Status;

use crate::limits::REATTACH_WAIT;

type Message = Result<ExecuteScriptResponse, Status>;

/// How long queries wait for clients that come back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReattachArgs {
    /// Each for this long. Zero: a query ends with its call.
    pub wait_max: Duration,
    /// So many at a time; the one that has waited longest ends when there are more. They hold memory and a place on a Kelvin.
    pub waiting_max: usize,
}

/// The queries that run, by id.
#[derive(Debug)]
pub(crate) struct Deliveries {
    args: ReattachArgs,
    known: Mutex<BTreeMap<QueryId, Arc<Delivery>>>,
    /// Counts those that were added.
    added: watch::Sender<u64>,
}

/// The queue of one query.
#[derive(Debug)]
pub(crate) struct Delivery {
    id: QueryId,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    /// None when all was read, or nobody may read any more.
    messages: Option<mpsc::Receiver<Message>>,
    /// Which consumer reads.
    generation: u64,
    /// Since when nobody does.
    waiting_since: Option<Instant>,
    reader: Option<Waker>,
}

/// One call's view of a query.
#[derive(Debug)]
pub(crate) struct Consumer {
    delivery: Arc<Delivery>,
    deliveries: Arc<Deliveries>,
    generation: u64,
    over: bool,
}

impl Deliveries {
    pub(crate) fn new(args: ReattachArgs) -> Deliveries {
        Deliveries { args, known: Mutex::default(), added: watch::Sender::new(0) }
    }

    /// A query and its first reader.
    pub(crate) fn add(self: &Arc<Self>, id: QueryId, messages: mpsc::Receiver<Message>) -> (Arc<Delivery>, Consumer) {
        let state = State { messages: Some(messages), generation: 0, waiting_since: None, reader: None };
        let delivery = Arc::new(Delivery { id, state: Mutex::new(state), changed: Notify::new() });
        self.known.lock().insert(id, Arc::clone(&delivery));
        self.added.send_modify(|count| *count += 1);
        let consumer = Consumer { delivery: Arc::clone(&delivery), deliveries: Arc::clone(self), generation: 0, over: false };
        (delivery, consumer)
    }

    pub(crate) fn args(&self) -> ReattachArgs {
        self.args
    }

    pub(crate) fn remove(&self, id: QueryId) {
        self.known.lock().remove(&id);
    }

    /// Takes a query over from whoever reads it. It may become known a little later than it is asked for. None if it does not.
    pub(crate) async fn attach(self: &Arc<Self>, id: QueryId) -> Option<Consumer> {
        let mut added = self.added.subscribe();
        let found = async {
            loop {
                added.borrow_and_update();
                if let Some(delivery) = self.known.lock().get(&id).cloned() {
                    return Some(delivery);
                }
                added.changed().await.ok()?;
            }
        };
        let delivery = timeout(REATTACH_WAIT, found).await.ok()??;
        let generation = delivery.take_over()?;
        Some(Consumer { delivery, deliveries: Arc::clone(self), generation, over: false })
    }

    /// Ends those that have waited longest, while more wait than may.
    fn make_room(&self) {
        let known = self.known.lock();
        let mut waiting: Vec<_> = known.values().filter_map(|delivery| Some((delivery.state.lock().waiting_since?, delivery))).collect();
        waiting.sort_by_key(|(since, _)| *since);
        let excess = waiting.len().saturating_sub(self.args.waiting_max);
        for (_, delivery) in waiting.into_iter().take(excess) {
            delivery.end();
        }
    }
}

impl Delivery {
    /// Waits until all was read, or until nobody came back in time; then nothing can be read any more.
    pub(crate) async fn keep(&self, args: ReattachArgs) {
        loop {
            let waiting_since = {
                let state = self.state.lock();
                if state.messages.is_none() {
                    return;
                }
                state.waiting_since
            };
            let Some(since) = waiting_since else {
                self.changed.notified().await;
                continue;
            };
            tokio::select! {
                () = self.changed.notified() => {}
                () = sleep_until(since + args.wait_max) => {
                    if self.state.lock().waiting_since == Some(since) {
                        self.end();
                    }
                }
            }
        }
    }

    fn end(&self) {
        let mut state = self.state.lock();
        state.messages = None;
        state.waiting_since = None;
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
        drop(state);
        self.changed.notify_one();
    }

    /// None if there is nothing left to read.
    fn take_over(&self) -> Option<u64> {
        let mut state = self.state.lock();
        state.messages.as_ref()?;
        state.generation += 1;
        state.waiting_since = None;
        let generation = state.generation;
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
        drop(state);
        self.changed.notify_one();
        Some(generation)
    }
}

impl Consumer {
    /// Nobody will come back: the query ends with this call.
    pub(crate) fn hang_up(mut self) {
        self.over = true;
        let mine = self.delivery.state.lock().generation == self.generation;
        if mine {
            self.delivery.end();
        }
    }
}

impl Stream for Consumer {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        if self.over {
            return Poll::Ready(None);
        }
        let delivery = Arc::clone(&self.delivery);
        let mut state = delivery.state.lock();
        if state.generation != self.generation {
            self.over = true;
            return Poll::Ready(Some(Err(Status::cancelled("another call has taken this query over"))));
        }
        let Some(messages) = &mut state.messages else {
            self.over = true;
            return Poll::Ready(None);
        };
        let polled = messages.poll_recv(cx);
        if polled.is_pending() {
            state.reader = Some(cx.waker().clone());
        }
        drop(state);
        // A status is the last word, after which nobody asks for more.
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.over = true;
            delivery.end();
        }
        polled
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let mut state = self.delivery.state.lock();
        if state.generation != self.generation || state.messages.is_none() {
            return;
        }
        state.reader = None;
        state.waiting_since = Some(Instant::now());
        drop(state);
        let args = self.deliveries.args;
        if args.wait_max.is_zero() {
            self.delivery.end();
            return;
        }
        tracing::debug!(query = %self.delivery.id, "a client is gone; its query waits for it");
        self.delivery.changed.notify_one();
        self.deliveries.make_room();
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;

    use super::*;

    const ARGS: ReattachArgs = ReattachArgs { wait_max: Duration::from_mins(3), waiting_max: 2 };

    fn id(number: u64) -> QueryId {
        QueryId::from_halves(0, number)
    }

    #[expect(clippy::unnecessary_wraps, reason = "what goes through the queue")]
    fn message(text: &str) -> Message {
        Ok(ExecuteScriptResponse { query_id: text.to_owned(), ..Default::default() })
    }

    async fn next(consumer: &mut Consumer) -> Option<Result<String, tonic::Code>> {
        consumer.next().await.map(|message| message.map(|message| message.query_id).map_err(|status| status.code()))
    }

    #[tokio::test]
    async fn who_comes_back_reads_on_and_who_read_before_is_cancelled() {
        let deliveries = Arc::new(Deliveries::new(ARGS));
        let (sender, receiver) = mpsc::channel(8);
        let (_, mut first) = deliveries.add(id(1), receiver);
        for text in ["a", "b", "c"] {
            sender.send(message(text)).await.unwrap();
        }
        assert_eq!(next(&mut first).await, Some(Ok("a".to_owned())));
        let mut second = deliveries.attach(id(1)).await.unwrap();
        assert_eq!(next(&mut second).await, Some(Ok("b".to_owned())));
        assert_eq!(next(&mut first).await, Some(Err(tonic::Code::Cancelled)));
        assert_eq!(next(&mut first).await, None);
        drop(first);
        drop(sender);
        assert_eq!((next(&mut second).await, next(&mut second).await), (Some(Ok("c".to_owned())), None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_query_ends_when_nobody_comes_back_in_time() {
        let deliveries = Arc::new(Deliveries::new(ARGS));
        let (sender, receiver) = mpsc::channel(8);
        let (delivery, consumer) = deliveries.add(id(1), receiver);
        let start = Instant::now();
        drop(consumer);
        let back = async {
            tokio::time::sleep(Duration::from_secs(100)).await;
            drop(deliveries.attach(id(1)).await.unwrap());
            sender.closed().await;
        };
        tokio::join!(back, delivery.keep(ARGS));
        assert_eq!(start.elapsed().as_secs(), 280);
        assert!(deliveries.attach(id(1)).await.is_none());
    }

    #[tokio::test]
    async fn too_many_that_wait_end_the_one_that_waited_longest() {
        let deliveries = Arc::new(Deliveries::new(ARGS));
        let mut senders = Vec::new();
        for number in 0..3 {
            let (sender, receiver) = mpsc::channel(8);
            drop(deliveries.add(id(number), receiver));
            senders.push(sender);
        }
        assert_eq!(senders.iter().map(mpsc::Sender::is_closed).collect::<Vec<_>>(), [true, false, false]);
    }

    #[tokio::test]
    async fn a_query_that_has_said_its_last_word_waits_for_nobody() {
        let deliveries = Arc::new(Deliveries::new(ARGS));
        let (sender, receiver) = mpsc::channel(8);
        let (delivery, mut consumer) = deliveries.add(id(1), receiver);
        sender.send(Err(Status::internal("broken"))).await.unwrap();
        assert_eq!(next(&mut consumer).await, Some(Err(tonic::Code::Internal)));
        drop(consumer);
        delivery.keep(ARGS).await;
        assert!(sender.is_closed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_query_that_becomes_known_within_a_second_is_found() {
        let deliveries = Arc::new(Deliveries::new(ARGS));
        let (_sender, receiver) = mpsc::channel(8);
        let add = async {
            tokio::time::sleep(Duration::from_millis(900)).await;
            deliveries.add(id(7), receiver)
        };
        let (_added, attached) = tokio::join!(add, deliveries.attach(id(7)));
        assert!(attached.is_some());
        assert!(deliveries.attach(id(8)).await.is_none());
    }

    #[tokio::test]
    async fn a_query_whose_client_hangs_up_for_good_ends_at_once() {
        let deliveries = Arc::new(Deliveries::new(ARGS));
        let (sender, receiver) = mpsc::channel(8);
        let (_, consumer) = deliveries.add(id(1), receiver);
        consumer.hang_up();
        assert!(sender.is_closed());
    }
}
