//! The rows of each table function that is answered here. Pure but for what facts cost.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, FixedSizeBinaryArray, Int64Array, StringArray, TimestampNanosecondArray};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use pxl::{AnsweredBy, Argument, FunctionRegistry, NoRows, TableFunction};
use tables::DataType;

use super::facts::{AgentFact, Facts};

/// The rows of one call, with exactly the columns of the function.
pub(crate) fn rows(
    function: &TableFunction,
    args: &[Argument],
    facts: &dyn Facts,
    functions: &FunctionRegistry,
) -> Result<RecordBatch, NoRows> {
    let columns = match function.name {
        "GetTables" => tables(facts),
        "GetSchemas" => schemas(facts),
        "GetAgentStatus" => agents(args, facts)?,
        "GetProfilerSamplingPeriodMS" => profilers(facts)?,
        "GetLinuxHeadersStatus" => headers(args, facts)?,
        "GetUDFList" => overloads(functions.scalars().map(|f| (f.name, f.returns, f.init_args.iter().chain(&f.args).copied().collect()))),
        "GetUDAList" => overloads(functions.aggregates().map(|f| (f.name, f.returns, f.args.clone()))),
        "GetUDTFList" => table_functions(functions),
        "GetTracepointStatus" => tracepoints(facts)?,
        "GetCronScriptHistory" => cron_runs(facts)?,
        "Version" => {
            let (asid, version) = facts.version();
            vec![numbers([i64::from(asid.0)]), texts([version])]
        }
        "_DebugMDGetWithPrefix" => kept(args, facts)?,
        _ => return Err(NoRows::NotHere),
    };
    let schema = Arc::new(function.relation().arrow_schema());
    RecordBatch::try_new(schema, columns).map_err(|error| NoRows::Failed(format!("px.{}: {error}", function.name)))
}

