//! The bus over a NATS server. Core NATS alone: nothing of it is stored.

mod connection;
mod settings;
mod watchdog;

pub(crate) use connection::{Connection, Pump};
pub use settings::{Credentials, Nats, PAYLOAD_BYTES_MAX, Secret, TlsFiles};
