//! Talks to the control plane as the machine says.

use std::sync::Arc;
use std::time::Duration;

use api::cvmsgspb::register_vizier_ack::RegistrationStatus;
use api::cvmsgspb::{RegisterVizierAck, RegisterVizierRequest, VizierClusterInfo};
use api::services::vz_conn_service_client::VzConnServiceClient;
use api::services::{C2vBridgeMessage, RegisterVizierDeploymentRequest, V2cBridgeMessage};
use auth::Secret;
use ids::ClusterId;
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::CompressionEncoding::Gzip;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};

use super::local::Local;
use super::outbox::{Outbox, Outgoing};
use crate::Error;
use crate::condition::wire_id;
use crate::identity::Identity;
use crate::machine::{Event, Refusal};
use crate::metrics::Metrics;
use crate::route::{pack, unpack};

/// How long a registration may take.
const REGISTER_MAX: Duration = Duration::from_secs(10);

/// Messages between us and the transport.
const HANDOVER_MESSAGES_MAX: usize = 16;

const REGISTER: &str = "register";
const REGISTER_ACK: &str = "registerAck";

/// The header of the deploy key. Reference: vizier.md, section 3.1.
const KEY_HEADER: &str = "x-api-key";

/// Says what happens. Each carries the number of the try that it belongs to, so that late news of an earlier one are known as such.
pub(crate) type Events = mpsc::Sender<(u64, Event)>;

/// All that talking to the control plane needs. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Cloud {
    pub(crate) channel: Channel,
    pub(crate) key: MetadataValue<Ascii>,
    pub(crate) cluster_uid: String,
    pub(crate) cluster_name: String,
    /// The key with which the control plane signs its tokens for us.
    pub(crate) signing_key: Secret,
    pub(crate) local: Local,
    pub(crate) outbox: Outbox,
    pub(crate) outgoing: Arc<Mutex<Outgoing>>,
    pub(crate) metrics: Metrics,
    pub(crate) events: Events,
}

/// The deploy key as a header, which no log shows.
pub(crate) fn key_header(key: &Secret) -> Result<MetadataValue<Ascii>, Error> {
    let mut value: MetadataValue<Ascii> = key.expose().parse().map_err(|_| Error::DeployKey)?;
    value.set_sensitive(true);
    Ok(value)
}

impl Cloud {
    fn client(&self) -> VzConnServiceClient<Channel> {
        VzConnServiceClient::new(self.channel.clone()).max_decoding_message_size(api::MESSAGE_BYTES_MAX).accept_compressed(Gzip)
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert(KEY_HEADER, self.key.clone());
        request
    }

    async fn tell(&self, number: u64, event: Event) {
        // The machine is gone when the process stops.
        let _stopped = self.events.send((number, event)).await.is_err();
    }

    /// Asks for an identity.
    pub(crate) async fn register(self, number: u64) {
        let asked =
            RegisterVizierDeploymentRequest { k8s_cluster_uid: self.cluster_uid.clone(), k8s_cluster_name: self.cluster_name.clone() };
        let mut client = self.client();
        let event = match timeout(REGISTER_MAX, client.register_vizier_deployment(self.request(asked))).await {
            Ok(Ok(answer)) => {
                let answer = answer.into_inner();
                match answer.vizier_id.map(|id| ClusterId::from_halves(id.high_bits, id.low_bits)) {
                    Some(id) => Event::Registered(Identity { id, name: answer.vizier_name }),
                    None => Event::Failed(Refusal::Unreached),
                }
            }
            Ok(Err(status)) => failed(&status, "the control plane does not register this cluster"),
            Err(_) => Event::Failed(Refusal::Unreached),
        };
        self.tell(number, event).await;
    }

    /// Opens the bridge, and carries messages until it ends.
    pub(crate) async fn bridge(self, number: u64, identity: Identity) {
        let event = match self.carry(number, &identity).await {
            Ok(()) => Event::Failed(Refusal::Unreached),
            Err(status) => failed(&status, "the bridge to the control plane has ended"),
        };
        self.metrics.connected.set(0);
        self.local.end_calls().await;
        self.tell(number, event).await;
    }

    async fn carry(&self, number: u64, identity: &Identity) -> Result<(), Status> {
        // First of all: whoever waits for a turn here has no bridge of another try beside it.
        let mut outgoing = self.outgoing.lock().await;
        let (sender, stream) = mpsc::channel(HANDOVER_MESSAGES_MAX);
        let greeting = RegisterVizierRequest {
            vizier_id: Some(wire_id(identity)),
            jwt_key: self.signing_key.expose().to_owned(),
            repeats_calls: true,
            cluster_info: Some(VizierClusterInfo {
                cluster_uid: self.cluster_uid.clone(),
                cluster_name: self.cluster_name.clone(),
                vizier_version: env!("CARGO_PKG_VERSION").to_owned(),
            }),
        };
        let greeting = self.outbox.message(REGISTER, pack("RegisterVizierRequest", &greeting));
        // There is room: it is the first.
        let _room = sender.try_send(greeting).is_ok();
        let mut client = self.client();
        let mut incoming = client.nats_bridge(self.request(ReceiverStream::new(stream))).await?.into_inner();
        self.tell(number, Event::Greeted).await;
        let name = acknowledged(&mut incoming).await?;
        self.metrics.connects.inc();
        self.metrics.connected.set(1);
        outgoing.forget_answers(&self.metrics);
        self.tell(number, Event::Acknowledged { name }).await;
        self.both_ways(identity.id, incoming, &sender, &mut outgoing).await
    }

    async fn both_ways(
        &self,
        cluster: ClusterId,
        mut incoming: Streaming<C2vBridgeMessage>,
        sender: &mpsc::Sender<V2cBridgeMessage>,
        outgoing: &mut Outgoing,
    ) -> Result<(), Status> {
        let inward = async {
            while let Some(message) = incoming.message().await? {
                self.local.take(cluster, message).await;
            }
            Ok(())
        };
        tokio::select! {
            ended = inward => ended,
            () = outgoing.pump(sender, &self.metrics) => Ok(()),
        }
    }
}

/// What the control plane calls us, if it knows us.
async fn acknowledged(incoming: &mut Streaming<C2vBridgeMessage>) -> Result<String, Status> {
    let first = incoming.message().await?.ok_or_else(|| Status::unavailable("it ended before it said whether it knows us"))?;
    if first.topic != REGISTER_ACK {
        return Err(Status::internal(format!("its first message is on topic `{}`, not `{REGISTER_ACK}`", first.topic)));
    }
    let ack: RegisterVizierAck = unpack("RegisterVizierAck", first.msg.as_ref()).map_err(Status::internal)?;
    match RegistrationStatus::try_from(ack.status).unwrap_or_default() {
        RegistrationStatus::StOk => Ok(ack.vizier_name),
        RegistrationStatus::StFailedNotFound => Err(Status::not_found("it knows no such cluster of ours")),
        RegistrationStatus::StUnknown => Err(Status::unavailable("it does not say whether it knows us")),
    }
}

fn failed(status: &Status, what: &str) -> Event {
    let refusal = refusal(status.code());
    tracing::warn!(code = ?status.code(), reason = status.message(), what);
    Event::Failed(refusal)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "all others are a matter of time")]
fn refusal(code: Code) -> Refusal {
    match code {
        Code::Unauthenticated | Code::PermissionDenied => Refusal::Key,
        Code::NotFound => Refusal::Unknown,
        Code::AlreadyExists | Code::Aborted => Refusal::Active,
        _ => Refusal::Unreached,
    }
}
