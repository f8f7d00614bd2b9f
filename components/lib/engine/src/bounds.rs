//! What a filter says about `time_`.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Operator};
use ids::UnixNs;
use table_store::TimeRange;

/// No time at all.
const EMPTY: TimeRange = TimeRange { first: UnixNs(i64::MAX), last: UnixNs(i64::MIN) };

/// The times for which the filter is true, if it says nothing else; none if it says anything else.
#[expect(clippy::wildcard_enum_match_arm, reason = "any other expression says something else")]
pub(crate) fn time_range(filter: &Expr) -> Option<TimeRange> {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => Some(time_range(left)?.intersect(time_range(right)?)),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_time(left) => compare(*op, literal(right)?),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_time(right) => compare(op.swap()?, literal(left)?),
        Expr::Between(Between { expr, negated: false, low, high }) if is_time(expr) => {
            Some(TimeRange { first: UnixNs(literal(low)?), last: UnixNs(literal(high)?) })
        }
        _ => None,
    }
}

fn is_time(expr: &Expr) -> bool {
    matches!(expr, Expr::Column(column) if column.name == "time_")
}

fn literal(expr: &Expr) -> Option<i64> {
    if let Expr::Literal(ScalarValue::TimestampNanosecond(time, None), _) = expr { *time } else { None }
}

fn compare(op: Operator, time: i64) -> Option<TimeRange> {
    let all = TimeRange::ALL;
    let upto = |last: Option<i64>| last.map_or(EMPTY, |last| TimeRange { last: UnixNs(last), ..all });
    let from = |first: Option<i64>| first.map_or(EMPTY, |first| TimeRange { first: UnixNs(first), ..all });
    #[expect(clippy::wildcard_enum_match_arm, reason = "other operators do not bound a time")]
    match op {
        Operator::Eq => Some(TimeRange { first: UnixNs(time), last: UnixNs(time) }),
        Operator::Lt => Some(upto(time.checked_sub(1))),
        Operator::LtEq => Some(upto(Some(time))),
        Operator::Gt => Some(from(time.checked_add(1))),
        Operator::GtEq => Some(from(Some(time))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::{col, lit};

    use super::*;

    fn at(time: i64) -> Expr {
        lit(ScalarValue::TimestampNanosecond(Some(time), None))
    }

    fn range(filter: &Expr) -> Option<(i64, i64)> {
        time_range(filter).map(|range| (range.first.0, range.last.0))
    }

    #[test]
    fn comparisons_of_time_are_exact_ranges() {
        let time = || col("time_");
        assert_eq!(range(&time().gt(at(5))), Some((6, i64::MAX)));
        assert_eq!(range(&time().gt_eq(at(5))), Some((5, i64::MAX)));
        assert_eq!(range(&at(5).gt(time())), Some((i64::MIN, 4)));
        assert_eq!(range(&time().lt_eq(at(5)).and(at(2).lt(time()))), Some((3, 5)));
        assert_eq!(range(&time().between(at(2), at(5))), Some((2, 5)));
        assert_eq!(range(&time().eq(at(5))), Some((5, 5)));
        let (first, last) = range(&time().lt(at(i64::MIN))).unwrap();
        assert!(first > last);
    }

    #[test]
    fn anything_else_is_left_to_a_filter() {
        assert_eq!(range(&col("latency").gt(at(5))), None);
        assert_eq!(range(&col("time_").gt(at(5)).and(col("latency").gt(lit(1)))), None);
        assert_eq!(range(&col("time_").gt(at(5)).or(col("time_").lt(at(2)))), None);
        assert_eq!(range(&col("time_").not_eq(at(5))), None);
        assert_eq!(range(&col("time_").not_between(at(2), at(5))), None);
    }
}
