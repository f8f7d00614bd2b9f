//! Gathers overloads by name, so that each name becomes one DataFusion function.

use std::sync::Arc;

use datafusion::logical_expr::{Expr, ScalarUDF};
use pxl::{AggregateFunction, FunctionRegistry, RunsOn, ScalarFunction, ScalarLower, SemanticRule};
use tables::DataType;

use crate::kernel::{KernelUdf, Overload};

struct Gathered {
    name: &'static str,
    /// How many of the leading arguments must be literals.
    init_args: usize,
    runs_on: RunsOn,
    /// It takes nothing, and differs from place to place.
    here: bool,
    overloads: Vec<(Overload, SemanticRule)>,
}

/// A registry in the making.
#[derive(Default)]
pub(crate) struct Builder {
    kernels: Vec<Gathered>,
    registry: FunctionRegistry,
}

impl Builder {
    /// An overload that runs as a loop over rows.
    pub(crate) fn kernel(&mut self, name: &'static str, semantic: SemanticRule, overload: Overload) {
        self.kernel_with_init(name, 0, semantic, overload);
    }

    /// As [`Self::kernel`]; the first `init_args` arguments must be literals.
    pub(crate) fn kernel_with_init(&mut self, name: &'static str, init_args: usize, semantic: SemanticRule, overload: Overload) {
        let at = self.kernels.iter().position(|k| k.name == name).unwrap_or_else(|| {
            self.kernels.push(Gathered { name, init_args, runs_on: RunsOn::Anywhere, here: false, overloads: Vec::new() });
            self.kernels.len() - 1
        });
        self.kernels[at].overloads.push((overload, semantic));
    }

    /// As [`Self::kernel`], of a function that knows only there what it is asked.
    pub(crate) fn kernel_on(&mut self, name: &'static str, runs_on: RunsOn, semantic: SemanticRule, overload: Overload) {
        self.kernel_with_init(name, 0, semantic, overload);
        if let Some(gathered) = self.kernels.iter_mut().find(|k| k.name == name) {
            gathered.runs_on = runs_on;
        }
    }

    /// As [`Self::kernel`], of a function that takes nothing and tells of where it runs.
    pub(crate) fn kernel_here(&mut self, name: &'static str, semantic: SemanticRule, overload: Overload) {
        self.kernel_with_init(name, 0, semantic, overload);
        if let Some(gathered) = self.kernels.iter_mut().find(|k| k.name == name) {
            gathered.here = true;
        }
    }

    /// An overload that DataFusion's own expressions can do.
    pub(crate) fn native(
        &mut self,
        name: &'static str,
        args: &[DataType],
        returns: DataType,
        semantic: SemanticRule,
        build: fn(Vec<Expr>) -> Expr,
    ) {
        let lower = ScalarLower::Native(build);
        let (init_args, args, runs_on) = (vec![], args.to_vec(), RunsOn::Anywhere);
        self.registry.add_scalar(ScalarFunction { name, init_args, args, returns, semantic, lower, runs_on });
    }

    pub(crate) fn aggregate(&mut self, function: AggregateFunction) {
        self.registry.add_aggregate(function);
    }

    pub(crate) fn finish(mut self) -> FunctionRegistry {
        for Gathered { name, init_args, runs_on, here, overloads } in self.kernels {
            let mut heads = Vec::new();
            let mut kernels = Vec::new();
            for (overload, semantic) in overloads {
                let (init, args) = overload.args.split_at(init_args);
                heads.push((init.to_vec(), args.to_vec(), overload.returns, semantic));
                kernels.push(overload);
            }
            let udf = Arc::new(ScalarUDF::new_from_impl(KernelUdf::new(name, here, kernels)));
            for (init_args, args, returns, semantic) in heads {
                let lower = ScalarLower::Udf(Arc::clone(&udf));
                self.registry.add_scalar(ScalarFunction { name, init_args, args, returns, semantic, lower, runs_on });
            }
        }
        crate::table_functions::add(&mut self.registry);
        self.registry
    }
}
