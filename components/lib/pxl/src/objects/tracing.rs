//! Modules `pxtrace` and `pxconfig`. Reference: pxl.md §2.6.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use crate::args::{Arg, Args, required};
use crate::diagnostics::{Code, Diagnostic, Result};
use crate::eval::Evaluator;
use crate::expr::Literal;
use crate::limits::PROGRAMS_MAX;
use crate::mutations::{ConfigUpdate, Mutation, Program, Selector, Source, Target, Tracepoint};
use crate::source::Span;
use crate::suggest::{did_you_mean, list};
use crate::table_functions::FUNCTION_TABLE_PREFIX;
use crate::time::parse_duration;
use crate::trace::{ProgramText, TraceFunction, TraceProgram, Traced};
use crate::value::{Module, Value};

const PXTRACE: [(&str, TraceFunction); 11] = [
    ("probe", TraceFunction::Probe),
    ("ArgExpr", TraceFunction::ArgExpr),
    ("RetExpr", TraceFunction::RetExpr),
    ("FunctionLatency", TraceFunction::FunctionLatency),
    ("UpsertTracepoint", TraceFunction::UpsertTracepoint),
    ("DeleteTracepoint", TraceFunction::DeleteTracepoint),
    ("TraceProgram", TraceFunction::TraceProgram),
    ("SharedObject", TraceFunction::SharedObject),
    ("kprobe", TraceFunction::Kprobe),
    ("PodProcess", TraceFunction::PodProcess),
    ("LabelSelector", TraceFunction::LabelSelector),
];
const PXCONFIG: [(&str, TraceFunction); 1] = [("set_agent_config", TraceFunction::SetAgentConfig)];

/// What a program can demand of its node, as `TraceProgram` names it.
const SELECTORS: [&str; 3] = ["min_kernel", "max_kernel", "host_name"];

/// An attribute of `pxtrace` or `pxconfig`.
pub(crate) fn trace_attribute<'a>(module: Module, name: &str, at: Span) -> Result<Value<'a>> {
    let functions: &[_] = if module == Module::Pxconfig { &PXCONFIG } else { &PXTRACE };
    let found = functions.iter().find(|(known, _)| *known == name);
    found.map(|(_, function)| Value::Trace(*function)).ok_or_else(|| {
        let names = functions.iter().map(|(name, _)| *name);
        let help = did_you_mean(name, names.clone()).unwrap_or_else(|| format!("it has {}", list(names)));
        Diagnostic::new(Code::Unknown, at, format!("No such attribute '{name}'")).with_help(help)
    })
}

