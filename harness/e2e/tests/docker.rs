//! The agent and containers: Docker's own, from an engine of the test's own.
#![allow(clippy::print_stdout, reason = "says why it was skipped")]

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use e2e::{Docker, Expected, Runtime, Server, Side, Vizier, compare, eventually, requests, send, skip_reason, target_folder};

/// What the agent needs: `CAP_SYS_ADMIN` stands for `CAP_BPF` and `CAP_PERFMON`, which Debian 12's Docker has no names for.
const AGENT: &[&str] = &["--cap-add", "SYS_ADMIN", "--cap-add", "SYS_PTRACE", "--security-opt", "seccomp=unconfined"];
const BOTH_SIDES: &[(Side, usize)] = &[(Side::Client, 1), (Side::Server, 1)];

fn skipped() -> bool {
    let missing = || {
        let has = Command::new("sh").args(["-c", "command -v dockerd docker >/dev/null"]).status().is_ok_and(|status| status.success());
        assert!(has || std::env::var_os("CI").is_none(), "dockerd or docker is missing");
        (!has).then(|| "dockerd or docker is missing".to_owned())
    };
    skip_reason().or_else(missing).inspect(|reason| println!("skipped: {reason}")).is_some()
}

fn go() -> Result<Command> {
    Runtime::Go.command()?.context("go is missing")
}

/// An agent in a container, with the folders that it and the traffic programs lie in.
fn agent_in_container(docker: &Docker, options: &[&str]) -> Result<Vizier> {
    let options: Vec<&str> = AGENT.iter().chain(options).copied().collect();
    let (target, temporary) = (target_folder()?, std::env::temp_dir());
    let words = docker.run("agent", &options, &[&target, &temporary]);
    Vizier::start_by(&words.iter().map(String::as_str).collect::<Vec<_>>(), &[])
}

/// The id, in the host's namespace, of the process that a container was started with.
fn first_process(docker: &Docker, name: &str) -> Result<u32> {
    let output = docker.command(&["inspect", "--format", "{{.State.Pid}}", name]).output()?;
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

#[test]
fn an_agent_in_a_container_sees_what_runs_in_it_by_its_ids_and_nothing_else() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let docker = Docker::start()?;
    let vizier = agent_in_container(&docker, &[])?;
    // Outside: must not be seen.
    let outside = Server::start(go()?, "127.0.0.1")?;
    send(go()?, &outside.url, 1, &requests("dockeroutside", 8))?;
    // Inside: seen, by the ids of inside.
    let inside = Server::start(docker.inside("agent", &go()?), "127.0.0.1")?;
    let sent = requests("dockerinside", 24);
    send(docker.inside("agent", &go()?), &inside.url, 3, &sent)?;
    let rows = eventually("rows of inside", || Ok(Some(vizier.http_rows("dockerinside")?).filter(|rows| rows.len() >= 48)))?;
    let faults = compare(&Expected { requests: &sent, sides: BOTH_SIDES, contract_bodies: true }, &rows);
    assert!(faults.is_empty(), "{faults}");
    assert!(rows.iter().all(|row| row["pid"].as_u64().is_some_and(|pid| (2..1_000).contains(&pid))), "ids of inside are small: {rows:#?}");
    assert_eq!(vizier.http_rows("dockeroutside")?.len(), 0);
    Ok(())
}

#[test]
fn an_agent_in_a_container_with_the_hosts_processes_sees_all_of_them() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let docker = Docker::start()?;
    let vizier = agent_in_container(&docker, &["--pid", "host"])?;
    let server = Server::start(go()?, "127.0.0.1")?;
    let sent = requests("dockerhost", 24);
    send(go()?, &server.url, 3, &sent)?;
    let rows = vizier.settled_rows("dockerhost", 48)?;
    let faults = compare(&Expected { requests: &sent, sides: BOTH_SIDES, contract_bodies: true }, &rows);
    assert!(faults.is_empty(), "{faults}");
    assert!(rows.iter().filter(|row| row["trace_role"] == 2).all(|row| row["pid"] == server.process.id()), "{rows:#?}");
    Ok(())
}

#[test]
fn an_agent_on_the_host_sees_containers_by_the_ids_that_the_host_sees() -> Result<()> {
    if skipped() {
        return Ok(());
    }
    let docker = Docker::start()?;
    let vizier = Vizier::start(&[])?;
    let target = target_folder()?;
    let words = docker.run("web", &[], &[Path::new(&target)]);
    let mut contained = Command::new(&words[0]);
    let program = go()?;
    contained.args(&words[1..]).arg(program.get_program());
    let server = Server::start(contained, "127.0.0.1")?;
    let sent = requests("dockerweb", 24);
    send(go()?, &server.url, 3, &sent)?;
    let rows = vizier.settled_rows("dockerweb", 48)?;
    let faults = compare(&Expected { requests: &sent, sides: BOTH_SIDES, contract_bodies: true }, &rows);
    assert!(faults.is_empty(), "{faults}");
    let pid = first_process(&docker, "web")?;
    assert!(rows.iter().filter(|row| row["trace_role"] == 2).all(|row| row["pid"] == pid), "{pid}: {rows:#?}");
    Ok(())
}
