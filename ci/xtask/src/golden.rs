//! Runs the pinned cases: the test target `golden` of each crate that has one.

use std::path::Path;

use anyhow::{Result, ensure};

use crate::cargo;

/// What the runners read: only cases whose path below golden/ begins with this.
const ONLY: &str = "GOLDEN_ONLY";

/// Runs all cases, or those below a folder of golden/.
pub(crate) fn run(root: &Path, path: Option<&str>) -> Result<bool> {
    let mut command = cargo::command(root);
    command.args(["test", "--locked", "--quiet", "--workspace", "--test", "golden"]);
    if let Some(path) = path {
        let path = path.trim_start_matches("golden/").trim_end_matches('/');
        ensure!(root.join("golden").join(path).is_dir(), "golden/{path} is no folder");
        command.env(ONLY, path);
    }
    Ok(command.status()?.success())
}
