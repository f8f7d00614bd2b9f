//! ARCHITECTURE.md names every crate, and the tests that it names exist.

use super::Crate;
use crate::finding::Finding;
use crate::repo::File;

const PAGE: &str = "ARCHITECTURE.md";

pub(super) fn page(files: &[File], crates: &[Crate]) -> Vec<Finding> {
    let Some(page) = files.iter().find(|file| file.path == PAGE) else { return vec![Finding::refuse(PAGE, "is missing")] };
    let mut findings = Vec::new();
    for member in crates {
        if !page.text.contains(&format!("`{}`", member.folder)) {
            findings.push(Finding::refuse(PAGE, format!("does not name `{}`", member.folder)));
        }
    }
    // Every second part stands between backticks.
    for (number, line) in page.text.lines().enumerate() {
        for named in line.split('`').skip(1).step_by(2) {
            findings.extend(missing(files, named).map(|message| Finding::refuse(format!("{PAGE}:{}", number + 1), message)));
        }
    }
    findings
}

/// What is wrong with `path.rs` or `path.rs::function`; other words are no concern of ours.
fn missing(files: &[File], named: &str) -> Option<String> {
    let (path, function) = named.split_once("::").map_or((named, None), |(path, function)| (path, Some(function)));
    if !super::is_rust(path) || !path.contains('/') {
        return None;
    }
    let Some(file) = files.iter().find(|file| file.path == path) else { return Some(format!("names `{path}`, which is not there")) };
    let function = function?;
    (!file.text.contains(&format!("fn {function}("))).then(|| format!("names `{function}`, which is not in {path}"))
}

#[cfg(test)]
mod tests {
    use super::super::{as_files, as_text};
    use super::*;

    fn check(page_text: &str) -> Vec<String> {
        let files = as_files(&[(PAGE, page_text), ("core/tests/laws.rs", "fn it_holds() {}")]);
        as_text(&page(&files, &[Crate { name: "core".to_owned(), folder: "core".to_owned() }]))
    }

    #[test]
    fn a_crate_that_the_page_does_not_name_is_refused() {
        assert_eq!(check("`core` parses."), [""; 0]);
        assert_eq!(check("Nothing."), ["refuse: ARCHITECTURE.md: does not name `core`"]);
    }

    #[test]
    fn a_test_that_is_named_exists() {
        assert_eq!(check("`core`: held by `core/tests/laws.rs::it_holds` and `core/tests/laws.rs`."), [""; 0]);
        assert_eq!(
            check("`core`\nheld by `core/tests/laws.rs::it_held`."),
            ["refuse: ARCHITECTURE.md:2: names `it_held`, which is not in core/tests/laws.rs"]
        );
        assert_eq!(check("`core`\n`core/tests/gone.rs`"), ["refuse: ARCHITECTURE.md:2: names `core/tests/gone.rs`, which is not there"]);
    }

    #[test]
    fn a_project_without_the_page_is_refused() {
        assert_eq!(as_text(&page(&[], &[])), ["refuse: ARCHITECTURE.md: is missing"]);
    }
}
