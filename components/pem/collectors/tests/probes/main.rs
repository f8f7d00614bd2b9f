//! Probes on functions of real processes, on the kernel that runs. Needs root and gcc; says so where they are not.

#![allow(clippy::print_stdout, reason = "says why a test is skipped")]
#![allow(unreachable_pub, missing_docs, reason = "modules of a test: `pub` says what they offer each other")]

mod namespaces;
mod support;

use std::{collections::BTreeMap, process::Command};

use collectors::{Binary, Error, ProbeCounts, Probed, Probes};
use ids::Asid;
use support::{Running, compile, deploy, poll, spec, start, turn, unable};

#[test]
fn every_call_is_told_once_with_its_arguments_wherever_the_program_is_loaded() {
    let _turn = turn();
    if unable() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for options in [["-pie", "-fPIE"], ["-no-pie", "-fno-pie"]] {
        let mut program = Running::start(&mut Command::new(compile(folder.path(), options[0], &options)));
        let mut probes = start();
        let probe = deploy(&mut probes, &spec(Binary::Executable { pid: program.pid() }, "px_sum"));
        program.say("sum 1000");
        let events = poll(&mut probes);
        assert_eq!(events.len(), 1000);
        let (ticks, mut before) = (program.start_ticks(), 0);
        for (index, event) in events.iter().enumerate() {
            assert_eq!((event.probe, event.thread, event.returned), (probe, program.pid(), None));
            let process = event.process;
            assert_eq!((process.asid(), process.pid(), process.start_ticks()), (Asid(7), program.pid(), ticks));
            let [first, second, third, fourth, fifth, sixth] = event.arguments;
            assert_eq!((first, second as i32, third, fourth as u8), (index as u64, -2, 3, 4), "{options:?}");
            assert_eq!((fifth, sixth), (5, 6));
            assert!(event.at.0 > before);
            before = event.at.0;
        }
        assert_eq!(probes.counts(probe), Some(ProbeCounts { told: 1000, lost: 0, unmatched: 0 }));
        assert!(probes.remove(probe));
        program.say("sum 10");
        assert_eq!(poll(&mut probes), []);
        assert_eq!((probes.remove(probe), probes.counts(probe)), (false, None));
    }
}

#[test]
fn threads_do_not_hide_each_others_calls() {
    let _turn = turn();
    if unable() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut program = Running::start(&mut Command::new(compile(folder.path(), "program", &[])));
    let mut probes = Probes::with_ring(Asid(7), 4 << 20).unwrap();
    let entry = spec(Binary::Executable { pid: program.pid() }, "px_sum");
    let (entered, returned) = (deploy(&mut probes, &entry), deploy(&mut probes, &collectors::ProbeSpec { returns: true, ..entry }));
    program.say("threads 2000");
    let events = poll(&mut probes);
    for probe in [entered, returned] {
        let mut threads: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        for event in events.iter().filter(|event| event.probe == probe) {
            threads.entry(event.thread).or_default().push(event.arguments[0]);
        }
        assert_eq!(threads.len(), 4);
        assert!(threads.values().all(|calls| calls.iter().copied().eq(0..2000)));
    }
}

#[test]
fn a_return_is_told_with_its_value_and_duration_also_of_recursion() {
    let _turn = turn();
    if unable() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut program = Running::start(&mut Command::new(compile(folder.path(), "program", &[])));
    let mut probes = start();
    let returns = collectors::ProbeSpec { returns: true, ..spec(Binary::Executable { pid: program.pid() }, "px_nested") };
    let probe = deploy(&mut probes, &returns);
    program.say("nested 9");
    let events = poll(&mut probes);
    let told: Vec<_> = events.iter().map(|event| (event.arguments[0], event.returned.map(|returned| returned.value))).collect();
    // The innermost returns first.
    assert_eq!(told, (0..10).map(|depth| (depth, Some(depth + 1))).collect::<Vec<_>>());
    assert!(events.windows(2).all(|pair| pair[0].returned.unwrap().duration < pair[1].returned.unwrap().duration));
    assert_eq!(probes.counts(probe), Some(ProbeCounts { told: 10, lost: 0, unmatched: 0 }));
}

