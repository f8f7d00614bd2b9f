//! Keys of the caller's organisation. Their secrets are told once, by the call that makes them.

use api::cloudapi::api_key_manager_server::ApiKeyManager;
use api::cloudapi::vizier_deployment_key_manager_server::VizierDeploymentKeyManager;
use api::cloudapi::{
    ApiKey, ApiKeyMetadata, CreateApiKeyRequest, CreateDeploymentKeyRequest, DeploymentKey, DeploymentKeyMetadata, GetApiKeyRequest,
    GetApiKeyResponse, GetDeploymentKeyRequest, GetDeploymentKeyResponse, ListApiKeyRequest, ListApiKeyResponse, ListDeploymentKeyRequest,
    ListDeploymentKeyResponse, LookupApiKeyRequest, LookupApiKeyResponse, LookupDeploymentKeyRequest, LookupDeploymentKeyResponse,
};
use api::uuidpb;
use auth::Secret;
use ids::KeyId;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use super::{PublicApi, uuid};
use crate::caller::internal;
use crate::store::{Key, KeyKind};
use crate::wire::{id, timestamp};

/// A longer description is refused.
const DESCRIPTION_BYTES_MAX: usize = 1024;

impl PublicApi {
    async fn create_key(&self, headers: &MetadataMap, kind: KeyKind, description: &str) -> Result<(Key, Secret), Status> {
        let caller = self.callers.identify(headers).await?;
        if description.len() > DESCRIPTION_BYTES_MAX {
            return Err(Status::invalid_argument(format!("a description has at most {DESCRIPTION_BYTES_MAX} bytes")));
        }
        self.store.create_key(caller.org, kind, description).await.map_err(|error| internal(&error))
    }

    async fn list_keys(&self, headers: &MetadataMap, kind: KeyKind) -> Result<Vec<Key>, Status> {
        let caller = self.callers.identify(headers).await?;
        self.store.keys(caller.org, Some(kind)).await.map_err(|error| internal(&error))
    }

    async fn get_key(&self, headers: &MetadataMap, kind: KeyKind, id: uuidpb::Uuid) -> Result<Key, Status> {
        let caller = self.callers.identify(headers).await?;
        let key = self.store.key(key_id(id)).await.map_err(|error| internal(&error))?;
        key.filter(|key| key.org == caller.org && key.kind == kind).ok_or_else(unknown)
    }

    async fn delete_key(&self, headers: &MetadataMap, kind: KeyKind, id: uuidpb::Uuid) -> Result<(), Status> {
        let caller = self.callers.identify(headers).await?;
        let deleted = self.store.delete_key(caller.org, Some(kind), key_id(id)).await.map_err(|error| internal(&error))?;
        if deleted { Ok(()) } else { Err(unknown()) }
    }

    async fn lookup_key(&self, headers: &MetadataMap, kind: KeyKind, secret: &str) -> Result<Key, Status> {
        let caller = self.callers.identify(headers).await?;
        let key = self.store.key_of_secret(kind, secret).await.map_err(|error| internal(&error))?;
        key.filter(|key| key.org == caller.org).ok_or_else(unknown)
    }
}

fn key_id(id: uuidpb::Uuid) -> KeyId {
    KeyId::from_halves(id.high_bits, id.low_bits)
}

/// Another organisation's is as unknown as one that never was.
fn unknown() -> Status {
    Status::not_found("there is no such key")
}

macro_rules! key_messages {
    ($message:ident, $metadata:ident, $with_secret:ident, $without:ident) => {
        fn $with_secret(key: &Key, secret: &str) -> $message {
            $message {
                id: Some(id(key.id)),
                key: secret.to_owned(),
                created_at: Some(timestamp(key.created)),
                desc: key.description.clone(),
                org_id: Some(id(key.org)),
                user_id: None,
            }
        }

        fn $without(key: &Key) -> $metadata {
            $metadata {
                id: Some(id(key.id)),
                created_at: Some(timestamp(key.created)),
                desc: key.description.clone(),
                org_id: Some(id(key.org)),
                user_id: None,
            }
        }
    };
}

