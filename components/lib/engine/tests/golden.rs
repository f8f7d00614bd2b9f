//! The pinned cases of golden/engine: script and tables in, tables out.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test")]

use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeBinaryArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampNanosecondArray,
};
use datafusion::arrow::datatypes::{Float64Type, Int64Type, TimestampNanosecondType};
use engine::{CompileRequest, Engine, EngineArgs};
use ids::UnixNs;
use table_store::{Limits, TableStore};
use tables::{ColumnDef, DataType, Relation, SemanticType};

/// What `px.now()` is: 1000 s after the epoch.
const NOW: UnixNs = UnixNs(1_000_000_000_000);

/// More than any case needs.
const TABLE_BYTES_MAX: u64 = 1 << 20;

/// Rows of a batch: few, so that groups and joins meet rows of several batches.
const BATCH_ROWS: usize = 3;

/// A script with this line in it yields its rows in an order that it promises; otherwise they are sorted.
const ORDERED: &str = "# ordered";

/// How the tables are kept and the query is run. The answer is always the same.
struct Variant {
    sealed: bool,
    target_partitions: usize,
}

const VARIANTS: [Variant; 3] = [
    Variant { sealed: false, target_partitions: 1 },
    Variant { sealed: true, target_partitions: 1 },
    Variant { sealed: false, target_partitions: 3 },
];

