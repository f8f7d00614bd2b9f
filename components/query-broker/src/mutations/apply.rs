use std::collections::BTreeSet;
use std::time::Duration;

use api::statuspb;
use api::uuidpb::Uuid;
use api::vizier::services::metadata::get_tracepoint_info_response::TracepointState;
use api::vizier::services::metadata::register_tracepoint_request::TracepointRequest;
use api::vizier::services::metadata::{GetTracepointInfoRequest, RegisterTracepointRequest, RemoveTracepointRequest, UpdateConfigRequest};
use ids::AgentId;
use pxl::Mutation;
use tokio::time::timeout;
use tonic::{Code, Response, Status};

use super::{LifeCycle, Mutated, MutationFailure, MutationState, Readiness, wire};
use crate::metadata::Metadata;

/// The metadata service writes a change down and answers; what agents do about it comes later.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Has the changes made, and says how they stand. `table_known`: whether agents have told of a table.
pub(crate) async fn apply(
    changes: Vec<Mutation>,
    metadata: &Metadata,
    table_known: impl Fn(&str) -> bool,
) -> Result<Mutated, MutationFailure> {
    let (mut wanted, mut removed) = (Vec::new(), Vec::new());
    for change in changes {
        match change {
            Mutation::UpsertTracepoint(tracepoint) => {
                let (name, deployment) = (tracepoint.name.clone(), wire::deployment(tracepoint));
                wanted.push(TracepointRequest { name, ttl: deployment.ttl, tracepoint_deployment: Some(deployment) });
            }
            Mutation::DeleteTracepoint { name } => removed.push(name),
            Mutation::ConfigUpdate(update) => {
                let request = UpdateConfigRequest { key: update.key, value: update.value, agent_pod_name: update.agent_pod_name };
                let answer = ask(metadata.config().update_config(request)).await?;
                accepted(answer.status.as_ref())?;
            }
        }
    }
    if !removed.is_empty() {
        let answer = ask(metadata.tracepoints().remove_tracepoint(RemoveTracepointRequest { names: removed })).await?;
        accepted(answer.status.as_ref())?;
    }
    if wanted.is_empty() {
        return Ok(Mutated { states: Vec::new(), readiness: Readiness::Ready });
    }
    let answer = ask(metadata.tracepoints().register_tracepoint(RegisterTracepointRequest { requests: wanted })).await?;
    accepted(answer.status.as_ref())?;
    for tracepoint in &answer.tracepoints {
        accepted(tracepoint.status.as_ref())?;
    }
    let ids: Vec<Uuid> = answer.tracepoints.iter().filter_map(|tracepoint| tracepoint.id).collect();
    let told = ask(metadata.tracepoints().get_tracepoint_info(GetTracepointInfoRequest { ids: ids.clone() })).await?;
    // Without ids all of them would be told.
    let asked: BTreeSet<_> = ids.iter().map(|id| (id.high_bits, id.low_bits)).collect();
    let own =
        told.tracepoints.into_iter().filter(|tracepoint| tracepoint.id.is_some_and(|id| asked.contains(&(id.high_bits, id.low_bits))));
    Ok(standing(&own.collect::<Vec<_>>(), asked.len(), table_known))
}

/// Texts: reference api.md §3.2.
fn standing(tracepoints: &[TracepointState], asked: usize, table_known: impl Fn(&str) -> bool) -> Mutated {
    let states: Vec<_> = tracepoints.iter().map(state).collect();
    let failed = tracepoints.iter().find(|tracepoint| life_cycle(tracepoint) == LifeCycle::Failed);
    let readiness = if let Some(failed) = failed {
        let why: Vec<_> = failed.statuses.iter().map(|status| status.msg.as_str()).filter(|text| !text.is_empty()).collect();
        Readiness::Failed(format!("tracepoint `{}` cannot be installed: {}", failed.name, why.join("; ")))
    } else if states.len() < asked || states.iter().any(|tracepoint| tracepoint.state != LifeCycle::Running) {
        Readiness::Pending("probe installation in progress".to_owned())
    } else if tracepoints.iter().flat_map(|tracepoint| &tracepoint.schema_names).any(|table| !table_known(table)) {
        Readiness::Pending("Schema is not ready yet".to_owned())
    } else {
        Readiness::Ready
    };
    Mutated { states, readiness }
}

