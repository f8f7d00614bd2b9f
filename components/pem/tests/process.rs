//! The program over a real nats-server, with a metadata service and a Kelvin of the test's.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test")]

mod support;

use std::process::{Command, Stdio};

use api::carnot::planner::dynamic_tracing::ir::logical as tracing_pb;
use api::statuspb::LifeCycleState;
use api::uuidpb::Uuid;
use api::vizier::messages::vizier_message::Msg;
use api::vizier::messages::{
    AgentRefusal, HeartbeatNack, RegisterTracepointRequest, RemoveTracepointRequest, TracepointInfoUpdate, TracepointMessage,
    tracepoint_message,
};
use support::{NEVER, Owned, Vizier};

const TRACEPOINT: Uuid = Uuid { high_bits: 5, low_bits: 6 };

#[tokio::test]
async fn a_node_registers_tells_its_tables_and_dials_kelvin() {
    let Some(mut vizier) = Vizier::start().await else { return };
    let mut pem = vizier.pem(&[]);
    let (request, first) = vizier.join(7).await;
    let info = request.info.unwrap();
    assert_eq!((info.host_info.unwrap().hostname.as_str(), info.capabilities.unwrap().collects_data), ("node-1", true));
    let update = first.update_info.unwrap();
    assert!(update.schema.iter().any(|table| table.name == "http_events" && !table.desc.is_empty()));
    assert_eq!(update.data.unwrap().collectors.unwrap().states.len(), 3);
    vizier.kelvin_connected().await;
    let [id, asid, http] = vizier.ready().await.try_into().unwrap();
    assert_eq!((vizier.hub.agents()[0].to_string(), asid.as_str()), (id, "7"));
    assert!(support::get(&http, "/readyz").contains("[+]registered OK"));
    let metrics = support::get(&http, "/metrics");
    for line in ["px_agent_registered 1", "px_agent_kelvins_connected 1", "px_pem_collector_running{collector=\"socket data\"} 0"] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    // The bus is gone for a while: Kelvin keeps its connection, and the agent comes back by itself.
    vizier.nats.stop().unwrap();
    vizier.nats.start_again().unwrap();
    vizier.bus.connected(NEVER).await.unwrap();
    let beat = vizier.beat().await;
    vizier.acknowledge(&beat).await;
    assert_eq!(vizier.hub.counts().taken, 1);
    support::terminate(&pem);
    assert!(pem.wait().unwrap().success(), "it leaves when it is asked to");
}

#[tokio::test]
async fn another_identity_begins_anew_and_a_newer_process_ends_it() {
    let Some(mut vizier) = Vizier::start().await else { return };
    let mut pem = vizier.pem(&[]);
    let (_, first) = vizier.join(7).await;
    vizier.kelvin_connected().await;
    let nack = HeartbeatNack { reregister: true, incarnation: first.incarnation, ..Default::default() };
    vizier.say(first.agent_id.unwrap(), Msg::HeartbeatNack(nack)).await;
    let (again, everything) = vizier.join(8).await;
    assert_eq!(again.asid, 7, "it wishes for the number that it had");
    assert!(everything.update_info.unwrap().does_update_schema);
    // It dials under its new identity.
    support::until(|| vizier.hub.counts().taken == 2).await;
    vizier.ready_as("8").await;
    let refusal_kind = AgentRefusal::Superseded.into();
    let nack = HeartbeatNack { refusal_kind, reason: "a newer one".to_owned(), incarnation: first.incarnation, ..Default::default() };
    vizier.say(first.agent_id.unwrap(), Msg::HeartbeatNack(nack)).await;
    assert!(!pem.wait().unwrap().success());
    assert!(vizier.said().contains("the metadata service says that this agent must not go on: a newer one"));
}

