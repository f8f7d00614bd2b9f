use crate::btf::BtfError;

/// Why a part of the collectors does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel does not describe its structures.
    #[error("no {path}: the kernel was built without CONFIG_DEBUG_INFO_BTF, or /sys is not mounted")]
    NoBtf {
        /// Where it should be.
        path: &'static str,
        /// What reading it said.
        #[source]
        source: std::io::Error,
    },
    /// The description lacks what the programs need.
    #[error("the kernel's BTF has not what the programs need")]
    Btf(#[from] BtfError),
    /// The BPF system call was refused.
    #[error("not permitted to load BPF programs: missing {missing}")]
    NotPermitted {
        /// Capabilities.
        missing: String,
    },
    /// This kernel does not have the hook.
    #[error("the kernel has no tracepoint `{tracepoint}`")]
    NoHook {
        /// Its name.
        tracepoint: &'static str,
    },
    /// The maps could not be made.
    #[error("loading the BPF objects failed")]
    Object(#[from] aya::EbpfError),
    /// A program was refused.
    #[error("program `{program}` was not accepted")]
    Program {
        /// Its name.
        program: &'static str,
        /// What the kernel said, the verifier's log included.
        #[source]
        source: aya::programs::ProgramError,
    },
    /// A map could not be used.
    #[error("map `{map}`")]
    Map {
        /// Its name.
        map: &'static str,
        /// What the kernel said.
        #[source]
        source: aya::maps::MapError,
    },
    /// The programs in this binary are not those that it was written for.
    #[error("the embedded objects have no `{name}`")]
    Missing {
        /// A program or map.
        name: &'static str,
    },
    /// Waiting for the ring failed.
    #[error("waiting for the ring")]
    Wait(#[source] std::io::Error),
}

impl Error {
    /// What someone can do about it.
    pub fn remedy(&self) -> String {
        match self {
            Error::NoBtf { .. } | Error::Btf(_) => {
                "use a kernel of 5.10 or newer with BTF (all current distributions have it); mount sysfs on /sys".to_owned()
            }
            Error::NotPermitted { missing } => {
                format!("run as root, or grant {missing} (in Kubernetes: `privileged: true`); see `kernel.lockdown` if root is refused")
            }
            Error::NoHook { .. } => "use a kernel of 5.10 or newer".to_owned(),
            Error::Object(_) | Error::Program { .. } | Error::Map { .. } | Error::Missing { .. } | Error::Wait(_) => {
                "report it with the kernel's version and this message".to_owned()
            }
        }
    }
}
