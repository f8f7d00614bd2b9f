//! Table functions: `px.GetAgentStatus(include_kelvin=True)` and its like, which have rows of their own.

use std::borrow::Cow;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::logical_expr::TableSource;
use tables::{ColumnDef, DataType, Relation, SemanticType};

/// Begins the name under which agents are asked for the rows of a table function. No table has such a name.
pub const FUNCTION_TABLE_PREFIX: &str = "px.";

/// Whose rows a table function has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnsweredBy {
    /// The query broker's, of what it knows of the cluster: the same whichever agents there are.
    Broker,
    /// Those of every agent, Kelvins included.
    AllAgents,
    /// Those of every agent that collects data.
    AllPems,
}

/// A value for an argument of a table function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Argument {
    /// A BOOLEAN.
    Boolean(bool),
    /// An INT64.
    Int64(i64),
    /// A STRING.
    String(Cow<'static, str>),
}

impl Argument {
    /// Its type.
    pub fn data_type(&self) -> DataType {
        match self {
            Argument::Boolean(_) => DataType::Boolean,
            Argument::Int64(_) => DataType::Int64,
            Argument::String(_) => DataType::String,
        }
    }
}

/// A parameter of a table function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableFunctionArg {
    /// As calls name it.
    pub name: &'static str,
    /// Its type.
    pub data_type: DataType,
    /// What it is where a call does not say; without, every call must.
    pub default: Option<Argument>,
}

/// A column of a table function's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableFunctionColumn {
    /// Its name.
    pub name: &'static str,
    /// What its values are made of.
    pub data_type: DataType,
    /// What they mean.
    pub semantic_type: SemanticType,
}

/// A function whose value is a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableFunction {
    /// As scripts name it, without `px.`.
    pub name: &'static str,
    /// Its parameters, in order.
    pub args: &'static [TableFunctionArg],
    /// Its columns, in order. Where agents answer, the first is `asid`.
    pub columns: &'static [TableFunctionColumn],
    /// Whose rows.
    pub answered_by: AnsweredBy,
    /// What it tells, in one line.
    pub about: &'static str,
}

impl TableFunction {
    /// Its columns.
    pub fn relation(&self) -> Relation {
        let column =
            |c: &TableFunctionColumn| ColumnDef { name: c.name.to_owned(), data_type: c.data_type, semantic_type: c.semantic_type };
        Relation { columns: self.columns.iter().map(column).collect() }
    }

    /// The name of the table that an agent is asked for: `px._DebugTableInfo`.
    pub fn table_name(&self) -> String {
        format!("{FUNCTION_TABLE_PREFIX}{}", self.name)
    }
}

/// The rows of one call of a table function.
#[derive(Clone)]
pub enum FunctionRows {
    /// These, with exactly the columns of the function. They travel in the plan.
    Literal(RecordBatch),
    /// What a scan of this finds when the plan runs. Its Arrow schema is that of [`TableFunction::relation`]; the scan is named
    /// [`TableFunction::table_name`]. An argument `asid` that is not negative becomes a filter.
    Scan(Arc<dyn TableSource>),
}

/// Why there are no rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoRows {
    /// Nobody here answers this function.
    NotHere,
    /// Who would answer cannot, for this reason.
    Failed(String),
}
