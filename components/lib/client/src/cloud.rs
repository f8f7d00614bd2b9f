//! What a control plane answers beside scripts.

use api::cloudapi::api_key_manager_client::ApiKeyManagerClient;
use api::cloudapi::auth_service_client::AuthServiceClient;
use api::cloudapi::organization_service_client::OrganizationServiceClient;
use api::cloudapi::vizier_cluster_info_client::VizierClusterInfoClient;
use api::cloudapi::vizier_deployment_key_manager_client::VizierDeploymentKeyManagerClient;
use api::cloudapi::{
    ClusterInfo, CreateApiKeyRequest, CreateDeploymentKeyRequest, GetApiKeyRequest, GetClusterInfoRequest, GetDeploymentKeyRequest,
    ListApiKeyRequest, ListDeploymentKeyRequest, LoginReply, LoginRequest, LookupApiKeyRequest, LookupDeploymentKeyRequest, OrgInfo,
    UpdateOrInstallClusterRequest,
};
use api::uuidpb;
use ids::{ClusterId, KeyId, OrgId};

use crate::connect::{Calls, connect};
use crate::{Access, Address, Error};

/// What a key opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// The public API.
    Api,
    /// Registration of clusters.
    Deploy,
}

/// A key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its name, not its secret.
    pub id: KeyId,
    /// The key itself, where the server told it.
    pub secret: Option<String>,
    /// Seconds since the Unix epoch.
    pub created_s: i64,
    /// For people.
    pub description: String,
}

/// A connection to a control plane.
#[derive(Debug, Clone)]
pub struct Cloud {
    calls: Calls,
}

/// Both kinds of keys are called the same way, by methods and messages of different names.
macro_rules! by_kind {
    ($self:ident, $kind:ident, |$client:ident| $deploy:expr, $api:expr) => {
        match $kind {
            KeyKind::Deploy => {
                let mut $client = VizierDeploymentKeyManagerClient::new($self.calls.clone());
                $deploy
            }
            KeyKind::Api => {
                let mut $client = ApiKeyManagerClient::new($self.calls.clone());
                $api
            }
        }
    };
}

macro_rules! key {
    ($message:expr, $secret:expr) => {{
        let message = $message;
        let secret: String = $secret;
        Key {
            id: key_id(message.id)?,
            secret: Some(secret).filter(|secret| !secret.is_empty()),
            created_s: message.created_at.map(|time| time.seconds).unwrap_or_default(),
            description: message.desc,
        }
    }};
}

impl Cloud {
    /// Connects.
    ///
    /// # Errors
    /// Nobody answers there, or TLS was asked for and fails.
    pub async fn connect(address: &Address, access: &Access) -> Result<Cloud, Error> {
        Ok(Cloud { calls: connect(address, access).await? })
    }

    /// Clusters: all, or the one with this id, sorted by name.
    ///
    /// # Errors
    /// The call is refused.
    pub async fn clusters(&self, id: Option<ClusterId>) -> Result<Vec<ClusterInfo>, Error> {
        let id = id.map(|id| uuid(id.to_halves()));
        let answer = VizierClusterInfoClient::new(self.calls.clone()).get_cluster_info(GetClusterInfoRequest { id }).await?;
        let mut clusters = answer.into_inner().clusters;
        clusters.sort_by(|a, b| a.cluster_name.cmp(&b.cluster_name));
        Ok(clusters)
    }

    /// Asks for another version in a cluster. Whether the change has begun.
    ///
    /// # Errors
    /// The call is refused, or the cluster does not answer.
    pub async fn update_cluster(&self, id: ClusterId, version: &str, redeploy_etcd: bool) -> Result<bool, Error> {
        let request = UpdateOrInstallClusterRequest { cluster_id: Some(uuid(id.to_halves())), version: version.to_owned(), redeploy_etcd };
        let answer = VizierClusterInfoClient::new(self.calls.clone()).update_or_install_cluster(request).await?;
        Ok(answer.into_inner().update_started)
    }

