use std::path::PathBuf;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Nodes of one fleet: each has an address of the same network, from 10 upwards, and an agent with its own tables.
pub const PEMS_MAX: usize = 32;
/// Kelvins of one fleet.
pub const KELVINS_MAX: usize = 8;

/// Where metadata keeps its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Store {
    /// In a file.
    Embedded,
    /// In an etcd of the fleet's own.
    Etcd,
}

/// What to start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Folder for everything: what runs, logs, state, certificates. Made, and removed in the end.
    pub dir: PathBuf,
    /// Folder with the binaries.
    pub bin_dir: PathBuf,
    /// How many nodes.
    pub pems: usize,
    /// How many Kelvins.
    pub kelvins: usize,
    /// Where metadata keeps its state.
    pub store: Store,
}
