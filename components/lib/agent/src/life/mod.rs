//! An agent's life on the bus: who it is, that it lives, what changed.
//!
//! ```text
//!              ┌── asked again with growing, jittered pauses ──┐
//!              ▼                                               │
//! start ─▶ Registering ── Registered(id, asid) ─▶ Running ── Unregistered, another identity
//!              │ superseded                          │ a beat each 5 s; the same one until it is acknowledged
//!              └───────────────▶ Stopped ◀───────────┘ superseded, told to stop
//! ```
//!
//! Nothing here does IO or reads a clock: [`Life::handle`] takes an event, the time and randomness, and returns effects.

mod machine;
mod news;
mod types;
mod wire;

pub use machine::{CONFIRM_PERIOD, Effect, Event, HEARTBEAT_PERIOD, Life, LifeCounts, REGISTER_JITTER_MAX, Standing};
pub use news::{News, PROCESS_EVENTS_MAX};
pub use types::{
    Answer, Beat, Cluster, Collector, CollectorState, ColumnSchema, Incarnation, Kelvin, Kernel, Member, Now, ProcessEvent, Profile,
    Refusal, Registration, TableSchema, Word,
};
pub use wire::{decode, encode_beat, encode_registration, uuid};