impl<'a> Evaluator<'a> {
    pub(crate) fn call_trace(&mut self, function: TraceFunction, args: Args<'a>) -> Result<Value<'a>> {
        let at = args.span;
        let traced = match function {
            TraceFunction::Probe => {
                let [symbol] = args.bind_all("probe", ["fn_name"])?;
                Traced::Decorator(not_empty(&symbol, "fn_name")?)
            }
            TraceFunction::ArgExpr => {
                let [expr] = args.bind_all("ArgExpr", ["expr"])?;
                Traced::Variable(self.trace.arg(&expr.str("expr")?, at)?)
            }
            TraceFunction::RetExpr => {
                let [expr] = args.bind_all("RetExpr", ["expr"])?;
                Traced::Variable(self.trace.returned(&expr.str("expr")?, at)?)
            }
            TraceFunction::FunctionLatency => {
                let [] = args.bind_all("FunctionLatency", [])?;
                Traced::Variable(self.trace.latency(at)?)
            }
            TraceFunction::TraceProgram => Traced::Program(Rc::new(trace_program(args)?)),
            TraceFunction::SharedObject => {
                let [name, upid] = args.bind_all("SharedObject", ["name", "upid"])?;
                let process = process(&upid).ok_or_else(|| upid.expected("uint128", "upid"))?;
                Traced::Target(Rc::new(Target::SharedObject { name: not_empty(&name, "name")?.to_string(), process }))
            }
            TraceFunction::Kprobe => {
                let [] = args.bind_all("kprobe", [])?;
                Traced::Target(Rc::new(Target::Kernel))
            }
            TraceFunction::PodProcess => Traced::Target(Rc::new(pod_process(args)?)),
            TraceFunction::LabelSelector => Traced::Target(Rc::new(label_selector(args)?)),
            TraceFunction::UpsertTracepoint => return self.upsert(args),
            TraceFunction::DeleteTracepoint => {
                let [name] = args.bind_all("DeleteTracepoint", ["name"])?;
                let name = not_empty(&name, "name")?.to_string();
                return self.trace.push(Mutation::DeleteTracepoint { name }, at).map(|()| Value::None);
            }
            TraceFunction::SetAgentConfig => {
                let [pod, key, value] = args.bind_all("set_agent_config", ["agent_pod_name", "key", "value"])?;
                let agent_pod_name = not_empty(&pod, "agent_pod_name")?.to_string();
                let key = not_empty(&key, "key")?.to_string();
                let update = ConfigUpdate { agent_pod_name, key, value: value.str("value")?.to_string() };
                return self.trace.push(Mutation::ConfigUpdate(update), at).map(|()| Value::None);
            }
        };
        Ok(Value::Traced(traced))
    }

    /// `pxtrace.UpsertTracepoint(name, table_name, probe_fn, target, ttl)`.
    fn upsert(&mut self, args: Args<'a>) -> Result<Value<'a>> {
        let at = args.span;
        if self.trace.current.is_some() {
            let message = "Already have a current probe. Are you calling this in a another trace definition.";
            return Err(Diagnostic::new(Code::Value, at, message));
        }
        let [name, table, program, target, ttl] = args.bind_all("UpsertTracepoint", ["name", "table_name", "probe_fn", "target", "ttl"])?;
        let tracepoint_name = not_empty(&name, "name")?.to_string();
        let same = |known: &Mutation| matches!(known, Mutation::UpsertTracepoint(known) if known.name == tracepoint_name);
        if self.trace.mutations.iter().any(same) {
            return Err(Diagnostic::new(Code::Value, name.span, format!("tracepoint '{tracepoint_name}' is upserted twice"))
                .with_help("give one tracepoint a list of programs, or the two different names"));
        }
        let table_name = table_name(&table)?;
        let target = target_of(&target)?;
        let ttl = ttl_of(&ttl)?;
        let texts = program_texts(&program)?;
        let mut programs = Vec::with_capacity(texts.len());
        for (text, selectors) in texts {
            let (source, columns) = match text {
                ProgramText::BpfTrace(text) if text.trim().is_empty() => {
                    return Err(Diagnostic::new(Code::Value, program.span, "the program is empty"));
                }
                ProgramText::BpfTrace(text) => (Source::BpfTrace(text.to_string()), None),
                ProgramText::Probe(probe) => {
                    let probe = self.run_probe(&probe, at)?;
                    let columns = probe.columns.iter().map(|(column, _)| column.clone()).collect();
                    (Source::Probe(probe), Some(columns))
                }
            };
            self.trace.fills(&table_name, columns, table.span)?;
            programs.push(Program { table: table_name.clone(), source, selectors });
        }
        let tracepoint = Tracepoint { name: tracepoint_name, ttl, target, programs };
        self.trace.push(Mutation::UpsertTracepoint(tracepoint), at).map(|()| Value::None)
    }
}

fn not_empty(arg: &Arg<'_>, name: &str) -> Result<Rc<str>> {
    let text = arg.str(name)?;
    if text.is_empty() {
        return Err(Diagnostic::new(Code::Value, arg.span, format!("'{name}' is empty")));
    }
    Ok(text)
}

fn table_name(arg: &Arg<'_>) -> Result<String> {
    let name = not_empty(arg, "table_name")?;
    if name.starts_with(FUNCTION_TABLE_PREFIX) {
        return Err(Diagnostic::new(Code::Value, arg.span, format!("a table's name cannot begin with '{FUNCTION_TABLE_PREFIX}'")));
    }
    if tables::all().iter().any(|table| table.name == &*name) {
        return Err(Diagnostic::new(Code::Value, arg.span, format!("agents fill table '{name}' already"))
            .with_help("give the tracepoint a table of its own"));
    }
    Ok(name.to_string())
}

fn ttl_of(arg: &Arg<'_>) -> Result<Duration> {
    let ttl_ns = parse_duration(&arg.str("ttl")?, arg.span)?;
    match u64::try_from(ttl_ns) {
        Ok(ttl_ns @ 1..) => Ok(Duration::from_nanos(ttl_ns)),
        Ok(0) | Err(_) => Err(Diagnostic::new(Code::Value, arg.span, "'ttl' must be more than zero").with_help("write '10m'")),
    }
}

fn process(arg: &Arg<'_>) -> Option<ids::Upid> {
    match arg.value.as_literal() {
        Some(Literal::Uint128(value)) => Some(ids::Upid::from_be_bytes(value.to_be_bytes())),
        _ => None,
    }
}

fn target_of(arg: &Arg<'_>) -> Result<Target> {
    if let Value::Traced(Traced::Target(target)) = &arg.value {
        return Ok(Target::clone(target));
    }
    process(arg).map(Target::Process).ok_or_else(|| {
        let message = format!("Unexpected type '{}' for arg 'target'", arg.value.kind());
        let help = "use pxtrace.kprobe(), pxtrace.PodProcess(…), pxtrace.LabelSelector(…), pxtrace.SharedObject(…) or px.uint128('…')";
        Diagnostic::new(Code::Type, arg.span, message).with_help(help)
    })
}

fn pod_process(args: Args<'_>) -> Result<Target> {
    let at = args.span;
    let mut slots = args.bind("PodProcess", &["pod_name", "container_name", "process_name"])?.into_iter();
    let pod = required(slots.next().flatten(), "PodProcess", "pod_name", at)?;
    let mut text = |name| slots.next().flatten().map_or_else(|| Ok(String::new()), |arg| arg.str(name).map(|text| text.to_string()));
    let pods = vec![not_empty(&pod, "pod_name")?.to_string()];
    Ok(Target::Pods { pods, container: text("container_name")?, process: text("process_name")? })
}

fn label_selector(args: Args<'_>) -> Result<Target> {
    let at = args.span;
    let mut slots = args.bind("LabelSelector", &["labels", "namespace", "container_name", "process_name"])?.into_iter();
    let labels_arg = required(slots.next().flatten(), "LabelSelector", "labels", at)?;
    let namespace = required(slots.next().flatten(), "LabelSelector", "namespace", at)?;
    let mut text = |name| slots.next().flatten().map_or_else(|| Ok(String::new()), |arg| arg.str(name).map(|text| text.to_string()));
    let Value::Dict(dict) = &labels_arg.value else {
        let message = format!("Expected labels to be a dictionary, received {}", labels_arg.value.kind());
        return Err(Diagnostic::new(Code::Type, labels_arg.span, message));
    };
    let mut labels = BTreeMap::new();
    for (key, value) in &dict.entries {
        let (Some(key), Some(value)) = (key.as_str(), value.as_str()) else {
            return Err(Diagnostic::new(Code::Type, labels_arg.span, "Expected labels to be strings"));
        };
        labels.insert(key.to_owned(), value.to_owned());
    }
    if labels.is_empty() {
        return Err(Diagnostic::new(Code::Value, labels_arg.span, "'labels' is empty").with_help("it would mean every pod"));
    }
    let namespace = not_empty(&namespace, "namespace")?.to_string();
    Ok(Target::Labels { labels, namespace, container: text("container_name")?, process: text("process_name")? })
}

/// `pxtrace.TraceProgram(program, min_kernel='5.4', …)`.
fn trace_program(mut args: Args<'_>) -> Result<TraceProgram<'_>> {
    let mut selectors = Vec::new();
    let mut rest = Vec::new();
    for (name, at, arg) in args.named {
        if name == "program" {
            rest.push((name, at, arg));
            continue;
        }
        if !SELECTORS.contains(&name.as_str()) {
            let help = did_you_mean(&name, SELECTORS).unwrap_or_else(|| format!("there are {}", list(SELECTORS)));
            return Err(Diagnostic::new(Code::Arguments, at, format!("Unsupported selector argument provided '{name}'")).with_help(help));
        }
        let value = arg.str(&name)?;
        if value.is_empty() {
            return Err(Diagnostic::new(Code::Value, arg.span, format!("Empty selector value provided for '{name}'")));
        }
        let kernel = || kernel_version(&value, arg.span);
        selectors.push(match name.as_str() {
            "min_kernel" => Selector::MinKernel(kernel()?),
            "max_kernel" => Selector::MaxKernel(kernel()?),
            _ => Selector::HostName(value.to_string()),
        });
    }
    args.named = rest;
    let [program] = args.bind_all("TraceProgram", ["program"])?;
    Ok(TraceProgram { program: program_text(&program.value, &program)?, selectors })
}

/// `5`, `5.10` or `5.10.3`.
fn kernel_version(text: &str, at: Span) -> Result<String> {
    let parts: Vec<&str> = text.split('.').collect();
    if parts.len() > 3 || parts.iter().any(|part| part.parse::<u16>().is_err()) {
        return Err(Diagnostic::new(Code::Value, at, format!("'{text}' is not a version of a kernel")).with_help("write '5.10'"));
    }
    Ok(text.to_owned())
}

/// The programs of `probe_fn`, with what they demand of the node.
fn program_texts<'a>(arg: &Arg<'a>) -> Result<Vec<(ProgramText<'a>, Vec<Selector>)>> {
    let one = |value: &Value<'a>| match value {
        Value::Traced(Traced::Program(program)) => Ok((program.program.clone(), program.selectors.clone())),
        other => program_text(other, arg).map(|text| (text, Vec::new())),
    };
    let (Value::List(items) | Value::Tuple(items)) = &arg.value else { return Ok(vec![one(&arg.value)?]) };
    if items.items.is_empty() {
        return Err(Diagnostic::new(Code::Value, arg.span, "a tracepoint needs at least one program"));
    }
    if items.items.len() > PROGRAMS_MAX {
        return Err(Diagnostic::new(Code::Limit, arg.span, format!("too many programs: at most {PROGRAMS_MAX}")));
    }
    items.items.iter().map(one).collect()
}

fn program_text<'a>(value: &Value<'a>, arg: &Arg<'a>) -> Result<ProgramText<'a>> {
    match value {
        Value::Traced(Traced::Probe(probe)) => Ok(ProgramText::Probe(Rc::clone(probe))),
        Value::Function(function) => {
            let message = format!("'{}' is not a probe", function.def.name);
            Err(Diagnostic::new(Code::Type, arg.span, message).with_help("write @pxtrace.probe('symbol') above it"))
        }
        other => match other.as_literal() {
            Some(Literal::Str(text)) => Ok(ProgramText::BpfTrace(Rc::clone(text))),
            _ => Err(Diagnostic::new(Code::Type, arg.span, format!("Expected TraceProgram, got {}", other.kind()))
                .with_help("a probe function, a bpftrace program, a pxtrace.TraceProgram(…), or a list of them")),
        },
    }
}