#[test]
fn scripts_make_the_expected_tables() {
    golden::run("engine", |case| {
        let script = case.input("script.pxl")?;
        let mut files = Vec::new();
        for file in case.files()? {
            if let Some(table) = file.strip_suffix(".csv").filter(|table| *table != "result") {
                files.push((table.to_owned(), case.input(&file)?));
            }
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let mut answers = Vec::new();
        for variant in VARIANTS {
            answers.push(runtime.block_on(run(&script, &files, &variant))?);
        }
        ensure!(answers[0] == answers[1], "sealing changes the answer to\n{}", answers[1]);
        ensure!(answers[0] == answers[2], "partitions change the answer to\n{}", answers[2]);
        case.expect("result.csv", &answers[0])
    });
}

async fn run(script: &str, files: &[(String, String)], variant: &Variant) -> Result<String> {
    let store = Arc::new(TableStore::empty(TABLE_BYTES_MAX));
    for (name, csv) in files {
        fill(&store, name, csv, variant.sealed).with_context(|| format!("{name}.csv"))?;
    }
    let functions = Arc::new(funcs::registry(&funcs::Environment::default()));
    let engine = Engine::new(store, functions, EngineArgs { target_partitions: variant.target_partitions, ..EngineArgs::default() });
    let compiled = match engine.compile(&CompileRequest { script, exec_funcs: &[], now: NOW, configs: pxl::Configs::default() }) {
        Ok(compiled) => compiled,
        Err(problems) => bail!("{problems}"),
    };
    let mut rows = vec![Vec::new(); compiled.outputs.len()];
    let mut execution = engine.execute(&compiled).await?;
    while let Some(batch) = execution.next().await {
        let batch = batch?;
        ensure!(*batch.rows.schema() == compiled.outputs[batch.output].relation.arrow_schema(), "the batch has another schema");
        for row in 0..batch.rows.num_rows() {
            rows[batch.output].push(batch.rows.columns().iter().map(|column| show(column, row)).collect::<Vec<_>>());
        }
    }
    let mut text = Vec::new();
    for (output, mut rows) in compiled.outputs.iter().zip(rows) {
        if !script.lines().any(|line| line == ORDERED) {
            rows.sort();
        }
        text.extend_from_slice(format!("# {}\n", output.name).as_bytes());
        let mut csv = csv::Writer::from_writer(&mut text);
        csv.write_record(output.relation.columns.iter().map(header))?;
        rows.iter().try_for_each(|row| csv.write_record(row))?;
        csv.flush()?;
    }
    Ok(String::from_utf8(text)?)
}

fn header(column: &ColumnDef) -> String {
    let ColumnDef { name, data_type, semantic_type } = column;
    if *semantic_type == SemanticType::None { format!("{name}:{data_type}") } else { format!("{name}:{data_type}:{semantic_type}") }
}

/// A file named as one of the agents' tables may leave out columns; another is a table of its own, with types in its header.
fn fill(store: &TableStore, name: &str, csv: &str, sealed: bool) -> Result<()> {
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let headers: Vec<_> = reader.headers()?.iter().map(str::to_owned).collect();
    let relation = match tables::all().iter().find(|table| table.name == name) {
        Some(table) => Relation::from(*table),
        None => Relation { columns: headers.iter().map(|header| parse_header(header)).collect::<Result<_>>()? },
    };
    let table = store.create_with_limits(name, relation, Limits { seal_raw_bytes: 1, ..Limits::new(TABLE_BYTES_MAX) })?;
    let places: Vec<_> = headers.iter().map(|header| header.split(':').next().unwrap_or_default()).collect();
    ensure!(places.iter().all(|name| table.relation().column(name).is_some()), "an unknown column");
    let rows = reader.records().collect::<Result<Vec<_>, _>>()?;
    for rows in rows.chunks(BATCH_ROWS) {
        let column = |column: &ColumnDef| {
            let place = places.iter().position(|name| *name == column.name);
            let cells: Vec<_> = rows.iter().map(|row| place.and_then(|place| row.get(place)).unwrap_or_default()).collect();
            read(column.data_type, &cells).with_context(|| format!("column {}", column.name))
        };
        let columns = table.relation().columns.iter().map(column).collect::<Result<Vec<_>>>()?;
        table.append(RecordBatch::try_new(Arc::clone(table.schema()), columns)?)?;
    }
    if sealed {
        table.seal()?;
        ensure!(table.stats().bytes_hot == 0, "every row is enough to seal");
    }
    Ok(())
}

fn parse_header(header: &str) -> Result<ColumnDef> {
    let mut parts = header.split(':');
    let (name, kind) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let data_type = (1..=6).filter_map(DataType::from_number).find(|t| t.to_string() == kind);
    let semantic = parts.next().unwrap_or("ST_NONE");
    let semantic_type = (0..=3000).filter_map(SemanticType::from_number).find(|t| t.to_string() == semantic);
    Ok(ColumnDef {
        name: name.to_owned(),
        data_type: data_type.with_context(|| format!("`{header}` has no data type"))?,
        semantic_type: semantic_type.with_context(|| format!("`{header}` has no semantic type"))?,
    })
}

/// Of cells; an empty one is the type's default.
fn read(data_type: DataType, cells: &[&str]) -> Result<ArrayRef> {
    fn each<T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static> + Default>(cells: &[&str]) -> Result<Vec<T>> {
        cells
            .iter()
            .map(|cell| if cell.is_empty() { Ok(T::default()) } else { cell.parse().with_context(|| format!("`{cell}`")) })
            .collect()
    }
    Ok(match data_type {
        DataType::Boolean => Arc::new(BooleanArray::from(each::<bool>(cells)?)),
        DataType::Int64 => Arc::new(Int64Array::from(each::<i64>(cells)?)),
        DataType::Float64 => Arc::new(Float64Array::from(each::<f64>(cells)?)),
        DataType::String => Arc::new(StringArray::from_iter_values(cells)),
        DataType::Uint128 => {
            let values = each::<u128>(cells)?;
            Arc::new(FixedSizeBinaryArray::try_from_iter(values.into_iter().map(u128::to_be_bytes))?)
        }
        DataType::Time64Ns => {
            let seconds: Vec<&str> = cells.iter().map(|cell| cell.trim_end_matches('s')).collect();
            Arc::new(TimestampNanosecondArray::from_iter_values(each::<f64>(&seconds)?.into_iter().map(|s| (s * 1e9).round() as i64)))
        }
    })
}

fn show(column: &ArrayRef, row: usize) -> String {
    use datafusion::arrow::datatypes::DataType as Arrow;
    match column.data_type() {
        Arrow::Boolean => column.as_boolean().value(row).to_string(),
        Arrow::Int64 => column.as_primitive::<Int64Type>().value(row).to_string(),
        Arrow::Float64 => column.as_primitive::<Float64Type>().value(row).to_string(),
        Arrow::Timestamp(_, _) => format!("{}s", column.as_primitive::<TimestampNanosecondType>().value(row) as f64 / 1e9),
        Arrow::FixedSizeBinary(_) => {
            let bytes = column.as_fixed_size_binary().value(row);
            u128::from_be_bytes(bytes.try_into().unwrap_or_default()).to_string()
        }
        _ => column.as_string::<i32>().value(row).to_owned(),
    }
}
