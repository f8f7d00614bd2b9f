//! No text makes the compiler panic, and every problem it tells has a place that exists.

use proptest::prelude::*;
use pxl::FunctionRegistry;

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
    "stream",
    "import pxtrace\n",
    "pxtrace.UpsertTracepoint",
    "pxtrace.kprobe()",
    "pxtrace.ArgExpr",
    "@pxtrace.probe('f')\n",
    "px.GetAgentStatus",
    "px._HeapStats",
    "asid=1",
    "'a_table'",
];

fn compile(script: &str, functions: &FunctionRegistry) {
    pxl::survive(script.as_bytes(), functions);
}

/// A script that changes something: the library has none.
const TRACEPOINT: &str = "import px
import pxtrace


@pxtrace.probe('malloc')
def malloc():
    return [{'size': pxtrace.ArgExpr('size')}, {'took': pxtrace.FunctionLatency()}]


program = pxtrace.TraceProgram('kprobe:f { printf(\"x:%d\", 1); }', min_kernel='5.4')
target = pxtrace.PodProcess('shop/web', 'main')
pxtrace.UpsertTracepoint('m', 'm_table', [malloc, program], target, '5m')
pxtrace.DeleteTracepoint('old')
df = px.DataFrame('m_table', start_time='-5m')
df.big = df.size > 100 and not df.took < 5
px.display(df[df.big].groupby('size').agg(n=('took', px.count)).head(5), 'out')
";

fn mutated() -> impl Strategy<Value = String> {
    let scripts: Vec<&'static str> = scripts::list().iter().map(|script| script.pxl).chain([TRACEPOINT; 3]).collect();
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
