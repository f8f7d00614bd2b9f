//! What an agent's process tells of itself: its memory, as the kernel and the C library see it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::error::ArrowError;
use engine::AgentTables;
use ids::Asid;

use crate::own_threads::stacks;

/// Mappings of one process that are told; a process has some hundred.
const MAPPINGS_MAX: usize = 10_000;

/// Columns of `_DebugAgentProcStatus` and the lines of `/proc/self/status` that they come from. Reference: udfs.tsv.
const STATUS: [(&str, &str); 18] = [
    ("vm_peak_bytes", "VmPeak"),
    ("vm_size_bytes", "VmSize"),
    ("vm_lck_bytes", "VmLck"),
    ("vm_pin_bytes", "VmPin"),
    ("vm_hwm_bytes", "VmHWM"),
    ("vm_rss_bytes", "VmRSS"),
    ("rss_anon_bytes", "RssAnon"),
    ("rss_file_bytes", "RssFile"),
    ("rss_shmem_bytes", "RssShmem"),
    ("vm_data_bytes", "VmData"),
    ("vm_stk_bytes", "VmStk"),
    ("vm_exe_bytes", "VmExe"),
    ("vm_lib_bytes", "VmLib"),
    ("vm_pte_bytes", "VmPTE"),
    ("vm_swap_bytes", "VmSwap"),
    ("hugetlb_pages_bytes", "HugetlbPages"),
    ("voluntary_ctxt_switches", "voluntary_ctxt_switches"),
    ("nonvoluntary_ctxt_switches", "nonvoluntary_ctxt_switches"),
];

/// As [`STATUS`], of `_DebugAgentProcSMaps` and each mapping in `/proc/self/smaps`.
const SMAPS: [(&str, &str); 20] = [
    ("size_bytes", "Size"),
    ("kernel_page_size_bytes", "KernelPageSize"),
    ("mmu_page_size_bytes", "MMUPageSize"),
    ("rss_bytes", "Rss"),
    ("pss_bytes", "Pss"),
    ("shared_clean_bytes", "Shared_Clean"),
    ("shared_dirty_bytes", "Shared_Dirty"),
    ("private_clean_bytes", "Private_Clean"),
    ("private_dirty_bytes", "Private_Dirty"),
    ("referenced_bytes", "Referenced"),
    ("anonymous_bytes", "Anonymous"),
    ("lazy_free_bytes", "LazyFree"),
    ("anon_huge_pages_bytes", "AnonHugePages"),
    ("shmem_pmd_mapped_bytes", "ShmemPmdMapped"),
    ("file_pmd_mapped_bytes", "FilePmdMapped"),
    ("shared_hugetlb_bytes", "Shared_Hugetlb"),
    ("private_hugetlb_bytes", "Private_Hugetlb"),
    ("swap_bytes", "Swap"),
    ("swap_pss_bytes", "SwapPss"),
    ("locked_bytes", "Locked"),
];

/// Why there are no stacks of who asked for memory.
const NO_SAMPLES: &str = "the agents use the C library's allocator, which does not note who asks for memory: px._HeapStats, px._HeapRanges and \
                          px._DebugAgentProcSMaps tell how much there is";

/// Answers the functions that tell of an agent's process: `px._DebugAgentProcStatus` and `px._DebugAgentProcSMaps` of one that captures,
/// `px._DebugStackTrace` and those of the heap of any.
#[derive(Debug, Clone, Copy)]
pub struct ProcessTables {
    /// The agent's.
    pub asid: Asid,
    /// Whether it captures.
    pub collects_data: bool,
}

impl AgentTables for ProcessTables {
    fn rows(&self, table: &str) -> Option<Result<RecordBatch, String>> {
        let read = |path: &str| std::fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"));
        let asid = i64::from(self.asid.0);
        let rows = match table {
            "px._DebugAgentProcStatus" if self.collects_data => read("/proc/self/status").map(|text| status(asid, &text)),
            "px._DebugAgentProcSMaps" if self.collects_data => read("/proc/self/smaps").map(|text| mappings(asid, &text)),
            "px._DebugStackTrace" => stacks().map(|stacks| texts(asid, "stack_trace", &stacks)),
            "px._HeapStats" => service::heap_text().map(|text| texts(asid, "heap", &[text])),
            "px._HeapRanges" => read("/proc/self/smaps").map(|text| ranges(asid, &text)),
            "px._HeapSample" | "px._HeapGrowthStacks" => Err(NO_SAMPLES.to_owned()),
            "px._HeapStatsNumeric" => Ok(heap(asid, service::heap())),
            "px._HeapReleaseFreeMemory" => {
                service::give_back();
                Ok(RecordBatch::try_from_iter([("asid", numbers([asid]))]))
            }
            _ => return None,
        };
        Some(rows.and_then(|rows| rows.map_err(|error| error.to_string())))
    }
}

