//! Words that do not belong into the tree.

use crate::finding::Finding;
use crate::repo::File;

/// Hosts of registries and mirrors, without the dots that make them names. Where a package comes from is the machine's configuration, not ours.
const HOSTS: [&[&str]; 16] = [
    &["crates", "io"],
    &["docker", "io"],
    &["ghcr", "io"],
    &["gcr", "io"],
    &["quay", "io"],
    &["pkg", "dev"],
    &["registry", "k8s", "io"],
    &["mcr", "microsoft", "com"],
    &["pypi", "org"],
    &["pythonhosted", "org"],
    &["npmjs", "org"],
    &["npmjs", "com"],
    &["proxy", "golang", "org"],
    &["static", "rust-lang", "org"],
    &["deb", "debian", "org"],
    &["security", "debian", "org"],
];

/// Written by cargo, which names its registry in every entry.
const EXEMPT: [&str; 1] = ["Cargo.lock"];

pub(super) fn files(files: &[File]) -> Vec<Finding> {
    let hosts: Vec<String> = HOSTS.iter().map(|parts| parts.join(".")).collect();
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| !EXEMPT.iter().any(|name| file.path == *name || file.path.ends_with(&format!("/{name}")))) {
        for (number, line) in file.text.lines().enumerate() {
            if let Some(host) = hosts.iter().find(|host| names(line, host)) {
                findings.push(Finding::refuse(format!("{}:{}", file.path, number + 1), format!("names the registry host {host}")));
            }
        }
    }
    findings
}

/// Whether a line has the host, or a host below it, as a whole name.
fn names(line: &str, host: &str) -> bool {
    line.match_indices(host).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + host.len()..].chars().next();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '-' || c == '_')
            && !after.is_some_and(|c| c.is_alphanumeric() || c == '-' || c == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::super::{as_files, as_text};
    use super::*;

    #[test]
    fn a_registry_host_is_refused_in_any_file() {
        let host = ["crates", "io"].join(".");
        let text = format!("# a comment\n# from https://static.{host}/x\n");
        assert_eq!(as_text(&files(&as_files(&[("ci/setup", &text)]))), [format!("refuse: ci/setup:2: names the registry host {host}")]);
    }

    #[test]
    fn a_longer_name_is_another_name_and_the_lock_is_cargos() {
        let host = ["crates", "io"].join(".");
        assert_eq!(as_text(&files(&as_files(&[("a.md", &format!("my{host} {host}n")), ("Cargo.lock", &host)]))), [""; 0]);
    }
}
