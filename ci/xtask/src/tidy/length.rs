//! Files fit in a head: body without inline tests asked about from 500 lines and refused above 800, functions up to 70 lines.

use std::collections::BTreeMap;

use syn::visit::{self, Visit};

use super::LISTED;
use super::rust::{is_test_only, lines};
use crate::finding::Finding;

/// From here on a reviewer is asked whether the file is two. Half of the files of codebases we look up to are below 300.
const BODY_ASK_LINES: usize = 500;
/// The anchors' 90th percentile lies between 340 and 1,240 lines; this cuts the tail off.
const BODY_MAX_LINES: usize = 800;
/// 92–98 % of the functions of those codebases are within.
const FUNCTION_MAX_LINES: usize = 70;
/// What may stand around a flat match or table: the signature, some names, the closing brace.
const AROUND_MAX_LINES: usize = 15;
/// An arm that is longer does something, and is a function.
const ARM_MAX_LINES: usize = 8;

pub(super) fn file(path: &str, text: &str, syntax: &syn::File, listed: &BTreeMap<String, String>) -> Option<Finding> {
    let tests: usize = syntax.items.iter().filter_map(test_module_lines).sum();
    let body = text.lines().count() - tests;
    match (body > BODY_MAX_LINES, listed.contains_key(path)) {
        (true, false) => {
            Some(Finding::refuse(path, format!("{body} lines of body, more than {BODY_MAX_LINES}: cut it, or list it in {LISTED}")))
        }
        (false, true) => Some(Finding::refuse(LISTED, format!("`{path}` has {body} lines of body and needs no exception"))),
        (false, false) if body > BODY_ASK_LINES => Some(Finding::ask(path, format!("{body} lines of body: is it two files?"))),
        (true, true) | (false, false) => None,
    }
}

fn test_module_lines(item: &syn::Item) -> Option<usize> {
    let syn::Item::Mod(module) = item else { return None };
    (module.content.is_some() && is_test_only(&module.attrs)).then(|| {
        let (first, last) = lines(module);
        last - first + 1
    })
}

pub(super) fn functions(path: &str, syntax: &syn::File, listed: &BTreeMap<String, String>) -> Vec<Finding> {
    let mut long = Long { found: Vec::new() };
    long.visit_file(syntax);
    let mut findings = Vec::new();
    for (name, length) in &long.found {
        if !listed.contains_key(&format!("{path}::{name}")) {
            findings.push(Finding::refuse(
                path,
                format!("`{name}` has {length} lines, more than {FUNCTION_MAX_LINES}, and is not one flat match or table: cut it, or list it in {LISTED}"),
            ));
        }
    }
    for place in listed.keys() {
        let needed = long.found.iter().any(|(name, _)| *place == format!("{path}::{name}"));
        if !needed && place.rsplit_once("::").is_some_and(|(file, _)| file == path) {
            findings.push(Finding::refuse(LISTED, format!("`{place}` needs no exception")));
        }
    }
    findings
}

/// Collects the functions that are too long.
struct Long {
    found: Vec<(String, usize)>,
}

impl Long {
    fn look(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let length = lines(block).1 - lines(signature).0 + 1;
        if length > FUNCTION_MAX_LINES && !is_flat(length, block) {
            self.found.push((signature.ident.to_string(), length));
        }
    }
}

