//! From what a script asks for to what can be done on this node: pure.

use agent::life::Kernel;
use agent::tracepoints::{Body, Code, Deployment, Failure, Probe, Program, Selector, Target};
use collectors::{Binary, Probed};
use ids::{Asid, Upid};

/// The node, as far as it decides.
#[derive(Debug, Clone)]
pub(crate) struct NodeFacts {
    pub(crate) asid: Asid,
    pub(crate) hostname: String,
    pub(crate) kernel: Kernel,
}

/// A program that fits, and whose calls it tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chosen<'a> {
    pub(crate) table: &'a str,
    pub(crate) probe: &'a Probe,
}

/// The programs for this node.
pub(crate) fn programs<'a>(deployment: &'a Deployment, node: &NodeFacts) -> Result<Vec<Chosen<'a>>, Failure> {
    let fitting: Vec<&Program> = deployment.programs.iter().filter(|program| fits(&program.selectors, node)).collect();
    if fitting.is_empty() {
        return Err(failure(Code::FailedPrecondition, "none of its programs is for this node's kernel and name"));
    }
    let chosen = |program: &'a Program| match &program.body {
        Body::Probe(probe) => Ok(Chosen { table: &program.table, probe }),
        Body::BpfTrace(_) => Err(failure(Code::Unimplemented, "programs in bpftrace's language are not run by this agent")),
    };
    fitting.into_iter().map(chosen).collect()
}

fn fits(selectors: &[Selector], node: &NodeFacts) -> bool {
    let kernel = (node.kernel.version, node.kernel.major, node.kernel.minor);
    selectors.iter().all(|selector| match selector {
        Selector::KernelMin(version, major, minor) => kernel >= (*version, *major, *minor),
        Selector::KernelMax(version, major, minor) => kernel <= (*version, *major, *minor),
        Selector::Host(name) => *name == node.hostname,
    })
}

/// Whose file is probed, and whose calls are told. `lives` says whether a process is there.
pub(crate) fn target(target: &Target, node: &NodeFacts, lives: impl Fn(Upid) -> bool) -> Result<(Binary, Probed), Failure> {
    let here = |process: Upid| {
        if process.asid() != node.asid {
            let text = format!("process {process} is on another node: this one is {}", node.asid.0);
            return Err(Failure { code: Code::FailedPrecondition, text });
        }
        if !lives(process) {
            return Err(Failure { code: Code::FailedPrecondition, text: format!("process {process} is not running on this node") });
        }
        Ok(process.pid())
    };
    match target {
        Target::None => Err(failure(Code::InvalidArgument, "it does not say which process")),
        Target::Process(process) => {
            let pid = here(*process)?;
            Ok((Binary::Executable { pid }, Probed::Processes(vec![pid])))
        }
        Target::SharedObject { name, process } => {
            let pid = here(*process)?;
            Ok((Binary::SharedObject { pid, name: name.clone() }, Probed::AllProcesses))
        }
        Target::Pods { .. } => Err(failure(Code::FailedPrecondition, "none of its pods is known on this node")),
    }
}

fn failure(code: Code, text: &str) -> Failure {
    Failure { code, text: text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> NodeFacts {
        let kernel = Kernel { version: 6, major: 1, minor: 112, ..Kernel::default() };
        NodeFacts { asid: Asid(3), hostname: "n1".to_owned(), kernel }
    }

    fn probe() -> Probe {
        Probe { symbol: "f".to_owned(), arguments: vec![], returns: vec![], latency: None, columns: vec![] }
    }

    fn deployment(programs: Vec<(Vec<Selector>, Body)>) -> Deployment {
        let programs = programs.into_iter().map(|(selectors, body)| Program { table: "t".to_owned(), selectors, body }).collect();
        Deployment { name: "d".to_owned(), ttl: None, target: Target::None, programs }
    }

    #[test]
    fn programs_are_for_the_nodes_that_they_fit() {
        let of = |selectors: Vec<Selector>| programs(&deployment(vec![(selectors, Body::Probe(probe()))]), &node()).map(|all| all.len());
        assert_eq!(of(vec![]), Ok(1));
        assert_eq!(of(vec![Selector::KernelMin(5, 10, 0), Selector::KernelMax(6, 1, 112), Selector::Host("n1".to_owned())]), Ok(1));
        for other in [Selector::KernelMin(6, 2, 0), Selector::KernelMax(5, 99, 0), Selector::Host("n2".to_owned())] {
            assert_eq!(of(vec![other]).unwrap_err().code, Code::FailedPrecondition);
        }
        let other = deployment(vec![(vec![], Body::BpfTrace("kprobe:f {}".to_owned()))]);
        assert_eq!(programs(&other, &node()).unwrap_err().code, Code::Unimplemented);
    }

    #[test]
    fn a_process_that_is_not_here_is_a_failed_precondition() {
        let here = Upid::new(Asid(3), 7, 9);
        let ask = |process: Upid, lives: bool| target(&Target::Process(process), &node(), |_| lives);
        assert_eq!(ask(here, true), Ok((Binary::Executable { pid: 7 }, Probed::Processes(vec![7]))));
        let gone = ask(here, false).unwrap_err();
        assert_eq!((gone.code, gone.text.as_str()), (Code::FailedPrecondition, "process 3:7:9 is not running on this node"));
        let elsewhere = ask(Upid::new(Asid(4), 7, 9), true).unwrap_err();
        assert_eq!(
            (elsewhere.code, elsewhere.text.as_str()),
            (Code::FailedPrecondition, "process 4:7:9 is on another node: this one is 3")
        );
        let object = Target::SharedObject { name: "libc".to_owned(), process: here };
        let found = target(&object, &node(), |_| true).unwrap();
        assert_eq!(found, (Binary::SharedObject { pid: 7, name: "libc".to_owned() }, Probed::AllProcesses));
    }
}
