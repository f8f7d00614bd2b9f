//! Which functions there are, and how a call finds its overload.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::logical_expr::{AggregateUDF, Expr, ScalarUDF};
use tables::{DataType, SemanticType};

use crate::table_functions::TableFunction;

/// How the semantic type of a result follows from those of the arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SemanticRule {
    /// It does not: ST_NONE.
    None,
    /// Always this one.
    Always(SemanticType),
    /// If all these arguments (by position; init arguments do not count) have the same one, that one; `None` means all arguments.
    InheritAny(Option<&'static [usize]>),
    /// If all arguments have the same one and it is listed, that one.
    Inherit(&'static [SemanticType]),
    /// The first row whose arguments match; [`SemanticType::None`] matches everything, rows with fewer of it win.
    Table(&'static [(&'static [SemanticType], SemanticType)]),
}

impl SemanticRule {
    /// The semantic type of a result.
    pub fn infer(&self, args: &[SemanticType]) -> SemanticType {
        let same = |positions: Option<&[usize]>| {
            let mut chosen = args.iter().enumerate().filter(|(i, _)| positions.is_none_or(|p| p.contains(i))).map(|(_, st)| *st);
            let first = chosen.next()?;
            chosen.all(|st| st == first).then_some(first)
        };
        match self {
            SemanticRule::None => SemanticType::None,
            SemanticRule::Always(semantic) => *semantic,
            SemanticRule::InheritAny(positions) => same(*positions).unwrap_or(SemanticType::None),
            SemanticRule::Inherit(listed) => same(None).filter(|st| listed.contains(st)).unwrap_or(SemanticType::None),
            SemanticRule::Table(rows) => {
                let fits = |row: &[SemanticType]| {
                    row.len() == args.len() && row.iter().zip(args).all(|(want, got)| *want == SemanticType::None || want == got)
                };
                let wildcards = |row: &[SemanticType]| row.iter().filter(|st| **st == SemanticType::None).count();
                let best = rows.iter().filter(|(row, _)| fits(row)).min_by_key(|(row, _)| wildcards(row));
                best.map_or(SemanticType::None, |(_, result)| *result)
            }
        }
    }
}

/// How a call becomes a DataFusion expression. Init arguments come first among the expressions.
#[derive(Debug, Clone)]
pub enum ScalarLower {
    /// A call of this function.
    Udf(Arc<ScalarUDF>),
    /// An expression that the optimizer understands.
    Native(fn(Vec<Expr>) -> Expr),
}

/// Where a scalar function knows what it is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RunsOn {
    /// Everywhere the same.
    #[default]
    Anywhere,
    /// On the agent that has the row: of processes, only their own agent knows.
    Pem,
    /// Where all of Kubernetes is known, not only what runs on one node.
    Kelvin,
}

/// One overload of a scalar function.
#[derive(Debug, Clone)]
pub struct ScalarFunction {
    /// As scripts name it, without `px.`.
    pub name: &'static str,
    /// Leading arguments that must be literals, such as a regular expression.
    pub init_args: Vec<DataType>,
    /// The arguments after them.
    pub args: Vec<DataType>,
    /// Type of the result.
    pub returns: DataType,
    /// Semantic type of the result.
    pub semantic: SemanticRule,
    /// How it runs.
    pub lower: ScalarLower,
    /// Where it runs.
    pub runs_on: RunsOn,
}

/// How a call of an aggregate becomes a DataFusion expression.
#[derive(Debug, Clone)]
pub enum AggregateLower {
    /// A call of this function.
    Udaf(Arc<AggregateUDF>),
    /// An expression over one of DataFusion's own aggregates; NULL (of no rows) is replaced by the type's default.
    Native(fn(Vec<Expr>) -> Expr),
}

/// One overload of an aggregate function.
#[derive(Debug, Clone)]
pub struct AggregateFunction {
    /// As scripts name it, without `px.`.
    pub name: &'static str,
    /// Its arguments.
    pub args: Vec<DataType>,
    /// Type of the result.
    pub returns: DataType,
    /// Semantic type of the result.
    pub semantic: SemanticRule,
    /// How it runs.
    pub lower: AggregateLower,
}

/// Which functions there are. Overloads differ in the exact types of their arguments; nothing is converted implicitly.
#[derive(Debug, Clone, Default)]
pub struct FunctionRegistry {
    scalars: BTreeMap<&'static str, Vec<Arc<ScalarFunction>>>,
    aggregates: BTreeMap<&'static str, Vec<Arc<AggregateFunction>>>,
    table_functions: BTreeMap<&'static str, &'static TableFunction>,
}

