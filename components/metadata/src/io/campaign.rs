//! Becoming the leader, leading, and again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bus::Bus;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::kubernetes::{Feeder, Kubernetes, LeaseCell, Told};
use super::lease::{Cell, Lease, StoreCell};
use super::office::{Handle, Office};
use crate::Error;
use crate::clock::Clock;
use crate::election::Candidate;
use crate::metrics::Metrics;
use crate::store::{Embedded, Etcd, EtcdSettings, Fence, Store};

/// How often a store that cannot be reached, or is in use by another process, is tried again.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How often etcd's history is forgotten. Reference: 5 min.
const MAINTAIN_EVERY: Duration = Duration::from_mins(5);

/// Where state rests, and what decides who leads.
#[derive(Debug, Clone)]
pub enum StoreSource {
    /// A file: whoever has it open leads.
    Embedded(PathBuf),
    /// etcd: replicas share a record there, or a lease of Kubernetes'.
    Etcd(EtcdSettings),
    /// One that is there already, with a record in it if replicas share it.
    Ready {
        /// The store.
        store: Arc<dyn Store>,
        /// Whether several replicas use it.
        shared: bool,
    },
}

/// What a campaign works with.
pub(crate) struct Campaign {
    pub(crate) source: StoreSource,
    pub(crate) candidate: Candidate,
    pub(crate) bus: Bus,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    pub(crate) leader: watch::Sender<Option<Handle>>,
    pub(crate) kubernetes: Option<Kubernetes>,
    pub(crate) told: Told,
    pub(crate) stop: CancellationToken,
}

/// A store that is open.
struct Opened {
    store: Arc<dyn Store>,
    etcd: Option<Arc<Etcd>>,
    shared: bool,
}

impl Campaign {
    /// Leads whenever it can, until it is told to stop.
    ///
    /// # Errors
    /// What no waiting heals: the store is damaged, of a newer release, or may not be used.
    pub(crate) async fn run(mut self) -> Result<(), Error> {
        loop {
            let stop = self.stop.clone();
            let opened = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                opened = self.open() => opened?,
            };
            let lease = if opened.shared {
                let cell: Arc<dyn Cell> = match &self.kubernetes {
                    Some(kubernetes) => Arc::new(LeaseCell::new(kubernetes)),
                    None => Arc::new(StoreCell(Arc::clone(&opened.store))),
                };
                match Lease::acquire(cell, &mut self.candidate, &self.clock, &self.stop).await {
                    None => return Ok(()),
                    lease @ Some(_) => lease,
                }
            } else {
                None
            };
            let led = self.lead(opened, lease).await;
            self.leader.send_replace(None);
            self.metrics.change(|numbers| numbers.leader = false);
            match led {
                Ok(()) if self.stop.is_cancelled() => return Ok(()),
                Ok(()) => {}
                Err(error) if waiting_heals(&error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "no longer the leader");
                }
                Err(error) => return Err(error),
            }
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(TRY_AGAIN_AFTER) => {}
            }
        }
    }

    async fn lead(&mut self, opened: Opened, mut lease: Option<Lease>) -> Result<(), Error> {
        let Opened { store, etcd, .. } = opened;
        let led = async {
            let fence = Fence::take(store.as_ref()).await?;
            let (bus, clock, metrics) = (self.bus.clone(), self.clock, self.metrics.clone());
            let ranges = self.told.ranges.subscribe();
            let (office, handle) = Office::open(Arc::clone(&store), fence.clone(), bus.clone(), clock, metrics.clone(), ranges).await?;
            let feeder = match self.kubernetes.clone() {
                Some(kubernetes) => {
                    Some(Feeder::open(kubernetes, Arc::clone(&store), fence, bus, (clock, metrics, self.told.clone())).await?)
                }
                None => None,
            };
            tracing::info!("leading");
            self.metrics.change(|numbers| {
                numbers.leader = true;
                numbers.elected += 1;
            });
            self.leader.send_replace(Some(handle));
            let feeding = async {
                match feeder {
                    Some(feeder) => feeder.run(self.stop.clone()).await,
                    None => Ok(()),
                }
            };
            tokio::try_join!(office.run(self.stop.clone()), feeding).map(|_| ())
        };
        let kept = async {
            match &mut lease {
                Some(lease) => lease.keep().await,
                None => std::future::pending().await,
            }
        };
        let outcome = tokio::select! {
            outcome = led => outcome,
            () = kept => Ok(()),
            () = maintain(etcd.as_deref()) => Ok(()),
        };
        if let Some(lease) = lease
            && self.stop.is_cancelled()
        {
            lease.release().await;
        }
        outcome
    }

    /// Waits for the store.
    async fn open(&self) -> Result<Opened, Error> {
        let mut said = false;
        loop {
            let opened = match &self.source {
                StoreSource::Ready { store, shared } => Ok(Opened { store: Arc::clone(store), etcd: None, shared: *shared }),
                StoreSource::Embedded(path) => {
                    let path = path.clone();
                    let opened = tokio::task::spawn_blocking(move || Embedded::open(&path)).await.map_err(|_| Error::Stopped)?;
                    opened.map(|store| Opened { store: Arc::new(store), etcd: None, shared: false })
                }
                StoreSource::Etcd(settings) => Etcd::connect(settings).await.map(|etcd| {
                    let etcd = Arc::new(etcd);
                    Opened { store: Arc::clone(&etcd) as Arc<dyn Store>, etcd: Some(etcd), shared: true }
                }),
            };
            match opened {
                Err(error) if waiting_heals(&error) => {
                    if !std::mem::replace(&mut said, true) {
                        tracing::warn!(error = &error as &dyn std::error::Error, "the store cannot be used yet: trying again for ever");
                    }
                }
                opened => return opened,
            }
            tokio::time::sleep(TRY_AGAIN_AFTER).await;
        }
    }
}

/// Never ends.
async fn maintain(etcd: Option<&Etcd>) {
    let Some(etcd) = etcd else { return std::future::pending().await };
    loop {
        tokio::time::sleep(MAINTAIN_EVERY).await;
        match etcd.maintain().await {
            Ok(done) => tracing::debug!(
                revision = done.revision,
                bytes = done.bytes,
                defragmented = done.defragmented,
                "etcd's history is forgotten"
            ),
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "etcd's history cannot be forgotten"),
        }
    }
}

/// Whether somebody else's doing, or none, makes it good.
fn waiting_heals(error: &Error) -> bool {
    match error {
        Error::Locked { .. }
        | Error::VolumeFull { .. }
        | Error::EtcdUnreachable { .. }
        | Error::EtcdUncertain { .. }
        | Error::EtcdFull { .. }
        | Error::EtcdRefused { .. }
        | Error::Kubernetes(_)
        | Error::Conflict { .. } => true,
        Error::Unwritable { .. }
        | Error::File { .. }
        | Error::Damaged { .. }
        | Error::NewerFormat { .. }
        | Error::Endpoint { .. }
        | Error::EtcdTls(_)
        | Error::Key { .. }
        | Error::TooLarge { .. }
        | Error::WrittenTwice { .. }
        | Error::Record { .. }
        | Error::Stopped
        | Error::Bus(_)
        | Error::Rpc(_)
        | Error::Auth(_)
        | Error::Service(_)
        | Error::ReadyFile { .. }
        | Error::NoEndpoints
        | Error::NoKubernetes(_)
        | Error::CertificateFile { .. }
        | Error::Serve(_) => false,
    }
}
