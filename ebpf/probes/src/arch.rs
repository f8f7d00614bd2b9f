// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! Registers and call numbers: what differs between x86-64 and arm64.

use ebpf_abi::limit;

use crate::kernel::{Direct, Kernel};

/// The registers of the system call under way, as user space left them.
#[derive(Clone, Copy)]
pub struct Registers(pub *const u8);

#[cfg(not(feature = "arm64"))]
mod layout {
    /// Offsets in `struct pt_regs`: `di`, `si`, `dx`, `r10`, `r8`.
    pub const ARGUMENTS: [u32; 5] = [112, 104, 96, 56, 72];
    /// `orig_ax`.
    pub const NUMBER: u32 = 120;
    /// Bytes of the number.
    pub type Number = u64;
    /// `TS_COMPAT` in `thread_info.status`.
    pub const COMPAT: u64 = 1 << 1;
    /// `thread_info.status` has 32 bits.
    pub type Status = u32;
    /// `sp`.
    pub const STACK: u32 = 152;
    /// Bytes that a return takes off the stack.
    pub const RETURN_BYTES: u64 = 8;
    /// `ax`: a function's result.
    pub const FUNCTION_RESULT: u32 = 80;
    /// Where functions have their arguments: `di`, `si`, `dx`, `cx`, `r8`, `r9`.
    pub const FUNCTION_ARGUMENTS: [u32; 6] = [112, 104, 96, 88, 72, 64];
    /// And those of Go, whose order is its own: `ax`, `bx`, `cx`, `di`, `si`, `r8`.
    pub const GO_ARGUMENTS: [u32; 6] = [80, 40, 88, 112, 104, 72];
    /// `ax` holds `-ENOSYS` from the call's entry until its result is stored.
    pub const RESULT: Option<(u32, i64)> = Some((80, -38));
}

#[cfg(feature = "arm64")]
mod layout {
    /// Offsets in `struct pt_regs`: `orig_x0`, since `x0` becomes the result, then `x1` to `x4`.
    pub const ARGUMENTS: [u32; 5] = [272, 8, 16, 24, 32];
    /// `syscallno`.
    pub const NUMBER: u32 = 280;
    /// Bytes of the number.
    pub type Number = i32;
    /// `TIF_32BIT` in `thread_info.flags`.
    pub const COMPAT: u64 = 1 << 22;
    /// `thread_info.flags` has 64 bits.
    pub type Status = u64;
    /// `sp`.
    pub const STACK: u32 = 248;
    /// A return takes nothing off the stack.
    pub const RETURN_BYTES: u64 = 0;
    /// `x0`: a function's result.
    pub const FUNCTION_RESULT: u32 = 0;
    /// Where functions have their arguments: `x0` to `x5`.
    pub const FUNCTION_ARGUMENTS: [u32; 6] = [0, 8, 16, 24, 32, 40];
    /// And those of Go: the same.
    pub const GO_ARGUMENTS: [u32; 6] = FUNCTION_ARGUMENTS;
    /// Nothing tells.
    pub const RESULT: Option<(u32, i64)> = None;
}

/// Numbers of the calls that move bytes over sockets.
#[cfg(not(feature = "arm64"))]
#[allow(missing_docs, reason = "the names are the calls' own")]
pub mod call {
    pub const READ: u64 = 0;
    pub const WRITE: u64 = 1;
    pub const READV: u64 = 19;
    pub const WRITEV: u64 = 20;
    pub const SENDFILE: u64 = 40;
    pub const SENDTO: u64 = 44;
    pub const RECVFROM: u64 = 45;
    pub const SENDMSG: u64 = 46;
    pub const RECVMSG: u64 = 47;
    pub const SPLICE: u64 = 275;
    pub const RECVMMSG: u64 = 299;
    pub const SENDMMSG: u64 = 307;
    pub const PREADV2: u64 = 327;
    pub const PWRITEV2: u64 = 328;
    pub const IO_URING_ENTER: u64 = 426;

    /// Whether a 32-bit program's call of this number may move bytes over a socket: `read`, `write`, `socketcall`, `readv`, `writev`, `sendfile`,
    /// `sendfile64`, `splice`, `recvmmsg`, `sendmmsg`, `sendto`, `sendmsg`, `recvfrom`, `recvmsg`, `preadv2`, `pwritev2`, `recvmmsg_time64`.
    #[inline(always)]
    pub fn moves_bytes_if_compat(number: u64) -> bool {
        matches!(number, 3 | 4 | 102 | 145 | 146 | 187 | 239 | 313 | 337 | 345 | 369..=372 | 378 | 379 | 417)
    }
}

