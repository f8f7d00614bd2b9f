//! A Vizier of real processes on one machine: what `ci/fleet` and the tests of several processes use.
//!
//! ```text
//! network namespace of the fleet: a bridge, and on its address nats, etcd, cloud, connector, metadata, broker, Kelvins
//!    │ veth each
//! node 1 … node n: network, PID and mount namespace of its own, with an agent, and whatever is run there (`Fleet::exec`)
//! ```
//!
//! What runs is recorded in a folder, so that another process can look at it, change it and end it.

mod client;
mod extend;
mod fleet;
mod machine;
mod network;
mod parts;
mod pki;
mod process;
mod record;
mod settings;
mod start;

pub use client::{Answer, Way};
pub use fleet::{Fleet, StatusLine};
pub use machine::{eventually, skip_reason};
pub use process::Process;
pub use settings::{KELVINS_MAX, PEMS_MAX, Settings, Store};
