//! What every agent tells of its life on the bus and of its connections, read when it is asked for.

use std::fmt;
use std::time::Duration;

use api::vizier::messages::MetricsMessage;
use bus::{Bus, subject};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use service::{Health, Metrics};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::life::Standing;
use crate::names::NamesHandle;
use crate::{DialStates, MemberHandle};

/// How often an agent pushes its metrics. Reference: once a minute.
pub const METRICS_PERIOD: Duration = Duration::from_mins(1);

/// Where [`DialStates`] are, as they change with the agent's identity.
pub type Dials = watch::Receiver<DialStates>;

struct AgentCollector {
    bus: Bus,
    member: MemberHandle,
    names: NamesHandle,
    dials: Option<Dials>,
}

impl fmt::Debug for AgentCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentCollector").finish_non_exhaustive()
    }
}

/// Tells of the bus, the membership, the names and, for an agent that dials, of its Kelvins.
pub fn register_metrics(metrics: &Metrics, bus: Bus, (member, names): (MemberHandle, NamesHandle), dials: Option<Dials>) {
    metrics.with(|registry| registry.register_collector(Box::new(AgentCollector { bus, member, names, dials })));
}

impl Collector for AgentCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let (counts, bus, names) = (self.member.counts(), self.bus.counts(), self.names.counts());
        let (life, feed, mirror) = (counts.life, names.feed, names.mirror);
        let counters = [
            ("px_agent_registrations", "Registrations said, repeated ones too", life.registrations),
            ("px_agent_registrations_refused", "Registrations refused", life.refused),
            ("px_agent_joined", "Times that the agent was registered", life.joined),
            ("px_agent_heartbeats", "Heartbeats made", life.beats),
            ("px_agent_heartbeats_repeated", "Heartbeats said again", life.beats_repeated),
            ("px_agent_heartbeats_acknowledged", "Heartbeats acknowledged", life.acknowledged),
            ("px_agent_answers_ignored", "Answers to what was no longer asked", life.answers_ignored),
            ("px_agent_process_events_dropped", "Starts and ends of processes that were never told", counts.processes_dropped),
            ("px_agent_tables_cut", "Tables that were never told, for their size", counts.tables_cut),
            ("px_agent_requests_dropped", "Requests to the agent that found its queue full", counts.requests_dropped),
            ("px_agent_messages_malformed", "Messages to the agent that were not as they must be", counts.malformed),
            ("px_agent_names_applied", "Changes of names taken", feed.applied),
            ("px_agent_names_old", "Changes of names that were known", feed.old),
            ("px_agent_names_dropped", "Changes of names that found no room behind a gap", feed.dropped),
            ("px_agent_names_replaced", "Changes of names that were replaced while they waited", feed.replaced),
            ("px_agent_names_requests", "Requests for changes of names that are missing", feed.requests),
            ("px_agent_names_resets", "Times that the names began anew", feed.resets),
            ("px_agent_names_unavailable", "Gaps in the names that nobody could fill", feed.unavailable),
            ("px_agent_names_malformed", "Changes of names that were not as they must be", names.malformed + mirror.malformed),
            ("px_agent_names_refused", "Changes of names that found no room, or contradict what is known", mirror.refused),
            ("px_agent_names_evicted", "Names forgotten before the retention, for want of room", mirror.evicted),
            ("px_agent_names_containers_dropped", "Containers whose pod never came", mirror.containers_dropped),
            ("px_bus_messages_sent", "Messages handed to the bus", bus.sent_messages),
            ("px_bus_messages_received", "Messages taken from the bus", bus.received_messages),
            ("px_bus_messages_dropped", "Messages that a slow reader lost", bus.dropped_messages),
        ];
        for (name, help, value) in counters {
            tell(&mut encoder, name, help, &ConstCounter::new(value))?;
        }
        let connected = i64::from(self.bus.link().borrow().is_connected());
        tell(&mut encoder, "px_bus_connected", "Whether the bus carries messages", &ConstGauge::new(connected))?;
        let registered = i64::from(matches!(*self.member.standing().borrow(), Standing::Running(_)));
        tell(&mut encoder, "px_agent_registered", "Whether the agent belongs to its Vizier", &ConstGauge::new(registered))?;
        let complete = i64::from(names.complete);
        tell(&mut encoder, "px_agent_names_complete", "Whether all names that there were have come", &ConstGauge::new(complete))?;
        let Some(dials) = &self.dials else { return Ok(()) };
        let states = dials.borrow().all();
        let connected = states.iter().filter(|(_, state)| state.connected).count();
        tell(&mut encoder, "px_agent_kelvins", "Kelvins that are dialled", &ConstGauge::new(states.len() as i64))?;
        tell(&mut encoder, "px_agent_kelvins_connected", "Kelvins that the agent is connected to", &ConstGauge::new(connected as i64))
    }
}

