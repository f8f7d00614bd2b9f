// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! Reading the kernel's structures at offsets that user space found in its BTF.

use core::{mem::MaybeUninit, ptr};

use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_get_current_task_btf, bpf_probe_read_kernel, bpf_skc_to_tcp_sock};
use ebpf_abi::{Offsets, Settings};

/// Where the fields are; user space fills it in.
#[unsafe(no_mangle)]
pub static OFFSETS: Offsets = Offsets::ZERO;

/// Who the agent is; user space fills it in.
#[unsafe(no_mangle)]
pub static SETTINGS: Settings = Settings::ZERO;

/// Offset of a field, known to the verifier as a constant.
#[macro_export]
macro_rules! offset {
    ($field:ident) => {
        $crate::kernel::constant(&$crate::kernel::OFFSETS.$field)
    };
}

/// A setting, known to the verifier as a constant.
#[macro_export]
macro_rules! setting {
    ($field:ident) => {
        $crate::kernel::constant(&$crate::kernel::SETTINGS.$field)
    };
}

/// A global that user space fills in at the load: the compiler must not know its value.
#[inline(always)]
pub fn constant(global: &'static u32) -> u32 {
    // SAFETY: a reference.
    unsafe { ptr::read_volatile(global) }
}

/// A way to read the kernel's memory.
pub trait Kernel {
    /// The value at `base + offset`; zeros where nothing can be read.
    ///
    /// # Safety
    /// `base` points to a structure of the kernel that has a `T` there.
    unsafe fn read<T: Copy>(base: *const u8, offset: u32) -> T;

    /// The current task.
    fn task() -> *const u8;

    /// The socket as a `tcp_sock`; null if it is none.
    ///
    /// # Safety
    /// `sk` is a socket.
    unsafe fn tcp(sk: *const u8) -> *const u8;
}

/// Loads through pointers whose types the verifier knows.
pub struct Direct;

impl Kernel for Direct {
    #[inline(always)]
    unsafe fn read<T: Copy>(base: *const u8, offset: u32) -> T {
        // SAFETY: the verifier checks the access, and the kernel handles its faults.
        unsafe { ptr::read_volatile(base.add(offset as usize).cast::<T>()) }
    }

    #[inline(always)]
    fn task() -> *const u8 {
        // SAFETY: a helper without arguments.
        unsafe { bpf_get_current_task_btf() as *const u8 }
    }

    #[inline(always)]
    unsafe fn tcp(sk: *const u8) -> *const u8 {
        // SAFETY: as promised.
        unsafe { bpf_skc_to_tcp_sock(sk.cast_mut().cast()) as *const u8 }
    }
}

/// Loads by helper: any address will do.
pub struct Probe;

impl Kernel for Probe {
    #[inline(always)]
    unsafe fn read<T: Copy>(base: *const u8, offset: u32) -> T {
        let mut value = MaybeUninit::<T>::zeroed();
        // SAFETY: the helper writes `T`'s bytes, zeros if it fails; every `T` used is made of integers or pointers.
        unsafe {
            bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, base.wrapping_add(offset as usize).cast());
            value.assume_init()
        }
    }

    #[inline(always)]
    fn task() -> *const u8 {
        // SAFETY: a helper without arguments.
        unsafe { bpf_get_current_task() as *const u8 }
    }

    #[inline(always)]
    unsafe fn tcp(sk: *const u8) -> *const u8 {
        sk
    }
}
