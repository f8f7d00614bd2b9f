// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! User memory into records of the ring.

use aya_ebpf::{helpers::generated::bpf_probe_read_user, macros::map, maps::PerCpuArray};
use ebpf_abi::{Counter, Data, flag, limit};

use crate::ring::{self, Counters};

/// One for each program that copies: [`crate::transfer::Slot`].
#[map]
static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(2, 0);

/// Segments that are copied without steps; servers send a head and a body.
const SEGMENTS_AT_ONCE: usize = 4;

/// Smallest page of the machines we run on.
const PAGE_BYTES: u32 = 4096;

/// Where a record is put together: one for each CPU and program, so that a preempted program's is never another's.
#[repr(C)]
pub struct Scratch {
    /// Where the bytes are.
    pub memory: Memory,
    /// How far the copying is.
    pub cursor: Cursor,
    /// The fixed part.
    pub data: Data,
    /// The chunk, twice: an offset and a length, each below a chunk, lie within it whatever they are, which is what a verifier can see.
    pub payload: [u8; 2 * limit::CHUNK_BYTES as usize],
}

/// How far the copying of a call is. Kept in a map's value between two steps, not in registers: what comes from there the verifier
/// knows nothing about, so that every step looks like the one before and is checked once.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Cursor {
    /// Of the next byte.
    pub address: u64,
    /// Bytes left in the segment.
    pub segment_left: u64,
    /// Of the next segment's description.
    pub vector: u64,
    /// Segments left.
    pub segments: u64,
    /// Of the next message (`struct mmsghdr`).
    pub message: u64,
    /// Messages left.
    pub messages: u32,
    /// Bytes left of the message.
    pub message_left: u32,
    /// Bytes left of the call.
    pub left: u32,
    /// Where in the call the chunk begins.
    pub offset: u32,
    /// Bytes in the chunk.
    pub fill: u32,
    /// Bytes that this step is about.
    pub step_bytes: u32,
    /// Those of them that were gone.
    pub step_gone: u32,
    /// 1 once a page was found to be gone.
    pub page_wise: u32,
    /// Bits of [`cursor_flag`]: what is to be known when the copying is done.
    pub flags: u32,
}

/// Bits of [`Cursor::flags`].
pub mod cursor_flag {
    /// Other messages of the call may follow.
    pub const IN_MESSAGES: u32 = 1 << 1;
    /// Not all bytes of the message are wanted.
    pub const CUT: u32 = 1 << 2;
    /// They were sent.
    pub const SENT: u32 = 1 << 3;
}

/// How a call's bytes lie in user memory.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Shape {
    /// Nowhere: length and place in the stream are known, the bytes are not.
    Unseen = 0,
    /// One buffer.
    Buffer = 1,
    /// An array of `struct iovec`.
    Vector = 2,
    /// An array of `struct mmsghdr`, each with the length that was moved.
    Messages = 3,
}

/// Where a call's bytes are in user memory. One plain structure, since the verifier minds what is not set.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Memory {
    /// Of the buffer or array.
    pub address: u64,
    /// Length of the array.
    pub count: u64,
    /// Number of a [`Shape`].
    pub shape: u32,
    /// The last ones of the bytes are not there (urgent data).
    pub bytes_missing: u32,
    /// 1 if the call may go on with other messages.
    pub in_messages: u32,
    /// Zero.
    pub reserved: u32,
}

impl Memory {
    /// Nowhere.
    pub const UNSEEN: Memory = Memory::new(Shape::Unseen, 0, 0);

    /// All of a call's bytes.
    #[inline(always)]
    pub const fn new(shape: Shape, address: u64, count: u64) -> Memory {
        Memory { address, count, shape: shape as u32, bytes_missing: 0, in_messages: 0, reserved: 0 }
    }
}

/// Bytes of `struct mmsghdr`.
pub const MESSAGE_BYTES: u64 = 64;
/// Where in it `msg_len` is.
pub const MESSAGE_LENGTH: u64 = 56;
/// Where in it (and in its `struct user_msghdr`) `msg_iov` and `msg_iovlen` are.
const MESSAGE_VECTOR: u64 = 16;

