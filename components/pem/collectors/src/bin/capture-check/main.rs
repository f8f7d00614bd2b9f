//! Checks the collectors on the kernel that runs: starts them, lets a child make traffic of a known kind, compares what was captured
//! with what the child says it sent and received. Needs no library but libc's, so that it can be carried into a virtual machine.
//!
//! ```text
//! capture-check [--way a|b|auto] [--only-own] CASE...    all cases if none is named; exit code 1 if one fails, 2 if nothing runs.
//!                                                        Cases that the machine cannot do are skipped, and say why
//! capture-check list                                     names of the cases
//! capture-check traffic CASE                             the child
//! capture-check call TIMES                               the child whose function is probed: the last case, `probes`
//! ```
#![allow(unsafe_code, reason = "system calls that have no safe form, since each is what is tested")]
#![allow(clippy::print_stdout, reason = "a command line program")]
#![allow(unreachable_pub, missing_docs, reason = "modules of a program: `pub` says what they offer each other")]

mod cases;
mod check;
mod expect;
mod probes;
mod sys;
mod uring;

use std::process::ExitCode;

use collectors::WayChoice;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["list"] => {
            for case in cases::ALL {
                println!("{}", case.name);
            }
            println!("{}", probes::NAME);
            ExitCode::SUCCESS
        }
        ["traffic", name] => match cases::ALL.iter().find(|case| case.name == *name) {
            Some(case) => {
                (case.run)();
                ExitCode::SUCCESS
            }
            None => usage(name),
        },
        ["call", times] => probes::child(times),
        rest => checks(rest),
    }
}

fn checks(mut arguments: &[&str]) -> ExitCode {
    let (mut way, mut only_own) = (WayChoice::Auto, false);
    loop {
        arguments = match arguments {
            ["--way", name, rest @ ..] => {
                way = match *name {
                    "a" => WayChoice::SocketLayer,
                    "b" => WayChoice::CallExit,
                    "auto" => WayChoice::Auto,
                    other => return usage(other),
                };
                rest
            }
            ["--only-own", rest @ ..] => {
                only_own = true;
                rest
            }
            _ => break,
        }
    }
    let (mut failed, mut running) = (false, None);
    for case in cases::ALL.iter().filter(|case| arguments.is_empty() || arguments.contains(&case.name)) {
        match check::run(case, way, only_own, &mut running) {
            Ok(None) => println!("ok     {}", case.name),
            Ok(Some(reason)) => println!("skip   {}: {reason}", case.name),
            Err(check::Failure::NothingRuns(reason)) => {
                println!("cannot {}: {reason}", case.name);
                return ExitCode::from(2);
            }
            Err(check::Failure::Wrong(reason)) => {
                println!("FAILED {}: {reason}", case.name);
                failed = true;
            }
        }
    }
    if arguments.is_empty() || arguments.contains(&probes::NAME) {
        match probes::check() {
            Ok(()) => println!("ok     {}", probes::NAME),
            Err(reason) => {
                println!("FAILED {}: {reason}", probes::NAME);
                failed = true;
            }
        }
    }
    ExitCode::from(u8::from(failed))
}

fn usage(what: &str) -> ExitCode {
    println!("not known: {what}; capture-check [--way a|b|auto] [--only-own] CASE... | list | traffic CASE");
    ExitCode::from(64)
}
