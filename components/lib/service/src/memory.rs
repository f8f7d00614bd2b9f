use std::time::Duration;

/// How often a process gives back what it does not use. A query's peak is gone from the machine's books this long after it.
pub const GIVE_BACK_PERIOD: Duration = Duration::from_secs(10);

/// Gives free memory back to the system: the C library keeps it by itself, so that a moment's need (the kernel's types while programs are
/// loaded, a large query) would count as the process's for ever. Takes a millisecond or so; other threads may go on.
#[allow(unsafe_code, reason = "the C library's function, which takes a number")]
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes the allocator's own locks and touches no memory that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anonymous_bytes() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    #[test]
    fn what_was_freed_below_what_is_in_use_goes_back_to_the_system() {
        // Below the size from which the C library maps a block by itself, and something above them that stays.
        let mut blocks: Vec<Vec<u8>> = (0..1024).map(|_| vec![1; 64 * 1024]).collect();
        let last = blocks.pop();
        drop(blocks);
        let before = anonymous_bytes();
        give_back();
        let after = anonymous_bytes();
        assert!(after + (32 << 20) < before, "{before} {after}");
        drop(last);
    }
}
