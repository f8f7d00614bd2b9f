use std::time::Duration;

use bus::{Bus, Hub, Link, Nats, QueueLimits, TlsFiles};
use harness_nats::{Certificates, NatsServer, Setup};

/// How long anything may take to come about by itself before a test fails. Generous: the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Small, so that a message that is too large is cheap.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 64 * 1024;

#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Memory,
    Nats,
    NatsTls,
}

/// A bus and the power to stop it.
pub(crate) enum World {
    Memory(Hub),
    Nats(Box<Real>),
}

pub(crate) struct Real {
    server: NatsServer,
    certificates: Option<Certificates>,
}

impl World {
    /// `None` if the machine lacks what it needs.
    pub(crate) fn new(kind: Kind) -> Option<World> {
        let certificates = match kind {
            Kind::Memory => return Some(World::Memory(Hub::with_payload_bytes_max(PAYLOAD_BYTES_MAX))),
            Kind::Nats => None,
            Kind::NatsTls => Some(Certificates::new().unwrap()),
        };
        if !NatsServer::is_available() {
            return None;
        }
        let setup = Setup { certificates: certificates.as_ref(), payload_bytes_max: Some(PAYLOAD_BYTES_MAX), ..Setup::default() };
        let server = NatsServer::start(&setup).unwrap();
        Some(World::Nats(Box::new(Real { server, certificates })))
    }

    /// A connection that is made.
    pub(crate) async fn bus(&self, name: &str) -> Bus {
        self.bus_with(name, QueueLimits::default()).await
    }

    pub(crate) async fn bus_with(&self, name: &str, limits: QueueLimits) -> Bus {
        let bus = self.unconnected(name, limits).await;
        bus.connected(PATIENCE).await.unwrap();
        bus
    }

    /// A connection that may still have to be made.
    pub(crate) async fn unconnected(&self, name: &str, limits: QueueLimits) -> Bus {
        match self {
            World::Memory(hub) => hub.connect_with(name, limits).unwrap(),
            World::Nats(real) => {
                let mut nats = Nats::new(real.server.url(), name);
                nats.limits = limits;
                nats.tls = real.certificates.as_ref().map(tls);
                nats.connect().await.unwrap()
            }
        }
    }

    pub(crate) fn stop(&mut self) {
        match self {
            World::Memory(hub) => hub.stop(),
            World::Nats(real) => real.server.stop().unwrap(),
        }
    }

    pub(crate) fn start(&mut self) {
        match self {
            World::Memory(hub) => hub.start(),
            World::Nats(real) => real.server.start_again().unwrap(),
        }
    }
}

pub(crate) fn tls(certificates: &Certificates) -> TlsFiles {
    let files = certificates.client.clone();
    TlsFiles { ca: files.ca, certificate: files.certificate, key: files.key }
}

/// Waits for what must come, and fails if it does not.
pub(crate) async fn soon<R>(what: impl Future<Output = R>) -> R {
    tokio::time::timeout(PATIENCE, what).await.expect("it did not come about")
}

/// Waits until something holds that nobody announces.
pub(crate) async fn eventually(mut holds: impl AsyncFnMut() -> bool) {
    soon(async {
        let mut again = tokio::time::interval(Duration::from_millis(10));
        while !holds().await {
            again.tick().await;
        }
    })
    .await;
}

/// Waits until the connection has ended.
pub(crate) async fn lost(bus: &Bus) -> Link {
    let mut link = bus.link();
    soon(link.wait_for(|link| !link.is_connected())).await.unwrap().clone()
}
