//! Every limit of the broker.

use std::time::Duration;

/// Queries at a time. Each may hold [`MESSAGES_WAITING_MAX`] batches for its client: 64 × 8 × 0.9 MiB is 0.45 GiB at the very most,
/// if every client is slow. The next one gets RESOURCE_EXHAUSTED.
pub const CONCURRENT_QUERIES_MAX: usize = 64;

/// Bytes of one script. The longest that we know has 20 KiB; a megabyte is somebody's mistake.
pub const SCRIPT_BYTES_MAX: usize = 1024 * 1024;

/// Messages that wait for one client. When they are full the query waits: rows stay where they are until the client reads.
pub const MESSAGES_WAITING_MAX: usize = 8;

/// Encoded bytes of one row batch. NATS carries 1 MiB at most, 16 KiB are for what is around a batch, and a tenth is kept free. The
/// public API promises no size; clients' own limit is 4 MiB.
pub const ROW_BATCH_BYTES_MAX: usize = (1024 * 1024 - 16 * 1024) / 10 * 9;

/// Encoded bytes of one row batch that is to be encrypted. Authlib since 1.6.5, which the Python client uses, refuses to inflate
/// more than 250 KiB, and 10 KiB are kept free.
pub const ENCRYPTED_BATCH_BYTES_MAX: usize = 240 * 1024;

/// Encoded bytes of one row: it cannot be cut, and gRPC clients take messages of 4 MiB. The query fails on a larger one.
pub const ROW_BYTES_MAX: usize = 4 * 1024 * 1024 - 64 * 1024;

/// Text of a plan in one row batch. Reference: api.md §3.2.
pub(crate) const PLAN_TEXT_BYTES_MAX: usize = ROW_BATCH_BYTES_MAX - 64 * 1024;

/// A client that takes no message for this long loses its query. Reference: api.md §3.3.
pub(crate) const CLIENT_SILENCE_MAX: Duration = Duration::from_mins(3);

/// A query that yields nothing for this long is cancelled. Reference: api.md §3.3.
pub(crate) const ENGINE_SILENCE_MAX: Duration = Duration::from_mins(3);

/// Time between two self-tests, and between two messages of a health check. Reference: api.md §4.
pub const HEALTH_EVERY: Duration = Duration::from_secs(5);

/// A self-test that takes longer has failed.
pub(crate) const HEALTH_TEST_MAX: Duration = Duration::from_secs(20);

/// How long a client that comes back waits for its query to become known. Reference: api.md §3.3.
pub(crate) const REATTACH_WAIT: Duration = Duration::from_secs(1);

/// Calls by the bus at a time: queries, and as many health checks of those who look at the cluster.
pub(crate) const PASSTHROUGH_CALLS_MAX: usize = 256;

/// Calls by the bus that have ended and whose last answers can be asked for again; the oldest go first.
pub(crate) const PASSTHROUGH_ENDED_MAX: usize = 256;

/// Bytes of answers to one call that are kept until they are acknowledged; with that many the query waits. A tenth of a second of travel
/// at 160 MB/s, and with as many queries as may run 1 GiB at the very most.
pub(crate) const PASSTHROUGH_KEPT_BYTES_MAX: usize = 16 * 1024 * 1024;