#[test]
fn processes_that_start_later_are_probed_unless_some_were_named() {
    let _turn = turn();
    if unable() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = compile(folder.path(), "program", &[]);
    let (mut first, mut second) = (Running::start(&mut Command::new(&path)), Running::start(&mut Command::new(&path)));
    let mut probes = start();
    let all = spec(Binary::File(path.clone()), "px_sum");
    let named = collectors::ProbeSpec { probed: Probed::Processes(vec![first.pid()]), ..all.clone() };
    let (all, named) = (deploy(&mut probes, &all), deploy(&mut probes, &named));
    let mut calls = |of: &mut Running| {
        of.say("sum 3");
        let events = poll(&mut probes);
        assert!(events.iter().all(|event| event.process.pid() == of.pid()));
        [all, named].map(|probe| events.iter().filter(|event| event.probe == probe).count())
    };
    assert_eq!(calls(&mut first), [3, 3]);
    assert_eq!(calls(&mut second), [3, 0]);
    drop(first);
    let mut again = Running::start(&mut Command::new(&path));
    assert_eq!(calls(&mut again), [3, 0]);
    assert_eq!(calls(&mut second), [3, 0]);
}

#[test]
fn a_program_whose_file_was_deleted_or_replaced_is_probed_all_the_same() {
    let _turn = turn();
    if unable() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = compile(folder.path(), "program", &[]);
    let mut program = Running::start(&mut Command::new(&path));
    let mut probes = start();
    let before = deploy(&mut probes, &spec(Binary::Executable { pid: program.pid() }, "px_sum"));
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "another").unwrap();
    let after = deploy(&mut probes, &spec(Binary::Executable { pid: program.pid() }, "px_sum"));
    program.say("sum 5");
    let events = poll(&mut probes);
    assert_eq!([before, after].map(|probe| events.iter().filter(|event| event.probe == probe).count()), [5, 5]);
    assert!(probes.remove(before));
    program.say("sum 5");
    assert_eq!(poll(&mut probes).len(), 5);
}

#[test]
fn a_function_of_a_library_is_told_for_the_process_that_was_named() {
    let _turn = turn();
    if unable() {
        return;
    }
    let script = "import os, sys\nprint('ready', os.getpid(), flush=True)\nfor line in sys.stdin:\n  for i in range(int(line)): os.getppid()\n  print('done', flush=True)";
    let (mut python, mut other) =
        (Running::start(Command::new("python3").args(["-c", script])), Running::start(Command::new("python3").args(["-c", script])));
    let mut probes = start();
    let library = spec(Binary::SharedObject { pid: python.pid(), name: "libc".to_owned() }, "getppid");
    let named = Probed::Processes(vec![python.pid()]);
    let probe = deploy(&mut probes, &collectors::ProbeSpec { probed: named, returns: true, ..library });
    python.say("100");
    other.say("100");
    let events = poll(&mut probes);
    assert_eq!(events.len(), 100);
    for event in &events {
        assert_eq!((event.probe, event.process.pid()), (probe, python.pid()));
        assert_eq!(event.returned.unwrap().value, u64::from(std::process::id()));
    }
}

#[test]
fn functions_of_one_name_are_all_probed() {
    let _turn = turn();
    if unable() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut program = Running::start(&mut Command::new(compile(folder.path(), "program", &[])));
    let mut probes = start();
    deploy(&mut probes, &spec(Binary::Executable { pid: program.pid() }, "px_private"));
    program.say("private 2");
    let told: Vec<u64> = poll(&mut probes).iter().map(|event| event.arguments[0]).collect();
    assert_eq!(told, [0, 0, 1, 1]);
}

