//! Table functions: which there are. Their rows come from the broker or from the agents. Reference: vizier.md §5.6, udfs.tsv.

use std::borrow::Cow;

use pxl::AnsweredBy::{AllAgents, AllPems, Broker};
use pxl::{Argument, FunctionRegistry, TableFunction, TableFunctionArg, TableFunctionColumn};
use tables::DataType::{self, Boolean, Float64, Int64, String, Time64Ns, Uint128};
use tables::SemanticType as St;

const fn column(name: &'static str, data_type: DataType) -> TableFunctionColumn {
    TableFunctionColumn { name, data_type, semantic_type: St::None }
}

const fn meaning(name: &'static str, data_type: DataType, semantic_type: St) -> TableFunctionColumn {
    TableFunctionColumn { name, data_type, semantic_type }
}

const fn bytes(name: &'static str) -> TableFunctionColumn {
    meaning(name, Int64, St::Bytes)
}

const ASID: TableFunctionColumn = meaning("asid", Int64, St::Asid);

const INCLUDE_KELVIN: TableFunctionArg =
    TableFunctionArg { name: "include_kelvin", data_type: Boolean, default: Some(Argument::Boolean(true)) };
/// Only of this agent; -1 is all of them.
const OF_ASID: TableFunctionArg = TableFunctionArg { name: "asid", data_type: Int64, default: Some(Argument::Int64(-1)) };
const PREFIX: TableFunctionArg = TableFunctionArg { name: "prefix", data_type: String, default: None };
const PROTO: TableFunctionArg = TableFunctionArg { name: "proto", data_type: String, default: Some(Argument::String(Cow::Borrowed(""))) };

