//! `df.ctx[key]`: what is known of the process, pod, service, … of a row.

use tables::DataType;

use crate::diagnostics::{Code, Diagnostic, Result};
use crate::eval::Evaluator;
use crate::expr::Typed;
use crate::frame::Frame;
use crate::source::Span;
use crate::suggest::did_you_mean;
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

/// The pod of a process, or else the one that had the local address then: processes of pods that ended at once are seldom known.
const PODNAME_FALLBACK: &str = "_upid_to_podname_local_addr_fallback";

/// The columns that it takes, if the frame has them.
fn local_address_fallback(frame: &Frame) -> Option<[(&'static str, DataType); 3]> {
    let columns = [("upid", DataType::Uint128), ("local_addr", DataType::String), ("time_", DataType::Time64Ns)];
    let has = |(name, data_type): &(&str, DataType)| frame.relation.column(name).is_some_and(|column| column.data_type == *data_type);
    columns.iter().all(has).then_some(columns)
}

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
        let Some(source) = key.sources.iter().find(|source| frame.relation.column(source).is_some()) else {
            let message = format!(
                "Can't resolve metadata because of lack of converting columns in the parent. Need one of [{}]. Parent type has columns [{}] available.",
                key.sources.join(","),
                frame.relation.columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(",")
            );
            return Err(Diagnostic::new(Code::Type, at, message));
        };
        let column = frame.read(source, at)?;
        if (key.name, *source) == ("pod_name", "upid")
            && let Some(fallback) = local_address_fallback(frame)
            && functions.scalar(PODNAME_FALLBACK, &fallback.map(|(_, data_type)| data_type)).is_some()
        {
            let columns = fallback.into_iter().map(|(name, _)| frame.read(name, at)).collect::<Result<_>>()?;
            return Typed::call(functions, PODNAME_FALLBACK, columns, at).map(Value::Expr);
        }
        Typed::call(functions, &format!("{source}_to_{}", key.name), vec![column], at).map(Value::Expr)
    }
}
