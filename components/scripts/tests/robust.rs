//! No text makes the compiler panic, and every problem it tells has a place that exists.

use ids::UnixNs;
use proptest::prelude::*;
use pxl::{CompileInput, FunctionRegistry, SchemaCatalog};

/// What scripts are made of.
const TOKENS: &[&str] = &[
    "import px\n",
    "df",
    " = ",
    "px",
    ".",
    "DataFrame",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "'http_events'",
    "'latency'",
    ",",
    ":",
    "\n",
    "    ",
    "def f(",
    "return ",
    "agg",
    "groupby",
    "merge",
    "head",
    "append",
    "drop",
    "ctx",
    "5",
    "-1",
    "1.5",
    "1e400",
    "99999999999999999999",
    " and ",
    " or ",
    "not ",
    " + ",
    " / ",
    " % ",
    " == ",
    " < ",
    "~",
    "px.count",
    "px.quantiles",
    "px.display",
    "None",
    "True",
    "lambda",
    "if ",
    "for ",
    "f'{x}'",
    "'''",
    "\"",
    "\\",
    "#px:set ",
    "explain=1",
    "\t",
    "é",
    "\u{0}",
    "start_time=",
    "'-5m'",
    "px.now()",
    "*",
    "**",
    "@",
    ";",
    "=",
    "str",
    "how='left'",
];

fn compile(script: &str, functions: &FunctionRegistry) {
    let catalog = SchemaCatalog::of_agents();
    let input = CompileInput { script, exec_funcs: &[], now: UnixNs(1), catalog: &catalog, functions };
    if let Err(problems) = pxl::compile(&input) {
        let lines = script.lines().count().max(1);
        for message in problems.messages() {
            assert!((1..=lines).contains(&(message.place.line as usize)), "line {} of {lines}: {script:?}", message.place.line);
            assert!(message.place.column >= 1);
        }
        assert!(!problems.render("script.pxl").is_empty());
    }
}

fn mutated() -> impl Strategy<Value = String> {
    let scripts: Vec<&'static str> = scripts::list().iter().map(|script| script.pxl).collect();
    let edit = (any::<prop::sample::Index>(), 0_usize..12, prop::sample::select(TOKENS));
    (prop::sample::select(scripts), prop::collection::vec(edit, 1..4)).prop_map(|(script, edits)| {
        let mut text = script.to_owned();
        for (at, cut, token) in edits {
            let start = text.floor_char_boundary(at.index(text.len() + 1));
            let end = text.ceil_char_boundary((start + cut).min(text.len()));
            text.replace_range(start..end, token);
        }
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn soup_of_tokens(tokens in prop::collection::vec(prop::sample::select(TOKENS), 0..40)) {
        compile(&tokens.concat(), &funcs::registry(&funcs::Environment::default()));
    }

    #[test]
    fn changed_scripts(script in mutated()) {
        let functions = funcs::registry(&funcs::Environment::default());
        compile(&script, &functions);
        compile(&format!("{script}\npx.display(px.DataFrame('http_events'))\n"), &functions);
    }

    #[test]
    fn any_text(text in any::<String>()) {
        compile(&text, &funcs::registry(&funcs::Environment::default()));
    }
}
