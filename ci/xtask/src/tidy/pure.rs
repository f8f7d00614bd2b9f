//! The pure crates: bytes, events and time go in, values come out. clippy refuses the calls, this refuses the names.

use std::path::Path;

use anyhow::{Context, Result};
use syn::visit::{self, Visit};

use super::Crate;
use super::rust::{is_test_only, lines, text};
use crate::finding::Finding;
use crate::layers::Rules;
use crate::repo::File;

/// The clippy.toml that every pure crate has a copy of.
const MASTER: &str = "ci/pure-clippy.toml";

/// What a pure crate does not name, and why. Addresses (`std::net::IpAddr`, `SocketAddr`) and `Duration` are values and fine.
const BANNED: [(&str, &str); 14] = [
    ("std::env", "configuration is an argument"),
    ("std::fs", "bytes are an argument"),
    ("std::io::stderr", "the caller speaks"),
    ("std::io::stdin", "bytes are an argument"),
    ("std::io::stdout", "the caller speaks"),
    ("std::net::TcpListener", "the caller does the IO"),
    ("std::net::TcpStream", "the caller does the IO"),
    ("std::net::UdpSocket", "the caller does the IO"),
    ("std::os::unix::net", "the caller does the IO"),
    ("std::process", "the caller does the IO"),
    ("std::thread::sleep", "the caller waits"),
    ("std::thread::spawn", "the caller owns the threads"),
    ("std::time::Instant", "time is an argument"),
    ("std::time::SystemTime", "time is an argument"),
];

/// Names in one source file; what only its tests use is left out.
pub(super) fn file(path: &str, syntax: &syn::File) -> Vec<Finding> {
    let mut named = Named { paths: Vec::new() };
    named.visit_file(syntax);
    let mut findings = Vec::new();
    for (name, line) in named.paths {
        if let Some((banned, why)) = BANNED.iter().find(|(banned, _)| is_within(&name, banned)) {
            findings.push(Finding::refuse(format!("{path}:{line}"), format!("a pure crate names `{banned}`: {why}")));
        }
    }
    findings
}

fn is_within(name: &str, banned: &str) -> bool {
    name.strip_prefix(banned).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

struct Named {
    paths: Vec<(String, usize)>,
}

impl Named {
    fn flatten(&mut self, prefix: &str, tree: &syn::UseTree, line: usize) {
        let join = |name: &syn::Ident| if prefix.is_empty() { name.to_string() } else { format!("{prefix}::{name}") };
        match tree {
            syn::UseTree::Path(path) => self.flatten(&join(&path.ident), &path.tree, line),
            syn::UseTree::Name(name) => self.paths.push((join(&name.ident), line)),
            syn::UseTree::Rename(rename) => self.paths.push((join(&rename.ident), line)),
            syn::UseTree::Glob(_) => self.paths.push((prefix.to_owned(), line)),
            syn::UseTree::Group(group) => group.items.iter().for_each(|item| self.flatten(prefix, item, line)),
        }
    }
}

impl<'a> Visit<'a> for Named {
    fn visit_item_mod(&mut self, module: &'a syn::ItemMod) {
        if !is_test_only(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        self.flatten("", &item.tree, lines(item).0);
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        self.paths.push((text(path), lines(path).0));
        visit::visit_path(self, path);
    }
}

fn members<'c>(rules: &'c Rules, crates: &'c [Crate]) -> impl Iterator<Item = &'c Crate> {
    crates.iter().filter(|member| rules.pure.crates.contains(&member.name))
}

/// Every pure crate has the same clippy.toml.
pub(super) fn copies(files: &[File], rules: &Rules, crates: &[Crate]) -> Vec<Finding> {
    let text = |path: &str| files.iter().find(|file| file.path == path).map(|file| file.text.as_str());
    let Some(master) = text(MASTER) else { return vec![Finding::refuse(MASTER, "is missing")] };
    members(rules, crates)
        .map(|member| format!("{}/clippy.toml", member.folder))
        .filter(|path| text(path) != Some(master))
        .map(|path| Finding::refuse(path, format!("is not a copy of {MASTER}: `cargo xtask tidy --fix`")))
        .collect()
}

/// Copies the clippy.toml into every pure crate.
pub(super) fn copy(root: &Path, rules: &Rules, crates: &[Crate]) -> Result<()> {
    for member in members(rules, crates) {
        let path = root.join(&member.folder).join("clippy.toml");
        std::fs::copy(root.join(MASTER), &path).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{as_files, as_text};
    use super::*;

    fn check(text: &str) -> Vec<String> {
        as_text(&file("src/a.rs", &syn::parse_file(text).unwrap()))
    }

    #[test]
    fn a_clock_is_refused_however_it_is_named() {
        let message = "refuse: src/a.rs:1: a pure crate names `std::time::Instant`: time is an argument";
        assert_eq!(check("use std::time::Instant;"), [message]);
        assert_eq!(check("use std::time::{Duration, Instant};"), [message]);
        assert_eq!(check("use std::time::Instant as Clock;"), [message]);
        assert_eq!(check("fn a() { std::time::Instant::now(); }"), [message]);
        assert_eq!(check("fn a(now: std::time::Instant) {}"), [message]);
    }

    #[test]
    fn files_sockets_and_the_environment_are_refused() {
        for name in ["std::fs::File", "std::net::TcpStream", "std::net::UdpSocket", "std::env::var", "std::process::Command"] {
            assert_eq!(check(&format!("use {name};")).len(), 1, "{name}");
        }
    }

    #[test]
    fn addresses_and_durations_are_values() {
        assert_eq!(check("use std::net::{IpAddr, SocketAddr};\nuse std::time::Duration;\nuse std::fmt;"), [""; 0]);
    }

    #[test]
    fn what_only_tests_use_is_left_out() {
        assert_eq!(check("#[cfg(test)]\nmod tests { use std::fs::File; }"), [""; 0]);
    }

    #[test]
    fn a_pure_crate_has_the_common_lints() {
        let rules: Rules = toml::from_str("layer = []\n[pure]\ncrates = [\"core\"]\nnever = []").unwrap();
        let crates =
            [Crate { name: "core".to_owned(), folder: "lib/core".to_owned() }, Crate { name: "px".to_owned(), folder: "px".to_owned() }];
        let missing = ["refuse: lib/core/clippy.toml: is not a copy of ci/pure-clippy.toml: `cargo xtask tidy --fix`"];
        assert_eq!(as_text(&copies(&as_files(&[(MASTER, "a")]), &rules, &crates)), missing);
        assert_eq!(as_text(&copies(&as_files(&[(MASTER, "a"), ("lib/core/clippy.toml", "b")]), &rules, &crates)), missing);
        assert_eq!(as_text(&copies(&as_files(&[(MASTER, "a"), ("lib/core/clippy.toml", "a")]), &rules, &crates)), [""; 0]);
    }
}
