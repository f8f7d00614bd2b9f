use std::path::PathBuf;

use crate::{btf::BtfError, nearest::Nearest};

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
    /// This kernel cannot probe functions of programs.
    #[error("the kernel cannot probe functions of programs: no {path}")]
    NoUprobes {
        /// What a kernel has that can.
        path: &'static str,
    },
    /// The process whose file was to be probed is not there.
    #[error("there is no process {pid} in the agent's PID namespace")]
    NoProcess {
        /// Which.
        pid: u32,
    },
    /// The file cannot be read.
    #[error("{} cannot be read", path.display())]
    NoFile {
        /// Which.
        path: PathBuf,
        /// What reading it said.
        #[source]
        source: std::io::Error,
    },
    /// The process does not use such a shared object.
    #[error("process {pid} has not mapped a shared object `{name}`; {nearest}")]
    NoObject {
        /// The process.
        pid: u32,
        /// What was asked for.
        name: String,
        /// What it has mapped.
        nearest: Nearest,
    },
    /// The file is no program of this machine's kind of files.
    #[error("{} is not an ELF file that can be read", path.display())]
    NotElf {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: object::Error,
    },
    /// The file is a program of another kind of machine, or of 32 bits.
    #[error("{} is a program of another architecture than the agent's", path.display())]
    OtherMachine {
        /// Which.
        path: PathBuf,
    },
    /// The symbol tables are larger than what is read.
    #[error("{} has {bytes} bytes of symbols; {limit} are read at most", path.display())]
    TooManySymbols {
        /// Which.
        path: PathBuf,
        /// What it has.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The file has no such function.
    #[error("{} has no function `{symbol}`; {nearest}", path.display())]
    NoSymbol {
        /// The file.
        path: PathBuf,
        /// What was asked for.
        symbol: String,
        /// Names like it.
        nearest: Nearest,
    },
    /// The symbol is of something that is not executed.
    #[error("`{symbol}` of {} is not in code", path.display())]
    NotCode {
        /// The file.
        path: PathBuf,
        /// The symbol.
        symbol: String,
    },
    /// The symbol stands for one of several functions, of which one is chosen when the program starts.
    #[error("`{symbol}` of {} is chosen among several functions when the program is loaded", path.display())]
    Indirect {
        /// The file.
        path: PathBuf,
        /// The symbol.
        symbol: String,
    },
    /// Go moves its stacks and finds return addresses on them: what a probe puts there would end the program.
    #[error("`{symbol}` of {} is a program of Go, in which the return of a function cannot be probed", path.display())]
    ReturnsOfGo {
        /// The file.
        path: PathBuf,
        /// The symbol.
        symbol: String,
    },
    /// All slots are taken.
    #[error("there are {limit} probes already, which is the limit")]
    TooManyProbes {
        /// How many there can be.
        limit: u32,
    },
    /// The probe would be at too many places.
    #[error("`{symbol}` is at {places} places, to be probed in {processes} processes; {limit} in all is the limit")]
    TooManyPlaces {
        /// The symbol.
        symbol: String,
        /// In the file.
        places: usize,
        /// For each place.
        processes: usize,
        /// How many there can be in all.
        limit: usize,
    },
    /// The kernel refused to attach a probe.
    #[error("the kernel refused to probe `{symbol}` of {} at offset {offset:#x}", path.display())]
    Attach {
        /// The file.
        path: PathBuf,
        /// The symbol.
        symbol: String,
        /// In the file.
        offset: u64,
        /// What the kernel said.
        #[source]
        source: Box<aya::programs::ProgramError>,
    },
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
            Error::NoUprobes { .. } => "use a kernel with CONFIG_UPROBE_EVENTS; mount sysfs on /sys".to_owned(),
            Error::NoProcess { .. } => "give a process that runs on this node".to_owned(),
            Error::NoFile { .. } | Error::NotElf { .. } | Error::OtherMachine { .. } => {
                "give the file of a program of this machine".to_owned()
            }
            Error::NoObject { .. } => "give the name of a shared object that the process has mapped".to_owned(),
            Error::TooManySymbols { .. } => {
                "probe a build with fewer symbols, such as one that is stripped of debugging symbols".to_owned()
            }
            Error::NoSymbol { .. } => {
                "give the name as the symbol table has it, mangled; a stripped program has exported names only".to_owned()
            }
            Error::NotCode { .. } => "give the name of a function".to_owned(),
            Error::Indirect { .. } => "give the name of the function that is chosen".to_owned(),
            Error::ReturnsOfGo { .. } => "probe the entry".to_owned(),
            Error::TooManyProbes { .. } => "remove a probe".to_owned(),
            Error::TooManyPlaces { .. } => "probe fewer processes, or all".to_owned(),
            Error::Attach { .. } => "report it with the kernel's version, the file and this message".to_owned(),
            Error::Object(_) | Error::Program { .. } | Error::Map { .. } | Error::Missing { .. } | Error::Wait(_) => {
                "report it with the kernel's version and this message".to_owned()
            }
        }
    }

    /// Whether what was to be probed is not there: on another node it may be.
    pub fn is_about_target(&self) -> bool {
        match self {
            Error::NoProcess { .. }
            | Error::NoFile { .. }
            | Error::NoObject { .. }
            | Error::NotElf { .. }
            | Error::OtherMachine { .. }
            | Error::TooManySymbols { .. }
            | Error::NoSymbol { .. }
            | Error::NotCode { .. }
            | Error::Indirect { .. }
            | Error::ReturnsOfGo { .. } => true,
            Error::NoBtf { .. }
            | Error::Btf(_)
            | Error::NotPermitted { .. }
            | Error::NoHook { .. }
            | Error::Object(_)
            | Error::Program { .. }
            | Error::Map { .. }
            | Error::Missing { .. }
            | Error::Wait(_)
            | Error::NoUprobes { .. }
            | Error::TooManyProbes { .. }
            | Error::TooManyPlaces { .. }
            | Error::Attach { .. } => false,
        }
    }
}
