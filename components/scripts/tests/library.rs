//! Every script of the library compiles, and its outputs are those of `golden/scripts`.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::collections::BTreeMap;
use std::fmt::Write;

use ids::UnixNs;
use pxl::{CompileInput, FuncToExecute, SchemaCatalog};
use scripts::Script;

/// 2026-01-01 00:00:00 UTC.
const NOW: UnixNs = UnixNs(1_767_225_600_000_000_000);

fn outputs(script: &Script, arguments: &[(String, String)]) -> Result<String, String> {
    let calls = script.vis.as_ref().map_or_else(|| Ok(Vec::new()), |vis| vis.calls(arguments)).map_err(|error| error.to_string())?;
    let exec_funcs: Vec<FuncToExecute> =
        calls.into_iter().map(|call| FuncToExecute { name: call.func, args: call.args, output_table_prefix: call.output }).collect();
    let functions = funcs::registry(&funcs::Environment::default());
    let catalog = SchemaCatalog::of_agents();
    let input = CompileInput { exec_funcs: &exec_funcs, ..CompileInput::new(script.pxl, NOW, &catalog, &functions) };
    let compiled = pxl::compile(&input).map_err(|problems| problems.render(&script.name))?;
    let mut text = String::new();
    for output in compiled.outputs {
        writeln!(text, "{}", output.name).unwrap();
        for column in &output.relation.columns {
            writeln!(text, "  {} {} {}", column.name, column.data_type, column.semantic_type).unwrap();
        }
    }
    Ok(text)
}

#[test]
fn every_script_compiles_with_its_defaults() {
    for script in scripts::list() {
        outputs(script, &[]).unwrap_or_else(|problem| panic!("{}: {problem}", script.name));
    }
}

#[test]
fn outputs_are_as_pinned() {
    let mut pinned = Vec::new();
    let seen = std::cell::RefCell::new(&mut pinned);
    golden::run("scripts", |case| {
        let name = case.name().trim_start_matches("scripts/").to_owned();
        let script = scripts::get(&name).unwrap_or_else(|| panic!("there is no script {name}"));
        let arguments: BTreeMap<String, String> = serde_json::from_str(&case.input("arguments.json")?).expect("arguments are text");
        seen.borrow_mut().push(name);
        let text = outputs(script, &arguments.into_iter().collect::<Vec<_>>()).unwrap_or_else(|problem| problem);
        case.expect("outputs.txt", text.trim_end())
    });
    for name in scripts::names() {
        assert!(pinned.iter().any(|pinned| pinned == name), "{name} has no case in golden/scripts");
    }
}

#[test]
fn a_script_checks_itself() {
    let functions = funcs::registry(&funcs::Environment::default());
    for script in scripts::list() {
        assert_eq!(pxl::check(script.pxl, &functions), Ok(()), "{}", script.name);
    }
}
