//! Arithmetic that DataFusion does otherwise, or not at all.

use std::borrow::Cow;

use pxl::SemanticRule;
use tables::SemanticType as St;

use crate::builder::Builder;
use crate::kernel::{Bool, Float, Int, Overload, Text, Time, binary, unary};
use crate::native::UNITS;

/// Most decimal places of `round`: a float has no more that mean anything.
const PLACES_MAX: usize = 30;

/// Units that an absolute value keeps.
const UNITS_AND_PERCENT: &[St] = &[St::Bytes, St::ThroughputPerNs, St::ThroughputBytesPerNs, St::DurationNs, St::Percent];

const RATES: SemanticRule =
    SemanticRule::Table(&[(&[St::None, St::DurationNs], St::ThroughputPerNs), (&[St::Bytes, St::DurationNs], St::ThroughputBytesPerNs)]);

pub(crate) fn add(b: &mut Builder) {
    times(b);
    floats(b);
    comparisons(b);
    b.kernel("modulo", SemanticRule::None, binary::<Int, Int, Int>(remainder));
    b.kernel("modulo", SemanticRule::None, binary::<Time, Int, Int>(remainder));
    b.kernel("modulo", SemanticRule::None, binary::<Int, Time, Int>(remainder));
    b.kernel("modulo", SemanticRule::None, binary::<Time, Time, Int>(remainder));
    b.kernel("bin", SemanticRule::None, binary::<Int, Int, Int>(bin));
    b.kernel("bin", SemanticRule::None, binary::<Time, Time, Time>(bin));
    b.kernel("bin", SemanticRule::None, binary::<Int, Time, Int>(bin));
    b.kernel("bin", SemanticRule::None, binary::<Time, Int, Time>(bin));
    b.kernel("bin", SemanticRule::None, binary::<Float, Int, Int>(|value, size| bin(value as i64, size)));
    b.kernel("negate", SemanticRule::None, unary::<Int, Int>(i64::wrapping_neg));
    b.kernel("negate", SemanticRule::None, unary::<Float, Float>(|a| -a));
    b.kernel("invert", SemanticRule::None, unary::<Int, Int>(|a| !a));
    b.kernel("abs", SemanticRule::Inherit(UNITS_AND_PERCENT), unary::<Int, Int>(i64::wrapping_abs));
    b.kernel("abs", SemanticRule::Inherit(UNITS_AND_PERCENT), unary::<Float, Float>(f64::abs));
    // `as` saturates, and NaN becomes 0.
    b.kernel("ceil", SemanticRule::None, unary::<Float, Int>(|a| a.ceil() as i64));
    b.kernel("floor", SemanticRule::None, unary::<Float, Int>(|a| a.floor() as i64));
    b.kernel(
        "round",
        SemanticRule::None,
        binary::<Float, Int, Text>(|value, places| {
            let places = usize::try_from(places).unwrap_or(0).min(PLACES_MAX);
            Cow::Owned(format!("{value:.places$}"))
        }),
    );
}

/// The sign is that of `a`, as in C; 0 where there is no remainder.
pub(crate) fn remainder(a: i64, b: i64) -> i64 {
    if b == 0 { 0 } else { a.wrapping_rem(b) }
}

/// The greatest multiple of `size` towards zero from `value`; `value` itself if `size` is 0.
pub(crate) fn bin(value: i64, size: i64) -> i64 {
    value.wrapping_sub(remainder(value, size))
}

fn times(b: &mut Builder) {
    let units = || SemanticRule::Inherit(UNITS);
    b.kernel("add", units(), binary::<Time, Int, Time>(i64::wrapping_add));
    b.kernel("add", units(), binary::<Int, Time, Time>(i64::wrapping_add));
    b.kernel("subtract", units(), binary::<Time, Int, Time>(i64::wrapping_sub));
    b.kernel("subtract", units(), binary::<Time, Time, Int>(i64::wrapping_sub));
    b.kernel("subtract", units(), binary::<Int, Time, Int>(i64::wrapping_sub));
}

/// All four pairings of INT64 and FLOAT64, computed in FLOAT64.
fn pairs(f: fn(f64, f64) -> f64) -> [Overload; 4] {
    [
        binary::<Float, Float, Float>(f),
        binary::<Float, Int, Float>(move |a, b| f(a, b as f64)),
        binary::<Int, Float, Float>(move |a, b| f(a as f64, b)),
        binary::<Int, Int, Float>(move |a, b| f(a as f64, b as f64)),
    ]
}

fn floats(b: &mut Builder) {
    type Single = (&'static str, fn(f64) -> f64);
    for overload in pairs(|a, b| a / b) {
        b.kernel("divide", RATES, overload);
    }
    for overload in pairs(f64::powf) {
        b.kernel("pow", SemanticRule::None, overload);
    }
    for overload in pairs(|base, a| a.ln() / base.ln()) {
        b.kernel("log", SemanticRule::None, overload);
    }
    let singles: [Single; 5] = [("ln", f64::ln), ("log2", f64::log2), ("log10", f64::log10), ("exp", f64::exp), ("sqrt", f64::sqrt)];
    for (name, f) in singles {
        b.kernel(name, SemanticRule::None, unary::<Float, Float>(f));
        b.kernel(name, SemanticRule::None, unary::<Int, Float>(move |a| f(a as f64)));
    }
}

/// Floats are equal within machine epsilon, as in the original.
pub(crate) fn approx_equal(a: f64, b: f64) -> bool {
    // Infinities have no difference.
    a.total_cmp(&b).is_eq() && !a.is_nan() || (a - b).abs() < f64::EPSILON
}

fn comparisons(b: &mut Builder) {
    type Test = (&'static str, fn(f64, f64) -> bool);
    b.kernel("approxEqual", SemanticRule::None, binary::<Float, Float, Bool>(approx_equal));
    let flags: [Test; 2] = [("equal", approx_equal), ("notEqual", |a, b| !approx_equal(a, b))];
    for (name, f) in flags {
        b.kernel(name, SemanticRule::None, binary::<Float, Float, Bool>(f));
        b.kernel(name, SemanticRule::None, binary::<Float, Int, Bool>(move |a, b| f(a, b as f64)));
        b.kernel(name, SemanticRule::None, binary::<Int, Float, Bool>(move |a, b| f(a as f64, b)));
    }
    b.kernel("lessThan", SemanticRule::None, binary::<Float, Float, Bool>(|a, b| a < b));
    b.kernel("lessThanEqual", SemanticRule::None, binary::<Float, Float, Bool>(|a, b| a <= b));
    b.kernel("greaterThan", SemanticRule::None, binary::<Float, Float, Bool>(|a, b| a > b));
    b.kernel("greaterThanEqual", SemanticRule::None, binary::<Float, Float, Bool>(|a, b| a >= b));
}
