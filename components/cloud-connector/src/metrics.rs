//! What the connector counts.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

/// Clones are the same.
#[derive(Debug, Default, Clone)]
pub(crate) struct Metrics {
    pub(crate) connected: Gauge,
    pub(crate) connects: Counter,
    pub(crate) sent: Counter,
    pub(crate) received: Counter,
    pub(crate) dropped: Counter,
    pub(crate) answers_unwanted: Counter,
    pub(crate) malformed: Counter,
    pub(crate) undelivered: Counter,
}

impl Metrics {
    pub(crate) fn registered(to: &service::Metrics) -> Self {
        let counter = |name, help| to.register(name, help, Counter::default());
        Self {
            connected: to.register("px_cloud_connector_connected", "1 while the control plane is connected", Gauge::default()),
            connects: counter("px_cloud_connector_connects", "Bridges that were opened"),
            sent: counter("px_cloud_connector_messages_sent", "Messages to the control plane"),
            received: counter("px_cloud_connector_messages_received", "Messages from the control plane"),
            dropped: counter("px_cloud_connector_messages_dropped", "Messages to the control plane for which there was no room"),
            answers_unwanted: counter("px_cloud_connector_answers_unwanted", "Answers to calls that ended with their bridge"),
            malformed: counter("px_cloud_connector_messages_malformed", "Messages that are not what their topic says"),
            undelivered: counter("px_cloud_connector_messages_undelivered", "Messages that the bus did not take"),
        }
    }
}
