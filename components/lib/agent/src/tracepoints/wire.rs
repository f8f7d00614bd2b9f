//! Requests and reports as messages.

use std::time::Duration;

use api::carnot::planner::dynamic_tracing::ir::logical::deployment_spec::TargetOneof;
use api::carnot::planner::dynamic_tracing::ir::logical::probe::FunctionLatencyOneof;
use api::carnot::planner::dynamic_tracing::ir::logical::tracepoint_deployment::TracepointProgram;
use api::carnot::planner::dynamic_tracing::ir::logical::{
    DeploymentSpec, Probe as WireProbe, SelectorType, TracepointDeployment, TracepointSelector, TracepointSpec, Upid as WireUpid,
};
use api::statuspb::{LifeCycleState, Status};
use api::uuidpb::Uuid;
use api::vizier::messages::vizier_message::Msg;
use api::vizier::messages::{TracepointInfoUpdate, TracepointMessage, VizierMessage, tracepoint_message};
use ids::{AgentId, Asid, TracepointId, Upid};

use super::types::{Body, Code, Deployment, Probe, Program, Report, Selector, Stage, Target};
use crate::life;

/// What is asked about a tracepoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TracepointRequest {
    /// It shall be there.
    Register(TracepointId, Box<Deployment>),
    /// It shall not be there.
    Remove(TracepointId),
}

/// What is asked of an agent.
///
/// # Errors
/// Which field is not as it must be; and of which tracepoint, as far as it says.
pub fn decode_request(message: TracepointMessage) -> Result<TracepointRequest, (Option<TracepointId>, &'static str)> {
    match message.msg {
        Some(tracepoint_message::Msg::RegisterTracepointRequest(request)) => {
            let id = tracepoint_id(request.id)?;
            let wrong = |field| (Some(id), field);
            let deployment = request.tracepoint_deployment.ok_or(wrong("tracepoint_deployment: missing"))?;
            Ok(TracepointRequest::Register(id, Box::new(decode_deployment(deployment).map_err(wrong)?)))
        }
        Some(tracepoint_message::Msg::RemoveTracepointRequest(request)) => Ok(TracepointRequest::Remove(tracepoint_id(request.id)?)),
        Some(tracepoint_message::Msg::TracepointInfoUpdate(_)) => Err((None, "tracepoint_info_update: agents say it, and are not told")),
        None => Err((None, "msg: nothing is set")),
    }
}

fn tracepoint_id(id: Option<Uuid>) -> Result<TracepointId, (Option<TracepointId>, &'static str)> {
    id.map(|id| TracepointId::from_halves(id.high_bits, id.low_bits)).ok_or((None, "id: missing"))
}

fn decode_deployment(deployment: TracepointDeployment) -> Result<Deployment, &'static str> {
    let ttl = deployment.ttl.map(|ttl| Duration::try_from(ttl).map_err(|_| "ttl: negative")).transpose()?;
    let programs = deployment.programs.into_iter().map(decode_program).collect::<Result<_, _>>()?;
    Ok(Deployment { name: deployment.name, ttl, target: decode_target(deployment.deployment_spec)?, programs })
}

fn decode_target(spec: Option<DeploymentSpec>) -> Result<Target, &'static str> {
    match spec.and_then(|spec| spec.target_oneof) {
        None => Ok(Target::None),
        Some(TargetOneof::Upid(upid)) => Ok(Target::Process(decode_upid(&upid))),
        Some(TargetOneof::SharedObject(object)) => {
            let process = object.upid.ok_or("shared_object.upid: missing")?;
            Ok(Target::SharedObject { name: object.name, process: decode_upid(&process) })
        }
        Some(TargetOneof::PodProcess(pods)) => Ok(Target::Pods { pods: pods.pods, container: pods.container, process: pods.process }),
        // The metadata service puts pods in the place of labels.
        Some(TargetOneof::LabelSelector(_)) => Err("label_selector: nobody has said which pods have these labels"),
    }
}

fn decode_upid(upid: &WireUpid) -> Upid {
    Upid::new(Asid(upid.asid), upid.pid, upid.ts_ns)
}

