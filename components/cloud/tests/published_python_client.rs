//! The unmodified `pxapi` from PyPI through the control plane to a Vizier whose answers are written here.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod support;

use std::path::Path;
use std::process::Command;

use api::cvmsgspb::c2vapi_stream_request::Msg as Ask;
use api::cvmsgspb::v2capi_stream_response::Msg as Answer;
use api::vizierpb::column::ColData;
use api::vizierpb::relation::ColumnInfo;
use api::vizierpb::{
    Column, CompilerError, DataType, ErrorDetails, ExecuteScriptResponse, Int64Column, QueryData, QueryMetadata, Relation, RowBatchData,
    Status as WireStatus, StringColumn, error_details, execute_script_response,
};
use support::{Plane, Vizier, python};

fn response(result: execute_script_response::Result) -> Answer {
    Answer::ExecResp(ExecuteScriptResponse { query_id: "q".to_owned(), result: Some(result), ..Default::default() })
}

/// A table `rows` of two rows.
fn table() -> Vec<Answer> {
    let column = |name: &str, kind: DataType| ColumnInfo { column_name: name.to_owned(), column_type: kind as i32, ..Default::default() };
    let columns = vec![column("n", DataType::Int64), column("text", DataType::String)];
    let metadata = QueryMetadata { relation: Some(Relation { columns }), name: "rows".to_owned(), id: "t".to_owned() };
    let text = StringColumn { data: vec!["grün".into(), "".into()] };
    let cols = vec![
        Column { col_data: Some(ColData::Int64Data(Int64Column { data: vec![1, 2] })) },
        Column { col_data: Some(ColData::StringData(text)) },
    ];
    let batch = RowBatchData { table_id: "t".to_owned(), cols, num_rows: 2, eow: true, eos: true };
    vec![
        response(execute_script_response::Result::MetaData(metadata)),
        response(execute_script_response::Result::Data(QueryData { batch: Some(batch), ..Default::default() })),
    ]
}

fn mistake() -> Answer {
    let error = CompilerError { line: 2, column: 1, message: "name 'wrong' is not defined".to_owned() };
    let error_details = vec![ErrorDetails { error: Some(error_details::Error::CompilerError(error)) }];
    let status = WireStatus { code: 3, message: "the script does not compile".to_owned(), error_details };
    Answer::ExecResp(ExecuteScriptResponse { query_id: "q".to_owned(), status: Some(status), ..Default::default() })
}

/// Answers two scripts.
async fn answer_two(mut vizier: Vizier) {
    let mut answered = 0;
    while answered < 2 {
        let call = vizier.call().await;
        let Some(Ask::ExecReq(asked)) = &call.msg else { continue };
        let wrong = asked.query_str.contains("wrong");
        let answers = if wrong { vec![mistake()] } else { table() };
        let mut sequence = 0;
        for answer in answers {
            sequence += 1;
            vizier.answer(&call.request_id, sequence, answer).await;
        }
        vizier.end(&call.request_id, sequence + 1, if wrong { 3 } else { 0 }, "").await;
        answered += 1;
    }
    // The bridge stays until the client is done with it.
    std::future::pending::<()>().await;
}

async fn check(tls: bool) {
    let Some(python) = python() else { return };
    let plane = Plane::start(tls).await;
    let (deploy, api) = (plane.key("deploy", "default"), plane.key("api", "default"));
    let vizier = Vizier::healthy(&plane, &deploy, &api).await;
    let answering = tokio::spawn(answer_two(vizier));
    let port = plane.address.rsplit_once(':').unwrap().1.to_owned();
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pxapi/check_cloud.py"));
    // A name that the certificate carries: clients check it.
    command.arg(format!("localhost:{port}")).arg(if tls { "tls" } else { "plain" }).arg(&api);
    if tls {
        command.env("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", plane.ca());
    }
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    answering.abort();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    let expected = [
        r#"{"clusters": ["one"]}"#,
        r#"{"rows": [[1, "gr\u00fcn"], [2, ""]]}"#,
        r#"{"wrong": true}"#,
        r#"{"stranger": "UNAUTHENTICATED"}"#,
    ];
    assert_eq!(stdout.lines().collect::<Vec<_>>(), expected, "{stderr}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_lists_connects_and_runs_through_the_control_plane_over_plaintext() {
    check(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_lists_connects_and_runs_through_the_control_plane_over_tls() {
    check(true).await;
}
