//! Calls of a probed function as rows of its table.

use std::sync::Arc;

use agent::tracepoints::{Code, Failure, Probe};
use arrow::array::{ArrayRef, FixedSizeBinaryBuilder, Int64Builder, RecordBatch, TimestampNanosecondBuilder};
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use collectors::ProbeEvent;
use ids::UnixNs;
use tables::{ColumnDef, DataType, Relation, SemanticType, UINT128_BYTES};

/// Arguments that a probe reads: those in registers.
const ARGUMENTS: usize = 6;

/// Where the value of a column is in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    Argument(usize),
    Result,
    Latency,
}

/// The rows of one tracepoint.
pub(crate) struct Calls {
    relation: Relation,
    values: Vec<Value>,
    times: TimestampNanosecondBuilder,
    upids: FixedSizeBinaryBuilder,
    columns: Vec<Int64Builder>,
    count: usize,
}

impl Calls {
    /// `time_`, `upid`, then the columns of the script, in its order.
    pub(crate) fn new(probe: &Probe) -> Result<Calls, Failure> {
        let column = |name: &str, data_type, semantic_type| ColumnDef { name: name.to_owned(), data_type, semantic_type };
        let mut columns =
            vec![column("time_", DataType::Time64Ns, SemanticType::TimeNs), column("upid", DataType::Uint128, SemanticType::Upid)];
        let mut values = Vec::new();
        for (name, variable) in &probe.columns {
            let value = value_of(probe, variable)?;
            let semantic_type = if value == Value::Latency { SemanticType::DurationNs } else { SemanticType::None };
            if columns.iter().any(|known| known.name == *name) {
                return Err(Failure { code: Code::InvalidArgument, text: format!("column `{name}` is there twice") });
            }
            columns.push(column(name, DataType::Int64, semantic_type));
            values.push(value);
        }
        let builders = values.iter().map(|_| Int64Builder::new()).collect();
        Ok(Calls {
            relation: Relation { columns },
            values,
            times: TimestampNanosecondBuilder::new(),
            upids: FixedSizeBinaryBuilder::new(UINT128_BYTES),
            columns: builders,
            count: 0,
        })
    }

    pub(crate) fn relation(&self) -> &Relation {
        &self.relation
    }

    /// Whether calls are told when they return.
    pub(crate) fn needs_return(&self) -> bool {
        self.values.iter().any(|value| matches!(value, Value::Result | Value::Latency))
    }

    /// A call. One that should have returned and did not say how is left out.
    pub(crate) fn push(&mut self, event: &ProbeEvent, wall: UnixNs) {
        let number = |value: &Value| match value {
            Value::Argument(at) => event.arguments.get(*at).map(|argument| *argument as i64),
            Value::Result => event.returned.map(|returned| returned.value as i64),
            Value::Latency => event.returned.map(|returned| i64::try_from(returned.duration.as_nanos()).unwrap_or(i64::MAX)),
        };
        let Some(numbers) = self.values.iter().map(number).collect::<Option<Vec<i64>>>() else { return };
        // The width is the column's by construction of both.
        if self.upids.append_value(event.process.to_be_bytes()).is_err() {
            return;
        }
        self.times.append_value(wall.0);
        for (column, number) in self.columns.iter_mut().zip(numbers) {
            column.append_value(number);
        }
        self.count += 1;
    }

    /// The rows since the last call; `None` if there are none.
    pub(crate) fn take(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        if std::mem::take(&mut self.count) == 0 {
            return Ok(None);
        }
        let mut arrays: Vec<ArrayRef> = vec![Arc::new(self.times.finish()), Arc::new(self.upids.finish())];
        arrays.extend(self.columns.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        let schema: Schema = self.relation.arrow_schema();
        RecordBatch::try_new(Arc::new(schema), arrays).map(Some)
    }
}

fn value_of(probe: &Probe, variable: &str) -> Result<Value, Failure> {
    let invalid = |text: String| Failure { code: Code::InvalidArgument, text };
    if probe.latency.as_deref() == Some(variable) {
        return Ok(Value::Latency);
    }
    if let Some((_, expression)) = probe.returns.iter().find(|(id, _)| id == variable) {
        return match expression.as_str() {
            "$0" => Ok(Value::Result),
            other => Err(needs_debug_information(other, "an integer result is `$0`")),
        };
    }
    if let Some((_, expression)) = probe.arguments.iter().find(|(id, _)| id == variable) {
        let position = expression.strip_prefix('$').or_else(|| expression.strip_prefix("arg"));
        return match position.and_then(|at| at.parse::<usize>().ok()) {
            Some(at) if at < ARGUMENTS => Ok(Value::Argument(at)),
            Some(_) => Err(invalid(format!("`{expression}` is not in a register: only the first {ARGUMENTS} arguments are"))),
            None => Err(needs_debug_information(expression, "integer arguments are `$0` to `$5`")),
        };
    }
    Err(invalid(format!("nothing is called `{variable}` in the probe")))
}

fn needs_debug_information(expression: &str, instead: &str) -> Failure {
    let text = format!("`{expression}` can be read with the program's debug information alone, which this agent does not use; {instead}");
    Failure { code: Code::Unimplemented, text }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use arrow::array::AsArray as _;
    use arrow::datatypes::Int64Type;
    use collectors::{ProbeId, Returned};
    use ids::{Asid, MonoNs, Upid};

    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    }

    fn probe() -> Probe {
        Probe {
            symbol: "f".to_owned(),
            arguments: pairs(&[("a", "$1"), ("b", "arg0")]),
            returns: pairs(&[("r", "$0")]),
            latency: Some("l".to_owned()),
            columns: pairs(&[("second", "a"), ("first", "b"), ("result", "r"), ("took", "l")]),
        }
    }

    fn event(returned: Option<Returned>) -> ProbeEvent {
        let process = Upid::new(Asid(1), 2, 3);
        ProbeEvent { probe: ProbeId(1), at: MonoNs(5), process, thread: 2, arguments: [10, 11, 12, 13, 14, 15], returned }
    }

    #[test]
    fn a_call_is_a_row_in_the_order_of_the_script() {
        let mut calls = Calls::new(&probe()).unwrap();
        assert!(calls.needs_return());
        calls.push(&event(None), UnixNs(1));
        calls.push(&event(Some(Returned { duration: Duration::from_micros(7), value: u64::MAX })), UnixNs(9));
        let batch = calls.take().unwrap().unwrap();
        assert_eq!(batch.num_rows(), 1, "the one that did not say how it returned is left out");
        let numbers: Vec<i64> = (2..6).map(|at| batch.column(at).as_primitive::<Int64Type>().value(0)).collect();
        assert_eq!(numbers, [11, 10, -1, 7_000]);
        let names: Vec<_> = calls.relation().columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, ["time_", "upid", "second", "first", "result", "took"]);
        assert!(calls.take().unwrap().is_none());
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let refused = |change: fn(&mut Probe)| {
            let mut probe = probe();
            change(&mut probe);
            Calls::new(&probe).map(|_| ()).unwrap_err()
        };
        assert_eq!(refused(|probe| probe.arguments[0].1 = "req.Method".to_owned()).code, Code::Unimplemented);
        assert_eq!(refused(|probe| probe.arguments[0].1 = "$6".to_owned()).code, Code::InvalidArgument);
        assert_eq!(refused(|probe| probe.columns[0].1 = "z".to_owned()).text, "nothing is called `z` in the probe");
        assert_eq!(refused(|probe| probe.columns[0].0 = "upid".to_owned()).text, "column `upid` is there twice");
    }
}
