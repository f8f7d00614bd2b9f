//! How the query broker is, as it says itself. Reference: vizier.md, section 3.3.

use std::sync::Arc;
use std::time::Duration;

use api::vizierpb::vizier_service_client::VizierServiceClient;
use api::vizierpb::{HealthCheckRequest, Status as WireStatus};
use auth::Bearer;
use parking_lot::Mutex;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use super::Clock;
use crate::condition::{Answered, Condition, HEALTH_AGE_MAX};

/// Between two tries.
const RETRY_EVERY: Duration = Duration::from_secs(2);

/// Listens until `stop`.
pub(crate) async fn watch(channel: Channel, bearer: Bearer, condition: Arc<Mutex<Condition>>, clock: Clock, stop: CancellationToken) {
    let listening = async {
        loop {
            let why = listen(&channel, &bearer, &condition, clock).await;
            tracing::debug!(why, "the query broker does not say how it is");
            condition.lock().broker = Some(Answered { result: Err(format!("the query broker does not answer: {why}")), at: clock.now() });
            sleep(RETRY_EVERY).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = listening => {}
    }
}

/// One stream, up to its end; why it ended.
async fn listen(channel: &Channel, bearer: &Bearer, condition: &Mutex<Condition>, clock: Clock) -> String {
    let mut broker = VizierServiceClient::with_interceptor(channel.clone(), bearer.clone());
    let silent = || format!("nothing came for {} s", HEALTH_AGE_MAX.as_secs());
    let mut messages = match timeout(HEALTH_AGE_MAX, broker.health_check(HealthCheckRequest::default())).await {
        Ok(Ok(answer)) => answer.into_inner(),
        Ok(Err(status)) => return status.message().to_owned(),
        Err(_) => return silent(),
    };
    loop {
        match timeout(HEALTH_AGE_MAX, messages.message()).await {
            Ok(Ok(Some(answer))) => {
                let WireStatus { code, message, .. } = answer.status.unwrap_or_default();
                let result = if code == 0 { Ok(message) } else { Err(message) };
                condition.lock().broker = Some(Answered { result, at: clock.now() });
            }
            Ok(Ok(None)) => return "it has ended the stream".to_owned(),
            Ok(Err(status)) => return status.message().to_owned(),
            Err(_) => return silent(),
        }
    }
}
