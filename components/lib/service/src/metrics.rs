use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::{Metric, Registry};

/// What `/metrics` tells, in the text format of OpenMetrics. Clones are the same.
///
/// Each component has one `metrics.rs` that makes its metrics and registers them here; names carry the unit.
#[derive(Clone, Default)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// With none.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a metric and gives it back. `help` is a sentence without its full stop; a counter's name gets `_total` by itself.
    pub fn register<M: Metric + Clone>(&self, name: &str, help: &str, metric: M) -> M {
        self.registry.lock().register(name, help, metric.clone());
        metric
    }

    /// For collectors, prefixes and whatever else the registry can do.
    pub fn with<T>(&self, change: impl FnOnce(&mut Registry) -> T) -> T {
        change(&mut self.registry.lock())
    }

    /// All of them as text.
    ///
    /// # Errors
    /// A metric cannot be written as text.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry.lock())?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::*;

    #[test]
    fn a_metric_is_told_with_its_help() {
        let metrics = Metrics::new();
        let queries: Counter = metrics.register("px_queries", "Queries that have ended", Counter::default());
        queries.inc();
        insta::assert_snapshot!(metrics.encode().unwrap(), @r"
        # HELP px_queries Queries that have ended.
        # TYPE px_queries counter
        px_queries_total 1
        # EOF
        ");
    }
}
