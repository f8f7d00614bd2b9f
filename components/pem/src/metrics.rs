//! What the node agent tells of its tables and collectors, read when it is asked for.

use std::fmt;
use std::sync::Arc;

use collectors::State;
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use service::Metrics;
use table_store::Stats;

use crate::agent::Pem;

/// The node agent that captures now; there is none before the first registration. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Current {
    pem: Arc<Mutex<Option<Pem>>>,
}

impl Current {
    pub(crate) fn set(&self, pem: Pem) {
        *self.pem.lock() = Some(pem);
    }

    pub(crate) fn register(&self, metrics: &Metrics) {
        metrics.with(|registry| registry.register_collector(Box::new(self.clone())));
    }
}

/// A number of a table: name, help, whether it only grows, where it stands.
type TableNumber = (&'static str, &'static str, bool, fn(&Stats) -> u64);

const TABLE_NUMBERS: [TableNumber; 5] = [
    ("px_pem_table_rows", "Rows that can be read", false, |stats| stats.rows),
    ("px_pem_table_bytes", "Bytes held, hot and sealed", false, Stats::bytes),
    ("px_pem_table_raw_bytes", "Bytes that the rows take as plain Arrow", false, |stats| stats.bytes_raw),
    ("px_pem_table_rows_added", "Rows appended", true, |stats| stats.rows_added),
    ("px_pem_table_rows_expired", "Rows let go for lack of room", true, |stats| stats.rows_expired),
];

impl Collector for Current {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(pem) = self.pem.lock().clone() else { return Ok(()) };
        let tables: Vec<_> = pem.store().tables().iter().map(|table| (table.name().to_owned(), table.stats())).collect();
        for (name, help, grows, number) in TABLE_NUMBERS {
            let kind = if grows { MetricType::Counter } else { MetricType::Gauge };
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for (table, stats) in &tables {
                let labels = [("table", table.as_str())];
                let metric = family.encode_family(&labels)?;
                if grows {
                    ConstCounter::new(number(stats)).encode(metric)?;
                } else {
                    ConstGauge::new(number(stats) as i64).encode(metric)?;
                }
            }
        }
        let mut family = encoder.encode_descriptor("px_pem_collector_running", "Whether the collector runs", None, MetricType::Gauge)?;
        for status in pem.statuses() {
            let runs = i64::from(matches!(status.state, State::Running { .. }));
            let collector = status.collector.to_string();
            let labels = [("collector", collector.as_str())];
            ConstGauge::new(runs).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