fn decode_program(program: TracepointProgram) -> Result<Program, &'static str> {
    let selectors = program.selectors.iter().filter_map(|selector| decode_selector(selector).transpose()).collect::<Result<_, _>>()?;
    let body = match (program.spec, program.bpftrace) {
        (_, Some(bpftrace)) => Body::BpfTrace(bpftrace.program),
        (Some(spec), None) => Body::Probe(decode_probe(spec)?),
        (None, None) => return Err("programs: one does nothing"),
    };
    Ok(Program { table: program.table_name, selectors, body })
}

fn decode_selector(selector: &TracepointSelector) -> Result<Option<Selector>, &'static str> {
    let kernel = || {
        let numbers: Option<Vec<u32>> = selector.value.split('.').map(|number| number.parse().ok()).collect();
        match numbers.as_deref() {
            Some([version]) => Ok((*version, 0, 0)),
            Some([version, major]) => Ok((*version, *major, 0)),
            Some([version, major, minor]) => Ok((*version, *major, *minor)),
            Some(_) | None => Err("programs.selectors: not a kernel's version, such as 5.10.0"),
        }
    };
    match SelectorType::try_from(selector.selector_type) {
        Ok(SelectorType::NoCondition) => Ok(None),
        Ok(SelectorType::MinKernel) => kernel().map(|(version, major, minor)| Some(Selector::KernelMin(version, major, minor))),
        Ok(SelectorType::MaxKernel) => kernel().map(|(version, major, minor)| Some(Selector::KernelMax(version, major, minor))),
        Ok(SelectorType::HostName) => Ok(Some(Selector::Host(selector.value.clone()))),
        Err(_) => Err("programs.selectors: of a kind that is not known here"),
    }
}

fn decode_probe(spec: TracepointSpec) -> Result<Probe, &'static str> {
    let WireProbe { tracepoint, args, ret_vals, function_latency_oneof, output_actions, .. } = spec.probe.ok_or("spec.probe: missing")?;
    let symbol = tracepoint.ok_or("spec.probe.tracepoint: missing")?.symbol;
    let [action] = &output_actions[..] else { return Err("spec.probe.output_actions: a probe writes one table") };
    let output = spec.outputs.iter().find(|output| output.name == action.output_name).ok_or("spec.outputs: not what the probe writes")?;
    if output.fields.len() != action.variable_names.len() {
        return Err("spec.probe.output_actions: not as many variables as the table has columns");
    }
    Ok(Probe {
        symbol,
        arguments: args.into_iter().map(|argument| (argument.id, argument.expr)).collect(),
        returns: ret_vals.into_iter().map(|value| (value.id, value.expr)).collect(),
        latency: function_latency_oneof.map(|FunctionLatencyOneof::FunctionLatency(latency)| latency.id),
        columns: output.fields.iter().cloned().zip(action.variable_names.iter().cloned()).collect(),
    })
}

/// How a tracepoint stands on an agent.
pub fn encode_report(agent: AgentId, report: &Report) -> VizierMessage {
    let (high_bits, low_bits) = report.id.to_halves();
    let (state, status) = match &report.stage {
        Stage::Pending => (LifeCycleState::PendingState, Status::default()),
        Stage::Running => (LifeCycleState::RunningState, Status::default()),
        Stage::Terminated => (LifeCycleState::TerminatedState, Status::default()),
        Stage::Failed(failure) => {
            (LifeCycleState::FailedState, Status { err_code: encode_code(failure.code).into(), msg: failure.text.clone(), context: None })
        }
    };
    let update = TracepointInfoUpdate {
        id: Some(Uuid { high_bits, low_bits }),
        state: state.into(),
        status: Some(status),
        agent_id: Some(life::uuid(agent)),
    };
    let message = TracepointMessage { msg: Some(tracepoint_message::Msg::TracepointInfoUpdate(update)) };
    VizierMessage { msg: Some(Msg::TracepointMessage(message)) }
}

fn encode_code(code: Code) -> api::statuspb::Code {
    match code {
        Code::InvalidArgument => api::statuspb::Code::InvalidArgument,
        Code::NotFound => api::statuspb::Code::NotFound,
        Code::FailedPrecondition => api::statuspb::Code::FailedPrecondition,
        Code::ResourceUnavailable => api::statuspb::Code::ResourceUnavailable,
        Code::Unimplemented => api::statuspb::Code::Unimplemented,
        Code::Internal => api::statuspb::Code::Internal,
    }
}