fn texts<T: AsRef<str>>(values: impl IntoIterator<Item = T>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn numbers(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

fn times(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampNanosecondArray::from_iter_values(values))
}

fn flags(values: impl IntoIterator<Item = bool>) -> ArrayRef {
    Arc::new(BooleanArray::from(values.into_iter().collect::<Vec<_>>()))
}

fn ids(values: impl IntoIterator<Item = [u8; 16]>) -> Result<ArrayRef, NoRows> {
    let failed = |error: ArrowError| NoRows::Failed(error.to_string());
    let array = FixedSizeBinaryArray::try_from_sparse_iter_with_size(values.into_iter().map(Some), tables::UINT128_BYTES);
    Ok(Arc::new(array.map_err(failed)?))
}

fn tables(facts: &dyn Facts) -> Vec<ArrayRef> {
    let tables = facts.tables();
    vec![texts(tables.iter().map(|table| &table.name)), texts(tables.iter().map(|table| &table.text))]
}

fn schemas(facts: &dyn Facts) -> Vec<ArrayRef> {
    let tables = facts.tables();
    let columns: Vec<_> = tables
        .iter()
        .flat_map(|table| {
            table.relation.columns.iter().map(|column| {
                let known = tables::all().iter().find(|known| known.name == table.name);
                let known = known.and_then(|known| known.columns.iter().find(|own| own.name == column.name));
                (&table.name, &column.name, column.data_type, known)
            })
        })
        .collect();
    vec![
        texts(columns.iter().map(|(table, _, _, _)| table)),
        texts(columns.iter().map(|(_, name, _, _)| name)),
        texts(columns.iter().map(|(_, _, data_type, _)| data_type.to_string())),
        texts(columns.iter().map(|(_, _, _, known)| known.map_or_else(String::new, |known| known.pattern_type.to_string()))),
        texts(columns.iter().map(|(_, _, _, known)| known.map_or("", |known| known.text))),
    ]
}

/// Kelvins too, unless a call says otherwise.
fn chosen(args: &[Argument], facts: &dyn Facts) -> Result<Vec<AgentFact>, NoRows> {
    let kelvins = !matches!(args.first(), Some(Argument::Boolean(false)));
    let agents = facts.agents().map_err(NoRows::Failed)?;
    Ok(agents.into_iter().filter(|agent| kelvins || agent.collects_data).collect())
}

fn asids(agents: &[AgentFact]) -> ArrayRef {
    numbers(agents.iter().map(|agent| i64::from(agent.asid.0)))
}

fn agents(args: &[Argument], facts: &dyn Facts) -> Result<Vec<ArrayRef>, NoRows> {
    let agents = chosen(args, facts)?;
    Ok(vec![
        ids(agents.iter().map(|agent| agent.id.to_bytes()))?,
        asids(&agents),
        texts(agents.iter().map(|agent| &agent.hostname)),
        texts(agents.iter().map(|agent| &agent.ip_address)),
        texts(agents.iter().map(|agent| agent.health.text())),
        times(agents.iter().map(|agent| agent.created.0)),
        numbers(agents.iter().map(|agent| agent.silent_ns)),
        flags(agents.iter().map(|agent| agent.kernel_headers_installed)),
    ])
}

fn profilers(facts: &dyn Facts) -> Result<Vec<ArrayRef>, NoRows> {
    let agents: Vec<_> = chosen(&[Argument::Boolean(false)], facts)?;
    Ok(vec![asids(&agents), numbers(agents.iter().map(|agent| i64::from(agent.profiler_period_ms)))])
}

fn headers(args: &[Argument], facts: &dyn Facts) -> Result<Vec<ArrayRef>, NoRows> {
    let agents = chosen(args, facts)?;
    Ok(vec![asids(&agents), flags(agents.iter().map(|agent| agent.kernel_headers_installed))])
}

/// Types as scripts name them, in brackets.
fn overloads<'a>(all: impl Iterator<Item = (&'a str, DataType, Vec<DataType>)>) -> Vec<ArrayRef> {
    let all: Vec<_> = all.collect();
    let args = |types: &[DataType]| format!("[{}]", types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
    vec![
        texts(all.iter().map(|(name, _, _)| name)),
        texts(all.iter().map(|(_, returns, _)| returns.to_string())),
        texts(all.iter().map(|(_, _, types)| args(types))),
    ]
}

fn table_functions(functions: &FunctionRegistry) -> Vec<ArrayRef> {
    let all: Vec<_> = functions.table_functions().collect();
    let executor = |function: &TableFunction| match function.answered_by {
        AnsweredBy::Broker => "UDTF_ONE_KELVIN",
        AnsweredBy::AllAgents => "UDTF_ALL_AGENTS",
        AnsweredBy::AllPems => "UDTF_ALL_PEM",
    };
    let listed = |items: Vec<String>| format!("[{}]", items.join(", "));
    let args = |function: &TableFunction| listed(function.args.iter().map(|arg| format!("{}:{}", arg.name, arg.data_type)).collect());
    let relation =
        |function: &TableFunction| listed(function.columns.iter().map(|column| format!("{}:{}", column.name, column.data_type)).collect());
    vec![
        texts(all.iter().map(|function| function.name)),
        texts(all.iter().map(|function| executor(function))),
        texts(all.iter().map(|function| args(function))),
        texts(all.iter().map(|function| relation(function))),
    ]
}

fn tracepoints(facts: &dyn Facts) -> Result<Vec<ArrayRef>, NoRows> {
    let tracepoints = facts.tracepoints().map_err(NoRows::Failed)?;
    Ok(vec![
        ids(tracepoints.iter().map(|tracepoint| tracepoint.id))?,
        texts(tracepoints.iter().map(|tracepoint| &tracepoint.name)),
        texts(tracepoints.iter().map(|tracepoint| &tracepoint.state)),
        texts(tracepoints.iter().map(|tracepoint| tracepoint.statuses.join("; "))),
        texts(tracepoints.iter().map(|tracepoint| tracepoint.tables.join(","))),
    ])
}

fn cron_runs(facts: &dyn Facts) -> Result<Vec<ArrayRef>, NoRows> {
    let runs = facts.cron_runs().map_err(NoRows::Failed)?;
    Ok(vec![
        texts(runs.iter().map(|run| &run.script)),
        times(runs.iter().map(|run| run.time.0)),
        texts(runs.iter().map(|run| &run.error)),
        numbers(runs.iter().map(|run| run.execution_ns)),
        numbers(runs.iter().map(|run| run.compilation_ns)),
        numbers(runs.iter().map(|run| run.bytes)),
        numbers(runs.iter().map(|run| run.records)),
    ])
}

fn kept(args: &[Argument], facts: &dyn Facts) -> Result<Vec<ArrayRef>, NoRows> {
    let [Argument::String(prefix), Argument::String(proto)] = args else {
        return Err(NoRows::Failed("a prefix and the name of a message are needed".to_owned()));
    };
    let kept = facts.kept(prefix, proto).map_err(NoRows::Failed)?;
    Ok(vec![texts(kept.iter().map(|(key, _)| key)), texts(kept.iter().map(|(_, value)| value))])
}

#[cfg(test)]
mod tests {
    use ::ids::{AgentId, Asid, UnixNs};
    use arrow::array::AsArray as _;
    use arrow::datatypes::Int64Type;

    use super::*;
    use crate::state::facts::{CronRunFact, Health, TableFact, TracepointFact};

    struct Known;

    fn agent(number: u64, collects_data: bool) -> AgentFact {
        AgentFact {
            id: AgentId::from_halves(0, number),
            asid: Asid(number as u32),
            collects_data,
            hostname: format!("n{number}"),
            ip_address: String::new(),
            health: Health::Healthy,
            created: UnixNs(5),
            silent_ns: 7,
            kernel_headers_installed: true,
            profiler_period_ms: 11,
            version: String::new(),
        }
    }

    impl Facts for Known {
        fn agents(&self) -> Result<Vec<AgentFact>, String> {
            Ok(vec![agent(1, true), agent(2, false)])
        }
        fn tables(&self) -> Vec<TableFact> {
            let of = |table: &tables::Table| TableFact { name: table.name.to_owned(), text: "x".to_owned(), relation: table.into() };
            tables::all().iter().map(|table| of(table)).collect()
        }
        fn tracepoints(&self) -> Result<Vec<TracepointFact>, String> {
            Err("nobody answers".to_owned())
        }
        fn cron_runs(&self) -> Result<Vec<CronRunFact>, String> {
            Ok(vec![CronRunFact::default()])
        }
        fn kept(&self, prefix: &str, _: &str) -> Result<Vec<(String, String)>, String> {
            Ok(vec![(format!("{prefix}1"), "{}".to_owned())])
        }
        fn version(&self) -> (Asid, String) {
            (Asid(2), "1.2".to_owned())
        }
    }

    fn functions() -> FunctionRegistry {
        funcs::registry(&funcs::Environment::default())
    }

    fn of(name: &str, args: &[Argument]) -> Result<RecordBatch, NoRows> {
        let functions = functions();
        rows(functions.table_function(name).unwrap(), args, &Known, &functions)
    }

    #[test]
    fn every_function_that_the_broker_answers_has_rows_in_its_own_columns() {
        let functions = functions();
        for function in functions.table_functions().filter(|function| function.answered_by == AnsweredBy::Broker) {
            let args: Vec<_> = function.args.iter().map(|arg| arg.default.clone().unwrap_or(Argument::String("/agent/".into()))).collect();
            match rows(function, &args, &Known, &functions) {
                Ok(rows) => assert!(rows.num_rows() > 0, "{}", function.name),
                Err(why) => assert_eq!((function.name, why), ("GetTracepointStatus", NoRows::Failed("nobody answers".to_owned()))),
            }
        }
    }

    #[test]
    fn kelvins_are_left_out_where_that_is_asked_for() {
        let asids = |rows: RecordBatch| rows.column(1).as_primitive::<Int64Type>().values().to_vec();
        assert_eq!(asids(of("GetAgentStatus", &[Argument::Boolean(true)]).unwrap()), [1, 2]);
        assert_eq!(asids(of("GetAgentStatus", &[Argument::Boolean(false)]).unwrap()), [1]);
        assert_eq!(of("GetProfilerSamplingPeriodMS", &[]).unwrap().num_rows(), 1);
    }

    #[test]
    fn columns_have_the_text_that_tables_know() {
        let rows = of("GetSchemas", &[]).unwrap();
        assert!(rows.column(4).as_string::<i32>().iter().flatten().any(|text| !text.is_empty()));
    }
}
