//! Gathers overloads by name, so that each name becomes one DataFusion function.

use std::sync::Arc;

use datafusion::logical_expr::{Expr, ScalarUDF};
use pxl::{AggregateFunction, FunctionRegistry, ScalarFunction, ScalarLower, SemanticRule};
use tables::DataType;

use crate::kernel::{KernelUdf, Overload};

struct Gathered {
    name: &'static str,
    /// How many of the leading arguments must be literals.
    init_args: usize,
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
            self.kernels.push(Gathered { name, init_args, overloads: Vec::new() });
            self.kernels.len() - 1
        });
        self.kernels[at].overloads.push((overload, semantic));
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
        self.registry.add_scalar(ScalarFunction { name, init_args: vec![], args: args.to_vec(), returns, semantic, lower });
    }

    pub(crate) fn aggregate(&mut self, function: AggregateFunction) {
        self.registry.add_aggregate(function);
    }

    pub(crate) fn finish(mut self) -> FunctionRegistry {
        for Gathered { name, init_args, overloads } in self.kernels {
            let mut heads = Vec::new();
            let mut kernels = Vec::new();
            for (overload, semantic) in overloads {
                let (init, args) = overload.args.split_at(init_args);
                heads.push((init.to_vec(), args.to_vec(), overload.returns, semantic));
                kernels.push(overload);
            }
            let udf = Arc::new(ScalarUDF::new_from_impl(KernelUdf::new(name, kernels)));
            for (init_args, args, returns, semantic) in heads {
                let lower = ScalarLower::Udf(Arc::clone(&udf));
                self.registry.add_scalar(ScalarFunction { name, init_args, args, returns, semantic, lower });
            }
        }
        self.registry
    }
}