/// The `struct msghdr` at `address`: its vector.
#[inline(always)]
pub fn message(address: u64) -> Memory {
    match read_user::<[u64; 2]>(address + MESSAGE_VECTOR) {
        Some([address, segments]) => Memory::new(Shape::Vector, address, segments),
        None => Memory::UNSEEN,
    }
}

/// A value in user memory, if its page is resident.
#[inline(always)]
pub fn read_user<T: Copy>(address: u64) -> Option<T> {
    let mut value = core::mem::MaybeUninit::<T>::uninit();
    // SAFETY: the helper writes `T`'s bytes, zeros if it fails; every `T` used is made of integers.
    unsafe {
        (bpf_probe_read_user(value.as_mut_ptr().cast(), size_of::<T>() as u32, address as *const _) == 0).then(|| value.assume_init())
    }
}

/// The scratch of this CPU and program.
#[inline(always)]
pub fn scratch(slot: u32) -> Option<*mut Scratch> {
    SCRATCH.get_ptr_mut(slot)
}

macro_rules! get {
    ($structure:expr, $($field:ident).+) => {
        (&raw const (*$structure).$($field).+).read_volatile()
    };
}

macro_rules! set {
    ($structure:expr, $($field:ident).+, $value:expr) => {
        (&raw mut (*$structure).$($field).+).write_volatile($value)
    };
}

/// Puts the first `wanted` of a call's bytes, which are where `scratch.memory` says, into the ring, chunk by chunk, each behind
/// `scratch.data`, which the caller has filled in. The last record says that it is.
///
/// Its state is in memory, field by field, and so are `flags`, for the caller to read again: else the verifier would follow the
/// steps once for each way to get there, and each step once for each outcome of the one before.
///
/// # Safety
/// `scratch` is this CPU's and program's, `counters` this CPU's.
#[inline(always)]
pub unsafe fn copy<const MESSAGES: bool>(scratch: *mut Scratch, counters: *mut Counters, wanted: u32, flags: u32) {
    // SAFETY: as promised.
    unsafe {
        let cursor = &raw mut (*scratch).cursor;
        set!(cursor, flags, flags);
        if is_copied_at_once(scratch, wanted, flags) {
            return emit(scratch, counters, flag::LAST);
        }
        start::<MESSAGES>(scratch, wanted);
        for _ in 0..limit::COPY_STEPS_MAX {
            if !step::<MESSAGES>(scratch, counters) {
                break;
            }
        }
        let left = get!(cursor, left);
        if left > 0 {
            let unseen = get!(scratch, memory.shape) == Shape::Unseen as u32;
            ring::add(counters, if unseen { Counter::UnseenBytes } else { Counter::VectorCutBytes }, left as u64);
        }
        emit(scratch, counters, flag::LAST);
    }
}

/// Copies what fits a chunk, as most calls do, if it lies in one buffer or few segments and all of it is there. Else the steps do it from the beginning.
#[inline(always)]
unsafe fn is_copied_at_once(scratch: *mut Scratch, wanted: u32, flags: u32) -> bool {
    // SAFETY: as promised by the caller.
    unsafe {
        let shape = get!(scratch, memory.shape);
        // Of a message that others may follow, the caller looks at the segments that are left.
        if wanted == 0 || wanted > limit::CHUNK_BYTES || flags & cursor_flag::IN_MESSAGES != 0 {
            return false;
        }
        let cursor = &raw mut (*scratch).cursor;
        set!(cursor, offset, 0);
        set!(cursor, fill, 0);
        set!(cursor, left, 0);
        let address = get!(scratch, memory.address);
        if shape == Shape::Buffer as u32 {
            return is_segment_copied(scratch, address, wanted);
        }
        if shape != Shape::Vector as u32 {
            return false;
        }
        let segments = get!(scratch, memory.count);
        let mut vector = [0u64; 2 * SEGMENTS_AT_ONCE];
        let bytes = if segments < SEGMENTS_AT_ONCE as u64 { segments as u32 * 16 } else { SEGMENTS_AT_ONCE as u32 * 16 };
        if bpf_probe_read_user((&raw mut vector).cast(), clamp::<{ SEGMENTS_AT_ONCE as u32 * 16 }>(bytes), address as *const _) != 0 {
            return false;
        }
        for at in 0..SEGMENTS_AT_ONCE {
            let left = wanted.wrapping_sub(get!(cursor, fill));
            if left == 0 || at as u64 >= segments {
                break;
            }
            let length = vector[2 * at + 1];
            let bytes = smaller(left, if length > left as u64 { left } else { length as u32 });
            if bytes > 0 && !is_segment_copied(scratch, vector[2 * at], bytes) {
                return false;
            }
        }
        get!(cursor, fill) == wanted
    }
}

