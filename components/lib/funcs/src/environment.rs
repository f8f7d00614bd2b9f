use std::fmt::Debug;
use std::sync::Arc;

use ids::{Asid, Upid};

/// What is known of processes by name.
pub trait ProcessNames: Debug + Send + Sync {
    /// Its command line, arguments separated by spaces. None if it is not known (any more).
    fn cmdline(&self, upid: Upid) -> Option<String>;
}

/// No process is known.
#[derive(Debug)]
pub struct NoProcesses;

impl ProcessNames for NoProcesses {
    fn cmdline(&self, _upid: Upid) -> Option<String> {
        None
    }
}

/// What functions know of where they run.
#[derive(Debug, Clone)]
pub struct Environment {
    /// The agent's short number.
    pub asid: Asid,
    /// Name of the machine.
    pub hostname: String,
    /// CPUs of the machine.
    pub cpus: u32,
    /// Id of the cluster, as text.
    pub vizier_id: String,
    /// Name of the cluster.
    pub vizier_name: String,
    /// Namespace of the data plane; empty without Kubernetes.
    pub vizier_namespace: String,
    /// Names of processes.
    pub processes: Arc<dyn ProcessNames>,
}

/// Enough to compile and check scripts, where nothing runs.
impl Default for Environment {
    fn default() -> Environment {
        Environment {
            asid: Asid(0),
            hostname: String::new(),
            cpus: 1,
            vizier_id: String::new(),
            vizier_name: String::new(),
            vizier_namespace: String::new(),
            processes: Arc::new(NoProcesses),
        }
    }
}
