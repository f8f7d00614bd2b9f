//! Traffic as text and as proptest generators, shared by the laws, the golden cases and the fuzz targets.
//!
//! ```text
//! text      words, times and quoted bytes of the case files; how records are shown
//! traffic   one connection as its parser sees it: bytes, gaps, ticks (golden/protocols)
//! kernel    connections as the tracker sees them: socket events (golden/conntrack), and traffic turned into such events
//! http      generated conversations, and what they must be read as
//! cuts      where streams are cut, what is lost, what comes late
//! fuzz      what the fuzz targets do with their input, for replay
//! ```

pub mod cuts;
pub mod fuzz;
pub mod http;
pub mod kernel;
pub mod text;
pub mod traffic;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