impl FunctionRegistry {
    /// Adds an overload; one with the same arguments is replaced.
    pub fn add_scalar(&mut self, function: ScalarFunction) {
        let overloads = self.scalars.entry(function.name).or_default();
        overloads.retain(|f| !(f.init_args == function.init_args && f.args == function.args));
        overloads.push(Arc::new(function));
    }

    /// Adds an overload; one with the same arguments is replaced.
    pub fn add_aggregate(&mut self, function: AggregateFunction) {
        let overloads = self.aggregates.entry(function.name).or_default();
        overloads.retain(|f| f.args != function.args);
        overloads.push(Arc::new(function));
    }

    /// Adds a table function; one of the same name is replaced.
    pub fn add_table_function(&mut self, function: &'static TableFunction) {
        self.table_functions.insert(function.name, function);
    }

    /// The table function of that name.
    pub fn table_function(&self, name: &str) -> Option<&'static TableFunction> {
        self.table_functions.get(name).copied()
    }

    /// Every table function, by name.
    pub fn table_functions(&self) -> impl Iterator<Item = &'static TableFunction> {
        self.table_functions.values().copied()
    }

    /// The overload that takes exactly these types, init arguments first.
    pub fn scalar(&self, name: &str, args: &[DataType]) -> Option<&Arc<ScalarFunction>> {
        self.scalars.get(name)?.iter().find(|f| f.init_args.iter().chain(&f.args).eq(args))
    }

    /// The overload that takes exactly these types.
    pub fn aggregate(&self, name: &str, args: &[DataType]) -> Option<&Arc<AggregateFunction>> {
        self.aggregates.get(name)?.iter().find(|f| f.args == args)
    }

    /// All overloads of that name.
    pub fn scalar_overloads(&self, name: &str) -> &[Arc<ScalarFunction>] {
        self.scalars.get(name).map_or(&[], Vec::as_slice)
    }

    /// All overloads of that name.
    pub fn aggregate_overloads(&self, name: &str) -> &[Arc<AggregateFunction>] {
        self.aggregates.get(name).map_or(&[], Vec::as_slice)
    }

    /// Every scalar overload, by name.
    pub fn scalars(&self) -> impl Iterator<Item = &Arc<ScalarFunction>> {
        self.scalars.values().flatten()
    }

    /// Every aggregate overload, by name.
    pub fn aggregates(&self) -> impl Iterator<Item = &Arc<AggregateFunction>> {
        self.aggregates.values().flatten()
    }

    /// Every name of a scalar or aggregate function, once.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.scalars.keys().copied().chain(self.aggregates.keys().copied().filter(|name| !self.scalars.contains_key(name)))
    }

    /// The DataFusion scalar functions in use, each once: a plan that travels is read back with these.
    pub fn udfs(&self) -> Vec<Arc<ScalarUDF>> {
        let mut found: BTreeMap<String, Arc<ScalarUDF>> = BTreeMap::new();
        for function in self.scalars() {
            if let ScalarLower::Udf(udf) = &function.lower {
                found.insert(udf.name().to_owned(), Arc::clone(udf));
            }
        }
        found.into_values().collect()
    }

    /// The DataFusion aggregate functions in use, each once.
    pub fn udafs(&self) -> Vec<Arc<AggregateUDF>> {
        let mut found: BTreeMap<String, Arc<AggregateUDF>> = BTreeMap::new();
        for function in self.aggregates() {
            if let AggregateLower::Udaf(udaf) = &function.lower {
                found.insert(udaf.name().to_owned(), Arc::clone(udaf));
            }
        }
        found.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use SemanticType as St;

    #[test]
    fn a_semantic_type_follows_from_the_arguments() {
        let divide = SemanticRule::Table(&[
            (&[St::None, St::DurationNs], St::ThroughputPerNs),
            (&[St::Bytes, St::DurationNs], St::ThroughputBytesPerNs),
        ]);
        assert_eq!(divide.infer(&[St::Bytes, St::DurationNs]), St::ThroughputBytesPerNs);
        assert_eq!(divide.infer(&[St::Port, St::DurationNs]), St::ThroughputPerNs);
        assert_eq!(divide.infer(&[St::Bytes, St::Bytes]), St::None);
        let add = SemanticRule::Inherit(&[St::Bytes]);
        assert_eq!(add.infer(&[St::Bytes, St::Bytes]), St::Bytes);
        assert_eq!(add.infer(&[St::Bytes, St::None]), St::None);
        assert_eq!(add.infer(&[St::Port, St::Port]), St::None);
        let select = SemanticRule::InheritAny(Some(&[1, 2]));
        assert_eq!(select.infer(&[St::None, St::Port, St::Port]), St::Port);
    }
}
