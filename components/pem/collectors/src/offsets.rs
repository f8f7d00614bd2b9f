use ebpf_abi::Offsets;

use crate::btf::{Btf, BtfError};

/// The word of `thread_info` that tells 32-bit calls.
#[cfg(target_arch = "x86_64")]
const THREAD_STATUS: &str = "thread_info.status";
#[cfg(target_arch = "aarch64")]
const THREAD_STATUS: &str = "thread_info.flags";

/// Where this kernel keeps what the programs read.
pub(crate) fn from_btf(btf: &Btf<'_>) -> Result<Offsets, BtfError> {
    Ok(Offsets {
        sock_family: btf.offset_of("sock", "__sk_common.skc_family")?,
        sock_local_port: btf.offset_of("sock", "__sk_common.skc_num")?,
        sock_remote_port: btf.offset_of("sock", "__sk_common.skc_dport")?,
        sock_ports: btf.offset_of("sock", "__sk_common.skc_portpair")?,
        sock_local_v4: btf.offset_of("sock", "__sk_common.skc_rcv_saddr")?,
        sock_remote_v4: btf.offset_of("sock", "__sk_common.skc_daddr")?,
        sock_local_v6: btf.offset_of("sock", "__sk_common.skc_v6_rcv_saddr")?,
        sock_remote_v6: btf.offset_of("sock", "__sk_common.skc_v6_daddr")?,
        sock_net: btf.offset_of("sock", "__sk_common.skc_net.net")?,
        sock_flags: btf.offset_of("sock", "__sk_common.skc_flags")?,
        sock_protocol: btf.offset_of("sock", "sk_protocol")?,
        sock_socket: btf.offset_of("sock", "sk_socket")?,
        sock_backlog_max: btf.offset_of("sock", "sk_max_ack_backlog")?,
        socket_file: btf.offset_of("socket", "file")?,
        socket_sock: btf.offset_of("socket", "sk")?,
        tcp_write_seq: btf.offset_of("tcp_sock", "write_seq")?,
        tcp_copied_seq: btf.offset_of("tcp_sock", "copied_seq")?,
        tcp_receive_next: btf.offset_of("tcp_sock", "rcv_nxt")?,
        tcp_upper_protocol: btf.offset_of("inet_connection_sock", "icsk_ulp_ops")?,
        net_inum: btf.offset_of("net", "ns.inum")?,
        file_inode: btf.offset_of("file", "f_inode")?,
        file_private_data: btf.offset_of("file", "private_data")?,
        inode_mode: btf.offset_of("inode", "i_mode")?,
        task_files: btf.offset_of("task_struct", "files")?,
        task_flags: btf.offset_of("task_struct", "flags")?,
        task_group_leader: btf.offset_of("task_struct", "group_leader")?,
        task_thread_pid: btf.offset_of("task_struct", "thread_pid")?,
        task_start_boottime: btf.offset_of("task_struct", "start_boottime")?,
        task_signal: btf.offset_of("task_struct", "signal")?,
        task_exit_code: btf.offset_of("task_struct", "exit_code")?,
        task_nsproxy: btf.offset_of("task_struct", "nsproxy")?,
        task_mm: btf.offset_of("task_struct", "mm")?,
        task_thread_status: btf.offset_of("task_struct", THREAD_STATUS)?,
        task_io_uring: btf.offset_of("task_struct", "io_uring").unwrap_or(Offsets::ABSENT),
        files_table: btf.offset_of("files_struct", "fdt")?,
        table_files: btf.offset_of("fdtable", "fd")?,
        table_files_max: btf.offset_of("fdtable", "max_fds")?,
        pid_level: btf.offset_of("pid", "level")?,
        pid_numbers: btf.offset_of("pid", "numbers")?,
        upid_bytes: btf.size_of("upid")?,
        upid_number: btf.offset_of("upid", "nr")?,
        upid_namespace: btf.offset_of("upid", "ns")?,
        pid_namespace_inum: btf.offset_of("pid_namespace", "ns.inum")?,
        nsproxy_net: btf.offset_of("nsproxy", "net_ns")?,
        mm_arguments_start: btf.offset_of("mm_struct", "arg_start")?,
        mm_arguments_end: btf.offset_of("mm_struct", "arg_end")?,
        signal_live: btf.offset_of("signal_struct", "live.counter")?,
        signal_group_exit_code: btf.offset_of("signal_struct", "group_exit_code")?,
    })
}
