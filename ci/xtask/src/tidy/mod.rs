//! What the tree looks like: lengths, READMEs, purity, tests, words, scripts.

mod architecture;
mod length;
mod licence;
mod pure;
mod readme;
mod rust;
mod scripts;
mod testing;
mod words;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde::Deserialize;

use crate::cargo::{self, MANIFEST, Reach};
use crate::finding::Finding;
use crate::layers::{self, Rules};
use crate::repo;

const LISTED: &str = "ci/tidy.toml";

/// ci/tidy.toml: a place and the reason why a rule does not fit there.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    #[serde(default)]
    oversize: BTreeMap<String, String>,
    #[serde(default)]
    long_functions: BTreeMap<String, String>,
    #[serde(default)]
    sleeping: BTreeMap<String, String>,
}

/// A crate of the workspace and its folder, relative to the root.
struct Crate {
    name: String,
    folder: String,
}

/// What there is to say about this checkout. With `fix`, what can be rewritten is rewritten first.
pub(crate) fn findings(root: &Path, fix: bool) -> Result<Vec<Finding>> {
    let rules: Rules = repo::toml(root, layers::RULES)?;
    let listed: Listed = repo::toml(root, LISTED)?;
    let crates = crates(root)?;
    if fix {
        pure::copy(root, &rules, &crates)?;
    }
    let files = repo::files(root)?;
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| is_rust(&file.path)) {
        match syn::parse_file(&file.text) {
            Ok(syntax) => {
                findings.extend(length::file(&file.path, &file.text, &syntax, &listed.oversize));
                findings.extend(length::functions(&file.path, &syntax, &listed.long_functions));
                findings.extend(testing::file(&file.path, &file.text, &syntax, &listed.sleeping));
                if is_pure(&file.path, &rules, &crates) {
                    findings.extend(pure::file(&file.path, &syntax));
                }
            }
            Err(error) => findings.push(Finding::refuse(&file.path, format!("is not Rust: {error}"))),
        }
    }
    findings.extend(readme::crates(&files, &rules, &crates));
    findings.extend(readme::contracts(&files));
    findings.extend(architecture::page(&files, &crates));
    findings.extend(pure::copies(&files, &rules, &crates));
    findings.extend(licence::probes(&files));
    findings.extend(words::files(&files));
    findings.extend(scripts::strict(&files));
    findings.extend(scripts::shellcheck(root, &files)?);
    findings.extend(stale(&files, &listed));
    Ok(findings)
}

fn crates(root: &Path) -> Result<Vec<Crate>> {
    let metadata = cargo::metadata(root, MANIFEST, Reach::Workspace)?;
    let folder = |manifest: &str| {
        let folder = Path::new(manifest).parent().unwrap_or(root);
        folder.strip_prefix(root).unwrap_or(folder).to_string_lossy().into_owned()
    };
    Ok(metadata.packages.iter().map(|package| Crate { name: package.name.clone(), folder: folder(&package.manifest_path) }).collect())
}

fn is_rust(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension == "rs")
}

/// Whether a file is what a pure crate ships; its tests and benchmarks may do what they need.
fn is_pure(path: &str, rules: &Rules, crates: &[Crate]) -> bool {
    crates.iter().any(|member| rules.pure.crates.contains(&member.name) && path.starts_with(&format!("{}/src/", member.folder)))
}

/// Exceptions whose file has gone, or that give no reason.
fn stale(files: &[repo::File], listed: &Listed) -> Vec<Finding> {
    let entries = listed.oversize.iter().chain(&listed.long_functions).chain(&listed.sleeping);
    let mut findings = Vec::new();
    for (place, reason) in entries {
        let path = place.split("::").next().unwrap_or(place);
        if !files.iter().any(|file| file.path == path) {
            findings.push(Finding::refuse(LISTED, format!("`{place}` has gone")));
        }
        if reason.trim().is_empty() {
            findings.push(Finding::refuse(LISTED, format!("`{place}` gives no reason")));
        }
    }
    findings
}

/// Checks texts as if they were the files of a checkout.
#[cfg(test)]
fn as_files(files: &[(&str, &str)]) -> Vec<repo::File> {
    files.iter().map(|(path, text)| repo::File { path: (*path).to_owned(), text: (*text).to_owned() }).collect()
}

#[cfg(test)]
fn as_text(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exception_for_a_file_that_has_gone_or_without_a_reason_is_refused() {
        let listed = Listed {
            oversize: BTreeMap::from([("src/gone.rs".to_owned(), "a table".to_owned())]),
            long_functions: BTreeMap::from([("src/here.rs::run".to_owned(), " ".to_owned())]),
            sleeping: BTreeMap::new(),
        };
        assert_eq!(
            as_text(&stale(&as_files(&[("src/here.rs", "")]), &listed)),
            ["refuse: ci/tidy.toml: `src/gone.rs` has gone", "refuse: ci/tidy.toml: `src/here.rs::run` gives no reason"]
        );
    }
}
