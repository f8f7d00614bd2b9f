//! What is counted, in one place.

use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::{agents, k8s};

/// All numbers at one moment.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Numbers {
    pub(crate) agents: agents::Metrics,
    pub(crate) bus: bus::Counts,
    pub(crate) pems: u64,
    pub(crate) kelvins: u64,
    pub(crate) unresponsive: u64,
    pub(crate) tracepoints: u64,
    pub(crate) scripts: u64,
    /// Messages of agents that make no sense.
    pub(crate) malformed: u64,
    /// Writes that the store did not take.
    pub(crate) unkept: u64,
    /// Messages that the bus did not take.
    pub(crate) unsent: u64,
    /// Changes of Kubernetes objects that were published.
    pub(crate) k8s_updates: u64,
    /// Answers to agents that missed some.
    pub(crate) k8s_resumed: u64,
    /// Watches that broke and were begun anew.
    pub(crate) k8s_watch_failures: u64,
    /// Requests for names that make no sense.
    pub(crate) k8s_malformed: u64,
    /// Objects of this run.
    pub(crate) k8s_names: k8s_state::Metrics,
    /// Updates of this run that were forgotten.
    pub(crate) k8s_log: k8s::Forgotten,
    /// Updates that agents can still ask for.
    pub(crate) k8s_kept: u64,
    pub(crate) leader: bool,
    /// How often this process became the leader.
    pub(crate) elected: u64,
}

/// The numbers of a running service. Clones are the same.
#[derive(Debug, Default, Clone)]
pub struct Metrics {
    numbers: Arc<Mutex<Numbers>>,
}

impl Metrics {
    pub(crate) fn change(&self, change: impl FnOnce(&mut Numbers)) {
        change(&mut self.numbers.lock());
    }

    pub(crate) fn numbers(&self) -> Numbers {
        *self.numbers.lock()
    }
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let numbers = self.numbers();
        let (agents, names) = (numbers.agents, numbers.k8s_names);
        let counters = [
            ("agent_registrations", "Processes of agents that registered", agents.registered),
            ("agent_registrations_repeated", "Registrations that were known", agents.registrations_repeated),
            ("agent_refusals", "Registrations and heartbeats that were refused", agents.refused),
            ("agent_heartbeats", "Heartbeats taken", agents.heartbeats),
            ("agent_heartbeats_repeated", "Heartbeats that were known", agents.heartbeats_repeated),
            ("agent_heartbeats_missed", "Heartbeats before which one is missing", agents.heartbeats_missed),
            ("agent_heartbeats_unknown", "Heartbeats of agents that are not registered", agents.heartbeats_unknown),
            ("agents_expired", "Agents given up for their silence", agents.expired),
            ("agent_places_forgotten", "Remembered places forgotten because there were too many", agents.places_forgotten),
            ("agent_parts_cut", "Tables, collectors and filters too large to be kept", agents.cut),
            (
                "messages_malformed",
                "Messages of agents that make no sense",
                numbers.malformed + numbers.k8s_malformed + numbers.bus.undecodable_messages,
            ),
            ("messages_dropped", "Messages of agents lost because this process was slow", numbers.bus.dropped_messages),
            ("messages_received", "Messages of agents", numbers.bus.received_messages),
            ("messages_sent", "Messages to agents", numbers.bus.sent_messages),
            ("messages_unsent", "Messages to agents that the bus did not take", numbers.unsent),
            ("bus_disconnects", "How often the connection to the bus ended", numbers.bus.disconnects),
            ("store_failures", "Writes that the store did not take", numbers.unkept),
            ("k8s_updates", "Changes of Kubernetes objects that were published", numbers.k8s_updates),
            ("k8s_updates_resumed", "Answers to agents that missed some", numbers.k8s_resumed),
            ("k8s_watch_failures", "Watches that broke and were begun anew", numbers.k8s_watch_failures),
            ("k8s_names_expired", "Objects that were forgotten after the retention", names.expired),
            ("k8s_names_evicted", "Objects that were forgotten before it, for want of room", names.evicted),
            ("k8s_names_refused", "Changes of objects for which there was no room", names.refused),
            ("k8s_containers_evicted", "Replaced containers forgotten because their pod had too many", names.containers_evicted),
            ("k8s_tenures_evicted", "Former addresses and members forgotten because there were too many", names.tenures_evicted),
            ("k8s_updates_expired", "Updates that agents can ask for no more, after the retention", numbers.k8s_log.expired),
            ("k8s_updates_evicted", "Updates that agents can ask for no more, for want of room", numbers.k8s_log.evicted),
            ("elections_won", "How often this process became the leader", numbers.elected),
        ];
        for (name, help, value) in counters {
            ConstCounter::new(value).encode(encoder.encode_descriptor(
                name,
                help,
                None,
                prometheus_client::metrics::MetricType::Counter,
            )?)?;
        }
        let gauges = [
            ("pems", "Live agents that collect", numbers.pems),
            ("kelvins", "Live agents that merge", numbers.kelvins),
            ("agents_unresponsive", "Live agents that were silent for half a minute", numbers.unresponsive),
            ("tracepoints", "Tracepoints, those that go included", numbers.tracepoints),
            ("cron_scripts", "Scripts that run again and again", numbers.scripts),
            ("k8s_updates_kept", "Updates that agents can ask for", numbers.k8s_kept),
            ("leader", "1: this process is the leader", u64::from(numbers.leader)),
        ];
        for (name, help, value) in gauges {
            ConstGauge::new(value as i64).encode(encoder.encode_descriptor(
                name,
                help,
                None,
                prometheus_client::metrics::MetricType::Gauge,
            )?)?;
        }
        Ok(())
    }
}