key_messages!(DeploymentKey, DeploymentKeyMetadata, deployment_key, deployment_key_metadata);
key_messages!(ApiKey, ApiKeyMetadata, api_key, api_key_metadata);

#[tonic::async_trait]
impl VizierDeploymentKeyManager for PublicApi {
    async fn create(&self, request: Request<CreateDeploymentKeyRequest>) -> Result<Response<DeploymentKey>, Status> {
        let (key, secret) = self.create_key(request.metadata(), KeyKind::Deploy, &request.get_ref().desc).await?;
        Ok(Response::new(deployment_key(&key, secret.expose())))
    }

    async fn list(&self, request: Request<ListDeploymentKeyRequest>) -> Result<Response<ListDeploymentKeyResponse>, Status> {
        let keys = self.list_keys(request.metadata(), KeyKind::Deploy).await?;
        Ok(Response::new(ListDeploymentKeyResponse { keys: keys.iter().map(deployment_key_metadata).collect() }))
    }

    async fn get(&self, request: Request<GetDeploymentKeyRequest>) -> Result<Response<GetDeploymentKeyResponse>, Status> {
        let key = self.get_key(request.metadata(), KeyKind::Deploy, uuid(request.get_ref().id)?).await?;
        Ok(Response::new(GetDeploymentKeyResponse { key: Some(deployment_key(&key, "")) }))
    }

    async fn delete(&self, request: Request<uuidpb::Uuid>) -> Result<Response<()>, Status> {
        self.delete_key(request.metadata(), KeyKind::Deploy, *request.get_ref()).await.map(Response::new)
    }

    async fn lookup_deployment_key(
        &self,
        request: Request<LookupDeploymentKeyRequest>,
    ) -> Result<Response<LookupDeploymentKeyResponse>, Status> {
        let secret = &request.get_ref().key;
        let key = self.lookup_key(request.metadata(), KeyKind::Deploy, secret).await?;
        Ok(Response::new(LookupDeploymentKeyResponse { key: Some(deployment_key(&key, secret)) }))
    }
}

#[tonic::async_trait]
impl ApiKeyManager for PublicApi {
    async fn create(&self, request: Request<CreateApiKeyRequest>) -> Result<Response<ApiKey>, Status> {
        let (key, secret) = self.create_key(request.metadata(), KeyKind::Api, &request.get_ref().desc).await?;
        Ok(Response::new(api_key(&key, secret.expose())))
    }

    async fn list(&self, request: Request<ListApiKeyRequest>) -> Result<Response<ListApiKeyResponse>, Status> {
        let keys = self.list_keys(request.metadata(), KeyKind::Api).await?;
        Ok(Response::new(ListApiKeyResponse { keys: keys.iter().map(api_key_metadata).collect() }))
    }

    async fn get(&self, request: Request<GetApiKeyRequest>) -> Result<Response<GetApiKeyResponse>, Status> {
        let key = self.get_key(request.metadata(), KeyKind::Api, uuid(request.get_ref().id)?).await?;
        Ok(Response::new(GetApiKeyResponse { key: Some(api_key(&key, "")) }))
    }

    async fn delete(&self, request: Request<uuidpb::Uuid>) -> Result<Response<()>, Status> {
        self.delete_key(request.metadata(), KeyKind::Api, *request.get_ref()).await.map(Response::new)
    }

    async fn lookup_api_key(&self, request: Request<LookupApiKeyRequest>) -> Result<Response<LookupApiKeyResponse>, Status> {
        let secret = &request.get_ref().key;
        let key = self.lookup_key(request.metadata(), KeyKind::Api, secret).await?;
        Ok(Response::new(LookupApiKeyResponse { key: Some(api_key(&key, secret)) }))
    }
}
