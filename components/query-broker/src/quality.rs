//! How complete an answer is: who is missing, what was lost, and why.

use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeBinaryArray, Int64Array, StringArray};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use engine::TableQuality;
use ids::AgentId;
use serde::Serialize;
use tables::{ColumnDef, DataType, Relation, SemanticType};

use crate::engine::Output;
use crate::tracker::{CollectorState, KnownCollector};

/// Reserved for the table that `#px:set data_quality=true` adds.
pub const QUALITY_TABLE: &str = "__data_quality__";

/// A client that wants the summary says `true` here.
pub const QUALITY_HEADER: &str = "px-data-quality";

/// The trailer that then has it: JSON, see [`Quality::summary`].
pub const QUALITY_TRAILER: &str = "px-data-quality-bin";

/// Bytes of the summary. Clients take 8 KiB of trailers, which grow by a third on the wire.
const SUMMARY_BYTES_MAX: usize = 4 * 1024;

/// Bytes of one detail in the summary; the table has all of it.
const SUMMARY_DETAIL_BYTES_MAX: usize = 200;

/// Something that makes an answer less than complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// None, or not all, of the agent's rows are in the answer.
    AgentMissing,
    /// Rows of what was asked for went out before they were read, for lack of room.
    RowsExpired,
    /// Values were cut to the longest that is kept.
    RowsTruncated,
    /// Events never became rows, because the kernel's ring was full.
    EventsLost,
    /// A collector cannot run.
    CollectorFailed,
    /// A collector was told not to run.
    CollectorOff,
}

impl What {
    /// As the table and the summary say it.
    pub fn text(self) -> &'static str {
        match self {
            What::AgentMissing => "agent_missing",
            What::RowsExpired => "rows_expired",
            What::RowsTruncated => "rows_truncated",
            What::EventsLost => "events_lost",
            What::CollectorFailed => "collector_failed",
            What::CollectorOff => "collector_off",
        }
    }
}

/// One such thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Whose rows.
    pub agent: AgentId,
    /// The name of its node.
    pub hostname: String,
    /// Which table; empty where all of them are meant.
    pub table: String,
    /// What.
    pub what: What,
    /// How many rows or events; 0 where nobody can know.
    pub number: i64,
    /// For people.
    pub detail: String,
}

/// How complete an answer is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Quality {
    /// Agents whose rows are in the answer, as far as nothing below says otherwise.
    pub agents: u32,
    /// Nothing here: the answer has every row that was asked for.
    pub troubles: Vec<Trouble>,
}

/// Whose rows are spoken of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) agent: AgentId,
    pub(crate) hostname: String,
}

#[derive(Serialize)]
struct Summary<'a> {
    agents: u32,
    troubles: Vec<SummaryTrouble<'a>>,
    /// That did not fit in.
    left_out: usize,
}

#[derive(Serialize)]
struct SummaryTrouble<'a> {
    agent: String,
    hostname: &'a str,
    table: &'a str,
    what: &'static str,
    number: i64,
    detail: &'a str,
}

impl Quality {
    pub(crate) fn add(&mut self, node: &Node, what: What, (table, number, detail): (&str, i64, String)) {
        let Node { agent, hostname } = node.clone();
        self.troubles.push(Trouble { agent, hostname, table: table.to_owned(), what, number, detail });
    }

    /// What an agent says about the tables that it read.
    pub(crate) fn add_tables(&mut self, node: &Node, tables: &[TableQuality]) {
        for table in tables {
            if table.expired_in_range {
                let asked = table.asked_from.map_or_else(|| "all rows were".to_owned(), |from| format!("rows since {} ns were", from.0));
                let oldest =
                    table.oldest.map_or_else(|| "there is none now".to_owned(), |oldest| format!("the oldest is of {} ns", oldest.0));
                let detail = format!("since the agent started; {asked} asked for, and {oldest}");
                self.add(node, What::RowsExpired, (&table.table, signed(table.rows_expired), detail));
            }
            if table.rows_truncated > 0 {
                let detail = "rows read in which a value was cut".to_owned();
                self.add(node, What::RowsTruncated, (&table.table, signed(table.rows_truncated), detail));
            }
        }
        // Of all tables together, so it is said once.
        if let Some(lost) = tables.iter().map(|table| table.events_lost).max().filter(|lost| *lost > 0) {
            let detail = "since the agent started, in all tables: its ring in the kernel was full".to_owned();
            self.add(node, What::EventsLost, ("", signed(lost), detail));
        }
    }

    /// What an agent does not capture.
    pub(crate) fn add_collectors(&mut self, node: &Node, collectors: &[KnownCollector]) {
        for collector in collectors {
            let what = match collector.state {
                CollectorState::Failed => What::CollectorFailed,
                CollectorState::Off => What::CollectorOff,
                CollectorState::Running | CollectorState::Unknown => continue,
            };
            let why = if collector.detail.is_empty() { String::new() } else { format!(": {}", collector.detail) };
            self.add(node, what, ("", 0, format!("{}{why}", collector.name)));
        }
    }

