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
    strangers_are_refused(&mut world)
}

/// Who shows no key, another key, or trusts another authority, learns nothing.
fn strangers_are_refused(world: &mut World) -> Result<()> {
    let others = tempfile::tempdir()?;
    rpc::provision(others.path(), &[], std::time::SystemTime::now())?;
    let other_ca = others.path().join("ca.crt").to_string_lossy().into_owned();
    let (ca, vizier, cloud) = (world.fleet().ca(), world.fleet().vizier_address(), world.fleet().cloud_address());
    let (key, wrong) = (world.fleet().api_key()?, auth::new_api_key());
    for (what, words) in [
        ("no key", vec!["--tls-ca", &ca, "--addr", &vizier]),
        ("another key", vec!["--tls-ca", &ca, "--addr", &vizier, "--direct-vizier-key", &wrong]),
        ("another authority", vec!["--tls-ca", &other_ca, "--addr", &vizier, "--direct-vizier-key", &key]),
        ("no TLS", vec!["--addr", &vizier, "--direct-vizier-key", &key]),
        ("no key at the control plane", vec!["--tls-ca", &ca, "--cloud-addr", &cloud]),
        ("another key at the control plane", vec!["--tls-ca", &ca, "--cloud-addr", &cloud, "--api-key", &wrong]),
        ("another authority at the control plane", vec!["--tls-ca", &other_ca, "--cloud-addr", &cloud, "--api-key", &key]),
    ] {
        let mut command = world.fleet().px_program()?;
        let output = command.args(words).args(["run", "px/agent_status", "-o", "json"]).output()?;
        assert!(!output.status.success() && output.stdout.is_empty(), "{what}: {}", String::from_utf8_lossy(&output.stdout));
    }
    Ok(())
}
