//! What the broker tells Prometheus.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use service::Metrics;

use crate::broker::Broker;
use crate::tracker::TrackerHandle;

/// Everything is counted where it happens, and read when it is asked for.
pub(crate) fn register(metrics: &Metrics, broker: &Broker, known: &TrackerHandle) {
    metrics.with(|registry| registry.register_collector(Box::new(Numbers { broker: broker.clone(), known: known.clone() })));
}

struct Numbers {
    broker: Broker,
    known: TrackerHandle,
}

impl fmt::Debug for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Numbers")
    }
}

impl Collector for Numbers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let counts = self.broker.counters().snapshot();
        let counters = [
            ("px_broker_queries_started", "Queries that were let in", counts.queries_started),
            ("px_broker_queries_finished", "Queries whose last message was handed over", counts.queries_finished),
            ("px_broker_queries_failed", "Queries that failed while they ran", counts.queries_failed),
            ("px_broker_queries_abandoned", "Queries whose client went away", counts.queries_abandoned),
            ("px_broker_queries_refused", "Queries refused because too many were running", counts.queries_refused),
            ("px_broker_scripts_rejected", "Scripts that did not compile", counts.scripts_rejected),
            ("px_broker_rows_sent", "Rows handed over", counts.rows_sent),
            ("px_broker_batches_sent", "Row batches handed over", counts.batches_sent),
            ("px_broker_nulls_replaced", "Values that were NULL and were sent as the type's zero", counts.nulls_replaced),
            ("px_broker_records_processed", "Rows that queries read from tables", counts.records_processed),
            ("px_broker_bytes_processed", "Bytes that queries read from tables", counts.bytes_processed),
            ("px_broker_rows_exported", "Rows that endpoints of exports took", counts.rows_exported),
            ("px_broker_export_points_refused", "Data points and spans of them that endpoints refused", counts.export_points_refused),
            ("px_broker_exports_failed", "Queries that failed because an endpoint did not take their rows", counts.exports_failed),
            ("px_broker_calls_unauthenticated", "Calls refused for want of a valid token or key", self.broker.inner.access.refused()),
            ("px_broker_agent_updates_ignored", "Updates of agents or tables that made no sense", self.known.ignored()),
            ("px_broker_passthrough_requests", "Requests that came by the bus", counts.passthrough_requests),
            ("px_broker_passthrough_repeated", "Requests by the bus that were said again", counts.passthrough_repeated),
            ("px_broker_passthrough_unknown", "Requests by the bus for calls that are not known", counts.passthrough_unknown),
            ("px_broker_passthrough_malformed", "Messages on the bus that were no request", counts.passthrough_malformed),
            ("px_broker_cron_runs", "Runs of scripts that run again and again", counts.cron_runs),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        let view = self.known.view();
        let (pems, kelvins) = view.map_or((0, 0), |view| (view.collecting().count(), view.kelvins().count()));
        let gauges = [
            ("px_broker_queries_running", "Queries that run", self.broker.queries_running()),
            ("px_broker_agents", "Agents that have rows", pems),
            ("px_broker_kelvins", "Kelvins", kelvins),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(value as i64);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}
