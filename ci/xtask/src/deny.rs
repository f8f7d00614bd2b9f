//! Licences, banned and duplicate crates, and sources of what is built for our platform, against deny.toml.
//!
//! The file is cargo-deny's; that tool takes longer to build than the product, so the checks that matter here are made from `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;
use semver::{Version, VersionReq};
use serde::Deserialize;

use crate::cargo::{self, MANIFEST, Metadata, PROBES, Package, Reach};
use crate::finding::Finding;
use crate::repo;

const RULES: &str = "deny.toml";
/// How cargo calls its default registry; a mirror configured on the machine has the same name here.
const DEFAULT_REGISTRY_END: &str = "-index";

#[derive(Debug, Deserialize)]
struct Rules {
    licenses: Licenses,
    bans: Bans,
}

#[derive(Debug, Deserialize)]
struct Licenses {
    allow: Vec<String>,
    #[serde(default)]
    exceptions: Vec<Exception>,
}

#[derive(Debug, Deserialize)]
struct Exception {
    #[serde(rename = "crate")]
    name: String,
    allow: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Bans {
    #[serde(default)]
    deny: Vec<Entry>,
    #[serde(default)]
    skip: Vec<Entry>,
}

/// A crate, or some versions of it (`name@1.2`), and why.
#[derive(Debug, Deserialize)]
struct Entry {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

impl Entry {
    fn matches(&self, name: &str, version: &str) -> bool {
        let (wanted, versions) = self.name.split_once('@').map_or((self.name.as_str(), None), |(name, versions)| (name, Some(versions)));
        let Some(versions) = versions else { return wanted == name };
        let within = || Some(VersionReq::parse(&format!("~{versions}")).ok()?.matches(&Version::parse(version).ok()?));
        wanted == name && within().unwrap_or(false)
    }

