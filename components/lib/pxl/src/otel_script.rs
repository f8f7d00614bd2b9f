//! A script that shows tables, made into one that exports them too. Reference: pxl.md, errors of the generator.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use rustpython_ruff_python_ast::{Expr, ExprCall, ModModule, Stmt};
use tables::{ColumnDef, DataType, Relation, SemanticType};

use crate::compile::{CompileInput, compile};
use crate::diagnostics::{Code, Diagnostic, Diagnostics, Result};
use crate::eval::Evaluator;
use crate::export::{Configs, Endpoint};
use crate::flags::Flags;
use crate::objects::{is_frame_name, is_metric_name};
use crate::parse::parse_script;
use crate::source::{Span, span};

/// A table that the script showed.
#[derive(Debug)]
pub(crate) struct Displayed {
    /// Of the call.
    pub(crate) at: Span,
    /// Of the DataFrame among its arguments.
    pub(crate) frame: Span,
    /// As the script names it.
    pub(crate) name: String,
    pub(crate) relation: Relation,
}

/// Text to put into the script, and where.
type Edit = (usize, String);

/// The same script with a `px.export` for each DataFrame that it displays: every number becomes a gauge, texts and booleans its attributes,
/// the service what it is about. Where the rows go is for whoever runs it to say.
///
/// # Errors
/// Whatever is wrong with the script, and what of its tables cannot be exported.
pub fn otel_script(input: &CompileInput<'_>) -> std::result::Result<String, Diagnostics> {
    let fail = |problem: Box<Diagnostic>| Diagnostics::new(input.script, vec![*problem]);
    let flags = Flags::parse(input.script).map_err(fail)?;
    let module = parse_script(input.script).map_err(|problems| Diagnostics::new(input.script, problems))?;
    let arguments = Vec::new();
    let without_calls = CompileInput { exec_funcs: &[], ..*input };
    let mut evaluator = Evaluator::new(&without_calls, flags);
    evaluator.run(&module, &arguments).map_err(fail)?;
    let displayed = std::mem::take(&mut evaluator.displayed);
    let text = rewritten(input.script, &module, displayed).map_err(fail)?;
    // What is made here compiles, or nothing is given out.
    let endpoint = Endpoint { url: "localhost:4317".to_owned(), ..Endpoint::default() };
    let configs = Configs { endpoint: Some(&endpoint), ..input.configs };
    compile(&CompileInput { script: &text, exec_funcs: &[], configs, ..*input }).map_err(|problems| {
        let Some(first) = problems.problems().first() else { return fail(Diagnostic::whole(Code::Internal, "no problem")) };
        // It became too large by what was added.
        let code = if first.code == Code::Limit { Code::Limit } else { Code::Internal };
        fail(Diagnostic::whole(code, format!("the script with exports does not compile: {}", first.message)))
    })?;
    Ok(text)
}

fn rewritten(script: &str, module: &ModModule, displayed: Vec<Displayed>) -> Result<String> {
    if displayed.is_empty() {
        return Err(Diagnostic::whole(Code::NoOutput, "script does not have any output tables"));
    }
    let mut sites = Vec::new();
    display_sites(&module.body, &mut sites);
    let mut shown: BTreeMap<usize, Displayed> = BTreeMap::new();
    let outputs = displayed.len();
    for table in displayed {
        let at = table.at;
        if let Some(same) = shown.values().find(|known| known.name == table.name && known.at.start != at.start) {
            let message = format!("duplicate table name. '{}' already in use", same.name);
            return Err(Diagnostic::new(Code::Value, at, message).with_help("give each px.display a name of its own"));
        }
        if shown.insert(at.start, table).is_some() {
            let calls = sites.iter().filter(|(call, _)| call.func.is_attribute_expr()).count();
            let message = format!("script has {outputs} output tables, but {calls} px.display calls");
            return Err(Diagnostic::new(Code::Value, at, message).with_help("a function that displays a table can be called once"));
        }
    }
    let mut edits: Vec<Edit> = Vec::new();
    for (_, table) in shown {
        let Some((call, stmt)) = sites.iter().find(|(call, _)| span(*call).start == table.at.start) else {
            let message = "a px.display within an expression cannot be followed by an export";
            return Err(Diagnostic::new(Code::Unsupported, table.at, message).with_help("write it on a line of its own"));
        };
        exported(script, &table, (call, *stmt), &mut edits)?;
    }
    let mut text = script.to_owned();
    for (at, insert) in edits.into_iter().rev() {
        text.insert_str(at, &insert);
    }
    Ok(text)
}

