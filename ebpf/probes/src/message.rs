// SPDX-License-Identifier: MIT OR GPL-2.0-only
//! Way A: which message of a `sendmmsg` or `recvmmsg` a thread has come to. The tracepoints fire once for each.

use aya_ebpf::{helpers::generated::bpf_get_current_pid_tgid, macros::map, maps::LruHashMap};
use ebpf_abi::{Counter, limit};

use crate::{
    copy::{MESSAGE_BYTES, MESSAGE_LENGTH, read_user},
    ring,
};

/// Threads in the middle of a call, as `bpf_get_current_pid_tgid` names them.
#[map]
static MESSAGES: LruHashMap<u64, MessageState> = LruHashMap::with_max_entries(limit::MESSAGE_THREADS_MAX, 0);

/// Where a thread is in its `sendmmsg` or `recvmmsg`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct MessageState {
    /// The user's array of messages.
    pub vector: u64,
    /// The socket.
    pub sock_address: u64,
    /// Number of the call.
    pub call: u32,
    /// Length of the array.
    pub messages: u32,
    /// Messages done.
    pub index: u32,
    /// Result of the last one done; [`UNPLACED`] if the rest of the call cannot be attributed.
    pub bytes: u32,
}

/// In place of a length: whether the call goes on is not known.
const UNPLACED: u32 = u32::MAX;

/// A call that moves several messages.
#[derive(Clone, Copy)]
pub struct Call {
    /// Its number.
    pub number: u32,
    /// The user's array.
    pub vector: u64,
    /// Length of the array.
    pub messages: u32,
    /// The socket.
    pub sock_address: u64,
}

#[inline(always)]
fn key() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_get_current_pid_tgid() }
}

/// The address of the message that has just been moved, `bytes` long; `None` if it cannot be told. A call that ended early may leave
/// a state behind: a later call takes it for its own only if array, length and socket are the same and the message before has the
/// length that was seen.
#[inline(always)]
pub fn next(call: Call, bytes: u32) -> Option<u64> {
    let key = key();
    let (mut index, mut placed) = (0, true);
    // SAFETY: the value is copied out.
    if let Some(state) = unsafe { MESSAGES.get(&key) } {
        let same = state.vector == call.vector
            && state.sock_address == call.sock_address
            && state.call == call.number
            && state.messages == call.messages
            && state.index < call.messages;
        if same && state.bytes == UNPLACED {
            (index, placed) = (state.index, false);
        } else if same {
            let before = call.vector + (state.index as u64 - 1) * MESSAGE_BYTES + MESSAGE_LENGTH;
            if read_user::<u32>(before) == Some(state.bytes) {
                index = state.index;
            }
        }
    }
    store(key, call, index + 1, if placed { bytes } else { UNPLACED });
    if !placed {
        ring::count(Counter::MessagesUnplaced, 1);
        return None;
    }
    Some(call.vector + index as u64 * MESSAGE_BYTES)
}

#[inline(always)]
fn store(key: u64, call: Call, index: u32, bytes: u32) {
    if index >= call.messages {
        let _ = MESSAGES.remove(&key);
        return;
    }
    let state =
        MessageState { vector: call.vector, sock_address: call.sock_address, call: call.number, messages: call.messages, index, bytes };
    let _ = MESSAGES.insert(&key, &state, 0);
}

/// The thread's call ends here: an error, or a message that was sent in part.
#[inline(always)]
pub fn end() {
    let _ = MESSAGES.remove(&key());
}

/// Whether the call goes on after this message cannot be told: the rest of it is not attributed.
#[inline(always)]
pub fn lose_track() {
    if let Some(state) = MESSAGES.get_ptr_mut(&key()) {
        // SAFETY: a map's value, of this thread.
        unsafe { (*state).bytes = UNPLACED };
    }
}
