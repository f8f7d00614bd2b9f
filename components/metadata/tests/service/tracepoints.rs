use std::time::Duration;

use api::carnot::planner::dynamic_tracing::ir::logical::tracepoint_deployment::TracepointProgram;
use api::carnot::planner::dynamic_tracing::ir::logical::{
    BpfTrace, DeploymentSpec, SelectorType, TracepointDeployment, TracepointSelector, Upid, deployment_spec,
};
use api::statuspb::{Code, LifeCycleState, Status};
use api::uuidpb::Uuid;
use api::vizier::messages::vizier_message::Msg;
use api::vizier::messages::{TracepointInfoUpdate, TracepointMessage, tracepoint_message};
use api::vizier::services::metadata::get_tracepoint_info_response::TracepointState;
use api::vizier::services::metadata::register_tracepoint_request::TracepointRequest;
use api::vizier::services::metadata::{
    GetTracepointInfoRequest, RegisterTracepointRequest, RemoveTracepointRequest, register_tracepoint_response::TracepointStatus,
};

use super::world::{Peer, World};

fn program(text: &str, selectors: &[(SelectorType, &str)]) -> TracepointProgram {
    let selectors =
        selectors.iter().map(|(kind, value)| TracepointSelector { selector_type: (*kind).into(), value: (*value).to_owned() }).collect();
    let bpftrace = Some(BpfTrace { program: text.to_owned() });
    TracepointProgram { table_name: "probe_table".to_owned(), spec: None, bpftrace, selectors }
}

fn request(name: &str, programs: Vec<TracepointProgram>, seconds: i64) -> TracepointRequest {
    let target = deployment_spec::TargetOneof::Upid(Upid { asid: 1, pid: 2, ts_ns: 3 });
    let deployment_spec = Some(DeploymentSpec { target_oneof: Some(target) });
    let deployment = TracepointDeployment { name: name.to_owned(), ttl: None, deployment_spec, programs };
    let ttl = Some(prost_types::Duration { seconds, nanos: 0 });
    TracepointRequest { tracepoint_deployment: Some(deployment), name: name.to_owned(), ttl }
}

async fn register(world: &World, request: TracepointRequest) -> TracepointStatus {
    let told = world.tracepoints().register_tracepoint(RegisterTracepointRequest { requests: vec![request] }).await;
    told.unwrap().into_inner().tracepoints.remove(0)
}

fn code(status: &TracepointStatus) -> Code {
    status.status.as_ref().unwrap().err_code()
}

async fn states(world: &World) -> Vec<TracepointState> {
    world.tracepoints().get_tracepoint_info(GetTracepointInfoRequest { ids: vec![] }).await.unwrap().into_inner().tracepoints
}

async fn state(world: &World) -> LifeCycleState {
    world.settle().await;
    states(world).await[0].state()
}

fn message(msg: &Msg) -> Option<&tracepoint_message::Msg> {
    if let Msg::TracepointMessage(TracepointMessage { msg: Some(msg) }) = msg { Some(msg) } else { None }
}

/// The tracepoint that an agent is told to deploy, with its programs.
async fn told_to_deploy(peer: &mut Peer) -> (Uuid, Vec<String>) {
    let pick = |msg: &Msg| {
        let tracepoint_message::Msg::RegisterTracepointRequest(request) = message(msg)? else { return None };
        let programs = request.tracepoint_deployment.clone().unwrap().programs;
        Some((request.id.unwrap(), programs.into_iter().map(|program| program.bpftrace.unwrap().program).collect()))
    };
    peer.hear(pick).await
}

async fn told_to_remove(peer: &mut Peer) -> Uuid {
    let pick = |msg: &Msg| {
        let tracepoint_message::Msg::RemoveTracepointRequest(request) = message(msg)? else { return None };
        request.id
    };
    peer.hear(pick).await
}

async fn report(peer: &Peer, id: Uuid, state: LifeCycleState, failure: Option<(Code, &str)>) {
    let status = failure.map(|(code, text)| Status { err_code: code.into(), msg: text.to_owned(), context: None });
    let update = TracepointInfoUpdate { id: Some(id), state: state.into(), status, agent_id: peer.info.agent_id };
    let msg = Some(tracepoint_message::Msg::TracepointInfoUpdate(update));
    peer.say(Msg::TracepointMessage(TracepointMessage { msg })).await;
}