/// Every call that is a statement of its own, in the order of the text.
fn display_sites<'a>(body: &'a [Stmt], sites: &mut Vec<(&'a ExprCall, Span)>) {
    for stmt in body {
        match stmt {
            Stmt::FunctionDef(function) => display_sites(&function.body, sites),
            Stmt::Expr(node) => {
                if let Expr::Call(call) = &*node.value
                    && is_display(call)
                {
                    sites.push((call, span(stmt)));
                }
            }
            _ => {}
        }
    }
}

fn is_display(call: &ExprCall) -> bool {
    match &*call.func {
        Expr::Attribute(node) => node.attr.as_str() == "display",
        Expr::Name(_) => true,
        _ => false,
    }
}

/// What is put around one display.
fn exported(script: &str, table: &Displayed, (call, stmt): (&ExprCall, Span), edits: &mut Vec<Edit>) -> Result<()> {
    let Expr::Attribute(callee) = &*call.func else {
        let message = "px.display must be called as an attribute of its module";
        return Err(Diagnostic::new(Code::Unsupported, table.at, message).with_help("write 'import px' and 'px.display(…)'"));
    };
    let module = text_of(script, span(&*callee.value));
    let line_start = script[..stmt.start].rfind('\n').map_or(0, |at| at + 1);
    let before = &script[line_start..stmt.start];
    let (separator, indent) = if before.trim().is_empty() { (format!("\n{before}"), before) } else { ("; ".to_owned(), "") };
    let argument = text_of(script, table.frame);
    let frame = if is_identifier(argument) {
        argument.to_owned()
    } else {
        let name = unused_name(script, edits, table.at)?;
        edits.push((stmt.start, format!("{name} = ({argument}){separator}")));
        name
    };
    let export = export_call((module, &frame), table, indent)?;
    edits.push((stmt.end, format!("{separator}{export}")));
    Ok(())
}

fn text_of(script: &str, at: Span) -> &str {
    script.get(at.start..at.end).unwrap_or_default()
}

fn export_call((module, frame): (&str, &str), table: &Displayed, indent: &str) -> Result<String> {
    let service = service(table)?;
    let read = |column: &str| read(frame, column);
    let mut attributes = Vec::new();
    let mut values = Vec::new();
    for column in &table.relation.columns {
        match role(table, column)? {
            Role::Time => {}
            Role::Attribute if column.name == service => {}
            Role::Attribute => attributes.push(format!("{}: {}", quoted(&column.name), read(&column.name))),
            Role::Value => values.push(column),
        }
    }
    if values.is_empty() {
        let message = format!("Table '{}' does not have any INT64 or FLOAT64 that can be converted to OTel metrics", table.name);
        return Err(Diagnostic::new(Code::Type, table.at, message));
    }
    let mut text = format!("{module}.export({frame}, {module}.otel.Data(\n");
    let mut line = |depth: usize, content: &str| {
        let _ = writeln!(text, "{indent}{}{content}", "  ".repeat(depth));
    };
    line(1, &format!("resource={{'service.name': {}}},", read(service)));
    line(1, "data=[");
    for column in values {
        line(2, &format!("{module}.otel.metric.Gauge("));
        line(3, &format!("name={},", quoted(&metric_name(&table.name, &column.name))));
        line(3, &format!("value={},", read(&column.name)));
        if !attributes.is_empty() {
            line(3, "attributes={");
            for attribute in &attributes {
                line(4, &format!("{attribute},"));
            }
            line(3, "},");
        }
        line(2, "),");
    }
    line(1, "],");
    let _ = write!(text, "{indent}))");
    Ok(text)
}

enum Role {
    Time,
    Attribute,
    Value,
}

