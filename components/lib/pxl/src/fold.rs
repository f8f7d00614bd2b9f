//! Operators on values known while the script compiles, so that `px.minutes(5) * 2` can be a start time.
//! Everything else is left to the engine's optimizer.

use crate::expr::Literal;
use crate::limits::LITERAL_BYTES_MAX;

/// The value of `function` on `args`; None if it is not one of the operators, or has no value.
pub(crate) fn fold(function: &str, args: &[&Literal]) -> Option<Literal> {
    use Literal::{Bool, Float, Int, Str, Time};
    match args {
        [Int(a)] => match function {
            "negate" => Some(Int(a.wrapping_neg())),
            "invert" => Some(Int(!a)),
            "logicalNot" => Some(Bool(*a == 0)),
            _ => None,
        },
        [Float(a)] => (function == "negate").then_some(Float(-a)),
        [Bool(a)] => (function == "logicalNot").then_some(Bool(!a)),
        [Int(a), Int(b)] => ints(function, *a, *b),
        [Float(a), Float(b)] => floats(function, *a, *b),
        [Int(a), Float(b)] => floats(function, *a as f64, *b),
        [Float(a), Int(b)] => floats(function, *a, *b as f64),
        [Bool(a), Bool(b)] => match function {
            "logicalAnd" => Some(Bool(*a && *b)),
            "logicalOr" => Some(Bool(*a || *b)),
            _ => None,
        },
        [Str(a), Str(b)] if function == "add" && a.len() + b.len() <= LITERAL_BYTES_MAX => Some(Str(format!("{a}{b}").into())),
        [Str(a), Str(b)] => compare(function, a.cmp(b)),
        [Time(a), Int(b)] => match function {
            "add" => Some(Time(a.wrapping_add(*b))),
            "subtract" => Some(Time(a.wrapping_sub(*b))),
            _ => None,
        },
        [Int(a), Time(b)] => match function {
            "add" => Some(Time(a.wrapping_add(*b))),
            "subtract" => Some(Int(a.wrapping_sub(*b))),
            _ => None,
        },
        [Time(a), Time(b)] if function == "subtract" => Some(Int(a.wrapping_sub(*b))),
        [Time(a), Time(b)] => compare(function, a.cmp(b)),
        _ => None,
    }
}

fn ints(function: &str, a: i64, b: i64) -> Option<Literal> {
    use Literal::{Bool, Float, Int};
    match function {
        "add" => Some(Int(a.wrapping_add(b))),
        "subtract" => Some(Int(a.wrapping_sub(b))),
        "multiply" => Some(Int(a.wrapping_mul(b))),
        "divide" => Some(Float(a as f64 / b as f64)),
        "modulo" if b != 0 => Some(Int(a.wrapping_rem(b))),
        "logicalAnd" => Some(Bool(a != 0 && b != 0)),
        "logicalOr" => Some(Bool(a != 0 || b != 0)),
        _ => compare(function, a.cmp(&b)),
    }
}

/// Comparisons of floats are left to the engine, which knows about epsilon.
fn floats(function: &str, a: f64, b: f64) -> Option<Literal> {
    match function {
        "add" => Some(Literal::Float(a + b)),
        "subtract" => Some(Literal::Float(a - b)),
        "multiply" => Some(Literal::Float(a * b)),
        "divide" => Some(Literal::Float(a / b)),
        _ => None,
    }
}

fn compare(function: &str, order: std::cmp::Ordering) -> Option<Literal> {
    let holds = match function {
        "equal" => order.is_eq(),
        "notEqual" => order.is_ne(),
        "lessThan" => order.is_lt(),
        "lessThanEqual" => order.is_le(),
        "greaterThan" => order.is_gt(),
        "greaterThanEqual" => order.is_ge(),
        _ => return None,
    };
    Some(Literal::Bool(holds))
}
