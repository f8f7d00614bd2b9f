//! What happens to answers when parts of a Vizier die, stand still and come back.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod support;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::Output;

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
    assert_eq!(world.agents()?, agents, "ids and numbers");
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
                let answer = answer_of(&output)?;
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

#[test]
fn a_part_that_stands_still_during_a_query_costs_rows_that_are_named_or_the_query_but_never_the_client() -> Result<()> {
    let Some((mut world, rows)) = world("frozen")? else { return Ok(()) };
    for part in ["pem-1", "kelvin-1", "kelvin-2", "metadata", "nats", "query-broker"] {
        let mut child = world.fleet().px_command(Way::Direct)?.spawn()?;
        world.fleet().freeze(part)?;
        child.stdin.take().unwrap().write_all(script("frozen").as_bytes())?;
        // A broker that stands still cannot say so; whatever else does is found out by the others.
        if part == "query-broker" {
            world.fleet().thaw(part)?;
        }
        let output = child.wait_with_output()?;
        if output.status.success() {
            check(&answer_of(&output)?, rows, part);
        }
        world.fleet().thaw(part)?;
        check(&world.await_marked(Way::Direct, "frozen", rows)?, rows, part);
    }
    Ok(())
}

#[test]
fn a_node_registers_whatever_dies_or_stands_still_meanwhile_and_is_who_it_was() -> Result<()> {
    let Some((mut world, _)) = world("register")? else { return Ok(()) };
    let agents = world.agents()?;
    for part in ["metadata", "nats", "etcd", "kelvin-1"] {
        eprintln!("{part} is gone while a node starts");
        world.fleet().kill("pem-2")?;
        world.fleet().kill(part)?;
        world.fleet().launch("pem-2")?;
        world.fleet().start(part)?;
        world.fleet().await_ready("pem-2")?;
        world.fleet().await_answers()?;
        eprintln!("{part} dies while a node starts");
        world.fleet().kill("pem-2")?;
        world.fleet().launch("pem-2")?;
        world.fleet().restart(part)?;
        world.fleet().await_ready("pem-2")?;
        world.fleet().await_answers()?;
        eprintln!("{part} stands still while a node starts");
        world.fleet().kill("pem-2")?;
        world.fleet().freeze(part)?;
        world.fleet().launch("pem-2")?;
        world.fleet().thaw(part)?;
        world.fleet().await_ready("pem-2")?;
        world.fleet().await_answers()?;
        assert_eq!(world.agents()?, agents, "{part}");
    }
    // The node itself, again and again, before it is there.
    for _ in 0..3 {
        world.fleet().kill("pem-2")?;
        world.fleet().launch("pem-2")?;
    }
    world.fleet().await_ready("pem-2")?;
    world.fleet().await_answers()?;
    assert_eq!(world.agents()?, agents);
    Ok(())
}

#[test]
fn all_parts_stop_when_they_are_asked_to_and_come_back_as_they_were() -> Result<()> {
    let Some((mut world, _)) = world("power")? else { return Ok(()) };
    let (agents, cluster) = (world.agents()?, world.fleet().cluster_id().map(str::to_owned));
    let parts: Vec<_> = world.fleet().status().into_iter().map(|line| line.name).collect();
    for part in parts.iter().rev() {
        world.fleet().stop(part)?;
    }
    for part in &parts {
        world.fleet().launch(part)?;
    }
    for part in &parts {
        world.fleet().await_ready(part)?;
    }
    world.fleet().await_answers()?;
    assert_eq!(world.agents()?, agents);
    assert_eq!(world.fleet().ready_lines("cloud-connector")?.first(), cluster.as_ref());
    Ok(())
}

#[test]
fn a_call_through_the_control_plane_is_whole_or_fails_whatever_dies_on_its_way() -> Result<()> {
    let Some((mut world, rows)) = world("way")? else { return Ok(()) };
    for part in ["cloud-connector", "cloud", "nats", "query-broker", "kelvin-1", "etcd"] {
        for round in 0..2 {
            let mut child = world.fleet().px_command(Way::Cloud)?.spawn()?;
            child.stdin.take().unwrap().write_all(script("way").as_bytes())?;
            // Whatever it is doing by now.
            world.fleet().kill(part)?;
            let output = child.wait_with_output()?;
            if output.status.success() {
                check(&answer_of(&output)?, rows, &format!("{part}, {round}"));
            }
            world.fleet().start(part)?;
            check(&world.await_marked(Way::Cloud, "way", rows)?, rows, part);
        }
    }
    Ok(())
}

#[test]
fn a_node_whose_link_is_cut_is_missing_and_is_back_with_all_its_rows() -> Result<()> {
    let Some((mut world, rows)) = world("link")? else { return Ok(()) };
    let agents = world.agents()?;
    for _ in 0..2 {
        world.fleet().cut("pem-2")?;
        // Nobody is told: the answer waits until the node was silent for too long.
        let answer = world.marked(Way::Direct, "link")?;
        check(&answer, rows, "while the link is cut");
        assert_eq!(answer.missing(), ["pem-2"]);
        world.fleet().mend("pem-2")?;
        check(&world.await_marked(Way::Direct, "link", rows)?, rows, "after it was mended");
        assert_eq!(world.agents()?, agents);
    }
    Ok(())
}

/// What `px` printed.
fn answer_of(output: &Output) -> Result<Answer> {
    let lines = String::from_utf8(output.stdout.clone())?;
    Ok(Answer { rows: lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?, notes: String::new() })
}
