//! Scripts that run again and again. Reference: vizier.md §7.3.
//!
//! ```text
//! control plane ── all scripts, then each change ─▶ ScriptSync ─▶ metadata's store ─▶ Schedule (pure) ─ due ─▶ Runner ─▶ Broker ─▶ how it went ─▶ store
//! ```

mod checksum;
mod configs;
mod runner;
mod schedule;
mod sync;

use bus::Bus;

use crate::broker::Broker;
use crate::metadata::Metadata;

/// Keeps the scripts as the control plane has them, and runs them, until the broker stops.
pub(crate) async fn serve(broker: Broker, metadata: Metadata, bus: Bus) {
    let (changed, changes) = tokio::sync::watch::channel(0_u64);
    let sync = sync::ScriptSync::new(metadata.clone(), bus, changed);
    let stop = broker.inner.stop.clone();
    let runner = runner::Runner::new(broker, metadata, changes);
    stop.run_until_cancelled(async { tokio::join!(sync.run(), runner.run()) }).await;
}
