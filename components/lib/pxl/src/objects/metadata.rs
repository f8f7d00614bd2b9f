//! `df.ctx[key]`: what is known of the process, pod, service, … of a row.

use crate::diagnostics::{Code, Diagnostic, Result};
use crate::eval::Evaluator;
use crate::expr::Typed;
use crate::frame::Frame;
use crate::source::Span;
use crate::suggest::{did_you_mean, list};
use crate::value::Value;

/// A key, the names it goes by, and the columns it may come from, the first that there is. Reference: pxl.md §4.
struct Key {
    name: &'static str,
    aliases: &'static [&'static str],
    sources: &'static [&'static str],
}

const fn key(name: &'static str, aliases: &'static [&'static str], sources: &'static [&'static str]) -> Key {
    Key { name, aliases, sources }
}

const KEYS: [Key; 16] = [
    key("asid", &[], &["upid"]),
    key("cmdline", &["cmd"], &["upid"]),
    key("container_id", &[], &["upid"]),
    key("container_name", &["container"], &["upid"]),
    key("deployment_id", &[], &["upid", "deployment_name", "pod_id", "pod_name", "replicaset_id", "replicaset_name"]),
    key("deployment_name", &["deployment"], &["upid", "deployment_id", "pod_id", "pod_name", "replicaset_id", "replicaset_name"]),
    key("hostname", &["host"], &["upid"]),
    key("namespace", &[], &["upid", "pod_id", "pod_name", "service_name"]),
    key("node_name", &["node"], &["upid", "pod_id"]),
    key("pid", &[], &["upid"]),
    key("pod_id", &[], &["upid", "pod_name"]),
    key("pod_name", &["pod"], &["upid", "pod_id"]),
    key("replicaset_id", &["replica_set_id"], &["upid", "pod_id", "pod_name", "replicaset_name"]),
    key("replicaset_name", &["replica_set", "replicaset"], &["upid", "pod_id", "pod_name", "replicaset_id"]),
    key("service_id", &[], &["upid", "service_name", "pod_id", "pod_name"]),
    key("service_name", &["service"], &["upid", "service_id", "pod_id", "pod_name"]),
];

impl<'a> Evaluator<'a> {
    pub(crate) fn metadata(&mut self, frame: &Frame, index: &Value<'a>, at: Span) -> Result<Value<'a>> {
        let Some(name) = index.as_str() else {
            return Err(Diagnostic::new(Code::Type, at, format!("Expected string type. Got {}", index.kind())));
        };
        let Some(key) = KEYS.iter().find(|key| key.name == name || key.aliases.contains(&name)) else {
            let names = KEYS.iter().flat_map(|key| key.aliases.iter().chain([&key.name]).copied());
            let message = format!("'{name}' unavailable metadata key.");
            return Err(Diagnostic::new(Code::Unknown, at, message).maybe_help(did_you_mean(name, names)));
        };
        let functions = self.input.functions;
        let function = |key: &Key, source: &str| format!("{source}_to_{}", key.name);
        let runs = |key: &Key, source: &str| !functions.scalar_overloads(&function(key, source)).is_empty();
        let known = |key: &Key| key.sources.iter().any(|source| runs(key, source));
        let reads = |source: &&&str| frame.relation.column(source).is_some();
        if !known(key)
            || (key.sources.iter().any(|source| reads(&source)) && !key.sources.iter().filter(reads).any(|source| runs(key, source)))
        {
            let there = list(KEYS.iter().filter(|key| known(key)).map(|key| key.name));
            let message = format!("metadata key '{name}' is not available here: it needs Kubernetes");
            return Err(Diagnostic::new(Code::Unsupported, at, message).with_help(format!("without Kubernetes there are {there}")));
        }
        let Some(source) = key.sources.iter().filter(reads).find(|source| runs(key, source)) else {
            let message = format!(
                "Can't resolve metadata because of lack of converting columns in the parent. Need one of [{}]. Parent type has columns [{}] available.",
                key.sources.join(","),
                frame.relation.columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(",")
            );
            return Err(Diagnostic::new(Code::Type, at, message));
        };
        let column = frame.read(source, at)?;
        Typed::call(functions, &function(key, source), vec![column], at).map(Value::Expr)
    }
}
