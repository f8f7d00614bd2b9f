//! What an agent knows of the cluster, as text.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use engine::AgentTables;
use ids::Asid;

use crate::names::NamesHandle;

/// Bytes of the text; what does not fit is counted at its end.
const TEXT_BYTES_MAX: usize = 512 * 1024;

/// Answers `px._DebugMDState` for this agent.
#[derive(Debug, Clone)]
pub struct StateTable {
    /// The agent's.
    pub asid: Asid,
    /// `namespace/name` of its pod; empty where there is none.
    pub pod_name: String,
    /// What it knows.
    pub names: NamesHandle,
}

impl AgentTables for StateTable {
    fn rows(&self, table: &str) -> Option<Result<RecordBatch, String>> {
        (table == "px._DebugMDState").then(|| {
            let rows = RecordBatch::try_from_iter([
                ("asid", Arc::new(Int64Array::from(vec![i64::from(self.asid.0)])) as _),
                ("pod_name", Arc::new(StringArray::from(vec![self.pod_name.as_str()])) as _),
                ("debug_state", Arc::new(StringArray::from(vec![text(&self.names)])) as _),
            ]);
            rows.map_err(|error| error.to_string())
        })
    }
}

/// How far it has followed the updates, then a line for each object.
fn text(names: &NamesHandle) -> String {
    let (snapshot, counts) = (names.snapshot(), names.counts());
    let mut text = format!("complete: {}\nobjects: {}\nupdates: {:?}\n", counts.complete, snapshot.len(), counts.feed);
    let mut left_out = 0;
    for record in snapshot.records() {
        let meta = record.object.meta();
        let gone = record.gone.map_or_else(String::new, |gone| format!(" gone={}", gone.0));
        let slash = if meta.namespace.is_empty() { "" } else { "/" };
        let line = format!("{:?} {}{slash}{} uid={}{gone}\n", record.kind(), meta.namespace, meta.name, meta.uid.as_str());
        if text.len() + line.len() > TEXT_BYTES_MAX {
            left_out += 1;
        } else {
            text.push_str(&line);
        }
    }
    if left_out > 0 {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{left_out} more");
    }
    text
}
