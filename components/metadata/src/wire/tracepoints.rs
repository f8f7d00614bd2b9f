use std::time::Duration;

use api::carnot::planner::dynamic_tracing::ir::logical::tracepoint_deployment::TracepointProgram;
use api::carnot::planner::dynamic_tracing::ir::logical::{
    DeploymentSpec, SelectorType, TracepointDeployment, TracepointSelector, deployment_spec,
};
use api::statuspb;
use api::vizier::messages::vizier_message::Msg;
use api::vizier::messages::{
    RegisterTracepointRequest, RemoveTracepointRequest, TracepointInfoUpdate, TracepointMessage, tracepoint_message,
};
use api::vizier::services::metadata::get_tracepoint_info_response::TracepointState;
use ids::{AgentId, TracepointId};
use prost::Message as _;

use super::{Malformed, agent_id, halves, uuid};
use crate::agents::KernelVersion;
use crate::tracepoints::{Deployment, Program, Selector, State, Status, Tracepoint, Wanted};

/// Which pods a script means by their labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PodLabels {
    pub(crate) namespace: String,
    pub(crate) labels: Vec<(String, String)>,
}

/// The pods that a target means by their labels, if it does.
pub(crate) fn labels_of(deployment: &TracepointDeployment) -> Option<PodLabels> {
    match deployment.deployment_spec.as_ref()?.target_oneof.as_ref()? {
        deployment_spec::TargetOneof::LabelSelector(selector) => {
            let mut labels: Vec<(String, String)> = selector.labels.clone().into_iter().collect();
            labels.sort();
            Some(PodLabels { namespace: selector.namespace.clone(), labels })
        }
        deployment_spec::TargetOneof::Upid(_)
        | deployment_spec::TargetOneof::SharedObject(_)
        | deployment_spec::TargetOneof::PodProcess(_) => None,
    }
}

/// Puts the pods in the place of their labels.
pub(crate) fn resolve_labels(deployment: &mut TracepointDeployment, pods: Vec<String>) {
    let Some(target) = deployment.deployment_spec.as_mut().and_then(|spec| spec.target_oneof.as_mut()) else { return };
    if let deployment_spec::TargetOneof::LabelSelector(selector) = target {
        let process = deployment_spec::PodProcess { pods, container: selector.container.clone(), process: selector.process.clone() };
        *target = deployment_spec::TargetOneof::PodProcess(process);
    }
}

/// What a script deploys. Labels have been resolved: nothing in it has an order of chance.
pub(crate) fn decode_deployment(deployment: TracepointDeployment) -> Result<Deployment, Malformed> {
    let target = deployment.deployment_spec.map(|spec| spec.encode_to_vec()).unwrap_or_default();
    let programs = deployment.programs.into_iter().map(decode_program).collect::<Result<_, _>>()?;
    Ok(Deployment { target, programs })
}

fn decode_program(mut program: TracepointProgram) -> Result<Program, Malformed> {
    let mut selectors = Vec::new();
    for selector in std::mem::take(&mut program.selectors) {
        selectors.extend(decode_selector(&selector)?);
    }
    let table = program.table_name.clone();
    if table.is_empty() {
        return Err(Malformed::Field("a program of the tracepoint names no table"));
    }
    Ok(Program { table, selectors, body: program.encode_to_vec() })
}

fn decode_selector(selector: &TracepointSelector) -> Result<Option<Selector>, Malformed> {
    let kernel = || KernelVersion::parse(&selector.value).ok_or(Malformed::Field("a selector has no kernel's version, such as 5.10.0"));
    // A kind that is not known here demands something that nobody can check.
    match SelectorType::try_from(selector.selector_type).map_err(|_| Malformed::Field("a selector is of a kind that is not known"))? {
        SelectorType::NoCondition => Ok(None),
        SelectorType::MinKernel => kernel().map(Selector::KernelMin).map(Some),
        SelectorType::MaxKernel => kernel().map(Selector::KernelMax).map(Some),
        SelectorType::HostName => Ok(Some(Selector::Host(selector.value.clone()))),
    }
}

