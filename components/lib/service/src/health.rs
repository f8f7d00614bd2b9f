use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use parking_lot::Mutex;

/// How a process does, as `/healthz`, `/readyz` and `/statusz` tell it. Clones are the same.
///
/// Who watches something says so by a [`Check`]: one of health when only a restart can mend it, one of readiness when others better wait.
#[derive(Debug, Clone, Default)]
pub struct Health {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    health: Checks,
    readiness: Checks,
    /// Why it does not do what it is for.
    reason: Option<String>,
}

/// By their names; the reason of those that fail.
type Checks = BTreeMap<Arc<str>, Option<String>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Health,
    Readiness,
}

impl Inner {
    fn checks(&mut self, kind: Kind) -> &mut Checks {
        match kind {
            Kind::Health => &mut self.health,
            Kind::Readiness => &mut self.readiness,
        }
    }
}

/// One thing that is watched. It stays when the handle is dropped. Clones are the same.
#[derive(Debug, Clone)]
pub struct Check {
    health: Health,
    kind: Kind,
    name: Arc<str>,
}

/// Why a check of readiness fails that nobody has spoken for yet.
const STARTING: &str = "starting";

impl Health {
    /// Without checks: healthy and ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Something that only a restart can mend. It passes until somebody says otherwise.
    pub fn check(&self, name: &str) -> Check {
        self.add(Kind::Health, name, None)
    }

    /// Something that others wait for. It fails until somebody says otherwise.
    pub fn ready(&self, name: &str) -> Check {
        self.add(Kind::Readiness, name, Some(STARTING.to_owned()))
    }

    /// Why the process does not do what it is for, in the word that the operator knows (`CloudConnectFailed`); `None` when it does.
    pub fn set_reason(&self, reason: Option<&str>) {
        self.inner.lock().reason = reason.map(str::to_owned);
    }

    /// The reason that was set.
    pub fn reason(&self) -> Option<String> {
        self.inner.lock().reason.clone()
    }

    /// Whether all checks of readiness pass.
    pub fn is_ready(&self) -> bool {
        self.inner.lock().readiness.values().all(Option::is_none)
    }

    fn add(&self, kind: Kind, name: &str, state: Option<String>) -> Check {
        let name: Arc<str> = name.into();
        self.inner.lock().checks(kind).insert(Arc::clone(&name), state);
        Check { health: self.clone(), kind, name }
    }

    /// Whether all of a kind pass, and the text that says so. Form: reference `src/shared/services/healthz`.
    pub(crate) fn report(&self, kind: Kind) -> (bool, String) {
        let mut inner = self.inner.lock();
        let checks = inner.checks(kind);
        let passed = checks.values().all(Option::is_none);
        let mut text = if passed { "OK\n".to_owned() } else { "FAILED\n".to_owned() };
        for (name, state) in checks {
            // Writing to a String cannot fail.
            let _ = match state {
                None => writeln!(text, "[+]{name} OK"),
                Some(reason) => writeln!(text, "[-]{name} FAILED: {reason}"),
            };
        }
        (passed, text)
    }

    /// The same of one check; `None` where there is none of that name.
    pub(crate) fn report_one(&self, kind: Kind, name: &str) -> Option<(bool, String)> {
        let mut inner = self.inner.lock();
        Some(match inner.checks(kind).get(name)? {
            None => (true, "OK\n".to_owned()),
            Some(reason) => (false, format!("FAILED: {reason}\n")),
        })
    }
}

impl Check {
    /// It passes.
    pub fn ok(&self) {
        self.set(None);
    }

    /// It fails; a reason of one line.
    #[allow(clippy::needless_pass_by_value, reason = "callers hand over what they have just made")]
    pub fn failing(&self, reason: impl ToString) {
        self.set(Some(reason.to_string()));
    }

    fn set(&self, state: Option<String>) {
        self.health.inner.lock().checks(self.kind).insert(Arc::clone(&self.name), state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_check_is_told_by_its_name() {
        let health = Health::new();
        assert_eq!(health.report(Kind::Health), (true, "OK\n".to_owned()));
        let (bus, store) = (health.check("bus"), health.check("store"));
        insta::assert_snapshot!(health.report(Kind::Health).1, @r"
        OK
        [+]bus OK
        [+]store OK
        ");
        store.failing("disk full");
        bus.ok();
        insta::assert_snapshot!(health.report(Kind::Health).1, @r"
        FAILED
        [+]bus OK
        [-]store FAILED: disk full
        ");
        assert_eq!(health.report_one(Kind::Health, "bus"), Some((true, "OK\n".to_owned())));
        assert_eq!(health.report_one(Kind::Health, "store"), Some((false, "FAILED: disk full\n".to_owned())));
        assert_eq!(health.report_one(Kind::Health, "none"), None);
    }

    #[test]
    fn what_is_waited_for_fails_until_it_is_there() {
        let health = Health::new();
        let id = health.ready("cluster-id");
        assert!(!health.is_ready());
        insta::assert_snapshot!(health.report(Kind::Readiness).1, @r"
        FAILED
        [-]cluster-id FAILED: starting
        ");
        id.ok();
        assert!(health.is_ready());
        // Health is another matter.
        assert_eq!(health.report(Kind::Health), (true, "OK\n".to_owned()));
    }
}
