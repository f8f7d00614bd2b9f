//! Loads the eBPF programs, reads their ring, tells what runs and what does not.
//!
//! ```text
//! btf, offsets   where this kernel keeps the fields that the programs read
//! load           what the kernel has → programs loaded and attached, a status for each collector
//! source         the ring → events; verdicts and counters by map
//! decode         the ABI's records → events
//!
//! probes         probes on functions: deployed, read, removed
//! target         whose file is probed
//! symbol         where in the file a function begins
//! ```

pub mod btf;
mod decode;
mod error;
mod event;
mod load;
mod nearest;
mod offsets;
mod privilege;
mod probes;
mod settings;
mod source;
mod status;
mod symbol;
mod target;

pub use ebpf_abi::Counter;
pub use error::Error;
pub use event::{Process, ProcessEvent, SourceEvent};
pub use load::Collectors;
pub use nearest::Nearest;
pub use probes::{Arguments, ProbeCounts, ProbeEvent, ProbeId, ProbeSpec, Probed, Probes, READ_CALLS_MAX, Returned};
pub use settings::{Settings, WayChoice};
pub use source::{Losses, READ_RECORDS_MAX, Source};
pub use status::{Collector, State, Status, Way};
pub use target::Binary;
