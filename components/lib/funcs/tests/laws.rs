//! Laws of every scalar function there is: no values fail it, and a batch answers as its rows do, each alone.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

mod support;

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, FixedSizeBinaryArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray,
};
use arrow::datatypes::{Field, Schema};
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::Expr;
use datafusion::prelude::SessionContext;
use proptest::prelude::*;
use pxl::{ScalarFunction, ScalarLower};
use tables::DataType;

/// Rows of one batch.
const ROWS: usize = 6;

/// What a function of two integers should do.
type Model = (&'static str, fn(i64, i64) -> i64);

#[derive(Debug, Clone)]
struct Values {
    ints: Vec<i64>,
    floats: Vec<f64>,
    texts: Vec<String>,
    bools: Vec<bool>,
    wides: Vec<u128>,
}

fn values() -> impl Strategy<Value = Values> {
    let int = prop_oneof![Just(0), Just(-1), Just(i64::MIN), Just(i64::MAX), -20_i64..600, any::<i64>()];
    let float = prop_oneof![Just(0.0), Just(f64::NAN), Just(f64::INFINITY), -1e3..1e3, any::<f64>()];
    let text = prop_oneof![
        Just(String::new()),
        Just("[\"a\",\"b\"]".to_owned()),
        Just("{\"a\": 1, \"b\": [2]}".to_owned()),
        Just("10.0.0.0/8".to_owned()),
        prop::sample::select(vec![
            "pod-1",
            "pod-2",
            "shop/web",
            "shop/web-1",
            "svc-web",
            "set-web",
            "deploy-web",
            "c-1",
            "main",
            "10.1.0.2"
        ])
        .prop_map(str::to_owned),
        "[a-c(){}\\[\\]*+?|^$.\\\\]{0,8}",
        "[0-9a-f]{0,6}",
        any::<String>(),
    ];
    let n = ROWS * 3;
    (
        prop::collection::vec(int, n),
        prop::collection::vec(float, n),
        prop::collection::vec(text, n),
        prop::collection::vec(any::<bool>(), n),
        prop::collection::vec(prop_oneof![any::<u128>(), (1_u32..5).prop_map(wide)], n),
    )
        .prop_map(|(ints, floats, texts, bools, wides)| Values { ints, floats, texts, bools, wides })
}

/// A process of the small cluster.
fn wide(n: u32) -> u128 {
    u128::from_be_bytes(support::upid(n).to_be_bytes())
}

/// The column of argument `arg`; arguments of one type differ.
fn column(data_type: DataType, values: &Values, arg: usize) -> ArrayRef {
    let range = (arg % 3) * ROWS..(arg % 3 + 1) * ROWS;
    match data_type {
        DataType::Boolean => Arc::new(BooleanArray::from(values.bools[range].to_vec())),
        DataType::Int64 => Arc::new(Int64Array::from(values.ints[range].to_vec())),
        DataType::Float64 => Arc::new(Float64Array::from(values.floats[range].to_vec())),
        DataType::String => Arc::new(StringArray::from_iter_values(&values.texts[range])),
        DataType::Time64Ns => Arc::new(TimestampNanosecondArray::from(values.ints[range].to_vec())),
        DataType::Uint128 => {
            Arc::new(FixedSizeBinaryArray::try_from_iter(values.wides[range].iter().map(|wide| wide.to_be_bytes())).unwrap())
        }
    }
}

fn evaluate(session: &SessionContext, function: &ScalarFunction, batch: &RecordBatch) -> ArrayRef {
    let init = function.init_args.len();
    let args: Vec<Expr> = (0..batch.num_columns())
        .map(|i| {
            if i < init {
                Expr::Literal(datafusion::common::ScalarValue::try_from_array(batch.column(i), 0).unwrap(), None)
            } else {
                Expr::Column(Column::new_unqualified(format!("a{i}")))
            }
        })
        .collect();
    let expr = match &function.lower {
        ScalarLower::Udf(udf) => udf.call(args),
        ScalarLower::Native(build) => build(args),
    };
    let schema = DFSchema::try_from(batch.schema().as_ref().clone()).unwrap();
    let physical = session.create_physical_expr(expr, &schema).unwrap();
    physical.evaluate(batch).unwrap().into_array(batch.num_rows()).unwrap()
}

fn check(session: &SessionContext, function: &ScalarFunction, values: &Values) {
    let types: Vec<DataType> = function.init_args.iter().chain(&function.args).copied().collect();
    let fields: Vec<Field> = types.iter().enumerate().map(|(i, t)| Field::new(format!("a{i}"), t.to_arrow(), false)).collect();
    let mut columns: Vec<ArrayRef> = types.iter().enumerate().map(|(i, t)| column(*t, values, i)).collect();
    // Init arguments are the same for all rows.
    for (column, _) in columns.iter_mut().zip(&function.init_args) {
        *column = arrow::compute::concat(&[column.slice(0, 1).as_ref(); ROWS]).unwrap();
    }
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(ROWS));
    let batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options).unwrap();
    let whole = evaluate(session, function, &batch);
    assert_eq!(whole.data_type(), &function.returns.to_arrow(), "{}", function.name);
    assert_eq!((whole.len(), whole.null_count()), (ROWS, 0), "{}", function.name);
    for row in 0..ROWS {
        let alone = evaluate(session, function, &batch.slice(row, 1));
        // By their bits: NaN is like NaN here.
        assert_eq!(format!("{alone:?}"), format!("{:?}", whole.slice(row, 1)), "{} of row {row}", function.name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn no_values_fail_a_function_and_batches_answer_as_their_rows(values in values()) {
        let session = SessionContext::new();
        for environment in [funcs::Environment::default(), support::environment()] {
            for function in funcs::registry(&environment).scalars() {
                check(&session, function, &values);
            }
        }
    }

    #[test]
    fn integers_wrap(a in any::<i64>(), b in any::<i64>()) {
        let session = SessionContext::new();
        let registry = funcs::registry(&funcs::Environment::default());
        let model: [Model; 5] = [
            ("add", i64::wrapping_add),
            ("subtract", i64::wrapping_sub),
            ("multiply", i64::wrapping_mul),
            ("modulo", |a, b| if b == 0 { 0 } else { a.wrapping_rem(b) }),
            ("bin", |a, b| if b == 0 { a } else { a.wrapping_sub(a.wrapping_rem(b)) }),
        ];
        let fields = vec![Field::new("a0", arrow::datatypes::DataType::Int64, false), Field::new("a1", arrow::datatypes::DataType::Int64, false)];
        let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![a])), Arc::new(Int64Array::from(vec![b]))];
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
        for (name, f) in model {
            let function = registry.scalar(name, &[DataType::Int64, DataType::Int64]).unwrap();
            let got = evaluate(&session, function, &batch);
            prop_assert_eq!(got.as_any().downcast_ref::<Int64Array>().unwrap().value(0), f(a, b), "{}", name);
        }
    }
}
