//! The self-test: a script through the whole stack, every few seconds.

use api::vizierpb::HealthCheckResponse;
use api::vizierpb::Status as WireStatus;
use api::vizierpb::execute_script_response::Result as Body;
use ids::QueryId;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tonic::Code;
use uuid::Uuid;

use crate::answer::{self, Job};
use crate::broker::{Broker, ClusterState};
use crate::engine::Script;
use crate::limits::{HEALTH_EVERY, HEALTH_TEST_MAX, MESSAGES_WAITING_MAX};

/// What the self-test runs: it needs the compiler and a Kelvin, and neither tables nor agents that capture. One row is the right answer.
/// Reference: api.md §4.
pub const HEALTH_SCRIPT: &str = "import px\npx.display(px.Version())\n";

/// What the last self-test said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Health {
    #[default]
    Untested,
    Good,
    Bad(String),
}

impl Health {
    /// With what is not as it should be although scripts are answered.
    pub(crate) fn message(&self, state: &ClusterState) -> HealthCheckResponse {
        let (code, message) = match self {
            Health::Untested => (Code::Unavailable, "no healthcheck has run yet".to_owned()),
            Health::Good => (Code::Ok, state.reason().to_owned()),
            Health::Bad(why) => (Code::Unavailable, why.clone()),
        };
        HealthCheckResponse { status: Some(WireStatus { code: code as i32, message, error_details: Vec::new() }) }
    }
}

/// Tests until the broker stops.
pub(crate) async fn keep_testing(broker: Broker) {
    let mut ticks = interval(HEALTH_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while broker.inner.stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let Some(health) = broker.inner.stop.run_until_cancelled(test(&broker)).await else { return };
        let before = broker.inner.health.send_replace(health.clone());
        match health {
            Health::Bad(why) if before != Health::Bad(why.clone()) => tracing::warn!(why, "the self-test failed"),
            Health::Good if matches!(before, Health::Bad(_)) => tracing::info!("the self-test succeeds again"),
            Health::Bad(_) | Health::Good | Health::Untested => {}
        }
    }
}

async fn test(broker: &Broker) -> Health {
    match timeout(HEALTH_TEST_MAX, rows_of_self_test(broker)).await {
        Ok(Ok(1)) => Health::Good,
        Ok(Ok(rows)) => Health::Bad(format!("the self-test yielded {rows} rows instead of one")),
        Ok(Err(why)) => Health::Bad(format!("the self-test failed: {why}")),
        Err(_) => Health::Bad(format!("the self-test did not end within {} s", HEALTH_TEST_MAX.as_secs())),
    }
}

async fn rows_of_self_test(broker: &Broker) -> Result<i64, String> {
    let (outlet, mut messages): (answer::Outlet, _) = mpsc::channel(MESSAGES_WAITING_MAX);
    let script = Script { text: HEALTH_SCRIPT.to_owned(), ..Script::default() };
    let job =
        Job { id: QueryId::from_bytes(Uuid::new_v4().into_bytes()), script, sealer: None, mutation: false, quality_in_trailer: false };
    let collect = async {
        let mut rows = 0;
        while let Some(message) = messages.recv().await {
            let message = message.map_err(|status| status.message().to_owned())?;
            if let Some(status) = message.status {
                return Err(status.message);
            }
            if let Some(Body::Data(data)) = message.result {
                rows += data.batch.map_or(0, |batch| batch.num_rows);
            }
        }
        Ok(rows)
    };
    tokio::join!(answer::run(job, &*broker.inner.engine, outlet, &broker.inner.counters), collect).1
}
