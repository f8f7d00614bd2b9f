//! What Kelvin tells of the agents that have dialled it, read when it is asked for.

use std::fmt;

use agent::Hub;
use otel::Exporter;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use service::Metrics;

struct Agents(Hub);

struct Exports(Exporter);

impl fmt::Debug for Agents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agents").finish_non_exhaustive()
    }
}

/// Tells of what queries exported.
pub(crate) fn register_exports(metrics: &Metrics, exporter: Exporter) {
    metrics.with(|registry| registry.register_collector(Box::new(Exports(exporter))));
}

/// Tells of a hub.
pub(crate) fn register(metrics: &Metrics, hub: Hub) {
    metrics.with(|registry| registry.register_collector(Box::new(Agents(hub))));
}

impl Collector for Agents {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let (connected, counts) = (*self.0.connected().borrow(), self.0.counts());
        let told = encoder.encode_descriptor("px_kelvin_agents_connected", "Agents that are connected", None, MetricType::Gauge)?;
        ConstGauge::new(connected as i64).encode(told)?;
        let taken = encoder.encode_descriptor("px_kelvin_connections_taken", "Connections of agents taken", None, MetricType::Counter)?;
        ConstCounter::new(counts.taken).encode(taken)?;
        let refused = encoder.encode_descriptor("px_kelvin_connections_refused", "Connections refused", None, MetricType::Counter)?;
        ConstCounter::new(counts.refused).encode(refused)
    }
}

impl fmt::Debug for Exports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Exports").field(&self.0.counts()).finish()
    }
}

impl Collector for Exports {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let counts = self.0.counts();
        let counters = [
            ("px_kelvin_rows_exported", "Rows that endpoints of exports took", counts.rows_exported),
            ("px_kelvin_rows_export_failed", "Rows that were to be exported and could not be", counts.rows_failed),
            ("px_kelvin_export_points_refused", "Data points and spans that endpoints refused of what they took", counts.points_refused),
            ("px_kelvin_export_requests", "Calls of endpoints of exports", counts.requests),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        Ok(())
    }
}
