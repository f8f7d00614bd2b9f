use std::fmt;

/// Short number of an agent within its cluster, given at registration. 32 bits: the upper quarter of a [`Upid`].
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Asid(pub u32);

/// A process, unique in the cluster for ever: agent, process id and start time, since ids are reused.
///
/// The value of a UINT128 column: ASID and pid are the upper and lower halves of its high 64 bits,
/// the low 64 bits are the start time.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Upid(u128);

/// Nanoseconds in one clock tick of `/proc/PID/stat` (`USER_HZ` is 100 on every Linux we run on).
const TICK_NS: u64 = 10_000_000;

impl Upid {
    /// No process: pcap replay, or one that was never seen.
    pub const NONE: Upid = Upid(0);

    /// `pid` as the agent's PID namespace sees it; `start_ticks` as field 22 of `/proc/PID/stat`.
    pub fn new(asid: Asid, pid: u32, start_ticks: u64) -> Upid {
        Upid(u128::from(asid.0) << 96 | u128::from(pid) << 64 | u128::from(start_ticks))
    }

    /// From the kernel's `start_boottime`, cut off to ticks as `/proc` does.
    pub fn from_boot_ns(asid: Asid, pid: u32, start_boottime_ns: u64) -> Upid {
        Upid::new(asid, pid, start_boottime_ns / TICK_NS)
    }

    /// The agent.
    pub fn asid(self) -> Asid {
        Asid((self.0 >> 96) as u32)
    }

    /// The process id.
    pub fn pid(self) -> u32 {
        (self.0 >> 64) as u32
    }

    /// When it started, in ticks of 10 ms since boot.
    pub fn start_ticks(self) -> u64 {
        self.0 as u64
    }

    /// As a column holds it: big-endian, high half first.
    pub fn to_be_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// The inverse of [`Self::to_be_bytes`].
    pub fn from_be_bytes(bytes: [u8; 16]) -> Upid {
        Upid(u128::from_be_bytes(bytes))
    }
}

/// `asid:pid:start`, as the function `upid_to_string` shows it.
impl fmt::Display for Upid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.asid().0, self.pid(), self.start_ticks())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_come_back() {
        let upid = Upid::new(Asid(0x0102_0304), 0x0506_0708, 0x1112_1314_1516_1718);
        assert_eq!((upid.asid(), upid.pid(), upid.start_ticks()), (Asid(0x0102_0304), 0x0506_0708, 0x1112_1314_1516_1718));
        assert_eq!(upid.to_be_bytes(), [1, 2, 3, 4, 5, 6, 7, 8, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18]);
        assert_eq!(Upid::from_be_bytes(upid.to_be_bytes()), upid);
        assert_eq!(Upid::new(Asid(1), 23, 456).to_string(), "1:23:456");
    }

    #[test]
    fn a_start_time_is_cut_off_to_ticks() {
        assert_eq!(Upid::from_boot_ns(Asid(1), 2, 39_999_999).start_ticks(), 3);
    }
}
