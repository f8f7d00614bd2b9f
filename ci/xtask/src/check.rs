//! Runs the chores.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;

use crate::args::{Args, Chore};
use crate::test_run::Sum;
use crate::{cargo, deny, finding, golden, layers, new, repo, test_run, tidy};

/// Runs the chore that was asked for.
pub fn main(args: &Args) -> ExitCode {
    let done = match &args.chore {
        Chore::Check => Ok(check(&repo::root())),
        Chore::Fmt
        | Chore::Clippy
        | Chore::Layers
        | Chore::Tidy { .. }
        | Chore::Deny
        | Chore::Test { .. }
        | Chore::Golden { .. }
        | Chore::New { .. } => run(&repo::root(), &args.chore).map(|outcome| outcome.well),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

struct Outcome {
    well: bool,
    sum: Option<Sum>,
}

impl From<bool> for Outcome {
    fn from(well: bool) -> Self {
        Self { well, sum: None }
    }
}

fn run(root: &Path, chore: &Chore) -> Result<Outcome> {
    Ok(match chore {
        Chore::Check => check(root).into(),
        Chore::Fmt => fmt(root)?.into(),
        Chore::Clippy => clippy(root)?.into(),
        Chore::Layers => finding::report(&layers::findings(root)?).into(),
        Chore::Tidy { fix } => finding::report(&tidy::findings(root, *fix)?).into(),
        Chore::Deny => finding::report(&deny::findings(root)?).into(),
        Chore::Test { rest } => {
            let sum = test_run::run(root, rest)?;
            Outcome { well: sum.well(), sum: Some(sum) }
        }
        Chore::Golden { path } => golden::run(root, path.as_deref())?.into(),
        Chore::New { layer, folder, purpose } => new::run(root, layer, folder, purpose)?.into(),
    })
}

fn fmt(root: &Path) -> Result<bool> {
    let mut well = cargo::run(root, &["fmt", "--all", "--check"])?;
    for manifest in [cargo::PROBES, cargo::FUZZ] {
        well &= !root.join(manifest).exists() || cargo::run(root, &["fmt", "--manifest-path", manifest, "--check"])?;
    }
    Ok(well)
}

/// A compiler newer than the pinned one has lints that nobody has seen yet: they are shown, and do not fail a build that the pinned one accepts.
fn clippy(root: &Path) -> Result<bool> {
    let mut args = vec!["clippy", "--workspace", "--all-targets", "--locked", "--quiet"];
    if std::env::var("PX_CARGO").as_deref() != Ok("debian") {
        args.extend(["--", "-D", "warnings"]);
    }
    cargo::run(root, &args)
}

/// Every chore, also after one has failed; the last line is the sum over the tests.
fn check(root: &Path) -> bool {
    let chores = [
        ("fmt", Chore::Fmt),
        ("clippy", Chore::Clippy),
        ("layers", Chore::Layers),
        ("tidy", Chore::Tidy { fix: false }),
        ("deny", Chore::Deny),
        ("test", Chore::Test { rest: Vec::new() }),
        ("golden", Chore::Golden { path: None }),
    ];
    let mut failed = Vec::new();
    let mut sum = Sum::default();
    for (name, chore) in &chores {
        println!("==> {name}");
        let begun = Instant::now();
        let outcome = run(root, chore).unwrap_or_else(|error| {
            println!("error: {error:#}");
            false.into()
        });
        if let Some(tests) = outcome.sum {
            sum = tests;
        }
        println!("==> {name}: {} in {} s", if outcome.well { "ok" } else { "FAILED" }, begun.elapsed().as_secs());
        if !outcome.well {
            failed.push(*name);
        }
    }
    if failed.is_empty() {
        println!("all {} chores are done", chores.len());
    } else {
        println!("failed: {}", failed.join(", "));
    }
    println!("{sum}");
    failed.is_empty()
}
