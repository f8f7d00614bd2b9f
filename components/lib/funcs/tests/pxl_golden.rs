//! Scripts to plans, scripts to errors: `golden/pxl`. Here and not in `pxl`, which knows no functions.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::fmt::Write;
use std::sync::Arc;

use golden::Case;
use ids::UnixNs;
use pxl::{
    AnsweredBy, CompileInput, Compiled, Configs, Diagnostics, Endpoint, Flags, FuncToExecute, FunctionRegistry, Mutation, PluginTimes,
    RunsOn, ScalarFunction, SchemaCatalog, TableFunctionArg,
};
use tables::DataType;

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

fn with_input<T>(case: &Case, compile: impl FnOnce(&CompileInput<'_>) -> T) -> T {
    let script = case.input("script.pxl").expect("a case has a script");
    let functions = funcs::registry(&funcs::Environment::default());
    let catalog = SchemaCatalog::of_agents();
    // What a request may say beside the script, in cases of what scripts do with it.
    let endpoint =
        Endpoint { url: "collector:4317".to_owned(), headers: vec![("api-key".to_owned(), "secret".to_owned())], ..Endpoint::default() };
    let plugin_times = Some(PluginTimes { start: UnixNs(NOW.0 - 10_000_000_000), end: NOW });
    let configs =
        if case.name().ends_with("_with_configs") { Configs { endpoint: Some(&endpoint), plugin_times } } else { Configs::default() };
    compile(&CompileInput { script: &script, exec_funcs: &calls(case), now: NOW, catalog: &catalog, functions: &functions, configs })
}

fn compile(case: &Case) -> Result<Compiled, Diagnostics> {
    with_input(case, pxl::compile)
}

fn show(compiled: &Compiled) -> String {
    let mut text = String::new();
    if compiled.flags != Flags::default() {
        writeln!(text, "{:?}\n", compiled.flags).unwrap();
    }
    for output in &compiled.outputs {
        writeln!(text, "output {}{}", output.name, if output.streaming { ", streaming" } else { "" }).unwrap();
        for column in &output.relation.columns {
            writeln!(text, "  {} {} {}", column.name, column.data_type, column.semantic_type).unwrap();
        }
        writeln!(text, "{}\n", output.plan.display_indent()).unwrap();
        if let Some(export) = &output.export {
            writeln!(text, "{export:#?}\n").unwrap();
        }
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

fn show_mutations(mutations: &[Mutation]) -> String {
    let mut text = if mutations.is_empty() { "nothing".to_owned() } else { String::new() };
    for mutation in mutations {
        writeln!(text, "{mutation:#?}").unwrap();
    }
    text
}

#[test]
fn scripts_want_changed_what_they_say() {
    golden::run("pxl/mutations", |case| {
        let text = with_input(case, pxl::compile_mutations).map_or_else(|problems| problems.render("script.pxl"), |m| show_mutations(&m));
        let mutates = pxl::mutates(&case.input("script.pxl")?);
        assert!(mutates || text == "nothing", "{}", case.name());
        case.expect("mutations.txt", text.trim_end())
    });
}

#[test]
fn scripts_that_show_tables_become_scripts_that_export_them() {
    golden::run("pxl/otel_scripts", |case| {
        let text = with_input(case, pxl::otel_script).unwrap_or_else(|problems| problems.render("script.pxl"));
        case.expect("exporting.pxl", text.trim_end())
    });
}

fn types(types: &[DataType]) -> String {
    types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn scalars(functions: &FunctionRegistry) -> String {
    let one = |f: &Arc<ScalarFunction>| {
        let init = if f.init_args.is_empty() { String::new() } else { format!("[{}] ", types(&f.init_args)) };
        let place = match f.runs_on {
            RunsOn::Anywhere => "",
            RunsOn::Pem => ", on the agent that has the row",
            RunsOn::Kelvin => ", on Kelvin",
        };
        format!("{} {init}({}) -> {}{place}", f.name, types(&f.args), f.returns)
    };
    functions.scalars().map(one).collect::<Vec<_>>().join("\n")
}

fn aggregates(functions: &FunctionRegistry) -> String {
    functions.aggregates().map(|f| format!("{} ({}) -> {}", f.name, types(&f.args), f.returns)).collect::<Vec<_>>().join("\n")
}

fn table_functions(functions: &FunctionRegistry) -> String {
    let mut text = String::new();
    for function in functions.table_functions() {
        let arg = |arg: &TableFunctionArg| match &arg.default {
            None => format!("{}: {}", arg.name, arg.data_type),
            Some(default) => format!("{}: {} = {default:?}", arg.name, arg.data_type),
        };
        let args = function.args.iter().map(arg).collect::<Vec<_>>().join(", ");
        writeln!(text, "{}({args}), {:?}: {}", function.name, function.answered_by, function.about).unwrap();
        for column in function.columns {
            writeln!(text, "  {} {} {}", column.name, column.data_type, column.semantic_type).unwrap();
        }
    }
    text
}

#[test]
fn functions_are_those_that_scripts_know() {
    let functions = funcs::registry(&funcs::Environment::default());
    golden::run("pxl/signatures", |case| {
        let text = match case.name() {
            "pxl/signatures/scalars" => scalars(&functions),
            "pxl/signatures/aggregates" => aggregates(&functions),
            "pxl/signatures/table_functions" => table_functions(&functions),
            other => panic!("{other} is none of the three"),
        };
        case.expect("signatures.txt", text.trim_end())
    });
}

#[test]
fn agents_say_whose_rows_are_whose() {
    for function in funcs::TABLE_FUNCTIONS.iter().filter(|function| function.answered_by != AnsweredBy::Broker) {
        assert_eq!(function.columns[0].name, "asid", "{}", function.name);
        assert!(function.table_name().starts_with(pxl::FUNCTION_TABLE_PREFIX));
    }
}

#[test]
fn wrong_scripts_are_told_what_and_where() {
    golden::run("pxl/errors", |case| {
        let result = if case.name().starts_with("pxl/errors/mutations/") {
            with_input(case, pxl::compile_mutations).map(|mutations| show_mutations(&mutations))
        } else {
            compile(case).map(|compiled| show(&compiled))
        };
        let text = result.clone().map_or_else(|problems| problems.render("script.pxl"), |shown| format!("compiles:\n{shown}"));
        let lines = case.input("script.pxl")?.lines().count();
        if let Err(problems) = result {
            for message in problems.messages() {
                assert!((1..=lines.max(1)).contains(&(message.place.line as usize)) && message.place.column >= 1, "{}", case.name());
            }
        }
        case.expect("stderr.txt", text.trim_end())
    });
}
