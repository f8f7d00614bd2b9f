// SPDX-License-Identifier: MIT OR GPL-2.0-only
#![feature(asm_experimental_arch)]
//! What the programs share.
//!
//! ```text
//! arch      registers and call numbers of x86-64 and arm64; the only file that knows them
//! kernel    reading the kernel's structures: directly (typed pointers) or by helper
//! ring      the ring, the counters
//! process   who makes the call, as the agent's PID namespace sees it
//! socket    the sockets, their opening, their close
//! file      from a descriptor to its socket
//! copy      user memory into records
//! transfer  one call that moved bytes: the body that both ways share
//! message   where a thread is in its sendmmsg or recvmmsg (way A)
//! ```
#![no_std]

pub mod arch;
pub mod copy;
pub mod file;
pub mod kernel;
pub mod message;
pub mod process;
pub mod ring;
pub mod socket;
pub mod transfer;
