//! A test runs always and waits for events, not for time.

use std::collections::BTreeMap;

use syn::visit::{self, Visit};

use super::LISTED;
use super::rust::{is_test_only, lines, text};
use crate::finding::Finding;

pub(super) fn file(path: &str, source: &str, syntax: &syn::File, listed: &BTreeMap<String, String>) -> Vec<Finding> {
    let mut seen = Seen { in_tests: path.contains("/tests/") || path.starts_with("tests/"), ignored: Vec::new(), slept: Vec::new() };
    seen.visit_file(syntax);
    let mut findings: Vec<Finding> = seen
        .ignored
        .iter()
        .map(|line| Finding::refuse(format!("{path}:{line}"), "#[ignore]: a test runs always, or says at run time why it cannot"))
        .collect();
    // With paused time a sleep takes none.
    let paused = source.contains("start_paused = true");
    let slept: Vec<_> = seen.slept.iter().filter(|(call, _)| !(paused && call.contains("time::sleep"))).collect();
    if listed.contains_key(path) {
        if slept.is_empty() {
            findings.push(Finding::refuse(LISTED, format!("`{path}` never sleeps and needs no exception")));
        }
        return findings;
    }
    findings.extend(slept.iter().map(|(call, line)| {
        Finding::refuse(format!("{path}:{line}"), format!("`{call}` in a test: wait for the event, or pause time, or list it in {LISTED}"))
    }));
    findings
}

struct Seen {
    in_tests: bool,
    ignored: Vec<usize>,
    slept: Vec<(String, usize)>,
}

impl<'a> Visit<'a> for Seen {
    fn visit_item_mod(&mut self, module: &'a syn::ItemMod) {
        let before = self.in_tests;
        self.in_tests |= is_test_only(&module.attrs);
        visit::visit_item_mod(self, module);
        self.in_tests = before;
    }

    fn visit_attribute(&mut self, attribute: &'a syn::Attribute) {
        if attribute.path().is_ident("ignore") {
            self.ignored.push(lines(attribute).0);
        }
        visit::visit_attribute(self, attribute);
    }

    fn visit_expr_call(&mut self, call: &'a syn::ExprCall) {
        if let syn::Expr::Path(function) = &*call.func
            && self.in_tests
            && function.path.segments.last().is_some_and(|last| last.ident == "sleep")
        {
            self.slept.push((text(&function.path), lines(call).0));
        }
        visit::visit_expr_call(self, call);
    }
}

#[cfg(test)]
mod tests {
    use super::super::as_text;
    use super::*;

    fn check(path: &str, text: &str, listed: &[&str]) -> Vec<String> {
        let listed = listed.iter().map(|place| ((*place).to_owned(), "a reason".to_owned())).collect();
        as_text(&file(path, text, &syn::parse_file(text).unwrap(), &listed))
    }

    #[test]
    fn an_ignored_test_is_refused() {
        assert_eq!(
            check("src/a.rs", "#[cfg(test)]\nmod tests {\n    #[test]\n    #[ignore]\n    fn a() {}\n}", &[]),
            ["refuse: src/a.rs:4: #[ignore]: a test runs always, or says at run time why it cannot"]
        );
    }

    #[test]
    fn a_sleep_is_refused_in_a_test_and_allowed_elsewhere() {
        let sleep = "fn a() { std::thread::sleep(b); }";
        let message = "`std::thread::sleep` in a test: wait for the event, or pause time, or list it in ci/tidy.toml";
        assert_eq!(check("src/a.rs", sleep, &[]), [""; 0]);
        assert_eq!(check("x/tests/a.rs", sleep, &[]), [format!("refuse: x/tests/a.rs:1: {message}")]);
        assert_eq!(check("src/a.rs", &format!("#[cfg(test)]\nmod tests {{\n{sleep}\n}}"), &[]), [format!("refuse: src/a.rs:3: {message}")]);
    }

    #[test]
    fn paused_time_may_pass_and_threads_may_not() {
        let paused = "#[tokio::test(start_paused = true)]\nasync fn a() { tokio::time::sleep(b).await; }\n";
        assert_eq!(check("tests/a.rs", paused, &[]), [""; 0]);
        assert_eq!(check("tests/a.rs", &format!("{paused}fn c() {{ thread::sleep(b); }}"), &[]).len(), 1);
    }

    #[test]
    fn a_listed_file_may_sleep_and_one_that_never_does_may_not_be_listed() {
        assert_eq!(check("tests/a.rs", "fn a() { thread::sleep(b); }", &["tests/a.rs"]), [""; 0]);
        assert_eq!(
            check("tests/a.rs", "fn a() {}", &["tests/a.rs"]),
            ["refuse: ci/tidy.toml: `tests/a.rs` never sleeps and needs no exception"]
        );
    }
}
