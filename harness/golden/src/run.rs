use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::Case;

/// What became of a contract's cases.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How many ran.
    pub cases: usize,
    /// A text for each that failed.
    pub failures: Vec<String>,
}

/// Checks every case of a contract: `contract` is a folder of `golden/`, perhaps with an area.
///
/// # Panics
/// If a case fails, or there is none: this is the body of a test.
pub fn run(contract: &str, check: impl Fn(&Case) -> Result<()>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden");
    let (update, only) = (std::env::var_os("UPDATE_GOLDEN").is_some(), std::env::var("GOLDEN_ONLY").unwrap_or_default());
    let outcome = run_in(&root, contract, &only, update, check).unwrap_or_else(|error| panic!("golden/{contract}: {error:#}"));
    assert!(
        outcome.failures.is_empty(),
        "{} of {} cases of golden/{contract} failed; `UPDATE_GOLDEN=1` accepts what is new\n\n{}",
        outcome.failures.len(),
        outcome.cases,
        outcome.failures.join("\n")
    );
}

/// As [`run`], with everything said: cases below `root/contract` whose path below `root` begins with `only`.
///
/// # Errors
/// If there is no case, or the folders cannot be read.
pub fn run_in(root: &Path, contract: &str, only: &str, update: bool, check: impl Fn(&Case) -> Result<()>) -> Result<Outcome> {
    let mut folders = Vec::new();
    find(&root.join(contract), &mut folders).with_context(|| format!("reading {}", root.join(contract).display()))?;
    ensure!(!folders.is_empty(), "there is no case");
    let mut outcome = Outcome { cases: 0, failures: Vec::new() };
    for folder in folders {
        let name = folder.strip_prefix(root).unwrap_or(&folder).to_string_lossy().into_owned();
        if !name.starts_with(only) {
            continue;
        }
        outcome.cases += 1;
        let case = Case::new(name.clone(), folder, update);
        match catch_unwind(AssertUnwindSafe(|| check(&case))) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => case.problem(format!("{error:#}")),
            Err(panic) => case.problem(format!("panicked: {}", panic_text(panic.as_ref()))),
        }
        let problems = case.into_problems();
        if !problems.is_empty() {
            outcome.failures.push(format!("== {name}\n{}\n", problems.join("\n")));
        }
    }
    Ok(outcome)
}

/// Folders without folders, by name. Files beside folders describe them (`README.md`).
fn find(folder: &Path, cases: &mut Vec<PathBuf>) -> Result<()> {
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            folders.push(entry.path());
        }
    }
    folders.sort();
    for inner in folders {
        let before = cases.len();
        find(&inner, cases)?;
        if cases.len() == before {
            cases.push(inner);
        }
    }
    Ok(())
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a text")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upper(case: &Case) -> Result<()> {
        case.expect("out.txt", &case.input("in.txt")?.to_uppercase())
    }

    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn what_agrees_passes_and_what_differs_is_shown() {
        let root = root(&[
            ("k/README.md", ""),
            ("k/a/one/in.txt", "x\n"),
            ("k/a/one/out.txt", "X\n"),
            ("k/a/two/in.txt", "y\n"),
            ("k/a/two/out.txt", "Z\n"),
        ]);
        let outcome = run_in(root.path(), "k", "", false, upper).unwrap();
        assert_eq!(outcome.cases, 2);
        assert_eq!(outcome.failures, ["== k/a/two\n`out.txt` differs (- expected, + actual)\n  - Z\n  + Y\n\n"]);
        assert_eq!(run_in(root.path(), "k", "k/a/one", false, upper).unwrap(), Outcome { cases: 1, failures: vec![] });
    }

    #[test]
    fn missing_and_unread_files_fail_and_an_update_writes() {
        let root = root(&[("k/a/in.txt", "x"), ("k/a/stray.txt", "")]);
        let failures = run_in(root.path(), "k", "", false, upper).unwrap().failures;
        assert!(failures[0].contains("`out.txt` is missing") && failures[0].contains("`stray.txt` is neither"), "{failures:?}");
        std::fs::remove_file(root.path().join("k/a/stray.txt")).unwrap();
        assert!(run_in(root.path(), "k", "", true, upper).unwrap().failures.is_empty());
        assert!(run_in(root.path(), "k", "", false, upper).unwrap().failures.is_empty());
    }

    #[test]
    fn a_contract_without_cases_and_a_panic_fail() {
        let root = root(&[("k/README.md", ""), ("l/a/in.txt", "x")]);
        assert_eq!(run_in(root.path(), "k", "", false, upper).unwrap_err().to_string(), "there is no case");
        let failures = run_in(root.path(), "l", "", false, |case| panic!("at {}", case.input("in.txt").unwrap())).unwrap().failures;
        assert_eq!(failures, ["== l/a\npanicked: at x\n"]);
    }
}
