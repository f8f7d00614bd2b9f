//! Which crate may depend on which: `cargo metadata` against ci/layers.toml.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;
use serde::Deserialize;

use crate::cargo::{self, MANIFEST, Metadata, Reach};
use crate::finding::Finding;
use crate::repo;

pub(crate) const RULES: &str = "ci/layers.toml";

/// ci/layers.toml.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rules {
    pub(crate) layer: Vec<Layer>,
    /// Edges that the layers would refuse.
    #[serde(default)]
    edge: Vec<Edge>,
    /// Foreign crates that only some of ours may name.
    #[serde(default)]
    only: Vec<Only>,
    pub(crate) pure: Pure,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Layer {
    pub(crate) name: String,
    /// What kind of README its crates have.
    pub(crate) readme: ReadmeKind,
    pub(crate) crates: Vec<String>,
    may_use: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ReadmeKind {
    Library,
    Component,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Edge {
    from: String,
    to: String,
    /// `dev` if it is for the tests alone.
    kind: Option<String>,
    reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Only {
    /// Names of foreign crates; a `*` at the end stands for anything.
    foreign: Vec<String>,
    users: Vec<String>,
}

/// The crates without IO, clocks and randomness, and what they may therefore not name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pure {
    pub(crate) crates: Vec<String>,
    never: Vec<String>,
}

impl Rules {
    pub(crate) fn layer_of(&self, name: &str) -> Option<&Layer> {
        self.layer.iter().find(|layer| layer.crates.iter().any(|member| member == name))
    }
}

/// What the layers have to say about this checkout.
pub(crate) fn findings(root: &Path) -> Result<Vec<Finding>> {
    Ok(violations(&cargo::metadata(root, MANIFEST, Reach::Workspace)?, &repo::toml(root, RULES)?))
}

fn violations(metadata: &Metadata, rules: &Rules) -> Vec<Finding> {
    let mut findings = placement(metadata, rules);
    let mut used = BTreeSet::new();
    for package in &metadata.packages {
        for dependency in &package.dependencies {
            let (from, to, kind) = (package.name.as_str(), dependency.name.as_str(), dependency.kind.as_deref());
            if dependency.path.is_some() {
                findings.extend(inward(rules, from, to, kind, &mut used));
            } else {
                findings.extend(foreign(rules, from, to, kind));
            }
        }
    }
    for edge in &rules.edge {
        if edge.reason.trim().is_empty() {
            findings.push(Finding::refuse(RULES, format!("the edge {} -> {} has no reason", edge.from, edge.to)));
        }
        if !used.contains(&(edge.from.as_str(), edge.to.as_str())) {
            findings.push(Finding::refuse(RULES, format!("the edge {} -> {} is allowed, and nothing needs it", edge.from, edge.to)));
        }
    }
    findings
}

/// Every crate is in one layer, and every name in the rules is a crate.
fn placement(metadata: &Metadata, rules: &Rules) -> Vec<Finding> {
    let mut findings = Vec::new();
    let known: BTreeSet<&str> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    let mut placed: BTreeMap<&str, u32> = BTreeMap::new();
    for name in rules.layer.iter().flat_map(|layer| &layer.crates) {
        *placed.entry(name).or_default() += 1;
    }
    for name in &known {
        match placed.get(name) {
            None => findings.push(Finding::refuse(*name, format!("is in no layer of {RULES}"))),
            Some(1) => {}
            Some(_) => findings.push(Finding::refuse(*name, format!("is in two layers of {RULES}"))),
        }
    }
    let named = placed.keys().copied().chain(rules.pure.crates.iter().map(String::as_str));
    for name in named.chain(rules.only.iter().flat_map(|only| &only.users).map(String::as_str)).collect::<BTreeSet<_>>() {
        if !known.contains(name) {
            findings.push(Finding::refuse(RULES, format!("`{name}` is not a crate of this workspace")));
        }
    }
    findings
}

fn inward<'r>(rules: &'r Rules, from: &str, to: &str, kind: Option<&str>, used: &mut BTreeSet<(&'r str, &'r str)>) -> Option<Finding> {
    let (source, target) = (rules.layer_of(from)?, rules.layer_of(to)?);
    // A test may use what makes cases and runs them, although those crates lie outside.
    if source.may_use.contains(&target.name) || (kind == Some("dev") && target.name == "harness") {
        return None;
    }
    if let Some(edge) =
        rules.edge.iter().find(|edge| edge.from == from && edge.to == to && edge.kind.as_deref().is_none_or(|only| kind == Some(only)))
    {
        used.insert((&edge.from, &edge.to));
        return None;
    }
    Some(Finding::refuse(from, format!("depends on `{to}`: layer `{}` may not use layer `{}`", source.name, target.name)))
}

fn foreign(rules: &Rules, from: &str, to: &str, kind: Option<&str>) -> Option<Finding> {
    // What a test needs to drive a crate is not what the crate knows.
    if kind == Some("dev") {
        return None;
    }
    if kind.is_none() && rules.pure.crates.iter().any(|name| name == from) && rules.pure.never.iter().any(|pattern| matches(pattern, to)) {
        return Some(Finding::refuse(from, format!("is pure and depends on `{to}`")));
    }
    let only = rules.only.iter().find(|only| only.foreign.iter().any(|pattern| matches(pattern, to)))?;
    if only.users.iter().any(|user| user == from) {
        return None;
    }
    Some(Finding::refuse(from, format!("depends on `{to}`, which only {} may", only.users.join(", "))))
}

fn matches(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = r#"
        [[layer]]
        name = "core"
        readme = "library"
        crates = ["parser"]
        may_use = ["core"]
        [[layer]]
        name = "component"
        readme = "component"
        crates = ["agent", "broker"]
        may_use = ["core"]
        [[layer]]
        name = "harness"
        readme = "library"
        crates = ["cases"]
        may_use = ["core", "component", "harness"]
        [[only]]
        foreign = ["kernel-*"]
        users = ["agent"]
        [pure]
        crates = ["parser"]
        never = ["tokio"]
    "#;

    /// Checks a workspace given as lines `crate: dependency dependency`; `!x` is a foreign crate, `dev/x` and `build/x` are of that kind.
    fn check(rules: &str, workspace: &str) -> Vec<String> {
        let rules: Rules = toml::from_str(rules).unwrap();
        let packages = workspace.lines().map(str::trim).filter(|line| !line.is_empty()).map(|line| {
            let (name, dependencies) = line.split_once(':').unwrap();
            let dependencies = dependencies.split_whitespace().map(|word| {
                let (kind, word) = word.split_once('/').map_or((None, word), |(kind, word)| (Some(kind), word));
                let path = (!word.starts_with('!')).then(|| "here".to_owned());
                serde_json::json!({ "name": word.trim_start_matches('!'), "kind": kind, "path": path })
            });
            serde_json::json!({ "id": name, "name": name, "version": "0.1.0", "manifest_path": "", "dependencies": dependencies.collect::<Vec<_>>() })
        });
        let metadata = serde_json::json!({ "packages": packages.collect::<Vec<_>>(), "workspace_members": [] });
        violations(&serde_json::from_value(metadata).unwrap(), &rules).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn dependencies_that_point_inward_are_fine() {
        assert_eq!(check(RULES, "parser: !bytes\nagent: parser !kernel-bpf\nbroker: parser !tokio\ncases: parser agent"), [""; 0]);
    }

    #[test]
    fn a_core_that_uses_a_component_is_refused() {
        assert_eq!(
            check(RULES, "parser: agent\nagent:\nbroker:\ncases:"),
            ["refuse: parser: depends on `agent`: layer `core` may not use layer `component`"]
        );
    }

    #[test]
    fn a_component_that_uses_another_is_refused() {
        assert_eq!(
            check(RULES, "parser:\nagent:\nbroker: agent\ncases:"),
            ["refuse: broker: depends on `agent`: layer `component` may not use layer `component`"]
        );
    }

    #[test]
    fn tests_may_use_the_harness_and_nothing_else_from_outside() {
        assert_eq!(
            check(RULES, "parser: dev/cases dev/agent dev/!tokio\nagent:\nbroker:\ncases:"),
            ["refuse: parser: depends on `agent`: layer `core` may not use layer `component`"]
        );
    }

    #[test]
    fn a_build_script_obeys_the_layers_too() {
        assert_eq!(
            check(RULES, "parser: build/agent\nagent:\nbroker:\ncases:"),
            ["refuse: parser: depends on `agent`: layer `core` may not use layer `component`"]
        );
    }

    #[test]
    fn a_pure_crate_that_knows_the_runtime_is_refused() {
        assert_eq!(check(RULES, "parser: !tokio\nagent:\nbroker:\ncases:"), ["refuse: parser: is pure and depends on `tokio`"]);
    }

    #[test]
    fn a_foreign_crate_with_listed_users_has_no_others() {
        assert_eq!(
            check(RULES, "parser:\nagent: !kernel-bpf\nbroker: !kernel-bpf\ncases:"),
            ["refuse: broker: depends on `kernel-bpf`, which only agent may"]
        );
    }

    #[test]
    fn every_crate_is_in_one_layer_and_every_name_is_a_crate() {
        assert_eq!(
            check(RULES, "parser:\nagent:\nbroker:\nstray:"),
            ["refuse: stray: is in no layer of ci/layers.toml", "refuse: ci/layers.toml: `cases` is not a crate of this workspace"]
        );
        let twice = RULES.replace("[\"cases\"]", "[\"cases\", \"parser\"]");
        assert_eq!(check(&twice, "parser:\nagent:\nbroker:\ncases:"), ["refuse: parser: is in two layers of ci/layers.toml"]);
    }

    #[test]
    fn an_edge_that_is_argued_is_allowed_and_one_that_is_not_used_is_refused() {
        let edge = "[[edge]]\nfrom = \"broker\"\nto = \"agent\"\nreason = \"they ship as one\"\n";
        let rules = format!("{RULES}\n{edge}");
        assert_eq!(check(&rules, "parser:\nagent:\nbroker: agent\ncases:"), [""; 0]);
        assert_eq!(
            check(&rules, "parser:\nagent:\nbroker:\ncases:"),
            ["refuse: ci/layers.toml: the edge broker -> agent is allowed, and nothing needs it"]
        );
        let dev = rules.replace("[[edge]]", "[[edge]]\nkind = \"dev\"");
        assert_eq!(check(&dev, "parser:\nagent:\nbroker: dev/agent\ncases:"), [""; 0]);
        assert_eq!(check(&dev, "parser:\nagent:\nbroker: agent dev/agent\ncases:").len(), 1);
        let silent = rules.replace("they ship as one", "");
        assert_eq!(
            check(&silent, "parser:\nagent:\nbroker: agent\ncases:"),
            ["refuse: ci/layers.toml: the edge broker -> agent has no reason"]
        );
    }
}
