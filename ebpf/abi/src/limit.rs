//! Limits, each with its reason.

/// Bytes of the ring unless settings say otherwise; a power of two. At 100,000 messages a second of 300 bytes a reader that
/// looks every 20 ms leaves 0.6 MiB in it: half a second of a stalled reader fits. User space maps it twice, so it counts twice there.
pub const RING_BYTES: u32 = 16 << 20;

/// Bytes that a processor puts into the ring between two looks at how much waits there (less where the ring is small): a look costs as much as
/// copying a record. 256 processors have put in a quarter of the ring unseen, at most.
pub const RING_UNSEEN_BYTES: u32 = 16 << 10;

/// Sockets remembered at once unless settings say otherwise (least recently used leave first): twice what one process may open by default on large hosts,
/// some 8 MiB of kernel memory.
pub const SOCKETS_MAX: u32 = 1 << 16;

/// Verdicts remembered: one for each socket.
pub const VERDICTS_MAX: u32 = SOCKETS_MAX;

/// Processes whose first appearance on a socket was told.
pub const PROCESSES_MAX: u32 = 1 << 14;

/// Threads in the middle of a `sendmmsg` or `recvmmsg`.
pub const MESSAGE_THREADS_MAX: u32 = 1 << 12;

/// Processes whose exit was told lately: several threads of one process can be its last.
pub const EXITS_MAX: u32 = 1 << 10;

/// Bytes of one chunk: the payload of one record.
pub const CHUNK_BYTES: u32 = 4096;

/// Bytes copied of one call when the verdict is `trace`. Reference behaviour: 30 KiB a call.
pub const CALL_BYTES_MAX: u32 = 30 * 1024;

/// Bytes copied of a stream, each direction, while its verdict is not known. The reader looks every 20 ms, and a connection may have sent
/// several answers by then: none of them shall be cut. It is a sixteenth of the ring, and what is behind it is a hole of known place.
pub const UNKNOWN_BYTES_MAX: u32 = 1 << 20;

/// Each time a stream without a verdict has had so many bytes copied, the reader is woken to give one.
pub const UNKNOWN_WAKE_BYTES: u32 = 64 * 1024;

/// Steps of the copying loop: one for each segment of a vector, each message of a `sendmmsg` or `recvmmsg` (way B), each full
/// chunk and each page that was gone. 64 segments take two steps each; what lies behind is counted.
pub const COPY_STEPS_MAX: u32 = 160;

/// Messages of one call. `sendmmsg` takes no more of a longer array (`UIO_MAXIOV`). `recvmmsg` does: way B, which has to add up their lengths to
/// know the place of the first, leaves such a call out, and counts it.
pub const MESSAGES_MAX: u32 = 1024;

/// Probes on functions at once. Each has programs of its own, since kernels before 5.15 do not tell a program which probe it runs for.
pub const PROBES_MAX: u32 = 64;

/// Bytes of the ring of probes unless settings say otherwise; a power of two: some 10,000 calls between two looks of the reader.
pub const PROBE_RING_BYTES: u32 = 1 << 20;

/// Calls of probed functions that have not returned (least recently entered leave first): threads that wait in one, and recursion. Some 1 MiB.
pub const PROBE_CALLS_MAX: u32 = 1 << 13;

/// Arguments of a probed function: those that x86-64 passes in registers.
pub const PROBE_ARGUMENTS: usize = 6;

/// Bytes of a command line kept.
pub const CMDLINE_BYTES: usize = 1024;

/// Bytes of a task's name, the closing zero included (`TASK_COMM_LEN`).
pub const COMM_BYTES: usize = 16;
