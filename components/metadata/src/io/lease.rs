//! The record of the leader, where replicas share it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::clock::Clock;
use crate::election::{Candidate, RENEW_DEADLINE, RENEW_EVERY, Record, Step};
use crate::store::{Committed, Key, Store, Transaction, decode, encode};

const LEADER: &str = "/leader";
/// A leader that stops has this long to say so.
const RELEASE_MAX: Duration = Duration::from_secs(2);

/// Where the record lies, and which version of it was seen.
#[async_trait::async_trait]
pub(crate) trait Cell: Send + Sync {
    /// The record with its version.
    async fn read(&self) -> Result<Option<Seen>, Error>;

    /// Writes it in place of the version that was seen, or none. `None`: somebody else was faster.
    async fn write(&self, before: Option<&Seen>, record: &Record) -> Result<Option<Seen>, Error>;
}

/// A record as it was seen.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) record: Record,
    pub(crate) version: Vec<u8>,
}

/// The record in the store itself.
#[derive(Debug)]
pub(crate) struct StoreCell(pub(crate) Arc<dyn Store>);

#[async_trait::async_trait]
impl Cell for StoreCell {
    async fn read(&self) -> Result<Option<Seen>, Error> {
        let Some(version) = self.0.get(&Key::new(LEADER)?).await? else { return Ok(None) };
        Ok(Some(Seen { record: decode(LEADER, &version)?, version }))
    }

    async fn write(&self, before: Option<&Seen>, record: &Record) -> Result<Option<Seen>, Error> {
        let (key, version) = (Key::new(LEADER)?, encode(record));
        let transaction = Transaction::new().expect(key.clone(), before.map(|seen| seen.version.clone())).put(key, version.clone());
        match self.0.commit(transaction).await? {
            Committed::Done => Ok(Some(Seen { record: record.clone(), version })),
            Committed::Conflict => Ok(None),
        }
    }
}

/// The right to lead, as long as it is renewed.
pub(crate) struct Lease {
    cell: Arc<dyn Cell>,
    held: Seen,
}

impl Lease {
    /// Waits until this replica leads. `None`: told to stop before.
    pub(crate) async fn acquire(cell: Arc<dyn Cell>, candidate: &mut Candidate, clock: &Clock, stop: &CancellationToken) -> Option<Lease> {
        let mut waits = false;
        loop {
            match attempt(cell.as_ref(), candidate, clock).await {
                Ok(Some(held)) => return Some(Lease { cell, held }),
                Ok(None) if waits => {}
                Ok(None) => {
                    tracing::info!("another replica is the leader: waiting");
                    waits = true;
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "the record of the leader cannot be read or written");
                }
            }
            tokio::select! {
                () = stop.cancelled() => return None,
                () = tokio::time::sleep(RENEW_EVERY) => {}
            }
        }
    }

    /// Renews it until that is no longer possible.
    pub(crate) async fn keep(&mut self) {
        let mut renewed = Instant::now();
        loop {
            tokio::time::sleep(RENEW_EVERY).await;
            let begun = Instant::now();
            let next = self.held.record.renewed();
            match tokio::time::timeout_at(renewed + RENEW_DEADLINE, self.cell.write(Some(&self.held), &next)).await {
                Ok(Ok(Some(held))) => (self.held, renewed) = (held, begun),
                Ok(Ok(None)) => {
                    // Our own write, the answer to which was lost, or somebody else's.
                    match self.cell.read().await {
                        Ok(Some(seen)) if seen.record == next => (self.held, renewed) = (seen, begun),
                        Ok(_) => {
                            tracing::warn!("another replica has taken the lead");
                            return;
                        }
                        Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "the lead cannot be renewed"),
                    }
                }
                Ok(Err(error)) => tracing::warn!(error = &error as &dyn std::error::Error, "the lead cannot be renewed"),
                Err(_) => {}
            }
            if renewed.elapsed() >= RENEW_DEADLINE {
                tracing::warn!("the lead could not be renewed for too long: stepping down");
                return;
            }
        }
    }

    /// Lets the next one lead at once.
    pub(crate) async fn release(self) {
        let record = self.held.record.let_go();
        match tokio::time::timeout(RELEASE_MAX, self.cell.write(Some(&self.held), &record)).await {
            Ok(Ok(_)) => tracing::info!("let go of the lead"),
            Ok(Err(error)) => tracing::warn!(error = &error as &dyn std::error::Error, "the lead could not be released: it runs out"),
            Err(_) => tracing::warn!("the lead could not be released in time: it runs out"),
        }
    }
}

async fn attempt(cell: &dyn Cell, candidate: &mut Candidate, clock: &Clock) -> Result<Option<Seen>, Error> {
    let seen = cell.read().await?;
    match candidate.observe(seen.as_ref().map(|seen| &seen.record), clock.now().mono) {
        Step::Wait => Ok(None),
        Step::Claim => {
            let record = Record::claim(candidate.name(), seen.as_ref().map(|seen| &seen.record));
            cell.write(seen.as_ref(), &record).await
        }
    }
}
