use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// What the broker did and refused, since its start.
        #[derive(Debug, Default)]
        pub struct Counters { $(pub(crate) $name: Counter,)+ }

        /// Their values at one moment.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct CountersSnapshot { $($(#[$doc])* pub $name: u64,)+ }

        impl Counters {
            /// Reads all of them.
            pub fn snapshot(&self) -> CountersSnapshot {
                CountersSnapshot { $($name: self.$name.get(),)+ }
            }
        }
    };
}

counters! {
    /// Queries that were let in.
    queries_started,
    /// Queries whose last message was handed over.
    queries_finished,
    /// Queries that failed while they ran.
    queries_failed,
    /// Queries whose client went away.
    queries_abandoned,
    /// Queries refused because too many were running.
    queries_refused,
    /// Scripts that did not compile.
    scripts_rejected,
    /// Rows handed over.
    rows_sent,
    /// Row batches handed over.
    batches_sent,
    /// Values of a column that were NULL and were sent as the type's zero.
    nulls_replaced,
    /// Rows that queries read from tables.
    records_processed,
    /// Bytes that queries read from tables.
    bytes_processed,
    /// Rows that endpoints of exports took.
    rows_exported,
    /// Data points and spans of them that endpoints refused.
    export_points_refused,
    /// Queries that failed because an endpoint did not take their rows.
    exports_failed,
    /// Requests that came by the bus.
    passthrough_requests,
    /// Requests by the bus that were said again, with or without the call itself.
    passthrough_repeated,
    /// Requests by the bus for answers to calls that are not known (any more).
    passthrough_unknown,
    /// Messages on the bus that were no request.
    passthrough_malformed,
    /// Runs of scripts that run again and again.
    cron_runs,
}

/// Only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
