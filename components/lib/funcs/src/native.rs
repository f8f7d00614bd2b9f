//! What DataFusion can do itself: comparisons, boolean operators, integer arithmetic (which wraps), casts, `select`.

use datafusion::logical_expr::{Expr, Operator, binary_expr, cast, lit, not, when};
use pxl::SemanticRule;
use tables::DataType::{self, Boolean, Float64, Int64, String, Time64Ns, Uint128};
use tables::SemanticType as St;

use crate::builder::Builder;

/// Units that sums and differences keep.
pub(crate) const UNITS: &[St] = &[St::Bytes, St::ThroughputPerNs, St::ThroughputBytesPerNs, St::DurationNs];

/// Two arguments; a missing one is a defect of the caller, seen as NULL by the type check that follows.
fn two(args: Vec<Expr>) -> (Expr, Expr) {
    let mut args = args.into_iter();
    let mut next = || args.next().unwrap_or_else(|| lit(datafusion::common::ScalarValue::Null));
    (next(), next())
}

fn one(args: Vec<Expr>) -> Expr {
    two(args).0
}

macro_rules! operator {
    ($op:ident) => {
        |args| {
            let (a, b) = two(args);
            binary_expr(a, Operator::$op, b)
        }
    };
    ($op:ident as $type:ident) => {
        |args| {
            let (a, b) = two(args);
            binary_expr(cast(a, $type.to_arrow()), Operator::$op, cast(b, $type.to_arrow()))
        }
    };
    ($op:ident on truth) => {
        |args| {
            let (a, b) = two(args);
            binary_expr(a.not_eq(lit(0_i64)), Operator::$op, b.not_eq(lit(0_i64)))
        }
    };
}

pub(crate) fn add(b: &mut Builder) {
    arithmetic(b);
    comparisons(b);
    booleans(b);
    b.native("time_to_int64", &[Time64Ns], Int64, SemanticRule::None, |args| cast(one(args), Int64.to_arrow()));
    b.native("int64_to_time", &[Int64], Time64Ns, SemanticRule::None, |args| cast(one(args), Time64Ns.to_arrow()));
    for data_type in [Boolean, Int64, Float64, Time64Ns, String] {
        b.native("select", &[Boolean, data_type, data_type], data_type, SemanticRule::InheritAny(Some(&[1, 2])), |args| {
            let mut args = args.into_iter();
            let mut next = || args.next().unwrap_or_else(|| lit(datafusion::common::ScalarValue::Null));
            let (condition, yes, no) = (next(), next(), next());
            // A CASE of one branch and an ELSE is always well formed.
            when(condition, yes.clone()).otherwise(no).unwrap_or(yes)
        });
    }
}

fn arithmetic(b: &mut Builder) {
    let units = || SemanticRule::Inherit(UNITS);
    b.native("add", &[Int64, Int64], Int64, units(), operator!(Plus));
    b.native("subtract", &[Int64, Int64], Int64, units(), operator!(Minus));
    b.native("multiply", &[Int64, Int64], Int64, SemanticRule::None, operator!(Multiply));
    for types in [[Float64, Float64], [Float64, Int64], [Int64, Float64]] {
        b.native("add", &types, Float64, units(), operator!(Plus as Float64));
        b.native("subtract", &types, Float64, units(), operator!(Minus as Float64));
        b.native("multiply", &types, Float64, SemanticRule::None, operator!(Multiply as Float64));
    }
}

fn comparisons(b: &mut Builder) {
    for t in [Int64, String, Boolean, Time64Ns, Uint128] {
        b.native("equal", &[t, t], Boolean, SemanticRule::None, operator!(Eq));
        b.native("notEqual", &[t, t], Boolean, SemanticRule::None, operator!(NotEq));
    }
    for types in [[Boolean, Int64], [Int64, Boolean]] {
        b.native("equal", &types, Boolean, SemanticRule::None, operator!(Eq as Int64));
        b.native("notEqual", &types, Boolean, SemanticRule::None, operator!(NotEq as Int64));
    }
    // Floats are kernels (`math`): DataFusion orders NaN above everything.
    for t in [Int64, Time64Ns, String] {
        let pair: [DataType; 2] = [t, t];
        b.native("lessThan", &pair, Boolean, SemanticRule::None, operator!(Lt));
        b.native("lessThanEqual", &pair, Boolean, SemanticRule::None, operator!(LtEq));
        b.native("greaterThan", &pair, Boolean, SemanticRule::None, operator!(Gt));
        b.native("greaterThanEqual", &pair, Boolean, SemanticRule::None, operator!(GtEq));
    }
}

fn booleans(b: &mut Builder) {
    b.native("logicalAnd", &[Boolean, Boolean], Boolean, SemanticRule::None, operator!(And));
    b.native("logicalOr", &[Boolean, Boolean], Boolean, SemanticRule::None, operator!(Or));
    b.native("logicalNot", &[Boolean], Boolean, SemanticRule::None, |args| not(one(args)));
    b.native("logicalAnd", &[Int64, Int64], Boolean, SemanticRule::None, operator!(And on truth));
    b.native("logicalOr", &[Int64, Int64], Boolean, SemanticRule::None, operator!(Or on truth));
    b.native("logicalNot", &[Int64], Boolean, SemanticRule::None, |args| one(args).eq(lit(0_i64)));
}