/// Copies bytes behind what the chunk has, if all of them are there; they fit.
#[inline(always)]
unsafe fn is_segment_copied(scratch: *mut Scratch, address: u64, bytes: u32) -> bool {
    // SAFETY: the offset is below a chunk, the length at most one, the room two.
    unsafe {
        let fill = get!(scratch, cursor.fill) & (limit::CHUNK_BYTES - 1);
        let target = (&raw mut (*scratch).payload).cast::<u8>().add(fill as usize);
        set!(scratch, cursor.fill, fill + bytes);
        bpf_probe_read_user(target.cast(), clamp::<{ limit::CHUNK_BYTES }>(bytes), address as *const _) == 0
    }
}

/// Before the first step.
#[inline(always)]
unsafe fn start<const MESSAGES: bool>(scratch: *mut Scratch, wanted: u32) {
    // SAFETY: as promised by the caller.
    unsafe {
        let (memory, cursor) = (&raw const (*scratch).memory, &raw mut (*scratch).cursor);
        let (address, count, shape) = (get!(memory, address), get!(memory, count), get!(memory, shape));
        set!(cursor, address, address);
        set!(cursor, vector, address);
        set!(cursor, segments, if shape == Shape::Vector as u32 { count } else { 0 });
        set!(cursor, segment_left, if shape == Shape::Buffer as u32 { wanted as u64 } else { 0 });
        set!(cursor, left, wanted);
        set!(cursor, offset, 0);
        set!(cursor, fill, 0);
        set!(cursor, page_wise, 0);
        if MESSAGES {
            set!(cursor, message, address);
            set!(cursor, messages, if shape == Shape::Messages as u32 { count as u32 } else { 0 });
            set!(cursor, message_left, if shape == Shape::Messages as u32 { 0 } else { wanted });
        }
    }
}

/// Goes to the next message or segment, or copies what one segment, one chunk or one page gives. Whether there is more.
#[inline(always)]
unsafe fn step<const MESSAGES: bool>(scratch: *mut Scratch, counters: *mut Counters) -> bool {
    // SAFETY: as promised by the caller.
    unsafe {
        let cursor = &raw mut (*scratch).cursor;
        let left = get!(cursor, left);
        if left == 0 {
            return false;
        }
        if MESSAGES && get!(cursor, message_left) == 0 {
            return next_message(cursor);
        }
        let segment_left = get!(cursor, segment_left);
        if segment_left == 0 {
            return next_segment(cursor);
        }
        let address = get!(cursor, address);
        let fill = get!(cursor, fill) & (limit::CHUNK_BYTES - 1);
        let mut bytes = limit::CHUNK_BYTES - fill;
        if get!(cursor, page_wise) != 0 {
            bytes = smaller(bytes, PAGE_BYTES - (address as u32 & (PAGE_BYTES - 1)));
        }
        bytes = smaller(bytes, left);
        bytes = smaller(bytes, if segment_left > u32::MAX as u64 { u32::MAX } else { segment_left as u32 });
        if MESSAGES {
            bytes = smaller(bytes, get!(cursor, message_left));
        }
        set!(cursor, step_bytes, bytes);
        read_chunk(scratch, counters)
    }
}