    /// A token for an API key.
    ///
    /// # Errors
    /// The call is refused.
    pub async fn login(&self, api_key: &str) -> Result<LoginReply, Error> {
        let answer = AuthServiceClient::new(self.calls.clone()).login(LoginRequest { access_token: api_key.to_owned() }).await?;
        Ok(answer.into_inner())
    }

    /// The caller's organisation.
    ///
    /// # Errors
    /// The call is refused, or it is not the caller's.
    pub async fn org(&self, id: OrgId) -> Result<OrgInfo, Error> {
        Ok(OrganizationServiceClient::new(self.calls.clone()).get_org(uuid(id.to_halves())).await?.into_inner())
    }

    /// A new key, with its secret: the only answer that has it.
    ///
    /// # Errors
    /// The call is refused.
    pub async fn create_key(&self, kind: KeyKind, description: &str) -> Result<Key, Error> {
        let desc = description.to_owned();
        by_kind!(
            self,
            kind,
            |client| {
                let made = client.create(CreateDeploymentKeyRequest { desc }).await?.into_inner();
                let secret = made.key.clone();
                Ok(key!(made, secret))
            },
            {
                let made = client.create(CreateApiKeyRequest { desc }).await?.into_inner();
                let secret = made.key.clone();
                Ok(key!(made, secret))
            }
        )
    }

    /// All keys, without their secrets.
    ///
    /// # Errors
    /// The call is refused.
    pub async fn keys(&self, kind: KeyKind) -> Result<Vec<Key>, Error> {
        by_kind!(
            self,
            kind,
            |client| {
                let keys = client.list(ListDeploymentKeyRequest {}).await?.into_inner().keys;
                keys.into_iter().map(|found| Ok(key!(found, String::new()))).collect()
            },
            {
                let keys = client.list(ListApiKeyRequest {}).await?.into_inner().keys;
                keys.into_iter().map(|found| Ok(key!(found, String::new()))).collect()
            }
        )
    }

    /// One key.
    ///
    /// # Errors
    /// The call is refused, or there is no such key.
    pub async fn key(&self, kind: KeyKind, id: KeyId) -> Result<Key, Error> {
        let id = Some(uuid(id.to_halves()));
        by_kind!(
            self,
            kind,
            |client| {
                let found = client.get(GetDeploymentKeyRequest { id }).await?.into_inner().key.unwrap_or_default();
                let secret = found.key.clone();
                Ok(key!(found, secret))
            },
            {
                let found = client.get(GetApiKeyRequest { id }).await?.into_inner().key.unwrap_or_default();
                let secret = found.key.clone();
                Ok(key!(found, secret))
            }
        )
    }

    /// Which key a secret is.
    ///
    /// # Errors
    /// The call is refused, or there is no such key.
    pub async fn lookup_key(&self, kind: KeyKind, secret: &str) -> Result<Key, Error> {
        let secret = secret.to_owned();
        by_kind!(
            self,
            kind,
            |client| {
                let request = LookupDeploymentKeyRequest { key: secret };
                let found = client.lookup_deployment_key(request).await?.into_inner().key.unwrap_or_default();
                let secret = found.key.clone();
                Ok(key!(found, secret))
            },
            {
                let found = client.lookup_api_key(LookupApiKeyRequest { key: secret }).await?.into_inner().key.unwrap_or_default();
                let secret = found.key.clone();
                Ok(key!(found, secret))
            }
        )
    }

    /// Deletes a key.
    ///
    /// # Errors
    /// The call is refused, or there is no such key.
    pub async fn delete_key(&self, kind: KeyKind, id: KeyId) -> Result<(), Error> {
        let id = uuid(id.to_halves());
        by_kind!(self, kind, |client| client.delete(id).await?, client.delete(id).await?);
        Ok(())
    }
}

fn uuid((high_bits, low_bits): (u64, u64)) -> uuidpb::Uuid {
    uuidpb::Uuid { high_bits, low_bits }
}

fn key_id(id: Option<uuidpb::Uuid>) -> Result<KeyId, Error> {
    let id = id.ok_or_else(|| Error::Protocol("a key without an id".to_owned()))?;
    Ok(KeyId::from_halves(id.high_bits, id.low_bits))
}
