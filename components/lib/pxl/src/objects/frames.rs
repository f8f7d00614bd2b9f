//! Methods of DataFrames.

use datafusion::common::{Column, JoinType, TableReference};
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, SortExpr};
use std::rc::Rc;
use tables::{DataType, Relation};

use super::FrameMethod;
use super::read::TIME_COLUMN;
use crate::args::{Arg, Args, required};
use crate::diagnostics::{Code, Diagnostic, Result};
use crate::eval::Evaluator;
use crate::expr::{Typed, default_scalar};
use crate::frame::{Frame, internal};
use crate::source::Span;
use crate::value::{Grouped, Value};

/// Rows that `head()` keeps where the script does not say.
const HEAD_DEFAULT: usize = 5;

impl<'a> Evaluator<'a> {
    pub(crate) fn call_frame_method(&mut self, frame: &Frame, method: FrameMethod, args: Args<'a>) -> Result<Value<'a>> {
        match method {
            FrameMethod::Agg => self.aggregate(frame, &[], &args),
            FrameMethod::Append => self.append(frame, args),
            FrameMethod::Drop => self.drop_columns(frame, args),
            FrameMethod::Groupby => groupby(frame, args),
            FrameMethod::Head => self.head(frame, args),
            FrameMethod::Merge => self.merge(frame, args),
            FrameMethod::Stream => {
                let at = args.span;
                let [] = args.bind_all("stream", [])?;
                frame.stream(at).map(Value::Frame)
            }
        }
    }

    /// `df['column']`, `df[['a', 'b']]`, `df['a', 'b']` and `df[condition]`.
    pub(crate) fn frame_item(&mut self, frame: &Frame, index: Value<'a>, at: Span) -> Result<Value<'a>> {
        if let Some(name) = index.as_str() {
            return frame.read(name, at).map(Value::Expr);
        }
        match index {
            Value::Expr(condition) => self.filter(frame, &condition, at).map(Value::Frame),
            Value::List(_) | Value::Tuple(_) => {
                let names = Arg { value: index, span: at }.strings("key")?;
                if let Some(twice) = names.iter().enumerate().find(|(i, name)| names[..*i].contains(name)) {
                    let message = format!(
                        "cannot specify the same column name more than once when filtering by cols. '{}' specified more than once",
                        twice.1
                    );
                    return Err(Diagnostic::new(Code::Value, at, message));
                }
                if names.is_empty() {
                    return Err(Diagnostic::new(Code::Value, at, "a DataFrame needs at least one column"));
                }
                frame.keep(&mut self.ops, &names, at).map(Value::Frame)
            }
            other => {
                let message = format!("subscript argument must have a list of strings or expression. '{}' not allowed", other.kind());
                Err(Diagnostic::new(Code::Type, at, message))
            }
        }
    }

    fn filter(&mut self, frame: &Frame, condition: &Typed, at: Span) -> Result<Frame> {
        if condition.data_type != DataType::Boolean {
            let message = format!("Expected Boolean for Filter expression, got {}", condition.data_type);
            return Err(Diagnostic::new(Code::Type, at, message));
        }
        let lowered = frame.lower(&self.ops, condition, at)?;
        let plan = build(frame, at, |plan| plan.filter(lowered))?;
        Frame::derive(&mut self.ops, &[frame], plan, Relation::clone(&frame.relation), at)
    }

    fn head(&mut self, frame: &Frame, args: Args<'a>) -> Result<Value<'a>> {
        let at = args.span;
        // `_pem_only` is the original's hint to its planner; plans here are cut by the engine.
        let slot = args.bind("head", &["n", "_pem_only"])?.into_iter().next().flatten();
        let rows = match &slot {
            None => HEAD_DEFAULT,
            Some(arg) => {
                usize::try_from(arg.int("n")?).map_err(|_| Diagnostic::new(Code::Value, arg.span, "Limit value not set properly."))?
            }
        };
        let plan = build(frame, at, |plan| plan.limit(0, Some(rows)))?;
        let frame = Frame::derive(&mut self.ops, &[frame], plan, Relation::clone(&frame.relation), at)?;
        Ok(Value::Frame(frame.behind("head")))
    }

    fn drop_columns(&mut self, frame: &Frame, args: Args<'a>) -> Result<Value<'a>> {
        let [columns] = args.bind_all("drop", ["columns"])?;
        let dropped = columns.strings("columns")?;
        for name in &dropped {
            frame.column(name, columns.span)?;
        }
        let kept: Vec<String> = frame.relation.columns.iter().map(|c| c.name.clone()).filter(|name| !dropped.contains(name)).collect();
        if kept.is_empty() {
            return Err(Diagnostic::new(Code::Value, columns.span, "drop() would leave no column"));
        }
        frame.keep(&mut self.ops, &kept, columns.span).map(Value::Frame)
    }

    /// Rows of this frame and of others with the same columns, ordered by `time_` where there is one.
    fn append(&mut self, frame: &Frame, args: Args<'a>) -> Result<Value<'a>> {
        let at = args.span;
        let [objs] = args.bind_all("append", ["objs"])?;
        let others: Vec<Frame> = match &objs.value {
            Value::List(items) | Value::Tuple(items) => {
                let frame = |item: &Value<'a>| match item {
                    Value::Frame(frame) => Ok(frame.clone()),
                    other => Err(Diagnostic::new(Code::Type, objs.span, format!("Expected DataFrame, received {}", other.kind()))),
                };
                items.items.iter().map(frame).collect::<Result<_>>()?
            }
            _ => vec![objs.frame("objs")?.clone()],
        };
        let mut plan = LogicalPlanBuilder::from(frame.plan().map_err(|e| internal(&e, at))?);
        let mut from = vec![frame];
        for other in &others {
            let same = self.same_columns(frame, other, objs.span)?;
            plan = same.plan().and_then(|other| plan.union(other)).map_err(|e| internal(&e, objs.span))?;
            from.push(other);
        }
        let relation = common_semantics(frame, &others);
        if relation.column(TIME_COLUMN).is_some_and(|c| c.data_type == DataType::Time64Ns) {
            let time = SortExpr::new(Expr::Column(Column::new_unqualified(TIME_COLUMN)), true, false);
            plan = plan.sort([time]).map_err(|e| internal(&e, at))?;
        }
        let plan = plan.build().map_err(|e| internal(&e, at))?;
        let appended = Frame::derive(&mut self.ops, &from, plan, relation, at)?;
        Ok(Value::Frame(appended.behind("append")))
    }

    /// `other` with its columns in the order of `frame`.
    fn same_columns(&mut self, frame: &Frame, other: &Frame, at: Span) -> Result<Frame> {
        let complain = |what: String| {
            let show = |f: &Frame| f.relation.columns.iter().map(|c| format!("{}:{}", c.name, c.data_type)).collect::<Vec<_>>().join(", ");
            let message = format!("Table schema disagreement in append(): [{}] vs [{}]. {what}", show(frame), show(other));
            Diagnostic::new(Code::Type, at, message)
        };
        if frame.relation.columns.len() != other.relation.columns.len() {
            return Err(complain("Column count wrong.".to_owned()));
        }
        for column in &frame.relation.columns {
            match other.relation.column(&column.name) {
                None => return Err(complain(format!("Missing '{}'.", column.name))),
                Some(found) if found.data_type != column.data_type => return Err(complain(format!("wrong type for '{}'.", column.name))),
                Some(_) => {}
            }
        }
        let names: Vec<String> = frame.relation.columns.iter().map(|c| c.name.clone()).collect();
        other.keep(&mut self.ops, &names, at)
    }

    fn merge(&mut self, left: &Frame, args: Args<'a>) -> Result<Value<'a>> {
        let at = args.span;
        let mut slots = args.bind("merge", &["right", "how", "left_on", "right_on", "suffixes"])?.into_iter();
        let mut next = |name| required(slots.next().flatten(), "merge", name, at);
        let (right, how, left_on, right_on) = (next("right")?, next("how")?, next("left_on")?, next("right_on")?);
        let suffixes = slots.next().flatten();
        let right_frame = right.frame("right")?.clone();
        let join_type = match &*how.str("how")? {
            "inner" => JoinType::Inner,
            "left" => JoinType::Left,
            "right" => JoinType::Right,
            "outer" => JoinType::Full,
            other => {
                let message = format!("'{other}' join type not supported. Only {{'inner','left','outer','right'}} are available.");
                return Err(Diagnostic::new(Code::Value, how.span, message));
            }
        };
        let keys = join_keys(left, &right_frame, &left_on, &right_on)?;
        let suffixes = suffixes.map_or_else(|| Ok(["_x".to_owned(), "_y".to_owned()]), |arg| parse_suffixes(&arg))?;
        let sides = Sides { left, right: &right_frame, suffixes: &suffixes };
        let (relation, names) = sides.relation(at)?;
        let plan = (|| {
            let key = |side: &str, name: &String| Column::new(Some(TableReference::bare(side)), name);
            let on_left: Vec<Column> = keys.iter().map(|(name, _)| key("x", name)).collect();
            let on_right: Vec<Column> = keys.iter().map(|(_, name)| key("y", name)).collect();
            let right = LogicalPlanBuilder::from(right_frame.plan()?).alias("y")?.build()?;
            let joined = LogicalPlanBuilder::from(left.plan()?).alias("x")?.join(right, join_type, (on_left, on_right), None)?;
            joined.project(sides.columns(join_type, &names))?.build()
        })()
        .map_err(|e| internal(&e, at))?;
        let merged = Frame::derive(&mut self.ops, &[left, &right_frame], plan, relation, at)?;
        Ok(Value::Frame(merged.behind("merge")))
    }
}

fn build(
    frame: &Frame,
    at: Span,
    step: impl FnOnce(LogicalPlanBuilder) -> datafusion::common::Result<LogicalPlanBuilder>,
) -> Result<datafusion::logical_expr::LogicalPlan> {
    let plan = frame.plan().and_then(|plan| step(LogicalPlanBuilder::from(plan))).and_then(LogicalPlanBuilder::build);
    plan.map_err(|e| internal(&e, at))
}

fn groupby<'a>(frame: &Frame, args: Args<'a>) -> Result<Value<'a>> {
    let [by] = args.bind_all("groupby", ["by"])?;
    let mut names = Vec::new();
    for name in by.strings("by")? {
        frame.column(&name, by.span)?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(Value::Grouped(Rc::new(Grouped { frame: frame.clone(), by: names })))
}

/// Both sides of a join.
struct Sides<'f> {
    left: &'f Frame,
    right: &'f Frame,
    suffixes: &'f [String; 2],
}

impl Sides<'_> {
    /// The columns of the result: first the left ones, then the right ones; names of both get a suffix.
    fn relation(&self, at: Span) -> Result<(Relation, Vec<String>)> {
        let mut relation = Relation::default();
        for (side, other, suffix) in [(self.left, self.right, &self.suffixes[0]), (self.right, self.left, &self.suffixes[1])] {
            for column in &side.relation.columns {
                let mut column = column.clone();
                if other.relation.column(&column.name).is_some() {
                    column.name.push_str(suffix);
                }
                if relation.column(&column.name).is_some() {
                    let message = format!("merge() would make two columns '{}'", column.name);
                    return Err(Diagnostic::new(Code::Value, at, message).with_help("give other suffixes, or drop or rename one of them"));
                }
                relation.columns.push(column);
            }
        }
        let names = relation.columns.iter().map(|c| c.name.clone()).collect();
        Ok((relation, names))
    }

    /// Their expressions. Where a side may be missing, its type's default stands in.
    fn columns(&self, join_type: JoinType, names: &[String]) -> Vec<Expr> {
        let left_missing = matches!(join_type, JoinType::Right | JoinType::Full);
        let right_missing = matches!(join_type, JoinType::Left | JoinType::Full);
        let sides = [(self.left, "x", left_missing), (self.right, "y", right_missing)];
        let exprs = sides.iter().flat_map(|(frame, side, missing)| {
            frame.relation.columns.iter().map(move |c| {
                let value = Expr::Column(Column::new(Some(TableReference::bare(*side)), &c.name));
                if *missing { coalesce(vec![value, Expr::Literal(default_scalar(c.data_type), None)]) } else { value }
            })
        });
        exprs.zip(names).map(|(expr, name)| expr.alias(name)).collect()
    }
}

fn join_keys(left: &Frame, right: &Frame, left_on: &Arg<'_>, right_on: &Arg<'_>) -> Result<Vec<(String, String)>> {
    let (left_names, right_names) = (left_on.strings("left_on")?, right_on.strings("right_on")?);
    if left_names.len() != right_names.len() || left_names.is_empty() {
        let message = "'left_on' and 'right_on' must contain the same number of elements.";
        return Err(Diagnostic::new(Code::Value, right_on.span, message));
    }
    for (i, (l, r)) in left_names.iter().zip(&right_names).enumerate() {
        let (l, r) = (left.column(l, left_on.span)?, right.column(r, right_on.span)?);
        if l.data_type != r.data_type {
            let message = format!(
                "join columns specified in `left_on` and `right_on` must have the same datatype, but the {i}-th columns disagree. [{} ({}) vs {} ({})]",
                l.name, l.data_type, r.name, r.data_type
            );
            return Err(Diagnostic::new(Code::Type, right_on.span, message));
        }
    }
    Ok(left_names.into_iter().zip(right_names).collect())
}

fn parse_suffixes(arg: &Arg<'_>) -> Result<[String; 2]> {
    let complain = || {
        let message = format!("'suffixes' must be a list with 2 strings for the left and right suffixes. Received {}", arg.value.kind());
        Diagnostic::new(Code::Value, arg.span, message)
    };
    let both = arg.strings("suffixes").map_err(|_| complain())?;
    <[String; 2]>::try_from(both).map_err(|_| complain())
}

/// The first frame's relation; semantic types on which the others disagree are lost.
fn common_semantics(frame: &Frame, others: &[Frame]) -> Relation {
    let mut relation = Relation::clone(&frame.relation);
    for column in &mut relation.columns {
        let agree = |other: &Frame| other.relation.column(&column.name).is_some_and(|c| c.semantic_type == column.semantic_type);
        if !others.iter().all(agree) {
            column.semantic_type = tables::SemanticType::None;
        }
    }
    relation
}
