use std::collections::{BTreeMap, HashMap};

use api::cvmsgspb::CronScript;
use api::statuspb::{Code, Status};
use api::uuidpb::Uuid;
use api::vizier::services::metadata::get_all_execution_results_response::execution_result;
use api::vizier::services::metadata::record_execution_result_request::Result as RunResult;
use api::vizier::services::metadata::{
    AddOrUpdateScriptRequest, DeleteScriptRequest, ExecutionStats, GetAllExecutionResultsRequest, GetScriptsRequest,
    RecordExecutionResultRequest, SetScriptsRequest,
};

use super::world::World;

fn id(number: u64) -> Uuid {
    Uuid { high_bits: 5, low_bits: number }
}

fn script(number: u64, text: &str) -> CronScript {
    CronScript {
        id: Some(id(number)),
        script: text.to_owned(),
        cron_expression: String::new(),
        configs: "a: b".to_owned(),
        frequency_s: 10,
    }
}

fn run(number: u64, second: i64) -> RecordExecutionResultRequest {
    let result = if second % 2 == 0 {
        RunResult::ExecutionStats(ExecutionStats {
            execution_time_ns: second,
            compilation_time_ns: 2,
            bytes_processed: 3,
            records_processed: 4,
        })
    } else {
        RunResult::Error(Status { err_code: Code::Internal.into(), msg: format!("run {second}"), context: None })
    };
    RecordExecutionResultRequest {
        script_id: Some(id(number)),
        timestamp: Some(prost_types::Timestamp { seconds: second, nanos: 7 }),
        result: Some(result),
    }
}

async fn texts(world: &World) -> BTreeMap<String, String> {
    let told = world.scripts().get_scripts(GetScriptsRequest {}).await.unwrap().into_inner();
    told.scripts.into_iter().map(|(id, script)| (id, script.script)).collect()
}

async fn seconds(world: &World) -> Vec<(u64, i64)> {
    let told = world.scripts().get_all_execution_results(GetAllExecutionResultsRequest {}).await.unwrap().into_inner();
    let check = |result: &api::vizier::services::metadata::get_all_execution_results_response::ExecutionResult| {
        let second = result.timestamp.unwrap().seconds;
        match result.result.clone().unwrap() {
            execution_result::Result::Error(status) => assert_eq!(status.msg, format!("run {second}")),
            execution_result::Result::ExecutionStats(stats) => assert_eq!(stats.execution_time_ns, second),
        }
        (result.script_id.unwrap().low_bits, second)
    };
    told.results.iter().map(check).collect()
}

pub(crate) async fn the_contract(world: World) {
    let mut scripts = world.scripts();
    for (number, text) in [(1, "one"), (2, "two"), (1, "one again")] {
        scripts.add_or_update_script(AddOrUpdateScriptRequest { script: Some(script(number, text)) }).await.unwrap();
    }
    for second in 0..23 {
        scripts.record_execution_result(run(1, second)).await.unwrap();
    }
    scripts.record_execution_result(run(2, 100)).await.unwrap();
    let unknown = scripts.record_execution_result(run(9, 0)).await.unwrap_err();
    assert_eq!(unknown.code(), tonic::Code::NotFound);
    let last: Vec<(u64, i64)> = (13..23).map(|second| (1, second)).chain([(2, 100)]).collect();
    assert_eq!(seconds(&world).await, last);

    let world = world.restarted().await;
    let mut scripts = world.scripts();
    let name = |number: u64| format!("00000000-0000-0005-0000-{number:012}");
    let both = BTreeMap::from([(name(1), "one again".to_owned()), (name(2), "two".to_owned())]);
    assert_eq!((texts(&world).await, seconds(&world).await), (both, last));
    scripts.record_execution_result(run(1, 23)).await.unwrap();
    let world = world.restarted().await;
    let mut scripts = world.scripts();
    assert_eq!(seconds(&world).await.iter().map(|(_, second)| *second).collect::<Vec<_>>(), (14..24).chain([100]).collect::<Vec<_>>());

    let only = HashMap::from([("2".to_owned(), script(2, "two")), ("3".to_owned(), script(3, "three"))]);
    scripts.set_scripts(SetScriptsRequest { scripts: only }).await.unwrap();
    assert_eq!(seconds(&world).await, [(2, 100)]);
    scripts.delete_script(DeleteScriptRequest { script_id: Some(id(2)) }).await.unwrap();
    scripts.delete_script(DeleteScriptRequest { script_id: Some(id(2)) }).await.unwrap();
    let world = world.restarted().await;
    assert_eq!(texts(&world).await, BTreeMap::from([(name(3), "three".to_owned())]));
    assert_eq!(seconds(&world).await, []);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn scripts_and_their_last_runs_are_kept() {
    the_contract(World::new().await).await;
}

#[tokio::test(start_paused = true)]
async fn a_script_that_is_too_large_is_refused() {
    let world = World::new().await;
    let large = AddOrUpdateScriptRequest { script: Some(script(1, &"x".repeat(300_000))) };
    let refused = world.scripts().add_or_update_script(large).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    let nameless = AddOrUpdateScriptRequest { script: Some(CronScript::default()) };
    assert_eq!(world.scripts().add_or_update_script(nameless).await.unwrap_err().message(), "it names no script");
}
