use ids::Asid;

/// How to capture.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which hooks deliver the bytes.
    pub way: WayChoice,
    /// Bytes of the ring: a power of two, at least a page.
    pub ring_bytes: u32,
    /// Sockets remembered at once; least recently used ones are forgotten, and begin anew with their next call.
    pub sockets_max: u32,
    /// Who this agent is, for the processes' ids.
    pub asid: Asid,
}

impl Default for Settings {
    fn default() -> Self {
        let (ring_bytes, sockets_max) = (ebpf_abi::limit::RING_BYTES, ebpf_abi::limit::SOCKETS_MAX);
        Settings { way: WayChoice::Auto, ring_bytes, sockets_max, asid: Asid(1) }
    }
}

/// Which hooks to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WayChoice {
    /// The best that the kernel has.
    #[default]
    Auto,
    /// The socket layer's tracepoints, or none.
    SocketLayer,
    /// The exit of system calls, or none.
    CallExit,
}
