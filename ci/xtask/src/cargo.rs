//! Running cargo, and what `cargo metadata` says.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// The targets whose dependencies ship.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// The cargo that runs us.
pub(crate) fn command(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    command
}

/// Runs cargo with these arguments; whether it succeeded.
pub(crate) fn run(root: &Path, args: &[&str]) -> Result<bool> {
    let status = command(root).args(args).status().with_context(|| format!("cannot run cargo {}", args.join(" ")))?;
    Ok(status.success())
}

/// The part of `cargo metadata` that is read here.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
    pub(crate) workspace_members: Vec<String>,
    #[serde(default)]
    pub(crate) resolve: Option<Resolve>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Package {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) license: Option<String>,
    /// `None` for the crates of this workspace.
    pub(crate) source: Option<String>,
    pub(crate) manifest_path: String,
    #[serde(default)]
    pub(crate) dependencies: Vec<Dependency>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// `dev`, `build`, or nothing for a normal one.
    pub(crate) kind: Option<String>,
    /// Where a crate of this workspace lies.
    pub(crate) path: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Resolve {
    pub(crate) nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Node {
    pub(crate) id: String,
}

/// How much of the dependencies to ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The crates of the workspace alone.
    Workspace,
    /// Everything that is built for our platform.
    Platform,
}

/// The workspace.
pub(crate) const MANIFEST: &str = "Cargo.toml";
/// The BPF programs: built for another target by another compiler, and therefore a workspace of their own.
pub(crate) const PROBES: &str = "ebpf/probes/Cargo.toml";
/// The fuzz targets: a workspace of their own too, since they need another toolchain to run.
pub(crate) const FUZZ: &str = "fuzz/Cargo.toml";

/// What cargo says of the workspace that a manifest belongs to.
pub(crate) fn metadata(root: &Path, manifest: &str, reach: Reach) -> Result<Metadata> {
    let mut command = command(root);
    command.args(["metadata", "--format-version", "1", "--locked", "--manifest-path", manifest]);
    match reach {
        Reach::Platform => command.args(["--filter-platform", PLATFORM]),
        Reach::Workspace => command.arg("--no-deps"),
    };
    let output = command.output().context("cannot run cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim());
    serde_json::from_slice(&output.stdout).context("cannot parse what cargo metadata says")
}
