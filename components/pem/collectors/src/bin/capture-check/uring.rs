//! As much of `io_uring` as makes one operation at a time (io_uring_setup(2), io_uring_enter(2)).

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd as _, OwnedFd},
    ptr,
    sync::atomic::{AtomicU32, Ordering},
};

/// `IORING_OP_SEND`
pub const SEND: u8 = 26;
/// `IORING_OP_RECV`
pub const RECEIVE: u8 = 27;
/// `IOSQE_ASYNC`: by a worker.
pub const ASYNC: u8 = 1 << 4;

/// `IORING_OFF_SQES`
const ENTRIES_OFFSET: i64 = 0x1000_0000;
/// `IORING_ENTER_GETEVENTS`
const GET_EVENTS: u32 = 1;
const ENTRY_BYTES: usize = 64;
/// Room for the two queues, which one mapping has since 5.4.
const QUEUES_BYTES: usize = 4096;

/// `struct io_uring_params`, as words: entries, flags and features, then offsets in the queues' memory.
type Parameters = [u32; 30];
const SUBMIT_TAIL: usize = 11;
const SUBMIT_ARRAY: usize = 16;
const COMPLETE_HEAD: usize = 20;
const COMPLETE_ENTRIES: usize = 25;

/// A ring with one entry.
pub struct Ring {
    descriptor: OwnedFd,
    parameters: Parameters,
    queues: *mut u8,
    entry: *mut u8,
}

impl Ring {
    /// A new one. Its memory stays until the process ends.
    pub fn new() -> io::Result<Ring> {
        let mut parameters: Parameters = [0; 30];
        // SAFETY: the parameters have their size; the descriptor is new; mappings of it.
        unsafe {
            let descriptor = libc::syscall(libc::SYS_io_uring_setup, 1, parameters.as_mut_ptr());
            if descriptor < 0 {
                return Err(io::Error::last_os_error());
            }
            let descriptor = OwnedFd::from_raw_fd(descriptor as i32);
            let map = |bytes: usize, offset: i64| {
                let access = libc::PROT_READ | libc::PROT_WRITE;
                match libc::mmap(ptr::null_mut(), bytes, access, libc::MAP_SHARED, descriptor.as_raw_fd(), offset) {
                    libc::MAP_FAILED => Err(io::Error::last_os_error()),
                    memory => Ok(memory.cast::<u8>()),
                }
            };
            let (queues, entry) = (map(QUEUES_BYTES, 0)?, map(ENTRY_BYTES, ENTRIES_OFFSET)?);
            Ok(Ring { descriptor, parameters, queues, entry })
        }
    }

    fn word(&self, parameter: usize, index: usize) -> &AtomicU32 {
        // SAFETY: the kernel says where its words are; they are aligned.
        unsafe { AtomicU32::from_ptr(self.queues.add(self.parameters[parameter] as usize + index * 4).cast()) }
    }

    /// Does one operation and waits for it; its result, as a system call tells it.
    pub fn run(&self, operation: u8, flags: u8, socket: &impl AsRawFd, address: u64, length: u32) -> isize {
        let mut entry = [0; ENTRY_BYTES];
        (entry[0], entry[1]) = (operation, flags);
        entry[4..8].copy_from_slice(&socket.as_raw_fd().to_ne_bytes());
        entry[16..24].copy_from_slice(&address.to_ne_bytes());
        entry[24..28].copy_from_slice(&length.to_ne_bytes());
        // SAFETY: the one entry of this ring, which the kernel does not look at before it is told.
        unsafe { ptr::copy_nonoverlapping(entry.as_ptr(), self.entry, ENTRY_BYTES) };
        self.word(SUBMIT_ARRAY, 0).store(0, Ordering::Relaxed);
        self.word(SUBMIT_TAIL, 0).fetch_add(1, Ordering::Release);
        // SAFETY: no signal mask.
        let entered =
            unsafe { libc::syscall(libc::SYS_io_uring_enter, self.descriptor.as_raw_fd(), 1, 1, GET_EVENTS, ptr::null::<u8>(), 0) };
        assert_eq!(entered, 1, "{}", io::Error::last_os_error());
        // Two completions have room; the result lies behind the 8 bytes that name the operation.
        let head = self.word(COMPLETE_HEAD, 0).load(Ordering::Acquire);
        let result = self.word(COMPLETE_ENTRIES, (head as usize & 1) * 4 + 2).load(Ordering::Acquire) as i32;
        self.word(COMPLETE_HEAD, 0).store(head.wrapping_add(1), Ordering::Release);
        result as isize
    }
}
