//! One bridge from its first message to its end.

use std::sync::Arc;
use std::time::Duration;

use api::cvmsgspb::register_vizier_ack::RegistrationStatus;
use api::cvmsgspb::{
    GetCronScriptsChecksumRequest, GetCronScriptsChecksumResponse, GetCronScriptsRequest, GetCronScriptsResponse, RegisterVizierAck,
    RegisterVizierRequest, UpdateOrInstallVizierResponse, V2capiStreamResponse, VizierHeartbeat,
};
use api::services::{C2vBridgeMessage, V2cBridgeMessage};
use auth::SigningKey;
use ids::OrgId;
use prometheus_client::metrics::counter::Counter;
use prost::Message;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::{Status, Streaming};
use tracing::Instrument as _;

use super::VzConn;
use crate::bridges::Bridge;
use crate::caller::internal;
use crate::store::{self, Change, Cluster, Facts};
use crate::{Error, cron, wire};

/// A bridge that says nothing at first is no Vizier's.
const REGISTER_MAX: Duration = Duration::from_secs(30);

/// A peer that takes nothing any more need not know why its bridge ends.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// A shorter key signs nothing worth the name: as `auth` has it for the parts of a Vizier.
const SIGNING_KEY_BYTES_MIN: usize = 32;

const REGISTER: &str = "register";
const REGISTER_ACK: &str = "registerAck";
const HEARTBEAT: &str = "heartbeat";
const REPLY: &str = "reply-";
const UPDATE_RESPONSE: &str = "VizierUpdateResponse";
const CHECKSUM_REQUEST: &str = "GetCronScriptsCheckSumRequest";
const CHECKSUM_RESPONSE: &str = "GetCronScriptsCheckSumResponse";
const SCRIPTS_REQUEST: &str = "GetCronScriptsRequest";
const SCRIPTS_RESPONSE: &str = "GetCronScriptsResponse";
const SCRIPT_KNOWN: &str = "CronScriptsUpdatesResponse:";

type Outbox = mpsc::Sender<Result<C2vBridgeMessage, Status>>;

/// Why a message had no effect.
enum Fault {
    /// It is not what its topic says.
    Malformed(String),
    /// Nobody here listens to its topic.
    Unheard,
    /// We could not.
    Ours(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Fault::Ours(error)
    }
}

impl VzConn {
    pub(super) async fn session(self, org: OrgId, mut messages: Streaming<V2cBridgeMessage>, outbox: Outbox) {
        let end = match self.greet(org, &mut messages, &outbox).await {
            Ok((bridge, cluster)) => {
                let span = tracing::info_span!("bridge", cluster = %cluster.id);
                self.metrics.bridges.inc();
                let end = self.carry(&bridge, cluster, &mut messages).instrument(span).await;
                self.metrics.bridges.dec();
                self.bridges.close(&bridge);
                tracing::info!(cluster = %bridge.cluster, reason = end.message(), "a bridge has ended");
                end
            }
            Err(status) => {
                tracing::warn!(reason = status.message(), "a bridge is refused");
                status
            }
        };
        // Whoever takes nothing any more has gone.
        let _told = timeout(FAREWELL_MAX, outbox.send(Err(end))).await.is_ok();
    }

