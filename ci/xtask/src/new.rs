//! The skeleton of a crate.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::layers::{self, ReadmeKind, Rules};
use crate::repo;

/// Writes manifest, `lib.rs` and README of a crate, and enters it into the workspace and its layer.
pub(crate) fn run(root: &Path, layer: &str, folder: &str, purpose: &str) -> Result<bool> {
    let rules: Rules = repo::toml(root, layers::RULES)?;
    let Some(layer) = rules.layer.iter().find(|known| known.name == layer) else {
        let known: Vec<&str> = rules.layer.iter().map(|layer| layer.name.as_str()).collect();
        anyhow::bail!("no layer `{layer}`; there are {}", known.join(", "));
    };
    let name = folder.rsplit('/').next().unwrap_or(folder);
    ensure!(
        !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'),
        "`{name}` is no name for a crate"
    );
    ensure!(rules.layer_of(name).is_none(), "`{name}` is in {} already", layers::RULES);
    let purpose = purpose.trim_end_matches('.');
    let target = root.join(folder);
    ensure!(!target.exists(), "{folder} is there already");
    std::fs::create_dir_all(target.join("src")).with_context(|| format!("cannot make {folder}"))?;
    std::fs::write(target.join("Cargo.toml"), manifest(name, purpose))?;
    std::fs::write(target.join("src/lib.rs"), format!("//! {purpose}.\n"))?;
    std::fs::write(target.join("README.md"), readme(name, purpose, layer.readme))?;
    edit(root, layers::RULES, |text| into_layer(text, &layer.name, name))?;
    edit(root, "Cargo.toml", |text| into_workspace(text, folder))?;
    println!("{folder} is there; write what its README asks for");
    Ok(true)
}

fn edit(root: &Path, path: &str, change: impl FnOnce(&str) -> Option<String>) -> Result<()> {
    let text = std::fs::read_to_string(root.join(path)).with_context(|| format!("cannot read {path}"))?;
    let changed = change(&text).with_context(|| format!("cannot find the place in {path}"))?;
    std::fs::write(root.join(path), changed).with_context(|| format!("cannot write {path}"))
}

fn manifest(name: &str, purpose: &str) -> String {
    let inherited = ["version", "edition", "rust-version", "license", "publish"].map(|key| format!("{key}.workspace = true\n")).concat();
    format!("[package]\nname = \"{name}\"\n{inherited}description = \"{purpose}.\"\n\n[dependencies]\n\n[lints]\nworkspace = true\n")
}

fn readme(name: &str, purpose: &str, kind: ReadmeKind) -> String {
    let headings: &[&str] = match kind {
        ReadmeKind::Library => &["Knows", "Does not know", "Example"],
        ReadmeKind::Component => &["Inputs and outputs", "Configuration", "When a neighbour is gone", "Run it alone"],
    };
    format!("# {name}\n\n{purpose}.\n\n## {}\n", headings.join("\n\n## "))
}

/// Enters a crate, in order, into the `crates` of its layer.
fn into_layer(text: &str, layer: &str, name: &str) -> Option<String> {
    let section = text.find(&format!("name = \"{layer}\""))?;
    let begin = section + text[section..].find("crates = [")? + "crates = [".len();
    let end = begin + text[begin..].find(']')?;
    let quoted = format!("\"{name}\"");
    let mut names: Vec<&str> =
        text[begin..end].split(',').map(str::trim).filter(|name| !name.is_empty()).chain([quoted.as_str()]).collect();
    names.sort_unstable();
    Some(format!("{}{}{}", &text[..begin], names.join(", "), &text[end..]))
}

/// Enters a folder, in order, into the members of the workspace.
fn into_workspace(text: &str, folder: &str) -> Option<String> {
    let begin = text.find("members = [\n")? + "members = [\n".len();
    let end = begin + text[begin..].find(']')?;
    let line = format!("    \"{folder}\",");
    let mut lines: Vec<&str> = text[begin..end].lines().chain([line.as_str()]).collect();
    lines.sort_unstable();
    Some(format!("{}{}\n{}", &text[..begin], lines.join("\n"), &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKSPACE: &str = "[workspace]\nmembers = [\n    \"lib/b\",\n]\n";
    const RULES: &str =
        "[[layer]]\nname = \"core\"\nreadme = \"library\"\ncrates = [\"b\"]\nmay_use = []\n\n[pure]\ncrates = []\nnever = []\n";

    fn checkout() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("ci")).unwrap();
        std::fs::write(root.path().join("Cargo.toml"), WORKSPACE).unwrap();
        std::fs::write(root.path().join("ci/layers.toml"), RULES).unwrap();
        root
    }

    #[test]
    fn a_new_crate_is_entered_everywhere_in_order() {
        let root = checkout();
        assert!(run(root.path(), "core", "lib/a", "Counts.").unwrap());
        let read = |path: &str| std::fs::read_to_string(root.path().join(path)).unwrap();
        assert_eq!(read("Cargo.toml"), WORKSPACE.replace("    \"lib/b\"", "    \"lib/a\",\n    \"lib/b\""));
        assert_eq!(read("ci/layers.toml"), RULES.replace("[\"b\"]", "[\"a\", \"b\"]"));
        assert_eq!(read("lib/a/src/lib.rs"), "//! Counts.\n");
        assert_eq!(read("lib/a/README.md"), "# a\n\nCounts.\n\n## Knows\n\n## Does not know\n\n## Example\n");
        assert!(read("lib/a/Cargo.toml").contains("name = \"a\"\nversion.workspace = true\n"));
    }

    #[test]
    fn what_is_there_is_not_overwritten() {
        let root = checkout();
        assert!(run(root.path(), "core", "lib/b", "Counts").unwrap_err().to_string().contains("already"));
        assert!(run(root.path(), "nowhere", "lib/c", "Counts").unwrap_err().to_string().contains("no layer `nowhere`"));
        assert!(run(root.path(), "core", "lib/Big", "Counts").unwrap_err().to_string().contains("no name for a crate"));
    }
}
