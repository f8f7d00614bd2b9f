//! Each folder introduces itself.

use std::collections::BTreeSet;

use super::Crate;
use crate::finding::Finding;
use crate::layers::{ReadmeKind, Rules};
use crate::repo::File;

/// What a library's README says, each under a heading with one of these words, or behind a label in bold at the beginning of a line.
const LIBRARY: [&[&str]; 2] = [&["knows"], &["does not know"]];
/// What a component's README says.
const COMPONENT: [&[&str]; 3] = [&["configuration"], &["neighbour", "gone"], &["alone"]];

pub(super) fn crates(files: &[File], rules: &Rules, crates: &[Crate]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for member in crates {
        let Some(layer) = rules.layer_of(&member.name) else { continue };
        let path = format!("{}/README.md", member.folder);
        match files.iter().find(|file| file.path == path) {
            None => findings.push(Finding::refuse(path, "is missing: a crate says what it is for, what it knows and what it does not")),
            Some(file) => findings.extend(judge(file, layer.readme)),
        }
    }
    findings
}

fn judge(file: &File, kind: ReadmeKind) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut first = file.text.lines().filter(|line| !line.trim().is_empty());
    if !first.next().is_some_and(|line| line.starts_with("# ")) {
        findings.push(Finding::refuse(&file.path, "does not begin with `# ` and its name"));
    }
    if first.next().is_none_or(|line| line.starts_with('#')) {
        findings.push(Finding::refuse(&file.path, "has no line on its purpose below its name"));
    }
    let headings: Vec<String> = file.text.lines().filter_map(heading).map(str::to_lowercase).collect();
    if !file.text.lines().any(|line| line.starts_with("```")) {
        let what = match kind {
            ReadmeKind::Library => "an example",
            ReadmeKind::Component => "a picture of its inputs and outputs",
        };
        findings.push(Finding::refuse(&file.path, format!("has no block with {what}")));
    }
    let wanted: &[&[&str]] = match kind {
        ReadmeKind::Library => &LIBRARY,
        ReadmeKind::Component => &COMPONENT,
    };
    for words in wanted {
        if !headings.iter().any(|heading| words.iter().any(|word| heading.contains(word))) {
            findings.push(Finding::refuse(&file.path, format!("has no heading with `{}`", words.join("` or `"))));
        }
    }
    findings
}

/// The words of a heading, or of a label in bold at the beginning of a line.
fn heading(line: &str) -> Option<&str> {
    if line.starts_with("##") {
        return Some(line.trim_start_matches('#'));
    }
    line.strip_prefix("**")?.split_once("**").map(|(label, _)| label)
}

/// Every contract in golden/ says how its cases were made.
pub(super) fn contracts(files: &[File]) -> Vec<Finding> {
    let contracts: BTreeSet<&str> =
        files.iter().filter_map(|file| file.path.strip_prefix("golden/")?.split_once('/').map(|(contract, _)| contract)).collect();
    contracts
        .into_iter()
        .map(|contract| format!("golden/{contract}/README.md"))
        .filter(|path| !files.iter().any(|file| file.path == *path))
        .map(|path| Finding::refuse(path, "is missing: a contract says what its cases are and how they were made"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::{as_files, as_text};
    use super::*;

    const RULES: &str = r#"
        [[layer]]
        name = "core"
        readme = "library"
        crates = ["core"]
        may_use = []
        [[layer]]
        name = "component"
        readme = "component"
        crates = ["agent"]
        may_use = []
        [pure]
        crates = []
        never = []
    "#;

    fn check(files: &[(&str, &str)], name: &str) -> Vec<String> {
        let member = Crate { name: name.to_owned(), folder: name.to_owned() };
        as_text(&crates(&as_files(files), &toml::from_str(RULES).unwrap(), &[member]))
    }

    #[test]
    fn a_crate_without_a_readme_is_refused() {
        assert_eq!(
            check(&[], "core"),
            ["refuse: core/README.md: is missing: a crate says what it is for, what it knows and what it does not"]
        );
    }

    #[test]
    fn a_library_says_what_it_knows_and_what_it_does_not() {
        let whole = "# core\n\nParses.\n\n## Knows\n\n## Does not know\n\n## Example\n\n```rust\n```\n";
        assert_eq!(check(&[("core/README.md", whole)], "core"), [""; 0]);
        assert_eq!(
            check(&[("core/README.md", &whole.replace("## Does not know\n", ""))], "core"),
            ["refuse: core/README.md: has no heading with `does not know`"]
        );
        assert_eq!(
            check(&[("core/README.md", &whole.replace("```rust\n```\n", ""))], "core"),
            ["refuse: core/README.md: has no block with an example"]
        );
    }

    #[test]
    fn a_component_says_how_it_lives_with_its_neighbours() {
        let whole = "# agent\n\nCaptures.\n\n```text\n```\n\n## Configuration\n\n## When a neighbour is gone\n\n## Run it alone\n";
        assert_eq!(check(&[("agent/README.md", whole)], "agent"), [""; 0]);
        assert_eq!(
            check(&[("agent/README.md", &whole.replace("## When a neighbour is gone\n", ""))], "agent"),
            ["refuse: agent/README.md: has no heading with `neighbour` or `gone`"]
        );
        let labels = "# agent\n\nCaptures.\n\n```text\n```\n\n**Configuration:** none.\n\n**When a neighbour is gone:** it waits.\n\n**Alone:** so.\n";
        assert_eq!(check(&[("agent/README.md", labels)], "agent"), [""; 0]);
    }

    #[test]
    fn a_readme_begins_with_its_name_and_its_purpose() {
        let text = "## Knows\n\n## Does not know\n\n```rust\n```\n";
        assert_eq!(
            check(&[("core/README.md", text)], "core"),
            [
                "refuse: core/README.md: does not begin with `# ` and its name",
                "refuse: core/README.md: has no line on its purpose below its name"
            ]
        );
    }

    #[test]
    fn a_contract_without_a_readme_is_refused() {
        let files = as_files(&[("golden/README.md", ""), ("golden/pxl/ok/a/plan.txt", ""), ("golden/api/README.md", "")]);
        assert_eq!(
            as_text(&contracts(&files)),
            ["refuse: golden/pxl/README.md: is missing: a contract says what its cases are and how they were made"]
        );
    }
}