    /// Reasons begin with the day on which they held: `2026-11-22: `.
    fn is_dated(&self) -> bool {
        self.reason
            .get(..10)
            .is_some_and(|day| day.bytes().enumerate().all(|(at, b)| if at == 4 || at == 7 { b == b'-' } else { b.is_ascii_digit() }))
    }
}

/// What deny.toml has to say about this checkout's dependencies.
pub(crate) fn findings(root: &Path) -> Result<Vec<Finding>> {
    let rules = repo::toml(root, RULES)?;
    let mut findings = violations(&cargo::metadata(root, MANIFEST, Reach::Platform)?, &rules);
    if root.join(PROBES).exists() {
        let probes = cargo::metadata(root, PROBES, Reach::Platform)?;
        // The types that both sides share are a crate of the main workspace.
        findings.extend(foreign(&probes).into_iter().filter(|package| package.source.is_some()).flat_map(|package| judge(package, &rules)));
    }
    Ok(findings)
}

/// What is built and not ours.
fn foreign(metadata: &Metadata) -> Vec<&Package> {
    let built: Option<BTreeSet<&str>> =
        metadata.resolve.as_ref().map(|resolve| resolve.nodes.iter().map(|node| node.id.as_str()).collect());
    let is_built = |package: &&Package| built.as_ref().is_none_or(|built| built.contains(package.id.as_str()));
    metadata.packages.iter().filter(is_built).filter(|package| !metadata.workspace_members.contains(&package.id)).collect()
}

/// One package: its licence, its source, whether it is banned.
fn judge(package: &Package, rules: &Rules) -> Vec<Finding> {
    let place = format!("{} {}", package.name, package.version);
    let mut findings: Vec<Finding> =
        licence(package, &rules.licenses).map(|message| Finding::refuse(&place, message)).into_iter().collect();
    match package.source.as_deref() {
        Some(source) if source.starts_with("registry+") && source.ends_with(DEFAULT_REGISTRY_END) => {}
        Some(source) if source.starts_with("sparse+") => {}
        source => findings.push(Finding::refuse(&place, format!("comes from {}, not from the registry", source.unwrap_or("a path")))),
    }
    if let Some(ban) = rules.bans.deny.iter().find(|ban| ban.matches(&package.name, &package.version)) {
        findings.push(Finding::refuse(&place, format!("is banned: {}", ban.reason)));
    }
    findings
}

fn violations(metadata: &Metadata, rules: &Rules) -> Vec<Finding> {
    let foreign = foreign(metadata);
    let mut findings: Vec<Finding> = foreign.iter().flat_map(|package| judge(package, rules)).collect();
    findings.extend(duplicates(&foreign, &rules.bans.skip));
    for entry in rules.bans.deny.iter().chain(&rules.bans.skip).filter(|entry| !entry.is_dated()) {
        findings.push(Finding::refuse(RULES, format!("`{}`: the reason does not begin with a date", entry.name)));
    }
    for exception in &rules.licenses.exceptions {
        if !foreign.iter().any(|package| package.name == exception.name) {
            findings.push(Finding::refuse(RULES, format!("the exception for `{}` is not needed", exception.name)));
        }
    }
    findings
}

fn licence(package: &Package, rules: &Licenses) -> Option<String> {
    let Some(text) = &package.license else { return Some("says no licence".to_owned()) };
    // Old manifests write `MIT/Apache-2.0`.
    let Ok(expression) = spdx::Expression::parse_mode(text, spdx::ParseMode::LAX) else {
        return Some(format!("has a licence that cannot be read: {text}"));
    };
    let more = rules.exceptions.iter().filter(|exception| exception.name == package.name).flat_map(|exception| &exception.allow);
    let allowed: Vec<&String> = rules.allow.iter().chain(more).collect();
    let is_allowed =
        |requirement: &spdx::LicenseReq| requirement.license.id().is_some_and(|id| allowed.iter().any(|name| *name == id.name));
    (!expression.evaluate(is_allowed)).then(|| format!("has the licence {text}, which is not allowed"))
}

/// One version of everything; each further one is listed. The newest needs no entry.
fn duplicates(packages: &[&Package], skips: &[Entry]) -> Vec<Finding> {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages {
        versions.entry(&package.name).or_default().push(&package.version);
    }
    let mut findings = Vec::new();
    let mut used = BTreeSet::new();
    for (name, mut versions) in versions {
        versions.sort_by_key(|version| Version::parse(version).ok());
        let unlisted: Vec<&str> = versions
            .iter()
            .copied()
            .filter(|version| match skips.iter().find(|skip| skip.matches(name, version)) {
                Some(skip) if versions.len() > 1 => {
                    used.insert(skip.name.as_str());
                    false
                }
                Some(_) | None => true,
            })
            .collect();
        if unlisted.len() > 1 {
            findings.push(Finding::refuse(
                name,
                format!("is there in versions {}: agree on one, or list the others with a date", unlisted.join(", ")),
            ));
        }
    }
    for skip in skips.iter().filter(|skip| !used.contains(skip.name.as_str())) {
        findings.push(Finding::refuse(RULES, format!("`{}` is not there twice, and needs no entry", skip.name)));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = r#"
        [licenses]
        allow = ["MIT", "Apache-2.0"]
        [bans]
    "#;

    /// Checks packages given as `name version licence`; `git:` before the name makes it come from git.
    fn check(rules: &str, packages: &[&str]) -> Vec<String> {
        let packages = packages.iter().map(|line| {
            let mut words = line.splitn(3, ' ');
            let name = words.next().unwrap();
            let source = if name.starts_with("git:") { "git+https://example.net/x" } else { "registry+https://example.net/the-index" };
            serde_json::json!({
                "id": line, "name": name.trim_start_matches("git:"), "version": words.next(), "license": words.next(), "source": source, "manifest_path": ""
            })
        });
        let metadata = serde_json::json!({ "packages": packages.collect::<Vec<_>>(), "workspace_members": [] });
        violations(&serde_json::from_value(metadata).unwrap(), &toml::from_str(rules).unwrap()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn one_allowed_licence_of_several_is_enough() {
        assert_eq!(check(RULES, &["a 1.0.0 MIT", "b 1.0.0 GPL-3.0 OR MIT", "c 1.0.0 MIT/Apache-2.0"]), [""; 0]);
    }

    #[test]
    fn a_licence_that_is_not_allowed_or_not_said_is_refused() {
        assert_eq!(
            check(RULES, &["a 1.0.0 GPL-3.0-only", "b 1.0.0 MIT AND MPL-2.0", "c 1.0.0"]),
            [
                "refuse: a 1.0.0: has the licence GPL-3.0-only, which is not allowed",
                "refuse: b 1.0.0: has the licence MIT AND MPL-2.0, which is not allowed",
                "refuse: c 1.0.0: says no licence"
            ]
        );
    }

    #[test]
    fn an_exception_is_for_one_crate_and_goes_with_it() {
        let rules = RULES.replace("[bans]", "exceptions = [{ crate = \"a\", allow = [\"CC0-1.0\"] }]\n[bans]");
        assert_eq!(check(&rules, &["a 1.0.0 CC0-1.0"]), [""; 0]);
        assert_eq!(
            check(&rules, &["b 1.0.0 CC0-1.0"]),
            ["refuse: b 1.0.0: has the licence CC0-1.0, which is not allowed", "refuse: deny.toml: the exception for `a` is not needed"]
        );
    }

    #[test]
    fn a_second_version_is_refused_unless_it_is_listed_with_a_date() {
        let skip = |reason: &str| format!("{RULES}\nskip = [{{ crate = \"a@1\", reason = \"{reason}\" }}]");
        let twice = ["a 1.2.0 MIT", "a 2.0.0 MIT"];
        assert_eq!(check(RULES, &twice), ["refuse: a: is there in versions 1.2.0, 2.0.0: agree on one, or list the others with a date"]);
        assert_eq!(check(&skip("2026-11-22: b holds it back"), &twice), [""; 0]);
        assert_eq!(check(&skip("b holds it back"), &twice), ["refuse: deny.toml: `a@1`: the reason does not begin with a date"]);
        assert_eq!(
            check(&skip("2026-11-22: b held it back"), &["a 2.0.0 MIT"]),
            ["refuse: deny.toml: `a@1` is not there twice, and needs no entry"]
        );
    }

    #[test]
    fn a_banned_crate_is_refused() {
        let rules = format!("{RULES}\ndeny = [{{ crate = \"openssl-sys\", reason = \"2026-11-22: rustls\" }}]");
        assert_eq!(check(&rules, &["openssl-sys 0.9.1 MIT"]), ["refuse: openssl-sys 0.9.1: is banned: 2026-11-22: rustls"]);
    }

    #[test]
    fn a_crate_from_git_is_refused() {
        assert_eq!(check(RULES, &["git:a 1.0.0 MIT"]), ["refuse: a 1.0.0: comes from git+https://example.net/x, not from the registry"]);
    }
}
