// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! The ring and the counters.

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::generated::{bpf_ringbuf_output, bpf_ringbuf_query},
    macros::map,
    maps::{PerCpuArray, RingBuf},
};
use ebpf_abi::{Counter, limit};

use crate::setting;

#[map]
static RING: RingBuf = RingBuf::with_byte_size(limit::RING_BYTES, 0);

/// All counters of a CPU, and one for itself: [`Counter::WORDS`].
pub type Counters = [u64; Counter::WORDS as usize];

#[map]
static COUNTERS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(1, 0);

/// This CPU's counters.
#[inline(always)]
pub fn counters() -> Option<*mut Counters> {
    COUNTERS.get_ptr_mut(0)
}

/// Adds to a counter.
///
/// # Safety
/// `counters` is what [`counters`] gave.
#[inline(always)]
pub unsafe fn add(counters: *mut Counters, counter: Counter, amount: u64) {
    // SAFETY: as promised; the index is in the array.
    unsafe { *counters.cast::<u64>().add(counter as usize) += amount };
}

/// Adds to a total that several CPUs share.
///
/// # Safety
/// `total` lies in a map's value, aligned.
#[inline(always)]
pub unsafe fn add_shared(total: *mut u64, amount: u64) {
    // SAFETY: as promised. The form without a result, which 5.10 has too.
    unsafe { core::arch::asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) total, in(reg) amount) };
}

/// Adds to a counter of this CPU.
#[inline(always)]
pub fn count(counter: Counter, amount: u64) {
    if let Some(counters) = counters() {
        // SAFETY: just given.
        unsafe { add(counters, counter, amount) };
    }
}

/// Whether much waits for the reader. Looked at only now and then.
///
/// # Safety
/// `counters` is what [`counters`] gave.
#[inline(always)]
unsafe fn much_waits(counters: *mut Counters, bytes: u32) -> bool {
    let wake_bytes = setting!(ring_wake_bytes);
    let step = if wake_bytes / 16 < limit::RING_UNSEEN_BYTES { wake_bytes / 16 } else { limit::RING_UNSEEN_BYTES };
    // SAFETY: as promised; the word behind the counters. A helper on a map.
    unsafe {
        let unseen = counters.cast::<u64>().add(Counter::COUNT as usize);
        *unseen += bytes as u64;
        if *unseen <= step as u64 {
            return false;
        }
        *unseen = 0;
        bpf_ringbuf_query((&raw const RING).cast_mut().cast(), BPF_RB_AVAIL_DATA as u64) > wake_bytes as u64
    }
}

/// Wakes the reader: a connection moves much before anybody has said what to do with it.
#[inline(always)]
pub fn wake() {
    if let Some(record) = RING.reserve::<u64>(0) {
        record.discard(BPF_RB_FORCE_WAKEUP as u64);
    }
}

/// Puts `bytes` bytes at `record` into the ring. The reader looks by itself; it is woken only when much waits.
///
/// # Safety
/// `record` has as many bytes; `counters` is what [`counters`] gave.
#[inline(always)]
pub unsafe fn output_counted(counters: *mut Counters, record: *const u8, bytes: u32) {
    // SAFETY: as promised.
    let flags = if unsafe { much_waits(counters, bytes) } { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP };
    // SAFETY: as promised; the verifier checks it.
    unsafe {
        if bpf_ringbuf_output((&raw const RING).cast_mut().cast(), record.cast_mut().cast(), bytes as u64, flags as u64) != 0 {
            add(counters, Counter::RingLostRecords, 1);
            add(counters, Counter::RingLostBytes, bytes as u64);
        }
    }
}

/// Puts a value into the ring, of which nobody is told: the reader looks by itself. Whether there was room.
#[inline(always)]
pub fn put<T>(record: &T) -> bool {
    let record = core::ptr::from_ref(record).cast_mut().cast();
    // SAFETY: a reference has its type's bytes.
    unsafe { bpf_ringbuf_output((&raw const RING).cast_mut().cast(), record, size_of::<T>() as u64, BPF_RB_NO_WAKEUP as u64) == 0 }
}

/// As [`output_counted`].
///
/// # Safety
/// `record` has as many bytes.
#[inline(always)]
pub unsafe fn output(record: *const u8, bytes: u32) {
    if let Some(counters) = counters() {
        // SAFETY: as promised.
        unsafe { output_counted(counters, record, bytes) };
    }
}

/// As [`output`], of a value.
#[inline(always)]
pub fn output_value<T>(record: &T) {
    // SAFETY: a reference has its type's bytes.
    unsafe { output(core::ptr::from_ref(record).cast(), size_of::<T>() as u32) };
}
