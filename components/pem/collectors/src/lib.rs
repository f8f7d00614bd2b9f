//! Loads the eBPF programs, reads their ring, tells what runs and what does not.
//!
//! ```text
//! btf, offsets   where this kernel keeps the fields that the programs read
//! load           what the kernel has → programs loaded and attached, a status for each collector
//! source         the ring → events; verdicts and counters by map
//! decode         the ABI's records → events
//! ```

pub mod btf;
mod decode;
mod error;
mod event;
mod load;
mod offsets;
mod privilege;
mod settings;
mod source;
mod status;

pub use ebpf_abi::Counter;
pub use error::Error;
pub use event::{Process, ProcessEvent, SourceEvent};
pub use load::Collectors;
pub use settings::{Settings, WayChoice};
pub use source::{Losses, READ_RECORDS_MAX, Source};
pub use status::{Collector, State, Status, Way};
