use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use api::vizier::services::metadata::AgentInfoRequest;
use bus::Hub;
use metadata::Error;
use metadata::store::{Committed, Fence, Key, Memory, Page, Store, Transaction};
use tokio::time::Instant;
use tonic::Code;

use super::world::World;

/// A store that refuses to write when it is told to.
#[derive(Debug, Default, Clone)]
pub(crate) struct Moody {
    memory: Memory,
    refuses: Arc<AtomicBool>,
}

impl Moody {
    /// The same store by another way, which can be shut alone.
    pub(crate) fn another_way(&self) -> Moody {
        Moody { memory: self.memory.clone(), refuses: Arc::default() }
    }

    pub(crate) fn refuse(&self, refuses: bool) {
        self.refuses.store(refuses, Ordering::Relaxed);
    }

    fn check(&self) -> Result<(), Error> {
        let refused = || Error::EtcdUnreachable { endpoints: "a test's".to_owned(), source: Box::new(tonic::Status::unavailable("shut")) };
        if self.refuses.load(Ordering::Relaxed) { Err(refused()) } else { Ok(()) }
    }
}

#[async_trait::async_trait]
impl Store for Moody {
    async fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, Error> {
        self.check()?;
        self.memory.get(key).await
    }

    async fn page(&self, prefix: &Key, after: Option<&Key>) -> Result<Page, Error> {
        self.check()?;
        self.memory.page(prefix, after).await
    }

    async fn commit(&self, transaction: Transaction) -> Result<Committed, Error> {
        self.check()?;
        self.memory.commit(transaction).await
    }
}

async fn pair() -> (World, World, Moody) {
    let (hub, store) = (Arc::new(Hub::new()), Moody::default());
    let one = World::replica(Arc::clone(&hub), Arc::new(store.clone()), "one", true).await;
    assert!(one.service.leads().until(true).await);
    let two = World::replica(hub, Arc::new(store.another_way()), "two", true).await;
    two.settle().await;
    (one, two, store)
}

#[tokio::test(start_paused = true)]
async fn a_second_replica_stays_passive_and_takes_over_from_one_that_stops_at_once() {
    let (one, two, _) = pair().await;
    let mut pem = one.pem(1).await;
    pem.join().await;
    assert!(!two.service.leads().now());
    let refused = two.agents().get_agent_info(AgentInfoRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    tokio::time::sleep(Duration::from_mins(5)).await;
    assert!(!two.service.leads().now(), "as long as the first one lives");

    let began = Instant::now();
    one.stop().await;
    assert!(two.service.leads().until(true).await);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    two.settle().await;
    pem.join().await;
    assert_eq!(pem.asid, 1, "it knows what the first one knew");
}

#[tokio::test(start_paused = true)]
async fn one_that_vanished_is_replaced_when_its_lease_is_over_and_can_write_no_more() {
    let (one, two, way) = pair().await;
    let mut pem = one.pem(1).await;
    pem.join().await;
    // It does not reach the store any more, but everything else.
    way.refuse(true);
    let began = Instant::now();
    assert!(one.service.leads().until(false).await, "it steps down by itself");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(two.service.leads().until(true).await);
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    way.refuse(false);
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert!(!one.service.leads().now() && two.service.leads().now(), "the first one waits now");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_was_fenced_cannot_write() {
    let store = Memory::default();
    let old = Fence::take(&store).await.unwrap();
    let write = |value: u8| Transaction::new().put(Key::new("/a").unwrap(), vec![value]);
    old.commit(&store, write(1), "a").await.unwrap();
    let new = Fence::take(&store).await.unwrap();
    assert!(matches!(old.commit(&store, write(2), "a").await, Err(Error::Conflict { .. })));
    new.commit(&store, write(3), "a").await.unwrap();
    assert_eq!(store.get(&Key::new("/a").unwrap()).await.unwrap(), Some(vec![3]));
}
