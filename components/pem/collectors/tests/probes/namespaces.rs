//! Probes across PID namespaces.

use std::process::Command;

use collectors::{Binary, Probed};

use crate::support::{Running, compile, deploy, poll, spec, start, turn, unable};

/// What tells the test that it runs inside a namespace of its own.
const INSIDE: &str = "PX_PROBES_INSIDE";

#[test]
fn a_process_in_a_nested_namespace_has_the_id_that_the_agent_sees() {
    let _turn = turn();
    if unable() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = compile(folder.path(), "program", &[]);
    let mut program = Running::start(Command::new("unshare").args(["--pid", "--fork", "--kill-child"]).arg(&path));
    let mut probes = start();
    deploy(&mut probes, &spec(Binary::File(path), "px_sum"));
    program.say("sum 10");
    let events = poll(&mut probes);
    // It is the first there, and the child of `unshare` here.
    assert_eq!((program.own_pid, events.len()), (1, 10));
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", program.pid())).unwrap();
    let pid: u32 = children.trim().parse().unwrap();
    assert!(events.iter().all(|event| (event.process.pid(), event.thread) == (pid, pid)), "{pid}: {events:?}");
    // By that id it can be named, too.
    let named = collectors::ProbeSpec { probed: Probed::Processes(vec![pid]), ..spec(Binary::Executable { pid }, "px_sum") };
    let named = deploy(&mut probes, &named);
    program.say("sum 10");
    assert_eq!(poll(&mut probes).iter().filter(|event| event.probe == named).count(), 10);
}

#[test]
fn an_agent_in_a_namespace_is_told_of_what_is_in_it_and_of_nothing_else() {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    let _turn = turn();
    if unable() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = compile(folder.path(), "program", &[]);
    let mut outside = Running::start(&mut Command::new(&path));
    let test = "namespaces::an_agent_in_a_namespace_is_told_of_what_is_in_it_and_of_nothing_else";
    let own = std::env::current_exe().unwrap();
    let mut agent = Command::new("unshare");
    agent.args(["--pid", "--fork", "--kill-child", "--mount-proc"]).arg(own).args([test, "--exact", "--nocapture"]).env(INSIDE, &path);
    let mut agent = agent.spawn().unwrap();
    let status = loop {
        outside.say("sum 10");
        if let Some(status) = agent.try_wait().unwrap() {
            break status;
        }
    };
    assert!(status.success());
}

/// As the agent in the namespace.
fn inside() {
    let path = std::env::var_os(INSIDE).expect("set by the test outside");
    let mut program = Running::start(&mut Command::new(&path));
    assert_eq!(program.own_pid, program.pid());
    let mut probes = start();
    let probe = deploy(&mut probes, &spec(Binary::Executable { pid: program.pid() }, "px_sum"));
    for _ in 0..100 {
        program.say("sum 10");
        let events = poll(&mut probes);
        assert_eq!(events.len(), 10);
        assert!(events.iter().all(|event| (event.probe, event.process.pid(), event.thread) == (probe, program.pid(), program.pid())));
        assert!(events.iter().all(|event| event.process.start_ticks() == program.start_ticks()));
    }
}
