//! What must hold for every text.

use ids::UnixNs;

use crate::catalog::SchemaCatalog;
use crate::compile::{CompileInput, compile, compile_mutations, mutates};
use crate::diagnostics::{Code, Diagnostics};
use crate::export::{Configs, Endpoint, PluginTimes};
use crate::functions::FunctionRegistry;
use crate::limits::{MUTATIONS_MAX, OUTPUTS_MAX};
use crate::otel_script::otel_script;

/// Compiles a text in every way there is. For fuzzing, and for tests that replay what it found.
///
/// # Panics
/// If something that must hold does not: a problem has a place that exists, and can be drawn; nothing is larger than its limit.
pub fn survive(data: &[u8], functions: &FunctionRegistry) {
    let script = String::from_utf8_lossy(data);
    let catalog = SchemaCatalog::of_agents();
    let now = UnixNs(1_767_225_600_000_000_000);
    let endpoint = Endpoint { url: "localhost:4317".to_owned(), ..Endpoint::default() };
    let configs = Configs { endpoint: Some(&endpoint), plugin_times: Some(PluginTimes { start: UnixNs(now.0 - 1), end: now }) };
    let input = CompileInput { script: &script, exec_funcs: &[], now, catalog: &catalog, functions, configs };
    match compile(&input) {
        Ok(compiled) => assert!((1..=OUTPUTS_MAX).contains(&compiled.outputs.len())),
        Err(problems) => told(&script, &problems),
    }
    match otel_script(&input) {
        Ok(exporting) => assert!(exporting.contains(".export(")),
        Err(problems) => {
            assert!(problems.problems().iter().all(|problem| problem.code != Code::Internal), "{problems:?}");
            told(&script, &problems);
        }
    }
    match compile_mutations(&input) {
        Ok(mutations) => {
            assert!(mutations.len() <= MUTATIONS_MAX);
            assert!(mutations.is_empty() || mutates(&script), "mutations out of nowhere");
        }
        Err(problems) => told(&script, &problems),
    }
    if let Err(problems) = crate::check(&script, functions) {
        told(&script, &problems);
    }
}

fn told(script: &str, problems: &Diagnostics) {
    let lines = script.lines().count().max(1);
    let messages = problems.messages();
    assert!(!messages.is_empty(), "a problem without a message");
    for message in messages {
        assert!((1..=lines).contains(&(message.place.line as usize)), "line {} of {lines}: {script:?}", message.place.line);
        assert!(message.place.column >= 1 && !message.message.is_empty());
    }
    assert!(!problems.render("script.pxl").is_empty());
}