    /// The first message says whose bridge it is.
    async fn greet(
        &self,
        org: OrgId,
        messages: &mut Streaming<V2cBridgeMessage>,
        outbox: &Outbox,
    ) -> Result<(Arc<Bridge>, Cluster), Status> {
        let first = timeout(REGISTER_MAX, messages.message()).await.map_err(|_| Status::deadline_exceeded("no first message came"))?;
        let first = first?.ok_or_else(|| Status::invalid_argument("the first message must be on topic `register`, and none came"))?;
        if first.topic != REGISTER {
            return Err(Status::invalid_argument(format!("the first message must be on topic `register`, not `{}`", first.topic)));
        }
        let request: RegisterVizierRequest = wire::unpack("RegisterVizierRequest", first.msg.as_ref()).map_err(Status::invalid_argument)?;
        if request.jwt_key.len() < SIGNING_KEY_BYTES_MIN {
            return Err(Status::invalid_argument("jwt_key is missing or too short"));
        }
        let id = request.vizier_id.map(wire::cluster_id).ok_or_else(|| Status::invalid_argument("vizier_id is missing"))?;
        let found = self.store.cluster(org, id).await.map_err(|error| internal(&error))?;
        let info = request.cluster_info.unwrap_or_default();
        let Some(mut cluster) = found.filter(|found| info.cluster_uid.is_empty() || info.cluster_uid == found.uid) else {
            tracing::warn!(cluster = %id, %org, uid = info.cluster_uid, "this organisation has no such cluster with this UID");
            let ack = RegisterVizierAck { status: RegistrationStatus::StFailedNotFound as i32, vizier_name: String::new() };
            // The status that follows says it as well.
            let _told = outbox.try_send(Ok(message(REGISTER_ACK, "RegisterVizierAck", &ack))).is_ok();
            return Err(Status::not_found("there is no such cluster"));
        };
        let signing = (SigningKey::new(&request.jwt_key), request.repeats_calls);
        let bridge = Bridge::new((org, id), first.session_id, signing, outbox.clone());
        if !self.bridges.open(&bridge) {
            return Err(Status::aborted("a connector of this Vizier that started later is connected"));
        }
        cluster.facts.vizier_version = info.vizier_version;
        cluster.life.connected(store::now());
        let stored = self.store.put_cluster(&cluster).await;
        let ack = RegisterVizierAck { status: RegistrationStatus::StOk as i32, vizier_name: cluster.name.clone() };
        let told = bridge.send(message(REGISTER_ACK, "RegisterVizierAck", &ack)).await;
        if let (Err(error), _) | (Ok(()), Err(error)) = (stored, told.map_err(|_| Error::Content { what: "bridge" })) {
            self.bridges.close(&bridge);
            return Err(internal(&error));
        }
        tracing::info!(cluster = %id, name = cluster.name, version = cluster.facts.vizier_version, "a Vizier is connected");
        Ok((bridge, cluster))
    }

    /// Everything after that. Says why it ended.
    async fn carry(&self, bridge: &Arc<Bridge>, mut cluster: Cluster, messages: &mut Streaming<V2cBridgeMessage>) -> Status {
        loop {
            let next = tokio::select! {
                next = messages.message() => next,
                () = bridge.over.cancelled() => return Status::aborted("a newer bridge of this Vizier has taken the place of this one"),
                () = self.shell.stop.cancelled() => return Status::unavailable("the control plane stops"),
            };
            let message = match next {
                Ok(Some(message)) => message,
                Ok(None) => return Status::ok("the Vizier has ended it"),
                Err(status) => return status,
            };
            let topic = message.topic.clone();
            if let Err(fault) = self.hear(bridge, &mut cluster, message).await {
                self.note(&topic, fault);
            }
        }
    }

    async fn hear(&self, bridge: &Arc<Bridge>, cluster: &mut Cluster, message: V2cBridgeMessage) -> Result<(), Fault> {
        let V2cBridgeMessage { topic, msg, session_id: _ } = message;
        let msg = msg.as_ref();
        if let Some(id) = topic.strip_prefix(REPLY) {
            let answer: V2capiStreamResponse = wire::unpack("V2CAPIStreamResponse", msg).map_err(Fault::Malformed)?;
            bridge.answer(id, answer, &self.metrics);
            return Ok(());
        }
        if let Some(change) = topic.strip_prefix(SCRIPT_KNOWN) {
            let change = change_of(change).ok_or_else(|| Fault::Malformed("its request id is none of ours".to_owned()))?;
            return Ok(self.store.deliver(cluster.id, &[change]).await?);
        }
        match topic.as_str() {
            HEARTBEAT => {
                let heartbeat: VizierHeartbeat = wire::unpack("VizierHeartbeat", msg).map_err(Fault::Malformed)?;
                Ok(self.beat(cluster, heartbeat).await?)
            }
            UPDATE_RESPONSE => {
                let answer: UpdateOrInstallVizierResponse = wire::unpack("UpdateOrInstallVizierResponse", msg).map_err(Fault::Malformed)?;
                bridge.answer_update(answer);
                Ok(())
            }
            CHECKSUM_REQUEST => {
                let request: GetCronScriptsChecksumRequest =
                    wire::unpack("GetCronScriptsChecksumRequest", msg).map_err(Fault::Malformed)?;
                let scripts = self.store.scripts(cluster.org).await?;
                let checksum = cron::checksum(cron::of_cluster(&scripts, cluster.id)).to_vec();
                let answer = GetCronScriptsChecksumResponse { checksum };
                self.reply(bridge, &format!("{CHECKSUM_RESPONSE}:{}", request.topic), "GetCronScriptsChecksumResponse", &answer).await;
                Ok(())
            }
            SCRIPTS_REQUEST => {
                let request: GetCronScriptsRequest = wire::unpack("GetCronScriptsRequest", msg).map_err(Fault::Malformed)?;
                let scripts = self.store.scripts(cluster.org).await?;
                let scripts = cron::of_cluster(&scripts, cluster.id).map(|script| (script.id.to_string(), wire::cron_script(script)));
                let answer = GetCronScriptsResponse { scripts: scripts.collect() };
                self.reply(bridge, &format!("{SCRIPTS_RESPONSE}:{}", request.topic), "GetCronScriptsResponse", &answer).await;
                Ok(())
            }
            _ => Err(Fault::Unheard),
        }
    }

