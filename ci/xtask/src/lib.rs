//! The project's chores. `check` is all of them in the order in which they cost: `fmt`, `clippy`, `layers`, `tidy`, `deny`, `test`, `golden`;
//! each is a command of its own too. What a reviewer would otherwise have to remember is held here.

#![allow(clippy::print_stdout, reason = "a command line tool talks to its caller")]

mod args;
mod cargo;
mod check;
mod deny;
mod finding;
mod golden;
mod layers;
mod new;
mod repo;
mod test_run;
mod tidy;

pub use args::Args;
pub use check::main;