    /// The worst first, then by agent.
    pub(crate) fn in_order(mut self) -> Quality {
        self.troubles.sort_by(|a, b| (a.what, a.agent, &a.table).cmp(&(b.what, b.agent, &b.table)));
        self
    }

    /// The table of it.
    pub fn output() -> Output {
        let column = |name: &str, data_type, semantic_type| ColumnDef { name: name.to_owned(), data_type, semantic_type };
        let columns = vec![
            column("agent", DataType::Uint128, SemanticType::AgentUid),
            column("hostname", DataType::String, SemanticType::NodeName),
            column("table", DataType::String, SemanticType::None),
            column("what", DataType::String, SemanticType::None),
            column("number", DataType::Int64, SemanticType::None),
            column("detail", DataType::String, SemanticType::None),
        ];
        Output { name: QUALITY_TABLE.to_owned(), relation: Relation { columns } }
    }

    pub(crate) fn rows(&self) -> Result<RecordBatch, ArrowError> {
        let of = |text: fn(&Trouble) -> &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(self.troubles.iter().map(text))) };
        let agents = self.troubles.iter().map(|trouble| Some(trouble.agent.to_bytes()));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(agents, tables::UINT128_BYTES)?),
            of(|trouble| &trouble.hostname),
            of(|trouble| &trouble.table),
            of(|trouble| trouble.what.text()),
            Arc::new(Int64Array::from_iter_values(self.troubles.iter().map(|trouble| trouble.number))),
            of(|trouble| &trouble.detail),
        ];
        RecordBatch::try_new(Arc::new(Quality::output().relation.arrow_schema()), columns)
    }

    /// `{"agents":3,"troubles":[{"agent":…,"hostname":…,"table":…,"what":…,"number":…,"detail":…}],"left_out":0}` in at most 4 KiB.
    pub fn summary(&self) -> Vec<u8> {
        let mut shown = self.troubles.len();
        loop {
            let troubles = self.troubles.iter().take(shown).map(short).collect();
            let summary = Summary { agents: self.agents, troubles, left_out: self.troubles.len() - shown };
            // Texts and numbers: there is nothing that JSON could not hold.
            let text = serde_json::to_vec(&summary).unwrap_or_default();
            if text.len() <= SUMMARY_BYTES_MAX || shown == 0 {
                return text;
            }
            // Never past what fits: the text shrinks at least as fast as the share of it that is too much.
            shown = (shown * SUMMARY_BYTES_MAX / text.len()).min(shown - 1);
        }
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn short(trouble: &Trouble) -> SummaryTrouble<'_> {
    let detail = &trouble.detail[..trouble.detail.floor_char_boundary(SUMMARY_DETAIL_BYTES_MAX)];
    SummaryTrouble {
        agent: trouble.agent.to_string(),
        hostname: &trouble.hostname,
        table: &trouble.table,
        what: trouble.what.text(),
        number: trouble.number,
        detail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trouble(number: u64, detail: &str) -> Trouble {
        Trouble {
            agent: AgentId::from_halves(0, number),
            hostname: format!("node-{number}"),
            table: String::new(),
            what: What::AgentMissing,
            number: 0,
            detail: detail.to_owned(),
        }
    }

    #[test]
    fn the_summary_is_as_documented() {
        let expired = Trouble { table: "http_events".to_owned(), what: What::RowsExpired, number: 7, ..trouble(2, "since 12:00") };
        let quality = Quality { agents: 3, troubles: vec![trouble(1, "it says \"no\""), expired] };
        let text = String::from_utf8(quality.summary()).unwrap();
        let expected = concat!(
            r#"{"agents":3,"troubles":["#,
            r#"{"agent":"00000000-0000-0000-0000-000000000001","hostname":"node-1","table":"","what":"agent_missing","number":0,"#,
            r#""detail":"it says \"no\""},"#,
            r#"{"agent":"00000000-0000-0000-0000-000000000002","hostname":"node-2","table":"http_events","what":"rows_expired","number":7,"#,
            r#""detail":"since 12:00"}],"left_out":0}"#
        );
        assert_eq!(text, expected);
        assert_eq!(Quality { agents: 3, troubles: vec![] }.summary(), br#"{"agents":3,"troubles":[],"left_out":0}"#);
    }

    #[test]
    fn a_summary_of_many_fits_into_a_trailer_and_says_how_many_are_left_out() {
        let quality = Quality { agents: 0, troubles: (0..5000).map(|n| trouble(n, &"é".repeat(500))).collect() };
        let text = quality.summary();
        assert!(text.len() <= SUMMARY_BYTES_MAX && text.len() > SUMMARY_BYTES_MAX / 4, "{}", text.len());
        let summary: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let shown = summary["troubles"].as_array().unwrap().len();
        assert_eq!(shown + summary["left_out"].as_u64().unwrap() as usize, 5000);
    }

    #[test]
    fn the_table_has_a_row_for_each() {
        let rows = Quality { agents: 1, troubles: vec![trouble(1, "a"), trouble(2, "b")] }.rows().unwrap();
        assert_eq!((rows.num_rows(), rows.num_columns()), (2, Quality::output().relation.columns.len()));
        assert_eq!(Quality::default().rows().unwrap().num_rows(), 0);
    }
}
