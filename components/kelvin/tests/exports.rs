//! Rows that Kelvin sends elsewhere than to its caller.

#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test")]

mod support;

use api::internal::execute_plan_response::Message;
use harness_otlp::{Conduct, Receiver};
use support::{NEVER, Vizier, read, read_on, store};
use tonic::{Code, Status};

fn script(receiver: &Receiver) -> String {
    format!(
        "import px\ndf = px.DataFrame('t')\npx.export(df, px.otel.Data(resource={{'service.name': 'all'}}, \
         data=[px.otel.metric.Gauge('number', df.number), px.otel.trace.Span('row', df.time_, df.time_)], \
         endpoint=px.otel.Endpoint('{}', insecure=True)))\npx.display(df.agg(n=('number', px.count)), 'count')\n",
        receiver.url()
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_all_agents_go_to_the_endpoint_and_the_caller_hears_how_many() {
    let receiver = Receiver::plaintext(Conduct::Take).await;
    let vizier = Vizier::start(vec![store(1500), store(20)], &[]).await;
    let answers = vizier.client().await.execute_plan(vizier.request(1, &script(&receiver))).await.unwrap().into_inner();
    let (rows, end) = read(answers).await.unwrap();
    assert_eq!((rows[0].len(), rows[1].len()), (1, 0), "what is exported is not answered");
    assert_eq!(end.rows_read, 2 * 1520);
    let received = receiver.now();
    assert_eq!((received.metrics.len(), received.spans.len()), (1520, 1520));

    let mut answers = vizier.client().await.execute_plan(vizier.request(2, &script(&receiver))).await.unwrap().into_inner();
    let mut exported = 0;
    while let Some(answer) = tokio::time::timeout(NEVER, answers.message()).await.expect("no message").unwrap() {
        if let Some(Message::Exported(told)) = answer.message {
            exported += told.rows;
        }
    }
    assert_eq!(exported, 1520);
    vizier.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_does_not_take_rows_fails_the_query_everywhere() {
    let receiver = Receiver::plaintext(Conduct::Refuse(Status::unavailable("full"))).await;
    let vizier = Vizier::start(vec![store(10)], &[]).await;
    let answers = vizier.client().await.execute_plan(vizier.request(1, &script(&receiver))).await.unwrap().into_inner();
    let status = read_on(answers).await;
    assert_eq!(status.code(), Code::Aborted, "no other Kelvin is asked");
    assert!(status.message().starts_with(&format!("OTel export to `{}` failed: full", receiver.url())), "{}", status.message());
    vizier.no_leaves().await;

    let mut request = vizier.request(2, &script(&receiver));
    request.outputs[1].export.as_mut().unwrap().signals.clear();
    let status = vizier.client().await.execute_plan(request).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "outputs[1].export: an export without data"));
    vizier.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_whose_endpoint_is_silent_ends_when_its_caller_goes() {
    let receiver = Receiver::plaintext(Conduct::Silence).await;
    let vizier = Vizier::start(vec![store(10)], &[]).await;
    let slow = script(&receiver).replace("insecure=True", "insecure=True, timeout=60");
    let mut answers = vizier.client().await.execute_plan(vizier.request(1, &slow)).await.unwrap().into_inner();
    answers.message().await.unwrap();
    drop(answers);
    vizier.no_leaves().await;
    vizier.stop().await;
}
