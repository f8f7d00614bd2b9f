//! From what a script asks for to what can be done on this node: pure.

use std::collections::BTreeMap;

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

/// A process of a pod on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PodProcess {
    pub(crate) pid: u32,
    /// `namespace/name`.
    pub(crate) pod: String,
    /// Its name in the pod.
    pub(crate) container: String,
    pub(crate) cmdline: String,
    /// Device and inode of its program: a function is probed in a file.
    pub(crate) file: (u64, u64),
}

/// Programs of one tracepoint's pods; each takes a probe.
const FILES_MAX: usize = 32;

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

/// Whose files are probed, and whose calls are told. `lives` says whether a process is there, `processes` which there are of pods.
pub(crate) fn targets(
    target: &Target,
    node: &NodeFacts,
    lives: impl Fn(Upid) -> bool,
    processes: impl FnOnce() -> Vec<PodProcess>,
) -> Result<Vec<(Binary, Probed)>, Failure> {
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
            Ok(vec![(Binary::Executable { pid }, Probed::Processes(vec![pid]))])
        }
        Target::SharedObject { name, process } => {
            let pid = here(*process)?;
            Ok(vec![(Binary::SharedObject { pid, name: name.clone() }, Probed::AllProcesses)])
        }
        Target::Pods { pods, container, process } => {
            let wanted = |known: &PodProcess| {
                pods.iter().any(|pod| known.pod.starts_with(pod.as_str()))
                    && (container.is_empty() || known.container == *container)
                    && (process.is_empty() || known.cmdline.contains(process.as_str()))
            };
            let mut files: BTreeMap<(u64, u64), Vec<u32>> = BTreeMap::new();
            for process in processes().into_iter().filter(wanted) {
                files.entry(process.file).or_default().push(process.pid);
            }
            match files.len() {
                0 => Err(failure(Code::FailedPrecondition, "no process of its pods is on this node")),
                count if count > FILES_MAX => {
                    let text = format!("its pods run {count} programs on this node, and at most {FILES_MAX} are probed: name a process");
                    Err(Failure { code: Code::ResourceUnavailable, text })
                }
                _ => Ok(files.into_values().map(|pids| (Binary::Executable { pid: pids[0] }, Probed::Processes(pids))).collect()),
            }
        }
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
        let ask = |process: Upid, lives: bool| targets(&Target::Process(process), &node(), |_| lives, Vec::new);
        assert_eq!(ask(here, true), Ok(vec![(Binary::Executable { pid: 7 }, Probed::Processes(vec![7]))]));
        let gone = ask(here, false).unwrap_err();
        assert_eq!((gone.code, gone.text.as_str()), (Code::FailedPrecondition, "process 3:7:9 is not running on this node"));
        let elsewhere = ask(Upid::new(Asid(4), 7, 9), true).unwrap_err();
        assert_eq!(
            (elsewhere.code, elsewhere.text.as_str()),
            (Code::FailedPrecondition, "process 4:7:9 is on another node: this one is 3")
        );
        let object = Target::SharedObject { name: "libc".to_owned(), process: here };
        let found = targets(&object, &node(), |_| true, Vec::new).unwrap();
        assert_eq!(found, [(Binary::SharedObject { pid: 7, name: "libc".to_owned() }, Probed::AllProcesses)]);
    }

    #[test]
    fn pods_are_probed_once_for_each_program_that_they_run() {
        let process = |pid: u32, pod: &str, container: &str, inode: u64| PodProcess {
            pid,
            pod: pod.to_owned(),
            container: container.to_owned(),
            cmdline: format!("/bin/{container} --serve"),
            file: (1, inode),
        };
        let all = || {
            vec![
                process(1, "shop/web-0", "web", 10),
                process(2, "shop/web-1", "web", 10),
                process(3, "shop/web-1", "log", 11),
                process(4, "shop/db", "db", 12),
            ]
        };
        let ask = |pods: &[&str], container: &str, process: &str| {
            let pods = pods.iter().map(|pod| (*pod).to_owned()).collect();
            let target = Target::Pods { pods, container: container.to_owned(), process: process.to_owned() };
            targets(&target, &node(), |_| true, all).map(|targets| targets.into_iter().map(|(_, probed)| probed).collect::<Vec<_>>())
        };
        assert_eq!(ask(&["shop/web"], "", ""), Ok(vec![Probed::Processes(vec![1, 2]), Probed::Processes(vec![3])]));
        assert_eq!(ask(&["shop/web-1"], "web", ""), Ok(vec![Probed::Processes(vec![2])]));
        assert_eq!(ask(&["shop/"], "", "bin/db"), Ok(vec![Probed::Processes(vec![4])]));
        assert_eq!(ask(&["other/web"], "", "").unwrap_err().code, Code::FailedPrecondition);
    }
}
