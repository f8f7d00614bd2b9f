// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! From a descriptor of the current task to its socket.

use core::ptr;

use crate::{
    kernel::{Kernel, Probe},
    offset,
};

const S_IFMT: u16 = 0o170_000;
const S_IFSOCK: u16 = 0o140_000;

/// The `struct sock` behind a descriptor; null if it is no socket.
///
/// # Safety
/// `task` is the current task.
#[inline(always)]
pub unsafe fn sock_of(task: *const u8, descriptor: u32) -> *const u8 {
    // SAFETY: fields of the current task, by helper: the table may change meanwhile.
    unsafe {
        let files: *const u8 = Probe::read(task, offset!(task_files));
        let table: *const u8 = Probe::read(files, offset!(files_table));
        if descriptor >= Probe::read::<u32>(table, offset!(table_files_max)) {
            return ptr::null();
        }
        let slots: *const u8 = Probe::read(table, offset!(table_files));
        let file: *const u8 = Probe::read(slots.wrapping_add(descriptor as usize * 8), 0);
        let inode: *const u8 = Probe::read(file, offset!(file_inode));
        if Probe::read::<u16>(inode, offset!(inode_mode)) & S_IFMT != S_IFSOCK {
            return ptr::null();
        }
        let socket: *const u8 = Probe::read(file, offset!(file_private_data));
        Probe::read(socket, offset!(socket_sock))
    }
}
