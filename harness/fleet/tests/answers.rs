//! One answer from all nodes: processes, certificates, a real bus and store, real traffic.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use fleet::{Store, Way};
use serde_json::Value;
use support::{World, script};

const PEMS: usize = 3;
const REQUESTS: usize = 4;

/// How often each request was seen on each side, by its path and the side.
fn sides(rows: &[Value]) -> BTreeMap<(String, i64), usize> {
    let mut sides = BTreeMap::new();
    for row in rows {
        let key = (row["req_path"].as_str().unwrap().to_owned(), row["trace_role"].as_i64().unwrap());
        *sides.entry(key).or_default() += 1;
    }
    sides
}

#[test]
fn rows_of_all_nodes_stand_in_one_answer_directly_and_through_the_control_plane() -> Result<()> {
    let Some(mut world) = World::new(PEMS, 2, Store::Etcd)? else { return Ok(()) };
    let requests = world.traffic("one", PEMS, REQUESTS)?;
    // The client's side and the server's.
    world.await_marked(Way::Direct, "one", 2 * requests)?;
    for way in [Way::Direct, Way::Cloud] {
        let answer = world.marked(way, "one")?;
        let rows: Vec<_> = answer.table("rows").cloned().collect();
        let agents: BTreeSet<_> = rows.iter().map(|row| row["asid"].as_i64().unwrap()).collect();
        assert_eq!(agents.len(), PEMS, "{way:?}: rows of {agents:?}");
        let sides = sides(&rows);
        assert_eq!(sides.len(), 2 * requests, "{way:?}: {sides:?}");
        assert!(sides.values().all(|count| *count == 1), "{way:?}: a row came twice: {sides:?}");
        assert!(rows.iter().all(|row| row["resp_status"] == 200), "{way:?}");
        // The published client sees the same.
        let Some(of_client) = world.fleet().pxapi(way, &script("one"))? else {
            assert!(std::env::var_os("CI").is_none(), "pxapi is missing: ci/setup installs it");
            eprintln!("skipped: pxapi is missing, ci/setup installs it");
            continue;
        };
        assert_eq!(self::sides(&of_client), sides, "{way:?}");
    }
    Ok(())
}
