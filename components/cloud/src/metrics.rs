//! What the control plane counts.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

/// Clones are the same.
#[derive(Debug, Default, Clone)]
pub(crate) struct Metrics {
    pub(crate) bridges: Gauge,
    pub(crate) calls: Counter,
    pub(crate) bridge_messages_malformed: Counter,
    pub(crate) bridge_messages_unheard: Counter,
    pub(crate) answers_late: Counter,
    pub(crate) calls_overrun: Counter,
    pub(crate) calls_with_losses: Counter,
    pub(crate) calls_lost: Counter,
    pub(crate) calls_repeated: Counter,
    pub(crate) calls_refused: Counter,
}

impl Metrics {
    pub(crate) fn registered(to: &service::Metrics) -> Self {
        let counter = |name, help| to.register(name, help, Counter::default());
        Self {
            bridges: to.register("px_cloud_bridges", "Viziers that are connected", Gauge::default()),
            calls: counter("px_cloud_calls", "Calls that were passed through to a Vizier"),
            bridge_messages_malformed: counter(
                "px_cloud_bridge_messages_malformed",
                "Messages of Viziers that are not what their topic says",
            ),
            bridge_messages_unheard: counter("px_cloud_bridge_messages_unheard", "Messages of Viziers on topics that nobody listens to"),
            answers_late: counter("px_cloud_answers_late", "Answers to calls that nobody waits for any more"),
            calls_overrun: counter("px_cloud_calls_overrun", "Calls that ended because their client read too slowly"),
            calls_with_losses: counter("px_cloud_calls_with_losses", "Times that an answer was missing and was asked for again"),
            calls_lost: counter("px_cloud_calls_lost", "Calls that ended because an answer was lost on the way"),
            calls_repeated: counter("px_cloud_calls_repeated", "Times that a call was said again because nothing was heard of it"),
            calls_refused: counter("px_cloud_calls_refused", "Calls, registrations and bridges without a valid key or token"),
        }
    }
}
