use std::sync::Arc;

use auth::Guard;
use metadata::election::Candidate;
use metadata::{Clock, Leads, Parts, Service, StoreSource};

use super::Process;
use crate::grave::Grave;
use crate::world::{BEGIN, World};

/// The name under which the broker knows the service. As in Kubernetes it leads to a replica that is ready.
pub(crate) const METADATA: &str = "metadata:50400";

/// A replica of the metadata service.
#[derive(Debug)]
pub(crate) struct MetadataPart {
    /// As a process.
    pub(crate) process: Process,
    grave: Grave,
    leads: Leads,
}

impl MetadataPart {
    /// Starts it. `shared`: there are other replicas.
    ///
    /// # Errors
    /// It has no bus.
    pub(crate) fn start(world: &Arc<World>, index: usize, shared: bool) -> anyhow::Result<MetadataPart> {
        let process = Process::new(world, &format!("metadata-{index}"));
        let grave = Grave::new(world.store.clone());
        let parts = Parts {
            store: StoreSource::Ready { store: Arc::new(grave.clone()), shared },
            candidate: Candidate::new(process.name.clone(), true),
            bus: process.bus()?,
            clock: Clock::starting_at(ids::UnixNs(BEGIN.0 + i64::try_from(world.elapsed().as_nanos())?)),
        };
        let service = Service::start(parts, &process.shell);
        process.serve(&Self::address(index), service.routes(&Guard::new(world.key.clone())));
        let leads = service.leads();
        process.shell.tasks.spawn(async move {
            if let Err(error) = service.ended().await {
                tracing::error!(%error, "a metadata service ended");
            }
        });
        Ok(MetadataPart { process, grave, leads })
    }

    /// Where this replica is called.
    pub(crate) fn address(index: usize) -> String {
        format!("metadata-{index}:50400")
    }

    /// Whether it leads, as it believes.
    pub(crate) fn leads(&self) -> bool {
        self.leads.now()
    }

    /// From one moment to the next.
    pub(crate) fn crash(self) {
        self.grave.bury();
        self.process.crash();
    }

    /// As it should. False if it does not end.
    pub(crate) async fn stop(self) -> bool {
        self.process.stop().await
    }
}
