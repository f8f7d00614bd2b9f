//! The public API. Each call: whose it is, then what it may see.

mod auth_service;
mod clusters;
mod debug;
mod keys;
mod orgs;
mod vizier;

use std::pin::Pin;

use futures::Stream;
use ids::ClusterId;
use tonic::Status;

use crate::bridges::Bridges;
use crate::caller::Callers;
use crate::calls::{Call, Calls};
use crate::store::Store;

/// All of it. One value serves each of the services.
#[derive(Debug, Clone)]
pub(crate) struct PublicApi {
    pub(crate) store: Store,
    pub(crate) callers: Callers,
    pub(crate) bridges: Bridges,
    pub(crate) calls: Calls,
}

/// Answers as they come.
pub(crate) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The answers of a call, of the one kind that belongs to it. Nothing is read ahead of the client.
fn answers<T: 'static>(call: Call, pick: fn(api::cvmsgspb::v2capi_stream_response::Msg) -> Option<T>) -> Answers<T> {
    Box::pin(futures::stream::unfold(call, move |mut call| async move {
        let answer = match call.next().await? {
            Ok(answer) => pick(answer).ok_or_else(|| Status::internal("the cluster answered something else than was asked")),
            Err(status) => Err(status),
        };
        Some((answer, call))
    }))
}

/// An id of the wire, which may be missing.
fn uuid(id: Option<api::uuidpb::Uuid>) -> Result<api::uuidpb::Uuid, Status> {
    id.ok_or_else(|| Status::invalid_argument("the id is missing"))
}

fn named_cluster(id: Option<api::uuidpb::Uuid>) -> Result<ClusterId, Status> {
    uuid(id).map(crate::wire::cluster_id)
}