/// Every table function, by who answers and by name.
pub const TABLE_FUNCTIONS: &[TableFunction] = &[
    TableFunction {
        name: "GetTables",
        args: &[],
        columns: &[column("table_name", String), column("table_desc", String)],
        answered_by: Broker,
        about: "the tables that there are",
    },
    TableFunction {
        name: "GetSchemas",
        args: &[],
        columns: &[
            column("table_name", String),
            column("column_name", String),
            column("column_type", String),
            column("pattern_type", String),
            column("column_desc", String),
        ],
        answered_by: Broker,
        about: "the columns of every table",
    },
    TableFunction {
        name: "GetAgentStatus",
        args: &[INCLUDE_KELVIN],
        columns: &[
            meaning("agent_id", Uint128, St::AgentUid),
            ASID,
            column("hostname", String),
            meaning("ip_address", String, St::IpAddress),
            column("agent_state", String),
            column("create_time", Time64Ns),
            meaning("last_heartbeat_ns", Int64, St::DurationNs),
            column("kernel_headers_installed", Boolean),
        ],
        answered_by: Broker,
        about: "the agents and how they are",
    },
    TableFunction {
        name: "GetProfilerSamplingPeriodMS",
        args: &[],
        columns: &[ASID, column("profiler_sampling_period_ms", Int64)],
        answered_by: Broker,
        about: "how often each agent takes stack traces",
    },
    TableFunction {
        name: "GetLinuxHeadersStatus",
        args: &[INCLUDE_KELVIN],
        columns: &[ASID, column("kernel_headers_installed", Boolean)],
        answered_by: Broker,
        about: "which nodes have the headers of their kernel",
    },
    TableFunction {
        name: "GetUDFList",
        args: &[],
        columns: &[column("name", String), column("return_type", String), column("args", String)],
        answered_by: Broker,
        about: "the scalar functions",
    },
    TableFunction {
        name: "GetUDAList",
        args: &[],
        columns: &[column("name", String), column("return_type", String), column("args", String)],
        answered_by: Broker,
        about: "the aggregate functions",
    },
    TableFunction {
        name: "GetUDTFList",
        args: &[],
        columns: &[column("name", String), column("executor", String), column("init_args", String), column("output_relation", String)],
        answered_by: Broker,
        about: "the table functions",
    },
    TableFunction {
        name: "GetTracepointStatus",
        args: &[],
        columns: &[
            column("tracepoint_id", Uint128),
            column("name", String),
            column("state", String),
            column("status", String),
            column("output_tables", String),
        ],
        answered_by: Broker,
        about: "the tracepoints, how they are, and the tables they fill",
    },
    TableFunction {
        name: "GetCronScriptHistory",
        args: &[],
        columns: &[
            column("script_id", String),
            column("timestamp", Time64Ns),
            column("error_message", String),
            meaning("execution_time_ns", Int64, St::DurationNs),
            meaning("compilation_time_ns", Int64, St::DurationNs),
            bytes("bytes_processed"),
            column("records_processed", Int64),
        ],
        answered_by: Broker,
        about: "runs of the scripts that run by themselves",
    },
    TableFunction {
        name: "Version",
        args: &[],
        columns: &[ASID, column("version", String)],
        answered_by: Broker,
        about: "the version of what merges the answers",
    },
    TableFunction {
        name: "_DebugMDGetWithPrefix",
        args: &[PREFIX, PROTO],
        columns: &[column("key", String), column("value", String)],
        answered_by: Broker,
        about: "what the metadata service keeps",
    },
    TableFunction {
        name: "_DebugMDState",
        args: &[],
        columns: &[ASID, meaning("pod_name", String, St::PodName), column("debug_state", String)],
        answered_by: AllAgents,
        about: "what each agent knows of the cluster",
    },
    TableFunction {
        name: "_DebugTableInfo",
        args: &[],
        columns: &[
            ASID,
            column("name", String),
            column("id", Int64),
            column("batches_added", Int64),
            column("batches_expired", Int64),
            bytes("bytes_added"),
            column("num_batches", Int64),
            column("compacted_batches", Int64),
            bytes("size"),
            bytes("cold_size"),
            bytes("max_table_size"),
            column("min_time", Time64Ns),
        ],
        answered_by: AllAgents,
        about: "the tables of each agent, their size and age",
    },
    TableFunction {
        name: "_DebugStackTrace",
        args: &[],
        columns: &[ASID, column("stack_trace", String)],
        answered_by: AllAgents,
        about: "where each agent's threads are",
    },
    TableFunction {
        name: "_HeapStats",
        args: &[OF_ASID],
        columns: &[ASID, column("heap", String)],
        answered_by: AllAgents,
        about: "memory of each agent, as its allocator tells it",
    },
    TableFunction {
        name: "_HeapSample",
        args: &[OF_ASID],
        columns: &[ASID, column("heap", String)],
        answered_by: AllAgents,
        about: "a sample of what takes memory",
    },
    TableFunction {
        name: "_HeapGrowthStacks",
        args: &[OF_ASID],
        columns: &[ASID, column("heap", String)],
        answered_by: AllAgents,
        about: "where memory grew",
    },
    TableFunction {
        name: "_HeapRanges",
        args: &[OF_ASID],
        columns: &[
            ASID,
            column("address", Int64),
            column("type", String),
            bytes("length"),
            meaning("inuse_fraction", Float64, St::Percent),
        ],
        answered_by: AllAgents,
        about: "ranges of the heap",
    },
    TableFunction {
        name: "_HeapStatsNumeric",
        args: &[OF_ASID],
        columns: &[
            ASID,
            bytes("current_allocated_bytes"),
            bytes("heap_size_bytes"),
            bytes("central_cache_free_bytes"),
            bytes("transfer_cache_free_bytes"),
            bytes("thread_cache_free_bytes"),
            bytes("pageheap_free_bytes"),
            bytes("pageheap_unmapped_bytes"),
        ],
        answered_by: AllAgents,
        about: "memory of each agent in numbers",
    },
    TableFunction {
        name: "_HeapReleaseFreeMemory",
        args: &[OF_ASID],
        columns: &[ASID],
        answered_by: AllAgents,
        about: "makes agents give free memory back",
    },
    TableFunction {
        name: "_DebugAgentProcStatus",
        args: &[],
        columns: &[
            ASID,
            bytes("vm_peak_bytes"),
            bytes("vm_size_bytes"),
            bytes("vm_lck_bytes"),
            bytes("vm_pin_bytes"),
            bytes("vm_hwm_bytes"),
            bytes("vm_rss_bytes"),
            bytes("rss_anon_bytes"),
            bytes("rss_file_bytes"),
            bytes("rss_shmem_bytes"),
            bytes("vm_data_bytes"),
            bytes("vm_stk_bytes"),
            bytes("vm_exe_bytes"),
            bytes("vm_lib_bytes"),
            bytes("vm_pte_bytes"),
            bytes("vm_swap_bytes"),
            bytes("hugetlb_pages_bytes"),
            column("voluntary_ctxt_switches", Int64),
            column("nonvoluntary_ctxt_switches", Int64),
        ],
        answered_by: AllPems,
        about: "/proc/self/status of each agent",
    },
    TableFunction {
        name: "_DebugAgentProcSMaps",
        args: &[],
        columns: &[
            ASID,
            column("address", String),
            column("offset", String),
            column("pathname", String),
            bytes("size_bytes"),
            bytes("kernel_page_size_bytes"),
            bytes("mmu_page_size_bytes"),
            bytes("rss_bytes"),
            bytes("pss_bytes"),
            bytes("shared_clean_bytes"),
            bytes("shared_dirty_bytes"),
            bytes("private_clean_bytes"),
            bytes("private_dirty_bytes"),
            bytes("referenced_bytes"),
            bytes("anonymous_bytes"),
            bytes("lazy_free_bytes"),
            bytes("anon_huge_pages_bytes"),
            bytes("shmem_pmd_mapped_bytes"),
            bytes("file_pmd_mapped_bytes"),
            bytes("shared_hugetlb_bytes"),
            bytes("private_hugetlb_bytes"),
            bytes("swap_bytes"),
            bytes("swap_pss_bytes"),
            bytes("locked_bytes"),
        ],
        answered_by: AllPems,
        about: "/proc/self/smaps of each agent",
    },
];

pub(crate) fn add(registry: &mut FunctionRegistry) {
    for function in TABLE_FUNCTIONS {
        registry.add_table_function(function);
    }
}