pub(crate) fn time_to_live(ttl: Option<&prost_types::Duration>) -> Duration {
    ttl.and_then(|ttl| Duration::try_from(*ttl).ok()).unwrap_or_default()
}

/// To an agent: deploy it. It is told no time to live: when it goes is decided here, as it can be asked for again meanwhile.
pub(crate) fn encode_register(tracepoint: &Tracepoint, deployment: &Deployment) -> Msg {
    // Both were encoded by `decode_deployment`.
    let program = |program: &Program| TracepointProgram::decode(program.body.as_slice()).ok();
    let deployment = TracepointDeployment {
        name: tracepoint.name.clone(),
        ttl: None,
        deployment_spec: DeploymentSpec::decode(deployment.target.as_slice()).ok(),
        programs: deployment.programs.iter().filter_map(program).collect(),
    };
    let request = RegisterTracepointRequest { tracepoint_deployment: Some(deployment), id: Some(uuid(tracepoint.id.to_halves())) };
    message(tracepoint_message::Msg::RegisterTracepointRequest(request))
}

/// To an agent: take it away.
pub(crate) fn encode_remove(id: TracepointId) -> Msg {
    message(tracepoint_message::Msg::RemoveTracepointRequest(RemoveTracepointRequest { id: Some(uuid(id.to_halves())) }))
}

fn message(msg: tracepoint_message::Msg) -> Msg {
    Msg::TracepointMessage(TracepointMessage { msg: Some(msg) })
}

/// What an agent says of a tracepoint.
pub(crate) fn decode_report(update: TracepointInfoUpdate) -> Result<(TracepointId, AgentId, State, Status), Malformed> {
    let agent = agent_id(update.agent_id.as_ref())?;
    let id = tracepoint_id(update.id.as_ref()).ok_or(Malformed::Field("it names no tracepoint"))?;
    let state = match update.state() {
        statuspb::LifeCycleState::UnknownState => return Err(Malformed::Field("it says no state of the tracepoint")),
        statuspb::LifeCycleState::PendingState => State::Pending,
        statuspb::LifeCycleState::RunningState => State::Running,
        statuspb::LifeCycleState::FailedState => State::Failed,
        statuspb::LifeCycleState::TerminatedState => State::Terminated,
    };
    let status = update.status.map(|status| Status { code: status.err_code, message: status.msg }).unwrap_or_default();
    Ok((id, agent, state, status))
}

pub(crate) fn tracepoint_id(id: Option<&api::uuidpb::Uuid>) -> Option<TracepointId> {
    halves(id).map(|(high, low)| TracepointId::from_halves(high, low))
}

/// How a tracepoint stands over all agents.
pub(crate) fn encode_state(tracepoint: &Tracepoint) -> TracepointState {
    let expected = match tracepoint.wanted {
        Wanted::Running => statuspb::LifeCycleState::RunningState,
        Wanted::Gone => statuspb::LifeCycleState::TerminatedState,
    };
    let status = |status: &Status| statuspb::Status { err_code: status.code, msg: status.message.clone(), context: None };
    TracepointState {
        id: Some(uuid(tracepoint.id.to_halves())),
        state: encode_life(tracepoint.state()).into(),
        statuses: tracepoint.failures().into_iter().map(status).collect(),
        name: tracepoint.name.clone(),
        expected_state: expected.into(),
        schema_names: tracepoint.deployment.tables().into_iter().map(str::to_owned).collect(),
    }
}

fn encode_life(state: State) -> statuspb::LifeCycleState {
    match state {
        State::Pending => statuspb::LifeCycleState::PendingState,
        State::Running => statuspb::LifeCycleState::RunningState,
        State::Failed => statuspb::LifeCycleState::FailedState,
        State::Terminated => statuspb::LifeCycleState::TerminatedState,
    }
}
