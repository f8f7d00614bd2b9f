//! What the node's processes are called: kept beyond their end, since rows refer to them for longer than they live.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;
use ids::{UnixNs, Upid};
use parking_lot::RwLock;

/// Most processes whose names are kept. The oldest go first; at 300 bytes each this is 10 MB.
const PROCESSES_MAX: usize = 32_768;

/// Longest command line that is kept, in bytes; `exec` events carry no more.
const CMDLINE_BYTES_MAX: usize = 1_024;

/// Something that happened to a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ProcessNews {
    /// It was seen first, or runs another program now.
    Started {
        /// Which.
        upid: Upid,
        /// Its arguments, with spaces between them.
        cmdline: String,
    },
    /// It is there no more.
    Ended {
        /// Which.
        upid: Upid,
        /// When.
        ended: UnixNs,
    },
}

/// Is told on the thread that reads the ring: it must not wait.
pub(crate) type ProcessObserver = Arc<dyn Fn(ProcessNews) + Send + Sync>;

/// Names of processes by UPID. Cheap to clone; all clones see the same.
#[derive(Debug, Clone, Default)]
pub struct Processes {
    inner: Arc<RwLock<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    cmdlines: HashMap<Upid, Arc<str>>,
    order: VecDeque<Upid>,
}

impl Processes {
    /// The command line, arguments separated by spaces; `None` if the process was never seen or is long forgotten.
    pub fn cmdline(&self, upid: Upid) -> Option<Arc<str>> {
        self.inner.read().cmdlines.get(&upid).cloned()
    }

    /// How many are known.
    pub fn len(&self) -> usize {
        self.inner.read().cmdlines.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn is_known(&self, upid: Upid) -> bool {
        self.inner.read().cmdlines.contains_key(&upid)
    }

    /// Remembers a command line; a later one (after `exec`) replaces an earlier one.
    pub(crate) fn learn(&self, upid: Upid, cmdline: &str) {
        let mut end = cmdline.len().min(CMDLINE_BYTES_MAX);
        while !cmdline.is_char_boundary(end) {
            end -= 1;
        }
        let mut inner = self.inner.write();
        if inner.cmdlines.insert(upid, cmdline[..end].into()).is_some() {
            return;
        }
        inner.order.push_back(upid);
        if inner.order.len() > PROCESSES_MAX
            && let Some(oldest) = inner.order.pop_front()
        {
            inner.cmdlines.remove(&oldest);
        }
    }
}

/// `/proc/PID/cmdline`'s or the kernel's argument block as one line: NULs between arguments become spaces.
pub(crate) fn join_arguments(block: &[u8]) -> String {
    let end = block.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
    String::from_utf8_lossy(&block[..end]).replace('\0', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ids::Asid;

    #[test]
    fn names_are_replaced_cut_and_bounded() {
        let processes = Processes::default();
        let upid = |n: usize| Upid::new(Asid(1), n as u32, 1);
        processes.learn(upid(0), "sh -c nginx");
        processes.learn(upid(0), "nginx");
        assert_eq!(processes.cmdline(upid(0)).as_deref(), Some("nginx"));
        processes.learn(upid(1), &"é".repeat(CMDLINE_BYTES_MAX));
        assert_eq!(processes.cmdline(upid(1)).map(|c| c.len()), Some(CMDLINE_BYTES_MAX));
        for n in 2..=PROCESSES_MAX {
            processes.learn(upid(n), "x");
        }
        assert_eq!(processes.len(), PROCESSES_MAX);
        assert_eq!(processes.cmdline(upid(0)), None);
    }

    #[test]
    fn an_argument_block_reads_as_a_line() {
        assert_eq!(join_arguments(b"python3\0-m\0http.server\0\0"), "python3 -m http.server");
        assert_eq!(join_arguments(b""), "");
    }
}
