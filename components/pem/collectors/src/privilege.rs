//! What this process may do.

use crate::error::Error;

/// Numbers of capabilities, from `linux/capability.h`.
const SYS_ADMIN: u32 = 21;
const PERFMON: u32 = 38;
const BPF: u32 = 39;

/// Whether BPF programs may be loaded.
///
/// # Errors
/// Says which capabilities are missing.
pub(crate) fn check() -> Result<(), Error> {
    // Unreadable: try, and let the kernel say.
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return Ok(()) };
    match missing(&status) {
        Some(missing) => Err(Error::NotPermitted { missing }),
        None => Ok(()),
    }
}

fn missing(status: &str) -> Option<String> {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    let set = u64::from_str_radix(effective.trim(), 16).ok()?;
    let has = |capability: u32| set >> capability & 1 == 1;
    if has(SYS_ADMIN) {
        return None;
    }
    let names: Vec<&str> =
        [(BPF, "CAP_BPF"), (PERFMON, "CAP_PERFMON")].into_iter().filter(|(number, _)| !has(*number)).map(|(_, name)| name).collect();
    (!names.is_empty()).then(|| names.join(" and "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_capabilities_are_named() {
        assert_eq!(missing("Name:\tx\nCapEff:\t0000000000000000\n").as_deref(), Some("CAP_BPF and CAP_PERFMON"));
        assert_eq!(missing("CapEff:\t0000008000000000\n").as_deref(), Some("CAP_PERFMON"));
        assert_eq!(missing("CapEff:\t000000c000000000\n"), None);
        assert_eq!(missing("CapEff:\t000001fffeffffff\n"), None);
    }
}