pub(crate) async fn the_contract(world: World) {
    let (mut one, mut two) = (world.pem(1).await, world.pem(2).await);
    one.join().await;
    two.join().await;
    world.kelvin(3).await.join().await;
    let first = register(&world, request("probe", vec![program("a", &[])], 3600)).await;
    assert_eq!(code(&first), Code::Ok);
    let id = first.id.unwrap();
    assert_eq!(states(&world).await[0].state(), LifeCycleState::PendingState);
    assert_eq!(told_to_deploy(&mut one).await, (id, vec!["a".to_owned()]));
    // It is said again until it is answered.
    assert_eq!(told_to_deploy(&mut one).await.0, id);
    told_to_deploy(&mut two).await;
    report(&two, id, LifeCycleState::FailedState, Some((Code::FailedPrecondition, "no such process here"))).await;
    world.until("it failed on one agent", async || states(&world).await[0].state() == LifeCycleState::FailedState).await;
    report(&one, id, LifeCycleState::RunningState, None).await;
    world.until("it runs on one agent", async || states(&world).await[0].state() == LifeCycleState::RunningState).await;
    assert_eq!(states(&world).await[0].statuses, []);

    // The same program again only lives longer; another one takes its place.
    let same = register(&world, request("probe", vec![program("a", &[])], 7200)).await;
    assert_eq!((code(&same), same.id), (Code::AlreadyExists, Some(id)));
    let world = world.restarted().await;
    let known = states(&world).await.remove(0);
    assert_eq!((known.id, known.state(), known.schema_names), (Some(id), LifeCycleState::RunningState, vec!["probe_table".to_owned()]));
    let other = register(&world, request("probe", vec![program("b", &[])], 3600)).await;
    assert_eq!(code(&other), Code::Ok);
    let new = other.id.unwrap();
    assert_ne!(new, id);
    one.aside.clear();
    two.aside.clear();
    assert_eq!(told_to_remove(&mut one).await, id);
    assert_eq!(told_to_deploy(&mut one).await, (new, vec!["b".to_owned()]));
    report(&one, id, LifeCycleState::TerminatedState, None).await;
    report(&one, new, LifeCycleState::RunningState, None).await;
    let of = |states: Vec<TracepointState>, id: Uuid| states.into_iter().find(|state| state.id == Some(id));
    let is_gone = |state: TracepointState| state.expected_state() == state.state() && state.state() == LifeCycleState::TerminatedState;
    world.until("it went from one agent", async || of(states(&world).await, id).is_some_and(is_gone)).await;
    report(&two, id, LifeCycleState::TerminatedState, None).await;
    world.until("no agent has it any more", async || of(states(&world).await, id).is_none()).await;

    let removed =
        world.tracepoints().remove_tracepoint(RemoveTracepointRequest { names: vec!["probe".to_owned(), "none".to_owned()] }).await;
    assert_eq!(removed.unwrap().into_inner().status.unwrap().msg, "there is no tracepoint none");
    let world = world.restarted().await;
    assert_eq!(told_to_remove(&mut one).await, new);
    one.aside.clear();
    report(&one, new, LifeCycleState::TerminatedState, None).await;
    report(&two, new, LifeCycleState::TerminatedState, None).await;
    world.until("all are gone", async || states(&world).await.is_empty()).await;
    let world = world.restarted().await;
    assert_eq!(states(&world).await, []);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_tracepoint_lives_is_replaced_and_goes_through_restarts_of_the_service() {
    the_contract(World::new().await).await;
}

#[tokio::test(start_paused = true)]
async fn a_tracepoint_goes_when_its_time_is_over() {
    let world = World::new().await;
    let mut pem = world.pem(1).await;
    pem.join().await;
    let id = register(&world, request("probe", vec![program("a", &[])], 20)).await.id.unwrap();
    told_to_deploy(&mut pem).await;
    report(&pem, id, LifeCycleState::RunningState, None).await;
    tokio::time::sleep(Duration::from_secs(15)).await;
    register(&world, request("probe", vec![program("a", &[])], 20)).await;
    pem.beat(None).await;
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(states(&world).await[0].expected_state(), LifeCycleState::RunningState, "it was asked for again meanwhile");
    pem.beat(None).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(told_to_remove(&mut pem).await, id);
    report(&pem, id, LifeCycleState::TerminatedState, None).await;
    world.settle().await;
    assert_eq!(states(&world).await, []);
}

#[tokio::test(start_paused = true)]
async fn an_agent_is_sent_the_programs_that_fit_its_node() {
    let world = World::new().await;
    let (mut one, mut two) = (world.pem(1).await, world.pem(2).await);
    one.join().await;
    two.join().await;
    let programs = vec![
        program("old", &[(SelectorType::MaxKernel, "6.1.1")]),
        program("new", &[(SelectorType::MinKernel, "6.1.2")]),
        program("host", &[(SelectorType::HostName, "node-2"), (SelectorType::MinKernel, "5.10.0")]),
        program("future", &[(SelectorType::MinKernel, "9.0.0")]),
    ];
    register(&world, request("probe", programs, 60)).await;
    assert_eq!(told_to_deploy(&mut one).await.1, ["old"]);
    assert_eq!(told_to_deploy(&mut two).await.1, ["new", "host"]);
    let nowhere = register(&world, request("nowhere", vec![program("future", &[(SelectorType::MinKernel, "9.0.0")])], 60)).await;
    two.aside.clear();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let found = tokio::time::timeout(Duration::from_secs(3), async {
        loop {
            if told_to_deploy(&mut two).await.0 == nowhere.id.unwrap() {
                return;
            }
        }
    });
    assert!(found.await.is_err(), "nobody is sent what fits nowhere");
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_restarts_is_sent_everything_again() {
    let world = World::new().await;
    let mut pem = world.pem(1).await;
    pem.join().await;
    let id = register(&world, request("probe", vec![program("a", &[])], 3600)).await.id.unwrap();
    told_to_deploy(&mut pem).await;
    report(&pem, id, LifeCycleState::RunningState, None).await;
    assert_eq!(state(&world).await, LifeCycleState::RunningState);
    let mut again = Peer::new(world.hub.connect("pem-again").unwrap(), pem.info.clone(), 99).await;
    again.join().await;
    assert_eq!(state(&world).await, LifeCycleState::PendingState, "what the old process said counts no longer");
    assert_eq!(told_to_deploy(&mut again).await.0, id);
    report(&again, id, LifeCycleState::FailedState, Some((Code::Internal, "no such symbol"))).await;
    assert_eq!(state(&world).await, LifeCycleState::FailedState);
    assert_eq!(states(&world).await[0].statuses[0].msg, "no such symbol");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_deployed_is_refused_with_the_reason() {
    let world = World::new().await;
    let reason = async |request| {
        let told = register(&world, request).await;
        (code(&told), told.status.unwrap().msg)
    };
    assert_eq!(reason(request("probe", vec![], 60)).await, (Code::InvalidArgument, "the tracepoint `probe` has no program".to_owned()));
    let (kind, text) = reason(request("probe", vec![program("a", &[])], 0)).await;
    assert_eq!((kind, text.as_str()), (Code::InvalidArgument, "the tracepoint `probe` needs a time to live of more than zero"));
    let (kind, _) = reason(request("probe", vec![program("a", &[(SelectorType::MinKernel, "new")])], 60)).await;
    assert_eq!(kind, Code::InvalidArgument);
    let mut labels = request("probe", vec![program("a", &[])], 60);
    let target = deployment_spec::TargetOneof::LabelSelector(deployment_spec::LabelSelector::default());
    labels.tracepoint_deployment.as_mut().unwrap().deployment_spec = Some(DeploymentSpec { target_oneof: Some(target) });
    assert_eq!(reason(labels).await.0, Code::FailedPrecondition);
    assert_eq!(states(&world).await, []);
}

#[tokio::test(start_paused = true)]
async fn an_agent_with_a_tracepoint_that_nobody_knows_takes_it_away() {
    let world = World::new().await;
    let mut pem = world.pem(1).await;
    pem.join().await;
    let id = Uuid { high_bits: 1, low_bits: 2 };
    report(&pem, id, LifeCycleState::RunningState, None).await;
    assert_eq!(told_to_remove(&mut pem).await, id);
}
