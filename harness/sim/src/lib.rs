//! A whole Vizier in one process on virtual time, with faults from a seed, and what must hold after every step.
//!
//! ```text
//! seed ─▶ story: what happens, and when ─▶ Vizier: metadata · Kelvins · PEMs · broker, each the component's own code
//!                                            │ bus::Hub (loss, duplicates, delays) · Net (cuts, splits, stalls) · one store
//!                                            └─▶ after every step: what must hold;   at the end: all is as if nothing had happened
//! ```

mod grave;
mod net;
mod parts;
mod story;
mod vizier;
mod world;

pub use story::{Told, tell};
