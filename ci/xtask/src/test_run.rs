//! Runs the tests, shows them as they go, and adds up what the test binaries say.

use std::fmt;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result};

use crate::cargo;

/// Where a test that cannot run on this machine writes why, a line each. Without CI=true only: there it fails instead.
const SKIPPED_FILE: &str = "PX_SKIPPED_FILE";

/// What all test binaries together have said.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Sum {
    passed: u64,
    failed: u64,
    skipped: u64,
    /// Binaries that did not compile, or died without a closing line.
    broken: bool,
}

impl Sum {
    pub(crate) fn well(&self) -> bool {
        self.failed == 0 && !self.broken
    }

    /// Adds the closing line of one test binary; other lines say nothing.
    fn add(&mut self, line: &str) {
        let Some(counts) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". ")) else { return };
        for part in counts.1.split("; ") {
            let Some((count, what)) = part.split_once(' ') else { continue };
            let Ok(count) = count.parse::<u64>() else { continue };
            match what {
                "passed" => self.passed += count,
                "failed" => self.failed += count,
                "ignored" => self.skipped += count,
                _ => {}
            }
        }
    }

    /// Tests that passed only because they did not run.
    fn skip(&mut self, count: u64) {
        self.passed = self.passed.saturating_sub(count);
        self.skipped += count;
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// Runs `cargo test` over the workspace, or what `rest` says of it; prints the sum as the last line.
pub(crate) fn run(root: &Path, rest: &[String]) -> Result<Sum> {
    let skipped_file = std::env::temp_dir().join(format!("px-skipped-{}", std::process::id()));
    let mut command = cargo::command(root);
    command.args(["test", "--locked", "--no-fail-fast"]);
    if !rest.iter().any(|arg| matches!(arg.as_str(), "-p" | "--package" | "--workspace")) {
        command.arg("--workspace");
        // End-to-end tests run the programs that ship; cargo builds those for a package's own tests alone.
        if !cargo::run(root, &["build", "--locked", "--workspace", "--bins", "--examples"])? {
            println!("the programs do not build");
            return Ok(Sum { broken: true, ..Sum::default() });
        }
    }
    let mut child = command.args(rest).env(SKIPPED_FILE, &skipped_file).stdout(Stdio::piped()).spawn().context("cannot run cargo test")?;
    let mut sum = Sum::default();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line.context("cannot read what cargo test prints")?;
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            sum.add(&line);
        }
    }
    sum.broken = !child.wait().context("cannot wait for cargo test")?.success();
    let skipped = std::fs::read_to_string(&skipped_file).unwrap_or_default();
    std::fs::remove_file(&skipped_file).ok();
    for line in skipped.lines() {
        println!("skipped: {line}");
    }
    sum.skip(skipped.lines().count() as u64);
    if sum.broken && sum.failed == 0 {
        println!("a test binary did not build, or ended without its closing line");
    }
    println!("{sum}");
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_over_all_test_binaries() {
        let mut sum = Sum::default();
        for line in [
            "running 2 tests",
            "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: FAILED. 3 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.10s",
        ] {
            sum.add(line);
        }
        assert_eq!(sum.to_string(), "5 passed, 1 failed, 2 skipped");
        assert!(!sum.well());
    }

    #[test]
    fn a_skipped_test_does_not_count_as_passed() {
        let mut sum = Sum::default();
        sum.add("test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s");
        sum.skip(2);
        assert_eq!(sum.to_string(), "1 passed, 0 failed, 2 skipped");
        assert!(sum.well());
    }

    #[test]
    fn a_binary_that_does_not_build_fails_the_run() {
        assert!(!Sum { passed: 4, broken: true, ..Sum::default() }.well());
    }
}
