use std::collections::VecDeque;
use std::time::Duration;

use api::vizierpb::error_details::Error as Detail;
use api::vizierpb::execute_script_response::Result as Body;
use api::vizierpb::{ExecuteScriptResponse, QueryExecutionStats, QueryMetadata, RowBatchData, Status as WireStatus};
use arrow::record_batch::RecordBatch;
use tables::Relation;
use tonic::{Code, Streaming};

use crate::{Error, Problem, decode};

/// A table of the results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// As the script displays it.
    pub name: String,
    /// Its columns.
    pub relation: Relation,
}

/// What a query took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// To compile.
    pub compile_time: Duration,
    /// To run.
    pub execution_time: Duration,
    /// Bytes read from tables.
    pub bytes: u64,
    /// Rows read from tables.
    pub records: u64,
}

/// Something that a running query says.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// There is a table; its index is how many there were before.
    Table(Table),
    /// Rows of the table with that index, in the schema of its relation.
    Rows {
        /// Which table.
        table: usize,
        /// Its rows.
        batch: RecordBatch,
    },
    /// The table with that index is complete.
    End {
        /// Which table.
        table: usize,
    },
    /// The query is complete.
    Cost(Cost),
}

struct Known {
    id: String,
    relation: Relation,
    ended: bool,
}

/// The results of a query as they arrive.
pub struct Results {
    messages: Streaming<ExecuteScriptResponse>,
    tables: Vec<Known>,
    ready: VecDeque<Event>,
}

impl Results {
    pub(crate) fn new(messages: Streaming<ExecuteScriptResponse>) -> Results {
        Results { messages, tables: Vec::new(), ready: VecDeque::new() }
    }

    /// What comes next; None when the query is complete.
    ///
    /// # Errors
    /// The script is wrong, the query failed, or the connection did. There is nothing more after an error.
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            let Some(message) = self.messages.message().await.map_err(Error::of_answer)? else {
                return match self.tables.iter().position(|table| !table.ended) {
                    None => Ok(None),
                    Some(index) => Err(Error::Protocol(format!("the answer ended before table {index} did"))),
                };
            };
            self.take(message)?;
        }
    }

    fn take(&mut self, message: ExecuteScriptResponse) -> Result<(), Error> {
        // What becomes of the script's changes comes first.
        if let Some(status) = message.mutation_info.and_then(|info| info.status).filter(|status| status.code != 0) {
            let pending = Code::from(status.code) == Code::Unavailable;
            return Err(if pending { Error::Pending { message: status.message } } else { failure(status) });
        }
        if let Some(status) = message.status.filter(|status| status.code != 0) {
            return Err(failure(status));
        }
        match message.result {
            Some(Body::MetaData(table)) => self.table(table),
            Some(Body::Data(data)) => {
                if !data.encrypted_batch.is_empty() {
                    return Err(Error::Protocol("encrypted rows, which were not asked for".to_owned()));
                }
                if let Some(batch) = data.batch {
                    self.rows(&batch)?;
                }
                if let Some(stats) = data.execution_stats {
                    self.ready.push_back(Event::Cost(cost(stats)));
                }
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn table(&mut self, table: QueryMetadata) -> Result<(), Error> {
        let relation = decode::relation(table.relation.unwrap_or_default()).map_err(Error::Protocol)?;
        self.tables.push(Known { id: table.id, relation: relation.clone(), ended: false });
        self.ready.push_back(Event::Table(Table { name: table.name, relation }));
        Ok(())
    }

    fn rows(&mut self, batch: &RowBatchData) -> Result<(), Error> {
        let index = self.tables.iter().position(|table| table.id == batch.table_id);
        let index = index.ok_or_else(|| Error::Protocol(format!("rows of table `{}`, which was not announced", batch.table_id)))?;
        let table = &mut self.tables[index];
        if table.ended {
            return Err(Error::Protocol(format!("rows of table {index} after its end")));
        }
        if batch.num_rows > 0 {
            let rows = decode::rows(&table.relation, batch).map_err(Error::Protocol)?;
            self.ready.push_back(Event::Rows { table: index, batch: rows });
        }
        if batch.eos {
            table.ended = true;
            self.ready.push_back(Event::End { table: index });
        }
        Ok(())
    }
}

fn failure(status: WireStatus) -> Error {
    let problems: Vec<Problem> = status
        .error_details
        .into_iter()
        .filter_map(|details| details.error)
        .map(|Detail::CompilerError(e)| Problem { line: e.line, column: e.column, message: e.message })
        .collect();
    if problems.is_empty() { Error::Failed { code: Code::from(status.code), message: status.message } } else { Error::Script(problems) }
}

fn cost(stats: QueryExecutionStats) -> Cost {
    let time = |ns: i64| Duration::from_nanos(u64::try_from(ns).unwrap_or(0));
    let count = |n: i64| u64::try_from(n).unwrap_or(0);
    let timing = stats.timing.unwrap_or_default();
    Cost {
        compile_time: time(timing.compilation_time_ns),
        execution_time: time(timing.execution_time_ns),
        bytes: count(stats.bytes_processed),
        records: count(stats.records_processed),
    }
}