#[cfg(test)]
mod tests {
    use api::carnot::planner::dynamic_tracing::ir::logical::{Argument, FunctionLatency, Output, OutputAction, Tracepoint};
    use api::vizier::messages::{RegisterTracepointRequest, RemoveTracepointRequest};

    use super::*;
    use crate::tracepoints::Failure;

    const ID: Uuid = Uuid { high_bits: 1, low_bits: 2 };

    fn id() -> TracepointId {
        TracepointId::from_halves(1, 2)
    }

    fn request(spec: Option<TracepointSpec>) -> Result<TracepointRequest, (Option<TracepointId>, &'static str)> {
        let selectors = vec![TracepointSelector { selector_type: SelectorType::MinKernel.into(), value: "5.10".to_owned() }];
        let program = TracepointProgram { table_name: "calls".to_owned(), spec, bpftrace: None, selectors };
        let upid = WireUpid { asid: 1, pid: 2, ts_ns: 3 };
        let deployment = TracepointDeployment {
            name: "calls".to_owned(),
            ttl: prost_duration(60),
            deployment_spec: Some(DeploymentSpec { target_oneof: Some(TargetOneof::Upid(upid)) }),
            programs: vec![program],
        };
        let request = RegisterTracepointRequest { tracepoint_deployment: Some(deployment), id: Some(ID) };
        decode_request(TracepointMessage { msg: Some(tracepoint_message::Msg::RegisterTracepointRequest(request)) })
    }

    fn prost_duration(seconds: u64) -> Option<prost_types::Duration> {
        prost_types::Duration::try_from(Duration::from_secs(seconds)).ok()
    }

    #[test]
    fn a_logging_probe_reads_as_it_was_meant() {
        let probe = WireProbe {
            tracepoint: Some(Tracepoint { symbol: "handle".to_owned() }),
            args: vec![Argument { id: "a".to_owned(), expr: "$0".to_owned() }],
            function_latency_oneof: Some(FunctionLatencyOneof::FunctionLatency(FunctionLatency { id: "l".to_owned() })),
            output_actions: vec![OutputAction { output_name: "calls".to_owned(), variable_names: vec!["a".to_owned(), "l".to_owned()] }],
            ..WireProbe::default()
        };
        let output = Output { name: "calls".to_owned(), fields: vec!["size".to_owned(), "latency".to_owned()] };
        let read = request(Some(TracepointSpec { outputs: vec![output], probe: Some(probe) })).unwrap();
        let TracepointRequest::Register(read_id, deployment) = read else { panic!("registers") };
        assert_eq!((read_id, deployment.ttl), (id(), Some(Duration::from_mins(1))));
        assert_eq!(deployment.target, Target::Process(Upid::new(Asid(1), 2, 3)));
        assert_eq!(deployment.programs[0].selectors, [Selector::KernelMin(5, 10, 0)]);
        let Body::Probe(probe) = &deployment.programs[0].body else { panic!("a probe") };
        assert_eq!(probe.columns, [("size".to_owned(), "a".to_owned()), ("latency".to_owned(), "l".to_owned())]);
        assert_eq!((probe.symbol.as_str(), probe.latency.as_deref()), ("handle", Some("l")));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_tracepoint() {
        assert_eq!(request(None), Err((Some(id()), "programs: one does nothing")));
        assert_eq!(request(Some(TracepointSpec::default())), Err((Some(id()), "spec.probe: missing")));
        assert!(decode_request(TracepointMessage::default()).is_err());
        let remove = RemoveTracepointRequest { id: Some(ID) };
        let message = TracepointMessage { msg: Some(tracepoint_message::Msg::RemoveTracepointRequest(remove)) };
        assert_eq!(decode_request(message), Ok(TracepointRequest::Remove(id())));
    }

    #[test]
    fn a_failure_is_told_with_its_reason() {
        let failure = Failure { code: Code::FailedPrecondition, text: "not here".to_owned() };
        let message = encode_report(AgentId::from_halves(3, 4), &Report { id: id(), stage: Stage::Failed(failure) });
        let Some(Msg::TracepointMessage(TracepointMessage { msg: Some(tracepoint_message::Msg::TracepointInfoUpdate(update)) })) =
            message.msg
        else {
            panic!("a report")
        };
        assert_eq!((update.state(), update.id), (LifeCycleState::FailedState, Some(ID)));
        assert_eq!(update.status, Some(Status { err_code: 13, msg: "not here".to_owned(), context: None }));
    }
}