fn tell(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, metric: &dyn ErasedMetric) -> Result<(), fmt::Error> {
    metric.encode_into(encoder, name, help)
}

/// A metric of any type with a constant value.
trait ErasedMetric {
    fn encode_into(&self, encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str) -> Result<(), fmt::Error>;
}

impl<M: EncodeMetric> ErasedMetric for M {
    fn encode_into(&self, encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str) -> Result<(), fmt::Error> {
        let metric = encoder.encode_descriptor(name, help, None, self.metric_type())?;
        self.encode(metric)
    }
}

/// Pushes all metrics of the process once a minute, until the stop. What is not heard is not said again: the next push has newer ones.
pub async fn push_metrics(bus: &Bus, metrics: &Metrics, pod_name: &str, stop: &CancellationToken) {
    let mut period = tokio::time::interval(METRICS_PERIOD);
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = period.tick() => {}
        }
        let text = match metrics.encode() {
            Ok(text) => text,
            Err(error) => {
                tracing::error!(%error, "metrics cannot be written");
                continue;
            }
        };
        let message = MetricsMessage { prom_metrics_text: text, pod_name: pod_name.to_owned() };
        if let Err(error) = bus.publish(&subject::metrics(), &message).await {
            tracing::debug!(%error, "metrics were not pushed");
        }
    }
}

/// How often connections to Kelvins are looked at.
const KELVINS_PERIOD: Duration = Duration::from_secs(1);

/// The word of `/statusz` for an agent that the metadata service does not know.
const UNREGISTERED: &str = "AgentUnregistered";

/// Says by checks of readiness whether the bus is there, the agent registered and, of one that dials, a Kelvin connected, until the stop; what of
/// the first two is missing is the reason of its state as well.
pub async fn watch_readiness(bus: &Bus, member: &MemberHandle, dials: Option<Dials>, health: &Health, stop: &CancellationToken) {
    let (bus_check, member_check) = (health.ready("bus"), health.ready("registered"));
    let dials = dials.map(|dials| (dials, health.ready("kelvins")));
    let mut period = tokio::time::interval(KELVINS_PERIOD);
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut link, mut standing) = (bus.link(), member.standing());
    loop {
        let without_bus = match &*link.borrow_and_update() {
            bus::Link::Connected => {
                bus_check.ok();
                None
            }
            bus::Link::Disconnected { reason, .. } => {
                bus_check.failing(reason);
                Some(bus::UNAVAILABLE)
            }
        };
        let unregistered = match &*standing.borrow_and_update() {
            Standing::Running(_) => {
                member_check.ok();
                None
            }
            Standing::Registering { reason, .. } => {
                member_check.failing(reason.as_deref().unwrap_or("the metadata service has not answered yet"));
                Some(UNREGISTERED)
            }
            Standing::Stopped { reason } => {
                member_check.failing(reason);
                Some(UNREGISTERED)
            }
        };
        health.set_reason(without_bus.or(unregistered));
        if let Some((dials, check)) = &dials {
            let states = dials.borrow().all();
            match states.iter().find(|(_, state)| !state.connected) {
                _ if states.iter().any(|(_, state)| state.connected) => check.ok(),
                Some((kelvin, state)) => {
                    let reason = state.reason.as_deref().unwrap_or("it is being dialled");
                    check.failing(format!("{}: {reason}", kelvin.address));
                }
                None => check.failing("no Kelvin is known"),
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            _ = period.tick(), if dials.is_some() => {}
            changed = link.changed() => if changed.is_err() { return },
            changed = standing.changed() => if changed.is_err() { return },
        }
    }
}
