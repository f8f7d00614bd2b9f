use ids::MonoNs;
use protocols::Sink;

use crate::Metrics;

/// What every step of an event's way needs: the time, and where results go.
#[derive(Debug, Default)]
pub(crate) struct Context {
    pub(crate) now: MonoNs,
    pub(crate) sink: Sink,
    pub(crate) metrics: Metrics,
}
