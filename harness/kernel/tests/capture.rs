//! Every eBPF program is loaded, and captures real traffic, on every kernel of `kernels.toml`: a test for each of them.
#![allow(clippy::print_stdout, reason = "says why a kernel was skipped")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use harness_kernel::{Kernel, Machine, all, boot};
use libtest_mimic::{Arguments, Failed, Trial};

/// Loads the programs, makes traffic, compares rows; comes with the collectors.
const CHECK: &str = "capture-check";

fn main() -> ExitCode {
    let kernels = match all() {
        Ok(kernels) => kernels,
        Err(error) => {
            println!("{error:#}");
            return ExitCode::FAILURE;
        }
    };
    // A machine at a time: each has as many processors as small builders have.
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    libtest_mimic::run(&arguments, kernels.into_iter().map(trial).collect()).exit_code()
}

fn trial(kernel: Kernel) -> Trial {
    let ways: Vec<String> = kernel.ways.iter().map(ToString::to_string).collect();
    let name = format!("linux_{}_loads_every_program_and_captures_by_way_{}", kernel.name.replace('.', "_"), ways.join("_and_"));
    let missing = Machine::find(&kernel).err().map(|error| format!("{error:#}"));
    let skip = missing.is_some() && std::env::var_os("CI").is_none();
    if let (true, Some(reason)) = (skip, &missing) {
        println!("skipped: {name}: {reason}");
    }
    Trial::test(name, move || run(&kernel).map_err(|error| Failed::from(format!("{error:#}")))).with_ignored_flag(skip)
}

fn run(kernel: &Kernel) -> Result<()> {
    let outcome = boot(&Machine::find(kernel)?, kernel, &check()?)?;
    ensure!(outcome.is_well(), "{outcome}");
    Ok(())
}

/// The check, beside the test's own binary in the target folder: a binary or an example of the collectors.
fn check() -> Result<PathBuf> {
    let test = std::env::current_exe().context("cannot tell where the test lies")?;
    let folder = test.ancestors().nth(2).unwrap_or(Path::new("/"));
    let found = [folder.join(CHECK), folder.join("examples").join(CHECK)].into_iter().find(|path| path.exists());
    found.with_context(|| format!("{CHECK} was not built into {}: cargo build --bins --examples", folder.display()))
}
