//! Aggregates.

use std::sync::Arc;

use datafusion::functions_aggregate::expr_fn;
use datafusion::logical_expr::{AggregateUDF, Expr, cast, lit};
use pxl::{AggregateFunction, AggregateLower, SemanticRule};
use tables::DataType::{self, Boolean, Float64, Int64, String, Time64Ns, Uint128};
use tables::SemanticType as St;

use crate::builder::Builder;
use crate::quantiles::Quantiles;

const MEAN: SemanticRule = SemanticRule::Inherit(&[St::Bytes, St::ThroughputPerNs, St::ThroughputBytesPerNs, St::DurationNs, St::Percent]);
/// A sum of durations is no duration of anything: the original leaves it out.
const SUM: SemanticRule = SemanticRule::Inherit(&[St::Bytes, St::ThroughputPerNs, St::ThroughputBytesPerNs, St::Percent]);
const QUANTILES: SemanticRule = SemanticRule::Table(&[(&[St::None], St::Quantiles), (&[St::DurationNs], St::DurationNsQuantiles)]);

/// The argument; a missing one is a defect of the caller, seen as NULL by the type check that follows.
fn one(args: Vec<Expr>) -> Expr {
    args.into_iter().next().unwrap_or_else(|| lit(datafusion::common::ScalarValue::Null))
}

pub(crate) fn add(b: &mut Builder) {
    let mut native = |name, arg: DataType, returns, semantic, build: fn(Vec<Expr>) -> Expr| {
        b.aggregate(AggregateFunction { name, args: vec![arg], returns, semantic, lower: AggregateLower::Native(build) });
    };
    for arg in [Float64, Int64, Time64Ns, Boolean, String, Uint128] {
        native("count", arg, Int64, SemanticRule::None, |args| expr_fn::count(one(args)));
        native("any", arg, arg, SemanticRule::InheritAny(None), |args| expr_fn::any_value(one(args)));
    }
    native("sum", Float64, Float64, SUM, |args| expr_fn::sum(one(args)));
    native("sum", Int64, Int64, SUM, |args| expr_fn::sum(one(args)));
    native("sum", Boolean, Int64, SUM, |args| expr_fn::sum(cast(one(args), Int64.to_arrow())));
    native("mean", Float64, Float64, MEAN, |args| expr_fn::avg(one(args)));
    native("mean", Int64, Float64, MEAN, |args| expr_fn::avg(cast(one(args), Float64.to_arrow())));
    native("mean", Boolean, Float64, MEAN, |args| expr_fn::avg(cast(cast(one(args), Int64.to_arrow()), Float64.to_arrow())));
    for arg in [Float64, Int64, Time64Ns] {
        native("max", arg, arg, MEAN, |args| expr_fn::max(one(args)));
        native("min", arg, arg, MEAN, |args| expr_fn::min(one(args)));
    }
    let quantiles = Arc::new(AggregateUDF::new_from_impl(Quantiles::default()));
    for arg in [Int64, Float64] {
        let lower = AggregateLower::Udaf(Arc::clone(&quantiles));
        b.aggregate(AggregateFunction { name: "quantiles", args: vec![arg], returns: String, semantic: QUANTILES, lower });
    }
}
