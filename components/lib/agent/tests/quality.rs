//! What agents tell of the rows they had: what had expired, what was cut, what was lost; and of themselves.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test")]

mod support;

use std::sync::Arc;

use agent::ProcessTables;
use arrow::array::RecordBatch;
use engine::{AgentFacts, AgentTables, EventsLost, TableQuality};
use ids::{Asid, UnixNs};
use support::{Fleet, Options, Row, batch, empty_store, functions, relation};
use table_store::{Limits, TableStore};

const SECOND: i64 = 1_000_000_000;

/// Time of the first row, in seconds.
const FIRST: i64 = 100;

/// A row for each of so many seconds, of which some may have expired; those of each hundredth second were cut.
fn full_store(seconds: i64) -> Arc<TableStore> {
    let store = empty_store();
    let table = store.create_with_limits("a", relation(), Limits { bytes_max: 64 * 1024, seal_raw_bytes: 8192 }).unwrap();
    let service = |second: i64| if second % 100 == 0 { "cut... [TRUNCATED]" } else { "whole" }.to_owned();
    let row = |second: i64| Row { time: second * SECOND, service: service(second), number: second, share: 0.0, ok: true };
    for from in (FIRST..FIRST + seconds).step_by(100) {
        table.append(batch(&(from..from + 100).map(row).collect::<Vec<_>>())).unwrap();
    }
    store
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_agent_says_how_complete_its_rows_were() {
    let mut fleet = Fleet::start(Vec::new(), Options::default()).await;
    // One has lost rows and events, one has neither, one does not have the table.
    let lost = EventsLost::default();
    lost.set(12);
    fleet.add_with(full_store(5000), functions().into(), AgentFacts { events_lost: lost, ..AgentFacts::default() }).await;
    fleet.add(full_store(200)).await;
    fleet.add(empty_store()).await;
    let stats = fleet.members[0].store.table("a").unwrap().stats();
    let oldest = stats.time_oldest.unwrap();
    let gone = oldest.0 / SECOND - 1;
    assert!(gone > FIRST, "{stats:?}");
    for (from, in_range) in [(gone, true), (gone + 1, false)] {
        let script =
            format!("import px\ndf = px.DataFrame('a', start_time=px.seconds({from}))\npx.display(df.agg(n=('service', px.count)))\n");
        let (_, ended) = fleet.run(&script).await.unwrap();
        assert_eq!(ended.qualities.iter().map(|quality| quality.agent).collect::<Vec<_>>(), fleet.agents());
        let asked_from = Some(UnixNs(from * SECOND));
        let rows_truncated = (oldest.0 / SECOND..FIRST + 5000).filter(|second| second % 100 == 0).count() as u64;
        let want = TableQuality {
            table: "a".to_owned(),
            asked_from,
            oldest: Some(oldest),
            rows_expired: stats.rows_expired,
            expired_in_range: in_range,
            rows_truncated,
            events_lost: 12,
        };
        assert_eq!(ended.qualities[0].tables, [want]);
        let whole = TableQuality { table: "a".to_owned(), asked_from, oldest: Some(UnixNs(FIRST * SECOND)), ..TableQuality::default() };
        assert_eq!(ended.qualities[1].tables, [whole]);
        assert_eq!(ended.qualities[2].tables, []);
    }
    fleet.stop().await;
}

/// Knows one more table.
#[derive(Debug)]
struct State {
    asid: Asid,
}

impl AgentTables for State {
    fn rows(&self, table: &str) -> Option<Result<RecordBatch, String>> {
        let asid = Arc::new(arrow::array::Int64Array::from(vec![i64::from(self.asid.0)])) as arrow::array::ArrayRef;
        let text = |text: &str| Arc::new(arrow::array::StringArray::from(vec![text])) as arrow::array::ArrayRef;
        let rows = || RecordBatch::try_from_iter([("debug_state", text("ready")), ("asid", asid), ("pod_name", text("ns/pem"))]);
        match table {
            "px._DebugMDState" => Some(rows().map_err(|error| error.to_string())),
            "px._DebugStackTrace" => Some(Err("stacks are not told".to_owned())),
            _ => None,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_tell_of_themselves() {
    let mut fleet = Fleet::start(Vec::new(), Options::default()).await;
    for asid in [Asid(3), Asid(4)] {
        let tables: Vec<Arc<dyn AgentTables>> = vec![Arc::new(State { asid }), Arc::new(ProcessTables { asid, collects_data: true })];
        fleet.add_with(full_store(100), functions().into(), AgentFacts { asid, tables, ..AgentFacts::default() }).await;
    }
    let (answer, _) = fleet.run("import px\npx.display(px._DebugMDState())\n").await.unwrap();
    assert_eq!(answer.outputs[0].1, [["3", "ns/pem", "ready"], ["4", "ns/pem", "ready"]]);
    let script = "import px\ndf = px._DebugAgentProcStatus()\ndf = df[df.vm_rss_bytes > 0]\npx.display(df[['asid']])\n";
    let (answer, _) = fleet.run(script).await.unwrap();
    assert_eq!(answer.outputs[0].1, [["3"], ["4"]]);
    let script = "import px\ndf = px._DebugTableInfo()\npx.display(df.groupby('name').agg(n=('num_batches', px.sum)))\n";
    let (answer, _) = fleet.run(script).await.unwrap();
    assert_eq!(answer.outputs[0].1, [["a", "2"]]);
    let error = fleet.run("import px\npx.display(px._DebugStackTrace())\n").await.unwrap_err();
    assert!(format!("{error:?}").contains("px._DebugStackTrace: stacks are not told"), "{error:?}");
    let script =
        "import px\ndf = px._HeapRanges()\ndf = df.groupby('asid').agg(n=('length', px.sum))\npx.display(df[df.n > 0][['asid']])\n";
    let (answer, _) = fleet.run(script).await.unwrap();
    assert_eq!(answer.outputs[0].1, [["3"], ["4"]]);
    let error = fleet.run("import px\npx.display(px._HeapSample())\n").await.unwrap_err();
    assert!(format!("{error:?}").contains("does not note who asks for memory"), "{error:?}");
    fleet.stop().await;
}
