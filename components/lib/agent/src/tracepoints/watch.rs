use std::time::Duration;

use api::statuspb::Status;
use api::vizier::messages::vizier_message::Msg;
use api::vizier::messages::{ConfigUpdateMessage, ConfigUpdateResponse, VizierMessage, config_update_message};
use bus::{Bus, subject};
use ids::{AgentId, MonoNs, TracepointId};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::manager::{Manager, ManagerEffect, ManagerEvent};
use super::types::{Code, Deployment, Failure, Outcome, Report, Stage};
use super::wire::{TracepointRequest, decode_request, encode_report};
use crate::{Request, Requests, life};

/// How often the agent's probes are asked what became of tracepoints. Reference: the agent's monitor, 2 s.
pub const MONITOR_PERIOD: Duration = Duration::from_secs(2);

/// What deploys tracepoints on this node. No call waits: what came of it is told by [`Self::outcomes`].
pub trait Tracepoints: Send {
    /// Begins to deploy it. It is called once for each tracepoint.
    fn deploy(&mut self, id: TracepointId, deployment: Deployment);
    /// Begins to take it away. [`Outcome::Removed`] follows in any case.
    fn remove(&mut self, id: TracepointId);
    /// What became of tracepoints since the last call. Those that run have their tables in the store already.
    fn outcomes(&mut self) -> Vec<(TracepointId, Outcome)>;
}

/// Does what is asked, until nobody can ask any more or the stop. `changed` is called after something became of tracepoints: there may be new
/// tables. Settings are answered: there is none that could be set.
pub async fn run_requests(
    bus: &Bus,
    agent: AgentId,
    requests: &mut Requests,
    probes: &mut dyn Tracepoints,
    mut changed: impl FnMut(),
    stop: &CancellationToken,
) {
    let (began, mut manager) = (Instant::now(), Manager::default());
    let now = || MonoNs(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX));
    let mut period = tokio::time::interval(MONITOR_PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let effects = tokio::select! {
            () = stop.cancelled() => return,
            request = requests.next() => match request {
                None => return,
                Some(Request::Tracepoint(message)) => match decode_request(message) {
                    Ok(TracepointRequest::Register(id, deployment)) => manager.handle(ManagerEvent::Register(id, deployment), now()),
                    Ok(TracepointRequest::Remove(id)) => manager.handle(ManagerEvent::Remove(id), now()),
                    Err((id, reason)) => refuse(id, reason),
                },
                Some(Request::Config(message)) => {
                    answer_config(bus, agent, message).await;
                    vec![]
                }
            },
            _ = period.tick() => {
                let outcomes = probes.outcomes();
                if !outcomes.is_empty() {
                    changed();
                }
                let outcomes = outcomes.into_iter().flat_map(|(id, outcome)| manager.handle(ManagerEvent::Changed(id, outcome), now()));
                let mut effects: Vec<_> = outcomes.collect();
                effects.extend(manager.handle(ManagerEvent::Tick, now()));
                effects
            }
        };
        for effect in effects {
            match effect {
                ManagerEffect::Deploy(id, deployment) => {
                    tracing::info!(tracepoint = %id, name = deployment.name, "a tracepoint is deployed");
                    probes.deploy(id, *deployment);
                }
                ManagerEffect::Remove(id) => probes.remove(id),
                ManagerEffect::Report(report) => say(bus, agent, &report).await,
            }
        }
    }
}

/// The one who asked is told, if it is known what about.
fn refuse(id: Option<TracepointId>, reason: &str) -> Vec<ManagerEffect> {
    tracing::warn!(reason, "a request about a tracepoint cannot be read");
    let failure = Failure { code: Code::InvalidArgument, text: reason.to_owned() };
    id.map(|id| ManagerEffect::Report(Report { id, stage: Stage::Failed(failure) })).into_iter().collect()
}

/// What is not heard is said again: all that stand are reported every ten seconds, others are asked about again.
async fn say(bus: &Bus, agent: AgentId, report: &Report) {
    if let Err(error) = bus.publish(&subject::update_agent(), &encode_report(agent, report)).await {
        tracing::debug!(tracepoint = %report.id, %error, "how a tracepoint stands was not said");
    }
}

/// There is nothing that can be set while an agent runs: whoever asks is told so.
async fn answer_config(bus: &Bus, agent: AgentId, message: ConfigUpdateMessage) {
    let Some(config_update_message::Msg::ConfigUpdateRequest(request)) = message.msg else { return };
    tracing::warn!(key = request.key, "a setting that there is not was asked for");
    let text = format!("the agent has no setting `{}` that can be changed while it runs", request.key);
    let status = Status { err_code: api::statuspb::Code::NotFound.into(), msg: text, context: None };
    let response = ConfigUpdateResponse { request_id: request.request_id, agent_id: Some(life::uuid(agent)), status: Some(status) };
    let message = ConfigUpdateMessage { msg: Some(config_update_message::Msg::ConfigUpdateResponse(response)) };
    if let Err(error) = bus.publish(&subject::update_agent(), &VizierMessage { msg: Some(Msg::ConfigUpdateMessage(message)) }).await {
        tracing::debug!(%error, "a request for a setting was not answered");
    }
}
