//! The processes of a Vizier, made of the components' own code, over the world's bus and network.

mod broker;
mod kelvin;
mod metadata;
mod pem;

use std::sync::Arc;
use std::time::Duration;

use agent::life::{Incarnation, Profile};
use agent::{MembershipArgs, WallClock};
use bus::Bus;
use service::Shell;
use tonic::service::Routes;

pub(crate) use broker::{Answer, BrokerPart, Row};
pub(crate) use kelvin::KelvinPart;
pub(crate) use metadata::{METADATA, MetadataPart};
pub(crate) use pem::PemPart;

use crate::net::Plug;
use crate::world::{World, WrongClock};

/// More than any stop may take. It is the world's time.
const STOP_MAX: Duration = Duration::from_mins(1);

/// What every process has.
#[derive(Debug)]
pub(crate) struct Process {
    /// Its name as a part: the same after a restart.
    pub(crate) name: String,
    /// Its name on the bus: another one after a restart.
    pub(crate) bus_name: String,
    world: Arc<World>,
    shell: Shell,
}

impl Process {
    fn new(world: &Arc<World>, name: &str) -> Process {
        let bus_name = format!("{name}_{}", world.process_number());
        Process { name: name.to_owned(), bus_name, world: Arc::clone(world), shell: Shell::default() }
    }

    fn bus(&self) -> Result<Bus, bus::Error> {
        self.world.hub.connect(&self.bus_name)
    }

    /// Serves gRPC at an address until the process is over.
    fn serve(&self, address: &str, routes: Routes) {
        let incoming = self.world.net.listen(&self.name, address);
        let stop = self.shell.stop.clone();
        self.shell.tasks.spawn(async move {
            let served =
                tonic::transport::Server::builder().add_routes(routes).serve_with_incoming_shutdown(incoming, stop.cancelled()).await;
            if let Err(error) = served {
                tracing::debug!(%error, "a listener is over");
            }
        });
    }

    /// From one moment to the next nothing of it is heard any more.
    fn crash(&self) {
        self.world.hub.cut(&self.bus_name, bus::Reason::Lost);
        self.world.net.crash(&self.name);
        self.shell.stop.cancel();
    }

    /// Ends as it should. False if it does not end.
    async fn stop(&self) -> bool {
        self.shell.stop.cancel();
        self.shell.tasks.close();
        let ended = tokio::time::timeout(STOP_MAX, self.shell.tasks.wait()).await.is_ok();
        self.crash();
        ended
    }
}

/// How an agent belongs to its Vizier here.
fn membership(world: &World, profile: Profile, clock: &WrongClock) -> MembershipArgs {
    let shown = clock.clone();
    let wall: WallClock = Arc::new(move || shown.now());
    MembershipArgs { profile, seed: world.draw(), incarnation: Some(Incarnation(clock.now().0.unsigned_abs())), wall }
}

/// A channel over the world's network. It connects when it is first used, and again whenever it must.
fn channel(world: &Arc<World>, from: &str, to: impl Fn() -> String + Send + Sync + 'static) -> tonic::transport::Channel {
    let (net, from, to) = (world.net.clone(), from.to_owned(), Arc::new(to));
    let connector = tower::service_fn(move |_: http::Uri| {
        let (net, from, to) = (net.clone(), from.clone(), Arc::clone(&to));
        async move { net.connect(&from, &to()).map(hyper_util::rt::TokioIo::<Plug>::new) }
    });
    tonic::transport::Endpoint::from_static("http://sim")
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(10))
        .keep_alive_while_idle(true)
        .connect_with_connector_lazy(connector)
}
