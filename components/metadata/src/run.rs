use ::service::{Check, Health, Shell};
use auth::Guard;
use bus::Link;
use rpc::Security;
use uuid::Uuid;

use crate::clock::Clock;
use crate::election::Candidate;
use crate::service::{Leads, Parts, Service};
use crate::{Args, Error};

/// Runs the metadata service until it is told to stop.
///
/// # Errors
/// A certificate, the listener or the store cannot be used.
pub async fn run(args: Args, shell: Shell) -> Result<(), Error> {
    let security = Security::Mutual(Box::new(args.tls.identity()?));
    let guard = Guard::new(args.signing_key.key()?);
    let source = args.store_source()?;
    let bus = args.nats.settings("metadata", args.bus_tls())?.connect().await?;
    let listener = rpc::bind(args.listen, &security).await?;
    let address = listener.address();
    let candidate = match &args.replica {
        Some(name) => Candidate::new(name.clone(), true),
        None => Candidate::new(format!("{}-{}", rpc::host_name(), Uuid::new_v4()), false),
    };
    let mut link = bus.link();
    let cluster = args.cluster().await?;
    let service = Service::start_in(cluster, Parts { store: source, candidate, bus, clock: Clock::of_machine() }, &shell);

    let (health, metrics) = (Health::new(), ::service::Metrics::new());
    metrics.with(|registry| registry.register_collector(Box::new(service.metrics())));
    // Both come by themselves: a restart mends neither.
    let (bus_check, lead_check) = (health.ready("bus"), health.ready("leader"));
    let (leads, stop, told) = (service.leads(), shell.stop.clone(), health.clone());
    shell.tasks.spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = tell_link(&mut link, &bus_check, &told) => {}
        }
    });
    let stop = shell.stop.clone();
    shell.tasks.spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = tell_lead(leads, &lead_check) => {}
        }
    });
    let http = args.http.start(&health, &metrics, &shell).await?;
    if let Some(path) = &args.ready_file {
        let lines = http.map_or_else(|| format!("{address}\n"), |http| format!("{address}\n{http}\n"));
        tokio::fs::write(path, lines).await.map_err(|source| Error::ReadyFile { path: path.clone(), source })?;
    }
    tracing::info!(%address, "serving");

    let served = rpc::server(&security)?
        .add_routes(service.routes(&guard))
        .serve_with_incoming_shutdown(listener.into_incoming(), shell.stop.cancelled());
    tokio::select! {
        served = served => served.map_err(Error::Serve),
        ended = service.ended() => ended,
    }
}

/// Never ends as long as there is a bus.
async fn tell_link(link: &mut tokio::sync::watch::Receiver<Link>, check: &Check, health: &Health) {
    loop {
        match &*link.borrow_and_update() {
            Link::Connected => {
                check.ok();
                health.set_reason(None);
            }
            Link::Disconnected { reason, .. } => {
                check.failing(reason);
                health.set_reason(Some(bus::UNAVAILABLE));
            }
        }
        if link.changed().await.is_err() {
            return;
        }
    }
}

/// Never ends as long as the service runs.
async fn tell_lead(mut leads: Leads, check: &Check) {
    loop {
        if !leads.until(true).await {
            return;
        }
        check.ok();
        if !leads.until(false).await {
            return;
        }
        check.failing("another replica leads, or will");
    }
}
