//! Tables that are made when they are read.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{AsArray, BooleanArray, RecordBatch};
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::datatypes::{SchemaRef, TimestampNanosecondType};
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Result, exec_datafusion_err, exec_err};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use ids::{Asid, UnixNs};
use table_store::TimeRange;

use crate::EventsLost;
use crate::distributed::NamesFilter;

/// What an agent tells of itself: tables whose rows are made when a query reads them.
pub trait AgentTables: fmt::Debug + Send + Sync + 'static {
    /// The rows of that table now, with at least its columns, in any order; none if it is not one of these tables. May take some
    /// milliseconds, and read files of `/proc`.
    ///
    /// # Errors
    /// Why they cannot be told, for people.
    fn rows(&self, table: &str) -> Option<Result<RecordBatch, String>>;
}

/// Which names an agent's functions can give to its own rows.
pub trait OwnNames: fmt::Debug + Send + Sync + 'static {
    /// All that there are now: of its pods, of their services and containers, with and without their namespaces, and their ids. None if they
    /// are not all known yet.
    fn filter(&self) -> Option<NamesFilter>;
}

/// What an agent has besides its tables. By default it has no number yet, makes no tables, knows any name and loses nothing.
#[derive(Debug, Clone, Default)]
pub struct AgentFacts {
    /// Its short number.
    pub asid: Asid,
    /// Tables that it makes; the first that knows a name answers.
    pub tables: Vec<Arc<dyn AgentTables>>,
    /// Where lost events are counted.
    pub events_lost: EventsLost,
    /// By which it can be left out of a query. None: it is not.
    pub names: Option<Arc<dyn OwnNames>>,
}

/// All tables that are made on one agent.
#[derive(Debug, Clone, Default)]
pub(crate) struct MadeTables(pub(crate) Vec<Arc<dyn AgentTables>>);

impl MadeTables {
    /// None if nobody here makes such a table.
    pub(crate) fn rows(&self, table: &str) -> Result<Option<RecordBatch>> {
        let rows = self.0.iter().find_map(|tables| tables.rows(table));
        rows.transpose().map_err(|why| exec_datafusion_err!("{table}: {why}"))
    }
}

/// A scan of rows that were made: those of the given times, with the columns of `schema` that `projection` names.
pub(crate) fn scan(
    table: &str,
    rows: &RecordBatch,
    schema: &SchemaRef,
    projection: Option<&[usize]>,
    times: TimeRange,
) -> Result<Arc<dyn ExecutionPlan>> {
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        match rows.column_by_name(field.name()) {
            Some(column) if column.data_type() == field.data_type() => columns.push(Arc::clone(column)),
            Some(_) | None => return exec_err!("this agent's {table} has no such column {}", field.name()),
        }
    }
    let mut rows = RecordBatch::try_new(Arc::clone(schema), columns)?;
    let time = rows.column_by_name("time_").and_then(|time| time.as_primitive_opt::<TimestampNanosecondType>());
    if let Some(time) = time.filter(|_| times != TimeRange::ALL) {
        let within: BooleanArray = time.values().iter().map(|time| Some(times.contains(UnixNs(*time)))).collect();
        rows = filter_record_batch(&rows, &within)?;
    }
    Ok(MemorySourceConfig::try_new_exec(&[vec![rows]], Arc::clone(schema), projection.map(<[usize]>::to_vec))?)
}

/// Such a table as DataFusion sees it, where there is one agent.
#[derive(Debug)]
pub(crate) struct MadeTable {
    pub(crate) name: String,
    pub(crate) schema: SchemaRef,
    pub(crate) tables: MadeTables,
}

#[async_trait]
impl TableProvider for MadeTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(&self, _: &dyn Session, projection: Option<&Vec<usize>>, _: &[Expr], _: Option<usize>) -> Result<Arc<dyn ExecutionPlan>> {
        let projection = projection.map(Vec::as_slice);
        match self.tables.rows(&self.name)? {
            Some(rows) => scan(&self.name, &rows, &self.schema, projection, TimeRange::ALL),
            None => Ok(Arc::new(EmptyExec::new(
                projection.map_or_else(|| Ok(self.schema()), |columns| self.schema.project(columns).map(Arc::new))?,
            ))),
        }
    }
}
