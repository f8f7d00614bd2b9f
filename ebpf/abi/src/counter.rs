/// Index into the per-CPU array of counters: what was lost, cut or left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Counter {
    /// Records that found the ring full.
    RingLostRecords = 0,
    /// Bytes of payload in those records.
    RingLostBytes = 1,
    /// Bytes whose page was not resident when the call had ended.
    PageGoneBytes = 2,
    /// Bytes behind the last segment that the copying loop reached.
    VectorCutBytes = 3,
    /// Bytes behind the budget of a call or of an undecided stream.
    BudgetCutBytes = 4,
    /// Bytes that passed by ways that have no user buffer: `sendfile`, `splice`, an unknown call.
    UnseenBytes = 5,
    /// Operations by `io_uring` (way A) or calls that hand it work (way B).
    IoUring = 6,
    /// Calls of 32-bit programs, left out. Way B does not look up what their descriptors are: `read` and `write` of files are among them.
    Compat = 7,
    /// Calls on sockets with kernel TLS or another upper protocol, left out.
    UpperProtocol = 8,
    /// Sockets or processes that did not fit a map.
    MapFull = 9,
    /// Messages of a `sendmmsg` or `recvmmsg` that could not be attributed and were not copied.
    MessagesUnplaced = 10,
}

impl Counter {
    /// How many there are.
    pub const COUNT: u32 = 11;

    /// Words of a processor's entry: the counters, then how many bytes it has put into the ring since it looked at how much waits there.
    pub const WORDS: u32 = Self::COUNT + 1;

    /// All of them, in the order of their index.
    pub const ALL: [Counter; Self::COUNT as usize] = [
        Counter::RingLostRecords,
        Counter::RingLostBytes,
        Counter::PageGoneBytes,
        Counter::VectorCutBytes,
        Counter::BudgetCutBytes,
        Counter::UnseenBytes,
        Counter::IoUring,
        Counter::Compat,
        Counter::UpperProtocol,
        Counter::MapFull,
        Counter::MessagesUnplaced,
    ];
}

const _: () = {
    let mut index = 0;
    while index < Counter::ALL.len() {
        assert!(Counter::ALL[index] as usize == index);
        index += 1;
    }
};
