//! Runs cases kept as data in `golden/` and compares or rewrites what they expect.
//!
//! A case is a folder with files and no folders: `golden/<contract>/<area>/<case>/`. Its check reads inputs and states expectations; a file that
//! is neither is an error, as is a contract without cases. `UPDATE_GOLDEN=1` writes the expectations, `GOLDEN_ONLY=contract/area` runs a part.

mod case;
mod diff;
mod run;

pub use case::Case;
pub use run::{Outcome, run, run_in};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