fn numbers(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

/// A line `Name:   12 kB`: sizes in bytes, other numbers as they are.
fn value(line: &str) -> Option<(&str, i64)> {
    let (name, value) = line.split_once(':')?;
    let mut words = value.split_ascii_whitespace();
    let number: i64 = words.next()?.parse().ok()?;
    Some((name, if words.next() == Some("kB") { number.saturating_mul(1024) } else { number }))
}

fn status(asid: i64, text: &str) -> Result<RecordBatch, ArrowError> {
    let values: BTreeMap<&str, i64> = text.lines().filter_map(value).collect();
    let columns = STATUS.iter().map(|(column, name)| (*column, numbers([values.get(name).copied().unwrap_or_default()])));
    RecordBatch::try_from_iter([("asid", numbers([asid]))].into_iter().chain(columns))
}

/// One entry of `/proc/self/smaps`.
#[derive(Debug, Default)]
struct Mapping<'a> {
    address: &'a str,
    rights: &'a str,
    offset: &'a str,
    path: &'a str,
    values: BTreeMap<&'a str, i64>,
}

/// `55d0c0a00000-55d0c0a21000 r--p 00000000 08:01 131 /usr/bin/cat`; none if the line is another one.
fn mapping(line: &str) -> Option<Mapping<'_>> {
    let mut words = line.splitn(6, ' ');
    let address = words.next().filter(|word| word.contains('-') && !word.contains(':'))?;
    let (rights, offset, _device, _inode) = (words.next()?, words.next()?, words.next()?, words.next()?);
    Some(Mapping { address, rights, offset, path: words.next().unwrap_or_default().trim_start(), values: BTreeMap::new() })
}

/// A row for each text.
fn texts(asid: i64, column: &str, texts: &[String]) -> Result<RecordBatch, ArrowError> {
    let told: ArrayRef = Arc::new(StringArray::from_iter_values(texts));
    RecordBatch::try_from_iter([("asid", numbers(texts.iter().map(|_| asid))), (column, told)])
}

/// Where the allocator's memory lies: the heap that grows, and what has no file and can be written. In use is what has pages.
fn ranges(asid: i64, text: &str) -> Result<RecordBatch, ArrowError> {
    let kind = |mapping: &Mapping<'_>| match mapping.path {
        "[heap]" => Some("heap"),
        "" if mapping.rights.starts_with("rw") => Some("anonymous"),
        _ => None,
    };
    let all = parsed(text);
    let ranges: Vec<_> = all.iter().filter_map(|mapping| Some((kind(mapping)?, mapping))).collect();
    let address = |mapping: &Mapping<'_>| mapping.address.split('-').next().and_then(|from| u64::from_str_radix(from, 16).ok());
    let value = |mapping: &Mapping<'_>, name: &str| mapping.values.get(name).copied().unwrap_or_default();
    let in_use = |mapping: &Mapping<'_>| value(mapping, "Rss") as f64 / value(mapping, "Size").max(1) as f64;
    let kinds: ArrayRef = Arc::new(StringArray::from_iter_values(ranges.iter().map(|(kind, _)| kind)));
    let fractions: ArrayRef = Arc::new(Float64Array::from_iter_values(ranges.iter().map(|(_, mapping)| in_use(mapping))));
    RecordBatch::try_from_iter([
        ("asid", numbers(ranges.iter().map(|_| asid))),
        ("address", numbers(ranges.iter().map(|(_, mapping)| address(mapping).unwrap_or_default() as i64))),
        ("type", kinds),
        ("length", numbers(ranges.iter().map(|(_, mapping)| value(mapping, "Size")))),
        ("inuse_fraction", fractions),
    ])
}

fn parsed(text: &str) -> Vec<Mapping<'_>> {
    let mut mappings: Vec<Mapping<'_>> = Vec::new();
    for line in text.lines() {
        if let Some(next) = mapping(line) {
            if mappings.len() == MAPPINGS_MAX {
                break;
            }
            mappings.push(next);
        } else if let (Some(last), Some((name, value))) = (mappings.last_mut(), value(line)) {
            last.values.insert(name, value);
        }
    }
    mappings
}

fn mappings(asid: i64, text: &str) -> Result<RecordBatch, ArrowError> {
    let mappings = parsed(text);
    let texts =
        |text: for<'a> fn(&'a Mapping<'_>) -> &'a str| Arc::new(StringArray::from_iter_values(mappings.iter().map(text))) as ArrayRef;
    let heads = [
        ("asid", numbers(mappings.iter().map(|_| asid))),
        ("address", texts(|mapping| mapping.address)),
        ("offset", texts(|mapping| mapping.offset)),
        ("pathname", texts(|mapping| mapping.path)),
    ];
    let columns = SMAPS.iter().map(|(column, name)| {
        let values = mappings.iter().map(|mapping| mapping.values.get(name).copied().unwrap_or_default());
        (*column, numbers(values))
    });
    RecordBatch::try_from_iter(heads.into_iter().chain(columns))
}