impl<'a> Visit<'a> for Long {
    fn visit_item_fn(&mut self, function: &'a syn::ItemFn) {
        self.look(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'a syn::ImplItemFn) {
        self.look(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'a syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.look(&function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

/// Whether a function is one match with short arms, or one literal table, and little around it.
fn is_flat(length: usize, block: &syn::Block) -> bool {
    block.stmts.iter().any(|statement| {
        let expression = match statement {
            syn::Stmt::Expr(expression, _) => expression,
            syn::Stmt::Local(syn::Local { init: Some(init), .. }) => &init.expr,
            syn::Stmt::Macro(call) => return length - extent(call) <= AROUND_MAX_LINES,
            syn::Stmt::Local(_) | syn::Stmt::Item(_) => return false,
        };
        length.saturating_sub(extent(expression)) <= AROUND_MAX_LINES && is_table(expression)
    })
}

fn is_table(expression: &syn::Expr) -> bool {
    if let syn::Expr::Match(choice) = expression {
        return choice.arms.iter().all(|arm| extent(arm) <= ARM_MAX_LINES);
    }
    matches!(expression, syn::Expr::Array(_) | syn::Expr::Macro(_) | syn::Expr::Struct(_) | syn::Expr::Reference(_) | syn::Expr::Tuple(_))
}

fn extent(of: &impl syn::spanned::Spanned) -> usize {
    let (first, last) = lines(of);
    last - first + 1
}

#[cfg(test)]
mod tests {
    use super::super::as_text;
    use super::*;

    fn check_file(text: &str, listed: &[(&str, &str)]) -> Vec<String> {
        let listed = listed.iter().map(|(place, reason)| ((*place).to_owned(), (*reason).to_owned())).collect();
        as_text(&file("src/a.rs", text, &syn::parse_file(text).unwrap(), &listed).into_iter().collect::<Vec<_>>())
    }

    fn check_functions(text: &str, listed: &[(&str, &str)]) -> Vec<String> {
        let listed = listed.iter().map(|(place, reason)| ((*place).to_owned(), (*reason).to_owned())).collect();
        as_text(&functions("src/a.rs", &syn::parse_file(text).unwrap(), &listed))
    }

    fn statements(count: usize) -> String {
        "    step();\n".repeat(count)
    }

    #[test]
    fn a_long_file_is_asked_about_and_a_longer_one_refused() {
        assert_eq!(check_file(&"const A: u8 = 0;\n".repeat(500), &[]), [""; 0]);
        assert_eq!(check_file(&"const A: u8 = 0;\n".repeat(501), &[]), ["ask: src/a.rs: 501 lines of body: is it two files?"]);
        assert_eq!(
            check_file(&"const A: u8 = 0;\n".repeat(801), &[]),
            ["refuse: src/a.rs: 801 lines of body, more than 800: cut it, or list it in ci/tidy.toml"]
        );
    }

    #[test]
    fn inline_tests_are_no_part_of_the_body() {
        let text = format!("fn a() {{}}\n#[cfg(test)]\nmod tests {{\n{}}}\n", "const A: u8 = 0;\n".repeat(900));
        assert_eq!(check_file(&text, &[]), [""; 0]);
    }

    #[test]
    fn a_listed_file_may_be_long_and_a_short_one_may_not_be_listed() {
        let listed = [("src/a.rs", "generated table")];
        assert_eq!(check_file(&"const A: u8 = 0;\n".repeat(900), &listed), [""; 0]);
        assert_eq!(
            check_file("const A: u8 = 0;\n", &listed),
            ["refuse: ci/tidy.toml: `src/a.rs` has 1 lines of body and needs no exception"]
        );
    }

    #[test]
    fn a_long_function_is_refused_wherever_it_stands() {
        let message = |name: &str, lines: usize| {
            format!(
                "refuse: src/a.rs: `{name}` has {lines} lines, more than 70, and is not one flat match or table: cut it, or list it in ci/tidy.toml"
            )
        };
        assert_eq!(check_functions(&format!("fn free() {{\n{}}}", statements(68)), &[]), [""; 0]);
        assert_eq!(check_functions(&format!("fn free() {{\n{}}}", statements(69)), &[]), [message("free", 71)]);
        assert_eq!(check_functions(&format!("impl A {{\nfn method() {{\n{}}}\n}}", statements(69)), &[]), [message("method", 71)]);
        assert_eq!(check_functions(&format!("trait A {{\nfn default() {{\n{}}}\n}}", statements(69)), &[]), [message("default", 71)]);
    }

    #[test]
    fn a_flat_match_or_a_table_may_be_long() {
        let arms = "        1 => a(),\n".repeat(100);
        assert_eq!(check_functions(&format!("fn name(x: u8) {{\n    match x {{\n{arms}    }}\n}}"), &[]), [""; 0]);
        let rows = "        (1, 2),\n".repeat(100);
        assert_eq!(check_functions(&format!("fn rows() {{\n    vec![\n{rows}    ]\n}}"), &[]), [""; 0]);
    }

    #[test]
    fn a_match_whose_arms_do_much_is_not_flat() {
        let arm = format!("        1 => {{\n{}        }}\n", statements(20));
        assert_eq!(check_functions(&format!("fn name(x: u8) {{\n    match x {{\n{}    }}\n}}", arm.repeat(5)), &[]).len(), 1);
    }

    #[test]
    fn a_listed_function_may_be_long_and_a_short_one_may_not_be_listed() {
        let listed = [("src/a.rs::free", "one protocol exchange, read from top to bottom")];
        assert_eq!(check_functions(&format!("fn free() {{\n{}}}", statements(80)), &listed), [""; 0]);
        assert_eq!(check_functions("fn free() {}", &listed), ["refuse: ci/tidy.toml: `src/a.rs::free` needs no exception"]);
    }
}
