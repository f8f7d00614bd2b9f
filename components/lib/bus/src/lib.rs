//! The control bus: typed subjects over NATS, or in memory with the same laws.
//!
//! ```text
//! Subject<T> ── publish, request ──► Bus ── NATS (TLS, credentials, reconnects for ever) ──► Bus ──► Subscription<T>: Stream<Received<T>>
//!                                     └──── Hub (one process; stop, cut, lose, delay) ────────┘       bounded, loses the oldest, counts
//! ```
//!
//! Nothing that must survive rests on it: what must arrive is repeated until it is answered ([`Bus::repeat`]).

mod args;
mod backoff;
mod bus;
mod counts;
mod error;
mod link;
mod mailbox;
mod memory;
mod nats;
mod repeat;
pub mod subject;
mod subscription;

pub use args::NatsArgs;
pub use backoff::Backoff;
pub use bus::Bus;
pub use counts::Counts;
pub use error::Error;
pub use link::{Link, Reason, UNAVAILABLE};
pub use mailbox::{QUEUE_BYTES_MAX, QUEUE_MESSAGES_MAX, QueueLimits};
pub use memory::{Delivery, Fate, Hub};
pub use nats::{Credentials, Nats, PAYLOAD_BYTES_MAX, Secret, TlsFiles};
pub use repeat::{Pace, Repeat};
pub use subject::{Address, Pattern, Selector, Subject, Topic};
pub use subscription::{Received, Subscription};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
