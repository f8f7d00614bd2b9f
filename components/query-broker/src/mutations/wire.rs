//! Tracepoints as the metadata service takes them.

use api::carnot::planner::dynamic_tracing::ir::logical as wire;
use pxl::{Captured, Probe, Program, Selector, Source, Target, Tracepoint};

pub(super) fn deployment(tracepoint: Tracepoint) -> wire::TracepointDeployment {
    let Tracepoint { name, ttl, target, programs } = tracepoint;
    let ttl = prost_types::Duration { seconds: i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX), nanos: ttl.subsec_nanos() as i32 };
    wire::TracepointDeployment {
        ttl: Some(ttl),
        deployment_spec: Some(wire::DeploymentSpec { target_oneof: of_target(target) }),
        programs: programs.into_iter().map(|program| of_program(program, &name)).collect(),
        name,
    }
}

fn of_target(target: Target) -> Option<wire::deployment_spec::TargetOneof> {
    use wire::deployment_spec::{LabelSelector, PodProcess, SharedObject, TargetOneof};
    let process = |upid: ids::Upid| wire::Upid { asid: upid.asid().0, pid: upid.pid(), ts_ns: upid.start_ticks() };
    Some(match target {
        Target::Kernel => return None,
        Target::Process(upid) => TargetOneof::Upid(process(upid)),
        Target::SharedObject { name, process: upid } => TargetOneof::SharedObject(SharedObject { name, upid: Some(process(upid)) }),
        Target::Pods { pods, container, process } => TargetOneof::PodProcess(PodProcess { pods, container, process }),
        Target::Labels { labels, namespace, container, process } => {
            TargetOneof::LabelSelector(LabelSelector { labels: labels.into_iter().collect(), namespace, container, process })
        }
    })
}

fn of_program(program: Program, tracepoint: &str) -> wire::tracepoint_deployment::TracepointProgram {
    let Program { table, source, selectors } = program;
    let (spec, bpftrace) = match source {
        Source::Probe(probe) => (Some(of_probe(probe, &table, tracepoint)), None),
        Source::BpfTrace(program) => (None, Some(wire::BpfTrace { program })),
    };
    let selectors = selectors.into_iter().map(|selector| {
        let (kind, value) = match selector {
            Selector::MinKernel(version) => (wire::SelectorType::MinKernel, version),
            Selector::MaxKernel(version) => (wire::SelectorType::MaxKernel, version),
            Selector::HostName(name) => (wire::SelectorType::HostName, name),
        };
        wire::TracepointSelector { selector_type: kind as i32, value }
    });
    wire::tracepoint_deployment::TracepointProgram { table_name: table, spec, bpftrace, selectors: selectors.collect() }
}

fn of_probe(probe: Probe, table: &str, tracepoint: &str) -> wire::TracepointSpec {
    let Probe { symbol, args, returns, latency, columns } = probe;
    let (fields, variable_names): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    let output = wire::Output { name: table.to_owned(), fields };
    let action = wire::OutputAction { output_name: table.to_owned(), variable_names };
    let probe = wire::Probe {
        name: tracepoint.to_owned(),
        tracepoint: Some(wire::Tracepoint { symbol }),
        args: args.into_iter().map(|Captured { id, expr }| wire::Argument { id, expr }).collect(),
        ret_vals: returns.into_iter().map(|Captured { id, expr }| wire::ReturnValue { id, expr }).collect(),
        output_actions: vec![action],
        function_latency_oneof: latency.map(|id| wire::probe::FunctionLatencyOneof::FunctionLatency(wire::FunctionLatency { id })),
    };
    wire::TracepointSpec { outputs: vec![output], probe: Some(probe) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_probe_and_its_table_travel_together() {
        let captured = |id: &str, expr: &str| Captured { id: id.to_owned(), expr: expr.to_owned() };
        let probe = Probe {
            symbol: "main.f".to_owned(),
            args: vec![captured("arg0", "n")],
            returns: vec![captured("ret0", "$0.m")],
            latency: Some("lat0".to_owned()),
            columns: vec![("n".to_owned(), "arg0".to_owned()), ("took".to_owned(), "lat0".to_owned())],
        };
        let selectors = vec![Selector::MinKernel("5.10".to_owned())];
        let programs = vec![Program { table: "t".to_owned(), source: Source::Probe(probe), selectors }];
        let target = Target::Process(ids::Upid::new(ids::Asid(1), 2, 3));
        let sent = deployment(Tracepoint { name: "p".to_owned(), ttl: Duration::from_millis(1500), target, programs });
        assert_eq!(sent.ttl, Some(prost_types::Duration { seconds: 1, nanos: 500_000_000 }));
        let upid = wire::Upid { asid: 1, pid: 2, ts_ns: 3 };
        assert_eq!(sent.deployment_spec.unwrap().target_oneof, Some(wire::deployment_spec::TargetOneof::Upid(upid)));
        let spec = sent.programs[0].spec.as_ref().unwrap();
        assert_eq!((spec.outputs[0].name.as_str(), &spec.outputs[0].fields), ("t", &vec!["n".to_owned(), "took".to_owned()]));
        let probe = spec.probe.as_ref().unwrap();
        assert_eq!(probe.output_actions[0].variable_names, ["arg0", "lat0"]);
        assert_eq!(sent.programs[0].selectors[0].selector_type(), wire::SelectorType::MinKernel);
    }
}