/// The columns are those of the reference's allocator: ours has one cache of small blocks, and gives pages back without keeping count.
fn heap(asid: i64, heap: service::Heap) -> Result<RecordBatch, ArrowError> {
    let number = |bytes: u64| numbers([i64::try_from(bytes).unwrap_or(i64::MAX)]);
    RecordBatch::try_from_iter([
        ("asid", numbers([asid])),
        ("current_allocated_bytes", number(heap.allocated_bytes)),
        ("heap_size_bytes", number(heap.held_bytes)),
        ("central_cache_free_bytes", number(0)),
        ("transfer_cache_free_bytes", number(0)),
        ("thread_cache_free_bytes", number(heap.cached_bytes)),
        ("pageheap_free_bytes", number(heap.free_bytes)),
        ("pageheap_unmapped_bytes", number(0)),
    ])
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::{Float64Type, Int64Type};

    use super::*;
    use crate::names::{NamesHandle, StateTable};

    fn number(rows: &RecordBatch, column: &str, row: usize) -> i64 {
        rows.column_by_name(column).unwrap().as_primitive::<Int64Type>().value(row)
    }

    #[test]
    fn sizes_are_in_bytes_and_counts_are_counts() {
        let text = "Name:\tpem\nVmPeak:\t  250 kB\nVmRSS:\t 18000 kB\nThreads:\t7\nvoluntary_ctxt_switches:\t150\n";
        let rows = status(9, text).unwrap();
        let told = ["asid", "vm_peak_bytes", "vm_rss_bytes", "vm_swap_bytes", "voluntary_ctxt_switches"].map(|name| number(&rows, name, 0));
        assert_eq!(told, [9, 250 * 1024, 18000 * 1024, 0, 150]);
    }

    #[test]
    fn each_mapping_is_a_row() {
        let text = "55d0c0a00000-55d0c0a21000 r--p 00002000 08:01 131                        /usr/bin/my cat\nSize:                132 kB\n\
                    KernelPageSize:        4 kB\nVmFlags: rd mr mw me sd\n7ffd0000-7ffd1000 rw-p 00000000 00:00 0 \nRss:  8 kB\n";
        let rows = mappings(9, text).unwrap();
        assert_eq!(rows.num_rows(), 2);
        let path: Vec<_> = rows.column_by_name("pathname").unwrap().as_string::<i32>().iter().flatten().collect();
        assert_eq!(path, ["/usr/bin/my cat", ""]);
        assert_eq!((number(&rows, "size_bytes", 0), number(&rows, "rss_bytes", 0), number(&rows, "rss_bytes", 1)), (132 * 1024, 0, 8192));
    }

    #[test]
    fn ranges_are_those_of_the_allocator() {
        let text = "55d0c0a00000-55d0c0a21000 r--p 00002000 08:01 131    /usr/bin/cat\nSize:  132 kB\nRss:  132 kB\n\
                    55d0c1000000-55d0c1021000 rw-p 00000000 00:00 0    [heap]\nSize:  100 kB\nRss:  25 kB\n\
                    7f0000000000-7f0000001000 rw-p 00000000 00:00 0 \nSize:  4 kB\nRss:  4 kB\n\
                    7f0000002000-7f0000003000 ---p 00000000 00:00 0 \nSize:  4 kB\nRss:  0 kB\n";
        let rows = ranges(9, text).unwrap();
        let kinds: Vec<_> = rows.column_by_name("type").unwrap().as_string::<i32>().iter().flatten().collect();
        assert_eq!(kinds, ["heap", "anonymous"]);
        assert_eq!((number(&rows, "address", 0), number(&rows, "length", 0)), (0x55d0_c100_0000, 100 * 1024));
        let in_use = rows.column_by_name("inuse_fraction").unwrap().as_primitive::<Float64Type>();
        assert!((in_use.value(0) - 0.25).abs() < 1e-9 && (in_use.value(1) - 1.0).abs() < 1e-9, "{in_use:?}");
    }

    #[test]
    fn each_table_has_the_columns_that_scripts_are_told_of() {
        let functions = funcs::registry(&funcs::Environment::default());
        let state = StateTable { asid: Asid(3), pod_name: "pl/pem".to_owned(), names: NamesHandle::default() };
        let process = ProcessTables { asid: Asid(3), collects_data: true };
        for name in [
            "_DebugAgentProcStatus",
            "_DebugAgentProcSMaps",
            "_DebugMDState",
            "_DebugStackTrace",
            "_HeapStats",
            "_HeapRanges",
            "_HeapStatsNumeric",
            "_HeapReleaseFreeMemory",
        ] {
            let function = functions.table_function(name).unwrap();
            let table = function.table_name();
            let rows = process.rows(&table).or_else(|| state.rows(&table)).unwrap().unwrap();
            assert!(rows.num_rows() > 0);
            for column in function.columns {
                let told = rows.column_by_name(column.name).unwrap_or_else(|| panic!("{name} has no {}", column.name));
                assert_eq!(*told.data_type(), column.data_type.to_arrow(), "{name}.{}", column.name);
            }
        }
        assert!(process.rows("http_events").is_none());
        let why = process.rows("px._HeapSample").unwrap().unwrap_err();
        assert!(why.starts_with("the agents use the C library's allocator, which does not note who asks for memory"), "{why}");
        // What only those tell that capture.
        assert!(ProcessTables { collects_data: false, ..process }.rows("px._DebugAgentProcStatus").is_none());
    }
}