fn register(upid: tracing_pb::Upid, symbol: &str) -> Msg {
    let program = tracing_pb::tracepoint_deployment::TracepointProgram {
        table_name: "calls".to_owned(),
        spec: Some(tracing_pb::TracepointSpec {
            outputs: vec![tracing_pb::Output { name: "calls".to_owned(), fields: vec!["parent".to_owned(), "latency".to_owned()] }],
            probe: Some(tracing_pb::Probe {
                tracepoint: Some(tracing_pb::Tracepoint { symbol: symbol.to_owned() }),
                ret_vals: vec![tracing_pb::ReturnValue { id: "r".to_owned(), expr: "$0".to_owned() }],
                function_latency_oneof: Some(tracing_pb::probe::FunctionLatencyOneof::FunctionLatency(tracing_pb::FunctionLatency {
                    id: "l".to_owned(),
                })),
                output_actions: vec![tracing_pb::OutputAction {
                    output_name: "calls".to_owned(),
                    variable_names: vec!["r".to_owned(), "l".to_owned()],
                }],
                ..Default::default()
            }),
        }),
        ..Default::default()
    };
    let object = tracing_pb::deployment_spec::SharedObject { name: "libc".to_owned(), upid: Some(upid) };
    let deployment = tracing_pb::TracepointDeployment {
        name: "calls".to_owned(),
        ttl: None,
        deployment_spec: Some(tracing_pb::DeploymentSpec {
            target_oneof: Some(tracing_pb::deployment_spec::TargetOneof::SharedObject(object)),
        }),
        programs: vec![program],
    };
    let request = RegisterTracepointRequest { tracepoint_deployment: Some(deployment), id: Some(TRACEPOINT) };
    Msg::TracepointMessage(TracepointMessage { msg: Some(tracepoint_message::Msg::RegisterTracepointRequest(request)) })
}

/// The first report of another state than that it is being deployed.
async fn report(vizier: &mut Vizier) -> TracepointInfoUpdate {
    loop {
        if let Msg::TracepointMessage(TracepointMessage { msg: Some(tracepoint_message::Msg::TracepointInfoUpdate(update)) }) =
            vizier.next().await
            && update.state() != LifeCycleState::PendingState
        {
            assert_eq!(update.id, Some(TRACEPOINT));
            return update;
        }
    }
}

#[tokio::test]
async fn a_tracepoint_of_another_nodes_process_is_a_failed_precondition() {
    let Some(mut vizier) = Vizier::start().await else { return };
    let mut pem = vizier.pem(&[]);
    let (_, first) = vizier.join(7).await;
    vizier.say(first.agent_id.unwrap(), register(tracing_pb::Upid { asid: 9, pid: 1, ts_ns: 1 }, "getppid")).await;
    let failed = report(&mut vizier).await;
    assert_eq!((failed.state(), failed.agent_id), (LifeCycleState::FailedState, first.agent_id));
    let status = failed.status.unwrap();
    assert_eq!((status.err_code, status.msg.as_str()), (13, "process 9:1:1 is on another node: this one is 7"));
    support::terminate(&pem);
    pem.wait().unwrap();
}

/// Calls getppid again and again.
fn caller() -> Owned {
    let script = "import os, time\nwhile True: os.getppid(); time.sleep(0.01)";
    Owned(Command::new("python3").args(["-c", script]).stdin(Stdio::null()).spawn().unwrap())
}

#[tokio::test]
async fn a_logging_probe_makes_rows_from_its_request_to_its_end() {
    if !support::can_probe() {
        return;
    }
    let Some(mut vizier) = Vizier::start().await else { return };
    let (mut pem, called) = (vizier.pem(&["--http-listen", "127.0.0.1:0"]), caller());
    let (_, first) = vizier.join(7).await;
    let http = vizier.ready().await.remove(2);
    let upid = tracing_pb::Upid { asid: 7, pid: called.id(), ts_ns: support::start_ticks(called.id()) };
    vizier.say(first.agent_id.unwrap(), register(upid, "getppid")).await;
    let running = report(&mut vizier).await;
    assert_eq!(running.state(), LifeCycleState::RunningState, "{running:?}");
    // The table is announced with a heartbeat, and fills.
    let waited = tokio::time::timeout(NEVER, async {
        loop {
            let beat = vizier.beat().await;
            vizier.acknowledge(&beat).await;
            if beat.update_info.unwrap_or_default().schema.iter().any(|table| table.name == "calls" && table.columns.len() == 4) {
                return;
            }
        }
    });
    waited.await.unwrap();
    let rows = || support::number(&support::get(&http, "/metrics"), "px_pem_table_rows{table=\"calls\"}");
    support::until(|| rows() > 10).await;
    let remove = RemoveTracepointRequest { id: Some(TRACEPOINT) };
    let message = TracepointMessage { msg: Some(tracepoint_message::Msg::RemoveTracepointRequest(remove)) };
    vizier.say(first.agent_id.unwrap(), Msg::TracepointMessage(message)).await;
    let mut gone = report(&mut vizier).await;
    while gone.state() == LifeCycleState::RunningState {
        gone = report(&mut vizier).await;
    }
    assert_eq!(gone.state(), LifeCycleState::TerminatedState);
    let after = rows();
    vizier.beat().await;
    assert_eq!(rows(), after, "nothing is written any more, and what was written stays");
    drop(called);
    support::terminate(&pem);
    pem.wait().unwrap();
}
