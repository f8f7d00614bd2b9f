//! The metadata service, as the broker calls it: with a token of its own for each call.

use std::fmt;

use api::MESSAGE_BYTES_MAX;
use api::vizier::services::metadata::cron_script_store_service_client::CronScriptStoreServiceClient;
use api::vizier::services::metadata::metadata_config_service_client::MetadataConfigServiceClient;
use api::vizier::services::metadata::metadata_service_client::MetadataServiceClient;
use api::vizier::services::metadata::metadata_tracepoint_service_client::MetadataTracepointServiceClient;
use auth::{Bearer, SigningKey};
use rpc::PeerIdentity;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

use crate::{Error, peers};

/// Who calls, as the other end's log shows it.
pub(crate) const SERVICE: &str = "query-broker";

/// A channel that shows a fresh token with each call.
pub(crate) type Channeled = InterceptedService<Channel, Bearer>;

/// A cheap handle: clones share a connection.
#[derive(Clone)]
pub struct Metadata {
    channel: Channeled,
}

impl Metadata {
    /// At `address`, whose certificate carries `name`; empty: the address's host. Connects when it is first used.
    ///
    /// # Errors
    /// The address is none, or the identity cannot be used.
    pub fn new(address: &str, name: &str, identity: &PeerIdentity, key: SigningKey) -> Result<Metadata, Error> {
        Ok(Metadata::over(peers::channel(address, name, identity)?, key))
    }

    /// Over a channel that is there already.
    pub fn over(channel: Channel, key: SigningKey) -> Metadata {
        Metadata { channel: InterceptedService::new(channel, Bearer::new(key, SERVICE)) }
    }

    pub(crate) fn agents(&self) -> MetadataServiceClient<Channeled> {
        MetadataServiceClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn tracepoints(&self) -> MetadataTracepointServiceClient<Channeled> {
        MetadataTracepointServiceClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn config(&self) -> MetadataConfigServiceClient<Channeled> {
        MetadataConfigServiceClient::new(self.channel.clone())
    }

    pub(crate) fn cron_scripts(&self) -> CronScriptStoreServiceClient<Channeled> {
        CronScriptStoreServiceClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metadata").finish_non_exhaustive()
    }
}
