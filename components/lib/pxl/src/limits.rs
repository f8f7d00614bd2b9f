//! What a script may at most be. Each limit is far above the largest script known and far below what would hurt.

/// Largest script in bytes. The largest known one has 60 KiB.
pub(crate) const SCRIPT_BYTES_MAX: usize = 256 * 1024;
/// Deepest nesting of brackets, prefix operators and blocks: each level takes parser stack.
pub(crate) const NESTING_MAX: usize = 40;
/// Longest chain of operators, attributes and calls in one expression: the syntax tree is that deep.
pub(crate) const CHAIN_MAX: usize = 100;
/// Deepest nesting of function calls while a script runs. Recursion has no end in PxL, which has no `if`.
pub(crate) const CALLS_MAX: usize = 24;
/// Deepest nesting of expressions over all calls in progress: each level takes stack.
pub(crate) const EVAL_DEPTH_MAX: u32 = 150;
/// Syntax nodes evaluated in one run: functions that call each other twice over would run for ever.
pub(crate) const STEPS_MAX: u32 = 200_000;
/// Deepest expression that reaches the engine.
pub(crate) const EXPR_DEPTH_MAX: u32 = 100;
/// Largest expression that reaches the engine, in nodes.
pub(crate) const EXPR_NODES_MAX: u32 = 5_000;
/// Deepest plan of one output, in operators.
pub(crate) const PLAN_DEPTH_MAX: u32 = 150;
/// Largest plan of one output, in operators; what is used twice counts twice.
pub(crate) const PLAN_NODES_MAX: u32 = 1_000;
/// Longest text that constant folding may make.
pub(crate) const LITERAL_BYTES_MAX: usize = 64 * 1024;
/// Deepest nesting of lists and dictionaries.
pub(crate) const VALUE_DEPTH_MAX: u32 = 16;
/// Most outputs of one script.
pub(crate) const OUTPUTS_MAX: usize = 200;
/// Most columns that one export reads.
pub(crate) const EXPORT_COLUMNS_MAX: usize = 500;
/// Most values in the literal rows of one table function: a thousand agents with some sixty columns. They travel in the plan.
pub(crate) const FUNCTION_CELLS_MAX: usize = 65_536;
/// Most mutations of one script: each goes to every agent.
pub(crate) const MUTATIONS_MAX: usize = 100;
/// Most programs of one tracepoint.
pub(crate) const PROGRAMS_MAX: usize = 32;
/// Most syntax errors told at once.
pub(crate) const SYNTAX_ERRORS_MAX: usize = 5;
