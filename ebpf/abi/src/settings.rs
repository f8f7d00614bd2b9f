use core::mem::size_of;

/// Byte offsets of fields in the structures of the kernel that runs, from its BTF. Optional ones are [`Offsets::ABSENT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Offsets {
    /// `sock.__sk_common.skc_family`
    pub sock_family: u32,
    /// `sock.__sk_common.skc_num`
    pub sock_local_port: u32,
    /// `sock.__sk_common.skc_dport`
    pub sock_remote_port: u32,
    /// `sock.__sk_common.skc_portpair`: both ports, one word
    pub sock_ports: u32,
    /// `sock.__sk_common.skc_rcv_saddr`
    pub sock_local_v4: u32,
    /// `sock.__sk_common.skc_daddr`
    pub sock_remote_v4: u32,
    /// `sock.__sk_common.skc_v6_rcv_saddr`
    pub sock_local_v6: u32,
    /// `sock.__sk_common.skc_v6_daddr`
    pub sock_remote_v6: u32,
    /// `sock.__sk_common.skc_net.net`
    pub sock_net: u32,
    /// `sock.__sk_common.skc_flags`
    pub sock_flags: u32,
    /// `sock.sk_protocol`
    pub sock_protocol: u32,
    /// `sock.sk_socket`
    pub sock_socket: u32,
    /// `sock.sk_max_ack_backlog`
    pub sock_backlog_max: u32,
    /// `socket.file`
    pub socket_file: u32,
    /// `socket.sk`
    pub socket_sock: u32,
    /// `tcp_sock.write_seq`
    pub tcp_write_seq: u32,
    /// `tcp_sock.copied_seq`
    pub tcp_copied_seq: u32,
    /// `tcp_sock.rcv_nxt`
    pub tcp_receive_next: u32,
    /// `inet_connection_sock.icsk_ulp_ops`
    pub tcp_upper_protocol: u32,
    /// `net.ns.inum`
    pub net_inum: u32,
    /// `file.f_inode`
    pub file_inode: u32,
    /// `file.private_data`
    pub file_private_data: u32,
    /// `inode.i_mode`
    pub inode_mode: u32,
    /// `task_struct.files`
    pub task_files: u32,
    /// `task_struct.flags`
    pub task_flags: u32,
    /// `task_struct.group_leader`
    pub task_group_leader: u32,
    /// `task_struct.thread_pid`
    pub task_thread_pid: u32,
    /// `task_struct.start_boottime`
    pub task_start_boottime: u32,
    /// `task_struct.signal`
    pub task_signal: u32,
    /// `task_struct.exit_code`
    pub task_exit_code: u32,
    /// `task_struct.nsproxy`
    pub task_nsproxy: u32,
    /// `task_struct.mm`
    pub task_mm: u32,
    /// The word of `task_struct.thread_info` that tells 32-bit calls: `status` on x86-64, `flags` on arm64.
    pub task_thread_status: u32,
    /// `task_struct.io_uring`, where the kernel has it.
    pub task_io_uring: u32,
    /// `files_struct.fdt`
    pub files_table: u32,
    /// `fdtable.fd`
    pub table_files: u32,
    /// `fdtable.max_fds`
    pub table_files_max: u32,
    /// `pid.level`
    pub pid_level: u32,
    /// `pid.numbers`
    pub pid_numbers: u32,
    /// Bytes of `struct upid`.
    pub upid_bytes: u32,
    /// `upid.nr`
    pub upid_number: u32,
    /// `upid.ns`
    pub upid_namespace: u32,
    /// `pid_namespace.ns.inum`
    pub pid_namespace_inum: u32,
    /// `nsproxy.net_ns`
    pub nsproxy_net: u32,
    /// `mm_struct.arg_start`
    pub mm_arguments_start: u32,
    /// `mm_struct.arg_end`
    pub mm_arguments_end: u32,
    /// `signal_struct.live.counter`
    pub signal_live: u32,
    /// `signal_struct.group_exit_code`
    pub signal_group_exit_code: u32,
}

impl Offsets {
    /// Before user space has filled them in.
    pub const ZERO: Offsets = Offsets {
        sock_family: 0,
        sock_local_port: 0,
        sock_remote_port: 0,
        sock_ports: 0,
        sock_local_v4: 0,
        sock_remote_v4: 0,
        sock_local_v6: 0,
        sock_remote_v6: 0,
        sock_net: 0,
        sock_flags: 0,
        sock_protocol: 0,
        sock_socket: 0,
        sock_backlog_max: 0,
        socket_file: 0,
        socket_sock: 0,
        tcp_write_seq: 0,
        tcp_copied_seq: 0,
        tcp_receive_next: 0,
        tcp_upper_protocol: 0,
        net_inum: 0,
        file_inode: 0,
        file_private_data: 0,
        inode_mode: 0,
        task_files: 0,
        task_flags: 0,
        task_group_leader: 0,
        task_thread_pid: 0,
        task_start_boottime: 0,
        task_signal: 0,
        task_exit_code: 0,
        task_nsproxy: 0,
        task_mm: 0,
        task_thread_status: 0,
        task_io_uring: 0,
        files_table: 0,
        table_files: 0,
        table_files_max: 0,
        pid_level: 0,
        pid_numbers: 0,
        upid_bytes: 0,
        upid_number: 0,
        upid_namespace: 0,
        pid_namespace_inum: 0,
        nsproxy_net: 0,
        mm_arguments_start: 0,
        mm_arguments_end: 0,
        signal_live: 0,
        signal_group_exit_code: 0,
    };

    /// The kernel has no such field.
    pub const ABSENT: u32 = u32::MAX;

    /// As bytes, for a global of the programs.
    pub fn as_bytes(&self) -> &[u8] {
        bytes_of(self)
    }
}

/// Who the agent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Settings {
    /// Its thread group id in the root namespace: left before anything else.
    pub own_tgid: u32,
    /// Depth of its PID namespace; 0 is the root, from which all processes are seen.
    pub pid_level: u32,
    /// Inode number of its PID namespace.
    pub pid_namespace_inum: u32,
    /// More bytes than this in the ring wake the reader, which else looks by itself.
    pub ring_wake_bytes: u32,
}

impl Settings {
    /// Before user space has filled them in.
    pub const ZERO: Settings = Settings { own_tgid: 0, pid_level: 0, pid_namespace_inum: 0, ring_wake_bytes: 0 };

    /// As bytes, for a global of the programs.
    pub fn as_bytes(&self) -> &[u8] {
        bytes_of(self)
    }
}

/// What the program `whoami` found out about the process that ran it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Whoami {
    /// Its thread group id in the root namespace.
    pub tgid: u32,
    /// Depth of its PID namespace.
    pub pid_level: u32,
    /// Inode number of its PID namespace.
    pub pid_namespace_inum: u32,
    /// 1 once written.
    pub written: u32,
}

const _: () = assert!(size_of::<Offsets>() == 48 * 4);
const _: () = assert!(size_of::<Settings>() == 16);
const _: () = assert!(size_of::<Whoami>() == 16);

#[allow(unsafe_code, reason = "the one place where a structure of plain integers is looked at as bytes")]
fn bytes_of<T>(value: &T) -> &[u8] {
    // SAFETY: T is Offsets or Settings: u32 fields alone, no padding (sizes asserted above).
    unsafe { core::slice::from_raw_parts(core::ptr::from_ref(value).cast::<u8>(), size_of::<T>()) }
}
