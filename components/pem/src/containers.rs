//! Which container a process runs in: from its control group, kept beyond its end.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;
use ids::Upid;
use k8s_state::ContainerId;
use parking_lot::Mutex;

/// Processes whose containers are remembered, as many as those whose names are.
const PROCESSES_MAX: usize = 32_768;
/// Hexadecimal digits of a container's id, whoever runs it.
const ID_DIGITS: usize = 64;

/// Containers of processes by UPID. Cheap to clone; all clones see the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Containers {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    known: HashMap<Upid, Option<ContainerId>>,
    order: VecDeque<Upid>,
}

impl Containers {
    /// `None` if it runs in none, or was never seen alive.
    pub(crate) fn of(&self, upid: Upid) -> Option<ContainerId> {
        let mut inner = self.inner.lock();
        if let Some(known) = inner.known.get(&upid) {
            return known.clone();
        }
        // A process that is gone before it was looked at is not remembered: there is nothing to keep.
        let Seen(found) = read(upid)?;
        inner.known.insert(upid, found.clone());
        inner.order.push_back(upid);
        if inner.order.len() > PROCESSES_MAX
            && let Some(oldest) = inner.order.pop_front()
        {
            inner.known.remove(&oldest);
        }
        found
    }
}

/// The container of a process that was there, if it runs in one.
struct Seen(Option<ContainerId>);

/// `None`: the process is not there.
fn read(upid: Upid) -> Option<Seen> {
    let folder = format!("/proc/{}", upid.pid());
    let groups = std::fs::read_to_string(format!("{folder}/cgroup")).ok()?;
    // After the group was read: it was this process's then, and not that of another with the same id.
    let stat = std::fs::read_to_string(format!("{folder}/stat")).ok()?;
    (crate::agent::start_ticks(&stat) == Some(upid.start_ticks())).then(|| Seen(container_of(&groups)))
}

/// From `/proc/PID/cgroup`: the innermost part of a path that has an id, as `docker-<id>.scope`, `cri-containerd-<id>.scope` or the id alone.
fn container_of(groups: &str) -> Option<ContainerId> {
    let paths = groups.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    let mut parts = paths.flat_map(|path| path.rsplit('/')).filter_map(id_in);
    parts.next().map(ContainerId::new)
}

fn id_in(part: &str) -> Option<&str> {
    let part = part.strip_suffix(".scope").unwrap_or(part);
    let id = part.rsplit(['-', ':']).next()?;
    (id.len() == ID_DIGITS && id.bytes().all(|digit| digit.is_ascii_hexdigit())).then_some(id)
}

#[cfg(test)]
mod tests {
    use ids::Asid;

    use super::*;

    #[test]
    fn a_container_is_found_in_every_form_of_its_group() {
        let id = "0123456789abcdef".repeat(4);
        let of = |path: &str| container_of(&format!("0::{}\n", path.replace("ID", &id)));
        for path in [
            "/kubepods.slice/kubepods-pod1.slice/cri-containerd-ID.scope",
            "/kubepods/besteffort/podx/ID",
            "/system.slice/docker-ID.scope",
            "/kubepods.slice/crio-ID.scope/container",
            "/kubepods-pod1.slice:cri-containerd:ID",
        ] {
            assert_eq!(of(path), Some(ContainerId::new(id.as_str())), "{path}");
        }
        assert_eq!((of("/user.slice/session-1.scope"), of("/"), container_of("")), (None, None, None));
    }

    #[test]
    fn a_process_that_is_not_there_has_no_container() {
        let containers = Containers::default();
        assert_eq!(containers.of(Upid::new(Asid(1), std::process::id(), 1)), None, "another start time: another process");
        assert!(containers.inner.lock().known.is_empty());
    }
}
