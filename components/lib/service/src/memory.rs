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

/// What the C library's allocator holds, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Heap {
    /// Handed out to the program.
    pub allocated_bytes: u64,
    /// Taken from the system, in use or not.
    pub held_bytes: u64,
    /// Free in small blocks that are handed out without asking further.
    pub cached_bytes: u64,
    /// Free otherwise.
    pub free_bytes: u64,
}

/// What the allocator holds now; nothing is known of another C library's. Takes its locks one after the other.
#[allow(unsafe_code, reason = "the C library's function, which returns numbers")]
pub fn heap() -> Heap {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: it takes the allocator's own locks and returns a structure of numbers.
        let info = unsafe { libc::mallinfo2() };
        Heap {
            allocated_bytes: (info.uordblks + info.hblkhd) as u64,
            held_bytes: (info.arena + info.hblkhd) as u64,
            cached_bytes: info.fsmblks as u64,
            free_bytes: info.fordblks.saturating_sub(info.fsmblks) as u64,
        }
    }
    #[cfg(not(target_env = "gnu"))]
    Heap::default()
}

/// All that the allocator tells of its arenas and their free blocks: the XML of `malloc_info`.
///
/// # Errors
/// Another C library's allocator tells nothing, or there is no memory for the text.
#[allow(unsafe_code, reason = "the C library writes into a stream over memory")]
pub fn heap_text() -> Result<String, String> {
    #[cfg(target_env = "gnu")]
    {
        let (mut text, mut bytes) = (std::ptr::null_mut::<libc::c_char>(), 0_usize);
        // SAFETY: `text` and `bytes` outlive the stream, which is closed before they are read; closing it ends the text, which is freed once.
        unsafe {
            let stream = libc::open_memstream(&raw mut text, &raw mut bytes);
            if stream.is_null() {
                return Err(format!("no memory for the allocator's text: {}", std::io::Error::last_os_error()));
            }
            let told = libc::malloc_info(0, stream);
            let closed = libc::fclose(stream);
            let copy = (told == 0 && closed == 0 && !text.is_null())
                .then(|| String::from_utf8_lossy(std::slice::from_raw_parts(text.cast::<u8>(), bytes)).into_owned());
            libc::free(text.cast());
            copy.ok_or_else(|| "the allocator tells nothing".to_owned())
        }
    }
    #[cfg(not(target_env = "gnu"))]
    Err("this C library's allocator tells nothing".to_owned())
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

    #[test]
    fn the_allocator_tells_of_its_arenas() {
        let text = heap_text().unwrap();
        assert!(text.starts_with("<malloc version=") && text.contains("<heap nr=\"0\">"), "{text}");
    }

    #[test]
    fn what_is_handed_out_is_counted() {
        let before = heap().allocated_bytes;
        let block = vec![1_u8; 64 << 20];
        let with = heap();
        assert!(with.allocated_bytes >= before + (32 << 20) && with.held_bytes >= with.allocated_bytes, "{before} {with:?}");
        drop(block);
    }
}