/// Numbers of the calls that move bytes over sockets.
#[cfg(feature = "arm64")]
#[allow(missing_docs, reason = "the names are the calls' own")]
pub mod call {
    pub const READ: u64 = 63;
    pub const WRITE: u64 = 64;
    pub const READV: u64 = 65;
    pub const WRITEV: u64 = 66;
    pub const SENDFILE: u64 = 71;
    pub const SPLICE: u64 = 76;
    pub const SENDTO: u64 = 206;
    pub const RECVFROM: u64 = 207;
    pub const SENDMSG: u64 = 211;
    pub const RECVMSG: u64 = 212;
    pub const RECVMMSG: u64 = 243;
    pub const SENDMMSG: u64 = 269;
    pub const PREADV2: u64 = 286;
    pub const PWRITEV2: u64 = 287;
    pub const IO_URING_ENTER: u64 = 426;

    /// Whether a 32-bit program's call of this number may move bytes over a socket: `read`, `write`, `readv`, `writev`, `sendfile`, `sendfile64`,
    /// `send`, `sendto`, `recv`, `recvfrom`, `sendmsg`, `recvmsg`, `splice`, `recvmmsg`, `sendmmsg`, `preadv2`, `pwritev2`, `recvmmsg_time64`.
    #[inline(always)]
    pub fn moves_bytes_if_compat(number: u64) -> bool {
        matches!(number, 3 | 4 | 145 | 146 | 187 | 239 | 289..=292 | 296 | 297 | 340 | 365 | 374 | 392 | 393 | 417)
    }
}

impl Registers {
    /// Number of the call; `u64::MAX` outside of one.
    #[inline(always)]
    pub fn number<K: Kernel>(self) -> u64 {
        // SAFETY: the registers of the current task.
        unsafe { K::read::<layout::Number>(self.0, layout::NUMBER) as i64 as u64 }
    }

    /// The call's argument `INDEX`, from 0.
    #[inline(always)]
    pub fn argument<K: Kernel, const INDEX: usize>(self) -> u64 {
        // SAFETY: the registers of the current task.
        unsafe { K::read(self.0, layout::ARGUMENTS[INDEX]) }
    }

    /// Whether the call is still under way, as far as the registers tell: work that a task does for `io_uring` on its way back
    /// to user space comes after.
    #[inline(always)]
    pub fn under_way<K: Kernel>(self) -> bool {
        match layout::RESULT {
            // SAFETY: the registers of the current task.
            Some((offset, pending)) => unsafe { K::read::<i64>(self.0, offset) == pending },
            None => true,
        }
    }
}

/// Whether the task is in a call of a 32-bit program, whose numbers are others.
///
/// # Safety
/// `task` is the current task.
#[inline(always)]
pub unsafe fn is_compat<K: Kernel>(task: *const u8, status_offset: u32) -> bool {
    // SAFETY: as promised.
    unsafe { K::read::<layout::Status>(task, status_offset) as u64 & layout::COMPAT != 0 }
}

/// The registers of user space at a probe: the program's own context.
#[derive(Clone, Copy)]
pub struct Probed(pub *const u8);

impl Probed {
    /// The arguments of the function that is entered.
    #[inline(always)]
    pub fn arguments(self, go: bool) -> [u64; limit::PROBE_ARGUMENTS] {
        let mut arguments = [0; limit::PROBE_ARGUMENTS];
        for (index, argument) in arguments.iter_mut().enumerate() {
            // Both are read, then one is chosen: the context takes constant offsets only.
            let (c, in_go) = (self.register(layout::FUNCTION_ARGUMENTS[index]), self.register(layout::GO_ARGUMENTS[index]));
            *argument = if go { in_go } else { c };
        }
        arguments
    }

    /// The result of the function that returns.
    #[inline(always)]
    pub fn result(self) -> u64 {
        self.register(layout::FUNCTION_RESULT)
    }

    /// What the stack pointer of a function that is entered will be when it has returned.
    #[inline(always)]
    pub fn stack_at_entry(self) -> u64 {
        self.register(layout::STACK) + layout::RETURN_BYTES
    }

    /// The stack pointer of a function that has returned.
    #[inline(always)]
    pub fn stack_at_return(self) -> u64 {
        self.register(layout::STACK)
    }

    #[inline(always)]
    fn register(self, offset: u32) -> u64 {
        // SAFETY: within the context.
        unsafe { Direct::read(self.0, offset) }
    }
}
