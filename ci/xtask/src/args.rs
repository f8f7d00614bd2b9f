//! The command line.

use clap::{Parser, Subcommand};

/// The project's chores.
#[derive(Debug, Parser)]
#[command(name = "xtask")]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub(crate) chore: Chore,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Chore {
    /// All of the chores below, in this order; what continuous integration runs
    Check,
    /// Formatting: `cargo fmt --check`
    Fmt,
    /// Lints as errors: `cargo clippy --all-targets`
    Clippy,
    /// Dependencies between crates against ci/layers.toml
    Layers,
    /// Lengths, READMEs, purity, tests, scripts against ci/tidy.toml
    Tidy {
        /// Rewrites what can be rewritten: the clippy.toml of the pure crates
        #[arg(long)]
        fix: bool,
    },
    /// Licences, banned and duplicate crates, sources against deny.toml
    Deny,
    /// All tests of the workspace; the last line is their sum
    Test {
        /// Handed to `cargo test`, for example `-p protocols` or `-- http`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<String>,
    },
    /// The pinned cases in golden/, or those below a path; UPDATE_GOLDEN=1 rewrites what they expect
    Golden {
        /// A folder below golden/, for example `protocols/http`
        path: Option<String>,
    },
    /// The skeleton of a crate: manifest, lib.rs, README, its line in ci/layers.toml
    New {
        /// A layer of ci/layers.toml
        layer: String,
        /// The folder, for example `components/lib/symbols`; its last part names the crate
        folder: String,
        /// One sentence: what it is for
        purpose: String,
    },
}
