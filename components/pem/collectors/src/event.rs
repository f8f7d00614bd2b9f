use ids::{MonoNs, Upid};

/// What the ring delivers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceEvent<'a> {
    /// About a socket: for a tracker.
    Socket(conntrack::Event<'a>),
    /// About a process.
    Process(ProcessEvent<'a>),
}

/// Something happened to a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProcessEvent<'a> {
    /// It was seen on a socket for the first time.
    Seen(Process<'a>),
    /// It started a program.
    Exec {
        /// The process, its new name among it.
        process: Process<'a>,
        /// Arguments, each closed by a zero; at most [`ebpf_abi::limit::CMDLINE_BYTES`].
        command_line: &'a [u8],
    },
    /// It ended. May be told of a process that nothing else was told of.
    Exit {
        /// Which.
        process: Upid,
        /// When.
        at: MonoNs,
        /// Its name.
        comm: &'a [u8],
        /// What it returned, if it ended by itself.
        code: Option<u8>,
        /// The signal that ended it.
        signal: Option<u8>,
    },
}

/// What the kernel tells of a process that may be gone before `/proc` is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process<'a> {
    /// Which.
    pub upid: Upid,
    /// When it was looked at.
    pub at: MonoNs,
    /// Its name, at most 15 bytes.
    pub comm: &'a [u8],
    /// Its cgroup in the version 2 hierarchy (the inode number of its folder); the root's where the machine has version 1.
    pub cgroup_id: u64,
    /// Inode number of the innermost PID namespace it is in.
    pub pid_namespace: u32,
    /// Inode number of its network namespace; 0 if it has left it.
    pub network_namespace: u32,
}