    /// A heartbeat: how the cluster is.
    async fn beat(&self, cluster: &mut Cluster, heartbeat: VizierHeartbeat) -> Result<(), Error> {
        let before = cluster.life.standing(store::now());
        cluster.life.heartbeat(wire::said(&heartbeat), store::now());
        let standing = cluster.life.standing(store::now());
        if standing != before {
            tracing::info!(?before, ?standing, message = cluster.life.said().message, "a cluster stands elsewhere");
        }
        let facts = &mut cluster.facts;
        facts.cluster_version.clone_from(&heartbeat.k8s_cluster_version);
        facts.operator_version.clone_from(&heartbeat.operator_version);
        // Most heartbeats come without pods.
        if heartbeat.pod_statuses_last_updated != 0 || !heartbeat.pod_statuses.is_empty() {
            *facts = Facts { pods: pods_alone(heartbeat), ..facts.clone() };
        }
        self.store.put_cluster(cluster).await
    }

    async fn reply(&self, bridge: &Bridge, topic: &str, name: &str, answer: &impl Message) {
        // A Vizier that is gone asks again when it is back.
        let _sent = bridge.send(message(topic, name, answer)).await.is_ok();
    }

    fn note(&self, topic: &str, fault: Fault) {
        let seen = |counter: &Counter| counter.inc() + 1;
        match fault {
            Fault::Malformed(reason) => {
                let count = seen(&self.metrics.bridge_messages_malformed);
                // Whoever sends garbage may send much of it: the log grows by its logarithm.
                if count.is_power_of_two() {
                    tracing::warn!(topic, reason, count, "a Vizier's message is not understood");
                }
            }
            Fault::Unheard => {
                let count = seen(&self.metrics.bridge_messages_unheard);
                tracing::debug!(topic, count, "nobody listens to this topic");
            }
            Fault::Ours(error) => tracing::error!(topic, %error, "a Vizier's message had no effect"),
        }
    }
}

pub(crate) fn message(topic: &str, name: &str, message: &impl Message) -> C2vBridgeMessage {
    C2vBridgeMessage { topic: topic.to_owned(), msg: Some(wire::pack(name, message)) }
}

/// What is stored of the pods.
fn pods_alone(heartbeat: VizierHeartbeat) -> Vec<u8> {
    let VizierHeartbeat { pod_statuses, unhealthy_data_plane_pod_statuses, pod_statuses_last_updated, .. } = heartbeat;
    VizierHeartbeat { pod_statuses, unhealthy_data_plane_pod_statuses, pod_statuses_last_updated, ..Default::default() }.encode_to_vec()
}

/// The id of a request that tells a cluster of a change: the change itself, so that nothing need be remembered.
pub(crate) fn change_id(change: Change) -> String {
    format!("{}:{}", change.script, change.changed.0)
}

fn change_of(text: &str) -> Option<Change> {
    let (script, changed) = text.split_once(':')?;
    Some(Change { script: script.parse().ok()?, changed: ids::UnixNs(changed.parse().ok()?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_request_is_the_change_that_it_tells() {
        let change = Change { script: ids::ScriptId::from_halves(1, 2), changed: ids::UnixNs(3) };
        assert_eq!(change_of(&change_id(change)), Some(change));
        assert_eq!(change_of("x:1"), None);
        assert_eq!(change_of("00000000-0000-0001-0000-000000000002"), None);
    }
}