/// What a column is in the export.
fn role(table: &Displayed, column: &ColumnDef) -> Result<Role> {
    let wrong = |message: String| Err(Diagnostic::new(Code::Type, table.at, message));
    if column.name == "time_" && column.data_type != DataType::Time64Ns {
        return wrong(format!("time_ column must be of type TIME64NS, received {}", column.data_type));
    }
    if matches!(column.semantic_type, SemanticType::Quantiles | SemanticType::DurationNsQuantiles) {
        return wrong("quantiles are not supported yet for generation of OTel export scripts".to_owned());
    }
    match column.data_type {
        DataType::Time64Ns if column.name == "time_" => Ok(Role::Time),
        DataType::Time64Ns => wrong(format!(
            "illegal column '{}' -> TIME64NS column not named 'time_' is ambiguous. Drop it, or convert it to an integer",
            column.name
        )),
        DataType::Uint128 => {
            wrong(format!("column '{}' uses an unsupported type: UINT128. Please convert the column to a string", column.name))
        }
        DataType::String | DataType::Boolean => Ok(Role::Attribute),
        DataType::Int64 | DataType::Float64 => Ok(Role::Value),
    }
}

/// The column that says what the rows are about. That there is a time is checked too.
fn service(table: &Displayed) -> Result<&str> {
    if table.relation.column("time_").is_none() {
        let message = format!("Table '{}' does not have a time_ column of TIME64NS type", table.name);
        return Err(Diagnostic::new(Code::Type, table.at, message));
    }
    let text = |column: &&ColumnDef| column.data_type == DataType::String;
    let named = table.relation.column("service").filter(text);
    let meant = || table.relation.columns.iter().filter(text).find(|column| column.semantic_type == SemanticType::ServiceName);
    named.or_else(meant).map(|column| column.name.as_str()).ok_or_else(|| {
        let message = format!(
            "Table '{}' does not have a service column. Make sure you create a service column ie `df.ctx['service']` \
             and include it in any groupbys and joins",
            table.name
        );
        Diagnostic::new(Code::Type, table.at, message)
    })
}

/// A name that stands nowhere in the script.
fn unused_name(script: &str, edits: &[Edit], at: Span) -> Result<String> {
    /// Whoever has used all of these wants no export.
    const NAMES_TRIED_MAX: usize = 1000;
    let used = |name: &str| script.contains(name) || edits.iter().any(|(_, text)| text.contains(name));
    let mut names = std::iter::once("otel_df".to_owned()).chain((1..NAMES_TRIED_MAX).map(|n| format!("otel_df_{n}")));
    names
        .find(|name| !used(name))
        .ok_or_else(|| Diagnostic::new(Code::Limit, at, "Gave up searching for an unused variable name with base: otel_df"))
}

/// A name for an instrument, from whatever the table and the column are called.
fn metric_name(table: &str, column: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '_' };
    let name: String = format!("{table}.{column}").chars().map(allowed).collect();
    let name = if name.starts_with(|first: char| first.is_ascii_alphabetic()) { name } else { format!("px.{name}") };
    if is_metric_name(&name) { name } else { name.chars().take(255).collect() }
}

fn read(frame: &str, column: &str) -> String {
    if is_identifier(column) && !is_frame_name(column) { format!("{frame}.{column}") } else { format!("{frame}[{}]", quoted(column)) }
}

fn is_identifier(text: &str) -> bool {
    /// Python's, as far as a column might be called so.
    const KEYWORDS: [&str; 16] =
        ["and", "as", "async", "class", "def", "del", "for", "from", "global", "if", "import", "in", "is", "not", "or", "with"];
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !KEYWORDS.contains(&text)
}

fn quoted(text: &str) -> String {
    let mut out = String::from("'");
    for c in text.chars() {
        match c {
            '\\' | '\'' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\0' => out.push_str("\\x00"),
            c => out.push(c),
        }
    }
    out.push('\'');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_to_what_instruments_may_be_called() {
        assert_eq!(metric_name("http", "latency"), "http.latency");
        assert_eq!(metric_name("Latency (ms)", "p99 %"), "Latency__ms_.p99__");
        assert_eq!(metric_name("5xx", "n"), "px.5xx.n");
        assert!(is_metric_name(&metric_name(&"t".repeat(300), "n")));
    }

    #[test]
    fn whatever_a_column_is_called_it_is_read() {
        assert_eq!(read("df", "latency"), "df.latency");
        assert_eq!(read("df", "head"), "df['head']");
        assert_eq!(read("df", "from"), "df['from']");
        assert_eq!(read("df", "it's\n"), "df['it\\'s\\n']");
    }
}
