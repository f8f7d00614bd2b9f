use std::fmt;

/// A source of rows that can run, be off or fail by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Collector {
    /// Bytes that pass sockets.
    SocketData,
    /// Sockets opened and closed, and who opened them.
    SocketState,
    /// Programs started and processes ended.
    Process,
}

impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Collector::SocketData => "socket data",
            Collector::SocketState => "socket state",
            Collector::Process => "process",
        })
    }
}

/// Which hooks deliver the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The socket layer's own tracepoints (kernel 6.3 and newer).
    SocketLayer,
    /// The exit of system calls.
    CallExit,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Way::SocketLayer => "socket layer tracepoints",
            Way::CallExit => "exit of system calls",
        })
    }
}

/// How a collector is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Its hooks are attached.
    Running {
        /// Where there are several.
        way: Option<Way>,
    },
    /// Not wanted.
    Off,
    /// It delivers nothing.
    Failed {
        /// Why, causes included.
        reason: String,
        /// What someone can do about it.
        remedy: String,
    },
}

/// A collector and how it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Which.
    pub collector: Collector,
    /// How.
    pub state: State,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.state {
            State::Running { way: Some(way) } => write!(f, "{}: running ({way})", self.collector),
            State::Running { way: None } => write!(f, "{}: running", self.collector),
            State::Off => write!(f, "{}: off", self.collector),
            State::Failed { reason, remedy } => write!(f, "{}: failed: {reason}; {remedy}", self.collector),
        }
    }
}