#[test]
fn what_does_not_fit_the_ring_is_counted() {
    let _turn = turn();
    if unable() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut program = Running::start(&mut Command::new(compile(folder.path(), "program", &[])));
    let mut probes = Probes::with_ring(Asid(7), 4096).unwrap();
    let probe = deploy(&mut probes, &spec(Binary::Executable { pid: program.pid() }, "px_sum"));
    program.say("sum 1000");
    let (told, counts) = (poll(&mut probes).len() as u64, probes.counts(probe).unwrap());
    assert!(counts.lost > 0, "{counts:?}");
    assert_eq!((counts.told, counts.told + counts.lost), (told, 1000));
    // And there is room again.
    program.say("sum 5");
    assert_eq!(poll(&mut probes).len(), 5);
}

#[test]
fn there_is_a_limit_and_what_is_removed_leaves_its_place() {
    let _turn = turn();
    if unable() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut program = Running::start(&mut Command::new(compile(folder.path(), "program", &[])));
    let mut probes = start();
    let wanted = collectors::ProbeSpec { returns: true, ..spec(Binary::Executable { pid: program.pid() }, "px_sum") };
    let ids: Vec<_> = (0..64).map(|_| deploy(&mut probes, &wanted)).collect();
    let error = probes.deploy(&wanted).unwrap_err();
    assert_eq!(error.to_string(), "there are 64 probes already, which is the limit");
    assert!(!error.is_about_target());
    program.say("sum 2");
    let mut told: Vec<_> = poll(&mut probes).iter().map(|event| event.probe).collect();
    told.sort_unstable();
    assert_eq!(told, ids.iter().flat_map(|id| [*id, *id]).collect::<Vec<_>>());
    assert!(probes.remove(ids[10]));
    let again = deploy(&mut probes, &wanted);
    assert!(!ids.contains(&again));
    assert_eq!(probes.counts(again), Some(ProbeCounts::default()));
    assert_eq!(probes.deployed().count(), 64);
}

#[test]
fn errors_say_what_is_wrong_and_leave_nothing_behind() {
    let _turn = turn();
    if unable() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = compile(folder.path(), "program", &["-DLOOKS_LIKE_GO"]);
    let mut probes = start();
    let mut check = |wanted: &collectors::ProbeSpec| {
        let error = probes.deploy(wanted).unwrap_err();
        assert!(error.is_about_target(), "{error}");
        assert_eq!(probes.deployed().count(), 0);
        error.to_string().replace(&*path.to_string_lossy(), "PROGRAM")
    };
    let file = || Binary::File(path.clone());
    let text = check(&spec(file(), "px_sums"));
    assert!(text.starts_with("PROGRAM has no function `px_sums`; nearest: `px_sum`"), "{text}");
    let text = check(&spec(file(), "px_variable"));
    assert!(text.starts_with("PROGRAM has no function `px_variable`; nearest:"), "{text}");
    let text = check(&collectors::ProbeSpec { returns: true, ..spec(file(), "px_sum") });
    assert_eq!(text, "`px_sum` of PROGRAM is a program of Go, in which the return of a function cannot be probed");
    let gone = Probed::Processes(vec![u32::MAX >> 1]);
    let text = check(&collectors::ProbeSpec { probed: gone, ..spec(file(), "px_sum") });
    assert_eq!(text, "there is no process 2147483647 in the agent's PID namespace");
    assert_eq!(check(&spec(Binary::Executable { pid: 2 }, "main")), "/proc/2/exe cannot be read");
    assert!(Command::new("strip").arg(&path).status().unwrap().success());
    let text = check(&spec(file(), "px_sum"));
    assert!(text.starts_with("PROGRAM has no function `px_sum`; "), "{text}");
}

#[test]
fn without_privileges_it_says_which_are_missing() {
    let _turn = turn();
    if unable() {
        return;
    }
    // A thread of its own gives them up, for itself alone.
    let outcome = std::thread::spawn(|| {
        use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
        let none = CapabilitySet::empty();
        set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none }).expect("giving up is permitted");
        Probes::start(Asid(1)).map(|_| ())
    });
    match outcome.join().unwrap() {
        Err(error @ (Error::NotPermitted { .. } | Error::Object(_))) => println!("{error}"),
        other => panic!("{other:?}"),
    }
}
