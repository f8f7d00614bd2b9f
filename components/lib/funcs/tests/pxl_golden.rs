//! Scripts to plans, scripts to errors: `golden/pxl`. Here and not in `pxl`, which knows no functions.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::fmt::Write;

use golden::Case;
use ids::UnixNs;
use pxl::{CompileInput, Compiled, Diagnostics, Flags, FuncToExecute, SchemaCatalog};

/// 2026-01-01 00:00:00 UTC.
const NOW: UnixNs = UnixNs(1_767_225_600_000_000_000);

fn calls(case: &Case) -> Vec<FuncToExecute> {
    if !case.has("calls.json") {
        return Vec::new();
    }
    let calls: serde_json::Value = serde_json::from_str(&case.input("calls.json").expect("it is there")).expect("calls.json is JSON");
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let call = |call: &serde_json::Value| FuncToExecute {
        name: text(&call["func"]),
        args: call["args"].as_object().into_iter().flatten().map(|(name, value)| (name.clone(), text(value))).collect(),
        output_table_prefix: text(&call["prefix"]),
    };
    calls.as_array().expect("calls.json is a list").iter().map(call).collect()
}

fn compile(case: &Case) -> Result<Compiled, Diagnostics> {
    let script = case.input("script.pxl").expect("a case has a script");
    let functions = funcs::registry(&funcs::Environment::default());
    let catalog = SchemaCatalog::of_agents();
    pxl::compile(&CompileInput { script: &script, exec_funcs: &calls(case), now: NOW, catalog: &catalog, functions: &functions })
}

fn show(compiled: &Compiled) -> String {
    let mut text = String::new();
    if compiled.flags != Flags::default() {
        writeln!(text, "{:?}\n", compiled.flags).unwrap();
    }
    for output in &compiled.outputs {
        writeln!(text, "output {}", output.name).unwrap();
        for column in &output.relation.columns {
            writeln!(text, "  {} {} {}", column.name, column.data_type, column.semantic_type).unwrap();
        }
        writeln!(text, "{}\n", output.plan.display_indent()).unwrap();
    }
    text
}

#[test]
fn scripts_become_the_plans_they_say() {
    golden::run("pxl/ok", |case| {
        let plan = compile(case).map_or_else(|problems| format!("does not compile:\n{}", problems.render("script.pxl")), |c| show(&c));
        case.expect("plan.txt", plan.trim_end())
    });
}

#[test]
fn wrong_scripts_are_told_what_and_where() {
    golden::run("pxl/errors", |case| {
        let text = compile(case).map_or_else(|problems| problems.render("script.pxl"), |c| format!("compiles:\n{}", show(&c)));
        let lines = case.input("script.pxl")?.lines().count();
        if let Err(problems) = compile(case) {
            for message in problems.messages() {
                assert!((1..=lines.max(1)).contains(&(message.place.line as usize)) && message.place.column >= 1, "{}", case.name());
            }
        }
        case.expect("stderr.txt", text.trim_end())
    });
}
