use std::sync::Arc;
use std::time::Duration;

use api::vizier::services::metadata::metadata_service_server::MetadataService;
use api::vizier::services::metadata::with_prefix_key_response::Kv;
use api::vizier::services::metadata::{
    AgentInfoRequest, AgentInfoResponse, AgentUpdatesRequest, AgentUpdatesResponse, SchemaRequest, SchemaResponse, WithPrefixKeyRequest,
    WithPrefixKeyResponse,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{Desk, refused, store_failed};
use crate::agents::{Registry, SchemaInfo, Version};
use crate::io::Handle;
use crate::store::Key;
use crate::wire::agents::{encode_metadata, encode_schema, encode_schemas, encode_updates};

/// Responses of one stream that wait for the broker to read.
const RESPONSES_WAITING_MAX: usize = 4;
/// Where a caller does not say. Reference: 5 s.
const UPDATE_INTERVAL: Duration = Duration::from_secs(5);
/// Updates in one response where a caller does not say, and at most. An agent has two, with some KiB.
const UPDATES_PER_RESPONSE_MAX: usize = 100;
/// Agents that come together are told together. A new agent takes part in queries this much later.
const COALESCE: Duration = Duration::from_millis(50);
/// What is shown to somebody who looks for mistakes.
const ENTRIES_SHOWN_MAX: usize = 10_000;
/// The same, together: with what frames them within the size of a message.
const BYTES_SHOWN_MAX: usize = 3 * 1024 * 1024;

pub(crate) struct Service(pub(crate) Desk);

#[tonic::async_trait]
impl MetadataService for Service {
    type GetAgentUpdatesStream = ReceiverStream<Result<AgentUpdatesResponse, Status>>;

    async fn get_agent_updates(&self, request: Request<AgentUpdatesRequest>) -> Result<Response<Self::GetAgentUpdatesStream>, Status> {
        let handle = self.0.leader()?;
        let request = request.into_inner();
        let interval = request.max_update_interval.and_then(|interval| Duration::try_from(interval).ok()).filter(|i| !i.is_zero());
        let asked = usize::try_from(request.max_updates_per_response).unwrap_or(0);
        let stream = Updates {
            handle,
            interval: interval.unwrap_or(UPDATE_INTERVAL),
            per_response_max: if asked == 0 { UPDATES_PER_RESPONSE_MAX } else { asked.min(UPDATES_PER_RESPONSE_MAX) },
            known: None,
            schemas: None,
        };
        let (responses, stream_end) = mpsc::channel(RESPONSES_WAITING_MAX);
        let stop = self.0.stop.clone();
        self.0.tasks.spawn(async move {
            let ended = tokio::select! {
                () = stop.cancelled() => Status::unavailable("the metadata service stops"),
                () = responses.closed() => return,
                ended = stream.run(&responses) => ended,
            };
            // The caller may be gone.
            let _gone = responses.send(Err(ended)).await.is_err();
        });
        Ok(Response::new(ReceiverStream::new(stream_end)))
    }

    async fn get_schemas(&self, _request: Request<SchemaRequest>) -> Result<Response<SchemaResponse>, Status> {
        let schemas = self.0.leader()?.read(|desk, _| desk.schemas()).await.map_err(refused)?;
        Ok(Response::new(SchemaResponse { schema: Some(encode_schema(&schemas)) }))
    }

    async fn get_agent_info(&self, _request: Request<AgentInfoRequest>) -> Result<Response<AgentInfoResponse>, Status> {
        let info = self.0.leader()?.read(|desk, clock| {
            let now = clock.now();
            desk.registry.agents().map(|agent| encode_metadata(agent, Registry::state(agent, now), now.wall)).collect()
        });
        Ok(Response::new(AgentInfoResponse { info: info.await.map_err(refused)? }))
    }

    async fn get_with_prefix_key(&self, request: Request<WithPrefixKeyRequest>) -> Result<Response<WithPrefixKeyResponse>, Status> {
        let handle = self.0.leader()?;
        let prefix = Key::new(request.into_inner().prefix).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let (mut kvs, mut bytes, mut last) = (Vec::new(), 0, None);
        loop {
            let page = handle.store.page(&prefix, last.as_ref()).await.map_err(|error| store_failed(&error))?;
            for (key, value) in page.entries {
                bytes += key.as_str().len() + value.len();
                if kvs.len() == ENTRIES_SHOWN_MAX || bytes > BYTES_SHOWN_MAX {
                    return Err(Status::resource_exhausted("too much is kept below this prefix: ask for a longer one"));
                }
                kvs.push(Kv { key: key.to_string(), value });
                last = Some(key);
            }
            if !page.more {
                return Ok(Response::new(WithPrefixKeyResponse { kvs }));
            }
        }
    }
}

/// One broker that follows.
struct Updates {
    handle: Handle,
    interval: Duration,
    per_response_max: usize,
    known: Option<Version>,
    schemas: Option<Arc<Vec<SchemaInfo>>>,
}

impl Updates {
    /// Tells everything, then every change; when nothing changes that, so that the caller knows that it is still told. Says why it ended.
    async fn run(mut self, responses: &mpsc::Sender<Result<AgentUpdatesResponse, Status>>) -> Status {
        let mut versions = self.handle.versions();
        loop {
            versions.mark_unchanged();
            if let Err(ended) = self.tell(responses).await {
                return ended;
            }
            match tokio::time::timeout(self.interval, versions.changed()).await {
                Ok(Ok(())) => tokio::time::sleep(COALESCE).await,
                Ok(Err(_)) => return Status::unavailable("this metadata service is not the leader any more"),
                Err(_) => {}
            }
        }
    }

    async fn tell(&mut self, responses: &mpsc::Sender<Result<AgentUpdatesResponse, Status>>) -> Result<(), Status> {
        let known = self.known;
        let told = self.handle.clone().read(move |desk, _| (desk.registry.changes_since(known), desk.schemas()));
        let (changes, schemas) = told.await.map_err(refused)?;
        if known.is_some() && changes.full {
            return Err(Status::aborted("the caller is too far behind: it begins anew"));
        }
        self.known = Some(changes.version);
        let updates = encode_updates(changes.updates);
        let mut pages: Vec<AgentUpdatesResponse> = updates
            .chunks(self.per_response_max)
            .map(|updates| AgentUpdatesResponse { agent_updates: updates.to_vec(), ..AgentUpdatesResponse::default() })
            .collect();
        let mut last = pages.pop().unwrap_or_default();
        last.end_of_version = true;
        if self.schemas.as_ref().is_none_or(|told| !Arc::ptr_eq(told, &schemas)) {
            last.agent_schemas = encode_schemas(&schemas);
            last.agent_schemas_updated = true;
            self.schemas = Some(schemas);
        }
        for page in pages.into_iter().chain([last]) {
            responses.send(Ok(page)).await.map_err(|_| Status::cancelled("the caller is gone"))?;
        }
        Ok(())
    }
}
