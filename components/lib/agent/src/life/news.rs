use std::collections::{BTreeMap, VecDeque};

use super::types::{Collector, ProcessEvent, TableSchema};

/// What happened to processes and was not told yet: some minutes of a build machine. The oldest go first, and are counted.
pub const PROCESS_EVENTS_MAX: usize = 8_192;
/// Bytes of them in one beat, as they are on the wire: a quarter of what a message may have.
const PROCESS_BYTES_PER_BEAT: usize = 256 * 1024;
/// Tables in one beat, as they are on the wire. The metadata service keeps as much: some 30 tables of 20 columns take 100 KiB.
const TABLES_BYTES_MAX: usize = 512 * 1024;
/// Longest command line. Reference: cut at 4096.
const CMDLINE_BYTES_MAX: usize = 4_096;
/// What stands where it was cut. Reference: the same words.
const CUT: &str = "... [TRUNCATED]";
/// What a process costs beside its texts.
const PROCESS_BYTES: usize = 48;

/// What an agent has to tell: the parts that changed are in the next beat.
#[derive(Debug, Default)]
pub struct News {
    tables: Changing<Vec<TableSchema>>,
    collectors: Changing<BTreeMap<String, Collector>>,
    names: Changing<Vec<u8>>,
    processes: VecDeque<ProcessEvent>,
    processes_dropped: u64,
    tables_cut: u64,
}

#[derive(Debug, Default)]
struct Changing<T> {
    value: T,
    untold: bool,
}

impl<T: PartialEq + Clone> Changing<T> {
    fn set(&mut self, value: T) -> bool {
        let changed = self.value != value;
        if changed {
            *self = Self { value, untold: true };
        }
        changed
    }

    fn take(&mut self) -> Option<T> {
        std::mem::take(&mut self.untold).then(|| self.value.clone())
    }
}

/// The changing parts of one beat.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) tables: Option<Vec<TableSchema>>,
    pub(super) collectors: Option<BTreeMap<String, Collector>>,
    pub(super) names: Option<Vec<u8>>,
    pub(super) processes: Vec<ProcessEvent>,
}

impl News {
    /// All tables there are. Whether that changed something.
    pub fn set_tables(&mut self, tables: Vec<TableSchema>) -> bool {
        let count = tables.len();
        let mut bytes = 0;
        let kept: Vec<TableSchema> = tables
            .into_iter()
            .take_while(|table| {
                bytes += table_bytes(table);
                bytes <= TABLES_BYTES_MAX
            })
            .collect();
        self.tables_cut += (count - kept.len()) as u64;
        self.tables.set(kept)
    }

    /// All collectors there are. Whether that changed something.
    pub fn set_collectors(&mut self, collectors: BTreeMap<String, Collector>) -> bool {
        self.collectors.set(collectors)
    }

    /// The filter of names, encoded. Whether that changed something.
    pub fn set_names(&mut self, names: Vec<u8>) -> bool {
        self.names.set(names)
    }

    /// Something happened to a process.
    pub fn push_process(&mut self, mut event: ProcessEvent) {
        if let ProcessEvent::Created { cmdline, .. } = &mut event
            && cmdline.len() > CMDLINE_BYTES_MAX
        {
            cmdline.truncate(cmdline.floor_char_boundary(CMDLINE_BYTES_MAX));
            cmdline.push_str(CUT);
        }
        if self.processes.len() >= PROCESS_EVENTS_MAX {
            self.processes.pop_front();
            self.processes_dropped += 1;
        }
        self.processes.push_back(event);
    }

    /// What happened to processes and was never told, for lack of room.
    pub fn processes_dropped(&self) -> u64 {
        self.processes_dropped
    }

    /// Tables that were never told, for lack of room.
    pub fn tables_cut(&self) -> u64 {
        self.tables_cut
    }

    /// Everything has to be told again: nobody knows anything any more.
    pub(super) fn tell_everything(&mut self) {
        (self.tables.untold, self.collectors.untold) = (true, true);
        self.names.untold = !self.names.value.is_empty();
    }

    /// What was taken for a beat that was never acknowledged.
    pub(super) fn put_back(&mut self, processes: Vec<ProcessEvent>) {
        for event in processes.into_iter().rev() {
            if self.processes.len() >= PROCESS_EVENTS_MAX {
                self.processes_dropped += 1;
            } else {
                self.processes.push_front(event);
            }
        }
    }

    pub(super) fn take(&mut self) -> Parts {
        let mut bytes = 0;
        let fitting = self.processes.iter().take_while(|event| {
            bytes += process_bytes(event);
            bytes <= PROCESS_BYTES_PER_BEAT
        });
        let count = fitting.count();
        Parts {
            tables: self.tables.take(),
            collectors: self.collectors.take(),
            names: self.names.take(),
            processes: self.processes.drain(..count).collect(),
        }
    }
}

fn process_bytes(event: &ProcessEvent) -> usize {
    match event {
        ProcessEvent::Created { cmdline, container, .. } => PROCESS_BYTES + cmdline.len() + container.len(),
        ProcessEvent::Terminated { .. } => PROCESS_BYTES,
    }
}

fn table_bytes(table: &TableSchema) -> usize {
    let columns: usize = table.columns.iter().map(|column| column.name.len() + column.text.len() + 24).sum();
    table.name.len() + table.text.len() + 24 + columns
}

#[cfg(test)]
mod tests {
    use ids::{UnixNs, Upid};

    use super::*;

    fn created(cmdline: &str) -> ProcessEvent {
        ProcessEvent::Created { upid: Upid::NONE, started: UnixNs(1), cmdline: cmdline.to_owned(), container: String::new() }
    }

    #[test]
    fn what_did_not_change_is_not_told_twice() {
        let mut news = News::default();
        news.tell_everything();
        let parts = news.take();
        assert_eq!((parts.tables, parts.collectors, parts.names), (Some(vec![]), Some(BTreeMap::new()), None));
        assert!(!news.set_tables(vec![]));
        assert!(news.set_names(vec![7]));
        let parts = news.take();
        assert_eq!((parts.tables, parts.collectors, parts.names), (None, None, Some(vec![7])));
    }

    #[test]
    fn processes_are_bounded_cut_and_spread_over_beats() {
        let mut news = News::default();
        for _ in 0..PROCESS_EVENTS_MAX + 3 {
            news.push_process(created("x"));
        }
        assert_eq!(news.processes_dropped(), 3);
        let mut news = News::default();
        for _ in 0..100 {
            news.push_process(created(&"é".repeat(4_000)));
        }
        let first = news.take().processes;
        assert!(first.len() > 50 && first.len() < 70, "{}", first.len());
        let ProcessEvent::Created { cmdline, .. } = &first[0] else { panic!("created") };
        assert!(cmdline.ends_with("é... [TRUNCATED]") && cmdline.len() == CMDLINE_BYTES_MAX + CUT.len());
        let count = first.len();
        news.put_back(first);
        assert_eq!(news.take().processes.len(), count, "what was put back comes first");
        assert_eq!(news.take().processes.len(), 100 - count);
    }
}
