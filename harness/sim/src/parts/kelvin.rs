use std::sync::Arc;
use std::time::Duration;

use agent::life::{Profile, Standing};
use agent::{Hub, HubArgs, MemberHandle, Membership};
use api::internal::kelvin_server::KelvinServer;
use engine::distributed::{Coordinator, CoordinatorArgs};
use futures::StreamExt as _;
use kelvin::{KelvinService, KelvinServiceArgs};
use tokio::runtime::Handle;
use tonic::service::Routes;

use super::{Process, membership};
use crate::world::{World, WrongClock};

const QUERY_TIME_MAX: Duration = Duration::from_mins(2);

/// A Kelvin.
#[derive(Debug)]
pub(crate) struct KelvinPart {
    /// As a process.
    pub(crate) process: Process,
    /// Of its node.
    pub(crate) clock: WrongClock,
    member: MemberHandle,
}

impl KelvinPart {
    /// Starts it.
    ///
    /// # Errors
    /// It has no bus, or its engine does not start.
    pub(crate) fn start(world: &Arc<World>, index: usize, clock: WrongClock) -> anyhow::Result<KelvinPart> {
        let name = format!("kelvin-{index}");
        let process = Process::new(world, &name);
        let profile = Profile {
            hostname: format!("kelvin-node-{index}"),
            pod_name: format!("pl/{name}"),
            host_ip: format!("10.0.1.{index}"),
            ip_address: format!("10.1.1.{index}"),
            collects_data: false,
            profiler_period_ms: -1,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            rpc_address: format!("{name}:51211"),
            query_address: format!("{name}:51210"),
            tls_server_name: name.clone(),
            ..Profile::default()
        };
        let (life, member, requests) = Membership::new(process.bus()?, membership(world, profile, &clock));
        let hub = Hub::new(HubArgs::default());
        let functions = Arc::new(funcs::registry(&funcs::Environment::default()));
        let coordinator = Arc::new(Coordinator::new(functions, Arc::new(hub.clone()), CoordinatorArgs::default())?);
        let service = KelvinService::new(coordinator, Handle::current(), KelvinServiceArgs { query_time_max: QUERY_TIME_MAX });
        process.serve(&format!("{name}:51210"), Routes::new(KelvinServer::new(service)));

        let mut dialled = world.net.listen(&name, &format!("{name}:51211"));
        let (stop, tasks, taking) = (process.shell.stop.clone(), process.shell.tasks.clone(), hub);
        process.shell.tasks.spawn(async move {
            while let Some(Some(Ok(plug))) = stop.run_until_cancelled(dialled.next()).await {
                let (hub, stop) = (taking.clone(), stop.clone());
                tasks.spawn(async move { hub.serve_one(Box::new(plug), "an agent", &stop).await });
            }
        });
        let stop = process.shell.stop.clone();
        process.shell.tasks.spawn(async move {
            // Nothing is asked of a Kelvin here; the queue has to be there.
            let _requests = requests;
            if let Err(error) = life.run(&stop).await {
                tracing::debug!(%error, "a Kelvin's membership is over");
            }
        });
        Ok(KelvinPart { process, clock, member })
    }

    /// How it stands.
    pub(crate) fn standing(&self) -> Standing {
        self.member.standing().borrow().clone()
    }

    /// From one moment to the next.
    pub(crate) fn crash(self) -> WrongClock {
        self.process.crash();
        self.clock
    }

    /// As it should. False if it does not end.
    pub(crate) async fn stop(self) -> bool {
        self.process.stop().await
    }
}
