use std::fmt::Debug;
use std::net::IpAddr;
use std::sync::Arc;

use ids::{Asid, Upid};
use k8s_state::{ContainerId, Snapshot};

/// What is known of processes by name.
pub trait ProcessNames: Debug + Send + Sync {
    /// Its command line, arguments separated by spaces. None if it is not known (any more).
    fn cmdline(&self, upid: Upid) -> Option<String>;

    /// Paths of the libraries that it has loaded. None if it is not known (any more).
    fn shared_libraries(&self, upid: Upid) -> Option<Vec<String>> {
        let _ = upid;
        None
    }
}

/// No process is known.
#[derive(Debug)]
pub struct NoProcesses;

impl ProcessNames for NoProcesses {
    fn cmdline(&self, _upid: Upid) -> Option<String> {
        None
    }
}

/// What is known of Kubernetes. Asked once for each batch of rows, by functions of several queries at a time.
pub trait Kubernetes: Debug + Send + Sync {
    /// All that is known now.
    fn snapshot(&self) -> Snapshot;

    /// The container that a process of this agent runs in. None if it runs in none, or is not known (any more).
    fn container(&self, upid: Upid) -> Option<ContainerId>;

    /// The networks of services: `10.96.0.0/12`.
    fn service_ranges(&self) -> Vec<String> {
        Vec::new()
    }

    /// The networks of pods.
    fn pod_ranges(&self) -> Vec<String> {
        Vec::new()
    }
}

/// There is no Kubernetes.
#[derive(Debug)]
pub struct NoKubernetes;

impl Kubernetes for NoKubernetes {
    fn snapshot(&self) -> Snapshot {
        Snapshot::default()
    }

    fn container(&self, _upid: Upid) -> Option<ContainerId> {
        None
    }
}

/// Names of addresses beyond the cluster: DNS.
pub trait AddressNames: Debug + Send + Sync {
    /// The name of an address. Asked row by row: who answers keeps what it has learnt, and never waits long.
    fn name_of(&self, address: IpAddr) -> Option<String>;
}

/// No address has a name.
#[derive(Debug)]
pub struct NoNames;

impl AddressNames for NoNames {
    fn name_of(&self, _address: IpAddr) -> Option<String> {
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
    /// Kubernetes.
    pub kubernetes: Arc<dyn Kubernetes>,
    /// Names of addresses.
    pub addresses: Arc<dyn AddressNames>,
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
            kubernetes: Arc::new(NoKubernetes),
            addresses: Arc::new(NoNames),
        }
    }
}
