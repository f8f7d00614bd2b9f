//! What happens to answers when parts of a Vizier die, stand still and come back.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod support;

use std::collections::BTreeSet;
use std::io::Write as _;

use anyhow::Result;
use fleet::{Answer, Store, Way};
use support::{World, script};

const PEMS: usize = 2;
const REQUESTS: usize = 3;

/// Two nodes, a Kelvin more than is needed, and rows on both.
fn world(marker: &str) -> Result<Option<(World, usize)>> {
    let Some(mut world) = World::new(PEMS, 2, Store::Etcd)? else { return Ok(None) };
    let rows = 2 * world.traffic(marker, PEMS, REQUESTS)?;
    world.await_marked(Way::Direct, marker, rows)?;
    Ok(Some((world, rows)))
}

/// Rows are never doubled, and what is not there is named.
fn check(answer: &Answer, rows: usize, what: &str) {
    let seen = different_rows(answer, what);
    assert!(seen == rows || !answer.missing().is_empty(), "{what}: {seen} of {rows} rows and nobody is missing");
}

/// How many there are.
fn different_rows(answer: &Answer, what: &str) -> usize {
    let seen: Vec<_> = answer.table("rows").map(|row| (row["req_path"].to_string(), row["trace_role"].as_i64())).collect();
    let different: BTreeSet<_> = seen.iter().collect();
    assert_eq!(different.len(), seen.len(), "{what}: doubled rows: {seen:?}");
    seen.len()
}

#[test]
fn every_part_may_be_killed_and_all_comes_back_as_it_was() -> Result<()> {
    let Some((mut world, rows)) = world("kill")? else { return Ok(()) };
    let agents = world.agents()?;
    for part in ["metadata", "query-broker", "kelvin-1", "kelvin-2", "nats", "etcd", "cloud-connector", "cloud"] {
        eprintln!("killing {part}");
        world.fleet().kill(part)?;
        // What is left answers, or says that it cannot.
        if let Ok(answer) = world.marked(Way::Direct, "kill") {
            check(&answer, rows, part);
        }
        world.fleet().start(part)?;
        check(&world.await_marked(Way::Direct, "kill", rows)?, rows, part);
        check(&world.await_marked(Way::Cloud, "kill", rows)?, rows, part);
    }
    // The nodes and their numbers are the same still; a Kelvin has no place of its own to come back to that would matter.
    let pems = |agents: &[(String, String, i64)]| agents.iter().filter(|agent| agent.0.starts_with("pem-")).cloned().collect::<Vec<_>>();
    assert_eq!(pems(&world.agents()?), pems(&agents));
    Ok(())
}

#[test]
fn a_node_that_is_killed_is_missing_and_comes_back_with_its_id_and_number() -> Result<()> {
    let Some((mut world, rows)) = world("node")? else { return Ok(()) };
    let agents = world.agents()?;
    world.fleet().kill("pem-2")?;
    let answer = world.marked(Way::Direct, "node")?;
    check(&answer, rows, "right after the kill");
    world.fleet().start("pem-2")?;
    world.fleet().await_answers()?;
    assert_eq!(world.agents()?, agents);
    // Its rows were in its memory; new ones are seen once each.
    let rows = 2 * world.traffic("again", PEMS, REQUESTS)?;
    check(&world.await_marked(Way::Direct, "again", rows)?, rows, "after the restart");
    Ok(())
}

#[test]
fn a_part_that_stands_still_costs_time_or_its_rows_and_goes_on_by_itself() -> Result<()> {
    let Some((mut world, rows)) = world("still")? else { return Ok(()) };
    for part in ["pem-1", "kelvin-1", "metadata", "nats", "etcd", "cloud-connector"] {
        eprintln!("freezing {part}");
        world.fleet().freeze(part)?;
        if let Ok(answer) = world.marked(Way::Direct, "still") {
            check(&answer, rows, part);
        }
        world.fleet().thaw(part)?;
        check(&world.await_marked(Way::Direct, "still", rows)?, rows, part);
        check(&world.await_marked(Way::Cloud, "still", rows)?, rows, part);
    }
    Ok(())
}

#[test]
fn a_part_that_is_killed_during_a_query_costs_rows_that_are_named_or_the_query() -> Result<()> {
    let Some((mut world, rows)) = world("during")? else { return Ok(()) };
    // The node at last: its rows go with it.
    for part in ["kelvin-1", "kelvin-2", "metadata", "query-broker", "pem-1"] {
        for round in 0..3 {
            let what = format!("{part}, {round}");
            let mut child = world.fleet().px_command(Way::Direct)?.spawn()?;
            child.stdin.take().unwrap().write_all(script("during").as_bytes())?;
            // Whatever it is doing by now.
            world.fleet().kill(part)?;
            let output = child.wait_with_output()?;
            if output.status.success() {
                let lines = String::from_utf8(output.stdout)?;
                let answer = Answer { rows: lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?, notes: String::new() };
                if part == "pem-1" {
                    different_rows(&answer, &what);
                } else {
                    check(&answer, rows, &what);
                }
            }
            world.fleet().start(part)?;
            world.fleet().await_answers()?;
        }
    }
    Ok(())
}
