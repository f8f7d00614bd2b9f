//! Shell scripts stop at the first error, and shellcheck has nothing to say.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::finding::Finding;
use crate::repo::File;

const STRICT: &str = "set -euo pipefail";

fn is_script(file: &File) -> bool {
    file.text.lines().next().is_some_and(|line| line.starts_with("#!") && line.ends_with("sh"))
}

/// A file that scripts source has no first line of its own.
fn is_sourced(file: &File) -> bool {
    file.text.starts_with("# shellcheck shell=")
}

pub(super) fn strict(files: &[File]) -> Vec<Finding> {
    let scripts = files.iter().filter(|file| is_script(file));
    scripts
        .filter(|file| !file.text.lines().any(|line| line == STRICT))
        .map(|file| Finding::refuse(&file.path, format!("is a script without `{STRICT}`")))
        .collect()
}

/// What shellcheck says, where it is installed.
pub(super) fn shellcheck(root: &Path, files: &[File]) -> Result<Vec<Finding>> {
    let scripts: Vec<&str> = files.iter().filter(|file| is_script(file) || is_sourced(file)).map(|file| file.path.as_str()).collect();
    if scripts.is_empty() {
        return Ok(Vec::new());
    }
    let output = match Command::new("shellcheck").args(["-x", "-f", "gcc"]).args(&scripts).current_dir(root).output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(vec![Finding::ask("shellcheck", "is not installed: the scripts are not checked (ci/setup installs it)")]);
        }
        Err(error) => return Err(error).context("cannot run shellcheck"),
    };
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter_map(|line| line.split_once(": ")).map(|(place, message)| Finding::refuse(place, message)).collect())
}

#[cfg(test)]
mod tests {
    use super::super::{as_files, as_text};
    use super::*;

    #[test]
    fn a_script_that_goes_on_after_an_error_is_refused() {
        let files = as_files(&[
            ("ci/a", "#!/bin/bash\nset -euo pipefail\n"),
            ("ci/b", "#!/bin/bash\nset -e\n"),
            ("ci/c.py", "#!/usr/bin/env python3\n"),
        ]);
        assert_eq!(as_text(&strict(&files)), ["refuse: ci/b: is a script without `set -euo pipefail`"]);
    }
}