/// Reads the bytes of the step behind what the chunk has. Where that fails, from there on page by page; a page that is gone is a hole.
#[inline(always)]
unsafe fn read_chunk(scratch: *mut Scratch, counters: *mut Counters) -> bool {
    // SAFETY: the offset is below a chunk, the length at most one, the room two.
    unsafe {
        let cursor = &raw mut (*scratch).cursor;
        let (address, bytes) = (get!(cursor, address), get!(cursor, step_bytes));
        let fill = get!(cursor, fill) & (limit::CHUNK_BYTES - 1);
        let target = (&raw mut (*scratch).payload).cast::<u8>().add(fill as usize);
        let gone = bpf_probe_read_user(target.cast(), clamp::<{ limit::CHUNK_BYTES }>(bytes), address as *const _) != 0;
        if gone && get!(cursor, page_wise) == 0 {
            set!(cursor, page_wise, 1);
            return true;
        }
        set!(cursor, address, address.wrapping_add(bytes as u64));
        set!(cursor, segment_left, get!(cursor, segment_left).wrapping_sub(bytes as u64));
        set!(cursor, message_left, get!(cursor, message_left).wrapping_sub(bytes));
        let left = get!(cursor, left).wrapping_sub(bytes);
        set!(cursor, left, left);
        if gone {
            ring::add(counters, Counter::PageGoneBytes, bytes as u64);
        } else {
            set!(cursor, fill, fill + bytes);
            if left == 0 || fill + bytes < limit::CHUNK_BYTES {
                return true;
            }
        }
        set!(cursor, step_gone, if gone { bytes } else { 0 });
        emit(scratch, counters, 0);
        set!(cursor, offset, get!(cursor, offset).wrapping_add(get!(cursor, fill)).wrapping_add(get!(cursor, step_gone)));
        set!(cursor, fill, 0);
        true
    }
}

#[inline(always)]
unsafe fn next_segment(cursor: *mut Cursor) -> bool {
    // SAFETY: as promised by the caller.
    unsafe {
        let (segments, vector) = (get!(cursor, segments), get!(cursor, vector));
        if segments == 0 {
            return false;
        }
        let Some([address, bytes]) = read_user::<[u64; 2]>(vector) else { return false };
        set!(cursor, address, address);
        set!(cursor, segment_left, bytes);
        set!(cursor, vector, vector.wrapping_add(16));
        set!(cursor, segments, segments - 1);
        true
    }
}

#[inline(always)]
unsafe fn next_message(cursor: *mut Cursor) -> bool {
    // SAFETY: as promised by the caller.
    unsafe {
        let (messages, message) = (get!(cursor, messages), get!(cursor, message));
        if messages == 0 {
            return false;
        }
        let Some([vector, segments]) = read_user::<[u64; 2]>(message.wrapping_add(MESSAGE_VECTOR)) else { return false };
        let Some(bytes) = read_user::<u32>(message.wrapping_add(MESSAGE_LENGTH)) else { return false };
        set!(cursor, vector, vector);
        set!(cursor, segments, segments);
        set!(cursor, segment_left, 0);
        set!(cursor, message_left, bytes);
        set!(cursor, message, message.wrapping_add(MESSAGE_BYTES));
        set!(cursor, messages, messages - 1);
        true
    }
}

#[inline(always)]
fn smaller(a: u32, b: u32) -> u32 {
    if a < b { a } else { b }
}

/// At most `MAX`, in a form that survives the compiler's reasoning, so that the verifier sees it.
#[inline(always)]
pub fn clamp<const MAX: u32>(bytes: u32) -> u32 {
    let mut bounded = bytes as u64;
    // SAFETY: arithmetic on one register.
    unsafe {
        core::arch::asm!("if {0} <= {max} goto +1", "{0} = {max}", inout(reg) bounded, max = const MAX);
    }
    bounded as u32
}

/// Puts a record with the chunk into the ring.
#[inline(always)]
unsafe fn emit(scratch: *mut Scratch, counters: *mut Counters, last: u16) {
    // SAFETY: as promised by the callers.
    unsafe {
        let data = &raw mut (*scratch).data;
        let (offset, fill) = (get!(scratch, cursor.offset), get!(scratch, cursor.fill));
        set!(data, header.flags, (get!(data, header.flags) & !flag::LAST) | last);
        set!(data, header.tail_bytes, fill);
        set!(data, chunk_offset, offset);
        ring::output_counted(counters, data.cast(), size_of::<Data>() as u32 + clamp::<{ limit::CHUNK_BYTES }>(fill));
    }
}