fn state(tracepoint: &TracepointState) -> MutationState {
    let id = tracepoint.id.unwrap_or_default();
    let id = AgentId::from_halves(id.high_bits, id.low_bits).to_string();
    MutationState { id, name: tracepoint.name.clone(), state: life_cycle(tracepoint) }
}

fn life_cycle(tracepoint: &TracepointState) -> LifeCycle {
    match tracepoint.state() {
        statuspb::LifeCycleState::UnknownState => LifeCycle::Unknown,
        statuspb::LifeCycleState::PendingState => LifeCycle::Pending,
        statuspb::LifeCycleState::RunningState => LifeCycle::Running,
        statuspb::LifeCycleState::FailedState => LifeCycle::Failed,
        statuspb::LifeCycleState::TerminatedState => LifeCycle::Terminated,
    }
}

async fn ask<T>(question: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, MutationFailure> {
    match timeout(ANSWER_MAX, question).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) if matches!(status.code(), Code::InvalidArgument | Code::FailedPrecondition | Code::NotFound) => {
            Err(MutationFailure::Refused(status.message().to_owned()))
        }
        Ok(Err(status)) if status.code() == Code::Unimplemented => Err(MutationFailure::Unsupported(status.message().to_owned())),
        Ok(Err(status)) => Err(MutationFailure::Unavailable(format!("the metadata service does not answer: {}", status.message()))),
        Err(_) => Err(MutationFailure::Unavailable(format!("the metadata service did not answer within {} s", ANSWER_MAX.as_secs()))),
    }
}

/// That something is there already is what a client wants that asks again.
fn accepted(status: Option<&statuspb::Status>) -> Result<(), MutationFailure> {
    let Some(status) = status else { return Ok(()) };
    match status.err_code() {
        statuspb::Code::Ok | statuspb::Code::AlreadyExists => Ok(()),
        statuspb::Code::ResourceUnavailable => Err(MutationFailure::Unavailable(status.msg.clone())),
        statuspb::Code::Unimplemented => Err(MutationFailure::Unsupported(status.msg.clone())),
        statuspb::Code::Cancelled
        | statuspb::Code::Unknown
        | statuspb::Code::InvalidArgument
        | statuspb::Code::DeadlineExceeded
        | statuspb::Code::NotFound
        | statuspb::Code::PermissionDenied
        | statuspb::Code::Unauthenticated
        | statuspb::Code::Internal
        | statuspb::Code::System
        | statuspb::Code::FailedPrecondition
        | statuspb::Code::DoNotUse => Err(MutationFailure::Refused(status.msg.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracepoint(state: statuspb::LifeCycleState, why: &str) -> TracepointState {
        let status = statuspb::Status { msg: why.to_owned(), ..Default::default() };
        TracepointState {
            id: Some(Uuid { high_bits: 0, low_bits: 1 }),
            state: state as i32,
            statuses: vec![status],
            name: "p".to_owned(),
            schema_names: vec!["t".to_owned()],
            ..Default::default()
        }
    }

    #[test]
    fn a_script_runs_when_all_run_and_their_tables_are_known() {
        let readiness = |all: &[TracepointState], known: bool| standing(all, 1, |_| known).readiness;
        let running = tracepoint(statuspb::LifeCycleState::RunningState, "");
        assert_eq!(readiness(std::slice::from_ref(&running), true), Readiness::Ready);
        assert_eq!(readiness(std::slice::from_ref(&running), false), Readiness::Pending("Schema is not ready yet".to_owned()));
        let installing = Readiness::Pending("probe installation in progress".to_owned());
        assert_eq!(readiness(&[], true), installing);
        assert_eq!(readiness(&[running, tracepoint(statuspb::LifeCycleState::PendingState, "")], true), installing);
        let failed = tracepoint(statuspb::LifeCycleState::FailedState, "no such symbol");
        assert_eq!(readiness(&[failed], true), Readiness::Failed("tracepoint `p` cannot be installed: no such symbol".to_owned()));
    }
}
